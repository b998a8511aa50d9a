"""Every message of a join, in turn, is cut, lengthened, exchanged, left out or changed: whatever has the wrong shape
ends the attempt and names who said it and where; what holds other words only ends as it may, and never in a crash.

The whole job is run, from the keys to what the recipient reads: wrong words reach its decoding of dates and texts too.
Every day one message of each kind is taken, in the slow tests every single one.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pytest

from mpc.codec import decode, encode
from mpc.errors import HejiError, LocalError, PeerError
from mpc.joint_setup import joint_of
from mpc.joint_sides import SideRows
from mpc.messages import Agreed, Announce, Many, Message, Positions, Words
from mpc.query.finish import Result, finish
from mpc.query.layout import read
from mpc.query.plan import Plan
from mpc.replay import replay
from mpc.roles import Cast, Outcome, play_coordinator, play_helper, play_party, sums_of
from mpc.rounds import Round, Rounds
from mpc.run import Sent, Trace, run
from parties.results import to_arrow
from tests.mpc import cast
from tests.mpc.query.test_joins import table
from tests.mpc.query.world import HELPER, World, boolean, date, decimal, integer, text

FIRMS = [f"F{i}" for i in range(6)]
DAY = dt.date(2024, 2, 28)

WORLD = World(
    (
        table(
            "tax",
            "firms",
            [
                text("id", key=True, nullable=False),
                text("industry", "A", "B"),
                integer("paid", -50, 10**9),
                integer("late", 0, 9),
            ],
            [(f, "AB"[i % 2], i * 7 - 9, i % 3) for i, f in enumerate(FIRMS[:5])],
        ),
        table(
            "bank",
            "firms",
            [
                text("id", key=True, nullable=False),
                decimal("balance", 2, -(10**9), 10**9),
                integer("overdue", 0, 9, nullable=False),
                text("branch", "north", "south"),
            ],
            [(f, f"{i}.25", i % 3, ("north", "south", None)[i % 3]) for i, f in enumerate(FIRMS) if i != 2],
        ),
        table(
            "telecom",
            "firms",
            [
                text("id", key=True, nullable=False),
                integer("spend", -100, 1000),
                date("since", "2000-01-01", "2030-01-01"),
                boolean("good"),
            ],
            [(f, i * 5 - 4, DAY + dt.timedelta(i), i % 2 == 0) for i, f in enumerate(FIRMS[1:])],
        ),
    )
)

JOINED = "FROM tax.firms t JOIN bank.firms b USING (id) LEFT JOIN telecom.firms m USING (id)"
TOTALS = (
    "SELECT t.industry, COUNT(*) AS n, SUM(b.balance) AS s, "
    "SUM(CASE WHEN t.paid > m.spend THEN b.balance * t.paid END) AS p, "
    f"AVG(t.late) AS a {JOINED} WHERE b.overdue < 2 AND t.late <> 7 GROUP BY t.industry ORDER BY t.industry"
)
ROWS = (
    "SELECT t.id, t.paid, b.balance * t.paid AS p, m.since, m.good, b.branch, COALESCE(b.branch, 'none') AS c, "
    f"CASE WHEN t.late = b.overdue THEN 'same' ELSE b.branch END AS d, t.paid > m.spend AS more {JOINED} "
    "WHERE b.overdue < 2 ORDER BY t.id"
)


LIMITED = f"SELECT t.industry, SUM(b.balance) AS s {JOINED} GROUP BY t.industry ORDER BY t.industry"


@dataclass(frozen=True, eq=False)
class Job:
    """One query to one recipient, in process: all roles from the keys to the result."""

    sql: str
    recipient: str
    least: int = 0
    most: int | None = None

    @cached_property
    def plan(self) -> Plan:
        return WORLD.plan(self.sql, recipients=(self.recipient,))

    @cached_property
    def members(self) -> cast.World:
        parties = self.plan.joins[0][1].parties
        return cast.World(parties, sums_of(self.plan, (self.recipient,)), inside=(HELPER, self.recipient))

    @cached_property
    def cast(self) -> Cast:
        joints = tuple((p, joint_of(pool, HELPER, self.least, self.most)) for p, pool in self.plan.joins)
        return replace(self.members.cast, joints=joints)

    @cached_property
    def rows(self) -> Mapping[str, Mapping[int, Mapping[str, SideRows]]]:
        return {i: {p: WORLD.rows(j.pool, i) for p, j in self.cast.joints} for i in self.members.parties}

    def roles(self) -> dict[str, Rounds[Outcome]]:
        w, found = self.members, {}
        for name in self.cast.context.participants:
            common = w.session(name), self.cast
            if name == cast.COORDINATOR:
                found[name] = play_coordinator(*common, w.sign(name), w.verify)
            elif name == HELPER:
                found[name] = play_helper(*common, w.sign(name), w.verify)
            else:
                found[name] = play_party(*common, {}, w.sign(name), w.verify, self.rows.get(name, {}))
        return found

    def result(self, outcomes: Mapping[str, Outcome]) -> Result:
        totals = outcomes[self.recipient].totals
        opened = {name.removesuffix(f"/{self.recipient}"): words for name, words in totals.items()}
        own = {p: WORLD.own(pool) for p, pool in self.plan.joins}
        result = finish(self.plan, read(self.plan, opened, own))
        to_arrow(result)  # as every recipient does
        return result

    @cached_property
    def sent(self) -> list[Sent]:
        """Every message of an honest run."""
        trace = Trace()
        run(self.roles(), trace)
        return trace.sent

    def tampered(self, which: Sent, raw: bytes) -> Result:
        """The result of a run in which the bytes of one message were changed on their way."""
        return self.result(run(self.roles(), tamper=lambda s: raw if same(s, which) else s.raw))

    def heard(self, which: Sent, raw: bytes) -> Outcome:
        """What a receiver makes of it: its role alone, which hears what all said in an honest run but for these bytes.
        Where it raises, any driver ends the attempt."""
        record = [replace(s, raw=raw) if same(s, which) else s for s in self.sent]
        return replay(which.receiver, self.roles()[which.receiver], record)

    def deviating(self, which: Sent, instead: list[tuple[str, Message]]) -> Result:
        """The result of a run in which a member says other words, under other steps, in place of one message."""
        roles: dict[str, Rounds[Any]] = dict(self.roles())
        roles[which.sender] = deviating(roles[which.sender], which, instead)
        return self.result(run(roles))


def same(a: Sent, b: Sent) -> bool:
    return (a.sender, a.receiver, a.step) == (b.sender, b.receiver, b.step)


def deviating(role: Rounds[Any], which: Sent, instead: list[tuple[str, Message]]) -> Rounds[Any]:
    step = next(role)
    while True:
        if step.step == which.step and which.receiver in step.say:
            for at, message in instead:
                yield Round(at, {which.receiver: message})
            step = replace(step, say={r: m for r, m in step.say.items() if r != which.receiver})
        heard = yield step
        try:
            step = role.send(heard)
        except StopIteration as end:
            return end.value


def swept(j: Job, every: bool, *, words: bool = False) -> list[Sent]:
    """Every message, or the first of each kind of step: of the others, only the members and the column differ. Where
    shares are limited, those of what this adds; of results by row, the kinds that totals do not have, unless what
    becomes of other ``words`` is the question."""
    sent = j.sent if j.most is None else [s for s in j.sent if "/dominance/" in s.step]
    if every:
        return j.sent
    elsewhere = {kind(s) for s in JOBS["totals"].sent} if j.sql == ROWS and not words else set()
    found: dict[tuple[object, ...], Sent] = {}
    for s in sent:
        found.setdefault(kind(s), s)
    return [s for k, s in found.items() if k not in elsewhere]


def kind(s: Sent) -> tuple[object, ...]:
    """The step without its members and numbers, and what sort of message it is."""
    names = [p for p in s.step.split("/") if not p.isdigit() and p not in WORLD.catalogs]
    return (*names, *shape(s)[:2])


#: of "limited" no firm can carry more than all of a total: everything is looked at, and shown
JOBS = {
    "totals": Job(TOTALS, "telecom"),
    "rows": Job(ROWS, "tax"),
    "suppressed": Job(TOTALS, "telecom", least=2),
    "limited": Job(LIMITED, "telecom", most=1000),
}
SWEPT = ["totals", "rows", "limited"]
in_both = pytest.mark.parametrize("job", SWEPT)
few_or_every = pytest.mark.parametrize(
    "every",
    [False, pytest.param(True, marks=[pytest.mark.slow, pytest.mark.timeout(600)])],
    ids=["one of each kind", "every message"],
)


def comparable(rows: Any) -> list[tuple[Any, ...]]:
    return [tuple(r) for r in rows]


@pytest.mark.parametrize("job", JOBS)
def test_the_jobs_of_the_sweep_are_right_and_have_every_kind_of_step(job: str) -> None:
    """Or the sweep below shows nothing."""
    j = JOBS[job]
    result = j.result(run(j.roles()))
    if j.least:
        assert any(result.suppressed)
    else:
        assert comparable(result.rows) == WORLD.pooled.execute(j.sql).fetchall()
        assert len(result.rows) > 1 and not any(result.suppressed)
    steps = {part for s in j.sent for part in s.step.split("/")}
    assert {"announce", "agreed", "align", "known", "w64", "total"} <= steps
    assert ({"dominance", "placed", "over", "level"} if job == "limited" else {"shared", "negative", "w128"}) <= steps
    assert {"zero"} <= steps if job == "rows" else {"groups", "ends", "release"} <= steps
    kinds = {type(decode(s.raw)) for s in j.sent}
    assert kinds == {Announce, Agreed, Words, Positions}


# ---- what is wrong with its shape


def cut(m: Message, raw: bytes) -> Iterator[bytes]:
    yield raw[:-1]
    yield raw[: len(raw) // 2]
    yield b""


def longer(m: Message, raw: bytes) -> Iterator[bytes]:
    yield raw + b"\0"
    yield raw + raw  # to protobuf, one message of which the last fields count


def of_another_length(m: Message, raw: bytes) -> Iterator[bytes]:
    if isinstance(m, Words):
        yield encode(Words(m.ring, m.words[:-1]))
        yield encode(Words(m.ring, np.concatenate((m.words, m.words[:1]))))
        yield encode(Words(m.ring, m.words[:0]))
    elif isinstance(m, Positions):
        yield encode(Positions(m.positions[:-1]))
        yield encode(Positions(np.concatenate((m.positions, m.positions[:1]))))
        yield encode(Positions(m.positions[:0]))


def of_another_ring(m: Message, raw: bytes) -> Iterator[bytes]:
    """As many words, and as many bytes where that is possible."""
    if not isinstance(m, Words):
        return
    if m.ring == 128:
        yield encode(Words(64, m.words[:, 0]))
        yield encode(Words(64, m.words.reshape(-1)))
        return
    yield encode(Words(128, np.column_stack((m.words, m.words * 0))))
    if len(m.words) % 2 == 0:
        yield encode(Words(128, m.words.reshape(-1, 2)))


def of_another_kind(m: Message, raw: bytes) -> Iterator[bytes]:
    others: list[Message] = [Announce(bytes(32), bytes(64)), Agreed(bytes(32), bytes(64)), Many((("step", raw),))]
    if isinstance(m, Words):
        others.append(Positions(np.zeros(len(m.words), np.uint32)))
    else:
        count = len(m.positions) if isinstance(m, Positions) else 4
        others += [Words(64, np.zeros(count, np.uint64)), Words(128, np.zeros((count, 2), np.uint64))]
    if not isinstance(m, Positions | Words):
        others.append(Positions(np.zeros(4, np.uint32)))
    for other in others:
        if type(other) is not type(m):
            yield encode(other)


SHAPES = [cut, longer, of_another_length, of_another_ring, of_another_kind]


@few_or_every
@in_both
@pytest.mark.parametrize("change", SHAPES, ids=lambda c: c.__name__)
def test_a_message_of_the_wrong_shape_is_blamed_on_who_said_it_where(
    change: Callable[..., Iterator[bytes]], job: str, every: bool
) -> None:
    j, wrong, tried = JOBS[job], [], 0
    for s in swept(j, every):
        for raw in change(decode(s.raw), bytes(s.raw)):
            tried += 1
            told = outcome(lambda s=s, raw=raw: j.heard(s, raw))
            if not blamed(told, s) or told.code == "protocol.replay":
                wrong.append((s.sender, s.receiver, s.step, told))
    assert tried > (20 if every or job == "totals" else 5) and not wrong, wrong


# ---- left out, said twice, out of order


@few_or_every
@in_both
def test_a_message_that_is_left_out_ends_the_attempt(job: str, every: bool) -> None:
    """What comes in its place has another step; where nothing comes, the receiver waits, which a driver ends."""
    j, wrong = JOBS[job], []
    for s in swept(j, every):
        told = outcome(lambda s=s: j.deviating(s, []))
        stuck = isinstance(told, LocalError) and f"{s.receiver} at {s.step}" in told.message
        if not (blamed(told, s) or stuck) or told.code != "protocol.order":
            wrong.append((s.sender, s.receiver, s.step, told))
    assert not wrong, wrong


@few_or_every
@in_both
def test_an_older_message_in_its_place_is_out_of_order(job: str, every: bool) -> None:
    j, wrong, tried = JOBS[job], [], 0
    for s in swept(j, every):
        if not (before := earlier(j, s)):
            continue
        tried += 1
        older = before[0] if tried % 2 else before[-1]
        told = outcome(lambda s=s, o=older: j.deviating(s, [(o.step, decode(o.raw))]))
        if not blamed(told, s) or told.code != "protocol.order":
            wrong.append((s.sender, s.receiver, s.step, older.step, told))
    assert tried > (20 if every or job == "totals" else 5) and not wrong, wrong


@few_or_every
@in_both
def test_an_older_message_under_the_step_that_is_due(job: str, every: bool) -> None:
    """Of the right kind and length it is nothing but other words: only replay finds it."""
    j, wrong, seen = JOBS[job], [], set()
    for s in swept(j, every, words=True):
        before = earlier(j, s)
        fitting = [o for o in before if shape(o) == shape(s) and o.raw != s.raw]
        for older in fitting[-1:] or before[-1:]:
            told = outcome(lambda s=s, o=older: j.tampered(s, bytes(o.raw)))
            fine = isinstance(told, HejiError | Result) if fitting else blamed(told, s)
            seen.add((bool(fitting), type(told)))
            if not fine:
                wrong.append((s.sender, s.receiver, s.step, older.step, told))
    assert {(True, Result), (False, PeerError)} <= seen and not wrong, wrong


@few_or_every
@in_both
def test_a_message_that_is_said_twice(job: str, every: bool) -> None:
    """It is out of order, but for the last one to a member, which nobody hears any more."""
    j, honest, wrong = JOBS[job], JOBS[job].result(run(JOBS[job].roles())), []
    for s in swept(j, every):
        told = outcome(lambda s=s: j.deviating(s, [(s.step, decode(s.raw))] * 2))
        last = [o for o in j.sent if (o.sender, o.receiver) == (s.sender, s.receiver)][-1] == s
        named = isinstance(told, PeerError) and told.party == s.sender and told.code == "protocol.order"
        if not (told == honest if last else named):
            wrong.append((s.sender, s.receiver, s.step, told))
    assert not wrong, wrong


# ---- other words


def flips(s: Sent) -> list[bytes]:
    """One bit, low and high, last and in between; then every word as far off as it can be, and by 1."""
    raw, m = bytes(s.raw), decode(s.raw)
    changed = [
        raw[:at] + bytes([raw[at] ^ bit]) + raw[at + 1 :]
        for at, bit in ((len(raw) - 1, 1), (len(raw) - 1, 128), (len(raw) // 2, 16), (len(raw) * 3 // 4, 2))
    ]
    if isinstance(m, Words):
        changed += [encode(Words(m.ring, ~m.words)), encode(Words(m.ring, m.words + np.uint64(1)))]
    return changed


@few_or_every
@pytest.mark.parametrize("job", [*SWEPT, pytest.param("suppressed", marks=pytest.mark.slow)])
def test_other_words_end_in_an_error_or_in_another_result_and_never_in_a_crash(job: str, every: bool) -> None:
    j, wrong, differ = JOBS[job], [], 0
    honest = j.result(run(j.roles()))
    for n, s in enumerate(swept(j, every, words=True)):
        changed = flips(s)
        for raw in {changed[n % len(changed)], changed[n * 5 // 7 % len(changed)]}:
            told = outcome(lambda s=s, raw=raw: j.tampered(s, raw))
            if "keys" in s.step:  # signed
                fine = isinstance(told, PeerError) and told.party == s.sender
            else:
                fine = isinstance(told, HejiError | Result)
            differ += isinstance(told, Result) and told != honest
            if not fine:
                wrong.append((s.sender, s.receiver, s.step, told))
    assert not wrong, wrong
    assert differ > (10 if j.most is None else 5)  # only replay finds them


def places(p: Positions) -> Iterator[Positions]:
    for at, value in ((0, p.positions[-1]), (len(p.positions) // 2, p.positions[0])):
        again = p.positions.copy()
        again[at] = value
        yield Positions(again)
    for behind in (10**6, 2**32 - 1):
        beyond = p.positions.copy()
        beyond[-1] = behind
        yield Positions(beyond)


@in_both
def test_places_that_are_repeated_or_do_not_exist_are_refused(job: str) -> None:
    j, wrong, steps = JOBS[job], [], set()
    for s in j.sent:
        if not isinstance(said := decode(s.raw), Positions):
            continue
        steps.add(s.step.rsplit("/block", 1)[0].rsplit("/", 1)[1])
        for other in places(said):
            told = outcome(lambda s=s, other=other: j.tampered(s, encode(other)))
            # the step is named without its block where a place comes twice
            named = isinstance(told, PeerError) and told.party == s.sender and s.step.startswith(told.step)
            if not named or told.code != "protocol.malformed":
                wrong.append((s.sender, s.receiver, s.step, told))
    assert steps == {"places", "positions"} and not wrong, wrong


# ---- tools


def outcome(attempt: Callable[[], Any]) -> Any:
    """The result, the error, or, where a defect shows, the exception."""
    try:
        return attempt()
    except Exception as problem:
        return problem


def blamed(told: Any, s: Sent) -> bool:
    return isinstance(told, PeerError) and (told.party, told.step) == (s.sender, s.step)


def earlier(j: Job, s: Sent) -> list[Sent]:
    """What the same member said to the same one before."""
    return [o for o in j.sent[: j.sent.index(s)] if (o.sender, o.receiver) == (s.sender, s.receiver)]


def shape(s: Sent) -> tuple[object, ...]:
    m = decode(s.raw)
    if isinstance(m, Words):
        return Words, m.ring, len(m.words)
    return (Positions, len(m.positions)) if isinstance(m, Positions) else (type(m),)
