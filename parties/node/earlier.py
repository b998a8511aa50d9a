"""What this node released before that a person should know of who decides about a job: to the same recipient, or of the
same columns.

Columns are those of which values go into a job's numbers or rows (not those by which rows are only chosen or grouped).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from mpc.policy.needs import ADDED, column_of, reveals_of
from mpc.query.plan import Plan
from parties.storage import Database

SCHEMA = """
CREATE TABLE IF NOT EXISTS job_columns (     -- of jobs that were asked about, or approved
    job TEXT NOT NULL, table_name TEXT NOT NULL, column_name TEXT NOT NULL,
    PRIMARY KEY (job, table_name, column_name)
) STRICT;
"""

#: how many are shown
MOST = 12


@dataclass(frozen=True)
class Release:
    """An earlier job. ``sure``: it was released; else masked data had left when it ended, and it may have been.

    ``recipients``, ``columns``: what it has in common with the job that is asked about.
    """

    job: str
    at: int
    to: tuple[str, ...]
    purpose: str
    sql: str
    sure: bool
    recipients: tuple[str, ...]
    columns: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def shown_columns(plan: Plan, party: str) -> tuple[tuple[str, str], ...]:
    """(table, column) of a party whose values the plan lets out in numbers or rows."""
    return tuple(
        sorted(
            {
                column_of(use)
                for reveal in reveals_of(plan, party)
                for use in reveal.uses
                if use.party == party and use.use in ADDED | {"threshold"}
            }
        )
    )


class Earlier:
    """Rows of a node's store, over its jobs."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def remember(self, job: str, columns: Iterable[tuple[str, str]]) -> None:
        """Which columns a job is about."""
        with self._db.transaction() as t:
            t.executemany("INSERT OR IGNORE INTO job_columns VALUES (?, ?, ?)", [(job, *c) for c in columns])

    def related(self, job: str, recipients: Sequence[str]) -> list[Release]:
        """Earlier releases to one of ``recipients`` or over a column of ``job``: first those that share most, of these
        the newest first."""
        rows = self._db.rows(
            "SELECT id, updated, recipients, purpose, sql, state,"
            " (SELECT json_group_array(c.table_name || '.' || c.column_name) FROM job_columns c"
            "  JOIN job_columns mine USING (table_name, column_name) WHERE c.job = jobs.id AND mine.job = ?) AS shared"
            " FROM jobs WHERE id <> ?"
            " AND (state IN ('done', 'closed', 'sending') OR (state = 'aborted' AND input IS NOT NULL))",
            job,
            job,
        )
        found = []
        for r in rows:
            to, shared = tuple(json.loads(r["recipients"])), tuple(sorted(json.loads(r["shared"])))
            same = tuple(x for x in to if x in recipients)
            if same or shared:
                sure = r["state"] in ("done", "closed")
                found.append(Release(r["id"], r["updated"], to, r["purpose"], r["sql"], sure, same, shared))
        return sorted(found, key=lambda f: (-len(f.columns), not f.recipients, -f.at))
