"""What a coordinator heard, sealed to an auditor who adds it up again, and to nobody else."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from mpc.errors import HejiError, LocalError
from mpc.evidence.bundle import Bundle
from mpc.evidence.case import read_case
from mpc.evidence.entry import Event
from mpc.evidence.sealed import open_sealed, seal
from mpc.evidence.verify import Check, verify
from mpc.run import Sent
from parties.auditor import key
from parties.auditor.judge import listed
from parties.member import Member
from tests.parties import world
from tests.parties.auditor.bundles import sealed
from tests.parties.auditor.forge import Forge


def judged(folder: Path, bundle: Bundle, private: bytes) -> list[Check]:
    return verify(read_case(bundle, listed(Member(folder / "auditor").roster, given=True), private))


@pytest.mark.parametrize("recipient", ["analyst", "bank_a"])
async def test_the_auditor_adds_up_again(tmp_path: Path, recipient: str) -> None:
    folder = world.make(tmp_path, auditors=["auditor"])
    bundle = await sealed(folder, recipient)
    assert judged(folder, bundle, b"")[8].verdict == "open"
    check = judged(folder, bundle, key.private(folder / "auditor"))[8]
    assert check.verdict == "passed", check
    assert "add up to what it handed on" in check.findings[0].text


async def test_a_coordinator_that_adds_something_is_blamed(tmp_path: Path) -> None:
    folder = world.make(tmp_path, auditors=["auditor"])
    forge = Forge(folder, await sealed(folder))

    def change(events: list[Event]) -> list[Event]:
        return [
            replace(e, facts={"sums": dict.fromkeys(e.facts["sums"], "00" * 32)}) if e.event == "added" else e
            for e in events
        ]

    forge.rewrite("coordinator", change)
    checks = judged(folder, forge.made(), key.private(folder / "auditor"))
    assert [f.by for f in checks[8].findings] == ["coordinator"] and checks[8].verdict == "failed"


async def test_bodies_of_another_run_blame_nobody(tmp_path: Path) -> None:
    folder = world.make(tmp_path, auditors=["auditor"])
    bundle = await sealed(folder)
    forge, private = Forge(folder, bundle), key.private(folder / "auditor")
    heard = open_sealed(forge.files["bodies/coordinator.sealed"], bundle.job, "coordinator", private)
    public = bytes.fromhex(json.loads((folder / "auditor-key.json").read_text())["key"])
    for other in (heard[:-1], [*heard[:-1], Sent(heard[-1].sender, "coordinator", heard[-1].step, b"other")]):
        forge.files["bodies/coordinator.sealed"] = seal(other, bundle.job, "coordinator", public, b"e" * 32)
        checks = judged(folder, forge.made(), private)
        assert checks[8].verdict == "failed" and not any(f.by for f in checks[8].findings)


async def test_nobody_else_opens_it(tmp_path: Path) -> None:
    folder = world.make(tmp_path, auditors=["auditor"])
    bundle = await sealed(folder)
    roster = listed(Member(folder / "auditor").roster, given=True)
    for stranger in (bytes(range(32)), b"\1" * 32):
        with pytest.raises(LocalError) as refused:
            read_case(bundle, roster, stranger)
        assert refused.value.code == "evidence.invalid"
    raw = bundle.files["bodies/coordinator.sealed"]
    private = key.private(folder / "auditor")
    for changed in (raw[:-1], raw[:40] + bytes([raw[40] ^ 1]) + raw[41:], bytes(32) + raw[32:], b""):
        with pytest.raises(LocalError):
            open_sealed(changed, bundle.job, "coordinator", private)
    with pytest.raises(LocalError):  # of another job
        open_sealed(raw, "00" * 32, "coordinator", private)


async def test_only_an_auditor_outside_of_the_job_gets_it(tmp_path: Path) -> None:
    inside = world.make(tmp_path, auditors=["auditor"], organisations={"auditor": "bank_b"})
    with pytest.raises(HejiError, match="belongs to bank_b"):
        await sealed(inside)


def test_keys_that_are_none(tmp_path: Path) -> None:
    folder = world.make(tmp_path, auditors=["auditor"])
    roster = Member(folder / "auditor").roster
    good = json.loads(key.make(Member(folder / "auditor")))
    assert json.loads(key.make(Member(folder / "auditor"))) == good  # the same key again
    path = tmp_path / "key.json"
    for bad in ({**good, "key": "00" * 32}, {**good, "member": "bank_a"}, {**good, "member": "nobody"}, {}, []):
        path.write_text(json.dumps(bad))
        with pytest.raises(HejiError):
            key.read(path, roster, {"bank_a"})
    path.write_text(json.dumps(good))
    assert key.read(path, roster, {"bank_a"})[0] == "auditor"
    with pytest.raises(LocalError, match="no auditor"):
        key.make(Member(folder / "bank_a"))
    (folder / "auditor" / "keys" / "auditor.key").chmod(0o644)
    with pytest.raises(LocalError, match="can be read by others"):
        key.private(folder / "auditor")
