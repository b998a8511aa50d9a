"""What a fixed job says, byte for byte: a change here is a change of the wire format, and needs a new version."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from mpc.crypto.labels import framed
from mpc.run import Trace, run
from tests.mpc.protocols import test_align, test_blind, test_joined_totals, test_tally


def transcript(roles: dict[str, Any]) -> str:
    """SHA-256 over all messages, sorted by who said them to whom, each pair's in their order."""
    trace = Trace()
    run(roles, trace)
    ordered = sorted(trace.sent, key=lambda s: (s.sender, s.receiver))
    parts = (part for s in ordered for part in (s.sender.encode(), s.receiver.encode(), s.step.encode(), bytes(s.raw)))
    return hashlib.sha256(framed(*parts)).hexdigest()


@pytest.mark.parametrize(
    ("roles", "digest"),
    [
        (lambda: test_align.WORLD.roles(), "c38fda29ec872ba0227be627f679fe85dceb57efc75ec25c817a7978e1e40a31"),
        (
            lambda: test_joined_totals.Job(test_joined_totals.SPINE, test_joined_totals.TABLES).roles(),
            "3c5aece4018d2f12b6dd79de0ffd6c9db76b1a475002436d85b9c57961f8b3ca",
        ),
        (
            lambda: test_blind.roles([1, 2, 3], [2, 3, 4], rows=(5, 4)),
            "6ebfc68919a07e176c95c416257a84169f0f6a8dbd42ba2a2a19d156f337cd31",
        ),
        (
            lambda: test_tally.roles(test_tally.tally(), *test_tally.DATA),
            "a3f953b433544e60bf64730b62ff6bf3021d7f62d3d75eeab6f7c9d7c601d71b",
        ),
    ],
    ids=["align", "joined totals", "blind", "tally"],
)
def test_golden(roles, digest):
    assert transcript(roles()) == digest
