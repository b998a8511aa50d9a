"""Powers for Paillier against phe and plain arithmetic."""

from __future__ import annotations

import random

import pytest

from mpc.crypto import paillier, powers
from mpc.crypto.paillier import Pool, SecretKey, key_from_seed
from mpc.errors import LocalError

SECRET: SecretKey = key_from_seed(b"\x01" * 32)
KEY = SECRET.public


def encrypted(values: list[int], seed: int = 2) -> list[int]:
    pool = Pool(KEY)
    pool.put(bytes([seed]) * 32, powers.residues_by_table(SECRET, bytes([seed]) * 32, len(values), map))
    return paillier.encrypt(KEY, [v % KEY.n for v in values], pool)


def signed(value: int) -> int:
    return value if value < KEY.n // 2 else value - KEY.n


@pytest.mark.parametrize("window", [4, 10])
def test_residues_hold_zero_whichever_way_they_are_made(window, monkeypatch):
    monkeypatch.setattr(powers, "_SMALL", window)
    monkeypatch.setattr(powers, "_MANY", 3)
    monkeypatch.setattr(powers, "_FEW", 1)
    for found in (
        powers.residues_by_table(SECRET, b"\x05" * 32, 7, map),
        powers.residues(KEY, b"\x05" * 32, 2, map),
    ):
        assert len(set(found)) == len(found) and set(paillier.decrypt(SECRET, found)) == {0}
        for r in found:  # of order φ(n): what holds 0 and nothing else
            assert pow(r, SECRET.p - 1, SECRET.p**2) == pow(r, SECRET.q - 1, SECRET.q**2) == 1


def test_the_tables_give_powers_of_one_residue_modulo_each_prime():
    """The same exponents on tables of another window give the same powers."""
    raw = random.Random(1).randbytes(128)
    one, two = (powers._by_table(SECRET.p, SECRET.q, b"\x03" * 32, w, raw) for w in (4, 10))
    assert one == two
    (g,) = powers._by_table(SECRET.p, SECRET.q, b"\x03" * 32, 4, ((1).to_bytes(32, "big")) * 2)
    for i, found in zip((0, 64), one, strict=True):
        s, t = (int.from_bytes(raw[at : at + 32], "big") for at in (i, i + 32))
        assert found % SECRET.p**2 == pow(g, s, SECRET.p**2) and found % SECRET.q**2 == pow(g, t, SECRET.q**2)


def test_seeds_decide_and_serve_one_key():
    other = key_from_seed(b"\x02" * 32)
    one = powers.residues_by_table(SECRET, b"\x05" * 32, 2, map)
    assert one == powers.residues_by_table(SECRET, b"\x05" * 32, 2, map)
    assert not set(one) & set(powers.residues_by_table(SECRET, b"\x06" * 32, 2, map))
    assert powers.residues(KEY, b"\x05" * 32, 1, map) != powers.residues(other.public, b"\x05" * 32, 1, map)
    pool = Pool(KEY)
    pool.put(b"\x05" * 32, one)
    with pytest.raises(LocalError) as caught:
        pool.put(b"\x05" * 32, one)
    assert caught.value.code == "protocol.reuse"


@pytest.mark.parametrize("count", [0, 1, 2, 60])
def test_products_of_powers(count, monkeypatch):
    monkeypatch.setattr(powers, "_LONG", 25)
    monkeypatch.setattr(powers, "_PIECES", 2)
    draw = random.Random(count)
    values = [draw.randrange(-(10**9), 10**9) for _ in range(count)]
    exponents = [draw.choice([0, 1, -1, draw.randrange(-(2**63), 2**63)]) for _ in range(count)]
    c = encrypted(values)
    made = powers.products_of_powers(KEY, [(c, exponents), (c, None), ([], None), (c[:3], exponents[:3])], map)
    totals = [signed(m) for m in paillier.decrypt(SECRET, made)]
    weighed = [v * k for v, k in zip(values, exponents, strict=True)]
    assert totals == [sum(weighed), sum(values), 0, sum(weighed[:3])]


def test_stacked():
    c = encrypted([5, 7, 2**99])
    found = paillier.decrypt(SECRET, powers.stacked(KEY, [c, c[:1]], 100, map))
    assert found == [5 + (7 << 100) + (2**99 << 200), 5]
