"""The locked DuckDB in which local queries run: published tables only, as Arrow, nothing else within reach.

The canonical columns of a table are kept in memory between jobs (bounded by ``cache_bytes``) as long as its file does
not change; a server's table is read anew for every job. A job's connection sees Arrow tables and no file at all.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute
from numpy.typing import NDArray

from mpc.errors import LocalError
from mpc.query.catalog import Catalog, Table
from parties.node.sources import fingerprints
from parties.node.sources import source as sources
from parties.node.sources.canonical import canonical, names
from parties.node.sources.reading import lock, read

#: a column of an answer: keys as Python values, words as uint64 (n, 2), counts as int64
AnswerColumn = list[object] | NDArray[np.uint64] | NDArray[np.int64]

#: rows hashed at a time
_SLICE = 1 << 16


class Tables:
    """A member's published tables, checked and cached."""

    def __init__(
        self, folder: Path, *, cache_bytes: int = 1 << 30, memory_limit: str = "4GB", threads: int = 2
    ) -> None:
        self._folder = folder
        self._cache_bytes = cache_bytes
        self._limits = {"memory_limit": memory_limit, "threads": str(threads)}
        self._cache: OrderedDict[str, _Cached] = OrderedDict()
        self._guard = threading.Lock()
        self._reading: dict[str, threading.Lock] = {}

    def catalog(self) -> Catalog:
        """What is published, read anew so that an added table is there without a restart."""
        path = self._folder / "catalog.json"
        try:
            return Catalog.from_dict(json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError) as problem:
            where = f", line {problem.lineno}" if isinstance(problem, json.JSONDecodeError) else ""
            raise LocalError(
                "plan.catalog",
                f"catalog.json cannot be read{where}.",
                "Undo the last change to it, or publish its tables again (heji node table add).",
            ) from problem

    def _rows(self, name: str) -> _Cached:
        """A table's canonical columns, checked against the catalog. Raises LocalError data.*.

        Two jobs that want one table at once wait for one reading of it.
        """
        with self._guard:
            reading = self._reading.setdefault(name.lower(), threading.Lock())
        with reading:
            return self._read(name)

    def _read(self, name: str) -> _Cached:
        table = self.catalog().table(name)
        if table is None:
            raise LocalError("data.source", f"No table {name} is published here.")
        source = sources.load(self._folder, table.name)
        print_ = source.fingerprint()
        with self._guard:
            kept = self._cache.get(table.name)
            if kept is not None and print_ is not None and kept.fingerprint == print_ and kept.table == table:
                self._cache.move_to_end(table.name)
                return kept
        made = _Cached(print_, table, canonical(read(source, names(table.columns)), table))
        if print_ is not None:
            with self._guard:
                self._keep(made)
        return made

    @contextlib.contextmanager
    def open(self, wanted: Sequence[str], key: bytes = bytes(32)) -> Iterator[LocalDatabase]:
        """A fresh connection that sees exactly these tables. ``key``: of the fingerprints its queries ask for."""
        tables = [self._rows(name) for name in wanted]
        with contextlib.closing(duckdb.connect(":memory:")) as database:
            lock(database, **self._limits)
            for t in tables:
                database.register(t.table.name, t.rows)
            yield LocalDatabase(database, tables, key)

    def _keep(self, made: _Cached) -> None:
        self._cache.pop(made.table.name, None)
        if made.rows.nbytes <= self._cache_bytes:
            self._cache[made.table.name] = made
        while sum(c.rows.nbytes for c in self._cache.values()) > self._cache_bytes:
            self._cache.popitem(last=False)


@dataclass(repr=False)
class _Cached:
    """A table's canonical columns; its repr shows no row."""

    fingerprint: str | None
    table: Table
    rows: pa.Table
    _digest: bytes = b""

    def digest(self) -> bytes:
        """SHA-256 of the canonical columns; kept, since tables are large.

        Of the values, not of the memory they lie in: what is under a NULL, and how rows are cut into chunks, is chance.
        """
        if not self._digest:
            hashed = hashlib.sha256(self.table.name.encode())
            for name in self.rows.column_names:
                hashed.update(b"\x00" + name.encode())
                for start in range(0, self.rows.num_rows, _SLICE):
                    part = self.rows.column(name).slice(start, _SLICE)
                    for piece in _pieces(pa.concat_arrays(part.chunks)):
                        hashed.update(len(piece).to_bytes(8, "big"))
                        hashed.update(piece)
            self._digest = hashed.digest()
        return self._digest


def _pieces(column: pa.Array) -> Iterator[bytes]:
    """A column's content: which are NULL, and the values with nothing in the place of NULLs."""
    yield np.packbits(column.is_valid().to_numpy(zero_copy_only=False)).tobytes()
    if pa.types.is_string(column.type):
        column = column.fill_null("")
        yield pa.compute.binary_length(column).to_numpy().astype("<u4").tobytes()
        first, last = column.offset, column.offset + len(column)
        bounds = np.frombuffer(column.buffers()[1], dtype="<i4")
        yield bytes(memoryview(column.buffers()[2] or b"")[bounds[first] : bounds[last]])
    elif pa.types.is_boolean(column.type):
        yield np.packbits(column.fill_null(False).to_numpy(zero_copy_only=False)).tobytes()
    elif pa.types.is_decimal(column.type):
        yield _words(column.fill_null(pa.scalar(0).cast(column.type))).tobytes()
    else:  # integers and dates
        width = pa.int64() if column.type == pa.int64() else pa.int32()
        yield column.view(width).fill_null(0).to_numpy().tobytes()


class LocalDatabase:
    """Runs local queries, SQL of our own making only."""

    def __init__(self, database: duckdb.DuckDBPyConnection, tables: Sequence[_Cached], key: bytes = bytes(32)) -> None:
        fingerprints.register(database, key)
        self._database = database
        self._tables = tables
        self._key = key

    def snapshot(self, salt: bytes) -> bytes:
        """A salted digest of the tables' whole content: tells today's data from tomorrow's, and nothing else."""
        return hashlib.sha256(salt + b"".join(t.digest() for t in self._tables)).digest()

    def run(self, sql: str) -> Mapping[str, AnswerColumn]:
        """The answer's columns. Any failure is LocalError data.local_query and says no more: an error that depends on a
        value would be an answer (query.md)."""
        table = self.rows(sql)
        with contextlib.suppress(Exception):
            return {name: _column(name, table.column(name)) for name in table.column_names}
        raise LocalError("data.local_query", "local query failed")

    def behind(self, sql: str) -> pa.Table:
        """The answer of a query for who is behind numbers (mpc.query.plan_pools.Behind), with digests in the place of
        texts. Raises LocalError data.local_query."""
        return fingerprints.of_texts(self._key, self.rows(sql))

    def rows(self, sql: str) -> pa.Table:
        """The answer as it is, for joins, in which every row takes part. Raises LocalError data.local_query."""
        with contextlib.suppress(Exception):
            return self._database.sql(sql).to_arrow_table()
        # outside any handler: not even the context of this error knows what happened
        raise LocalError("data.local_query", "local query failed")


def _column(name: str, column: pa.ChunkedArray) -> AnswerColumn:
    if name.startswith("k"):
        values: list[object] = column.to_pylist()
        return values
    if column.null_count:
        raise ValueError("a NULL where a number is due")
    if pa.types.is_decimal(column.type):
        return _words(pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type))
    if not pa.types.is_integer(column.type):
        raise TypeError("a number that is not exact")
    counts: NDArray[np.int64] = column.cast(pa.int64()).to_numpy()  # refuses what does not fit
    return counts


def _words(column: pa.Array) -> NDArray[np.uint64]:
    """decimal128 lies in memory as two's complement, low word first: the ring's own layout."""
    if not pa.types.is_decimal128(column.type):
        raise TypeError("a decimal of another width")
    words = np.frombuffer(column.buffers()[1] or b"", dtype="<u8").reshape(-1, 2)[
        column.offset : column.offset + len(column)
    ]
    return words.astype(np.uint64, copy=False)
