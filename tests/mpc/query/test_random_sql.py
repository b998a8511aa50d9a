"""Random SQL of the supported set over random tables: the recipient gets what DuckDB gets over the pooled plaintext."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction
from random import Random
from typing import Any

import duckdb
import pytest
from hypothesis import HealthCheck, Phase, assume, event, given, settings
from hypothesis import strategies as st

from mpc.errors import LocalError
from mpc.query.finish import Result
from tests.mpc.query.datasets import WORLDS, world
from tests.mpc.query.questions import Question, question

#: what a random query may be refused for: bounds that allow 39 digits, parts of a pooled total that could be told apart
REFUSALS = {"plan.overflow", "plan.unsafe_weights"}

Row = tuple[Any, ...]


def expected(q: Question, rows: Sequence[Row]) -> list[Row]:
    """The oracle's rows with its inexact outputs replaced by exact ones, which must be within DuckDB's own error."""
    found = []
    for row in rows:
        outputs, parts = list(row[: len(q.items)]), list(row[len(q.items) :])
        for n, item in enumerate(q.items):
            if item.exact is None:
                continue
            mine = [None if v is None else Fraction(v) for v in parts[: len(item.parts)]]
            del parts[: len(item.parts)]
            exact = item.exact(mine)
            assert (exact is None) == (outputs[n] is None), (item.sql, exact, outputs[n])
            if exact is not None:
                tolerance = 1e-6 * max(abs(exact), abs(float(mine[0] or 0)), 1.0)
                assert abs(exact - outputs[n]) <= tolerance, (item.sql, exact, outputs[n])
            outputs[n] = exact
        found.append(tuple(outputs))
    return found


def comparable(row: Row) -> tuple[tuple[str, Any], ...]:
    """Numbers by value, whatever their type; a boolean is not a number."""

    def value(v: Any) -> tuple[str, Any]:
        if v is None or isinstance(v, bool | str | dt.date):
            return type(v).__name__, str(v)
        if isinstance(v, float):
            return "double", repr(v + 0.0)
        assert isinstance(v, int | Decimal)
        return "number", Fraction(v)

    return tuple(value(v) for v in row)


def check(seed: int, random: Random) -> str:
    """Ask one question; returns how it went. AssertionError where the answer is not the oracle's."""
    w = world(seed)
    q = question(random, [c.party for c in w.catalogs.values()])
    try:
        plan = w.plan(q.sql)
    except LocalError as refused:
        if refused.code in REFUSALS or "no row can pass" in refused.message:
            return refused.code
        raise AssertionError(f"{refused}\n{q.sql}") from refused
    try:
        oracle = w.plaintext(q.oracle)
    except (duckdb.OutOfRangeException, duckdb.ConversionException, duckdb.InvalidInputException) as overflow:
        return f"the oracle: {type(overflow).__name__}"
    except duckdb.Error as problem:
        raise AssertionError(f"{problem}\n{q.oracle}") from problem
    result = w.result(plan)
    mine, theirs = [comparable(r) for r in result.rows], [comparable(r) for r in expected(q, oracle)]
    if not q.ordered:
        mine, theirs = sorted(mine, key=repr), sorted(theirs, key=repr)
    assert mine == theirs, f"\nseed {seed}\n{q.sql}\nheji   {mine}\nduckdb {theirs}"
    assert well_typed(result)
    return "equal"


def well_typed(result: Result) -> bool:
    """Every value has the type its column says, decimals with exactly their scale."""
    types = {"integer": int, "decimal": Decimal, "double": float, "boolean": bool, "text": str, "date": dt.date}
    return all(
        v is None or (type(v) is types[k] and (k != "decimal" or -v.as_tuple().exponent == s))
        for row in result.rows
        for v, k, s in zip(row, result.kinds, result.scales, strict=True)
    )


anything = given(st.integers(0, WORLDS - 1), st.randoms(use_true_random=False))
relaxed = settings(
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
    phases=[p for p in Phase if p is not Phase.shrink],  # shrinking random SQL takes minutes and helps little
)


@pytest.mark.timeout(400)
@settings(relaxed, max_examples=100)
@anything
def test_random_questions(seed: int, random: Random) -> None:
    outcome = check(seed, random)
    event(outcome)
    assume(outcome == "equal")


@pytest.mark.slow
@pytest.mark.timeout(1800)
@settings(relaxed, max_examples=2_000)
@anything
def test_very_many_random_questions(seed: int, random: Random) -> None:
    assume(check(seed, random) == "equal")


def test_most_questions_are_answered() -> None:
    """The generator is not a maker of refusals, and no kind of refusal takes over."""
    outcomes = [check(n % WORLDS, Random(n)) for n in range(120)]
    assert outcomes.count("equal") > 100
