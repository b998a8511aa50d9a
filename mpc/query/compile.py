"""SQL and catalogs to a plan: a pure, deterministic function that every node computes again (query.md, Plan).

    parse → relations (names, CTEs, unions) → fold (what is revealed) → pools, local queries, reveals, finish

Nothing depends on data, on a catalog's row counts, or on who compiles.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from math import prod
from types import MappingProxyType

from mpc.errors import LocalError
from mpc.job import Job
from mpc.protocols.verified import MOST, VALUE_BITS
from mpc.query import build
from mpc.query.aggregates import present, rows
from mpc.query.behind import behind
from mpc.query.bounds import check_rows, word_bound
from mpc.query.catalog import Catalog
from mpc.query.compared import Asked, Earlier, beside
from mpc.query.deposits import as_deposit
from mpc.query.domains import Domains
from mpc.query.fold import Draft, Reveals
from mpc.query.join_pool import join_pool, searched_of, term_of
from mpc.query.local import local_query, ranked_query
from mpc.query.nodes import Expr, JoinedTerm, Term, WordRef, aggregates, rebuild
from mpc.query.noised import add_noise, read_noise
from mpc.query.parameters import put_in
from mpc.query.parse import Source, parse, parties_of, too_deep
from mpc.query.plan import Finish, Noise, Output, Plan
from mpc.query.plan_joins import ComparedPool, JoinPool, TallyPool, shows_rows
from mpc.query.plan_pools import Key, LocalQuery, Measure, Pool, RankedMeasure, Ranking, Reach, Word
from mpc.query.questions import Named, Question
from mpc.query.relations import GroupKey, QueryBinder, Rows, Scalars, Totals
from mpc.query.reveals import reveals_of
from mpc.query.rounding import rounding
from mpc.query.separate import check_weights
from mpc.query.tally_pool import size_alone

#: goes into every job and plan; a change of what is compiled changes the number
PLANNER = f"heji-9/sqlglot-{version('sqlglot')}"

__all__ = ["PLANNER", "asked_of", "compile_compared", "compile_job", "compile_plan", "parties_of", "question_of"]


def compile_job(job: Job, catalogs: Mapping[str, Catalog], earlier: Earlier | None = None) -> Plan:
    """The plan of a job, as every member compiles it. ``earlier``: with the joins as they are computed where their
    populations are compared. Raises LocalError sql.*, plan.*."""
    return compile_plan(
        job.sql,
        catalogs,
        recipients=job.recipients,
        trust=job.trust,
        verified=job.verified,
        parameters=job.parameters,
        epsilon=job.epsilon,
        entity_rows=job.entity_rows,
        earlier=earlier,
    )


def question_of(job: Job) -> Question:
    """What a job asks, for those that come later."""
    return Question(job.sql, tuple(sorted(job.parameters.items())), job.recipients, job.nonce)


def compile_compared(
    job: Job, catalogs: Mapping[str, Catalog], named: Named, question: Mapping[str, Question]
) -> dict[int, ComparedPool]:
    """The joins of a job as they are computed where their populations are compared with those of ``named`` questions
    and with each other, by the number of their pool; none where there is nothing to compare. ``question``: by digest.
    Raises LocalError policy.earlier for one that is not there, or that cannot be planned today."""
    asked = {name: _asked(name, question, catalogs) for name in named.every}
    told = named.renamed({name: a.name for name, a in asked.items()})
    every = {a.name: a for a in asked.values()}
    plan = compile_job(job, catalogs, Earlier(tuple(every.values()), told.settles, told.plain))
    return {p: pool for p, pool in plan.joins if isinstance(pool, ComparedPool) and any(pool.comparisons)}


def _asked(name: str, question: Mapping[str, Question], catalogs: Mapping[str, Catalog]) -> Asked:
    if name not in question:
        raise LocalError(
            "policy.earlier",
            f"An owner wants the join compared with an earlier question ({name[:16]}) that is not known here, where it "
            "was not asked, or was forgotten; and who names it did not hand it over.",
            "Bring back the state of this member, or of the owner that names it, from a backup; else the owners that "
            "name it may begin a new list, and let differences to the old one through: heji node forget-questions.",
            question=name,
        )
    try:
        return asked_of(question[name], catalogs)
    except LocalError as problem:
        raise LocalError(
            "policy.earlier",
            f"The join is to be compared with an earlier question ({name[:16]}) that today's catalogs have no answer "
            f"to: {problem.message}",
            "Let the owners publish their tables with the columns that they had; else those that name it may begin a "
            "new list, and let differences to the old one through: heji node forget-questions.",
            question=name,
        ) from problem


def asked_of(question: Question, catalogs: Mapping[str, Catalog]) -> Asked:
    """An earlier question on today's catalogs. Raises LocalError sql.*, plan.*."""
    try:
        source, totals, known = _read(question.sql, catalogs, question.recipients, dict(question.parameters))
        return Asked(question.content, source, known, tuple(_lowered(totals, None).found.drafts))
    except RecursionError:
        raise too_deep() from None


def compile_plan(
    sql: str,
    catalogs: Mapping[str, Catalog],
    *,
    recipients: tuple[str, ...],
    trust: str,
    verified: bool = False,
    parameters: Mapping[str, str] = MappingProxyType({}),
    epsilon: str = "",
    entity_rows: int = 1,
    earlier: Earlier | None = None,
) -> Plan:
    """The plan of a query. ``catalogs`` by party; those of parties the query does not name change nothing.

    ``verified``: the recipient is to verify the sums (P11). ``parameters``: values of the ``$name`` in ``sql``.
    ``epsilon``, ``entity_rows``: noise (P12), as ``Job`` has them.
    Raises LocalError sql.*, plan.*, with line and column among the facts where they are known.
    """
    noise = read_noise(epsilon, entity_rows)
    try:
        source, totals, known = _read(sql, catalogs, recipients, parameters)
        plan = _plan(source, totals, known, noise, recipients, earlier, helped=trust != "parties")
    except RecursionError:
        raise too_deep() from None
    if verified:
        plan = _verified(plan)
    if trust == "deposit":
        return as_deposit(plan, recipients)
    if plan.trust == "helper" and trust == "parties":
        raise LocalError(
            "plan.trust",
            'The job accepts trust "parties" only. MIN, MAX and quantiles of several owners\' values need a helper, '
            "who deals random numbers, sees nothing, and must not share what it dealt with any of the owners.",
            "Submit it with --trust helper. Without a helper: each owner's own MIN, MAX or MEDIAN, or histogram bins "
            "by CASE with COUNT(*).",
        )
    return plan


def _read(
    sql: str, catalogs: Mapping[str, Catalog], recipients: tuple[str, ...], parameters: Mapping[str, str]
) -> tuple[Source, Totals, Mapping[str, Catalog]]:
    """The totals that a query asks for, and the catalogs with the tables that their owners join."""
    source, query = parse(sql)
    query = put_in(source, query, parameters)
    binder = QueryBinder(source, catalogs, recipients)
    return source, _as_totals(source, binder.bind(query)), binder.catalogs


def _verified(plan: Plan) -> Plan:
    """The same with all words in Z_2^128, where nothing wraps. Raises LocalError plan.verified."""
    why = None
    if plan.helped or plan.joins:
        why = "in a join, or in a search for a value, parties add shares, which say nothing about their data"
    elif any(shows_rows(p) for p in plan.pools):
        why = "it shows rows"
    elif any(len(p.parties) > MOST for p in plan.pools):
        why = f"more than {MOST} parties add to a total"
    elif any(w.bound >= 1 << VALUE_BITS for p in plan.pools for m in p.measures for w in m.words):
        why = f"a total may pass 2^{VALUE_BITS} units of its last digit"
    if why is not None:
        raise LocalError(
            "plan.verified",
            f"The sums of this query cannot be verified: {why}.",
            "Ask for it without --verified; replay still shows afterwards who deviated.",
        )
    pools = tuple(
        replace(
            p,
            measures=tuple(replace(m, words=tuple(replace(w, ring=128) for w in m.words)) for m in p.measures),
        )
        for p in plan.pools
    )
    return replace(plan, pools=pools, verified=True)


def _as_totals(source: Source, relation: Rows | Totals | Scalars) -> Totals:
    if isinstance(relation, Rows):
        raise LocalError(
            "sql.unsupported",
            "Line 1, column 1: a result of single rows is not supported: they are never shown.",
            "Use COUNT, SUM, AVG … with or without GROUP BY. Only parties see rows: of a join, about their own table.",
            line=1,
            column=1,
        )
    if isinstance(relation, Scalars):
        raise source.unsupported(
            None, "A UNION ALL of totals as a result", "Add them up with SUM, or unite the rows and GROUP BY a label."
        )
    return relation


@dataclass(frozen=True)
class _Lowered:
    """Outputs over the words that are revealed for them."""

    found: Reveals
    outputs: tuple[Output, ...]
    having: Expr | None
    order: tuple[tuple[Expr, bool, bool], ...]


def _exprs(totals: Totals) -> list[Expr]:
    return [*totals.exprs, *([totals.having] if totals.having is not None else []), *(o[0] for o in totals.order)]


def _lowered(totals: Totals, noise: Noise | None) -> _Lowered:
    exprs = _exprs(totals)
    found = Reveals(noised=noise is not None)
    if totals.by_row:
        found.lower(present(totals.rows))
    elif totals.keys and (noise is None or not any(a.keyed for e in exprs for a in aggregates(e))):
        found.lower(
            rows(totals.rows)
        )  # measure 0: is there such a group? The very word of a COUNT(*) that is asked for
    found.prepare(exprs)
    outputs = tuple(Output(name, found.lower(e)) for name, e in zip(_unique(totals.names), totals.exprs, strict=True))
    having = None if totals.having is None else found.lower(totals.having)
    order = tuple((found.lower(e), desc, first) for e, desc, first in totals.order)
    return _Lowered(found, outputs, having, order)


def _plan(
    source: Source,
    totals: Totals,
    catalogs: Mapping[str, Catalog],
    noise: Noise | None,
    recipients: Sequence[str],
    earlier: Earlier | None,
    *,
    helped: bool,
) -> Plan:
    check_rows(source, _exprs(totals), totals)
    lowered = _lowered(totals, noise)
    found, outputs, having, order = lowered.found, lowered.outputs, lowered.having, lowered.order
    if not found.drafts:
        raise LocalError(
            "sql.unsupported",
            "Line 1, column 1: the query reads no table, or no row can pass its conditions.",
            "Select an aggregate of a table.",
            line=1,
            column=1,
        )
    pools, place = _pools(source, totals, found.drafts, catalogs, noise, recipients, earlier, helped=helped)

    def placed(e: Expr) -> Expr:
        if isinstance(e, WordRef):
            pool, measure = place[e.pool]
            return WordRef(e.kind, e.scale, e.low, e.high, e.nullable, pool, measure, e.word)
        return rebuild(e, placed)

    finish = Finish(
        pools[0].name if totals.keys or totals.by_row else None,
        tuple(Output(o.name, placed(o.expr)) for o in outputs),
        None if having is None else placed(having),
        tuple((placed(e), desc, first) for e, desc, first in order),
        totals.limit,
        totals.offset,
        totals.distinct,
    )
    reveals = reveals_of(pools, found.drafts, place, catalogs)
    if not totals.by_row:  # there each column is granted to be shown by itself
        check_weights(found.drafts)
    parties = tuple(sorted({s.party for p in pools for s in p.sources}))
    # sums rest on no third seat (P3), whatever weaker level the job would accept; joins rest on the helper (P6),
    # or on nobody between two parties (P9)
    notes = _notes(totals, found, reveals, pools, noise)
    plan = Plan(PLANNER, "parties", parties, pools, finish, reveals, notes, noise=noise)
    return replace(plan, trust="helper") if plan.helped else plan


def _unique(names: Sequence[str]) -> list[str]:
    """Column names, a repeated one with a number behind it."""
    taken: set[str] = set()
    result = []
    for name in names:
        unique, n = name, 1
        while unique.lower() in taken:
            unique, n = f"{name}_{n}", n + 1
        taken.add(unique.lower())
        result.append(unique)
    return result


def _pools(
    source: Source,
    totals: Totals,
    drafts: Sequence[Draft],
    catalogs: Mapping[str, Catalog],
    noise: Noise | None,
    recipients: Sequence[str],
    earlier: Earlier | None,
    *,
    helped: bool,
) -> tuple[tuple[Pool, ...], dict[int, tuple[int, int]]]:
    """Pools, and for each draft its pool and measure. The keyed pool is the first; others differ in their parties."""
    groups: dict[object, list[int]] = {}
    for i in sorted(range(len(drafts)), key=lambda i: noise is not None and not drafts[i].keyed):
        d = drafts[i]
        groups.setdefault(
            _rows_of(source, d, keyed=d.keyed or (bool(totals.keys) and i == 0 and noise is None)), []
        ).append(i)
    place: dict[int, tuple[int, int]] = {}
    laid: list[tuple[list[Draft], tuple[Key, ...], tuple[Measure, ...]]] = []
    for p, (rows_of, members) in enumerate(groups.items()):
        chosen = [drafts[i] for i in members]
        place.update({i: (p, m) for m, i in enumerate(members)})
        join = term_of(chosen)
        keyed = bool(join.keys) if join is not None else rows_of is None
        keys, boxes = _keys(source, totals, catalogs) if keyed else ((), {})
        if totals.by_row:
            keys = tuple(_own_value(k) for k in totals.keys)
        measures = (_measure(source, d, boxes) for d in chosen)
        laid.append((chosen, keys, tuple(m if join is None else replace(m, reach=()) for m in measures)))
    if noise is not None:
        cells = [(chosen, measures, prod(len(k.domain) for k in keys)) for chosen, keys, measures in laid]
        noised = add_noise(source, noise, cells, catalogs, helped=helped)
        laid = [(chosen, keys, measures) for (chosen, keys, _), measures in zip(laid, noised, strict=True)]
    own = tuple(k.by_branch[0] for k in totals.keys)

    def pool(name: str, chosen: list[Draft], keys: tuple[Key, ...], measures: tuple[Measure, ...]) -> Pool:
        if term_of(chosen) is not None:
            held = own if keys else ()
            known = None if earlier is None or not helped else beside(source, chosen, held, catalogs, earlier)
            made = join_pool(source, name, keys, held, chosen, measures, catalogs, noise, helped=helped, beside=known)
            return size_alone(made, recipients) if isinstance(made, TallyPool) else made
        parties = tuple(sorted({party for d in chosen for party in d.parties}))
        sources = tuple(_source(party, chosen, len(keys), _catalog(catalogs, party), noise) for party in parties)
        return Pool(name, keys, measures, sources, _rankings(chosen, len(keys), catalogs))

    return tuple(pool(f"pool{p}", *one) for p, one in enumerate(laid)), place


def _source(party: str, drafts: Sequence[Draft], keys: int, catalog: Catalog, noise: Noise | None) -> LocalQuery:
    most = None if noise is None else noise.entity_rows
    query = local_query(party, drafts, keys, catalog, most)
    return replace(
        query,
        behind=behind(party, drafts, keys, catalog, most),
        rounding=rounding(party, drafts, keys, catalog, most),
    )


def _rankings(drafts: Sequence[Draft], keys: int, catalogs: Mapping[str, Catalog]) -> tuple[Ranking, ...]:
    """The measures by place, those of the same parties together."""
    found: dict[tuple[str, ...], list[RankedMeasure]] = {}
    for m, d in enumerate(drafts):
        searched = searched_of(d)
        if searched is None:
            continue
        parties = tuple(sorted(d.parties))
        queries = tuple(ranked_query(p, d, keys, _catalog(catalogs, p)) for p in parties)
        found.setdefault(parties, []).append(RankedMeasure(m, searched, queries))
    return tuple(Ranking(parties, tuple(measures)) for parties, measures in found.items())


def _rows_of(source: Source, d: Draft, *, keyed: bool) -> object:
    """What the drafts of one pool have in common: the join, or None for keyed ones, or their parties."""
    joins = {t.rows_of for a in d.aggregates for t in a.terms if isinstance(t, JoinedTerm)}
    if not joins:
        return None if keyed else tuple(sorted(d.parties))
    if len(joins) > 1 or any(not isinstance(t, JoinedTerm) for a in d.aggregates for t in a.terms):
        raise source.unsupported(
            None, "A sum of totals of a join and other totals", "Select them as columns of their own."
        )
    return joins.pop()


def _catalog(catalogs: Mapping[str, Catalog], party: str) -> Catalog:
    return next(c for c in catalogs.values() if c.party == party)


def _where(term: Term) -> Expr | None:
    """What rows must pass at the parties that hold the keys."""
    if not isinstance(term, JoinedTerm):
        return term.where
    wheres = [s.where for s in term.sides if s.where is not None and not s.optional]
    return build.logic("and", *wheres) if wheres else None


def _own_value(key: GroupKey) -> Key:
    """A column of the recipient's own beside the rows of a join."""
    first = key.by_branch[0]
    assert first.kind != "double"
    return Key(key.name, first.kind, first.scale, ())


Boxes = dict[tuple[object, ...], tuple[tuple[int, ...] | None, ...]]


def _keys(source: Source, totals: Totals, catalogs: Mapping[str, Catalog]) -> tuple[tuple[Key, ...], Boxes]:
    """The keys with their domains, and the block of cells of each branch, by (party, table, keys)."""
    by_keys = [tuple(k.by_branch[i] for k in totals.keys) for i in range(len(totals.keys[0].by_branch))]
    conditions = [[_where(t) for t in totals.rows if t.keys == keys] for keys in by_keys]
    domains = Domains(source, catalogs, conditions)
    live = {(t.party, t.keys) for t in totals.rows}
    present = [i for i, keys in enumerate(by_keys) if any(keys == k for _, k in live)]
    if not present:
        raise LocalError("sql.unsupported", "Line 1, column 1: no row can pass the conditions.", line=1, column=1)
    keys = tuple(domains.key(k, present) for k in totals.keys)
    if not all(k.domain for k in keys):
        raise LocalError("sql.unsupported", "Line 1, column 1: no row can pass the conditions.", line=1, column=1)
    domains.check_cells(keys, totals.keys)
    return keys, {by_keys[i]: domains.box(keys, totals.keys, i) for i in present}


def _measure(source: Source, d: Draft, boxes: Boxes) -> Measure:
    reach: dict[str, dict[tuple[tuple[int, ...] | None, ...], None]] = {}
    for agg in d.aggregates:
        for t in agg.terms:
            reach.setdefault(t.party, {})[boxes[t.keys] if t.keys else ()] = None
    words = []
    for w in d.words:
        ring, bound = word_bound(source, w.form, d)
        words.append(Word(w.kind, ring, w.form.scale, bound))
    name = ", ".join(dict.fromkeys(d.names)) or "COUNT(*)"
    return Measure(name, tuple(words), tuple(Reach(p, tuple(boxes)) for p, boxes in sorted(reach.items())))


def _notes(
    totals: Totals, found: Reveals, reveals: Sequence[object], pools: Sequence[Pool], noise: Noise | None
) -> tuple[str, ...]:
    notes = []
    if noise is not None:
        notes.append(
            f"Every number carries noise: epsilon {noise.epsilon} for the whole job, which each owner divides equally "
            f"among the words it adds to. Of one entity at most {noise.entity_rows} row(s) of a table count, one where "
            "its key stands once; in a table without key each row is an entity. All cells are shown, also empty ones."
        )
        if any(isinstance(p, JoinPool) for p in pools):
            notes.append(
                f"Of one key of a join at most {noise.entity_rows} row(s) of a table count, of those that pass its "
                "owner's own conditions. No entity is counted, and nothing is hidden by exact counts."
            )
    if totals.having is not None:
        notes.append("HAVING is computed by the recipient in the clear: it hides nothing from the recipient.")
    if totals.order:
        notes.append("ORDER BY is computed by the recipient in the clear: it hides nothing from the recipient.")
    if totals.limit is not None or totals.offset:
        notes.append(
            "LIMIT and OFFSET are applied by the recipient in the clear: all "
            f"{'rows' if totals.by_row else 'groups'} are revealed to the recipient."
        )
    if totals.distinct:
        notes.append("DISTINCT is applied by the recipient in the clear.")
    if totals.by_row:
        return tuple(notes)
    single = sorted({p for d in found.drafts if len(d.parties) == 1 and not d.keyed for p in d.parties})
    if len(single) > 1:
        notes.append(
            f"Totals of {', '.join(single)} are revealed one by one, since the query asks for each, or combines "
            "them in a way that is not a sum."
        )
    return tuple(notes)
