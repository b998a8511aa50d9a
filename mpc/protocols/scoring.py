"""P9 Scores of shared keys: one side's weights times the other side's features, neither shown to the other.

    asker: weights, and the recipient                     holder: features
      which keys met, in one order: blind.py
      p, q fresh, n = p·q, h of its subgroup
      E_ka = Enc(weight a of the k-th shared key)
      ── n, h, E ──────────────────────────────────────▶    S_kw = Π_a E_ka^(Σ_b c·feature b)   for each word w
                                                            many S in one: Π S_i^(2^(slot·i)) · Enc(what is the
                                                            holder's alone, and a shift that makes all slots positive)
      Σ c·weight·feature of every word and key  ◀─────────
      takes the shift off

A word is Σ c · a · b over a column a of the asker's (or 1) and one b of the holder's. All of it is whole numbers, and a
slot holds the largest that can be, so scores are exact. What the holder sends is multiplied by h^s with a fresh s
(subgroup.py): it is then, but for 2^-128, uniform among the ciphertexts of these scores that the asker's key can have,
whatever the features, and shows the key's holder the scores and nothing else (Paillier has no noise that would have to
be drowned, as lattices have).

Trust level: parties. Adversary: semi-honest; Paillier in a subgroup of hidden order (assumptions: subgroup.py).
Leakage: holder nothing but the numbers of keys, weights and words (which keys are shared it knows from blind.py); asker
the words. It chooses its weights freely, and a score whose weights are powers of 2 far enough apart is all features in
a row: whoever grants columns for rows grants them to be read (docs/policy.md, ``row``).
Rounds: 2. Bytes: 2·|n| for each shared key and weight; back 2·|n| for as many scores as fit a plaintext.
Source: P. Paillier, EUROCRYPT 1999; linear functions under the data owner's key as in M. Barni et al., WIFS 2009.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from mpc.crypto import powers
from mpc.crypto.paillier import MIN_BITS
from mpc.crypto.powers import Powers
from mpc.crypto.spread import Spread
from mpc.crypto.subgroup import SubgroupSecret
from mpc.errors import PeerError
from mpc.messages import RingWords
from mpc.protocols.ciphertexts import (
    added,
    encrypted,
    hear_ciphertexts,
    hear_key,
    opened,
    packed,
    say_ciphertexts,
    say_key,
)
from mpc.ring import ring
from mpc.rounds import Rounds, Session

#: (coefficient, number of the asker's column or None for 1, number of the holder's column)
Term = tuple[int, int | None, int]


@dataclass(frozen=True)
class Scoring:
    """``weights``: bits of the absolute values of the asker's columns; ``features``: of the holder's; ``words``: the
    terms of each."""

    name: str
    asker: str
    holder: str
    weights: tuple[int, ...]
    features: tuple[int, ...]
    words: tuple[tuple[Term, ...], ...]

    @cached_property
    def bound(self) -> int:
        """No word's absolute value is larger."""
        return max(
            sum(abs(c) << ((0 if a is None else self.weights[a]) + self.features[b]) for c, a, b in word)
            for word in self.words
        )

    @property
    def slot(self) -> int:
        """Bits of a slot: a word made positive."""
        return (2 * self.bound).bit_length()

    @property
    def slots(self) -> int:
        """Slots of a plaintext: below n, whose top bit is set."""
        return (MIN_BITS - 1) // self.slot

    def ciphertexts(self, keys: int) -> int:
        """Ciphertexts that come back for ``keys`` shared keys."""
        return -(-keys * len(self.words) // self.slots)


def ask(
    session: Session, s: Scoring, weights: Sequence[RingWords], shared: int, secret: SubgroupSecret, spread: Spread
) -> Rounds[list[list[int]]]:
    """The asker's role: every word of the shared keys. ``weights``: of these, in the order of blind.py, (shared,) or
    (shared, 2) each. ``secret``: a key for this job alone."""
    here, key = session.at(s.name), secret.public
    yield from say_key(here.at("key"), s.holder, key)
    columns = [_integers(w) for w in weights]
    plain = [v % key.n for of_key in zip(*columns, strict=True) for v in of_key]
    at = here.at("weights")
    yield from say_ciphertexts(at, s.holder, key, encrypted(at, secret, plain, spread))
    at = here.at("scores")
    plain = yield from opened(at, s.holder, secret, s.ciphertexts(shared), s.slots * s.slot, spread)
    flat = _unpacked(s, plain, shared * len(s.words), at.path)
    return [flat[w * shared : (w + 1) * shared] for w in range(len(s.words))]


def answer(session: Session, s: Scoring, features: Sequence[RingWords], shared: int, spread: Spread) -> Rounds[None]:
    """The holder's role. ``features``: of the shared keys, (shared,) or (shared, 2) each."""
    here = session.at(s.name)
    key = yield from hear_key(here.at("key"), s.asker)
    count = len(s.weights)
    heard = yield from hear_ciphertexts(here.at("weights"), s.asker, key, shared * count)
    columns = [_integers(f) for f in features]
    products: list[Powers] = []
    own: list[int] = []
    for word in s.words:
        used = sorted({a for _, a, _ in word if a is not None})
        for k in range(shared):
            exponents = dict.fromkeys(used, 0)
            alone = 0
            for c, a, b in word:
                if a is None:
                    alone += c * columns[b][k]
                else:
                    exponents[a] += c * columns[b][k]
            products.append(([heard[k * count + a] for a in used], list(exponents.values())))
            own.append(alone + s.bound)
    scores = powers.products_of_powers(key, products, spread)
    groups = [slice(i, i + s.slots) for i in range(0, len(scores), s.slots)]
    stacked = powers.stacked(key, [scores[g] for g in groups], s.slot, spread)
    at = here.at("scores")
    told = added(at, key, stacked, [packed(own[g], s.slot) for g in groups], spread)
    yield from say_ciphertexts(at, s.asker, key, told)


def _unpacked(s: Scoring, plaintexts: Sequence[int], count: int, step: str) -> list[int]:
    """``count`` words. Raises PeerError protocol.malformed for what cannot be a word, or stands behind the last."""
    found: list[int] = []
    for p in plaintexts:
        n = min(s.slots, count - len(found))
        found += ((p >> (s.slot * i)) & ((1 << s.slot) - 1) for i in range(n))
        if p >> (s.slot * n) or any(v > 2 * s.bound for v in found[-n:]):
            raise PeerError(
                "protocol.malformed", f"{s.holder} sent what is no score at {step}.", party=s.holder, step=step
            )
    return [v - s.bound for v in found]


def _integers(x: RingWords) -> list[int]:
    return ring(64 if x.ndim == 1 else 128).to_ints(x)
