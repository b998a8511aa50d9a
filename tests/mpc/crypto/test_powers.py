"""Products of powers of ciphertexts against plain arithmetic."""

from __future__ import annotations

import random

import pytest

from mpc.crypto import paillier, powers, subgroup
from mpc.crypto.paillier import Pool
from mpc.crypto.subgroup import key_from_seed

SECRET = key_from_seed(b"\x01" * 32)
KEY = SECRET.public


def encrypted(values: list[int], seed: int = 2) -> list[int]:
    pool = Pool(KEY)
    pool.put(bytes([seed]) * 32, subgroup.factors_by_holder(SECRET, bytes([seed]) * 32, len(values), map))
    return paillier.encrypt(KEY, [v % KEY.n for v in values], pool)


def opened(ciphertexts: list[int]) -> list[int]:
    return subgroup.decrypt(SECRET, ciphertexts, KEY.n.bit_length(), map)


def signed(value: int) -> int:
    return value if value < KEY.n // 2 else value - KEY.n


@pytest.mark.parametrize("count", [0, 1, 2, 60])
def test_products_of_powers(count, monkeypatch):
    monkeypatch.setattr(powers, "_LONG", 25)
    monkeypatch.setattr(powers, "_PIECES", 2)
    draw = random.Random(count)
    values = [draw.randrange(-(10**9), 10**9) for _ in range(count)]
    exponents = [draw.choice([0, 1, -1, draw.randrange(-(2**63), 2**63)]) for _ in range(count)]
    c = encrypted(values)
    made = powers.products_of_powers(KEY, [(c, exponents), (c, None), ([], None), (c[:3], exponents[:3])], map)
    totals = [signed(m) for m in opened(made)]
    weighed = [v * k for v, k in zip(values, exponents, strict=True)]
    assert totals == [sum(weighed), sum(values), 0, sum(weighed[:3])]


def test_stacked():
    c = encrypted([5, 7, 2**99])
    found = opened(powers.stacked(KEY, [c, c[:1]], 100, map))
    assert found == [5 + (7 << 100) + (2**99 << 200), 5]
