"""Binds scalar SQL to typed nodes: one small function a construct, in a closed table. What is not in it is refused.

Subclasses of ``Binder`` say what a column, an aggregate and a subquery mean where the expression stands
(``relations.py``).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sqlglot import exp

from mpc.errors import LocalError
from mpc.query import build, casts
from mpc.query.build import TypeProblem
from mpc.query.nodes import Const, Expr, NodeKind, is_null
from mpc.query.parse import Source

AGGREGATES = (
    exp.Sum,
    exp.Count,
    exp.CountIf,
    exp.Avg,
    exp.Variance,
    exp.VariancePop,
    exp.Stddev,
    exp.StddevSamp,
    exp.StddevPop,
    exp.Corr,
    exp.CovarPop,
    exp.CovarSamp,
    exp.Min,
    exp.Max,
    exp.Median,
    exp.Quantile,
    exp.PercentileCont,
    exp.PercentileDisc,
    exp.WithinGroup,
)
JOINT = "It is not built yet; until then "


class Binder:
    """An expression's surroundings: what names mean, and whether division is allowed (only in the clear)."""

    #: whether values are revealed ones, computed in the clear: then division and roots are exact enough
    in_the_clear = False

    def __init__(self, source: Source) -> None:
        self.source = source

    def column(self, node: exp.Column) -> Expr:
        raise NotImplementedError

    def aggregate(self, node: exp.Expr) -> Expr:
        raise self.source.unsupported(
            node,
            f"The aggregate {_name(self.source, node)} here",
            "Aggregates stand in SELECT, HAVING and ORDER BY, and not inside each other.",
        )

    def subquery(self, node: exp.Expr) -> Expr:
        raise self.source.unsupported(
            node,
            "A subquery inside a row's expression or condition",
            f"{JOINT}write the constant, or compute both totals and compare them in the outer SELECT.",
        )

    def bind(self, node: exp.Expr) -> Expr:
        """The typed node. Raises LocalError sql.*, plan.inexact."""
        if is_aggregate(node):
            return self.aggregate(node)
        if isinstance(node, exp.Subquery) or (isinstance(node, exp.Query) and not isinstance(node, exp.Subquery)):
            return self.subquery(node)
        rule = _RULES.get(type(node))
        if rule is None:
            raise refuse(self.source, node)
        only(self, node, *_PARTS.get(type(node), ("this", "expression")))
        try:
            return rule(self, node)
        except TypeProblem as problem:
            raise self.source.error("sql.type", node, f"{problem}.") from None

    def many(self, nodes: Sequence[exp.Expr]) -> list[Expr]:
        return [self.bind(x) for x in nodes]


def is_aggregate(node: exp.Expr) -> bool:
    """One of the aggregates we know, with or without FILTER."""
    return isinstance(node, (*AGGREGATES, exp.Filter)) or (
        isinstance(node, exp.Anonymous) and str(node.this).lower() in ("count_star", "countif")
    )


def has_aggregate(node: exp.Expr) -> bool:
    """Whether an aggregate of this query level stands in the expression (those in subqueries are theirs)."""
    if is_aggregate(node):
        return True
    return any(has_aggregate(c) for c in node.iter_expressions() if not isinstance(c, exp.Query))


def only(binder: Binder, node: exp.Expr, *allowed: str) -> None:
    """Refuse a node that carries parts we would silently ignore."""
    for key, value in node.args.items():
        if value and key not in allowed and not (isinstance(value, list) and not value):
            raise binder.source.unsupported(
                node,
                f"{_name(binder.source, node)} with {key.strip('_').replace('_', ' ').upper()}",
                "Write it without.",
            )


def _name(source: Source, node: exp.Expr) -> str:
    """What a construct is called: as it is written, or by its kind."""
    return source.word(node) or str(node.sql_name() if isinstance(node, exp.Func) else type(node).__name__).upper()


# ---- what is refused by name

_ADVICE: dict[type[exp.Expr], tuple[str, str]] = {
    exp.Window: ("A window function (OVER)", "Use GROUP BY and aggregates."),
    exp.Exists: (
        "EXISTS",
        "Join the tables and count COUNT(DISTINCT key); what must be missing: LEFT JOIN, key IS NULL.",
    ),
    exp.Any: ("ANY (subquery)", f"{JOINT}write the values into an IN list."),
    exp.All: ("ALL (subquery)", f"{JOINT}write the values into an IN list."),
    exp.Pow: ("A power", "Write x * x."),
    exp.Star: ("* here", "Name the columns; * stands alone in the SELECT of a subquery, or in COUNT(*)."),
    exp.Columns: ("COLUMNS(…)", "Name the columns."),
    exp.Interval: (
        "An interval here",
        "Dates take ± INTERVAL of whole days or weeks, constants of months or years.",
    ),
    exp.TimestampTrunc: ("DATE_TRUNC", "Use EXTRACT(YEAR FROM …), EXTRACT(MONTH FROM …)."),
    exp.DateTrunc: ("DATE_TRUNC", "Use EXTRACT(YEAR FROM …), EXTRACT(MONTH FROM …)."),
    exp.IgnoreNulls: ("IGNORE NULLS", "Leave it out: aggregates skip NULLs."),
    exp.RespectNulls: ("RESPECT NULLS", "Leave it out: aggregates skip NULLs."),
    exp.Tuple: ("A row value (a, b)", "Compare the columns one by one."),
    exp.Array: ("A list [a, b]", "Write x IN (1, 2), or the conditions one by one."),
    exp.Bracket: ("An index x[1]", "Use SUBSTRING for text."),
    exp.RawString: ("A text of the form $$…$$", "Write '…', a quote inside it twice."),
    exp.ByteString: ("A text of the form E'…'", "Write '…', a quote inside it twice."),
    exp.SimilarTo: ("SIMILAR TO", "Use LIKE, or several of them with OR."),
    exp.Glob: ("GLOB", "Use LIKE, or several of them with OR."),
    exp.RegexpLike: ("A regular expression", "Use LIKE, or several of them with OR."),
    exp.Collate: ("COLLATE", "Use LOWER or UPPER; text compares by its bytes."),
    exp.BitwiseAnd: ("A bit operation (&)", "Use // and %."),
    exp.BitwiseOr: ("A bit operation (|)", "Use // and %."),
    exp.BitwiseXor: ("A bit operation", "Use // and %."),
    exp.BitwiseNot: ("A bit operation (~)", "Use // and %."),
    exp.BitwiseLeftShift: ("A bit operation (<<)", "Multiply instead."),
    exp.BitwiseRightShift: ("A bit operation (>>)", "Use //."),
}


def refuse(source: Source, node: exp.Expr) -> LocalError:
    """The refusal of a construct by its name."""
    if isinstance(node, exp.IgnoreNulls | exp.RespectNulls | exp.WithinGroup) and not is_aggregate(node.this):
        return refuse(source, node.this)
    for kind, (what, advice) in _ADVICE.items():
        if isinstance(node, kind):
            return source.unsupported(node, what, advice)
    name = _name(source, node)
    if isinstance(node, exp.AggFunc):
        return source.unsupported(
            node, f"The aggregate {name}", "Use COUNT, SUM, AVG, VARIANCE, STDDEV, CORR or COUNT_IF."
        )
    if isinstance(node, exp.Func):
        return source.unsupported(node, f"The function {name}", "docs/sql.md lists the functions that are.")
    return source.unsupported(node, f"{type(node).__name__.upper()}", "docs/sql.md lists what is.")


# ---- one function a construct


def _literal(b: Binder, node: exp.Literal) -> Expr:
    if node.is_string:
        return build.const("text", str(node.this))
    text = str(node.this)
    if not text.replace(".", "", 1).isdecimal() or not text.isascii():
        raise b.source.error("plan.inexact", node, f"{text} is a floating-point constant.", "Write its digits out.")
    if len(text.replace(".", "")) > 38:
        raise b.source.error("plan.overflow", node, f"{text} has more than 38 digits.")
    return build.number(text)


def _binary(op: str) -> Callable[[Binder, exp.Expr], Expr]:
    def rule(b: Binder, node: exp.Expr) -> Expr:
        if op in "+-" and isinstance(node.expression, exp.Interval):
            return _shifted(b, op, node.this, node.expression)
        return build.arith(op, b.bind(node.this), b.bind(node.expression))

    return rule


def _shifted(b: Binder, op: str, node: exp.Expr, interval: exp.Interval) -> Expr:
    """A date plus or minus an INTERVAL: days and weeks of any date, months and years of a constant one."""
    amount, unit = interval.this, interval.args.get("unit")
    name = unit.name.upper().removesuffix("S") if isinstance(unit, exp.Var) else ""
    if not isinstance(amount, exp.Literal) or not amount.name.isdecimal() or name not in (*_DAYS, *_MONTHS):
        raise refuse(b.source, interval)
    number, left = int(amount.name), b.bind(node)
    if name in _DAYS:
        return build.arith(op, left, build.integer(number * _DAYS[name]))
    if not isinstance(left, Const) or left.kind != "date":
        raise b.source.unsupported(interval, f"An interval of {name}S of a column", "Add days, or shift the constant.")
    return build.months_later(left, number * _MONTHS[name] * (1 if op == "+" else -1))


_DAYS = {"DAY": 1, "WEEK": 7}
_MONTHS = {"MONTH": 1, "QUARTER": 3, "YEAR": 12}


def _comparison(op: str) -> Callable[[Binder, exp.Expr], Expr]:
    return lambda b, node: build.compare(op, b.bind(node.this), b.bind(node.expression))


def _connector(op: str) -> Callable[[Binder, exp.Expr], Expr]:
    return lambda b, node: build.logic(op, *(b.bind(x) for x in node.flatten()))


def _div(b: Binder, node: exp.Div) -> Expr:
    if b.in_the_clear:
        return build.divide(b.bind(node.this), b.bind(node.expression))
    raise b.source.error(
        "plan.inexact",
        node,
        "a division inside a row's expression is floating point, which cannot be summed exactly.",
        "Write CAST(x / NULLIF(y, 0) AS DECIMAL(18, 6)), multiply instead, or divide the totals.",
    )


def _is(b: Binder, node: exp.Is) -> Expr:
    arg, what = b.bind(node.this), node.expression
    if isinstance(what, exp.Null):
        return build.is_null_test(arg)
    if isinstance(what, exp.Boolean):
        return build.compare("is", arg, b.bind(what))
    raise b.source.unsupported(node, "IS with anything but NULL, TRUE or FALSE", "Write IS NULL or =.")


def _between(b: Binder, node: exp.Between) -> Expr:
    x = b.bind(node.this)
    low, high = b.bind(node.args["low"]), b.bind(node.args["high"])
    return build.logic("and", build.compare(">=", x, low), build.compare("<=", x, high))


def _in(b: Binder, node: exp.In) -> Expr:
    if node.args.get("query"):
        raise b.source.unsupported(node, "IN (subquery)", f"{JOINT}write the values into the list.")
    arg, items = b.bind(node.this), b.many(node.expressions)
    for item, at in zip(items, node.expressions, strict=True):
        if list(at.find_all(exp.Column)):
            raise b.source.unsupported(at, "A column in an IN list", "Write x = a OR x = b.")
        if item.kind != arg.kind and not is_null(item):
            build.compare("=", arg, item)
    from mpc.query.rules import simplify

    return build.in_list(arg, [simplify(i) for i in items])


def _like(fold_case: bool) -> Callable[[Binder, exp.Expr], Expr]:
    def rule(b: Binder, node: exp.Expr, escape: str = "") -> Expr:
        pattern = node.expression
        if not isinstance(pattern, exp.Literal) or not pattern.is_string:
            raise b.source.unsupported(pattern, "LIKE with a pattern that is not a constant", "Write it in quotes.")
        found = build.like(b.bind(node.this), str(pattern.this), escape, fold_case)
        return build.negate(found) if node.args.get("negate") else found

    return rule


def _escape(b: Binder, node: exp.Escape) -> Expr:
    if (
        isinstance(node.this, exp.Like | exp.ILike)
        and isinstance(node.expression, exp.Literal)
        and len(node.expression.this) == 1
    ):
        return _like(isinstance(node.this, exp.ILike))(b, node.this, str(node.expression.this))  # type: ignore[call-arg]
    raise b.source.unsupported(node, "ESCAPE here", "Write x LIKE 'pattern' ESCAPE '#'.")


def _case(b: Binder, node: exp.Case) -> Expr:
    def condition(when: exp.Expr) -> Expr:
        return b.bind(when) if node.this is None else build.compare("=", b.bind(node.this), b.bind(when))

    whens = [(condition(w.this), b.bind(w.args["true"])) for w in node.args["ifs"]]
    default = node.args.get("default")
    return build.case(whens, build.NULL if default is None else b.bind(default))


def _if(b: Binder, node: exp.If) -> Expr:
    other = node.args.get("false")
    return build.case([(b.bind(node.this), b.bind(node.args["true"]))], build.NULL if other is None else b.bind(other))


def _round(b: Binder, node: exp.Round) -> Expr:
    digits = node.args.get("decimals")
    return build.round_to(b.bind(node.this), 0 if digits is None else _whole(b, digits))


def _whole(b: Binder, node: exp.Expr) -> int:
    """A constant integer argument."""
    sign, inner = (-1, node.this) if isinstance(node, exp.Neg) else (1, node)
    if (
        isinstance(inner, exp.Literal)
        and not inner.is_string
        and str(inner.this).isdecimal()
        and len(str(inner.this)) < 10
    ):
        return sign * int(inner.this)
    raise b.source.unsupported(node, "Anything but a whole number here", "Write the number.")


def _extract(b: Binder, node: exp.Extract) -> Expr:
    part = node.this.name.lower()
    if part not in ("year", "quarter", "month", "day"):
        raise b.source.unsupported(node, f"EXTRACT({part.upper()})", "Use YEAR, QUARTER, MONTH or DAY.")
    return build.extract(part, b.bind(node.expression))


def _part(part: str) -> Callable[[Binder, exp.Expr], Expr]:
    return lambda b, node: build.extract(part, b.bind(node.this))


def _slice(name: str) -> Callable[[Binder, exp.Expr], Expr]:
    def rule(b: Binder, node: exp.Expr) -> Expr:
        length = _whole(b, node.expression)
        if length < 0:
            raise b.source.unsupported(node, f"{name.upper()} with a negative length", "Count from the other side.")
        return build.text(name, [b.bind(node.this)], (length,))

    return rule


def _substring(b: Binder, node: exp.Substring) -> Expr:
    start, length = _whole(b, node.args["start"]), node.args.get("length")
    if start < 1 or (length is not None and _whole(b, length) < 0):
        raise b.source.unsupported(node, "SUBSTRING before the first character", "Start at 1 or later.")
    return build.text("substring", [b.bind(node.this)], (start, 10**6 if length is None else _whole(b, length)))


def _text(name: str) -> Callable[[Binder, exp.Expr], Expr]:
    return lambda b, node: build.text(name, [b.bind(node.this)])


#: integer types by name: the most units
_INTEGERS = {"TINYINT": 2**7 - 1, "SMALLINT": 2**15 - 1, "INT": 2**31 - 1, "BIGINT": 2**63 - 1, "INT128": 10**38 - 1}


def _target(b: Binder, node: exp.Expr) -> tuple[NodeKind, int, int]:
    """Kind, scale and most units of a CAST's type."""
    name = node.this.value if hasattr(node.this, "value") else str(node.this)
    if name in _INTEGERS:
        return "integer", 0, _INTEGERS[name]
    if name == "DECIMAL":
        sizes = [int(p.name) for p in node.expressions] or [18, 3]
        scale = sizes[1] if len(sizes) > 1 else 0
        if not (1 <= sizes[0] <= 38 and 0 <= scale <= sizes[0]):
            raise b.source.error("sql.type", node, "DECIMAL takes a width of 1 to 38 and a scale within it.")
        return "decimal", scale, 10 ** sizes[0] - 1
    simple: dict[str, NodeKind] = {"BOOLEAN": "boolean", "DATE": "date", "TEXT": "text", "VARCHAR": "text"}
    if name in simple:
        return simple[name], 0, 0
    if name in ("DOUBLE", "FLOAT"):
        if b.in_the_clear:
            return "double", 0, 0
        raise b.source.error(
            "plan.inexact",
            node,
            f"CAST to {name} is floating point, which cannot be summed exactly.",
            "Use DECIMAL(p, s).",
        )
    raise b.source.unsupported(node, f"CAST to {name}", "Use DECIMAL(p, s), BIGINT, DATE, BOOLEAN or VARCHAR.")


def _cast(b: Binder, node: exp.Cast | exp.TryCast) -> Expr:
    kind, scale, widest = _target(b, node.args["to"])
    try_ = isinstance(node, exp.TryCast)
    inner = node.this.unnest()
    if isinstance(inner, exp.Div) and kind == "decimal" and not b.in_the_clear:
        return casts.ratio(b.bind(inner.this), b.bind(inner.expression), scale, widest, try_)
    arg = b.bind(node.this)
    if kind == "integer" and try_ and arg.low is not None and not (-widest <= arg.low and (arg.high or 0) <= widest):
        raise b.source.unsupported(node, "TRY_CAST to an integer type that is too narrow", "Use BIGINT or HUGEINT.")
    return casts.cast(arg, kind, scale, widest, try_)


def _sqrt(b: Binder, node: exp.Sqrt) -> Expr:
    if b.in_the_clear:
        return build.sqrt(b.bind(node.this))
    raise b.source.error(
        "plan.inexact", node, "a square root of single rows is floating point.", "Take the root of a total."
    )


def _concat(b: Binder, node: exp.Expr) -> Expr:
    parts = node.flatten() if isinstance(node, exp.DPipe) else node.expressions
    args = b.many(list(parts))
    if isinstance(node, exp.Concat) and any(a.nullable for a in args):
        raise b.source.unsupported(node, "CONCAT of what can be NULL", "Write a || b, or COALESCE(a, '').")
    return build.text("concat", args)


#: the parts of a construct that its rule reads, where they are not (this, expression): anything else in it is refused,
#: never left out (``a NOT LIKE b`` is a Like with a part "negate")
_PARTS: dict[type[exp.Expr], tuple[str, ...]] = {
    exp.Column: ("this", "table", "db", "catalog"),
    exp.Literal: ("this", "is_string"),
    exp.Between: ("this", "low", "high"),
    exp.In: ("this", "expressions", "query"),
    exp.Like: ("this", "expression", "negate"),
    exp.ILike: ("this", "expression", "negate"),
    exp.Case: ("this", "ifs", "default"),
    exp.If: ("this", "true", "false"),
    exp.Round: ("this", "decimals"),
    exp.Floor: ("this",),
    exp.Ceil: ("this",),
    exp.Coalesce: ("this", "expressions"),
    exp.Least: ("this", "expressions", "ignore_nulls"),
    exp.Greatest: ("this", "expressions", "ignore_nulls"),
    exp.Substring: ("this", "start", "length"),
    exp.Trim: ("this",),
    exp.DPipe: ("this", "expression", "safe"),
    exp.Concat: ("expressions", "safe", "coalesce"),
    exp.Cast: ("this", "to"),
    exp.TryCast: ("this", "to", "safe"),
}

_RULES: dict[type[exp.Expr], Callable[..., Expr]] = {
    exp.Column: lambda b, x: b.column(x),
    exp.Literal: _literal,
    exp.Paren: lambda b, x: b.bind(x.this),
    exp.Null: lambda b, x: build.NULL,
    exp.Boolean: lambda b, x: build.TRUE if x.this else build.FALSE,
    exp.Add: _binary("+"),
    exp.Sub: _binary("-"),
    exp.Mul: _binary("*"),
    exp.IntDiv: _binary("//"),
    exp.Mod: _binary("%"),
    exp.Div: _div,
    exp.Neg: lambda b, x: build.neg(b.bind(x.this)),
    exp.EQ: _comparison("="),
    exp.NEQ: _comparison("<>"),
    exp.LT: _comparison("<"),
    exp.LTE: _comparison("<="),
    exp.GT: _comparison(">"),
    exp.GTE: _comparison(">="),
    exp.NullSafeEQ: _comparison("is"),
    exp.NullSafeNEQ: lambda b, x: build.negate(build.compare("is", b.bind(x.this), b.bind(x.expression))),
    exp.And: _connector("and"),
    exp.Or: _connector("or"),
    exp.Not: lambda b, x: build.negate(b.bind(x.this)),
    exp.Is: _is,
    exp.Between: _between,
    exp.In: _in,
    exp.Like: _like(False),
    exp.ILike: _like(True),
    exp.Escape: _escape,
    exp.Case: _case,
    exp.If: _if,
    exp.Abs: lambda b, x: build.absolute(b.bind(x.this)),
    exp.Round: _round,
    exp.Floor: lambda b, x: build.round_to(b.bind(x.this), 0, "floor"),
    exp.Ceil: lambda b, x: build.round_to(b.bind(x.this), 0, "ceil"),
    exp.Coalesce: lambda b, x: build.coalesce(b.many([x.this, *x.expressions])),
    exp.Nullif: lambda b, x: build.null_if(b.bind(x.this), b.bind(x.expression)),
    exp.Least: lambda b, x: build.extreme("least", b.many([x.this, *x.expressions])),
    exp.Greatest: lambda b, x: build.extreme("greatest", b.many([x.this, *x.expressions])),
    exp.Extract: _extract,
    exp.Year: _part("year"),
    exp.Quarter: _part("quarter"),
    exp.Month: _part("month"),
    exp.Day: _part("day"),
    exp.Left: _slice("left"),
    exp.Right: _slice("right"),
    exp.Substring: _substring,
    exp.Upper: _text("upper"),
    exp.Lower: _text("lower"),
    exp.Trim: _text("trim"),
    exp.Length: _text("length"),
    exp.DPipe: _concat,
    exp.Concat: _concat,
    exp.Cast: _cast,
    exp.TryCast: _cast,
    exp.Sqrt: _sqrt,
}
