"""Whose word a job runs on, as an owner's signed approval tells it, and when two names are one person."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Said:
    """A person's approval. ``through``: "console", by a token of that person; "command", by whoever may write the
    node's folder."""

    person: str
    at: int
    reason: str
    through: str


def same_person(name: str) -> str:
    """A name as it is compared: spellings of one name that differ in case, width and spaces are one person."""
    return "".join(unicodedata.normalize("NFKC", name).casefold().split())


def approved_by(statement: Mapping[str, Any]) -> tuple[Said, ...]:
    """The persons that ``by_hand`` of a signed approval names; none where it is not in its form."""
    told = statement.get("by_hand")
    words = [w for w in told if isinstance(w, dict)] if isinstance(told, list) else []
    found = [Said(*(w.get(k) for k in ("person", "at", "reason", "through"))) for w in words]  # type: ignore[arg-type]
    good = [(isinstance(s.at, int), *(isinstance(x, str) for x in (s.person, s.reason, s.through))) for s in found]
    return tuple(found) if found and all(map(all, good)) and len(found) == len(told or ()) else ()


def persons(statement: Mapping[str, Any]) -> int:
    """How many different persons approved."""
    return len({same_person(s.person) for s in approved_by(statement)})
