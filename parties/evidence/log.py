"""A member's own append-only log on disk.

    state/log/tail                 entries since the last full tile
    state/log/tile/…, checkpoint   what anybody may be shown, as C2SP tlog-tiles lays it out
    state/log/index.db             where a job's entries are, and signed checkpoints; made anew from the entries
    keys/log-head                  size and root that were signed last

An entry is in the file when ``append`` returns, and on disk when ``checkpoint`` does: a checkpoint is signed over what
is on disk only, and what was signed last is written beside the key before the checkpoint leaves. A log that is shorter
than that, or other than that, was restored from a backup or tampered with: it is refused (checklist 26). What a crash
tore off the end was never signed and is cut off.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from mpc.errors import LocalError
from mpc.evidence import tiles
from mpc.evidence.entry import MAX_ENTRY_BYTES, Chain, Entry, make_entry
from mpc.evidence.merkle import SIZE, Tree, leaf_hash
from mpc.evidence.note import Checkpoint, Line
from parties import files
from parties.clock import now
from parties.identity import KEYS, Identity
from parties.storage import Database

HEAD = "log-head"
#: tenths of a second to wait for another process that writes this log
PATIENCE = 50
_INDEX = """
CREATE TABLE IF NOT EXISTS entries (
    number INTEGER PRIMARY KEY, job TEXT NOT NULL, seq INTEGER NOT NULL, digest TEXT NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS by_job ON entries (job, seq);
CREATE TABLE IF NOT EXISTS checkpoints (size INTEGER PRIMARY KEY, note TEXT NOT NULL) STRICT;
"""


class Log:
    """One member's log, open for appending. Safe to use from several threads."""

    def __init__(self, folder: Path, identity: Identity, clock: Callable[[], int] = now) -> None:
        """``folder``: the member's. Raises LocalError evidence.rollback, store.failed."""
        self._folder, self._identity = folder / "state" / "log", identity
        self._head = folder / KEYS / HEAD
        self._lock = threading.RLock()
        (self._folder / "tile" / "entries").mkdir(parents=True, exist_ok=True, mode=0o700)
        self._held = _hold(self._folder / "lock")
        try:
            self._open(clock)
        except BaseException:
            os.close(self._held)
            raise

    def _open(self, clock: Callable[[], int]) -> None:
        self._tree = Tree()
        self._tail: list[bytes] = []
        self._index = Database(self._folder / "index.db", _INDEX)
        self._pending: list[tuple[int, str, int, str]] = []  # rows for the index
        self._broken: OSError | None = None  # after a failed write nobody knows what is in the file
        self._load()
        self._file = self._open_tail()
        self._check_head()
        self._complete_index()
        self._chain = Chain(self._identity.name, clock, self._last_of_jobs())

    @property
    def origin(self) -> str:
        """The name of this log in its checkpoints."""
        return origin_of(self._identity.name)

    def __len__(self) -> int:
        return len(self._tree)

    def append(self, event: str, job: str = "", attempt: int = 0, **facts: Any) -> None:
        """Add an entry. Raises LocalError store.failed: whoever acts on it must not go on then."""
        with self._lock:
            made = make_entry(
                self._chain.event(event, job, attempt, facts), self._identity.name, self._identity.signing.sign
            )
            raw = made.to_bytes()
            if len(raw) > MAX_ENTRY_BYTES:
                raise LocalError("internal", f"A log entry ({event}) of {len(raw)} bytes is too long.")
            self._write(tiles.bundle([raw]))
            self._pending.append((len(self._tree), job, made.event.seq, made.event.digest()))
            self._tree.append(leaf_hash(raw))
            self._tail.append(raw)
            if len(self._tail) == tiles.WIDTH:
                self._roll()

    def checkpoint(self) -> Checkpoint:
        """Put everything on disk and sign it; the same checkpoint again if nothing was added since."""
        with self._lock:
            size, root = len(self._tree), self._tree.root()
            known = self.latest()
            if known is not None and known.size == size:
                return known
            self._sync()
            files.write(self._head, json.dumps({"size": size, "root": root.hex()}) + "\n", 0o600)
            identity = self._identity
            made = Checkpoint(self.origin, size, root).signed(self.origin, identity.public, identity.signing.sign)
            self._flush_index()
            self._keep(made)
            self._write_partial_tiles()
            files.write(self._folder / "checkpoint", made.text())
            return made

    def add_cosignature(self, size: int, line: Line) -> Checkpoint:
        """Keep another member's cosignature of the checkpoint of this size."""
        with self._lock:
            made = self._noted(size).with_line(line)
            self._keep(made)
            if size == len(self._tree):
                files.write(self._folder / "checkpoint", made.text())
            return made

    def latest(self) -> Checkpoint | None:
        """The newest checkpoint."""
        row = self._index.row("SELECT note FROM checkpoints ORDER BY size DESC LIMIT 1")
        return Checkpoint.parse(row["note"]) if row else None

    def covering(self, number: int) -> list[Checkpoint]:
        """All checkpoints that hold entry ``number``, the smallest first."""
        rows = self._index.rows("SELECT note FROM checkpoints WHERE size > ? ORDER BY size", number)
        return [Checkpoint.parse(r["note"]) for r in rows]

    def between(self, since: int, until: int) -> tuple[Checkpoint | None, Checkpoint]:
        """Two checkpoints between which all entries of a period lie (Unix seconds, both included).

        The first was cosigned before the period began, None: the log's beginning. The second holds what came until the
        period was over, by the most cosigned checkpoint there is. Raises LocalError evidence.missing without one.
        """
        with self._lock:
            points = self.covering(0)
            early = (c for c in reversed(points) if _seen_by(c, since) and self._time(c.size - 1) < since)
            begin = next(early, None)
            last = len(self._tree) - 1
            while last > 0 and self._time(last) > until:
                last -= 1
            covering = [c for c in points if c.size > last]
            if not covering:
                raise LocalError("evidence.missing", "The log has no checkpoint of this period.")
            return begin, max(covering, key=lambda c: (len(c.lines), -c.size))

    def entries(self, first: int, size: int) -> list[bytes]:
        """Entries [first, size)."""
        with self._lock:
            return [self._entry(number) for number in range(first, size)]

    def peaks(self, size: int) -> list[bytes]:
        """Roots of the complete subtrees of the first ``size`` entries."""
        return self._tree.peaks(size)

    def of_job(self, job: str) -> dict[int, bytes]:
        """The entries about a job by their number in the log."""
        with self._lock:
            self._flush_index()
            rows = self._index.rows("SELECT number FROM entries WHERE job = ? ORDER BY seq", job)
            return {r["number"]: self._entry(r["number"]) for r in rows}

    def inclusion(self, number: int, size: int) -> list[bytes]:
        return self._tree.inclusion(number, size)

    def consistency(self, old: int, size: int) -> list[bytes]:
        return self._tree.consistency(old, size)

    def close(self) -> None:
        """Put everything on disk."""
        with self._lock:
            self._sync()
            self._flush_index()
            os.close(self._file)
            self._index.close()
            os.close(self._held)

    # -- files

    def _load(self) -> None:
        """Read full tiles and the tail; cut off what a crash tore."""
        full = 0
        while (self._folder / tiles.path("entries", full)).exists():
            self._load_tile(full)
            full += 1
        path = self._folder / "tail"
        raw = path.read_bytes() if path.exists() else b""
        self._tail, end = tiles.whole_entries(raw)
        if end < len(raw):
            os.truncate(path, end)
        for entry in self._tail:
            self._tree.append(leaf_hash(entry))

    def _load_tile(self, index: int) -> None:
        path = self._folder / tiles.path(0, index)
        hashes = path.read_bytes() if path.exists() else b""
        if len(hashes) != tiles.WIDTH * SIZE:
            entries = tiles.unbundle((self._folder / tiles.path("entries", index)).read_bytes())
            hashes = b"".join(map(leaf_hash, entries))
            self._write_tile(path, hashes)
        for at in range(0, len(hashes), SIZE):
            self._tree.append(hashes[at : at + SIZE])

    def _open_tail(self) -> int:
        descriptor = os.open(self._folder / "tail", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        if len(self._tail) >= tiles.WIDTH:  # a crash between a full tail and its tile
            self._file = descriptor
            self._roll()
            return self._file
        return descriptor

    def _write(self, raw: bytes) -> None:
        if self._broken:
            raise _failed(self._broken)
        try:
            if os.write(self._file, raw) != len(raw):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as problem:
            self._broken = problem
            raise _failed(problem) from problem

    def _sync(self) -> None:
        try:
            os.fsync(self._file)
        except OSError as problem:
            raise _failed(problem) from problem

    def _roll(self) -> None:
        """The tail is full: it becomes a tile, and a new one begins."""
        index = len(self._tree) // tiles.WIDTH - 1
        self._sync()
        hashes = b"".join(self._tree.node(0, index * tiles.WIDTH + i) for i in range(tiles.WIDTH))
        self._write_tile(self._folder / tiles.path(0, index), hashes)
        level, above = 1, index + 1
        while above % tiles.WIDTH == 0:
            above //= tiles.WIDTH
            nodes = b"".join(self._tree.node(8 * level, (above - 1) * tiles.WIDTH + i) for i in range(tiles.WIDTH))
            self._write_tile(self._folder / tiles.path(level, above - 1), nodes)
            level += 1
        target = self._folder / tiles.path("entries", index)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            os.replace(self._folder / "tail", target)
            os.close(self._file)
            self._tail = []
            self._file = os.open(self._folder / "tail", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        except OSError as problem:
            raise _failed(problem) from problem

    def _write_tile(self, path: Path, content: bytes) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        files.write(path, content)

    def _write_partial_tiles(self) -> None:
        """What static readers need beside the full tiles for the tree as it is now. Not fsynced: made anew if lost."""
        size = len(self._tree)
        for level in range(8):
            count = size >> 8 * level
            width = count % tiles.WIDTH
            if width:
                first = count - width
                hashes = b"".join(self._tree.node(8 * level, first + i) for i in range(width))
                self._write_plain(tiles.path(level, count // tiles.WIDTH, width), hashes)
        if self._tail:
            self._write_plain(tiles.path("entries", size // tiles.WIDTH, len(self._tail)), tiles.bundle(self._tail))

    def _write_plain(self, path: str, content: bytes) -> None:
        target = self._folder / path
        scratch = target.with_name(f".{target.name}")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            scratch.write_bytes(content)
            os.replace(scratch, target)  # who reads it meanwhile finds the older one or this one, whole
            for older in target.parent.iterdir():
                if older != target:
                    older.unlink()
        except OSError as problem:
            raise _failed(problem) from problem

    # -- the index

    def _time(self, number: int) -> int:
        return Entry.from_bytes(self._entry(number)).event.time

    def _entry(self, number: int) -> bytes:
        tile, at = divmod(number, tiles.WIDTH)
        if tile == len(self._tree) // tiles.WIDTH:
            return self._tail[at]
        return tiles.unbundle((self._folder / tiles.path("entries", tile)).read_bytes())[at]

    def _complete_index(self) -> None:
        """Entries that came after the index was written last go in, those that a crash tore off go out."""
        size = len(self._tree)
        with self._index.transaction() as t:
            t.execute("DELETE FROM entries WHERE number >= ?", (size,))
            t.execute("DELETE FROM checkpoints WHERE size > ?", (size,))
        known = self._index.row("SELECT count(*) AS n FROM entries")
        assert known is not None
        for number in range(known["n"], size):
            event = Entry.from_bytes(self._entry(number)).event
            self._pending.append((number, event.job, event.seq, event.digest()))
        self._flush_index()

    def _flush_index(self) -> None:
        if self._pending:
            with self._index.transaction() as t:
                t.executemany("INSERT OR REPLACE INTO entries VALUES (?, ?, ?, ?)", self._pending)
            self._pending = []

    def _last_of_jobs(self) -> Mapping[str, tuple[int, str]]:
        rows = self._index.rows("SELECT job, max(seq) AS seq, digest FROM entries GROUP BY job")
        return {r["job"]: (r["seq"] + 1, r["digest"]) for r in rows}

    def _keep(self, checkpoint: Checkpoint) -> None:
        with self._index.transaction() as t:
            t.execute("INSERT OR REPLACE INTO checkpoints VALUES (?, ?)", (checkpoint.size, checkpoint.text()))

    def _noted(self, size: int) -> Checkpoint:
        row = self._index.row("SELECT note FROM checkpoints WHERE size = ?", size)
        assert row is not None
        return Checkpoint.parse(row["note"])

    def _check_head(self) -> None:
        """The log must hold what was signed last."""
        if not self._head.exists():
            if self.latest() is not None:
                raise _rolled_back(f"{self._head} is missing, though checkpoints were signed")
            return
        try:
            head = json.loads(self._head.read_text())
            size, root = int(head["size"]), bytes.fromhex(head["root"])
        except (ValueError, KeyError, TypeError) as problem:
            raise _rolled_back(f"{self._head} cannot be read") from problem
        if size > len(self._tree):
            raise _rolled_back(f"it has {len(self._tree)} entries, where {size} were signed")
        if self._tree.root(size) != root:
            raise _rolled_back(f"its first {size} entries are not those that were signed")


def origin_of(member: str) -> str:
    """The origin line of a member's checkpoints."""
    return f"heji/{member}"


def _seen_by(point: Checkpoint, time: int) -> bool:
    """Whether somebody cosigned before ``time``."""
    return any(line.name != point.origin and line.time() < time for line in point.lines)


def _hold(path: Path) -> int:
    """One process writes a log at a time; the lock goes with the process, however it ends."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
    for _ in range(PATIENCE):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            time.sleep(0.1)
        else:
            return descriptor
    os.close(descriptor)
    raise LocalError(
        "store.failed",
        f"The evidence log {path.parent} is in use by another process.",
        "A member's folder serves one process at a time: stop the other one.",
    )


def _failed(problem: OSError) -> LocalError:
    return LocalError(
        "store.failed",
        f"The evidence log cannot be written: {problem.strerror}.",
        "Make room on the disk or mend its permissions, then start again. Without its log a member takes no part.",
    )


def _rolled_back(why: str) -> LocalError:
    return LocalError(
        "evidence.rollback",
        f"The evidence log is not the one that was signed last: {why}.",
        "Restore the newest state/log; if it is lost, join anew with new keys and tell the consortium: others hold "
        "cosigned checkpoints of the lost entries.",
    )
