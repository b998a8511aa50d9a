"""Small cells without a third seat (protocols.md, P3): an owner spoils what it may not let out.

In a cell where its own rows have fewer than min_entities entities, none included, an owner adds a random word to each
value and one to the flag word of the measure. The recipient sees a flag that is not 0 and noise, neither who spoiled
nor why. It is never a refusal, which would tell whether the X of a WHERE is a customer.
"""

from __future__ import annotations

import numpy as np

from mpc.coins import Coins
from mpc.messages import RingWords
from mpc.query.layout import Filled
from mpc.query.plan import Plan, Ring
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
        noise[~small] = 0
        if w < 0:
            np.bitwise_or(noise, small, out=noise, casting="unsafe")  # a flag is never 0 where it is set
        r.add_into(values, noise)
        columns.append(values)
    return np.concatenate(columns)
