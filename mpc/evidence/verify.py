"""The sixteen checks over a bundle, offline.

Each is one small generator that yields what it found: ``good`` what holds, ``bad`` what does not, ``open_`` what cannot
be checked from this bundle and why. A check has failed if anything is bad, passed if something is good and nothing bad,
and is open otherwise. No networking, nothing of a node: numbers, texts, hashes and signatures.

What evidence cannot show stands in ``LIMITS`` and at the end of every report.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from mpc.codec import encode
from mpc.coins import Coins
from mpc.crypto import labels
from mpc.crypto.sign import verify as verify_signed
from mpc.errors import HejiError, LocalError
from mpc.evidence.bundle import BUNDLE
from mpc.evidence.case import Case, Document, Part
from mpc.evidence.entry import Event
from mpc.evidence.merkle import consistent, included, leaf_hash
from mpc.evidence.note import Checkpoint
from mpc.evidence.receipt import RECEIPT, receipt_bytes
from mpc.policy.flow import Recipient, Request
from mpc.policy.flow import check as policy_allows
from mpc.policy.grants import parse_policy
from mpc.protocols.agree import AGREED, ANNOUNCE, agreed_digest, announced_bytes
from mpc.query.compile import PLANNER, compile_plan
from mpc.query.plan import Plan
from mpc.replay import Said, rerun
from mpc.roles import Cast, add_up, cast_of
from mpc.rounds import Session

#: seconds that clocks of members may differ by, and that one clock may be set back
SKEW, SETBACK = 300, 5
#: steps at which keys are agreed; what is said later is masked data
KEYS = "keys/"

LIMITS = (
    "Whether a party's tables are true: evidence binds a party to the data it used, not to the world.",
    "What was copied or read outside of this software.",
    "That nobody else was told: members who pool their secrets could learn more than the protocol gives them.",
    "What happened before the logs began or at members whose part is not in the bundle.",
    "Deviations are shown and attributed afterwards; they are not prevented.",
)


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
    have run, empty for whatever all of them ran."""

    quorum: int | None = None
    witnesses: tuple[str, ...] = ()
    software: tuple[str, ...] = ()


Findings = Iterator[Finding]


def good(template: str, *args: object) -> Finding:
    return Finding(True, template, args)


def bad(template: str, *args: object, by: str = "") -> Finding:
    return Finding(False, template, args, by)


def open_(template: str, *args: object) -> Finding:
    return Finding(None, template, args)


def verify(case: Case, settings: Settings | None = None) -> list[Check]:
    """All checks, in their order. Raises nothing: what cannot even be looked at is a failed check."""
    wanted, checks = settings or Settings(), []
    for number, (title, check) in enumerate(CHECKS, 1):
        try:
            findings = tuple(check(case, wanted))
        except (HejiError, ValueError, KeyError, TypeError, IndexError) as problem:
            findings = (bad("cannot be looked at: {}", type(problem).__name__),)
        checks.append(Check(number, title, findings))
    return checks


# -- 1


def signatures(case: Case, _: Settings) -> Findings:
    bundle, count = case.bundle, 0
    if case.roster.unsigned:
        yield bad("the roster lacks the signature of {}", ", ".join(case.roster.unsigned))
    if not case.roster.given:
        yield open_("judged by the bundle's own roster: compare its digest {}", case.roster.digest)
    if not _signed_by(case, bundle.by, BUNDLE, bundle.manifest, bundle.signature):
        yield bad("{} did not sign this bundle", bundle.by)
    for part in _parts(case):
        listed = case.roster.members.get(part.member)
        for entry in part.entries:
            count += 1
            e = entry.event
            if listed is None or not entry.signed_by(listed.identity) or (entry.keyid, e.node) != (listed.name,) * 2:
                yield bad("{} does not bear the signature of {}", _where(e, part), part.member)
            elif not listed.valid_at(e.time):
                yield bad("{} was signed when {}'s key was not valid", _where(e, part), part.member)
    for kept_by, d in case.documents():
        for who, label, text, signature in _signed_texts(d):
            count += 1
            if not _signed_by(case, who, label, text, signature):
                yield bad("a {} in the name of {}, kept by {}, does not bear its signature", label, who, kept_by)
    yield good("{} signatures verify under keys of the roster", count)


def _signed_texts(d: Document) -> Iterator[tuple[str, str, bytes, bytes]]:
    yield d.what.submitter, "job", d.job.text, d.job.signature
    for p, c in d.catalogs.items():
        yield p, "catalog", c.text, c.signature
    for p, a in d.approvals.items():
        yield p, "approval", a.text, a.signature
    for p, w in d.agreed.items():
        yield p, AGREED, w.digest, w.signature


# -- 2


def logs(case: Case, settings: Settings) -> Findings:
    for part in _parts(case):
        listed = case.roster.members.get(part.member)
        origin, point, newest = f"heji/{part.member}", part.checkpoint, part.newest
        if listed is None or not all(c.signed_by(origin, listed.identity) for c in (point, newest)):
            yield bad("a checkpoint of {} does not bear its signature", part.member)
            continue
        if (point.origin, newest.origin) != (origin, origin):
            yield bad("a checkpoint in the part of {} is of another log", part.member)
        outside = [
            n
            for n, raw, path in zip(part.numbers, part.raw, part.inclusion, strict=True)
            if not included(leaf_hash(raw), n, point.size, path, point.root)
        ]
        if outside:
            yield bad("entry {} of {} is not in its log of {} entries", outside[0], part.member, point.size)
        if not consistent(point.size, point.root, newest.size, newest.root, part.consistency):
            yield bad("the newest checkpoint of {} does not continue the one of {} entries", part.member, point.size)
        yield from _quorum(case, settings, part, point)
    for name in case.absent:
        yield open_("the log of {} is not in the bundle", name)


def _quorum(case: Case, settings: Settings, part: Part, point: Checkpoint) -> Findings:
    others = {p for p in case.participants if p != part.member and p in case.roster.members}
    watching = {m.name for m in case.roster.members.values() if "witness" in m.roles}
    keys = {f"heji/{p}": case.roster.members[p].identity for p in others | watching}
    who = {name.removeprefix("heji/") for name in point.cosignatures(keys)}
    needed = len(others) // 2 + 1 if settings.quorum is None else settings.quorum
    facts = (len(part.entries), part.member, point.size, ", ".join(sorted(who)) or "-")
    if len(who & others) >= needed:
        yield good("{} entries of {} lie in its log of {}, cosigned by {}", *facts)
    else:
        yield bad("{} entries of {} lie in its log of {}, cosigned by {}: {} are needed", *facts, needed)
    for name in settings.witnesses:
        if name not in who & watching:
            yield bad("the witness {} did not cosign the log of {}", name, part.member)


# -- 3


def chains(case: Case, _: Settings) -> Findings:
    for part in _parts(case):
        before = ""
        for seq, event in enumerate(part.events):
            if event.job != case.job:
                yield bad("entry {} of {} is about another job", seq, part.member)
            if event.seq != seq:
                yield bad("an entry of {} is missing before its entry {} about the job", part.member, event.seq)
                break
            if event.prev != before:
                yield bad("{} does not follow the entry before it", _where(event, part), by=part.member)
                break
            before = event.digest()
        else:
            yield good("{} told of the job in {} entries without a gap", part.member, len(part.events))


# -- 4


def messages(case: Case, _: Settings) -> Findings:
    total, known = 0, set[tuple[bytes, bytes]]()  # both ends hold the same receipt
    for part in _parts(case):
        if len(part.messages) != sum(e.event in ("sent", "received") for e in part.events):
            yield bad("{} tells of one message twice", part.member, by=part.member)
        yield from _left_out(part)
        for e in part.messages.values():
            peer, out = str(e.facts["peer"]), e.event == "sent"
            total += 1
            if out and not e.facts["receipt"]:
                if case.done(e.attempt):
                    yield bad("{} has no receipt, though the attempt ended well", _where(e, part), by=part.member)
                continue
            receiver, text, signature = _receipt(part.member, e)
            if (text, signature) not in known and not _signed_by(case, receiver, RECEIPT, text, signature):
                # whoever is honest looks at a receipt before it writes it down
                yield bad("{} has a receipt that {} did not sign", _where(e, part), receiver, by=part.member)
                continue
            known.add((text, signature))
            other = case.parts.get(peer)
            if other is not None:
                yield from _told_there(case, part, e, other)
    yield good("{} messages: both ends hold the same digest, each with the receiver's signed receipt", total)
    for name in case.absent:
        yield open_("of messages from and to {} only the other end is here", name)


def _left_out(part: Part) -> Findings:
    """Messages of one member to another are numbered from 0."""
    numbers: dict[tuple[int, str, str], list[int]] = {}
    for attempt, event, peer, number in part.messages:
        numbers.setdefault((attempt, event, peer), []).append(number)
    for (attempt, event, peer), seen in sorted(numbers.items()):
        if sorted(seen) != list(range(len(seen))):
            arrow = "→" if event == "sent" else "←"
            facts = (part.member, arrow, peer, attempt)
            yield bad("{} leaves out a message {} {} in attempt {}", *facts, by=_if_whole(part))


def _told_there(case: Case, part: Part, e: Event, other: Part) -> Findings:
    wanted = "received" if e.event == "sent" else "sent"
    there = other.messages.get((e.attempt, wanted, part.member, int(e.facts["number"])))
    facts = ("step", "len", "sha256")
    if there is None:
        # of an attempt that was cut off the sender may not have learnt that its message came
        if case.done(e.attempt) or wanted == "received":
            # it signed a receipt for what it leaves out, and its log goes on to the end of the attempt
            hides = wanted == "received" and bool(other.about(e.attempt, "done", "aborted")) and _whole(other)
            yield bad("{} is not in the log of {}", _where(e, part), other.member, by=other.member if hides else "")
    elif any(there.facts[f] != e.facts[f] for f in facts):
        receiver, text, signature = _receipt(other.member, there)
        twice = _signed_by(case, receiver, RECEIPT, text, signature)  # two receipts for one message
        yield bad("{} is another message in the log of {}", _where(e, part), other.member, by=receiver if twice else "")


def _whole(part: Part) -> bool:
    """Nothing is missing between its entries: what is not there, the member did not write."""
    return all(e.seq == i for i, e in enumerate(part.events))


def _if_whole(part: Part) -> str:
    """Whom to blame for what is not there: nobody, where somebody may have taken it out of the bundle."""
    return part.member if _whole(part) else ""


def _receipt(me: str, e: Event) -> tuple[str, bytes, bytes]:
    """Who signed, what, and the signature."""
    sender, receiver = (me, str(e.facts["peer"])) if e.event == "sent" else (str(e.facts["peer"]), me)
    text = receipt_bytes(
        bytes.fromhex(e.job),
        e.attempt,
        sender,
        receiver,
        int(e.facts["number"]),
        str(e.facts["step"]),
        bytes.fromhex(e.facts["sha256"]),
    )
    return receiver, text, bytes.fromhex(e.facts["receipt"])


# -- 5


def one_job(case: Case, _: Settings) -> Findings:
    for kept_by, d in case.documents():
        same = case.attempts[d.attempt]
        if hashlib.sha256(d.job.text).hexdigest() != case.job:
            yield bad("{} kept another job under this id", kept_by)
        if d.what.roster != case.roster.digest:
            yield bad("the job names another roster than the one it is judged by, {}", case.roster.digest)
        shown = (d.catalogs, d.approvals, d.coordinator)
        if shown != (same.catalogs, same.approvals, same.coordinator):
            yield bad("{} was shown other catalogs or approvals in attempt {} than others were", kept_by, d.attempt)
        if d.agreed and (d.agreed, d.announced) != (same.agreed, same.announced):
            yield bad("{} was shown other keys in attempt {} than others were", kept_by, d.attempt)
    for number, d in case.attempts.items():
        yield from _approvals(case, d)
        yield from _agreement(case, number, d)


def _approvals(case: Case, d: Document) -> Findings:
    for p, signed in d.approvals.items():
        told = d.approval(p)
        if (told["job"], told["party"], told["roster"]) != (case.job, p, d.what.roster):
            yield bad("the approval of {} is not of this job, member and roster", p, by=p)
        part = case.parts.get(p)
        if part is None:
            continue
        logged = part.about(d.attempt, "approved")
        first = next((e.seq for e in part.about(d.attempt, "sent") if _masked(e)), len(part.events))
        if not logged or logged[0].facts["approval"] != hashlib.sha256(signed.text).hexdigest():
            yield bad("the approval of {} is not the one in its log", p, by=p if logged else "")
        elif logged[0].seq > first:
            yield bad("{} sent data before it approved", p, by=p)
    plan = plan_of(d)
    if plan is None:
        yield open_(
            "attempt {}: planned by {}, this verifier has {}: not compiled again", d.attempt, d.what.planner, PLANNER
        )
        return
    others = [p for p in d.approvals if d.approval(p)["plan"] != plan.digest()]
    for p in others:
        yield bad("attempt {}: {} approved another plan than the job's text compiles to", d.attempt, p, by=p)
    if not others:
        yield good("attempt {}: {} approved what the job's text compiles to", d.attempt, ", ".join(sorted(d.approvals)))


def _agreement(case: Case, number: int, d: Document) -> Findings:
    """All signed one digest of job, plan, roster, approvals and keys, which can be computed again; and said so in
    exactly the messages that the logs tell of."""
    if not d.agreed:
        yield open_("attempt {} ended before keys were agreed", number)
        return
    if set(d.agreed) != set(d.participants) or set(d.announced) != set(d.participants):
        yield bad("attempt {}: not all participants agreed, or others did", number)
        return
    plan = plan_of(d)
    if plan is not None:
        context = _cast(case, d, plan).context.digest()
        common = agreed_digest(context, d.announced)
        for p, word in d.agreed.items():
            if word.digest != common:
                yield bad("attempt {}: {} agreed to something else than what is in the bundle", number, p)
        for p, a in d.announced.items():
            if not _signed_by(case, p, ANNOUNCE, announced_bytes(context, p, a.public_key), a.signature):
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
    given = case.bundle.part("policies")
    for number, d in case.attempts.items():
        plan = plan_of(d)
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
    members = case.roster.members
    approved = next((e.time for e in _events(case, party, d.attempt, "approved")), d.what.created)
    request = Request(
        recipients=tuple(Recipient(r, members[r].organisation, members[r].roles) for r in d.what.recipients),
        organisations={q: members[q].organisation for q in plan.parties},
        purpose=d.what.purpose,
        trust=plan.trust,
        allow_two_party=d.what.allow_two_party,
        today=dt.datetime.fromtimestamp(approved, dt.UTC).date(),
        by_hand="by_hand" in d.approval(party),
    )
    try:
        policy_allows(plan, party, parse_policy(text.decode()), request)
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
            masked = [e.seq for e in part.about(number, "sent") if _masked(e)]
            made = [e.seq for e in part.about(number, "committed") if e.facts["data"] and e.facts["seed"]]
            if not masked:
                yield open_("{} sent no data in attempt {}", p, number)
            elif not made or made[0] > masked[0]:
                facts = (p, number)
                yield bad(
                    "{} sent data in attempt {} before it bound itself to data and seed", *facts, by=_if_whole(part)
                )
            else:
                yield good("{} bound itself to its data and seed before it sent data in attempt {}", p, number)


# -- 8, 9, 10


def points(case: Case, _: Settings) -> Findings:
    """Every contributor signed the hash of its points before it sent data."""
    for number, d in case.attempts.items():
        if not d.what.verified:
            yield open_("the job asked for no verified sums")
            continue
        for p in sorted(d.what.catalogs):
            part = case.parts.get(p)
            if part is None:
                continue
            sent = part.about(number, "sent")
            bound = [e.seq for e in sent if str(e.facts["step"]).endswith("/verified/hash")]
            data = [e.seq for e in sent if "/block/" in str(e.facts["step"])]
            if data and (not bound or bound[0] > data[0]):
                yield bad("{} sent data in attempt {} before it bound itself to points", p, number, by=_if_whole(part))
            elif data:
                yield good("{} bound itself to points before it sent data in attempt {}", p, number)


def additions(case: Case, _: Settings) -> Findings:
    """With the messages that the coordinator heard, its part of the protocol is run again: it has no secret in it."""
    for number, d in case.attempts.items():
        part, heard = case.parts.get(d.coordinator), case.bodies.get(d.coordinator)
        plan = plan_of(d)
        if part is None or heard is None or plan is None or not case.done(number):
            yield open_("masked vectors are in no bundle: the coordinator's sums rest on its signed log and on replay")
            continue
        came = [e.facts for e in part.about(number, "received") if _masked(e)]
        logged = {(str(f["peer"]), str(f["step"]), str(f["sha256"])) for f in came}
        bodies = [s for s in heard if not s.step.startswith(KEYS)]
        given = {(s.sender, s.step, hashlib.sha256(s.raw).hexdigest()) for s in bodies}
        if given != logged:
            sender, step, _digest = sorted(given ^ logged)[0]
            yield bad("a message of {} at {} is not the one in the log", sender, step)
            continue
        sent = sorted((e for e in part.about(number, "sent") if _masked(e)), key=lambda e: int(e.facts["number"]))
        said = [Said(str(e.facts["peer"]), str(e.facts["step"]), bytes.fromhex(e.facts["sha256"])) for e in sent]
        role = add_up(Session(d.coordinator, Coins(bytes(32))), _cast(case, d, plan))  # it draws no coins
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


def equations(case: Case, _: Settings) -> Findings:
    """Who opened the sum verified it, and signed that it did: nobody else has the sum."""
    for number, d in case.attempts.items():
        if not d.what.verified:
            yield open_("the job asked for no verified sums")
            continue
        for r in d.what.recipients:
            told = _events(case, r, number, "revealed")
            if told and told[-1].facts.get("verified"):
                yield good("{} verified that the sums are of what the parties bound themselves to", r)
            elif told:
                yield bad("{} opened the sums without verifying them", r, by=r)
            else:
                yield open_("{} acknowledged no result in this bundle", r)


# -- 11


def results(case: Case, _: Settings) -> Findings:
    given = case.bundle.part("results")
    for r in sorted({r for d in case.attempts.values() for r in d.what.recipients}):
        part = case.parts.get(r)
        told = [e for e in part.events if e.event == "revealed"] if part else []
        if r in given:
            if told and told[-1].facts["result"] == labels.digest("result", given[r]).hex():
                yield good("the result given for {} is the one it acknowledged", r)
            else:
                yield bad("the result given for {} is not the one in its log", r)
        elif told:
            yield good("{} acknowledged a result (digest {}); it did not give it", r, told[-1].facts["result"])
        else:
            yield open_("{} acknowledged no result in this bundle", r)


# -- 12, 13, 14


def budgets(case: Case, _: Settings) -> Findings:
    yield open_("needs all jobs of a period")


def suppression(case: Case, _: Settings) -> Findings:
    for d in case.attempts.values():
        for p in sorted(d.what.catalogs):
            if p in d.approvals:
                told = d.approval(p)
                yield open_(
                    "{} kept cells of fewer than {} entities and {} institutions hidden by its signed word",
                    p,
                    told["min_entities"],
                    told["min_contributors"],
                )


def reruns(case: Case, _: Settings) -> Findings:
    yield open_("needs all jobs of a period")


# -- 15, 16


def software(case: Case, settings: Settings) -> Findings:
    ran = {part.member: str(e.facts["software"]) for part in _parts(case) for e in part.events if e.event == "approved"}
    for who, what in sorted(ran.items()):
        if what in settings.software if settings.software else len(set(ran.values())) == 1:
            yield good("{} ran {}", who, what)
        else:
            yield bad("{} ran {}, which is not what was to run", who, what, by=who if settings.software else "")


def times(case: Case, _: Settings) -> Findings:
    for part in _parts(case):
        latest = 0
        for e in part.events:
            if e.time < latest - SETBACK:
                yield bad("{} is earlier than the one before it", _where(e, part), by=part.member)
            latest = max(latest, e.time)
        keys = {f"heji/{m}": listed.identity for m, listed in case.roster.members.items()}
        for who, time in part.checkpoint.cosignatures(keys).items():
            if time < latest - SKEW:
                who = who.removeprefix("heji/")
                yield bad("{} cosigned the log of {} before its last entry was made", who, part.member)
    for number, d in case.attempts.items():
        for p in d.approvals:
            for e in _events(case, p, number, "approved"):
                if not d.what.created - SKEW <= e.time <= d.what.expires + SKEW:
                    yield bad("{} approved outside of the job's time", p, by=p)
    yield good("times do not run backwards, and approvals lie within the job's time")


CHECKS: tuple[tuple[str, Callable[[Case, Settings], Findings]], ...] = (
    ("signatures", signatures),
    ("logs and cosignatures", logs),
    ("sequence", chains),
    ("messages and receipts", messages),
    ("one job, plan and roster; approvals", one_job),
    ("policies", policies),
    ("commitments before data", commitments),
    ("points of verified sums", points),
    ("the coordinator's additions", additions),
    ("the verified-sum equation", equations),
    ("result as acknowledged", results),
    ("budgets", budgets),
    ("suppression", suppression),
    ("no second run on fewer parties", reruns),
    ("software", software),
    ("times", times),
)


# -- what several checks need


def _parts(case: Case) -> list[Part]:
    return [p for _, p in sorted(case.parts.items())]


def _events(case: Case, member: str, attempt: int, name: str) -> list[Event]:
    part = case.parts.get(member)
    return part.about(attempt, name) if part else []


def _signed_by(case: Case, who: str, label: str, text: bytes, signature: bytes) -> bool:
    listed = case.roster.members.get(who)
    if listed is None:
        return False
    try:
        verify_signed(listed.identity, label, text, signature, party=who)
    except HejiError:
        return False
    return True


def _masked(e: Event) -> bool:
    return not str(e.facts["step"]).startswith(KEYS)


def _where(e: Event, part: Part) -> str:
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
    job = d.what
    return compile_plan(job.sql, d.published, recipients=job.recipients, trust=job.trust, verified=job.verified)


def _cast(case: Case, d: Document, plan: Plan) -> Cast:
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


def to_json(case: Case, checks: list[Check]) -> dict[str, Any]:
    """For programs."""
    return {
        "job": case.job,
        "bundle": {"by": case.bundle.by, "made": case.bundle.made, "logs": sorted(case.parts), "absent": case.absent},
        "roster": {"digest": case.roster.digest, "given": case.roster.given},
        "checks": [
            {
                "number": c.number,
                "title": c.title,
                "verdict": c.verdict,
                "evidence": [{"good": f.good, "text": f.text, **({"by": f.by} if f.by else {})} for f in c.findings],
            }
            for c in checks
        ],
        "limits": list(LIMITS),
        "verdict": overall(checks),
    }


def overall(checks: list[Check]) -> Literal["passed", "failed"]:
    """Failed if any check has."""
    return "failed" if any(c.verdict == "failed" for c in checks) else "passed"
