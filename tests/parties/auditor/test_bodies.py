"""Nobody gets a message's body from evidence: not from bundles, whoever exports them, nor from a log or its files.

Bodies are not harmless: with the helper's a party could test its ids against another's table, and who knows a mask
reads what is under it. So every message of a join, with its tags, masked columns and masked totals, is looked for in
all that is handed out.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from mpc.protocols.agree import ANNOUNCE
from mpc.run import Sent
from parties.auditor.export import export
from parties.member import Member
from tests.parties import test_joins
from tests.parties.conftest import serving

#: bytes of a body that are looked for: two words of a column, one tag
WIDE = 16
MEMBERS = ("tax", "bank", "telecom", "helper", "coordinator")


def told(raw: bytes) -> Iterator[bytes]:
    """What is written in it: itself, and whatever stands in it in base64 or hexadecimal, in whatever depth."""
    yield raw
    for text in re.findall(rb"[A-Za-z0-9+/=_-]{22,}", raw):
        for decode in (base64.b64decode, bytes.fromhex):
            try:
                inner = decode(text if decode is base64.b64decode else text.decode())  # type: ignore[operator]
            except (binascii.Error, ValueError):
                continue
            if len(inner) >= WIDE:
                yield from told(inner)


def canaries(sent: list[Sent]) -> set[bytes]:
    """Pieces of bodies. Announced keys and digests are signed by all and in the documents: they are no bodies."""
    bodies = [bytes(s.raw) for s in sent if not s.step.startswith("keys/")]
    pieces = {b[i : i + WIDE] for b in bodies for i in range(0, len(b) - WIDE + 1, 4)}
    return {p for p in pieces if len(set(p)) > 8}  # zeros and small numbers are anywhere


def found(pieces: set[bytes], outputs: dict[str, bytes]) -> set[str]:
    """The outputs in which a piece of a body stands."""
    return {
        name
        for name, raw in outputs.items()
        for blob in told(raw)
        if any(blob[i : i + WIDE] in pieces for i in range(len(blob) - WIDE + 1))
    }


@pytest.fixture
async def handed_out(tmp_path: Path) -> tuple[list[Sent], dict[str, bytes]]:
    """All messages of a join, and all that evidence gives to anybody about it."""
    folder = test_joins.make(tmp_path)
    sent: list[Sent] = []
    outputs: dict[str, bytes] = {}
    async with serving(folder, hooks={m: {"on_message": sent.append} for m in MEMBERS[:-1]}) as running:
        result = await running.query(test_joins.BY_INDUSTRY)
        for name in (*MEMBERS, "analyst"):
            member = await running.apart(Member, folder / name)
            try:
                bundle, absent = await export(member, result.statement["job"])
            finally:
                await member.close()
            assert not absent
            outputs |= {f"the bundle of {name}: {f}": raw for f, raw in bundle.files.items()}
    for name in (*MEMBERS, "analyst"):
        log = folder / name / "state" / "log"
        for path in (log / "checkpoint", *(log / "tile").rglob("*")):  # what parties.evidence.static shows
            if path.is_file():
                outputs[f"the files of {name}: {path.relative_to(log)}"] = path.read_bytes()
    return sent, outputs


async def test_no_body_is_in_anything_that_is_handed_out(handed_out: tuple[list[Sent], dict[str, bytes]]) -> None:
    sent, outputs = handed_out
    pieces = canaries(sent)
    steps = {s.step.rsplit("/", 3)[-1] if "align" not in s.step else "align" for s in sent}
    assert len(pieces) > 1000 and "align" in steps and {"helper", "coordinator"} <= {s.receiver for s in sent}
    assert len(outputs) > 40
    assert found(pieces, outputs) == set()
    # a body would be found, however it is written
    tags = next(bytes(s.raw) for s in sent if s.step.endswith("/tags") or "/tags/" in s.step)
    for written in (tags, base64.b64encode(b"x" + tags), tags.hex().encode(), base64.b64encode(tags.hex().encode())):
        assert found(pieces, {"a leak": b'{"body": "' + written + b'"}'}) == {"a leak"}
    # the one kind of message that evidence shows whole: public keys, which all signed (P0)
    keys = [Sent(s.sender, s.receiver, "shown", s.raw) for s in sent if s.step == f"keys/{ANNOUNCE}"]
    assert keys and len(found(canaries(keys), outputs)) >= len(MEMBERS)
