"""The demo's judge: the same SQL over everybody's plaintext in one DuckDB, and a comparison cell by cell.

Only a demo can do this: somebody would have to hold all tables, which is what Heji is there to avoid.

``compare`` demands:
    integers, decimals, texts, dates, booleans   exactly equal; one fen is a difference
    floating point in the plaintext              equal to 1e-12 of the value. DuckDB computes AVG, VARIANCE, STDDEV and
                                                 ratios in doubles, whose last digits depend on the order of the rows;
                                                 Heji's are the correctly rounded exact ones
    suppressed cells                             skipped and counted; a row all of whose values are suppressed need
                                                 not be in the plaintext (an empty group looks like a small one)
    ORDER BY                                     the same order of rows, those with suppressed cells left aside
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import duckdb
import pyarrow as pa

from parties.demo.tables import DemoTable

#: the list column in which a result names the row's suppressed columns (query.md, Results)
SUPPRESSED = "_suppressed"
RELATIVE = 1e-12

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Comparison:
    """``cells`` that were compared, ``suppressed`` ones that could not be, and every difference in words."""

    cells: int
    suppressed: int
    differences: tuple[str, ...]

    @property
    def exact(self) -> bool:
        return not self.differences


def plaintext(tables: Iterable[DemoTable], sql: str) -> pa.Table:
    """Run ``sql`` as it is over all tables, each in a schema named after its party, in their declared types."""
    with duckdb.connect(":memory:") as database:
        for table in tables:
            database.execute(f'CREATE SCHEMA IF NOT EXISTS "{table.party}"')
            database.execute(f'CREATE VIEW "{table.party}"."{table.table.name}" AS {_select(table)}')
        return database.sql(sql).to_arrow_table()


def _select(table: DemoTable) -> str:
    columns = ", ".join(f'CAST("{c.name}" AS {c.type_name}) AS "{c.name}"' for c in table.table.columns)
    path = "'" + str(table.path).replace("'", "''") + "'"
    # as text first: a reader that guesses would take leading zeros from ids and cents from amounts
    csv = table.path.suffix == ".csv"
    source = f"read_csv({path}, header = true, all_varchar = true)" if csv else f"read_parquet({path})"
    return f"SELECT {columns} FROM {source}"


def compare(
    result: Sequence[Row], expected: Sequence[Row], keys: Sequence[str] = (), *, ordered: bool = False
) -> Comparison:
    """Compare the rows a job gave with the rows of the plaintext.

    ``keys``: columns that tell the rows apart; without them rows are paired by position. ``ordered``: the SQL has an
    ORDER BY that leaves no ties. Rows as of ``pa.Table.to_pylist()``, the result's with SUPPRESSED where it has any.
    """
    names = list(expected[0]) if expected else [n for row in result[:1] for n in row if n != SUPPRESSED]
    differences = _same_columns(result, names)
    if differences:
        return Comparison(0, 0, differences)
    mine, theirs = _by_key(result, keys), _by_key(expected, keys)
    if len(mine) != len(result) or len(theirs) != len(expected):
        return Comparison(0, 0, (f"two rows have the same {', '.join(keys)}",))
    values = [n for n in names if n not in keys]
    cells = suppressed = 0
    found: list[str] = []
    for key, row in mine.items():
        hidden = set(row.get(SUPPRESSED) or ()) & set(names)
        suppressed += len(hidden)
        if key not in theirs:
            if not values or not hidden.issuperset(values):
                found.append(f"{_place(keys, key)}: the plaintext has no such row")
            continue
        for name in names:
            if name not in hidden:
                cells += 1
                if not _equal(row[name], theirs[key][name]):
                    found.append(f"{_place(keys, key)}, {name}: {row[name]!r}, in plaintext {theirs[key][name]!r}")
    found.extend(f"{_place(keys, key)}: missing in the result" for key in theirs if key not in mine)
    if ordered and not found:
        whole = [key for key, row in mine.items() if key in theirs and not row.get(SUPPRESSED)]
        if whole != [key for key in theirs if key in set(whole)]:
            found.append("the rows are in another order")
    return Comparison(cells, suppressed, tuple(found))


def _same_columns(result: Sequence[Row], names: Sequence[str]) -> tuple[str, ...]:
    for row in result:
        shown = [n for n in row if n != SUPPRESSED]
        if shown != list(names):
            return (f"the result has the columns {', '.join(shown)}, the plaintext {', '.join(names)}",)
    return ()


def _by_key(rows: Sequence[Row], keys: Sequence[str]) -> dict[tuple[Any, ...], Row]:
    return {tuple(row[k] for k in keys) if keys else (number,): row for number, row in enumerate(rows, start=1)}


def _place(keys: Sequence[str], key: tuple[Any, ...]) -> str:
    return ", ".join(f"{k} = {v}" for k, v in zip(keys, key, strict=True)) if keys else f"row {key[0]}"


def _equal(value: Any, expected: Any) -> bool:
    """Floating point is accepted only where the plaintext has it: a sum that comes as a double is a defect."""
    if isinstance(expected, float):
        if value is None or isinstance(value, (bool, str)):
            return False
        return math.isclose(float(value), expected, rel_tol=RELATIVE, abs_tol=0) or (
            math.isnan(expected) and math.isnan(float(value))
        )
    if isinstance(value, float) or isinstance(value, bool) != isinstance(expected, bool):
        return False
    return bool(value == expected)
