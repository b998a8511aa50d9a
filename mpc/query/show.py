"""Expressions as a person would write them, for messages, ledgers and grants. Not for execution."""

from __future__ import annotations

from collections.abc import Callable

from mpc.query import nodes as n
from mpc.query.evaluate import decimal_text
from mpc.query.printer import date_text, literal


def show(e: n.Expr) -> str:
    """Readable SQL of an expression."""
    return _SHOW[type(e)](e)


def shown(e: n.Expr, limit: int = 160) -> str:
    """The same, cut to a length."""
    text = show(e)
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _const(e: n.Const) -> str:
    if e.value is None:
        return "NULL"
    if isinstance(e.value, str):
        return literal(e.value)
    if e.kind == "boolean":
        return "TRUE" if e.value else "FALSE"
    return f"DATE '{date_text(int(e.value))}'" if e.kind == "date" else decimal_text(int(e.value), e.scale)


def _operand(e: n.Expr) -> str:
    text = show(e)
    return f"({text})" if isinstance(e, n.Arith | n.Compare | n.Logic | n.Divide | n.Not) else text


def _case(e: n.Case) -> str:
    arms = " ".join(f"WHEN {show(c)} THEN {show(v)}" for c, v in e.whens)
    return f"CASE {arms}" + ("" if n.is_null(e.default) else f" ELSE {show(e.default)}") + " END"


def _call(name: str) -> Callable[[n.Expr], str]:
    return lambda e: f"{name}({', '.join(show(c) for c in n.children(e))})"


def _cast(e: n.Cast) -> str:
    if e.arg.kind in ("integer", "decimal") and e.kind == "decimal" and not e.most and e.scale >= e.arg.scale:
        return show(e.arg)  # only an alignment of scales
    kind = f"DECIMAL({e.scale})" if e.kind == "decimal" else {"text": "VARCHAR"}.get(e.kind, e.kind.upper())
    return f"{'TRY_' if e.most else ''}CAST({show(e.arg)} AS {kind})"


def _text(e: n.Text) -> str:
    return f"{e.name.upper()}({', '.join([*map(show, e.args), *map(str, e.numbers)])})"


_SHOW: dict[type[n.Expr], Callable[..., str]] = {
    n.Column: lambda e: e.name,
    n.Const: _const,
    n.Arith: lambda e: f"{_operand(e.left)} {e.op} {_operand(e.right)}",
    n.Divide: lambda e: f"{_operand(e.left)} / {_operand(e.right)}",
    n.Ratio: lambda e: f"CAST({_operand(e.left)} / {_operand(e.right)} AS DECIMAL({e.scale}))",
    n.Neg: lambda e: f"-{_operand(e.arg)}",
    n.Compare: lambda e: f"{_operand(e.left)} {'IS NOT DISTINCT FROM' if e.op == 'is' else e.op} {_operand(e.right)}",
    n.Logic: lambda e: f" {e.op.upper()} ".join(map(_operand, e.args)),
    n.Not: lambda e: f"{show(e.arg.arg)} IS NOT NULL" if isinstance(e.arg, n.IsNull) else f"NOT {_operand(e.arg)}",
    n.Case: _case,
    n.IsNull: lambda e: f"{show(e.arg)} IS NULL",
    n.InList: lambda e: f"{_operand(e.arg)} IN ({', '.join(map(show, e.items))})",
    n.Like: lambda e: f"{_operand(e.arg)} {'ILIKE' if e.fold_case else 'LIKE'} {literal(e.pattern)}",
    n.Coalesce: _call("COALESCE"),
    n.Extreme: lambda e: f"{e.op.upper()}({', '.join(map(show, e.args))})",
    n.NullIf: _call("NULLIF"),
    n.Abs: _call("ABS"),
    n.Round: lambda e: (
        f"{'ROUND' if e.how == 'half' else e.how.upper()}({show(e.arg)}"
        + (f", {e.digits})" if e.how == "half" else ")")
    ),
    n.Extract: lambda e: f"EXTRACT({e.part.upper()} FROM {show(e.arg)})",
    n.Cast: _cast,
    n.Text: _text,
    n.Code: lambda e: show(e.arg),
    n.Agg: lambda e: e.name,
    n.WordRef: lambda e: f"word {e.word} of measure {e.measure} of pool{e.pool}",
    n.KeyRef: lambda e: f"key {e.index}",
    n.Sqrt: _call("SQRT"),
    n.Scaled: lambda e: f"{_operand(e.arg)} * {e.numerator}" + (f"/{e.denominator}" if e.denominator != 1 else ""),
}
