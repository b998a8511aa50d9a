"""``python -m benchmarks.sharing``: the share engine, three holders and the helper in one process on one core.

Every result is checked against numpy on the plain values. Roles share the core and no byte crosses a network, so this
is the work of all four together; what a network adds is the rounds and bytes of docs/protocols/share-engine.md.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import statistics
import time
from collections.abc import Callable, Sequence
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mpc.coins import Coins
from mpc.messages import RingWords
from mpc.ring import ring
from mpc.rounds import Rounds, Session
from mpc.run import Trace, run
from mpc.sharing.circle import Circle
from mpc.sharing.compare import deal_equal_zero, deal_negative, equal_zero, negative
from mpc.sharing.multiply import deal_multiply, multiply
from mpc.sharing.permute import deal_permute, permute

CIRCLE = Circle(("a", "b", "c"), "helper")
Hold = Callable[[Session, int], Rounds[Any]]
Deal = Callable[[Session], Rounds[None]]


def engine(n: int, repeats: int) -> list[dict[str, Any]]:
    """A row for each operation and ring: seconds, elements a second, bytes an element of all messages together."""
    return [
        _measure(name, bits, n, repeats, *operation)
        for bits in (64, 128)
        for name, operation in _operations(bits, n).items()
    ]


def _operations(bits: int, n: int) -> dict[str, tuple[Hold, Deal, RingWords]]:
    """name -> a holder's role, the helper's, and what should come out."""
    x, shares = _shared(bits, n)
    order = np.random.default_rng(2).permutation(n)

    def hold_permute(s: Session, i: int) -> Rounds[RingWords]:
        mine = order if s.me == "a" else None
        return (yield from permute(s, CIRCLE, "a", [bits], [shares[i]], mine))[0]

    return {
        "multiply": (
            lambda s, i: multiply(s, CIRCLE, bits, shares[i], shares[i]),
            lambda s: deal_multiply(s, CIRCLE, bits, n),
            ring(bits).multiply(x, x),
        ),
        "negative": (
            lambda s, i: negative(s, CIRCLE, bits, shares[i]),
            lambda s: deal_negative(s, CIRCLE, bits, n),
            _bits(bits, ring(bits).negative(x)),
        ),
        "equal_zero": (
            lambda s, i: equal_zero(s, CIRCLE, bits, shares[i]),
            lambda s: deal_equal_zero(s, CIRCLE, bits, n),
            _bits(bits, (x.reshape(n, -1) == 0).all(axis=1)),
        ),
        "permute": (hold_permute, lambda s: deal_permute(s, CIRCLE, "a", [bits], n), x[order]),
    }


def _measure(name: str, bits: int, n: int, repeats: int, hold: Hold, deal: Deal, expected: RingWords) -> dict[str, Any]:
    seconds, moved = [], 0
    for turn in range(repeats + 1):  # the first one warms up memory
        s = sessions([*CIRCLE.holders, CIRCLE.helper], turn)
        trace = _Bytes()
        began = time.perf_counter()
        roles = {h: hold(s[h], i) for i, h in enumerate(CIRCLE.holders)}
        results = run({**roles, CIRCLE.helper: deal(s[CIRCLE.helper])}, trace)
        if turn:
            seconds.append(time.perf_counter() - began)
        moved = trace.sent.size
        total = ring(bits).zeros(n)
        for h in CIRCLE.holders:
            ring(bits).add_into(total, results[h])
        assert np.array_equal(total, expected), f"{name} at {bits} bits came out wrong"
    median = statistics.median(seconds)
    return {
        "operation": name,
        "bits": bits,
        "elements": n,
        "seconds": median,
        "per_second": n / median,
        "bytes_an_element": moved / n,
    }


class _Count(list[Any]):
    """Counts the bytes of messages instead of keeping them."""

    size = 0

    def append(self, sent: Any) -> None:
        self.size += len(sent.raw)


class _Bytes(Trace):
    def __init__(self) -> None:
        super().__init__()
        self.sent: _Count = _Count()


def _shared(bits: int, n: int) -> tuple[RingWords, list[RingWords]]:
    """Small values of both signs and zeros, and three shares of each."""
    random = np.random.default_rng(1)
    low = random.integers(-(10**6), 10**6, n)
    low[:: max(n // 10, 1)] = 0
    x = low.view(np.uint64) if bits == 64 else np.stack((low, low >> 63), axis=1).view(np.uint64)
    shares = [random.integers(0, 2**64, x.shape, dtype=np.uint64) for _ in range(2)]
    last = x.copy()
    for share in shares:
        ring(bits).subtract_into(last, share)
    return x, [*shares, last]


def _bits(bits: int, where: NDArray[np.bool_]) -> RingWords:
    out = ring(bits).zeros(len(where))
    out.reshape(len(where), -1)[:, 0] = where
    return out


def sessions(names: Sequence[str], seed: int) -> dict[str, Session]:
    def coins(*words: str) -> Coins:
        return Coins(hashlib.sha256("/".join((str(seed), *words)).encode()).digest())

    pairs: dict[str, dict[str, Coins]] = {name: {} for name in names}
    for i, j in combinations(sorted(names), 2):
        pairs[i][j], pairs[j][i] = coins(i, j), coins(i, j)
    return {name: Session(name, coins("own", name), pairs[name], "job") for name in names}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--elements", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    rows = engine(asked.elements, asked.repeats)
    if asked.json:
        print(json.dumps(rows, indent=2))
        return
    print(f"{asked.elements:,} elements, three holders and the helper on one core")
    for row in rows:
        print(
            f"{row['operation']:<12}{row['bits']:>4} bits {row['seconds']:>8.3f} s"
            f" {row['per_second'] / 1e6:>7.2f} million/s {row['bytes_an_element']:>7.1f} bytes an element"
        )


if __name__ == "__main__":
    main()
