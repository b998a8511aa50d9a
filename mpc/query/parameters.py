"""Parameters of a query: ``$month`` in its text, values beside it.

A value is put in where the parsed tree has its parameter, as one text constant. It is never part of the text that is
parsed, so it cannot be anything but a constant there: beside a number or a date it is read as one, as a quoted constant
in the text is.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from sqlglot import exp

from mpc.errors import LocalError
from mpc.query.parse import Source, parse

#: of a query, and characters of a value
MOST, LONGEST = 50, 1000
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}")


def put_in(source: Source, query: exp.Query, values: Mapping[str, str]) -> exp.Query:
    """The query with each ``$name`` replaced by its value. Raises LocalError sql.parameter: a parameter without a
    value, a value without a parameter."""
    check(values)
    found = _parameters(source, query)
    for name, nodes in found.items():
        if name not in values:
            raise source.error(
                "sql.parameter", nodes[0], f"the parameter ${name} has no value.", f"Give it one: --param {name}=…"
            )
        for node in nodes:
            constant = exp.Literal.string(values[name])
            constant.meta.update(node.meta)
            node.replace(constant)
    _no_other(values, found)
    return query


def names_of(sql: str) -> frozenset[str]:
    """The parameters of a query. Raises LocalError sql.*."""
    return frozenset(_parameters(*parse(sql)))


def check(values: Mapping[str, str]) -> None:
    """Raises LocalError sql.parameter where a name or a value is none."""
    if len(values) > MOST:
        raise LocalError("sql.parameter", f"A query has at most {MOST} parameters.", "Write some into the text.")
    for name, value in values.items():
        if not _NAME.fullmatch(name):
            raise LocalError(
                "sql.parameter", f"{name!r} is no name of a parameter.", "Letters, digits and _, a letter first."
            )
        if len(value) > LONGEST or "\x00" in value:
            raise LocalError("sql.parameter", f"The value of ${name} is too long, or contains a NUL character.")


def _parameters(source: Source, query: exp.Query) -> dict[str, list[exp.Placeholder]]:
    found: dict[str, list[exp.Placeholder]] = {}
    for node in query.find_all(exp.Placeholder):
        name = node.args.get("this")
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise source.unsupported(node, "A parameter without a name (?, $1)", "Write $name.")
        found.setdefault(name, []).append(node)
    return found


def _no_other(values: Mapping[str, str], found: Mapping[str, object]) -> None:
    if other := sorted(set(values) - set(found)):
        raise LocalError(
            "sql.parameter",
            f"The query has no parameter ${other[0]}.",
            f"It has {', '.join('$' + n for n in sorted(found)) or 'none'}.",
        )
