"""Signatures: DSSE's encoding, Wycheproof's vectors, one label one purpose, keys of small order."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from mpc.crypto import sign, sodium
from mpc.errors import PeerError

WYCHEPROOF = Path(__file__).parents[3].parent / "shared" / "vectors" / "wycheproof" / "ed25519_test.json"
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PUBLIC = KEY.public_key().public_bytes_raw()


def test_wycheproof() -> None:
    if not WYCHEPROOF.exists():
        pytest.skip(f"Wycheproof's Ed25519 vectors are not at {WYCHEPROOF}")
    vectors = json.loads(WYCHEPROOF.read_text(encoding="utf-8"))
    seen = 0
    for group in vectors["testGroups"]:
        public = bytes.fromhex(group["publicKey"]["pk"])
        for case in group["tests"]:
            seen += 1
            message, signature = bytes.fromhex(case["msg"]), bytes.fromhex(case["sig"])
            assert sign.holds(public, message, signature) == (case["result"] == "valid"), case
            if case["result"] == "valid":
                sign.verify_raw(public, message, signature)
            else:
                with pytest.raises((InvalidSignature, ValueError)):
                    sign.verify_raw(public, message, signature)
    assert seen == vectors["numberOfTests"] > 100


def test_encoding_is_dsse() -> None:
    """The form of the example in dsse/protocol.md, under our type."""
    assert sign.pae("roster", b"hello world") == b"DSSEv1 14 heji/v1/roster 11 hello world"


@given(st.binary(max_size=80), st.sampled_from(["job", "approval", "roster"]))
def test_signed_is_verified(body: bytes, purpose: str) -> None:
    sign.verify(PUBLIC, purpose, body, sign.sign(KEY, purpose, body), party="tax")


@given(st.binary(max_size=40), st.binary(max_size=40), st.sampled_from(["a", "aa"]), st.sampled_from(["a", "aa"]))
def test_encodings_never_meet(one: bytes, other: bytes, first: str, second: str) -> None:
    assert (sign.pae(first, one) == sign.pae(second, other)) == ((first, one) == (second, other))


@pytest.mark.parametrize("spoil", ["purpose", "body", "bit", "short", "empty", "long", "key", "no_key"])
def test_anything_else_is_refused_by_name(spoil: str) -> None:
    good = sign.sign(KEY, "job", b"body")
    other = Ed25519PrivateKey.generate().public_key().public_bytes_raw()
    public = {"key": other, "no_key": b""}.get(spoil, PUBLIC)
    signature = {"bit": good[:-1] + bytes([good[-1] ^ 1]), "short": good[:-1], "empty": b"", "long": good + b"\0"}.get(
        spoil, good
    )
    with pytest.raises(PeerError) as caught:
        sign.verify(
            public,
            "approval" if spoil == "purpose" else "job",
            b"bodY" if spoil == "body" else b"body",
            signature,
            party="tax",
        )
    assert caught.value.code == "protocol.signature" and caught.value.party == "tax"


#: the points whose order divides 8, with either sign, and what is not canonical (ed25519 "Taming the many EdDSAs",
# table 2)
SMALL = [
    "0100000000000000000000000000000000000000000000000000000000000000",
    "0100000000000000000000000000000000000000000000000000000000000080",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0000000000000000000000000000000000000000000000000000000000000080",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
]


@pytest.mark.parametrize("public", SMALL)
def test_small_order_keys_are_refused(public: str) -> None:
    """Under the first of them, R = 1 and S = 0 sign everything, and OpenSSL would say yes."""
    anything = bytes.fromhex(SMALL[0]) + bytes(32)
    with pytest.raises(PeerError):
        sign.verify(bytes.fromhex(public), "job", b"whatever", anything, party="tax")


def test_the_fast_way_decides_as_the_other_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where libsodium is not there, and where it refuses what OpenSSL takes."""
    message = b"a message with \0 in it"
    signature = KEY.sign(message)
    small = (1).to_bytes(32, "little")  # the identity, under which anything could be signed
    cases = {
        (PUBLIC, message, signature): True,
        (PUBLIC, message[:14], signature): False,
        (PUBLIC, message, signature[:-1]): False,
        (PUBLIC, message, bytes(64)): False,
        (PUBLIC[:-1], message, signature): False,
        (small, message, small + bytes(32)): False,
    }
    for way in (sodium.verify_ed25519(), None, lambda *_: -1):
        monkeypatch.setattr(sodium, "verify_ed25519", lambda way=way: way)
        for (public, text, signed), good in cases.items():
            assert sign.holds(public, text, signed) == good


def test_libsodium_has_what_is_looked_up() -> None:
    assert sodium.verify_ed25519() is not None
