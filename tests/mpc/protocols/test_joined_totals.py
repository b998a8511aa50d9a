"""Two to five parties on one spine, totals by group revealed to a recipient through the coordinator: equal to DuckDB.

The joins are left joins and the totals linear, so nothing but the alignments, the group totals and P2 takes part.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpc.codec import decode
from mpc.ids import INTEGER, lay_out, width
from mpc.messages import Words
from mpc.protocols import align, group_totals, total
from mpc.protocols.align import Align
from mpc.protocols.group_totals import Grouping
from mpc.protocols.spine_order import group_order, places
from mpc.protocols.total import Sum
from mpc.ring import ring
from mpc.rounds import Rounds, Session
from mpc.run import Trace, run
from tests.duck import session
from tests.mpc.columns import integers
from tests.mpc.joining import Brought, sessions

GROUPS = 2
OTHERS = ("b", "c", "d", "e")
HELPER, COORDINATOR, RECIPIENT = "helper", "coordinator", "recipient"

Spine = list[tuple[int | None, int, int]]  # key, group (−1: fails the spine's condition), the spine's own value
Table = dict[int, tuple[bool, int]]  # key -> the party's own condition, value


class Job:
    """Per group: the spine's rows, the matched rows of each other party, and everybody's values together."""

    def __init__(self, spine: Spine, tables: dict[str, Table], seed: int = 0) -> None:
        self.spine, self.tables = spine, tables
        self.parties = ("a", *tables)
        self.sessions = sessions([*self.parties, HELPER, COORDINATOR, RECIPIENT], seed)
        self.rows = places(len(spine) + 1, GROUPS)
        self.aligns = [
            Align(f"align/{x}", "a", x, HELPER, self.rows, len(t) + 1, width([INTEGER]), (128,))
            for x, t in tables.items()
        ]
        # one count for the spine and each other party, and one sum in the wide ring
        columns = (64,) * len(self.parties) + (128,)
        self.grouping = Grouping("group", "a", tuple(tables), HELPER, self.rows, GROUPS, columns)
        self.sums = [
            Sum("counts", self.parties, RECIPIENT, 64, GROUPS * len(self.parties)),
            Sum("together", self.parties, RECIPIENT, 128, GROUPS),
        ]

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
        counts = [order.column(np.ones(len(self.spine), np.uint64), self.rows)]
        together = order.column(ring(128).from_ints([v for _, _, v in self.spine]), self.rows)
        for a in self.aligns:
            ((flag, value),) = yield from align.spine(session, [a], order.keys(keys))
            counts.append(flag)
            ring(128).add_into(together, value)
        totals = yield from group_totals.spine_totals(session, self.grouping, order, [*counts, together])
        yield from self.reveal(session, totals.rows)

    def play_other(self, session: Session, a: Align) -> Rounds[None]:
        table = self.tables[a.other]
        keys = lay_out([INTEGER], [integers(list(table))])
        passing = np.array([p for p, _ in table.values()], bool)
        values = ring(128).from_ints([v for _, v in table.values()])
        ((flag, together),) = yield from align.other(session, [a], [Brought(keys, passing, (values,))])
        # what another party is aligned to is shared by that party and the spine: zeros here
        counts = [flag if x == session.me else ring(64).zeros(self.rows) for x in self.parties]
        totals = yield from group_totals.holder_totals(session, self.grouping, [*counts, together])
        yield from self.reveal(session, totals.rows)

    def reveal(self, session: Session, totals: list[Any]) -> Rounds[None]:
        for s, x in zip(self.sums, (np.concatenate(totals[:-1]), totals[-1]), strict=True):
            yield from total.contribute(session, s, x, COORDINATOR)

    def play_helper(self, session: Session) -> Rounds[None]:
        for a in self.aligns:
            yield from align.helper(session, [a])
        yield from group_totals.helper_totals(session, self.grouping)

    def play_coordinator(self, session: Session) -> Rounds[None]:
        masked = []
        for s in self.sums:
            masked.append((yield from total.collect(session, s)))
        for s, x in zip(self.sums, masked, strict=True):
            yield from total.deliver(session, s, x)

    def play_recipient(self, session: Session) -> Rounds[list[list[int]]]:
        opened = []
        for s in self.sums:
            opened.append(ring(s.bits).to_ints((yield from total.receive(session, s, COORDINATOR))))
        counts, together = opened
        per_group = [counts[g::GROUPS] for g in range(GROUPS)]
        return [[*c, t] for c, t in zip(per_group, together, strict=True)]

    def expected(self) -> list[list[int]]:
        passing = {x: [(key, v) for key, (passes, v) in table.items() if passes] for x, table in self.tables.items()}
        tables = {x: ("key INTEGER, v HUGEINT", rows) for x, rows in passing.items()}
        database = session(**tables, a=("key INTEGER, g INTEGER, v HUGEINT", self.spine))
        joins = " ".join(f"LEFT JOIN {x} ON {x}.key = a.key" for x in self.tables)
        counts = ", ".join(f"count({x}.v)" for x in self.parties)
        sums = " + ".join(f"coalesce(sum({x}.v), 0)" for x in self.parties)
        rows = database.execute(
            f"SELECT {counts}, {sums} FROM range({GROUPS}) r(g) LEFT JOIN a USING (g) {joins} GROUP BY g ORDER BY g"
        ).fetchall()
        return [[int(v) for v in row] for row in rows]


values = st.integers(-(2**100), 2**100)
spines = st.lists(st.tuples(st.none() | st.integers(0, 5), st.integers(-1, GROUPS - 1), values), max_size=12)
tables = st.dictionaries(st.integers(0, 7), st.tuples(st.booleans(), values), max_size=7)


@st.composite
def jobs(draw: Any) -> Job:
    others = OTHERS[: draw(st.integers(1, 4))]
    return Job(draw(spines), {x: draw(tables) for x in others}, draw(st.integers(0, 10**6)))


@settings(max_examples=60)
@given(jobs())
def test_equals_duckdb(job):
    assert run(job.roles())[RECIPIENT] == job.expected()


SPINE: Spine = [(1, 0, 10), (1, 1, 20), (2, -1, 30), (None, 0, 40), (5, 1, -50), (6, 0, 60)]
TABLES: dict[str, Table] = {"b": {1: (True, 7), 2: (True, 8), 9: (True, 9)}, "c": {5: (False, 3), 6: (True, 4)}}


def heard(job: Job, member: str) -> Iterator[tuple[str, str, int]]:
    trace = Trace()
    run(job.roles(), trace)
    return ((s.sender, s.step, len(s.raw)) for s in trace.heard_by(member))


@pytest.mark.parametrize("member", ["a", "b", "c", HELPER, COORDINATOR, RECIPIENT])
def test_what_a_seat_hears_has_the_same_shape_whatever_the_conditions(member):
    """Conditions of the spine (group −1) and of every other party, and the data behind equal row counts."""
    flipped = {x: {k: (not p, v + 1) for k, (p, v) in t.items()} for x, t in TABLES.items()}
    moved: Spine = [(k, -1 if g == 1 else 1, v) for k, g, v in SPINE]
    shapes = {tuple(heard(Job(s, t), member)) for s in (SPINE, moved) for t in (TABLES, flipped)}
    assert len(shapes) == 1


def test_the_helper_hears_no_word_of_the_reveal_and_the_coordinator_none_of_the_join():
    job = Job(SPINE, TABLES)
    assert {step.split("/")[1] for _, step, _ in heard(job, HELPER)} == {"align", "group"}
    assert {step.split("/")[1] for _, step, _ in heard(Job(SPINE, TABLES), COORDINATOR)} == {"counts", "together"}


def test_every_word_at_every_seat_is_masked():
    """Under other coins nobody but the recipient's opening shows the same word again: nothing went in the clear."""
    seen = []
    for seed in (1, 2):
        trace = Trace()
        run(Job(SPINE, TABLES, seed).roles(), trace)
        words = [decode(s.raw) for s in trace.sent]
        seen.append(np.concatenate([m.words.ravel() for m in words if isinstance(m, Words)]))
    assert len(seen[0]) == len(seen[1]) > 300
    assert not np.isin(seen[0], seen[1]).any()
