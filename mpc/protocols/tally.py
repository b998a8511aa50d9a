"""P9 Group totals of two parties without a helper: one knows the groups, the other the values.

    group side                                            value side
      which rows met, in one order: blind.py                 p, q fresh, n = p·q
                                                             E_i = Enc(b_i1 | b_i2 | …) of its i-th shared key; all 0
      ◀──────────────────────────────────── n, E ────────    where its own condition fails
      T_a,g = Π E_i^(a_i) over the rows i of group g, for each of its own columns a (a = 1: what is asked of b alone)
      ── T · Enc(mask), groups in a fresh order ────────▶    T + mask: its share of each total, − mask is the other's
      ── its shares of the entity counts ───────────────▶    the entities of each group, which it cannot name
                                                             small where one of the counts is below ``least``
      ◀── Enc(share + small·noise), Enc(small), Enc(more) ──
      back in the order of the groups:
      ── Enc(share + small·noise)·Enc(small)^noise'·Enc(more)^hidden·Enc(mask') ──▶   its share of each word
      its own share − mask' + hidden·noise'': its share of each word; both are added up by P3 like those of any other
      pool (total.py)

A word is Σ coefficient · Σ a·b over the rows of a group. Ciphertexts hold the value side's columns in slots as whole
numbers with a sign; one constant makes all slots of a total positive at the end. Each slot has a mask of its own that
is 128 bits longer than what it hides, so the halves are words of a ring and go to the recipient like all others. (A
mask uniform in Z_n for the whole plaintext would hide perfectly where this is 2^-128 from it, but only who adds modulo
n could open it.) Every ciphertext that leaves the group side is multiplied by r^n with a fresh r: by the r of a product
the value side could find the rows that are in it.

A cell of fewer entities than ``least`` gets noise of both sides in its words and an odd random word in its flag. The
group side does not learn which cells, as it works on ciphertexts; the value side does not learn where they are in the
result; and a recipient that is one of the two cannot take the other's noise off. Groups in which fewer than ``least``
keys met for the group side's own rows it leaves empty, so that the value side sees no such count either.

What a side must not let out for reasons of its own (``hidden``: since it knows what met, differences to what it let
out before) goes the same way. The value side counts it as small. The group side adds noise of both as well, the other's
from a ciphertext that comes with every group (``more``) and that it uses or not; so the value side does not learn
whether it did. A group that it hides altogether it leaves empty.

Trust level: parties. Adversary: semi-honest; Paillier (decisional composite residuosity), exponents of powers.py.
Leakage: group side nothing (which keys are shared it knows from blind.py); value side for every release and group, in
an order without meaning, the number of entities, 0 for groups that the group side left empty.
Of what a side hides for reasons of its own the other learns what the result shows.
A group side that deviates can total any subset of the shared rows: replay shows it afterwards.
Rounds: 5. Bytes: 2·|n| for each shared key and pack; for each group about one ciphertext a word, each way.
Source: P. Paillier, EUROCRYPT 1999; the shape (DH intersection, then sums under the other's key): M. Ion et al., On
deploying secure computing: private intersection-sum-with-cardinality, EuroS&P 2020.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

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
from mpc.protocols.tally_terms import Form, Shelf, Tally
from mpc.ring import ring
from mpc.rounds import Rounds, Session

Indices = NDArray[np.int64]
Flags = NDArray[np.bool_]

#: shared keys whose ciphertexts are made at a time
PART = 1 << 14


@dataclass(frozen=True, eq=False)
class GroupRows:
    """The group side's rows: ``met``: (n,) the number of the shared key of each, -1 where it has none; ``group``: (n,)
    -1 where its own condition fails; ``weights``: (n,) or (n, 2) each. ``hidden``: (rules, groups) what it does not let
    out."""

    met: Indices
    group: Indices
    weights: tuple[RingWords, ...]
    hidden: Flags

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
    yield from say_ciphertexts(here.at("totals"), peer, key, masked)
    for i, form in enumerate(t.entities):
        yield from say_words(here.at(f"entities/{i}"), peer, 64, _evaluated(form, shares, 64))

    count = t.returned
    heard = yield from hear_ciphertexts(here.at("small"), peer, key, t.groups * count)
    place = np.empty_like(order)
    place[order] = np.arange(t.groups)  # of each group in the order of the other side
    by_group = [heard[i * count : (i + 1) * count] for i in place.tolist()]
    said, taken = _masked_words(here.at("words"), t, key, by_group, mine.hidden, spread)
    yield from say_ciphertexts(here.at("words"), peer, key, said)
    words = [_sum(_evaluated(w, shares, w.bits)[place], taken[i], w.bits) for i, w in enumerate(t.words)]
    flags = [_in_ring(column, 64) for column in taken[len(words) :]]
    _hide(here.at("hidden"), t, words, flags, mine.hidden)
    return _by_release(t, words, flags)


def value_side(
    session: Session, t: Tally, columns: Sequence[RingWords], hidden: Flags, secret: SecretKey, spread: Spread
) -> Rounds[list[list[RingWords]]]:
    """The role of who holds the values. ``columns``: of the shared keys, in the order of blind.py, 0 where its own
    condition fails: (shared,) or (shared, 2) each. ``hidden``: (rules,) what it does not let out of any group.
    ``secret``: a key for this job alone."""
    here, peer, key = session.at(t.name), t.group_side, secret.public
    assert key.n.bit_length() == MIN_BITS
    yield from say_key(here.at("key"), peer, key)
    yield from _say_rows(here.at("rows"), t, columns, secret, spread)

    shares = yield from _hear_totals(here.at("totals"), t, secret)
    counts = {}
    for i, form in enumerate(t.entities):
        at = here.at(f"entities/{i}")
        count = _evaluated(form, shares, 64) + (yield from hear_words(at, peer, 64, t.groups))
        if len(count) and int(count.max()) > len(columns[0]):
            raise PeerError("protocol.malformed", f"{peer} counted more entities than met.", party=peer, step=at.path)
        counts[form] = count
    small = [few | hides for few, hides in zip(_small(t, counts), hidden, strict=True)]
    told = encrypted(here.at("small"), secret, _noisy(here.at("small"), t, shares, small), spread)
    yield from say_ciphertexts(here.at("small"), peer, key, told)

    shelves = yield from _hear_shelves(here.at("words"), secret, t.shown, peer)
    slots = [[of_group[i] for of_group in shelf] for shelf in shelves for i in range(len(shelf[0]))]
    words = [_in_ring(column, w.bits) for w, column in zip(t.words, slots, strict=False)]
    return _by_release(t, words, [_in_ring(column, 64) for column in slots[len(words) :]])


# ---- group side


def _hear_rows(here: Session, t: Tally, key: PublicKey, shared: int) -> Rounds[list[int]]:
    rows: list[int] = []
    for i, part in _row_parts(shared):
        at, count = here.at(f"part/{i}"), (part.stop - part.start) * t.packs
        rows += yield from hear_ciphertexts(at, t.value_side, key, count)
    return rows


def _totalled(t: Tally, key: PublicKey, rows: Sequence[int], mine: GroupRows, spread: Spread) -> list[list[int]]:
    """Of each product a ciphertext for every group, not blinded anew."""
    taken = _of_large_groups(t, mine)
    taken = taken[np.argsort(mine.group[taken], kind="stable")]
    ends = np.searchsorted(mine.group[taken], np.arange(t.groups + 1))
    weights = [ring(64 if w.ndim == 1 else 128).to_ints(w[taken]) for w in mine.weights]
    met = mine.met[taken].tolist()
    asked: list[powers.Powers] = []
    for a, pack in t.products:
        for start, end in zip(ends[:-1].tolist(), ends[1:].tolist(), strict=True):
            chosen = [rows[k * t.packs + pack] for k in met[start:end]]
            asked.append((chosen, None if a is None else weights[a][start:end]))
    found = powers.products_of_powers(key, asked, spread)
    return [found[i : i + t.groups] for i in range(0, len(found), t.groups)]


def _of_large_groups(t: Tally, mine: GroupRows) -> Indices:
    """The rows that met, of groups in which ``least`` keys did and of which something is let out."""
    taken = np.flatnonzero((mine.met >= 0) & (mine.group >= 0))
    nothing: Flags = np.logical_and.reduce(mine.hidden)
    taken = taken[~nothing[mine.group[taken]]]
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
        ciphertexts += shelf.stack(key, [of_groups[g] for g in order.tolist()], spread)
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
    here: Session, t: Tally, key: PublicKey, by_group: list[list[int]], hidden: Flags, spread: Spread
) -> tuple[list[int], list[list[int]]]:
    """Ciphertexts of the other side's share of all words with this side's noise where a cell is small, and more of the
    other's where it is hidden, masked, in the order of the groups; and what this side has to take away for it, word by
    word."""
    ciphertexts: list[int] = []
    plain: list[int] = []
    taken: list[list[int]] = []
    noise = [_uniform(here.at(f"noise/{i}"), t.groups, w.bits) for i, w in enumerate(t.words)]
    for p, shelf in enumerate(t.shown):
        first = p * t.slots
        inside = range(first, min(first + shelf.used, len(t.words)))
        small = [
            ([of_group[len(t.shown) + i] for i in inside], [noise[i][g] for i in inside])
            for g, of_group in enumerate(by_group)
        ]
        spoil = powers.products_of_powers(key, small, spread)
        more = [(len(t.shown) + len(t.words) + i, rule) for i, (of, rule) in enumerate(t.more) if of == p]
        hide: list[powers.Powers] = [
            ([of_group[i] for i, rule in more if hidden[rule, g]], None) for g, of_group in enumerate(by_group)
        ]
        columns = ([of_group[p] for of_group in by_group], spoil, powers.products_of_powers(key, hide, spread))
        noisy = paillier.add(key, columns, t.groups)
        ciphertexts += shelf.stack(key, noisy, spread)
        mask = _masks(here.at(f"mask/{p}"), t, shelf.used)
        plain += shelf.pack(mask)
        taken += [[-of_group[i] for of_group in mask] for i in range(shelf.used)]
    return added(here, key, ciphertexts, plain, spread), taken


def _hide(here: Session, t: Tally, words: list[RingWords], flags: list[RingWords], hidden: Flags) -> None:
    """Noise of this side in its shares of words and flags that it does not let out (in place). It is always drawn."""
    for i, (w, rule) in enumerate(zip(t.words, t.rule_of_word, strict=True)):
        noise = _in_ring(_uniform(here.at(f"noise/{i}"), t.groups, w.bits), w.bits)
        noise[~hidden[rule]] = 0
        ring(w.bits).add_into(words[i], noise)
    for rule, flag in enumerate(flags):
        odd = _odd(here.at(f"flag/{rule}"), t.groups)
        flag += np.where(hidden[rule], _in_ring(odd, 64), 0).astype(np.uint64)


def _masks(here: Session, t: Tally, used: int) -> list[list[int]]:
    flat = _uniform(here, t.groups * used, t.slot - 1)
    return [flat[i : i + used] for i in range(0, len(flat), used)]


# ---- value side


def _say_rows(here: Session, t: Tally, columns: Sequence[RingWords], secret: SecretKey, spread: Spread) -> Rounds[None]:
    """Ciphertexts of each shared key's columns, part by part: while one is on its way, the next is made."""
    for i, part in _row_parts(len(columns[0])):
        plain = _packed_rows(t, [c[part] for c in columns], secret.public)
        made = encrypted(here.at(f"part/{i}"), secret, plain, spread)
        yield from say_ciphertexts(here.at(f"part/{i}"), t.group_side, secret.public, made)


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


def _small(t: Tally, counts: Mapping[Form, NDArray[np.uint64]]) -> list[Flags]:
    """Of each rule the groups with too few entities."""
    return [np.logical_or.reduce([counts[e] < np.uint64(t.least) for e in rule]) for rule in t.rules]


def _noisy(here: Session, t: Tally, shares: list[list[int]], small: Sequence[Flags]) -> list[int]:
    """Plaintexts for every group: its words' shares, with noise where small, and flags, in packs; then of each word 1
    in its slot where it is small; then noise for the words of each rule, pack by pack."""
    flags = [[int(x) for x in rule.tolist()] for rule in small]
    slots, more = [], []
    for i, (w, rule) in enumerate(zip(t.words, t.rule_of_word, strict=True)):
        noise, modulus = _uniform(here.at(f"noise/{i}"), t.groups, w.bits), 1 << w.bits
        share = ring(w.bits).to_ints(_evaluated(w, shares, w.bits))
        slots.append([(x + s * n) % modulus for x, s, n in zip(share, flags[rule], noise, strict=True)])
        more.append(_uniform(here.at(f"more/{i}"), t.groups, w.bits))
    for rule, flag in enumerate(flags):
        slots.append([s * odd for s, odd in zip(flag, _odd(here.at(f"flag/{rule}"), t.groups), strict=True)])
    plain = []
    for g in range(t.groups):
        of_group = [s[g] for s in slots]
        plain += [packed(of_group[i : i + t.slots], t.slot) for i in range(0, len(of_group), t.slots)]
        plain += [flags[rule][g] << (t.slot * (i % t.slots)) for i, rule in enumerate(t.rule_of_word)]
        for pack, rule in t.more:
            inside = [i for i, of in enumerate(t.rule_of_word) if (i // t.slots, of) == (pack, rule)]
            plain.append(sum(more[i][g] << (t.slot * (i % t.slots)) for i in inside))
    return plain


# ---- both


def _row_parts(shared: int) -> Iterator[tuple[int, slice]]:
    for i, start in enumerate(range(0, shared, PART)):
        yield i, slice(start, min(start + PART, shared))


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


def _odd(here: Session, count: int) -> list[int]:
    """Random flags, none 0: a sum of two is 0 with a chance of 2^-63."""
    return [x | 1 for x in _uniform(here, count, 64)]


def _uniform(here: Session, count: int, bits: int) -> list[int]:
    """Uniform numbers of ``bits`` bits from this party's coins."""
    size = -(-bits // 8)
    raw = here.own.draw(here.at("uniform").path, count * size)
    return [int.from_bytes(raw[i : i + size], "big") >> (8 * size - bits) for i in range(0, len(raw), size)]
