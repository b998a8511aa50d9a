"""What members declare about the demo's tables is true of the files, and is a catalog and a policy like any other."""

from __future__ import annotations

import tomllib
from pathlib import Path

import duckdb
import pytest

from mpc.query.catalog import Catalog
from parties.demo import tables as demo
from parties.demo.plaintext import plaintext
from parties.demo.tables import DemoTable


def test_every_member_gets_files_of_its_own(tables: tuple[DemoTable, ...]) -> None:
    assert [(t.party, t.table.name) for t in tables] == [
        ("tax", "firms"),
        ("bank_a", "accounts"),
        ("bank_b", "accounts"),
        ("telecom", "firms"),
        ("bank_a", "applicants"),
        ("bank_a", "loans"),
        ("bank_b", "loans"),
        ("tax", "borrowers"),
        ("telecom", "customers"),
    ]
    assert all(t.path.is_file() and t.path.parent.name == t.party for t in tables)
    assert {(t.party, t.table.name) for t in tables} == set(demo.DECLARED)


def test_catalogs_survive_publication(tables: tuple[DemoTable, ...]) -> None:
    for party in demo.DATA_PARTIES:
        catalog = Catalog(party, tuple(t.table for t in tables if t.party == party))
        assert Catalog.from_dict(catalog.to_dict()) == catalog


def test_declarations_are_true(tables: tuple[DemoTable, ...]) -> None:
    for t in tables:
        name = f'"{t.party}"."{t.table.name}"'
        source = f"read_csv('{t.path}', all_varchar=true)" if t.path.suffix == ".csv" else f"'{t.path}'"
        with duckdb.connect() as database:
            columns = [c[0] for c in database.execute(f"DESCRIBE SELECT * FROM {source}").fetchall()]
        assert columns == [c.name for c in t.table.columns], name
        facts = ["COUNT(*) AS n"]
        for c in t.table.columns:
            x = f'"{c.name}"'
            units = {
                "decimal": f"CAST({x} * {10**c.scale} AS HUGEINT)",
                "date": f"{x} - DATE '1970-01-01'",
                "boolean": f"CAST({x} AS BIGINT)",
                "integer": x,
                "text": "NULL",
            }[c.kind]
            facts.append(f"""{{'present': COUNT({x}), 'low': MIN({units}), 'high': MAX({units}),
                              'labels': LIST(DISTINCT {x}) FILTER ({x} IS NOT NULL AND {c.domain is not None})}}
                             AS {x}""")
        (row,) = plaintext((t,), f"SELECT {', '.join(facts)} FROM {name}").to_pylist()
        assert row["n"] <= t.table.rows
        for c in t.table.columns:
            fact = row[c.name]
            assert c.nullable or fact["present"] == row["n"], (name, c.name)
            if c.low is not None and c.high is not None:
                assert c.low <= fact["low"] <= fact["high"] <= c.high, (name, c.name)
            if c.domain is not None:
                assert set(fact["labels"]) <= set(c.domain), (name, c.name)


def test_no_value_is_changed_by_its_declared_scale(tables: tuple[DemoTable, ...]) -> None:
    for t in tables:
        if t.path.suffix == ".csv":
            decimals = [c for c in t.table.columns if c.kind == "decimal"]
            wrong = " + ".join(
                f'COUNT(*) FILTER (WHERE CAST("{c.name}" AS DECIMAL(38,6)) <> CAST("{c.name}" AS {c.type_name}))'
                for c in decimals
            )
            row = duckdb.execute(f"SELECT {wrong} FROM read_csv('{t.path}', all_varchar=true)").fetchone()
            assert row == (0,), t.table.name


def test_grants_are_policy_text(tables: tuple[DemoTable, ...]) -> None:
    for t in tables:
        grants = tomllib.loads(t.policy_toml()).get("grant", [])
        assert all(g["table"] == t.table.name and g["approval"] == "auto" and t.party not in g["to"] for g in grants)
        granted = {c for g in grants for c in g["columns"]}
        assert {c.name for c in t.table.columns} - granted == set(demo.DECLARED[t.party, t.table.name][2])


@pytest.mark.parametrize("count", [100, 5000])
def test_other_sizes(tmp_path: Path, count: int) -> None:
    made = demo.prepare(tmp_path, count, seed=9)
    (row,) = plaintext(made, "SELECT COUNT(*) AS n FROM tax.firms").to_pylist()
    assert 0.9 * count < row["n"] <= count
