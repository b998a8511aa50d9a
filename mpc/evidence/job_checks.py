"""Checks of what was done in a job: approvals, policies, commitments, the coordinator's sums (5, 6, 7, 9)."""

from __future__ import annotations

import hashlib
import json

from mpc.codec import encode
from mpc.coins import Coins
from mpc.crypto import labels
from mpc.errors import HejiError, LocalError
from mpc.evidence.case import Case, Document
from mpc.evidence.deposit_checks import added_again, deposits, no_bodies
from mpc.evidence.entry import Event
from mpc.evidence.findings import (
    KEYS,
    Finding,
    Findings,
    Settings,
    bad,
    cast_in,
    good,
    if_whole,
    is_masked,
    open_,
    request_in,
    signed_by,
)
from mpc.policy.flow import check as policy_allows
from mpc.policy.grants import parse_policy
from mpc.protocols.agree import AGREED, ANNOUNCE, agreed_digest, announced_bytes
from mpc.query.compile import PLANNER
from mpc.query.plan import Plan
from mpc.replay import Said, rerun
from mpc.roles import add_up
from mpc.rounds import Session

# -- 5


def one_job(case: Case, _: Settings) -> Findings:
    for part in case.parts.values():
        kept = {d.attempt for d in part.documents}
        for number in sorted({e.attempt for e in part.events if e.event == "sent" and is_masked(e)} - kept):
            yield bad("what {} approved in attempt {} is not here, though it sent data", part.member, number)
    for kept_by, d in case.documents():
        same = case.attempts[d.attempt]
        if hashlib.sha256(d.job.text).hexdigest() != case.job:
            yield bad("{} kept another job under this id", kept_by)
        if d.what.roster != case.roster.digest:
            yield bad("the job names another roster than the one it is judged by, {}", case.roster.digest)
        shown = (d.catalogs, d.coordinator) == (same.catalogs, same.coordinator)
        if d.what.deposit is None:
            shown = shown and d.approvals == same.approvals
        if not shown:
            yield bad("{} was shown other catalogs or approvals in attempt {} than others were", kept_by, d.attempt)
        if d.agreed and (d.agreed, d.announced) != (same.agreed, same.announced):
            yield bad("{} was shown other keys in attempt {} than others were", kept_by, d.attempt)
    for number, d in case.attempts.items():
        yield from _approvals(case, d)
        yield from _agreement(case, number, d) if d.what.deposit is None else deposits(case, number, d)


def _approvals(case: Case, d: Document) -> Findings:
    for p, signed in d.approvals.items():
        told = d.approval(p)
        if (told["job"], told["party"], told["roster"]) != (case.job, p, d.what.roster):
            yield bad("the approval of {} is not of this job, member and roster", p, by=p)
        part = case.parts.get(p)
        if part is None:
            continue
        logged = part.about(d.attempt, "approved")
        same = [e for e in logged if e.facts["approval"] == hashlib.sha256(signed.text).hexdigest()]
        first = next((e.seq for e in part.about(d.attempt, "sent") if _is_data(e, d, p)), len(part.events))
        if not same:
            yield bad("the approval of {} is not the one in its log", p, by=p if logged else "")
        elif same[0].seq > first:
            yield bad("{} sent data before it approved", p, by=p)
    plan = d.plan
    if plan is None:
        yield open_(
            "attempt {}: planned by {}, this verifier has {}: not compiled again", d.attempt, d.what.planner, PLANNER
        )
        return
    mine = plan.digest()
    others = [p for p in d.approvals if d.approval(p)["plan"] != mine]
    for p in others:
        yield bad("attempt {}: {} approved another plan than the job's text compiles to", d.attempt, p, by=p)
    if not others:
        yield good("attempt {}: {} approved what the job's text compiles to", d.attempt, ", ".join(sorted(d.approvals)))


def _is_data(e: Event, d: Document, party: str) -> bool:
    """Whether a message tells of the party's data under the approval that is kept; of deposits, the one that stands."""
    if party in d.deposits:
        return bool(e.facts["number"] == json.loads(d.deposits[party].text)["number"])
    return is_masked(e)


def _agreement(case: Case, number: int, d: Document) -> Findings:
    """All signed one digest of job, plan, roster, approvals and keys, which can be computed again; and said so in
    exactly the messages that the logs tell of."""
    if not d.agreed:
        yield open_("attempt {} ended before keys were agreed", number)
        return
    if set(d.agreed) != set(d.participants) or set(d.announced) != set(d.participants):
        yield bad("attempt {}: not all participants agreed, or others did", number)
        return
    plan = d.plan
    if plan is not None:
        context = cast_in(case, d, plan).context.digest()
        common = agreed_digest(context, d.announced)
        for p, word in d.agreed.items():
            if word.digest != common:
                yield bad("attempt {}: {} agreed to something else than what is in the bundle", number, p)
        for p, a in d.announced.items():
            if not signed_by(case, p, ANNOUNCE, announced_bytes(context, p, a.public_key), a.signature):
                yield bad("attempt {}: the key of {} does not bear its signature", number, p)
    said = ((KEYS + ANNOUNCE, d.announced), (KEYS + AGREED, d.agreed))
    words = {(step, p): hashlib.sha256(encode(w)).hexdigest() for step, by in said for p, w in by.items()}
    for p, part in case.parts.items():
        for e in part.about(number, "sent"):
            if words.get((str(e.facts["step"]), p), e.facts["sha256"]) != e.facts["sha256"]:
                # by its own signed entries it said two things, or by one and its signed word
                facts = (number, p, e.facts["peer"])
                yield bad("attempt {}: {} told {} another key or digest than the others", *facts, by=p)
    yield good("attempt {}: all signed one digest of job, plan, roster, approvals and keys before data moved", number)


# -- 6


def policies(case: Case, _: Settings) -> Findings:
    given = case.policies
    for number, d in case.attempts.items():
        plan = d.plan
        for p in sorted(plan.parties if plan else d.what.catalogs):
            if p not in given:
                yield open_("{} did not give its policy: rests on its signed approval of attempt {}", p, number)
            elif p in d.approvals:
                yield _allowed(case, d, p, given[p], plan)


def _allowed(case: Case, d: Document, party: str, text: bytes, plan: Plan | None) -> Finding:
    if labels.digest("policy", text).hex() != d.approval(party)["policy"]:
        return bad("the policy given for {} is not the one it approved under", party)
    if plan is None:
        return open_("the policy of {} cannot be tried: the plan is of another version", party)
    try:
        policy_allows(plan, party, parse_policy(text.decode()), request_in(case, d, plan, party))
    except LocalError as refused:
        return bad("the policy of {} does not allow the plan: {}", party, refused.code, by=party)
    return good("the policy of {} allows the plan", party)


# -- 7


def commitments(case: Case, _: Settings) -> Findings:
    for number, d in case.attempts.items():
        for p in sorted(d.what.catalogs):
            part = case.parts.get(p)
            if part is None:
                continue
            masked = [e.seq for e in part.about(number, "sent") if is_masked(e)]
            made = [e.seq for e in part.about(number, "committed") if e.facts["data"] and e.facts["seed"]]
            if not masked:
                yield open_("{} sent no data in attempt {}", p, number)
            elif not made or made[0] > masked[0]:
                facts = (p, number)
                yield bad(
                    "{} sent data in attempt {} before it bound itself to data and seed", *facts, by=if_whole(part)
                )
            else:
                yield good("{} bound itself to its data and seed before it sent data in attempt {}", p, number)


# -- 9


def additions(case: Case, _: Settings) -> Findings:
    """With the messages that the coordinator heard, its part of the protocol is run again: it has no secret in it."""
    for number, d in case.attempts.items():
        part, heard = case.parts.get(d.coordinator), case.bodies.get(d.coordinator)
        plan = d.plan
        if d.what.deposit is not None:
            whole = part is not None and heard is not None and plan is not None and case.done(number)
            yield from added_again(case, number, d, plan) if whole and plan is not None else no_bodies()
            continue
        if part is None or heard is None or plan is None or not case.done(number):
            yield open_("masked vectors are in no bundle: the coordinator's sums rest on its signed log and on replay")
            continue
        came = [e.facts for e in part.about(number, "received") if is_masked(e)]
        logged = {(str(f["peer"]), str(f["step"]), str(f["sha256"])) for f in came}
        bodies = [s for s in heard if not s.step.startswith(KEYS)]
        given = {(s.sender, s.step, hashlib.sha256(s.raw).hexdigest()) for s in bodies}
        if given != logged:
            sender, step, _digest = sorted(given ^ logged)[0]
            yield bad("a message of {} at {} is not the one in the log", sender, step)
            continue
        sent = sorted((e for e in part.about(number, "sent") if is_masked(e)), key=lambda e: int(e.facts["number"]))
        said = [Said(str(e.facts["peer"]), str(e.facts["step"]), bytes.fromhex(e.facts["sha256"])) for e in sent]
        role = add_up(Session(d.coordinator, Coins(bytes(32))), cast_in(case, d, plan))  # it draws no coins
        try:
            totals, _bindings = rerun(d.coordinator, role, bodies, said)
        except HejiError as problem:
            yield bad("the coordinator did not add up what it heard: {}", problem.message, by=d.coordinator)
            continue
        told = [e.facts["sums"] for e in part.about(number, "added")]
        if told and told[-1] == {n: hashlib.sha256(w.tobytes()).hexdigest() for n, w in totals.items()}:
            yield good("attempt {}: {} messages to the coordinator add up to what it handed on", number, len(bodies))
        else:
            yield bad("the coordinator did not add up what it heard: {}", "-", by=d.coordinator)
