"""Sessions of members that share pair coins, without the key agreement: for protocols below the job."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from mpc.coins import Coins
from mpc.ids import Flags, Keys
from mpc.messages import RingWords
from mpc.rounds import Session


def sessions(names: Sequence[str], seed: int = 0) -> dict[str, Session]:
    """A session for each name; the same seed gives the same coins, each not yet drawn."""

    def coins(*words: str) -> Coins:
        return Coins(hashlib.sha256("/".join((str(seed), *words)).encode()).digest())

    pairs: dict[str, dict[str, Coins]] = {name: {} for name in names}
    for i, j in combinations(sorted(names), 2):
        pairs[i][j], pairs[j][i] = coins(i, j), coins(i, j)  # each end its own, as each remembers what it drew
    return {name: Session(name, coins("own", name), pairs[name], "job") for name in names}


@dataclass(frozen=True, eq=False)
class Brought:
    """What a side other than the spine brings into an alignment."""

    keys: Keys
    passing: Flags
    columns: tuple[RingWords, ...]
