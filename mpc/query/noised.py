"""Noise in a plan (P12): how much each party adds to each word, so that no entity of its shows.

Of one entity at most ``entity_rows`` rows count wherever a party's table is read (mpc/query/local.py, ``rows_of``), and
a row counts in one cell. So whether an entity is there or not changes a word by at most

    sensitivity = Σ over what the party adds to it: |coefficient| · rows of an entity · largest |value| of a row

units, all cells together. A party divides epsilon equally among the words it adds to, and adds to each cell of each of
them noise of scale sensitivity / (epsilon / words): by composition its entities lose epsilon in the whole job, whatever
the other parties and the recipients know and do. A word's bound grows by the noise's tail, so that nothing wraps or is
taken for a deviation in all but 2^-40 of all jobs.

Over a join every party of it adds to every word, and calibrates to the whole value. Of each value of the join's key at
most ``entity_rows`` rows count at each side whose key may repeat (parties/node/joins.py), so a row of one side is in as
many rows of the join as the product of these at the other sides, at most:

    sensitivity = Σ over the party's sides: |coefficient| · rows that an entity changes
                                            · Π other sides: rows of one key · largest |value| of a row

The rows of an entity that come or go can change places with others of the same key, where keys of the table and of the
join are not the same: twice as many then differ. A row of a LEFT JOIN that loses what it met counts on with another
value, maybe in another cell: twice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from math import prod

from mpc.errors import LocalError
from mpc.job import MOST_ENTITY_ROWS, epsilon_of
from mpc.noise import Scale
from mpc.query.aggregates import value_bounds
from mpc.query.bounds import LIMIT, overflow
from mpc.query.catalog import Catalog, Table
from mpc.query.fold import Draft
from mpc.query.linear import Form, part_of
from mpc.query.local import rows_an_entity
from mpc.query.local_joins import LocalJoin
from mpc.query.nodes import Agg, Expr, JoinedTerm, JoinSide, Ranked, aggregates
from mpc.query.parse import Source
from mpc.query.plan import Noise
from mpc.query.plan_pools import Measure, PartyNoise, Word

#: the noise of all words of a job stays within their bounds but with probability 2^-TAIL
TAIL = 40
#: what one more row changes by what it has itself, or not at all
ADDITIVE = ("rows", "count", "sum", "squares", "distinct")
#: what 64 bits hold
_SMALL = 2**63
_ASK = "Ask with --epsilon for COUNT, SUM, AVG … over rows or over a hidden join of published tables."


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
    pools: Sequence[tuple[Sequence[Draft], Sequence[Measure], int]],
    catalogs: Mapping[str, Catalog],
    *,
    helped: bool,
) -> list[tuple[Measure, ...]]:
    """The measures with noise in their words. ``pools``: of each the drafts, the measures that are made of them, and
    how many cells there are. ``helped``: whether the job accepts a helper. Raises LocalError plan.noise, plan.overflow.
    """
    if not helped and any(_joined(word.form) for drafts, _, _ in pools for d in drafts for word in d.words):
        raise refused(
            "in a join without a helper the parties learn which keys they share, or how many, without noise",
            "Ask with --trust helper: over a hidden join every owner adds its noise before anything is opened.",
        )
    changes = {
        (p, m, w): {i: c for i in parties_of(word.form) if (c := sensitivity(word.form, i, noise, catalogs))}
        for p, (drafts, _, _) in enumerate(pools)
        for m, d in enumerate(drafts)
        for w, word in enumerate(d.words)
    }
    words = Counter(party for by in changes.values() for party in by)
    samples = sum(pools[p][2] * len(by) for (p, _, _), by in changes.items())
    epsilon = epsilon_of(noise.epsilon)

    def noised(at: tuple[int, int, int], word: Word) -> Word:
        drafts, measures, _ = pools[at[0]]
        own = tuple(
            PartyNoise(party, change, Scale.of(Fraction(change * words[party]) / epsilon))
            for party, change in changes[at].items()
        )
        bound = word.bound + sum(n.scale.tail(TAIL + samples.bit_length()) for n in own)
        limit = _SMALL if _counts_keys(drafts[at[1]].words[at[2]].form) else LIMIT
        if bound >= limit:
            raise overflow(source, f"{measures[at[1]].name} with its noise", -bound, bound)
        return replace(word, noise=own, bound=bound, ring=64 if bound < _SMALL else 128)

    return [
        tuple(
            replace(measure, words=tuple(noised((p, m, w), word) for w, word in enumerate(measure.words)))
            for m, measure in enumerate(measures)
        )
        for p, (_, measures, _) in enumerate(pools)
    ]


def parties_of(form: Form) -> list[str]:
    """Whose rows a word is made of: over a join those of all its sides."""
    joined = {s.party for t in _joined(form) for s in t.sides}
    return sorted(joined or form.parties)


def sensitivity(form: Form, party: str, noise: Noise, catalogs: Mapping[str, Catalog]) -> int:
    """By how many units one entity of a party changes a word at most, all cells together. Raises LocalError
    plan.noise."""
    most = 0
    for k, atom in form.terms:
        over_join = isinstance(atom, Agg) and atom.joined
        part = atom if over_join else part_of(atom, party)
        if part is None:
            continue
        if not isinstance(part, Agg) or isinstance(part, Ranked) or part.func not in ADDITIVE:
            raise refused(*_not_additive(part))
        for term in part.terms:
            low, high = value_bounds(part.func, term)
            if isinstance(term, JoinedTerm):
                rows = _joined_rows(term, party, noise, catalogs)
            else:
                rows = rows_an_entity(_table(catalogs, party, term.table), noise.entity_rows)
            most += abs(k) * rows * max(abs(low), abs(high))
    return most


def _joined_rows(term: JoinedTerm, party: str, noise: Noise, catalogs: Mapping[str, Catalog]) -> int:
    """In how many rows of a join one entity of a party makes a difference at most."""
    if term.by_row:
        raise refused("it shows single rows")
    rows = 0
    for side in (s for s in term.sides if s.party == party):
        table = _table(catalogs, party, side.table)
        if isinstance(table, LocalJoin):
            raise refused(
                f"{party} joins {' and '.join(table.parts)} by itself first, where one entity can be in many rows"
            )
        changed = _changed(side, table, noise) * (2 if side.optional else 1)
        rows += changed * prod(1 if s.unique else noise.entity_rows for s in term.sides if s is not side)
    return rows


def _changed(side: JoinSide, table: Table, noise: Noise) -> int:
    """How many of the rows that count at a side are others without one of its entities, at most.

    An entity are the rows with one key of the table; and, where it is no more, those with one key of the join.
    """
    own = rows_an_entity(table, noise.entity_rows)
    same = {c.name.lower() for c in side.key} == {c.name.lower() for c in table.keys}
    return own if side.unique or same else max(noise.entity_rows, 2 * own)


def _joined(form: Form) -> list[JoinedTerm]:
    return [t for _, atom in form.terms for a in aggregates(atom) for t in a.terms if isinstance(t, JoinedTerm)]


def _counts_keys(form: Form) -> bool:
    """Whether a word counts distinct keys of a join, which is done in 64 bits."""
    return any(isinstance(a, Agg) and a.joined and a.func == "distinct" for _, a in form.terms)


def _table(catalogs: Mapping[str, Catalog], party: str, name: str) -> Table:
    table = next(c for c in catalogs.values() if c.party == party).table(name)
    assert table is not None
    return table


def _not_additive(part: Expr) -> tuple[str, str]:
    if isinstance(part, Ranked) or (isinstance(part, Agg) and part.func in ("ranked", "known")):
        advice = "Ask for COUNT, SUM, AVG …; for a histogram (CASE and COUNT) in place of a quantile."
        return "MIN, MAX and quantiles show one entity's value", advice
    if isinstance(part, Agg) and part.func in ("present", "value"):
        return "it shows single rows", _ASK
    return "a total in it is no sum over rows", "Ask for its parts as columns of their own."


def refused(why: str, advice: str = _ASK) -> LocalError:
    """``plan.noise``."""
    return LocalError("plan.noise", f"Noise does not go with this query: {why}.", advice)
