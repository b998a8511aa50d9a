"""P9 Group totals of two parties without a helper: one knows the groups, the other the values.

    group side                                            value side
      which rows met, in one order: blind.py                 p, q fresh, n = p·q
                                                             E_i = Enc(b_i1 | b_i2 | …) of its i-th shared key; all 0
      ◀─────────────────────────────── n, h, E ──────────    where its own condition fails
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
n could open it.) Every ciphertext that leaves the group side is multiplied by h^s with a fresh s (subgroup.py): by the
factor of a bare product the value side could find the rows that are in it. Where there are many keys to a group, a
ciphertext holds several, and a group has a product for each place that a key can have in one (tally_terms.py).

Of a column that the two share already, key by key, the value side encrypts its share like any column, and the group
side adds the total of its own to its half.

A cell of fewer entities than ``least`` gets noise of both sides in its words and 1 in its flag. The group side does not
learn which cells, as it works on ciphertexts; the value side does not learn where they are in the result; and a
recipient that is one of the two cannot take the other's noise off. Groups in which fewer than ``least`` keys met for
the group side's own rows it leaves empty, so that the value side sees no such count either.

Trust level: parties. Adversary: semi-honest; Paillier in a subgroup of hidden order (assumptions: subgroup.py).
Leakage: group side nothing (which keys are shared it knows from blind.py); value side for every release and group, in
an order without meaning, the number of entities, 0 for groups that the group side left empty.
A group side that deviates can total any subset of the shared rows; a value side that deviates can find out which rows
are in which of the unlabelled groups, by numbers beyond their slots or factors outside of the subgroup. Both bound
themselves to data and seed before: replay shows it afterwards.
Rounds: 5. Bytes: 2·|n| for each shared key and pack, or for several keys; for each group about one ciphertext a word,
each way.
Source: P. Paillier, EUROCRYPT 1999; the shape (DH intersection, then sums under the other's key): M. Ion et al., On
deploying secure computing: private intersection-sum-with-cardinality, EuroS&P 2020.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mpc.blocks import hear_words, say_words
from mpc.crypto import paillier, powers
from mpc.crypto.paillier import MIN_BITS
from mpc.crypto.spread import Spread
from mpc.crypto.subgroup import SubgroupKey, SubgroupSecret
from mpc.errors import PeerError
from mpc.messages import RingWords
from mpc.permutation import permutation
from mpc.protocols.ciphertexts import (
    added,
    encrypted,
    hear_ciphertexts,
    hear_key,
    opened,
    say_ciphertexts,
    say_key,
)
from mpc.protocols.tally_terms import Form, Tally
from mpc.ring import ring
from mpc.rounds import Rounds, Session

Indices = NDArray[np.int64]

#: ciphertexts that are made at a time, of each pack
PART = 1 << 14


@dataclass(frozen=True, eq=False)
class GroupRows:
    """The group side's rows: ``met``: (n,) the number of the shared key of each, -1 where it has none; ``group``: (n,)
    -1 where its own condition fails; ``weights``: (n,) or (n, 2) each. ``shares``: by the number of the value side's
    column that is but a share, this side's share of it, of each shared key."""

    met: Indices
    group: Indices
    weights: tuple[RingWords, ...]
    shares: Mapping[int, RingWords] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"GroupRows({len(self.met)})"


# ---- the roles; both return shares, release by release: its words, (groups,) or (groups, 2) each, then its flag


def group_side(
    session: Session, t: Tally, shared: int, mine: GroupRows, spread: Spread
) -> Rounds[list[list[RingWords]]]:
    """The role of who holds the groups. ``shared``: keys that met."""
    here, peer = session.at(t.name), t.value_side
    key = yield from hear_key(here.at("key"), peer)
    rows = yield from _hear_rows(here.at("rows"), t, key, shared)
    order = permutation(here.own, here.at("order").path, t.groups)
    masked, shares = _masked_totals(here.at("totals"), t, key, _totalled(t, key, rows, mine, spread), order, spread)
    _add_own_shares(t, mine, order, shares)
    yield from say_ciphertexts(here.at("totals"), peer, key, masked)
    for i, form in enumerate(t.entities):
        yield from say_words(here.at(f"entities/{i}"), peer, 64, _evaluated(form, shares, 64))

    count = len(t.words) + len(t.shown)
    heard = yield from hear_ciphertexts(here.at("small"), peer, key, t.groups * count)
    place = np.empty_like(order)
    place[order] = np.arange(t.groups)  # of each group in the order of the other side
    by_group = [heard[i * count : (i + 1) * count] for i in place.tolist()]
    said, taken = _masked_words(here.at("words"), t, key, by_group, spread)
    yield from say_ciphertexts(here.at("words"), peer, key, said)
    words = [_sum(_evaluated(w, shares, w.bits)[place], taken[i], w.bits) for i, w in enumerate(t.words)]
    return _by_release(t, words, [_in_ring(column, 64) for column in taken[len(words) :]])


def value_side(
    session: Session, t: Tally, columns: Sequence[RingWords], secret: SubgroupSecret, spread: Spread
) -> Rounds[list[list[RingWords]]]:
    """The role of who holds the values. ``columns``: of the shared keys, in the order of blind.py, 0 where its own
    condition fails: (shared,) or (shared, 2) each. ``secret``: a key for this job alone."""
    here, peer, key = session.at(t.name), t.group_side, secret.public
    assert key.n.bit_length() == MIN_BITS
    yield from say_key(here.at("key"), peer, key)
    yield from _say_rows(here.at("rows"), t, columns, secret, spread)

    shares = yield from _hear_totals(here.at("totals"), t, secret, spread)
    counts = {}
    for i, form in enumerate(t.entities):
        at = here.at(f"entities/{i}")
        count = _evaluated(form, shares, 64) + (yield from hear_words(at, peer, 64, t.groups))
        if len(count) and int(count.max()) > len(columns[0]):
            raise PeerError("protocol.malformed", f"{peer} counted more entities than met.", party=peer, step=at.path)
        counts[form] = count
    small = _small(t, counts)
    told = encrypted(here.at("small"), secret, _noisy(here.at("small"), t, shares, small), spread)
    yield from say_ciphertexts(here.at("small"), peer, key, told)

    bits = t.slot * max(t.shown)
    plain = yield from opened(here.at("words"), peer, secret, t.groups * len(t.shown), bits, spread)
    by_group = _slots(here.at("words"), t, plain, t.shown * t.groups, peer)
    each = len(t.shown)
    slots = [list(column) for p in range(each) for column in zip(*by_group[p::each], strict=True)]
    words = [_in_ring(column, w.bits) for w, column in zip(t.words, slots, strict=False)]
    return _by_release(t, words, [_in_ring(column, 64) for column in slots[len(words) :]])


# ---- group side


def _hear_rows(here: Session, t: Tally, key: SubgroupKey, shared: int) -> Rounds[list[int]]:
    rows: list[int] = []
    for i, part in _row_parts(t, shared):
        rows += yield from hear_ciphertexts(here.at(f"part/{i}"), t.value_side, key, len(part) * t.packs)
    return rows


def _totalled(t: Tally, key: SubgroupKey, rows: Sequence[int], mine: GroupRows, spread: Spread) -> list[list[int]]:
    """Of each product a ciphertext for every group and place, place by place within a group; not blinded anew."""
    taken = _of_large_groups(t, mine)
    cell = mine.group[taken] * t.places + mine.met[taken] % t.places
    order = np.argsort(cell, kind="stable")
    taken, cell = taken[order], cell[order]
    cells = t.groups * t.places
    ends = np.searchsorted(cell, np.arange(cells + 1))
    weights = [ring(64 if w.ndim == 1 else 128).to_ints(w[taken]) for w in mine.weights]
    held = (mine.met[taken] // t.places).tolist()
    asked: list[powers.Powers] = []
    for a, pack in t.products:
        for start, end in zip(ends[:-1].tolist(), ends[1:].tolist(), strict=True):
            chosen = [rows[k * t.packs + pack] for k in held[start:end]]
            asked.append((chosen, None if a is None else weights[a][start:end]))
    found = powers.products_of_powers(key, asked, spread)
    return [found[i : i + cells] for i in range(0, len(found), cells)]


def _of_large_groups(t: Tally, mine: GroupRows) -> Indices:
    """The rows that met, of groups in which ``least`` keys did."""
    taken = np.flatnonzero((mine.met >= 0) & (mine.group >= 0))
    pairs = np.unique(np.stack((mine.group[taken], mine.met[taken])), axis=1)
    keys = np.bincount(pairs[0], minlength=t.groups)
    return taken[keys[mine.group[taken]] >= t.least]


def _add_own_shares(t: Tally, mine: GroupRows, order: Indices, shares: list[list[int]]) -> None:
    """To the shares of atoms the totals of this side's shares of their columns: nobody need encrypt these."""
    taken = _of_large_groups(t, mine)
    taken = taken[np.argsort(mine.group[taken], kind="stable")]
    ends = np.searchsorted(mine.group[taken], np.arange(t.groups + 1))
    for i, (a, c) in enumerate(t.atoms):
        if c not in mine.shares:
            continue
        assert a is None
        own = mine.shares[c]
        r = ring(64 if own.ndim == 1 else 128)
        sums = np.concatenate((r.zeros(1), r.prefix_sums(own[mine.met[taken]])))
        totals = sums[ends[1:]]
        r.subtract_into(totals, sums[ends[:-1]])
        shares[i] = [s + x for s, x in zip(shares[i], r.to_ints(totals[order]), strict=True)]


def _masked_totals(
    here: Session, t: Tally, key: SubgroupKey, totals: list[list[int]], order: Indices, spread: Spread
) -> tuple[list[int], list[list[int]]]:
    """Ciphertexts of all products in the order of the other side, masked; and this side's share of each atom there."""
    ciphertexts: list[int] = []
    taken: dict[tuple[int | None, int], list[list[int]]] = {}
    plain: list[int] = []
    cells = (order[:, None] * t.places + np.arange(t.places)).reshape(-1).tolist()
    for product, found in zip(t.products, totals, strict=True):
        ciphertexts += [found[cell] for cell in cells]
        masks = _masks(here.at("/".join(map(str, product))), t, len(cells), t.columns_of(product[1]) * t.places)
        taken[product] = [[-m - (1 << t.value_bits) for m in mask] for mask in masks]
        plain += [-t.packed(of_cell) for of_cell in taken[product]]
    shares = [_in_their_places(t, taken[a, c // t.slots], c) for a, c in t.atoms]
    return added(here, key, ciphertexts, plain, spread), shares


def _masked_words(
    here: Session, t: Tally, key: SubgroupKey, by_group: list[list[int]], spread: Spread
) -> tuple[list[int], list[list[int]]]:
    """Ciphertexts of the other side's share of all words with this side's noise where a cell is small, masked, in the
    order of the groups, pack by pack within a group; and what this side has to take away for it, word by word."""
    noise = [_uniform(here.at(f"noise/{i}"), t.groups, w.bits) for i, w in enumerate(t.words)]
    masks = [_masks(here.at(f"mask/{p}"), t, t.groups, used) for p, used in enumerate(t.shown)]
    small: list[powers.Powers] = []
    for g, of_group in enumerate(by_group):
        for first, used in zip(range(0, len(t.words) + len(t.rules), t.slots), t.shown, strict=True):
            inside = range(first, min(first + used, len(t.words)))
            small.append(([of_group[len(t.shown) + i] for i in inside], [noise[i][g] for i in inside]))
    spoil = powers.products_of_powers(key, small, spread)
    noisy = paillier.add(key, ([c for of_group in by_group for c in of_group[: len(t.shown)]], spoil), len(spoil))
    plain = [t.packed(mask) for of_group in zip(*masks, strict=True) for mask in of_group]
    taken = [[-m for m in column] for of_pack in masks for column in zip(*of_pack, strict=True)]
    return added(here, key, noisy, plain, spread), taken


def _masks(here: Session, t: Tally, count: int, used: int) -> list[list[int]]:
    """Of each of ``count`` ciphertexts one for every slot that is used."""
    flat = _uniform(here, count * used, t.slot - 1)
    return [flat[i : i + used] for i in range(0, len(flat), used)]


# ---- value side


def _say_rows(
    here: Session, t: Tally, columns: Sequence[RingWords], secret: SubgroupSecret, spread: Spread
) -> Rounds[None]:
    """Ciphertexts of the shared keys' columns, part by part: while one is on its way, the next is made."""
    for i, part in _row_parts(t, len(columns[0])):
        plain = _packed_rows(t, [c[part.start * t.places : part.stop * t.places] for c in columns], secret.public)
        made = encrypted(here.at(f"part/{i}"), secret, plain, spread)
        yield from say_ciphertexts(here.at(f"part/{i}"), t.group_side, secret.public, made)


def _packed_rows(t: Tally, columns: Sequence[RingWords], key: SubgroupKey) -> list[int]:
    """Plaintexts of shared keys' columns, pack after pack; negative numbers are taken modulo n."""
    values = [ring(64 if c.ndim == 1 else 128).to_ints(c) for c in columns]
    by_key = list(zip(*values, strict=True))
    plain = []
    for start in range(0, len(by_key), t.places):
        flat = [v for of_key in by_key[start : start + t.places] for v in of_key]
        plain += [t.packed(flat[i : i + t.slots]) % key.n for i in range(0, len(flat), t.slots)]
    return plain


def _hear_totals(here: Session, t: Tally, secret: SubgroupSecret, spread: Spread) -> Rounds[list[list[int]]]:
    """This side's share of each atom, by group in the order without meaning."""
    bits = t.slot * max(t.columns_of(pack) for _, pack in t.products) * t.places
    plain = yield from opened(here, t.group_side, secret, t.totals_said, bits, spread)
    each = t.groups * t.places
    found = {}
    for i, product in enumerate(t.products):
        used = (t.columns_of(product[1]) * t.places,) * each
        found[product] = _slots(here, t, plain[i * each : (i + 1) * each], used, t.group_side)
    return [_in_their_places(t, found[a, c // t.slots], c) for a, c in t.atoms]


def _slots(here: Session, t: Tally, plain: Sequence[int], used: Sequence[int], sender: str) -> list[list[int]]:
    """The slots of each plaintext, of which as many are used. Raises PeerError protocol.malformed."""
    try:
        return [t.unpacked(p, n) for p, n in zip(plain, used, strict=True)]
    except ValueError:
        raise PeerError(
            "protocol.malformed", f"{sender} sent what is no masked total at {here.path}.", party=sender, step=here.path
        ) from None


def _small(t: Tally, counts: Mapping[Form, NDArray[np.uint64]]) -> list[NDArray[np.bool_]]:
    """Of each rule the groups with too few entities."""
    return [np.logical_or.reduce([counts[e] < np.uint64(t.least) for e in rule]) for rule in t.rules]


def _noisy(here: Session, t: Tally, shares: list[list[int]], small: Sequence[NDArray[np.bool_]]) -> list[int]:
    """Plaintexts for every group: its words' shares, with noise where small, and flags, in packs; then of each word 1
    in its slot where it is small."""
    flags = [[int(x) for x in rule.tolist()] for rule in small]
    slots = []
    for i, (w, rule) in enumerate(zip(t.words, t.rule_of_word, strict=True)):
        noise, modulus = _uniform(here.at(f"noise/{i}"), t.groups, w.bits), 1 << w.bits
        share = ring(w.bits).to_ints(_evaluated(w, shares, w.bits))
        slots.append([(x + s * n) % modulus for x, s, n in zip(share, flags[rule], noise, strict=True)])
    slots += flags
    plain = []
    for g in range(t.groups):
        of_group = [s[g] for s in slots]
        plain += [t.packed(of_group[i : i + t.slots]) for i in range(0, len(of_group), t.slots)]
        plain += [flags[rule][g] << (t.slot * (i % t.slots)) for i, rule in enumerate(t.rule_of_word)]
    return plain


# ---- both


def _row_parts(t: Tally, shared: int) -> Iterator[tuple[int, range]]:
    """Numbers of the ciphertexts of each part; where a key takes several, of the keys."""
    held = -(-shared // t.places)
    for i, start in enumerate(range(0, held, PART)):
        yield i, range(start, min(start + PART, held))


def _in_their_places(t: Tally, slots: Sequence[Sequence[int]], column: int) -> list[int]:
    """Of every group the sum of a column over the places: of each ciphertext the slot of its own place."""
    at = [place * t.columns_of(column // t.slots) + column % t.slots for place in range(t.places)]
    return [
        sum(of_place[i] for of_place, i in zip(slots[g : g + t.places], at, strict=True))
        for g in range(0, len(slots), t.places)
    ]


def _by_release(t: Tally, words: Sequence[RingWords], flags: Sequence[RingWords]) -> list[list[RingWords]]:
    left = iter(words)
    return [[*(next(left) for _ in r.words), flags[t.rules.index(r.entities)]] for r in t.releases]


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
