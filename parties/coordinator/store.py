"""What the coordinator remembers: jobs, how far they are, masked totals for recipients without a node, and what it saw.

    submitted ──▶ depositing ──▶ done / failed / cancelled       (deposit jobs: deposits.py)

                      waiting        (an owner decides by hand)
                       ▲  │
                       │  ▼
    submitted ──▶ approving ──▶ running ──▶ done
        │             │  ▲          │
        │             │  └──────────┤ (a new attempt with new keys)
        └──────▶ failed / cancelled ◀┘

``seen`` keeps the masked bodies the coordinator received (the first ones of every job, up to a limit): masked words, of
no use to anybody without the keys, and the proof of what a coordinator knows.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from mpc.errors import LocalError
from parties.storage import Database

_SCHEMA = """
CREATE TABLE IF NOT EXISTS jobs (
    id TEXT PRIMARY KEY, raw BLOB NOT NULL, signature BLOB NOT NULL, submitter TEXT NOT NULL, recipients TEXT NOT NULL,
    state TEXT NOT NULL, attempt INTEGER NOT NULL DEFAULT 0, created INTEGER NOT NULL, updated INTEGER NOT NULL,
    expires INTEGER NOT NULL, error BLOB, bytes INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE TABLE IF NOT EXISTS proofs (job TEXT PRIMARY KEY REFERENCES jobs(id), body BLOB NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS totals (
    job TEXT NOT NULL REFERENCES jobs(id), sum TEXT NOT NULL, body BLOB NOT NULL, PRIMARY KEY (job, sum)
) STRICT;
CREATE TABLE IF NOT EXISTS seen (
    job TEXT NOT NULL, attempt INTEGER NOT NULL, sender TEXT NOT NULL, step TEXT NOT NULL, body BLOB NOT NULL
) STRICT;
"""

FINAL = frozenset({"done", "failed", "cancelled"})
_MOVES = {
    "submitted": {"approving", "depositing", "failed", "cancelled"},
    "depositing": {"done", "failed", "cancelled"},
    "approving": {"running", "failed", "cancelled", "approving", "waiting"},
    "waiting": {"approving", "failed", "cancelled", "waiting"},
    "running": {"approving", "done", "failed", "cancelled"},
    "done": set[str](),
    "failed": set[str](),
    "cancelled": set[str](),
}


@dataclass(frozen=True)
class JobRow:
    id: str
    raw: bytes
    signature: bytes
    submitter: str
    recipients: tuple[str, ...]
    state: str
    attempt: int
    created: int
    updated: int
    expires: int
    error: bytes
    bytes: int


class Store:
    """The coordinator's database, ``state/coordinator.db``."""

    def __init__(self, path: Path) -> None:
        self._db = Database(path, _SCHEMA)

    def add(
        self,
        job: str,
        raw: bytes,
        signature: bytes,
        submitter: str,
        recipients: tuple[str, ...],
        now: int,
        expires: int,
    ) -> bool:
        """Persist a submitted job; False where exactly this job is here already (a repeated submission)."""
        if self.get(job) is not None:
            return False
        with self._db.transaction() as t:
            t.execute(
                "INSERT INTO jobs (id, raw, signature, submitter, recipients, state, created, updated, expires)"
                " VALUES (?, ?, ?, ?, ?, 'submitted', ?, ?, ?)",
                (job, raw, signature, submitter, json.dumps(recipients), now, now, expires),
            )
        return True

    def get(self, job: str) -> JobRow | None:
        row = self._db.row("SELECT * FROM jobs WHERE id = ?", job)
        return _job(row) if row else None

    def unfinished(self) -> list[JobRow]:
        return [_job(r) for r in self._db.rows("SELECT * FROM jobs") if r["state"] not in FINAL]

    def visible_to(self, member: str) -> list[JobRow]:
        """Jobs that ``member`` submitted or receives, newest first."""
        jobs = [_job(r) for r in self._db.rows("SELECT * FROM jobs ORDER BY created DESC, id")]
        return [j for j in jobs if member == j.submitter or member in j.recipients]

    def transition(
        self, job: str, to: str, now: int, *, attempt: int | None = None, error: bytes | None = None
    ) -> None:
        """Move a job to a state; a move that the figure does not have raises LocalError job.state."""
        with self._db.transaction() as t:
            row = t.execute("SELECT state FROM jobs WHERE id = ?", (job,)).fetchone()
            if row is None:
                raise LocalError(
                    "job.unknown", "The coordinator knows no such job.", "List yours with `heji jobs list`."
                )
            if to not in _MOVES[row["state"]]:
                raise LocalError("job.state", f"The job is {row['state']} and cannot become {to}.")
            t.execute(
                "UPDATE jobs SET state = ?, updated = ?, error = ?, attempt = coalesce(?, attempt) WHERE id = ?",
                (to, now, error, attempt, job),
            )

    def finish(self, job: str, now: int, proof: bytes, totals: dict[str, bytes], received: int) -> None:
        """Proof, masked totals and the state ``done`` in one transaction."""
        with self._db.transaction() as t:
            t.execute("INSERT OR REPLACE INTO proofs VALUES (?, ?)", (job, proof))
            t.executemany("INSERT OR REPLACE INTO totals VALUES (?, ?, ?)", [(job, s, b) for s, b in totals.items()])
            moved = t.execute(
                "UPDATE jobs SET state = 'done', updated = ?, bytes = ? WHERE id = ? AND state = 'running'",
                (now, received, job),
            )
            if moved.rowcount != 1:
                raise LocalError("job.state", "The job ended before its result was complete.")

    def proof(self, job: str) -> bytes:
        row = self._db.row("SELECT body FROM proofs WHERE job = ?", job)
        return bytes(row["body"]) if row else b""

    def totals(self, job: str) -> list[tuple[str, bytes]]:
        return [
            (r["sum"], bytes(r["body"]))
            for r in self._db.rows("SELECT sum, body FROM totals WHERE job = ? ORDER BY sum", job)
        ]

    def saw(self, job: str, attempt: int, messages: list[tuple[str, str, bytes]]) -> None:
        """Keep (sender, step, body) of messages received."""
        with self._db.transaction() as t:
            t.executemany("INSERT INTO seen VALUES (?, ?, ?, ?, ?)", [(job, attempt, *m) for m in messages])

    def seen(self, job: str) -> list[tuple[int, str, str, bytes]]:
        rows = self._db.rows(
            "SELECT attempt, sender, step, body FROM seen WHERE job = ? ORDER BY attempt, sender, step", job
        )
        return [(r["attempt"], r["sender"], r["step"], bytes(r["body"])) for r in rows]

    def close(self) -> None:
        self._db.close()


def _job(row: object) -> JobRow:
    r = dict(row)  # type: ignore[call-overload]
    return JobRow(
        r["id"],
        bytes(r["raw"]),
        bytes(r["signature"]),
        r["submitter"],
        tuple(json.loads(r["recipients"])),
        r["state"],
        r["attempt"],
        r["created"],
        r["updated"],
        r["expires"],
        bytes(r["error"] or b""),
        r["bytes"],
    )
