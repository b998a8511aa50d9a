"""What persons at an owner decide: about jobs that wait for them, and that the node stops.

    pending ──▶ approved        when as many different persons have said yes as the grants ask for
       │            │
       └──▶ rejected ◀┘         when one says no, after an approval until the job has run; or the node is stopped

A job that has ended elsewhere meanwhile (another owner refused, whoever asked cancelled it) is *over*: nothing is
decided about it any more, and it is never approved here (parties.node.over).

It lies in ``state/node.db``. A command beside the node and the node's own console write the same rows, and the node
looks here before it approves anything; so what stands here holds after a restart too. Who may write the member's
folder may write these rows, in any name: ``through`` says how a name came into them.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from mpc.errors import LocalError
from mpc.policy.persons import same_person
from parties.storage import Database

SCHEMA = """
CREATE TABLE IF NOT EXISTS decisions (   -- by hand, about jobs whose grants ask for it
    job TEXT PRIMARY KEY, plan TEXT NOT NULL, policy TEXT NOT NULL,  -- digests of what is decided about
    state TEXT NOT NULL,             -- pending, approved, rejected
    needed INTEGER NOT NULL,         -- how many persons have to approve
    submitter TEXT NOT NULL, recipients TEXT NOT NULL, purpose TEXT NOT NULL, sql TEXT NOT NULL,
    told TEXT NOT NULL,              -- what explain says of it
    asked INTEGER NOT NULL, expires INTEGER NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS words (       -- one a person
    job TEXT NOT NULL, same TEXT NOT NULL,  -- the name as it is compared
    person TEXT NOT NULL, approves INTEGER NOT NULL, at INTEGER NOT NULL, reason TEXT NOT NULL, through TEXT NOT NULL,
    PRIMARY KEY (job, same)
) STRICT;
CREATE TABLE IF NOT EXISTS over (        -- jobs of decisions that have ended elsewhere, as the coordinator says
    job TEXT PRIMARY KEY, at INTEGER NOT NULL, code TEXT NOT NULL, party TEXT NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS stops (       -- the last one is in force until it is resumed
    id INTEGER PRIMARY KEY,
    person TEXT NOT NULL, at INTEGER NOT NULL, reason TEXT NOT NULL, through TEXT NOT NULL,
    now INTEGER NOT NULL,            -- 1: running jobs end too
    resumed INTEGER, resumed_by TEXT,
    noted INTEGER NOT NULL DEFAULT 0 -- how much of it is in the evidence log: 1 the stop, 2 its end too
) STRICT;
"""

#: whether a job has run here
_RAN = "SELECT 1 FROM jobs WHERE id = ? AND state IN ('done', 'closed')"

#: how a name came in: by a console token of that person, or by a command of whoever may write the node's folder
Through = Literal["console", "command"]
#: characters of a person's name
LONGEST_NAME = 80


@dataclass(frozen=True)
class Word:
    """What one person said, when and why."""

    person: str
    at: int
    reason: str
    through: Through
    approves: bool = True

    def __post_init__(self) -> None:
        if not self.person.isprintable() or not 0 < len(same_person(self.person)) <= LONGEST_NAME:
            raise LocalError(
                "config.invalid",
                f"A person's name has 1 to {LONGEST_NAME} printable characters.",
                "Give the name as it is to stand beside the decision, such as Li Na.",
            )

    def told(self) -> dict[str, Any]:
        """As a signed approval says it."""
        return {"person": self.person, "at": self.at, "reason": self.reason, "through": self.through}


@dataclass(frozen=True)
class Over:
    """A job has ended without this owner's word. ``code``: of the error, "" where it is done; ``party``: whose, if the
    error says so."""

    at: int
    code: str
    party: str


@dataclass(frozen=True)
class Decision:
    """A job that persons decide about. ``plan``, ``policy``: the digests the question was about. ``ran``: it has run
    here, by their word or a standing approval."""

    job: str
    plan: str
    policy: str
    state: Literal["pending", "approved", "rejected"]
    needed: int
    submitter: str
    recipients: tuple[str, ...]
    purpose: str
    sql: str
    told: str
    asked: int
    expires: int
    words: tuple[Word, ...] = field(default=())
    over: Over | None = None
    ran: bool = False

    @property
    def approvals(self) -> tuple[Word, ...]:
        """The oldest first."""
        return tuple(w for w in self.words if w.approves)

    @property
    def rejection(self) -> Word | None:
        return next((w for w in self.words if not w.approves), None)

    @property
    def missing(self) -> int:
        """How many persons have yet to approve."""
        return max(self.needed - len(self.approvals), 0) if self.state == "pending" else 0

    @property
    def deciding(self) -> tuple[Word, ...]:
        """The words on which its state rests."""
        return (self.rejection,) if self.rejection else self.approvals

    @property
    def persons(self) -> str:
        return ", ".join(w.person for w in self.deciding)

    @property
    def reason(self) -> str:
        return "; ".join(w.reason for w in self.deciding if w.reason)

    @property
    def decided(self) -> int:
        """When; 0 while it waits."""
        return max((w.at for w in self.deciding), default=0) if self.state != "pending" else 0

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "missing": self.missing}


@dataclass(frozen=True)
class Stop:
    """The node was stopped. ``now``: running jobs ended too. ``noted``: how much of it is in the evidence log."""

    id: int
    person: str
    at: int
    reason: str
    through: Through
    now: bool
    resumed: int | None
    resumed_by: str | None
    noted: int


class Decisions:
    """Rows of a node's store."""

    def __init__(self, db: Database) -> None:
        self._db = db

    # -- about jobs

    def ask(self, question: Decision) -> None:
        """Put a job before persons; a question about another plan or policy takes the place of an earlier one, and what
        was said about that is gone."""
        with self._db.transaction() as t:
            t.execute("DELETE FROM words WHERE job = ?", (question.job,))
            t.execute(
                "INSERT OR REPLACE INTO decisions VALUES (?, ?, ?, 'pending', ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    question.job,
                    question.plan,
                    question.policy,
                    question.needed,
                    question.submitter,
                    json.dumps(question.recipients),
                    question.purpose,
                    question.sql,
                    question.told,
                    question.asked,
                    question.expires,
                ),
            )

    def of(self, job: str) -> Decision | None:
        row = self._db.row("SELECT * FROM decisions WHERE job = ?", job)
        return self._decision(row) if row else None

    def all(self) -> list[Decision]:
        """All that was asked, the oldest first."""
        return [self._decision(r) for r in self._db.rows("SELECT * FROM decisions ORDER BY asked, job")]

    def waiting(self, now: int) -> list[Decision]:
        """What persons have yet to decide about; not what ran meanwhile by a standing approval, nor what is over."""
        return [d for d in self.open(now) if d.state == "pending"]

    def open(self, now: int) -> list[Decision]:
        """What may run still, as far as is known here: it waits, or was approved."""
        return [d for d in self.all() if d.state != "rejected" and not (d.over or d.ran) and d.expires > now]

    def end(self, job: str, over: Over) -> None:
        """A job is over: the coordinator says so, which alone could run it. Nothing makes it run again."""
        with self._db.transaction() as t:
            t.execute("INSERT OR IGNORE INTO over VALUES (?, ?, ?, ?)", (job, over.at, over.code, over.party))

    def verify_open(self, job: str) -> None:
        """Raises LocalError job.state where a job is over."""
        if (row := self._db.row("SELECT * FROM over WHERE job = ?", job)) is not None:
            raise _is_over(row)

    def decide(self, job: str, word: Word) -> Decision:
        """A person's word; an approval can be taken back until the job has run. Raises LocalError job.*."""
        with self._db.transaction() as t:
            row = t.execute("SELECT * FROM decisions WHERE job = ?", (job,)).fetchone()
            if row is None:
                raise LocalError("job.unknown", "No job of this id waits for a decision here.", "heji jobs pending")
            if row["expires"] <= word.at:
                raise LocalError("job.expired", "The job's expiry has passed: it will not run.")
            if (over := t.execute("SELECT * FROM over WHERE job = ?", (job,)).fetchone()) is not None:
                raise _is_over(over)
            persons = self._decision(row).persons
            by = f" by {persons}" if persons else ""
            if t.execute(_RAN, (job,)).fetchone() is not None:
                raise LocalError(
                    "job.state",
                    f"The job was approved{by} and has run here: nothing is left to decide or to take back.",
                )
            if row["state"] != "pending" and word.approves:
                raise LocalError("job.state", f"The job was {row['state']}{by} here.")
            before = t.execute("SELECT same FROM words WHERE job = ? AND approves", (job,)).fetchall()
            if word.approves and same_person(word.person) in {r["same"] for r in before}:
                raise LocalError(
                    "job.state",
                    f"{word.person} has approved the job already; it needs {row['needed']} persons.",
                    "Somebody else has to approve it too.",
                )
            t.execute("INSERT OR REPLACE INTO words VALUES (?, ?, ?, ?, ?, ?, ?)", _row(job, word))
            enough = word.approves and len(before) + 1 >= row["needed"]
            state = "rejected" if not word.approves else "approved" if enough else "pending"
            t.execute("UPDATE decisions SET state = ? WHERE job = ?", (state, job))
        found = self.of(job)
        assert found is not None
        return found

    def _decision(self, row: Any) -> Decision:
        fields = dict(row)
        over = self._db.row("SELECT * FROM over WHERE job = ?", row["job"])
        words = self._db.rows(
            "SELECT person, at, reason, through, approves FROM words WHERE job = ? ORDER BY at, same", row["job"]
        )
        return Decision(
            **{**fields, "recipients": tuple(json.loads(fields["recipients"]))},
            over=Over(over["at"], over["code"], over["party"]) if over else None,
            ran=self._db.row(_RAN, row["job"]) is not None,
            words=tuple(Word(**{**dict(w), "approves": bool(w["approves"])}) for w in words),
        )

    # -- about the node

    def stop(self, word: Word, *, now: bool) -> Stop:
        """From now on no job is approved; all that waits, and what was approved and has not run, is withdrawn,
        standing approvals too.

        ``now``: running jobs end too. In one transaction, on disk when it returns.
        """
        with self._db.transaction() as t:
            if t.execute("SELECT 1 FROM stops WHERE resumed IS NULL").fetchone():
                t.execute("UPDATE stops SET now = max(now, ?) WHERE resumed IS NULL", (now,))
            else:
                t.execute(
                    "INSERT INTO stops (person, at, reason, through, now) VALUES (?, ?, ?, ?, ?)",
                    (word.person, word.at, word.reason, word.through, now),
                )
            reason = "the node was stopped" + (f": {word.reason}" if word.reason else "")
            said = Word(word.person, word.at, reason, word.through, approves=False)
            t.execute("DELETE FROM standing_words")
            open_ = t.execute(
                "SELECT job FROM decisions WHERE state IN ('pending', 'approved')"
                " AND job NOT IN (SELECT id FROM jobs WHERE state IN ('done', 'closed'))"
                " AND job NOT IN (SELECT job FROM over)"
            ).fetchall()
            for row in open_:
                t.execute("INSERT OR REPLACE INTO words VALUES (?, ?, ?, ?, ?, ?, ?)", _row(row["job"], said))
                t.execute("UPDATE decisions SET state = 'rejected' WHERE job = ?", (row["job"],))
        found = self.stopped()
        assert found is not None
        return found

    def resume(self, word: Word) -> None:
        """The policy is in force again. Raises LocalError job.state where the node is not stopped."""
        with self._db.transaction() as t:
            ended = t.execute(
                "UPDATE stops SET resumed = ?, resumed_by = ? WHERE resumed IS NULL", (word.at, word.person)
            )
            if not ended.rowcount:
                raise LocalError("job.state", "The node is not stopped.")

    def stopped(self) -> Stop | None:
        """The stop in force."""
        row = self._db.row("SELECT * FROM stops WHERE resumed IS NULL")
        return _stop(row) if row else None

    def not_noted(self) -> list[Stop]:
        """Stops of which something is not in the evidence log yet, the oldest first."""
        rows = self._db.rows("SELECT * FROM stops WHERE noted < 1 + (resumed IS NOT NULL) ORDER BY id")
        return [_stop(r) for r in rows]

    def noted(self, stop: Stop) -> None:
        """What ``stop`` says is in the evidence log."""
        with self._db.transaction() as t:
            t.execute("UPDATE stops SET noted = ? WHERE id = ?", (1 if stop.resumed is None else 2, stop.id))


def _row(job: str, word: Word) -> tuple[object, ...]:
    return job, same_person(word.person), word.person, word.approves, word.at, word.reason, word.through


def _is_over(row: Any) -> LocalError:
    why = " ".join(filter(None, (row["code"], f"of {row['party']}" if row["party"] else "")))
    return LocalError(
        "job.state",
        f"The job has ended elsewhere{f' ({why})' if why else ''}: it will not run, and nothing is left to decide.",
        "Whoever asked can submit the query again: that makes a new job.",
    )


def _stop(row: Any) -> Stop:
    return Stop(**{**dict(row), "now": bool(row["now"])})
