"""Jobs by the first digits of their ids."""

from __future__ import annotations

import pytest

from mpc.errors import LocalError
from parties.job_ids import whole_id

KNOWN = ["39" * 32, "39" * 4 + "a" * 56, "b" * 64]


def asked(begins: str) -> str:
    return whole_id(begins, lambda: KNOWN, whose="jobs of tax", advice="heji jobs list")


@pytest.mark.parametrize("begins", ["b" * 8, " " + "B" * 20, "b" * 64, "393939393", "39393939a"])
def test_finds_the_one(begins: str) -> None:
    assert asked(begins).startswith(begins.strip().lower())


@pytest.mark.parametrize(
    ("begins", "why"),
    [
        ("", "at least its first 8"),
        ("39", "at least its first 8"),
        ("bbbbbbb", "at least its first 8"),
        ("b" * 65, "64 hexadecimal"),
        ("bbbbbbbx", "64 hexadecimal"),
        ("39393939", "2 jobs of tax begin with 39393939"),
        ("00000000", "None of the jobs of tax begins with 00000000"),
    ],
)
def test_refuses(begins: str, why: str) -> None:
    with pytest.raises(LocalError, match=why) as caught:
        asked(begins)
    assert caught.value.code == "job.unknown" and caught.value.advice == "heji jobs list"


def test_does_not_ask_for_jobs_that_it_cannot_find() -> None:
    with pytest.raises(LocalError):
        whole_id("39", lambda: pytest.fail("asked"), whose="jobs", advice="")
