"""Texts as numbers: shares hold numbers, so a text that columns of several owners decide is its place in a list.

The list is every value the text can have, which follows from declared domains and constants, in the order in which
texts compare (their UTF-8 bytes): so places compare as the texts do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mpc.query import build
from mpc.query.catalog import Catalog
from mpc.query.domains import Domains
from mpc.query.nodes import Case, Coalesce, Code, Const, Expr, columns
from mpc.query.parse import Source


def labels_of(source: Source, catalogs: Mapping[str, Catalog], *texts: Expr) -> tuple[str, ...] | None:
    """All that the texts can be, in order; None where that does not follow from declared domains."""
    domains = Domains(source, catalogs)
    found: set[str] = set()
    for e in texts:
        known = domains.known(e)
        if known is None:
            return None
        found |= {str(v) for v in known if v is not None}
    return tuple(sorted(found, key=str.encode))


def coded(e: Expr, labels: Sequence[str]) -> Expr | None:
    """The place of a text among its labels, as an expression in which every column's owner can compute its part; None
    where it cannot be split so."""
    if isinstance(e, Const):
        return build.NULL if e.value is None else build.integer(labels.index(str(e.value)))
    if len({(c.party, c.table) for c in columns(e)}) == 1:
        return Code("integer", 0, 0, max(len(labels) - 1, 0), e.nullable, e, tuple(labels))
    if isinstance(e, Case):
        values = [coded(v, labels) for v in (*(v for _, v in e.whens), e.default)]
        whole = [v for v in values if v is not None]
        if len(whole) < len(values):
            return None
        return build.case([(c, v) for (c, _), v in zip(e.whens, whole, strict=False)], whole[-1])
    if isinstance(e, Coalesce):
        args = [coded(a, labels) for a in e.args]
        return None if None in args else build.coalesce([a for a in args if a is not None])
    return None
