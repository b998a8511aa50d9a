"""Aggregates: COUNT, SUM, AVG, VARIANCE, STDDEV and their kin as expressions over ``Agg`` nodes (rows,
count, sum, squares).

What is revealed is a count or a sum; quotients and roots are built around them and computed in the clear. MIN, MAX and
quantiles are built by ranked.py.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

from sqlglot import ErrorLevel, exp

from mpc.protocols.ranked import RankTest
from mpc.query import build, casts
from mpc.query.build import NULL, ZERO
from mpc.query.nodes import (
    Agg,
    Case,
    Compare,
    Expr,
    InList,
    IsNull,
    JoinedTerm,
    Like,
    Logic,
    Not,
    NullIf,
    Ranked,
    Term,
    is_null,
    numeric,
    walk,
)
from mpc.query.parse import Source
from mpc.query.rules import simplify
from mpc.query.scalars import Binder, only

if TYPE_CHECKING:
    from mpc.query.relations import GroupBinder

#: Rows of one table that bounds reckon with. A constant, since a catalog's row count is rounded and may change
#: overnight, and a plan must be a function of what the catalog digests cover. It costs nothing but ring width.
ROW_CAP = 2**32
#: the largest denominator of a quantile, so that a test of counts stays within 64 bits
MAX_PARTS = 10_000
#: what makes a value depend on a condition
CONDITIONAL = (Case, Compare, InList, IsNull, Like, Logic, Not, NullIf)

Terms = Callable[[Sequence[Expr | None]], tuple[Term, ...]]


def parts(node: exp.Expr) -> tuple[exp.Expr, exp.Expr | None]:
    """An aggregate call and its FILTER condition."""
    if isinstance(node, exp.Filter):
        return node.this, node.expression.this
    return node, None


def name_of(node: exp.Expr) -> str:
    return node.sql("duckdb", unsupported_level=ErrorLevel.IGNORE)[:120]


def argument(source: Source, call: exp.Expr) -> tuple[exp.Expr | None, bool]:
    """The argument of an aggregate (None: ``*``), and whether it is DISTINCT."""
    only(Binder(source), call, "this", "expressions", "big_int")
    if isinstance(call, exp.Anonymous):
        if str(call.this).lower() == "countif" and len(call.expressions) == 1:
            return call.expressions[0], False
        return None, False
    arg = call.this
    if arg is None or isinstance(arg, exp.Star):
        if not isinstance(call, exp.Count):
            raise source.unsupported(call, "An aggregate of *", "Name a column.")
        return None, False
    if call.expressions:
        raise source.unsupported(call, "An aggregate of several columns", "Name one.")
    if isinstance(arg, exp.Distinct):
        if not isinstance(call, exp.Count) or len(arg.expressions) != 1:
            raise source.unsupported(arg, "DISTINCT in this aggregate", "COUNT(DISTINCT x) of one owner's rows is.")
        return arg.expressions[0], True
    if isinstance(arg, exp.Order):
        raise source.unsupported(arg, "ORDER BY in an aggregate", "Leave it out; sums do not depend on order.")
    return arg, False


def aggregate(binder: GroupBinder, node: exp.Expr, terms: Terms) -> Expr:
    """An aggregate over rows."""
    source = binder.source
    call, condition = parts(node)
    name = name_of(node)
    if (place := place_of(source, call)) is not None:
        return ranked(binder, place, binder.by_branch(place.value, condition), terms, name)
    if isinstance(call, exp.Corr | exp.CovarPop | exp.CovarSamp):
        return of_pairs(binder, call, condition, terms, name)
    arg, distinct = argument(source, call)
    if arg is None:
        if condition is not None:
            return count(binder.by_branch(exp.Literal.number(1), condition), terms, name)
        return rows(terms(binder.no_values()), name)
    values = binder.by_branch(arg, condition)
    if distinct:
        return count_distinct(source, node, values, terms, name)
    if isinstance(call, exp.Count):
        return count(values, terms, name)
    counts_if = isinstance(call, exp.CountIf | exp.Anonymous)
    for v in values:
        fits = v.kind == "boolean" if counts_if else numeric(v) or (v.kind == "boolean" and isinstance(call, exp.Sum))
        if not fits and not is_null(v):
            what = "conditions" if counts_if else "numbers"
            raise source.error("sql.type", call, f"{name_of(call).split('(')[0]} takes {what}, not {v.kind}.")
    if values[0].kind == "boolean":
        values = tuple(casts.cast(v, "integer", 0, 1, False) for v in values)
    return statistic(call, sum_of(values, terms, name), count(values, terms, name), squares(values, terms, name))


def statistic(call: exp.Expr, total: Expr, n: Expr, square: Expr) -> Expr:
    """SUM, AVG, VARIANCE … from sum, count and sum of squares.

    COUNT_IF is DuckDB's: a SUM of 1 and 0, so NULL where no condition is known.
    """
    if isinstance(call, exp.Sum | exp.CountIf | exp.Anonymous):
        return total
    if isinstance(call, exp.Avg):
        return build.divide(total, n)
    population = isinstance(call, exp.VariancePop | exp.StddevPop)
    spread = build.arith("-", build.arith("*", n, square), build.arith("*", total, total))
    pairs = build.arith("*", n, n if population else build.arith("-", n, build.integer(1)))
    variance = build.divide(spread, pairs)
    return variance if isinstance(call, exp.Variance | exp.VariancePop) else build.sqrt(variance)


def of_pairs(
    binder: GroupBinder,
    call: exp.Corr | exp.CovarPop | exp.CovarSamp,
    condition: exp.Expr | None,
    terms: Terms,
    name: str,
) -> Expr:
    """CORR and covariances from sums over the rows in which both values are not NULL. A correlation with something that
    does not vary is NULL (DuckDB says NaN)."""
    only(Binder(binder.source), call, "this", "expression")
    sides = [binder.by_branch(x, condition) for x in (call.this, call.expression)]
    for values, node in zip(sides, (call.this, call.expression), strict=True):
        for v in values:
            if not numeric(v) and not is_null(v):
                raise binder.source.error(
                    "sql.type", node, f"{name_of(call).split('(')[0]} takes numbers, not {v.kind}."
                )
    pairs = list(zip(*sides, strict=True))
    xs = [simplify(_where_known(x, y)) for x, y in pairs]
    ys = [simplify(_where_known(y, x)) for x, y in pairs]
    products = [simplify(build.arith("*", x, y)) for x, y in pairs]
    n = count(xs, terms, name)
    x, y, product = (sum_of(values, terms, name) for values in (xs, ys, products))
    together = build.arith("-", build.arith("*", n, product), build.arith("*", x, y))
    if isinstance(call, exp.CovarPop | exp.CovarSamp):
        most = n if isinstance(call, exp.CovarPop) else build.arith("-", n, build.integer(1))
        return build.divide(together, build.arith("*", n, most))

    def spread(total: Expr, values: Sequence[Expr]) -> Expr:
        return build.arith("-", build.arith("*", n, squares(values, terms, name)), build.arith("*", total, total))

    return build.divide(together, build.sqrt(build.arith("*", spread(x, xs), spread(y, ys))))


def _where_known(value: Expr, other: Expr) -> Expr:
    """A value, NULL where the other is."""
    return build.case([(build.negate(build.is_null_test(other)), value)], NULL) if other.nullable else value


# ---- one entity's value by its place


@dataclass(frozen=True)
class Place:
    """Which place among the values: at ``part`` of the way from the smallest to the largest. ``between``: what lies
    between two values is weighed (QUANTILE_CONT), else the upper of them is taken."""

    call: exp.Expr
    value: exp.Expr
    part: Fraction
    between: bool


def place_of(source: Source, call: exp.Expr) -> Place | None:
    """The place that MIN, MAX, MEDIAN or a quantile asks for; None for other aggregates."""
    if isinstance(call, exp.Min | exp.Max | exp.Median):
        only(Binder(source), call, "this", "expressions")
        if call.args.get("expressions") or isinstance(call.this, exp.Distinct | exp.Order):
            raise source.unsupported(call, f"{name_of(call)} like this", "Write it with one column.")
        part = {exp.Min: Fraction(0), exp.Max: Fraction(1)}.get(type(call), Fraction(1, 2))
        return Place(call, call.this, part, isinstance(call, exp.Median))
    if isinstance(call, exp.WithinGroup) and isinstance(call.this, exp.PercentileCont | exp.PercentileDisc):
        (ordered,) = call.expression.expressions if len(call.expression.expressions) == 1 else (None,)
        if ordered is None or ordered.args.get("desc"):
            raise source.unsupported(call, "A percentile by several columns or DESC", "Order by one column, ascending.")
        between = isinstance(call.this, exp.PercentileCont)
        return Place(call, ordered.this, _fraction(source, call, call.this.this), between)
    if isinstance(call, exp.ApproxQuantile):
        raise source.unsupported(call, "APPROX_QUANTILE", "QUANTILE_CONT and QUANTILE_DISC are exact.")
    if isinstance(call, exp.PercentileCont | exp.PercentileDisc | exp.Quantile):
        only(Binder(source), call, "this", "expression", "quantile")
        asked = call.args.get("quantile") or call.args.get("expression")
        between = isinstance(call, exp.PercentileCont)
        return Place(call, call.this, _fraction(source, call, asked), between)
    return None


def _fraction(source: Source, call: exp.Expr, node: exp.Expr | None) -> Fraction:
    text = node.name if isinstance(node, exp.Literal) and not node.is_string else ""
    try:
        part = Fraction(text)
    except ValueError:
        part = Fraction(-1)
    if not 0 <= part <= 1 or part.denominator > MAX_PARTS:
        raise source.error(
            "sql.type", call, f"a quantile takes a constant from 0 to 1 in steps of 1/{MAX_PARTS:,}, such as 0.95."
        )
    return part


def ranked(binder: GroupBinder, place: Place, values: Sequence[Expr], terms: Terms, name: str) -> Expr:
    """MIN, MAX, MEDIAN and quantiles. With q = a/b and n values, 0 the first: without interpolation it is number
    ⌈q n⌉ − 1, so the smallest v with b · count(≤ v) ≥ a n; with interpolation it lies between numbers ⌊q (n − 1)⌋ and
    ⌈q (n − 1)⌉. (DuckDB's definitions.)"""
    source, call = binder.source, place.call
    for v in values:
        if not (numeric(v) or (v.kind == "date" and not place.between)) and not is_null(v):
            kinds = "numbers" if place.between else "numbers and dates"
            raise source.error("sql.type", call, f"{name_of(call).split('(')[0]} takes {kinds}, not {v.kind}.")
    valued = _valued(terms(values))
    if any(isinstance(t, JoinedTerm) and t.by_row for t in valued):
        raise source.unsupported(
            call,
            f"{name_of(call).split('(')[0]} in a result by row",
            "Use COUNT, SUM or AVG of an entity's rows.",
        )
    if not valued:
        return build.const(values[0].kind, None, values[0].scale) if values else NULL
    for t in valued:
        # MAX(CASE WHEN id = 'X' THEN x + 1000000 ELSE x END) would show the value of whom one likes, by `filter` alone
        if t.value is not None and any(isinstance(n, CONDITIONAL) for n in walk(_unfiltered(t.value))):
            raise source.unsupported(
                call,
                f"A condition inside the value of {name_of(call).split('(')[0]}",
                "Which rows count is said by FILTER (WHERE …); the value is one expression for all of them.",
            )
    a, b = place.part.numerator, place.part.denominator

    def at(test: RankTest) -> Expr:
        first = valued[0].value
        assert first is not None and first.kind != "double"
        low, high = total_bounds("ranked", valued)
        return Ranked(first.kind, first.scale, low, high, True, "ranked", valued, name, test)

    if not place.between:
        # 0 · n of them is number 0 too
        return at(RankTest(b, a, 0) if a else RankTest(1, 0, 1))
    below, above = at(RankTest(b, a, 1 - a)), at(RankTest(b, a, b - a))
    if place.part in (0, 1):
        return build.divide(below, build.integer(1))
    if place.part == Fraction(1, 2):
        return build.divide(build.arith("+", below, above), build.integer(2))
    n = count(values, terms, name)
    parts_ = build.integer(b)
    before = build.arith("*", build.integer(a), build.arith("-", n, build.integer(1)))
    weight = build.arith("%", before, parts_)
    lower = build.arith("*", below, build.arith("-", parts_, weight))
    return build.divide(build.arith("+", lower, build.arith("*", above, weight)), parts_)


def _unfiltered(e: Expr) -> Expr:
    """The value of the rows that count: without CASE WHEN condition THEN value END."""
    while isinstance(e, Case) and len(e.whens) == 1 and is_null(e.default):
        e = e.whens[0][1]
    return e


# ---- the four revealed aggregates


def rows(terms: tuple[Term, ...], name: str = "COUNT(*)") -> Expr:
    """COUNT(*)."""
    return _agg("rows", terms, name) if terms else ZERO


def present(terms: tuple[Term, ...]) -> Expr:
    """1 where there is a row, else 0."""
    return _agg("present", terms, "") if terms else ZERO


def count(values: Sequence[Expr], terms: Terms, name: str) -> Expr:
    """COUNT(x): rows whose value is not NULL."""
    valued = _valued(terms(values))
    return _agg("count", valued, name) if valued else ZERO


def sum_of(values: Sequence[Expr], terms: Terms, name: str) -> Expr:
    valued = _valued(terms(values))
    if not valued:
        return build.const(values[0].kind, None, values[0].scale) if values else NULL
    return _agg("sum", valued, name)


def squares(values: Sequence[Expr], terms: Terms, name: str) -> Expr:
    valued = _valued(terms(values))
    return _agg("squares", valued, name) if valued else NULL


def count_distinct(source: Source, node: exp.Expr, values: Sequence[Expr], terms: Terms, name: str) -> Expr:
    valued = _valued(terms(values))
    if len({t.party for t in valued}) > 1:
        raise source.unsupported(
            node,
            "COUNT(DISTINCT …) over several owners' rows",
            "It is not built yet; until then count one owner's, or COUNT(*).",
        )
    return _agg("distinct", valued, name) if valued else ZERO


def _valued(terms: tuple[Term, ...]) -> tuple[Term, ...]:
    return tuple(t for t in terms if t.value is not None and not is_null(t.value))


def _agg(func: str, terms: tuple[Term, ...], name: str) -> Agg:
    value = terms[0].value
    counts = value is None or func in ("rows", "count", "distinct", "present", "known")
    kind, scale = ("integer", 0) if value is None or counts else (value.kind, value.scale)
    if func == "squares":
        scale *= 2
    low, high = total_bounds(func, terms)
    return Agg(
        "decimal" if kind == "decimal" else "integer", scale, low, high, func in ("sum", "squares"), func, terms, name
    )


def total_bounds(func: str, terms: Sequence[Term]) -> tuple[int, int]:
    """The interval of an aggregate over at most ROW_CAP rows a term (or as many as a join can have), in units."""
    if func == "ranked":
        ends = [value_bounds(func, t) for t in terms]
        return min(a for a, _ in ends), max(b for _, b in ends)
    low = high = 0
    for t in terms:
        a, b = value_bounds(func, t)
        most = 1 if func in ("present", "known") else t.most_rows if isinstance(t, JoinedTerm) else ROW_CAP
        low, high = low + most * min(a, 0), high + most * max(b, 0)
    return low, high


def value_bounds(func: str, t: Term) -> tuple[int, int]:
    """What one row adds at least and at most."""
    if t.value is None or func in ("rows", "count", "distinct", "known"):
        return 0, 1
    a, b = t.value.low or 0, t.value.high or 0
    return (0, max(a * a, b * b)) if func == "squares" else (a, b)


# ---- over a union of totals


def scalar_aggregate(source: Source, node: exp.Expr, rows_: Sequence[Binder]) -> Expr:
    """SUM, COUNT, AVG of totals. SUM is NULL only where all of them are (unlike ``+``)."""
    call, condition = parts(node)
    arg, distinct = argument(source, call)
    if condition is None and arg is None:
        return build.integer(len(rows_))
    if arg is None or condition is not None or distinct or not isinstance(call, exp.Sum | exp.Count | exp.Avg):
        raise source.unsupported(node, f"{name_of(node)} over a union of totals", "Use SUM, COUNT or AVG.")
    values = build.unify([r.bind(arg) for r in rows_], "UNION ALL")
    missing = total([build.case([(build.is_null_test(v), build.integer(1))], ZERO) for v in values if v.nullable])
    present = build.arith("-", build.integer(len(values)), missing)
    if isinstance(call, exp.Count):
        return present
    zero = build.const(values[0].kind, 0, values[0].scale) if numeric(values[0]) else ZERO
    added = total([build.coalesce([v, zero]) for v in values])
    if isinstance(call, exp.Avg):
        return build.divide(added, present)
    return build.case([(build.compare("<", missing, build.integer(len(values))), added)], NULL)


def total(values: Sequence[Expr]) -> Expr:
    """The sum of expressions."""
    result: Expr = ZERO
    for v in values:
        result = v if result == ZERO else build.arith("+", result, v)
    return result
