"""Ids as every party must write them, laid out so that tags are computed by column (protocols.md, P6.1).

    column of text or integers ──▶ canonical bytes ──▶ field: two length bytes (big-endian), bytes, zeros
    fields of a key side by side, zeros up to a multiple of 16 ──▶ one row of a byte matrix, one width for all

A ``Field`` is one column of a key. Its ``form`` says what two writings of one id have in common:

``id``           Unicode compatibility caseless match (The Unicode Standard, D146: NFKC of the case-folded text), so
                 full-width letters and digits and small letters are the same; then spaces, dashes, underscores, dots,
                 slashes, middle dots, control and format characters are left out, and ASCII letters written as
                 capitals. What is empty then names nobody: NULL.
``credit_code``  an id that must be a unified social credit code (GB 32100-2015): 18 characters, check character right
``text``         the UTF-8 bytes as they are, as SQL compares text
``integer``      a 64-bit integer (also dates in days, decimals in units, booleans), 8 bytes little-endian

Widths come from the plan, never from the data: a width that depends on the longest id would tell its length, and tags
of two widths never match. NULL in any column of a key makes the key NULL: it equals nothing.

Arrow's text layout goes in as it is (offsets, bytes, validity), so a node hands its buffers over without a copy. There
is no Python loop over rows but for the texts with a character outside ASCII.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mpc.errors import LocalError

Form = Literal["id", "credit_code", "text", "integer"]
TEXT_FORMS = ("id", "credit_code", "text")
Bytes = NDArray[np.uint8]
Flags = NDArray[np.bool_]

#: bytes of an AES block; a row of the matrix is a whole number of them
BLOCK = 16
#: the length of a field is written in two bytes
LENGTH_BYTES = 2
LONGEST = 2**16 - 1

#: printed between the texts of the slow path; a noncharacter, which no id may hold
_BETWEEN = "\uffff"
_DROPPED_CATEGORIES = frozenset({"Zs", "Zl", "Zp", "Cc", "Cf", "Pd", "Pc"})
_DROPPED = frozenset("./\\·・−")  # the last is the minus sign
_TO_CAPITALS = {ord(c): ord(c.upper()) for c in "abcdefghijklmnopqrstuvwxyz"}

_CREDIT_ALPHABET = b"0123456789ABCDEFGHJKLMNPQRTUWXY"
_CREDIT_LENGTH = 18


@dataclass(frozen=True)
class Field:
    """One column of a key: its form, and the most bytes its canonical writing may take."""

    form: Form
    size: int

    def __post_init__(self) -> None:
        assert 0 < self.size <= LONGEST
        assert self.form != "integer" or self.size == 8
        assert self.form != "credit_code" or self.size == _CREDIT_LENGTH


INTEGER = Field("integer", 8)
CREDIT_CODE = Field("credit_code", _CREDIT_LENGTH)


@dataclass(frozen=True, eq=False)
class Texts:
    """A column of text in Arrow's layout: text i is ``data[offsets[i]:offsets[i + 1]]``, UTF-8.

    ``offsets``: (n + 1,) int32 or int64; ``data``: (≥ offsets[-1],) uint8; ``null``: (n,) bool or None for no NULLs.
    """

    offsets: NDArray[np.signedinteger]
    data: Bytes
    null: Flags | None = None

    def __repr__(self) -> str:
        return f"Texts({len(self.offsets) - 1})"


@dataclass(frozen=True, eq=False)
class Integers:
    """A column of 64-bit integers; ``null``: (n,) bool or None for no NULLs."""

    values: NDArray[np.int64]
    null: Flags | None = None

    def __repr__(self) -> str:
        return f"Integers({len(self.values)})"


@dataclass(frozen=True, eq=False)
class Keys:
    """Keys laid out: ``matrix`` (n, width) uint8; ``null`` (n,) bool, whose rows of the matrix mean nothing
    (``lay_out`` makes them zeros)."""

    matrix: Bytes
    null: Flags

    def __len__(self) -> int:
        return len(self.null)

    def __repr__(self) -> str:
        return f"Keys({len(self)})"


def width(fields: Sequence[Field]) -> int:
    """Bytes of a row of the matrix for a key of these columns."""
    used = sum(LENGTH_BYTES + f.size for f in fields)
    return -(-used // BLOCK) * BLOCK


def lay_out(fields: Sequence[Field], columns: Sequence[Texts | Integers]) -> Keys:
    """The keys of a table, one row each. Raises LocalError data.id naming row and rule, never the id."""
    assert fields and len(fields) == len(columns)
    n = len(columns[0].values) if isinstance(columns[0], Integers) else len(columns[0].offsets) - 1
    matrix = np.zeros((n, width(fields)), dtype=np.uint8)
    null = np.zeros(n, dtype=np.bool_)
    start = 0
    for field, column in zip(fields, columns, strict=True):
        target = matrix[:, start : start + LENGTH_BYTES + field.size]
        if isinstance(column, Integers):
            assert field.form == "integer"
            null |= _integers(target, column)
        else:
            null |= _texts(target, canonical(field.form, column), field)
        start += LENGTH_BYTES + field.size
    if null.any():
        matrix[null] = 0  # what lies under a NULL is chance
    return Keys(matrix, null)


def canonical(form: Form, column: Texts) -> Texts:
    """The texts in their canonical writing; an ``id`` that comes out empty is NULL."""
    assert form != "integer"
    if form == "text":
        return column
    offsets = column.offsets.astype(np.int64, copy=False)
    data = column.data[offsets[0] : offsets[-1]]
    offsets = offsets - offsets[0]
    if len(data) and data.max() >= 0x80:
        offsets, data = _fold_beyond_ascii(offsets, data, column.null)
    written = _ASCII[data]
    kept = written != 0
    if not kept.all():
        # how many characters were kept before each place: the new place of every offset
        before = np.concatenate(([0], np.cumsum(kept, dtype=np.int64)))
        offsets, written = before[offsets], written[kept]
    null = offsets[1:] == offsets[:-1]
    return Texts(offsets, written, null if column.null is None else null | column.null)


def _ascii_table() -> Bytes:
    """Canonical byte of each byte, 0 for what is left out; bytes of longer characters are kept."""
    table = np.arange(256, dtype=np.uint8)
    for code in range(128):
        table[code] = 0 if _is_dropped(chr(code)) else ord(chr(code).upper())
    return table


def _is_dropped(character: str) -> bool:
    return unicodedata.category(character) in _DROPPED_CATEGORIES or character in _DROPPED


_ASCII = _ascii_table()


def _fold_beyond_ascii(offsets: NDArray[np.int64], data: Bytes, null: Flags | None) -> tuple[NDArray[np.int64], Bytes]:
    """Texts with a character outside ASCII in their canonical writing, the others untouched."""
    beyond = np.flatnonzero(data >= 0x80)
    rows = np.unique(np.searchsorted(offsets, beyond, side="right") - 1)
    if null is not None:
        rows = rows[~null[rows]]  # what stands under a NULL is anything
    raw = data.tobytes()
    ends = zip(offsets[rows].tolist(), offsets[rows + 1].tolist(), strict=True)
    try:
        pieces = [raw[start:end].decode() for start, end in ends]
    except UnicodeDecodeError:
        raise _refused("A text of a key is not UTF-8.") from None
    folded = [piece.encode() for piece in _fold(pieces)]

    # cut the column at the folded rows: what stands between two of them is copied whole
    joined: list[bytes] = []
    lengths = np.diff(offsets)
    lengths[rows] = [len(piece) for piece in folded]
    done = 0
    for start, end, piece in zip(offsets[rows].tolist(), offsets[rows + 1].tolist(), folded, strict=True):
        joined += (raw[done:start], piece)
        done = end
    joined.append(raw[done:])
    return np.concatenate(([0], np.cumsum(lengths))), np.frombuffer(b"".join(joined), dtype=np.uint8)


def _fold(texts: list[str]) -> list[str]:
    """Many texts at once: normalisation and folding never look across the noncharacter that is put between them."""
    text = _BETWEEN.join(texts)
    if text.count(_BETWEEN) != len(texts) - 1 or any(
        unicodedata.category(c) == "Cn" for c in set(text) if c != _BETWEEN
    ):
        # a later Unicode may fold it otherwise, and two parties with two versions would not match without a word
        raise _refused(
            f"A key holds a character that Unicode {unicodedata.unidata_version} does not know.",
            "Mend the key, or declare it as exact text.",
        )
    text = unicodedata.normalize("NFKC", unicodedata.normalize("NFD", text).casefold())
    text = unicodedata.normalize("NFKC", text.casefold())
    text = text.translate({ord(c): None for c in set(text) if _is_dropped(c)})
    # a mark may have come to stand behind another letter
    return unicodedata.normalize("NFKC", text).translate(_TO_CAPITALS).split(_BETWEEN)


def _texts(target: Bytes, column: Texts, field: Field) -> Flags:
    """Write canonical texts into their field of the matrix; returns which are NULL."""
    offsets = column.offsets.astype(np.int64, copy=False)
    n = len(offsets) - 1
    null = np.zeros(n, dtype=np.bool_) if column.null is None else column.null
    lengths = np.diff(offsets)
    too_long = (lengths > field.size) & ~null
    if too_long.any():
        raise _refused(
            f"The key in row {int(np.argmax(too_long)) + 1} takes more than the {field.size} bytes declared for it.",
            "Declare a greater width in the catalog; every member of the join needs the same.",
        )
    lengths = np.where(null, 0, lengths)
    target[:, 0] = lengths >> 8
    target[:, 1] = lengths & 0xFF
    length = int(lengths[0]) if n else 0
    if not null.any() and (lengths == length).all():
        # ids of one length, as nearly all are: one strided copy
        target[:, LENGTH_BYTES : LENGTH_BYTES + length] = column.data[offsets[0] : offsets[-1]].reshape(n, length)
    else:
        _scatter(target[:, LENGTH_BYTES:], column.data, offsets[:-1], lengths)
    if field.form == "credit_code":
        _verify_credit_codes(target[:, LENGTH_BYTES:], lengths, null)
    return null


def _scatter(target: Bytes, data: Bytes, starts: NDArray[np.int64], lengths: NDArray[np.int64]) -> None:
    """Row i of ``target`` begins with the ``lengths[i]`` bytes of ``data`` from ``starts[i]``; place by place."""
    rows = np.arange(len(starts))
    for place in range(int(lengths.max()) if len(lengths) else 0):
        if place:
            rows = rows[lengths[rows] > place]
        else:
            rows = np.flatnonzero(lengths)
        target[rows, place] = data[starts[rows] + place]


def _integers(target: Bytes, column: Integers) -> Flags:
    values = column.values.astype("<i8", copy=False)
    target[:, 1] = 8
    target[:, LENGTH_BYTES:] = np.ascontiguousarray(values).view(np.uint8).reshape(-1, 8)
    return np.zeros(len(values), dtype=np.bool_) if column.null is None else column.null


def _credit_values() -> NDArray[np.int16]:
    values = np.full(256, -1, dtype=np.int16)
    values[list(_CREDIT_ALPHABET)] = np.arange(len(_CREDIT_ALPHABET), dtype=np.int16)
    return values


_CREDIT_VALUES = _credit_values()
#: character i of a credit code weighs 3^i mod 31, the check character 1; all of them add up to 0 mod 31
_CREDIT_WEIGHTS = np.array([pow(3, i, 31) for i in range(_CREDIT_LENGTH - 1)] + [1], dtype=np.int16)


def _verify_credit_codes(codes: Bytes, lengths: NDArray[np.int64], null: Flags) -> None:
    """Raises LocalError data.id unless every code that is not NULL has 18 allowed characters and its check is right."""
    values = _CREDIT_VALUES[codes]
    wrong = (lengths != _CREDIT_LENGTH) | (values < 0).any(axis=1) | ((values @ _CREDIT_WEIGHTS) % 31 != 0)
    wrong &= ~null
    if wrong.any():
        raise _refused(
            f"The key in row {int(np.argmax(wrong)) + 1} is not a unified social credit code: "
            f"18 characters, without I, O, S, V, Z, the last one checking the others.",
            "Mend the table, or declare the column as a plain id.",
        )


def _refused(message: str, advice: str = "Mend the table.") -> LocalError:
    return LocalError("data.id", message, advice)
