"""A small consortium for tests: two or three banks with accounts, an analyst, a coordinator."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path

from parties.consortium import init_consortium
from parties.node.tables import add_table

BANKS = ("bank_a", "bank_b", "bank_c")
#: the sentence it all started from
TOGETHER = (
    "SELECT SUM(balance) AS together, COUNT(*) AS n FROM ("
    + " UNION ALL ".join(f"SELECT balance FROM {bank}.accounts" for bank in BANKS)
    + ")"
)
BY_GRADE = (
    "SELECT grade, COUNT(*) AS n, SUM(balance) AS total FROM ("
    + " UNION ALL ".join(f"SELECT grade, balance FROM {bank}.accounts" for bank in BANKS)
    + ") GROUP BY grade ORDER BY grade"
)

Row = tuple[str, str, str]


def rows_of(bank: str, count: int = 30) -> list[Row]:
    """(uscc, grade, balance): grades A and B alternate; cents differ from bank to bank."""
    cents = BANKS.index(bank) + 1 if bank in BANKS else 9
    return [(f"{bank}-{i:04d}", "AB"[i % 2], f"{i * 1000}.{cents:02d}") for i in range(count)]


def together(banks: Sequence[str] = BANKS, count: int = 30) -> float:
    return sum(float(r[2]) for b in banks for r in rows_of(b, count))


def make(
    folder: Path,
    banks: Sequence[str] = BANKS,
    *,
    count: int = 30,
    grants: Iterable[str] = ("aggregate", "group", "filter"),
    organisations: dict[str, str] | None = None,
    min_entities: int | None = None,
    witness: str = "",
    auditors: Sequence[str] = (),
) -> Path:
    """A consortium below ``folder`` whose banks publish ``accounts`` and grant ``grants``."""
    consortium = folder / "consortium"
    init_consortium(
        consortium,
        parties=list(banks),
        modelers=["analyst"],
        organisations=organisations,
        witness=witness,
        auditors=auditors,
    )
    for bank in banks:
        add_accounts(consortium, bank, rows_of(bank, count), grants=tuple(grants), min_entities=min_entities)
    return consortium


def add_accounts(
    consortium: Path, bank: str, rows: Sequence[Row], *, grants: tuple[str, ...] = (), min_entities: int | None = None
) -> None:
    path = consortium.parent / f"{bank}.csv"
    write_accounts(path, rows)
    add_table(
        consortium / bank,
        str(path),
        name="accounts",
        keys=["uscc"],
        grants=grants,
        min_entities=min_entities,
        types={"balance": "DECIMAL(18,2)"},
        domains={"grade": "A,B"},
        bounds={"balance": "-1000000:1000000000"},
    )


def write_accounts(path: Path, rows: Sequence[Row]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("uscc", "grade", "balance"))
        writer.writerows(rows)
