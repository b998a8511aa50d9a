"""Tags by column against AES-CBC one row at a time, and against vectors."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import CBC

from mpc.crypto.tags import _ROWS, tags

KEY = bytes(range(32))
VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "ids.json").read_text())["keys"]


def one_tag(key: bytes, row: bytes) -> bytes:
    return Cipher(AES256(key), CBC(bytes(16))).encryptor().update(row)[-16:]


@pytest.mark.parametrize("width", [16, 32, 80])
@pytest.mark.parametrize("n", [0, 1, 7, _ROWS, _ROWS + 3])
def test_equals_cbc_mac_row_by_row(n, width):
    matrix = np.random.default_rng(n + width).integers(0, 256, (n, width), dtype=np.uint8)
    made = tags(KEY, matrix)
    assert made.shape == (n, 2) and made.dtype == np.uint64
    for i in {0, 1, n // 2, n - 1} & set(range(n)):
        assert made[i].astype("<u8").tobytes() == one_tag(KEY, matrix[i].tobytes())


def test_vectors():
    rows = VECTORS["rows"]
    matrix = np.frombuffer(b"".join(bytes.fromhex(r["row"]) for r in rows), np.uint8).reshape(len(rows), -1)
    made = tags(bytes.fromhex(VECTORS["key"]), matrix)
    assert [t.astype("<u8").tobytes().hex() for t in made] == [r["tag"] for r in rows]


def test_equal_rows_equal_tags_and_another_key_other_tags():
    matrix = np.repeat(np.arange(64, dtype=np.uint8).reshape(2, 32), 3, axis=0)
    made = tags(KEY, matrix)
    assert len({bytes(t) for t in made}) == 2
    assert not (made == tags(bytes(32), matrix)).any()
