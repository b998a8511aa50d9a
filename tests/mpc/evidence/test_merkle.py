"""The tree against RFC 6962's own recursion, and against the vectors of transparency-dev/merkle."""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpc.evidence.merkle import Tree, consistent, included, leaf_hash, node_hash

VECTORS = Path(__file__).parents[3].parent / "shared" / "vectors" / "merkle"
MOST = 70


def naive(leaves: list[bytes]) -> bytes:
    """RFC 6962, 2.1, word by word."""
    if not leaves:
        return hashlib.sha256().digest()
    if len(leaves) == 1:
        return leaves[0]
    k = 1
    while 2 * k < len(leaves):
        k *= 2
    return node_hash(naive(leaves[:k]), naive(leaves[k:]))


LEAVES = [leaf_hash(b"entry %d" % i) for i in range(MOST)]
TREE = Tree(LEAVES)


def test_roots_of_every_size() -> None:
    for size in range(MOST + 1):
        assert TREE.root(size) == naive(LEAVES[:size])


def test_every_inclusion_proof_holds_there_and_nowhere_else() -> None:
    for size in (1, 2, 3, 7, 8, 33, 64, MOST):
        for index in range(size):
            proof = TREE.inclusion(index, size)
            assert included(LEAVES[index], index, size, proof, TREE.root(size))
            assert not included(LEAVES[index], (index + 1) % size, size, proof, TREE.root(size)) or size == 1
            assert not included(leaf_hash(b"other"), index, size, proof, TREE.root(size))
            assert not included(LEAVES[index], index, size, [*proof, LEAVES[0]], TREE.root(size))
            assert not proof or not included(LEAVES[index], index, size, proof[:-1], TREE.root(size))


def test_every_consistency_proof_holds_between_its_sizes_only() -> None:
    for size in range(1, MOST + 1):
        for old in range(1, size + 1):
            proof = TREE.consistency(old, size)
            assert consistent(old, TREE.root(old), size, TREE.root(size), proof), (old, size)
            assert not consistent(old, leaf_hash(b"other"), size, TREE.root(size), proof)
            assert not consistent(old, TREE.root(old), size, leaf_hash(b"other"), proof)
            if old < size:
                assert not consistent(old, TREE.root(old), size, TREE.root(size), [*proof, LEAVES[0]])


@given(st.integers(1, MOST), st.data())
def test_a_changed_entry_is_no_beginning(size: int, data: st.DataObject) -> None:
    changed = data.draw(st.integers(0, size - 1))
    other = Tree([*LEAVES[:changed], leaf_hash(b"rewritten"), *LEAVES[changed + 1 :]])
    old = data.draw(st.integers(changed + 1, size))
    assert not consistent(old, TREE.root(old), size, other.root(size), other.consistency(old, size))


def test_what_the_tree_never_had() -> None:
    tree = Tree(LEAVES[:3])
    for call in (lambda: tree.root(4), lambda: tree.inclusion(3, 3), lambda: tree.consistency(1, 4)):
        with pytest.raises(IndexError):
            call()


def decoded(value: str | None) -> bytes:
    return base64.b64decode(value or "")


def vectors(kind: str) -> list[tuple[Path, dict[str, object]]]:
    files = sorted((VECTORS / kind).rglob("*.json"))
    return [(f, json.loads(f.read_text(encoding="utf-8"))) for f in files]


def test_vectors() -> None:
    if not VECTORS.exists():
        pytest.skip(f"the vectors of transparency-dev/merkle are not at {VECTORS}")
    seen = 0
    for file, v in vectors("inclusion"):
        proof = [decoded(p) for p in v["proof"] or []]  # type: ignore[attr-defined]
        leaf, root = decoded(v["leafHash"]), decoded(v["root"])  # type: ignore[arg-type]
        assert included(leaf, int(v["leafIdx"]), int(v["treeSize"]), proof, root) != v["wantErr"], file  # type: ignore[call-overload]
        seen += 1
    for file, v in vectors("consistency"):
        proof = [decoded(p) for p in v["proof"] or []]  # type: ignore[attr-defined]
        roots = decoded(v["root1"]), decoded(v["root2"])  # type: ignore[arg-type]
        good = consistent(int(v["size1"]), roots[0], int(v["size2"]), roots[1], proof)  # type: ignore[call-overload]
        assert good != v["wantErr"], file
        seen += 1
    assert seen == 196
