"""What persons decide, row by row: whose word counts, how many are needed, what survives."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from mpc.errors import LocalError
from parties.node.decisions import Decision, Decisions, Word
from parties.node.store import Store


def question(job: str, needed: int = 1) -> Decision:
    return Decision(
        job, "plan", "policy", "pending", needed, "analyst", ("analyst",), "study", "SELECT 1", "told", 1, 100
    )


def word(person: str, at: int = 10, *, approves: bool = True) -> Word:
    return Word(person, at, "", "command", approves)


@pytest.fixture
def words(tmp_path: Path) -> Iterator[Decisions]:
    store = Store(tmp_path / "node.db", os.urandom(32))
    yield store.decisions
    store.close()


def test_two_are_two_persons(words: Decisions) -> None:
    words.ask(question("job", 2))
    assert words.decide("job", word("Li Na", 10)).state == "pending"
    with pytest.raises(LocalError, match="already"):
        words.decide("job", word("LI NA", 11))
    assert [w.at for w in words.all()[0].approvals] == [10]  # and the first word stands as it was
    done = words.decide("job", word("李娜", 12))
    assert (done.state, done.missing, done.persons, done.decided) == ("approved", 0, "Li Na, 李娜", 12)
    with pytest.raises(LocalError, match="was approved"):
        words.decide("job", word("Wang Wei", 13))


def test_a_new_question_forgets_the_words_about_the_old_one(words: Decisions) -> None:
    words.ask(question("job", 2))
    words.decide("job", word("Li Na"))
    words.ask(question("job", 2))
    assert words.all()[0].missing == 2


def test_who_approved_may_still_reject(words: Decisions) -> None:
    words.ask(question("job", 2))
    words.decide("job", word("Li Na"))
    done = words.decide("job", word("Li Na", approves=False))
    assert (done.state, done.approvals, done.rejection and done.rejection.person) == ("rejected", (), "Li Na")
    with pytest.raises(LocalError, match="was rejected"):
        words.decide("job", word("Wang Wei"))


def test_nothing_is_decided_after_the_expiry(words: Decisions) -> None:
    words.ask(question("job"))
    with pytest.raises(LocalError, match="expiry"):
        words.decide("job", word("Li Na", 100))
    assert words.waiting(99) and not words.waiting(100)


@pytest.mark.parametrize("name", ["", "  ", "x" * 81, "Li\nNa", "\u202eNa"])
def test_a_name_that_nobody_could_read(name: str) -> None:
    with pytest.raises(LocalError, match="person's name"):
        word(name)
