"""What others wrote is shown as it is: nothing in it moves a cursor or turns the text round."""

from __future__ import annotations

import pytest

from parties.visible import visible


@pytest.mark.parametrize(
    "text", ["SELECT 1\n\t-- 季度\u3000统计 “引号” ± é 🙂", "a\u00a0b", "", 'GROUP BY "Ω"', "\N{FULLWIDTH COMMA}"]
)
def test_what_prints_stays(text: str) -> None:
    assert visible(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("harmless\x1b[2K\x1b[1A", "harmless\\x1b[2K\\x1b[1A"),
        ("a\rb", "a\\rb"),
        ("a\x08b", "a\\x08b"),
        ("x \u202e ecnalab", "x \\u202e ecnalab"),
        ("x\u2066y\u2069", "x\\u2066y\\u2069"),
        ("x\u200by", "x\\u200by"),
        ("x\x9by", "x\\x9by"),
        ("x\u2028y", "x\\u2028y"),
        ("\ud800", "\\ud800"),
    ],
)
def test_what_does_not_is_written_out(text: str, shown: str) -> None:
    assert visible(text) == shown
