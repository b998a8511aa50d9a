"""What a published table is read from: a file or a database, kept as ``tables/NAME.json`` in the member's folder."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import sqlglot
from sqlglot import exp

from mpc.errors import LocalError
from parties import files

Kind = Literal["csv", "parquet", "duckdb", "sqlite", "postgresql"]
_SUFFIXES: dict[str, Kind] = {".csv": "csv", ".txt": "csv", ".parquet": "parquet", ".pq": "parquet",
                              ".duckdb": "duckdb", ".ddb": "duckdb"}  # fmt: skip
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
        """For people: the path, or a PostgreSQL URI without user and password."""
        return re.sub(r"//[^/@]*@", "//", self.location).split("?")[0]

    def fingerprint(self) -> str | None:
        """Changes when the file does; None for servers, which are read anew for every job."""
        if self.path is None:
            return None
        try:
            stat = self.path.stat()
        except OSError as problem:
            raise unreadable(self, problem.strerror or "cannot be opened") from problem
        return f"{self.path}:{stat.st_size}:{stat.st_mtime_ns}:{stat.st_ino}:{self.table}:{self.sql}"


def parse_location(location: str, *, table: str | None, sql: str | None, encoding: str | None) -> TableSource:
    """What a person typed as LOCATION. Raises LocalError data.source."""
    if table is not None and sql is not None:
        raise LocalError("data.source", "Give --table or --sql, not both.")
    if sql is not None:
        sql = one_select(sql)
    scheme, colon, rest = location.partition(":")
    if scheme in ("postgresql", "postgres") and colon:
        kind: Kind = "postgresql"
        place = location
    elif scheme in ("sqlite", "duckdb", "csv", "parquet") and colon:
        kind, place = scheme, str(Path(rest).expanduser().resolve())  # type: ignore[assignment]
    else:
        suffix = Path(location).suffix.lower()
        if suffix not in _SUFFIXES:
            raise LocalError("data.source", f"{location} is of no kind that is known.",
                             "Give a .csv, .parquet or .duckdb file, sqlite:FILE, duckdb:FILE or postgresql://….")  # fmt: skip
        kind, place = _SUFFIXES[suffix], str(Path(location).expanduser().resolve())
    if kind != "postgresql" and not Path(place).is_file():
        raise LocalError("data.source", f"There is no file {place}.", "Check the path; a folder is not read as a table.")
    if kind in ("duckdb", "sqlite", "postgresql") and table is None and sql is None:
        raise LocalError("data.source", "A database holds several tables.", "Say which with --table T, or --sql \"SELECT …\".")
    if kind in ("csv", "parquet") and table is not None:
        raise LocalError("data.source", "A file is one table; it has no --table.", "Leave --table out; --name names it.")
    return TableSource(kind, place, table, sql, (encoding or "utf-8").lower())


def one_select(sql: str) -> str:
    """``sql`` if it is exactly one SELECT (WITH included); else LocalError data.source."""
    try:
        statements = [s for s in sqlglot.parse(sql, dialect="duckdb") if s is not None]
    except sqlglot.errors.ParseError as problem:
        raise LocalError("data.source", "The --sql cannot be parsed.", "Write one SELECT.") from problem
    writing = (exp.Insert, exp.Update, exp.Delete, exp.Create, exp.Drop, exp.Into, exp.Command, exp.Copy, exp.Merge)
    if len(statements) != 1 or not isinstance(statements[0], exp.Query) or any(statements[0].find_all(*writing)):
        raise LocalError("data.source", "The --sql must be one SELECT; nothing else is run on your database.")
    return sql.strip().rstrip(";")


def save(folder: Path, name: str, source: TableSource) -> None:
    """Keep a source; readable by the owner only, since it may hold a password."""
    (folder / "tables").mkdir(mode=0o700, exist_ok=True)
    files.write(folder / "tables" / f"{name}.json", json.dumps(asdict(source), indent=1, ensure_ascii=False) + "\n", 0o600)


def load(folder: Path, name: str) -> TableSource:
    """The source of a published table. Raises LocalError data.source."""
    try:
        return TableSource(**json.loads(files.read(folder / "tables" / f"{name}.json", "the source of a table")))
    except (ValueError, TypeError) as problem:
        raise LocalError("data.source", f"tables/{name}.json cannot be read.", "Publish the table again.") from problem


def unreadable(source: TableSource, why: str) -> LocalError:
    return LocalError("data.source", f"{source.described()} cannot be read: {why}.",
                      "Mend the source, then look with `heji node check`.")  # fmt: skip
