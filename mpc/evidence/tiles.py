"""How a log lies in files (C2SP tlog-tiles): paths, and entries in bundles.

checkpoint                     the newest signed note
tile/0/x001/234                hashes of 256 entries, 32 bytes each; tile/1 those of 256 full tiles, and so on
tile/0/x001/235.p/17           a tile that is not full yet, with the first 17 of its hashes
tile/entries/x001/234          the entries themselves, each with its length (2 bytes, big-endian) in front
"""

from __future__ import annotations

from collections.abc import Iterable

from mpc.evidence.merkle import SIZE
from mpc.evidence.note import Malformed

#: entries, or hashes, of a full tile
WIDTH = 256


def path(level: int | str, index: int, width: int = WIDTH) -> str:
    """Where tile ``index`` of a level ("entries" for the entries) lies, full or with its first ``width``."""
    digits = f"{index % 1000:03}"
    while index >= 1000:
        index //= 1000
        digits = f"x{index % 1000:03}/{digits}"
    return f"tile/{level}/{digits}" + ("" if width == WIDTH else f".p/{width}")


def bundle(entries: Iterable[bytes]) -> bytes:
    """Entries as they lie in a tile."""
    return b"".join(len(e).to_bytes(2, "big") + e for e in entries)


def whole_entries(raw: bytes) -> tuple[list[bytes], int]:
    """The entries that stand in ``raw`` whole, and how many bytes they take: less than all where the last is torn."""
    found, at = [], 0
    while at + 2 <= len(raw):
        end = at + 2 + int.from_bytes(raw[at : at + 2], "big")
        if end > len(raw):
            break
        found.append(raw[at + 2 : end])
        at = end
    return found, at


def unbundle(raw: bytes) -> list[bytes]:
    """Strict inverse of ``bundle``. Raises Malformed."""
    found, end = whole_entries(raw)
    if end != len(raw):
        raise Malformed("a bundle of entries that ends in the middle of one")
    return found


def begins(level: str, tile: bytes, width: int) -> bytes | None:
    """The first ``width`` of a tile of a level ("entries" for entries): what a narrower one was. None where it has not
    as many. Raises Malformed."""
    if level == "entries":
        entries = unbundle(tile)
        return bundle(entries[:width]) if width <= len(entries) else None
    return tile[: width * SIZE] if width * SIZE <= len(tile) else None
