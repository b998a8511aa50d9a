"""Large tables part by part: rows are spread over parts by their keys, and a part is joined as a table is.

    A (spine)  ── a fresh key K ──▶  every other data party, not the helper
    part of a row = PRF(K, id) mod P       rows without a key: one after the other, they meet nothing

A key's rows are in one part everywhere, so rows that meet do so there, and an entity is counted once. A part is padded
to a fixed number of rows, a little more than its share: which keys a table has shows in no size. With K unknown to the
helper, which rows are together says nothing of ids to it.

Leakage: data parties nothing, for K is fresh; the helper what it learns of a whole alignment, part by part. Where a
part overflows, which a few keys with very many rows bring about and chance does with probability below 2^-40, the job
ends before anything of this part is said. Rounds: one. Bytes: 32 to each data party.
"""

from __future__ import annotations

from math import ceil, log, sqrt

import numpy as np
from numpy.typing import NDArray

from mpc.blocks import hear_words, say_words
from mpc.crypto.tags import tags
from mpc.errors import LocalError
from mpc.ids import Keys
from mpc.messages import RingWords
from mpc.rounds import Rounds, Session

#: rows of a part, and words of 64 bits that a party has of a part: for memory, 1 to 2 GB
PART_ROWS, PART_WORDS = 1_250_000, 40_000_000
#: parts have room for keys with up to about so many rows each
REPEATS = 16
KEY_BYTES = 32


def parts_of(rows: int, words: int) -> int:
    """How many parts tables of up to so many rows are taken apart into; ``words``: of 64 bits, for each row."""
    return -(-rows // max(min(PART_ROWS, PART_WORDS // words), 1))


def capacity(rows: int, parts: int) -> int:
    """Rows of a part: by a Chernoff bound over keys of ``REPEATS`` rows each, no part has more, but with probability
    2^-40 for all parts together."""
    mean, tail = rows / parts / REPEATS, log(parts) + 40 * log(2)
    return min(rows, ceil(REPEATS * (mean + sqrt(2 * mean * tail) + tail)))


def share_key(session: Session, spine: str, parties: tuple[str, ...]) -> Rounds[bytes]:
    """The key of the parts, which the spine draws and says to every other data party."""
    if session.me == spine:
        key = session.own.draw(session.at("key").path, KEY_BYTES)
        others = sorted({*parties} - {spine})
        yield from say_words(session, others, 64, np.frombuffer(key, dtype="<u8").astype(np.uint64))
        return key
    words: RingWords = yield from hear_words(session, spine, 64, KEY_BYTES // 8)
    return words.astype("<u8").tobytes()


def buckets(key: bytes, keys: Keys, parts: int) -> NDArray[np.int64]:
    """The part of each row."""
    part = (tags(key, keys.matrix)[:, 0] % np.uint64(parts)).astype(np.int64)
    part[keys.null] = np.arange(int(keys.null.sum())) % parts
    return part


def too_many(party: str) -> LocalError:
    return LocalError(
        "data.skew",
        f"A few keys of a table of {party} have so many rows that the table cannot be joined part by part.",
        f"{party} publishes totals by key in place of single rows (heji node table add --sql), then submit again.",
    )
