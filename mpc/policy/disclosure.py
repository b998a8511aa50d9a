"""Small cells without a third seat (protocols.md, P3): an owner spoils what it may not let out.

In a cell where its own rows have fewer than min_entities entities, none included, or where one of them carries more
than max_share of what it adds, an owner adds a random word to each value and one to the flag word of the measure. The
recipient sees a flag that is not 0 and noise, neither who spoiled nor why. It is never a refusal, which would tell
whether the X of a WHERE is a customer.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mpc.coins import Coins
from mpc.messages import RingWords
from mpc.noise import discrete_laplace
from mpc.protocols.verified import NOISE_BITS
from mpc.query.layout import Filled
from mpc.query.plan import Plan
from mpc.query.plan_pools import Ring
from mpc.ring import ring


def vector(plan: Plan, pool: int, bits: Ring, filled: Filled, coins: Coins, path: str) -> RingWords:
    """One party's input to the secure sum of this pool and ring: its words column by column, small cells spoiled.

    ``path`` names the streams drawn from the party's own ``coins``. Shape (length,) or (length, 2).
    """
    r = ring(bits)
    columns = []
    for p, m, w, cells in plan.columns(bits):
        if p != pool:
            continue
        values = r.zeros(cells) if w < 0 else filled.words[m][w].copy()
        small = filled.small[m]
        # always drawn, so that neither time nor the streams used tell how many cells are small
        noise = r.from_stream(coins.words(f"{path}/w{bits}/m{m}/{'flag' if w < 0 else w}", r.WIDTH * cells))
        if plan.verified:
            noise[:, 1] &= np.uint64((1 << (NOISE_BITS - 64)) - 1)  # no sum may wrap; it still hides what is under it
        noise[~small] = 0
        if w < 0:
            first = noise.reshape(cells, -1)[:, 0]
            np.bitwise_or(first, small, out=first, casting="unsafe")  # a flag is never 0 where it is set
        r.add_into(values, noise)
        columns.append(values)
    return np.concatenate(columns)


def noised(plan: Plan, pool: int, party: str, filled: Filled, coins: Coins) -> Filled:
    """The party's words of a pool with its noise (P12), the same for every recipient.

    ``coins``: of this job and state of the data, whichever attempt it is: another sample would be another release.
    """
    drawn = iter(noise(plan, pool, party, coins))
    words = []
    for m, measure in enumerate(plan.pools[pool].measures):
        columns = [w.copy() for w in filled.words[m]]
        for word, column in zip(measure.words, columns, strict=True):
            ring(word.ring).add_into(column, next(drawn))
        words.append(tuple(columns))
    return replace(filled, words=tuple(words))


def noise(plan: Plan, pool: int, party: str, coins: Coins) -> tuple[RingWords, ...]:
    """What a party adds to the words of a pool, measure by measure and word by word, (cells,) or (cells, 2) each.

    ``coins``: as for ``noised``. Of a join it goes in beside the party's rows, and is added to its shares of totals.
    """
    cells = plan.pools[pool].cells
    found = []
    for m, measure in enumerate(plan.pools[pool].measures):
        for w, word in enumerate(measure.words):
            column = ring(word.ring).zeros(cells)
            for own in (n for n in word.noise if n.party == party):
                sample = discrete_laplace(coins, f"noise/pool{pool}/m{m}/w{w}", own.scale, cells)
                ring(word.ring).add_into(column, sample if word.ring == 128 else sample[:, 0])
            found.append(column)
    return tuple(found)
