"""``fingerprint(text)`` in local queries: a keyed 64-bit digest of each text, a whole vector of DuckDB's at once; or of
whole columns of an answer.

    length, 8 bytes little-endian ‖ UTF-8 ‖ zeros up to a multiple of 16 ──▶ tag under a key for this width

The tags are those of join keys (mpc/crypto/tags.py), of which a key serves one width; so each has its own. DuckDB's
``md5`` takes four times as long, and its ``hash`` is another in the next version, while fingerprints stay on disk.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import duckdb
import numpy as np
import pyarrow as pa
from duckdb.func import ARROW, SPECIAL
from duckdb.sqltypes import UBIGINT, VARCHAR
from numpy.typing import NDArray

from mpc.crypto.labels import digest
from mpc.crypto.tags import tags
from mpc.query.behind import FINGERPRINT

Words = NDArray[np.uint64]

_BLOCK = 16
_LENGTH = 8


def register(database: duckdb.DuckDBPyConnection, key: bytes) -> None:
    """Make the function known to a connection. ``key``: 32 secret bytes; fingerprints under two keys never compare."""

    def fingerprint(texts: pa.ChunkedArray) -> pa.Array:
        return pa.array(fingerprints(key, texts))

    database.create_function(FINGERPRINT, _plain(fingerprint), [VARCHAR], UBIGINT, type=ARROW, null_handling=SPECIAL)


def _plain(function: Callable[[pa.ChunkedArray], pa.Array]) -> Callable[..., pa.Array]:
    """Without annotations, which DuckDB would take for SQL types."""
    function.__annotations__ = {}
    return function


def fingerprints(key: bytes, texts: pa.ChunkedArray | pa.Array) -> Words:
    """Of each text, (n,); NULL has that of the empty text."""
    column = pa.concat_arrays(texts.chunks) if isinstance(texts, pa.ChunkedArray) and texts.num_chunks else texts
    if not len(column):
        return np.zeros(0, dtype=np.uint64)
    column = column.cast(pa.large_string())
    if column.null_count:
        column = column.fill_null("")
    blocks = -(-(_LENGTH + np.diff(_offsets(column))) // _BLOCK)
    if blocks.min() == blocks.max():
        return _of_one_width(key, column, int(blocks[0]))
    found = np.empty(len(column), dtype=np.uint64)
    for width in np.unique(blocks).tolist():
        at = np.flatnonzero(blocks == width)
        found[at] = _of_one_width(key, column.take(pa.array(at)), width)
    return found


def of_texts(key: bytes, answer: pa.Table) -> pa.Table:
    """An answer of mpc.query.plan_pools.Behind with fingerprints in the place of the texts in ``x`` and ``p0 …``; what
    is NULL stays so."""
    for i, name in enumerate(answer.column_names):
        column = answer.column(name)
        if re.fullmatch(r"x|p\d+", name) and not pa.types.is_integer(column.type):
            null = column.is_null().to_numpy() if column.null_count else None
            answer = answer.set_column(i, name, pa.array(fingerprints(key, column), mask=null))
    return answer


def _of_one_width(key: bytes, column: pa.Array, blocks: int) -> Words:
    offsets = _offsets(column)
    data = np.frombuffer(column.buffers()[2] or b"", dtype=np.uint8)[offsets[0] : offsets[-1]]
    lengths = np.diff(offsets)
    matrix = np.zeros((len(lengths), blocks * _BLOCK), dtype=np.uint8)
    matrix[:, :_LENGTH] = lengths.astype("<u8").view(np.uint8).reshape(-1, _LENGTH)
    text, length = matrix[:, _LENGTH:], int(lengths[0])
    if (lengths == length).all():
        text[:, :length] = data.reshape(len(lengths), length)
    else:
        text[np.arange(text.shape[1]) < lengths[:, None]] = data
    return tags(digest("fingerprint", key, blocks.to_bytes(8, "big")), matrix)[:, 0]


def _offsets(column: pa.Array) -> NDArray[np.int64]:
    """Where texts begin and end in their buffer, (n + 1,)."""
    return np.frombuffer(column.buffers()[1], dtype=np.int64)[column.offset : column.offset + len(column) + 1]
