"""Paillier: round trips, homomorphism, and everything that is refused."""

from __future__ import annotations

import math
import sys

import pytest

from mpc.crypto.paillier import (
    MIN_BITS,
    Pool,
    PublicKey,
    SecretKey,
    add,
    decode,
    decrypt,
    encode,
    encrypt,
    key_from_seed,
)
from mpc.errors import LocalError, PeerError


@pytest.fixture(scope="module")
def secret() -> SecretKey:
    return key_from_seed(b"\x01" * 32)


def pool(key: PublicKey, count: int, seed: int = 7) -> Pool:
    made = Pool(key)
    made.fill(bytes([seed]) * 32, count)
    return made


def test_keys_come_from_their_seed(secret):
    assert secret.public.n.bit_length() == MIN_BITS
    assert key_from_seed(b"\x01" * 32).public == secret.public
    assert PublicKey.from_bytes(secret.public.to_bytes()) == secret.public
    assert secret.p != secret.q and secret.p * secret.q == secret.public.n


def test_decrypts_what_was_encrypted_and_added(secret):
    key, n = secret.public, secret.public.n
    plain = [0, 1, n - 1, n // 2, 2**3071]
    a, b = encrypt(key, plain, pool(key, 5, 1)), encrypt(key, plain[::-1], pool(key, 5, 2))
    assert decrypt(secret, a) == plain
    assert decrypt(secret, add(key, [a, b], 5)) == [(x + y) % n for x, y in zip(plain, plain[::-1], strict=True)]
    assert decode(key, encode(key, a), 5, party="p", step="s") == a


def test_one_value_twice_looks_different(secret):
    a, b = encrypt(secret.public, [5, 5], pool(secret.public, 2))
    assert a != b
    assert (1 + 5 * secret.public.n) % secret.public.square not in (a, b)  # the bare encryption


def test_a_factor_serves_once(secret):
    made = pool(secret.public, 2)
    encrypt(secret.public, [1], made)
    assert len(made) == 1
    with pytest.raises(LocalError) as caught:
        encrypt(secret.public, [1, 2], made)
    assert caught.value.code == "protocol.reuse" and len(made) == 1
    with pytest.raises(LocalError):
        made.fill(b"\x07" * 32, 1)
    assert len(set(pool(secret.public, 3).take(3))) == 3


def test_only_ciphertexts_under_the_key_are_taken(secret):
    key, width = secret.public, secret.public.width
    (good,) = encrypt(key, [9], pool(key, 1))
    for wrong in (0, secret.p, secret.q, key.n, key.n * 3, key.square, key.square + 1, (1 << 8 * width) - 1):
        with pytest.raises(PeerError) as caught:
            decode(key, encode(key, [good]) + wrong.to_bytes(width, "big"), 2, party="bank", step="deposit")
        assert caught.value.code == "protocol.malformed" and caught.value.party == "bank"
    raw = encode(key, [good])
    for short in (raw[:-1], raw + b"\0", b"", raw * 2):
        with pytest.raises(PeerError) as caught:
            decode(key, short, 1, party="bank", step="deposit")
        assert caught.value.code == "protocol.size"


def test_small_and_odd_keys_are_refused(secret):
    n = secret.public.n
    for modulus in (0, 15, 2**2047 + 1, 2**3070 + 1, n + 1, n << 1 | 1, 2**8199 + 1):
        with pytest.raises(LocalError):
            PublicKey(modulus)
    raw = secret.public.to_bytes()
    for wrong in (b"", raw[1:], b"\0" + raw, raw + b"\0", raw[:256]):
        with pytest.raises(LocalError):
            PublicKey.from_bytes(wrong)
    for bits in (1024, 2048, 3056, 3080, 8208):
        with pytest.raises(LocalError):
            key_from_seed(b"\x02" * 32, bits)
    with pytest.raises(LocalError):
        SecretKey(secret.public, secret.p, secret.q + 2)


def test_repr_hides_the_secret(secret):
    for shown in (repr(secret), str(secret), repr(pool(secret.public, 1))):
        assert str(secret.p)[:12] not in shown and hex(secret.q)[2:14] not in shown
    assert math.gcd(secret.p, secret.q) == 1


def test_says_what_to_install(secret, monkeypatch):
    made = pool(secret.public, 1)
    made_before = encrypt(secret.public, [1], pool(secret.public, 1))
    for package, work in (
        ("phe", lambda: decrypt(SecretKey(secret.public, secret.p, secret.q), made_before)),
        ("gmpy2", lambda: encrypt(secret.public, [1], made)),
    ):
        monkeypatch.setitem(sys.modules, package, None)
        with pytest.raises(LocalError, match=package) as caught:
            work()
        assert caught.value.code == "config.missing" and "heji[paillier]" in caught.value.advice
