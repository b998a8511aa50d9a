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


#: as a public log of certificates (TesseraCT's staging log of transparency.dev) and its witnesses signed it
WITNESSED = """arche2025h1.staging.ct.transparency.dev
1432088532
U7WM79jrzyhGZ5/GUBTpM7NzwdyfFx61t3RovgcC4Ro=

— arche2025h1.staging.ct.transparency.dev ui8GwCF1+kWqZrxGdhj4aX3gcw7XUlXQQabg/27lefwhUkzbC3NygNI75MdhL1bfTW9g\
8Ei59RA23oHP\
7Ry1k3ZFWwQ=
— transparency.dev/DEV:witness-little-garden 2AQqhwAAAABqEiEgzgFIqqhbUoDwjMWE6UP8nd8/KYTzwZ2rhIgcqoXHAwVkjZr4A\
scylP3v7sEodkRAErumC2q44vdgJY096st5BQ==
— remora.n621.de 2net5wAAAABqEiEgPlfF3V06o0Y+fHM+J5J9s27wgxxcOVSpZ/2g/KSiXCg9DEZI+aVCIobWX9sXTynk5XeU/zZ0WBxtq\
B0DrAWfBw==
"""
#: their keys as C2SP's signed-note writes them: name+id+base64(algorithm ‖ key)
LOG_KEY = "arche2025h1.staging.ct.transparency.dev+ba2f06c0+AU0vHmlGCS/PdN8b2OaGmKprLI8HKM+dJ472xgFYh15f"
WITNESS_KEY = "remora.n621.de+da77ade7+BOvN63jn/bLvkieywe8R6UYAtVtNbZpXh34x7onlmtw2"


def test_a_checkpoint_that_others_made_and_witnessed() -> None:
    """Parser, key ids, signature and cosignature against a log and a witness that run other software."""
    point = Checkpoint.parse(WITNESSED)
    for written, algorithm in ((LOG_KEY, ED25519), (WITNESS_KEY, COSIGNATURE)):
        name, number, key = written.split("+", 2)
        raw = base64.b64decode(key)
        assert raw[:1] == algorithm and key_id(name, algorithm, raw[1:]).hex() == number
        if algorithm == ED25519:
            assert point.signed_by(name, raw[1:]) and not point.signed_by(name, THEIRS)
        else:
            assert point.cosignatures({name: raw[1:]}) == {name: 1_779_573_024}
            assert Checkpoint(point.origin, 42, point.root, point.lines).cosignatures({name: raw[1:]}) == {}
