"""The release ledger: which populations of this node's entities went into released numbers, on disk before anything
is sent.

A job is decided once over one state of the data, and of joins without a helper once more over what met: a later
attempt finds the same cells spoiled and is no second release. What is written is never deleted; a job that failed
afterwards counts as released. Equal populations are stored once, as fingerprints that are pseudorandom under a key of
this store: 8 bytes an entity of every cell, and 8 for what it contributes to a column. All shown cells together take
none where no entity is in two of them.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from sqlite3 import Connection

import numpy as np
from numpy.typing import NDArray

from mpc.crypto.labels import digest, framed, label
from mpc.crypto.tags import tags
from mpc.errors import LocalError
from mpc.policy.differencing import COMPARED, Flags, Known, LetOut, Measured, spoil
from mpc.policy.numbers import Numbers
from mpc.policy.populations import Apart, Over, Population, Released, Words
from parties.storage import Database

_SCHEMA = """
CREATE TABLE IF NOT EXISTS secrets (name TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS fingerprints (    -- of entities, or what they contribute: of several populations the same
    id INTEGER PRIMARY KEY,
    digest BLOB NOT NULL UNIQUE,
    body BLOB NOT NULL               -- 8 bytes each, little-endian
) STRICT;
CREATE TABLE IF NOT EXISTS populations (
    id INTEGER PRIMARY KEY,
    digest BLOB NOT NULL UNIQUE,
    marks BLOB NOT NULL,             -- its smallest contributions, by which it is found
    size INTEGER NOT NULL,
    entities INTEGER REFERENCES fingerprints(id),     -- ascending, NULL: it is made of parts
    contributions INTEGER REFERENCES fingerprints(id) -- NULL: they follow from the entities, or it is made of parts
) STRICT;
CREATE TABLE IF NOT EXISTS parts (           -- populations without an entity in common
    population INTEGER NOT NULL REFERENCES populations(id), part INTEGER NOT NULL REFERENCES populations(id),
    PRIMARY KEY (population, part)
) STRICT;
CREATE TABLE IF NOT EXISTS releases (    -- jobs whose cells were decided about
    id INTEGER PRIMARY KEY,
    job TEXT NOT NULL, snapshot TEXT NOT NULL,
    met TEXT NOT NULL,               -- the join that this is about and what met, '': what is known before
    recipients TEXT NOT NULL,        -- JSON
    spoiled BLOB NOT NULL,           -- the cells that were hidden, packed bits
    UNIQUE (job, snapshot, met)
) STRICT;
CREATE TABLE IF NOT EXISTS released (
    release INTEGER NOT NULL REFERENCES releases(id), population INTEGER NOT NULL REFERENCES populations(id),
    table_name TEXT NOT NULL, column_name TEXT NOT NULL,
    over TEXT NOT NULL,              -- whom the population holds: 'rows', 'chosen', 'part', 'met'
    min_entities INTEGER NOT NULL,   -- of the job
    PRIMARY KEY (release, population, table_name, column_name, over)
) STRICT;
CREATE TABLE IF NOT EXISTS totals (      -- populations of totals without a join, which later joins are compared with
    release INTEGER NOT NULL REFERENCES releases(id), population INTEGER NOT NULL REFERENCES populations(id),
    name TEXT NOT NULL,              -- as approvals have it
    cell INTEGER NOT NULL,           -- -1: all that were let out together
    PRIMARY KEY (name, cell, release)
) STRICT;
CREATE INDEX IF NOT EXISTS released_columns ON released (table_name, column_name);
CREATE TABLE IF NOT EXISTS numbers (     -- that were let out of populations
    population INTEGER NOT NULL REFERENCES populations(id),
    table_name TEXT NOT NULL, column_name TEXT NOT NULL,
    number BLOB NOT NULL,            -- its name
    release INTEGER NOT NULL REFERENCES releases(id),  -- the first
    PRIMARY KEY (population, table_name, column_name, number)
) STRICT;
"""
#: the key of fingerprints as they are made now; those made otherwise are not compared with them
_SECRET = "SELECT value FROM secrets WHERE name = 'releases/3'"


class Releases:
    """The ledger, in ``state/node.db``, with a connection of its own: it is used from worker threads."""

    def __init__(self, path: Path, *, remember: bool = True, most: int = 8 << 30) -> None:
        """``remember``: False to look up only what was decided (replay). ``most``: bytes of populations.

        Raises LocalError store.*.
        """
        self._remember = remember
        self._most = most
        self._db = Database(path, _SCHEMA)
        self._turn = threading.Lock()  # what is decided for one job is on disk before the next is looked at
        with self._db.transaction() as t:
            if t.execute(_SECRET).fetchone() is None:
                if t.execute("SELECT 1 FROM releases").fetchone():
                    raise _written_otherwise()
                _begin(t)
        row = self._db.row(_SECRET)
        assert row is not None
        self._key = bytes(row["value"])
        #: 32 bytes, of the fingerprints that local queries give
        self.key = digest("releases/texts", self._key)

    def close(self) -> None:
        self._db.close()

    def fingerprints(self, digests: Words) -> Words:
        """Keyed fingerprints of entities from their digests, (n,)."""
        return self._tags("entity", np.zeros_like(digests), digests)

    def seal(self, entities: Words, sums: Words) -> Words:
        """Keyed contributions, (n,)."""
        return self._tags("contribution", entities, sums)

    def _tags(self, purpose: str, first: Words, second: Words) -> Words:
        key = hashlib.sha256(framed(label(f"releases/{purpose}"), self._key)).digest()
        rows = np.column_stack((first, second)).astype("<u8")
        found: Words = tags(key, rows.view(np.uint8).reshape(-1, 16))[:, 0].copy()
        return found

    def decide(
        self,
        job: str,
        snapshot: str,
        recipients: Sequence[str],
        measures: Sequence[Measured],
        least: int,
        most: Mapping[Released, int],
        met: str = "",
    ) -> list[Flags]:
        """The cells that are spoiled besides, by measure; and remember what is released. ``least``: min_entities,
        ``most``: max_numbers, of columns that have one; ``met``: of a join without a helper which it is and what met
        there. Raises LocalError store.*."""
        with self._turn:
            made = self.decided(job, snapshot, met, [len(m.hidden) for m in measures])
            if made is not None:
                return made
            # before anything is sent an earlier attempt of the job has released nothing; when it is known what met,
            # all that the job lets out besides counts
            others = job if not met else ""
            wanted = {(b.column, m.over) for m in measures for b in m.behind}
            known = {(column, over): self._known(column, over, others) for column, over in sorted(wanted)}
            numbers = Numbers(most, partial(self._number, job), self._numbers)
            spoiled, out = spoil(measures, known, numbers, least)
            if self._remember:
                named = [of for m, cells in zip(measures, spoiled, strict=True) for of in m.named(cells)]
                self._write(job, snapshot, met, recipients, spoiled, out, least, named)
            return spoiled

    def total(self, name: str, job: str, snapshot: str) -> dict[int, Population]:
        """Of a total without a join, by its name, the population of each cell when it was last let out before this job
        was decided about, and (``ALL``) of all cells together."""
        rows = self._db.rows(
            "SELECT cell, population, MAX(release) FROM totals WHERE name = ? AND release < ? GROUP BY cell",
            name,
            self._number_of(job, snapshot),
        )
        return {row["cell"]: self._load(row["population"]) for row in rows}

    def totals_before(self, job: str, snapshot: str) -> frozenset[str]:
        """The names of all such totals."""
        rows = self._db.rows("SELECT DISTINCT name FROM totals WHERE release < ?", self._number_of(job, snapshot))
        return frozenset(row["name"] for row in rows)

    def _number_of(self, job: str, snapshot: str) -> int:
        row = self._db.row("SELECT id FROM releases WHERE job = ? AND snapshot = ? AND met = ''", job, snapshot)
        return 2**62 if row is None else int(row["id"])

    def decided(self, job: str, snapshot: str, met: str, cells: Sequence[int]) -> list[Flags] | None:
        """What was decided before, of measures with so many ``cells``; None: nothing."""
        made = self._db.row(
            "SELECT spoiled FROM releases WHERE job = ? AND snapshot = ? AND met = ?", job, snapshot, met
        )
        return None if made is None else _unpacked(made["spoiled"], cells)

    def decided_on(self, job: str, met: str, cells: Sequence[int]) -> list[Flags] | None:
        """The same, of what met in a join: when that is known a job goes on over one state of the data only."""
        made = self._db.row("SELECT spoiled FROM releases WHERE job = ? AND met = ? ORDER BY id DESC", job, met)
        return None if made is None else _unpacked(made["spoiled"], cells)

    def _number(self, job: str, what: str, value: int | None) -> bytes:
        said = f"of {job}" if value is None else str(value)
        return digest("releases/number", self._key, what.encode(), said.encode())[:16]

    def _numbers(self, column: Released, population: bytes) -> set[bytes]:
        """What was let out of a population, by this job's earlier attempts on other data too."""
        rows = self._db.rows(
            "SELECT n.number FROM numbers n JOIN populations p ON p.id = n.population"
            " WHERE p.digest = ? AND n.table_name = ? AND n.column_name = ?",
            population,
            *column,
        )
        return {bytes(r["number"]) for r in rows}

    def _known(self, column: Released, over: Over, job: str) -> Known:
        """What other jobs than this released of a column that such a population is compared with."""
        known, alike = Known(), COMPARED[over]
        found = self._db.rows(
            "SELECT p.id, p.digest, p.marks, p.size, MAX(r.min_entities) AS least, r.over, MIN(j.id) AS first"
            " FROM released r JOIN populations p ON p.id = r.population JOIN releases j ON j.id = r.release"
            " WHERE r.table_name = ? AND r.column_name = ? AND j.job <> ?"
            f" AND r.over IN ({', '.join('?' for _ in alike)}) GROUP BY p.id, r.over",
            *column,
            job,
            *alike,
        )
        first = {bytes(row["digest"]): row["first"] for row in found if row["over"] == "rows"}
        for row in found:
            part = over == "rows" and row["over"] == "part"
            known.add(
                np.frombuffer(row["marks"], "<u8").tolist(),
                partial(self._load, row["id"]),
                row["least"],
                row["size"],
                bytes(row["digest"]),
                part=part,
                settled={d for d, release in first.items() if release < row["first"]} if part else (),
            )
        return known

    def _load(self, population: int) -> Population:
        row = self._db.row("SELECT entities, contributions FROM populations WHERE id = ?", population)
        assert row is not None
        if row["entities"] is None:
            parts = self._db.rows("SELECT part FROM parts WHERE population = ?", population)
            return Apart([self._load(p["part"]) for p in parts])
        entities = self._words(row["entities"])
        if row["contributions"] is None:
            return Population(entities, self.seal(entities, np.ones_like(entities)), plain=True)
        return Population(entities, self._words(row["contributions"]))

    def _words(self, column: int) -> Words:
        row = self._db.row("SELECT body FROM fingerprints WHERE id = ?", column)
        assert row is not None
        return np.frombuffer(row["body"], dtype="<u8").astype(np.uint64, copy=False)

    def _write(
        self,
        job: str,
        snapshot: str,
        met: str,
        recipients: Sequence[str],
        spoiled: Sequence[Flags],
        out: LetOut,
        least: int,
        named: Sequence[tuple[str, int, Population]],
    ) -> None:
        with self._db.transaction() as t:
            packed = np.packbits(np.concatenate([*spoiled, np.zeros(0, dtype=bool)])).tobytes()
            release = t.execute(
                "INSERT INTO releases (job, snapshot, met, recipients, spoiled) VALUES (?, ?, ?, ?, ?)",
                (job, snapshot, met, json.dumps(list(recipients)), packed),
            ).lastrowid
            for (table, column), over, p in out.populations:
                t.execute(
                    "INSERT OR IGNORE INTO released VALUES (?, ?, ?, ?, ?, ?)",
                    (release, _keep(t, p), table, column, over, least),
                )
            t.executemany(
                "INSERT OR IGNORE INTO totals (release, population, name, cell) VALUES (?, ?, ?, ?)",
                [(release, _keep(t, p), name, cell) for name, cell, p in named],
            )
            held = t.execute("SELECT COALESCE(SUM(length(body)), 0) FROM fingerprints").fetchone()[0]
            if held > self._most:
                raise _full(self._most)
            t.executemany(
                "INSERT OR IGNORE INTO numbers SELECT id, ?, ?, ?, ? FROM populations WHERE digest = ?",
                [(table, column, name, release, population) for (table, column), population, name in out.numbers],
            )


def _begin(t: Connection) -> None:
    """An empty ledger, in place of an empty one that another version may have laid out."""
    for table in ("totals", "numbers", "released", "parts", "populations", "fingerprints", "releases"):
        t.execute(f"DROP TABLE IF EXISTS {table}")
    for statement in _SCHEMA.split(";"):
        t.execute(statement)
    t.execute("INSERT INTO secrets VALUES ('releases/3', ?)", (os.urandom(32),))


def _keep(t: Connection, p: Population) -> int:
    """The id of a population, which is written if it is not there yet: of parts as these, of rows that only count
    without contributions."""
    there = t.execute("SELECT id FROM populations WHERE digest = ?", (p.digest,)).fetchone()
    if there is not None:
        return int(there[0])
    parts = [_keep(t, part) for part in p.parts]
    entities = None if parts else _keep_words(t, p.entities)
    contributions = None if parts or p.plain else _keep_words(t, p.contributions)
    marks = np.array(sorted(p.marks), dtype="<u8").tobytes()
    population = t.execute(
        "INSERT INTO populations (digest, marks, size, entities, contributions) VALUES (?, ?, ?, ?, ?)",
        (p.digest, marks, len(p), entities, contributions),
    ).lastrowid
    t.executemany("INSERT OR IGNORE INTO parts VALUES (?, ?)", [(population, part) for part in parts])
    assert population is not None
    return population


def _keep_words(t: Connection, words: Words) -> int:
    """The id of a column of fingerprints."""
    body = np.ascontiguousarray(words, dtype="<u8")
    by_content = hashlib.sha256(body.data).digest()
    t.execute("INSERT OR IGNORE INTO fingerprints (digest, body) VALUES (?, ?)", (by_content, body.data))
    return int(t.execute("SELECT id FROM fingerprints WHERE digest = ?", (by_content,)).fetchone()[0])


def _unpacked(packed: bytes, cells: Sequence[int]) -> list[Flags]:
    flags = np.unpackbits(np.frombuffer(packed, np.uint8), count=sum(cells)).astype(bool)
    found: list[NDArray[np.bool_]] = np.split(flags, np.cumsum(cells)[:-1])
    return found


def _written_otherwise() -> LocalError:
    return LocalError(
        "store.version",
        "The release ledger in state/node.db was written by an earlier version, whose fingerprints compare with none "
        "of this one's: differences to what was released before would not be seen.",
        "Go on with the version that wrote it, or begin a new ledger knowingly (docs/operations.md, Restart, upgrade).",
    )


def _full(most: int) -> LocalError:
    return LocalError(
        "job.limits",
        f"The release ledger would pass {most / 1e9:.1f} GB, and what is not remembered is not let out.",
        "Raise release_ledger_bytes in member.toml. Nothing can be dropped: later jobs are compared with all of it.",
    )
