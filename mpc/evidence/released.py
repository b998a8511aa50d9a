"""What a recipient opened: the table it was shown, the words that it was computed from, and what verifies them.

    {"statement": {…, "nonce"}, "columns": [[name, kind, suppressed, [value…]]…], "words": {sum: base64},
     "bound": {sum: {"scalars": […], "parties": {name: {"digest", "signature", "points"}}}}}

The digest of this JSON is what the recipient's log says it was shown (``nonce``: 32 random bytes, so that nobody
searches for it). With the recipient's consent the text stands in a bundle: then anybody can compute the table from the
words again, hold every shown cell against the owners' limits, and verify verified sums (P11). Values are texts, true,
false or null; ``suppressed`` are the numbers of the rows in which the column is. ``scalars``: the sums of the
contributors' r, masks taken off, in hexadecimal.
"""

from __future__ import annotations

import base64
import datetime as dt
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mpc.messages import Agreed, RingWords
from mpc.protocols.total import Sum
from mpc.protocols.verified import Binding, Bound
from mpc.query import finish

#: name, kind, rows in which it is suppressed, values as texts
Columns = list[list[Any]]


@dataclass(frozen=True)
class Released:
    """``words`` and ``bound`` by the name of the sum (mpc.roles.sums_of)."""

    statement: Mapping[str, Any]
    columns: Columns
    words: Mapping[str, bytes]
    bound: Mapping[str, Binding] = field(default_factory=dict)

    def to_bytes(self) -> bytes:
        body = {
            "statement": dict(self.statement),
            "columns": self.columns,
            "words": {name: base64.b64encode(raw).decode() for name, raw in self.words.items()},
            "bound": {name: _told(b) for name, b in self.bound.items()},
        }
        return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()

    @staticmethod
    def from_bytes(raw: bytes) -> Released:
        """Raises ValueError, KeyError, TypeError or AttributeError for what has not this form."""
        body = json.loads(raw)
        if body.keys() != {"statement", "columns", "words", "bound"}:
            raise ValueError("not exactly the fields of what was released")
        return Released(
            dict(body["statement"]),
            [list(c) for c in body["columns"]],
            {name: base64.b64decode(text, validate=True) for name, text in body["words"].items()},
            {name: _binding(told) for name, told in body["bound"].items()},
        )

    def total(self, s: Sum) -> RingWords:
        """The opened words of a sum: shape (length,) or (length, 2). Raises KeyError, ValueError."""
        words = np.frombuffer(self.words[s.name], dtype="<u8").astype(np.uint64)
        return words.reshape((s.length,) if s.bits == 64 else (s.length, 2))

    @property
    def suppressed(self) -> int:
        """How many values are."""
        return sum(len(rows) for _, _, rows, _ in self.columns)


def columns_of(computed: finish.Result) -> Columns:
    """The finished rows, column by column."""
    hidden = [[i for i, names in enumerate(computed.suppressed) if name in names] for name in computed.names]
    values = [[_text(row[c]) for row in computed.rows] for c in range(len(computed.names))]
    return [list(column) for column in zip(computed.names, computed.kinds, hidden, values, strict=True)]


def words_of(totals: Mapping[str, RingWords]) -> dict[str, bytes]:
    """Opened totals as bytes."""
    return {name: np.ascontiguousarray(words, dtype="<u8").tobytes() for name, words in totals.items()}


def _text(value: Any) -> str | bool | None:
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, int | float):
        return repr(value)
    return value.isoformat() if isinstance(value, dt.date) else format(value, "f")


def _told(binding: Binding) -> dict[str, Any]:
    parties = {
        i: {"digest": b.word.digest.hex(), "signature": b.word.signature.hex(), "points": [p.hex() for p in b.points]}
        for i, b in binding.bound.items()
    }
    return {"scalars": [f"{t:x}" for t in binding.scalars], "parties": parties}


def _binding(told: Any) -> Binding:
    bound = {
        i: Bound(
            Agreed(bytes.fromhex(b["digest"]), bytes.fromhex(b["signature"])),
            tuple(bytes.fromhex(p) for p in b["points"]),
        )
        for i, b in told["parties"].items()
    }
    return Binding(bound, tuple(int(t, 16) for t in told["scalars"]))
