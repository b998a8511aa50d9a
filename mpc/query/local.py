"""The local query of a party for a pool: DuckDB SQL printed from nodes.

    SELECT k0, …, <word> AS m0w0, …, <entities> AS m0e FROM (
      SELECT k0, …, SUM(v0) AS s0, COUNT(v0) AS c0, …, <entities by measure> FROM (
        SELECT <key> AS k0, …, <value> AS v0, …, <entity> AS e0 FROM "table" WHERE …      -- a scan a branch
        UNION ALL …
      ) GROUP BY k0, …)

A value column belongs to one aggregate and is NULL in the scans of others. Entities are the distinct keys among the
rows that count for the measure: the smallest over its aggregates, and over the pieces of their values that some row
brings (mpc/query/pieces.py); where a party's tables have different keys the largest single count, since the same entity
may be in both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction

from mpc.query import build
from mpc.query.catalog import Catalog, Table
from mpc.query.catalog import Column as Declared
from mpc.query.fold import Draft, DraftWord
from mpc.query.linear import part_of
from mpc.query.nodes import Agg, Case, Column, Const, Expr, aggregates, is_null
from mpc.query.pieces import picked_out
from mpc.query.plan_pools import LocalQuery
from mpc.query.printer import identifier, sql, sql_type, units
from mpc.query.rules.cancel import linear_terms


@dataclass(frozen=True)
class Scan:
    """Rows of one table under one condition; ``turn`` tells equal branches of a union apart."""

    table: str
    where: Expr | None
    keys: tuple[Expr, ...]
    turn: int


@dataclass
class _Query:
    """A local query in the making."""

    party: str
    catalog: Catalog
    keys: int
    entity_rows: int | None
    scans: list[Scan] = field(default_factory=list)
    #: value column -> its expression in each scan (none: NULL)
    values: list[dict[Scan, Expr]] = field(default_factory=list)
    #: aggregate -> the column of the middle query
    names: dict[Expr, str] = field(default_factory=dict)
    middle: list[str] = field(default_factory=list)
    outer: list[str] = field(default_factory=list)


def local_query(
    party: str, drafts: Sequence[Draft], keys: int, catalog: Catalog, entity_rows: int | None = None
) -> LocalQuery:
    """One party's query for the measures of a pool, in their order. ``entity_rows``: see ``rows_of``."""
    q = _Query(party, catalog, keys, entity_rows)
    parts = [[_parts(w, party) for w in d.words] for d in drafts]
    for words in parts:
        for word in words:
            for _, part in word:
                for agg in aggregates(part):
                    _register(q, agg)
    for m, words in enumerate(parts):
        for w, word in enumerate(words):
            q.outer.append(f"CAST({_word(word, q.names)} AS DECIMAL(38,0)) AS m{m}w{w}")
        q.outer.append(
            f"{_entities(q, m, [a for word in words for _, part in word for a in aggregates(part)])} AS m{m}e"
        )
    return LocalQuery(party, _print(q), tuple(sorted({s.table for s in q.scans})))


def ranked_query(party: str, draft: Draft, keys: int, catalog: Catalog) -> LocalQuery:
    """The values among which a measure finds one by its place, row by row: columns ``k0 …`` and ``v`` in units."""
    q = _Query(party, catalog, keys, None)
    part = next(p for word in draft.words for _, p in _parts(word, party))
    assert isinstance(part, Agg)
    by_scan = _by_scan(q, part)
    rows = [
        f"SELECT {', '.join([*(f'{key_sql(k)} AS k{i}' for i, k in enumerate(scan.keys)), f'{units(value)} AS v'])} "
        f"FROM {identifier(scan.table)}" + (f" WHERE {sql(scan.where)}" if scan.where is not None else "")
        for scan, value in by_scan.items()
    ]
    columns = ", ".join([*(f"k{i}" for i in range(keys)), "CAST(v AS BIGINT) AS v"])
    text = f"SELECT {columns} FROM ({' UNION ALL '.join(rows)}) WHERE v IS NOT NULL"
    return LocalQuery(party, text, tuple(sorted({s.table for s in by_scan})))


def _parts(word: DraftWord, party: str) -> list[tuple[int, Expr]]:
    return [(k, part) for k, atom in word.form.terms if (part := part_of(atom, party)) is not None]


def _word(parts: list[tuple[int, Expr]], names: Mapping[Expr, str]) -> str:
    """Σ coefficient · part, in units, NULL taken as 0."""
    if not parts or any(isinstance(part, Agg) and part.func in ("ranked", "known") for _, part in parts):
        return "0"  # what is found by its place comes from ``ranked_query``
    return " + ".join(
        f"CAST({k} AS HUGEINT) * CAST(COALESCE({sql(part, names)}, 0) AS HUGEINT)"
        if k != 1
        else f"CAST(COALESCE({sql(part, names)}, 0) AS HUGEINT)"
        for k, part in parts
    )


def _register(q: _Query, agg: Agg) -> None:
    """Give an aggregate its scans, its value column and its column in the middle query."""
    if agg in q.names:
        return
    if agg.func in ("ranked", "known"):
        _by_scan(q, agg)
        return
    column = _value_column(q, _by_scan(q, agg))
    v = f"v{column}"
    call = {
        "rows": f"COUNT({v})",
        "count": f"COUNT({v})",
        "sum": f"SUM({v})",
        "distinct": f"COUNT(DISTINCT {v})",
        "squares": f"SUM(CAST({v} AS HUGEINT) * CAST({v} AS HUGEINT))",
    }[agg.func]
    name = f"{ {'rows': 'n', 'count': 'n', 'sum': 's', 'distinct': 'd', 'squares': 'q'}[agg.func] }{column}"
    if not any(m.endswith(f" AS {name}") for m in q.middle):
        q.middle.append(f"CAST({call} AS {sql_type(agg)}) AS {name}")
    q.names[agg] = name


def _by_scan(q: _Query, agg: Agg) -> dict[Scan, Expr]:
    seen: dict[Scan, int] = {}
    found: dict[Scan, Expr] = {}
    for t in agg.terms:
        first = Scan(t.table, t.where, t.keys, 0)
        turn = seen.get(first, 0)
        seen[first] = turn + 1
        scan = replace(first, turn=turn)
        if scan not in q.scans:
            q.scans.append(scan)
        found[scan] = build.integer(1) if t.value is None else t.value
    return found


def _value_column(q: _Query, by_scan: dict[Scan, Expr]) -> int:
    if by_scan not in q.values:
        q.values.append(by_scan)
    return q.values.index(by_scan)


# ---- entities


def _entities(q: _Query, measure: int, found: Sequence[Agg]) -> str:
    """The distinct entities behind a measure: the fewest over its aggregates."""
    counts = []
    for agg in dict.fromkeys(_counted(a) for a in found):
        if agg.func == "count" and any(a.terms == agg.terms and a.func in ("sum", "squares") for a in found):
            continue
        counts.append(_entities_of(q, agg))
    for agg in found:
        if agg.func in ("sum", "squares"):
            counts += [f"NULLIF({_distinct(q, of.marks)}, 0)" for of in picked_out(_by_scan(q, agg))]
    unique = list(dict.fromkeys(counts))
    if not unique:
        return "CAST(0 AS BIGINT)"
    names: list[str] = []
    for text in unique:
        known = [m.rsplit(" AS ", 1)[1] for m in q.middle if m.rsplit(" AS ", 1)[0] == text]
        if not known:
            known = [f"x{measure}_{len(names)}"]
            q.middle.append(f"{text} AS {known[0]}")
        names.append(known[0])
    return names[0] if len(names) == 1 else f"LEAST({', '.join(names)})"


def _counted(agg: Agg) -> Agg:
    """The aggregate whose rows are counted for the entities behind one."""
    func = {"rows": "count", "distinct": "count", "ranked": "sum", "known": "sum"}.get(agg.func, agg.func)
    return Agg(agg.kind, agg.scale, agg.low, agg.high, agg.nullable, func, agg.terms, agg.name)


def _entities_of(q: _Query, agg: Agg) -> str:
    by_scan = _by_scan(q, agg)
    active = {scan: counting(e) if agg.func in ("sum", "squares") else None for scan, e in by_scan.items()}
    if any(active.values()):
        marks = {
            s: (a or build.case([(build.negate(build.is_null_test(by_scan[s])), build.integer(1))], build.NULL))
            for s, a in active.items()
        }
        by_scan = marks
    return _distinct(q, by_scan)


def _distinct(q: _Query, by_scan: dict[Scan, Expr]) -> str:
    """The distinct entities of the rows in which an expression is not NULL."""
    column = _value_column(q, by_scan)
    counts = []
    for i, (key, scans) in enumerate(_classes(q).items()):
        if any(s in by_scan for s in scans):
            counts.append(f"COUNT({'DISTINCT ' if key else ''}e{i}) FILTER (WHERE v{column} IS NOT NULL)")
    return counts[0] if len(counts) == 1 else f"GREATEST({', '.join(counts)})"


def counting(e: Expr) -> Expr | None:
    """1 for the rows that count for the entities behind a SUM, else NULL; None: all whose value is not NULL.

    A column, or a sum of columns with weights, counts wherever it is not NULL. Of a CASE only the rows in arms that
    show a value count, and of everything else only where it is not 0: an expression that is 0 for all but one row shows
    that row.
    """
    atoms = [a for a, _ in linear_terms(e, Fraction(1)) if a is not None]
    if not atoms and not isinstance(e, Case):
        return None
    if all(isinstance(a, Column) for a in atoms):
        return None
    nonzero = build.compare("<>", e, build.ZERO)
    if len(atoms) == 1 and isinstance(atoms[0], Case):
        arms = (*(v for _, v in atoms[0].whens), atoms[0].default)
        if any(not isinstance(v, Const) for v in arms):
            marks = [(c, build.integer(0 if isinstance(v, Const) else 1)) for c, v in atoms[0].whens]
            taken = build.case(marks, build.integer(0 if isinstance(atoms[0].default, Const) else 1))
            nonzero = build.logic("and", nonzero, build.compare("=", taken, build.integer(1)))
    return build.case([(nonzero, build.integer(1))], build.NULL)


def _classes(q: _Query) -> dict[object, list[Scan]]:
    """Scans by the form of their entity key; a scan without a key stands alone under a key that is falsy."""
    found: dict[object, list[Scan]] = {}
    for scan in q.scans:
        signature = tuple((c.name.lower(), c.kind, c.scale) for c in _entity(q, scan))
        found.setdefault(signature or _Alone(q.scans.index(scan)), []).append(scan)
    return found


@dataclass(frozen=True)
class _Alone:
    """The class of one scan of a table without key: every row is its own entity."""

    scan: int

    def __bool__(self) -> bool:
        return False


def _entity(q: _Query, scan: Scan) -> tuple[Declared, ...]:
    table = q.catalog.table(scan.table)
    return table.keys if table else ()


def _entity_sql(columns: Sequence[Declared]) -> str:
    if not columns:
        return "1"
    names = [identifier(c.name) for c in columns]
    if len(names) == 1:
        return names[0]
    known = " AND ".join(f"{n} IS NOT NULL" for n in names)
    return f"CASE WHEN {known} THEN ROW({', '.join(names)}) END"


# ---- printing


def _print(q: _Query) -> str:
    keys = [f"k{i}" for i in range(q.keys)]
    rows = " UNION ALL ".join(_scan(q, s) for s in q.scans)
    group = f" GROUP BY {', '.join(keys)}" if keys else ""
    middle = f"SELECT {', '.join([*keys, *q.middle])} FROM ({rows}){group}"
    return f"SELECT {', '.join([*keys, *q.outer])} FROM ({middle})"


def _scan(q: _Query, scan: Scan) -> str:
    columns = [f"{key_sql(k)} AS k{i}" for i, k in enumerate(scan.keys)]
    columns += [f"{_typed(v, scan)} AS v{i}" for i, v in enumerate(q.values)]
    for i, scans in enumerate(_classes(q).values()):
        columns.append(f"{_entity_sql(_entity(q, scan)) if scan in scans else 'NULL'} AS e{i}")
    table = q.catalog.table(scan.table)
    assert table is not None
    return f"SELECT {', '.join(columns)} FROM {rows_of(table, scan.where, q.entity_rows)}"


def rows_of(table: Table, where: Expr | None, entity_rows: int | None) -> str:
    """What stands behind FROM: the rows of a table that pass a condition.

    ``entity_rows``: of one entity this many at most, which a digest of their content chooses, so that who else is in
    the table has no say and the same data gives the same rows; None: all. Rows without a whole key are one entity.
    Where the owner declares keys to stand once, one row; in a table without key each row is an entity.
    """
    name = identifier(table.name)
    passing = f"{name} WHERE {sql(where)}" if where is not None else name
    if entity_rows is None or not table.keys:
        return passing
    order = f"PARTITION BY {_entity_sql(table.keys)} ORDER BY md5_number({row_text(table)})"
    most = rows_an_entity(table, entity_rows)
    return f"(SELECT * FROM {passing} QUALIFY row_number() OVER ({order}) <= {most}) AS {name}"


def row_counts(table: Table, where: Expr | None, entity_rows: int | None) -> str:
    """Whether a row counts, for a query that reads every row of a table: where it is one of ``rows_of``."""
    passing = f"COALESCE({sql(where)}, FALSE)" if where is not None else "TRUE"
    if entity_rows is None or not table.keys:
        return passing
    order = f"PARTITION BY {passing}, {_entity_sql(table.keys)} ORDER BY md5_number({row_text(table)})"
    return f"({passing} AND row_number() OVER ({order}) <= {rows_an_entity(table, entity_rows)})"


def rows_an_entity(table: Table, entity_rows: int) -> int:
    """How many rows of one entity count at most where ``rows_of`` reads a table."""
    return entity_rows if table.keys and not table.unique else 1


def row_text(table: Table) -> str:
    """A row's content as text."""
    return f"CAST(ROW({', '.join(identifier(c.name) for c in table.columns)}) AS VARCHAR)"


def key_sql(key: Expr) -> str:
    """A GROUP BY key in units: text as VARCHAR, boolean as BOOLEAN, all others as BIGINT."""
    text = units(key)
    return f"CAST({text} AS {'VARCHAR' if key.kind == 'text' else 'BOOLEAN' if key.kind == 'boolean' else 'BIGINT'})"


def _typed(by_scan: dict[Scan, Expr], scan: Scan) -> str:
    """A value column of one width over all scans."""
    value = by_scan.get(scan)
    types = {sql_type(e) for e in by_scan.values() if not is_null(e)} or {"BIGINT"}
    width = "HUGEINT" if "HUGEINT" in types else types.pop()
    return f"CAST({'NULL' if value is None else sql(value)} AS {width})"
