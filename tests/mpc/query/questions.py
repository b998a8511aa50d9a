"""Random SQL of the whole supported set, over ``datasets``.

A question carries its oracle: exact outputs are those of the same SQL in DuckDB over the pooled tables, inexact ones
(AVG, VARIANCE, STDDEV, ratios) are computed with Fractions from exact columns that are asked for beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Context, Decimal
from fractions import Fraction
from random import Random

from tests.mpc.query.datasets import KINDS, LABELS, REGIONS, column

Exact = Callable[[Sequence[Fraction | None]], float | None]


@dataclass(frozen=True)
class Item:
    """One output. ``parts``: exact SQL from which ``exact`` computes an inexact one (none: compared as it is)."""

    sql: str
    parts: tuple[str, ...] = ()
    exact: Exact | None = None


@dataclass(frozen=True)
class Question:
    """``text`` with its SELECT list left open; ``ordered``: ORDER BY leaves no ties."""

    items: tuple[Item, ...]
    template: str
    ordered: bool

    @property
    def sql(self) -> str:
        return self.template.replace("<items>", ", ".join(f"{i.sql} AS o{n}" for n, i in enumerate(self.items)))

    @property
    def oracle(self) -> str:
        """The same with the exact parts of inexact outputs behind the outputs."""
        parts = [p for i in self.items for p in i.parts]
        wanted = [
            *(f"{i.sql} AS o{n}" for n, i in enumerate(self.items)),
            *(f"{p} AS p{n}" for n, p in enumerate(parts)),
        ]
        return self.template.replace("<items>", ", ".join(wanted))


# ---- exact values of inexact outputs


def mean(parts: Sequence[Fraction | None]) -> float | None:
    total, n = parts
    return None if not n or total is None else float(total / n)


def variance(sample: bool, root: bool) -> Exact:
    def of(parts: Sequence[Fraction | None]) -> float | None:
        total, n, squares = parts
        if not n or total is None or squares is None or (sample and n == 1):
            return None
        value = (n * squares - total * total) / (n * (n - 1 if sample else n))
        return root_of(value) if root else float(value)

    return of


def root_of(value: Fraction) -> float:
    """The square root through 80 digits, far more than a double's halves need."""
    context = Context(prec=80)
    return float(context.sqrt(context.divide(Decimal(value.numerator), Decimal(value.denominator))))


def quotient(parts: Sequence[Fraction | None]) -> float | None:
    a, b = parts
    return None if a is None or not b else float(a / b)


# ---- expressions over one table's columns


class Expressions:
    """Row expressions; ``names`` gives the columns their names where the expression stands."""

    def __init__(self, random: Random, names: Callable[[str], str]) -> None:
        self.random, self.names = random, names

    def pick(self, *makers: Callable[[int], str], depth: int) -> str:
        return self.random.choice(makers)(depth - 1)

    def of(self, *types: str) -> str:
        return self.names(self.random.choice([k.name for k in KINDS if k.type in types and k.name != "id"]))

    def either(self, *texts: str) -> str:
        """One of these; the name of a kind is its column."""
        chosen = self.random.choice(texts)
        return self.names(chosen) if chosen in {k.name for k in KINDS} else chosen

    def small(self) -> str:
        """An integer of few digits to DuckDB too: DECIMAL times BIGINT has 38, and CASE then rounds the other arms."""
        return f"CAST({self.names('n')} AS TINYINT)"

    def negation(self) -> str:
        return self.random.choice(["", "NOT "])

    def number(self, depth: int) -> str:
        if depth <= 0 or self.random.random() < 0.25:
            return self.random.choice([self.of("integer", "decimal"), self.of("integer", "decimal"), self.constant()])
        return self.pick(self.whole, self.real, depth=depth + 1)

    def constant(self) -> str:
        return self.random.choice(["0", "1", "2", "-3", "7", "0.5", "-1.25", "100", "10.00"])

    def whole(self, depth: int) -> str:
        if depth <= 0:
            return self.of("integer")
        return self.pick(
            lambda d: f"({self.whole(d)} {self.random.choice('+-')} {self.whole(d)})",
            lambda d: f"({self.of('integer')} * {self.random.choice(['2', '-3', self.names('n')])})",
            lambda d: f"({self.whole(d)} {self.random.choice(['//', '%'])} {self.either('2', '-7', 'n')})",
            lambda d: f"CASE WHEN {self.condition(d)} THEN {self.whole(d)} ELSE {self.whole(d)} END",
            lambda d: f"COALESCE({self.whole(d)}, {self.random.choice(['0', '5', self.names('m')])})",
            lambda d: f"EXTRACT({self.random.choice(['YEAR', 'QUARTER', 'MONTH', 'DAY'])} FROM {self.names('day')})",
            lambda d: f"({self.names('day')} - DATE '2020-02-29')",
            lambda d: f"LENGTH({self.text(d)})",
            lambda d: f"CAST({self.condition(d)} AS INTEGER)",
            lambda d: f"ABS({self.whole(d)})",
            lambda d: f"-{self.names('m')}",
            lambda d: f"NULLIF({self.whole(d)}, {self.random.choice(['0', '1', self.names('n')])})",
            lambda d: f"CAST({self.real(d)} AS BIGINT)",
            depth=depth,
        )

    def real(self, depth: int) -> str:
        if depth <= 0:
            return self.of("decimal", "wide")
        return self.pick(
            lambda d: f"({self.number(d)} {self.random.choice('+-')} {self.real(d)})",
            lambda d: f"({self.names('d')} * {self.random.choice(['2', '0.5', '-1.05', self.small()])})",
            lambda d: f"ROUND({self.real(d)}, {self.random.choice(['0', '1', '2'])})",
            lambda d: f"{self.random.choice(['FLOOR', 'CEIL'])}({self.names('d')})",
            lambda d: f"CASE WHEN {self.condition(d)} THEN {self.real(d)} END",
            lambda d: f"CASE {self.names('r')} WHEN 'east' THEN {self.real(d)} ELSE {self.constant()} END",
            lambda d: f"{self.random.choice(['GREATEST', 'LEAST'])}({self.real(d)}, {self.names('d')})",
            lambda d: f"CAST({self.real(d)} AS DECIMAL(28, {self.random.choice('0135')}))",
            lambda d: f"COALESCE({self.real(d)}, {self.constant()})",
            lambda d: f"ABS({self.real(d)})",
            lambda d: f"-({self.real(d)})",
            lambda d: f"IF({self.condition(d)}, {self.real(d)}, {self.real(d)})",
            lambda d: f"TRY_CAST({self.names('d')} AS DECIMAL(4, 2))",
            depth=depth,
        )

    def text(self, depth: int) -> str:
        if depth <= 0:
            return self.of("text")
        return self.pick(
            lambda d: f"SUBSTRING({self.text(d)}, {self.random.choice('123')}, {self.random.choice('012')})",
            lambda d: f"({self.text(d)} || {self.random.choice([repr('-'), self.names('r')])})",
            lambda d: f"UPPER({self.names('r')})",
            lambda d: f"TRIM({self.names('note')})",
            lambda d: f"LEFT({self.names('note')}, 2)",
            lambda d: f"RIGHT({self.names('note')}, 2)",
            lambda d: f"CAST({self.of('integer', 'decimal', 'date', 'boolean')} AS VARCHAR)",
            lambda d: f"COALESCE({self.names('c')}, 'none')",
            depth=depth,
        )

    def condition(self, depth: int) -> str:
        compare = self.random.choice(["=", "<>", "<", "<=", ">", ">="])
        if depth <= 0:
            return self.random.choice(
                [
                    self.names("flag"),
                    f"{self.of('integer', 'decimal')} {compare} {self.constant()}",
                    f"{self.names('r')} = {quoted(self.random.choice(REGIONS))}",
                    f"{self.of('integer', 'decimal', 'text', 'date', 'boolean')} IS {self.negation()}NULL",
                ]
            )
        return self.pick(
            lambda d: f"({self.condition(d)} {self.random.choice(['AND', 'OR'])} {self.condition(d)})",
            lambda d: f"(NOT {self.condition(d)})",
            lambda d: f"({self.number(d)} {compare} {self.number(d)})",
            lambda d: f"({self.text(d)} {compare} {quoted(self.random.choice(LABELS))})",
            lambda d: f"({self.names('day')} {compare} DATE '2021-06-30')",
            lambda d: f"({self.names('day')} < '2022-01-01')",
            lambda d: f"({self.names('day')} + CAST({self.names('n')} AS INTEGER) >= DATE '2020-03-01')",
            lambda d: f"({self.number(d)} IS {self.negation()}DISTINCT FROM {self.number(d)})",
            lambda d: f"({self.number(d)} IS NULL)",
            lambda d: f"({self.names('flag')} IS {self.random.choice(['TRUE', 'NOT TRUE', 'FALSE'])})",
            lambda d: f"({self.number(d)} {self.negation()}BETWEEN {self.constant()} AND 50)",
            lambda d: f"({self.names('n')} {self.negation()}IN (1, 2, {self.random.choice(['-3', 'NULL'])}))",
            lambda d: f"({self.names('c')} IN ('x', 'yz'))",
            lambda d: f"({self.names('note')} {self.negation()}LIKE {quoted(self.random.choice(['a%', '_b%', '%c']))})",
            lambda d: f"({self.names('note')} LIKE '%#%' ESCAPE '#')",
            lambda d: f"({self.names('note')} ILIKE 'A%')",
            depth=depth,
        )

    def key(self) -> str:
        """Something with a domain."""
        return self.random.choice(
            [
                *(self.names(k.name) for k in KINDS if k.domain),
                f"CASE WHEN {self.condition(1)} THEN 'low' WHEN {self.condition(1)} THEN 'mid' ELSE 'high' END",
                f"CASE WHEN {self.names('m')} < 0 THEN -1 WHEN {self.names('m')} < 1000 THEN 0 ELSE 1 END",
                f"EXTRACT(YEAR FROM {self.names('day')})",
                f"SUBSTRING({self.names('r')}, 1, 1)",
                f"COALESCE({self.names('c')}, 'none')",
                f"({self.names('d')} > 0)",
                f"({self.names('n')} % 3)",
                f"({self.names('r')} || '/' || {self.names('c')})",
            ]
        )


def quoted(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


# ---- aggregates


def aggregate(random: Random, e: Expressions, *, exact: bool, distinct: bool) -> Item:
    """One aggregate of row expressions, now and then with FILTER."""
    condition = f" FILTER (WHERE {e.condition(1)})" if random.random() < 0.2 else ""
    kind = random.choice(
        ["rows", "count", "sum", "sum", "if", "combined"] + ([] if exact else ["avg", "avg", "spread", "ratio"])
    )
    if kind == "rows":
        return Item(f"COUNT(*){condition}")
    if kind == "count":
        if distinct and random.random() < 0.5:
            return Item(f"COUNT(DISTINCT {random.choice([e.number(1), e.text(1), e.names('id')])})")
        return Item(f"COUNT({random.choice([e.number(2), e.text(1), e.names('day')])}){condition}")
    if kind == "combined":
        a, b = e.whole(2), random.choice([e.whole(1), e.names("n")])
        return Item(
            random.choice(
                [
                    f"SUM({a}) + SUM({b})",
                    f"SUM({a}) - 2 * COUNT(*)",
                    f"SUM({a}) * COUNT({b})",
                    f"CASE WHEN SUM({a}) > COUNT({b}) THEN SUM({b}) END",
                    f"SUM({a}) IS NULL",
                    f"SUM({a}) + COUNT({b}) * 3 - SUM({a})",
                    f"COALESCE(SUM({a}), 0) + COALESCE(SUM({b}), 0)",
                    f"-SUM({a}) // 7",
                ]
            )
        )
    if kind == "if":
        return Item(f"COUNT_IF({e.condition(2)})")
    x = random.choice([e.number(2), e.number(3), e.names("h"), e.names("w")])
    total, n = f"SUM({x}){condition}", f"COUNT({x}){condition}"
    if kind == "sum":
        return Item(total if random.random() < 0.8 else f"COALESCE({total}, 0)")
    if kind == "avg":
        return Item(f"AVG({x}){condition}", (total, n), mean)
    if kind == "ratio":
        return Item(f"{total} / NULLIF(COUNT(*), 0)", (total, "COUNT(*)"), quotient)
    x = random.choice([e.names("n"), e.names("m"), e.names("d"), e.names("w"), f"({e.names('n')} + {e.names('d')})"])
    name = random.choice(["VARIANCE", "VAR_SAMP", "VAR_POP", "STDDEV", "STDDEV_SAMP", "STDDEV_POP"])
    parts = (f"SUM({x}){condition}", f"COUNT({x}){condition}", f"SUM({x} * {x}){condition}")
    return Item(f"{name}({x}){condition}", parts, variance("POP" not in name, "STDDEV" in name))


# ---- questions


def question(random: Random, parties: Sequence[str]) -> Question:
    """A random question to these parties."""
    return random.choice([over_rows, over_rows, over_rows, over_totals])(random, parties)


def over_rows(random: Random, parties: Sequence[str]) -> Question:
    """Aggregates over one table or a UNION ALL, by keys or not, with everything behind."""
    chosen = random.sample(parties, random.randint(1, len(parties)))
    with_, source, e = _source(random, chosen)
    keys = list(dict.fromkeys(e.key() for _ in range(random.choice([0, 0, 1, 1, 2, 3]))))
    unique = bool(keys) and random.random() < 0.1
    items = [Item(k) for k in keys if not unique or random.random() < 0.7]
    items += [
        aggregate(random, e, exact=unique, distinct=len(chosen) == 1 and not unique)
        for _ in range(random.randint(0 if items else 1, 4))
    ]
    random.shuffle(items)
    where = f" WHERE {e.condition(2)}" if random.random() < 0.5 else ""
    group = f" GROUP BY {', '.join(keys)}" if keys else ""
    having = f" HAVING {_having(random, e)}" if keys and random.random() < 0.3 else ""
    order, ordered = _order(random, items, keys, unique)
    distinct = "DISTINCT " if unique else ""
    return Question(
        tuple(items), f"{with_}SELECT {distinct}<items> FROM {source}{where}{group}{having}{order}", ordered
    )


def _source(random: Random, chosen: Sequence[str]) -> tuple[str, str, Expressions]:
    """WITH, FROM, and expressions over what stands there."""
    style = random.choice(["table", "cte", "subquery"])
    if len(chosen) == 1 and style == "table":
        party = chosen[0]
        alias = random.choice(["", " AS q", " q"])
        prefix = random.choice(["", "q." if alias else "t.", "" if alias else f"{party}.t."])
        return "", f"{party}.t{alias}", Expressions(random, lambda k: prefix + column(k, party))
    derived = random.random() < 0.4
    selects = []
    for party in chosen:
        e = Expressions(random, lambda k, party=party: column(k, party))
        listed = [column(k.name, party) + (f" AS {k.name}" if party == chosen[0] else "") for k in KINDS]
        extra = f", {e.number(1) if not derived else e.real(1)} AS x" if derived else ""
        where = f" WHERE {e.condition(2)}" if random.random() < 0.4 else ""
        selects.append(f"SELECT {', '.join(listed)}{extra} FROM {party}.t{where}")
    union = " UNION ALL ".join(selects)
    names = {"d": "x"} if derived and random.random() < 0.5 else {}
    e = Expressions(random, lambda k: names.get(k, k))
    return (f"WITH u AS ({union}) ", "u", e) if style == "cte" else ("", f"({union}) AS u", e)


def _having(random: Random, e: Expressions) -> str:
    return random.choice(
        [
            "COUNT(*) > 1",
            f"SUM({e.names('d')}) >= 0",
            f"COUNT({e.names('n')}) = COUNT(*)",
            f"SUM({e.names('m')}) IS NOT NULL AND COUNT(*) < 10",
            f"SUM({e.names('n')}) + COUNT(*) > 2",
        ]
    )


def _order(random: Random, items: Sequence[Item], keys: Sequence[str], unique: bool) -> tuple[str, bool]:
    """ORDER BY all keys at last, so that LIMIT has one right answer."""
    if not keys or random.random() < 0.4:
        return "", False
    exact = [n for n, i in enumerate(items) if not i.parts]
    first = [f"o{n}" for n in random.sample(exact, min(len(exact), random.randint(0, 2)))]
    behind = [f"o{n}" for n in range(len(items))] if unique else list(keys)
    by = ", ".join(x + random.choice(["", " DESC", " NULLS FIRST", " DESC NULLS LAST"]) for x in [*first, *behind])
    limit = random.choice(["", "", " LIMIT 3", " LIMIT 2 OFFSET 1", " LIMIT 0", " OFFSET 2"])
    return f" ORDER BY {by}{limit}", True


def over_totals(random: Random, parties: Sequence[str]) -> Question:
    """Totals of several owners' different columns, added, compared or put beside each other."""
    scaled = random.random() < 0.5

    def total() -> str:
        party = random.choice(parties)
        e = Expressions(random, lambda k: column(k, party))
        # of one scale, since DuckDB rounds where DECIMAL(38, 2) meets DECIMAL(38, 4)
        sums = [f"SUM({e.names('d')})", f"SUM({e.names('n')} * {e.names('d')})"] if scaled else [f"SUM({e.whole(2)})"]
        what = random.choice([*sums, "COUNT(*)", f"COUNT({e.names('c')})"])
        where = f" WHERE {e.condition(1)}" if random.random() < 0.4 else ""
        return f"(SELECT {what} FROM {party}.t{where})"

    if random.random() < 0.3:
        rows = " UNION ALL ".join(f"SELECT {total()} AS x" for _ in range(random.randint(1, 4)))
        return Question(
            (Item("SUM(x)"), Item("COUNT(x)"), Item("COUNT(*)")), f"SELECT <items> FROM ({rows}) AS u", True
        )
    totals = [total() for _ in range(random.randint(1, 4))]
    weighed = [random.choice(["", "", "2 * ", "0.5 * ", "-"]) + t for t in totals]
    added = weighed[0] + "".join(random.choice([" + ", " - "]) + w for w in weighed[1:])
    shown = [Item(added if random.random() < 0.8 else f"COALESCE({totals[0]}, 0) + 1")]
    if random.random() < 0.2:
        shown.append(Item(f"{added} > 0"))
    return Question(tuple(shown), "SELECT <items>", True)
