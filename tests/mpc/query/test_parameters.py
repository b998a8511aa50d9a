"""Parameters are constants of the parsed query, whatever their values say."""

from __future__ import annotations

import pytest

from mpc.errors import LocalError
from mpc.query.catalog import Catalog, Column, Table
from mpc.query.compile import compile_plan
from mpc.query.parameters import names_of
from mpc.query.plan import Plan

CATALOGS = {
    "bank": Catalog(
        "bank",
        (
            Table(
                "accounts",
                (
                    Column("uscc", "text", nullable=False, key=True),
                    Column("grade", "text", domain=("A", "B")),
                    Column("balance", "decimal", 2, 0, 10**11),
                    Column("opened", "date", 0, 0, 25_000),
                ),
                1000,
            ),
        ),
    )
}
HEAD = "SELECT SUM(balance) AS s FROM bank.accounts WHERE "


def plan(where: str, **values: str) -> Plan:
    return compile_plan(HEAD + where, CATALOGS, recipients=("analyst",), trust="helper", parameters=values)


def refusal(where: str, **values: str) -> LocalError:
    with pytest.raises(LocalError) as caught:
        plan(where, **values)
    return caught.value


@pytest.mark.parametrize(
    ("with_parameters", "values", "with_constants"),
    [
        ("grade = $g", {"g": "A"}, "grade = 'A'"),
        ("grade IN ($g, $h, $g)", {"g": "A", "h": "B"}, "grade IN ('A', 'B', 'A')"),
        ("opened >= $day", {"day": "2026-11-01"}, "opened >= '2026-11-01'"),
        ("opened >= CAST($day AS DATE)", {"day": "2026-11-01"}, "opened >= DATE '2026-11-01'"),
        ("balance > $least", {"least": "12.50"}, "balance > '12.50'"),
        ("grade LIKE $like", {"like": "A%"}, "grade LIKE 'A%'"),
    ],
)
def test_a_parameter_is_the_constant_it_stands_for(
    with_parameters: str, values: dict[str, str], with_constants: str
) -> None:
    assert plan(with_parameters, **values).digest() == plan(with_constants).digest()


HOSTILE = [
    "' OR '1' = '1",
    "A' --",
    "$g",
    "A'); DROP TABLE accounts; --",
    "\\' OR 1=1",
    "uscc",
    "A\nOR TRUE",
    "''",
    "あ",
]


@pytest.mark.parametrize("value", HOSTILE)
def test_a_value_is_never_sql(value: str) -> None:
    """Whatever it says, the plan is that of one quoted constant, and its local SQL has it as one."""
    quoted = value.replace("'", "''")
    assert plan("grade = $g", g=value).digest() == plan(f"grade = '{quoted}'").digest()


def test_a_value_stays_a_constant_beside_numbers_and_dates() -> None:
    for where, value in (("balance > $x", "balance"), ("balance > $x", "1 OR 1=1"), ("opened > $x", "opened")):
        assert refusal(where, x=value).code == "sql.type"
    assert refusal("grade = 'A' GROUP BY grade LIMIT $n", n="5 OFFSET 1").code == "sql.unsupported"


def test_each_has_its_value_and_each_value_its_parameter() -> None:
    error = refusal("grade = 'A' AND opened < $day")
    assert error.code == "sql.parameter" and "$day" in error.message and "--param day=" in error.advice
    assert (error.facts["line"], error.facts["column"]) == (1, len(HEAD + "grade = 'A' AND ") + 1)
    error = refusal("grade = $g", g="A", other="B")
    assert error.code == "sql.parameter" and "$other" in error.message and "$g" in error.advice
    assert refusal("grade = $G", g="A").code == "sql.parameter"  # a name is as it is written


@pytest.mark.parametrize("where", ["grade = ?", "grade = $1"])
def test_parameters_have_names(where: str) -> None:
    assert refusal(where).code == "sql.unsupported"


@pytest.mark.parametrize(
    "values", [{"1": "A"}, {"g h": "A"}, {"": "A"}, {"g": "x" * 1001}, {"g": "\x00"}, {f"g{i}": "" for i in range(51)}]
)
def test_names_and_values_are_bounded(values: dict[str, str]) -> None:
    with pytest.raises(LocalError, match=r"name of a parameter|too long|at most"):
        compile_plan(HEAD + "grade = $g", CATALOGS, recipients=("a",), trust="helper", parameters=values)


def test_names_of_a_query() -> None:
    assert names_of("SELECT SUM(x) FROM a.t WHERE m = $month AND '$no' = $yes -- $nor") == {"month", "yes"}
    assert names_of("SELECT 1") == frozenset()
