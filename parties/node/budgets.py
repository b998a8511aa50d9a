"""The budget ledger: what jobs with noise spent of an owner's budgets, on disk before it is sent.

    reserved ──▶ spent       masked data is about to leave
        └──▶ (gone)          the attempt ended before that, or its node did

Both count (mpc/policy/budget.py). What is spent stays spent, whatever became of the job. A row belongs to a job over
one state of the data and to one seed of noise: another attempt spends nothing, since it must show the same noise.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction

from mpc.errors import LocalError
from mpc.policy.budget import Spent, decimal
from parties.storage import Database

SCHEMA = """
CREATE TABLE IF NOT EXISTS spends (
    job TEXT NOT NULL, snapshot TEXT NOT NULL,
    table_name TEXT NOT NULL, column_name TEXT NOT NULL,
    organisation TEXT NOT NULL,      -- the recipient's
    epsilon TEXT NOT NULL,
    day TEXT NOT NULL,
    noise TEXT NOT NULL,             -- commitment to the seed of the noise
    state TEXT NOT NULL,             -- reserved, spent
    PRIMARY KEY (job, snapshot, table_name, column_name, organisation)
) STRICT;
"""

#: table, column, organisation
Shown = tuple[str, str, str]


class Budgets:
    """The ledger, in the node's database. ``reserve`` and ``spend`` are on disk when they return."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def reserve(
        self,
        job: str,
        snapshot: str,
        noise: str,
        day: dt.date,
        epsilon: Fraction,
        shown: Iterable[Shown],
        judge: Callable[[Sequence[Spent]], object],
    ) -> None:
        """Set aside what a job will spend. ``judge`` is shown what others spent, and raises where that is too much;
        nothing comes in between. Raises LocalError policy.spent, evidence.missing, store.failed."""
        with self._db.transaction() as t:
            if self._db.row("SELECT 1 FROM spends WHERE job = ? AND snapshot = ? AND noise <> ?", job, snapshot, noise):
                raise LocalError(
                    "evidence.missing",
                    "The noise of an earlier attempt of this job is not kept any more, and another sample of it would "
                    "be another release.",
                    "Submit the query again: that makes a new job, which spends again.",
                )
            judge([s for s in self._all() if s.release != _release(job, snapshot)])
            t.executemany(
                "INSERT OR IGNORE INTO spends VALUES (?, ?, ?, ?, ?, ?, ?, ?, 'reserved')",
                [(job, snapshot, *s, decimal(epsilon), day.isoformat(), noise) for s in shown],
            )

    def spend(self, job: str, snapshot: str) -> None:
        """Before masked data leaves."""
        with self._db.transaction() as t:
            t.execute("UPDATE spends SET state = 'spent' WHERE job = ? AND snapshot = ?", (job, snapshot))

    def release(self, job: str | None = None) -> None:
        """Give back what was reserved and not spent: of a job whose attempt has ended, or of all after a start."""
        with self._db.transaction() as t:
            t.execute("DELETE FROM spends WHERE state = 'reserved' AND coalesce(job = ?, TRUE)", (job,))

    def others(self, job: str) -> list[Spent]:
        """What other jobs reserved and spent."""
        return [s for s in self._all() if not s.release.startswith(f"{job}/")]

    def all(self) -> list[Spent]:
        """Everything, the oldest first."""
        return self._all()

    def _all(self) -> list[Spent]:
        return [
            Spent(
                _release(r["job"], r["snapshot"]),
                r["table_name"],
                r["column_name"],
                r["organisation"],
                Fraction(r["epsilon"]),
                dt.date.fromisoformat(r["day"]),
            )
            for r in self._db.rows("SELECT * FROM spends ORDER BY day, job, table_name, column_name, organisation")
        ]


def _release(job: str, snapshot: str) -> str:
    return f"{job}/{snapshot}"
