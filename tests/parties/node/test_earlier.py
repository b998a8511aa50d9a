"""Earlier releases that a person who decides should know of."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from parties.node.store import Store

BALANCE, GRADE = ("accounts", "balance"), ("accounts", "grade")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(tmp_path / "node.db", os.urandom(32))
    yield opened
    opened.close()


def ran(store: Store, job: str, to: str, at: int, *states: str, columns: tuple[tuple[str, str], ...] = ()) -> None:
    facts = {"submitter": "x", "recipients": [to], "purpose": "study", "sql": job, "plan": "", "policy": ""}
    store.approve(job, 1, at, {**facts, "expires": 1000})
    store.earlier.remember(job, columns)
    for state in states:
        store.transition(job, state, at, input=b"digest" if state == "sending" else None)


def test_what_is_related_and_in_which_order(store: Store) -> None:
    ran(store, "other", "tax", 1, "running", "done", columns=(GRADE,))
    ran(store, "to the same", "analyst", 2, "running", "sending", "done", "closed", columns=(GRADE,))
    ran(store, "of the same", "tax", 3, "running", "sending", "done", columns=(BALANCE,))
    ran(store, "both", "analyst", 4, "running", "done", columns=(BALANCE, GRADE))
    ran(store, "cut off", "analyst", 5, "running", "sending", "aborted")
    ran(store, "never sent", "analyst", 6, "running", "aborted", columns=(BALANCE,))
    ran(store, "approved", "analyst", 7, columns=(BALANCE,))
    store.earlier.remember("asked", (BALANCE,))
    found = store.earlier.related("asked", ("analyst",))
    assert [(r.job, r.sure, r.recipients, r.columns) for r in found] == [
        ("both", True, ("analyst",), ("accounts.balance",)),
        ("of the same", True, (), ("accounts.balance",)),
        ("cut off", False, ("analyst",), ()),
        ("to the same", True, ("analyst",), ()),
    ]
    assert [r.job for r in store.earlier.related("both", ("nobody",))] == ["of the same", "to the same", "other"]


def test_a_job_is_not_related_to_itself(store: Store) -> None:
    ran(store, "job", "analyst", 1, "running", "done", columns=(BALANCE,))
    assert store.earlier.related("job", ("analyst",)) == []
