"""Who is behind a party's numbers: one row for every cell and entity, for rules that look at entities one by one.

    SELECT k0, …, c, e, x, SUM(a0) AS a0, …, SUM(p0) AS p0, … FROM (
      SELECT <key> AS k0, …, <form> AS c, <entity> AS e, <digest> AS x, ABS(<addend>) AS a0, …, <digest> AS p0, …
      FROM "table" WHERE …
      UNION ALL …) GROUP BY k0, …, c, e, x

where keys are not declared unique; else without grouping, and with texts in the place of their digests: then nothing
is added up here, and whoever reads the answer makes them of a whole column at once, in half the time. Run by the
owner's node for itself only; nothing of it leaves. ``c`` numbers the forms of key that the tables have, so
``e`` is an entity within ``c``; without a key every row is one, known again by its content. ``a0 …`` are the absolute
*addends* of sums, ``p0 …`` digests of what an entity contributes to a *population* (mpc/policy/differencing.py).

An addend is what one column brings into a sum, or one expression that is no sum of columns; constants are none. A sum
is judged by each of its addends alone, since whoever knows the others, or asks for them too, takes them off: of
SUM(x + 1000) that is x. Where no entity brings more than a share s of any addend, none brings more than s of any sum
of them either: max |Σ a| ≤ Σ max |a| ≤ s · Σ total |a|.

A population is that of one column, for the same reason: the rows that count for the measure, each with the column's
value; and one of the rows themselves, whatever their values. Of a sum whose value is made of several pieces, the rows
that bring each piece are a population too (mpc/query/pieces.py).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import zip_longest
from math import gcd

from mpc.crypto.labels import digest
from mpc.query import build
from mpc.query.catalog import Catalog, Table
from mpc.query.fold import Draft, DraftWord
from mpc.query.linear import part_of
from mpc.query.local import Scan, counting, key_sql, row_text, rows_of
from mpc.query.local_joins import LocalJoin
from mpc.query.nodes import (
    Agg,
    Arith,
    Case,
    Coalesce,
    Column,
    Const,
    Expr,
    Neg,
    Ranked,
    Term,
    aggregates,
    numeric,
)
from mpc.query.pieces import picked_out
from mpc.query.plan_pools import Behind, BehindMeasure, Number
from mpc.query.printer import identifier, literal, sql, units
from mpc.query.rules.cancel import constant_factor, linear_terms
from mpc.query.uses import bare, value_columns


@dataclass
class _Query:
    party: str
    catalog: Catalog
    entity_rows: int | None
    hashed: bool = True
    scans: dict[Scan, None] = field(default_factory=dict)
    classes: list[tuple[object, ...]] = field(default_factory=list)
    addends: list[dict[Scan, str]] = field(default_factory=list)
    populations: list[tuple[tuple[str, str], dict[Scan, str]]] = field(default_factory=list)

    def population(self, column: tuple[str, str], by_scan: dict[Scan, str]) -> int:
        """The number of a population, each once."""
        if (column, by_scan) not in self.populations:
            self.populations.append((column, by_scan))
            self.scans.update(dict.fromkeys(by_scan))
        return self.populations.index((column, by_scan))


#: table and column ("*": the rows themselves), and what a row contributes
Population = tuple[tuple[str, str], str]


def of_side(
    table: Table,
    scan: Scan,
    single: bool,
    measures: Sequence[tuple[Sequence[Population], Sequence[tuple[int, str, Collection[tuple[str, str]]]]]],
    joined: Sequence[str] = (),
) -> Behind:
    """The query for a side of a join: keys, the entity's digest and populations. ``single``: each row is an entity,
    and digests are left as texts. ``measures``: of each the populations, and words with the digest of what they are and
    the columns they are made of. ``joined``: columns of the join's key, ``j0 …`` of the answer, where it is to say
    which rows met."""
    populations = list(dict.fromkeys(p for m, _ in measures for p in m))

    def measure(
        own: Sequence[Population], words: Sequence[tuple[int, str, Collection[tuple[str, str]]]]
    ) -> BehindMeasure:
        behind = tuple(dict.fromkeys(map(populations.index, own)))
        made_of = ((w, what, tuple(i for i in behind if populations[i][0] in columns)) for w, what, columns in words)
        return BehindMeasure((), behind, tuple(Number(w, what, 1, True, of) for w, what, of in made_of if of))

    found = tuple(measure(*m) for m in measures)
    columns = [f"{key_sql(k)} AS k{i}" for i, k in enumerate(scan.keys)]
    columns += [f"{identifier(name)} AS j{i}" for i, name in enumerate(joined)]
    columns += [f"{_digest(table, not single)} AS x", *(f"{text} AS p{i}" for i, (_, text) in enumerate(populations))]
    text = f"SELECT {', '.join(columns)} FROM {_rows(table)}{_passing(scan)}"
    if not single:
        by = ", ".join([*(f"k{i}" for i in range(len(scan.keys))), *(f"j{i}" for i in range(len(joined))), "x"])
        text = f"SELECT {', '.join([by, *_digests(len(populations))])} FROM ({text}) GROUP BY {by}"
    by_keys = tuple(key_sql(k) for k in scan.keys)
    return Behind(text if populations else "", tuple(column for column, _ in populations), found, by_keys)


def behind(party: str, drafts: Sequence[Draft], keys: int, catalog: Catalog, entity_rows: int | None = None) -> Behind:
    """The query for the measures of a pool, in their order, over the rows that count in them (``local.rows_of``)."""
    q = _Query(party, catalog, entity_rows)
    measures = tuple(_measure(q, d) for d in drafts)
    if q.scans and _once(q):
        q = _Query(party, catalog, entity_rows, hashed=False)
        measures = tuple(_measure(q, d) for d in drafts)
    columns = tuple(column for column, _ in q.populations)
    by_keys = {tuple(key_sql(k) for k in s.keys) for s in q.scans}
    text = _print(q, keys) if q.scans else ""
    rows = tuple(_which(by_scan) if column == "*" else "" for (_, column), by_scan in q.populations)
    return Behind(text, columns, measures, next(iter(by_keys)) if len(by_keys) == 1 else (), rows)


def _which(by_scan: dict[Scan, str]) -> str:
    """A digest of which rows are in a population, and how they are divided into cells."""
    found = []
    for scan, text in by_scan.items():
        where_ = "" if scan.where is None else sql(scan.where)
        found.append(repr((scan.table.lower(), where_, [key_sql(k) for k in scan.keys], text)).encode())
    return digest("rows", *sorted(found)).hex()[:32]


def without_addends(query: Behind) -> str:
    """The query for who looks at populations only."""
    addends = ", ".join(f"a{i}" for i in sorted({i for m in query.measures for i in m.addends}))
    return f"SELECT * EXCLUDE ({addends}) FROM ({query.sql})" if addends else query.sql


def _measure(q: _Query, d: Draft) -> BehindMeasure:
    parts = [p for word in d.words for _, atom in word.form.terms if (p := part_of(atom, q.party)) is not None]
    found = dict.fromkeys(agg for part in parts for agg in aggregates(part))
    sums = [agg for agg in found if agg.func in ("sum", "squares")]
    added = dict.fromkeys(i for agg in sums for i in _addends(q, agg))
    behind = dict.fromkeys(i for agg in found for i in _populations(q, agg))
    numbers = (_number(q, w, word) for w, word in enumerate(d.words))
    return BehindMeasure(tuple(added), tuple(behind), tuple(n for n in numbers if n is not None))


def _populations(q: _Query, agg: Agg) -> Iterator[int]:
    """The populations of an aggregate: of its rows, and of each column that enters its values; and the same of each
    piece of its values."""
    scans = scans_of(agg)
    found: dict[tuple[str, str], dict[Scan, str]] = {}
    for scan, t in scans.items():
        value = t.value if agg.func != "rows" else None
        mark = counting(value) if value is not None and agg.func not in ("count", "distinct") else None
        row = "" if mark is None else f"{sql(mark)} = 1"
        found.setdefault((t.table.lower(), "*"), {})[scan] = where(ONE, row)
        for c in dict.fromkeys(value_columns(value)) if value is not None else ():
            known = _known(value) if value is not None and mark is None else row
            found.setdefault((t.table.lower(), c.name.lower()), {})[scan] = where(contribution(c, q.hashed), known)
    several = list(found.items())
    summed = agg.func in ("sum", "squares")
    for part in picked_out({scan: t.value for scan, t in scans.items() if t.value is not None} if summed else {}):
        of_piece: dict[tuple[str, str], dict[Scan, str]] = {}
        for scan, marked in part.marks.items():
            of_piece.setdefault((scan.table.lower(), "*"), {})[scan] = where(ONE, f"{sql(marked)} = 1")
            for c in part.columns:
                if c.table == scan.table:
                    text = where(contribution(c, q.hashed), f"{sql(marked)} = 1")
                    of_piece.setdefault((scan.table.lower(), c.name.lower()), {})[scan] = text
        several += of_piece.items()
    for column, by_scan in several:
        yield q.population(column, by_scan)


#: a function of the owner's node: a 64-bit digest of a text (parties/node/sources/fingerprints.py)
FINGERPRINT = "fingerprint"

#: what a row contributes to the population of the rows themselves
ONE = "CAST(1 AS UBIGINT)"


def contribution(c: Column, hashed: bool) -> str:
    """What a row contributes to a column's population, or the text that this is a digest of.

    Decimals of more than 18 digits take five times as long to print, which few need; the text is the same.
    """
    name = identifier(c.name)
    texts = [f"CAST({name} AS VARCHAR)", "''"]
    if c.kind == "decimal" and c.scale <= 18:
        texts.insert(0, f"CAST(TRY_CAST({name} AS DECIMAL(18, {c.scale})) AS VARCHAR)")
    return _fingerprint(f"COALESCE({', '.join(texts)})", hashed)


def _fingerprint(text: str, hashed: bool) -> str:
    return f"{FINGERPRINT}({text})" if hashed else text


def _known(value: Expr) -> str:
    """Where a value is not NULL; "" everywhere. The same for all sums of the same columns."""
    if not value.nullable:
        return ""
    atoms = [a for a, _ in linear_terms(value, Fraction(1)) if a is not None]
    if atoms and all(isinstance(a, Column) for a in atoms):
        return " AND ".join(sorted({f"{sql(a)} IS NOT NULL" for a in atoms if a.nullable}))
    return f"{sql(value)} IS NOT NULL"


def _number(q: _Query, w: int, word: DraftWord) -> Number | None:
    """A word as this party's columns enter it; None where none of their values does. Counts are none: how many entities
    a population has is no value of theirs."""
    parts = [(k, part) for k, atom in word.form.terms if (part := part_of(atom, q.party)) is not None]
    aggs = list(dict.fromkeys(agg for _, part in parts for agg in aggregates(part)))
    counted = word.kind in ("rows", "count", "nulls", "known") and all(agg.func != "distinct" for agg in aggs)
    of_columns = dict.fromkeys(i for agg in aggs for i in _populations(q, agg) if q.populations[i][0][1] != "*")
    if counted or not of_columns:
        return None
    by = gcd(*(k for k, _ in parts))
    names: dict[Expr, str] = {agg: _said(agg) for agg in aggs}
    what = digest("number", *(f"{k // by} {sql(part, names)}".encode() for k, part in parts)).hex()[:32]
    return Number(w, what, by, any(isinstance(agg, Ranked) for agg in aggs), tuple(of_columns))


def _said(agg: Agg) -> str:
    """An aggregate as text. Over which rows is the population's to say, but not which of them enter by which value."""
    rows: list[tuple[str, ...]] = [(t.table.lower(), "" if t.value is None else sql(t.value)) for t in agg.terms]
    if len(set(rows)) > 1:
        where = [[sql(e) for e in ((t.where,) if t.where is not None else ()) + t.keys] for t in agg.terms]
        rows = [(*row, *of) for row, of in zip(rows, where, strict=True)]
    return f"{agg.func} {getattr(agg, 'test', '')} {sorted(set(rows))}"


def where(value: str, condition: str) -> str:
    """A value where a condition holds, else NULL; "": everywhere."""
    return f"CASE WHEN {condition} THEN {value} END" if condition else value


def _addends(q: _Query, agg: Agg) -> Iterator[int]:
    """The addends of an aggregate, the first of every branch as one column, and so on."""
    by_scan = {scan: list(_printed(t, agg.func == "squares")) for scan, t in scans_of(agg).items()}
    for column in zip_longest(*by_scan.values()):
        addend = {scan: text for scan, text in zip(by_scan, column, strict=True) if text is not None}
        if addend not in q.addends:
            q.addends.append(addend)
            q.scans.update(dict.fromkeys(addend))
        yield q.addends.index(addend)


def scans_of(agg: Agg) -> dict[Scan, Term]:
    """The branches of an aggregate; equal ones are told apart by their turn."""
    found: dict[Scan, Term] = {}
    for t in agg.terms:
        turn = sum(1 for s in found if (s.table, s.where, s.keys) == (t.table, t.where, t.keys))
        found[Scan(t.table, t.where, t.keys, turn)] = t
    return found


def _printed(t: Term, squares: bool) -> Iterator[str]:
    for addend in addends(t.value) if t.value is not None else ():
        text = f"abs(CAST({units(addend)} AS DOUBLE))"
        yield text
        if squares:
            yield f"{text} * {text}"


# ---- addends


def addends(e: Expr) -> Iterator[Expr]:
    """What each column brings into the sum of ``e``, and each part of it that is no sum of columns. NULL where ``e``
    is, so that SUM(x + CASE WHEN … THEN 0 END) is judged by the rows that it adds."""
    for leaf in dict.fromkeys(_leaves(e)):
        yield _where_known(e, _only(e, leaf))
        if not isinstance(leaf, Column):
            yield from (_where_known(e, c) for c in dict.fromkeys(value_columns(leaf)) if numeric(c))


def _where_known(e: Expr, addend: Expr) -> Expr:
    if not e.nullable or bare(e) == addend:
        return addend
    return build.case([(build.negate(build.is_null_test(e)), addend)], build.NULL)


def _leaves(e: Expr) -> Iterator[Expr]:
    """Columns, and parts that are no sum, product with a constant, or choice of others."""
    e = bare(e)
    inner = _inner(e)
    if inner is not None:
        for x in inner:
            yield from _leaves(x)
    elif numeric(e) and not isinstance(e, Const):  # a condition as 0 or 1 counts, and is no part of a sum
        yield e


def _inner(e: Expr) -> tuple[Expr, ...] | None:
    """The parts of an expression that is linear in them, or chooses one of them."""
    if isinstance(e, Neg):
        return (e.arg,)
    if isinstance(e, Arith) and e.op in "+-" and numeric(e.left) and numeric(e.right):
        return e.left, e.right
    if isinstance(e, Arith) and e.op == "*" and (parts := constant_factor(e)):
        return (parts[1],)
    if isinstance(e, Case):
        return (*(v for _, v in e.whens), e.default)
    return e.args if isinstance(e, Coalesce) else None


def _only(e: Expr, leaf: Expr) -> Expr:
    """``e`` with 0 in the place of all other leaves and constants."""
    e = bare(e)
    if not numeric(e):
        return build.ZERO
    if isinstance(e, Neg):
        return build.neg(_only(e.arg, leaf))
    if isinstance(e, Case):
        arms = [(c, _only(v, leaf)) for c, v in e.whens]
        return build.case(arms, _only(e.default, leaf))
    if isinstance(e, Coalesce):
        # 0 in the place of an argument must not stand for it where it is NULL: what comes behind it counts there
        arms = [(build.negate(build.is_null_test(a)), _only(a, leaf)) for a in e.args[:-1]]
        return build.case(arms, _only(e.args[-1], leaf))
    if isinstance(e, Arith) and _inner(e) is not None:
        if e.op == "*":
            factor = next(x for x in (e.left, e.right) if isinstance(x, Const))
            rest = e.right if factor is e.left else e.left
            return build.arith("*", _only(rest, leaf), factor)
        return build.arith(e.op, _only(e.left, leaf), _only(e.right, leaf))
    return e if e == leaf else build.ZERO


# ---- printing


def _print(q: _Query, keys: int) -> str:
    rows = " UNION ALL ".join(_scan(q, s) for s in q.scans)
    if _once(q):
        columns = [*(f"k{i}" for i in range(keys)), "c", "x"]
        columns += [f"COALESCE(a{i}, 0) AS a{i}" for i in range(len(q.addends))]
        return f"SELECT {', '.join([*columns, *(f'p{i}' for i in range(len(q.populations)))])} FROM ({rows})"
    by = ", ".join([*(f"k{i}" for i in range(keys)), "c", "e", "x"])
    sums = [f"COALESCE(SUM(a{i}), 0) AS a{i}" for i in range(len(q.addends))]
    sums += _digests(len(q.populations))
    return f"SELECT {', '.join([by, *sums])} FROM ({rows}) GROUP BY {by}"


def _once(q: _Query) -> bool:
    """Whether each entity is to be in one row, as the owner declares: grouping a million rows takes a second. Whoever
    reads the answer puts rows of one entity together all the same."""
    table = q.catalog.table(next(iter(q.scans)).table)
    return len(q.scans) == 1 and table is not None and table.unique


def _digests(populations: int) -> list[str]:
    """An entity's digests, added up."""
    return [f"CAST(SUM(p{i}) % {2**64} AS UBIGINT) AS p{i}" for i in range(populations)]


def _scan(q: _Query, scan: Scan) -> str:
    table = q.catalog.table(scan.table)
    assert table is not None
    form = _form(table)
    if form not in q.classes:
        q.classes.append(form)
    columns = [f"{key_sql(k)} AS k{i}" for i, k in enumerate(scan.keys)]
    columns += [f"{q.classes.index(form)} AS c", f"{_entity(table)} AS e", f"{_digest(table, q.hashed)} AS x"]
    columns += [f"{a.get(scan, 'CAST(NULL AS DOUBLE)')} AS a{i}" for i, a in enumerate(q.addends)]
    columns += [f"{p.get(scan, 'CAST(NULL AS UBIGINT)')} AS p{i}" for i, (_, p) in enumerate(q.populations)]
    if table.keys:
        return f"SELECT {', '.join(columns)} FROM {rows_of(table, scan.where, q.entity_rows)}"
    return f"SELECT {', '.join(columns)} FROM {_rows(table)}{_passing(scan)}"


def _passing(scan: Scan) -> str:
    return f" WHERE {sql(scan.where)}" if scan.where is not None else ""


def _rows(table: Table) -> str:
    """The rows; without a key each with its content, by which it is known again."""
    name = identifier(table.name)
    rows = table.sql if isinstance(table, LocalJoin) else name
    if table.keys:
        return name if rows == name else f"{rows} AS {name}"
    return f"(SELECT *, {_content(table)} AS {_row(table)} FROM {rows}) AS {name}"


def _form(table: Table) -> tuple[object, ...]:
    """What an entity's key looks like: keys of one form can be of the same entity."""
    return tuple((c.name.lower(), c.kind, c.scale) for c in table.keys) or (table.name.lower(),)


def entity_digest(table: Table) -> str:
    """The digest of a row's entity, as ``x`` of all answers."""
    return _digest(table, True)


def _digest(table: Table, hashed: bool) -> str:
    """A digest of a row's entity and the form of its key, or the text."""
    return _fingerprint(f"{literal(repr(_form(table)))} || COALESCE({_entity(table)}, '')", hashed)


def _entity(table: Table) -> str:
    """The entity of a row as text; of several columns with the length before each, so that no two are alike."""
    if not table.keys:
        return _row(table)
    texts = [f"CAST({identifier(c.name)} AS VARCHAR)" for c in table.keys]
    if len(texts) == 1:
        return texts[0]
    return " || ".join(f"CAST(length({t}) AS VARCHAR) || {literal(':')} || {t}" for t in texts)


def _content(table: Table) -> str:
    """A row's content, and its number among equal rows."""
    text = row_text(table)
    return f"{text} || CAST(row_number() OVER (PARTITION BY {text}) AS VARCHAR)"


def _row(table: Table) -> str:
    """A name that no column of the table has."""
    taken = {c.name.lower() for c in table.columns}
    name = "row"
    while name in taken:
        name += "_"
    return identifier(name)
