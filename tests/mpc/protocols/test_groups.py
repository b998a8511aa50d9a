"""Inner joins of two to five parties by group, small groups suppressed, against DuckDB; who hears what; tampered."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpc.codec import decode, encode
from mpc.errors import HejiError
from mpc.ids import INTEGER, lay_out, width
from mpc.messages import Positions, Words
from mpc.protocols import align, group_totals, groups, total
from mpc.protocols.align import Align
from mpc.protocols.group_totals import Grouping
from mpc.protocols.groups import Entities, Groups, Release
from mpc.protocols.spine_order import group_order, places
from mpc.replay import replay
from mpc.ring import ring
from mpc.rounds import Rounds, Session
from mpc.run import Sent, Trace, run
from mpc.sharing.circle import Circle
from mpc.sharing.multiply import deal_multiply, multiply
from tests.duck import session
from tests.mpc.columns import integers
from tests.mpc.joining import Brought, sessions

GROUPS = 3
OTHERS = ("b", "c", "d", "e")
HELPER, COORDINATOR, RECIPIENT = "helper", "coordinator", "recipient"

Spine = list[tuple[int | None, int, int]]  # key, group (−1: fails the spine's condition), the spine's own value
Table = dict[int, tuple[bool, int]]  # key -> the party's own condition, value


class Job:
    """SELECT g, COUNT(*), SUM(a.v + b.v + …) over an inner join, by group; groups under ``least`` entities suppressed.

    The columns are the joined flag, the sum, and the flag of the first other party alone, whose entities count too.
    """

    def __init__(self, spine: Spine, tables: dict[str, Table], bits: int = 64, least: int = 2, seed: int = 0) -> None:
        self.spine, self.tables, self.bits, self.least = spine, tables, bits, least
        self.parties = ("a", *tables)
        self.circle = Circle(self.parties, HELPER)
        self.sessions = sessions([*self.parties, HELPER, COORDINATOR, RECIPIENT], seed)
        self.rows = places(len(spine) + 1, GROUPS)
        self.aligns = [
            Align(f"align/{x}", "a", x, HELPER, self.rows, len(t) + 1, width([INTEGER]), (64, bits, bits))
            for x, t in tables.items()
        ]
        grouping = Grouping("group", "a", tuple(tables), HELPER, self.rows, GROUPS, (64, bits, 64))
        self.groups = Groups(
            grouping,
            (
                Release((Entities(0), Entities(2), Entities(0)), least, (0, 1)),
                Release((Entities(0, marked=True),), 1, (0,)),
            ),
        )

    def roles(self) -> dict[str, Rounds[Any]]:
        return {
            "a": self.play_spine(self.sessions["a"]),
            **{a.other: self.play_other(self.sessions[a.other], a) for a in self.aligns},
            HELPER: self.play_helper(self.sessions[HELPER]),
            COORDINATOR: self.play_coordinator(self.sessions[COORDINATOR]),
            RECIPIENT: self.play_recipient(self.sessions[RECIPIENT]),
        }

    def play_spine(self, session: Session) -> Rounds[None]:
        keys = lay_out([INTEGER], [integers([k for k, _, _ in self.spine])])
        order = group_order(session, keys, np.array([g for _, g, _ in self.spine], np.int64), GROUPS)
        mine = order.column(ring(self.bits).from_ints([v for _, _, v in self.spine]), self.rows)
        aligned = {}
        for a in self.aligns:
            (aligned[a.other],) = yield from align.spine(session, [a], order.keys(keys))
        columns = yield from self.joined(session, aligned, mine)
        totals = yield from group_totals.spine_totals(session, self.groups.grouping, order, columns)
        yield from self.reveal(session, totals)

    def play_other(self, session: Session, a: Align) -> Rounds[None]:
        table = self.tables[a.other]
        keys = lay_out([INTEGER], [integers(list(table))])
        passing = np.array([p for p, _ in table.values()], bool)
        values = [v for _, v in table.values()]
        r, ones = ring(self.bits), [1] * len(table)
        brought = Brought(keys, passing, (ring(64).from_ints(ones), r.from_ints(values), r.from_ints(ones)))
        (shares,) = yield from align.other(session, [a], [brought])
        columns = yield from self.joined(session, {a.other: shares}, ring(self.bits).zeros(self.rows))
        totals = yield from group_totals.holder_totals(session, self.groups.grouping, columns)
        yield from self.reveal(session, totals)

    def joined(self, session: Session, aligned: dict[str, list[Any]], together: Any) -> Rounds[list[Any]]:
        """The product of all flags, in both rings, and with it everybody's values together."""
        flags, wide = [], []
        for x in self.tables:
            zeros = [ring(b).zeros(self.rows) for b in (64, 64, self.bits, self.bits)]
            flag, _, value, same = aligned.get(x, zeros)
            flags.append(flag)
            wide.append(same)
            ring(self.bits).add_into(together, value)
        first, flag, factor = flags[0].copy(), flags[0], wide[0]
        for i in range(1, len(flags)):
            flag = yield from multiply(session.at(f"flag/{i}"), self.circle, 64, flag, flags[i])
            factor = yield from multiply(session.at(f"factor/{i}"), self.circle, self.bits, factor, wide[i])
        measure = yield from multiply(session.at("measure"), self.circle, self.bits, factor, together)
        return [flag, measure, first]

    def play_helper(self, session: Session) -> Rounds[None]:
        for a in self.aligns:
            yield from align.helper(session, [a])
        for i in range(1, len(self.tables)):
            yield from deal_multiply(session.at(f"flag/{i}"), self.circle, 64, self.rows)
            yield from deal_multiply(session.at(f"factor/{i}"), self.circle, self.bits, self.rows)
        yield from deal_multiply(session.at("measure"), self.circle, self.bits, self.rows)
        yield from group_totals.helper_totals(session, self.groups.grouping)
        yield from groups.deal_decide(session, self.groups)
        yield from groups.deal_release(session, self.groups)

    def reveal(self, session: Session, totals: Any) -> Rounds[None]:
        keep = yield from groups.decide(session, self.groups, totals)
        said = yield from groups.release(session, self.groups, totals, keep)
        for s in self.groups.sums(RECIPIENT):
            yield from total.contribute(session, s, said[s.bits], COORDINATOR)

    def play_coordinator(self, session: Session) -> Rounds[None]:
        masked = []
        for s in self.groups.sums(RECIPIENT):
            masked.append((yield from total.collect(session, s)))
        for s, x in zip(self.groups.sums(RECIPIENT), masked, strict=True):
            yield from total.deliver(session, s, x)

    def play_recipient(self, session: Session) -> Rounds[list[Any]]:
        opened = {}
        for s in self.groups.sums(RECIPIENT):
            opened[s.bits] = yield from total.receive(session, s, COORDINATOR)
        shown = groups.read(self.groups, opened)
        return [list(zip(one.keep, *one.totals, strict=True)) for one in shown]

    def expected(self) -> list[Any]:
        passing = {x: [(key, v) for key, (passes, v) in table.items() if passes] for x, table in self.tables.items()}
        tables = {x: ("key INTEGER, v HUGEINT", rows) for x, rows in passing.items()}
        database = session(**tables, a=("key INTEGER, g INTEGER, v HUGEINT", self.spine))
        joins = " ".join(f"JOIN {x} ON {x}.key = a.key" for x in self.tables)
        values = " + ".join(f"{x}.v" for x in self.parties)
        rows = database.execute(f"""
            WITH j AS (SELECT a.g, a.key, {values} AS v FROM a {joins})
            SELECT count(DISTINCT key), count(v), coalesce(sum(v), 0)
            FROM range({GROUPS}) r(g) LEFT JOIN j USING (g) GROUP BY g ORDER BY g
        """).fetchall()
        first = [(True, int(n), int(v)) if e >= self.least else (False, None, None) for e, n, v in rows]
        second = [(True, int(n)) if n >= 1 else (False, None) for _, n, _ in rows]
        return [first, second]


@st.composite
def jobs(draw: Any) -> Job:
    bits = draw(st.sampled_from([64, 128]))
    values = st.integers(-(2 ** (bits - 12)), 2 ** (bits - 12))
    spine = draw(st.lists(st.tuples(st.none() | st.integers(0, 4), st.integers(-1, GROUPS - 1), values), max_size=14))
    offered = st.tuples(st.sampled_from([True, True, False]), values)
    tables = {
        x: draw(st.dictionaries(st.integers(0, 5), offered, max_size=6)) for x in OTHERS[: draw(st.integers(1, 4))]
    }
    return Job(spine, tables, bits, draw(st.integers(1, 3)), draw(st.integers(0, 10**6)))


@settings(max_examples=60)
@given(jobs())
def test_equals_duckdb_suppression_included(job):
    assert run(job.roles())[RECIPIENT] == job.expected()


SPINE: Spine = [(1, 0, 10), (1, 1, 20), (2, -1, 30), (None, 0, 40), (5, 1, -50), (6, 0, 60), (2, 1, 1), (2, 1, 2)]
TABLES: dict[str, Table] = {
    "b": {1: (True, 7), 2: (True, 8), 5: (True, 9)},
    "c": {5: (False, 3), 1: (True, 4), 2: (True, 5)},
}


@pytest.mark.parametrize("bits", [64, 128])
def test_a_group_under_the_threshold_is_suppressed_and_says_so(bits):
    first, _ = run(Job(SPINE, TABLES, bits).roles())[RECIPIENT]
    # group 0: firm 1 alone; group 1: firms 1 and 2, three rows; group 2: nobody
    assert first == [(False, None, None), (True, 3, 20 + 1 + 2 + 7 + 8 + 8 + 4 + 5 + 5), (False, None, None)]
    assert run(Job(SPINE, TABLES, bits, least=3).roles())[RECIPIENT][0] == [(False, None, None)] * 3


def test_the_helper_hears_no_opening():
    trace = Trace()
    run(Job(SPINE, TABLES, 128).roles(), trace)
    heard = {s.step.split("/", 1)[1] for s in trace.heard_by(HELPER)}
    assert {step.split("/")[0] for step in heard} == {"align", "group"}
    assert not any("open" in step or "release" in step for step in heard)
    # openings and nothing else go from holder to holder
    holders = {"a", "b", "c"}
    between = [s.step for s in trace.sent if s.sender in holders and s.receiver in holders]
    assert between and all("/open/" in step for step in between)


def test_shapes_depend_on_no_condition_group_or_value():
    flipped = {x: {k: (not p, v + 1) for k, (p, v) in t.items()} for x, t in TABLES.items()}
    moved: Spine = [(k, -1 if g == 1 else 1, v - 1) for k, g, v in SPINE]
    shapes = set()
    for job in (Job(SPINE, TABLES), Job(moved, TABLES), Job(SPINE, flipped)):
        trace = Trace()
        run(job.roles(), trace)
        shapes.add(tuple((s.sender, s.receiver, s.step, len(s.raw)) for s in trace.sent))
    assert len(shapes) == 1


@pytest.mark.parametrize("name", ["a", "b", "c", HELPER, COORDINATOR, RECIPIENT])
def test_every_role_replays_byte_for_byte(name):
    trace = Trace()
    results = run(Job(SPINE, TABLES, 128).roles(), trace)
    assert replay(name, Job(SPINE, TABLES, 128).roles()[name], trace.sent) == results[name]


def kinds() -> list[str]:
    """One step of every kind, after the join itself, which has a sweep of its own."""
    trace = Trace()
    run(Job(SPINE, TABLES).roles(), trace)
    return sorted({s.step for s in trace.sent if not s.step.startswith("job/align")})


@pytest.mark.parametrize("step", kinds())
def test_tampering_ends_in_an_error_or_another_result_never_in_a_crash(step):
    def tampered(change: str, sent: Sent) -> bytes:
        message = decode(sent.raw)
        if isinstance(message, Words):
            return encode(Words(message.ring, message.words[:-1] if change == "shorten" else message.words + 12345))
        assert isinstance(message, Positions)
        return encode(Positions(message.positions[:-1] if change == "shorten" else message.positions * 0))

    for change in ("shorten", "other"):
        try:
            result = run(
                Job(SPINE, TABLES).roles(),
                tamper=lambda s, change=change: tampered(change, s) if s.step == step else bytes(s.raw),
            )[RECIPIENT]
        except HejiError as error:
            assert error.code in ("protocol.size", "protocol.malformed")
        else:
            assert change == "other" and len(result) == 2
