"""docs/data-protection.md promises what code keeps: each promise names code and tests that are there."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "data-protection.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| (\d+) \| (.*) \| (.*) \| (.*) \|$", PAGE, re.MULTILINE)


def test_every_promise_has_its_code_and_its_test() -> None:
    assert [int(number) for number, *_ in ROWS] == list(range(1, len(ROWS) + 1)) and len(ROWS) >= 16
    for _, promise, code, tests in ROWS:
        kept, proved = re.findall(r"`([^`]+\.py)`", code), re.findall(r"`(tests/[^`]+)`", tests)
        assert kept and proved, promise
        assert all((ROOT / path).is_file() for path in kept), (promise, kept)
        for name in proved:
            path, _, test = name.partition("::")
            assert (ROOT / path).is_file(), (promise, name)
            assert not test or re.search(rf"def {test}\(", (ROOT / path).read_text(encoding="utf-8")), (promise, name)


def test_rows_refer_to_promises_there_are() -> None:
    for table in PAGE.split("\n## ")[3:]:
        for numbers in re.findall(r"\((\d+(?:(?:, | to )\d+)*)\)", table):
            assert all(int(n) <= len(ROWS) for n in re.findall(r"\d+", numbers)), numbers
