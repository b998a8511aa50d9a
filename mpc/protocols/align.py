"""P6 Hidden join: the columns of B brought to the rows of A, as shares, and nobody learns which rows met.

    A (spine, keys may repeat)                H (helper)                          B (other, each key once)
      tag_i = PRF(key of k_AB, id_i)                                                tag_r = PRF(key of k_AB, id_r)
      ── tags, in the order π of k_AB ─────▶                  ◀── tags of its rows, places of its rows ──
                                           every distinct tag of A gets a place:       N_B rows and N_A dummies lie
                                           B's row that has it, else an unused dummy   in a secret random order
      ◀── the place of each row ────────────                  ◀── for each column: value + mask_AB, N_A + N_B places ──
      share = − mask_AB[place]              ── value + mask_AB at the places, + stream_AH ──▶
              − stream_AH                                                           share = what came
      both turn π back: shares of B's columns in the order of A's rows; rows without a match are shares of 0

The first column is the flag: 1 where A's row met a row of B that B's own condition lets pass. Rows that fail it,
dummies and padding are 0 in every column. All of both tables takes part whatever the condition, and A's own conditions
enter later (groups.py), so no size and no match count that anybody sees depends on a constant of the query. NULL keys
and padding get fresh random tags, which match nothing. Other parties are aligned to the same spine one by one; their
shares of B's columns are 0.

π is drawn from k_AB, so both ends of an alignment turn it back and no permutation protocol is needed to bring several
alignments into the order of A's rows. It hides from H only, which may not collude with A or B.

Trust level: helper. Adversary: semi-honest; private from any coalition without both H and another data party.
Leakage: H the numbers of rows (padded), how many distinct keys met, how often each key of A repeats; A and B nothing.
Rounds: three words one after the other (tags, positions or columns, picked columns), in blocks. Bytes: 20 N_A + 20 N_B
+ Σ over columns w (2 N_A + N_B), w = 8 or 16. Tags: mpc/crypto/tags.py. Source of the shape: Mohassel, Rindal, Rosulek:
Fast Database Joins and PSI for Secret Shared Data, CCS 2020 (a third party matches masked rows); ours hides the match
from the spine by dummies in place of cuckoo tables, which a helper that does not collude makes enough.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mpc.blocks import hear_positions, hear_words, say_positions, say_words
from mpc.coins import Coins
from mpc.crypto.tags import tags
from mpc.errors import LocalError, PeerError
from mpc.ids import Flags, Keys
from mpc.messages import RingWords
from mpc.permutation import permutation
from mpc.protocols.match import match
from mpc.ring import ring
from mpc.rounds import Rounds, Session

FLAG_BITS = 64
TAG_BITS = 128


@dataclass(frozen=True)
class Align:
    """One alignment as the plan has it.

    ``spine_rows``, ``other_rows``: padded row counts N_A, N_B; ``width``: bytes of a key (``mpc.ids.width``);
    ``columns``: 64 or 128 for each of B's columns, the flag, which comes first, not among them.
    """

    name: str
    spine: str
    other: str
    helper: str
    spine_rows: int
    other_rows: int
    width: int
    columns: tuple[int, ...]

    @property
    def places(self) -> int:
        """B's rows and a dummy for each of A's."""
        return self.spine_rows + self.other_rows

    @property
    def rings(self) -> tuple[int, ...]:
        return (FLAG_BITS, *self.columns)

    def bytes(self) -> int:
        """What all roles together say, but for the headers of messages."""
        words = sum(bits // 8 for bits in self.rings)
        return 20 * self.spine_rows + 20 * self.other_rows + words * (2 * self.spine_rows + self.other_rows)

    def masks(self, coins: Coins, path: str, bits: int) -> RingWords:
        """The mask of every place for one column."""
        r = ring(bits)
        return r.from_stream(coins.words(path, r.WIDTH * self.places))


class Table(Protocol):
    """What B brings: ``keys``, each once; ``passing``: (n,) where B's own condition holds; ``columns``: (n,) or (n, 2)
    ring words each."""

    @property
    def keys(self) -> Keys: ...
    @property
    def passing(self) -> Flags: ...
    @property
    def columns(self) -> Sequence[RingWords]: ...


def spine(session: Session, aligns: Sequence[Align], keys: Keys) -> Rounds[list[list[RingWords]]]:
    """A's role in all alignments to its rows. Returns for each its shares of flag and columns, N_A elements each: row i
    is ``keys`` row i, then padding.

    PeerError where H gives two keys one place, or one key two.
    """
    # 1, 2: keyed tags of all rows, in an order that H cannot follow
    shuffles = []
    number: NDArray[np.int64] | None = None
    for a in aligns:
        shuffle = _shuffle(session.pairs[a.other], session.at(a.name), a.spine_rows)
        mine = _tags(session, a, keys, a.spine_rows)
        yield from say_words(session.at(f"{a.name}/spine-tags"), a.helper, TAG_BITS, mine[shuffle])
        if number is None:  # rows of one tag have one tag in every alignment
            number = _numbers(mine)
        shuffles.append((shuffle, number[shuffle]))
        del mine

    found = []
    for a, (shuffle, of_key) in zip(aligns, shuffles, strict=True):
        # 4: uniform places, one for each distinct key; a match looks like a dummy
        here = session.at(a.name)
        place = yield from hear_positions(here.at("positions"), a.helper, a.spine_rows, a.places)
        _verify_places(a, here.at("positions").path, place, of_key)
        # 5: minus both masks
        shares = []
        for name, bits in _columns(a):
            r = ring(bits)
            share = r.zeros(a.spine_rows)
            r.subtract_into(share, a.masks(session.pairs[a.other], here.at(f"{name}/mask").path, bits)[place])
            r.subtract_into(share, _fresh(session.pairs[a.helper], here.at(f"{name}/picked"), bits, a.spine_rows))
            shares.append(_back(share, shuffle))
        found.append(shares)
    return found


def other(session: Session, aligns: Sequence[Align], tables: Sequence[Table]) -> Rounds[list[list[RingWords]]]:
    """B's role in the alignments of its tables to one spine. Returns for each its shares of flag and columns, N_A
    elements each in the order of A's rows.

    Raises LocalError data.repeated_key if a key that is not NULL stands twice in a table.
    """
    laid = []
    for a, table in zip(aligns, tables, strict=True):
        assert len(table.keys) == len(table.passing) and len(table.columns) == len(a.columns)
        here = session.at(a.name)
        # 3: rows (padded) and dummies in a secret random order: place p holds item order[p], a row if below N_B
        order = permutation(session.own, here.at("places").path, a.places)
        place = np.flatnonzero(order < a.other_rows).astype(np.uint32)
        row = order[place]
        mine = _tags(session, a, table.keys, a.other_rows)
        verify_once(mine)
        yield from say_words(here.at("tags"), a.helper, TAG_BITS, mine[row])
        yield from say_positions(here.at("places"), a.helper, place)
        there = row < len(table.keys)  # the others are padding
        laid.append((place[there], row[there]))

    found = []
    for a, table, (place, row) in zip(aligns, tables, laid, strict=True):
        here, pair = session.at(a.name), session.pairs[a.spine]
        shuffle = _shuffle(pair, here, a.spine_rows)
        shares = []
        for (name, bits), column in zip(_columns(a), (table.passing.astype(np.uint64), *table.columns), strict=True):
            r = ring(bits)
            masked = a.masks(pair, here.at(f"{name}/mask").path, bits)
            values = column[row]
            values[~table.passing[row]] = 0
            r.add_into(values, masked[place])
            masked[place] = values
            yield from say_words(here.at(f"{name}/masked"), a.helper, bits, masked)
            del masked, values
            picked = yield from hear_words(here.at(f"{name}/picked"), a.helper, bits, a.spine_rows)
            shares.append(_back(picked, shuffle))
        found.append(shares)
    return found


def helper(session: Session, aligns: Sequence[Align]) -> Rounds[list[int]]:
    """H's role in all alignments to one spine: it hears all tags, matches, and picks, so that nobody waits for it while
    it waits for another. Returns how many distinct keys of A met a row of each B.

    PeerError where a tag or a place comes twice.
    """
    heard = []
    for a in aligns:
        here = session.at(a.name)
        asked = yield from hear_words(here.at("spine-tags"), a.spine, TAG_BITS, a.spine_rows)
        offered = yield from hear_words(here.at("tags"), a.other, TAG_BITS, a.other_rows)
        place = yield from hear_positions(here.at("places"), a.other, a.other_rows, a.places)
        heard.append((asked, offered, place))

    positions, counts = [], []
    for a, (asked, offered, place) in zip(aligns, heard, strict=True):
        at, count = _matched(session, a, asked, offered, place)
        yield from say_positions(session.at(f"{a.name}/positions"), a.spine, at)
        positions.append(at)
        counts.append(count)
    heard.clear()

    for a, at in zip(aligns, positions, strict=True):
        here = session.at(a.name)
        for name, bits in _columns(a):
            masked = yield from hear_words(here.at(f"{name}/masked"), a.other, bits, a.places)
            picked = masked[at]
            ring(bits).add_into(picked, _fresh(session.pairs[a.spine], here.at(f"{name}/picked"), bits, a.spine_rows))
            yield from say_words(here.at(f"{name}/picked"), a.other, bits, picked)
    return counts


def _matched(
    session: Session, a: Align, asked: RingWords, offered: RingWords, place: NDArray[np.uint32]
) -> tuple[NDArray[np.uint32], int]:
    """4: the place of each row of A, and how many distinct keys met."""
    here = session.at(a.name)
    free = np.ones(a.places, dtype=np.bool_)
    free[place] = False
    if np.count_nonzero(free) != a.spine_rows:
        raise _repeated(a.other, here.at("places").path, "a place")
    # dummies in a random order of H's own, or A could tell them by their order
    dummies = np.flatnonzero(free).astype(np.uint32)
    dummies = dummies[permutation(session.own, here.at("dummies").path, a.spine_rows)]
    met = match(asked, offered)
    if met is None:
        raise _repeated(a.other, here.at("tags").path, "a tag")
    positions = np.where(met.row >= 0, place[met.row] if len(place) else 0, dummies[met.distinct]).astype(np.uint32)
    return positions, met.count


def verify_once(mine: RingWords) -> None:
    """Raises LocalError data.repeated_key if a tag stands twice."""
    first = np.sort(mine[:, 0])
    if (first[1:] == first[:-1]).any() and match(mine[:0], mine) is None:
        raise repeated_key()


def repeated_key() -> LocalError:
    return LocalError(
        "data.repeated_key",
        "A key stands twice in a table that is to be joined by it.",
        "Two ids that differ in case, width or separators only are one id: mend the table, "
        "or add its rows up by the key first.",
    )


def _tags(session: Session, a: Align, keys: Keys, rows: int) -> RingWords:
    """Tags of ``rows`` rows, (rows, 2): keyed where there is a key, fresh random words for NULL and padding."""
    assert keys.matrix.shape[1] == a.width
    n, here = len(keys), session.at(a.name)
    if n > rows:
        raise LocalError(
            "data.rows",
            f"The table has {n} rows; the catalog that the job was planned with has room for {rows}.",
            "Publish the catalog again, and plan the job again.",
        )
    peer = a.other if session.me == a.spine else a.spine
    out = session.own.words(here.at("random-tags").path, 2 * rows).reshape(-1, 2)
    keyed = tags(session.pairs[peer].draw(here.at("tag-key").path, 32), keys.matrix)
    np.copyto(out[:n], keyed, where=~keys.null[:, None])
    return out


def _numbers(mine: RingWords) -> NDArray[np.int64]:
    """The same number for equal tags and for no others, counted from 0."""
    met = match(mine, mine[:0])
    assert met is not None
    return met.distinct


def _verify_places(a: Align, step: str, place: NDArray[np.uint32], number: NDArray[np.int64]) -> None:
    """PeerError unless H gave every distinct tag a place of its own. ``number``: (N_A,) of each row's tag."""
    given = np.zeros(len(number), dtype=np.uint32)
    given[number] = place
    taken = np.zeros(a.places, dtype=np.bool_)
    taken[place] = True
    if (given[number] != place).any():
        raise PeerError(
            "protocol.malformed", f"{a.helper} gave one key two places at {step}.", party=a.helper, step=step
        )
    if np.count_nonzero(taken) != number.max(initial=-1) + 1:
        raise _repeated(a.helper, step, "a place")


def _shuffle(pair: Coins, here: Session, rows: int) -> NDArray[np.int64]:
    return permutation(pair, here.at("shuffle").path, rows)


def _back(shuffled: RingWords, shuffle: NDArray[np.int64]) -> RingWords:
    """Elements that came in the order of ``shuffle`` back in the order of A's rows."""
    out = np.empty_like(shuffled)
    out[shuffle] = shuffled
    return out


def _fresh(coins: Coins, here: Session, bits: int, n: int) -> RingWords:
    r = ring(bits)
    return r.from_stream(coins.words(here.path, r.WIDTH * n))


def _columns(a: Align) -> Iterator[tuple[str, int]]:
    for c, bits in enumerate(a.rings):
        yield f"column/{c}", bits


def _repeated(party: str, step: str, what: str) -> PeerError:
    return PeerError("protocol.malformed", f"{party} said {what} twice at {step}.", party=party, step=step)
