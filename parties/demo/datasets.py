"""The two real tables (examples/data/PROVENANCE.md) and how the demo deals them out to institutions.

lending_club, 9,857 loans. ``loan_id`` is the row number as text of five digits.
    bank_a.loans    odd rows, bank_b.loans even rows: two lenders with loans of their own
    tax.borrowers   all rows, but only what a tax authority would know: income, employment, state, verification
                    (these columns are not in the banks' tables)
telco_churn, 7,043 customers of a telecom.
    telecom.customers  all rows and columns

Values stay as published but for names (``class`` for ``Class``), a ``grade`` letter taken from ``sub_grade``, and
yes/no columns that become booleans. Everything is read and written as text; no number passes through floating point.
"""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from mpc.errors import LocalError

#: columns of lending_club that go to the tax authority instead of to the lenders
TAX_COLUMNS = ("annual_inc", "emp_length", "addr_state", "verification_status")
#: columns of telco_churn that say yes or no
FLAGS = ("churn", "female", "senior_citizen", "partner", "dependents", "phone_service", "paperless_billing")


def find(name: str) -> Path:
    """Where a data file lies: inside the installed package, else in the source checkout."""
    packaged = resources.files("parties.demo") / "data" / name
    checkout = Path(__file__).resolve().parents[2] / "examples" / "data" / name
    for path in (Path(str(packaged)), checkout):
        if path.is_file():
            return path
    raise LocalError(
        "config.missing",
        f"The demo's table {name} is not installed.",
        "Run from a source checkout (examples/data), or reinstall heji from its wheel.",
    )


def loans(parity: int) -> pa.Table:
    """One lender's loans: rows whose number leaves ``parity`` modulo 2, without the tax authority's columns."""
    table = _read("lending_club.csv")
    numbers = pc.cast(table["rownames"], pa.int64())
    table = table.filter(pc.equal(pc.bit_wise_and(numbers, 1), parity))
    columns = {"loan_id": _padded(table["rownames"], 5)}
    for name in table.column_names[1:]:
        if name in TAX_COLUMNS:
            continue
        if name == "sub_grade":
            columns["grade"] = pc.utf8_slice_codeunits(table[name], 0, 1)
        columns[name.lower()] = table[name]
    return pa.table(columns)


def borrowers() -> pa.Table:
    """What the tax authority knows of the same borrowers."""
    table = _read("lending_club.csv")
    return pa.table({"loan_id": _padded(table["rownames"], 5)} | {name: table[name] for name in TAX_COLUMNS})


def customers() -> pa.Table:
    """The telecom's customers; ``total_charges`` is missing for those who have not been billed yet."""
    table = _read("telco_churn.csv")
    columns = {"customer_id": _padded(table["rownames"], 5)}
    for name in table.column_names[1:]:
        yes = pc.is_in(table[name], value_set=pa.array(["1", "Yes"]))
        columns[name] = yes if name in FLAGS else table[name]
    return pa.table(columns)


def _read(name: str) -> pa.Table:
    """All columns as text, an empty field as NULL."""
    path = find(name)
    with path.open(encoding="utf-8") as lines:
        header = next(lines).strip().split(",")
    options = pyarrow.csv.ConvertOptions(
        column_types=dict.fromkeys(header, pa.string()), null_values=[""], strings_can_be_null=True
    )
    return pyarrow.csv.read_csv(path, convert_options=options)


def _padded(numbers: pa.ChunkedArray, width: int) -> pa.ChunkedArray:
    """Row numbers as ids: text with leading zeros, which a careless reader would lose."""
    return pc.utf8_lpad(numbers, width, "0")
