"""Noise in a plan (P12): how much each party adds to each word, so that no entity of its shows.

Of one entity at most ``entity_rows`` rows count wherever a party's table is read (mpc/query/local.py, ``rows_of``), and
a row counts in one cell. So whether an entity is there or not changes a word by at most

    sensitivity = Σ over what the party adds to it: |coefficient| · rows of an entity · largest |value| of a row

units, all cells together. A party divides epsilon equally among the words it adds to, and adds to each cell of each of
them noise of scale sensitivity / (epsilon / words): by composition its entities lose epsilon in the whole job, whatever
the other parties and the recipients know and do. A word's bound grows by the noise's tail, so that nothing wraps or is
taken for a deviation in all but 2^-40 of all jobs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from fractions import Fraction

from mpc.errors import LocalError
from mpc.job import MOST_ENTITY_ROWS, epsilon_of
from mpc.noise import Scale
from mpc.query.aggregates import value_bounds
from mpc.query.bounds import LIMIT, overflow
from mpc.query.catalog import Catalog
from mpc.query.fold import Draft
from mpc.query.linear import Form, part_of
from mpc.query.local import rows_an_entity
from mpc.query.nodes import Agg
from mpc.query.parse import Source
from mpc.query.plan import JoinPool, Noise, PartyNoise, Pool, Word

#: the noise of all words of a job stays within their bounds but with probability 2^-TAIL
TAIL = 40
#: what one more row changes by what it has itself, or not at all
ADDITIVE = ("rows", "count", "sum", "squares", "distinct")


def read_noise(epsilon: str, entity_rows: int) -> Noise | None:
    """What a job asks for; None: nothing. Raises LocalError plan.noise."""
    if not epsilon:
        return None
    try:
        epsilon_of(epsilon)
    except ValueError as problem:
        raise LocalError("plan.noise", f"--epsilon: {problem}.", "Smaller means more noise.") from None
    if not 1 <= entity_rows <= MOST_ENTITY_ROWS:
        raise LocalError("plan.noise", f"--entity-rows takes 1 to {MOST_ENTITY_ROWS:,}.")
    return Noise(epsilon, entity_rows)


def add_noise(
    source: Source,
    noise: Noise,
    pools: Sequence[Pool],
    drafts: Sequence[Draft],
    place: Mapping[int, tuple[int, int]],
    catalogs: Mapping[str, Catalog],
) -> tuple[Pool, ...]:
    """The pools with noise in their words. Raises LocalError plan.noise, plan.overflow."""
    _refuse(pools)
    changes = {
        (*place[i], w): {p: c for p in sorted(word.form.parties) if (c := sensitivity(word.form, p, noise, catalogs))}
        for i, d in enumerate(drafts)
        for w, word in enumerate(d.words)
    }
    words = Counter(party for by in changes.values() for party in by)
    samples = sum(pools[p].cells * len(by) for (p, _, _), by in changes.items())
    epsilon = epsilon_of(noise.epsilon)

    def noised(at: tuple[int, int, int], word: Word) -> Word:
        own = tuple(
            PartyNoise(party, change, Scale.of(Fraction(change * words[party]) / epsilon))
            for party, change in changes[at].items()
        )
        bound = word.bound + sum(n.scale.tail(TAIL + samples.bit_length()) for n in own)
        if bound >= LIMIT:
            raise overflow(source, f"{pools[at[0]].measures[at[1]].name} with its noise", -bound, bound)
        return replace(word, noise=own, bound=bound, ring=64 if bound < 2**63 else 128)

    return tuple(
        replace(
            pool,
            measures=tuple(
                replace(measure, words=tuple(noised((p, m, w), word) for w, word in enumerate(measure.words)))
                for m, measure in enumerate(pool.measures)
            ),
        )
        for p, pool in enumerate(pools)
    )


def sensitivity(form: Form, party: str, noise: Noise, catalogs: Mapping[str, Catalog]) -> int:
    """By how many units one entity of a party changes a word at most, all cells together. Raises LocalError
    plan.noise."""
    catalog = next(c for c in catalogs.values() if c.party == party)
    most = 0
    for k, atom in form.terms:
        part = part_of(atom, party)
        if part is None:
            continue
        if not isinstance(part, Agg) or part.func not in ADDITIVE:
            raise LocalError(
                "plan.noise",
                "Noise does not go with this query: a total in it is no sum over rows.",
                "Ask for its parts as columns of their own.",
            )
        for term in part.terms:
            table = catalog.table(term.table)
            assert table is not None
            low, high = value_bounds(part.func, term)
            most += abs(k) * rows_an_entity(table, noise.entity_rows) * max(abs(low), abs(high))
    return most


def _refuse(pools: Sequence[Pool]) -> None:
    why = None
    if any(isinstance(p, JoinPool) for p in pools):
        why = "it joins tables of several owners"
    elif any(p.rankings for p in pools):
        why = "MIN, MAX and quantiles show one entity's value"
    if why is not None:
        raise LocalError(
            "plan.noise",
            f"Noise does not go with this query: {why}.",
            "Ask with --epsilon for COUNT, SUM, AVG … of each owner's own rows; for a histogram (CASE and COUNT) in "
            "place of a quantile.",
        )
