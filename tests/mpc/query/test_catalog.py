"""Catalogs: one encoding of each (checklist 24), strict reading, a digest of everything but row counts."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpc.errors import LocalError
from mpc.query.catalog import Catalog, Column, Table, round_up
from tests.mpc.query.bureau import bureau
from tests.mpc.query.datasets import PARTIES, world

CATALOGS = [*bureau().catalogs.values(), *world(len(PARTIES) - 1).catalogs.values()]


@pytest.mark.parametrize("catalog", CATALOGS, ids=lambda c: c.party)
def test_there_and_back(catalog: Catalog) -> None:
    again = Catalog.from_dict(json.loads(json.dumps(catalog.to_dict())))
    assert again == catalog and again.digest() == catalog.digest()


@given(st.integers(-(10**30), 10**30), st.integers(0, 10**30))
def test_bounds_beyond_what_json_numbers_hold(low: int, width: int) -> None:
    column = Column("x", "integer", 0, low, low + width, domain=(low, low + width))
    catalog = Catalog("a", (Table("t", (column,), 10),))
    assert Catalog.from_dict(json.loads(json.dumps(catalog.to_dict()))) == catalog


def field(path: str, value: Any) -> dict[str, Any]:
    """bank_a's catalog with one field changed; ``path`` as column.field or field of the table."""
    body = copy.deepcopy(bureau().catalogs["bank_a"].to_dict())
    table = body["tables"][0]
    name, _, key = path.partition(".")
    target = next((c for c in table["columns"] if c["name"] == name), None) if key else table
    assert target is not None
    target[key or name] = value
    return body


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("n.low", -10),
        ("n.low", "-010"),
        ("n.low", " -10"),
        ("n.low", "-1_0"),
        ("n.low", "１０"),
        ("n.low", "11"),
        ("n.low", "1e1"),
        ("n.low", 1.5),
        ("n.low", None),
        ("n.nullable", "false"),
        ("n.nullable", 0),
        ("n.key", "true"),
        ("n.kind", "float"),
        ("n.kind", "decimal "),
        ("n.scale", 2),
        ("balance.scale", "2"),
        ("balance.scale", 19),
        ("balance.scale", -1),
        ("balance.scale", True),
        ("region.domain", [1, 2]),
        ("region.domain", [None]),
        ("n.domain", [1]),
        ("active.domain", ["true"]),
        ("n.name", 5),
        ("n.name", "balance"),
        ("n.name", "BALANCE"),
        ("n.domian", ["1"]),
        ("name", None),
        ("rows", "10"),
        ("rows", 1.0),
        ("rows", True),
        ("rows", -1),
        ("row", 3),
        ("columns", None),
    ],
)
def test_anything_else_is_refused(path: str, value: Any) -> None:
    with pytest.raises(LocalError) as caught:
        Catalog.from_dict(field(path, value))
    assert caught.value.code == "plan.catalog"


def test_two_tables_of_one_name() -> None:
    body = bureau().catalogs["tax"].to_dict()
    body["tables"].append({**body["tables"][0], "name": "FIRMS"})
    with pytest.raises(LocalError):
        Catalog.from_dict(body)


@pytest.mark.parametrize("path", ["n.low", "n.high", "n.nullable", "n.key", "n.unit", "region.domain", "description"])
def test_every_field_but_the_rows_is_in_the_digest(path: str) -> None:
    value = {"n.low": "-11", "n.high": "11", "n.nullable": False, "n.key": True, "region.domain": ["north"]}.get(
        path, "x"
    )
    digest = bureau().catalogs["bank_a"].digest()
    assert Catalog.from_dict(field(path, value)).digest() != digest
    assert Catalog.from_dict(field("rows", 10**6)).digest() == digest


@pytest.mark.parametrize(
    ("rows", "published"),
    [(0, 10), (1, 10), (10, 10), (11, 20), (99, 100), (101, 110), (999, 1000), (123_456, 130_000)],
)
def test_row_counts_are_rounded_up(rows: int, published: int) -> None:
    assert round_up(rows) == published
