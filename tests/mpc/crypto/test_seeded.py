"""BFV ciphertexts from seeds: the same bytes again, TenSEAL's own form, and never the same randomness twice."""

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


@pytest.fixture(scope="module")
def secret() -> lattice.SecretKey:
    return lattice.new_key("bfv", 2)


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
    made = lattice.encrypt(key, x, seeds(saved, 2))
    again = lattice.PublicKey.from_bytes(key.to_bytes())
    assert made == lattice.encrypt(again, x, seeds(saved, 2))
    other = lattice.encrypt(key, x, seeds(saved, 2, first=7))
    assert not set(made) & set(other)
    for column in (made, other):
        lattice.verify_ciphertexts(key, column, 3, party="bank", step="deposit")
        assert lattice.decrypt(secret, column, 3).tolist() == [5, -6, 2**62]


def test_lies_in_totals_as_any_other(secret: lattice.SecretKey, saved: Saved) -> None:
    """More words than a ciphertext holds, added to what TenSEAL encrypts by itself."""
    x = np.arange(lattice.DEGREE + 3, dtype=np.uint64)
    made = lattice.encrypt(secret.public, x, seeds(saved, 4))
    lattice.verify_ciphertexts(secret.public, made, len(x), party="bank", step="deposit")
    total = lattice.add(secret.public, [made, lattice.encrypt(secret.public, x)])
    assert (lattice.decrypt(secret, total, len(x)) == 2 * np.arange(len(x))).all()


def test_no_two_ciphertexts_of_a_vector_have_the_same_randomness(secret: lattice.SecretKey, saved: Saved) -> None:
    """Else their difference would be that of their plaintexts, readable without a key; SEAL refuses to make such."""
    x = np.arange(lattice.DEGREE * 2, dtype=np.uint64)
    context = secret.public._loaded[0]

    def difference(raw: bytes) -> Any:
        made = lattice.encrypt(secret.public, x, Seeds(raw, saved))
        return lattice._vector("bfv", context, made[0]) - lattice._vector("bfv", context, made[2])

    assert difference(seeds(saved, 4).raw).decrypt(secret._loaded[0].secret_key())[0] == -lattice.DEGREE
    with pytest.raises(RuntimeError, match="transparent"):
        difference(bytes(SEED_BYTES) * 4)


def test_too_few_seeds_are_none(secret: lattice.SecretKey, saved: Saved) -> None:
    with pytest.raises(AssertionError):
        lattice.encrypt(secret.public, ring(64).from_ints([1]), seeds(saved, 1))


def test_seeds_are_not_printed(saved: Saved) -> None:
    assert "\\x01" not in repr(seeds(saved, 1))
