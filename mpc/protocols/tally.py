"""P9 Group totals of two parties without a helper: one knows the groups, the other the values.

    group side                                            value side
      which rows met, in one order: blind.py                 p, q fresh, n = p·q
                                                             E_i = Enc(b_i1 | b_i2 | …) of its i-th shared key; all 0
      ◀──────────────────────────────────── n, E ────────    where its own condition fails
      T_a,g = Π E_i^(a_i) over the rows i of group g, for each of its own columns a (a = 1: what is asked of b alone)
      ── T · Enc(mask), groups in a fresh order ────────▶    T + mask: its share of each total, − mask is the other's
      ── its shares of the entity counts ───────────────▶    the entities of each group, which it cannot name
                                                             small where one of the counts is below ``least``
      ◀── Enc(share + small·noise), Enc(small) ──────────
      back in the order of the groups:
      ── Enc(share + small·noise)·Enc(small)^noise'·Enc(mask') ──▶   its share of each word
      its own share − mask': its share of each word; both are added up by P3 like those of any other pool (total.py)

A word is Σ coefficient · Σ a·b over the rows of a group. Ciphertexts hold the value side's columns in slots as whole
numbers with a sign; one constant makes all slots of a total positive at the end. Each slot has a mask of its own that
is 128 bits longer than what it hides, so the halves are words of a ring and go to the recipient like all others. (A
mask uniform in Z_n for the whole plaintext would hide perfectly where this is 2^-128 from it, but only who adds modulo
n could open it.) Every ciphertext that leaves the group side is multiplied by r^n with a fresh r: by the r of a product
the value side could find the rows that are in it.

A cell of fewer entities than ``least`` gets noise of both sides in its words and 1 in its flag. The group side does not
learn which cells, as it works on ciphertexts; the value side does not learn where they are in the result; and a
recipient that is one of the two cannot take the other's noise off. Groups in which fewer than ``least`` keys met for
the group side's own rows it leaves empty, so that the value side sees no such count either.

Trust level: parties. Adversary: semi-honest; Paillier (decisional composite residuosity), exponents of powers.py.
Leakage: group side nothing (which keys are shared it knows from blind.py); value side for every release and group, in
an order without meaning, the number of entities, 0 for groups that the group side left empty.
A group side that deviates can total any subset of the shared rows: replay shows it afterwards.
Rounds: 5. Bytes: 2·|n| for each shared key and pack; for each group about one ciphertext a word, each way.
Source: P. Paillier, EUROCRYPT 1999; the shape (DH intersection, then sums under the other's key): M. Ion et al., On
deploying secure computing: private intersection-sum-with-cardinality, EuroS&P 2020.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from mpc.blocks import hear_words, say_words
from mpc.crypto import paillier, powers
from mpc.crypto.paillier import MIN_BITS, PublicKey, SecretKey
from mpc.crypto.spread import Spread
from mpc.errors import PeerError
from mpc.messages import RingWords
from mpc.permutation import permutation
from mpc.protocols.ciphertexts import (
    added,
    encrypted,
    hear_ciphertexts,
    hear_key,
    packed,
    say_ciphertexts,
    say_key,
)
from mpc.ring import ring
from mpc.rounds import Rounds, Session

Indices = NDArray[np.int64]

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
        return max(self.bits - 1 + weight + self.rows.bit_length(), self.bits + 1)

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
        """The counts that the value side learns, release by release."""
        return tuple(e for r in self.releases for e in r.entities)

    @cached_property
    def words(self) -> tuple[Form | None, ...]:
        """What is shown of a group: each release's words, then its flag (None)."""
        return tuple(w for r in self.releases for w in (*r.words, None))

    def shelf(self, pack: int) -> Shelf:
        return Shelf(self.groups, self.used(pack), self.slot, self.slots)

    @property
    def shown(self) -> tuple[Shelf, ...]:
        """The words of a group in packs, those of one pack stacked."""
        sizes = [min(self.slots, len(self.words) - i) for i in range(0, len(self.words), self.slots)]
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

    def stack(self, key: PublicKey, ciphertexts: Sequence[int]) -> list[int]:
        """One ciphertext a group to ``count`` of them."""
        parts = (ciphertexts[i : i + self.each] for i in range(0, self.groups, self.each))
        return [powers.stacked(key, part, self.slot * self.used) for part in parts]

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


@dataclass(frozen=True, eq=False)
class GroupRows:
    """The group side's rows: ``met``: (n,) the number of the shared key of each, -1 where it has none; ``group``: (n,)
    -1 where its own condition fails; ``weights``: (n,) or (n, 2) each."""

    met: Indices
    group: Indices
    weights: tuple[RingWords, ...]

    def __repr__(self) -> str:
        return f"GroupRows({len(self.met)})"


# ---- the roles; both return shares of the words, release by release: each word (groups,) or (groups, 2), then the flag


def group_side(session: Session, t: Tally, shared: int, mine: GroupRows, spread: Spread) -> Rounds[list[RingWords]]:
    """The role of who holds the groups. ``shared``: keys that met."""
    here, peer = session.at(t.name), t.value_side
    key = yield from hear_key(here.at("key"), peer)
    rows = yield from hear_ciphertexts(here.at("rows"), peer, key, shared * t.packs)
    order = permutation(here.own, here.at("order").path, t.groups)
    masked, shares = _masked_totals(here.at("totals"), t, key, _totalled(t, key, rows, mine), order, spread)
    yield from say_ciphertexts(here.at("totals"), peer, key, masked)
    for i, form in enumerate(t.entities):
        yield from say_words(here.at(f"entities/{i}"), peer, 64, _evaluated(form, shares, 64))

    count = sum(isinstance(w, Form) for w in t.words) + len(t.shown)
    heard = yield from hear_ciphertexts(here.at("small"), peer, key, t.groups * count)
    place = np.empty_like(order)
    place[order] = np.arange(t.groups)  # of each group in the order of the other side
    by_group = [heard[i * count : (i + 1) * count] for i in place.tolist()]
    said, taken = _masked_words(here.at("words"), t, key, by_group, spread)
    yield from say_ciphertexts(here.at("words"), peer, key, said)
    return [
        _sum(_evaluated(w, shares, w.bits)[place], taken[i], w.bits) if w is not None else _in_ring(taken[i], 64)
        for i, w in enumerate(t.words)
    ]


def value_side(
    session: Session, t: Tally, columns: Sequence[RingWords], secret: SecretKey, spread: Spread
) -> Rounds[list[RingWords]]:
    """The role of who holds the values. ``columns``: of the shared keys, in the order of blind.py, 0 where its own
    condition fails: (shared,) or (shared, 2) each. ``secret``: a key for this job alone."""
    here, peer, key = session.at(t.name), t.group_side, secret.public
    assert key.n.bit_length() == MIN_BITS
    yield from say_key(here.at("key"), peer, key)
    own = encrypted(here.at("rows"), secret, _packed_rows(t, columns, key), spread)
    yield from say_ciphertexts(here.at("rows"), peer, key, own)

    shares = yield from _hear_totals(here.at("totals"), t, secret)
    counts = []
    for i, form in enumerate(t.entities):
        at = here.at(f"entities/{i}")
        count = _evaluated(form, shares, 64) + (yield from hear_words(at, peer, 64, t.groups))
        if len(count) and int(count.max()) > len(columns[0]):
            raise PeerError("protocol.malformed", f"{peer} counted more entities than met.", party=peer, step=at.path)
        counts.append(count)
    small = _small(t, counts)
    told = encrypted(here.at("small"), secret, _noisy(here.at("small"), t, shares, small), spread)
    yield from say_ciphertexts(here.at("small"), peer, key, told)

    words = yield from _hear_shelves(here.at("words"), secret, t.shown, peer)
    columns_ = [[of_group[i] for of_group in group] for group in words for i in range(len(group[0]))]
    return [_in_ring(column, 64 if w is None else w.bits) for column, w in zip(columns_, t.words, strict=True)]


# ---- group side


def _totalled(t: Tally, key: PublicKey, rows: Sequence[int], mine: GroupRows) -> list[list[int]]:
    """Of each product a ciphertext for every group, not blinded anew."""
    taken = _of_large_groups(t, mine)
    taken = taken[np.argsort(mine.group[taken], kind="stable")]
    ends = np.searchsorted(mine.group[taken], np.arange(t.groups + 1))
    weights = [ring(64 if w.ndim == 1 else 128).to_ints(w[taken]) for w in mine.weights]
    met = mine.met[taken].tolist()
    found = []
    for a, pack in t.products:
        of_groups = []
        for start, end in zip(ends[:-1].tolist(), ends[1:].tolist(), strict=True):
            chosen = [rows[k * t.packs + pack] for k in met[start:end]]
            exponents = None if a is None else weights[a][start:end]
            of_groups.append(powers.product_of_powers(key, chosen, exponents))
        found.append(of_groups)
    return found


def _of_large_groups(t: Tally, mine: GroupRows) -> Indices:
    """The rows that met, of groups in which ``least`` keys did."""
    taken = np.flatnonzero((mine.met >= 0) & (mine.group >= 0))
    pairs = np.unique(np.stack((mine.group[taken], mine.met[taken])), axis=1)
    keys = np.bincount(pairs[0], minlength=t.groups)
    return taken[keys[mine.group[taken]] >= t.least]


def _masked_totals(
    here: Session, t: Tally, key: PublicKey, totals: list[list[int]], order: Indices, spread: Spread
) -> tuple[list[int], list[list[int]]]:
    """Ciphertexts of all products in the order of the other side, masked; and this side's share of each atom there."""
    ciphertexts: list[int] = []
    masks: dict[tuple[int | None, int], list[list[int]]] = {}
    plain: list[int] = []
    for product, of_groups in zip(t.products, totals, strict=True):
        shelf = t.shelf(product[1])
        ciphertexts += shelf.stack(key, [of_groups[g] for g in order.tolist()])
        mask = _masks(here.at("/".join(map(str, product))), t, shelf.used)
        masks[product] = mask
        plain += shelf.pack([[(1 << t.value_bits) + m for m in of_group] for of_group in mask])
    blinded = added(here, key, ciphertexts, plain, spread)
    shares = []
    for a, c in t.atoms:
        mask = masks[a, c // t.slots]
        shares.append([-(of_group[c % t.slots] + (1 << t.value_bits)) for of_group in mask])
    return blinded, shares


def _masked_words(
    here: Session, t: Tally, key: PublicKey, by_group: list[list[int]], spread: Spread
) -> tuple[list[int], list[list[int]]]:
    """Ciphertexts of the other side's share of all words with this side's noise where a cell is small, masked, in the
    order of the groups; and what this side has to take away for it, word by word."""
    forms = [w for w in t.words if w is not None]
    ciphertexts: list[int] = []
    plain: list[int] = []
    taken: list[list[int]] = []
    noise = [_uniform(here.at(f"noise/{i}"), t.groups, w.bits) for i, w in enumerate(forms)]
    at = {i: n for n, i in enumerate(i for i, w in enumerate(t.words) if w is not None)}
    for p, shelf in enumerate(t.shown):
        first = p * t.slots
        inside = [i for i in range(first, first + shelf.used) if i in at]
        noisy = []
        for g, of_group in enumerate(by_group):
            small = [of_group[len(t.shown) + at[i]] for i in inside]
            spoil = powers.product_of_powers(key, small, [noise[at[i]][g] for i in inside])
            noisy.append(powers.product_of_powers(key, [of_group[p], spoil], None))
        ciphertexts += shelf.stack(key, noisy)
        mask = _masks(here.at(f"mask/{p}"), t, shelf.used)
        plain += shelf.pack(mask)
        taken += [[-of_group[i] for of_group in mask] for i in range(shelf.used)]
    return added(here, key, ciphertexts, plain, spread), taken


def _masks(here: Session, t: Tally, used: int) -> list[list[int]]:
    flat = _uniform(here, t.groups * used, t.slot - 1)
    return [flat[i : i + used] for i in range(0, len(flat), used)]


# ---- value side


def _packed_rows(t: Tally, columns: Sequence[RingWords], key: PublicKey) -> list[int]:
    """Plaintexts of each shared key's columns, pack after pack; negative numbers are taken modulo n."""
    values = [ring(64 if c.ndim == 1 else 128).to_ints(c) for c in columns]
    packs = [values[i : i + t.slots] for i in range(0, len(values), t.slots)]
    by_pack = [[packed(row, t.slot) % key.n for row in zip(*pack, strict=True)] for pack in packs]
    return [p for row in zip(*by_pack, strict=True) for p in row]


def _hear_totals(here: Session, t: Tally, secret: SecretKey) -> Rounds[list[list[int]]]:
    """This side's share of each atom, by group in the order without meaning."""
    shelves = [t.shelf(pack) for _, pack in t.products]
    found = dict(zip(t.products, (yield from _hear_shelves(here, secret, shelves, t.group_side)), strict=True))
    return [[of_group[c % t.slots] for of_group in found[a, c // t.slots]] for a, c in t.atoms]


def _hear_shelves(
    here: Session, secret: SecretKey, shelves: Sequence[Shelf], peer: str
) -> Rounds[list[list[list[int]]]]:
    """The slots of each shelf, by group."""
    heard = yield from hear_ciphertexts(here, peer, secret.public, sum(s.count for s in shelves))
    plain = paillier.decrypt(secret, heard)
    found, start = [], 0
    for shelf in shelves:
        try:
            found.append(shelf.unpack(plain[start : start + shelf.count]))
        except ValueError:
            raise PeerError(
                "protocol.malformed", f"{peer} sent what is no masked total at {here.path}.", party=peer, step=here.path
            ) from None
        start += shelf.count
    return found


def _small(t: Tally, counts: Sequence[NDArray[np.uint64]]) -> list[NDArray[np.bool_]]:
    """Of each release the groups with too few entities."""
    left = iter(counts)
    found = []
    for r in t.releases:
        small = np.zeros(t.groups, dtype=np.bool_)
        for _ in r.entities:
            small |= next(left) < np.uint64(t.least)
        found.append(small)
    return found


def _noisy(here: Session, t: Tally, shares: list[list[int]], small: Sequence[NDArray[np.bool_]]) -> list[int]:
    """Plaintexts for every group: its words' shares in packs, with noise where small, and 1 in the slot of each word
    where small."""
    release = [r for r, one in enumerate(t.releases) for _ in (*one.words, None)]
    slots: list[list[int]] = []
    for i, w in enumerate(t.words):
        here_small = [int(s) for s in small[release[i]].tolist()]
        if w is None:
            slots.append(here_small)
            continue
        noise, modulus = _uniform(here.at(f"noise/{i}"), t.groups, w.bits), 1 << w.bits
        share = ring(w.bits).to_ints(_evaluated(w, shares, w.bits))
        slots.append([(x + s * n) % modulus for x, s, n in zip(share, here_small, noise, strict=True)])
    plain = []
    for g in range(t.groups):
        of_group = [s[g] for s in slots]
        plain += [packed(of_group[i : i + t.slots], t.slot) for i in range(0, len(of_group), t.slots)]
        plain += [int(small[release[i]][g]) << (t.slot * (i % t.slots)) for i, w in enumerate(t.words) if w is not None]
    return plain


# ---- both


def _evaluated(form: Form, shares: Sequence[Sequence[int]], bits: int) -> RingWords:
    """Σ coefficient · share of an atom, by group."""
    groups = len(shares[0])
    return _in_ring([sum(c * shares[a][g] for c, a in form.terms) for g in range(groups)], bits)


def _in_ring(values: Sequence[int], bits: int) -> RingWords:
    return ring(bits).from_ints(values)


def _sum(x: RingWords, more: Sequence[int], bits: int) -> RingWords:
    out = x.copy()
    ring(bits).add_into(out, _in_ring(more, bits))
    return out


def _uniform(here: Session, count: int, bits: int) -> list[int]:
    """Uniform numbers of ``bits`` bits from this party's coins."""
    size = -(-bits // 8)
    raw = here.own.draw(here.at("uniform").path, count * size)
    return [int.from_bytes(raw[i : i + size], "big") >> (8 * size - bits) for i in range(0, len(raw), size)]
