"""The evidence of a deposit job: it verifies, and the roster's auditor adds the ciphertexts up again."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mpc.crypto import lattice, paillier
from mpc.crypto.labels import framed, unframed
from mpc.crypto.seeded import Seeds
from mpc.errors import LocalError
from mpc.evidence.bundle import Bundle
from mpc.evidence.case import Case, read_case
from mpc.evidence.deposit_checks import KEY, deposits
from mpc.evidence.entry import Event
from mpc.evidence.sealed import open_sealed, seal
from mpc.evidence.verify import Check, overall, verify
from mpc.protocols.deposit_lattice import PARTS, scheme_of
from mpc.run import Sent
from parties.auditor import key
from parties.auditor.export import export
from parties.auditor.judge import listed
from parties.coordinator import deposits as at_coordinator
from parties.member import Member
from tests.parties import world
from tests.parties.auditor.forge import Forge
from tests.parties.depositing import DAY, at, banks, deposit, make, submit, until
from tests.parties.test_replaying import again


@pytest.fixture(autouse=True)
def small_and_quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paillier, "MIN_BITS", 1024)
    monkeypatch.setattr(at_coordinator, "LOOK", 0.05)


async def evidence(folder: Path, method: str = "paillier") -> Bundle:
    """Of a job in which bank_a took its deposit back and made it again, and bank_c deposited nothing; sealed."""
    (folder / "auditor-key.json").write_bytes(key.make(Member(folder / "auditor")))
    async with banks(folder) as (running, clock):
        job = await submit(running, to="tax", least=2, method=method)
        await deposit(running, job, "bank_a", "bank_b")
        await at(running, "bank_a", "Withdraw", job)
        await deposit(running, job, "bank_a")
        clock.later += 11 * DAY
        await until(running, "analyst", job, "done")
        for member in (*world.BANKS, "tax"):
            await at(running, member, "List")  # it learns of the end
        await running.ask("tax", "result", job)
        member = await running.apart(Member, folder / "coordinator")
        try:
            bundle, absent = await export(member, job, seal_for=folder / "auditor-key.json")
        finally:
            await member.close()
    assert set(absent) <= {"helper"}
    return bundle


def case_of(folder: Path, bundle: Bundle, private: bytes = b"") -> Case:
    return read_case(bundle, listed(Member(folder / "auditor").roster, given=True), private)


def judged(folder: Path, bundle: Bundle, private: bytes = b"") -> list[Check]:
    return verify(case_of(folder, bundle, private))


def told(checks: list[Check]) -> list[str]:
    return [f"{c.number} {f.text}" for c in checks for f in c.findings if f.good is False]


async def test_a_bundle_verifies_and_the_auditor_adds_up_again(tmp_path: Path) -> None:
    folder = make(tmp_path, banks=(*world.BANKS, "tax"), auditors=["auditor"])
    bundle = await evidence(folder)
    plain = judged(folder, bundle)
    assert overall(plain) == "passed", told(plain)
    assert plain[8].verdict == "open"
    assert plain[10].verdict == "passed"
    assert "bank_a, bank_b deposited" in " ".join(f.text for f in plain[4].findings)
    private = key.private(folder / "auditor")
    assert judged(folder, bundle, private)[8].verdict == "passed"
    _a_depositor_alone_shows_its_own_deposit(case_of(folder, bundle))
    _others_cannot_open(folder, bundle)
    _one_thing_wrong(folder, bundle, private)
    await _said_again(tmp_path, folder, bundle.job)


def _a_depositor_alone_shows_its_own_deposit(case: Case) -> None:
    """As in the evidence of a period: that others deposited is not to be seen there, and nobody's fault."""
    [(number, document)] = case.attempts.items()
    own = replace(document, deposits={p: s for p, s in document.deposits.items() if p == "bank_a"})
    for keeper, verdicts in (("bank_a", {None, True}), ("coordinator", {False, True})):
        parts = {p: part for p, part in case.parts.items() if p in ("bank_a", keeper)}
        assert {f.good for f in deposits(replace(case, parts=parts), number, own)} == verdicts, keeper


@pytest.mark.slow
@pytest.mark.parametrize("method", ["bfv", "ckks"])
async def test_under_lattices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str) -> None:
    """The auditor adds up under the key that the coordinator sealed with the ciphertexts, and under no other."""
    folder = make(tmp_path, banks=(*world.BANKS, "tax"), auditors=["auditor"])
    bundle = await evidence(folder, method)
    plain = judged(folder, bundle)
    assert overall(plain) == "passed", told(plain)
    private = key.private(folder / "auditor")
    found = judged(folder, bundle, private)
    assert found[8].verdict == "passed", told(found)
    forge = Forge(folder, bundle)
    forge.rewrite(
        "coordinator",
        lambda events: [
            replace(e, facts={"sums": {"deposit": "00" * 32}}) if e.event == "added" else e for e in events
        ],
    )
    assert any(f.startswith("9 the coordinator did not add up") for f in told(judged(folder, forge.made(), private)))

    def sealed(change: Callable[[list[Sent]], list[Sent]]) -> list[Check]:
        forge = Forge(folder, bundle)
        heard = list(open_sealed(bundle.files["bodies/coordinator.sealed"], bundle.job, "coordinator", private))
        public = bytes.fromhex(json.loads((folder / "auditor-key.json").read_text())["key"])
        forge.files["bodies/coordinator.sealed"] = seal(change(heard), bundle.job, "coordinator", public, b"e" * 32)
        return judged(folder, forge.made(), private)

    scheme = scheme_of(method)
    another = lattice.new_key(scheme, PARTS[scheme]).public.to_bytes()
    for checks in (
        sealed(lambda heard: [replace(s, raw=another) if s.step == KEY else s for s in heard]),
        sealed(lambda heard: [s for s in heard if s.step != KEY]),
    ):
        assert "9 the key sealed with the ciphertexts is not the one that the job names" in told(checks)
        assert not any(f.by for f in checks[8].findings)
    with monkeypatch.context() as without:
        without.setitem(sys.modules, "tenseal", None)
        assert judged(folder, bundle, private)[8].verdict == "open"  # nobody is blamed for what is not installed here
    [found_again] = await again(folder, "coordinator", bundle.job)
    assert found_again.role == "coordinator"
    await _said_again(tmp_path, folder, bundle.job)
    with monkeypatch.context() as other:
        other.setattr(Seeds, "of", lambda seeds, number: bytes(64))
        with pytest.raises(LocalError, match="left another deposit than its data, seed and approval give"):
            await again(folder, "bank_a", bundle.job)


async def _said_again(tmp_path: Path, folder: Path, job: str) -> None:
    """From seed and tables bank_a makes the deposit that counted again, and the coordinator the total."""
    for name, role in (("bank_a", "depositor"), ("bank_b", "depositor"), ("coordinator", "coordinator")):
        [found] = await again(folder, name, job)
        assert (found.role, found.messages, found.remark) == (role, 1, "")
    world.write_accounts(tmp_path / "bank_b.csv", world.rows_of("bank_b", 29))
    [found] = await again(folder, "bank_b", job)  # from the input that was kept
    assert found.role == "depositor" and found.remark


def _others_cannot_open(folder: Path, bundle: Bundle) -> None:
    """No member's part holds a ciphertext: only what is sealed to the auditor does."""
    sealed = bundle.files["bodies/coordinator.sealed"]
    bodies = [
        unframed(bytes(s.raw))[2]
        for s in open_sealed(sealed, bundle.job, "coordinator", key.private(folder / "auditor"))
    ]
    assert len(bodies) == 2
    for name, raw in bundle.files.items():
        assert not any(b in raw or b.hex().encode() in raw for b in bodies), name


def _one_thing_wrong(folder: Path, bundle: Bundle, private: bytes) -> None:
    def forged(change: Callable[[list[Event]], list[Event]]) -> list[Check]:
        forge = Forge(folder, bundle)
        forge.rewrite("coordinator", change)
        return judged(folder, forge.made(), private)

    def left_out(events: list[Event]) -> list[Event]:
        return [replace(e, facts={**e.facts, "deposits": ["bank_a"]}) if e.event == "closed" else e for e in events]

    def another_sum(events: list[Event]) -> list[Event]:
        return [replace(e, facts={"sums": {"deposit": "00" * 32}}) if e.event == "added" else e for e in events]

    def body(change: Callable[[bytes], bytes]) -> list[Check]:
        forge = Forge(folder, bundle)
        heard = open_sealed(bundle.files["bodies/coordinator.sealed"], bundle.job, "coordinator", private)
        statement, signature, ciphertexts = unframed(bytes(heard[-1].raw))
        raw = framed(statement, signature, change(ciphertexts))
        public = bytes.fromhex(json.loads((folder / "auditor-key.json").read_text())["key"])
        other = [*heard[:-1], Sent(heard[-1].sender, "coordinator", heard[-1].step, raw)]
        forge.files["bodies/coordinator.sealed"] = seal(other, bundle.job, "coordinator", public, b"e" * 32)
        return judged(folder, forge.made(), private)

    def deposits(change: Callable[[dict[str, Any]], None]) -> list[Check]:
        forge = Forge(folder, bundle)
        forge.documents(lambda d: change(d["deposits"]))
        return judged(folder, forge.made(), private)

    for checks in (body(lambda c: c[:-1] + bytes([c[-1] ^ 1])), body(lambda c: c[:-1])):
        assert checks[8].verdict == "failed" and not any(f.by for f in checks[8].findings)
    for checks in (
        deposits(lambda d: d.update({p: [t, "00" * 64] for p, (t, _) in d.items()})),
        deposits(lambda d: d.update({p: d["bank_b"] for p in list(d) if "bank_b" in d})),
    ):
        assert any(f.startswith("1 a deposit in the name of") for f in told(checks))
        assert any("is not for this job, plan, key and approval" in f for f in told(checks))
    found = told(forged(left_out))
    assert "5 bank_b holds a receipt for its deposit, which is not in the total" in found
    assert any(f.startswith("9 the coordinator did not add up") for f in told(forged(another_sum)))
