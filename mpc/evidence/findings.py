"""What a check finds, and what several checks need.

A check is one small generator that yields what it found: ``good`` what holds, ``bad`` what does not, ``open_`` what
cannot be checked from this bundle and why. A check has failed if anything is bad, passed if something is good and
nothing bad, and is open otherwise.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from typing import Literal, TypeVar

from mpc.crypto.sign import holds, pae
from mpc.errors import HejiError
from mpc.evidence.case import Case, Document, Part
from mpc.evidence.entry import Event
from mpc.job import epsilon_of
from mpc.policy.flow import Recipient, Request
from mpc.policy.persons import persons
from mpc.query.plan import Plan
from mpc.roles import Cast, cast_of

C = TypeVar("C")

#: seconds that clocks of members may differ by, and that one clock may be set back
SKEW, SETBACK = 300, 5
#: steps at which keys are agreed; what is said later is masked data
KEYS = "keys/"

#: jobs named behind what was seen in several
SHOWN = 3

#: a template and what stands in it, in some language
Say = Callable[..., str]


@dataclass(frozen=True)
class Finding:
    """One thing that a check saw. ``good`` None: it could not be checked. The template is kept apart from what stands
    in it, so that a report can say it in another language (mpc.evidence.chinese).

    ``by``: the member who is to blame, where its own signatures show that nobody else can be. What a forger of bundles
    could have made or left out is nobody's. ``jobs``: of a period, the jobs it was seen in.
    """

    good: bool | None
    template: str
    args: tuple[object, ...] = ()
    by: str = ""
    jobs: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        return self.said(str.format)

    def said(self, say: Say) -> str:
        """In the language of ``say``; the jobs by the beginnings of their ids, where they are many by the first."""
        if not self.jobs:
            return say(self.template, *self.args)
        more = f", … +{len(self.jobs) - SHOWN}" if len(self.jobs) > SHOWN else ""
        return f"{say(self.template, *self.args)} [{', '.join(j[:8] for j in self.jobs[:SHOWN])}{more}]"


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


Findings = Generator[Finding, None, None]
#: findings, and how many things were looked at
Counted = Generator[Finding, None, int]


def good(template: str, *args: object) -> Finding:
    return Finding(True, template, args)


def bad(template: str, *args: object, by: str = "") -> Finding:
    return Finding(False, template, args, by)


def open_(template: str, *args: object) -> Finding:
    return Finding(None, template, args)


def found_by(check: Callable[[C, Settings], Findings], case: C, settings: Settings) -> tuple[Finding, ...]:
    """What a check finds. Raises nothing: what cannot even be looked at is found bad."""
    try:
        return tuple(check(case, settings))
    except (HejiError, ValueError, KeyError, TypeError, IndexError) as problem:
        return (bad("cannot be looked at: {}", type(problem).__name__),)


def parts_of(case: Case) -> list[Part]:
    return [p for _, p in sorted(case.parts.items())]


def events_of(case: Case, member: str, attempt: int, name: str) -> list[Event]:
    part = case.parts.get(member)
    return part.about(attempt, name) if part else []


def signed_by(case: Case, who: str, label: str, text: bytes, signature: bytes) -> bool:
    listed = case.roster.members.get(who)
    return listed is not None and holds(listed.identity, pae(label, text), signature)


def is_masked(e: Event) -> bool:
    return not str(e.facts["step"]).startswith(KEYS)


def where(e: Event, part: Part) -> str:
    """An entry by member and number, and what it tells of: in no language."""
    facts = e.facts
    arrow = "→" if e.event == "sent" else "←"
    step = f" {facts['step']} {arrow} {facts['peer']}" if "peer" in facts else ""
    return f"{part.member}#{e.seq} ({e.event}{step})"


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


def request_in(case: Case, d: Document, plan: Plan, party: str) -> Request:
    """What an owner's policy was asked about in an attempt, as of the day it approved."""
    members = case.roster.members
    approved = next((e.time for e in events_of(case, party, d.attempt, "approved")), d.what.created)
    return Request(
        recipients=tuple(Recipient(r, members[r].organisation, members[r].roles) for r in d.what.recipients),
        organisations={q: members[q].organisation for q in plan.parties},
        purpose=d.what.purpose,
        trust=plan.trust,
        allow_two_party=d.what.allow_two_party,
        today=dt.datetime.fromtimestamp(approved, dt.UTC).date(),
        by_hand=persons(d.approval(party)),
        least=None if d.what.deposit is None else d.what.deposit.least,
        epsilon=epsilon_of(plan.noise.epsilon) if plan.noise is not None else None,
    )


def data_given(case: Case) -> Iterator[tuple[str, Document, Plan]]:
    """The attempts in which members whose logs are here sent masked data, and the plan of each."""
    for me, part in case.parts.items():
        for d in part.documents:
            plan = d.plan
            if plan is not None and me in plan.parties and any(map(is_masked, part.about(d.attempt, "sent"))):
                yield me, d, plan
