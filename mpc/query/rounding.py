"""A party's sums column by column, for owners that round what they let out (mpc/policy/rounding.py).

    SELECT k0, …, SUM(r0) AS r0, … FROM (SELECT <key> AS k0, …, <column> AS r0, … FROM "table" WHERE … UNION ALL …)
    GROUP BY k0, …

Run by the owner's node for itself only. ``r0 …`` are columns in units in the rows that bring them into a sum with one
weight (mpc/query/pieces.py); a word is Σ weight · r, and what is made of other columns or of none.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction

from mpc.query.behind import scans_of
from mpc.query.catalog import Catalog
from mpc.query.fold import Draft, DraftWord
from mpc.query.linear import part_bounds, part_of
from mpc.query.local import Scan, key_sql, rows_of
from mpc.query.nodes import Agg, Column, aggregates, numeric
from mpc.query.pieces import parts_of
from mpc.query.plan_pools import ColumnSum, Rounding
from mpc.query.printer import sql, units
from mpc.query.uses import value_columns

#: table and column, in small letters
Released = tuple[str, str]
#: of a sum: the column's value in each scan, NULL in the rows that do not bring it
Values = dict[Scan, str]


def rounding(
    party: str, drafts: Sequence[Draft], keys: int, catalog: Catalog, entity_rows: int | None = None
) -> Rounding:
    """The sums for the measures of a pool, in their order, over the rows that count in them (``local.rows_of``)."""
    sums: list[tuple[ColumnSum, Values]] = []
    most: list[tuple[int, int, int, int]] = []
    exact: set[Released] = set()
    for m, d in enumerate(drafts):
        for w, word in enumerate(d.words):
            before = len(sums)
            for k, atom in word.form.terms:
                part = part_of(atom, party)
                if isinstance(part, Agg) and part.func == "sum":
                    found, others = _sums(m, w, k, part)
                    sums += found
                    exact |= others
                elif part is not None:
                    exact |= {c for agg in aggregates(part) if _shows(word, agg) for c in _entering(agg)}
            if len(sums) > before:
                most.append((m, w, *part_bounds(word.form, party)))

    def rows(scan: Scan) -> str:
        table = catalog.table(scan.table)
        assert table is not None
        return rows_of(table, scan.where, entity_rows)

    text = _print([values for _, values in sums], keys, rows) if sums else ""
    return Rounding(text, tuple(s for s, _ in sums), tuple(most), tuple(sorted(exact)))


def _shows(word: DraftWord, agg: Agg) -> bool:
    """Whether a word shows values of an aggregate, and not only how many there are."""
    return agg.func == "distinct" or (agg.func not in ("rows", "count") and word.kind not in ("nulls", "count"))


def _sums(m: int, w: int, k: int, agg: Agg) -> tuple[list[tuple[ColumnSum, Values]], set[Released]]:
    """The sums of columns that an aggregate is made of, each of one weight; and columns that enter it otherwise."""
    found: list[tuple[ColumnSum, Values]] = []
    summed: set[Released] = set()
    exact: set[Released] = set()
    for part in parts_of({scan: t.value for scan, t in scans_of(agg).items() if t.value is not None}):
        columns = [a for a in part.atoms.values() if isinstance(a, Column) and numeric(a)]
        whole = all((k * part.weight * Fraction(10) ** (agg.scale - c.scale)).denominator == 1 for c in columns)
        if len(columns) < len(part.atoms) or not whole:
            exact |= set(map(_key, part.columns))
            continue
        for table in dict.fromkeys(c.table for c in columns):
            column = next(c for c in columns if c.table == table)
            weight = k * part.weight * Fraction(10) ** (agg.scale - column.scale)
            values = {
                scan: f"CASE WHEN {sql(mark)} = 1 THEN {units(column)} END"
                for scan, mark in part.marks.items()
                if scan.table == table
            }
            found.append((ColumnSum(m, w, int(weight), *_key(column), column.scale), values))
            summed.add(_key(column))
    return found, exact | (_entering(agg) - summed)


def _entering(agg: Agg) -> set[Released]:
    """The columns whose values an aggregate is made of."""
    return {_key(c) for t in agg.terms if t.value is not None for c in value_columns(t.value)}


def _key(c: Column) -> Released:
    return c.table.lower(), c.name.lower()


def _print(sums: Sequence[Values], keys: int, rows_of_scan: Callable[[Scan], str]) -> str:
    by = ", ".join(f"k{i}" for i in range(keys))
    totals = [f"CAST(COALESCE(SUM(r{i}), 0) AS DECIMAL(38,0)) AS r{i}" for i in range(len(sums))]
    scans = dict.fromkeys(scan for values in sums for scan in values)
    rows = " UNION ALL ".join(_scan(sums, scan, rows_of_scan(scan)) for scan in scans)
    group = f" GROUP BY {by}" if keys else ""
    return f"SELECT {', '.join([*([by] if keys else []), *totals])} FROM ({rows}){group}"


def _scan(sums: Sequence[Values], scan: Scan, rows: str) -> str:
    columns = [f"{key_sql(k)} AS k{i}" for i, k in enumerate(scan.keys)]
    columns += [f"CAST({values.get(scan, 'NULL')} AS HUGEINT) AS r{i}" for i, values in enumerate(sums)]
    return f"SELECT {', '.join(columns)} FROM {rows}"
