"""Checks of the record itself: signatures, logs, sequence, messages, software, times (1 to 4, 15, 16)."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator

from mpc.errors import LocalError
from mpc.evidence import stamp as stamps
from mpc.evidence.bundle import BUNDLE
from mpc.evidence.case import Case, Document, Part, Roster, Stamped
from mpc.evidence.entry import Event
from mpc.evidence.findings import (
    SETBACK,
    SKEW,
    Counted,
    Finding,
    Findings,
    Settings,
    bad,
    events_of,
    good,
    if_whole,
    open_,
    parts_of,
    signed_by,
    where,
    whole,
)
from mpc.evidence.merkle import consistent, included, leaf_hash
from mpc.evidence.note import Checkpoint, Malformed
from mpc.evidence.receipt import RECEIPT, receipt_bytes
from mpc.protocols.agree import AGREED
from mpc.protocols.deposit import DEPOSIT

SIGNED = "{} signatures verify under keys of the roster"
MISSING = "an entry of {} is missing before its entry {} about the job"
NOT_NEXT = "{} does not follow the entry before it"
IN_TIME = "times do not run backwards, and approvals lie within the job's time"

# -- 1


def signatures(case: Case, _: Settings) -> Findings:
    yield from bundle_signed(case)
    count = (yield from entries_signed(case)) + (yield from texts_signed(case))
    yield good(SIGNED, count)


def bundle_signed(case: Case) -> Findings:
    bundle = case.bundle
    if case.roster.unsigned:
        yield bad("the roster lacks the signature of {}", ", ".join(case.roster.unsigned))
    if not case.roster.given:
        yield open_("judged by the bundle's own roster: compare its digest {}", case.roster.digest)
    if not signed_by(case, bundle.by, BUNDLE, bundle.manifest, bundle.signature):
        yield bad("{} did not sign this bundle", bundle.by)


def entries_signed(case: Case) -> Counted:
    count = 0
    for part in parts_of(case):
        listed = case.roster.members.get(part.member)
        for entry in part.entries:
            count += 1
            e = entry.event
            if listed is None or not entry.signed_by(listed.identity) or (entry.keyid, e.node) != (listed.name,) * 2:
                yield bad("{} does not bear the signature of {}", where(e, part), part.member)
            elif not listed.valid_at(e.time):
                yield bad("{} was signed when {}'s key was not valid", where(e, part), part.member)
    return count


def texts_signed(case: Case) -> Counted:
    count = 0
    for kept_by, d in case.documents():
        for who, label, text, signature in _signed_texts(d):
            count += 1
            if not signed_by(case, who, label, text, signature):
                yield bad("a {} in the name of {}, kept by {}, does not bear its signature", label, who, kept_by)
    return count


def _signed_texts(d: Document) -> Iterator[tuple[str, str, bytes, bytes]]:
    yield d.what.submitter, "job", d.job.text, d.job.signature
    for p, c in d.catalogs.items():
        yield p, "catalog", c.text, c.signature
    for p, a in d.approvals.items():
        yield p, "approval", a.text, a.signature
    for p, w in d.agreed.items():
        yield p, AGREED, w.digest, w.signature
    for p, s in d.deposits.items():
        yield p, DEPOSIT, s.text, s.signature


# -- 2


def logs(case: Case, settings: Settings) -> Findings:
    for part in parts_of(case):
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
        yield from cosigned(case.roster, set(case.participants), settings, part, point)
    for name in case.absent:
        yield open_("the log of {} is not in the bundle", name)


def cosigned(roster: Roster, participants: set[str], settings: Settings, part: Part, point: Checkpoint) -> Findings:
    """Enough of a log's other ``participants`` have seen it, and the witnesses asked for."""
    others = {p for p in participants if p != part.member and p in roster.members}
    watching = {m.name for m in roster.members.values() if "witness" in m.roles}
    keys = {f"heji/{p}": roster.members[p].identity for p in others | watching}
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
    for part in parts_of(case):
        before = ""
        for seq, event in enumerate(part.events):
            if event.job != case.job:
                yield bad("entry {} of {} is about another job", seq, part.member)
            if event.seq != seq:
                yield bad(MISSING, part.member, event.seq)
                break
            if event.prev != before:
                yield bad(NOT_NEXT, where(event, part), by=part.member)
                break
            before = event.digest()
        else:
            yield good("{} told of the job in {} entries without a gap", part.member, len(part.events))


# -- 4


def messages(case: Case, _: Settings) -> Findings:
    total, known = 0, set[tuple[bytes, bytes]]()  # both ends hold the same receipt
    for part in parts_of(case):
        if len(part.messages) != sum(e.event in ("sent", "received") for e in part.events):
            yield bad("{} tells of one message twice", part.member, by=part.member)
        yield from _left_out(part)
        for e in part.messages.values():
            peer, out = str(e.facts["peer"]), e.event == "sent"
            total += 1
            if out and not e.facts["receipt"]:
                if case.done(e.attempt):
                    yield bad("{} has no receipt, though the attempt ended well", where(e, part), by=part.member)
                continue
            receiver, text, signature = _receipt(part.member, e)
            if (text, signature) not in known and not signed_by(case, receiver, RECEIPT, text, signature):
                # whoever is honest looks at a receipt before it writes it down
                yield bad("{} has a receipt that {} did not sign", where(e, part), receiver, by=part.member)
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
            yield bad("{} leaves out a message {} {} in attempt {}", *facts, by=if_whole(part))


def _told_there(case: Case, part: Part, e: Event, other: Part) -> Findings:
    wanted = "received" if e.event == "sent" else "sent"
    there = other.messages.get((e.attempt, wanted, part.member, int(e.facts["number"])))
    facts = ("step", "len", "sha256")
    if there is None:
        # of an attempt that was cut off the sender may not have learnt that its message came
        if case.done(e.attempt) or wanted == "received":
            # it signed a receipt for what it leaves out, and its log goes on to the end of the attempt
            hides = wanted == "received" and bool(other.about(e.attempt, "done", "aborted")) and whole(other)
            yield bad("{} is not in the log of {}", where(e, part), other.member, by=other.member if hides else "")
    elif any(there.facts[f] != e.facts[f] for f in facts):
        receiver, text, signature = _receipt(other.member, there)
        # two receipts for one message; they do not cover its length
        twice = text != _receipt(part.member, e)[1] and signed_by(case, receiver, RECEIPT, text, signature)
        yield bad("{} is another message in the log of {}", where(e, part), other.member, by=receiver if twice else "")


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


# -- 15, 16


def software(case: Case, settings: Settings) -> Findings:
    ran = {
        part.member: str(e.facts["software"]) for part in parts_of(case) for e in part.events if e.event == "approved"
    }
    for who, what in sorted(ran.items()):
        if what in settings.software if settings.software else len(set(ran.values())) == 1:
            yield good("{} ran {}", who, what)
        else:
            yield bad("{} ran {}, which is not what was to run", who, what, by=who if settings.software else "")


def times(case: Case, settings: Settings) -> Findings:
    yield from clocks(case)
    yield from approved_in_time(case)
    yield good(IN_TIME)
    for part in parts_of(case):
        yield from _stamped(case, settings, part)


def clocks(case: Case) -> Findings:
    for part in parts_of(case):
        latest = 0
        for e in part.events:
            if e.time < latest - SETBACK:
                yield bad("{} is earlier than the one before it", where(e, part), by=part.member)
            latest = max(latest, e.time)
        keys = {f"heji/{m}": listed.identity for m, listed in case.roster.members.items()}
        for who, time in part.checkpoint.cosignatures(keys).items():
            if time < latest - SKEW:
                who = who.removeprefix("heji/")
                yield bad("{} cosigned the log of {} before its last entry was made", who, part.member)


def approved_in_time(case: Case) -> Findings:
    for number, d in case.attempts.items():
        for p in d.approvals:
            for e in events_of(case, p, number, "approved"):
                if not d.what.created - SKEW <= e.time <= d.what.expires + SKEW:
                    yield bad("{} approved outside of the job's time", p, by=p)


def _stamped(case: Case, settings: Settings, part: Part) -> Findings:
    """A timestamp says that the log was so at its time: its entries are no later, and were not made up since."""
    stamped, me = part.stamp, part.member
    if stamped is None:
        if settings.authority:
            yield open_("the log of {} bears no timestamp", me)
        return
    point, newer = sorted((stamped.checkpoint, part.checkpoint), key=lambda c: c.size)
    listed = case.roster.members.get(me)
    if listed is None or not stamped.checkpoint.signed_by(f"heji/{me}", listed.identity):
        yield bad("the checkpoint of {} that bears a timestamp does not bear its signature", me)
    elif max(part.numbers, default=0) >= stamped.checkpoint.size or not consistent(
        point.size, point.root, newer.size, newer.root, stamped.consistency
    ):
        yield bad("the checkpoint of {} that bears a timestamp does not hold its entries", me)
    else:
        yield _timed(settings, part, stamped)


def _timed(settings: Settings, part: Part, stamped: Stamped) -> Finding:
    me, point = part.member, stamped.checkpoint
    try:
        stamp = stamps.read(stamped.token, point)
    except Malformed:
        return bad("the timestamp of {} is not one of the checkpoint it stands with", me)
    except LocalError:
        return open_("the timestamp of {} cannot be read here: pip install 'heji[anchors]'", me)
    facts = (me, dt.datetime.fromtimestamp(stamp.time, dt.UTC).isoformat(), stamp.authority)
    if late := [e for e in part.events if e.time > stamp.time + SKEW]:
        return bad("{} is later than the timestamp over it", where(late[0], part))
    if not settings.authority:
        return open_("the log of {} bears a timestamp of {} by {}: give its root certificate to check it", *facts)
    try:
        stamps.verify(stamped.token, point, settings.authority)
    except Malformed:
        return bad("the timestamp of {} is not signed under the certificate given", me)
    return good("the log of {} was so at {}, by the word of {}", *facts)
