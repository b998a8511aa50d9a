"""Keystreams: AES-256-CTR under a key of their own, as ring words.

Measured: ``update_into`` a kept buffer runs at 5–9 GB/s, new bytes objects at 1. Pieces that stay in the cache until
they are added spare the page faults of a fresh megabyte for every block and peer.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import CTR
from numpy.typing import NDArray

_PIECE = 1 << 17
_ZEROS = bytes(_PIECE)


def keystream(key: bytes, size: int) -> NDArray[np.uint8]:
    """``size`` bytes of AES-256-CTR keystream from counter 0. ``key`` is 32 bytes and used for nothing else."""
    out = np.empty(size, dtype=np.uint8)
    encryptor = Cipher(AES256(key), CTR(bytes(16))).encryptor()
    view = out.data
    for start in range(0, size, _PIECE):
        piece = min(_PIECE, size - start)
        encryptor.update_into(memoryview(_ZEROS)[:piece], view[start : start + piece])
    return out


def pieces(key: bytes, count: int) -> Iterator[NDArray[np.uint64]]:
    """The first ``count`` 64-bit words of the same keystream, piece by piece, each good until the next is asked for."""
    kept = np.empty(min(8 * count, _PIECE), dtype=np.uint8)
    encryptor = Cipher(AES256(key), CTR(bytes(16))).encryptor()
    for start in range(0, 8 * count, _PIECE):
        size = min(_PIECE, 8 * count - start)
        encryptor.update_into(memoryview(_ZEROS)[:size], kept.data[:size])
        yield kept[:size].view("<u8").astype(np.uint64, copy=False)
