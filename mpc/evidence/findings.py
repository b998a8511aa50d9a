"""What a check finds, and what several checks need.

A check is one small generator that yields what it found: ``good`` what holds, ``bad`` what does not, ``open_`` what
cannot be checked from this bundle and why. A check has failed if anything is bad, passed if something is good and
nothing bad, and is open otherwise.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from mpc.crypto.sign import verify as verify_signed
from mpc.errors import HejiError
from mpc.evidence.case import Case, Document, Part
from mpc.evidence.entry import Event
from mpc.query.compile import PLANNER, compile_job
from mpc.query.plan import Plan
from mpc.roles import Cast, cast_of

#: seconds that clocks of members may differ by, and that one clock may be set back
SKEW, SETBACK = 300, 5
#: steps at which keys are agreed; what is said later is masked data
KEYS = "keys/"


@dataclass(frozen=True)
class Finding:
    """One thing that a check saw. ``good`` None: it could not be checked. The template is kept apart from what stands
    in it, so that a report can say it in another language (mpc.evidence.chinese).

    ``by``: the member who is to blame, where its own signatures show that nobody else can be. What a forger of bundles
    could have made or left out is nobody's.
    """

    good: bool | None
    template: str
    args: tuple[object, ...] = ()
    by: str = ""

    @property
    def text(self) -> str:
        return self.template.format(*self.args)


@dataclass(frozen=True)
class Check:
    """A check's verdict with its evidence."""

    number: int
    title: str
    findings: tuple[Finding, ...]

    @property
    def verdict(self) -> Literal["passed", "failed", "open"]:
        if any(f.good is False for f in self.findings):
            return "failed"
        return "passed" if any(f.good for f in self.findings) else "open"


@dataclass(frozen=True)
class Settings:
    """What the one who verifies asks for. ``quorum``: cosignatures each log must have, None for more than half of the
    job's other participants; ``witnesses``: members that must have cosigned every log besides; ``software``: what may
    have run, empty for whatever all of them ran; ``authority``: certificates (PEM) under which timestamps are signed,
    b"" to believe none."""

    quorum: int | None = None
    witnesses: tuple[str, ...] = ()
    software: tuple[str, ...] = ()
    authority: bytes = b""


Findings = Iterator[Finding]


def good(template: str, *args: object) -> Finding:
    return Finding(True, template, args)


def bad(template: str, *args: object, by: str = "") -> Finding:
    return Finding(False, template, args, by)


def open_(template: str, *args: object) -> Finding:
    return Finding(None, template, args)


def parts_of(case: Case) -> list[Part]:
    return [p for _, p in sorted(case.parts.items())]


def events_of(case: Case, member: str, attempt: int, name: str) -> list[Event]:
    part = case.parts.get(member)
    return part.about(attempt, name) if part else []


def signed_by(case: Case, who: str, label: str, text: bytes, signature: bytes) -> bool:
    listed = case.roster.members.get(who)
    if listed is None:
        return False
    try:
        verify_signed(listed.identity, label, text, signature, party=who)
    except HejiError:
        return False
    return True


def is_masked(e: Event) -> bool:
    return not str(e.facts["step"]).startswith(KEYS)


def where(e: Event, part: Part) -> str:
    """An entry by member and number, and what it tells of: in no language."""
    facts = e.facts
    arrow = "→" if e.event == "sent" else "←"
    step = f" {facts['step']} {arrow} {facts['peer']}" if "peer" in facts else ""
    return f"{part.member}#{e.seq} ({e.event}{step})"


def plan_of(d: Document) -> Plan | None:
    """The plan, compiled again from the job's text and the owners' signed catalogs; None for another version's."""
    if d.what.planner != PLANNER:
        return None
    for p, catalog in d.published.items():
        if catalog.digest() != d.what.catalogs.get(p):
            raise ValueError(f"{p}'s catalog is not the one the job names")
    return compile_job(d.what, d.published)


def cast_in(case: Case, d: Document, plan: Plan) -> Cast:
    members = case.roster.members
    inside = tuple(sorted(r for r in d.what.recipients if "party" in members[r].roles))
    helpers = sorted(m.name for m in members.values() if "helper" in m.roles and not m.revoked)
    return cast_of(
        d.job.text,
        d.attempt,
        plan,
        coordinator=d.coordinator,
        inside=inside,
        approvals={p: s.text for p, s in d.approvals.items()},
        helper=helpers[0] if plan.helped and helpers else "",
    )


def whole(part: Part) -> bool:
    """Nothing is missing between its entries: what is not there, the member did not write."""
    return all(e.seq == i for i, e in enumerate(part.events))


def if_whole(part: Part) -> str:
    """Whom to blame for what is not there: nobody, where somebody may have taken it out of the bundle."""
    return part.member if whole(part) else ""
