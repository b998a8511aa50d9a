"""The log on disk: it goes on after any crash, serves its tiles, and never forgets what was signed."""

from __future__ import annotations

import itertools
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tlog_scales.reader import TilesReader

from mpc.errors import LocalError
from mpc.evidence import tiles
from mpc.evidence.entry import Entry
from mpc.evidence.merkle import Tree, consistent, included, leaf_hash
from mpc.evidence.note import Checkpoint, cosign
from parties import files
from parties.config import template
from parties.evidence import static
from parties.evidence.log import Log, origin_of
from parties.evidence.service import most_seen
from parties.identity import Identity, load_identity, make_identity, save_identity

NOW = 1_790_000_000
JOB, OTHER = "ab" * 32, "cd" * 32


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    here = tmp_path / "bank_a"
    here.mkdir()
    (here / "member.toml").write_text(template("bank_a", ""))
    save_identity(here, make_identity("bank_a", NOW))
    return here


def opened(folder: Path) -> Log:
    return Log(folder, load_identity(folder), lambda: NOW)


def identity(folder: Path) -> Identity:
    return load_identity(folder)


def test_entries_are_signed_chained_and_proved(folder: Path) -> None:
    log = opened(folder)
    for i in range(300):
        log.append("sent", JOB if i % 3 else OTHER, 1, step=f"pool0/{i}")
    point = log.checkpoint()
    public = identity(folder).public
    assert point.size == 300 and point.signed_by(origin_of("bank_a"), public)
    before, seq = "", 0
    for number, raw in log.of_job(JOB).items():
        entry = Entry.from_bytes(raw)
        assert entry.signed_by(public)
        assert (entry.event.seq, entry.event.prev) == (seq, before)
        assert included(leaf_hash(raw), number, 300, log.inclusion(number, 300), point.root)
        before, seq = entry.event.digest(), seq + 1
    assert seq == 200
    log.close()


def test_it_goes_on_after_a_restart(folder: Path) -> None:
    log = opened(folder)
    log.append("approved", JOB, 1)
    first = log.checkpoint()
    log.append("sent", JOB, 1)
    log.close()
    again = opened(folder)
    again.append("done", JOB, 1)
    second = again.checkpoint()
    events = [Entry.from_bytes(raw).event for raw in again.of_job(JOB).values()]
    assert [e.event for e in events] == ["approved", "sent", "done"]
    assert events[2].prev == events[1].digest() and events[2].seq == 2
    assert consistent(first.size, first.root, second.size, second.root, again.consistency(1, 3))
    assert again.checkpoint() == second  # nothing new, nothing signed anew
    again.close()


def test_tiles_as_anybody_may_read_them(folder: Path) -> None:
    log = opened(folder)
    for i in range(2 * tiles.WIDTH + 5):
        log.append("sent", JOB, 1, step=str(i))
    point = log.checkpoint()
    base = folder / "state" / "log"
    assert Checkpoint.parse((base / "checkpoint").read_text()) == point
    raw = b"".join((base / tiles.path("entries", i)).read_bytes() for i in range(2))
    raw += (base / tiles.path("entries", 2, 5)).read_bytes()
    entries = tiles.unbundle(raw)
    assert len(entries) == point.size
    assert Tree(map(leaf_hash, entries)).root() == point.root
    hashes = b"".join((base / tiles.path(0, i)).read_bytes() for i in range(2))
    assert hashes + (base / tiles.path(0, 2, 5)).read_bytes() == b"".join(map(leaf_hash, entries))
    above = (base / tiles.path(1, 0, 2)).read_bytes()
    assert above == b"".join(Tree(map(leaf_hash, entries[i : i + 256])).root() for i in (0, 256))
    log.close()


def test_paths_of_tiles() -> None:
    assert tiles.path(0, 0) == "tile/0/000"
    assert tiles.path(0, 1234067, 17) == "tile/0/x001/x234/067.p/17"
    assert tiles.path("entries", 999) == "tile/entries/999"


def test_a_log_from_a_backup_is_refused(folder: Path, tmp_path: Path) -> None:
    log = opened(folder)
    log.append("approved", JOB, 1)
    log.checkpoint()
    log.close()
    shutil.copytree(folder / "state", tmp_path / "backup")
    log = opened(folder)
    log.append("done", JOB, 1)
    log.checkpoint()
    log.close()
    shutil.rmtree(folder / "state")
    shutil.copytree(tmp_path / "backup", folder / "state")
    with pytest.raises(LocalError) as refused:
        opened(folder)
    assert refused.value.code == "evidence.rollback" and "1 entries, where 2" in refused.value.message


def test_a_rewritten_entry_is_refused(folder: Path) -> None:
    log = opened(folder)
    log.append("approved", JOB, 1, policy="one")
    log.checkpoint()
    log.close()
    (folder / "keys" / "log-head").rename(folder / "aside")
    shutil.rmtree(folder / "state")
    log = opened(folder)
    log.append("approved", JOB, 1, policy="two")
    log.close()
    (folder / "aside").rename(folder / "keys" / "log-head")
    with pytest.raises(LocalError, match="not those that were signed"):
        opened(folder)


def test_a_head_that_is_gone_is_refused(folder: Path) -> None:
    log = opened(folder)
    log.append("approved", JOB, 1)
    log.checkpoint()
    log.close()
    (folder / "keys" / "log-head").unlink()
    with pytest.raises(LocalError, match="is missing"):
        opened(folder)


def test_cosignatures_are_kept(folder: Path) -> None:
    log, other = opened(folder), make_identity("tax", NOW)
    log.append("approved", JOB, 1)
    point = log.checkpoint()
    line = cosign(point, origin_of("tax"), other.public, NOW + 5, other.signing.sign)
    log.add_cosignature(1, line)
    log.close()
    log = opened(folder)
    [kept] = log.covering(0)
    assert kept.cosignatures({origin_of("tax"): other.public}) == {origin_of("tax"): NOW + 5}
    assert kept.cosignatures({origin_of("tax"): identity(folder).public}) == {}
    log.close()


def test_a_job_is_shown_in_the_checkpoint_that_its_participants_cosigned(folder: Path) -> None:
    """A later job between many other members brings more cosignatures, which count for nothing in this one."""
    log, seen = opened(folder), {}
    for participants in (("bank_b", "coordinator"), ("coordinator", "tax", "telecom", "helper")):
        log.append("approved", JOB, 1)
        point = log.checkpoint()
        for name in participants:
            other = make_identity(name, NOW)
            log.add_cosignature(point.size, cosign(point, origin_of(name), other.public, NOW, other.signing.sign))
        seen[participants] = point.size
    points = log.covering(0)
    for participants, size in seen.items():
        assert most_seen(points, participants).size == size
    assert most_seen(points, ("coordinator",)).size == 2  # as many of them: the one that more have seen
    log.close()


class Killed(BaseException):
    pass


def killing(monkeypatch: pytest.MonkeyPatch, after: int) -> Callable[[], int]:
    """Every write of the log counts; the one after ``after`` never happens."""
    writes = 0

    def mortal(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            nonlocal writes
            writes += 1
            if writes > after:
                raise Killed
            return real(*args, **kwargs)

        return call

    for module, name in ((os, "write"), (os, "replace"), (os, "fsync"), (files, "write")):
        monkeypatch.setattr(module, name, mortal(getattr(module, name)))
    return lambda: writes


class Shown:
    """What whoever serves the folder shows, for another implementation's reader."""

    def __init__(self, folder: Path) -> None:
        self.log = folder / "state" / "log"

    def get(self, *path: str) -> bytes | None:
        return static.file(self.log, "/" + "/".join(path))


def readable(folder: Path) -> tuple[int, bytes]:
    """Size and root of the checkpoint that lies there; all its tiles are there too."""
    log = TilesReader(Shown(folder))
    found = log.get_checkpoint()
    assert log.calculate_root_hash() == found.root_hash
    assert leaf_hash(log.get_entry(found.size - 1)) == log.mth(found.size - 1, found.size)
    return found.size, found.root_hash


def test_killed_between_any_two_writes_it_opens_and_goes_on(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Around the point where a tile fills up: nothing that was signed is lost, and nothing hangs in between."""
    log = opened(folder)
    for i in range(tiles.WIDTH - 2):
        log.append("sent", JOB, 1, step=str(i))
    log.checkpoint()
    log.close()
    start = tmp_path / "start"
    shutil.copytree(folder, start)
    kills = 0
    for after in range(100):
        shutil.rmtree(folder)
        shutil.copytree(start, folder)
        log = opened(folder)
        signed: list[Checkpoint] = []
        with monkeypatch.context() as here:
            killing(here, after)
            try:
                for i in range(4):
                    log.append("sent", JOB, 1, step=f"more {i}")
                    signed.append(log.checkpoint())
                log.close()
            except Killed:
                kills += 1
                os.close(log._held)  # as the end of a process does
        readable(folder)
        again = opened(folder)
        again.append("aborted", JOB, 1)
        point = again.checkpoint()
        for earlier in signed:
            assert consistent(
                earlier.size, earlier.root, point.size, point.root, again.consistency(earlier.size, point.size)
            )
        entries = [Entry.from_bytes(raw).event for raw in again.of_job(JOB).values()]
        assert len(entries) == len(again) == point.size
        assert [e.seq for e in entries] == list(range(len(entries)))
        assert all(b.prev == a.digest() for a, b in itertools.pairwise(entries))
        again.close()
        assert readable(folder) == (point.size, point.root)
        if len(signed) == 4 and kills < after:
            break
    assert kills > 20


def test_two_processes_do_not_write_one_log(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("parties.evidence.log.PATIENCE", 2)
    log = opened(folder)
    with pytest.raises(LocalError, match="in use by another process"):
        opened(folder)
    log.close()
    opened(folder).close()


def test_a_torn_entry_is_cut_off(folder: Path) -> None:
    log = opened(folder)
    log.append("approved", JOB, 1)
    log.checkpoint()
    log.append("sent", JOB, 1)
    log.close()
    tail = folder / "state" / "log" / "tail"
    raw = tail.read_bytes()
    tail.write_bytes(raw[:-7])
    again = opened(folder)
    assert len(again) == 1
    again.append("aborted", JOB, 1)
    assert [Entry.from_bytes(r).event.event for r in again.of_job(JOB).values()] == ["approved", "aborted"]
    again.close()


def test_a_full_disk_stops_whoever_writes(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = opened(folder)

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as here:
        here.setattr(os, "write", full)
        with pytest.raises(LocalError) as refused:
            log.append("approved", JOB, 1)
    assert refused.value.code == "store.failed"
    with pytest.raises(LocalError):  # what is in the file now only a start finds out
        log.append("approved", JOB, 1)
