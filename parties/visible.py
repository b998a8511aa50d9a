"""Texts of others, as they are shown to a person who decides by them."""

from __future__ import annotations

import unicodedata


def visible(text: str) -> str:
    """``text`` with whatever does not print written out as in Python: control characters (ESC) move a terminal's
    cursor, and marks of direction (U+202E) turn what follows round, so that something else would be read than is there.
    Ends of lines, tabs and spaces stay."""
    return "".join(c if _harmless(c) else c.encode("unicode_escape").decode() for c in text)


def _harmless(c: str) -> bool:
    return c in "\n\t" or c.isprintable() or unicodedata.category(c) == "Zs"
