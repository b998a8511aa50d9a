"""The pool of a join: its sides with their columns, steps on shares, and what is released."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import product

from mpc.errors import LocalError
from mpc.protocols.ranked import Searched
from mpc.query import build
from mpc.query.behind_joins import behind_side, chosen, summed
from mpc.query.catalog import Catalog, Value
from mpc.query.compared import Beside, Slice
from mpc.query.dominance import absolute_addends, ring_of_shares
from mpc.query.fold import Draft
from mpc.query.join_rounding import rounding_of_side
from mpc.query.join_sides import declared_key, key_field, own_sql, side_query, table_of
from mpc.query.local import key_sql
from mpc.query.lowering import Lowering
from mpc.query.nodes import Agg, Expr, JoinedTerm, JoinSide, Ranked, columns
from mpc.query.parse import Source
from mpc.query.plan import Noise
from mpc.query.plan_joins import ComparedPool, Dominance, JoinPool, RankedRows, Released, Side, sources_of
from mpc.query.plan_pools import Key, Measure
from mpc.query.polynomials import Compared, Factor, Poly, plus, scaled, times
from mpc.query.program import Program
from mpc.query.rules import simplify_filter
from mpc.query.tally_pool import without_helper

#: values of GROUP BY keys that others than the spine hold: each costs products for all rows
MAX_SLICES = 64


def term_of(drafts: Sequence[Draft]) -> JoinedTerm | None:
    """The first combination of the join that all these measures are over; None where they are over none."""
    found = (t for d in drafts for a in d.aggregates for t in a.terms)
    return next((t for t in found if isinstance(t, JoinedTerm)), None)


def terms_of(agg: Agg) -> Iterator[JoinedTerm]:
    """The combinations of the join that an aggregate over it is of."""
    for t in agg.terms:
        assert isinstance(t, JoinedTerm)
        yield t


def join_pool(
    source: Source,
    name: str,
    keys: tuple[Key, ...],
    key_values: tuple[Expr, ...],
    drafts: Sequence[Draft],
    measures: tuple[Measure, ...],
    catalogs: Mapping[str, Catalog],
    noise: Noise | None,
    *,
    helped: bool,
    beside: Beside | None = None,
) -> JoinPool:
    """The pool of the measures over one join. ``key_values``: what the keys are computed by, where they are the spine's
    for its groups, else as conditions. ``helped``: whether the job accepts a helper. ``beside``: what it is compared
    with.

    With ``noise`` nothing is decided by exact counts: no entity is counted, and every cell is let out."""
    first = term_of(drafts)
    assert first is not None
    family, by_row = first.family, first.by_row
    every = {t for d in drafts for a in d.aggregates for t in terms_of(a)}
    branches = frozenset(s.name for s in family if any(s not in t.sides for t in every))
    compared: dict[str, Compared] = {}
    lowerings: dict[JoinedTerm, Lowering] = {}
    # as it is computed: where populations are compared, rows pass and sides are absent that this job alone counts
    sides_, guards = (family, {}) if beside is None else (beside.family, beside.guards)

    def lowering(t: JoinedTerm) -> Lowering:
        rows = replace(t, value=None)
        if rows not in lowerings:
            named = branches if beside is None else branches | beside.absent_of(t)
            lowerings[rows] = Lowering(source, catalogs, t, named, compared)
        return lowerings[rows]

    program = Program(source, sides_, branches, compared, by_row, guards)
    spine = (family[0].party, family[0].table)
    grouped = tuple(
        i for i, e in enumerate(key_values) if by_row or all((c.party, c.table) == spine for c in columns(e))
    )
    sliced = [i for i in range(len(key_values)) if i not in grouped]
    slices = list(product(*(keys[i].domain for i in sliced)))
    if len(slices) > MAX_SLICES:
        raise source.unsupported(
            None,
            f"GROUP BY {', '.join(keys[i].name for i in sliced)} with {len(slices)} values, beside keys of "
            f"{family[0].party},",
            f"Group by something coarser (CASE); up to {MAX_SLICES} are.",
        )
    let_out: list[tuple[list[int], list[int]]] = []  # steps of words, and of what counts entities
    ranked: list[RankedRows] = []

    def cells(values: tuple[Value, ...]) -> Slice:
        return Slice(tuple(_is(key_values[i], v) for i, v in zip(sliced, values, strict=True)))

    def slice_of(values: tuple[Value, ...]) -> Callable[[Poly, JoinedTerm], Poly]:
        """From 1 or a value in all rows to 1 or a value in those of a slice."""
        return lambda p, t: cells(values).of(p, lowering(t))

    for draft, measure, values in ((d, m, v) for d, m in zip(drafts, measures, strict=True) for v in slices):
        within = slice_of(values)
        words = []
        if (searched := searched_of(draft)) is not None:
            value, count = (within(p, t) for t in [_only_term(source, draft)] for p in lowering(t).ranked(t))
            ranked.append(RankedRows(len(let_out), program.word(value, 64, []), program.word(count, 64, []), searched))
        for drafted, word in zip(draft.words, measure.words, strict=True) if searched is None else ():
            if word.kind == "present":
                words.append(program.present([lowering(t).rows for t in terms_of(draft.aggregates[0])]))
                continue
            totals, distinct = [], []
            for k, (a, t) in ((k, pair) for k, atom in drafted.form.terms for pair in _joined(atom)):
                if a.func == "distinct":
                    distinct.append((k, program.entities(within(lowering(t).distinct(a, t), t))))
                else:
                    totals.append(scaled(within(lowering(t).total(a, t.value), t), k))
            words.append(program.word(plus(*totals), word.ring, distinct))
        counted = [] if by_row or noise is not None else list(_counted(draft, lowering))
        let_out.append((words, [program.entities(within(p, t)) for p, t in counted]))
    fields = tuple(key_field([declared_key(catalogs, s, i) for s in family]) for i in range(len(family[0].key)))

    comparisons = None
    if beside is not None:
        domain = _in_domains([(key_values[i], keys[i]) for i in grouped])
        asked = [[(chosen(p, t.value), lowering(t)) for p, t in _counted(d, lowering)] for d in drafts]
        comparisons = beside.comparisons(program, name, compared, asked, [cells(v) for v in slices], domain)
    by_draft = [([(p, t.value) for p, t in _counted(d, lowering)], summed(d)) for d in drafts]

    def sides() -> tuple[Side, ...]:
        """The sides with the columns that the program has so far."""
        found = []
        for i, (side, computed, factors) in enumerate(zip(family, sides_, program.factors, strict=True)):
            shown_keys = [(own_sql if by_row else key_sql)(key_values[k]) for k in grouped if i == 0]
            query = side_query(table_of(catalogs, side), computed, list(factors), shown_keys, noise)
            columns_ = tuple(c for _, c in factors)
            own = () if by_row else _keys_of(side, key_values)
            if not by_row and noise is None:
                absent = side.optional or side.name in branches
                catalog = next(c for c in catalogs.values() if c.party == side.party)
                table = table_of(catalogs, side)
                assert table is not None
                query = replace(
                    query,
                    behind=behind_side(
                        side, absent, catalog, [key_values[k] for k in own], by_draft, by_key=not helped
                    ),
                    rounding=rounding_of_side(side, table, drafts, measures),
                )
            found.append(Side(side.name, side.party, side.rows, side.unique, columns_, query, own))
        return tuple(found)

    plain, steps = sides(), program.steps
    added = [(d, slice_of(v), lowering) for d in drafts for v in slices]
    addends = None if by_row or noise is not None or not helped else _addend_steps(program, added)
    pool = JoinPool(
        name,
        keys,
        measures,
        sources_of(plain),
        (),
        fields,
        plain,
        steps,
        tuple(_released(let_out, len(slices))),
        by_row,
        grouped,
        tuple(ranked),
        None if addends is None else Dominance(sides(), program.steps[len(steps) :], addends),
    )
    if comparisons is not None:
        return ComparedPool(**vars(pool), comparisons=comparisons, brought=tuple(program.brought))
    if helped:
        return pool
    single = (family[0], *(s for s in family[1:] if s.unique))  # whose rows are not put together by key
    ones = [
        [i for (f, c), i in factors.items() if f == Factor() and c.how != "mark" and (side in single or c.how == "any")]
        for side, factors in zip(family, program.factors, strict=True)
    ]
    return without_helper(pool, family, ones)


def _released(let_out: Sequence[tuple[list[int], list[int]]], slices: int) -> Iterator[Released]:
    """What each measure lets out, slice by slice: counts that are the same in all of its slices once, so that those of
    a table's cells stand in one order."""
    for m in range(0, len(let_out), slices):
        measure = let_out[m : m + slices]
        counts = dict.fromkeys(zip(*(counted for _, counted in measure), strict=True))
        for s, (words, _) in enumerate(measure):
            yield Released(tuple(words), tuple(steps[s] for steps in counts))


def _counted(draft: Draft, lowering: Callable[[JoinedTerm], Lowering]) -> Iterator[tuple[Poly, JoinedTerm]]:
    """What counts the entities behind a measure: each owner's rows by themselves must pass, so of a UNION ALL each
    branch."""
    for a in draft.aggregates:
        for t in terms_of(a):
            yield from ((p, t) for p in lowering(t).behind(a, t.value))


def _keys_of(side: JoinSide, key_values: Sequence[Expr]) -> tuple[int, ...]:
    """The keys that a side holds by itself."""
    return tuple(
        i for i, e in enumerate(key_values) if {(c.party, c.table) for c in columns(e)} == {(side.party, side.table)}
    )


def _addend_steps(
    program: Program,
    drafts: Sequence[tuple[Draft, Callable[[Poly, JoinedTerm], Poly], Callable[[JoinedTerm], Lowering]]],
) -> tuple[tuple[int, ...], ...] | None:
    """Of each draft and slice the steps of its absolute addends; None where some cannot be computed on shares."""
    found = []
    try:
        for draft, within, lowering in drafts:
            steps: dict[int, None] = {}
            for a in draft.aggregates:
                for t in terms_of(a):
                    for e in absolute_addends(a, t):
                        bits = ring_of_shares(e, t)
                        if bits is None:
                            return None
                        rows = within(times(lowering(t).rows, lowering(t).value(e)[0]), t)
                        steps[program.addend(rows, bits)] = None
            found.append(tuple(steps))
    except LocalError:  # too many products, or a comparison that the rows of this join do not allow
        return None
    return tuple(found)


def searched_of(draft: Draft) -> Searched | None:
    """What a measure by place is searched for by; None for others."""
    found = [atom for w in draft.words if w.kind in ("ranked", "known") for _, atom in w.form.terms]
    values = next((a for a in found if isinstance(a, Ranked)), None)
    if values is None:
        return None
    tests = tuple(a.test if isinstance(a, Ranked) else None for a in found)
    return Searched(values.low or 0, values.high or 0, tests)


def _only_term(source: Source, draft: Draft) -> JoinedTerm:
    """The rows among which a place is searched for: each row of the spine once."""
    terms = list(dict.fromkeys(t for a in draft.aggregates for t in terms_of(a)))
    (name, *_) = draft.names or ["A quantile"]
    if len(terms) > 1 or len(terms[0].family) > len(terms[0].sides):
        raise source.unsupported(None, f"{name} over a join with UNION ALL", "Ask for it over each branch by itself.")
    repeated = next((s for s in terms[0].sides[1:] if not s.unique), None)
    if repeated is not None:
        key = ", ".join(f"{c.party}.{c.table}.{c.name}" for c in repeated.key)
        raise source.unsupported(
            None,
            f"{name} over a join in which {key} may repeat",
            f"Ask {repeated.party} to declare the key unique, or group by a key of its own: its rows then stay single.",
        )
    return terms[0]


def _in_domains(keys: Sequence[tuple[Expr, Key]]) -> Expr | None:
    """The condition that all keys have values of their domains; None without keys."""
    found = [build.logic("or", *_among(e, key.domain)) for e, key in keys]
    return build.logic("and", *found) if found else None


def _among(e: Expr, domain: Sequence[Value]) -> Iterator[Expr]:
    """Conditions of which one holds where a key has one of these values."""
    if e.kind == "boolean" or None in domain:
        yield from (_is(e, v) for v in domain if v is None or e.kind == "boolean")
    known = [build.const(e.kind, v, e.scale) for v in domain if v is not None]
    if known and e.kind != "boolean":
        yield build.in_list(e, known)


def _is(key: Expr, value: Value) -> Expr:
    """The condition that a key has a value of its domain."""
    if value is None:
        return build.is_null_test(key)
    if key.kind == "boolean":
        return key if value else build.negate(key)
    return simplify_filter(build.compare("=", key, build.const(key.kind, value, key.scale)))


def _joined(atom: Expr) -> Iterator[tuple[Agg, JoinedTerm]]:
    """An aggregate with each of its terms."""
    assert isinstance(atom, Agg)
    yield from ((atom, t) for t in terms_of(atom))
