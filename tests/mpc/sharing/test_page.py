"""The page of the share engine states rounds and bytes; a traced run moves exactly these."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from mpc.codec import decode
from mpc.messages import Words
from mpc.run import Sent, Trace
from tests.mpc.sharing.test_engine import HELPER, N, circle, operations, play, words_in

PAGES = Path(__file__).parents[3] / "docs" / "protocols"
PAGE = (PAGES / "share-engine.md").read_text(encoding="utf-8")
PERMUTE = (PAGES / "permute.md").read_text(encoding="utf-8")


def number(cell: str, w: int) -> float:
    """``2 w``, ``8 + 29 + 1/8`` and the like."""
    total = 0.0
    for term in cell.split(",")[0].strip().replace("w", f"* {w}").split("+"):
        over = term.split("/")
        factors = [float(f) for f in over[0].split("*") if f.strip()]
        product = 1.0
        for f in factors:
            product *= f
        total += product / (float(over[1]) if len(over) > 1 else 1)
    return total


def documented(name: str, bits: int) -> tuple[int, float, float]:
    for row in re.findall(r"^\| (`.*) \|$", PAGE, re.MULTILINE):
        cells = [c.strip() for c in row.split(" | ")]
        width = re.search(r"w = (\d+)", cells[0])
        if len(cells) == 4 and f"`{name}`" in cells[0] and (width is None or int(width[1]) == bits // 8):
            return int(cells[1]), number(cells[2], bits // 8), number(cells[3], bits // 8)
    raise AssertionError(f"the page has no costs of {name} at {bits} bits")


@pytest.mark.parametrize("bits", [64, 128])
@pytest.mark.parametrize(
    "name", ["multiply", "multiply_known", "select", "negative", "equal_zero", "bit_to_arithmetic"]
)
def test_costs(name: str, bits: int):
    rounds, said, dealt = documented(name, bits)
    c = circle(3)
    holder, deal, cost = operations(c, bits, list(range(-20, 20)))[name.replace("bit_to_arithmetic", "bit")]
    assert cost == said
    trace = Trace()
    play(c, holder, deal, trace)
    between = [s for s in trace.sent if (s.sender, s.receiver) == ("p0", "p1")]
    assert len({s.step for s in trace.sent if s.sender != HELPER}) == rounds
    assert said * N <= words_in(between) <= said * N + 8 * rounds
    from_helper = trace.said_by(HELPER)
    assert dealt * N <= words_in(from_helper) <= dealt * N + 8 * len(from_helper)


@pytest.mark.parametrize("bits", [64, 128])
def test_costs_of_permute(bits: int):
    """Its page has a line for each pair of roles."""
    lines = dict(re.findall(r"^\| (.*→.*) \| (.*) \|$", PERMUTE, re.MULTILINE))
    places, column, dealt = (
        float(lines[pair].split(",")[0].split()[0].replace("w", str(bits // 8)))
        for pair in ("owner → each other holder", "each other holder → owner", "helper → owner")
    )
    c = circle(3)
    holder, deal, _ = operations(c, bits, list(range(-20, 20)))["permute"]
    trace = Trace()
    play(c, holder, deal, trace)
    moved = {
        pair: sum(payload(s) for s in trace.sent if (s.sender, s.receiver) == pair)
        for pair in {(s.sender, s.receiver) for s in trace.sent}
    }
    assert moved == {
        ("p1", "p0"): places * N,
        ("p1", "p2"): places * N,
        ("p0", "p1"): column * N,
        ("p2", "p1"): column * N,
        (HELPER, "p1"): dealt * N,
    }
    assert max(trace.depth[h] for h in c.holders) == 2 and "Two rounds" in PERMUTE


def payload(s: Sent) -> int:
    message = decode(s.raw)
    return message.words.nbytes if isinstance(message, Words) else message.positions.nbytes
