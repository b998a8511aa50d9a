"""The made-up firms: the same from the same seed, valid codes, and numbers that hang together."""

from __future__ import annotations

from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from parties.demo import firms
from parties.demo.credit_code import verify_credit_code

Tables = dict[tuple[str, str], pa.Table]


@pytest.fixture(scope="module")
def made() -> Tables:
    return _made(30_000, 7)


def _made(count: int, seed: int) -> Tables:
    return {(party, name): rows for party, name, rows in firms.linked_tables(count, seed)}


def _ask(made: Tables, sql: str) -> tuple[float, ...]:
    with duckdb.connect() as database:
        for (party, name), rows in made.items():
            database.register(f"{party}_{name}", rows)
        row = database.execute(sql).fetchone()
    assert row is not None
    return row


def test_same_seed_same_tables() -> None:
    assert _made(500, 3) == _made(500, 3)
    assert _made(500, 3)["tax", "firms"] != _made(500, 4)["tax", "firms"]


def test_codes_are_valid_distinct_and_nobody_s(made: Tables) -> None:
    codes = made["tax", "firms"]["uscc"].to_pylist()
    assert len(set(codes)) == len(codes)
    for code in codes[:2000]:
        verify_credit_code(code)
        assert code[4:6] == "99"  # no county of GB/T 2260
    regions = made["tax", "firms"]["region"].to_pylist()
    assert all(code[2:4] + "0000" == region for code, region in zip(codes, regions, strict=True))


def test_codes_stay_distinct_at_size() -> None:
    hidden = firms._hidden(200_000, 11)
    assert len({row.tobytes() for row in hidden.code}) == 200_000


def test_institutions_share_some_firms_but_not_all(made: Tables) -> None:
    a, b, both, strangers = _ask(
        made,
        """
        WITH a AS (SELECT DISTINCT uscc FROM bank_a_accounts), b AS (SELECT DISTINCT uscc FROM bank_b_accounts)
        SELECT (SELECT COUNT(*) FROM a), (SELECT COUNT(*) FROM b), (SELECT COUNT(*) FROM a JOIN b USING (uscc)),
               (SELECT COUNT(*) FROM a ANTI JOIN tax_firms USING (uscc))
    """,
    )
    assert 0.5 < a / 30_000 < 0.7
    assert 0.4 < b / 30_000 < 0.6
    assert 0.2 < both / 30_000 < 0.4
    assert 0 < strangers / a < 0.06
    assert made["bank_a", "accounts"].num_rows > a  # some firms have two accounts


def test_numbers_hang_together(made: Tables) -> None:
    tax, phone, balance = _ask(
        made,
        """
        SELECT (SELECT CORR(LN(turnover), LN(tax_paid)) FROM tax_firms WHERE tax_paid > 0),
               (SELECT CORR(LN(turnover), LN(spend)) FROM tax_firms JOIN telecom_firms USING (uscc) WHERE spend > 0),
               (SELECT CORR(LN(turnover), LN(balance)) FROM tax_firms JOIN bank_a_accounts USING (uscc)
                WHERE balance > 0)
    """,
    )
    assert min(tax, phone, balance) > 0.6
    late_too, late = _ask(
        made,
        """
        SELECT AVG(CASE WHEN b.arrears > 0 THEN 1 ELSE 0 END) FILTER (WHERE t.arrears > 0),
               AVG(CASE WHEN b.arrears > 0 THEN 1 ELSE 0 END)
        FROM tax_firms t JOIN bank_a_accounts b USING (uscc)
    """,
    )
    assert late_too > 2 * late


def test_missing_values_where_they_belong(made: Tables) -> None:
    tax, accounts, telecom = made["tax", "firms"], made["bank_a", "accounts"], made["telecom", "firms"]
    assert 0.01 < tax["tax_paid"].null_count / tax.num_rows < 0.03
    assert 0 < telecom["spend"].null_count / telecom.num_rows < 0.02
    with_days, without, lent = _ask(
        made,
        """
        SELECT COUNT(*) FILTER (WHERE overdue_days IS NOT NULL AND outstanding = 0), COUNT(*) FILTER (WHERE
               overdue_days IS NULL AND outstanding > 0), AVG(CASE WHEN outstanding > 0 THEN 1 ELSE 0 END)
        FROM bank_a_accounts
    """,
    )
    assert (with_days, without) == (0, 0)
    assert 0.5 < lent < 0.6
    assert accounts["balance"].null_count == 0


def test_shares_of_industries_and_sizes(made: Tables) -> None:
    retail, manufacturing, sections = _ask(
        made,
        """
        SELECT AVG(CASE WHEN industry = 'F' THEN 1 ELSE 0 END), AVG(CASE WHEN industry = 'C' THEN 1 ELSE 0 END),
               COUNT(DISTINCT industry) FROM tax_firms
    """,
    )
    assert 0.27 < retail < 0.32
    assert 0.15 < manufacturing < 0.19
    assert sections >= 19
    assert set(made["tax", "firms"]["size"].to_pylist()) == {"micro", "small", "medium"}


def test_decimals_are_exact_with_sign() -> None:
    amounts = firms._yuan(np.array([0.01, -0.01, -123456.78, 1e12]), missing=np.array([False, False, False, False]))
    assert [str(v) for v in amounts.to_pylist()] == ["0.01", "-0.01", "-123456.78", "1000000000.00"]
    amounts.validate(full=True)


def test_writes_parquet_and_csv_and_nothing_else(tmp_path: Path) -> None:
    rows = _made(50, 1)["tax", "firms"]
    firms.write(rows, tmp_path / "a" / "firms.parquet")
    assert pq.read_table(tmp_path / "a" / "firms.parquet") == rows
    firms.write(rows, tmp_path / "firms.csv")
    assert len((tmp_path / "firms.csv").read_text().splitlines()) == rows.num_rows + 1
    with pytest.raises(ValueError, match="parquet or .csv"):
        firms.write(rows, tmp_path / "firms.xlsx")


@pytest.mark.parametrize("count", [0, firms.MOST_FIRMS + 1])
def test_sizes_that_cannot_be(count: int) -> None:
    with pytest.raises(ValueError, match="between"):
        next(firms.linked_tables(count))


def test_one_firm_is_enough() -> None:
    assert len(_made(1, 1)) == 5
