"""An owner's side: policies tried before they are in force, noise, and decisions by hand."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest

from tests.parties.cli.program import BY_GRADE, COUNT, EXPECTED, TOGETHER, UNGRANTED, Ask, Up, good, heji

pytestmark = pytest.mark.slow


def test_an_owner_tries_a_policy_before_it_is_in_force(ask: Ask, running: Up, tmp_path: Path) -> None:
    own = running.folder / "bank_c" / "policy.toml"
    assert re.search(r"line \d+: accounts .*aggregate", good(heji("policy", "check", own.parent)).replace("\n", " "))
    assert "bank_c: allowed" in good(ask("policy", "explain", TOGETHER, "--to", "analyst", "--as", "bank_c"))
    refused = ask("policy", "explain", UNGRANTED, "--to", "analyst", "--as", "bank_c")
    assert refused.status == 1 and "bank_c: policy.refused" in refused.out and "[[grant]]" in refused.out

    drafted = good(ask("policy", "suggest", UNGRANTED, "--to", "analyst"))
    assert drafted.startswith("# bank_c: policy.toml\n[[grant]]")
    draft = tmp_path / "draft.toml"
    draft.write_text(own.read_text() + "\n" + drafted)
    options = ("--policy", draft, "--as", "bank_c")
    assert "bank_c: allowed" in good(ask("policy", "explain", UNGRANTED, "--to", "analyst", *options))
    changes = heji("policy", "diff", own, draft)
    assert changes.status == 1 and "+ columns = " in changes.out and "\n- " not in changes.out
    assert "The same grants." in good(heji("policy", "diff", own, own.parent))

    cases = tmp_path / "cases"
    cases.mkdir()
    (cases / "together.sql").write_text(f"-- to: analyst\n-- expect: allowed\n{TOGETHER}\n")
    (cases / "secret.sql").write_text(f"-- to: analyst\n-- expect: policy.refused\n{UNGRANTED}\n")
    assert "2 of 2 as expected." in good(ask("policy", "test", cases, "--as", "bank_c"))
    tried = ask("policy", "test", cases, *options)
    assert tried.status == 1 and "secret.sql: allowed, where policy.refused was" in tried.out.replace("\n", " ")


def test_noise_and_its_accuracy_on_a_terminal(ask: Ask, running: Up) -> None:
    policy = running.folder / "bank_c" / "policy.toml"
    exact = policy.read_text()
    with_budget = exact.rstrip() + '\nbudget = { epsilon = 1.0, per = "7d" }\n'
    told = good(ask("explain", COUNT, "--epsilon", "0.5"))
    assert "noise of bank_c: ± 6 (95 %)" in told and "Every number carries noise: epsilon 0.5" in told
    try:
        policy.write_text(with_budget)
        assert "a privacy loss of 1.0 in 7 days" in good(heji("policy", "check", policy.parent)).replace("\n", " ")
        refused = ask("query", COUNT, "--to", "analyst")
        assert refused.status == 1 and "--epsilon 1.0" in refused.err.replace("\n", " ")
        done = ask("query", COUNT, "--to", "analyst", "--epsilon", "0.5")
        assert re.search(r" \d+ ± 6 ", good(done)) and "epsilon 0.5" in done.err
        assert "bank_c leaves analyst 0.5 of 1 in 7 days" in done.err.replace("\n", " ")
        assert 'per = "30d"' in good(ask("policy", "suggest", COUNT, "--to", "analyst", "--epsilon", "0.5"))
        options = ("--to", "analyst", "--as", "bank_c")
        assert "allowed" in good(ask("policy", "explain", COUNT, "--epsilon", "0.5", *options))
        assert ask("policy", "explain", COUNT, *options).status == 1
    finally:
        policy.write_text(exact)


def test_a_person_decides(ask: Ask, running: Up) -> None:
    policy = running.folder / "bank_c" / "policy.toml"
    auto = policy.read_text()
    policy.write_text(auto.replace('approval = "auto"', 'approval = "manual"'))
    try:
        assert "bank_c would decide by hand." in good(ask("explain", TOGETHER, "--to", "analyst"))
        job = good(ask("query", TOGETHER, "--to", "analyst", "--days", "3", "--purpose", "monthly")).strip()
        for _ in range(100):
            listed = good(ask("jobs", "pending", "--as", "bank_c"))
            if job[:16] in listed:
                break
            time.sleep(0.1)
        assert "monthly" in listed and "SELECT SUM(balance)" in listed
        assert "Who learns what" in good(ask("jobs", "pending", job[:12], "--as", "bank_c"))
        assert "Nothing waits." in good(ask("jobs", "pending", "--as", "bank_a"))
        assert "approved" in good(ask("jobs", "approve", job[:12], "--by", "Li Na", "--as", "bank_c"))
        good(ask("jobs", "wait", job, "--as", "analyst"))
        assert f"{EXPECTED:,}" in good(ask("jobs", "result", job, "--as", "analyst"))
        again = ask("jobs", "approve", job[:12], "--as", "bank_c")
        assert again.status == 1 and "approved by Li Na" in again.err

        other = good(ask("query", BY_GRADE, "--to", "analyst", "--days", "1")).strip()
        for _ in range(100):
            if other[:16] in good(ask("jobs", "pending", "--as", "bank_c")):
                break
            time.sleep(0.1)
        good(ask("jobs", "reject", other[:12], "--reason", "not before the audit", "--as", "bank_c"))
        refused = ask("jobs", "wait", other, "--as", "analyst")
        assert refused.status == 1 and "not before the audit" in refused.err
    finally:
        policy.write_text(auto)


def test_a_policy_with_a_mistake_names_its_line(tmp_path: Path) -> None:
    path = tmp_path / "policy.toml"
    path.write_text('[[grant]]\ntable = "firms"\nuses = ["agregate"]\n')
    told = heji("policy", "check", path)
    assert told.status == 1 and "line 3" in told.err.lower() and "aggregate" in told.err


def test_a_policy_has_nothing_to_say_to_others_queries(ask: Ask) -> None:
    told = ask("policy", "explain", UNGRANTED, "--to", "analyst", "--as", "bank_a")
    assert told.status == 1 and "reads nothing of bank_a" in told.err
