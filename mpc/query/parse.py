"""SQL text to sqlglot's tree, and errors that point into the text.

sqlglot only parses. Names are resolved by our own binder (``mpc.query.relations``, ``mpc.query.scalars``), since
sqlglot's qualify lets whole-row references through (query.md, "Names are not trusted").
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches

import sqlglot
from sqlglot import exp
from sqlglot.errors import ParseError, SqlglotError

from mpc.errors import LocalError

MAX_SQL = 100_000
#: nested brackets and operators; far below the recursion limit of the parser and of our own walks
MAX_DEPTH = 120
#: the first word behind comments and brackets
_WORD = re.compile(r"(?:--[^\n]*+|/\*.*?\*/|[^A-Za-z])*+(?P<word>[A-Za-z]+)", re.DOTALL)


@dataclass(frozen=True)
class Source:
    """The text of a query, for positions."""

    text: str

    def position(self, node: exp.Expr | None) -> tuple[int, int]:
        """Line and column (from 1) where a node begins; where sqlglot keeps no position, that of what it stands in."""
        while node is not None:
            starts = [n.meta["start"] for n in node.walk() if "start" in n.meta]
            if starts:
                return self.at(min(starts))
            node = node.parent
        return self.at(0)

    def word(self, node: exp.Expr) -> str:
        """The word with which a node begins, in capitals, as written; "" where sqlglot does not keep it."""
        found = re.match(r"\w+", self.text[node.meta["start"] :]) if "start" in node.meta else None
        return found[0].upper() if found else ""

    def at(self, offset: int) -> tuple[int, int]:
        return self.text.count("\n", 0, offset) + 1, offset - self.text.rfind("\n", 0, offset)

    def error(self, code: str, node: exp.Expr | None, message: str, advice: str = "") -> LocalError:
        """An error about a node, with its line and column in message and facts. A suggestion is part of the message."""
        line, column = self.position(node)
        if advice.startswith("Did you mean"):
            message, advice = f"{message} {advice}", ""
        return LocalError(code, f"Line {line}, column {column}: {message}", advice, line=line, column=column)

    def unsupported(self, node: exp.Expr | None, what: str, advice: str) -> LocalError:
        return self.error("sql.unsupported", node, f"{what} is not supported.", advice)


def parse(sql: str) -> tuple[Source, exp.Query]:
    """Exactly one SELECT statement. Raises LocalError sql.syntax or sql.unsupported."""
    source = Source(sql)
    if len(sql) > MAX_SQL:
        raise LocalError(
            "sql.unsupported",
            f"The query has {len(sql)} characters; at most {MAX_SQL} are read.",
            "Leave out what is generated, or use several queries.",
            line=1,
            column=1,
        )
    if "\x00" in sql:
        raise LocalError("sql.syntax", "Line 1, column 1: the text contains a NUL character.", line=1, column=1)
    try:
        statements = [
            s for s in sqlglot.parse(sql, dialect="duckdb") if s is not None and not isinstance(s, exp.Semicolon)
        ]
    except ParseError as problem:
        raise _syntax(source, problem) from None
    except SqlglotError:
        raise LocalError(
            "sql.syntax",
            "Line 1, column 1: the text cannot be split into words.",
            "Look for a quote or a comment that is not closed.",
            line=1,
            column=1,
        ) from None
    except RecursionError:
        raise too_deep() from None
    if not statements:
        raise LocalError("sql.syntax", "Line 1, column 1: there is no query.", "Write SELECT …", line=1, column=1)
    if len(statements) > 1:
        raise source.unsupported(statements[1], "A second statement", "Submit each SELECT as a job of its own.")
    query = statements[0]
    if not isinstance(query, exp.Query):
        verb = _WORD.match(sql)
        line, column = source.at(verb.start("word") if verb else 0)
        name = verb["word"].upper() if verb else "This"
        raise LocalError(
            "sql.unsupported",
            f"Line {line}, column {column}: {name} as a statement is not supported.",
            "A job is one SELECT.",
            line=line,
            column=column,
        )
    if _depth(query) > MAX_DEPTH:
        raise too_deep()
    return source, query


def too_deep() -> LocalError:
    return LocalError(
        "sql.unsupported",
        "The query is nested too deeply.",
        "Use IN lists instead of long chains of OR, and fewer nested brackets.",
        line=1,
        column=1,
    )


def _depth(root: exp.Expr) -> int:
    """Nesting below a node, without recursion."""
    deepest, todo = 0, [(root, 1)]
    while todo:
        node, depth = todo.pop()
        deepest = max(deepest, depth)
        todo.extend((child, depth + 1) for child in node.iter_expressions())
    return deepest


def _syntax(source: Source, problem: ParseError) -> LocalError:
    first = problem.errors[0] if problem.errors else {}
    line, end = int(first.get("line") or 1), int(first.get("col") or 1)
    near = str(first.get("highlight") or "")
    column = max(end - len(near) + 1, 1)  # sqlglot counts to the end of the word
    said = str(first.get("description") or "the text cannot be parsed").rstrip(".")
    return LocalError(
        "sql.syntax",
        f"Line {line}, column {column}: {said}" + (f" near {near!r}." if near else "."),
        "The dialect is DuckDB's.",
        line=line,
        column=column,
    )


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """ "Did you mean balance?" or nothing."""
    by_lower = {k.lower(): k for k in known}
    near = get_close_matches(word.lower(), list(by_lower), n=1)
    return f"Did you mean {by_lower[near[0]]}?" if near else ""


def parties_of(sql: str) -> set[str]:
    """The parties whose tables a query names, as written in it, without looking at any catalog."""
    _source, query = parse(sql)
    return {t.db.lower() for t in query.find_all(exp.Table) if t.db}
