"""The budget ledger and the seeds of noise on disk: whatever dies when, what was sent is counted, and drawn once."""

from __future__ import annotations

import datetime as dt
import os
import signal
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import pytest

from mpc.errors import LocalError
from mpc.policy.budget import Spent
from parties.identity import make_identity
from parties.node.budgets import SCHEMA, Budgets
from parties.node.noise_seeds import NoiseSeeds
from parties.storage import Database

DAY = dt.date(2026, 3, 1)
COLUMNS = [("firms", "tax_paid", "institute"), ("firms", "region", "institute")]


def ledger(path: Path) -> Budgets:
    return Budgets(Database(path / "node.db", SCHEMA))


def nothing_spent(others: Sequence[Spent]) -> None:
    if others:
        raise LocalError("policy.spent", "Too much.")


def reserve(budgets: Budgets, job: str, snapshot: str = "s", noise: str = "n") -> None:
    budgets.reserve(job, snapshot, noise, DAY, Fraction("0.5"), COLUMNS, nothing_spent)


def counted(budgets: Budgets) -> set[str]:
    return {s.release for s in budgets.all()}


def test_reserved_counts_for_others_and_comes_back_if_nothing_was_sent(tmp_path: Path) -> None:
    budgets = ledger(tmp_path)
    reserve(budgets, "a")
    with pytest.raises(LocalError):
        reserve(budgets, "b")
    reserve(budgets, "a")  # another attempt of the same
    assert len(budgets.all()) == 2 and counted(budgets) == {"a/s"} and not budgets.others("a")
    budgets.release("b")
    assert counted(budgets) == {"a/s"}
    budgets.release("a")
    assert not counted(budgets)
    reserve(budgets, "b")


def test_spent_stays_spent_over_restarts_and_whatever_becomes_of_the_attempt(tmp_path: Path) -> None:
    budgets = ledger(tmp_path)
    reserve(budgets, "a")
    budgets.spend("a", "s")
    budgets.release("a")
    budgets.release()
    again = ledger(tmp_path)
    assert counted(again) == {"a/s"}
    with pytest.raises(LocalError):
        reserve(again, "b")
    reserve(again, "a")  # shows the same noise, spends nothing
    assert len(again.all()) == 2


def test_other_data_is_another_release_even_of_the_same_job(tmp_path: Path) -> None:
    budgets = ledger(tmp_path)
    reserve(budgets, "a")
    budgets.spend("a", "s")
    with pytest.raises(LocalError) as refused:
        reserve(budgets, "a", snapshot="tomorrow")
    assert refused.value.code == "policy.spent"


def test_another_sample_of_what_was_shown_is_refused(tmp_path: Path) -> None:
    """The seed is gone, or the ledger was put back from a copy: averaging two samples would halve the noise."""
    budgets = ledger(tmp_path)
    reserve(budgets, "a", noise="first")
    budgets.spend("a", "s")
    with pytest.raises(LocalError) as refused:
        reserve(budgets, "a", noise="second")
    assert refused.value.code == "evidence.missing"


def test_killed_between_every_two_writes_nothing_is_under_counted(tmp_path: Path) -> None:
    """What a node could send after ``spend`` returned stands in the ledger after its next start; a part of it never."""
    outcomes = set()
    for statement in range(1, 40):
        path = tmp_path / str(statement)
        path.mkdir()
        ledger(path)
        child = os.fork()
        if not child:
            killed_at(statement, path)
        os.waitpid(child, 0)
        sent = (path / "sent").exists()
        after = ledger(path)
        after.release()  # as a node does when it starts
        assert len(after.all()) in (0, len(COLUMNS))
        assert after.all() or not sent
        outcomes.add((sent, bool(after.all())))
        if sent:
            break
    assert outcomes == {(False, False), (False, True), (True, True)}


def killed_at(statement: int, path: Path) -> None:
    """In a process of its own: die when the ledger's statement of this number begins."""
    try:
        budgets = ledger(path)
        left = iter(range(statement - 1, -1, -1))
        budgets._db._connection.set_trace_callback(lambda _: next(left, 1) or os.kill(os.getpid(), signal.SIGKILL))
        reserve(budgets, "a")
        budgets.spend("a", "s")
        budgets.all()  # a last place to die, after it was spent and before anything was sent
        (path / "sent").touch()
        os._exit(0)
    finally:
        os._exit(9)


# ---- seeds

JOB, SNAPSHOT, OTHER = b"j" * 32, b"s" * 32, b"o" * 32


def test_a_job_over_the_same_data_finds_its_noise_again(tmp_path: Path) -> None:
    identity = make_identity("tax", 0)
    seeds = NoiseSeeds(tmp_path, identity)
    coins, told = seeds.coins(JOB, SNAPSHOT)
    first = coins.draw("x", 16)
    for again in (seeds, NoiseSeeds(tmp_path, identity), NoiseSeeds(tmp_path, identity, make=False)):
        coins, told_again = again.coins(JOB, SNAPSHOT)
        assert coins.draw("x", 16) == first and told_again == told
    assert seeds.coins(JOB, OTHER)[0].draw("x", 16) != first
    assert seeds.coins(OTHER, SNAPSHOT)[0].draw("x", 16) != first


def test_replay_makes_no_new_noise(tmp_path: Path) -> None:
    with pytest.raises(LocalError) as missing:
        NoiseSeeds(tmp_path, make_identity("tax", 0), make=False).coins(JOB, SNAPSHOT)
    assert missing.value.code == "evidence.missing" and not (tmp_path / "state" / "noise").exists()


def test_a_seed_is_worth_nothing_without_the_members_keys(tmp_path: Path) -> None:
    seeds = NoiseSeeds(tmp_path, make_identity("tax", 0))
    seeds.coins(JOB, SNAPSHOT)
    (path,) = (tmp_path / "state" / "noise").iterdir()
    assert path.stat().st_mode & 0o077 == 0 and len(path.read_bytes()) == 12 + 32 + 16
    with pytest.raises(LocalError) as damaged:
        NoiseSeeds(tmp_path, make_identity("tax", 0), make=False).coins(JOB, SNAPSHOT)
    assert damaged.value.code == "evidence.invalid"


def test_seeds_of_jobs_that_may_run_again_stay(tmp_path: Path) -> None:
    seeds = NoiseSeeds(tmp_path, make_identity("tax", 0))
    for job in (JOB, OTHER):
        seeds.coins(job, SNAPSHOT)
    assert seeds.destroy_before(0, lambda _: True) == []
    assert seeds.destroy_before(1e12, lambda job: job == JOB.hex()) == [JOB]
    assert [p.name.split("-")[0] for p in (tmp_path / "state" / "noise").iterdir()] == [OTHER.hex()]
