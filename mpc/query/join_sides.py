"""The sides of a join at their owners: the local query of each, and the form of the columns of its key."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mpc.ids import INTEGER, Field
from mpc.query import build
from mpc.query.behind import entity_digest
from mpc.query.catalog import Catalog, Table
from mpc.query.catalog import Column as Declared
from mpc.query.local import key_sql, row_counts, row_text
from mpc.query.local_joins import LocalJoin
from mpc.query.nodes import Expr, JoinSide, numeric
from mpc.query.plan import Noise
from mpc.query.plan_joins import SideColumn
from mpc.query.plan_pools import LocalQuery
from mpc.query.plan_reveals import ColumnUse
from mpc.query.polynomials import Factor, Membership
from mpc.query.printer import identifier, sql, units

#: bytes of a text key whose owner says nothing: with its length two AES blocks
DEFAULT_SIZE = 30


def table_of(catalogs: Mapping[str, Catalog], of: JoinSide | ColumnUse) -> Table | None:
    """The table that is a side, or of which a column is used, as its owner declares it."""
    return next(c for c in catalogs.values() if c.party == of.party).table(of.table)


def declared_key(catalogs: Mapping[str, Catalog], side: JoinSide, i: int) -> Declared:
    """Column ``i`` of a side's key, as its owner declares it."""
    table = table_of(catalogs, side)
    column = table.column(side.key[i].name) if table else None
    assert column is not None
    return column


def key_field(declared: Sequence[Declared]) -> Field:
    """Form and size of a column of the key: the same for all. An id to one owner is an id to all."""
    if declared[0].kind != "text":
        return INTEGER
    forms = {c.form or ("id" if c.key else "text") for c in declared}
    form = forms.pop() if len(forms) == 1 else "id"
    if form == "credit_code":
        return Field("credit_code", 18)
    return Field("text" if form == "text" else "id", max(c.size or DEFAULT_SIZE for c in declared))


def side_query(
    table: Table | None,
    side: JoinSide,
    factors: Sequence[tuple[Factor | Membership, SideColumn]],
    keys: Sequence[str],
    noise: Noise | None,
) -> LocalQuery:
    """Every row of the table, whatever the conditions: the number of rows that take part is that of the table."""
    assert table is not None
    items = [f"{identifier(c.name)} AS j{i}" for i, c in enumerate(side.key)]
    items += [f"{k} AS g{i}" for i, k in enumerate(keys)]
    items.append(f"{row_counts(table, side.where, None if noise is None else noise.entity_rows)} AS pass")
    items += [f"{_factor_sql(_without_earlier(f))} AS c{i}" for i, (f, _) in enumerate(factors)]
    if any(isinstance(f, Membership) for f, _ in factors):
        items.append(f"{entity_digest(table)} AS x")
    if noise is not None and not side.unique:
        items.append(f"md5_number_lower({row_text(table)}) AS d")
    rows, tables = (table.sql, table.parts) if isinstance(table, LocalJoin) else (identifier(side.table), (side.table,))
    return LocalQuery(side.party, f"SELECT {', '.join(items)} FROM {rows}", tables)


def own_sql(e: Expr) -> str:
    """A value of the recipient's own, of any width."""
    return f"CAST({sql(e)} AS DECIMAL(38,0))" if numeric(e) else key_sql(e)


def _without_earlier(f: Factor | Membership) -> Factor:
    """Where the query says nothing of earlier populations: 0, or 1 in the rows that are to be compared with theirs."""
    if isinstance(f, Factor):
        return f
    return Factor(build.ZERO) if f.counted is None else Factor(None, f.counted)


def _factor_sql(f: Factor) -> str:
    value = "1" if f.value is None else units(f.value)
    if f.value is not None and f.value.kind == "boolean":
        value = f"CAST({value} AS BIGINT)"
    tests = " AND ".join(sorted(f"({sql(c)})" for c in f.conditions))
    text = f"CASE WHEN {tests} THEN {value} ELSE 0 END" if tests else value
    narrow = f.value is None or (
        f.value.low is not None and f.value.high is not None and f.value.low > -(2**63) and f.value.high < 2**63
    )
    return f"CAST({text} AS {'BIGINT' if narrow else 'DECIMAL(38,0)'})"
