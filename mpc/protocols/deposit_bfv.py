"""How the words of a deposit lie in BFV ciphertexts (P10, deposit.py), and what is done with those.

A word of b bits is lifted by a uniform r of 40 bits to x + 2^b·r (mpc/lifted.py) and stands in one slot, modulo a
product M of primes of 58 bits: two where b = 64, three where b = 128. 63 such numbers stay below M, so the total is
Σx + 2^b·Σr as a whole number, as under Paillier. Where one x is uniform so is Σx mod 2^b; what stands above tells the
carries but for 2^-40 a word. The same r spread x·q/p over all fractions, so also the rounding errors that BFV adds to
the error, which the recipient can see, are of numbers drawn at random.

The key is too long for a job: the job names its fingerprint, under the recipient's signature, and the key travels
beside. The randomness of ciphertexts comes from the depositor's coins (mpc/crypto/seeded.py), so that a deposit can be
made again; SEAL writes them to files, so they are made where the parties do input and output.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from mpc.coins import Coins
from mpc.crypto import lattice
from mpc.crypto.labels import framed, unframed
from mpc.errors import LocalError, PeerError
from mpc.lifted import LiftedWords
from mpc.messages import RingWords
from mpc.protocols.total import Sum

#: primes of a recipient's key, and those of them that a word of so many bits needs
PRIMES, PRIMES_FOR = 3, {64: 2, 128: 3}


@dataclass(frozen=True)
class NamedKey:
    """A recipient's BFV key by its ``fingerprint``; ``public`` only where the key itself is at hand and needed.

    Raises LocalError protocol.point where the two do not belong together.
    """

    fingerprint: bytes
    public: lattice.PublicKey | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        p = self.public
        if p is not None and (p.fingerprint != self.fingerprint or p.scheme != "bfv" or len(p.contexts) != PRIMES):
            raise LocalError(
                "protocol.point",
                "The BFV key that came beside the job is not the one that its recipient signed.",
                "Nothing was encrypted. Ask the recipient and the coordinator which key is the right one.",
            )

    def of(self, s: Sum) -> lattice.PublicKey:
        """The part of the key that a sum uses."""
        if self.public is None:
            raise LocalError(
                "evidence.missing", "The recipient's BFV key is not here.", "The coordinator of the job has it."
            )
        return self._parts[s.bits]

    @cached_property
    def _parts(self) -> dict[int, lattice.PublicKey]:
        """By bits of a word."""
        assert self.public is not None
        return {b: lattice.PublicKey("bfv", self.public.contexts[:k]) for b, k in PRIMES_FOR.items()}


def layout(s: Sum) -> LiftedWords:
    """How a sum's words lie in blocks."""
    return LiftedWords(s.bits, s.length, lattice.DEGREE)


def ciphertexts_of(s: Sum) -> int:
    return ciphertexts_for(s.bits, s.length)


def ciphertexts_for(bits: int, length: int) -> int:
    """Ciphertexts of so many words."""
    return LiftedWords(bits, length, lattice.DEGREE).blocks * PRIMES_FOR[bits]


def lifted(sums: Sequence[Sum], vectors: Mapping[str, RingWords], coins: Coins) -> dict[str, RingWords]:
    """The depositor's role until it encrypts: whole numbers by name of the sum."""
    return {
        s.name: layout(s).lift(vectors[s.name], coins.draw(f"deposit/{s.name}/lift", layout(s).blind_bytes))
        for s in sums
    }


def body_of(columns: Sequence[Sequence[bytes]]) -> bytes:
    """Ciphertexts, sum by sum, as they are signed and sent."""
    return framed(*(c for column in columns for c in column))


def read(key: NamedKey, sums: Sequence[Sum], body: bytes, sender: str, step: str) -> list[list[bytes]]:
    """The ciphertexts of each sum. Raises PeerError protocol.size, protocol.malformed."""
    found = unframed(body)
    if len(found) != sum(map(ciphertexts_of, sums)) or framed(*found) != body:
        raise PeerError("protocol.malformed", f"{sender} sent another number of ciphertexts.", party=sender, step=step)
    columns = []
    for s in sums:
        column, found = found[: ciphertexts_of(s)], found[ciphertexts_of(s) :]
        lattice.verify_ciphertexts(key.of(s), column, layout(s).plaintexts, party=sender, step=step)
        columns.append(column)
    return columns


def add(key: NamedKey, sums: Sequence[Sum], deposits: Sequence[Sequence[Sequence[bytes]]]) -> list[list[bytes]]:
    """The ciphertexts of the total, sum by sum; the same from the same deposits in the same order."""
    return [lattice.add(key.of(s), [columns[i] for columns in deposits]) for i, s in enumerate(sums)]


def open_sums(
    secret: lattice.SecretKey, sums: Sequence[Sum], columns: Sequence[Sequence[bytes]], vectors: int
) -> dict[str, RingWords]:
    """Σ x_i by name of the sum. Raises ValueError where it is no sum of so many deposits."""
    found = {}
    for s, column in zip(sums, columns, strict=True):
        k = PRIMES_FOR[s.bits]
        part = lattice.SecretKey(lattice.PublicKey("bfv", secret.public.contexts[:k]), secret.contexts[:k])
        centred = lattice.decrypt(part, column, layout(s).plaintexts)
        found[s.name] = layout(s).total(np.asarray(centred, dtype=object) % math.prod(lattice.PRIMES[:k]), vectors)
    return found
