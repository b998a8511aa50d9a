"""The demo consortium's tables: what each member publishes about them, what it allows, and the files themselves.

    tax       firms (synthetic)     borrowers (lending_club, by columns)
    bank_a    accounts (synthetic)  loans (lending_club, odd rows)  applicants (synthetic)
    bank_b    accounts (synthetic)  loans (lending_club, even rows)
    telecom   firms (synthetic)     customers (telco_churn)

``prepare`` writes one folder a member; nothing in it refers to another member's. Bounds are wide round numbers, as an
owner would declare them: they give no extreme away and hold for any size of the synthetic tables.

Not everything is granted: ``turnover`` is the tax bureau's own, so that a newcomer meets a refusal and its advice.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa

from mpc.query.catalog import Column, Table, days, round_up
from parties.demo import datasets, firms
from parties.demo.code_lists import INDUSTRIES, PROVINCES, SIZES

DATA_PARTIES = ("tax", "bank_a", "bank_b", "telecom")
MODELER = "analyst"
DEFAULT_FIRMS = 2000
DEFAULT_SEED = 1


@dataclass(frozen=True)
class Grant:
    """One ``[[grant]]`` of policy.toml (query.md, Policy); what is left out takes the policy's defaults."""

    table: str
    columns: tuple[str, ...]
    to: tuple[str, ...]
    uses: tuple[str, ...]
    contributor_sets: str = "one"

    def toml(self) -> str:
        def texts(values: Sequence[str]) -> str:
            return "[" + ", ".join(f'"{v}"' for v in values) + "]"

        return (
            f'[[grant]]\ntable = "{self.table}"\ncolumns = {texts(self.columns)}\nto = {texts(self.to)}\n'
            f"uses = {texts(self.uses)}\nmin_entities = 10\nmin_contributors = 2\n"
            f'contributor_sets = "{self.contributor_sets}"\napproval = "auto"\n'
        )


@dataclass(frozen=True)
class DemoTable:
    """One table of one member: its file, its published declaration (``table.name`` is its name), its grants."""

    party: str
    path: Path
    table: Table
    grants: tuple[Grant, ...]

    @property
    def keys(self) -> tuple[str, ...]:
        return tuple(c.name for c in self.table.keys)

    def policy_toml(self) -> str:
        return "\n".join(g.toml() for g in self.grants)


def prepare(folder: Path, firms_count: int = DEFAULT_FIRMS, seed: int = DEFAULT_SEED) -> tuple[DemoTable, ...]:
    """Write ``folder/PARTY/TABLE.csv|parquet`` for every member and return what they are, in a fixed order.

    Real tables are written as CSV, synthetic ones as Parquet, so that a demo reads both. Raises OSError if the
    folder cannot be written, LocalError ``config.missing`` without the example data.
    """
    linked = firms.linked_tables(firms_count, seed)
    made = [_write(folder, party, name, rows, ".parquet") for party, name, rows in linked]
    real: tuple[tuple[str, str, Callable[[], pa.Table]], ...] = (
        ("bank_a", "loans", lambda: datasets.loans(1)),
        ("bank_b", "loans", lambda: datasets.loans(0)),
        ("tax", "borrowers", datasets.borrowers),
        ("telecom", "customers", datasets.customers),
    )
    return (*made, *(_write(folder, party, name, rows(), ".csv") for party, name, rows in real))


def _write(folder: Path, party: str, name: str, rows: pa.Table, suffix: str) -> DemoTable:
    path = folder / party / f"{name}{suffix}"
    firms.write(rows, path)
    columns, description, ungranted = DECLARED[party, name]
    grants = _grants(party, name, columns, ungranted)
    return DemoTable(party, path, _table(name, columns, rows, description), grants)


def _table(name: str, columns: tuple[Column, ...], rows: pa.Table, description: str) -> Table:
    table = Table(name, columns, round_up(rows.num_rows), description)
    keys = rows.group_by([c.name for c in table.keys]).aggregate([])
    return replace(table, unique=keys.num_rows == rows.num_rows)


#: measures that may also be shown as the bands of a histogram, by table
BANDED = {"loans": ("int_rate",)}


#: what bank A may be shown of single firms, those it asks about: (columns, uses) by (party, table)
OF_APPLICANTS: dict[tuple[str, str], tuple[tuple[tuple[str, ...], tuple[str, ...]], ...]] = {
    ("tax", "firms"): ((("uscc",), ("join_reveal",)), (("tax_paid",), ("threshold",)), (("arrears",), ("row",))),
    ("bank_b", "accounts"): ((("uscc",), ("join_reveal",)), (("arrears",), ("row",))),
    ("telecom", "firms"): ((("uscc",), ("join_reveal",)), (("arrears",), ("row", "threshold"))),
}


def _grants(party: str, name: str, columns: tuple[Column, ...], ungranted: Sequence[str]) -> tuple[Grant, ...]:
    """Every member lets the analyst and the other institutions see totals, by the labels it also grants."""
    to = (f"modeler:{MODELER}", *(p for p in DATA_PARTIES if p != party))
    labels = tuple(c.name for c in columns if c.domain is not None and c.name not in ungranted)
    measures = tuple(c.name for c in columns if c.domain is None and not c.key and c.name not in ungranted)
    bands = tuple(c for c in BANDED.get(name, ()) if c in measures)
    keys = tuple(c.name for c in columns if c.key and c.name not in ungranted)
    grants = (
        # how many rows there are may be counted together with whomever; amounts with one set of institutions only
        Grant(name, keys, to, ("aggregate", "join"), contributor_sets="any"),
        Grant(name, labels, to, ("group", "filter", "aggregate", "arithmetic")),
        Grant(name, measures, to, ("filter", "aggregate", "arithmetic")),
        Grant(name, bands, to, ("group",)),
        *(Grant(name, columns_, ("bank_a",), uses) for columns_, uses in OF_APPLICANTS.get((party, name), ())),
    )
    return tuple(g for g in grants if g.columns)


def _key(name: str, description: str) -> Column:
    return Column(name, "text", nullable=False, key=True, description=description)


def _label(name: str, domain: Sequence[str], description: str = "") -> Column:
    return Column(name, "text", nullable=False, domain=tuple(domain), description=description)


def _count(name: str, high: int, description: str = "", *, nullable: bool = False, unit: str = "") -> Column:
    return Column(name, "integer", low=0, high=high, nullable=nullable, unit=unit, description=description)


def _decimal(name: str, scale: int, high: int, unit: str, description: str = "", *, nullable: bool = False) -> Column:
    return Column(
        name,
        "decimal",
        scale=scale,
        low=0,
        high=high * 10**scale,
        nullable=nullable,
        unit=unit,
        description=description,
    )


def _yuan(name: str, description: str, *, low: int = 0, nullable: bool = False) -> Column:
    return Column(
        name,
        "decimal",
        scale=2,
        low=low,
        high=firms.LARGEST_AMOUNT,
        nullable=nullable,
        unit="yuan",
        description=description,
    )


def _flag(name: str) -> Column:
    return Column(name, "boolean", low=0, high=1, nullable=False, domain=(False, True))


USCC = _key("uscc", "unified social credit code, GB 32100-2015")
INDUSTRY = _label("industry", tuple(INDUSTRIES), "section of GB/T 4754-2017")
REGION = _label("region", tuple(PROVINCES), "province, GB/T 2260")
SIZE = _label("size", tuple(SIZES), "micro, small or medium")

TAX_FIRMS = (
    USCC,
    INDUSTRY,
    REGION,
    SIZE,
    Column("founded", "integer", low=1900, high=2100, nullable=False, description="year of registration"),
    _count("employees", 10_000),
    _yuan("turnover", "declared turnover of the year"),
    _yuan("tax_paid", "all taxes paid in the year; NULL: no return filed yet", nullable=True),
    _yuan("arrears", "tax due and unpaid"),
)

ACCOUNTS = (
    USCC,
    INDUSTRY,
    REGION,
    SIZE,
    Column("opened", "date", low=days(dt.date(1970, 1, 1)), high=days(dt.date(2049, 12, 31)), nullable=False),
    _yuan("balance", "on the day; negative: overdrawn", low=-firms.LARGEST_AMOUNT),
    _yuan("outstanding", "loans not yet paid back"),
    _yuan("interest_paid", "in the year"),
    _count("overdue_days", 10_000, "of the latest unpaid instalment; NULL: no loan", nullable=True, unit="days"),
    _yuan("arrears", "instalments due and unpaid"),
)

TELECOM_FIRMS = (
    USCC,
    REGION,
    SIZE,
    _count("lines", 10_000, "lines in use"),
    _yuan("spend", "billed in the year; NULL: no bill yet", nullable=True),
    _yuan("arrears", "billed and unpaid"),
)

APPLICANTS = (USCC, _yuan("wish", "the loan asked for"))

GRADES = tuple("ABCDEFG")
LOANS = (
    _key("loan_id", "row number in lending_club"),
    _count("funded_amnt", 100_000, unit="USD"),
    _label("term", ("term_36", "term_60"), "months"),
    _decimal("int_rate", 2, 100, "percent"),
    _label("grade", GRADES, "letter of sub_grade"),
    _label("sub_grade", tuple(f"{g}{n}" for g in GRADES for n in range(1, 6))),
    _count("delinq_2yrs", 100, "delinquencies in two years"),
    _count("inq_last_6mths", 100),
    _decimal("revol_util", 1, 1000, "percent", "revolving credit in use"),
    _count("acc_now_delinq", 100),
    _count("open_il_6m", 100),
    _count("open_il_12m", 100),
    _count("open_il_24m", 100),
    _count("total_bal_il", 1_000_000, "balance of instalment accounts", unit="USD"),
    _count("all_util", 1000, unit="percent"),
    _count("inq_fi", 100),
    _count("inq_last_12m", 100),
    _count("delinq_amnt", 100_000, unit="USD"),
    _count("num_il_tl", 100),
    _count("total_il_high_credit_limit", 1_000_000, unit="USD"),
    _label("class", ("bad", "good"), "how the loan ended"),
)

STATES = (
    "AK",
    "AL",
    "AR",
    "AZ",
    "CA",
    "CO",
    "CT",
    "DC",
    "DE",
    "FL",
    "GA",
    "HI",
    "IA",
    "ID",
    "IL",
    "IN",
    "KS",
    "KY",
    "LA",
    "MA",
    "MD",
    "ME",
    "MI",
    "MN",
    "MO",
    "MS",
    "MT",
    "NC",
    "ND",
    "NE",
    "NH",
    "NJ",
    "NM",
    "NV",
    "NY",
    "OH",
    "OK",
    "OR",
    "PA",
    "RI",
    "SC",
    "SD",
    "TN",
    "TX",
    "UT",
    "VA",
    "VT",
    "WA",
    "WI",
    "WV",
    "WY",
)
EMPLOYMENT = ("emp_lt_1", *(f"emp_{n}" for n in range(1, 10)), "emp_ge_10", "emp_unk")
BORROWERS = (
    _key("loan_id", "row number in lending_club"),
    _decimal("annual_inc", 2, 1_000_000, "USD"),
    _label("emp_length", EMPLOYMENT, "years in employment"),
    _label("addr_state", STATES),
    _label("verification_status", ("Not_Verified", "Source_Verified", "Verified")),
)

_INTERNET = ("No", "No internet service", "Yes")
CUSTOMERS = (
    _key("customer_id", "row number in telco_churn"),
    *(_flag(f) for f in ("churn", "female", "senior_citizen", "partner", "dependents")),
    _count("tenure", 100, unit="months"),
    _flag("phone_service"),
    _label("multiple_lines", ("No", "No phone service", "Yes")),
    _label("internet_service", ("DSL", "Fiber optic", "No")),
    *(
        _label(c, _INTERNET)
        for c in (
            "online_security",
            "online_backup",
            "device_protection",
            "tech_support",
            "streaming_tv",
            "streaming_movies",
        )
    ),
    _label("contract", ("Month-to-month", "One year", "Two year")),
    _flag("paperless_billing"),
    _label(
        "payment_method", ("Bank transfer (automatic)", "Credit card (automatic)", "Electronic check", "Mailed check")
    ),
    _decimal("monthly_charges", 2, 1000, "USD"),
    _decimal("total_charges", 2, 10_000, "USD", "since the beginning; NULL: not billed yet", nullable=True),
)

#: (party, table) -> (columns, description, columns that are granted to nobody)
DECLARED: dict[tuple[str, str], tuple[tuple[Column, ...], str, tuple[str, ...]]] = {
    ("tax", "firms"): (TAX_FIRMS, "Registered firms and their taxes (synthetic)", ("turnover",)),
    ("bank_a", "accounts"): (ACCOUNTS, "Firms' accounts at bank A (synthetic)", ()),
    ("bank_b", "accounts"): (ACCOUNTS, "Firms' accounts at bank B (synthetic)", ()),
    ("bank_a", "applicants"): (APPLICANTS, "Firms that ask bank A for a loan (synthetic)", ("uscc", "wish")),
    ("telecom", "firms"): (TELECOM_FIRMS, "Firms' phone bills (synthetic)", ()),
    ("bank_a", "loans"): (LOANS, "Consumer loans, odd rows of lending_club", ()),
    ("bank_b", "loans"): (LOANS, "Consumer loans, even rows of lending_club", ()),
    ("tax", "borrowers"): (BORROWERS, "Incomes of the borrowers of lending_club", ()),
    ("telecom", "customers"): (CUSTOMERS, "Private customers (telco_churn)", ()),
}
