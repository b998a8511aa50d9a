"""A party's input to the protocol as columns, by which it binds itself to it (mpc.evidence.data): the words of its sums
as its tables gave them and which cells it hides, the rows it brings into joins, the values among which is searched."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from mpc.evidence.data import Column
from mpc.joint import SideRows
from mpc.protocols.ranked import OwnValues
from mpc.query.layout import Filled
from mpc.query.plan import Plan


def columns_of(
    plan: Plan,
    filled: Mapping[int, Filled],
    rows: Mapping[int, Mapping[str, SideRows]],
    values: Mapping[str, Sequence[OwnValues]],
) -> Iterator[Column]:
    """All of it, in the plan's order. ``filled`` and ``rows`` by the number of the pool, ``values`` by search."""
    for p, pool in enumerate(plan.pools):
        if p in filled:
            for m, (measure, words) in enumerate(zip(pool.measures, filled[p].words, strict=True)):
                for w, (word, column) in enumerate(zip(measure.words, words, strict=True)):
                    yield Column(f"{pool.name}: {measure.name}, word {w} ({word.kind})", column)
                yield Column(f"{pool.name}: {measure.name}, hidden cells", filled[p].small[m])
        for side, brought in sorted(rows.get(p, {}).items()):
            yield from _of_side(f"{pool.name}: {side}", brought)
    for name, measures in sorted(values.items()):
        for i, own in enumerate(measures):
            yield Column(f"{name}: measure {i}, values", own.values)
            yield Column(f"{name}: measure {i}, where cells begin", own.starts)


def _of_side(name: str, brought: SideRows) -> Iterator[Column]:
    yield Column(f"{name}, keys", brought.keys.matrix)
    yield Column(f"{name}, rows without a key", brought.keys.null)
    yield Column(f"{name}, groups", brought.group)
    yield Column(f"{name}, rows that pass", brought.passing)
    for c, column in enumerate(brought.columns):
        yield Column(f"{name}, column {c}", column)
    if brought.hidden is not None:
        yield Column(f"{name}, hidden cells", brought.hidden.T)
