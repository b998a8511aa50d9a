"""P3 Secure sum: the recipient learns Σ x_i and nobody learns anything else.

    contributor i                                   coordinator C                 recipient R
      y_i = x_i + Σ_{j>i} s_ij − Σ_{j<i} s_ij
            + stream(k_iR)
      ── y_i, block by block ──────────────▶   y = Σ y_i
                                                ── y ──────────────────────▶   Σ x_i = y − Σ_i stream(k_iR)

s_ij = stream(k_ij, …/zero): the zero-shares cancel in the sum. The streams to R come off at R alone. Where R is itself
a contributor it adds no mask of its own and takes off those of the others.

Trust level: parties (nothing rests on C). Adversary: semi-honest; C, an outside R and up to n − 2 contributors together
learn no more than the sum; without R, nothing.
Leakage: C the length of the vector and who contributed; contributors nothing; R the sum.
Rounds: one word per contributor and block, none waits for another. Bytes per element: 8 (or 16) per contributor and
recipient, as much again from C to R. Source: Bonawitz et al. 2017 (pairwise masks), without dropouts: a lost
contributor ends the attempt.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from mpc.errors import PeerError
from mpc.messages import RingWords, Words
from mpc.ring import ring
from mpc.rounds import NOBODY, Round, Rounds, Session, expect

#: 64-bit words of a block: with its header a message of just under 1 MiB, the frame that measured best
BLOCK_WORDS = 130_048


@dataclass(frozen=True)
class Sum:
    """One secure sum of a job: ``length`` elements of Z_2^bits from each contributor, to one recipient."""

    name: str
    contributors: tuple[str, ...]
    recipient: str
    bits: int
    length: int

    def blocks(self) -> Iterator[tuple[str, slice]]:
        """Name and range of elements of each block."""
        size = BLOCK_WORDS // (self.bits // 64)
        for b, start in enumerate(range(0, self.length, size)):
            yield f"{self.name}/block/{b}", slice(start, min(start + size, self.length))


def contribute(session: Session, s: Sum, x: RingWords, coordinator: str) -> Rounds[None]:
    """A contributor's role: say one's masked vector to the coordinator. ``x``: (length,) or (length, 2)."""
    assert len(x) == s.length
    for name, part in s.blocks():
        y = x[part].copy()
        _add_zero_share(session.at(name), s, y)
        _mask_for_recipient(session.at(name), s, y)
        yield Round(session.at(name).path, {coordinator: Words(s.bits, y)}, NOBODY)


def collect(session: Session, s: Sum) -> Rounds[RingWords]:
    """The coordinator's role: add what the contributors say. Returns the total, still masked for the recipient."""
    r = ring(s.bits)
    total = r.zeros(s.length)
    for name, part in s.blocks():
        step = session.at(name).path
        heard = yield Round(step, {}, frozenset(s.contributors))
        for i in s.contributors:
            r.add_into(total[part], _block(heard[i], s, part, i, step))
    return total


def deliver(session: Session, s: Sum, total: RingWords) -> Rounds[None]:
    """The coordinator's role towards a recipient with a node, after all sums are collected."""
    for name, part in s.blocks():
        yield Round(session.at(f"total/{name}").path, {s.recipient: Words(s.bits, total[part])}, NOBODY)


def receive(session: Session, s: Sum, coordinator: str) -> Rounds[RingWords]:
    """The recipient's role: hear the masked total from the coordinator and open it."""
    total = ring(s.bits).zeros(s.length)
    for name, part in s.blocks():
        step = session.at(f"total/{name}").path
        heard = yield Round(step, {}, frozenset({coordinator}))
        total[part] = _block(heard[coordinator], s, part, coordinator, step)
    open_total(session, s, total)
    return total


def open_total(session: Session, s: Sum, total: RingWords) -> None:
    """Take the contributors' masks off a masked total, in place. ``session`` holds the recipient's pair coins."""
    for name, part in s.blocks():
        for i in _others(s.contributors, s.recipient):
            _stream_into(total[part], ring(s.bits).subtract_into, session.at(name), s, i, "to-recipient")


def _add_zero_share(session: Session, s: Sum, y: RingWords) -> None:
    r = ring(s.bits)
    for j in _others(s.contributors, session.me):
        _stream_into(y, r.add_into if j > session.me else r.subtract_into, session, s, j, "zero")


def _mask_for_recipient(session: Session, s: Sum, y: RingWords) -> None:
    if s.recipient != session.me:
        _stream_into(y, ring(s.bits).add_into, session, s, s.recipient, "to-recipient")


def _stream_into(
    y: RingWords,
    change: Callable[[RingWords, RingWords], None],
    session: Session,
    s: Sum,
    peer: str,
    purpose: str,
) -> None:
    """Change ``y`` in place by the stream that is shared with ``peer`` for this block and purpose."""
    r, start = ring(s.bits), 0
    for words in session.pairs[peer].pieces(session.at(f"to/{s.recipient}/{purpose}").path, r.WIDTH * len(y)):
        x = r.from_stream(words)
        change(y[start : start + len(x)], x)
        start += len(x)


def _block(message: object, s: Sum, part: slice, party: str, step: str) -> RingWords:
    said = expect(message, Words, party=party, step=step)  # type: ignore[arg-type]
    if said.ring != s.bits or len(said.words) != part.stop - part.start:
        raise PeerError(
            "protocol.size",
            f"{party} sent {len(said.words)} words of {said.ring} bits at {step}, "
            f"where the plan has {part.stop - part.start} of {s.bits}.",
            party=party,
            step=step,
        )
    return said.words


def _others(names: Sequence[str], me: str) -> list[str]:
    return [n for n in names if n != me]
