"""How the spine lays its rows out before anything is aligned to it: by group, with marks between (P8).

    group 0: first row of each key │ mark │ further rows of these keys │ mark ║ group 1: … ║ failing rows ║ padding

A mark is a row without a key: shares of 0 in every column. So every group, present or not, has two places of its own,
and prefix sums up to them give its totals: over all its rows at the second mark, over one row for each key at the first
(which counts entities, not rows). Rows that fail the spine's own condition stand behind the last group: their tags take
part in the alignment all the same. Only the spine knows the layout.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mpc.crypto.tags import tags
from mpc.errors import LocalError
from mpc.ids import Flags, Keys
from mpc.messages import RingWords
from mpc.permutation import stable_argsort
from mpc.protocols.match import match
from mpc.rounds import Session

Indices = NDArray[np.int64]

#: marks a group has
MARKS = 2


@dataclass(frozen=True, eq=False)
class Order:
    """``rows``: (places,) the spine's row at each place, -1 for marks; ``passing``: (places,) where it has a row for
    which its own conditions hold; ``firsts``, ``ends``: (groups,) places."""

    rows: Indices
    passing: Flags
    firsts: Indices
    ends: Indices

    @property
    def starts(self) -> Indices:
        """(groups,) the first place of each group, if only of a mark."""
        return np.concatenate((np.zeros(1, dtype=np.int64), self.ends[:-1] + 1))

    def keys(self, keys: Keys) -> Keys:
        """The spine's keys in this order; marks have none."""
        there = self.rows >= 0
        null = ~there
        null[there] = keys.null[self.rows[there]]
        return Keys(
            keys.matrix[self.rows] if len(keys) else np.zeros((len(null), keys.matrix.shape[1]), np.uint8), null
        )

    def column(self, x: RingWords, rows: int) -> RingWords:
        """A column of the spine, (n,) or (n, 2), as its share in this order: zeros at marks, failing rows, padding."""
        out = np.zeros((rows, *x.shape[1:]), dtype=np.uint64)
        places = np.flatnonzero(self.passing)
        out[places] = x[self.rows[places]]
        return out


def places(rows: int, groups: int) -> int:
    """Padded length of the spine in this order: what the alignments take for its number of rows."""
    return rows + MARKS * groups


def group_order(session: Session, keys: Keys, group: Indices, groups: int) -> Order:
    """Order the spine's rows. ``group``: (n,) number of each row's group, -1 where its own condition fails.

    The session gives a key for sorting by key, so that nothing depends on how ids compare.
    """
    if len(group) and not (group.min() >= -1 and group.max() < groups):
        raise LocalError("data.bounds", "A row belongs to a group that is not in the declared domain.")
    number = key_numbers(session, keys)
    passing = np.flatnonzero(group >= 0)

    # first row of each (group, key), in the order of the table
    by_key = group[passing] * (2 * len(keys)) + number[passing]
    order = stable_argsort(by_key.astype(np.uint64))
    further = np.zeros(len(passing), dtype=np.int64)
    further[order[1:]] = by_key[order[1:]] == by_key[order[:-1]]

    # groups, first rows before further ones; a mark behind each part
    part = MARKS * group[passing] + further
    order = stable_argsort(part.astype(np.uint64))
    ends = np.searchsorted(part[order], np.arange(MARKS * groups), side="right") + np.arange(MARKS * groups)
    rows = np.full(places(len(keys), groups), -1, dtype=np.int64)
    rows[np.arange(len(passing)) + part[order]] = passing[order]
    rows[len(passing) + MARKS * groups :] = np.flatnonzero(group < 0)
    counted = rows >= 0
    counted[len(passing) + MARKS * groups :] = False
    return Order(rows, counted, ends[0::MARKS], ends[1::MARKS])


def table_order(passing: Flags) -> Order:
    """The order of the table itself, without groups and marks. ``passing``: (n,) where its own conditions hold."""
    none = np.zeros(0, dtype=np.int64)
    return Order(np.arange(len(passing)), passing, none, none)


def key_numbers(session: Session, keys: Keys) -> Indices:
    """The same number for the same key, (n,); every NULL has one of its own, as it equals nothing."""
    tag = tags(session.own.draw(session.at("key-order").path, 32), keys.matrix)
    met = match(tag, tag[:0])
    assert met is not None
    number = met.distinct
    number[keys.null] = len(keys) + np.flatnonzero(keys.null)
    return number
