"""Whose folder is meant: ``parties.config.locate``."""

from __future__ import annotations

from pathlib import Path

import pytest

from mpc.errors import LocalError
from parties.config import locate, template


@pytest.fixture
def practice(tmp_path: Path) -> Path:
    """Two banks and a coordinator that serve, one analyst that does not."""
    for name, listen in (("bank_a", "127.0.0.1:1"), ("bank_b", "127.0.0.1:2"), ("coordinator", "127.0.0.1:3")):
        add(tmp_path, name, listen)
    add(tmp_path, "analyst", "")
    return tmp_path


def add(folder: Path, name: str, listen: str) -> None:
    (folder / name).mkdir()
    (folder / name / "member.toml").write_text(template(name, listen))


def test_the_only_member_that_serves_nothing_asks(practice: Path) -> None:
    assert locate(practice, None, (), {}) == practice / "analyst"
    assert locate(None, None, (), {"HEJI_CONSORTIUM": str(practice)}) == practice / "analyst"


def test_a_recipient_whose_keys_lie_there_comes_first(practice: Path) -> None:
    assert locate(practice, None, ("elsewhere", "bank_b"), {}) == practice / "bank_b"
    assert locate(practice, "bank_a", ("bank_b",), {}) == practice / "bank_a"


def test_a_recipient_elsewhere_says_nothing_about_who_asks(practice: Path) -> None:
    with pytest.raises(LocalError, match="The keys of elsewhere are not in .* Whose identity"):
        locate(practice, None, ("elsewhere",), {})
    with pytest.raises(LocalError, match="Whose identity") as caught:
        locate(practice, None, ("bank_aa",), {})
    assert caught.value.advice.startswith("Did you mean --to bank_a?")


def test_two_members_that_serve_nothing_are_not_guessed_between(practice: Path) -> None:
    add(practice, "auditor", "")
    with pytest.raises(LocalError, match="Whose identity") as caught:
        locate(practice, None, (), {})
    assert caught.value.advice == "Add --as NAME, one of analyst, auditor, bank_a, bank_b, coordinator."


def test_members_own_folder(practice: Path) -> None:
    assert locate(practice / "bank_a", None, (), {}) == practice / "bank_a"
    with pytest.raises(LocalError, match="bank_a's folder, not bank_b's"):
        locate(practice / "bank_a", "bank_b", (), {})


def test_a_name_that_is_not_there(practice: Path, tmp_path: Path) -> None:
    with pytest.raises(LocalError) as caught:
        locate(practice, "bank_aa", (), {})
    assert caught.value.advice == "Did you mean bank_a?"
    with pytest.raises(LocalError, match="does not exist"):
        locate(tmp_path / "nowhere", None, (), {})
    (tmp_path / "empty").mkdir()
    with pytest.raises(LocalError, match="holds no member's folder"):
        locate(tmp_path / "empty", None, (), {})
