"""Helpers for the tests of one member's node: a folder to publish from, and looking at errors the way a leak would."""

from __future__ import annotations

import io
import traceback
from pathlib import Path

import pyarrow as pa
import pytest

from mpc.errors import LocalError
from mpc.query.catalog import Column, Table
from parties.node.sources.canonical import canonical
from parties.node.sources.reading import read
from parties.node.sources.source import parse_location

#: values that must never turn up in an error
CANARY_NUMBER = "8675309.42"
CANARY_TEXT = "Canary-Ltd-金丝雀"


def member_folder(path: Path, name: str = "tax") -> Path:
    """A member's folder as far as publishing tables needs one."""
    path.mkdir(parents=True, exist_ok=True)
    (path / "member.toml").write_text(f'name = "{name}"\n')
    return path


def raw(location: object, *, table: str | None = None, sql: str | None = None, encoding: str | None = None) -> pa.Table:
    return read(parse_location(str(location), table=table, sql=sql, encoding=encoding))


def rows(location: object, *columns: Column, **how: str) -> list[tuple[object, ...]]:
    """A source's rows in the declared types."""
    made = canonical(raw(location, **how), Table("t", columns, 10))
    return list(zip(*(made.column(c.name).to_pylist() for c in columns), strict=True))


def everything_of(problem: BaseException) -> str:
    """All an error can show: itself, its causes, its context, its traceback as a logger would print it."""
    shown = io.StringIO()
    seen: list[BaseException | None] = [problem]
    while seen:
        one = seen.pop()
        if one is not None:
            shown.write(f"{one} {one!r} {one.args} {getattr(one, 'facts', '')}\n")
            shown.write("".join(traceback.format_exception_only(one)))
            seen += [one.__cause__, one.__context__]
    return shown.getvalue()


def refused(code: str, *canaries: str, says: tuple[str, ...] = ()) -> pytest.RaisesExc[LocalError]:
    """``with refused("data.bounds", "42", says=("t.a",)):`` the code, the words said, the values not said."""

    def looks_right(problem: LocalError) -> bool:
        shown = everything_of(problem)
        assert problem.code == code, shown
        assert not [c for c in canaries if c in shown], "an error shows data"
        assert not [s for s in says if s not in str(problem)], str(problem)
        return True

    return pytest.RaisesExc(LocalError, check=looks_right)
