"""What a node remembers: every job it ever saw, the attempts it took part in, results it received.

    approved ──▶ running ──▶ sending ──▶ done ──▶ closed
        ▲           │            │         │
        └───────────┴── aborted ◀┘         └─▶ running (a new attempt, while the result was not released)

Rows are never deleted: a used job id stays used for ever (checklist 1). ``transition`` is the only way a state changes.
"""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mpc.errors import LocalError
from parties.node import budgets, decisions, earlier, questions, standing
from parties.storage import Database

_SCHEMA = """
CREATE TABLE IF NOT EXISTS jobs (
    id TEXT PRIMARY KEY,             -- hex
    state TEXT NOT NULL,
    attempt INTEGER NOT NULL,        -- the highest attempt approved
    submitter TEXT NOT NULL,
    recipients TEXT NOT NULL,        -- JSON
    purpose TEXT NOT NULL,
    sql TEXT NOT NULL,
    plan TEXT NOT NULL,              -- digest
    policy TEXT NOT NULL,            -- digest
    expires INTEGER NOT NULL,
    updated INTEGER NOT NULL,
    input BLOB,                      -- salted digest of what was sent, once sending began
    error TEXT
) STRICT;
CREATE TABLE IF NOT EXISTS results (job TEXT PRIMARY KEY REFERENCES jobs(id), body BLOB NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS contributions (
    job TEXT NOT NULL REFERENCES jobs(id), table_name TEXT NOT NULL, column_name TEXT NOT NULL,
    contributors TEXT NOT NULL,      -- JSON, sorted
    snapshot TEXT NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS bits (
    job TEXT NOT NULL REFERENCES jobs(id), table_name TEXT NOT NULL, column_name TEXT NOT NULL,
    organisation TEXT NOT NULL,      -- the recipient's
    bits INTEGER NOT NULL,           -- conditions shown for single entities
    day TEXT NOT NULL,
    PRIMARY KEY (job, table_name, column_name, organisation)
) STRICT;
CREATE TABLE IF NOT EXISTS secrets (name TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT;
"""

_MOVES = {
    "approved": {"approved", "running", "aborted", "closed"},
    "running": {"sending", "done", "aborted"},
    "sending": {"done", "aborted"},
    "aborted": {"approved", "closed", "aborted"},
    "done": {"approved", "closed", "aborted"},
    "closed": {"closed"},
}


@dataclass(frozen=True)
class JobRow:
    id: str
    state: str
    attempt: int
    input: bytes | None


@dataclass(frozen=True)
class Seen:
    """A job as its operator sees it. ``error``: the code it ended with, "" if it did not fail."""

    id: str
    state: str
    submitter: str
    recipients: tuple[str, ...]
    purpose: str
    sql: str
    updated: int
    error: str


class Store:
    """The node's database, ``state/node.db``."""

    def __init__(self, path: Path, salt: bytes) -> None:
        """``salt``: 32 random bytes, kept if the store has none yet; input digests are salted with it."""
        parts = (decisions.SCHEMA, earlier.SCHEMA, standing.SCHEMA, budgets.SCHEMA, questions.SCHEMA)
        self._db = Database(path, "".join((_SCHEMA, *parts)))
        self.decisions = decisions.Decisions(self._db)
        self.earlier = earlier.Earlier(self._db)
        self.questions = questions.Questions(self._db)
        self.standing = standing.StandingWords(self._db)
        self.budgets = budgets.Budgets(self._db)
        with self._db.transaction() as t:
            t.execute("INSERT OR IGNORE INTO secrets VALUES ('salt', ?)", (salt,))
        row = self._db.row("SELECT value FROM secrets WHERE name = 'salt'")
        assert row is not None
        self.salt = bytes(row["value"])

    def job(self, job: str) -> JobRow | None:
        row = self._db.row("SELECT id, state, attempt, input FROM jobs WHERE id = ?", job)
        return JobRow(row["id"], row["state"], row["attempt"], row["input"]) if row else None

    def approve(self, job: str, attempt: int, now: int, facts: dict[str, Any]) -> None:
        """Record an approved attempt. Refuses a job or attempt that was used before (job.replayed, job.state)."""
        known = self.job(job)
        if known is None:
            fields = {**facts, "recipients": json.dumps(facts["recipients"])}
            with self._db.transaction() as t:
                t.execute(
                    "INSERT INTO jobs"
                    " (id, state, attempt, submitter, recipients, purpose, sql, plan, policy, expires, updated) VALUES"
                    " (:id, 'approved', :attempt, :submitter, :recipients, :purpose, :sql, :plan, :policy, :expires,"
                    " :now)",
                    {**fields, "id": job, "attempt": attempt, "now": now},
                )
            return
        if attempt <= known.attempt:
            raise LocalError(
                "job.replayed",
                f"Attempt {attempt} of this job was used before.",
                "Submit the query again: that makes a new job.",
            )
        if known.state == "closed":
            raise LocalError(
                "job.replayed",
                "This job was released before; a job runs once.",
                "Submit the query again: that makes a new job.",
            )
        self.transition(job, "approved", now, attempt=attempt)

    def transition(
        self,
        job: str,
        to: str,
        now: int,
        *,
        attempt: int | None = None,
        input: bytes | None = None,
        error: str | None = None,
    ) -> None:
        """Move a job to a state; a move that the figure does not have raises LocalError job.state."""
        with self._db.transaction() as t:
            row = t.execute("SELECT state FROM jobs WHERE id = ?", (job,)).fetchone()
            if row is None:
                raise LocalError("job.unknown", "No such job here.")
            if to not in _MOVES[row["state"]]:
                raise LocalError("job.state", f"The job is {row['state']} here and cannot become {to}.")
            t.execute(
                "UPDATE jobs SET state = ?, updated = ?, error = ?, attempt = coalesce(?, attempt),"
                " input = coalesce(?, input) WHERE id = ?",
                (to, now, error, attempt, input, job),
            )

    def over(self, job: str, now: int) -> bool:
        """Whether a job cannot run here any more."""
        row = self._db.row("SELECT state, expires FROM jobs WHERE id = ?", job)
        return row is None or row["state"] == "closed" or row["expires"] <= now

    def abort_unfinished(self, now: int) -> list[str]:
        """After a start: attempts that were under way are over, since their coins are gone. Returns the job ids."""
        self.budgets.release()
        cut = [r["id"] for r in self._db.rows("SELECT id FROM jobs WHERE state IN ('running', 'sending')")]
        for job in cut:
            self.transition(job, "aborted", now, error="peer.aborted")
        return cut

    def keep_result(self, job: str, body: bytes) -> None:
        with self._db.transaction() as t:
            t.execute("INSERT OR REPLACE INTO results VALUES (?, ?)", (job, body))

    def result(self, job: str) -> bytes | None:
        row = self._db.row("SELECT body FROM results WHERE job = ?", job)
        return bytes(row["body"]) if row else None

    def record_contributions(self, job: str, columns: list[tuple[str, str, frozenset[str], str]]) -> None:
        """(table, column, contributors, snapshot) that this job lets into totals; written before anything is sent."""
        with self._db.transaction() as t:
            t.executemany(
                "INSERT INTO contributions VALUES (?, ?, ?, ?, ?)",
                [(job, table, column, json.dumps(sorted(who)), snapshot) for table, column, who, snapshot in columns],
            )

    def forget_contributions(self, job: str) -> None:
        """Nothing of this job was released: its deposit was taken back, or the job ended without a total."""
        with self._db.transaction() as t:
            t.execute("DELETE FROM contributions WHERE job = ?", (job,))

    def contributions(self) -> list[tuple[str, str, str, frozenset[str], str]]:
        """(job, table, column, contributors, snapshot) of all jobs."""
        rows = self._db.rows("SELECT * FROM contributions")
        return [
            (r["job"], r["table_name"], r["column_name"], frozenset(json.loads(r["contributors"])), r["snapshot"])
            for r in rows
        ]

    def record_bits(self, job: str, day: dt.date, shown: list[tuple[str, str, str, int]]) -> None:
        """(table, column, organisation, conditions) that this job shows; written before anything is sent."""
        with self._db.transaction() as t:
            t.executemany(
                "INSERT OR REPLACE INTO bits VALUES (?, ?, ?, ?, ?, ?)", [(job, *s, day.isoformat()) for s in shown]
            )

    def bits(self, since: str) -> list[tuple[str, str, str, str, int]]:
        """(job, table, column, organisation, conditions) of all jobs after a day."""
        rows = self._db.rows("SELECT * FROM bits WHERE day > ?", since)
        return [(r["job"], r["table_name"], r["column_name"], r["organisation"], r["bits"]) for r in rows]

    def jobs(self, most: int) -> list[Seen]:
        """Jobs this node approved, the newest first."""
        rows = self._db.rows("SELECT * FROM jobs ORDER BY updated DESC, id LIMIT ?", most)
        return [
            Seen(
                r["id"],
                r["state"],
                r["submitter"],
                tuple(json.loads(r["recipients"])),
                r["purpose"],
                r["sql"],
                r["updated"],
                r["error"] or "",
            )
            for r in rows
        ]

    def close(self) -> None:
        self._db.close()
