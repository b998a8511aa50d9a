"""docs/policy.md says what the code does: every key, use, preset, and an example that is in force."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

from mpc.policy import standing
from mpc.policy.grants import PRESETS, USES, Grant, parse_policy

PAGE = (Path(__file__).parents[3] / "docs" / "policy.md").read_text(encoding="utf-8")


def test_every_key_use_and_preset_is_on_the_page() -> None:
    for f in fields(Grant):
        assert f.name == "line" or f"| `{f.name}` |" in PAGE
    for name in (*USES, *(f'"{preset}"' for preset in PRESETS)):
        assert f"`{name}`" in PAGE
    for preset in PRESETS.values():
        assert "uses = [" + ", ".join(f'"{u}"' for u in preset["uses"]) + "]" in PAGE


def test_the_example_of_ten_lines_is_a_policy() -> None:
    example, *_ = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    [grant] = parse_policy(example).grants
    assert (grant.approval, grant.alone, grant.min_contributors) == ("auto", False, 3)
    assert len(example.splitlines()) == 10


def test_the_example_of_a_standing_approval_is_one_and_every_key_is_on_the_page() -> None:
    [example] = [b for b in re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL) if "[[standing]]" in b]
    [found] = standing.parse_standing(example)
    assert (found.runs, found.per, len(found.parameters["month"])) == (1, "month", 12)
    section = PAGE.split("### Standing approvals")[1].split("### ")[0]
    assert all(f"`{key}`" in section for key in standing._READERS)
