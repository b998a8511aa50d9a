"""Whose word a signed approval names, and when two names are one person."""

from __future__ import annotations

from typing import Any

import pytest

from mpc.policy.persons import approved_by, persons, same_person

LI = {"person": "Li Na", "at": 5, "reason": "", "through": "console"}


@pytest.mark.parametrize("other", ["li na", " Li  Na", "LI NA", "ＬＩ\u3000ＮＡ", "LiNa"])
def test_spellings_of_one_name(other: str) -> None:
    assert same_person("Li Na") == same_person(other)
    assert persons({"by_hand": [LI, {**LI, "person": other}]}) == 1


def test_two_names() -> None:
    assert persons({"by_hand": [LI, {**LI, "person": "李娜"}]}) == 2
    assert [s.person for s in approved_by({"by_hand": [LI]})] == ["Li Na"]


@pytest.mark.parametrize("told", [None, {}, "Li Na", [], [LI, "Wang Wei"], [{"person": "Li Na"}], [{**LI, "at": "5"}]])
def test_what_is_no_list_of_words_is_nobodys(told: Any) -> None:
    assert persons({"by_hand": told}) == 0 and approved_by({"by_hand": told}) == ()
