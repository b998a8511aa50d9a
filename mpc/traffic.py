"""What a join or a search says to whom: bytes and messages of every link, from the plan alone.

Inboxes take no more than this, ``explain`` shows it, and a test compares it with a traced run. ``bytes`` leaves out the
headers of messages.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from mpc.blocks import BLOCK_BYTES
from mpc.compared import Compared
from mpc.crypto.curve import POINT_BYTES
from mpc.joint_setup import Joint
from mpc.pair import Pair
from mpc.protocols.ciphertexts import CIPHERTEXT_BYTES
from mpc.protocols.ciphertexts import KEY_BYTES as PAILLIER_BYTES
from mpc.protocols.complement import Complement
from mpc.protocols.differences import Differences
from mpc.protocols.dominance import Dominance
from mpc.protocols.group_totals import Grouping
from mpc.protocols.parts import KEY_BYTES
from mpc.protocols.ranked import Search
from mpc.protocols.ranked_rows import RowSearch
from mpc.protocols.size import Size
from mpc.protocols.spine_order import MARKS
from mpc.protocols.tally import PART
from mpc.protocols.tally_terms import Tally
from mpc.sharing.circle import Circle
from mpc.sharing.compare import BATCH
from mpc.sharing.dealer import KEY_BYTES as KEY_OF_DEALER
from mpc.steps import batches


@dataclass(frozen=True)
class Traffic:
    """What one step says over one link."""

    step: str
    sender: str
    receiver: str
    bytes: int
    messages: int


def traffic(j: Joint) -> Iterator[Traffic]:
    """Everything that is said in a join, but for the reveal."""
    if j.parts > 1:
        for holder in j.circle.others(j.spine.party):
            yield _one("parts", j.spine.party, holder, KEY_BYTES)
    for _, piece in j.pieces:
        yield from _part(piece)
    if (d := j.dominance) is not None:
        yield from _dominance(d)
    if (compared := j.differences) is not None:
        yield from _differences(compared)
    if (r := j.rounding) is not None:
        for _, bits, those, i in r.comparisons():
            yield from _comparisons("rounding", r.circle, bits, len(those) * r.groups * (1 if i >= 0 else 2))
    if j.decides:
        yield from _release(j)
    if (c := j.complement) is not None:
        yield from _complement(c)
    if (s := j.search) is not None:
        yield from _row_search(s)


def _dominance(d: Dominance) -> Iterator[Traffic]:
    """Whether an entity carries more than its share: totals to the rows, comparisons, totals of what is over."""
    p = d.totals_at_rows
    width, columns = sum(p.columns) // 8, len(p.columns)
    for _ in range(d.parts):
        for holder in p.holders:
            yield _one("dominance", p.owner, p.helper, 4 * p.count)
            yield _one("dominance", holder, p.helper, width * p.count, columns)
            yield _one("dominance", p.helper, holder, width * p.rows, columns)
        for bits, numbers in d.widths.items():
            yield from _comparisons("dominance", d.circle, bits, len(numbers) * d.rows)
        yield from _grouped("dominance", d.found)


def _differences(d: Differences) -> Iterator[Traffic]:
    """Whether populations are too close: three comparisons, each of all columns or pairs."""
    for n in (len(d.differing), len(d.compared), len(d.pairs)):
        yield from _comparisons("differences", d.circle, 64, n * d.groups)


def _complement(c: Complement) -> Iterator[Traffic]:
    """Which lines of a table lack few entities, and their smallest cells."""
    judged, cells = sum(t.judged for t in c.tables), c.cells
    for n in (2 * c.sums, *c.levels, len(c.tables) * cells, *([c.alone * cells] if c.alone else ())):
        yield from _comparisons("complement", c.circle, 64, n)
    for n in (judged * cells, *c.levels, *c.levels):
        yield from _products("complement", c.circle, 64, n)


def _row_search(s: RowSearch) -> Iterator[Traffic]:
    """The search for values by their place among the rows of a join."""
    rows, groups, measures = len(s.places) * s.rows, len(s.places) * s.groups, len(s.measures) * s.groups
    for _ in range(s.halvings * s.parts):
        yield from _comparisons("search", s.circle, 64, rows)
        yield from _products("search", s.circle, 64, rows)
        yield from _grouped("search", s.grouping)
    for n in (measures, measures, *[groups] * s.halvings):
        yield from _comparisons("search", s.circle, 64, n)
        for sender in s.circle.holders:
            for receiver in s.circle.others(sender):
                yield from _column("search", sender, receiver, 8 * n, n)


def _part(j: Joint) -> Iterator[Traffic]:
    yield from _alignments(j)
    for batch in batches(j.pool.steps):
        n = len(batch.steps) * j.rows
        if batch.kind in ("negative", "zero"):
            yield from _comparisons("comparisons", j.circle, batch.bits, n)
        elif batch.kind == "known":
            for i in j.circle.others(j.spine.party):
                yield from _column("products", j.spine.party, i, n * batch.bits // 8, n)
                yield from _column("products", i, j.spine.party, n * batch.bits // 8, n)
            yield from _column("products", j.helper, j.circle.last, n * batch.bits // 8, n)
        else:
            yield from _products("products", j.circle, batch.bits, n)
    if not j.pool.by_row:
        yield from _grouped("totals", j.groups.grouping)


def search_traffic(s: Search) -> Iterator[Traffic]:
    """Everything that is said in a search for values by their place."""
    if s.alone:
        return
    measures, places = s.cells * len(s.measures), s.cells * len(s.places)
    for n in (measures, measures, *[places] * s.halvings):
        yield from _comparisons("search", s.circle, 64, n)
        for sender in s.circle.holders:
            for receiver in s.circle.others(sender):
                yield from _column("search", sender, receiver, 8 * n, n)


def pair_traffic(j: Pair) -> Iterator[Traffic]:
    """Everything that is said in a join without a helper, but for the reveal, if as many keys met as can."""
    spine, other, most = j.spine.party, j.other.party, min(j.spine.rows, j.other.rows)
    if j.pool.asks:
        yield from _size(j.size)
        return
    points = POINT_BYTES * (j.spine.rows + j.other.rows)
    for sender, receiver in ((spine, other), (other, spine)):
        yield _one("blind", sender, receiver, points, 2)
    if j.compared is not None:
        yield from _compared(j.compared, most)
    if j.pool.by_row:
        for told in j.told:
            yield _one("told", other, spine, told.bits // 8 * most)
        if (s := j.scoring) is not None:
            yield _one("scores", spine, other, PAILLIER_BYTES + CIPHERTEXT_BYTES * most * len(s.weights), 2)
            yield _one("scores", other, spine, CIPHERTEXT_BYTES * s.ciphertexts(most))
        return
    t = j.tally
    said = PAILLIER_BYTES + CIPHERTEXT_BYTES * (t.rows_said(most) + _small(t))
    yield _one("tally", other, spine, said, 3 + most // PART)
    masked = t.totals_said + t.groups * len(t.shown)
    counts = 8 * t.groups * len(t.entities)
    yield _one("tally", spine, other, CIPHERTEXT_BYTES * masked + counts, 2 + len(t.entities))


def _compared(c: Compared, keys: int) -> Iterator[Traffic]:
    """Words computed on shares: what the two deal each other, and what they open."""
    first, last = c.holders
    yield _one("compared", last, first, KEY_OF_DEALER)
    for batch, cost in c.costs(keys):
        for sender, receiver, size in ((last, first, cost.asked), (first, last, cost.answered)):
            yield Traffic("compared", sender, receiver, size, cost.messages + size // BLOCK_BYTES + _batches(keys))
        n = len(batch.steps) * keys
        opened = 40 * n * batch.bits // 64 if batch.kind in ("negative", "zero") else 2 * n * batch.bits // 8
        for sender, receiver in ((first, last), (last, first)):
            yield Traffic("compared", sender, receiver, opened + 128, _messages(opened, n))


def _size(s: Size) -> Iterator[Traffic]:
    """The number of keys that met, and whether it is small: twice, once heard by each."""
    for step, b in (("count", s.counted), *(("small", s.tested_by(i)) for i in s.sides if s.window)):
        (asks, answers), (one, other) = b.sides, b.rows
        yield _one(step, asks, answers, POINT_BYTES * one)
        yield _one(step, answers, asks, POINT_BYTES * (other + one), 2)


def _small(t: Tally) -> int:
    """Ciphertexts that bring small cells back into the order of the groups."""
    return t.groups * t.returned


def _alignments(j: Joint) -> Iterator[Traffic]:
    for a in j.aligns:
        width = sum(bits // 8 for bits in a.rings)
        columns = len(a.rings)
        yield _one("align", a.spine, a.helper, 16 * a.spine_rows)
        yield _one("align", a.other, a.helper, 20 * a.other_rows, 2)
        yield _one("align", a.helper, a.spine, 4 * a.spine_rows)
        yield _one("align", a.other, a.helper, width * a.places, columns)
        yield _one("align", a.helper, a.other, width * a.spine_rows, columns)


def _grouped(step: str, g: Grouping) -> Iterator[Traffic]:
    width, ends = sum(bits // 8 for bits in g.columns), MARKS * g.groups
    for holder in g.holders:
        yield _one(step, g.spine, g.helper, 4 * ends)
        yield _one(step, holder, g.helper, width * g.rows, len(g.columns))
        yield _one(step, g.helper, holder, width * ends, len(g.columns))


def _release(j: Joint) -> Iterator[Traffic]:
    g, n = j.groups, j.pool.groups
    compared = n * sum(len(r.entities) for r in g.releases)
    yield from _comparisons("release", g.circle, 64, compared)
    yield from _products("release", g.circle, 64, compared, 8)
    for bits in (64, 128):
        if asked := n * len(g.let_out(bits)):
            yield from _products("release", g.circle, bits, asked)
            for sender in g.circle.holders:
                for receiver in g.circle.others(sender):
                    yield Traffic("release", sender, receiver, asked // 8 + 64, 2)
            yield Traffic("release", g.circle.helper, g.circle.last, 16 * asked + 64, 2 * _batches(asked))


def _comparisons(step: str, circle: Circle, bits: int, n: int) -> Iterator[Traffic]:
    """``n`` comparisons (compare.py): c, the tree, the bit; words of a level are rounded up to whole ones."""
    wide = bits // 64
    for sender in circle.holders:
        for receiver in circle.others(sender):
            yield Traffic(step, sender, receiver, 40 * wide * n + 128, _messages(40 * wide * n, n))
    yield Traffic(step, circle.helper, circle.last, 38 * wide * n + 128, _messages(38 * wide * n, n))


def _messages(size: int, n: int) -> int:
    return 2 * (size // BLOCK_BYTES) + 20 * _batches(n)


def _products(step: str, circle: Circle, bits: int, n: int, calls: int = 1) -> Iterator[Traffic]:
    """``n`` products of shared columns in ``calls`` calls (opening.py, multiply.py)."""
    for sender in circle.holders:
        for receiver in circle.others(sender):
            yield from _column(step, sender, receiver, 2 * n * bits // 8, n, calls)
    yield from _column(step, circle.helper, circle.last, n * bits // 8, n, calls)


def _column(step: str, sender: str, receiver: str, size: int, n: int, calls: int = 1) -> Iterator[Traffic]:
    if n:
        yield Traffic(step, sender, receiver, size, 2 * (size // BLOCK_BYTES + calls + _batches(n)))


def _one(step: str, sender: str, receiver: str, size: int, columns: int = 1) -> Traffic:
    return Traffic(step, sender, receiver, size, size // BLOCK_BYTES + columns)


def _batches(n: int) -> int:
    return -(-n // BATCH)
