"""How the words of a deposit lie in BFV or CKKS ciphertexts (P10, deposit.py), and what is done with those.

BFV. A word of b bits is lifted by a uniform r of 40 bits to x + 2^b·r (mpc/lifted.py) and stands in one slot, modulo a
product M of primes of 58 bits: two where b = 64, three where b = 128. 63 such numbers stay below M, so the total is
Σx + 2^b·Σr as a whole number, as under Paillier. Where one x is uniform so is Σx mod 2^b; what stands above tells the
carries but for 2^-40 a word. The same r spread x·q/p over all fractions, so also the rounding errors that BFV adds to
the error, which the recipient can see, are of numbers drawn at random.

CKKS. The same in the coefficients of one plaintext (mpc/crypto/coefficients.py), which holds less than 2^110: a word of
128 bits is two of 64, lo + 2^64·r and hi − r + 2^64·r', whose sums with weights 1 and 2^64 are the total modulo 2^128.
What the recipient sees besides is the sum of the encryptions' errors, which no word has a part in.

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
from mpc.crypto.lattice import Scheme
from mpc.errors import LocalError, PeerError
from mpc.lifted import LiftedWords
from mpc.messages import RingWords
from mpc.protocols.total import Sum
from mpc.ring import ring

#: primes of a recipient's BFV key, and those of them that a word of so many bits needs
PRIMES, PRIMES_FOR = 3, {64: 2, 128: 3}
#: parts of a recipient's key
PARTS: Mapping[Scheme, int] = {"bfv": PRIMES, "ckks": 1}


def scheme_of(method: str) -> Scheme:
    """Of a deposit job's method that is a lattice scheme."""
    assert method in PARTS
    return "bfv" if method == "bfv" else "ckks"


@dataclass(frozen=True)
class NamedKey:
    """A recipient's key of a lattice ``scheme`` by its ``fingerprint``; ``public`` only where the key itself is at hand
    and needed.

    Raises LocalError protocol.point where they do not belong together.
    """

    scheme: Scheme
    fingerprint: bytes
    public: lattice.PublicKey | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        p = self.public
        told = None if p is None else (p.scheme, p.fingerprint, len(p.contexts))
        if told not in (None, (self.scheme, self.fingerprint, PARTS[self.scheme])):
            raise LocalError(
                "protocol.point",
                f"The {self.name} key that came beside the job is not the one that its recipient signed.",
                "Nothing was encrypted. Ask the recipient and the coordinator which key is the right one.",
            )

    @property
    def name(self) -> str:
        """As people write it."""
        return self.scheme.upper()

    def of(self, s: Sum) -> lattice.PublicKey:
        """The part of the key that a sum uses."""
        if self.public is None:
            raise LocalError(
                "evidence.missing",
                f"The recipient's {self.name} key is not here.",
                "The coordinator of the job has it.",
            )
        return self._parts[s.bits]

    @cached_property
    def _parts(self) -> dict[int, lattice.PublicKey]:
        """By bits of a word."""
        assert self.public is not None
        return {b: _part(self.public, b) for b in (64, 128)}


def _part(key: lattice.PublicKey, bits: int) -> lattice.PublicKey:
    return key if key.scheme == "ckks" else lattice.PublicKey("bfv", key.contexts[: PRIMES_FOR[bits]])


def layout(scheme: Scheme, bits: int, length: int) -> LiftedWords:
    """How so many words lie in blocks."""
    if scheme == "ckks":
        return LiftedWords(64, length * bits // 64, lattice.DEGREE)
    return LiftedWords(bits, length, lattice.DEGREE)


def ciphertexts_for(scheme: Scheme, bits: int, length: int) -> int:
    """Ciphertexts of so many words."""
    return layout(scheme, bits, length).blocks * (1 if scheme == "ckks" else PRIMES_FOR[bits])


def ciphertexts_of(scheme: Scheme, s: Sum) -> int:
    return ciphertexts_for(scheme, s.bits, s.length)


def lifted(scheme: Scheme, sums: Sequence[Sum], vectors: Mapping[str, RingWords], coins: Coins) -> dict[str, RingWords]:
    """The depositor's role until it encrypts: whole numbers by name of the sum."""
    found = {}
    for s in sums:
        placed, x = layout(scheme, s.bits, s.length), vectors[s.name]
        blinds = coins.draw(f"deposit/{s.name}/lift", placed.blind_bytes)
        if scheme == "ckks" and s.bits == 128:
            x = x.copy()
            x[:, 1] -= placed.blinds(blinds)[::2]
            x = x.reshape(-1)
        found[s.name] = placed.lift(x, blinds)
    return found


def body_of(columns: Sequence[Sequence[bytes]]) -> bytes:
    """Ciphertexts, sum by sum, as they are signed and sent."""
    return framed(*(c for column in columns for c in column))


def read(key: NamedKey, sums: Sequence[Sum], body: bytes, sender: str, step: str) -> list[list[bytes]]:
    """The ciphertexts of each sum. Raises PeerError protocol.size, protocol.malformed."""
    found = unframed(body)
    counts = [ciphertexts_of(key.scheme, s) for s in sums]
    if len(found) != sum(counts) or framed(*found) != body:
        raise PeerError("protocol.malformed", f"{sender} sent another number of ciphertexts.", party=sender, step=step)
    columns = []
    for s, count in zip(sums, counts, strict=True):
        column, found = found[:count], found[count:]
        places = layout(key.scheme, s.bits, s.length).plaintexts
        lattice.verify_ciphertexts(key.of(s), column, places, party=sender, step=step)
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
    scheme = secret.public.scheme
    for s, column in zip(sums, columns, strict=True):
        placed, part = layout(scheme, s.bits, s.length), _part(secret.public, s.bits)
        opened = lattice.decrypt(
            lattice.SecretKey(part, secret.contexts[: len(part.contexts)]), column, placed.plaintexts
        )
        numbers = np.asarray(opened, dtype=object)
        if scheme == "bfv":
            numbers %= math.prod(part.primes)
        whole = placed.whole(numbers, vectors)
        if scheme == "ckks" and s.bits == 128:
            whole = whole[::2] + (whole[1::2] << 64)
        found[s.name] = ring(s.bits).from_ints(whole.tolist())
    return found
