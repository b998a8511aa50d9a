"""Who deviated, by evidence that a third party can check.

A member is blamed only for what its own signatures show: entries that contradict each other, two receipts for one
message, an approval of what the job does not say, data sent before it was bound to. What a participant says of another
(the step at which it gave up, and whom it named) is an accusation: it says where to look, and is kept apart. Of several
bundles of one job, made by different members, entries are compared too: a member that told two stories is blamed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from mpc.evidence.case import Case
from mpc.evidence.findings import Check, Finding, bad


@dataclass(frozen=True)
class Accusation:
    """``by`` gave up an attempt and named ``whom`` ("" for nobody) at ``step``."""

    by: str
    whom: str
    code: str
    step: str
    attempt: int


def blamed(judged: Sequence[tuple[Case, list[Check]]]) -> list[Finding]:
    """What members are to blame for, over all bundles of one job; each thing once."""
    found = {(f.by, f.text): f for _, checks in judged for c in checks for f in c.findings if f.by}
    for (first, _), (second, _) in pairwise(judged):
        found |= {(f.by, f.text): f for f in _two_stories(first, second)}
    return [found[k] for k in sorted(found)]


def accusations(judged: Sequence[tuple[Case, list[Check]]]) -> list[Accusation]:
    """Who gave up, and whom it named."""
    found = {
        Accusation(p.member, str(f.get("party", "")), str(f["code"]), str(f.get("step", "")), e.attempt)
        for case, _ in judged
        for p in case.parts.values()
        for e in p.events
        if e.event == "aborted"
        for f in [e.facts]
    }
    return sorted(found, key=lambda a: (a.attempt, a.by))


def _two_stories(first: Case, second: Case) -> list[Finding]:
    found = []
    for name in sorted(first.parts.keys() & second.parts.keys()):
        listed = first.roster.members.get(name)
        for a, b in zip(first.parts[name].entries, second.parts[name].entries, strict=False):
            if a.event != b.event and listed and a.signed_by(listed.identity) and b.signed_by(listed.identity):
                found.append(
                    bad(
                        "{} told two stories: its entry {} about the job is another one in the bundle of {} than in "
                        "that of {}",
                        name,
                        a.event.seq,
                        first.bundle.by,
                        second.bundle.by,
                        by=name,
                    )
                )
                break
    return found
