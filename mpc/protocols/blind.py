"""P9 Blinding: two parties learn which of their own keys the other has too, and nothing else of each other's keys.

    side A                                                          side B
      a random; P_x = H(x)^a for its keys and padding                 b random; Q_y = H(y)^b
      ── P, in a fresh random order ─────────────────────────────▶
      ◀─────────────────────────────── Q, in a fresh random order ──
      ── Q^a, in the order of Q ─────────────────────────────────▶
      ◀────────────────────────────────── P^b, in the order of P ──
      x is shared where its P^b = H(x)^ab is among the Q^a = H(y)^ab; both take shared keys in the order of these points

H hashes to ristretto255, whose order is prime: bare X25519 on hashed coordinates keeps whether a point is on the curve
or on its twist, a bit of every id. H is keyed by the pair, so points of two attempts, or of two pairs, have nothing in
common. All keys of a table take part, each once, whatever a query's WHERE, and uniform points fill up to the published
row count: no size depends on a constant of the query. Non-canonical points and the identity are refused.

Of its size alone: the asking side hears P^b in a fresh order of B's, so it counts how many are shared and does not
learn which; B learns nothing (``ask_size``, ``answer_size``).

Trust level: parties. Adversary: semi-honest; the decisional Diffie–Hellman assumption, H a random oracle.
Leakage: each side which of its own keys are shared. Padding keeps the number of distinct keys, rows are published.
Who deviates can offer keys that are not in its table: its commitment to the table and replay show it afterwards.
Rounds: 2, in blocks. Bytes: 32 (n_A + n_B) from each side. Points multiplied: 2 (n_A + n_B), half by each side.
Source: C. Meadows, IEEE S&P 1986; B. Huberman, M. Franklin, T. Hogg, Enhancing privacy and trust in electronic
communities, EC 1999.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from mpc.blocks import blocks, words_of
from mpc.crypto import curve
from mpc.crypto.spread import Spread
from mpc.errors import LocalError, PeerError
from mpc.ids import Bytes
from mpc.messages import Message, Words
from mpc.permutation import permutation
from mpc.protocols.match import match
from mpc.rounds import Round, Rounds, Session

Indices = NDArray[np.int64]
In = TypeVar("In")

POINT_WORDS = curve.POINT_BYTES // 8
#: points that one worker takes at a time
CHUNK = 512


@dataclass(frozen=True)
class Blind:
    """Two sides and their numbers of keys, padded."""

    name: str
    sides: tuple[str, str]
    rows: tuple[int, int]

    def other(self, me: str) -> str:
        return self.sides[1 - self.sides.index(me)]

    def rows_of(self, name: str) -> int:
        return self.rows[self.sides.index(name)]


def meet(session: Session, b: Blind, keys: Bytes, spread: Spread) -> Rounds[Indices]:
    """Either side's role. ``keys``: (n, width) uint8, each once. Returns which rows of ``keys`` the other side has too,
    in an order that both sides know: the i-th of one side is the i-th of the other."""
    here, peer = session.at(b.name), b.other(session.me)
    by = _exponent(here)
    mine, order = _blinded(here, b, keys, by, spread)
    theirs = yield from _exchange(here.at("points"), peer, mine, b.rows_of(peer))
    doubled = _raised(theirs, by, spread, peer, here.at("points").path)
    back = yield from _exchange(here.at("doubled"), peer, doubled, b.rows_of(session.me))
    _verify_points(back, spread, peer, here.at("doubled").path)
    row, points = _shared(back, doubled, order, peer, here.at("doubled").path)
    real = row < len(keys)  # padding of both sides is uniform
    return row[real][np.lexsort(points[real].T[::-1])]


def ask_size(session: Session, b: Blind, keys: Bytes, spread: Spread) -> Rounds[int]:
    """How many keys of this side the other one has too, and not which."""
    here, peer = session.at(b.name), b.other(session.me)
    by = _exponent(here)
    mine, _ = _blinded(here, b, keys, by, spread)
    theirs = yield from _exchange(here.at("points"), peer, mine, b.rows_of(peer))
    doubled = _raised(theirs, by, spread, peer, here.at("points").path)
    back = yield from _exchange(here.at("doubled"), peer, np.zeros((0, 4), np.uint64), b.rows_of(session.me))
    _verify_points(back, spread, peer, here.at("doubled").path)
    row, _ = _shared(back, doubled, np.arange(len(back)), peer, here.at("doubled").path)
    return len(row)


def answer_size(session: Session, b: Blind, keys: Bytes, spread: Spread) -> Rounds[None]:
    """The other side's role: what it sends back has an order of its own."""
    here, peer = session.at(b.name), b.other(session.me)
    by = _exponent(here)
    mine, _ = _blinded(here, b, keys, by, spread)
    theirs = yield from _exchange(here.at("points"), peer, mine, b.rows_of(peer))
    doubled = _raised(theirs, by, spread, peer, here.at("points").path)
    order = permutation(session.own, here.at("reorder").path, len(doubled))
    yield from _exchange(here.at("doubled"), peer, doubled[order], 0)


# ---- points, as (n, 4) uint64: 32 bytes a row


def _exponent(here: Session) -> int:
    return curve.scalar(here.own.draw(here.at("exponent").path, curve.UNIFORM_BYTES))


def _blinded(here: Session, b: Blind, keys: Bytes, by: int, spread: Spread) -> tuple[NDArray[np.uint64], Indices]:
    """H(key)^by of every key and uniform points behind them, in a fresh order: row i is that of place ``order[i]``."""
    rows = b.rows_of(here.me)
    if len(keys) > rows:
        raise LocalError(
            "data.rows",
            f"A table of {here.me} has more keys than its catalog says rows: a join would show how many.",
            f"{here.me} publishes the table anew (heji node table add … --replace), then submit the query again.",
        )
    salt = here.pairs[b.other(here.me)].draw(here.at("hash").path, 32)
    hashed = list(spread(partial(_hash_and_raise, salt, by), _chunks([k.tobytes() for k in keys])))
    padding = here.own.draw(here.at("padding").path, curve.UNIFORM_BYTES * (rows - len(keys)))
    hashed.append(b"".join(curve.point(padding[i : i + 64]) for i in range(0, len(padding), curve.UNIFORM_BYTES)))
    order = permutation(here.own, here.at("order").path, rows)
    return _as_words(hashed)[order], order


def _raised(points: NDArray[np.uint64], by: int, spread: Spread, peer: str, step: str) -> NDArray[np.uint64]:
    """Every point to the power ``by``. Raises PeerError protocol.point for what is none."""
    try:
        return _as_words(spread(partial(_raise, by), _chunks(_as_points(points))))
    except LocalError as wrong:
        raise _no_point(wrong, peer, step) from None


def _verify_points(points: NDArray[np.uint64], spread: Spread, peer: str, step: str) -> None:
    try:
        for _ in spread(partial(_check), _chunks(_as_points(points))):
            pass
    except LocalError as wrong:
        raise _no_point(wrong, peer, step) from None


def _no_point(wrong: LocalError, peer: str, step: str) -> PeerError:
    return PeerError(wrong.code, f"{peer} at {step}: {wrong.message}", party=peer, step=step)


def _hash_and_raise(salt: bytes, by: int, keys: Sequence[bytes]) -> bytes:
    return b"".join(curve.raised(curve.hash_to_point("blind", salt, k), by) for k in keys)


def _raise(by: int, points: Sequence[bytes]) -> bytes:
    return b"".join(curve.raised(p, by) for p in points)


def _check(points: Sequence[bytes]) -> None:
    for p in points:
        curve.check(p)


def _chunks(items: Sequence[In]) -> list[Sequence[In]]:
    return [items[i : i + CHUNK] for i in range(0, len(items), CHUNK)]


def _as_points(words: NDArray[np.uint64]) -> list[bytes]:
    raw = words.astype("<u8", copy=False).tobytes()
    return [raw[i : i + curve.POINT_BYTES] for i in range(0, len(raw), curve.POINT_BYTES)]


def _as_words(pieces: Iterator[bytes] | Sequence[bytes]) -> NDArray[np.uint64]:
    return np.frombuffer(b"".join(pieces), dtype="<u8").astype(np.uint64, copy=False).reshape(-1, POINT_WORDS)


# ---- messages


def _exchange(here: Session, peer: str, mine: NDArray[np.uint64], theirs: int) -> Rounds[NDArray[np.uint64]]:
    """Say one's points and hear ``theirs``, block by block and both at once: neither waits for a full channel."""
    heard = np.zeros((theirs, POINT_WORDS), dtype=np.uint64)
    saying, hearing = (dict(blocks(n, curve.POINT_BYTES)) for n in (len(mine), theirs))
    for name in max(saying, hearing, key=len):
        step, say = here.at(name).path, dict[str, Message]()
        if name in saying:
            say[peer] = Words(64, mine[saying[name]].reshape(-1))
        came = yield Round(step, say, frozenset({peer} if name in hearing else ()))
        if name in hearing:
            part = hearing[name]
            count = POINT_WORDS * (part.stop - part.start)
            heard[part] = words_of(came[peer], 64, count, peer, step).reshape(-1, POINT_WORDS)
    return heard


def _shared(
    back: NDArray[np.uint64], doubled: NDArray[np.uint64], order: Indices, peer: str, step: str
) -> tuple[Indices, NDArray[np.uint64]]:
    """The places of this side's points that the other side has too, and the points. ``order``: of ``back``."""
    met = match(back[:, :2], doubled[:, :2])  # 128 bits of each point: two are equal by chance once in 2^80
    again = match(doubled[:, :2], back[:, :2])
    if met is None or again is None:
        raise PeerError(
            "protocol.malformed", f"{peer} sent one key twice at {step}.", "Nothing was used.", party=peer, step=step
        )
    at = np.flatnonzero(met.row >= 0)
    return order[at], back[at]
