"""Deposits at the command line, between real processes, with keys of full length."""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from parties.processes import Processes
from tests.parties.cli.program import BANKS, BY_GRADE, EXPECTED, Done, good, heji, init

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]  # processes start slowly where all tests run at once

CLOSES = ("--method", "paillier", "--closes", "2099-12-31")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    made = init(tmp_path_factory.mktemp("deposits"))
    for bank in BANKS:
        policy, settings = made / bank / "policy.toml", made / bank / "member.toml"
        policy.write_text(policy.read_text().rstrip() + '\ntrust = ["deposit"]\n')
        settings.write_text(settings.read_text() + "\ndeposit_seconds = 0\n")
    with Processes(made):
        yield made


def ask(folder: Path, *words: str, **environment: str) -> Done:
    return heji(*words, HEJI_CONSORTIUM=str(folder), **environment)


def soon(folder: Path, *words: str) -> Done:
    """The same with a closing date in thirty days."""
    day = (dt.date.today() + dt.timedelta(days=30)).isoformat()
    return ask(folder, *(day if w == CLOSES[-1] else w for w in words))


@pytest.fixture(scope="module")
def job(folder: Path) -> str:
    """A job for which all but bank_a have deposited, which has taken its deposit back."""
    asked = soon(folder, "query", BY_GRADE, "--to", "analyst", *CLOSES, "--early")
    found = good(asked).strip()
    assert re.fullmatch("[0-9a-f]{64}", found) and "Deposits are taken until" in asked.err
    for bank in BANKS:
        assert "deposited." in good(ask(folder, "deposit", found[:12], "--as", bank))
        if bank == "bank_a":
            assert "withdrawn." in good(ask(folder, "deposit", "withdraw", found[:12], "--as", "bank_a"))
    return found


def test_what_is_told_beforehand(folder: Path) -> None:
    told = good(soon(folder, "explain", BY_GRADE, "--to", "analyst", *CLOSES))
    assert "Trust: deposit" in told and "coordinator and analyst together" in told


def test_from_the_question_to_the_result(folder: Path, job: str) -> None:
    assert "2 of 3 deposited; waiting for bank_a" in good(ask(folder, "jobs", "show", job, "--as", "analyst"))
    [told] = json.loads(good(ask(folder, "deposit", "list", "--as", "bank_a", "--json")))
    assert (told["job"], told["state"]) == (job, "withdrawn")
    assert "deposited." in good(ask(folder, "deposit", job[:12], "--as", "bank_a"))
    good(ask(folder, "jobs", "wait", job, "--as", "analyst"))
    raw = good(ask(folder, "jobs", "result", job, "--as", "analyst", "--format", "json"))
    result = json.loads(raw, parse_float=Decimal)
    assert sum(Decimal(str(r["total"])) for r in result["rows"]) == EXPECTED
    assert result["statement"]["deposits"] == {"of": list(BANKS), "missing": []}
    assert "released" in good(ask(folder, "deposit", "list", "--as", "bank_b"))


def test_the_same_under_bfv(folder: Path, job: str) -> None:
    words = tuple("bfv" if w == "paillier" else w for w in CLOSES)
    told = good(soon(folder, "explain", BY_GRADE, "--to", "analyst", *words))
    assert "BFV ciphertext(s)" in told and "bfv       each party deposits when it likes" in told
    found = good(soon(folder, "query", BY_GRADE, "--to", "analyst", *words, "--early")).strip()
    for bank in BANKS:
        assert "deposited." in good(ask(folder, "deposit", found[:12], "--as", bank))
    good(ask(folder, "jobs", "wait", found, "--as", "analyst"))
    raw = good(ask(folder, "jobs", "result", found, "--as", "analyst", "--format", "json"))
    result = json.loads(raw, parse_float=Decimal)
    assert sum(Decimal(str(r["total"])) for r in result["rows"]) == EXPECTED
    keys = good(ask(folder, "deposit", "key", "--method", "bfv", "--rotate", "--as", "analyst")).splitlines()
    assert [line.split("  ")[1] for line in keys if "in use" in line] == ["bfv", "paillier"]
    assert len([line for line in keys if "bfv" in line]) == 2


def test_ckks_says_how_far_off_it_was(folder: Path, job: str) -> None:
    words = tuple("ckks" if w == "paillier" else w for w in CLOSES)
    told = good(soon(folder, "explain", BY_GRADE, "--to", "analyst", *words))
    assert "CKKS ciphertext(s) a party, off by 0.0" in told and "ckks      each party deposits when it likes" in told
    found = good(soon(folder, "query", BY_GRADE, "--to", "analyst", *words, "--early")).strip()
    for bank in BANKS:
        assert "deposited." in good(ask(folder, "deposit", found[:12], "--as", bank))
    good(ask(folder, "jobs", "wait", found, "--as", "analyst"))
    result = ask(folder, "jobs", "result", found, "--as", "analyst")
    assert "of a last digit at most, rounded: exact" in " ".join(result.err.split()) and not result.status
    keys = good(ask(folder, "deposit", "key", "--method", "ckks", "--as", "analyst"))
    assert any("ckks" in line and "in use" in line for line in keys.splitlines())


def test_keys_and_evidence(folder: Path, job: str) -> None:
    told = good(ask(folder, "deposit", "key", "--rotate", "--as", "analyst")).splitlines()
    both = [line for line in told if "paillier" in line]
    assert len(both) == 2 and "3072 bits" in both[0] and "opens older totals" in both[1]
    bundle = folder.parent / "bundle.zip"
    good(ask(folder, "audit", "export", job, "--out", str(bundle), "--as", "coordinator"))
    assert " 0 failed" in good(heji("audit", "verify", bundle))
    assert "depositor" in good(ask(folder, "audit", "replay", job, "--as", "bank_a"))


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("query", BY_GRADE, "--to", "analyst", "--method", "paillier"), "config.missing"),
        (("query", BY_GRADE, "--to", "analyst", "--method", "paillier", "--closes", "soon"), "config.invalid"),
        (("query", BY_GRADE, "--to", "analyst", "--closes", "2099-12-31"), "config.invalid"),
        (("query", BY_GRADE, "--to", "analyst", "--method", "paillier", "--closes", "2001-12-31"), "job.expired"),
        (("query", BY_GRADE, "--to", "analyst", *CLOSES), "job.expired"),  # more than a year away
        (("query", "SELECT COUNT(*) FROM bank_a.accounts", "--to", "analyst", *CLOSES), "plan.deposit"),
        (("deposit", "list", "--as", "analyst"), "config.missing"),
        (("deposit", "00000000", "--as", "bank_a"), "job.unknown"),
        (("deposit", "00", "--as", "bank_a"), "job.unknown"),
        (("deposit", "key", "--as", "coordinator"), "plan.trust"),
    ],
)
def test_mistakes(folder: Path, words: tuple[str, ...], code: str) -> None:
    done = ask(folder, *words)
    assert done.status == 1 and f"[{code}" in done.err, done.err


def test_two_digits_name_no_job(folder: Path, job: str) -> None:
    """Also where they are the beginning of one job only: a slip of the finger deposits nothing."""
    for words in (("deposit", job[:2]), ("deposit", "withdraw", job[:7]), ("jobs", "approve", job[:2])):
        done = ask(folder, *words, "--as", "bank_a")
        assert done.status == 1 and "at least its first 8 are needed" in done.err, done.err


def test_a_coordinators_key_is_not_made(folder: Path) -> None:
    done = ask(folder, "deposit", "key", "--as", "coordinator")
    assert "could open every single deposit" in done.err and not (folder / "coordinator" / "keys" / "deposits").exists()
