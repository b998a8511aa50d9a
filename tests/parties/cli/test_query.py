"""``heji query``: every form of SQL given and result shown, and what is refused in words for people."""

from __future__ import annotations

import csv
import io
import json
import re
import tomllib
from decimal import Decimal
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.parties.cli.program import (
    BANKS,
    BY_GRADE,
    EXPECTED,
    ROWS,
    TOGETHER,
    UNGRANTED,
    Ask,
    Up,
    balances,
    good,
    heji,
)

pytestmark = pytest.mark.slow


def test_table(ask: Ask) -> None:
    done = ask("query", TOGETHER)
    assert f"{EXPECTED:,}" in good(done) and "72" in done.out
    assert "from bank_a, bank_b, bank_c" in done.err and "job " not in done.out


def test_json_numbers_have_all_their_digits(ask: Ask) -> None:
    told = json.loads(good(ask("query", TOGETHER, "--format", "json", "--purpose", "test")), parse_float=Decimal)
    assert told["rows"] == [{"together": EXPECTED, "n": 3 * ROWS}]
    assert told["statement"]["purpose"] == "test"
    assert sorted(told["statement"]["policies"]) == list(BANKS)


def test_csv(ask: Ask) -> None:
    read = list(csv.DictReader(io.StringIO(good(ask("query", BY_GRADE, "--format", "csv")))))
    assert [r["grade"] for r in read] == ["A", "B"]
    assert sum(Decimal(r["total"]) for r in read) == EXPECTED


@pytest.mark.parametrize("form", ["json", "csv", "parquet"])
def test_out(ask: Ask, tmp_path: Path, form: str) -> None:
    path = tmp_path / f"result.{form}"
    done = ask("query", TOGETHER, "--format", form, "--out", path)
    assert good(done) == ""
    assert f"Written to {path}" in done.err.replace("\n", "")
    if form == "parquet":
        assert pq.read_table(path).to_pylist() == [{"together": EXPECTED, "n": 3 * ROWS}]
    else:
        assert str(EXPECTED) in path.read_text()
    assert [p.name for p in tmp_path.iterdir()] == [path.name]  # no half-written file beside it


def test_what_could_not_be_written_is_not_asked(ask: Ask, tmp_path: Path) -> None:
    before = json.loads(good(ask("jobs", "list", "--json")))
    assert "Add --out FILE" in ask("query", TOGETHER, "--format", "parquet").err
    assert "no folder" in ask("query", TOGETHER, "--out", tmp_path / "no" / "file.csv").err
    assert json.loads(good(ask("jobs", "list", "--json"))) == before


def test_sql_from_file_stdin_and_with_a_comment_in_front(ask: Ask, tmp_path: Path) -> None:
    commented = f"-- what we have together\n{TOGETHER}"
    (tmp_path / "q.sql").write_text(f"\ufeff{commented}\n", encoding="utf-8")
    for done in (
        ask("query", commented, "--format", "json"),
        ask("query", "-f", tmp_path / "q.sql", "--format", "json"),
        ask("query", "-", "--format", "json", told=commented),
        ask("query", "--format", "json", "-", told=commented),
    ):
        assert json.loads(good(done), parse_float=Decimal)["rows"] == [{"together": EXPECTED, "n": 3 * ROWS}]


def test_sql_is_given_once_and_in_utf8(ask: Ask, tmp_path: Path) -> None:
    (tmp_path / "q.sql").write_bytes(b"SELECT '\xb0\xa1'")
    assert "not UTF-8" in ask("query", "-f", tmp_path / "q.sql").err
    assert "not UTF-8" in ask("query", "-", told=b"SELECT '\xb0\xa1'").err
    assert "Give the SQL once" in ask("query").err
    assert "Give the SQL once" in ask("query", TOGETHER, "-f", tmp_path / "q.sql").err
    assert "No such file" in ask("query", "-f", tmp_path / "none.sql").err


def test_who_is_not_the_recipient_gets_the_job_id_only(ask: Ask) -> None:
    done = ask("query", TOGETHER, "--to", "bank_a", "--as", "analyst")
    job = good(done).strip()
    assert re.fullmatch("[0-9a-f]{64}", job)
    assert "not to analyst" in done.err
    assert good(ask("jobs", "wait", job)).strip() == "done"
    refused = ask("jobs", "result", job)
    assert (refused.status, refused.out) == (1, "") and "job.not_recipient" in refused.err
    got = json.loads(good(ask("jobs", "result", job, "--as", "bank_a", "--format", "json")), parse_float=Decimal)
    assert got["rows"][0]["together"] == EXPECTED


def test_a_recipient_asks_under_its_own_name(ask: Ask) -> None:
    told = json.loads(good(ask("query", TOGETHER, "--to", "bank_b", "--format", "json")))
    assert (told["statement"]["submitter"], told["statement"]["recipient"]) == ("bank_b", "bank_b")


@pytest.mark.parametrize(
    ("sql", "words"),
    [
        ("SELECT SUM(balance FROM bank_a.accounts", ("Line 1, column 20", "[sql.syntax]")),
        (
            "SELECT\n  SUM(balanse) AS s\nFROM bank_a.accounts",
            ("Line 2, column 7", "Did you mean balance?", "[sql.unknown_column]"),
        ),
        ("SELECT SUM(balance) AS s FROM bank_a.acounts", ("Line 1, column 31", "Did you mean bank_a.accounts?")),
        ("SELECT SUM(balance) AS s FROM bank_x.accounts", ("Did you mean",)),
    ],
)
def test_bad_sql(ask: Ask, sql: str, words: tuple[str, ...]) -> None:
    for command in ("query", "explain"):
        done = ask(command, sql)
        assert (done.status, done.out) == (1, "")
        assert all(w in done.err for w in words), done.err


def test_a_refusal_prints_the_grant_to_paste(ask: Ask, running: Up) -> None:
    done = ask("query", UNGRANTED, "--format", "json")
    assert (done.status, done.out) == (1, "")
    assert done.err.startswith("Refused: The policy of bank_c does not allow this job:")
    assert "[policy.refused]" in done.err
    assert all(line == line.rstrip() for line in done.err.splitlines())  # no blanks to copy along
    grant = done.err[done.err.index("  [[grant]]") : done.err.index("[policy.refused]")]
    assert tomllib.loads(grant)["grant"][0]["table"] == "secret"
    policy = running.folder / "bank_c" / "policy.toml"
    before = policy.read_text()
    try:
        policy.write_text(f"{before}\n{grant}")  # pasted as it stands
        told = json.loads(good(ask("query", UNGRANTED, "--format", "json")), parse_float=Decimal)
        assert told["rows"] == [{"s": sum(balances("bank_c"))}]
    finally:
        policy.write_text(before)


def test_names_that_are_nobody(ask: Ask) -> None:
    assert "Did you mean analyst?" in ask("catalog", "--as", "analist").err
    wrong = ask("query", TOGETHER, "--to", "bank_d", "--as", "analyst")
    assert (wrong.status, wrong.out) == (1, "") and "[roster.unknown]" in wrong.err
    elsewhere = ask("query", TOGETHER, "--to", "bank_d")
    assert elsewhere.status == 1 and "Whose identity should be used?" in elsewhere.err


def test_wrong_command_lines_have_status_2(ask: Ask) -> None:
    for words in (("querry", TOGETHER), ("query", TOGETHER, "--format", "xml"), ("query", TOGETHER, "--nonsense")):
        done = ask(*words)
        assert (done.status, done.out) == (2, "") and done.err


@pytest.mark.parametrize(
    "words", [(), ("query",), ("explain",), ("jobs", "list"), ("node", "table", "add"), ("up",), ("demo",)]
)
def test_help(words: tuple[str, ...]) -> None:
    shown = good(heji(*words, "--help"))
    assert "Usage: heji" in shown and "Traceback" not in shown
