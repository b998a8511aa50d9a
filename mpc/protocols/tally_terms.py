"""What is totalled between two parties without a helper (tally.py), and how it lies in plaintexts.

    plaintext = x_1 | x_2 | …        slots of one width, the first lowest; a number with a sign borrows from the next
    stacked   = group 1 | group 2 | …        as many groups in one as fit

A slot holds a total made positive by one constant, and a mask that is 128 bits longer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from mpc.crypto import powers
from mpc.crypto.paillier import MIN_BITS, PublicKey
from mpc.crypto.spread import Spread
from mpc.protocols.ciphertexts import packed

#: bits by which a mask is longer than what it hides
HIDING = 128


@dataclass(frozen=True)
class Form:
    """Σ coefficient · total of an atom, modulo 2^bits; ``terms``: (coefficient, number of the atom)."""

    bits: int
    terms: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Release:
    """Words that are shown together where each of the counts of entities reaches ``Tally.least``."""

    words: tuple[Form, ...]
    entities: tuple[Form, ...]


@dataclass(frozen=True)
class Tally:
    """What is totalled.

    ``rows``: most rows of the group side; ``keys``: most shared keys. ``weights``: most bits of the absolute values of
    each of the group side's columns. ``columns``: the value side's, each of ``bits`` bits at most. ``atoms``: pairs of
    a column of the group side (None: 1 in every row) and one of the value side, whose products are totalled.
    """

    name: str
    group_side: str
    value_side: str
    groups: int
    rows: int
    keys: int
    weights: tuple[int, ...]
    columns: int
    bits: int
    atoms: tuple[tuple[int | None, int], ...]
    releases: tuple[Release, ...]
    least: int

    def __post_init__(self) -> None:
        assert all(r.entities for r in self.releases), "else a group that was left empty would show zeros"

    @property
    def value_bits(self) -> int:
        """Every total is below 2^this, whatever the sign."""
        weight = max((self.weights[a] for a, _ in self.atoms if a is not None), default=0)
        words = max((w.bits for w in self.words), default=0)  # their shares, with noise, are hidden by masks too
        return max(self.bits - 1 + weight + self.rows.bit_length(), self.bits + 1, words + 2)

    @property
    def slot(self) -> int:
        """Bits of a slot: a total made positive, and its mask."""
        return self.value_bits + HIDING + 2

    @property
    def slots(self) -> int:
        """Slots of a plaintext: below n, whose top bit is set."""
        return (MIN_BITS - 1) // self.slot

    @property
    def packs(self) -> int:
        """Ciphertexts of a shared key."""
        return -(-self.columns // self.slots)

    def used(self, pack: int) -> int:
        """Slots of a pack that hold a column."""
        return min(self.slots, self.columns - pack * self.slots)

    @cached_property
    def products(self) -> tuple[tuple[int | None, int], ...]:
        """The column of the group side and the pack of every product that is needed."""
        return tuple(
            sorted({(a, c // self.slots) for a, c in self.atoms}, key=lambda p: (-1 if p[0] is None else p[0], p[1]))
        )

    @cached_property
    def entities(self) -> tuple[Form, ...]:
        """The counts that the value side learns, each once."""
        return tuple(dict.fromkeys(e for r in self.releases for e in r.entities))

    @cached_property
    def words(self) -> tuple[Form, ...]:
        """The words of all releases."""
        return tuple(w for r in self.releases for w in r.words)

    @cached_property
    def rules(self) -> tuple[tuple[Form, ...], ...]:
        """What must reach ``least``: of several releases often the same, which then have one flag."""
        return tuple(dict.fromkeys(r.entities for r in self.releases))

    @property
    def rule_of_word(self) -> tuple[int, ...]:
        return tuple(self.rules.index(r.entities) for r in self.releases for _ in r.words)

    @cached_property
    def more(self) -> tuple[tuple[int, int], ...]:
        """Pack and rule of each ciphertext of noise by which the group side hides words of a rule."""
        return tuple(dict.fromkeys((i // self.slots, rule) for i, rule in enumerate(self.rule_of_word)))

    @property
    def returned(self) -> int:
        """Ciphertexts that bring a group back to the group side: words and flags, what is small, noise."""
        return len(self.shown) + len(self.words) + len(self.more)

    def shelf(self, pack: int) -> Shelf:
        return Shelf(self.groups, self.used(pack), self.slot, self.slots)

    @property
    def shown(self) -> tuple[Shelf, ...]:
        """The words and flags of a group in packs, those of one pack stacked."""
        length = len(self.words) + len(self.rules)
        sizes = [min(self.slots, length - i) for i in range(0, length, self.slots)]
        return tuple(Shelf(self.groups, n, self.slot, self.slots) for n in sizes)


@dataclass(frozen=True)
class Shelf:
    """Ciphertexts of ``groups`` groups with ``used`` slots each, as many groups in one as fit."""

    groups: int
    used: int
    slot: int
    slots: int

    @property
    def each(self) -> int:
        return self.slots // self.used

    @property
    def count(self) -> int:
        return -(-self.groups // self.each)

    def stack(self, key: PublicKey, ciphertexts: Sequence[int], spread: Spread) -> list[int]:
        """One ciphertext a group to ``count`` of them."""
        parts = [ciphertexts[i : i + self.each] for i in range(0, self.groups, self.each)]
        return powers.stacked(key, parts, self.slot * self.used, spread)

    def pack(self, values: Sequence[Sequence[int]]) -> list[int]:
        """Plaintexts of ``used`` numbers a group."""
        flat = [v for of_group in values for v in of_group]
        size = self.each * self.used
        return [packed(flat[i : i + size], self.slot) for i in range(0, len(flat), size)]

    def unpack(self, plaintexts: Sequence[int]) -> list[list[int]]:
        """``used`` numbers a group. Raises ValueError where something stands behind the last slot."""
        flat: list[int] = []
        size = self.each * self.used
        for i, p in enumerate(plaintexts):
            n = min(size, self.groups * self.used - i * size)
            if p >> (self.slot * n):
                raise ValueError("something behind the last slot")
            flat += ((p >> (self.slot * s)) & ((1 << self.slot) - 1) for s in range(n))
        return [flat[i : i + self.used] for i in range(0, len(flat), self.used)]
