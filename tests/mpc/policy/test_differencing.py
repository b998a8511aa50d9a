"""Populations that differ by few entities: found in cells and their union, within and across jobs."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mpc.policy.differencing import Earlier, Entities, Flags, Known, LetOut, Measured, differing
from mpc.policy.differencing import spoil as spoil_measures
from mpc.policy.numbers import Numbers
from mpc.policy.populations import MARKS, Population, Released, Words

PAID: Released = ("firms", "tax_paid")
People = dict[int, int]


def population(people: People) -> Population:
    entities = sorted(people)
    return Population(np.array(entities, np.uint64), sealed(np.array(entities, np.uint64), _of(people, entities)))


def _of(people: People, entities: list[int]) -> Words:
    return np.array([people[e] for e in entities], dtype=np.uint64)


def sealed(entities: Words, sums: Words) -> Words:
    """A stand-in for the keyed function: mixes both."""
    x = entities * np.uint64(0x9E3779B97F4A7C15) ^ sums * np.uint64(0xC2B2AE3D27D4EB4F)
    return x ^ (x >> np.uint64(29))


def released(*of: People, least: int = 10) -> Known:
    known = Known()
    for people in of:
        p = population(people)
        known.add(p.marks, lambda p=p: p, least, len(p.entities), p.digest)
    return known


def spoil(measures: list[Measured], known: dict[Released, Known], least: int) -> tuple[list[Flags], LetOut]:
    """Without limits to numbers."""
    of_rows: Earlier = {(column, "rows"): k for column, k in known.items()}
    return spoil_measures(measures, of_rows, Numbers({}, lambda what, value: b"", lambda column, digest: ()), least)


def table(cells: list[People], column: Released = PAID) -> Measured:
    rows = sorted((c, e, people[e]) for c, people in enumerate(cells) for e in people)
    at, who, what = (np.array([r[i] for r in rows], np.int64) for i in range(3))
    hidden = np.array([len(people) < 10 for people in cells])
    return Measured([Entities(column, at, who.astype(np.uint64), what.astype(np.uint64), sealed)], hidden)


def firms(first: int, last: int, value: int = 7) -> People:
    return dict.fromkeys(range(first, last), value)


def spoiled(cells: list[People], *before: People, least: int = 10) -> list[bool]:
    (found,), _ = spoil([table(cells)], {PAID: released(*before)}, least)
    return found.tolist()


PEOPLE = st.dictionaries(st.integers(0, 60), st.integers(0, 2), max_size=60)


@given(PEOPLE, PEOPLE)
def test_entities_that_are_in_one_only_or_contribute_otherwise(a: People, b: People) -> None:
    by_hand = sum(a.get(e) != b.get(e) for e in {*a, *b})
    assert differing(population(a), population(b)) == by_hand


@given(st.integers(10, 3000), st.integers(0, 12), st.integers(0, 12), st.integers(0, 12), st.integers(1, 40))
def test_whatever_is_too_close_is_found_by_its_marks(many: int, gone: int, new: int, changed: int, least: int) -> None:
    """Also beyond the marks, where all are looked at."""
    earlier = firms(0, many)
    later = {**firms(min(gone, many), many), **firms(5000, 5000 + new), **firms(many - min(changed, many), many, 8)}
    d = differing(population(earlier), population(later))
    assert released(earlier, firms(9000, 9100), least=1).too_close(population(later), least) == (0 < d < least)
    assert (2 * least - 1 > MARKS) == (least > 32)


def test_the_earlier_releases_limit_holds_as_well() -> None:
    assert released(firms(0, 50), least=10).too_close(population(firms(0, 45)), 3)
    assert not released(firms(0, 50), least=3).too_close(population(firms(0, 45)), 3)


def test_the_same_question_again_and_a_quite_different_one() -> None:
    assert spoiled([firms(0, 50)], firms(0, 50)) == [False]
    assert spoiled([firms(0, 50)], firms(0, 60)) == [False]


def test_all_but_one() -> None:
    """SUM over all, then over all but the one with this id."""
    assert spoiled([firms(1, 50)], firms(0, 50)) == [True]
    assert spoiled([firms(0, 50), firms(100, 120)], firms(1, 50)) == [True, True]  # a total would tell a single one
    assert spoiled([firms(0, 50), firms(100, 120), firms(200, 260)], firms(1, 50)) == [True, True, False]


def test_one_value_changed_between_snapshots() -> None:
    assert spoiled([{**firms(0, 50), 3: 8}], firms(0, 50)) == [True]


def test_what_was_released_of_another_column_does_not_matter() -> None:
    (found,), _ = spoil([table([firms(1, 50)])], {("firms", "staff"): released(firms(0, 50))}, 10)
    assert found.tolist() == [False]


def test_a_total_and_a_table_with_a_hidden_cell() -> None:
    """The total minus the shown cells is the hidden one: whichever comes later loses, the table its smallest cell."""
    table_ = [firms(0, 30), firms(30, 50), firms(50, 53)]
    assert spoiled(table_, firms(0, 53)) == [False, True, False]  # the third is hidden by its size
    assert spoiled([firms(0, 53)], firms(0, 50)) == [True]


def test_within_one_job() -> None:
    """SUM(x), and SUM(x) FILTER (WHERE id <> …) beside it."""
    found, said = spoil([table([firms(0, 50)]), table([firms(1, 50)]), table([firms(0, 50)])], {}, 10)
    assert [f.tolist() for f in found] == [[False], [True], [False]]
    assert all(len(p.entities) == 50 for _, _, p in said.populations)


def test_cells_of_one_table_whose_entities_contribute_the_same() -> None:
    """Wages by month: who joined in February is February minus January."""
    assert spoiled([firms(0, 30), firms(0, 31), firms(0, 60)]) == [True, True, False]  # a total would tell a single one
    assert spoiled([firms(0, 30), firms(0, 31, 8)]) == [False, False]


def test_an_entity_in_several_cells_is_one_in_their_union() -> None:
    both = dict.fromkeys(range(30), 14)
    assert spoiled([firms(0, 30), firms(0, 30)], both) == [False, False]  # the union is exactly the earlier total
    assert spoiled([firms(0, 30), firms(0, 30)], {**both, 30: 14}) == [True, False]


def test_nobody_twice_by_cells_that_have_none() -> None:
    assert spoiled([{}, firms(0, 20)], firms(5, 20)) == [False, True]
    assert spoiled([{}], firms(0, 3)) == [False]


@given(st.lists(PEOPLE, min_size=1, max_size=4), st.lists(PEOPLE, max_size=3), st.integers(1, 12))
def test_no_two_released_populations_are_too_close(cells: list[People], before: list[People], least: int) -> None:
    (found,), said = spoil([table(cells)], {PAID: released(*before, least=1)}, least)
    shown = [p for _, _, p in said.populations]
    everything = [*shown, *(population(b) for b in before)]
    assert not any(0 < differing(a, b) < least for a in shown for b in everything)
    for flag, people in zip(found, cells, strict=True):
        if not flag and len(people) >= 10:
            assert any(differing(population(people), p) == 0 for p in shown)
