"""The real tables: unchanged copies, split without losing or doubling a row or a column."""

from __future__ import annotations

import csv
import hashlib
from pathlib import Path

import pytest

from mpc.errors import LocalError
from parties.demo import datasets

PROVENANCE = Path(__file__).parents[3] / "examples" / "data" / "PROVENANCE.md"


@pytest.mark.parametrize("name", ["lending_club.csv", "telco_churn.csv"])
def test_copies_are_the_ones_of_the_provenance(name: str) -> None:
    digest = hashlib.sha256(datasets.find(name).read_bytes()).hexdigest()
    assert f"{digest}  {name}" in PROVENANCE.read_text(encoding="utf-8")


def test_unknown_file_says_what_to_do() -> None:
    with pytest.raises(LocalError) as caught:
        datasets.find("nothing.csv")
    assert caught.value.code == "config.missing"


def _source(name: str) -> list[dict[str, str]]:
    with datasets.find(name).open(encoding="utf-8") as lines:
        return list(csv.DictReader(lines))


def test_two_lenders_and_the_tax_authority_hold_every_row_and_column_once() -> None:
    source = _source("lending_club.csv")
    a, b, tax = datasets.loans(1), datasets.loans(0), datasets.borrowers()
    assert set(a["loan_id"].to_pylist()).isdisjoint(b["loan_id"].to_pylist())
    lent = {row["loan_id"]: row for table in (a, b) for row in table.to_pylist()}
    known = {row["loan_id"]: row for row in tax.to_pylist()}
    assert len(lent) == len(known) == len(source) == 9857
    assert not set(datasets.TAX_COLUMNS) & set(a.column_names)
    for row in source:
        number = row.pop("rownames").zfill(5)
        rebuilt = lent[number] | known[number]
        assert rebuilt.pop("grade") == row["sub_grade"][0]
        assert rebuilt.pop("loan_id") == number
        assert rebuilt == {("class" if k == "Class" else k): v for k, v in row.items()}


def test_customers_keep_their_values() -> None:
    source, table = _source("telco_churn.csv"), datasets.customers().to_pylist()
    assert len(source) == len(table) == 7043
    for row, read in zip(source, table, strict=True):
        assert read["churn"] is (row["churn"] == "Yes")
        assert read["female"] is (row["female"] == "1")
        assert (read["total_charges"] or "") == row["total_charges"]
        assert read["contract"] == row["contract"]
