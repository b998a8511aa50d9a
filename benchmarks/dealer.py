"""``python -m benchmarks.dealer``: products and comparisons of two holders, dealt between themselves or by a helper.

All roles in one process on one core, dealing and use together; every result is checked. ``cpu`` is processor time, more
telling than the clock on a shared machine. No byte crosses a network.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.sharing import sessions
from mpc.messages import RingWords
from mpc.rounds import Rounds, Session
from mpc.run import Trace, run
from mpc.sharing.circle import Circle
from mpc.sharing.compare import deal_negative, negative
from mpc.sharing.dealer import between, circle_of_two
from mpc.sharing.multiply import deal_multiply, multiply

HOLDERS = ("a", "b")
HELPED = Circle(HOLDERS, "helper")
Row = dict[str, Any]
Play = Callable[[Session, Circle], Rounds[RingWords]]
Deal = Callable[[Session, Circle], Rounds[None]]


def dealt(n: int = 1 << 14) -> list[Row]:
    """A row for each operation and dealer."""
    x = np.random.default_rng(1).integers(-(1 << 31), 1 << 31, n).view(np.uint64)
    share = np.random.default_rng(2).integers(0, 2**64, n, dtype=np.uint64)
    shares = dict(zip(HOLDERS, (share, x - share), strict=True))
    operations: dict[str, tuple[Play, Deal, RingWords]] = {
        "multiply": (
            lambda s, c: multiply(s, c, 64, shares[s.me], shares[s.me]),
            lambda s, c: deal_multiply(s, c, 64, n),
            x * x,
        ),
        "negative": (
            lambda s, c: negative(s, c, 64, shares[s.me]),
            lambda s, c: deal_negative(s, c, 64, n),
            x >> np.uint64(63),
        ),
    }
    rows = []
    for name, (play, deal, expected) in operations.items():
        s = sessions([*HOLDERS, HELPED.helper], 0)
        helped = {h: play(s[h], HELPED) for h in HOLDERS} | {HELPED.helper: deal(s[HELPED.helper], HELPED)}
        rows.append({"operation": name, "dealer": "helper", **_measure(helped, expected)})
        s = sessions(HOLDERS, 0)
        alone = {h: _alone(s[h], play, deal) for h in HOLDERS}
        rows.append({"operation": name, "dealer": "the two", **_measure(alone, expected)})
    return rows


def _alone(session: Session, play: Play, deal: Deal) -> Rounds[RingWords]:
    circle = yield from circle_of_two(session, HOLDERS)
    return (yield from between(session, lambda s: deal(s, circle), lambda s: play(s, circle)))


def _measure(roles: dict[str, Rounds[Any]], expected: RingWords) -> Row:
    trace, n = Trace(), len(expected)
    began, used = time.perf_counter(), time.process_time()
    results = run(roles, trace)
    cpu, clock = time.process_time() - used, time.perf_counter() - began
    assert np.array_equal(results["a"] + results["b"], expected), "a result came out wrong"
    size = sum(len(s.raw) for s in trace.sent)
    return {"elements": n, "clock": clock, "cpu": cpu, "per_second": n / cpu, "bytes_an_element": size / n}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--elements", type=int, default=1 << 14)
    print(f"{'operation':<12}{'dealt by':<10}{'elements':>10}{'clock s':>10}{'cpu s':>10}{'a second':>12}{'bytes':>10}")
    for r in dealt(parser.parse_args().elements):
        print(
            f"{r['operation']:<12}{r['dealer']:<10}{r['elements']:>10,}{r['clock']:>10.2f}{r['cpu']:>10.2f}"
            f"{r['per_second']:>12,.0f}{r['bytes_an_element']:>10,.0f}"
        )


if __name__ == "__main__":
    main()
