"""Checkpoints and cosignatures: C2SP's formats, and nothing else."""

from __future__ import annotations

import base64
import hashlib

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from mpc.evidence.note import COSIGNATURE, ED25519, Checkpoint, Line, Malformed, cosign, key_id

OWN = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
OTHER = Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33)))
PUBLIC, THEIRS = (k.public_key().public_bytes_raw() for k in (OWN, OTHER))
POINT = Checkpoint("heji/bank_a", 42, hashlib.sha256(b"root").digest()).signed("heji/bank_a", PUBLIC, OWN.sign)


def test_a_checkpoint_reads_like_its_specification() -> None:
    lines = POINT.text().split("\n")
    assert lines[:2] == ["heji/bank_a", "42"] and lines[3] == ""
    assert base64.b64decode(lines[2]) == POINT.root
    mark, name, value = lines[4].split(" ")
    raw = base64.b64decode(value)
    assert (mark, name) == ("—", "heji/bank_a")
    assert raw[:4] == hashlib.sha256(b"heji/bank_a\n\x01" + PUBLIC).digest()[:4]
    OWN.public_key().verify(raw[4:], POINT.text().split("\n\n")[0].encode() + b"\n")
    assert Checkpoint.parse(POINT.text()) == POINT and POINT.signed_by("heji/bank_a", PUBLIC)


def test_a_cosignature_reads_like_its_specification() -> None:
    line = cosign(POINT, "heji/tax", THEIRS, 1_790_000_000, OTHER.sign)
    assert line.key_id == hashlib.sha256(b"heji/tax\n\x04" + THEIRS).digest()[:4]
    body = POINT.text().split("\n\n")[0].encode() + b"\n"
    OTHER.public_key().verify(line.value[8:], b"cosignature/v1\ntime 1790000000\n" + body)
    both = POINT.with_line(line)
    assert both.cosignatures({"heji/tax": THEIRS}) == {"heji/tax": 1_790_000_000}
    assert Checkpoint.parse(both.text()) == both


def test_what_is_no_cosignature_counts_for_nothing() -> None:
    line = cosign(POINT, "heji/tax", THEIRS, 1_790_000_000, OTHER.sign)
    later = Line(line.name, line.key_id, (1_790_000_001).to_bytes(8, "big") + line.value[8:])
    plain = Line("heji/tax", key_id("heji/tax", ED25519, THEIRS), OTHER.sign(POINT.body()))
    other = cosign(Checkpoint("heji/bank_a", 43, POINT.root), "heji/tax", THEIRS, 1_790_000_000, OTHER.sign)
    mine = Line("heji/tax", key_id("heji/tax", COSIGNATURE, THEIRS), line.value[:40])
    for bad in (later, plain, other, mine):
        assert POINT.with_line(bad).cosignatures({"heji/tax": THEIRS}) == {}
    assert POINT.with_line(line).cosignatures({"heji/tax": PUBLIC}) == {}
    assert not Checkpoint(POINT.origin, 43, POINT.root, POINT.lines).signed_by("heji/bank_a", PUBLIC)


@pytest.mark.parametrize(
    "change",
    [
        lambda t: t.replace("42", "042"),
        lambda t: t.replace("42", "-1"),
        lambda t: t.replace("42", "4²"),
        lambda t: t.replace("\n\n", "\n"),
        lambda t: t.replace("—", "-"),
        lambda t: t + "\n",
        lambda t: t.rstrip("\n"),
        lambda t: t.replace("heji/bank_a\n", "heji/bank_a\n\n", 1),
        lambda t: t.replace("— heji/bank_a ", "— heji/bank_a  "),
        lambda t: t + "— x AAAA\n",
        lambda t: t + "x" * 70_000,
    ],
)
def test_anything_but_the_one_form_is_refused(change: object) -> None:
    assert callable(change)
    with pytest.raises(Malformed):
        Checkpoint.parse(change(POINT.text()))
