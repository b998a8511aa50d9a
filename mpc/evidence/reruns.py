"""Check 14: no later job over fewer, or other, contributors. Over the same tables a column is added to those of one set
of parties, since a + b + c and a + b tell c.

The node refuses another set, unless the grant it goes by says contributor_sets = "any". Whether tables were the same
shows where the owner opened the digests that its log bound it to.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace

from mpc.crypto import labels
from mpc.errors import LocalError
from mpc.evidence.case import Case, Document
from mpc.evidence.findings import Finding, Findings, Settings, bad, data_given, good, open_, request_in
from mpc.evidence.period import Period
from mpc.policy.flow import ContributorSet, contributor_sets_conflict
from mpc.policy.grants import parse_policy
from mpc.policy.needs import contributor_sets, outside
from mpc.query.plan import Plan

#: a job, and what a column was added to in it; the snapshot is "" where it was not opened
Added = tuple[str, ContributorSet]


def reruns(period: Period, _: Settings) -> Findings:
    me, count, before = period.log.member, 0, defaultdict[tuple[str, str], list[Added]](list)
    for job, case in period.jobs.items():
        for _me, d, plan in data_given(case):
            if not outside(me, request_in(case, d, plan, me)):
                continue
            count += 1
            opened = period.log.tables.get((job, d.attempt), b"")
            if opened and not _bound_to(case, me, d, opened):
                told = bad("{} opened other tables than it bound itself to in attempt {}", me, d.attempt)
                yield replace(told, jobs=(job,))
                opened = b""
            yield from _compared(case, d, plan, before, opened.hex())
            for column, sets in contributor_sets(plan, me).items():
                before[column] += [(job, ContributorSet(*column, who, opened.hex())) for who in sets]
    yield good("{} gave data to totals for others in {} attempts", me, count)
    if unread := sum(d.plan is None for case in period.jobs.values() for d in case.attempts.values()):
        yield open_("{} attempts were planned by another version: not compiled again", unread)


def _compared(
    case: Case, d: Document, plan: Plan, before: Mapping[tuple[str, str], list[Added]], snapshot: str
) -> Findings:
    """One attempt with the jobs ``before`` it, by column."""
    [me] = case.parts
    for column, sets in sorted(contributor_sets(plan, me).items()):
        others = [(job, s) for job, s in before.get(column, ()) if job != case.job and {s.contributors} != sets]
        same = [(job, s) for job, s in others if snapshot and s.snapshot == snapshot]
        unknown = [(job, s) for job, s in others if not (snapshot and s.snapshot)]
        if same:
            yield replace(_again(case, d, plan, same), jobs=(same[-1][0], case.job))
        elif unknown:
            told = open_("{}: whether {} had changed when it was added to others' than before", me, ".".join(column))
            yield replace(told, jobs=(unknown[-1][0], case.job))


def _again(case: Case, d: Document, plan: Plan, same: list[Added]) -> Finding:
    """The same tables were added to others' than before. By the owner's policy, if it is here, it may."""
    [me] = case.parts
    _, earlier = same[-1]
    now = contributor_sets(plan, me)[earlier.table, earlier.column]
    facts = (me, f"{earlier.table}.{earlier.column}", _named({earlier.contributors}), _named(now))
    text = case.policies.get(me)
    if text is None:
        return bad("{} added the same {} to totals of {} and of {}: their difference shows what others added", *facts)
    try:
        request, policy = request_in(case, d, plan, me), parse_policy(text.decode())
        contributor_sets_conflict([s for _, s in same], plan, me, policy, request, earlier.snapshot)
    except LocalError:
        return bad("{} added the same {} to totals of {} and of {}, which its policy forbids", *facts, by=me)
    return good("{} added the same {} to totals of {} and of {}, as its policy allows", *facts)


def _bound_to(case: Case, me: str, d: Document, opened: bytes) -> bool:
    made = case.parts[me].about(d.attempt, "committed")
    return bool(made) and made[0].facts["tables"] == labels.digest("tables", opened, bytes.fromhex(case.job)).hex()


def _named(sets: set[frozenset[str]]) -> str:
    return " / ".join("+".join(sorted(s)) for s in sorted(sets, key=sorted))
