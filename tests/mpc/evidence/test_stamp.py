"""Timestamps: of this checkpoint, under this authority's root, for times; OpenSSL's and our own test authority's."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from mpc.errors import LocalError
from mpc.evidence import stamp
from mpc.evidence.note import Checkpoint, Malformed
from tests.tsa import OCTETS, SEQUENCE, Authority, der, whole

VECTORS = Path(__file__).parents[2] / "vectors" / "timestamp"
#: what tests/vectors/timestamp were made of, with OpenSSL 3.0 (openssl ts -query -sha256 -cert -no_nonce; -reply)
POINT = Checkpoint("heji/bank_a", 5, bytes(range(32)))
NOW = 1_790_000_000


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority("Test authority", lambda: NOW)


def token(authority: Authority, point: Checkpoint = POINT) -> bytes:
    return authority.token(hashlib.sha256(point.body()).digest())


def test_openssl_asks_the_same_and_its_token_verifies() -> None:
    """An independent implementation on both sides of the wire."""
    assert stamp.request(POINT) == (VECTORS / "openssl.tsq").read_bytes()
    made = stamp.verify((VECTORS / "openssl.tsr").read_bytes(), POINT, (VECTORS / "openssl-root.pem").read_bytes())
    assert made.authority == "CN=Test timestamp authority" and 1_790_000_000 < made.time < 1_800_000_000


def test_a_token_without_certificates(authority: Authority) -> None:
    """An authority whose own certificate is known is asked to send none; then it verifies with that one only."""
    own = authority.signer.public_bytes(Encoding.PEM)
    assert stamp.request(POINT, authority.pem) == stamp.request(POINT) != stamp.request(POINT, authority.pem + own)
    bare = (VECTORS / "openssl-bare.tsr").read_bytes()
    root, tsa = ((VECTORS / f"openssl-{name}.pem").read_bytes() for name in ("root", "tsa"))
    assert stamp.verify(bare, POINT, root + tsa).authority == "CN=Test timestamp authority"
    for pem in (root, root + own, authority.pem + tsa):
        with pytest.raises(Malformed, match="not signed under"):
            stamp.verify(bare, POINT, pem)
    assert stamp.verify(token(authority), POINT, own + authority.pem).authority == "CN=Test authority"


def test_a_token_says_when_and_who(authority: Authority) -> None:
    assert stamp.read(token(authority), POINT) == stamp.Stamp(NOW, "CN=Test authority")
    assert stamp.verify(token(authority), POINT, authority.pem) == stamp.Stamp(NOW, "CN=Test authority")


def test_a_token_of_something_else(authority: Authority) -> None:
    for other in (
        Checkpoint("heji/bank_b", 5, POINT.root),
        Checkpoint("heji/bank_a", 6, POINT.root),
        Checkpoint("heji/bank_a", 5, bytes(32)),
    ):
        with pytest.raises(Malformed, match="something else"):
            stamp.read(token(authority), other)


def test_a_token_of_another_authority(authority: Authority) -> None:
    other = Authority("Test authority", lambda: NOW)
    with pytest.raises(Malformed, match="not signed under"):
        stamp.verify(token(other), POINT, authority.pem)
    third = Authority("Third authority", lambda: NOW)
    assert stamp.verify(token(third), POINT, authority.pem + third.pem).time == NOW  # either is believed


def test_a_signer_that_may_not_sign_times() -> None:
    coder = Authority("Code signer", lambda: NOW, for_times=False)
    with pytest.raises(Malformed, match="not signed under"):
        stamp.verify(token(coder), POINT, coder.pem)


def test_what_is_no_token(authority: Authority) -> None:
    refused = der(SEQUENCE, der(SEQUENCE, whole(2)))
    for raw in (b"", b"0", bytes(100), refused, token(authority)[:-1], token(authority) + b"\0", b"0" * (1 << 17)):
        with pytest.raises(Malformed):
            stamp.read(raw, POINT)
    rejected = token(authority).replace(der(SEQUENCE, whole(0)), der(SEQUENCE, whole(2)), 1)
    with pytest.raises(Malformed):
        stamp.read(rejected, POINT)


def test_no_changed_byte_gives_another_time_or_name(authority: Authority) -> None:
    """Whatever byte is changed: another time or signer is never believed, and nothing but Malformed is raised."""
    good = token(authority)
    for at in range(0, len(good), 3):
        raw = good[:at] + bytes([good[at] ^ 0x41]) + good[at + 1 :]
        try:
            made = stamp.verify(raw, POINT, authority.pem)
        except Malformed:
            continue
        assert made == stamp.Stamp(NOW, "CN=Test authority")


def test_certificates_that_are_no_root(authority: Authority) -> None:
    for pem in (b"", b"no certificate", authority.signer.public_bytes(Encoding.PEM), der(OCTETS, b"x")):
        with pytest.raises(LocalError) as refused:
            stamp.certificates_of(pem)
        assert refused.value.code == "config.invalid"


def test_without_the_library_it_says_what_to_install(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rfc3161_client", None)
    for call in (lambda: stamp.request(POINT), lambda: stamp.read(b"", POINT)):
        with pytest.raises(LocalError, match="rfc3161-client") as refused:
            call()
        assert refused.value.code == "config.missing"
