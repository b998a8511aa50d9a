"""The release ledger on disk: killed between every two writes it knows all of a job or nothing, never a part."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpc.errors import LocalError
from mpc.policy.differencing import Entities, Measured, spoil
from mpc.policy.numbers import Numbers, Word
from mpc.policy.populations import Over
from parties.node.releases import Releases

ROWS, PAID = ("firms", "*"), ("firms", "tax_paid")


def totals(ledger: Releases, *firms: int, what: str = "sum", value: int | None = 5) -> list[Measured]:
    """One cell of these firms, with rows and a column, of which it lets out a number."""
    who = np.sort(ledger.fingerprints(np.array(firms, dtype=np.uint64)))
    nothing, ones = np.zeros(len(firms), dtype=np.int64), np.ones(len(firms), dtype=np.uint64)
    behind = [Entities(c, nothing, who, ones, ledger.seal) for c in (ROWS, PAID)]
    return [Measured(behind, np.zeros(1, dtype=bool), [Word(what, None if value is None else [value], (1,))])]


def spoiled(ledger: Releases, job: str, *firms: int, snapshot: str = "s", over: Over = "rows", met: str = "") -> bool:
    measures = [replace(m, over=over) for m in totals(ledger, *firms)]
    ((flag,),) = ledger.decide(job, snapshot, ["analyst"], measures, 10, {}, met)
    return bool(flag)


def over(ledger: Releases, job: str, most: int, what: str, value: int | None = 5, snapshot: str = "s") -> bool:
    """Whether a number over thirty firms is one too many."""
    measures = totals(ledger, *range(30), what=what, value=value)
    ((flag,),) = ledger.decide(job, snapshot, ["analyst"], measures, 10, {PAID: most})
    return bool(flag)


def test_what_was_decided_for_a_job_stays(tmp_path: Path) -> None:
    ledger = Releases(tmp_path / "node.db")
    assert not spoiled(ledger, "a", *range(30))
    assert spoiled(ledger, "b", *range(29))
    assert not spoiled(ledger, "a", *range(30))  # a later attempt
    assert spoiled(ledger, "b", *range(29))
    assert not spoiled(ledger, "c", *range(30))  # the same question
    ledger.close()
    assert spoiled(Releases(tmp_path / "node.db"), "d", *range(31))


def test_a_job_that_begins_anew_on_other_data_has_released_both(tmp_path: Path) -> None:
    ledger = Releases(tmp_path / "node.db")
    assert not spoiled(ledger, "a", *range(30))
    assert not spoiled(ledger, "a", *range(29), snapshot="tomorrow")  # its own earlier attempt was not released
    assert spoiled(ledger, "b", *range(1, 30)) and spoiled(ledger, "c", *range(1, 29))


def test_of_a_join_what_was_chosen_and_what_met_are_two_things(tmp_path: Path) -> None:
    """Three firms did not meet. That the others differ from those that were chosen by three shows nothing, as what was
    chosen was not let out; that they differ by three from all rows does."""
    ledger = Releases(tmp_path / "node.db")
    assert not spoiled(ledger, "a", *range(30), over="chosen")
    assert not spoiled(ledger, "a", *range(27), over="met", met="join")
    assert not spoiled(ledger, "a", *range(27), over="met", met="join")  # a later attempt
    assert spoiled(ledger, "b", *range(26), over="met", met="join")
    assert spoiled(ledger, "c", *range(29), over="chosen") and spoiled(ledger, "d", *range(28))
    assert spoiled(ledger, "e", *range(30))  # beside those that met
    assert not spoiled(ledger, "f", *range(100, 130)) and spoiled(ledger, "g", *range(100, 127), over="met", met="join")


def test_an_attempt_in_which_others_met_is_another_release(tmp_path: Path) -> None:
    """A peer that brings one key more in a second attempt would have the difference; so would one in the same job."""
    ledger = Releases(tmp_path / "node.db")
    assert not spoiled(ledger, "a", *range(30), over="met", met="30")
    assert spoiled(ledger, "a", *range(29), over="met", met="29")
    assert not spoiled(ledger, "b", *range(100, 130))
    assert spoiled(ledger, "b", *range(100, 129), over="met", met="29")


def test_so_many_numbers_of_one_population_and_no_more(tmp_path: Path) -> None:
    """All jobs together; the very same number again, and what was let out before there was a limit."""
    ledger = Releases(tmp_path / "node.db")
    assert not over(ledger, "a", 2, "sum") and not over(ledger, "b", 2, "squares")
    assert over(ledger, "c", 2, "cubes")
    assert not over(ledger, "d", 2, "sum") and not over(ledger, "e", 2, "squares")  # again
    assert over(ledger, "f", 2, "sum", 6)  # the same question with another answer is another number
    assert not spoiled(ledger, "g", *range(100, 130))  # over others
    ledger.close()
    again = Releases(tmp_path / "node.db")
    assert over(again, "h", 2, "fourth powers") and over(again, "c", 2, "cubes")
    assert not over(again, "i", 3, "cubes")  # what was spoiled was not let out
    assert over(again, "j", 3, "fourth powers")


def test_what_a_search_finds_is_a_number_of_each_job(tmp_path: Path) -> None:
    """A median of several owners' values moves with theirs: asked again it is another number about one's own."""
    ledger = Releases(tmp_path / "node.db")
    assert not over(ledger, "a", 1, "median", None)
    assert over(ledger, "b", 1, "median", None)
    assert not over(ledger, "a", 1, "median", None, snapshot="later")  # an attempt of the same job


def test_a_full_ledger_lets_nothing_new_out(tmp_path: Path) -> None:
    """Thirty firms take 240 bytes where nothing but rows counts; there is room for them once."""
    ledger = Releases(tmp_path / "node.db", most=300)
    assert not spoiled(ledger, "a", *range(30))
    for _ in range(2):
        with pytest.raises(LocalError, match="release ledger would pass"):
            spoiled(ledger, "b", *range(100, 130))
    assert not spoiled(ledger, "c", *range(30))  # what is there already takes no room
    assert spoiled(ledger, "d", *range(29))


def test_a_ledger_of_other_fingerprints_is_refused_not_passed_over(tmp_path: Path) -> None:
    """As versions before wrote it; one that nothing was released by is begun anew."""
    path = tmp_path / "node.db"

    def as_before() -> None:
        with contextlib.closing(sqlite3.connect(path)) as db:
            db.execute("UPDATE secrets SET name = 'releases' WHERE name = 'releases/3'")
            db.commit()

    Releases(path).close()
    as_before()
    ledger = Releases(path)
    assert not spoiled(ledger, "a", *range(30))
    ledger.close()
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute("DELETE FROM secrets WHERE name = 'releases'")
        db.commit()
    as_before()
    for remember in (True, False):
        with pytest.raises(LocalError, match="earlier version") as caught:
            Releases(path, remember=remember)
        assert caught.value.code == "store.version"


def test_an_empty_ledger_of_another_layout_is_begun_anew(tmp_path: Path) -> None:
    path = tmp_path / "node.db"
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.executescript(
            "CREATE TABLE secrets (name TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT;"
            "CREATE TABLE populations (id INTEGER PRIMARY KEY, digest BLOB NOT NULL UNIQUE, marks BLOB, body BLOB);"
            "CREATE TABLE releases (id INTEGER PRIMARY KEY, job TEXT, snapshot TEXT, recipients TEXT, spoiled BLOB);"
            "CREATE TABLE released (release INTEGER, population INTEGER, table_name TEXT, column_name TEXT);"
            "INSERT INTO releases VALUES (1, 'job', 's', '[]', x'');"
            "INSERT INTO secrets VALUES ('releases/2', x'00');"
        )
    with pytest.raises(LocalError, match="earlier version"):
        Releases(path)
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute("DELETE FROM releases")
        db.commit()
    ledger = Releases(path)
    assert not spoiled(ledger, "a", *range(30)) and spoiled(ledger, "b", *range(29))


def of_cells(ledger: Releases, cells: list[dict[int, int]]) -> list[Measured]:
    """A table of these firms and what their rows are, with rows and a column."""
    rows = [(c, e, what) for c, people in enumerate(cells) for e, what in people.items()]
    at, who, what = (np.array([r[i] for r in rows], dtype=np.uint64) for i in range(3))
    who = ledger.fingerprints(who)
    order = np.lexsort((who, at))
    at, who, what = at[order].astype(np.int64), who[order], what[order]
    apart = len({e for _, e, _ in rows}) == len(rows)
    behind = [Entities(c, at, who, w, ledger.seal, apart) for c, w in ((ROWS, np.ones_like(what)), (PAID, what))]
    shape = (2, 2) if len(cells) == 4 else (len(cells),)
    return [Measured(behind, np.array([len(people) < 3 for people in cells]), shape=shape)]


@settings(max_examples=25, deadline=None)
@given(st.randoms(use_true_random=False), st.booleans())
def test_what_is_kept_on_disk_says_the_same_as_what_is_in_memory(draw, overlapping):
    """Of populations that share columns, are made of parts, or only count rows; read anew for every job."""
    with tempfile.TemporaryDirectory() as folder:
        path, earlier = Path(folder) / "node.db", {}
        for job in range(6):
            people = {e: draw.choice([1, 1, 5]) for e in range(30) if draw.random() < 0.9}
            cells: list[dict[int, int]] = [{}, {}, {}, {}]
            for e, what in people.items():
                cells[draw.randrange(4)][e] = what
            if overlapping:
                cells[0] |= {e: what for e, what in cells[1].items() if draw.random() < 0.2}
            ledger = Releases(path)
            measures = of_cells(ledger, cells)
            found = ledger.decide(str(job), "s", ["analyst"], measures, 3, {})
            in_memory, _ = spoil(measures, earlier, Numbers({}, lambda what, value: b"", lambda column, digest: ()), 3)
            assert [f.tolist() for f in found] == [f.tolist() for f in in_memory]
            ledger.close()


def test_what_takes_how_much_room(tmp_path: Path) -> None:
    """8 bytes an entity, 8 for a column's values; nothing for all cells together, nor for the same again."""
    ledger = Releases(tmp_path / "node.db")

    def held() -> int:
        row = ledger._db.row("SELECT SUM(length(body)) AS n FROM fingerprints")
        assert row is not None
        return int(row["n"])

    cells = [dict.fromkeys(range(30), 7), dict.fromkeys(range(30, 60), 7)]
    ledger.decide("a", "s", ["analyst"], of_cells(ledger, cells), 10, {})
    assert held() == 60 * 16
    ledger.decide("b", "s", ["analyst"], of_cells(ledger, [cells[0] | cells[1]]), 10, {})
    assert held() == 60 * 16  # a total over the table: its parts are there
    ledger.decide("c", "s", ["analyst"], of_cells(ledger, [dict.fromkeys(range(60), 8)]), 10, {})
    assert held() == 60 * 16 + 60 * 8 + 60 * 8  # other values: the firms in one cell, and these
    assert spoiled(ledger, "d", *range(59))


def test_replay_looks_up_and_writes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "node.db"
    ledger = Releases(path)
    assert not spoiled(ledger, "a", *range(30)) and spoiled(ledger, "b", *range(29))
    again = Releases(path, remember=False)
    assert spoiled(again, "b", *range(29))
    assert not spoiled(again, "other", *range(100, 130))
    assert not spoiled(ledger, "c", *range(100, 129))


@pytest.mark.parametrize("met", ["", "a join"])
def test_killed_between_every_two_writes(tmp_path: Path, met: str) -> None:
    """Whatever the job could go on with after ``decide`` returned stands on disk; before, none of it does."""
    outcomes = set()
    for statement in range(1, 40):
        path = tmp_path / str(statement) / "node.db"
        path.parent.mkdir()
        Releases(path).close()
        child = os.fork()
        if not child:
            killed_at(statement, path, met)
        _, status = os.waitpid(child, 0)
        finished = not os.WIFSIGNALED(status)
        ledger = Releases(path)
        assert over(ledger, "power", 1, "squares") == complete(path)
        assert spoiled(ledger, "later", *range(1, 30)) or not complete(path)
        assert complete(path) or not finished
        outcomes.add((finished, complete(path)))
        ledger.close()
        if finished:
            break
    assert {(False, False), (True, True)} <= outcomes


def killed_at(statement: int, path: Path, met: str) -> None:
    """In a process of its own: die when the ledger's statement of this number begins."""
    try:
        ledger = Releases(path)
        left = iter(range(statement - 1, -1, -1))
        ledger._db._connection.set_trace_callback(lambda _: next(left, 1) or os.kill(os.getpid(), signal.SIGKILL))
        os._exit(int(spoiled(ledger, "first", *range(30), over="met" if met else "rows", met=met)))
    finally:
        os._exit(9)


def complete(path: Path) -> bool:
    """Whether the first job stands in the ledger with all it let out; a part of it is an error."""
    database = sqlite3.connect(path)
    jobs = database.execute("SELECT COUNT(*) FROM releases WHERE job = 'first'").fetchone()[0]
    rows = database.execute(
        "SELECT COUNT(*) FROM released r JOIN releases j ON j.id = r.release WHERE j.job = 'first'"
    ).fetchone()[0]
    numbers = database.execute(
        "SELECT COUNT(*) FROM numbers n JOIN releases j ON j.id = n.release WHERE j.job = 'first'"
    ).fetchone()[0]
    database.close()
    assert (jobs, rows, numbers) in ((0, 0, 0), (1, 2, 1))
    return bool(jobs)
