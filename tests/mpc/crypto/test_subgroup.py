"""Paillier keys with a subgroup of hidden order: against phe, plain arithmetic, and what must not open."""

from __future__ import annotations

import math
import random

import gmpy2
import pytest
from phe import paillier as phe

from mpc.crypto import paillier, subgroup
from mpc.crypto.paillier import Pool
from mpc.crypto.subgroup import SubgroupKey, key_from_seed
from mpc.errors import LocalError

SECRET = key_from_seed(b"\x01" * 32)
KEY = SECRET.public
ALL_BITS = KEY.n.bit_length()


def factors(how: str, seed: bytes, count: int) -> list[int]:
    if how == "holder":
        return subgroup.factors_by_holder(SECRET, seed, count, map)
    return subgroup.factors(KEY, seed, count, map)


def encrypted(how: str, values: list[int]) -> list[int]:
    pool = Pool(KEY)
    pool.put(b"\x05" * 32, factors(how, b"\x05" * 32, len(values)))
    return paillier.encrypt(KEY, values, pool)


def test_the_key_is_what_the_page_says():
    assert ALL_BITS == 3072 and SECRET.p * SECRET.q == KEY.n
    for p, order in ((SECRET.p, SECRET.order_p), (SECRET.q, SECRET.order_q)):
        assert order.bit_length() == 256 and gmpy2.is_prime(order) and gmpy2.is_prime(p)
        assert (p - 1) % (2 * order) == 0 and KEY.y % p != 1 and pow(KEY.y, order, p) == 1
        assert KEY.h % p**2 != 1 and pow(KEY.h, order, p**2) == 1
    assert KEY.h == pow(KEY.y, KEY.n, KEY.n**2)
    assert math.gcd(KEY.n, (SECRET.p - 1) * (SECRET.q - 1)) == 1
    assert key_from_seed(b"\x01" * 32).public == KEY != key_from_seed(b"\x02" * 32).public


@pytest.mark.parametrize("how", ["holder", "anybody"])
def test_factors_are_powers_of_h_and_hold_zero(how, monkeypatch):
    monkeypatch.setattr(subgroup, "_MADE", 3)
    found = factors(how, b"\x05" * 32, 7)
    assert len(set(found)) == 7
    for r in found:
        assert pow(r, SECRET.order_p, SECRET.p**2) == pow(r, SECRET.order_q, SECRET.q**2) == 1
    assert subgroup.decrypt(SECRET, found, ALL_BITS, map) == [0] * 7


@pytest.mark.parametrize("window", [2, 5, 9])
def test_powers_by_table(window):
    draw = random.Random(window)
    table = subgroup._table(KEY.h, KEY.square, 640, window)
    for s in (0, 1, 2**640 - 1, draw.getrandbits(640)):
        assert subgroup._looked_up(table, s, window, KEY.square) == pow(KEY.h, s, KEY.square)


def test_exponents_are_as_long_as_the_argument_needs(monkeypatch):
    """Of 640 bits where the order is not known, below the order where it is: each is seen in the power it gives."""
    seen = []
    monkeypatch.setattr(subgroup, "_looked_up", lambda table, s, *_: seen.append(s) or 1)
    subgroup.factors(KEY, b"\x05" * 32, 50, map)
    assert 630 < max(seen).bit_length() <= 640 and len(set(seen)) == 50
    seen.clear()
    subgroup.factors_by_holder(SECRET, b"\x05" * 32, 50, map)
    for exponents, order in ((seen[::2], SECRET.order_p), (seen[1::2], SECRET.order_q)):
        assert order >> 8 < max(exponents) < order and len(set(exponents)) == 50


@pytest.mark.parametrize("how", ["holder", "anybody"])
def test_opens_as_phe_does(how):
    values = [0, 1, KEY.n - 1, SECRET.p, 2**1400, 12345]
    made = encrypted(how, values)
    other = phe.PaillierPrivateKey(phe.PaillierPublicKey(KEY.n), SECRET.p, SECRET.q)
    assert subgroup.decrypt(SECRET, made, ALL_BITS, map) == values == [other.raw_decrypt(c) for c in made]
    assert subgroup.decrypt(SECRET, made[4:], 1401, map) == values[4:]  # modulo p alone


@pytest.mark.parametrize("bits", [100, 3072])
def test_a_factor_outside_of_the_subgroup_does_not_open(bits):
    c = encrypted("anybody", [7])
    with pytest.raises(ValueError, match="outside"):
        subgroup.decrypt(SECRET, [*c, c[0] * pow(2, KEY.n, KEY.square) % KEY.square], bits, map)


def test_seeds_decide_and_serve_one_key():
    other = key_from_seed(b"\x02" * 32)
    for how in ("holder", "anybody"):
        one = factors(how, b"\x05" * 32, 2)
        assert one == factors(how, b"\x05" * 32, 2)
        assert not set(one) & set(factors(how, b"\x06" * 32, 2))
    assert subgroup.factors(KEY, b"\x05" * 32, 1, map) != subgroup.factors(other.public, b"\x05" * 32, 1, map)
    pool = Pool(KEY)
    pool.put(b"\x05" * 32, one)
    with pytest.raises(LocalError) as caught:
        pool.put(b"\x05" * 32, one)
    assert caught.value.code == "protocol.reuse"


def test_bytes_and_back():
    assert SubgroupKey.from_bytes(KEY.to_bytes()) == KEY and len(KEY.to_bytes()) == 768
    assert KEY.fingerprint != paillier.PublicKey(KEY.n).fingerprint


@pytest.mark.parametrize("y", [0, 1, KEY.n - 1, KEY.n, KEY.n + 2, SECRET.p])
def test_what_generates_no_subgroup_is_refused(y):
    with pytest.raises(LocalError) as caught:
        SubgroupKey.from_bytes(KEY.to_bytes()[:384] + y.to_bytes(384, "big"))
    assert caught.value.code == "protocol.point"


def test_nothing_secret_is_printed():
    said = repr(SECRET) + repr(KEY)
    assert not any(str(x) in said for x in (SECRET.p, SECRET.q, SECRET.order_p, SECRET.order_q, KEY.n, KEY.y))
