"""Keyed tags of ids: a 128-bit pseudorandom function of rows of one width, a whole column at once (P6.1).

    tag(M_0 ‖ … ‖ M_{m-1}) = E(M_{m-1} ⊕ … E(M_1 ⊕ E(M_0)) …),  E = AES-256 under a key of its own

This is CBC-MAC with the chaining turned by ninety degrees: block b of all rows goes through one ECB call. CBC-MAC is a
pseudorandom function of messages that all have one number of blocks; with q tags of m blocks an adversary's advantage
is below about m²q²/2^127 (Bellare, Kilian, Rogaway: The Security of the Cipher Block Chaining Message Authentication
Code, JCSS 61 (2000) 362–399). With two lengths under one key it can be forged, so a key serves one width: the caller
derives it under the path of one join. Two different ids of 2·10^7 share a tag with probability 2^-80.
"""

from __future__ import annotations

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import ECB
from numpy.typing import NDArray

_BLOCK = 16
#: rows at a time: half a mebibyte, which stays in the cache from block to block
_ROWS = 1 << 15


def tags(key: bytes, matrix: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """Tags of the rows of ``matrix`` (n, 16·m), shape (n, 2): a tag's 16 bytes as two little-endian words.

    ``key``: 32 bytes, used for rows of this width and nothing else.
    """
    assert len(key) == 32
    n, width = matrix.shape
    assert width and width % _BLOCK == 0
    encryptor = Cipher(AES256(key), ECB()).encryptor()
    out = np.empty((n, 2), dtype="<u8")
    chained = np.empty((_ROWS, 2), dtype="<u8")
    # update_into asks for room for one block more than it writes
    encrypted = np.empty(_ROWS * _BLOCK + _BLOCK - 1, dtype=np.uint8)
    for start in range(0, n, _ROWS):
        rows = matrix[start : start + _ROWS]
        state, size = chained[: len(rows)], len(rows) * _BLOCK
        state[:] = 0
        for b in range(0, width, _BLOCK):
            state ^= np.ascontiguousarray(rows[:, b : b + _BLOCK]).view("<u8")
            encryptor.update_into(state.data.cast("B"), encrypted.data)
            state[:] = encrypted[:size].view("<u8").reshape(-1, 2)
        out[start : start + len(rows)] = state
    return out.astype(np.uint64, copy=False)
