"""What is totalled between two parties without a helper (tally.py), and how it lies in plaintexts.

    x_1 | x_2 | … of one key | x_1 | x_2 | … of the next      slots of one width, the first lowest; a number with a sign
                                                              borrows from the next

A slot holds a total made positive by one constant, and a mask that is 128 bits longer.

Several keys in one ciphertext save the value side work: it makes fewer. The group side puts the ciphertexts of its
rows together by group and by the place of the row's key. In that place stands the total then; in the others stand
totals over whatever keys happen to be there, masked like it, which nobody puts together with their masks. So a group
has as many ciphertexts as there are places, each of which is blinded and opened: worth it where many keys meet in few
groups.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import isqrt

from mpc.crypto.paillier import MIN_BITS

#: bits by which a mask is longer than what it hides
HIDING = 128
#: ciphertexts that the value side makes in the time in which one is blinded by the group side and opened
_OPENED = 12


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

    @cached_property
    def value_bits(self) -> int:
        """Every total is below 2^this, whatever the sign."""
        weight = max((self.weights[a] for a, _ in self.atoms if a is not None), default=0)
        return max(self.bits - 1 + weight + self.rows.bit_length(), self.bits + 1)

    @cached_property
    def slot(self) -> int:
        """Bits of a slot: a total made positive, and its mask."""
        return self.value_bits + HIDING + 2

    @cached_property
    def slots(self) -> int:
        """Slots of a plaintext: below n, whose top bit is set."""
        return (MIN_BITS - 1) // self.slot

    @property
    def packs(self) -> int:
        """Ciphertexts of a shared key; 1 where one holds several keys."""
        return -(-self.columns // self.slots)

    @cached_property
    def places(self) -> int:
        """Shared keys in one ciphertext: what costs least if as many keys met as can."""
        best = isqrt(self.keys // (_OPENED * max(1, self.groups * len(self.products))))
        return max(1, min(best, self.slots // self.columns))

    def rows_said(self, shared: int) -> int:
        """Ciphertexts of the value side's columns."""
        return -(-shared // self.places) * self.packs

    @property
    def totals_said(self) -> int:
        """Ciphertexts of the products of all groups."""
        return self.groups * len(self.products) * self.places

    def columns_of(self, pack: int) -> int:
        """How many columns a pack holds, of each of its keys."""
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

    @property
    def shown(self) -> tuple[int, ...]:
        """The words and flags of a group in packs: how many slots of each are used."""
        length = len(self.words) + len(self.rules)
        return tuple(min(self.slots, length - i) for i in range(0, length, self.slots))

    def packed(self, values: Sequence[int]) -> int:
        """Σ value · 2^(slot·i)."""
        return sum(v << (self.slot * i) for i, v in enumerate(values))

    def unpacked(self, plaintext: int, used: int) -> list[int]:
        """The slots. Raises ValueError where something stands behind the last."""
        if plaintext >> (self.slot * used):
            raise ValueError("something behind the last slot")
        return [(plaintext >> (self.slot * i)) & ((1 << self.slot) - 1) for i in range(used)]
