"""DuckDBs that tests use again: to make one takes 20 ms of a processor, longer than most of these tests."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from typing import Any

import duckdb
import pyarrow as pa

from parties.node.sources.database import LocalDatabase
from parties.node.sources.reading import lock

Database = duckdb.DuckDBPyConnection


def _new() -> Database:
    """On one thread: what is asked of it is small."""
    return duckdb.connect(":memory:", config={"threads": 1})


@cache
def _one() -> Database:
    return _new()


@cache
def locked() -> Database:
    """A locked one, in which tables are checked."""
    database = duckdb.connect(":memory:")
    lock(database, threads="1")
    return database


#: those whose users are gone
_PLAIN: list[Database] = []
_LOCAL: list[tuple[Database, LocalDatabase]] = []


def plain(user: object, schemas: Iterable[str]) -> Database:
    """One with these schemas, empty, until its ``user`` is gone."""
    database, named = _PLAIN.pop() if _PLAIN else _new(), sorted(set(schemas))
    for schema in named:
        database.execute(f'CREATE SCHEMA "{schema}"')

    def empty() -> None:
        for schema in named:
            database.execute(f'DROP SCHEMA "{schema}" CASCADE')
        _PLAIN.append(database)

    _when_gone(user, empty)
    return database


def local(user: object, tables: Iterable[tuple[str, pa.Table]]) -> LocalDatabase:
    """What a node has: one locked database with these tables and nothing else, until its ``user`` is gone."""
    if _LOCAL:
        database, found = _LOCAL.pop()
    else:
        database = duckdb.connect(":memory:")
        lock(database, memory_limit="1GB", threads="1")
        found = LocalDatabase(database, ())
    named = list(tables)
    for name, rows in named:
        database.register(name, rows)

    def empty() -> None:
        for name, _ in named:
            database.unregister(name)
        _LOCAL.append((database, found))

    _when_gone(user, empty)
    return found


def _when_gone(user: object, then: Callable[[], None]) -> None:
    weakref.finalize(user, then).atexit = False


def session(**tables: tuple[str, Iterable[Sequence[Any]]]) -> Database:
    """A session that sees these tables, which no other does; of each table its columns as in CREATE TABLE, and its
    rows."""
    database = _one().cursor()
    for name, (columns, rows) in tables.items():
        database.execute(f"CREATE TEMP TABLE {name} ({columns})")
        if listed := ", ".join(f"({', '.join(map(_literal, row))})" for row in rows):
            database.execute(f"INSERT INTO {name} VALUES {listed}")
    return database


def _literal(value: Any) -> str:
    return f"'{value}'" if isinstance(value, str) else "NULL" if value is None else str(value)
