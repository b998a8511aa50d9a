"""Columns of Python values in the layouts that ``mpc.ids`` takes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mpc.ids import Integers, Texts


def texts(values: Sequence[str | None], junk: bytes = b"") -> Texts:
    """A text column; ``junk`` is what stands under a NULL."""
    pieces = [junk if v is None else v.encode() for v in values]
    offsets = np.cumsum([0, *map(len, pieces)], dtype=np.int64).astype(np.int32)
    return Texts(offsets, np.frombuffer(b"".join(pieces), dtype=np.uint8), np.array([v is None for v in values], bool))


def integers(values: Sequence[int | None]) -> Integers:
    return Integers(
        np.array([v or 0 for v in values], dtype=np.int64), np.array([v is None for v in values], dtype=bool)
    )


def untexts(column: Texts) -> list[str | None]:
    """The inverse of ``texts``."""
    null = [False] * (len(column.offsets) - 1) if column.null is None else column.null.tolist()
    ends = zip(column.offsets[:-1].tolist(), column.offsets[1:].tolist(), null, strict=True)
    return [None if gone else column.data[start:end].tobytes().decode() for start, end, gone in ends]
