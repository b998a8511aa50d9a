"""Differences over joins of two parties without a helper: what each side hides since it learns what met.

Without groups the bank is the group side and the tax bureau the value side; by industry it is the other way round. 60
firms pay tax; the bank has those of ``MET`` and others.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.parties.conftest import Running, serving
from tests.parties.test_joins import FIRMS
from tests.parties.test_replaying import again
from tests.parties.test_tallies import JOINED, make, query

LEAST = 10
#: firms of the tax bureau that the bank has; and how many more the bank has
MET, BANKS_OWN = range(20, 60), 12


def consortium(folder: Path, met: range = MET) -> Path:
    banks = [(f"{FIRMS[i][0].lower()}-{FIRMS[i][1:]}", f"{i}.50", i % 3) for i in met]
    banks += [(f"z{i}", f"{i}.50", i % 3) for i in range(BANKS_OWN)]
    made = make(folder, least=LEAST, bank=banks)
    for owner in ("tax", "bank"):
        policy = made / owner / "policy.toml"
        policy.write_text(policy.read_text().rstrip() + "\nmax_bits = 1000\n")
    return made


def but_for(party: str, *ids: str) -> str:
    alias = {"tax": "t", "bank": "b"}[party]
    return f" WHERE {alias}.uscc NOT IN ({', '.join(repr(i) for i in ids)})"


def tax(i: int) -> str:
    return FIRMS[i]


def bank(i: int) -> str:
    """Of the tax bureau's firms; below 0 of the bank's own."""
    return f"z{-i - 1}" if i < 0 else f"{FIRMS[i][0].lower()}-{FIRMS[i][1:]}"


COUNTED = f"SELECT COUNT(*) AS n, SUM(b.balance) AS held, SUM(t.paid) AS paid {JOINED}"


async def shown(running: Running, sql: str, to: str = "analyst") -> bool:
    (row,) = (await query(running, sql, to)).rows
    values = [v for name, v in row.items() if not name.startswith("_")]
    assert all(v is None for v in values) or None not in values
    return values[0] is not None


@pytest.mark.parametrize("asked_by", ["tax", pytest.param("bank", marks=pytest.mark.slow)])
async def test_ten_ids_nine_of_which_nobody_else_has(tmp_path: Path, asked_by: str) -> None:
    """In a join with a helper ten firms differ, as far as their owner knows; here it knows that one of them met."""
    name: Callable[[int], str] = {"tax": tax, "bank": bank}[asked_by]
    nobodys = range(9) if asked_by == "tax" else range(-9, 0)
    aimed = COUNTED + but_for(asked_by, name(30), *map(name, nobodys))
    async with serving(consortium(tmp_path), without=("helper", "telecom")) as running:
        assert await shown(running, COUNTED)
        assert not await shown(running, aimed)


@pytest.mark.slow
@pytest.mark.parametrize("asked_by", ["tax", "bank"])
async def test_whoever_receives_it(tmp_path: Path, asked_by: str) -> None:
    name: Callable[[int], str] = {"tax": tax, "bank": bank}[asked_by]
    async with serving(consortium(tmp_path), without=("helper", "telecom")) as running:
        assert await shown(running, COUNTED)
        for to in ("tax", "bank"):
            assert not await shown(running, COUNTED + but_for(asked_by, name(30)), to)
        assert await shown(running, COUNTED)  # the same question again
        assert await shown(running, COUNTED + but_for(asked_by, *(name(i) for i in range(30, 41))))


@pytest.mark.slow
@pytest.mark.parametrize("asked_by", ["tax", "bank"])
async def test_one_of_them_first(tmp_path: Path, asked_by: str) -> None:
    """All but one, then all; and hidden by one side it stays hidden in a replay of that side."""
    name: Callable[[int], str] = {"tax": tax, "bank": bank}[asked_by]
    async with serving(consortium(tmp_path), without=("helper", "telecom")) as running:
        assert await shown(running, COUNTED + but_for(asked_by, name(30), *map(name, range(9))))
        result = await query(running, COUNTED)
        assert result.rows[0]["n"] is None
    for who in ("tax", "bank"):
        [found] = await again(tmp_path / "consortium", who, result.statement["job"])
        assert (found.role, found.remark) == ("party", "")


@pytest.mark.parametrize("joined_first", [True, pytest.param(False, marks=pytest.mark.slow)])
async def test_a_total_without_a_join_beside_one_over_those_that_met(tmp_path: Path, joined_first: bool) -> None:
    """Three firms do not meet: their tax is the difference."""
    alone, joined = "SELECT COUNT(*) AS n, SUM(t.paid) AS paid FROM tax.firms t", COUNTED
    async with serving(consortium(tmp_path, range(3, 60)), without=("helper", "telecom")) as running:
        for sql, expected in zip((joined, alone) if joined_first else (alone, joined), (True, False), strict=True):
            assert await shown(running, sql) == expected


@pytest.mark.slow
async def test_a_total_and_one_over_those_that_met_where_many_did_not(tmp_path: Path) -> None:
    async with serving(consortium(tmp_path), without=("helper", "telecom")) as running:
        assert await shown(running, "SELECT COUNT(*) AS n, SUM(t.paid) AS paid FROM tax.firms t")
        assert await shown(running, COUNTED)


async def test_one_measure_of_a_group_and_not_the_others(tmp_path: Path) -> None:
    """Within one job: the second count is of all but three that met. The third is far from both."""
    aimed = ", ".join(repr(FIRMS[i]) for i in range(20, 23))
    sql = (
        f"SELECT COUNT(*) AS n, COUNT(*) FILTER (WHERE t.uscc NOT IN ({aimed})) AS m, "
        f"COUNT(*) FILTER (WHERE t.paid >= 400) AS large {JOINED}"
    )
    async with serving(consortium(tmp_path), without=("helper", "telecom")) as running:
        (row,) = (await query(running, sql)).rows
        assert row == {"n": 40, "m": None, "large": 20, "_suppressed": ["m"]}


@pytest.mark.slow
async def test_a_total_beside_a_table_with_a_small_cell(tmp_path: Path) -> None:
    """Of industry B eight firms met: hidden in the table, so all of them together may not be told."""
    async with serving(consortium(tmp_path), without=("helper", "telecom")) as running:
        table = await query(running, COUNTED.replace("SELECT", "SELECT t.industry,") + " GROUP BY 1 ORDER BY 1")
        assert [r["n"] for r in table.rows] == [32, None]
        assert not await shown(running, COUNTED)


# ---- an oracle


@dataclass
class Oracle:
    """What may be shown, by sets of firms: of each side whom its own conditions choose, and those that met."""

    met: set[str]
    chosen: list[set[str]] = field(default_factory=list)
    counted: list[set[str]] = field(default_factory=list)

    def shows(self, chosen: set[str]) -> bool:
        """``chosen``: by a side's own conditions."""
        counted = chosen & self.met
        if len(counted) < LEAST:
            self._say(self.chosen, chosen)  # decided before anything met
            return False
        if not self._say(self.chosen, chosen):
            return False
        return self._say(self.counted, counted)

    @staticmethod
    def _say(before: list[set[str]], now: set[str]) -> bool:
        if any(0 < len(now ^ other) < LEAST for other in before):
            return False
        before.append(now)
        return True


def conditions(draw: random.Random, ids: list[str], met: list[str]) -> Iterator[set[str]]:
    """Ids that are left out: few, many, of those that met and of others."""
    others = [i for i in ids if i not in set(met)]
    while True:
        yield {
            *draw.sample(met, draw.choice([0, 1, 2, 9, 10, 12])),
            *draw.sample(others, draw.choice([0, 0, 9, 10, 12])),
        }


async def agrees(folder: Path, seed: int, queries: int) -> None:
    draw = random.Random(seed)
    party = draw.choice(["tax", "bank"])
    ids = list(FIRMS[:60]) if party == "tax" else [bank(i) for i in (*MET, *range(-BANKS_OWN, 0))]
    met = [tax(i) for i in MET] if party == "tax" else [bank(i) for i in MET]
    oracle, outcomes = Oracle(set(met)), []
    asked = conditions(draw, ids, met)
    async with serving(consortium(folder), without=("helper", "telecom")) as running:
        for _ in range(queries):
            left_out = next(asked)
            sql = COUNTED + (but_for(party, *sorted(left_out)) if left_out else "")
            found: Any = await shown(running, sql, draw.choice(["analyst", "tax", "bank"]))
            assert found == oracle.shows(set(ids) - left_out), (seed, sql)
            outcomes.append(found)
    assert {True, False} == set(outcomes)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2, 6))
async def test_the_same_as_by_sets_of_firms(tmp_path: Path, seed: int) -> None:
    await agrees(tmp_path, seed, 12)
