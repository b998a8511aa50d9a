"""A consortium of tables in one process: compile, run every party's local SQL, add the words, open and finish.

Nothing is masked here (mpc.protocols has its own tests): what is tested is that plan, local queries, layout and finish
together give the answer that the same SQL has over everybody's plaintext. Local queries run in DuckDBs locked like a
node's, over tables that passed a node's own checks.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import cached_property
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pytest

from mpc import pair
from mpc.crypto.spread import one_core
from mpc.errors import LocalError
from mpc.joint import play, play_helper
from mpc.joint_setup import RoundTo, joint_of
from mpc.joint_sides import SideRows
from mpc.messages import RingWords
from mpc.pair import Pair
from mpc.policy.populations import Population, Words
from mpc.protocols import ranked
from mpc.protocols.ranked import Found
from mpc.protocols.ranked import play_helper as play_search
from mpc.query import layout
from mpc.query.catalog import Catalog, Column, Table, days
from mpc.query.compared import Earlier
from mpc.query.compile import asked_of, compile_plan
from mpc.query.finish import Result, finish
from mpc.query.layout import Filled, fill, read
from mpc.query.plain import NamedPlain, Plain, plain_names, plain_totals
from mpc.query.plan import Plan
from mpc.query.plan_joins import ComparedPool, JoinPool, TallyPool
from mpc.query.questions import Named, Question
from mpc.ring import ring
from mpc.roles import Places, searches_of
from mpc.rounds import Rounds
from mpc.run import Trace, run
from parties.node.behind import carried, measured
from parties.node.joins import own_values, side_rows
from parties.node.plain import beside_totals
from parties.node.ranked import own_values_of
from parties.node.sources.canonical import converted
from parties.node.sources.database import LocalDatabase
from tests.duck import local, locked, plain
from tests.mpc.joining import sessions

Rows = Sequence[Sequence[Any]]
HELPER = "helper"


def integer(name: str, low: int, high: int, **more: Any) -> Column:
    return Column(name, "integer", 0, low, high, **more)


def decimal(name: str, scale: int, low: int, high: int, **more: Any) -> Column:
    """Bounds in whole numbers, not units."""
    return Column(name, "decimal", scale, low * 10**scale, high * 10**scale, **more)


def date(name: str, low: str, high: str, **more: Any) -> Column:
    first, last = dt.date.fromisoformat(low), dt.date.fromisoformat(high)
    return Column(name, "date", 0, days(first), days(last), **more)


def boolean(name: str, **more: Any) -> Column:
    return Column(name, "boolean", **more)


def text(name: str, *domain: str, **more: Any) -> Column:
    return Column(name, "text", domain=domain or None, **more)


@dataclass(frozen=True, eq=False)
class Held:
    """One table of one party with its rows; numbers as int, Decimal or text."""

    party: str
    table: Table
    rows: Rows

    @cached_property
    def arrow(self) -> pa.Table:
        """Through the checks that a node makes when it reads a table."""
        columns = list(zip(*self.rows, strict=True)) or [()] * len(self.table.columns)
        raw = {c.name: _raw(c, values) for c, values in zip(self.table.columns, columns, strict=True)}
        return converted(locked(), pa.table(raw), self.table)


def _raw(column: Column, values: Sequence[Any]) -> pa.Array:
    if column.kind in ("integer", "decimal"):
        return pa.array([None if v is None else format(Decimal(v), "f") for v in values], pa.string())
    return pa.array(values, {"date": pa.date32(), "boolean": pa.bool_(), "text": pa.string()}[column.kind])


def held(party: str, name: str, columns: Sequence[Column], rows: Rows = ()) -> Held:
    return Held(party, Table(name, tuple(columns), max(len(rows), 10)), rows)


def seal(entities: Words, sums: Words) -> Words:
    """Contributions, as a ledger without a key has them."""
    return entities * np.uint64(0x9E3779B97F4A7C15) + sums * np.uint64(0xC2B2AE3D27D4EB4F)


@dataclass(frozen=True)
class Ledger:
    """Who was in the totals that went out, by their names and cells."""

    totals: dict[str, dict[int, Population]] = field(default_factory=dict)

    def fingerprints(self, digests: Words) -> Words:
        return digests

    def seal(self, entities: Words, sums: Words) -> Words:
        return seal(entities, sums)

    def total(self, name: str, _job: str, _snapshot: str) -> dict[int, Population]:
        return self.totals.get(name, {})


@dataclass(eq=False)
class World:
    """All tables of all parties."""

    tables: tuple[Held, ...]
    #: what parties bring into joins of totals that went out without them
    ledger: Ledger = field(default_factory=lambda: Ledger())
    _local: dict[str, LocalDatabase] = field(default_factory=dict)

    @cached_property
    def catalogs(self) -> dict[str, Catalog]:
        parties = dict.fromkeys(h.party for h in self.tables)
        return {p: Catalog(p, tuple(h.table for h in self.tables if h.party == p)) for p in parties}

    @cached_property
    def pooled(self) -> duckdb.DuckDBPyConnection:
        """Everybody's plaintext in one database; decimals of 18 digits, as people declare them."""
        database = plain(self, (h.party for h in self.tables))
        for h in self.tables:
            database.register("given", h.arrow)
            columns = ", ".join(_plain(c) for c in h.table.columns)
            database.execute(f'CREATE TABLE "{h.party}"."{h.table.name}" AS SELECT {columns} FROM given')
            database.unregister("given")
        return database

    def local(self, party: str) -> LocalDatabase:
        """A node's database, with its own tables and nothing else."""
        if party not in self._local:
            self._local[party] = local(self, [(h.table.name, h.arrow) for h in self.tables if h.party == party])
        return self._local[party]

    def plan(
        self,
        sql: str,
        *,
        recipients: tuple[str, ...] = ("analyst",),
        trust: str = "helper",
        after: Sequence[str] | None = None,
        lists: Sequence[Sequence[str | NamedPlain]] = (),
    ) -> Plan:
        """``after``: earlier questions that joins are compared with, in the order in which they were asked; ``lists``:
        the same as several owners have them, with totals of their own."""
        earlier = None
        if after is not None or lists:
            every = lists or [after or ()]
            questions = dict.fromkeys(q for o in every for q in o if isinstance(q, str))
            asked = {q: asked_of(Question(q, (), recipients), self.catalogs) for q in questions}
            named = Named.of(dict.fromkeys(asked[q].name if isinstance(q, str) else q for q in o) for o in every)
            earlier = Earlier(tuple(asked.values()), named.settles, named.plain)
        return compile_plan(sql, self.catalogs, recipients=recipients, trust=trust, earlier=earlier)

    def answer(self, plan: Plan, pool: int, party: str) -> Mapping[str, Any]:
        """A party's answer to its local query."""
        return self.local(party).run(next(s.sql for s in plan.pools[pool].sources if s.party == party))

    def filled(self, plan: Plan, pool: int, party: str, *, min_entities: int = 0, strict: bool = False) -> Filled:
        answer = self.answer(plan, pool, party)
        return fill(plan, pool, answer, party=party, min_entities=min_entities, strict_none=strict)

    def dominated(self, plan: Plan, pool: int, party: str, most: str) -> list[list[bool]]:
        """Of each measure and cell whether one of the party's entities carries more than ``most``."""
        behind = next(s.behind for s in plan.pools[pool].sources if s.party == party)
        if not behind.sql:
            return [[False] * plan.pools[pool].cells] * len(behind.measures)
        answer = self.local(party).behind(behind.sql)
        of = plan.pools[pool]
        return [c.dominated(of.cells).tolist() for c in carried(of, behind, answer, Decimal(most))]

    def totals(
        self,
        plan: Plan,
        *,
        min_entities: int = 0,
        strict: bool = False,
        most: int | None = None,
        round_to: RoundTo | None = None,
    ) -> dict[str, RingWords]:
        """The sums of all parties' words, small cells flagged (with no noise on their words)."""
        totals: dict[str, RingWords] = {}
        for p, pool in enumerate(plan.pools):
            if isinstance(pool, JoinPool):
                totals.update(self.joined(p, pool, min_entities, most=most, round_to=round_to))
                continue
            for source in pool.sources:
                filled = self.filled(plan, p, source.party, min_entities=min_entities, strict=strict)
                for bits in (64, 128):
                    columns = [
                        filled.small[m].astype(np.uint64) if w < 0 else filled.words[m][w]
                        for at, m, w, _ in plan.columns(bits)
                        if at == p
                    ]
                    if not columns:
                        continue
                    vector, name = np.concatenate(columns), f"pool{p}/w{bits}"
                    ring(bits).add_into(totals.setdefault(name, ring(bits).zeros(len(vector))), vector)
        for places in searches_of(plan, HELPER):
            name = f"pool{places.pool}/w64"
            totals[name] = places.put(self.searched(plan, places, min_entities, strict), totals[name], first=True)
        return totals

    def searched(
        self, plan: Plan, places: Places, least: int = 0, strict: bool = False, trace: Trace | None = None
    ) -> Found:
        """What the parties of a search find, which is the same at all."""
        pool, search = plan.pools[places.pool], places.search
        (ranking,) = (r for r in pool.rankings if tuple(m.measure for m in r.measures) == places.measures)
        members = sessions([*search.parties, HELPER])
        roles: dict[str, Rounds[Any]] = {} if search.alone else {HELPER: play_search(members[HELPER], search)}
        for party in search.parties:
            small = self.filled(plan, places.pool, party, min_entities=least, strict=strict).small
            queries = [(m.measure, q.sql) for m in ranking.measures for q in m.queries if q.party == party]
            values = [own_values_of(pool, self.local(party).rows(sql), small[m]) for m, sql in queries]
            roles[party] = ranked.play(members[party], search, values)
        found = run(roles, trace)
        first = found[search.parties[0]]
        for party in search.parties:
            for one, other in zip(first.words, found[party].words, strict=True):
                assert one.keys() == other.keys() and all((one[w] == other[w]).all() for w in one)
        return first

    def rows(self, pool: JoinPool, party: str) -> dict[str, SideRows]:
        """What a party brings into a join."""
        local, found = self.local(party), {}
        for side in (s for s in pool.sides if s.party == party):
            answer, counts = local.rows(side.query.sql), tuple[RingWords, ...]()
            if isinstance(pool, ComparedPool) and pool.brought_by(side):
                answer, counts = beside_totals(self.ledger, "", "", pool, side, answer)
            found[side.name] = replace(side_rows(pool, side, answer, bytes(32)), counts=counts)
        return found

    def let_out(self, sql: str, least: int) -> list[Plain]:
        """A total without a join goes out, and its owners' ledger remembers of whom."""
        plan, found = self.plan(sql), list[Plain]()
        for p, pool in enumerate(plan.pools):
            for source in pool.sources:
                names, filled = (
                    plain_names(b"", pool, source.behind),
                    self.filled(plan, p, source.party, min_entities=least),
                )
                answer = self.local(source.party).behind(source.behind.sql)
                for m in measured(pool, source.behind, answer, filled, lambda x: x, seal, names=names):
                    for name, cell, population in m.named(np.zeros(pool.cells, dtype=bool)):
                        self.ledger.totals.setdefault(name, {})[cell] = population
                found += plain_totals(plan, source.party, b"")
        return found

    def own(self, pool: JoinPool) -> layout.Rows:
        """The spine's own values beside the rows of a result."""
        spine = pool.sides[0]
        return own_values(pool, self.local(spine.party).rows(spine.query.sql)) if pool.by_row else ()

    def joined(
        self,
        p: int,
        pool: JoinPool,
        least: int,
        trace: Trace | None = None,
        most: int | None = None,
        round_to: RoundTo | None = None,
    ) -> dict[str, RingWords]:
        """The words of a join: all roles on shares, then the parties' words added. ``most``: thousandths of a total
        that one entity may carry; ``round_to``: by party, table and column."""
        members = sessions([*pool.parties, HELPER])
        roles: dict[str, Rounds[Any]]
        if isinstance(pool, TallyPool):
            two = Pair(pool, least)
            roles = {i: pair.play(members[i], two, self.rows(pool, i), one_core) for i in pool.parties}
        else:
            j = joint_of(pool, HELPER, least, most, round_to or {})
            roles = {i: play(members[i], j, self.rows(j.pool, i)) for i in j.circle.holders}
            roles[HELPER] = play_helper(members[HELPER], j)
        said = run(roles, trace)
        totals: dict[str, RingWords] = {}
        for holder in pool.parties:
            for bits, words in said[holder].items():
                ring(bits).add_into(totals.setdefault(f"pool{p}/w{bits}", ring(bits).zeros(len(words))), words)
        return totals

    def result(
        self,
        plan: Plan,
        *,
        min_entities: int = 0,
        strict: bool = False,
        most: int | None = None,
        round_to: RoundTo | None = None,
    ) -> Result:
        own = {p: self.own(pool) for p, pool in plan.joins}
        totals = self.totals(plan, min_entities=min_entities, strict=strict, most=most, round_to=round_to)
        return finish(plan, read(plan, totals, own))

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        """The rows that a recipient gets."""
        return list(self.result(self.plan(sql)).rows)

    def plaintext(self, sql: str) -> list[tuple[Any, ...]]:
        """The rows that DuckDB gives over the pooled tables."""
        return self.pooled.execute(sql).fetchall()


def _plain(c: Column) -> str:
    name = '"' + c.name.replace('"', '""') + '"'
    return f"CAST({name} AS DECIMAL(18,{c.scale})) AS {name}" if c.kind == "decimal" and c.scale <= 18 else name


def refusal(world: World, sql: str, **how: Any) -> LocalError:
    """The error a query is refused with."""
    with pytest.raises(LocalError) as caught:
        world.plan(sql, **how)
    return caught.value
