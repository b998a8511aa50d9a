"""What a published table is read from: a file or a database, kept as ``tables/NAME.json`` in the member's folder."""

from __future__ import annotations

import codecs
import contextlib
import json
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, cast

import sqlglot
from sqlglot import exp

from mpc.errors import LocalError
from parties import files

Kind = Literal["csv", "parquet", "duckdb", "sqlite", "postgresql"]
_SUFFIXES: dict[str, Kind] = {
    ".csv": "csv",
    ".txt": "csv",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".duckdb": "duckdb",
    ".ddb": "duckdb",
}
#: how a --sql names the rows of a CSV or Parquet file
RELATION = "source"


@dataclass(frozen=True, repr=False)
class TableSource:
    """``location``: an absolute path or a PostgreSQL URI; ``table`` or ``sql`` inside a database, ``sql`` over a file's
    rows as ``source``. A URI may hold a password: it never shows in ``repr``, logs or errors."""

    kind: Kind
    location: str
    table: str | None = None
    sql: str | None = None
    encoding: str = "utf-8"

    def __repr__(self) -> str:
        return f"TableSource({self.kind}, …)"

    @property
    def path(self) -> Path | None:
        return None if self.kind == "postgresql" else Path(self.location)

    def described(self) -> str:
        """For people: the path, or server and database of a PostgreSQL URI that is plain enough to be sure of them."""
        if self.path is not None:
            return self.location
        plain = re.fullmatch(r"postgres(?:ql)?://(?:[^@/?]*@)?([\w.:,\[\]-]*(?:/[\w-]*)?)(?:\?[^@]*)?", self.location)
        return f"postgresql://{plain[1]}" if plain else "the PostgreSQL server"

    def fingerprint(self) -> str | None:
        """Changes when the file does, or what is read from it; None for servers, which are read anew for every job."""
        if self.path is None:
            return None
        try:
            stat = self.path.stat()
        except OSError as problem:
            raise unreadable(self, problem.strerror or "cannot be opened") from None
        state = [str(self.path), stat.st_size, stat.st_mtime_ns, stat.st_ino, self.table, self.sql, self.encoding]
        return json.dumps([*state, *self._log_beside(self.path)])

    def _log_beside(self, path: Path) -> Iterator[tuple[int, int]]:
        """Rows that a database has written so far into its log only."""
        for suffix in {"sqlite": ("-wal",), "duckdb": (".wal",)}.get(self.kind, ()):
            with contextlib.suppress(OSError):
                stat = path.with_name(path.name + suffix).stat()
                if stat.st_size:
                    yield stat.st_size, stat.st_mtime_ns


def parse_location(location: str, *, table: str | None, sql: str | None, encoding: str | None) -> TableSource:
    """What a person typed as LOCATION. Raises LocalError data.source, without LOCATION where it may hold a password."""
    if table is not None and sql is not None:
        raise LocalError("data.source", "Give --table or --sql, not both.")
    kind, place = _place(location)
    if kind != "postgresql" and not Path(place).is_file():
        raise LocalError(
            "data.source", f"There is no file {place}.", "Check the path; a folder is not read as a table."
        )
    if kind in ("duckdb", "sqlite", "postgresql") and table is None and sql is None:
        raise LocalError(
            "data.source", "A database holds several tables.", 'Say which with --table T, or --sql "SELECT …".'
        )
    if kind in ("csv", "parquet") and table is not None:
        raise LocalError(
            "data.source", "A file is one table; it has no --table.", "Leave --table out; --name names it."
        )
    if sql is not None:
        sql = one_select(sql, kind)
    return TableSource(kind, place, table, sql, _encoding(encoding or "utf-8"))


def _place(location: str) -> tuple[Kind, str]:
    """The kind of a LOCATION, and its absolute path or URI."""
    scheme, colon, rest = location.partition(":")
    if scheme in ("postgresql", "postgres") and colon:
        if not rest.startswith("//"):
            raise LocalError(
                "data.source", "A PostgreSQL address should read postgresql://USER:PASSWORD@HOST:PORT/DATABASE."
            )
        return "postgresql", location
    if scheme in ("sqlite", "duckdb", "csv", "parquet") and colon:
        return cast(Kind, scheme), str(Path(rest).expanduser().resolve())
    suffix = Path(location).suffix.lower()
    if "://" in location or suffix not in _SUFFIXES:
        shown = "This location" if "://" in location or "@" in location else location
        raise LocalError(
            "data.source",
            f"{shown} is of no kind that is known.",
            "Give a .csv, .parquet or .duckdb file, sqlite:FILE, duckdb:FILE or postgresql://….",
        )
    return _SUFFIXES[suffix], str(Path(location).expanduser().resolve())


def _encoding(name: str) -> str:
    try:
        return codecs.lookup(name).name.replace("utf-8-sig", "utf-8")
    except LookupError:
        raise LocalError("data.source", f"There is no encoding {name}.", "Use --encoding utf-8 or gb18030.") from None


def one_select(sql: str, kind: Kind) -> str:
    """``sql`` if it is exactly one SELECT (WITH included) in the dialect of ``kind``; else LocalError data.source."""
    dialect = {"postgresql": "postgres", "sqlite": "sqlite"}.get(kind, "duckdb")
    try:
        statements = [
            s for s in sqlglot.parse(sql, dialect=dialect) if s is not None and not isinstance(s, exp.Semicolon)
        ]
    except (sqlglot.errors.SqlglotError, RecursionError):
        raise LocalError("data.source", "The --sql cannot be parsed.", "Write one SELECT.") from None
    writing = (exp.Insert, exp.Update, exp.Delete, exp.Create, exp.Drop, exp.Into, exp.Command, exp.Copy, exp.Merge)
    if len(statements) != 1 or not isinstance(statements[0], exp.Query) or any(statements[0].find_all(*writing)):
        raise LocalError("data.source", "The --sql must be one SELECT; nothing else is run on your database.")
    return _before_semicolon(sql, dialect)


def _before_semicolon(sql: str, dialect: str) -> str:
    """The statement itself: SQLite runs it inside another one."""
    ends = [t.start for t in sqlglot.tokenize(sql, dialect=dialect) if t.token_type == sqlglot.TokenType.SEMICOLON]
    return (sql[: ends[0]] if ends else sql).strip()


def save(folder: Path, name: str, source: TableSource) -> None:
    """Keep a source; readable by the owner only, since it may hold a password."""
    (folder / "tables").mkdir(mode=0o700, exist_ok=True)
    files.write(
        folder / "tables" / f"{name}.json", json.dumps(asdict(source), indent=1, ensure_ascii=False) + "\n", 0o600
    )


def load(folder: Path, name: str) -> TableSource:
    """The source of a published table. Raises LocalError data.source."""
    kept = files.read(folder / "tables" / f"{name}.json", "the source of a table")
    with contextlib.suppress(ValueError, TypeError):  # whose text may quote the URI
        return TableSource(**json.loads(kept))
    raise LocalError("data.source", f"tables/{name}.json cannot be read.", "Publish the table again.")


def unreadable(source: TableSource, why: str) -> LocalError:
    return LocalError(
        "data.source",
        f"{source.described()} cannot be read: {why}.",
        "Mend the source, then look with `heji node check`.",
    )
