"""What rows bring into a sum, piece by piece, since a sum shows more than its rows: it shows how they are weighed.

    SUM(CASE WHEN id = 'X' THEN 2 * x ELSE x END)     beside SUM(x) it is the x of X
    SUM(CASE WHEN id = 'X' AND y > 5 THEN 8 ELSE 7 END)

A *piece* is an atom (a column, a number, or what is no sum of columns) with one weight, and the rows that bring it: all
of an arm of a CASE, of COALESCE, GREATEST, LEAST, ABS, and of a condition that counts as 0 or 1. Whoever knows the
other pieces, or asks for them too, takes them off; so the entities behind each are counted and remembered as if it had
been asked for by itself. Conditions inside what is no sum (x * CASE …) divide its rows in two. What is encoded in
numbers without any condition, (x + 5) // 7, is one atom: rows of different value are not told apart.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Generic, TypeVar

from mpc.errors import LocalError
from mpc.query import build
from mpc.query.nodes import Abs, Arith, Case, Coalesce, Column, Const, Expr, Extreme, Neg, is_null, numeric
from mpc.query.printer import sql
from mpc.query.rules.cancel import constant_factor
from mpc.query.uses import bare, conditions, value_columns

K = TypeVar("K")
#: their conditions repeat each other, so that the text of local queries grows with their square
MOST = 40


@dataclass(frozen=True)
class Piece:
    """``atom`` times ``weight`` (true values), in the rows where ``where`` holds (None: in all); atom None: the number
    1. ``side``: the condition inside the atom on one side of which these rows are, "" where it has none."""

    weight: Fraction
    atom: Expr | None
    where: Expr | None
    side: str = ""

    @property
    def key(self) -> tuple[Fraction, str, str]:
        """What pieces of equal weight and atom have in common, over tables with columns of one name too."""
        return self.weight, "" if self.atom is None else sql(self.atom), self.side

    @property
    def selects(self) -> bool:
        """Whether which rows bring it depends on more than what is known."""
        return self.where is not None or not (self.atom is None or isinstance(self.atom, Column))

    @property
    def mark(self) -> Expr:
        """1 in the rows that bring it, else NULL. A column does wherever it is known, others where they are not 0."""
        tests = [] if self.where is None else [self.where]
        if isinstance(self.atom, Column):
            tests += [build.negate(build.is_null_test(self.atom))] if self.atom.nullable else []
        elif self.atom is not None:
            tests.append(build.compare("<>", self.atom, build.ZERO))
        return build.case([(build.logic("and", *tests), build.integer(1))], build.NULL) if tests else build.integer(1)


def pieces(e: Expr) -> list[Piece]:
    """The pieces of a row's value; those of one weight and atom, in several arms of a choice, are one."""
    return list(_pieces(e, Fraction(1)))


@dataclass(frozen=True)
class Part(Generic[K]):
    """A piece over several tables: its ``weight``, 1 in the rows that bring it, else NULL, and its atom in each.
    ``selects``: not simply all rows whose value is known bring it."""

    weight: Fraction
    marks: dict[K, Expr]
    atoms: dict[K, Expr | None]
    selects: bool

    @property
    def columns(self) -> tuple[Column, ...]:
        """What it is made of."""
        return tuple(dict.fromkeys(c for a in self.atoms.values() if a is not None for c in value_columns(a)))


def parts_of(values: Mapping[K, Expr]) -> list[Part[K]]:
    """The pieces of a sum of values of several tables, or of rows under several conditions."""
    found: dict[object, dict[K, Piece]] = {}
    for rows, value in values.items():
        for key, piece in _numbered(pieces(value)):
            found.setdefault(key, {})[rows] = piece
    return [
        Part(
            next(iter(group.values())).weight,
            {rows: _within(values[rows], piece.mark) for rows, piece in group.items()},
            {rows: piece.atom for rows, piece in group.items()},
            len(group) < len(values) or any(piece.selects for piece in group.values()),
        )
        for group in found.values()
    ]


def picked_out(values: Mapping[K, Expr]) -> list[Part[K]]:
    """Those that some rows bring and others do not, where there are several: each is to be judged by itself.

    Raises LocalError job.limits.
    """
    found = parts_of(values)
    if len(found) < 2:
        return []
    some = [part for part in found if part.selects]
    if len(some) > MOST:
        raise LocalError(
            "job.limits",
            f"A sum weighs rows in {len(some)} different ways, each of which is to be counted; up to {MOST} are.",
            "Use fewer arms and conditions in one SUM, or ask for several sums, or GROUP BY a label.",
        )
    return some


def _within(value: Expr, mark: Expr) -> Expr:
    """A mark in the rows whose value is not NULL."""
    if not value.nullable:
        return mark
    return build.case([(build.negate(build.is_null_test(value)), mark)], build.NULL)


def _pieces(e: Expr, weight: Fraction) -> Iterator[Piece]:
    e = bare(e)
    if isinstance(e, Const):
        if not is_null(e) and numeric(e) and e.value:
            yield Piece(weight * Fraction(int(e.value), 10**e.scale), None, None)
    elif not numeric(e):  # a condition, as 0 or 1
        yield Piece(weight, None, e)
    elif isinstance(e, Neg):
        yield from _pieces(e.arg, -weight)
    elif isinstance(e, Arith) and e.op in "+-" and numeric(e.left) and numeric(e.right):
        yield from _pieces(e.left, weight)
        yield from _pieces(e.right, -weight if e.op == "-" else weight)
    elif isinstance(e, Arith) and e.op == "*" and (parts := constant_factor(e)):
        yield from _pieces(parts[1], weight * parts[0])
    elif (arms := _arms(e)) is not None:
        yield from _together(arms, weight)
    else:
        inside = [t for t in dict.fromkeys(conditions(e)) if t.kind == "boolean"]
        if not inside:
            yield Piece(weight, e, None)
        for test in inside:
            yield Piece(weight, e, test, sql(test))
            yield Piece(weight, e, _fails(test), f"not {sql(test)}")


def _together(arms: list[tuple[Expr, Expr]], weight: Fraction) -> Iterator[Piece]:
    """The pieces of a choice. Only one arm is taken, so what several of them bring alike is one piece."""
    found: dict[object, tuple[Piece, list[Expr]]] = {}
    for taken, value in arms:
        for key, piece in _numbered(_pieces(value, weight)):
            where = taken if piece.where is None else build.logic("and", taken, piece.where)
            found.setdefault(key, (piece, []))[1].append(where)
    for piece, of_arms in found.values():
        yield replace(piece, where=of_arms[0] if len(of_arms) == 1 else build.logic("or", *of_arms))


def _numbered(found: Iterable[Piece]) -> Iterator[tuple[object, Piece]]:
    """Pieces by their key; equal ones in one value are told apart by their turn, for they add up."""
    turns: dict[object, int] = {}
    for piece in found:
        turns[piece.key] = turns.get(piece.key, -1) + 1
        yield (piece.key, turns[piece.key]), piece


def _arms(e: Expr) -> list[tuple[Expr, Expr]] | None:
    """The arms of what chooses among values, each with the condition that it is taken."""
    if isinstance(e, Case):
        whens, default = e.whens, e.default
    elif isinstance(e, Coalesce):
        whens = tuple((build.negate(build.is_null_test(a)), a) for a in e.args[:-1])
        default = e.args[-1]
    elif isinstance(e, Extreme):
        op = ">=" if e.op == "greatest" else "<="
        whens = tuple((_foremost(op, i, e.args), a) for i, a in enumerate(e.args))
        default = build.NULL
    elif isinstance(e, Abs):
        whens, default = ((build.compare("<", e.arg, build.ZERO), build.neg(e.arg)),), e.arg
    else:
        return None
    tests = [c for c, _ in whens]
    values = [*(v for _, v in whens), default]
    return [(_taken(tests, i), v) for i, v in enumerate(values)]


def _taken(tests: list[Expr], arm: int) -> Expr:
    """Whether the first test that holds is this one; the last arm: none."""
    if arm == 0:
        return tests[0]
    before = [(t, build.ZERO) for t in tests[:arm]]
    this = [(tests[arm], build.integer(1))] if arm < len(tests) else []
    which = build.case([*before, *this], build.integer(int(not this)))
    return build.compare("=", which, build.integer(1))


def _foremost(op: str, i: int, args: tuple[Expr, ...]) -> Expr:
    """Whether an argument is as large (small) as all others that are not NULL."""
    others = [
        build.logic("or", build.is_null_test(a), build.compare(op, args[i], a)) for j, a in enumerate(args) if j != i
    ]
    return build.logic("and", build.negate(build.is_null_test(args[i])), *others)


def _fails(test: Expr) -> Expr:
    """Where it does not hold, NULL included."""
    return build.compare("=", build.case([(test, build.ZERO)], build.integer(1)), build.integer(1))
