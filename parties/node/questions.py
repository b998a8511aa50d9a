"""What was asked of joins that this node took part in, and of its tables without a join, so that later joins can be
compared with it.

A node keeps the query of every join that it approved, or helped with: in its signed approvals an owner names earlier
ones by their digests only, and who computes a join looks them up here, or asks whoever names them (handing.py). No
question is deleted; what a person lets the node forget is that it asks for a comparison with them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from mpc.query.plain import Plain, named_plain, side_of
from mpc.query.plan import Plan
from mpc.query.plan_joins import JoinPool
from mpc.query.questions import Question, Told
from parties.node.decisions import Word
from parties.storage import Database

SCHEMA = """
CREATE TABLE IF NOT EXISTS questions (
    digest TEXT PRIMARY KEY,
    body BLOB NOT NULL               -- what was asked, canonical JSON
) STRICT;
CREATE TABLE IF NOT EXISTS asked (   -- by jobs, in the order in which they were approved here first
    number INTEGER PRIMARY KEY AUTOINCREMENT,  -- never used again, since totals say after which they came
    job TEXT NOT NULL,
    question TEXT NOT NULL REFERENCES questions(digest),
    tables TEXT NOT NULL,            -- of one join: JSON, sorted
    UNIQUE (job, tables)
) STRICT;
CREATE TABLE IF NOT EXISTS plain (   -- populations of totals without a join, in the order in which they were approved
    number INTEGER PRIMARY KEY,
    job TEXT NOT NULL,
    name TEXT NOT NULL,
    body BLOB NOT NULL,              -- canonical JSON
    after INTEGER NOT NULL,          -- the last of ``asked`` then
    UNIQUE (job, name)
) STRICT;
CREATE TABLE IF NOT EXISTS question_names (  -- which nonce a question has here, however often it is asked
    content TEXT PRIMARY KEY,
    question TEXT NOT NULL REFERENCES questions(digest)
) STRICT;
CREATE TABLE IF NOT EXISTS forgettings (  -- a person's word that joins need not be compared with what was asked before
    id INTEGER PRIMARY KEY,
    person TEXT NOT NULL, at INTEGER NOT NULL, reason TEXT NOT NULL, through TEXT NOT NULL,
    questions INTEGER NOT NULL,      -- how many
    noted INTEGER NOT NULL DEFAULT 0 -- 1: it is in the evidence log
) STRICT;
"""

#: jobs of which something left this node, or may leave it yet
_LET_OUT = "(j.state IN ('approved', 'running', 'sending', 'done') OR j.input IS NOT NULL)"


def totalled_joins(plan: Plan) -> list[JoinPool]:
    """The joins of a plan whose totals are exact and shown by group, of which populations are compared."""
    return [] if plan.noise is not None else [pool for _, pool in plan.hidden_joins if not pool.by_row]


@dataclass(frozen=True)
class Forgetting:
    """That a person let the node forget so many ``questions``."""

    id: int
    person: str
    at: int
    questions: int


class Questions:
    """Rows of a node's store, over its jobs."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def remember(self, job: str, question: Question, joins: Sequence[JoinPool]) -> None:
        """What a job asks of these joins, by the nonce with which it was known here first."""
        if not joins:
            return
        self.keep(question)
        with self._db.transaction() as t:
            (name,) = t.execute("SELECT question FROM question_names WHERE content = ?", (question.content,)).fetchone()
            t.executemany(
                "INSERT OR IGNORE INTO asked (job, question, tables) VALUES (?, ?, ?)",
                [(job, name, json.dumps(_tables(pool))) for pool in joins],
            )

    def remember_plain(self, job: str, totals: Iterable[Plain]) -> None:
        """What a job asks of this node's tables without a join."""
        with self._db.transaction() as t:
            t.executemany(
                "INSERT OR IGNORE INTO plain (job, name, body, after)"
                " SELECT ?, ?, ?, COALESCE(MAX(number), 0) FROM asked",
                [(job, p.name, p.to_bytes()) for p in totals],
            )

    def keep(self, question: Question) -> None:
        """A question by its digest; the first of equal content is what this node names later."""
        with self._db.transaction() as t:
            t.execute("INSERT OR IGNORE INTO questions VALUES (?, ?)", (question.digest(), question.to_bytes()))
            t.execute("INSERT OR IGNORE INTO question_names VALUES (?, ?)", (question.content, question.digest()))

    def before(self, job: str, joins: Sequence[JoinPool], me: str) -> tuple[Told, ...]:
        """What other jobs asked of tables of one of these joins, and of this node's tables in them without a join, in
        the order of the first of each.

        All owners of the join had a part in such a job: another would be told what was asked behind its back. Of
        totals without one they are told how many there are."""
        wanted = [_tables(pool) for pool in joins]
        rows = self._db.rows(
            "SELECT a.number, a.question, a.tables FROM asked a JOIN jobs j ON j.id = a.job WHERE a.job <> ? AND "
            + _LET_OUT
            + " ORDER BY a.number",
            job,
        )
        found: list[tuple[int, int, Told]] = [
            (r["number"], 0, r["question"]) for r in rows if any(_among(json.loads(r["tables"]), w) for w in wanted)
        ]
        for row in self._db.rows("SELECT number, body, after FROM plain WHERE job <> ?", job):
            plain = Plain.from_bytes(row["body"])
            if any(side_of(me, plain.table, side) for pool in joins for side in pool.sides):
                found.append((row["after"], row["number"], named_plain(me, plain, joins)))
        return tuple(dict.fromkeys(told for _, _, told in sorted(found, key=lambda one: one[:2])))

    def of(self, names: Iterable[str]) -> dict[str, Question]:
        """Those of these digests that are known here."""
        rows = (self._db.row("SELECT digest, body FROM questions WHERE digest = ?", name) for name in names)
        return {r["digest"]: Question.from_bytes(r["body"]) for r in rows if r is not None}

    # -- what a person lets the node forget

    def named(self, begins: str = "") -> dict[str, Question | None]:
        """What this node names to others for one join or another, the first asked first; None: it was lost.
        ``begins``: of digests."""
        rows = self._db.rows("SELECT question FROM asked GROUP BY question ORDER BY min(number)")
        names = [r["question"] for r in rows if r["question"].startswith(begins)]
        known = self.of(names)
        return {n: known.get(n) for n in names}

    def forget(self, names: Iterable[str], word: Word) -> None:
        """Name these no more, until they are asked again. On disk when it returns."""
        with self._db.transaction() as t:
            gone = sum(bool(t.execute("DELETE FROM asked WHERE question = ?", (n,)).rowcount) for n in names)
            t.execute(
                "INSERT INTO forgettings (person, at, reason, through, questions) VALUES (?, ?, ?, ?, ?)",
                (word.person, word.at, word.reason, word.through, gone),
            )

    def not_noted(self) -> list[Forgetting]:
        """What is not in the evidence log yet, the oldest first."""
        rows = self._db.rows("SELECT id, person, at, questions FROM forgettings WHERE noted = 0 ORDER BY id")
        return [Forgetting(**dict(r)) for r in rows]

    def noted(self, forgetting: Forgetting) -> None:
        """It is in the evidence log."""
        with self._db.transaction() as t:
            t.execute("UPDATE forgettings SET noted = 1 WHERE id = ?", (forgetting.id,))


def _tables(pool: JoinPool) -> list[list[str]]:
    """Party and tables of each side, sorted."""
    return sorted([s.party, *sorted(s.query.tables)] for s in pool.sides)


def _among(tables: list[list[str]], others: list[list[str]]) -> bool:
    """Whether all tables are among the others, of the same parties."""
    return all(t in others for t in tables) and {t[0] for t in tables} == {t[0] for t in others}
