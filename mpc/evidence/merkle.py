"""The Merkle tree of RFC 6962 (section 2.1): SHA-256, 0x00 before a leaf, 0x01 before two nodes.

    root(n leaves) = H(1 ‖ root(first k) ‖ root(rest)),  k the largest power of two below n

``Tree`` keeps the hashes of all complete subtrees, level by level, so a root, an inclusion proof or a consistency proof
of any size that the tree ever had takes logarithmic work. Proofs are verified as RFC 9162, 2.1.3.2 and 2.1.4.2, spell
out; the vectors of the transparency-dev project are in the tests.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

SIZE = 32


def leaf_hash(*parts: bytes | memoryview) -> bytes:
    """The hash of one leaf, such as an entry of a log, given in one piece or several."""
    hashed = hashlib.sha256(b"\x00")
    for part in parts:
        hashed.update(part)
    return hashed.digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


class Tree:
    """A tree that grows. ``levels[k]`` holds the roots of the complete subtrees of 2^k leaves, one after the other."""

    def __init__(self, leaves: Iterable[bytes] = ()) -> None:
        self._levels: list[bytearray] = [bytearray()]
        for leaf in leaves:
            self.append(leaf)

    def __len__(self) -> int:
        """How many leaves there are."""
        return len(self._levels[0]) // SIZE

    def append(self, leaf: bytes) -> None:
        """Add one leaf hash (32 bytes)."""
        assert len(leaf) == SIZE
        level = 0
        self._levels[0] += leaf
        while len(self._levels[level]) // SIZE % 2 == 0:
            left, right = self.node(level, -2), self.node(level, -1)
            level += 1
            if level == len(self._levels):
                self._levels.append(bytearray())
            self._levels[level] += node_hash(left, right)

    def node(self, level: int, index: int) -> bytes:
        """Root of the complete subtree of leaves [index · 2^level, (index + 1) · 2^level); negative: from the end."""
        hashes = self._levels[level]
        at = index * SIZE if index >= 0 else len(hashes) + index * SIZE
        if at < 0 or at + SIZE > len(hashes):
            raise IndexError("no such subtree")
        return bytes(hashes[at : at + SIZE])

    def root(self, size: int | None = None) -> bytes:
        """The root of the first ``size`` leaves (all, if None)."""
        size = len(self) if size is None else size
        if not 0 <= size <= len(self):
            raise IndexError("the tree never had this size")
        return self._range(0, size) if size else hashlib.sha256().digest()

    def inclusion(self, index: int, size: int) -> list[bytes]:
        """The audit path of leaf ``index`` in the tree of the first ``size`` leaves, from the leaf upwards."""
        if not 0 <= index < size <= len(self):
            raise IndexError("no such leaf in a tree of this size")
        path, low, high = [], 0, size
        while high - low > 1:
            middle = low + _split(high - low)
            if index < middle:
                path.append(self._range(middle, high))
                high = middle
            else:
                path.append(self._range(low, middle))
                low = middle
        return path[::-1]

    def consistency(self, old: int, size: int) -> list[bytes]:
        """Proof that the tree of the first ``old`` leaves is the beginning of that of the first ``size``."""
        if not 0 <= old <= size <= len(self):
            raise IndexError("the tree never had this size")
        if old in (0, size):
            return []  # nothing to prove
        path, low, high = [], 0, size
        while old != high:
            middle = low + _split(high - low)
            if old <= middle:
                path.append(self._range(middle, high))
                high = middle
            else:
                path.append(self._range(low, middle))
                low = middle
        # what is left is the old tree's last complete part; the verifier knows it if it is the whole old tree
        return [*([self._range(low, high)] if low else []), *path[::-1]]

    def peaks(self, size: int) -> list[bytes]:
        """The roots of the complete subtrees that the first ``size`` leaves fall into, the largest first."""
        if not 0 <= size <= len(self):
            raise IndexError("the tree never had this size")
        return [self.node(level, low >> level) for level, low in _complete(size)]

    def _range(self, low: int, high: int) -> bytes:
        """The root over leaves [low, high), where low is a multiple of the range's largest complete subtree."""
        size = high - low
        level = size.bit_length() - 1
        if size == 1 << level:
            return self.node(level, low >> level)
        middle = low + _split(size)
        return node_hash(self._range(low, middle), self._range(middle, high))


def _split(size: int) -> int:
    """The largest power of two below ``size``."""
    return 1 << (size - 1).bit_length() - 1


def _complete(size: int) -> list[tuple[int, int]]:
    """The complete subtrees that ``size`` leaves fall into: level and first leaf."""
    levels = [level for level in range(size.bit_length() - 1, -1, -1) if size >> level & 1]
    return [(level, size >> level + 1 << level + 1) for level in levels]


class Grown:
    """A tree of which only the ``peaks`` of the first ``size`` leaves are known, and what was appended since.

    Whoever has the root before, all leaves since and the root after has shown that nothing else was appended.
    """

    def __init__(self, size: int, peaks: Sequence[bytes]) -> None:
        """Raises ValueError where these cannot be the peaks of ``size`` leaves."""
        if size < 0 or len(peaks) != size.bit_count() or not _hashes(peaks):
            raise ValueError("not the peaks of a tree of this size")
        self._size, self._peaks = size, list(peaks)

    def append(self, leaf: bytes) -> None:
        """Add one leaf hash."""
        self._peaks.append(leaf)
        for _ in range((self._size ^ (self._size + 1)).bit_length() - 1):
            right = self._peaks.pop()
            self._peaks[-1] = node_hash(self._peaks[-1], right)
        self._size += 1

    def root(self) -> bytes:
        """The root as of now."""
        if not self._peaks:
            return hashlib.sha256().digest()
        here = self._peaks[-1]
        for peak in self._peaks[-2::-1]:
            here = node_hash(peak, here)
        return here


def included(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> bool:
    """Whether ``proof`` shows that ``leaf`` (a leaf hash) stands at ``index`` in the tree of ``size`` and ``root``."""
    if not 0 <= index < size or not _hashes([leaf, root, *proof]):
        return False
    fn, sn, here = index, size - 1, leaf
    for p in proof:
        if sn == 0:
            return False
        if fn & 1 or fn == sn:
            here = node_hash(p, here)
            while fn and not fn & 1:
                fn, sn = fn >> 1, sn >> 1
        else:
            here = node_hash(here, p)
        fn, sn = fn >> 1, sn >> 1
    return sn == 0 and here == root


def consistent(old: int, old_root: bytes, size: int, root: bytes, proof: Sequence[bytes]) -> bool:
    """Whether ``proof`` shows that the tree of ``old`` and ``old_root`` is the beginning of that of ``size``, ``root``.

    An empty tree is the beginning of every tree: nothing is shown, so False.
    """
    if old == size > 0:
        return not proof and old_root == root
    if not 0 < old < size or not _hashes([old_root, root, *proof]):
        return False
    path = list(proof) if old & (old - 1) else [old_root, *proof]
    if not path:
        return False
    fn, sn = old - 1, size - 1
    while fn & 1:
        fn, sn = fn >> 1, sn >> 1
    first = second = path[0]
    for p in path[1:]:
        if sn == 0:
            return False
        if fn & 1 or fn == sn:
            first, second = node_hash(p, first), node_hash(p, second)
            while fn and not fn & 1:
                fn, sn = fn >> 1, sn >> 1
        else:
            second = node_hash(second, p)
        fn, sn = fn >> 1, sn >> 1
    return sn == 0 and first == old_root and second == root


def _hashes(values: Sequence[bytes]) -> bool:
    return all(len(v) == SIZE for v in values)
