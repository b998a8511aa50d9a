"""Made-up tables after published catalogs, to try SQL on before anybody is asked.

    DIR/PARTY/catalog.json      what the party publishes
    DIR/PARTY/TABLE.parquet     rows that fit it: types, bounds, domains, NULLs; every number is made up

Nothing but catalogs is read, so nothing about anybody's data is in it. Keys of one form are drawn from one pool, of
which every table holds about two thirds, so that joins find something. The same seed makes the same tables.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from types import MappingProxyType
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet
from numpy.typing import NDArray

from mpc.errors import LocalError
from mpc.query.catalog import Catalog, Column, Table
from mpc.query.compile import compile_plan
from parties import files
from parties.demo.credit_code import ALPHABET, LENGTH, complete

#: of a table's rows, those in a column that may be NULL
NULLS = 0.05
#: values of a column without declared bounds
UNBOUNDED = 1000


def make(catalogs: Mapping[str, Catalog], folder: Path, rows: int, seed: int) -> list[Path]:
    """Write made-up tables of ``rows`` rows each below ``folder``, which must not exist. Raises LocalError config.*."""
    if folder.exists():
        raise LocalError("config.exists", f"{folder} exists.", "Name a new folder; nothing is overwritten.")
    written = []
    for party, catalog in sorted(catalogs.items()):
        here = folder / party
        here.mkdir(parents=True)
        files.write(here / "catalog.json", json.dumps(catalog.to_dict(), indent=1, ensure_ascii=False) + "\n")
        for table in catalog.tables:
            draw = np.random.Generator(np.random.PCG64([seed, zlib.crc32(f"{party}.{table.name}".encode())]))
            path = here / f"{table.name}.parquet"
            pyarrow.parquet.write_table(_table(table, rows, draw), path)
            written.append(path)
    return written


def read(folder: Path) -> dict[str, Catalog]:
    """The catalogs of a practice folder. Raises LocalError config.missing, plan.catalog."""
    found = {}
    for path in sorted(folder.glob("*/catalog.json")):
        catalog = Catalog.from_dict(json.loads(files.read(path, "the catalog")))
        found[catalog.party] = catalog
    if not found:
        raise LocalError(
            "config.missing", f"{folder} holds no practice tables.", "Make some: heji catalog --practice DIR."
        )
    return found


def query(
    folder: Path,
    sql: str,
    recipients: tuple[str, ...],
    trust: str = "helper",
    parameters: Mapping[str, str] = MappingProxyType({}),
) -> pa.Table:
    """The answer over the made-up tables, in the clear; what Heji would refuse is refused with the same words.

    Raises LocalError sql.*, plan.* as a real query does.
    """
    catalogs = read(folder)
    compile_plan(sql, catalogs, recipients=recipients, trust=trust, parameters=parameters)
    with duckdb.connect(":memory:") as database:
        for party, catalog in catalogs.items():
            database.execute(f"CREATE SCHEMA {_name(party)}")
            for table in catalog.tables:
                rows = pyarrow.parquet.read_table(folder / party / f"{table.name}.parquet")
                database.register("made_up", rows)
                columns = ", ".join(f"CAST({_name(c.name)} AS {c.type_name}) AS {_name(c.name)}" for c in table.columns)
                target = f"{_name(party)}.{_name(table.name)}"
                database.execute(f"CREATE TABLE {target} AS SELECT {columns} FROM made_up")
                database.unregister("made_up")
        database.execute("SET enable_external_access = false")
        return database.sql(sql, params=dict(parameters)).to_arrow_table()


def _table(table: Table, rows: int, draw: np.random.Generator) -> pa.Table:
    """Rows of one table. Keys of several columns share the pool's numbers, so that their pairs meet too."""
    pool = max(rows + rows // 2, 1)
    unique = table.unique and bool(table.keys)
    numbers = draw.permutation(pool)[:rows] if unique else draw.integers(0, pool, rows)
    return pa.table({c.name: _column(c, numbers, draw) for c in table.columns})


def _column(c: Column, keys: NDArray[np.int64], draw: np.random.Generator) -> pa.Array:
    rows = len(keys)
    if c.key:
        return _key(c, keys)
    null = (draw.random(rows) < NULLS) if c.nullable else np.zeros(rows, dtype=bool)
    if c.domain is not None:
        return _units(c, np.array(c.domain, dtype=object)[draw.integers(0, len(c.domain), rows)], null)
    if c.kind == "text":
        return pa.array(np.char.add("made up ", draw.integers(0, UNBOUNDED, rows).astype(str)), pa.string(), mask=null)
    low = c.low if c.low is not None else 0
    high = c.high if c.high is not None else max(low, UNBOUNDED)
    spread = draw.random(rows)
    values = np.array([low + int(f * (high - low)) for f in spread], dtype=object)
    return _units(c, values, null)


def _key(c: Column, numbers: NDArray[np.int64]) -> pa.Array:
    """An id of the column's form for each number of the pool."""
    if c.domain is not None:
        values = np.array(c.domain, dtype=object)[numbers % len(c.domain)]
        return _units(c, values, np.zeros(len(numbers), dtype=bool))
    if c.kind != "text":
        low = c.low if c.low is not None else 0
        span = (c.high - low + 1) if c.high is not None else 1 << 31
        values = np.array([low + int(n) % span for n in numbers], dtype=object)
        return _units(c, values, np.zeros(len(numbers), dtype=bool))
    if c.form == "credit_code":
        bodies = np.zeros((len(numbers), LENGTH), dtype=np.uint8)
        bodies[:, 0], bodies[:, 1], bodies[:, 2] = 9, 1, 3
        left = numbers.astype(np.int64)
        for at in range(15, 7, -1):
            bodies[:, at] = left % len(ALPHABET)
            left = left // len(ALPHABET)
        return pa.array([bytes(row).decode() for row in complete(bodies)], pa.string())
    width = max(min(c.size or 8, 8), len(str(int(numbers.max(initial=0)))))
    return pa.array(np.char.zfill(numbers.astype(str), width), pa.string())


def _units(c: Column, values: NDArray[Any], null: NDArray[np.bool_]) -> pa.Array:
    """Values in the column's own units as its Arrow type."""
    shown = [None if hidden else v for v, hidden in zip(values, null, strict=True)]
    match c.kind:
        case "integer":
            return pa.array(shown, pa.int64())
        case "decimal":
            exact = [None if v is None else Decimal(int(v)).scaleb(-c.scale) for v in shown]
            return pa.array(exact, pa.decimal128(38, c.scale))
        case "date":
            return pa.array(shown, pa.int32()).cast(pa.date32())
        case "boolean":
            return pa.array([None if v is None else bool(v) for v in shown], pa.bool_())
        case _:
            return pa.array(shown, pa.string())


def _name(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'
