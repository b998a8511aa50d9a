"""``heji node check`` finds what is broken and says what to do."""

from __future__ import annotations

import shutil
import sqlite3
import time
from pathlib import Path

import pytest

from parties.consortium import init_consortium
from parties.node.check import Finding, check_member
from tests.parties import world
from tests.parties.conftest import serving


@pytest.fixture
def consortium(tmp_path: Path) -> Path:
    return world.make(tmp_path)


def check(folder: Path, later: int = 0) -> list[Finding]:
    return check_member(folder, int(time.time()) + later)


def bad(folder: Path, later: int = 0) -> list[str]:
    found = [f for f in check(folder, later) if not f.ok]
    assert all(f.advice for f in found)
    return [f.what for f in found]


@pytest.mark.parametrize("name", ["bank_a", "coordinator", "analyst"])
def test_a_fresh_member_is_in_order(consortium: Path, name: str):
    assert bad(consortium / name) == []
    told = [f.what for f in check(consortium / name)]
    assert any("does not answer" in t for t in told), "the others are not served"


async def test_peers_that_answer_are_compared(consortium: Path):
    async with serving(consortium) as running:
        told = await running.apart(check, consortium / "bank_a")
    assert [f.what for f in told if not f.ok] == []
    assert sum("answers with the roster's certificate" in f.what for f in told) == 4  # and the helper


async def test_a_peer_with_another_certificate_is_found(consortium: Path, tmp_path: Path):
    foreign = tmp_path / "foreign"
    init_consortium(foreign, parties=list(world.BANKS), modelers=["analyst"])
    toml = (consortium / "bank_b" / "member.toml").read_text()
    (foreign / "bank_b" / "member.toml").write_text(toml)  # the impostor listens where bank_b should
    async with serving(foreign, without=("bank_a", "bank_c", "coordinator")) as running:
        told = await running.apart(bad, consortium / "bank_a")
    assert len(told) == 1
    assert told[0].startswith("bank_b does not show the roster's certificate")


def test_a_key_that_others_can_read(consortium: Path):
    (consortium / "bank_a" / "keys" / "identity.pem").chmod(0o644)
    assert "can be read by others" in bad(consortium / "bank_a")[0]


def test_certificates_that_expire(consortium: Path):
    soon = 715 * 86400
    assert bad(consortium / "bank_a", soon) == []
    assert any("expire soon" in f.what for f in check(consortium / "bank_a", soon))
    assert bad(consortium / "bank_a", 800 * 86400) != []


def test_a_changed_roster(consortium: Path):
    path = consortium / "bank_a" / "roster.json"
    path.write_bytes(path.read_bytes().replace(b'"organisation": "bank_b"', b'"organisation": "bank_x"'))
    assert "is not signed by" in bad(consortium / "bank_a")[0]


def test_tables_that_are_not_as_published(consortium: Path, tmp_path: Path):
    world.write_accounts(tmp_path / "bank_a.csv", [("x", "A", "99999999999.00")])
    assert "accounts.balance" in bad(consortium / "bank_a")[0]
    assert "99999999999" not in bad(consortium / "bank_a")[0]
    (tmp_path / "bank_a.csv").unlink()
    assert len(bad(consortium / "bank_a")) == 1


def test_a_policy_that_is_wrong_or_names_nothing(consortium: Path):
    policy = consortium / "bank_a" / "policy.toml"
    good = policy.read_text()
    policy.write_text(good + '\n[[grant]]\ntable = "acounts"\ncolumns = ["*"]\nto = ["any"]\nuses = ["aggregate"]\n')
    assert bad(consortium / "bank_a") == [
        "policy.toml, line 18: the grant names table 'acounts', which is not published (did you mean 'accounts'?)"
    ]
    to = '["any", "bank_b", "modeler:analyst", "organisation:bank_b", "modeler:bank_b", "analist", "modeler: analyst"]'
    policy.write_text(f'[[grant]]\ntable = "accounts"\nto = {to}\n')
    assert [f.partition("names ")[2] for f in bad(consortium / "bank_a")] == [
        "'modeler:bank_b', which is no member (did you mean 'modeler:analyst'?)",
        "'analist', which is no member (did you mean 'analyst'?)",
        "'modeler: analyst', which is no member (did you mean 'modeler:analyst'?)",
    ]
    policy.write_text(good)
    (consortium / "bank_a" / "standing.toml").write_text(
        '[[standing]]\nname = "x"\nsql = "SELECT 1"\nto = ["analyst", "analist"]\nfrom = ["bank_x"]\npurpose = "p"\n'
        'runs = 1\nper = "day"\nexpires = 2999-01-01\n'
    )
    assert bad(consortium / "bank_a") == ["standing.toml: no member is called analist, bank_x"]
    (consortium / "bank_a" / "standing.toml").unlink()
    policy.write_text(good + "\n[[grant]\n")
    assert len(bad(consortium / "bank_a")) == 1


async def test_a_damaged_store_and_a_wrong_clock(consortium: Path):
    async with serving(consortium) as running:
        await running.query(world.TOGETHER)
    assert bad(consortium / "bank_a") == []
    assert "node.db has jobs from the future" in bad(consortium / "bank_a", -3000)
    path = consortium / "bank_a" / "state" / "node.db"
    sqlite3.connect(path).execute("PRAGMA wal_checkpoint(TRUNCATE)")
    path.write_bytes(path.read_bytes()[:4096] + b"\xff" * 8192)
    assert "node.db is damaged" in bad(consortium / "bank_a")


def test_a_full_disk(consortium: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(1, 1, 1000))
    assert "GiB free" in bad(consortium / "bank_a")[0]


def test_nothing_is_changed(consortium: Path):
    before = {p: p.read_bytes() for p in consortium.rglob("*") if p.is_file()}
    check(consortium / "bank_a")
    assert before == {p: p.read_bytes() for p in consortium.rglob("*") if p.is_file()}
