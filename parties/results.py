"""A result: an Arrow table and a statement of how it came about, in every format people take it away in.

A suppressed cell is NULL, and its column's name stands in the row's ``_suppressed`` list (a column that exists only
where something is suppressed). With noise, ``_accuracy`` has beside each row how far each number may be off (± so much,
in 95 of 100 cases; NULL where nothing is stated), and ``_unclear`` lists the columns that noise left without a value.
The statement travels with the table as Arrow schema metadata.
"""

from __future__ import annotations

import datetime as dt
import io
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from mpc.crypto.coefficients import off
from mpc.crypto.labels import digest
from mpc.errors import LocalError
from mpc.evidence.released import Released, columns_of, words_of
from mpc.protocols.verified import Binding
from mpc.query import finish, layout
from mpc.query.accuracy import CONFIDENCE
from mpc.query.plan import Plan
from mpc.roles import Totals
from parties.proposals import Proposed

SUPPRESSED, UNCLEAR, ACCURACY = "_suppressed", "_unclear", "_accuracy"
_STATEMENT, _RELEASED = b"heji.statement", b"heji.released"
FORMATS = ("table", "json", "csv", "parquet")


@dataclass(frozen=True)
class Result:
    """What recipients get. ``table`` is exact: integers, decimals, dates as Arrow types; doubles where SQL says so."""

    table: pa.Table
    statement: dict[str, Any]
    #: what the recipient's log has the digest of (mpc.evidence.released); b"" in what was not opened here
    released: bytes = field(default=b"", repr=False)

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The table as Python values: int, Decimal, float, date, bool, str, None."""
        rows: list[dict[str, Any]] = self.table.to_pylist()
        return rows

    def to_pandas(self) -> Any:
        """A pandas DataFrame (pandas must be installed: heji[pandas])."""
        return self.table.to_pandas()

    def to_bytes(self) -> bytes:
        """Arrow IPC stream with the statement inside; ``from_bytes`` is its inverse."""
        sink = io.BytesIO()
        statement = json.dumps(self.statement, ensure_ascii=False).encode()
        table = self.table.replace_schema_metadata({_STATEMENT: statement, _RELEASED: self.released})
        with pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
        return sink.getvalue()

    @staticmethod
    def from_bytes(raw: bytes) -> Result:
        table = pa.ipc.open_stream(raw).read_all()
        kept = table.schema.metadata or {}
        statement = json.loads(kept.get(_STATEMENT, b"{}"))
        return Result(table.replace_schema_metadata(None), statement, kept.get(_RELEASED, b""))

    def digest(self) -> str:
        """What the recipient's log says it was shown."""
        return digest("result", self.released).hex()

    def to_json(self) -> str:
        """``{"rows": [...], "statement": {...}}``; numbers are JSON numbers with all their digits."""
        return json_text({"rows": self.rows, "statement": self.statement})

    def write(self, path: Path, form: str) -> None:
        """Write as json, csv or parquet, whole or not at all. Raises LocalError store.failed."""
        scratch = path.with_name(path.name + ".part")
        try:
            if form == "parquet":
                meta = {_STATEMENT: json.dumps(self.statement, ensure_ascii=False).encode()}
                pyarrow.parquet.write_table(self.table.replace_schema_metadata(meta), scratch)
            else:
                text = self.to_json() + "\n" if form == "json" else self.to_csv()
                scratch.write_text(text, encoding="utf-8")
            scratch.replace(path)
        except OSError as problem:
            scratch.unlink(missing_ok=True)
            raise LocalError(
                "store.failed",
                f"{path} cannot be written: {problem.strerror}.",
                "The result is kept: fetch it again with `heji jobs result`.",
            ) from problem

    def to_csv(self) -> str:
        """CSV with a header; what is listed beside a row joined by semicolons: ``a;b``, or ``a=12;b=0.5``."""
        table = self.table
        for about in {SUPPRESSED, UNCLEAR, ACCURACY} & set(table.column_names):
            at = table.column_names.index(about)
            joined = [";".join(_listed(row)) for row in table.column(about).to_pylist()]
            table = table.set_column(at, about, pa.array(joined, pa.string()))
        sink = io.BytesIO()
        pyarrow.csv.write_csv(table, sink)
        return sink.getvalue().decode()


def _listed(row: list[str] | dict[str, Any]) -> list[str]:
    if isinstance(row, list):
        return row
    return [f"{name}={json_text(value)}" for name, value in row.items() if value is not None]


def opened_result(
    proposed: Proposed,
    totals: Totals,
    recipient: str,
    approvals: Mapping[str, bytes],
    own: Mapping[int, layout.Rows] = MappingProxyType({}),
    bindings: Mapping[str, Binding] = MappingProxyType({}),
) -> Result:
    """Opened totals to a result: read the words, compute the finish in the clear, state how it came about.

    ``own``: by number of the pool, the recipient's own values beside a result by row. ``bindings``: of verified sums,
    what they were verified with.
    """
    plan, job = proposed.plan, proposed.job
    opened = layout.read(plan, {name.rsplit("/", 1)[0]: words for name, words in totals.items()}, own)
    computed = finish.finish(plan, opened)
    table = to_arrow(computed)
    cells = sum(len(names) for names in computed.suppressed)
    statement = {
        "job": job.id,
        "recipient": recipient,
        "submitter": job.submitter,
        "purpose": job.purpose,
        "sql": job.shown,
        "parties": list(plan.parties),
        "trust": plan.trust,
        "plan": plan.digest(),
        "roster": job.roster,
        "planner": plan.version,
        "suppressed_values": cells,
        "verified": plan.verified,
        "rounded": rounded_by(approvals),
        **({} if job.deposit is None else {"deposits": _deposits(plan.parties, approvals, job.deposit.method)}),
        **_noise(plan, approvals),
        "policies": {p: json.loads(a)["policy"] for p, a in sorted(approvals.items())},
        "nonce": secrets.token_hex(32),  # in the digest of what is released, so that nobody searches for it
    }
    released = Released(statement, columns_of(computed), words_of(totals), bindings)
    return Result(table, statement, released.to_bytes())


def rounded_by(approvals: Mapping[str, bytes]) -> dict[str, dict[str, str]]:
    """To what each owner rounds its sums of a column before they are added, by party and "table.column"."""
    said = {p: json.loads(a).get("columns", ()) for p, a in sorted(approvals.items())}
    found = {p: {f"{c['table']}.{c['column']}": c["round_to"] for c in of if "round_to" in c} for p, of in said.items()}
    return {p: columns for p, columns in found.items() if columns}


def _deposits(parties: tuple[str, ...], approvals: Mapping[str, bytes], method: str) -> dict[str, Any]:
    """Whose deposits are in a total, and whose are not; under CKKS how far it was off before it was rounded, in units
    of the last digit."""
    found: dict[str, Any] = {"of": sorted(approvals), "missing": [p for p in parties if p not in approvals]}
    return found if method != "ckks" else {**found, "off_before_rounding": float(off(len(approvals)))}


def _noise(plan: Plan, approvals: Mapping[str, bytes]) -> dict[str, Any]:
    """What a statement says of noise, and of what the owners' budgets have left; nothing where there is none."""
    if plan.noise is None:
        return {}
    told = {p: json.loads(a).get("budgets", []) for p, a in sorted(approvals.items())}
    return {
        "noise": {
            "distribution": "discrete Laplace, of every owner",
            "epsilon": plan.noise.epsilon,
            "entity_rows": plan.noise.entity_rows,
            "confidence": float(CONFIDENCE),
        },
        "budgets": {p: budgets for p, budgets in told.items() if budgets},
    }


def to_arrow(computed: finish.Result) -> pa.Table:
    """The finished rows as an Arrow table of exact types."""
    arrays, fields = [], []
    for i, (name, kind, scale) in enumerate(zip(computed.names, computed.kinds, computed.scales, strict=True)):
        values = [row[i] for row in computed.rows]
        typed = _arrow_type(kind, scale, values)
        arrays.append(pa.array(values, typed))
        fields.append(pa.field(name, typed))
    if any(computed.suppressed):
        arrays.append(pa.array([list(names) for names in computed.suppressed], pa.list_(pa.string())))
        fields.append(pa.field(SUPPRESSED, pa.list_(pa.string())))
    if any(computed.unclear):
        arrays.append(pa.array([list(names) for names in computed.unclear], pa.list_(pa.string())))
        fields.append(pa.field(UNCLEAR, pa.list_(pa.string())))
    if stated := _stated(computed):
        types = [pa.field(computed.names[i], fields[i].type) for i in stated]
        rows = [{computed.names[i]: row[i] for i in stated} for row in computed.accuracy]
        arrays.append(pa.array(rows, pa.struct(types)))
        fields.append(pa.field(ACCURACY, pa.struct(types)))
    return pa.Table.from_arrays(arrays, schema=pa.schema(fields))


def _stated(computed: finish.Result) -> list[int]:
    """The columns of which some accuracy is stated."""
    return [i for i in range(len(computed.names)) if any(row[i] is not None for row in computed.accuracy)]


def _arrow_type(kind: str, scale: int, values: list[Any]) -> pa.DataType:
    if kind == "integer":
        small = all(v is None or -(2**63) <= v < 2**63 for v in values)
        return pa.int64() if small else pa.decimal128(38, 0)
    return {
        "decimal": pa.decimal128(38, scale),
        "double": pa.float64(),
        "date": pa.date32(),
        "boolean": pa.bool_(),
        "text": pa.string(),
    }[kind]


def json_text(value: Any) -> str:
    """JSON with Decimals as plain numbers of all their digits and dates as ISO text (json.dumps knows neither)."""
    if isinstance(value, Mapping):
        return (
            "{" + ", ".join(f"{json.dumps(str(k), ensure_ascii=False)}: {json_text(v)}" for k, v in value.items()) + "}"
        )
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(json_text, value)) + "]"
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, dt.date):
        return json.dumps(value.isoformat())
    return json.dumps(value, ensure_ascii=False, allow_nan=False)
