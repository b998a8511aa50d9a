"""BFV and CKKS ciphertexts from seeds: the same bytes again, in TenSEAL's own form, never the same randomness twice."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mpc.crypto import lattice
from mpc.crypto.seeded import SEED_BYTES, Saved, Seeds
from mpc.ring import ring

pytest.importorskip("tenseal")


@pytest.fixture(scope="module", params=["bfv", "ckks"])
def secret(request: pytest.FixtureRequest) -> lattice.SecretKey:
    return lattice.new_key(request.param, 2 if request.param == "bfv" else 1)


@pytest.fixture
def saved(tmp_path: Path) -> Saved:
    def read(save: Callable[[str], Any]) -> bytes:
        save(str(tmp_path / "c"))
        return (tmp_path / "c").read_bytes()

    return read


def seeds(saved: Saved, count: int, first: int = 1) -> Seeds:
    return Seeds(b"".join(bytes([first + i]) * SEED_BYTES for i in range(count)), saved)


def test_seeds_decide(secret: lattice.SecretKey, saved: Saved) -> None:
    x, key = ring(64).from_ints([5, -6, 2**62]), secret.public
    count = key.ciphertexts(3)
    made = lattice.encrypt(key, x, seeds(saved, count))
    again = lattice.PublicKey.from_bytes(key.to_bytes())
    assert made == lattice.encrypt(again, x, seeds(saved, count))
    other = lattice.encrypt(key, x, seeds(saved, count, first=7))
    assert not set(made) & set(other)
    for column in (made, other):
        lattice.verify_ciphertexts(key, column, 3, party="bank", step="deposit")
        assert lattice.decrypt(secret, column, 3).tolist() == [5, -6, 2**62]


def test_lies_in_totals_as_any_other(secret: lattice.SecretKey, saved: Saved) -> None:
    """More words than a ciphertext holds, added to what TenSEAL encrypts by itself."""
    x = np.arange(lattice.DEGREE + 3, dtype=np.uint64)
    made = lattice.encrypt(secret.public, x, seeds(saved, secret.public.ciphertexts(len(x))))
    lattice.verify_ciphertexts(secret.public, made, len(x), party="bank", step="deposit")
    total = lattice.add(secret.public, [made, lattice.encrypt(secret.public, x)])
    assert (lattice.decrypt(secret, total, len(x)) == 2 * np.arange(len(x))).all()


def test_no_two_ciphertexts_of_a_vector_have_the_same_randomness(secret: lattice.SecretKey, saved: Saved) -> None:
    """Else their difference would be that of their plaintexts, readable without a key; SEAL refuses to make such."""
    x = np.arange(lattice.DEGREE * 2, dtype=np.uint64)
    key, context = secret.public, secret.public._loaded[0]
    count = key.ciphertexts(len(x))

    def difference(raw: bytes) -> Any:
        made = lattice.encrypt(key, x, Seeds(raw, saved))
        one, two = (lattice._vector(key.scheme, context, made[i]) for i in (0, count // 2))
        return one - two

    assert difference(seeds(saved, count).raw).size() > 0
    with pytest.raises(RuntimeError, match="transparent"):
        difference(bytes(SEED_BYTES) * count)


def test_too_few_seeds_are_none(secret: lattice.SecretKey, saved: Saved) -> None:
    with pytest.raises(AssertionError):
        lattice.encrypt(secret.public, ring(64).from_ints([1]), seeds(saved, secret.public.ciphertexts(1) - 1))


def test_seeds_are_not_printed(saved: Saved) -> None:
    assert "\\x01" not in repr(seeds(saved, 1))
