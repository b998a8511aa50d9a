"""What all holders but one see together tells nothing about the inputs of that one.

For an operation run with one input of the honest holder, and any other input of it, the test finds words dealt to it
under which the others receive, from it and from the helper, exactly the same bytes. Dealt words are uniform, and the
change from the first ones to the others is one to one, so both inputs lead to these bytes equally often. It is the
simulation argument of the protocols' pages, carried out on the bytes of a run.

The words are found one message after the other: every message is masked by a stream of its own, which is moved by what
the message lacks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from mpc.codec import decode
from mpc.coins import Coins
from mpc.messages import Positions, RingWords, Words
from mpc.permutation import permutation
from mpc.rounds import Rounds, Session
from mpc.run import Sent, Trace, run
from mpc.sharing.bits import and_bits, bit_to_arithmetic, deal_and_bits, deal_bit_to_arithmetic
from mpc.sharing.compare import deal_equal_zero, deal_negative, equal_zero, negative, reorder
from mpc.sharing.multiply import deal_multiply, deal_multiply_known, multiply, multiply_known
from mpc.sharing.permute import deal_permute, permute
from tests.mpc.joining import sessions
from tests.mpc.sharing.test_engine import HELPER, circle

N = 8  # elements: every column of bits ends on whole words
CIRCLE = circle(3)
Bend = Callable[[RingWords], RingWords]


class Bent(Coins):
    """Coins of which some streams are moved."""

    def __init__(self, coins: Coins, bends: dict[str, list[Bend]]) -> None:
        super().__init__(coins._key)
        self._bends = bends

    def words(self, path: str, count: int) -> RingWords:
        words = super().words(path, count)
        for bend in self._bends.get(path, []):
            words = bend(words)
        return words


def plus(lack: RingWords) -> Bend:
    return lambda words: words + lack


def xor(lack: RingWords) -> Bend:
    return lambda words: words ^ lack


class Operation:
    """An operation in which ``honest`` has inputs drawn from ``seed``, the others always the same."""

    def __init__(self, name: str, honest: str) -> None:
        self.name, self.honest = name, honest
        self.bends: dict[str, list[Bend]] = {}

    def inputs(self, member: str, seed: int) -> list[RingWords]:
        random = np.random.default_rng([seed if member == self.honest else 0, *member.encode()])
        return [random.integers(0, 2**64, N, dtype=np.uint64) for _ in range(3)]

    def hold(self, session: Session, seed: int) -> Rounds[Any]:
        c, (x, y, z) = CIRCLE, self.inputs(session.me, seed)
        mine = session.me == "p1"
        match self.name:
            case "multiply":
                return multiply(session, c, 64, x, y)
            case "multiply_known":
                return multiply_known(session, c, "p1", 64, x, y if mine else None)
            case "and_bits":
                return and_bits(session, c, x, [y, z])
            case "bit":
                return bit_to_arithmetic(session, c, 64, np.resize(x, 64).astype(np.uint8) & 1)
            case "negative":
                return negative(session, c, 64, x)
            case "equal_zero":
                return equal_zero(session, c, 64, x)
            case _:
                return permute(session, c, "p1", [64, 64], [x, y], np.argsort(z) if mine else None)

    def deal(self, session: Session) -> Rounds[None]:
        match self.name:
            case "multiply":
                return deal_multiply(session, CIRCLE, 64, N)
            case "multiply_known":
                return deal_multiply_known(session, CIRCLE, "p1", 64, N)
            case "and_bits":
                return deal_and_bits(session, CIRCLE, np.uint64, N, 2)
            case "bit":
                return deal_bit_to_arithmetic(session, CIRCLE, 64, 64)
            case "negative":
                return deal_negative(session, CIRCLE, 64, N)
            case "equal_zero":
                return deal_equal_zero(session, CIRCLE, 64, N)
            case _:
                return deal_permute(session, CIRCLE, "p1", [64, 64], N)

    def sessions(self) -> dict[str, Session]:
        s = sessions([*CIRCLE.holders, HELPER])
        for end, peer in ((HELPER, self.honest), (self.honest, HELPER)):
            s[end] = s[end].with_pairs({**s[end].pairs, peer: Bent(s[end].pairs[peer], self.bends)})
        return s

    def seen(self, seed: int) -> list[Sent]:
        """What the others receive from the honest holder and from the helper, in an order of its own."""
        s, trace = self.sessions(), Trace()
        holders = {h: self.hold(s[h], seed) for h in CIRCLE.holders}
        run({**holders, HELPER: self.deal(s[HELPER])}, trace)
        return [m for m in trace.sent if m.sender in (self.honest, HELPER) and m.receiver != self.honest]

    def mend(self, step: str, due: Any, got: Any) -> None:
        """Move the stream that masks the message at ``step`` so that it comes out as ``due``."""
        place, kind = step.rsplit("/block/", 1)[0].rsplit("/", 1)
        if isinstance(due, Positions):  # σ = π'^-1∘π: another π' makes of the new π the old σ
            assert isinstance(got, Positions)
            dealt = permutation(self.sessions()[HELPER].pairs[self.honest], f"{place}/order", N)
            order = dealt[got.positions]
            other = np.empty(N, np.int64)
            other[due.positions] = order
            rank = np.empty(N, np.uint64)
            rank[other] = np.arange(N, dtype=np.uint64)
            self.move(f"{place}/order", lambda _: rank)
            return
        assert isinstance(due, Words) and isinstance(got, Words)
        binary = self.name == "and_bits" or "/level/" in step
        lack = got.words ^ due.words if binary or place.endswith("bit") or kind == "b" else got.words - due.words
        if kind == "open" and binary:
            self.move_parts(place, ["a", "b0", "b1"], lack)
        elif kind == "c" and binary:
            self.move_parts(place, ["c0", "c1"], lack)
        elif kind == "open" and self.name == "multiply":
            self.move(f"{place}/a", plus(lack[:N]))
            self.move(f"{place}/b", plus(lack[N:]))
        elif kind == "open" and self.name == "multiply_known":
            self.move(f"{place}/{'a' if self.honest == 'p1' else 'b'}", plus(lack))
        elif kind == "open" and self.name in ("negative", "equal_zero") and not place.endswith("bit"):
            if self.honest == CIRCLE.last:
                self.move_mask(place, lack)
            else:
                self.move(f"{place}/mask", plus(due.words - got.words))
        elif kind == "mask":
            self.move_mask(place, lack)
        elif kind == "open":
            self.move(f"{place}/b", xor(lack))
        elif kind == "masked":
            self.move(f"{place}/a", plus(lack))
        elif kind == "delta":
            self.move(f"{place}/b", plus(got.words - due.words))
        else:  # a correction: what the parts of the others lack
            self.move(f"{place}/{kind}", plus(got.words - due.words))

    def move_parts(self, place: str, names: list[str], lack: RingWords) -> None:
        """XOR parts that were packed end to end: as many as the level of the tree has."""
        level = int(place.rsplit("/", 1)[1]) if "/level/" in place else None
        each = N * (8 if level is None else max(32 >> level, 8) // 8)
        raw = lack.view(np.uint8)
        for k in range(-(-len(raw) // each)):
            part = raw[k * each : (k + 1) * each]
            if len(part) == each:
                padded = np.concatenate((part, np.zeros(-len(part) % 8, np.uint8)))
                self.move(f"{place}/{names[k]}", xor(padded.view(np.uint64)))

    def move_mask(self, place: str, lack: RingWords) -> None:
        """c = x + r is to be smaller by ``lack``: r is, and so are its bits, which lie in the tree's order."""
        path, reordered = f"{place}/mask/bits", self.name == "negative"
        shares = [self.sessions()[HELPER].pairs[h].words(path, N) for h in CIRCLE.holders]
        bits = np.bitwise_xor.reduce(shares)
        r = reorder(bits) if reordered else bits
        moved = reorder(r - lack) if reordered else r - lack
        self.move(path, xor(bits ^ moved))

    def move(self, path: str, bend: Bend) -> None:
        self.bends.setdefault(path, []).append(bend)


NAMES = ["multiply", "multiply_known", "and_bits", "bit", "negative", "equal_zero", "permute"]


@pytest.mark.parametrize("honest", ["p0", "p1", "p2"])
@pytest.mark.parametrize("name", NAMES)
def test_any_other_input_leads_to_the_same_view_under_other_dealt_words(name: str, honest: str):
    operation = Operation(name, honest)
    due = operation.seen(1)
    for _ in range(3 * len(due)):
        got = operation.seen(2)
        assert [(m.sender, m.receiver, m.step) for m in got] == [(m.sender, m.receiver, m.step) for m in due]
        wrong = [(a, b) for a, b in zip(due, got, strict=True) if a.raw != b.raw]
        if not wrong:
            break
        # what the helper corrects follows from what the holders drew: last
        a, b = min(wrong, key=lambda pair: (pair[0].sender == HELPER, due.index(pair[0])))
        operation.mend(a.step, decode(a.raw), decode(b.raw))
    assert operation.bends, "the honest holder's words depend on its input"
    assert [m.raw for m in operation.seen(2)] == [m.raw for m in due]
