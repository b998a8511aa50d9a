"""Row expressions: local SQL, ``evaluate`` and DuckDB on the text itself give the same values."""

from __future__ import annotations

from fractions import Fraction
from random import Random
from typing import Any

import duckdb
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from mpc.errors import LocalError
from mpc.query.bounds import check_numbers
from mpc.query.evaluate import Datum
from mpc.query.nodes import Expr
from mpc.query.parse import Source
from mpc.query.printer import sql, units
from mpc.query.rules import simplify
from tests.mpc.query.bureau import bureau
from tests.mpc.query.datasets import WORLDS, column, world
from tests.mpc.query.questions import Expressions
from tests.mpc.query.test_random_sql import relaxed
from tests.mpc.query.test_rules import bind, values
from tests.mpc.query.world import World


def printed(w: World, party: str, table: str, e: Expr) -> list[Datum]:
    """The printed expression for every row, in the party's own database, numbers in true values."""
    text = units(e) if e.kind == "date" else sql(e)
    rows = w.local(party)._database.execute(f'SELECT {text} FROM "{table}"').fetchall()
    return [_true(e, v) for (v,) in rows]


def _true(e: Expr, v: Any) -> Datum:
    return v if v is None or isinstance(v, str | bool) else Fraction(v) / 10**e.scale


@relaxed
@given(st.integers(0, WORLDS - 1), st.randoms(use_true_random=False))
def test_printed_sql_evaluates_alike(seed: int, random: Random) -> None:
    w = world(seed)
    party = random.choice(sorted(w.catalogs))
    made = Expressions(random, lambda k: column(k, party))
    text = random.choice([made.number, made.condition, made.text])(3)
    e = simplify(bind(w, f"{party}.t", text))
    try:
        check_numbers(Source(text), e)
    except LocalError:
        assume(False)
    rows = next(h for h in w.tables if h.party == party).rows
    assert printed(w, party, "t", e) == [values(w, e, party, row) for row in rows], text
    try:
        theirs = [v for (v,) in w.pooled.execute(f"SELECT {text} FROM {party}.t").fetchall()]
    except (duckdb.OutOfRangeException, duckdb.ConversionException, duckdb.InvalidInputException):
        return
    mine = [values(w, e, party, row) for row in rows]
    assert mine == [v if v is None or isinstance(v, str | bool) else Fraction(v) for v in theirs], text


#: every construct of a row expression at least once, with what the random ones seldom make
EXACTLY = """
ROUND(balance, -2)
ROUND(balance, 1)
ROUND(n * 1000 + 500, -3)
FLOOR(balance)
CEIL(balance)
CAST(balance AS DECIMAL(20, 1))
CAST(balance AS HUGEINT)
TRY_CAST(balance AS DECIMAL(5, 2))
TRY_CAST(cards AS DECIMAL(3, 0))
CAST('12.50' AS DECIMAL(6, 2)) + n
n // NULLIF(0, 0)
-7 // NULLIF(n, 0)
-7 % NULLIF(n, 0)
n // -4
n % -4
huge * 3 - huge
fine * 0.000001
huge // 1000000007
n = '3'
active = 'true'
opened >= '2010-06-30'
opened + 1
opened - 400
1 + opened
opened - DATE '1999-12-31'
EXTRACT(QUARTER FROM opened)
YEAR(opened) * 100 + MONTH(opened)
DAY(opened)
opened IN (DATE '2001-02-03', '2020-02-29', NULL)
opened BETWEEN '2001-01-01' AND DATE '2010-06-30'
CASE region WHEN 'north' THEN 1 WHEN 'south' THEN 2.5 END
IF(active, n, balance)
COALESCE(n, balance, 0.125)
COALESCE(opened, DATE '2000-01-01')
NULLIF(n, 3)
NULLIF(balance, 10.25)
NULLIF(balance, n)
NULLIF(region, 'north')
NULLIF(opened, '2001-02-03')
GREATEST(n, balance, 0)
LEAST(opened, DATE '2010-01-01')
GREATEST(region, 'o')
n IS NOT DISTINCT FROM NULL
active IS TRUE
active IS NOT FALSE
name LIKE '%''%'
name LIKE '50!%!_off' ESCAPE '!'
name NOT LIKE '_'
name ILIKE 'É'
name NOT ILIKE 'O%'
region < 'p'
'south' > region
name || region
CONCAT(uscc, '-', 'x')
UPPER(region) || LOWER('ABC')
SUBSTRING(name, 2)
SUBSTRING(name, 2, 1000000)
LEFT(name, 0)
RIGHT(name, 3)
LENGTH(name)
TRIM(' a ')
CAST(balance AS VARCHAR)
CAST(fine AS VARCHAR)
CAST(n AS VARCHAR)
CAST(opened AS VARCHAR)
CAST(active AS VARCHAR)
CAST(active AS BIGINT) * 2
CAST(n AS BOOLEAN)
active AND NULL
NOT (active OR NULL)
n IN (1, NULL)
n NOT IN (1, NULL)
uscc IN ('1', '2')
+ n - - 3
"""


@pytest.mark.parametrize("text", EXACTLY.strip().splitlines())
def test_expression(text: str) -> None:
    """Printed SQL, evaluation and DuckDB agree on hand-made rows."""
    w = bureau()
    for party in ("bank_a", "bank_b"):
        e = simplify(bind(w, f"{party}.accounts", text))
        rows = next(h for h in w.tables if h.party == party).rows
        typed = [tuple(_decimal(v, c.kind) for v, c in zip(r, _columns(w, party), strict=True)) for r in rows]
        mine = [values(w, e, party, row) for row in typed]
        assert printed(w, party, "accounts", e) == mine
        theirs = [v for (v,) in w.pooled.execute(f"SELECT {text} FROM {party}.accounts").fetchall()]
        assert mine == [_plain(v) for v in theirs]


def _columns(w: World, party: str) -> Any:
    return w.catalogs[party].tables[0].columns


def _decimal(v: Any, kind: str) -> Any:
    return Fraction(v) if v is not None and kind in ("integer", "decimal") else v


def _plain(v: Any) -> Datum:
    if v is None or isinstance(v, str | bool):
        return v
    return Fraction(v.toordinal() - 719163) if hasattr(v, "toordinal") else Fraction(v)


@pytest.mark.parametrize(
    ("top", "bottom", "cast", "width", "scale"),
    [
        ("balance", "n", "CAST", 30, 6),
        ("balance", "n", "CAST", 30, 0),
        ("balance", "n", "TRY_CAST", 4, 2),
        ("balance", "7", "CAST", 30, 1),
        ("n", "2.5", "CAST", 12, 1),
        ("cards", "balance", "CAST", 30, 3),
        ("huge", "n", "CAST", 38, 2),
    ],
)
def test_ratios_are_exact(top: str, bottom: str, cast: str, width: int, scale: int) -> None:
    """DuckDB divides doubles; ours are rounded half away from zero to the scale, NULL where the divisor is 0."""
    w, text = bureau(), f"{cast}({top} / {bottom} AS DECIMAL({width}, {scale}))"
    names = [c.name for c in _columns(w, "bank_a")]

    def exact(row: tuple[Any, ...]) -> Fraction | None:
        a, b = (row[names.index(x)] if x in names else Fraction(x) for x in (top, bottom))
        if a is None or not b:
            return None
        units = int(abs(Fraction(a) / Fraction(b)) * 10**scale + Fraction(1, 2))
        return None if units >= 10**width else Fraction(units if (a < 0) == (b < 0) else -units, 10**scale)

    rows = next(h for h in w.tables if h.party == "bank_a").rows
    typed = [tuple(_decimal(v, c.kind) for v, c in zip(r, _columns(w, "bank_a"), strict=True)) for r in rows]
    e = simplify(bind(w, "bank_a.accounts", text))
    assert printed(w, "bank_a", "accounts", e) == [values(w, e, "bank_a", row) for row in typed]
    assert printed(w, "bank_a", "accounts", e) == [exact(row) for row in typed]


@pytest.mark.parametrize("text", ["n // 0", "n % 0", "7 // n", "7 % n", "huge // n", "huge % (n - n)"])
def test_division_by_zero_is_null(text: str) -> None:
    """DuckDB raises an error, which would tell that there is a 0; ours is NULL (query.md: total operators only)."""
    w = bureau()
    e = simplify(bind(w, "bank_a.accounts", text))
    total = (
        text.replace("0", "NULLIF(0, 0)").replace("% (n - n)", "% NULLIF(n - n, 0)").replace("/ n", "/ NULLIF(n, 0)")
    )
    total = total.replace("% n", "% NULLIF(n, 0)")
    theirs = [v for (v,) in w.pooled.execute(f"SELECT {total} FROM bank_a.accounts").fetchall()]
    assert printed(w, "bank_a", "accounts", e) == [_plain(v) for v in theirs]
    assert None in theirs
