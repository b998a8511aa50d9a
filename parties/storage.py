"""SQLite as members use it: one file, WAL, every commit on disk before it returns, full disks told in plain words."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from mpc.errors import LocalError


class Database:
    """A connection with ``transaction()``; what is committed survives kill -9 and a power cut (synchronous=FULL)."""

    def __init__(self, path: Path, schema: str) -> None:
        self._path = path
        with self._plainly():
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            self._connection.row_factory = sqlite3.Row
            path.chmod(0o600)
            self._connection.execute("PRAGMA journal_mode=WAL")
            self._connection.execute("PRAGMA synchronous=FULL")
            self._connection.execute("PRAGMA foreign_keys=ON")
            self._connection.executescript(schema)

    @contextlib.contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All or nothing; raises LocalError store.failed when the disk is full or not writable."""
        with self._plainly():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                with contextlib.suppress(sqlite3.Error):  # a full disk may have ended the transaction already
                    self._connection.execute("ROLLBACK")
                raise

    def rows(self, sql: str, *values: object) -> list[sqlite3.Row]:
        with self._plainly():
            return self._connection.execute(sql, values).fetchall()

    def row(self, sql: str, *values: object) -> sqlite3.Row | None:
        found = self.rows(sql, *values)
        return found[0] if found else None

    def close(self) -> None:
        self._connection.close()

    @contextlib.contextmanager
    def _plainly(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.OperationalError, sqlite3.DatabaseError, OSError) as problem:
            reason = str(problem) if isinstance(problem, sqlite3.Error) else problem.strerror
            raise LocalError(
                "store.failed",
                f"Local storage failed at {self._path.name}: {reason}.",
                "Make room on the disk or mend its permissions; nothing was sent for this step.",
            ) from problem
