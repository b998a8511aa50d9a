"""What the coordinator remembers of deposit jobs, beside ``jobs`` in the same database.

    open ──▶ total and done, in one transaction: the ciphertexts go, so that none can be in a second total
      └────▶ failed or cancelled: the ciphertexts go

A depositor's messages about a job are numbered from 0, deposits and withdrawals alike. What was left is on disk before
it is receipted, and is never taken under another number.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mpc.errors import LocalError
from parties.deposit_keys import SignedKey
from parties.rpc.v1 import node_pb2
from parties.storage import Database

_SCHEMA = """
CREATE TABLE IF NOT EXISTS deposit_catalogs (    -- those that an open job was planned on
    job TEXT NOT NULL, party TEXT NOT NULL, catalog BLOB NOT NULL, signature BLOB NOT NULL, PRIMARY KEY (job, party)
) STRICT;
CREATE TABLE IF NOT EXISTS deposit_messages (
    job TEXT NOT NULL, party TEXT NOT NULL, number INTEGER NOT NULL,
    kind TEXT NOT NULL,              -- deposit, withdraw
    statement BLOB NOT NULL, signature BLOB NOT NULL, receipt BLOB NOT NULL,
    approval BLOB NOT NULL, approval_signature BLOB NOT NULL,   -- empty for withdrawals
    digest TEXT NOT NULL,            -- SHA-256 of the ciphertexts, hex; "" for withdrawals
    body BLOB,                       -- the ciphertexts while they stand
    PRIMARY KEY (job, party, number)
) STRICT;
CREATE TABLE IF NOT EXISTS deposit_declined (
    job TEXT NOT NULL, party TEXT NOT NULL, error BLOB NOT NULL, PRIMARY KEY (job, party)
) STRICT;
CREATE TABLE IF NOT EXISTS deposit_totals (job TEXT PRIMARY KEY, body BLOB NOT NULL, parties TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS last_catalogs (
    party TEXT PRIMARY KEY, catalog BLOB NOT NULL, signature BLOB NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS recipient_keys (      -- the newest of each method; whole: where key is a fingerprint
    member TEXT NOT NULL, method TEXT NOT NULL, key BLOB NOT NULL, made INTEGER NOT NULL, signature BLOB NOT NULL,
    whole BLOB NOT NULL, PRIMARY KEY (member, method)
) STRICT;
CREATE TABLE IF NOT EXISTS deposit_job_keys (job TEXT PRIMARY KEY, whole BLOB NOT NULL) STRICT;
"""


@dataclass(frozen=True)
class Message:
    """A message of a depositor, with the receipt it was given."""

    party: str
    number: int
    kind: str
    statement: bytes
    signature: bytes
    receipt: bytes
    approval: bytes = b""
    approval_signature: bytes = b""
    digest: str = ""
    body: bytes | None = None


class DepositStore:
    """A connection of its own to ``state/coordinator.db``."""

    def __init__(self, path: Path) -> None:
        self._db = Database(path, _SCHEMA)

    def close(self) -> None:
        self._db.close()

    # -- catalogs and keys, for planning while members are away

    def saw_catalogs(self, signed: Sequence[node_pb2.SignedCatalog]) -> None:
        """Remember the newest catalog of each party."""
        with self._db.transaction() as t:
            t.executemany(
                "INSERT OR REPLACE INTO last_catalogs VALUES (?, ?, ?)",
                [(c.party, c.catalog, c.signature) for c in signed],
            )

    def last_catalogs(self) -> dict[str, node_pb2.SignedCatalog]:
        rows = self._db.rows("SELECT party, catalog, signature FROM last_catalogs")
        return {r["party"]: node_pb2.SignedCatalog(**dict(r)) for r in rows}

    def saw_key(self, key: SignedKey, whole: bytes = b"") -> None:
        """Remember a member's key, unless a newer one is known."""
        with self._db.transaction() as t:
            t.execute(
                "INSERT INTO recipient_keys VALUES (:member, :method, :key, :made, :signature, :whole)"
                " ON CONFLICT (member, method) DO UPDATE SET key = :key, made = :made, signature = :signature,"
                " whole = :whole WHERE made < :made",
                {**key.__dict__, "whole": whole},
            )

    def key(self, member: str, method: str) -> tuple[SignedKey, bytes] | None:
        """A member's newest, and of a key that jobs only name the key itself."""
        row = self._db.row("SELECT * FROM recipient_keys WHERE member = ? AND method = ?", member, method)
        if row is None:
            return None
        fields = dict(row)
        whole = bytes(fields.pop("whole"))
        return SignedKey(**fields), whole

    # -- a job

    def open(self, job: str, catalogs: Sequence[node_pb2.SignedCatalog], whole: bytes = b"") -> None:
        """Keep the catalogs that the job's plan rests on, and the key that it only names."""
        with self._db.transaction() as t:
            t.execute("INSERT OR REPLACE INTO deposit_job_keys VALUES (?, ?)", (job, whole))
            t.executemany(
                "INSERT OR REPLACE INTO deposit_catalogs VALUES (?, ?, ?, ?)",
                [(job, c.party, c.catalog, c.signature) for c in catalogs],
            )

    def job_key(self, job: str) -> bytes:
        """The key that an open or ended job only names; b"" where the job carries it."""
        row = self._db.row("SELECT whole FROM deposit_job_keys WHERE job = ?", job)
        return bytes(row["whole"]) if row else b""

    def catalogs(self, job: str) -> list[node_pb2.SignedCatalog]:
        rows = self._db.rows("SELECT party, catalog, signature FROM deposit_catalogs WHERE job = ? ORDER BY party", job)
        return [node_pb2.SignedCatalog(**dict(r)) for r in rows]

    def told(self, since: int) -> list[str]:
        """Ids of the jobs that are open, or ended after ``since``."""
        rows = self._db.rows(
            "SELECT id FROM jobs WHERE id IN (SELECT job FROM deposit_catalogs)"
            " AND (state = 'depositing' OR updated > ?) ORDER BY created, id",
            since,
        )
        return [r["id"] for r in rows]

    def messages(self, job: str, party: str) -> list[Message]:
        """A depositor's messages, by number."""
        rows = self._db.rows("SELECT * FROM deposit_messages WHERE job = ? AND party = ? ORDER BY number", job, party)
        return [_message(r) for r in rows]

    def standing(self, job: str) -> dict[str, Message]:
        """The deposits that were not taken back, by depositor."""
        rows = self._db.rows("SELECT * FROM deposit_messages WHERE job = ? ORDER BY party, number", job)
        last = {m.party: m for m in map(_message, rows)}
        return {p: m for p, m in last.items() if m.kind == "deposit"}

    def take(self, job: str, message: Message) -> None:
        """Keep a message that was found in order, if the job is open still. A withdrawal takes the ciphertexts away.

        Raises LocalError job.state; job.replayed for ciphertexts that were left before, by whomever.
        """
        with self._db.transaction() as t:
            row = t.execute("SELECT state FROM jobs WHERE id = ?", (job,)).fetchone()
            if row is None or row["state"] != "depositing":
                raise closed()
            copies = "SELECT 1 FROM deposit_messages WHERE job = ? AND digest = ? AND digest <> ''"
            if t.execute(copies, (job, message.digest)).fetchone():
                raise LocalError(
                    "job.replayed",
                    "These ciphertexts were left for this job before.",
                    "Make a new deposit from the data as they are.",
                )
            if message.kind == "withdraw":
                t.execute("UPDATE deposit_messages SET body = NULL WHERE job = ? AND party = ?", (job, message.party))
            t.execute(
                "INSERT INTO deposit_messages VALUES (:job, :party, :number, :kind, :statement, :signature, :receipt,"
                " :approval, :approval_signature, :digest, :body)",
                {"job": job, **message.__dict__},
            )
            t.execute("DELETE FROM deposit_declined WHERE job = ? AND party = ?", (job, message.party))

    def decline(self, job: str, party: str, error: bytes) -> None:
        with self._db.transaction() as t:
            t.execute("INSERT OR REPLACE INTO deposit_declined VALUES (?, ?, ?)", (job, party, error))

    def declined(self, job: str) -> Mapping[str, bytes]:
        """Why some have not deposited, as they say."""
        rows = self._db.rows("SELECT party, error FROM deposit_declined WHERE job = ?", job)
        return {r["party"]: bytes(r["error"]) for r in rows}

    def release(self, job: str, now: int, body: bytes, parties: Sequence[str], received: int) -> None:
        """The total, the state ``done``, and no ciphertexts any more, in one transaction. Raises LocalError job.state
        where the job has ended: there is one total."""
        with self._db.transaction() as t:
            moved = t.execute(
                "UPDATE jobs SET state = 'done', updated = ?, bytes = ? WHERE id = ? AND state = 'depositing'",
                (now, received, job),
            )
            if moved.rowcount != 1:
                raise LocalError("job.state", "The job ended before its total was made.")
            t.execute("INSERT INTO deposit_totals VALUES (?, ?, ?)", (job, body, json.dumps(list(parties))))
            t.execute("UPDATE deposit_messages SET body = NULL WHERE job = ?", (job,))

    def total(self, job: str) -> tuple[bytes, list[str]] | None:
        """The ciphertexts of the total, and whose deposits are in it."""
        row = self._db.row("SELECT body, parties FROM deposit_totals WHERE job = ?", job)
        return (bytes(row["body"]), json.loads(row["parties"])) if row else None

    def drop(self, job: str) -> None:
        """The ciphertexts of a job that ended without a total."""
        with self._db.transaction() as t:
            t.execute("UPDATE deposit_messages SET body = NULL WHERE job = ?", (job,))


def closed() -> LocalError:
    return LocalError(
        "job.state",
        "Deposits for this job are not taken any more: its closing date has passed, or it was cancelled.",
        "The modeler can ask again in a new job.",
    )


def _message(row: object) -> Message:
    fields = dict(row)  # type: ignore[call-overload]
    del fields["job"]
    return Message(**fields)
