"""P11 Verified sum: the recipient sees that the sum is that of the values the contributors bound themselves to.

    contributor i                                  coordinator C                 recipient R
      C_i[b] = h^{r_i[b]} · Π_k g_k^{x_i[b,k]}       (blocks b of 1024 elements)
      ── H(C_i), signed, also to all others ───▶
         (and hears theirs before it goes on)
      ── C_i ──────────────────────────────────▶
      ── y_i, as in P3 ────────────────────────▶   y = Σ y_i
      ── t_i = r_i + Σ_{j>i} z_ij
               − Σ_{j<i} z_ij + z_iR  mod ℓ ───▶   t = Σ t_i
                                                   ── y, t, all H(C_i), C_i ──▶  S, T: y, t without masks
                                                        Π_i C_i[b] = h^{T[b]} · Π_k g_k^{S[b,k]} for all b ?

All blocks are checked at once, each raised to a 128-bit weight that is a hash of everything that is checked. x and S
are signed integers that do not wrap: elements are of Z_2^128 and bounded, the noise in spoiled cells too.

Trust level: parties. Adversary: privacy as P3, since Pedersen commitments hide perfectly and t is masked. Whoever finds
no logarithms in ristretto255 cannot change what goes into a sum once its hash is signed: a wrong sum fails at R at
once, whoever made it wrong; replay says who. Nothing is shown about whether values are true or within bounds.
Leakage: as P3; in a spoiled cell the noise hides the value but for 2^-40. Rounds: one more among the contributors.
Cost: about 75 µs an element to commit, on each core, 2 µs to verify, 32 bytes a block and contributor.
Source: Pedersen 1991; verification in batches by random weights: Bellare, Garay, Rabin 1998.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial

import numpy as np

from mpc.coins import Coins
from mpc.crypto import curve
from mpc.crypto.curve import ORDER, POINT_BYTES, UNIFORM_BYTES
from mpc.crypto.labels import digest, framed
from mpc.crypto.spread import Spread, one_core
from mpc.errors import LocalError, PeerError
from mpc.messages import Agreed, RingWords, Words
from mpc.protocols import total
from mpc.protocols.agree import Sign, Verify
from mpc.protocols.total import Sum
from mpc.ring import ring
from mpc.rounds import NOBODY, Round, Rounds, Session, expect

BOUND = "commitments"
#: elements that one commitment binds
BLOCK = 1024
#: a value's size, and that of the noise over it in a spoiled cell: the noise hides it but for 2^-40, and the sum of 64
#: of both does not wrap
VALUE_BITS, NOISE_BITS, MOST = 80, 120, 64


@dataclass(frozen=True)
class Bound:
    """What a contributor bound itself to in one sum: the signed hash, and a point for each block."""

    word: Agreed
    points: tuple[bytes, ...]


@dataclass(frozen=True)
class Binding:
    """All that a recipient needs to verify one sum: contributors' points, and the masked sum of their r by block."""

    bound: Mapping[str, Bound]
    scalars: tuple[int, ...]


# -- the contributor


def contribute(
    session: Session,
    s: Sum,
    x: RingWords,
    coordinator: str,
    context: bytes,
    sign: Sign,
    verify: Verify,
    spread: Spread = one_core,
) -> Rounds[None]:
    """Bind oneself, then say one's masked vector. ``x``: (length, 2); ``context``: the digest that all agreed on.

    Raises PeerError protocol.signature for another contributor's word that it did not sign.
    """
    here = session.at(f"{s.name}/verified")
    others = frozenset(s.contributors) - {session.me}
    r = [curve.scalar(session.own.draw(here.at(f"r/{b}").path, UNIFORM_BYTES)) for b in range(blocks(s))]
    points = commit(ring(s.bits).to_ints(x), r, spread)
    word = Agreed(hashed(context, s, session.me, points), b"")
    word = Agreed(word.digest, sign(BOUND, word.digest))
    step = here.at("hash").path
    heard = yield Round(step, dict.fromkeys((*sorted(others), coordinator), word), others)
    for j in sorted(others):
        theirs = expect(heard[j], Agreed, party=j, step=step)
        verify(j, BOUND, theirs.digest, theirs.signature)
    yield Round(here.at("points").path, {coordinator: points_message(points)}, NOBODY)
    yield from total.contribute(session, s, x, coordinator)
    masked = [(r[b] + _zero(here, s, b) + _to_recipient(here, s, b)) % ORDER for b in range(len(r))]
    yield Round(here.at("scalars").path, {coordinator: _scalar_words(masked)}, NOBODY)


# -- the coordinator


def collect(session: Session, s: Sum) -> Rounds[tuple[RingWords, Binding]]:
    """Add up what the contributors say; hand on what they bound themselves to."""
    here, who = session.at(f"{s.name}/verified"), frozenset(s.contributors)
    words = yield Round(here.at("hash").path, {}, who)
    points = yield Round(here.at("points").path, {}, who)
    y = yield from total.collect(session, s)
    scalars = yield Round(here.at("scalars").path, {}, who)
    bound, sums = {}, [0] * blocks(s)
    for i in s.contributors:
        word = expect(words[i], Agreed, party=i, step=here.at("hash").path)
        bound[i] = Bound(word, _points(points[i], s, i, here.at("points").path))
        theirs = _scalars(scalars[i], s, i, here.at("scalars").path)
        sums = [(a + b) % ORDER for a, b in zip(sums, theirs, strict=True)]
    return y, Binding(bound, tuple(sums))


def deliver(session: Session, s: Sum, y: RingWords, binding: Binding) -> Rounds[None]:
    """Towards a recipient with a node, after all sums are collected."""
    yield from total.deliver(session, s, y)
    here = session.at(f"total/{s.name}/verified")
    for i in s.contributors:
        yield Round(here.at(f"{i}/hash").path, {s.recipient: binding.bound[i].word}, NOBODY)
        yield Round(here.at(f"{i}/points").path, {s.recipient: points_message(binding.bound[i].points)}, NOBODY)
    yield Round(here.at("scalars").path, {s.recipient: _scalar_words(binding.scalars)}, NOBODY)


# -- the recipient


def receive(
    session: Session, s: Sum, coordinator: str, context: bytes, verify: Verify
) -> Rounds[tuple[RingWords, Binding]]:
    """Hear the masked total and what it is made of; open and verify it. Raises as ``check``."""
    y = yield from total.receive(session, s, coordinator)
    here, only = session.at(f"total/{s.name}/verified"), frozenset({coordinator})
    bound = {}
    for i in s.contributors:
        step = here.at(f"{i}/hash").path
        word = expect((yield Round(step, {}, only))[coordinator], Agreed, party=coordinator, step=step)
        step = here.at(f"{i}/points").path
        bound[i] = Bound(word, _points((yield Round(step, {}, only))[coordinator], s, coordinator, step))
    step = here.at("scalars").path
    scalars = _scalars((yield Round(step, {}, only))[coordinator], s, coordinator, step)
    return y, check(session, s, y, Binding(bound, tuple(scalars)), context, verify)


def check(session: Session, s: Sum, opened: RingWords, binding: Binding, context: bytes, verify: Verify) -> Binding:
    """Take the recipient's masks off the scalars and verify ``opened``. Returns what anybody verifies it with. Raises
    as ``verify_opened``."""
    here = session.at(f"{s.name}/verified")
    t = [
        (masked - sum(_stream(session.pairs[i], here, s, b, "to-recipient") for i in s.contributors if i != session.me))
        % ORDER
        for b, masked in enumerate(binding.scalars)
    ]
    unmasked = Binding(binding.bound, tuple(t))
    verify_opened(s, opened, unmasked, context, verify)
    return unmasked


# -- whoever has the sum


def verify_opened(s: Sum, opened: RingWords, binding: Binding, context: bytes, verify: Verify) -> None:
    """Whether ``opened`` is the sum of what the contributors bound themselves to. ``binding``: without masks.

    Raises PeerError protocol.signature, protocol.point where their words are not theirs, LocalError protocol.sum where
    the sum is another.
    """
    if set(binding.bound) != set(s.contributors) or len(binding.scalars) != blocks(s):
        raise LocalError("protocol.sum", "What the contributors bound themselves to is not all there.")
    for i in s.contributors:
        mine = binding.bound[i]
        if len(mine.points) != blocks(s) or hashed(context, s, i, mine.points) != mine.word.digest:
            raise PeerError("protocol.point", f"{i} bound itself to other points than were handed on.", party=i)
        verify(i, BOUND, mine.word.digest, mine.word.signature)
    t = binding.scalars
    sums = ring(s.bits).to_ints(opened)
    weights = _weights(context, s, binding, sums, t)
    left = curve.add(
        curve.multiply(p, w)
        for b, w in enumerate(weights)
        for p in [curve.add(binding.bound[i].points[b] for i in s.contributors)]
        if p is not None
    )
    exponents = [0] * min(BLOCK, s.length)
    for b, w in enumerate(weights):
        for k, value in enumerate(sums[b * BLOCK : (b + 1) * BLOCK]):
            exponents[k] += w * value
    right = curve.add(
        [curve.multiply(_h(), sum(w * x for w, x in zip(weights, t, strict=True)))]
        + [curve.multiply(_g(k), e) for k, e in enumerate(exponents)]
    )
    if left != right:
        raise LocalError(
            "protocol.sum",
            "The sum is not that of the values the contributors bound themselves to: somebody changed it, or its own "
            "part.",
            "Use no number of it. Let every participant replay its role (heji audit replay): that says who.",
        )


# -- what they share


def blocks(s: Sum) -> int:
    """Commitments that bind one contributor's vector."""
    return -(-s.length // BLOCK)


def commit(x: Sequence[int], r: Sequence[int], spread: Spread = one_core) -> tuple[bytes, ...]:
    """A point for each block of ``x`` (signed integers). ``r``: a scalar for each."""
    return tuple(spread(partial(_commit), [(x[b * BLOCK : (b + 1) * BLOCK], r[b]) for b in range(len(r))]))


def _commit(block: tuple[Sequence[int], int]) -> bytes:
    x, r = block
    point = curve.add([curve.multiply(_h(), r), *(curve.multiply(_g(k), v) for k, v in enumerate(x))])
    assert point is not None  # but for one r in 2^252
    return point


def hashed(context: bytes, s: Sum, name: str, points: Sequence[bytes]) -> bytes:
    """What a contributor signs before it shows its points."""
    return digest(BOUND, context, s.name.encode(), name.encode(), *points)


@cache
def _g(k: int) -> bytes:
    return curve.hash_to_point("generator", k.to_bytes(4, "big"))


@cache
def _h() -> bytes:
    return curve.hash_to_point("generator", b"blinding")


def _weights(context: bytes, s: Sum, binding: Binding, sums: Sequence[int], t: Sequence[int]) -> list[int]:
    """128-bit weights, a hash of everything that is checked."""
    everything = hashlib.sha256()
    for part in _said(s, binding, sums, t):
        everything.update(framed(part))
    seed = digest("weights", context, s.name.encode(), everything.digest())
    return [int.from_bytes(digest("weights", seed, b.to_bytes(8, "big"))[:16], "little") | 1 for b in range(blocks(s))]


def _said(s: Sum, binding: Binding, sums: Sequence[int], t: Sequence[int]) -> Iterator[bytes]:
    for i in s.contributors:
        yield i.encode()
        yield from binding.bound[i].points
    yield from (v.to_bytes(17, "big", signed=True) for v in sums)
    yield from (v.to_bytes(32, "big") for v in t)


def _zero(session: Session, s: Sum, b: int) -> int:
    """This contributor's part of a sharing of 0."""
    mine = 0
    for j in s.contributors:
        if j != session.me:
            z = _stream(session.pairs[j], session, s, b, "zero")
            mine += z if j > session.me else -z
    return mine


def _to_recipient(session: Session, s: Sum, b: int) -> int:
    return 0 if s.recipient == session.me else _stream(session.pairs[s.recipient], session, s, b, "to-recipient")


def _stream(coins: Coins, session: Session, s: Sum, b: int, purpose: str) -> int:
    return curve.scalar(coins.draw(session.at(f"to/{s.recipient}/{purpose}/{b}").path, UNIFORM_BYTES))


def points_message(points: Sequence[bytes]) -> Words:
    """How points are said."""
    return Words(64, np.frombuffer(b"".join(points), dtype="<u8").astype(np.uint64))


def _scalar_words(scalars: Sequence[int]) -> Words:
    return points_message([x.to_bytes(POINT_BYTES, "little") for x in scalars])


def _parts(message: object, s: Sum, party: str, step: str) -> list[bytes]:
    said = expect(message, Words, party=party, step=step)  # type: ignore[arg-type]
    if said.ring != 64 or len(said.words) != 4 * blocks(s):
        raise PeerError("protocol.size", f"{party} sent {len(said.words)} words at {step}.", party=party, step=step)
    raw = np.ascontiguousarray(said.words, dtype="<u8").tobytes()
    return [raw[at : at + POINT_BYTES] for at in range(0, len(raw), POINT_BYTES)]


def _points(message: object, s: Sum, party: str, step: str) -> tuple[bytes, ...]:
    found = tuple(_parts(message, s, party, step))
    try:
        for p in found:
            curve.check(p)
    except LocalError as problem:
        raise PeerError(problem.code, f"{party} at {step}: {problem.message}", party=party, step=step) from problem
    return found


def _scalars(message: object, s: Sum, party: str, step: str) -> list[int]:
    found = [int.from_bytes(p, "little") for p in _parts(message, s, party, step)]
    if any(x >= ORDER for x in found):
        raise PeerError("protocol.malformed", f"{party} sent no scalar at {step}.", party=party, step=step)
    return found
