"""Made-up tables: they fit the catalog, joins meet, and SQL is refused with the words of a real refusal."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet
import pytest

from mpc.errors import LocalError
from mpc.query.catalog import Catalog, Column, Table
from parties import practice
from parties.demo.credit_code import verify_credit_code
from parties.node.sources.canonical import canonical

FIRMS = Table(
    "firms",
    (
        Column("uscc", "text", nullable=False, key=True, form="credit_code", size=18),
        Column("industry", "text", domain=("A", "B", "C")),
        Column("paid", "decimal", 2, -500, 10**12),
        Column("founded", "date", 0, 0, 20_000, nullable=False),
        Column("staff", "integer", 0, 1, 9),
        Column("listed", "boolean"),
        Column("note", "text"),
    ),
    2000,
    unique=True,
)
LOANS = Table(
    "loans",
    (
        Column("uscc", "text", nullable=False, key=True, form="credit_code", size=18),
        Column("owed", "integer", 0, 0, 99),
    ),
    500,
)
CATALOGS = {"tax": Catalog("tax", (FIRMS,)), "bank": Catalog("bank", (LOANS,))}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    practice.make(CATALOGS, tmp_path / "made", 400, 7)
    return tmp_path / "made"


def test_the_rows_fit_what_is_published(folder: Path) -> None:
    """Held against the catalog by the very check that a node makes of its own tables."""
    for party, catalog in CATALOGS.items():
        for table in catalog.tables:
            rows = pyarrow.parquet.read_table(folder / party / f"{table.name}.parquet")
            assert canonical(rows, table).num_rows == 400
    made = pyarrow.parquet.read_table(folder / "tax" / "firms.parquet").to_pydict()
    assert len(set(made["uscc"])) == 400 and set(made["industry"]) == {"A", "B", "C", None}
    assert None not in made["founded"] and None in made["paid"]
    for code in made["uscc"][:50]:
        verify_credit_code(code)


def test_joins_meet_and_the_seed_decides(folder: Path, tmp_path: Path) -> None:
    sql = "SELECT COUNT(*) AS n, SUM(b.owed) AS owed FROM tax.firms t JOIN bank.loans b USING (uscc)"
    [row] = practice.query(folder, sql, ("analyst",)).to_pylist()
    assert 50 < row["n"] < 400
    practice.make(CATALOGS, tmp_path / "again", 400, 7)
    practice.make(CATALOGS, tmp_path / "other", 400, 8)
    assert practice.query(tmp_path / "again", sql, ("analyst",)).to_pylist() == [row]
    assert practice.query(tmp_path / "other", sql, ("analyst",)).to_pylist() != [row]


def test_what_a_node_would_refuse_is_refused(folder: Path) -> None:
    for sql, code in (
        ("SELECT * FROM tax.firms", "sql.unsupported"),
        ("SELECT SUM(wages) FROM tax.firms", "sql.unknown_column"),
        ("DROP TABLE tax.firms", "sql.unsupported"),
        ("SELECT COUNT(*) FROM read_csv('/etc/hosts')", "sql.unsupported"),
    ):
        with pytest.raises(LocalError) as refused:
            practice.query(folder, sql, ("analyst",))
        assert refused.value.code in (code, "sql.unknown_table", "sql.syntax"), sql


def test_folders(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(LocalError) as refused:
        practice.make(CATALOGS, folder, 10, 1)
    assert refused.value.code == "config.exists"
    with pytest.raises(LocalError) as refused:
        practice.query(tmp_path, "SELECT COUNT(*) FROM tax.firms", ("analyst",))
    assert refused.value.code == "config.missing"
    assert json.loads((folder / "tax" / "catalog.json").read_text())["party"] == "tax"
