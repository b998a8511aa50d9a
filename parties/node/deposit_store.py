"""What a node remembers of deposit jobs, in ``node.db``: every message it made, before the message is sent.

A message once made is sent as these bytes or not at all. ``receipt`` is empty until the coordinator has signed one;
then the ciphertexts go.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from parties.storage import Database

_SCHEMA = """
CREATE TABLE IF NOT EXISTS deposit_messages (
    job TEXT NOT NULL, number INTEGER NOT NULL,
    kind TEXT NOT NULL,              -- deposit, withdraw
    statement BLOB NOT NULL, signature BLOB NOT NULL,
    approval BLOB NOT NULL, approval_signature BLOB NOT NULL,   -- empty for withdrawals
    body BLOB NOT NULL,              -- ciphertexts until there is a receipt
    receipt BLOB NOT NULL,
    PRIMARY KEY (job, number)
) STRICT;
CREATE TABLE IF NOT EXISTS deposit_ends (job TEXT PRIMARY KEY, state TEXT NOT NULL) STRICT;
"""


@dataclass(frozen=True)
class Message:
    """A message of this node about a job."""

    number: int
    kind: Literal["deposit", "withdraw"]
    statement: bytes
    signature: bytes
    approval: bytes = b""
    approval_signature: bytes = b""
    body: bytes = b""
    receipt: bytes = b""


class DepositStore:
    """A connection of its own to ``state/node.db``."""

    def __init__(self, path: Path) -> None:
        self._db = Database(path, _SCHEMA)

    def close(self) -> None:
        self._db.close()

    def messages(self, job: str) -> list[Message]:
        """By number."""
        rows = self._db.rows("SELECT * FROM deposit_messages WHERE job = ? ORDER BY number", job)
        return [Message(**{k: r[k] for k in r.keys() if k != "job"}) for r in rows]  # noqa: SIM118  # rows are no maps

    def make(self, job: str, m: Message) -> None:
        """Keep a message that is about to be sent."""
        with self._db.transaction() as t:
            t.execute(
                "INSERT INTO deposit_messages VALUES (:job, :number, :kind, :statement, :signature, :approval,"
                " :approval_signature, :body, :receipt)",
                {"job": job, **m.__dict__},
            )

    def receipted(self, job: str, number: int, receipt: bytes) -> None:
        """The coordinator has it."""
        with self._db.transaction() as t:
            t.execute(
                "UPDATE deposit_messages SET receipt = ?, body = x'' WHERE job = ? AND number = ?",
                (receipt, job, number),
            )

    def refused(self, job: str, number: int) -> None:
        """The coordinator does not take a message that never got a receipt."""
        with self._db.transaction() as t:
            t.execute("DELETE FROM deposit_messages WHERE job = ? AND number = ? AND receipt = x''", (job, number))

    def end(self, job: str, state: str) -> None:
        with self._db.transaction() as t:
            t.execute("INSERT OR IGNORE INTO deposit_ends VALUES (?, ?)", (job, state))

    def ended(self, job: str) -> str:
        """How a job ended here; "" while it has not."""
        row = self._db.row("SELECT state FROM deposit_ends WHERE job = ?", job)
        return str(row["state"]) if row else ""
