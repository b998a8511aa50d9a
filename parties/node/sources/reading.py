"""A source's rows as raw Arrow columns, as faithfully as each format allows.

CSV        pyarrow, every column as text (UTF-8 with or without BOM, GB18030); an empty unquoted field is NULL
Parquet    pyarrow, types as they are
DuckDB     its own connection, read-only, no external access, configuration locked
SQLite     ADBC, ``mode=ro``; every column is cast to text in the query, because ADBC hands out decimals as doubles
PostgreSQL ADBC, a session that is read-only; NUMERIC arrives as text in an opaque type and stays text
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from mpc.errors import LocalError
from parties.node.sources.source import RELATION, TableSource, unreadable


def read(source: TableSource, columns: tuple[str, ...] | None = None) -> pa.Table:
    """All rows; ``columns`` only, where given. Raises LocalError data.source, never quoting data."""
    with plainly(source):
        table = {"csv": _csv, "parquet": _parquet, "duckdb": _duckdb, "sqlite": _sqlite, "postgresql": _postgresql}[
            source.kind
        ](source, columns)
        if source.sql is not None and source.kind in ("csv", "parquet"):
            table = _select(table, source.sql)
    if columns is not None:
        missing = [c for c in columns if c not in table.column_names]
        if missing:
            raise unreadable(source, f"it no longer has the column {missing[0]}")
        table = table.select(list(columns))
    if len(set(table.column_names)) != len(table.column_names):
        raise unreadable(source, "two columns have one name")
    return _storage(table)


@contextlib.contextmanager
def plainly(source: TableSource) -> Iterator[None]:
    """Library errors may quote values; only their kind goes on."""
    try:
        yield
    except (pa.ArrowException, duckdb.Error, OSError, UnicodeError) as problem:
        raise unreadable(source, _why(problem)) from None
    except Exception as problem:
        if type(problem).__module__.startswith("adbc_driver_manager"):
            raise unreadable(source, _why(problem)) from None
        raise


def _why(problem: Exception) -> str:
    text = str(problem).lower()
    for sign, meaning in (
        ("invalid utf8", "it is not UTF-8; declare its encoding (--encoding gb18030)"),
        ("expected", "a row has another number of fields than the header"),
        ("does not exist", "there is no such table or column"),
        ("no such table", "there is no such table"),
        ("connect", "the server cannot be reached or refused the login"),
        ("authentication", "the server refused the login"),
        ("permission", "permission is denied"),
    ):
        if sign in text:
            return meaning
    return f"{type(problem).__name__}"


def _csv(source: TableSource, _columns: tuple[str, ...] | None) -> pa.Table:
    reading = pyarrow.csv.ReadOptions(encoding="utf8" if source.encoding in ("utf-8", "utf8") else source.encoding)
    parsing = pyarrow.csv.ParseOptions(newlines_in_values=True)
    with pyarrow.csv.open_csv(source.location, reading, parsing, pyarrow.csv.ConvertOptions(check_utf8=False)) as head:
        names = head.schema.names
    converting = pyarrow.csv.ConvertOptions(
        column_types={n: pa.string() for n in names}, strings_can_be_null=True, quoted_strings_can_be_null=False, null_values=[""]
    )
    return pyarrow.csv.read_csv(source.location, reading, parsing, converting)


def _parquet(source: TableSource, columns: tuple[str, ...] | None) -> pa.Table:
    if source.sql is not None:
        columns = None
    return pyarrow.parquet.read_table(source.location, columns=list(columns) if columns else None, memory_map=True)


def _duckdb(source: TableSource, _columns: tuple[str, ...] | None) -> pa.Table:
    with contextlib.closing(duckdb.connect(source.location, read_only=True)) as database:
        lock(database)
        return database.sql(_query(source)).to_arrow_table()


def _sqlite(source: TableSource, _columns: tuple[str, ...] | None) -> pa.Table:
    import adbc_driver_sqlite.dbapi as sqlite  # noqa: PLC0415  # loads a shared library

    with sqlite.connect(f"file:{source.location}?mode=ro") as connection, connection.cursor() as cursor:
        cursor.execute(f"SELECT * FROM ({_query(source)}) AS q LIMIT 0")
        names = [d[0] for d in cursor.description]
        texts = ", ".join(f"CAST({quoted(n)} AS TEXT) AS {quoted(n)}" for n in names)
        cursor.execute(f"SELECT {texts} FROM ({_query(source)}) AS q")
        return cursor.fetch_arrow_table()


def _postgresql(source: TableSource, _columns: tuple[str, ...] | None) -> pa.Table:
    import adbc_driver_postgresql.dbapi as postgresql  # noqa: PLC0415

    with postgresql.connect(source.location) as connection, connection.cursor() as cursor:
        cursor.execute("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY")
        connection.commit()
        cursor.execute(_query(source))
        return cursor.fetch_arrow_table()


def _select(table: pa.Table, sql: str) -> pa.Table:
    """The owner's --sql over a file's rows, which it calls ``source``."""
    with contextlib.closing(duckdb.connect(":memory:")) as database:
        lock(database)
        database.register(RELATION, _storage(table))
        return database.sql(sql).to_arrow_table()


def lock(database: duckdb.DuckDBPyConnection, **limits: Any) -> None:
    """Nothing outside the connection: no files, no extensions, no settings. In this order; the last one is final."""
    settings = {
        "enable_external_access": "false", "autoinstall_known_extensions": "false", "autoload_known_extensions": "false",
        "python_enable_replacements": "false", **limits, "lock_configuration": "true",
    }  # fmt: skip
    for name, value in settings.items():
        database.execute(f"SET {name} = '{value}'")


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _query(source: TableSource) -> str:
    if source.sql is not None:
        return source.sql
    assert source.table is not None
    return "SELECT * FROM " + ".".join(quoted(part) for part in source.table.split("."))


def _storage(table: pa.Table) -> pa.Table:
    """Opaque columns (PostgreSQL NUMERIC) as the text they hold; anything nested is refused."""
    for i, field in enumerate(table.schema):
        column = table.column(i)
        if isinstance(field.type, pa.BaseExtensionType):
            column = pa.chunked_array([c.storage for c in column.chunks], type=field.type.storage_type)
            table = table.set_column(i, field.name, column)
        if pa.types.is_nested(column.type):
            raise LocalError("data.type", f"The column {field.name} holds lists or structures.",
                             "Leave it out, or flatten it with --sql.")  # fmt: skip
    return table
