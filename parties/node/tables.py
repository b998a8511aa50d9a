"""Publishing a table: its source, its catalog entry, and grants if the owner gives some with it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from dataclasses import replace as dataclass_replace
from pathlib import Path

import pyarrow as pa
import tomlkit

from mpc.errors import LocalError
from mpc.policy.grants import parse_policy
from mpc.query.catalog import Catalog, Table, round_up
from parties import files
from parties.config import load_config
from parties.node.sources import source as sources
from parties.node.sources.canonical import canonical, names
from parties.node.sources.inference import Declared, infer
from parties.node.sources.reading import read


@dataclass(frozen=True)
class Proposal:
    """A published table, and what its owner should review in catalog.json."""

    table: Table
    review: tuple[str, ...]


def add_table(
    folder: Path,
    location: str,
    *,
    name: str | None = None,
    table: str | None = None,
    sql: str | None = None,
    keys: Sequence[str] = (),
    types: Mapping[str, str] | None = None,
    domains: Mapping[str, str] | None = None,
    bounds: Mapping[str, str] | None = None,
    grants: Sequence[str] = (),
    min_entities: int | None = None,
    min_contributors: int | None = None,
    encoding: str | None = None,
    description: str = "",
    replace: bool = False,
) -> Proposal:
    """Infer a catalog entry from a source and publish it. Raises LocalError data.*, config.*."""
    source = sources.parse_location(location, table=table, sql=sql, encoding=encoding)
    published = name or table or (source.path.stem if source.path else None)
    if published is None:
        raise LocalError("config.invalid", "The table needs a name.", "Add --name NAME.")
    published = published.rpartition(".")[2]
    _others(folder, published, replace=replace)  # before reading, which may take long
    raw = read(source)
    columns, review = infer(raw, Declared(types or {}, domains or {}, bounds or {}, keys))
    if not keys:
        review.append("no --key: every row counts as one entity of its own.")
    made = Table(published, columns, round_up(raw.num_rows), description)
    rows = canonical(raw, made)  # what is published must hold from the first day
    if made.keys and _each_once(rows, [c.name for c in made.keys]):
        made = dataclass_replace(made, unique=True)
        review.append('no key stands twice, so the table is declared "unique"; joins fail where that ends.')
    grant = grant_toml(published, grants, min_entities, min_contributors) if grants else ""
    publish(folder, made, source, policy=grant, replace=replace)
    return Proposal(made, tuple(review))


def _each_once(rows: pa.Table, names: Sequence[str]) -> bool:
    return bool(rows.num_rows == rows.group_by(list(names)).aggregate([]).num_rows)


def publish_table(folder: Path, table: Table, location: str, *, policy: str = "") -> None:
    """Publish a table whose declaration is at hand, after checking it against the data."""
    source = sources.parse_location(location, table=None, sql=None, encoding=None)
    canonical(read(source, names(table.columns)), table)
    publish(folder, table, source, policy=policy)


def publish(
    folder: Path, table: Table, source: sources.TableSource, *, policy: str = "", replace: bool = False
) -> None:
    """Write source, catalog entry and grants; the catalog last, since it is what makes the table seen.

    Everything is checked before anything is written.
    """
    others = _others(folder, table.name, replace=replace)
    made = Catalog(others.party, (*others.tables, table)).to_dict()
    Catalog.from_dict(made)
    granted = _with_grant(folder, policy) if policy else None
    sources.save(folder, table.name, source)
    if granted is not None:
        files.write(folder / "policy.toml", granted)
    files.write(folder / "catalog.json", json.dumps(made, indent=1, ensure_ascii=False) + "\n")


def _others(folder: Path, name: str, *, replace: bool) -> Catalog:
    """The catalog without ``name``, which may be published. Raises LocalError config.invalid, config.exists."""
    if not (name.isidentifier() and len(name) <= 63):
        raise LocalError("config.invalid", f"{name!r} cannot name a table in SQL.", "Choose another with --name.")
    catalog = _catalog(folder)
    if catalog.table(name) is not None and not replace:
        raise LocalError(
            "config.exists", f"A table {name} is published already.", "Replace it with --replace, or use --name."
        )
    return Catalog(catalog.party, tuple(t for t in catalog.tables if t.name.lower() != name.lower()))


def _catalog(folder: Path) -> Catalog:
    path = folder / "catalog.json"
    if not path.exists():
        return Catalog(load_config(folder).name)
    try:
        return Catalog.from_dict(json.loads(files.read(path, "the catalog")))
    except ValueError as problem:
        raise LocalError(
            "plan.catalog", f"{path} is not JSON: {problem}.", "Mend it; `heji node check` looks again."
        ) from problem


def grant_toml(table: str, uses: Sequence[str], min_entities: int | None, min_contributors: int | None) -> str:
    """A [[grant]] on all columns of a table, to everybody, as ``--grant`` appends it."""
    block = tomlkit.table()
    block.update({"table": table, "columns": ["*"], "to": ["any"], "uses": list(uses)})
    if min_entities is not None:
        block["min_entities"] = min_entities
    if min_contributors is not None:
        block["min_contributors"] = min_contributors
    block["approval"] = "auto"
    tables = tomlkit.aot()
    tables.append(block)
    document = tomlkit.document()
    document["grant"] = tables
    return tomlkit.dumps(document)


def append_grant(folder: Path, grant: str) -> None:
    """Append to policy.toml, unless the result would not be a valid policy (then nothing is written)."""
    files.write(folder / "policy.toml", _with_grant(folder, grant))


def _with_grant(folder: Path, grant: str) -> str:
    """policy.toml with a grant at its end, comments and all; as it is where it says the very same already."""
    path = folder / "policy.toml"
    before = files.read(path, "the policy").decode() if path.exists() else ""
    after = before if grant in before else before + ("" if before.endswith("\n") or not before else "\n") + "\n" + grant
    parse_policy(after)
    return after
