"""Standing approvals in the node: the file, the persons who put it in force, and how often it was used.

``standing.toml`` is text; it is worth something once as many persons have approved it as the grants ask for, exactly
this text under the policy as it stands. A use is written before anything of the job is sent, once for each job.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mpc.errors import LocalError
from mpc.policy.persons import same_person
from mpc.policy.standing import Standing, parse_standing
from parties import files
from parties.node.decisions import Word
from parties.storage import Database

FILE = "standing.toml"

SCHEMA = """
CREATE TABLE IF NOT EXISTS standing_words (  -- who put which standing approval in force, under which policy
    standing TEXT NOT NULL, policy TEXT NOT NULL,    -- digests
    same TEXT NOT NULL, person TEXT NOT NULL, at INTEGER NOT NULL, reason TEXT NOT NULL, through TEXT NOT NULL,
    PRIMARY KEY (standing, policy, same)
) STRICT;
CREATE TABLE IF NOT EXISTS standing_uses (
    standing TEXT NOT NULL, job TEXT NOT NULL, day TEXT NOT NULL, PRIMARY KEY (standing, job)
) STRICT;
"""


def read_standing(folder: Path) -> tuple[Standing, ...]:
    """``folder``/standing.toml; none without the file. Raises LocalError policy.invalid, config.missing."""
    path = folder / FILE
    try:
        return parse_standing(files.read(path, "the standing approvals").decode()) if path.exists() else ()
    except UnicodeDecodeError as problem:
        raise LocalError("policy.invalid", f"{FILE} is no UTF-8 text.", "Save it as UTF-8.") from problem


def named(folder: Path, name: str) -> Standing:
    """The one of this name. Raises LocalError config.missing, policy.invalid."""
    known = {s.name: s for s in read_standing(folder)}
    if name not in known:
        raise LocalError(
            "config.missing", f"{FILE} has none called {name!r}.", f"It has: {', '.join(known) or 'none'}."
        )
    return known[name]


@dataclass(frozen=True)
class State:
    """A standing approval as persons see it. ``words``: who has approved it under the policy in force."""

    what: Standing
    digest: str
    words: tuple[Word, ...]
    used: int

    def to_dict(self) -> dict[str, Any]:
        return {
            **self.what.told(),
            "digest": self.digest,
            "approved_by": [w.told() for w in self.words],
            "used": self.used,
        }


class StandingWords:
    """Rows of a node's store."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def approve(self, standing: Standing, policy: str, word: Word) -> None:
        """A person's yes to exactly this text under this policy (digest). Raises LocalError policy.invalid where it is
        over, job.state."""
        if standing.expires < dt.datetime.fromtimestamp(word.at, dt.UTC).date():
            raise LocalError(
                "policy.invalid",
                f"The standing approval {standing.name!r} is over since {standing.expires}: no job would run by it.",
                f"Set a later day in {FILE}, and approve it then.",
            )
        if same_person(word.person) in {same_person(w.person) for w in self.of(standing, policy)}:
            raise LocalError(
                "job.state", f"{word.person} has approved {standing.name!r} already.", "Another person may, too."
            )
        with self._db.transaction() as t:
            t.execute(
                "INSERT INTO standing_words VALUES (?, ?, ?, ?, ?, ?, ?)",
                (
                    standing.digest(),
                    policy,
                    same_person(word.person),
                    word.person,
                    word.at,
                    word.reason,
                    word.through,
                ),
            )

    def withdraw(self, standing: Standing) -> None:
        """Nobody's yes counts any more."""
        with self._db.transaction() as t:
            t.execute("DELETE FROM standing_words WHERE standing = ?", (standing.digest(),))

    def of(self, standing: Standing, policy: str) -> tuple[Word, ...]:
        """Who approved it, the oldest first."""
        rows = self._db.rows(
            "SELECT person, at, reason, through FROM standing_words WHERE standing = ? AND policy = ? "
            " ORDER BY at, same",
            standing.digest(),
            policy,
        )
        return tuple(Word(**dict(r)) for r in rows)

    def uses(self, standing: Standing, day: dt.date, *, but: str = "") -> int:
        """How many jobs used it in the period that ``day`` is in; the job ``but`` is not counted."""
        row = self._db.row(
            "SELECT count(*) AS n FROM standing_uses WHERE standing = ? AND day LIKE ? AND job <> ?",
            standing.digest(),
            standing.period(day) + "%",
            but,
        )
        assert row is not None
        return int(row["n"])

    def use(self, standing: Standing, job: str, day: dt.date) -> None:
        """Count a job, on disk when it returns. Raises LocalError policy.spent where others took the last use."""
        with self._db.transaction() as t:
            used = t.execute(
                "SELECT count(*) AS n FROM standing_uses WHERE standing = ? AND day LIKE ? AND job <> ?",
                (standing.digest(), standing.period(day) + "%", job),
            ).fetchone()["n"]
            if used >= standing.runs:
                raise LocalError(
                    "policy.spent",
                    f"The standing approval {standing.name!r} is for {standing.runs} job(s) in this period "
                    f"({standing.per}), and they have run.",
                    "Wait for the next period; or submit the query again, and persons are asked.",
                )
            t.execute("INSERT OR IGNORE INTO standing_uses VALUES (?, ?, ?)", (standing.digest(), job, day.isoformat()))


def state_of(standing: Standing, words: StandingWords, policy: str, now: int) -> State:
    """How a standing approval stands at Unix time ``now`` under a policy (digest)."""
    today = dt.datetime.fromtimestamp(now, dt.UTC).date()
    return State(standing, standing.digest(), words.of(standing, policy), words.uses(standing, today))
