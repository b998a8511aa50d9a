"""Reveals: every value the recipients see, the columns it derives from, and whose values it adds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod

import numpy as np

from mpc.query.catalog import Catalog
from mpc.query.fold import Draft
from mpc.query.join_reveals import join_reveal
from mpc.query.met import met_reveal
from mpc.query.plan_joins import JoinPool, TallyPool
from mpc.query.plan_pools import Measure, Pool
from mpc.query.plan_reveals import Reveal
from mpc.query.separate import contributors
from mpc.query.uses import uses_of


def reveals_of(
    pools: Sequence[Pool],
    drafts: Sequence[Draft],
    place: Mapping[int, tuple[int, int]],
    catalogs: Mapping[str, Catalog],
) -> tuple[Reveal, ...]:
    """One reveal a measure and set of parties that can be together in a cell; of a join without a helper one more.

    Where a key keeps the parties apart in every cell (a constant label for each branch), these are single totals of one
    party each. Where only some cells have a single party, its reveal stays ``pooled`` with that one contributor, so
    that a key cannot get around an owner's min_contributors.
    """
    found: list[Reveal] = []
    for i, d in enumerate(drafts):
        p, m = place[i]
        pool, measure = pools[p], pools[p].measures[m]
        if isinstance(pool, JoinPool):
            found.append(join_reveal(pool, d, measure, catalogs))
            continue
        uses = uses_of(d, catalogs)
        adding = contributors(d)
        sets = contributor_sets(pools[p], measure, adding)
        pooled = any(len(s) > 1 for s in sets)
        for s in sets:
            mixed = len(sets) > 1
            what = measure.name + (f" of cells that only {' and '.join(s)} can fill" if mixed else "")
            behind = set(s) | ({r.party for r in measure.reach} - set(adding) if not mixed else set())
            of_behind = tuple(u for u in uses if u.party in behind)
            searching = [r.parties for r in pool.rankings if any(x.measure == m for x in r.measures)]
            found.append(Reveal(what, pools[p].name, of_behind, s, pooled, searching[0] if searching else ()))
    for p, pool in enumerate(pools):
        if isinstance(pool, TallyPool):
            found.append(met_reveal(pool, [d for i, d in enumerate(drafts) if place[i][0] == p], catalogs))
    return tuple(found)


def contributor_sets(pool: Pool, measure: Measure, adding: Sequence[str]) -> list[tuple[str, ...]]:
    """The sets of contributors over the cells, each once, sorted; one empty set where nobody adds anything."""
    masks = np.zeros(pool.cells, dtype=np.uint64)
    for bit, party in enumerate(adding):
        masks[reach_mask(pool, measure, party)] |= np.uint64(1 << bit)
    found = {int(x) for x in np.unique(masks)} - {0}
    return sorted(tuple(p for bit, p in enumerate(adding) if x >> bit & 1) for x in found) or [()]


def reach_mask(pool: Pool, measure: Measure, party: str) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Which cells (flat, in their order) a party can have rows of a measure in."""
    shape = tuple(len(k.domain) for k in pool.keys)
    mask = np.zeros(shape or (1,), dtype=bool)
    for reach in measure.reach:
        for box in reach.boxes if reach.party == party else ():
            at = [range(n) if b is None else b for n, b in zip(shape, box, strict=True)]
            if at:
                mask[np.ix_(*(np.asarray(a, dtype=np.intp) for a in at))] = True
            else:
                mask[:] = True
    if not measure.reach:
        mask[...] = True
    return mask.reshape(prod(shape))
