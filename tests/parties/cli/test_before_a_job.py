"""What is there to ask for, and what would become of a question: ``heji catalog``, ``heji explain``."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest

from tests.parties.cli.program import BANKS, BY_GRADE, UNGRANTED, Ask, Up, good, heji

pytestmark = pytest.mark.slow


def test_catalog(ask: Ask) -> None:
    shown = good(ask("catalog"))  # the analyst is the only member that serves nothing
    assert "balance" in shown and "DECIMAL(38,2)" in shown
    told = json.loads(good(ask("catalog", "--json", "--as", "bank_a")))
    assert [c["party"] for c in told["catalogs"]] == list(BANKS)
    assert told["missing"] == {}
    assert "bank_a-1" not in shown + json.dumps(told)  # never a value of a key


def test_consortium_comes_from_option_environment_or_current_folder(running: Up, tmp_path: Path) -> None:
    told = good(heji("catalog", "--json", "--consortium", running.folder))
    assert good(heji("catalog", "--json", HEJI_CONSORTIUM=str(running.folder))) == told
    assert good(heji("catalog", "--json", cwd=running.folder)) == told
    assert good(heji("catalog", "--json", "--consortium", running.folder / "bank_b")) == told
    nowhere = heji("catalog", cwd=tmp_path)
    assert (nowhere.status, nowhere.out) == (1, "")
    assert "holds no member's folder" in nowhere.err and "$HEJI_CONSORTIUM" in nowhere.err


def test_explain(ask: Ask) -> None:
    before = good(ask("jobs", "list", "--json", "--as", "bank_c"))
    told = json.loads(good(ask("explain", BY_GRADE, "--to", "analyst", "--json")))
    assert told["verdicts"] == dict.fromkeys(BANKS)
    (first, *_rest) = told["local_queries"]
    short, full = good(ask("explain", BY_GRADE)), good(ask("explain", BY_GRADE, "--sql"))
    assert f"    {first['sql']}" in full.splitlines()
    assert first["sql"] not in short and max(len(line) for line in short.splitlines() if "SELECT" in line) <= 80
    assert "bank_a would approve." in short
    assert good(ask("jobs", "list", "--json", "--as", "bank_c")) == before  # nothing ran


def test_explain_tells_a_refusal_beforehand(ask: Ask) -> None:
    said = good(ask("explain", UNGRANTED))
    assert "bank_c would refuse" in said
    assert tomllib.loads(said[said.index("  [[grant]]") :])["grant"][0]["columns"] == ["balance"]
