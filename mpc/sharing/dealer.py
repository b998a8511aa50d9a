"""What the helper deals, made by two holders between themselves: products of what one knows with what the other knows.

    the last holder: u_k, and a key                       the first holder: v_k, and w, its own part
      ── p, Enc(0), once ──────────────────────────────▶
      ── Enc(u_k mod t) for every prime t ─────────────▶  Σ Enc(u_k)·v_k + Enc(w + 2^b·ρ), blinded and flooded: bfv.py
      Σ u_k·v_k + w + 2^b·ρ, by the primes together  ◀──
      its part: that modulo 2^b

    a dealt product    c = (a1 + a2)·(b1 + b2): the last has a2, b2, the first b1, a1 and w = a1·b1 − c1; c2 adds a2·b2
    of a column the owner knows: one of the two products
    a bit b1 ⊕ b2      b2·(1 − 2·b1) + b1 − c1
    dealt ANDs         c2 = a2·b2 ⊕ (a2·b1 ⊕ b2·a1 ⊕ m), m = a1·b1 ⊕ c1: the sum modulo a small prime t that is
                       m + (1 − 2m)·(b1·a2 + a1·b2 − 2·a1·b1·(a2·b2)), which is 0 or 1

All of a1, a2, b1, b2, c1 are drawn, by each from coins of its own (``between``). So both holders hold what they would
hold of a helper's dealing, and the operations of the engine go on from there as they are. ``and_own_bits`` is the same
for bits of the shares themselves.

Trust level: parties. Adversary: semi-honest, ring learning with errors. Leakage: the last holder learns c2, and of what
the first holder added up nothing beyond it: whole numbers are hidden by 64 bits of ρ above the largest sum, ANDs come
as bits that m masks. The first holder hears ciphertexts. Rounds: two for each part. Bytes: docs/protocols/dealer.md.
Source: correlated randomness from somewhat homomorphic encryption: I. Damgård et al. (SPDZ), CRYPTO 2012, here for two
and without its proofs, which are for active adversaries.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from mpc.blocks import hear_words, say_words
from mpc.coins import Coins
from mpc.crypto import bfv, negacyclic
from mpc.crypto.bfv import BITS, SEED_BYTES, WHOLE, Parameters, PublicKey, SecretKey
from mpc.crypto.negacyclic import DEGREE, Residues, residues
from mpc.errors import PeerError
from mpc.messages import Message, RingWords
from mpc.ring import ring
from mpc.rounds import Rounds, Session
from mpc.sharing.circle import NO_HELPER, Circle, drawn, drawn_bits
from mpc.sharing.opening import pack

T = TypeVar("T")

#: bits by which what hides a sum of whole numbers is longer than the largest sum
HIDING = 64
_SEED = SEED_BYTES // 8
_ROWS = len(WHOLE.q)


# ---- the key, and an operation in place of a helper's


def circle_of_two(session: Session, holders: tuple[str, str]) -> Rounds[Circle]:
    """Either holder's role: the two with a key of the last one, good for one attempt."""
    first, last = sorted(holders)
    here = session.at("key")
    if session.me == last:
        secret = bfv.new_key(session.own.words, here.path)
        said = np.concatenate((_words(secret.public.seed), secret.public.half.reshape(-1)))
        yield from say_words(here, first, 64, said)
        return Circle((first, last), NO_HELPER, secret)
    heard = yield from hear_words(here, last, 64, _SEED + _ROWS * DEGREE)
    half = _verified(heard[_SEED:].reshape(_ROWS, DEGREE), WHOLE, last, here.path)
    return Circle((first, last), NO_HELPER, PublicKey(_bytes(heard[:_SEED]), half))


def between(
    session: Session, deal: Callable[[Session], Rounds[None]], play: Callable[[Session], Rounds[T]]
) -> Rounds[T]:
    """Either holder's role of an operation that needs dealt words: both deal, and then ``play``.

    ``deal`` and ``play`` are the helper's and the holder's role of the operation. They draw the same words from coins
    that nobody else has; what the helper would say to the last holder, that one keeps.
    """
    seed = session.own.draw(session.at("dealt").path, 32)

    def seated() -> Session:
        return session.with_pairs({**session.pairs, NO_HELPER: Coins(seed)})

    kept: deque[Message] = deque()
    yield from _with_nobody(deal(seated()), kept)
    out = yield from _with_nobody(play(seated()), kept)
    assert not kept
    return out


def _with_nobody(role: Rounds[T], kept: deque[Message]) -> Rounds[T]:
    """A role in which what is said to the helper's seat is kept, and heard from there later."""
    try:
        step = next(role)
        while True:
            if NO_HELPER in step.say:
                kept.append(step.say[NO_HELPER])
                step = role.send({})
            elif NO_HELPER in step.hear:
                step = role.send({NO_HELPER: kept.popleft()})
            else:
                heard = yield step
                step = role.send(heard)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]


# ---- what is dealt: roles of both holders


def product_of_two(session: Session, circle: Circle, bits: int, n: int, owner: str | None = None) -> Rounds[None]:
    """c for n products of dealt a and b, of which ``owner``, if there is one, has all of a."""
    r, last = ring(bits), session.me == circle.last
    b = drawn(session.at("b"), NO_HELPER, bits, n)
    if owner in (None, session.me):
        a = drawn(session.at("a"), NO_HELPER, bits, n)
        mine, columns = r.multiply(a, b), [a] if owner else [a, b] if last else [b, a]
    else:
        mine, columns = r.zeros(n), [b]
    if not last:
        r.subtract_into(mine, drawn(session.at("c"), NO_HELPER, bits, n))
    yield from _sum_of_two(session, circle, bits, columns, mine, "c", 2 * bits)


def bit_of_two(session: Session, circle: Circle, bits: int, n: int) -> Rounds[None]:
    """The arithmetic shares of n dealt bits."""
    r, packed = ring(bits), drawn_bits(session.at("b"), NO_HELPER, np.uint8, -(-n // 8))
    b = _low(bits, np.unpackbits(packed, count=n))
    if session.me == circle.last:
        column, mine = b, r.zeros(n)
    else:
        column, mine = r.from_ints([1]).repeat(n, axis=0), b.copy()
        r.subtract_into(column, b)
        r.subtract_into(column, b)
        r.subtract_into(mine, drawn(session.at("arithmetic"), NO_HELPER, bits, n))
    yield from _sum_of_two(session, circle, bits, [column], mine, "arithmetic", 1 + bits)


def ands_of_two(session: Session, circle: Circle, kind: type[np.unsignedinteger], n: int, count: int) -> Rounds[None]:
    """c for ``count`` ANDs with one dealt a, of n words of this kind."""
    a = drawn_bits(session.at("a"), NO_HELPER, kind, n)
    bs = [drawn_bits(session.at(f"b{k}"), NO_HELPER, kind, n) for k in range(count)]
    here, t = session.at("between"), BITS.plain[0]
    if session.me == circle.last:
        columns = [_bits(x) for x in (a, *(x for b in bs for x in (b, a & b)))]
        found = yield from _ask(here, circle, BITS, BITS.plain, [c[None, :] for c in columns], count)
        said = _verified_bits(found, circle.first, here.path)
        corrections = [a & b ^ _packed(kind, x[0]) for b, x in zip(bs, said, strict=True)]
        yield from say_words(session.at("c"), NO_HELPER, 64, pack(corrections))
        return
    asked, added = [], []
    for k, b in enumerate(bs):
        m = _bits(a & b ^ drawn_bits(session.at(f"c{k}"), NO_HELPER, kind, n))
        sign = np.where(m > 0, np.uint64(t - 1), np.uint64(1))  # 1 − 2m
        twice = np.where(m > 0, np.uint64(2), np.uint64(t - 2))  # −2·(1 − 2m)
        a1, b1 = _bits(a), _bits(b)
        asked.append([(0, sign * b1), (2 * k + 1, sign * a1), (2 * k + 2, twice * a1 * b1)])
        added.append(m[None, :])
    yield from _answer(here, circle, BITS, BITS.plain, [[(i, v[None, :]) for i, v in terms] for terms in asked], added)


def and_own_bits(session: Session, circle: Circle, x: NDArray[np.uint64]) -> Rounds[NDArray[np.uint64]]:
    """Either holder's role, of a product that is not dealt but computed: its XOR share of x_1 ∧ x_2, where each knows
    its own, (n,) words."""
    here, t = session.at("own"), BITS.plain[0]
    if session.me == circle.last:
        (found,) = yield from _ask(here, circle, BITS, BITS.plain, [_bits(x)[None, :]], 1)
        return _packed(np.uint64, _verified_bits(found, circle.first, here.path)[0])
    m = here.own.words(here.at("mask").path, len(x))
    sign = np.where(_bits(m) > 0, np.uint64(t - 1), np.uint64(1))  # 1 − 2m
    terms = [(0, (sign * _bits(x))[None, :])]
    yield from _answer(here, circle, BITS, BITS.plain, [terms], [_bits(m)[None, :]])
    return m


def _sum_of_two(
    session: Session, circle: Circle, bits: int, columns: Sequence[RingWords], mine: RingWords, step: str, most: int
) -> Rounds[None]:
    """What the helper would tell the last holder at ``step``: Σ of its columns times the first one's, and both
    ``mine``; ``most``: bits of each product."""
    here, r = session.at("between"), ring(bits)
    most = _masked(most, len(columns))
    primes = _primes(most)
    if session.me == circle.last:
        asked = [residues(x, primes) for x in columns]
        (found,) = yield from _ask(here, circle, WHOLE, primes, asked, 1)
        r.add_into(mine, _combined(found, primes, bits, most, circle.first, here.path))
        yield from say_words(session.at(step), NO_HELPER, bits, mine)
        return
    above = here.own.words(here.at("above").path, -(-(most - bits) // 64) * len(mine)).reshape(len(mine), -1).copy()
    above[:, -1] &= np.uint64((1 << (most - bits - 1) % 64 + 1) - 1)
    hidden = np.concatenate((mine.reshape(len(mine), -1), above), axis=1)
    yield from _answer(
        here,
        circle,
        WHOLE,
        primes,
        [[(i, residues(x, primes)) for i, x in enumerate(columns)]],
        [residues(hidden, primes)],
    )


# ---- what it costs


@dataclass(frozen=True)
class Cost:
    """Bytes from the last holder to the first and back, and messages each way but for long columns' blocks."""

    asked: int
    answered: int
    messages: int

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.asked + other.asked, self.answered + other.answered, self.messages + other.messages)


KEY_BYTES = SEED_BYTES + 8 * _ROWS * DEGREE


def cost_of_sum(most: int, columns: int, n: int) -> Cost:
    """Of n sums of ``columns`` products of so many bits."""
    return _cost(WHOLE, len(_primes(_masked(most, columns))), columns, 1, n)


def cost_of_ands(n: int, count: int) -> Cost:
    """Of ``count`` ANDs with one dealt a, of n bits."""
    return _cost(BITS, 1, 2 * count + 1, count, n)


def cost_of_own_ands(n: int) -> Cost:
    """Of ANDs of n bits that each knows."""
    return _cost(BITS, 1, 1, 1, n)


def _cost(use: Parameters, primes: int, columns: int, sums: int, n: int) -> Cost:
    parts, polynomial = -(-n // DEGREE), 8 * DEGREE
    asked = SEED_BYTES + columns * primes * len(use.q) * polynomial
    return Cost(parts * asked, parts * sums * primes * 2 * use.kept * polynomial, parts)


# ---- questions and answers, in parts of as many elements as a ciphertext has slots


def _ask(
    here: Session, circle: Circle, use: Parameters, primes: Sequence[int], columns: Sequence[Residues], count: int
) -> Rounds[Residues]:
    """The last holder's role: ``count`` sums, (count, primes, n). ``columns``: (primes, n) each."""
    key, other, n = circle.key, circle.first, columns[0].shape[1]
    assert isinstance(key, SecretKey)
    out = np.empty((count, len(primes), n), dtype=np.uint64)
    for at, part in _parts(here, n):
        seed = here.own.draw(at.at("seed").path, SEED_BYTES)
        halves = iter(bfv.halves(seed, use, len(columns) * len(primes)))
        made = [
            bfv.encrypt(key, use, t, x[i, part], next(halves), here.own.words, at.at(f"{c}/{t}").path)
            for c, x in enumerate(columns)
            for i, t in enumerate(primes)
        ]
        yield from say_words(at.at("asked"), other, 64, np.concatenate((_words(seed), np.stack(made).reshape(-1))))
        shape = (count, len(primes), 2, use.kept, DEGREE)
        step = at.at("answered")
        heard = yield from hear_words(step, other, 64, math.prod(shape))
        answers = _verified(heard.reshape(shape), use, other, step.path)
        for k, i in np.ndindex(count, len(primes)):
            try:
                out[k, i, part] = bfv.decrypt(key, use, primes[i], answers[k, i])[: part.stop - part.start]
            except ValueError:
                raise _malformed(other, step.path, "what is no ciphertext under the key it was given") from None
    return out


#: number of a column of the last holder, and the first one's factors (primes, n)
Terms = Sequence[tuple[int, Residues]]


def _answer(
    here: Session,
    circle: Circle,
    use: Parameters,
    primes: Sequence[int],
    sums: Sequence[Terms],
    added: Sequence[Residues],
) -> Rounds[None]:
    """The first holder's role. ``added``: to each sum, (primes, n)."""
    key, other, n = circle.key, circle.last, added[0].shape[1]
    assert isinstance(key, PublicKey)
    columns = 1 + max(c for terms in sums for c, _ in terms)
    for at, part in _parts(here, n):
        step, shape = at.at("asked"), (columns, len(primes), len(use.q), DEGREE)
        heard = yield from hear_words(step, other, 64, _SEED + math.prod(shape))
        asked = _verified(heard[_SEED:].reshape(shape), use, other, step.path)
        halves = bfv.halves(_bytes(heard[:_SEED]), use, columns * len(primes))
        made = [
            bfv.answer(
                key,
                use,
                t,
                [((asked[c, i], halves[c * len(primes) + i]), v[i, part]) for c, v in terms],
                w[i, part],
                here.own.words,
                at.at(f"{k}/{t}").path,
            )
            for k, (terms, w) in enumerate(zip(sums, added, strict=True))
            for i, t in enumerate(primes)
        ]
        yield from say_words(at.at("answered"), other, 64, np.stack(made).reshape(-1))


def _parts(here: Session, n: int) -> Iterator[tuple[Session, slice]]:
    for i, start in enumerate(range(0, n, DEGREE)):
        yield here.at(f"part/{i}"), slice(start, min(start + DEGREE, n))


def _verified(x: Residues, use: Parameters, sender: str, step: str) -> Residues:
    """PeerError where a word is no residue. Primes stand in the last axis but one."""
    if not bfv.verify_residues(x, use.q[: x.shape[-2]]):
        raise _malformed(sender, step, "what is no ciphertext")
    return x


def _verified_bits(x: Residues, sender: str, step: str) -> Residues:
    if x.max(initial=0) > 1:
        raise _malformed(sender, step, "what is no bit")
    return x


# ---- numbers


def _masked(most: int, columns: int) -> int:
    """Bits of what hides a sum of ``columns`` products of so many bits."""
    return most + columns.bit_length() - 1 + HIDING


def _primes(bits: int) -> tuple[int, ...]:
    """As many plaintext primes as hold numbers of so many bits, and one bit more: two numbers are added."""
    count = next(k for k in range(1, len(WHOLE.plain) + 1) if math.prod(WHOLE.plain[:k]) >> (bits + 2))
    return WHOLE.plain[:count]


def _combined(x: Residues, primes: Sequence[int], bits: int, most: int, sender: str, step: str) -> RingWords:
    """Numbers with these residues (primes, n), modulo 2^bits (Garner). PeerError for one that no honest answer is."""
    r, out = ring(bits), ring(bits).zeros(x.shape[1])
    digits: list[Residues] = []
    weight = 1
    for j, t in enumerate(primes):
        p, digit = np.array([t], dtype=np.uint64), x[j]
        for d, s in zip(digits, primes, strict=False):
            digit = negacyclic.multiply(negacyclic.subtract(digit, d % p, p), np.full_like(d, pow(s, -1, t)), p)
        digits.append(digit)
        r.add_into(out, r.multiply(_low(bits, digit), r.from_ints([weight % (1 << bits)])))
        weight *= t
    if (digits[-1] > np.uint64((2 << most) * primes[-1] // weight)).any():
        raise _malformed(sender, step, "what is no masked sum")
    return out


def _low(bits: int, x: NDArray[np.unsignedinteger]) -> RingWords:
    """Words as elements of a ring."""
    wide = x.astype(np.uint64)
    return wide if bits == 64 else np.column_stack((wide, np.zeros_like(wide)))


def _bits(words: NDArray[np.unsignedinteger]) -> NDArray[np.uint64]:
    """One element a bit."""
    return np.unpackbits(np.ascontiguousarray(words).view(np.uint8)).astype(np.uint64)


def _packed(kind: type[np.unsignedinteger], bits: NDArray[np.uint64]) -> NDArray[np.unsignedinteger]:
    return np.packbits(bits.astype(np.uint8)).view(kind)


def _words(raw: bytes) -> RingWords:
    return np.frombuffer(raw, dtype="<u8").astype(np.uint64)


def _bytes(words: RingWords) -> bytes:
    return words.astype("<u8").tobytes()


def _malformed(sender: str, step: str, what: str) -> PeerError:
    return PeerError("protocol.malformed", f"{sender} sent {what} at {step}.", party=sender, step=step)
