"""On which line of a TOML text each table header and key stands: tomllib does not say, a person who errs must know.

Works on texts that tomllib has accepted, so it need not find mistakes, only skip what is not a key: comments,
strings of all four kinds, brackets over several lines. Keys and headers themselves are read by tomllib.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

Path = tuple[str, ...]
_QUOTES = ('"""', "'''", '"', "'")


@dataclass(frozen=True)
class Statement:
    """A ``[table]``, ``[[array]]`` or ``key = ...`` and the line (from 1) it starts on."""

    kind: Literal["table", "array", "key"]
    path: Path
    line: int


@dataclass
class Lines:
    """Lines of the top-level names, of the n-th ``[[name]]`` header, and of the keys under each of these."""

    top: dict[str, int] = field(default_factory=dict)
    headers: list[int] = field(default_factory=list)
    keys: list[dict[str, int]] = field(default_factory=list)


def lines_of(text: str, array: str) -> Lines:
    """Where things stand in ``text``, for the array of tables called ``array``."""
    lines = Lines()
    here: Path = ()
    for statement in statements(text):
        path = statement.path if statement.kind != "key" else here + statement.path
        if statement.kind == "array" and path == (array,):
            lines.headers.append(statement.line)
            lines.keys.append({})
        elif len(path) > 1 and path[0] == array and lines.keys:
            lines.keys[-1].setdefault(path[1], statement.line)
        lines.top.setdefault(path[0], statement.line)
        if statement.kind != "key":
            here = path
    return lines


def statements(text: str) -> Iterator[Statement]:
    """All headers and keys of a valid TOML text, in order."""
    at = 0
    while at < len(text):
        if text[at].isspace():
            at += 1
            continue
        if text[at] == "#":
            at = _line_end(text, at)
            continue
        line = text.count("\n", 0, at) + 1
        if text[at] == "[":
            end = _line_end(text, at)
            double = text.startswith("[[", at)
            close = _skip(text, at, stop="\n#")
            inside = text[at:close].strip()
            yield Statement("array" if double else "table", _path(inside.strip("[] \t") + " = 0"), line)
            at = end
        else:
            equals = _skip(text, at, stop="=")
            yield Statement("key", _path(text[at:equals] + " = 0"), line)
            at = _skip(text, equals + 1, stop="\n")


def _path(assignment: str) -> Path:
    """The parts of a possibly dotted and quoted key."""
    found: list[str] = []
    value: object = tomllib.loads(assignment)
    while isinstance(value, dict):
        [(key, value)] = value.items()
        found.append(key)
    return tuple(found)


def _skip(text: str, at: int, stop: str) -> int:
    """The position of the next character of ``stop`` outside strings, comments and brackets (or the end)."""
    depth = 0
    while at < len(text):
        quote = next((q for q in _QUOTES if text.startswith(q, at)), None)
        if quote:
            at = _string_end(text, at, quote)
            continue
        if depth <= 0 and text[at] in stop:
            return at
        if text[at] == "#":
            at = _line_end(text, at)
            continue
        depth += {"[": 1, "{": 1, "]": -1, "}": -1}.get(text[at], 0)
        at += 1
    return at


def _string_end(text: str, at: int, quote: str) -> int:
    at += len(quote)
    while at < len(text) and not text.startswith(quote, at):
        at += 2 if text[at] == "\\" and quote[0] == '"' else 1
    at += len(quote)
    while len(quote) == 3 and text.startswith(quote[0], at):  # """a"""" ends in a quote of its own
        at += 1
    return at


def _line_end(text: str, at: int) -> int:
    end = text.find("\n", at)
    return len(text) if end < 0 else end
