"""The protocols' pages state costs; a traced run moves exactly these bytes between exactly these roles."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import numpy as np

from mpc.codec import decode
from mpc.ids import INTEGER, lay_out, width
from mpc.messages import Words
from mpc.protocols import align, group_totals, place
from mpc.protocols.align import Align
from mpc.protocols.group_totals import Grouping
from mpc.protocols.pick import Pick
from mpc.protocols.spine_order import group_order, places
from mpc.ring import ring
from mpc.run import Sent, Trace, run
from tests.mpc.columns import integers
from tests.mpc.joining import Brought, sessions

PAGES = Path(__file__).parents[3] / "docs" / "protocols"
SEAT = {"a": "A", "b": "B", "helper": "H"}
KEYS = [3, 1, 1, None, 7]


def payload(s: Sent) -> int:
    message = decode(s.raw)
    return message.words.nbytes if isinstance(message, Words) else message.positions.nbytes


def value(formula: str, widths: list[int], **sizes: int) -> int:
    """A formula of a page: ``20 N_A + Σ w (N_A + N_B)`` and the like."""
    written = re.sub(r"(\d) (?=[A-Z(])", r"\1 * ", formula.replace("Σ w", str(sum(widths))))
    return int(eval(written, {"__builtins__": {}}, sizes))  # the page's own words, nobody's input


def test_hidden_join():
    page = (PAGES / "hidden-join.md").read_text()
    lines = re.findall(r"^\| ([AHB]) → ([AHB]) .*? \| ([^|]+) \|$", page, re.MULTILINE)
    (whole,) = re.findall(r"^\| \*\*all\*\* \| \*\*([^|]+)\*\* \|$", page, re.MULTILINE)
    s = sessions(["a", "b", "helper"])
    plan = Align("align", "a", "b", "helper", 7, 4, width([INTEGER]), (64, 128))
    trace = Trace()
    columns = (ring(64).from_ints([5, 6]), ring(128).from_ints([7, 8]))
    brought = Brought(lay_out([INTEGER], [integers([1, 2])]), np.array([True, True]), columns)
    run(
        {
            "a": align.spine(s["a"], [plan], lay_out([INTEGER], [integers(KEYS)])),
            "b": align.other(s["b"], [plan], [brought]),
            "helper": align.helper(s["helper"], [plan]),
        },
        trace,
    )
    moved = Counter()
    for sent in trace.sent:
        moved[SEAT[sent.sender], SEAT[sent.receiver]] += payload(sent)
    said = Counter()
    for sender, receiver, formula in lines:
        said[sender, receiver] += value(formula, [8, 8, 16], N_A=7, N_B=4)
    assert moved == said
    assert value(whole, [8, 8, 16], N_A=7, N_B=4) == moved.total() == plan.bytes()


def test_group_totals():
    (formula,) = re.findall(r"\*\*(Σ w [^*]+)\*\*", (PAGES / "groups.md").read_text())
    s = sessions(["a", "b", "c", "helper"])
    n = places(len(KEYS), 4)
    plan = Grouping("group", "a", ("b", "c"), "helper", n, 4, (64, 128))
    order = group_order(s["a"], lay_out([INTEGER], [integers(KEYS)]), np.array([0, 1, 1, -1, 3]), 4)
    shares = [np.zeros(n, np.uint64), np.zeros((n, 2), np.uint64)]
    trace = Trace()
    run(
        {
            "a": group_totals.spine_totals(s["a"], plan, order, shares),
            "helper": group_totals.helper_totals(s["helper"], plan),
            **{x: group_totals.holder_totals(s[x], plan, shares) for x in "bc"},
        },
        trace,
    )
    assert sum(map(payload, trace.sent)) == 2 * (8 * 4 + value(formula, [8, 16], N=n, G=4))
    assert {(m.sender, m.receiver) for m in trace.sent} == {("a", "helper")} | {
        pair for x in "bc" for pair in ((x, "helper"), ("helper", x))
    }


def test_placing():
    (formula,) = re.findall(r"\*\*Σ v ([^*]+)\*\*", (PAGES / "groups.md").read_text())
    s = sessions(["a", "b", "c", "helper"])
    plan = Pick("totals", "a", ("b", "c"), "helper", 9, 4, (64, 128))
    shares = [np.zeros(4, np.uint64), np.zeros((4, 2), np.uint64)]
    trace = Trace()
    run(
        {
            "a": place.owner(s["a"], plan, np.array([0, 3, 5, 8]), shares),
            "helper": place.helper(s["helper"], plan),
            **{x: place.holder(s[x], plan, shares) for x in "bc"},
        },
        trace,
    )
    assert sum(map(payload, trace.sent)) == 2 * (4 * 4 + value(f"Σ w {formula}", [8, 16], N=9, G=4))
