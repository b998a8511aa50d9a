"""What an auditor sees of the persons who approved, and that a policy's two persons were two."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

import parties.coordinator.service as coordinator
from mpc.evidence.bundle import Bundle
from mpc.evidence.report import html
from mpc.policy import grants
from parties.auditor.export import export
from parties.member import Member
from parties.node.decisions import Word
from parties.node.store import Store
from tests.parties import world
from tests.parties.auditor.forge import Forge
from tests.parties.auditor.test_audit import judged
from tests.parties.conftest import serving
from tests.parties.test_by_hand import HAND, by_hand, until_asked


async def approved_by(consortium: Path, *persons: str) -> Bundle:
    """A job that these persons of one bank approved, with its evidence and that bank's policy."""
    async with serving(consortium) as running:
        job = await running.ask("analyst", "submit", world.TOGETHER)
        store = Store(consortium / HAND / "state" / "node.db", os.urandom(32))
        for n, person in enumerate(persons):
            if n == 0:
                await until_asked(store)
            store.decisions.decide(job.id, Word(person, 1_700_000_000, "<as> agreed", "console"))
        store.close()
        await running.ask("analyst", "wait", job.id)
        member = await running.apart(Member, consortium / "analyst")
        try:
            bundle, _absent = await export(member, job.id)
        finally:
            await member.close()
    forge = Forge(consortium, bundle)
    forge.files[f"policies/{HAND}.toml"] = (consortium / HAND / "policy.toml").read_bytes()
    return forge.made()


async def test_both_stand_in_the_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coordinator, "WAIT", 0.05)
    consortium = by_hand(tmp_path, "two")
    case, checks = judged(consortium, await approved_by(consortium, "Li Na", "Wang Wei"))
    assert f"the policy of {HAND} allows the plan" in [f.text for f in checks[5].findings]
    page = html(case, checks, "en")
    assert "Li Na, 2023-11-14 22:13:20: &lt;as&gt; agreed; Wang Wei, 2023" in page


async def test_a_node_that_asked_nobody_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    consortium = by_hand(tmp_path, "two")
    with monkeypatch.context() as nodes:
        nodes.setattr(grants, "PERSONS", {"auto": 0, "manual": 0, "two": 0})
        bundle: Any = await approved_by(consortium)
    _, checks = judged(consortium, bundle)
    [found] = [f for f in checks[5].findings if f.good is False]
    assert found.by == HAND and "policy.pending" in found.text
