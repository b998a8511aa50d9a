"""X25519 and HKDF against Project Wycheproof's edge cases."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from mpc.crypto.agree import exchange, hkdf, pair_key, public_key
from mpc.errors import LocalError

VECTORS = Path(__file__).parents[4] / "shared" / "vectors" / "wycheproof"


def cases(name: str) -> list[dict]:
    path = VECTORS / name
    if not path.exists():
        pytest.skip(f"the vectors {name} are not beside this checkout (../shared/vectors)")
    return [{**group, **test} for group in json.loads(path.read_text())["testGroups"] for test in group["tests"]]


def test_x25519_vectors():
    checked = 0
    for t in cases("x25519_test.json"):
        private, public, shared = (bytes.fromhex(t[k]) for k in ("private", "public", "shared"))
        if shared == bytes(32):  # low order: Wycheproof accepts, we never do
            with pytest.raises(LocalError) as raised:
                exchange(private, public)
            assert raised.value.code == "protocol.point"
        else:
            assert exchange(private, public) == shared, t["tcId"]
        checked += 1
    assert checked > 100


def test_hkdf_vectors():
    checked = 0
    for t in cases("hkdf_sha256_test.json"):
        key, salt, info = (bytes.fromhex(t[k]) for k in ("ikm", "salt", "info"))
        if t["result"] != "valid":
            with pytest.raises(ValueError):
                hkdf(key, salt=salt, info=info, length=t["size"])
        else:
            assert hkdf(key, salt=salt, info=info, length=t["size"]).hex() == t["okm"], t["tcId"]
        checked += 1
    assert checked > 50


def test_both_sides_derive_one_key_and_every_context_another():
    a, b = (hashlib.sha256(x).digest() for x in (b"a", b"b"))
    pa, pb = public_key(a), public_key(b)

    def key(**changed):
        facts = {
            "private": a,
            "me": "tax",
            "my_public": pa,
            "peer": "bank",
            "peer_public": pb,
            "job": b"j" * 32,
            "attempt": 1,
        }
        return pair_key(**{**facts, **changed})

    other_side = pair_key(private=b, me="bank", my_public=pb, peer="tax", peer_public=pa, job=b"j" * 32, attempt=1)
    assert key() == other_side
    assert len({key(), key(attempt=2), key(job=b"k" * 32), key(me="tay"), key(peer="bunk")}) == 5
