"""What an owner publishes about its tables: names, types, declared bounds and domains. Never a value.

Bounds are integers in the column's own units: an ``integer`` as it is, a ``decimal`` times 10^scale
(fen, cents), a ``date`` as days since 1970-01-01, a ``boolean`` as 0 or 1. ``text`` has no bounds.

The digest covers everything but the row count, which may grow every night (query.md, Catalog).
"""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal

import rfc8785

from mpc.errors import LocalError
from mpc.ids import LONGEST, TEXT_FORMS

Kind = Literal["integer", "decimal", "date", "boolean", "text"]
KINDS: tuple[Kind, ...] = ("integer", "decimal", "date", "boolean", "text")
#: a value of a domain, or a label: text as str, integer/decimal/date in units as int, boolean as bool
Value = str | int | bool | None


@dataclass(frozen=True)
class Column:
    """One published column. ``low``/``high`` in units (see module), inclusive; ``domain`` is complete when given."""

    name: str
    kind: Kind
    scale: int = 0
    low: int | None = None
    high: int | None = None
    nullable: bool = True
    domain: tuple[str | int | bool, ...] | None = None
    key: bool = False
    unit: str = ""
    description: str = ""
    level: str = ""
    #: of text: what two writings of one id have in common (mpc.ids), and the most bytes of its canonical writing
    form: str = ""
    size: int = 0

    @property
    def type_name(self) -> str:
        return {
            "decimal": f"DECIMAL(38,{self.scale})",
            "integer": "BIGINT",
            "date": "DATE",
            "boolean": "BOOLEAN",
            "text": "VARCHAR",
        }[self.kind]


@dataclass(frozen=True)
class Table:
    """One published table. ``rows`` is the row count rounded up (two significant digits); not in the digest.

    ``unique``: the owner declares that no two rows have the same key (``keys``); its node checks it in every join.
    """

    name: str
    columns: tuple[Column, ...]
    rows: int
    description: str = ""
    unique: bool = False

    def column(self, name: str) -> Column | None:
        return next((c for c in self.columns if c.name.lower() == name.lower()), None)

    @property
    def keys(self) -> tuple[Column, ...]:
        """The columns that together mark one entity; none means that every row is its own entity."""
        return tuple(c for c in self.columns if c.key)


@dataclass(frozen=True)
class Catalog:
    """All tables one party publishes."""

    party: str
    tables: tuple[Table, ...] = field(default=())

    def table(self, name: str) -> Table | None:
        return next((t for t in self.tables if t.name.lower() == name.lower()), None)

    def digest(self) -> str:
        """SHA-256 (hex) over the canonical form without row counts; tables and columns in their declared order."""
        body = self.to_dict()
        for t in body["tables"]:
            del t["rows"]
        return hashlib.sha256(b"heji/v1/catalog\x00" + rfc8785.dumps(body)).hexdigest()

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form; integers as strings where they may pass 2^53."""

        def column(c: Column) -> dict[str, Any]:
            made: dict[str, Any] = {"name": c.name, "kind": c.kind, "nullable": c.nullable, "key": c.key}
            if c.kind == "decimal":
                made["scale"] = c.scale
            for side in ("low", "high"):
                if getattr(c, side) is not None:
                    made[side] = str(getattr(c, side))
            if c.domain is not None:
                made["domain"] = [str(v) if type(v) is int else v for v in c.domain]
            made.update({k: getattr(c, k) for k in ("unit", "description", "level", "form", "size") if getattr(c, k)})
            return made

        return {
            "party": self.party,
            "tables": [
                {
                    "name": t.name,
                    "rows": t.rows,
                    "description": t.description,
                    "columns": [column(c) for c in t.columns],
                    **({"unique": True} if t.unique else {}),
                }
                for t in self.tables
            ],
        }

    @staticmethod
    def from_dict(body: Mapping[str, Any]) -> Catalog:
        """Inverse of ``to_dict``. Raises LocalError plan.catalog on anything unexpected."""

        def column(f: Mapping[str, Any]) -> Column:
            _known(f, Column)
            kind = f["kind"]
            if kind not in KINDS:
                raise ValueError(f"unknown column kind {kind!r}")
            domain = f.get("domain")
            c = Column(
                name=_text(f["name"]),
                kind=kind,
                scale=_plain(f.get("scale", 0)),
                low=_whole(f["low"]) if "low" in f else None,
                high=_whole(f["high"]) if "high" in f else None,
                nullable=_flag(f.get("nullable", True)),
                key=_flag(f.get("key", False)),
                domain=None if domain is None else tuple(_value(kind, v) for v in domain),
                unit=_text(f.get("unit", "")),
                description=_text(f.get("description", "")),
                level=_text(f.get("level", "")),
                form=_text(f.get("form", "")),
                size=_plain(f.get("size", 0)),
            )
            if kind in ("integer", "decimal", "date") and (c.low is None or c.high is None or c.low > c.high):
                raise ValueError(f"column {c.name}: bounds missing or in the wrong order")
            if not 0 <= c.scale <= (18 if kind == "decimal" else 0):
                raise ValueError(f"column {c.name}: scale must be 0 to 18, of decimals only")
            if (c.form or c.size) and kind != "text":
                raise ValueError(f"column {c.name}: form and size are for text only")
            if c.form not in ("", *TEXT_FORMS) or c.size > LONGEST:
                raise ValueError(f"column {c.name}: form is {', '.join(TEXT_FORMS)}; size at most {LONGEST}")
            return c

        try:
            tables = tuple(
                Table(
                    _text(t["name"]),
                    tuple(column(c) for c in t["columns"]),
                    _plain(t["rows"]),
                    _text(t.get("description", "")),
                    _flag(t.get("unique", False)),
                )
                for t in body["tables"]
                if _known(t, Table)
            )
            for t in tables:
                if t.unique and not t.keys:
                    raise ValueError(f"table {t.name}: unique needs columns that are marked as key")
                if len({c.name.lower() for c in t.columns}) != len(t.columns):
                    raise ValueError(f"table {t.name}: two columns of one name")
            if len({t.name.lower() for t in tables}) != len(tables):
                raise ValueError("two tables of one name")
            return Catalog(_text(body["party"]), tables)
        except (KeyError, TypeError, ValueError) as problem:
            raise LocalError(
                "plan.catalog",
                f"A published catalog cannot be used: {problem}.",
                "Its owner should look at catalog.json and run `heji node check`.",
            ) from problem


# ---- strict reading: one writing for each value, nothing converted, nothing left out


def _known(given: Mapping[str, Any], kind: type[Column | Table]) -> bool:
    """True where all fields are known: a misspelt one would else silently count for nothing."""
    unknown = sorted(set(given) - {f.name for f in fields(kind)})
    if unknown:
        raise ValueError(f"unknown field {unknown[0]!r}")
    return True


def _text(v: Any) -> str:
    if not isinstance(v, str):
        raise TypeError("a text is needed")
    return v


def _flag(v: Any) -> bool:
    if not isinstance(v, bool):
        raise TypeError("true or false is needed")
    return v


def _plain(v: Any) -> int:
    """A small integer, a number in JSON."""
    if type(v) is not int or not 0 <= v < 2**53:
        raise TypeError("a number of rows or digits is needed")
    return v


def _whole(v: Any) -> int:
    """An integer that may pass 2^53, as text."""
    if not isinstance(v, str) or str(int(v)) != v:
        raise ValueError("whole numbers are texts of digits, in units")
    return int(v)


def _value(kind: Kind, v: Any) -> str | int | bool:
    """A value of a domain."""
    return _text(v) if kind == "text" else _flag(v) if kind == "boolean" else _whole(v)


def round_up(rows: int) -> int:
    """A row count as it is published: rounded up to two significant digits (at least 10)."""
    step = int(10 ** max(len(str(max(rows, 1))) - 2, 1))
    return -(-max(rows, 1) // step) * step


def days(date: dt.date) -> int:
    """A date in units: days since 1970-01-01."""
    return date.toordinal() - 719163
