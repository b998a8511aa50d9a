"""Codes are stable, documented, told across the wire; what a peer says cannot write on a terminal."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from mpc.errors import CODES, HejiError, LocalError, PeerError

PAGE = (Path(__file__).parents[2] / "docs" / "errors.md").read_text(encoding="utf-8")


def test_the_page_lists_exactly_the_codes_there_are():
    assert re.findall(r"^\| `([a-z_.]+)` \|", PAGE, re.MULTILINE) == list(CODES)


def test_every_code_is_raised_somewhere():
    root = Path(__file__).parents[2]
    source = "".join(p.read_text(encoding="utf-8") for d in ("mpc", "parties") for p in (root / d).rglob("*.py"))
    unused = [c for c in CODES if source.count(f'"{c}"') < 2]
    assert unused == []


@pytest.mark.parametrize(
    "error",
    [
        LocalError("data.bounds", "what", "advice", column="x"),
        PeerError("protocol.size", "what", party="bank", step="a/b", digest="00", more=[1, "2"]),
    ],
)
def test_an_error_survives_the_wire(error: HejiError):
    again = HejiError.from_dict(error.to_dict())
    assert type(again) is type(error)
    assert again.to_dict() == error.to_dict()
    assert str(again) == str(error)


def test_unknown_codes_become_internal_and_strangers_words_are_harmless():
    told = {"kind": "peer", "code": "new.code", "message": "a\x1b[2Jb\r\x07c\nd", "facts": {"party": "x\x1b]0;t\x07"}}
    error = HejiError.from_dict(told)
    assert error.code == "internal"
    assert error.message == "a[2Jbc\nd"
    assert error.facts["party"] == "x]0;t"
    assert len(HejiError.from_dict({"message": "x" * 10**6}).message) == 4000


def test_an_undeclared_code_is_a_defect():
    with pytest.raises(AssertionError):
        LocalError("no.such_code", "what")
