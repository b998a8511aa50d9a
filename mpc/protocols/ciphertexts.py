"""Paillier ciphertexts between two members: made, blinded anew, packed, said and heard."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mpc.blocks import hear_rows, say_rows
from mpc.crypto import paillier, subgroup
from mpc.crypto.paillier import MIN_BITS
from mpc.crypto.spread import Spread
from mpc.crypto.subgroup import SubgroupKey, SubgroupSecret
from mpc.errors import LocalError, PeerError
from mpc.rounds import Rounds, Session

CIPHERTEXT_BYTES, KEY_BYTES = MIN_BITS // 4, MIN_BITS // 4


def encrypted(here: Session, secret: SubgroupSecret, plain: Sequence[int], spread: Spread) -> list[int]:
    """Fresh ciphertexts of plaintexts in [0, n), by who holds the key."""
    seed = here.own.draw(here.at("blinding").path, 32)
    pool = paillier.Pool(secret.public)
    pool.put(seed, subgroup.factors_by_holder(secret, seed, len(plain), spread))
    return paillier.encrypt(secret.public, plain, pool)


def added(here: Session, key: SubgroupKey, ciphertexts: list[int], plain: list[int], spread: Spread) -> list[int]:
    """Each ciphertext plus a plaintext, under a factor of its own."""
    seed = here.own.draw(here.at("blinding").path, 32)
    pool = paillier.Pool(key)
    pool.put(seed, subgroup.factors(key, seed, len(plain), spread))
    return paillier.add(key, (ciphertexts, paillier.encrypt(key, plain, pool)), len(plain))


def opened(
    here: Session, sender: str, secret: SubgroupSecret, count: int, bits: int, spread: Spread
) -> Rounds[list[int]]:
    """The plaintexts, below 2^bits, of ciphertexts that ``sender`` made from this side's."""
    heard = yield from hear_ciphertexts(here, sender, secret.public, count)
    try:
        return subgroup.decrypt(secret, heard, bits, spread)
    except ValueError:
        raise PeerError(
            "protocol.malformed",
            f"{sender} sent a number at {here.path} that was not made from ciphertexts of this key.",
            party=sender,
            step=here.path,
        ) from None


def packed(values: Sequence[int], slot: int) -> int:
    """Σ value · 2^(slot·i)."""
    return sum(v << (slot * i) for i, v in enumerate(values))


def say_key(here: Session, to: str, key: SubgroupKey) -> Rounds[None]:
    yield from say_rows(here, to, _as_rows(key.to_bytes(), KEY_BYTES))


def hear_key(here: Session, sender: str) -> Rounds[SubgroupKey]:
    raw = (yield from hear_rows(here, sender, 1, KEY_BYTES)).tobytes()
    try:
        return SubgroupKey.from_bytes(raw)
    except LocalError as wrong:
        raise PeerError(wrong.code, f"{sender}: {wrong.message}", party=sender, step=here.path) from None


def hear_ciphertexts(here: Session, sender: str, key: SubgroupKey, count: int) -> Rounds[list[int]]:
    raw = (yield from hear_rows(here, sender, count, CIPHERTEXT_BYTES)).tobytes()
    return paillier.decode(key, raw, count, party=sender, step=here.path)


def say_ciphertexts(here: Session, to: str, key: SubgroupKey, ciphertexts: Sequence[int]) -> Rounds[None]:
    yield from say_rows(here, to, _as_rows(paillier.encode(key, ciphertexts), CIPHERTEXT_BYTES))


def _as_rows(raw: bytes, width: int) -> NDArray[np.uint8]:
    return np.frombuffer(raw, dtype=np.uint8).reshape(-1, width)
