"""Typed scalar expressions: what the planner computes with, what local SQL is printed from, what a recipient evaluates.

Every node knows its ``kind`` and ``scale``, the interval ``low … high`` of its values in units (decimals times
10^scale, dates as days since 1970-01-01, booleans 0 and 1; None: unknown, as for text and doubles), and whether it can
be NULL. Nodes are made by ``mpc.query.build``, which infers these; they are immutable and compare by value.

Three layers use them: row expressions over one table's ``Column``s, aggregates over rows (``Agg``, only inside the
compiler), and the finish over revealed words (``WordRef``, ``KeyRef``, ``Divide``, ``Sqrt``, ``Scaled``), which alone
may be ``double``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields, replace
from math import prod
from typing import Any, Literal

from mpc.protocols.ranked import RankTest
from mpc.query.catalog import Value

NodeKind = Literal["integer", "decimal", "date", "boolean", "text", "double"]


@dataclass(frozen=True)
class Expr:
    """Base of all nodes; see the module for the five facts."""

    kind: NodeKind
    scale: int
    low: int | None
    high: int | None
    nullable: bool


@dataclass(frozen=True)
class Column(Expr):
    """A catalog column of one party's table."""

    party: str
    table: str
    name: str


@dataclass(frozen=True)
class Const(Expr):
    """A public constant in units; NULL as None."""

    value: Value


@dataclass(frozen=True)
class Arith(Expr):
    """``+ - *`` of numbers; ``//`` and ``%`` of integers, truncating as in DuckDB, NULL where the divisor is 0;
    date ``+ -`` days, date ``-`` date."""

    op: str
    left: Expr
    right: Expr


@dataclass(frozen=True)
class Neg(Expr):
    arg: Expr


@dataclass(frozen=True)
class Compare(Expr):
    """``= <> < <= > >=``, NULL if a side is NULL; ``is`` (IS NOT DISTINCT FROM) never is."""

    op: str
    left: Expr
    right: Expr


@dataclass(frozen=True)
class Logic(Expr):
    """Three-valued ``and`` / ``or`` of two or more."""

    op: str
    args: tuple[Expr, ...]


@dataclass(frozen=True)
class Not(Expr):
    arg: Expr


@dataclass(frozen=True)
class Case(Expr):
    """CASE WHEN: the first value whose condition is true, else ``default``."""

    whens: tuple[tuple[Expr, Expr], ...]
    default: Expr


@dataclass(frozen=True)
class IsNull(Expr):
    arg: Expr


@dataclass(frozen=True)
class InList(Expr):
    """``arg IN (constants)``; a NULL among the items makes "not found" NULL, as SQL says."""

    arg: Expr
    items: tuple[Expr, ...]


@dataclass(frozen=True)
class Like(Expr):
    arg: Expr
    pattern: str
    escape: str
    fold_case: bool


@dataclass(frozen=True)
class Coalesce(Expr):
    args: tuple[Expr, ...]


@dataclass(frozen=True)
class Extreme(Expr):
    """``least`` / ``greatest`` of the arguments that are not NULL."""

    op: str
    args: tuple[Expr, ...]


@dataclass(frozen=True)
class NullIf(Expr):
    left: Expr
    right: Expr


@dataclass(frozen=True)
class Abs(Expr):
    arg: Expr


@dataclass(frozen=True)
class Round(Expr):
    """To ``digits`` after the point (negative: before it): ``half`` away from zero, ``floor`` or ``ceil``."""

    arg: Expr
    digits: int
    how: str


@dataclass(frozen=True)
class Extract(Expr):
    part: str
    arg: Expr


@dataclass(frozen=True)
class Cast(Expr):
    """To this node's own kind and scale; numbers round half away from zero. ``most``: a number of more units than this
    (in absolute value) becomes NULL (TRY_CAST); 0: that cannot happen."""

    arg: Expr
    most: int


@dataclass(frozen=True)
class Ratio(Expr):
    """``left / right`` rounded half away from zero to this node's scale; NULL where ``right`` is 0."""

    left: Expr
    right: Expr


@dataclass(frozen=True)
class Text(Expr):
    """``substring left right upper lower trim concat length`` of text; the numbers are constants."""

    name: str
    args: tuple[Expr, ...]
    numbers: tuple[int, ...]


@dataclass(frozen=True)
class Code(Expr):
    """The place of a text among ``labels``, which are all the values it can have."""

    arg: Expr
    labels: tuple[str, ...]


# ---- only inside the compiler


@dataclass(frozen=True)
class Term:
    """A branch of an aggregate: rows of ``table`` that pass ``where``, with ``keys``; ``value`` None is COUNT(*)."""

    party: str
    table: str
    where: Expr | None
    keys: tuple[Expr, ...]
    value: Expr | None


@dataclass(frozen=True)
class JoinSide:
    """A table in a join: rows that pass ``where`` count; ``key`` is what it is joined by. ``rows``: rounded up.

    ``name``: the party's where it has one table in the join, else "party.table".

    ``optional``: of a LEFT JOIN: where no row meets, its columns are NULL.
    """

    name: str
    party: str
    table: str
    where: Expr | None
    key: tuple[Column, ...]
    unique: bool
    rows: int
    optional: bool = False


@dataclass(frozen=True)
class JoinedTerm(Term):
    """Rows of a join; ``party`` and ``table`` are the spine's, ``where`` is None.

    Expressions read columns of all ``sides``, of which the spine is the first. ``family``: the sides of all terms, the
    same spine first, where a UNION ALL in the join makes several. ``by_row``: each row of the spine is a group of its
    own.
    """

    sides: tuple[JoinSide, ...]
    crossing: tuple[Expr, ...]  # conditions that read columns of several sides
    family: tuple[JoinSide, ...]
    by_row: bool

    @property
    def rows_of(self) -> tuple[object, ...]:
        """What terms that are computed together have in common."""
        return (self.family, self.keys, self.by_row)

    @property
    def most_rows(self) -> int:
        """No group has more rows: every row of the spine meets one row of a side without repeated keys."""
        spine, *others = self.sides
        return (1 if self.by_row else spine.rows) * prod(s.rows for s in others if not s.unique)


@dataclass(frozen=True)
class Agg(Expr):
    """``rows`` (COUNT(*)), ``count``, ``sum``, ``squares`` (SUM(x*x)) or ``distinct`` of the terms' values; of single
    rows of a join ``value``, and ``present``: 1 where there is such a row. ``known``: 1 where any value is not NULL.

    ``name`` as written.
    """

    func: str
    terms: tuple[Term, ...]
    name: str = field(compare=False)

    @property
    def parties(self) -> frozenset[str]:
        return frozenset(t.party for t in self.terms)

    @property
    def joined(self) -> bool:
        return any(isinstance(t, JoinedTerm) for t in self.terms)

    @property
    def keyed(self) -> bool:
        return any(t.keys for t in self.terms)


@dataclass(frozen=True)
class Ranked(Agg):
    """One entity's value by its place among all (``func`` "ranked"): the smallest v for which ``test`` holds."""

    test: RankTest


# ---- only in the finish


@dataclass(frozen=True)
class WordRef(Expr):
    """A revealed word of the cell at hand (or of the only cell of another pool)."""

    pool: int
    measure: int
    word: int


@dataclass(frozen=True)
class KeyRef(Expr):
    """The ``index``-th GROUP BY key of the cell at hand."""

    index: int


@dataclass(frozen=True)
class Divide(Expr):
    """Exact quotient, rounded only where it is shown; NULL where the divisor is 0 or NULL."""

    left: Expr
    right: Expr


@dataclass(frozen=True)
class Sqrt(Expr):
    """Square root, correctly rounded to double; NULL of a negative number."""

    arg: Expr


@dataclass(frozen=True)
class Scaled(Expr):
    """``arg`` times the public fraction numerator / denominator."""

    arg: Expr
    numerator: int
    denominator: int


def children(e: Expr) -> Iterator[Expr]:
    """The direct sub-expressions, in order (the rows under an ``Agg`` are not its children)."""
    if isinstance(e, Case):
        for condition, value in e.whens:
            yield condition
            yield value
        yield e.default
        return
    for f in fields(e):
        value = getattr(e, f.name)
        if isinstance(value, Expr):
            yield value
        elif isinstance(value, tuple):
            yield from (v for v in value if isinstance(v, Expr))


def rebuild(e: Expr, change: Callable[[Expr], Expr]) -> Expr:
    """``e`` with ``change`` applied to its direct sub-expressions; ``e`` itself where nothing changed."""
    if isinstance(e, Case):
        whens = tuple((change(c), change(v)) for c, v in e.whens)
        default = change(e.default)
        return e if whens == e.whens and default == e.default else replace(e, whens=whens, default=default)
    changed: dict[str, Any] = {}
    for f in fields(e):
        value = getattr(e, f.name)
        if isinstance(value, Expr):
            changed[f.name] = change(value)
        elif isinstance(value, tuple) and value and isinstance(value[0], Expr):
            changed[f.name] = tuple(change(v) for v in value)
    return replace(e, **changed) if any(getattr(e, k) != v for k, v in changed.items()) else e


def walk(e: Expr) -> Iterator[Expr]:
    """The node and everything under it, parents first."""
    yield e
    for child in children(e):
        yield from walk(child)


def columns(e: Expr) -> list[Column]:
    """The columns an expression reads, each once, in order of appearance."""
    return list(dict.fromkeys(n for n in walk(e) if isinstance(n, Column)))


def aggregates(e: Expr) -> list[Agg]:
    """The aggregates in an expression, each once, in order of appearance."""
    return list(dict.fromkeys(n for n in walk(e) if isinstance(n, Agg)))


def numeric(e: Expr) -> bool:
    return e.kind in ("integer", "decimal", "double")


def is_null(e: Expr) -> bool:
    return isinstance(e, Const) and e.value is None
