"""Coins by path: every random word of a job has a name, and a name is used once.

``Coins`` wraps a 32-byte key. ``stream(k, path)`` is the AES-256-CTR keystream under HKDF(k, info = path); drawing the
same path twice raises protocol.reuse, because two values under one mask give their difference away (checklist 2).

A participant holds one ``Coins`` of its own (from its job seed) and one with every other participant (from k_ij).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from mpc.crypto.agree import hkdf
from mpc.crypto.labels import framed, label
from mpc.crypto.stream import keystream, pieces
from mpc.errors import LocalError


class Coins:
    """Streams of one key, each path at most once. The key never shows in ``repr``."""

    __slots__ = ("_drawn", "_key")

    def __init__(self, key: bytes) -> None:
        assert len(key) == 32
        self._key = key
        self._drawn: set[str] = set()

    def draw(self, path: str, size: int) -> bytes:
        """``size`` bytes of the stream named ``path``."""
        return keystream(self._draw(path), size).tobytes()

    def words(self, path: str, count: int) -> NDArray[np.uint64]:
        """``count`` uniform 64-bit words of the stream named ``path``, shape (count,)."""
        return keystream(self._draw(path), 8 * count).view("<u8").astype(np.uint64, copy=False)

    def pieces(self, path: str, count: int) -> Iterator[NDArray[np.uint64]]:
        """The same words as ``words`` gives, in pieces to be used at once: nothing of ``count`` words is allocated."""
        return pieces(self._draw(path), count)  # the path is drawn now, not when the first piece is

    def _draw(self, path: str) -> bytes:
        if path in self._drawn:
            raise LocalError(
                "protocol.reuse",
                f"The stream {path} would be drawn a second time.",
                "This is a defect: start a new attempt, and report it.",
            )
        self._drawn.add(path)
        return hkdf(self._key, salt=b"", info=label("stream") + framed(path.encode()))

    def __repr__(self) -> str:
        return "Coins(…)"

    __reduce__ = None  # type: ignore[assignment]  # a copy would forget what was drawn


def own_coins(seed: bytes, job: bytes, attempt: int) -> Coins:
    """A participant's own coins from its 32-byte job seed, fresh for every attempt (P0, checklist 33)."""
    return Coins(hkdf(seed, salt=job + attempt.to_bytes(4, "big"), info=label("own")))
