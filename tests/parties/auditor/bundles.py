"""Bundles for tests: made by runs, judged as an auditor would."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mpc.crypto.sign import verify as verify_signed
from mpc.errors import HejiError
from mpc.evidence.bundle import BUNDLE, Bundle
from mpc.evidence.case import Case, read_case
from mpc.evidence.period import Period, read_period
from mpc.evidence.verify import Check, Settings, verify
from parties.auditor import key as auditor_key
from parties.auditor.export import export, export_period
from parties.auditor.judge import listed
from parties.clock import now
from parties.member import Member
from parties.roster import Roster
from tests.parties import world
from tests.parties.conftest import Running, serving

HOUR = 3600


async def asked(folder: Path, sql: str, *, with_result: bool = False, **options: Any) -> Bundle:
    """Run a query, and collect its evidence as the analyst."""
    async with serving(folder) as running:
        result = await running.query(sql, **options)
        member = await running.apart(Member, folder / "analyst")
        try:
            bundle, absent = await export(member, result.statement["job"], with_result=with_result)
        finally:
            await member.close()
    assert not absent
    return bundle


async def sealed(folder: Path, recipient: str = "analyst") -> Bundle:
    """The bundle that the coordinator exports of a total, what it heard sealed to the auditor."""
    (folder / "auditor-key.json").write_bytes(auditor_key.make(Member(folder / "auditor")))
    async with serving(folder) as running:
        job = (await running.query(world.BY_GRADE, to=recipient)).statement["job"]
        member = await running.apart(Member, folder / "coordinator")
        try:
            bundle, _ = await export(member, job, seal_for=folder / "auditor-key.json")
        finally:
            await member.close()
    return bundle


def judged(folder: Path, bundle: Bundle, key: bytes = b"", **settings: Any) -> tuple[Case, list[Check]]:
    """``key``: of the auditor that bodies are sealed to."""
    case = read_case(Bundle.read(bundle.write()), roster_of(folder), key)
    return case, verify(case, Settings(**settings))


def first_failed(checks: list[Check]) -> int | None:
    return next((c.number for c in checks if c.verdict == "failed"), None)


def judged_period(folder: Path, bundle: Bundle, **settings: Any) -> tuple[Period, list[Check]]:
    case = read_period(Bundle.read(bundle.write()), roster_of(folder))
    return case, verify(case, Settings(**settings))


def roster_of(folder: Path) -> Any:
    """As whoever verifies knows it."""
    return listed(Roster.load(next(iter(sorted(folder.glob("*/roster.json"))))), given=True)


async def exported(running: Running, who: str, of: str, **options: Any) -> Bundle:
    """``who`` exports the last hour of ``of``."""
    member = await running.apart(Member, running.folder / who)
    try:
        return await export_period(member, of, now() - HOUR, now(), **options)
    finally:
        await member.close()


def noticed(roster: Any, raw: bytes) -> bool:
    try:
        bundle = Bundle.read(raw)
    except HejiError:
        return True
    member = roster.members.get(bundle.by)
    if member is None:
        return True
    try:
        verify_signed(member.identity, BUNDLE, bundle.manifest, bundle.signature, party=bundle.by)
    except HejiError:
        return True
    return False
