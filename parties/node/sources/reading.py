"""A source's rows as raw Arrow columns, as faithfully as each format allows.

CSV        pyarrow, every column as text (UTF-8 with or without BOM, GB18030); an empty unquoted field is NULL
Parquet    pyarrow, types as they are
DuckDB     its own connection, read-only, no external access, configuration locked
SQLite     ADBC, ``mode=ro`` and query_only; every column is cast to text in the query, because ADBC hands out decimals
           as doubles; a REAL that 15 digits do not hold is refused, since no decimal is exactly what it was meant to be
PostgreSQL ADBC, a session that is read-only; NUMERIC arrives as text in an opaque type and stays text

The owner's ``--sql`` is parsed twice: by us (source.py), and by the database that runs it, which runs one SELECT only.
Rows come in one order as long as the data is the same, so that a retry finds the snapshot of the first attempt again.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import duckdb
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from mpc.errors import LocalError
from parties.node.sources.source import RELATION, TableSource, unreadable

#: what a library's message means; the message itself may quote data or a password and goes no further
_MEANINGS = {
    "csv": (
        ("invalid utf", "it is not UTF-8; declare its encoding (--encoding gb18030)"),
        ("codec can't", "it is not in the declared encoding (--encoding)"),
        ("empty csv", "it is empty"),
        ("csv parse error", "a row has another number of fields than the header"),
        ("straddl", "a field is longer than a megabyte; a quote may be missing"),
    ),
    "duckdb": (
        ("permission error", "its --sql reaches outside the file"),
        ("does not exist", "there is no such table or column"),
    ),
    "sqlite": (("no such", "there is no such table or column"), ("not a database", "it is no SQLite file")),
    "postgresql": (
        ("does not exist", "there is no such database, table or column"),
        ("authentication", "the server refused the login"),
        ("permission denied", "permission is denied"),
        ("connect", "the server cannot be reached or refused the login"),
        ("uri", "the postgresql:// address is malformed"),
    ),
}
_ANYWHERE = (("invalid utf8", "a text is not UTF-8"), ("permission error", "its --sql reaches outside the file"))


def read(source: TableSource, columns: tuple[str, ...] | None = None) -> pa.Table:
    """All rows; ``columns`` only, where given. Raises LocalError data.source or data.type, never quoting data."""
    try:
        return _read(source, columns)
    except LocalError:
        raise
    except Exception as problem:
        why = _why(source, problem)
    # outside the handler, so that the library's exception is not even kept as the context of ours
    raise unreadable(source, why)


def _read(source: TableSource, columns: tuple[str, ...] | None) -> pa.Table:
    readers = {"csv": _csv, "parquet": _parquet, "duckdb": _duckdb, "sqlite": _sqlite, "postgresql": _postgresql}
    table = readers[source.kind](source, columns)
    if source.sql is not None and source.kind in ("csv", "parquet"):
        table = _select(table, source.sql)
    _tell_apart(source, table.column_names)
    if columns is not None:
        missing = [c for c in columns if c not in table.column_names]
        if missing:
            raise unreadable(source, f"it no longer has the column {missing[0]}")
        table = table.select(list(columns))
    table = _storage(table)
    table.validate(full=True)  # text of any source is UTF-8 from here on
    return table


def _tell_apart(source: TableSource, names: list[str]) -> None:
    """Names of columns, as SQL sees them: not empty, and not equal but for upper and lower case."""
    if "" in names:
        raise unreadable(source, "a column has no name")
    if len({n.lower() for n in names}) != len(names):
        raise unreadable(source, "two columns have one name")


def _why(source: TableSource, problem: Exception) -> str:
    text = str(problem).lower()
    for sign, meaning in (*_MEANINGS.get(source.kind, ()), *_ANYWHERE):
        if sign in text:
            return meaning
    return f"{type(problem).__name__}"


def _csv(source: TableSource, _columns: tuple[str, ...] | None) -> pa.Table:
    reading = pyarrow.csv.ReadOptions(encoding="utf8" if source.encoding in ("utf-8", "utf8") else source.encoding)
    parsing = pyarrow.csv.ParseOptions(newlines_in_values=True)
    with pyarrow.csv.open_csv(source.location, reading, parsing, pyarrow.csv.ConvertOptions(check_utf8=False)) as head:
        try:
            names = head.schema.names
        except UnicodeDecodeError:
            raise pa.ArrowInvalid("invalid utf8 in the header") from None
    converting = pyarrow.csv.ConvertOptions(
        column_types={n: pa.string() for n in names},
        strings_can_be_null=True,
        quoted_strings_can_be_null=False,
        null_values=[""],
    )
    return pyarrow.csv.read_csv(source.location, reading, parsing, converting)


def _parquet(source: TableSource, columns: tuple[str, ...] | None) -> pa.Table:
    file = pyarrow.parquet.ParquetFile(source.location)  # not memory-mapped: a file cut short would end the process
    if columns is None or source.sql is not None:
        return file.read()
    return file.read([c for c in columns if c in file.schema_arrow.names])


def _duckdb(source: TableSource, _columns: tuple[str, ...] | None) -> pa.Table:
    with contextlib.closing(duckdb.connect(source.location, read_only=True)) as database:
        return _answer(database, _query(source), threads="1" if source.sql else None)


def _select(table: pa.Table, sql: str) -> pa.Table:
    """The owner's --sql over a file's rows, which it calls ``source``."""
    with contextlib.closing(duckdb.connect(":memory:")) as database:
        database.register(RELATION, _opened(table))
        return _answer(database, sql, threads="1")


def _answer(database: duckdb.DuckDBPyConnection, sql: str, *, threads: str | None) -> pa.Table:
    """``sql``, one SELECT, in a connection locked for it. One thread: several would give GROUP BY rows in any order."""
    lock(database, **({"threads": threads} if threads else {}))
    statements = database.extract_statements(sql)
    if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
        raise LocalError("data.source", "The --sql must be one SELECT; nothing else is run on your database.")
    return database.sql(statements[0].query).to_arrow_table()


@contextlib.contextmanager
def sqlite_session(location: str) -> Iterator[Any]:
    """A connection to a SQLite file that can only read."""
    import adbc_driver_sqlite.dbapi as sqlite  # loads a shared library

    with sqlite.connect(f"file:{quote(location)}?mode=ro", autocommit=True) as connection:
        with connection.cursor() as cursor:
            cursor.execute("PRAGMA query_only = ON")
        yield connection


def _sqlite(source: TableSource, columns: tuple[str, ...] | None) -> pa.Table:
    with sqlite_session(source.location) as connection, connection.cursor() as cursor:
        inner = f"({_query(source)}\n) AS q"  # the line's end closes a comment of the owner's
        cursor.execute(f"SELECT * FROM {inner} LIMIT 0")
        there = [d[0] for d in cursor.description]
        _tell_apart(source, there)
        names = [n for n in there if columns is None or n in columns]
        _fit_for_text(cursor, names, inner)
        texts = ", ".join(f"{_sqlite_text(quoted(n))} AS {quoted(n)}" for n in names)
        # ADBC takes the types from the first rows: a first row of texts, dropped again, makes every column text
        first = ", ".join(f"'' AS {quoted(n)}" for n in names)
        cursor.execute(f"SELECT {first} UNION ALL SELECT {texts} FROM {inner}")
        return cursor.fetch_arrow_table().slice(1)


def _sqlite_text(c: str) -> str:
    """A REAL as its 15 digits, without a tail of zeros; small ones without exponent. ``_fit_for_text`` went before."""
    digits = f"printf('%!.15g', {c})"
    plain = f"CASE WHEN instr({digits}, 'e') THEN printf('%.30f', {c}) ELSE {digits} END"
    return f"CASE typeof({c}) WHEN 'real' THEN rtrim(rtrim({plain}, '0'), '.') ELSE CAST({c} AS TEXT) END"


def _fit_for_text(cursor: Any, names: list[str], inner: str) -> None:
    """Refuse columns whose texts would not be what was stored: REALs of more than 15 digits, and binary data."""
    if not names:
        return
    counts = []
    for n in names:
        c = quoted(n)
        # 15 digits always survive a double; whatever does not survive them, or is larger, was rounded already
        exact = f"abs({c}) < 1e15 AND CAST(printf('%!.15g', {c}) AS REAL) = {c}"
        counts += [f"total(typeof({c}) = 'real' AND NOT ({exact}))", f"total(typeof({c}) = 'blob')"]
    cursor.execute(f"SELECT {', '.join(counts)} FROM {inner}")
    found = cursor.fetchone()
    for i, name in enumerate(names):
        if found[2 * i]:
            raise LocalError(
                "data.type",
                f"{name} holds floating-point numbers (SQLite's REAL) that have no exact decimal of 15 digits.",
                f"Keep decimals as TEXT, or as INTEGER in the smallest unit; or round with --sql, such as "
                f"printf('%.2f', {name}) AS {name}; or leave the column out with --sql.",
                column=name,
            )
        if found[2 * i + 1]:
            raise LocalError(
                "data.type",
                f"{name} holds binary data.",
                "Leave it out, or write it as text with --sql (hex).",
                column=name,
            )


@contextlib.contextmanager
def postgresql_session(location: str) -> Iterator[Any]:
    """A connection whose transactions can only read, and find the rows of a table in one order."""
    import adbc_driver_postgresql.dbapi as postgresql

    with postgresql.connect(location) as connection:
        with connection.cursor() as cursor:
            for setting in (
                "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY",
                "SET synchronize_seqscans = off",
                "SET max_parallel_workers_per_gather = 0",
            ):
                cursor.execute(setting)
        connection.commit()
        yield connection


def _postgresql(source: TableSource, _columns: tuple[str, ...] | None) -> pa.Table:
    with postgresql_session(source.location) as connection, connection.cursor() as cursor:
        cursor.execute(_query(source))
        return cursor.fetch_arrow_table()


def lock(database: duckdb.DuckDBPyConnection, **limits: Any) -> None:
    """Nothing outside the connection: no files (nor temporary ones), no extensions, no settings. The order matters:
    temp_directory cannot be set once access is off, and nothing after the last."""
    settings = {
        "temp_directory": "",
        "enable_external_access": "false",
        "autoinstall_known_extensions": "false",
        "autoload_known_extensions": "false",
        "python_enable_replacements": "false",
        **limits,
        "lock_configuration": "true",
    }
    for name, value in settings.items():
        database.execute(f"SET {name} = '{value}'")


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _query(source: TableSource) -> str:
    if source.sql is not None:
        return source.sql
    assert source.table is not None
    return "SELECT * FROM " + ".".join(quoted(part) for part in source.table.split("."))


def _opened(table: pa.Table) -> pa.Table:
    """Opaque columns (PostgreSQL NUMERIC) as the text they hold; decimals of 256 bits in 128 where they fit."""
    for i, field in enumerate(table.schema):
        column = table.column(i)
        if isinstance(field.type, pa.BaseExtensionType):
            column = pa.chunked_array([c.storage for c in column.chunks], type=field.type.storage_type)
        if pa.types.is_decimal256(column.type):
            column = _narrow(field.name, column)
        if column is not table.column(i):
            table = table.set_column(i, field.name, column)
    return table


def _narrow(name: str, column: pa.ChunkedArray) -> pa.ChunkedArray:
    with contextlib.suppress(pa.ArrowInvalid):
        return column.cast(pa.decimal128(38, column.type.scale))
    raise LocalError(
        "data.type",
        f"{name} holds decimals of more than 38 digits.",
        "Round it, or leave it out, with --sql.",
        column=name,
    )


def _storage(table: pa.Table) -> pa.Table:
    """``_opened``, and nothing nested."""
    table = _opened(table)
    for field in table.schema:
        if pa.types.is_nested(field.type):
            raise LocalError(
                "data.type",
                f"{field.name} holds lists or structures.",
                "Leave it out, or flatten it with --sql.",
                column=field.name,
            )
    return table
