"""Bundles kept as files: sound ones, and one with one defect for each of the sixteen checks.

They are for whoever writes a second verifier from docs/evidence.md, and hold ours to its word: what it said of a bundle
on the day when it was made it must say of it today. ``WRITE_VECTORS=1`` makes them anew, which a new version of plans,
entries or bundles needs.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from mpc.evidence.bundle import Bundle, Span
from mpc.evidence.case import read_case
from mpc.evidence.period import read_period
from mpc.evidence.verify import CHECKS, Check, Settings, verify
from parties.auditor import key
from parties.auditor.judge import listed
from parties.roster import Roster
from tests.parties.auditor.bundles import first_failed
from tests.parties.auditor.defects import DEFECTS
from tests.parties.auditor.forge import Forge, ForgePeriod

VECTORS = Path(__file__).parents[2] / "vectors" / "bundles"
WRITING = "WRITE_VECTORS" in os.environ


def kept() -> list[tuple[str, int]]:
    index = json.loads((VECTORS / "index.json").read_text())
    return [(b["file"], b["first_failed"]) for b in index["bundles"]]


def said_of(name: str) -> list[Check]:
    """The checks of a bundle that is kept, with nothing but the files beside it."""
    folder = (VECTORS / name).parent
    roster = listed(Roster.load(folder / "roster.json"), given=True)
    opened = folder / "auditor-key.txt"
    bundle = Bundle.read((VECTORS / name).read_bytes())
    if isinstance(bundle.about, Span):
        return verify(read_period(bundle, roster), Settings())
    return verify(read_case(bundle, roster, bytes.fromhex(opened.read_text()) if opened.exists() else b""), Settings())


@pytest.mark.skipif(WRITING, reason="they are being written")
@pytest.mark.parametrize(("name", "number"), [] if WRITING else kept())
def test_a_kept_bundle_is_judged_as_it_was(name: str, number: int) -> None:
    checks = said_of(name)
    assert (first_failed(checks) or 0) == number, [f.text for c in checks for f in c.findings if c.verdict == "failed"]


@pytest.mark.skipif(WRITING, reason="they are being written")
def test_there_is_one_for_every_check() -> None:
    assert {number for _, number in kept()} == set(range(len(CHECKS) + 1))
    assert {f"{(VECTORS / name).relative_to(VECTORS)}" for name, _ in kept()} == {
        str(p.relative_to(VECTORS)) for p in VECTORS.glob("*/*.zip")
    }


@pytest.mark.skipif(not WRITING, reason="WRITE_VECTORS=1 makes them anew")
def test_write_them(request: pytest.FixtureRequest) -> None:
    shutil.rmtree(VECTORS, ignore_errors=True)
    bundles: list[dict[str, Any]] = []
    for kind in dict.fromkeys(kind for kind, _ in DEFECTS.values()):
        made, bundle, *_ = request.getfixturevalue(kind)
        folder = VECTORS / kind
        folder.mkdir(parents=True)
        shutil.copy(next(iter(sorted(made.glob("*/roster.json")))), folder / "roster.json")
        if bundle.part("bodies"):
            (folder / "auditor-key.txt").write_text(key.private(made / "auditor").hex() + "\n")
        bundles.append(_write(folder / "sound.zip", bundle, 0, "nothing is wrong with it"))
        for number, (of, change) in DEFECTS.items():
            if of != kind:
                continue
            forge: Any = (ForgePeriod if isinstance(bundle.about, Span) else Forge)(made, bundle)
            change(forge)
            what = change.__name__.replace("_", " ")
            bundles.append(_write(folder / f"{number:02}-{change.__name__}.zip", forge.made(), number, what))
    (VECTORS / "index.json").write_text(json.dumps({"bundles": bundles}, indent=1) + "\n")
    for name, number in kept():
        assert (first_failed(said_of(name)) or 0) == number, name


def _write(path: Path, bundle: Bundle, number: int, what: str) -> dict[str, Any]:
    path.write_bytes(bundle.write())
    return {"file": str(path.relative_to(VECTORS)), "first_failed": number, "what": what}
