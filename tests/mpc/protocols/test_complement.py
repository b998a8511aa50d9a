"""Of every line of a table nothing is given back that has few entities: on shares as by hand, and attacked.

The attack is played with linear algebra over the rationals, as for an owner's own rows (tests/mpc/policy/test_margins).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from math import prod
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from mpc.codec import decode
from mpc.messages import RingWords, Words
from mpc.policy.margins import Lines
from mpc.protocols.complement import Complement, Table, play, play_helper
from mpc.replay import replay
from mpc.rounds import Rounds
from mpc.run import Trace, run
from mpc.sharing.circle import Circle
from mpc.traffic import _complement as planned
from tests.mpc.joining import sessions
from tests.mpc.policy.test_margins import LEAST, Counts, cell_of, counted, solved

HOLDERS = ("a", "b", "c")
Cells = NDArray[np.int64]
Flags = NDArray[np.bool_]


def by_hand(counts: Sequence[Cells], hidden: Flags, alone: Flags | None, least: int, *, apart: bool = True) -> Flags:
    """The rule in the clear, over arrays with an axis a key: which cells are hidden in the end."""
    shape, out = hidden.shape, hidden.copy()
    judged = [np.where(hidden, x, 0) for x in counts]
    if alone is not None:
        judged.append(np.where(alone, 1, judged[0]))
    for chosen in product(*([None, *range(n)] for n in shape)):
        line = np.zeros(shape, dtype=bool)
        line[tuple(slice(None) if at is None else at for at in chosen)] = True
        cells = np.count_nonzero(line)
        few = any(0 < x[line].sum() < least * (1 if apart else cells) for x in judged)
        left = [(int(counts[0][at]), at) for at in zip(*np.nonzero(line & ~hidden), strict=True)]
        if cells > 1 and few and left:
            out[min(left)[1]] = True
    return out


def shared(values: Any, holders: Sequence[str], random: np.random.Generator) -> dict[str, RingWords]:
    last = np.asarray(values, dtype=np.uint64)
    parts = {i: random.integers(0, 2**64, last.shape, dtype=np.uint64) for i in holders[:-1]}
    return {**parts, holders[-1]: last - sum(parts.values(), np.zeros_like(last))}


def roles(
    c: Complement,
    keep: Sequence[Sequence[int]],
    entities: Sequence[Sequence[Sequence[int]]],
    alone: Sequence[Sequence[int] | None],
) -> dict[str, Rounds[Any]]:
    random, holders = np.random.default_rng(1), c.circle.holders
    members = sessions([*holders, "helper"])
    kept = [shared(x, holders, random) for x in keep]
    counts = [[shared(x, holders, random) for x in of] for of in entities]
    reasons = [None if x is None else shared(x, holders, random) for x in alone]
    return {
        "helper": play_helper(members["helper"], c),
        **{
            i: play(
                members[i],
                c,
                [x[i] for x in kept],
                [[x[i] for x in of] for of in counts],
                [None if x is None else x[i] for x in reasons],
            )
            for i in holders
        },
    }


def kept_in_the_end(
    c: Complement,
    keep: Sequence[Sequence[int]],
    entities: Sequence[Sequence[Sequence[int]]],
    alone: Sequence[Sequence[int] | None],
    trace: Trace | None = None,
) -> list[list[int]]:
    """Of each release what is kept, as the recipient would open it."""
    said = run(roles(c, keep, entities, alone), trace)
    return [
        sum((said[i][r] for i in c.circle.holders), np.zeros(len(x), np.uint64)).tolist() for r, x in enumerate(keep)
    ]


def of_tables(
    shape: tuple[int, ...],
    least: int,
    counts: Sequence[Sequence[Cells]],
    hidden: Sequence[Flags],
    alone: Sequence[Flags | None] = (),
    *,
    apart: bool = True,
) -> list[Flags]:
    """Which cells are hidden of tables of one release each, judged together on shares."""
    reasons = alone or [None] * len(counts)
    tables = tuple(Table((i,), len(of), reasons[i] is not None) for i, of in enumerate(counts))
    keep = kept_in_the_end(
        Complement("complement", Circle(HOLDERS[:2], "helper"), shape, least, apart, tables),
        [(~h).ravel().astype(int).tolist() for h in hidden],
        [[x.ravel().tolist() for x in of] for of in counts],
        [None if a is None else a.ravel().astype(int).tolist() for a in reasons],
    )
    return [np.array(k).reshape(shape) == 0 for k in keep]


@settings(max_examples=30)
@given(st.data())
def test_what_is_hidden_is_what_the_rule_says(data: st.DataObject) -> None:
    shape = data.draw(st.sampled_from([(2,), (5,), (8,), (1, 3), (3, 3), (2, 1, 4), (2, 3, 2)]))
    least, apart = data.draw(st.sampled_from([2, 3, 10])), data.draw(st.booleans())
    random = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    tables = data.draw(st.integers(1, 3))
    counts = [
        [random.choice([0, 0, 1, 2, 4, 9, 12, 40], shape) for _ in range(random.integers(1, 4))] for _ in range(tables)
    ]
    alone = [random.random(shape) < 0.2 if random.random() < 0.5 else None for _ in range(tables)]
    hidden = [
        (np.min(of, axis=0) < least) | (random.random(shape) < 0.1) | (False if a is None else a)
        for of, a in zip(counts, alone, strict=True)
    ]
    expected = [by_hand(of, h, a, least, apart=apart) for of, h, a in zip(counts, hidden, alone, strict=True)]
    found = of_tables(shape, least, counts, hidden, alone, apart=apart)
    assert [f.tolist() for f in found] == [e.tolist() for e in expected]


def test_a_table_in_several_releases_is_one() -> None:
    """Keys of others divide the groups: the lines go over the cells of all keys."""
    c = Complement("complement", Circle(HOLDERS, "helper"), (2, 3), 5, True, (Table((1, 0), 1, False),))
    keep, entities = [[1, 1, 1], [0, 1, 1]], [[[9, 9, 6]], [[4, 7, 8]]]
    # of release 1, the first row of cells, one is small: in its row 7 is the least, in its column 9, of all cells 6
    assert kept_in_the_end(c, keep, entities, [None, None]) == [[0, 1, 0], [0, 0, 1]]


def test_nothing_is_hidden_besides_where_nothing_is_lacking() -> None:
    empty = np.array([[12, 0, 30, 10]] * 3)
    assert (of_tables((3, 4), 10, [[empty]], [empty < 10])[0] == (empty < 10)).all()
    several = np.array([[12, 5, 30, 10], [7, 5, 30, 10], [12, 11, 30, 10]])
    (found,) = of_tables((3, 4), 10, [[several]], [several < 10])
    # twelve are hidden in the second row, ten in the second column; five in the first row, seven in the first column
    assert np.argwhere(found & (several >= 10)).tolist() == [[0, 0], [0, 3]]


def test_who_may_be_in_several_cells_is_counted_once() -> None:
    """Two entities in each of two cells may be two in all, and are not if nobody can be in both."""
    counts = np.array([2, 2, 9, 5])
    for apart, besides in ((True, []), (False, [3])):
        (found,) = of_tables((4,), 4, [[counts]], [counts < 4], apart=apart)
        assert np.flatnonzero(found & (counts >= 4)).tolist() == besides


def test_every_count_of_entities_is_judged_by_itself() -> None:
    """Of a sum of two owners' columns either part may be what is lacking; what no owner has is no part."""
    whole, mine, none = np.array([9, 30, 20]), np.array([9, 3, 20]), np.array([9, 0, 20])
    hidden = np.array([False, True, False])
    for counts, besides in (([whole, mine], [0]), ([whole, none], []), ([whole, none, mine], [0]), ([whole], [])):
        (found,) = of_tables((3,), 5, [counts], [hidden])
        assert np.flatnonzero(found & ~hidden).tolist() == besides


def test_a_line_that_shows_nothing_stays() -> None:
    counts = np.array([[3, 3, 0], [9, 9, 9]])
    (found,) = of_tables((2, 3), 5, [[counts]], [counts < 5])
    assert found.tolist() == [[True, True, True], [True, True, False]]  # of each column with 3 the other cell


def test_lines_are_those_of_the_ledger() -> None:
    """Where every cell is shown, both look at the same sets of cells."""
    for shape in ((4,), (3, 2), (2, 3, 2), (3, 1, 2)):
        c = Complement("complement", Circle(HOLDERS, "helper"), shape, 5, True, (Table((0,), 1, False),))
        mine = {frozenset(line) for cells in c.lines for line in cells.tolist()}
        ledger = Lines(shape, range(prod(shape)))
        assert mine == {frozenset(ledger.cells(line)) for line in ledger.found if len(ledger.cells(line)) > 1}
        assert all(len(cells[0]) > 1 for cells in c.lines)


# ---- the attack

QUESTIONS = {"total": (), "by region": (0,), "by sector": (1,), "by both": (0, 1)}
SIZES = (3, 3)


def asked(worlds: Sequence[Counts], name: str, *, rule: bool = True) -> list[Flags]:
    """Of each world which cells of a table are hidden."""
    keys = QUESTIONS[name]
    shape = tuple(SIZES[k] for k in keys)
    counts = []
    for world in worlds:
        x = np.zeros(shape, dtype=np.int64)
        for base, n in enumerate(world):
            x.reshape(-1)[cell_of(base, keys)] += n
        counts.append(x)
    hidden = [x < LEAST for x in counts]
    return of_tables(shape, LEAST, [[x] for x in counts], hidden) if shape and rule else hidden


def numbers(hidden: Flags, name: str) -> list[list[bool]]:
    """The sets of base cells behind what is shown."""
    shown = np.flatnonzero(~hidden.ravel())
    return [[cell_of(b, QUESTIONS[name]) == cell for b in range(9)] for cell in shown]


PAIRS = [
    ("total", "by region"),
    ("total", "by sector"),
    ("total", "by both"),
    ("by region", "by both"),
    ("by sector", "by both"),
]


def given_away(worlds: Sequence[Counts], *, rule: bool) -> int:
    """In how many of the worlds two of the answers give a small set of cells, or the number of its entities."""
    answers = {name: asked(worlds, name, rule=rule) for name in QUESTIONS}
    found = 0
    for i, world in enumerate(worlds):
        told = [
            np.array([row for name in pair for row in numbers(answers[name][i], name)], dtype=np.int64).reshape(-1, 9)
            for pair in PAIRS
        ]
        found += any(solved(world, m) or counted(world, m) for m in told)
    return found


def random_worlds(n: int, seed: int) -> list[Counts]:
    random = np.random.default_rng(seed)
    return [tuple(random.choice([0, 1, 2, 3, 4, 5, 8, 12], 9).tolist()) for _ in range(n)]


def test_a_table_and_a_total_or_a_margin_give_no_small_set_away() -> None:
    worlds = random_worlds(40, 1)
    assert given_away(worlds, rule=True) == 0
    assert given_away(worlds, rule=False) > 20


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_many_tables_and_a_total_or_a_margin_give_no_small_set_away() -> None:
    assert given_away(random_worlds(1000, 2), rule=True) == 0


def test_what_is_dominated_is_given_back_with_others_only() -> None:
    """A cell of many entities, hidden for one that dominates it: a total minus the others is it and another cell."""
    counts = np.array([40, 30, 20, 0])
    dominated = np.array([True, False, False, False])
    (found,) = of_tables((4,), 10, [[counts]], [dominated | (counts < 10)], [dominated])
    assert found.tolist() == [True, False, True, True]
    (without,) = of_tables((4,), 10, [[counts]], [dominated | (counts < 10)])
    assert without.tolist() == [True, False, False, True]


@given(st.integers(0, 2**32))
@settings(max_examples=20)
def test_in_any_line_what_must_not_be_given_back_is_with_many(seed: int) -> None:
    random = np.random.default_rng(seed)
    shape, least = (3, 3), int(random.choice([2, 3, 10]))
    counts = [random.choice([0, 1, 2, 4, 9, 12, 40], shape) for _ in range(4)]
    alone = [(random.random(shape) < 0.2) & (x > 0) for x in counts]
    hidden = [(x < least) | a for x, a in zip(counts, alone, strict=True)]
    for x, a, h in zip(counts, alone, of_tables(shape, least, [[x] for x in counts], hidden, alone), strict=True):
        for line in ((..., 0), (..., 1), (..., 2), 0, 1, 2, ...):
            back = x[line][h[line] & ~a[line]].sum() + a[line].sum()
            assert back == 0 or back >= least or h[line].all()


# ---- what moves, and who sees what


TRACED = Complement(
    "complement", Circle(HOLDERS, "helper"), (3, 4), 3, True, (Table((0,), 2, True), Table((1,), 1, False))
)


def traced(hidden: Sequence[int]) -> tuple[Complement, Trace, list[list[int]]]:
    trace = Trace()
    keep = [[int(i not in hidden) for i in range(12)]] * 2
    entities = [[[5] * 12, [7] * 12], [[1 if i in hidden else 9 for i in range(12)]]]
    found = kept_in_the_end(TRACED, keep, entities, [[int(i == 0) for i in range(12)], None], trace)
    return TRACED, trace, found


def test_sizes_depend_on_no_data_and_the_helper_hears_nothing() -> None:
    def shape(hidden: Sequence[int]) -> list[tuple[str, str, str, int]]:
        return [(s.sender, s.receiver, s.step, len(s.raw)) for s in traced(hidden)[1].sent]

    assert shape([]) == shape([0]) == shape(list(range(12)))
    assert not list(traced([0])[1].heard_by("helper"))
    assert traced([0])[2] != traced([])[2]


def test_links_carry_what_the_plan_says() -> None:
    c, trace, _ = traced([0])
    for sender, receiver in {(s.sender, s.receiver) for s in trace.sent}:
        size = sum(len(s.raw) for s in trace.sent if (s.sender, s.receiver) == (sender, receiver))
        told = [t for t in planned(c) if (t.sender, t.receiver) == (sender, receiver)]
        assert sum(t.bytes for t in told) * 0.6 - 512 <= size <= sum(t.bytes + 64 * t.messages for t in told)


def test_no_word_that_a_holder_hears_comes_twice() -> None:
    """Cells and lines are alike here, and masked, so that nobody sees it."""
    trace = traced([0, 5])[1]
    for step in ("lacks", "wins", "back"):
        heard = [decode(s.raw) for s in trace.heard_by("b") if f"/{step}/" in s.step or s.step.endswith(step)]
        words = np.concatenate([m.words.ravel() for m in heard if isinstance(m, Words)])
        assert len(np.unique(words)) == len(words) > 0, step


@pytest.mark.parametrize("name", [*HOLDERS, "helper"])
def test_every_role_replays_byte_for_byte(name: str) -> None:
    c, keep, entities = TRACED, [[0, *[1] * 11]] * 2, [[[5] * 12, [7] * 12], [[1, *[9] * 11]]]
    trace = Trace()
    results = run(roles(c, keep, entities, [[1] * 12, None]), trace)
    again = replay(name, roles(c, keep, entities, [[1] * 12, None])[name], trace.sent)
    if name != "helper":
        assert all((x == y).all() for x, y in zip(again, results[name], strict=True))
