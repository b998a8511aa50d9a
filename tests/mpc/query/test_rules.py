"""Rules of rewriting: fixtures of what each does alone, and a property: what is rewritten keeps its value.

fixtures/query/rules/<rule>.sql: an expression over bank_a.accounts, and behind ``-->`` what the rule makes of it.
"""

from __future__ import annotations

import pkgutil
from random import Random

import pytest
import sqlglot
from hypothesis import given
from hypothesis import strategies as st

from mpc.query import build, rules
from mpc.query.build import FALSE
from mpc.query.evaluate import Datum, constant, evaluate
from mpc.query.nodes import Column, Const, Expr, columns, is_null, rebuild
from mpc.query.parse import Source
from mpc.query.relations import QueryBinder, RowBinder, Rows
from mpc.query.rules import RULES, Rule, simplify, simplify_filter
from mpc.query.show import show
from tests.mpc.query.bureau import bureau
from tests.mpc.query.datasets import WORLDS, column, world
from tests.mpc.query.golden import FIXTURES, same
from tests.mpc.query.questions import Expressions
from tests.mpc.query.test_random_sql import relaxed
from tests.mpc.query.world import World

BY_NAME = {rule.__name__: rule for rule in RULES}


def bind(w: World, table: str, text: str) -> Expr:
    """A row expression as it is bound, before any rule."""
    source = Source(text)
    binder = QueryBinder(source, w.catalogs)
    visible = binder.visible(sqlglot.parse_one(f"SELECT 1 FROM {table}", dialect="duckdb").args["from_"].this)
    assert isinstance(visible.relation, Rows)
    node = sqlglot.parse_one(f"SELECT {text}", dialect="duckdb").expressions[0]
    return RowBinder(source, visible, visible.relation.branches[0]).bind(node)


def alone(e: Expr, rule: Rule) -> Expr:
    """One rule only, bottom up, until it changes nothing."""
    e = rebuild(e, lambda x: alone(x, rule))
    changed = rule(e)
    return e if changed == e else alone(changed, rule)


def inputs(name: str) -> list[str]:
    lines = (FIXTURES / "rules" / f"{name}.sql").read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("-->")]


def test_every_rule_has_fixtures() -> None:
    files = {m.name for m in pkgutil.iter_modules(rules.__path__)}
    assert files == set(BY_NAME) == {p.stem for p in (FIXTURES / "rules").glob("*.sql")}


@pytest.mark.parametrize("name", sorted(BY_NAME))
def test_rule(name: str) -> None:
    made = []
    for text in inputs(name):
        before = bind(bureau(), "bank_a.accounts", text)
        after = alone(before, BY_NAME[name])
        assert after != before, text
        made.append(f"{text}\n--> {show(after)}\n")
    same(f"rules/{name}.sql", "\n".join(made))


@pytest.mark.parametrize(
    "text",
    [
        "cards < 0 AND active",
        "n > 10",
        "n IN (11, 12, NULL)",
        "n = 11 OR n < -10",
        "NULL",
        "active AND NOT active AND n > 10",
    ],
)
def test_a_condition_that_is_never_true(text: str) -> None:
    """n can be NULL, so that n > 10 is NULL or FALSE: the same to a WHERE, not to a value."""
    e = bind(bureau(), "bank_a.accounts", text)
    assert simplify_filter(e) == FALSE


@pytest.mark.parametrize("text", ["n > 9", "n IN (10, 11)", "n IS NULL", "NOT (n > 10)", "active"])
def test_a_condition_that_may_be_true(text: str) -> None:
    assert simplify_filter(bind(bureau(), "bank_a.accounts", text)) != FALSE


# ---- expressions over rows


def values(w: World, e: Expr, party: str, row: tuple[object, ...]) -> Datum:
    """The value in one row, exactly."""
    held = next(h for h in w.tables if h.party == party)
    names = [c.name for c in held.table.columns]

    def leaf(c: Expr) -> Datum:
        assert isinstance(c, Column)
        value = row[names.index(c.name)]
        if value is not None and c.kind in ("integer", "decimal"):
            value = int(value * 10**c.scale)  # type: ignore[operator]
        elif value is not None and c.kind == "date":
            value = value.toordinal() - 719163  # type: ignore[attr-defined]
        return constant(Const(c.kind, c.scale, None, None, True, value))  # type: ignore[arg-type]

    return evaluate(e, leaf)


anything = given(st.integers(0, WORLDS - 1), st.randoms(use_true_random=False))


@relaxed
@anything
def test_rules_keep_values_and_bounds(seed: int, random: Random) -> None:
    w = world(seed)
    party = random.choice(sorted(w.catalogs))
    made = Expressions(random, lambda k: column(k, party))
    text = random.choice([made.number, made.condition, made.text])(3)
    before = bind(w, f"{party}.t", text)
    after = simplify(before)
    assert simplify(after) == after
    for row in next(h for h in w.tables if h.party == party).rows:
        value = values(w, before, party, row)
        assert values(w, after, party, row) == value, text
        for e in (before, after):
            assert value is not None or e.nullable, text
            if value is not None and e.low is not None and e.high is not None:
                assert e.low <= value * 10**e.scale <= e.high, text  # type: ignore[operator]
    assert set(columns(after)) <= set(columns(before))


@relaxed
@anything
def test_condition_rules_keep_what_passes(seed: int, random: Random) -> None:
    w = world(seed)
    party = random.choice(sorted(w.catalogs))
    before = bind(w, f"{party}.t", Expressions(random, lambda k: column(k, party)).condition(3))
    after = simplify_filter(before)
    for row in next(h for h in w.tables if h.party == party).rows:
        assert (values(w, after, party, row) is True) == (values(w, before, party, row) is True)


def test_two_nulls_are_alike_whatever_the_bounds() -> None:
    before = bind(bureau(), "bank_a.accounts", "EXTRACT(YEAR FROM opened) IS NOT DISTINCT FROM n")
    assert alone(before, BY_NAME["decide"]) == before


def test_a_case_of_nulls_of_two_types_is_null() -> None:
    flag = Column("boolean", 0, 0, 1, True, "a", "t", "flag")
    x = Column("decimal", 2, 0, 99, True, "a", "t", "x")
    nothing = build.case([(FALSE, x)], build.NULL)  # in the type of x
    assert is_null(simplify(build.case([(flag, nothing)], build.NULL)))
    assert is_null(simplify(build.arith("+", x, build.case([(flag, nothing)], build.NULL))))
