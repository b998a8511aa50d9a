"""A join of two parties without a helper, from its sides to the words that are let out (P9).

    spine                                          other side
      blind: both learn which of their own keys the other has, in one order            protocols/blind.py
      what compares columns of both, key by key on shares: two halves of a column      compared.py
      totals by group, small cells hidden, on ciphertexts of the other side            protocols/tally.py
      = each party's words of the pool, added up by P3 like those of any other pool    protocols/total.py

Between the two, each side may look at which of its rows met and name cells that it does not let out (``Hide``): there
it knows who is behind its part of the totals, as far as its own conditions say.

Where the result is a row for each of the spine's, the spine is the recipient and the keys that met are the result:
both leave out the rows that fail their own conditions before they blind, and the other side says its part of each word
of the keys that met, masked by the pair's stream. Where the recipient's own columns decide what of the other's counts
(weights of a score), that part is computed under the recipient's key instead (protocols/scoring.py). Where nothing but
the number of keys that met is asked, neither learns which (protocols/size.py). All tables are padded to their published
rows: no size tells more.

A word that compares columns of both is computed on shares of the keys that met; the other side's share is then a column
of the other side like any other, and the spine adds its own.

Read ``play`` next to mpc/joint.py, which does the same with a helper.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from mpc import compared
from mpc.blocks import hear_words, say_words
from mpc.compared import Compared
from mpc.crypto.spread import Spread
from mpc.crypto.subgroup import key_from_seed
from mpc.crypto.tags import tags
from mpc.ids import Bytes, Flags
from mpc.joint_sides import SideRows, first_marks
from mpc.joint_words import by_slice, in_cells
from mpc.messages import RingWords
from mpc.protocols import scoring, size, tally
from mpc.protocols.blind import Blind, meet
from mpc.protocols.match import match
from mpc.protocols.scoring import Scoring
from mpc.protocols.size import Half, Size
from mpc.protocols.tally import GroupRows
from mpc.protocols.tally_terms import Form, Release, Tally
from mpc.query.bilinear import Met, met, shown_by_themselves
from mpc.query.plan_joins import Side, TallyPool
from mpc.query.plan_pools import Ring
from mpc.ring import ring
from mpc.rounds import Rounds, Session

Indices = NDArray[np.int64]
#: from the keys of a side that met, (n, width), to what its party does not let out then: (measures, cells)
Hide = Callable[[Bytes], Flags]


@dataclass(frozen=True)
class Pair:
    """One such join of an attempt. ``least``: the strictest of the owners' min_entities."""

    pool: TallyPool
    least: int

    @property
    def name(self) -> str:
        return f"{self.pool.name}/pair"

    @property
    def spine(self) -> Side:
        return self.pool.sides[0]

    @property
    def other(self) -> Side:
        return self.pool.sides[1]

    @property
    def blind(self) -> Blind:
        return Blind("blind", (self.spine.party, self.other.party), (self.spine.rows, self.other.rows))

    @cached_property
    def steps(self) -> Mapping[int, Met]:
        """What is let out, step by step; what is computed on shares is a column of the other side, behind its own."""
        used = (s for r in self.pool.released for s in (*r.words, *r.entities))
        shared = {s: len(self.other.columns) + i for i, s in enumerate(self.pool.compared)}
        return {s: {(None, shared[s]): 1} if s in shared else met(self.pool, s) for s in dict.fromkeys(used)}

    @cached_property
    def compared(self) -> Compared | None:
        """What is computed on shares; None where nothing is."""
        return Compared.of(self.pool) if self.pool.compared else None

    @cached_property
    def columns(self) -> tuple[int, ...]:
        """The other side's columns that are needed, -1 its flag."""
        return tuple(sorted({-1} | {b for p in self.steps.values() for _, b in p}))

    @cached_property
    def weights(self) -> tuple[int, ...]:
        """The spine's columns that are needed."""
        return tuple(sorted({a for p in self.steps.values() for a, _ in p if a is not None}))

    def bits(self, column: int) -> Ring:
        """Of a column of the other side."""
        own = len(self.other.columns)
        if column >= own:
            return self.pool.steps[self.pool.compared[column - own]].bits
        return 64 if column < 0 or self.other.columns[column].bits == 64 else 128

    @cached_property
    def size(self) -> Size:
        """How the number of keys that met is found, where ``pool.asks``."""
        asks, answers = self.pool.sides if self.pool.asks == self.spine.party else self.pool.sides[::-1]
        hides = frozenset(self.pool.hides)
        sides, rows = (asks.party, answers.party), (asks.rows, answers.rows)
        return Size("size", sides, rows, self.least, hides, size.EXTRA)

    @cached_property
    def tally(self) -> Tally:
        """The totals by group. Marks are 0 or 1."""
        atoms = sorted(
            {pair for p in self.steps.values() for pair in p}, key=lambda p: tuple(-2 if x is None else x for x in p)
        )
        at = {pair: i for i, pair in enumerate(atoms)}
        spine = self.spine.columns

        def form(step: int, bits: int) -> Form:
            return Form(bits, tuple((c, at[pair]) for pair, c in self.steps[step].items()))

        return Tally(
            "totals",
            self.spine.party,
            self.other.party,
            self.pool.groups,
            self.spine.rows,
            min(self.spine.rows, self.other.rows),
            tuple(0 if spine[a].how == "mark" else spine[a].bits - 1 for a in self.weights),
            len(self.columns),
            max(self.bits(c) for c in self.columns),
            tuple((None if a is None else self.weights.index(a), self.columns.index(b)) for a, b in atoms),
            tuple(
                Release(
                    tuple(form(s, self.pool.steps[s].bits) for s in r.words), tuple(form(s, 64) for s in r.entities)
                )
                for r in self.pool.released
            ),
            self.least,
        )

    @cached_property
    def told(self) -> tuple[Told, ...]:
        """Of a result by row what the other side says of each key that met: columns that are shown by themselves, and
        of other words its part. That a key met needs no word."""
        columns = [Told(self.bits(c), ((1, c),)) for c in sorted(self._shown)]
        hidden = [s for s, p in self.steps.items() if any(self._hides(b) for _, b in p) and s not in self.scored]
        return (*columns, *dict.fromkeys(self._told_part(s) for s in hidden))

    @cached_property
    def _shown(self) -> frozenset[int]:
        return shown_by_themselves(self.steps.values())

    def _hides(self, column: int) -> bool:
        return column >= 0 and column not in self._shown

    @cached_property
    def scored(self) -> tuple[int, ...]:
        """Of a result by row the steps in which columns of the spine are multiplied by what the other side hides."""
        products = ((s, p) for s, p in self.steps.items() if any(a is not None and self._hides(b) for a, b in p))
        return tuple(s for s, _ in products) if self.pool.by_row else ()

    @cached_property
    def scoring(self) -> Scoring | None:
        """How these are computed, word by word in the order of ``scored``; None where there are none."""
        if not self.scored:
            return None
        hidden = [tuple((c, a, b) for (a, b), c in self.steps[s].items() if self._hides(b)) for s in self.scored]
        a_side, b_side = self.weighing, self.features
        return Scoring(
            "scores",
            self.spine.party,
            self.other.party,
            tuple(self.spine.columns[a].bits - 1 for a in a_side),
            tuple(self.other.columns[b].bits - 1 for b in b_side),
            tuple(
                tuple((c, None if a is None else a_side.index(a), b_side.index(b)) for c, a, b in word)
                for word in hidden
            ),
        )

    @cached_property
    def weighing(self) -> tuple[int, ...]:
        """The spine's columns in ``scoring``."""
        return tuple(sorted({a for a, _ in self._in_scores() if a is not None}))

    @cached_property
    def features(self) -> tuple[int, ...]:
        """The other side's columns in ``scoring``."""
        return tuple(sorted({b for _, b in self._in_scores()}))

    def _in_scores(self) -> Iterator[tuple[int | None, int]]:
        return (pair for s in self.scored for pair in self.steps[s] if self._hides(pair[1]))

    def _told_part(self, step: int) -> Told:
        own = tuple((c, b) for (_, b), c in self.steps[step].items() if b >= 0)
        return Told(self.pool.steps[step].bits, own)

    def part(self, step: int) -> tuple[tuple[int, int | None, int], ...]:
        """A word as Σ coefficient · column of the spine · what is told (-1: 1 where a key met)."""
        p, at = self.steps[step], {t: i for i, t in enumerate(self.told)}
        own = tuple((c, a, -1) for (a, b), c in p.items() if b < 0)
        if step in self.scored:
            p = {(a, b): c for (a, b), c in p.items() if not self._hides(b)}
            return (*own, *((c, a, at[Told(self.bits(b), ((1, b),))]) for (a, b), c in p.items() if b >= 0))
        if self._told_part(step) in at and all(a is None for a, b in p if b >= 0):
            return (*own, (1, None, at[self._told_part(step)]))
        return (*own, *((c, a, at[Told(self.bits(b), ((1, b),))]) for (a, b), c in p.items() if b >= 0))


@dataclass(frozen=True)
class Told:
    """Σ coefficient · column of the other side, for each key that met."""

    bits: Ring
    terms: tuple[tuple[int, int], ...]


def play(
    session: Session, j: Pair, mine: Mapping[str, SideRows], spread: Spread, hide: Hide | None = None
) -> Rounds[dict[Ring, RingWords]]:
    """Either party's role. Returns its words of the pool by ring, in the order of ``Plan.columns``.

    ``mine``: its side, by name. ``hide``: asked once what met is known, before anything of a total is said.
    """
    here = session.at(j.name)
    if j.pool.asks:
        return (yield from _half(here, j, mine, spread))
    if session.me == j.spine.party:
        rows = mine[j.spine.name]
        taken = ~rows.keys.null & (rows.passing if j.pool.by_row else True)
        number, shared = yield from _numbers(here, j, rows, taken, spread)
        halves = yield from _own_shares(here, j, rows, number, shared)
        if j.pool.by_row:
            return (yield from _hear_rows_shown(here, j, rows, number, shared, halves, spread))
        of_groups = _hidden(j, rows, number >= 0, hide)
        weights = tuple(_weight(here, j, rows, a) for a in j.weights)
        shares = {j.columns.index(c): x for c, x in halves.items()}
        grouped = GroupRows(number, rows.group, weights, of_groups, shares)
        return _words(j, (yield from tally.group_side(here, j.tally, shared, grouped, spread)))
    rows = mine[j.other.name]
    taken = ~rows.keys.null & (rows.passing if j.pool.by_row else True)
    own = np.flatnonzero(taken)
    shared_rows = own[(yield from meet(here, j.blind, rows.keys.matrix[own], spread))]
    used = j.columns if j.compared is None else range(-1, len(j.other.columns))
    columns = {c: _column(rows, c)[shared_rows] for c in used}
    if j.compared is not None:
        columns |= _numbered(j, (yield from compared.play(here, j.compared, len(shared_rows), columns)))
    columns = {c: columns[c] for c in j.columns}
    if j.pool.by_row:
        return (yield from _say_rows_shown(here, j, columns, spread))
    met = np.zeros(len(taken), dtype=np.bool_)
    met[shared_rows] = True
    hidden: Flags = np.logical_or.reduce(_hidden(j, rows, met, hide), axis=1)  # the same in all groups
    secret = key_from_seed(here.own.draw(here.at("paillier").path, 32))
    return _words(j, (yield from tally.value_side(here, j.tally, list(columns.values()), hidden, secret, spread)))


def _hidden(j: Pair, rows: SideRows, met: Flags, hide: Hide | None) -> Flags:
    """What a party does not let out, (rules, groups): known before, and known from what met."""
    cells: Flags = np.zeros((len(j.pool.measures), j.pool.cells), dtype=np.bool_)
    if rows.hidden is not None:
        np.logical_or(cells, rows.hidden, out=cells)
    if hide is not None:
        np.logical_or(cells, hide(rows.keys.matrix[met]), out=cells)
    out = np.zeros((len(j.tally.rules), j.pool.groups), dtype=np.bool_)
    slices = np.concatenate([by_slice(j.pool, of_measure) for of_measure in cells])
    for released, hidden in zip(j.tally.releases, slices, strict=True):
        out[j.tally.rules.index(released.entities)] |= hidden
    return out


def _half(here: Session, j: Pair, mine: Mapping[str, SideRows], spread: Spread) -> Rounds[dict[Ring, RingWords]]:
    """Of the number of keys that met this side's half, as the pool's only word, and its flag."""
    (released,) = j.pool.released
    ((a, b),) = j.steps[released.words[0]]
    side, column = (j.spine, a) if here.me == j.spine.party else (j.other, b if b >= 0 else None)
    rows = mine[side.name]
    # what the node must not let out: with no key at all the number is small, whoever receives it
    taken = ~rows.keys.null & rows.passing & (rows.hidden is None or not rows.hidden.any())
    if column is not None:
        taken &= rows.columns[column].reshape(len(taken), -1)[:, 0] != 0
    keys = np.unique(rows.keys.matrix[taken], axis=0)
    role = size.ask if here.me == j.pool.asks else size.answer
    return _as_words(here, j, (yield from role(here, j.size, keys, spread)))


def _as_words(here: Session, j: Pair, half: Half) -> dict[Ring, RingWords]:
    (measure,) = j.pool.measures
    (word,) = measure.words
    r = ring(word.ring)
    said = r.from_ints([half.number])
    noise = r.from_stream(here.own.words(here.at("noise").path, r.WIDTH))
    if half.small:
        r.add_into(said, noise)
    flag = np.array([half.small], dtype=np.uint64)
    return {64: np.concatenate((said, flag))} if word.ring == 64 else {128: said, 64: flag}


def _numbers(here: Session, j: Pair, rows: SideRows, taken: Flags, spread: Spread) -> Rounds[tuple[Indices, int]]:
    """Of each of the spine's rows the number of its shared key, -1 where it has none; and how many there are."""
    own = np.flatnonzero(taken)
    tag = tags(here.own.draw(here.at("numbers").path, 32), rows.keys.matrix[own])
    same = match(tag, tag[:0])
    assert same is not None
    _, first, number = np.unique(same.distinct, return_index=True, return_inverse=True)
    shared = yield from meet(here, j.blind, rows.keys.matrix[own[first]], spread)
    place = np.full(len(first), -1, dtype=np.int64)
    place[shared] = np.arange(len(shared))
    out = np.full(len(taken), -1, dtype=np.int64)
    out[own] = place[number.reshape(-1)]
    return out, len(shared)


def _own_shares(here: Session, j: Pair, rows: SideRows, number: Indices, shared: int) -> Rounds[dict[int, RingWords]]:
    """The spine's shares of what compares columns of both, of each shared key, by the other side's number of it."""
    if j.compared is None:
        return {}
    of_key = _by_key(number)
    columns = {c: x[of_key] for c, x in enumerate(rows.columns)}
    return _numbered(j, (yield from compared.play(here, j.compared, shared, columns)))


def _numbered(j: Pair, shares: Sequence[RingWords]) -> dict[int, RingWords]:
    return dict(enumerate(shares, start=len(j.other.columns)))


def _by_key(number: Indices) -> Indices:
    """The spine's row of each shared key, where none repeats (tally_pool.py)."""
    at = np.flatnonzero(number >= 0)
    return at[np.argsort(number[at])]


def _weight(here: Session, j: Pair, rows: SideRows, column: int) -> RingWords:
    if j.spine.columns[column].how == "mark":
        return first_marks(here.at(f"marks/{column}"), rows, rows.columns[column])
    return rows.columns[column]


def _column(rows: SideRows, column: int) -> RingWords:
    """A column of the other side, 0 where its own condition fails; -1: 1 where it holds."""
    if column < 0:
        return rows.passing.astype(np.uint64)
    out = rows.columns[column].copy()
    out[~rows.passing] = 0
    return out


def _words(j: Pair, of_release: list[list[RingWords]]) -> dict[Ring, RingWords]:
    """From the order of releases to that of ``Plan.columns``: a measure's words, then its flag."""
    pool = j.pool
    out: dict[Ring, list[RingWords]] = {64: [], 128: []}
    for m, measure in enumerate(pool.measures):
        slices = of_release[m * pool.slices : (m + 1) * pool.slices]
        for w, bits in enumerate((*(word.ring for word in measure.words), 64)):
            out[64 if bits == 64 else 128].append(in_cells(pool, np.concatenate([words[w] for words in slices])))
    return {bits: np.concatenate(columns) for bits, columns in out.items() if columns}


# ---- a result by row


def _shown(j: Pair) -> Iterator[tuple[Ring, int]]:
    """Ring and step of each word, in the order of ``Plan.columns`` within a ring."""
    for measure, released in zip(j.pool.measures, j.pool.released, strict=True):
        for word, step in zip(measure.words, released.words, strict=True):
            yield word.ring, step


def _say_rows_shown(
    here: Session, j: Pair, columns: Mapping[int, RingWords], spread: Spread
) -> Rounds[dict[Ring, RingWords]]:
    for i, told in enumerate(j.told):
        r = ring(told.bits)
        said = _mask(here, j, i, len(columns[-1]))
        for coefficient, c in told.terms:
            r.add_into(said, r.multiply(_in(told.bits, columns[c]), _constant(told.bits, coefficient)))
        yield from say_words(here.at(f"told/{i}"), j.spine.party, told.bits, said)
    if j.scoring is not None:
        features = [columns[b] for b in j.features]
        yield from scoring.answer(here, j.scoring, features, len(columns[-1]), spread)
    return _laid_out(j, {})


def _hear_rows_shown(
    here: Session,
    j: Pair,
    rows: SideRows,
    number: Indices,
    shared: int,
    halves: Mapping[int, RingWords],
    spread: Spread,
) -> Rounds[dict[Ring, RingWords]]:
    heard = []
    for i, told in enumerate(j.told):
        words = yield from hear_words(here.at(f"told/{i}"), j.other.party, told.bits, shared)
        ring(told.bits).subtract_into(words, _mask(here, j, i, shared))
        heard.append(words)
    at = np.flatnonzero(number >= 0)
    scores = (yield from _asked(here, j, j.scoring, rows, number, shared, spread)) if j.scoring is not None else {}
    total: dict[int, RingWords] = {}
    for step in j.steps:
        bits = j.pool.steps[step].bits
        r = ring(bits)
        sums = scores[step] if step in scores else r.zeros(len(at))
        for coefficient, a, i in j.part(step):
            x = _constant(bits, coefficient).repeat(len(at), axis=0)
            if a is not None:
                x = r.multiply(x, _in(bits, rows.columns[a])[at])
            r.add_into(sums, x if i < 0 else r.multiply(x, _in(bits, heard[i])[number[at]]))
        if step in j.pool.compared:
            r.add_into(sums, halves[len(j.other.columns) + j.pool.compared.index(step)][number[at]])
        total[step] = r.zeros(len(rows.passing))
        total[step][at] = sums
    return _laid_out(j, total)


def _asked(
    here: Session, j: Pair, s: Scoring, rows: SideRows, number: Indices, shared: int, spread: Spread
) -> Rounds[dict[int, RingWords]]:
    """Of each scored step what the other side's columns give, in the rows that met."""
    at, of_key = np.flatnonzero(number >= 0), _by_key(number)
    secret = key_from_seed(here.own.draw(here.at("paillier").path, 32))
    weights = [rows.columns[a][of_key] for a in j.weighing]
    words = yield from scoring.ask(here, s, weights, shared, secret, spread)
    return {
        step: ring(j.pool.steps[step].bits).from_ints(word)[number[at]]
        for step, word in zip(j.scored, words, strict=True)
    }


def _constant(bits: int, value: int) -> RingWords:
    return ring(bits).from_ints([value])


def _mask(here: Session, j: Pair, number: int, length: int) -> RingWords:
    """The pair's stream: what is told is in no log bare."""
    peer = j.other.party if here.me == j.spine.party else j.spine.party
    r = ring(j.told[number].bits)
    return r.from_stream(here.pairs[peer].words(here.at(f"told/{number}/mask").path, r.WIDTH * length))


def _laid_out(j: Pair, total: Mapping[int, RingWords]) -> dict[Ring, RingWords]:
    """Words of the spine's rows, padded; nothing of the other side."""
    out: dict[Ring, list[RingWords]] = {64: [], 128: []}
    for bits, step in _shown(j):
        column = ring(bits).zeros(j.spine.rows)
        if step in total:
            column[: len(total[step])] = total[step]
        out[bits].append(column)
    return {bits: np.concatenate(columns) for bits, columns in out.items() if columns}


def _in(bits: int, x: RingWords) -> RingWords:
    """A column of either width in a ring."""
    if (bits == 64) == (x.ndim == 1):
        return x
    if bits == 64:
        return np.ascontiguousarray(x[:, 0])
    return np.column_stack((x, (x.view(np.int64) >> 63).view(np.uint64)))
