"""One bad bundle for each of the sixteen checks, which names that check and none before it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mpc.evidence.bundle import Bundle, Span
from mpc.evidence.verify import CHECKS, Check
from parties.auditor import key
from tests.parties.auditor.bundles import first_failed, judged, judged_period
from tests.parties.auditor.defects import DEFECTS
from tests.parties.auditor.forge import Forge, ForgePeriod


def verdicts(folder: Path, bundle: Bundle) -> list[Check]:
    if isinstance(bundle.about, Span):
        return judged_period(folder, bundle)[1]
    opened = bundle.part("bodies")
    return judged(folder, bundle, key.private(folder / "auditor") if opened else b"")[1]


@pytest.mark.parametrize("number", range(1, len(CHECKS) + 1))
def test_each_defect_is_found_by_its_check(number: int, request: pytest.FixtureRequest) -> None:
    kind, change = DEFECTS[number]
    folder, bundle, *_ = request.getfixturevalue(kind)
    good = verdicts(folder, bundle)
    assert first_failed(good) is None and good[number - 1].verdict == "passed"
    forge: Any = (ForgePeriod if isinstance(bundle.about, Span) else Forge)(folder, bundle)
    change(forge)
    checks = verdicts(folder, forge.made())
    assert first_failed(checks) == number, [f.text for f in checks[number - 1].findings]


def test_a_forged_log_that_is_right_passes(collected: tuple[Path, Bundle]) -> None:
    """Or the defects would be found for what the forge does to every log."""
    folder, bundle = collected
    forge = Forge(folder, bundle)
    forge.rewrite("bank_a", lambda events: events)
    forge.rewrite("coordinator", lambda events: events)
    assert first_failed(judged(folder, forge.made())[1]) is None
