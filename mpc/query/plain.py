"""Totals of an owner's rows without a join, beside which its later joins are compared.

    owner: a total was let out ─▶ its populations, cell by cell, in the release ledger, under a name
           a join is approved  ─▶ the approval says: so many populations of that table, compared so
           the join runs       ─▶ a private column: 1 in each row whose entity is in the population
                                   a private number: how many are in it
    all:   in how many entities it differs from those that met = number + met − 2 · met and in it     (compared.py)

Nobody else needs the query. A name is a digest under a key of the owner, the same whenever the population is named. The
ledger holds who was in it when it was let out; so the comparison is with what went out, and not with what the same
question would choose today.

Rows of the owner that met nobody are in the number, so this works for every side of a join.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import rfc8785

from mpc.crypto.labels import digest
from mpc.query.plan import Plan
from mpc.query.plan_joins import JoinPool, Side
from mpc.query.plan_pools import Behind, Key, Pool


@dataclass(frozen=True)
class Plain:
    """A population of a total without a join. ``table``: in small letters; ``cells``: a digest of how rows are divided
    into cells, "": one cell."""

    name: str
    table: str
    cells: str

    def to_bytes(self) -> bytes:
        return rfc8785.dumps({"v": 1, "name": self.name, "table": self.table, "cells": self.cells})

    @classmethod
    def from_bytes(cls, raw: bytes) -> Plain:
        told = json.loads(raw)
        return cls(told["name"], told["table"], told["cells"])


@dataclass(frozen=True)
class NamedPlain:
    """The same as its owner names it in an approval. ``by_cell``: the names of the pools whose cells are divided alike,
    so that each is compared with its like; elsewhere all of them together are compared."""

    party: str
    name: str
    table: str
    by_cell: tuple[str, ...]

    @property
    def told(self) -> dict[str, Any]:
        return {"plain": self.name, "table": self.table, "by_cell": list(self.by_cell)}

    @classmethod
    def read(cls, party: str, told: Mapping[str, Any]) -> NamedPlain:
        return cls(party, str(told["plain"]), str(told["table"]), tuple(map(str, told["by_cell"])))

    @property
    def key(self) -> str:
        """By which it is known among questions: of two owners' never the same."""
        return f"{self.party}: {self.name}"


def plain_names(key: bytes, pool: Pool, behind: Behind) -> list[str]:
    """Of each population of a party's query for a pool its name, the same whatever else is asked; "" for those of
    single columns. ``key``: secret bytes of the party."""
    cells = _divided(behind, pool.keys)
    return [digest("plain", key, rows.encode(), cells.encode()).hex() if rows else "" for rows in behind.rows]


def plain_totals(plan: Plan, party: str, key: bytes) -> Iterator[Plain]:
    """What a job's totals without a join are of, at one party. ``key``: secret bytes of the party."""
    for pool in plan.pools:
        for query in () if isinstance(pool, JoinPool) or plan.noise is not None else pool.sources:
            if query.party == party:
                cells, names = _divided(query.behind, pool.keys), plain_names(key, pool, query.behind)
                tables = (table for table, _ in query.behind.populations)
                yield from (Plain(n, table, cells) for n, table in zip(names, tables, strict=True) if n)


def named_plain(party: str, plain: Plain, joins: Sequence[JoinPool]) -> NamedPlain:
    """As it is named beside these joins."""
    alike = [
        pool.name
        for pool in joins
        for side in pool.sides
        if plain.cells and side_of(party, plain.table, side) and plain.cells == _of_side(pool, side)
    ]
    return NamedPlain(party, plain.name, plain.table, tuple(dict.fromkeys(alike)))


def side_of(party: str, table: str, side: Side) -> bool:
    """Whether a side of a join is a table, its name in small letters."""
    return side.party == party and tuple(t.lower() for t in side.query.tables) == (table,)


def _of_side(pool: JoinPool, side: Side) -> str:
    """How the side's rows are divided into the cells of a join, where it holds all keys by itself; else ""."""
    return _divided(side.query.behind, pool.keys) if len(side.keys) == len(pool.keys) else ""


def _divided(behind: Behind, keys: Sequence[Key]) -> str:
    if not keys or len(behind.keys) != len(keys):
        return ""
    domains = [repr((sql, k.kind, k.scale, k.domain)).encode() for sql, k in zip(behind.keys, keys, strict=True)]
    return digest("cells", *domains).hex()
