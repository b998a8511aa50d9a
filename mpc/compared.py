"""Words of a join that compare columns of its two parties, computed on shares of the keys that met, without a helper.

    spine: its columns                     other side: its columns, 0 where its own condition fails, and its flag
      both know which keys met, in one order: blind.py
      the one whose name comes last makes a key        ─────────▶        sharing/dealer.py
      for every product and comparison of every key: words they deal each other, then the steps of any join   steps.py
      = a share of each word at either side, by key

A column that one side knows is shared as it is: that side's share is the column, the other's 0.

Trust level: parties. Adversary: semi-honest, ring learning with errors. Leakage: nobody learns anything; shares of a
word are uniform but for their sum. Rounds and bytes: docs/protocols/dealer.md, for as many keys as met.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from mpc import steps
from mpc.messages import RingWords
from mpc.query.plan_joins import Step, TallyPool
from mpc.ring import ring
from mpc.rounds import Rounds, Session
from mpc.sharing.compare import tree
from mpc.sharing.dealer import Cost, between, circle_of_two, cost_of_ands, cost_of_own_ands, cost_of_sum
from mpc.steps import Batch, Steps, batches, needed


@dataclass(frozen=True)
class Compared:
    """``steps``: what the words ``wanted`` are made of."""

    spine: str
    other: str
    steps: tuple[Step, ...]
    wanted: tuple[int, ...]

    @staticmethod
    def of(pool: TallyPool) -> Compared:
        made, wanted = needed(pool.steps, pool.compared)
        return Compared(pool.sides[0].party, pool.sides[1].party, made, tuple(wanted))

    @property
    def holders(self) -> tuple[str, str]:
        first, last = sorted((self.spine, self.other))
        return first, last

    def costs(self, keys: int) -> Iterator[tuple[Batch, Cost]]:
        """What is dealt for so many shared keys."""
        for batch in batches(self.steps):
            yield batch, _cost(batch, len(batch.steps) * keys)

    @property
    def rounds(self) -> int:
        """Latencies, as long as a ciphertext holds the elements of a step."""
        return 1 + sum(_ROUNDS[batch.kind] for batch in batches(self.steps))


#: dealing (two for each operation), computing
_ROUNDS = {"known": 3, "shared": 3, "negative": 2 * 7 + 2 + 7, "zero": 2 * 7 + 7}


def play(session: Session, c: Compared, keys: int, columns: Mapping[int, RingWords]) -> Rounds[list[RingWords]]:
    """Either party's role: its share of each word wanted, of each shared key. ``columns``: its own by number (-1: its
    flag), (keys,) or (keys, 2) each."""
    here = session.at("compared")
    if not keys:
        return [ring(c.steps[w].bits).zeros(0) for w in c.wanted]
    side = 0 if session.me == c.spine else 1
    inputs = {(side, number): x for number, x in columns.items()}
    circle = yield from circle_of_two(here, c.holders)
    s = Steps(circle, c.spine, keys, c.steps)
    return (yield from between(here, lambda at: steps.deal(at, s), lambda at: steps.compute(at, s, inputs, c.wanted)))


def _cost(batch: Batch, n: int) -> Cost:
    bits = batch.bits
    if batch.kind in ("known", "shared"):
        return cost_of_sum(2 * bits, 1 if batch.kind == "known" else 2, n)
    total = cost_of_sum(1 + bits, 1, n)  # from a bit to arithmetic shares
    if batch.kind == "negative":
        total += cost_of_own_ands(n * bits)
    for _, kind, words, count in tree(bits, n, borrow=batch.kind == "negative"):
        total += cost_of_ands(words * 8 * kind(0).itemsize, count)
    return total
