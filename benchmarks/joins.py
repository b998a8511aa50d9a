"""A join of three parties between real processes, from SQL to result, against DuckDB over the pooled plaintext."""

from __future__ import annotations

import statistics
import time
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet

from parties.consortium import init_consortium
from parties.modeler.client import Client
from parties.node.tables import add_table
from parties.processes import Processes

PARTIES = ("tax", "bank", "telecom")
SQL = """
    SELECT t.sector, COUNT(*) AS n, SUM(t.amount) AS paid, SUM(b.amount) AS held, SUM(m.amount) AS spent
    FROM tax.firms t JOIN bank.firms b USING (id) JOIN telecom.firms m USING (id)
    WHERE b.grade < 5 AND m.grade > 1
    GROUP BY t.sector ORDER BY t.sector
"""


def make_tables(folder: Path, rows: int) -> None:
    """Ids that about two thirds of the firms have in common; 100 sectors."""
    random = np.random.Generator(np.random.PCG64(7))
    for party in PARTIES:
        ids = random.permutation(rows + rows // 4)[:rows]
        table = pa.table(
            {
                "id": pa.array(np.char.add("F", np.char.zfill(ids.astype(str), 12))),
                "sector": random.integers(0, 100, rows),
                "grade": random.integers(0, 8, rows),
                "amount": random.integers(0, 10**10, rows),
            }
        )
        pyarrow.parquet.write_table(table, folder / f"{party}.parquet")


def make_consortium(folder: Path, rows: int) -> Path:
    """Tax, bank and telecom with a table each, below ``folder``."""
    folder.mkdir()
    consortium = folder / "consortium"
    init_consortium(consortium, parties=list(PARTIES), modelers=["analyst"])
    make_tables(folder, rows)
    for party in PARTIES:
        add_table(
            consortium / party,
            str(folder / f"{party}.parquet"),
            name="firms",
            keys=["id"],
            bounds={"sector": "0:99", "grade": "0:9", "amount": "0:9999999999"},
            grants=["join", "aggregate", "group", "filter"],
        )
    return consortium


def joined(scratch: Path, rows: int, repeats: int) -> dict[str, Any]:
    """Seconds from submit to result in a running client, the same in DuckDB, and memory of the largest process."""
    folder = scratch / f"join{rows}"
    consortium = make_consortium(folder, rows)
    with duckdb.connect(":memory:", config={"threads": 2}) as pooled:
        for party in PARTIES:
            pooled.execute(f"CREATE SCHEMA {party}")
            pooled.execute(f"CREATE TABLE {party}.firms AS FROM read_parquet('{folder}/{party}.parquet')")
        expected = pooled.execute(SQL).fetchall()
        plain = [timed(lambda: pooled.execute(SQL).fetchall())[0] for _ in range(repeats)]
    with Processes(consortium) as processes, Client(consortium / "analyst") as client:
        expected_seconds = client.explain(SQL, "analyst")["seconds"]
        first, _ = timed(lambda: client.query(SQL, to="analyst"))  # tables are read and checked
        whole = []
        for _ in range(repeats):
            seconds, result = timed(lambda: client.query(SQL, to="analyst"))
            whole.append(seconds)
            assert [tuple(r.values()) for r in result.rows] == [tuple(map(int, r)) for r in expected]
        peak = max(_high_water(p.popen.pid) for p in processes.running)
    seconds, duck = statistics.median(whole), statistics.median(plain)
    return {
        "rows_per_party": rows,
        "parties": len(PARTIES),
        "groups": 100,
        "seconds": seconds,
        "expected_seconds": expected_seconds,
        "first_seconds": first,
        "duckdb_seconds": duck,
        "ratio_to_duckdb": seconds / duck,
        "peak_mib_of_the_largest_process": peak / 2**20,
    }


LOOKUP = "SELECT q.id, b.amount, b.grade FROM tax.asked q JOIN bank.firms b USING (id) ORDER BY q.id"


def looked_up(scratch: Path, rows: int, repeats: int) -> dict[str, Any]:
    """Ten ids looked up in a table of another: seconds from submit to result in a running client."""
    folder = scratch / f"lookup{rows}"
    folder.mkdir()
    consortium = folder / "consortium"
    init_consortium(consortium, parties=["tax", "bank"])
    make_tables(folder, rows)
    asked = pyarrow.parquet.read_table(folder / "tax.parquet").select(["id"]).slice(0, 10)
    pyarrow.parquet.write_table(asked, folder / "asked.parquet")
    add_table(consortium / "tax", str(folder / "asked.parquet"), name="asked", keys=["id"])
    add_table(
        consortium / "bank",
        str(folder / "bank.parquet"),
        name="firms",
        keys=["id"],
        bounds={"sector": "0:99", "grade": "0:9", "amount": "0:9999999999"},
        grants=["join", "join_reveal", "row"],
    )
    found = duckdb.execute(
        f"SELECT q.id, b.amount, b.grade FROM '{folder}/asked.parquet' q JOIN '{folder}/bank.parquet' b USING (id) "
        "ORDER BY q.id"
    ).fetchall()
    with Processes(consortium) as processes, Client(consortium / "tax") as client:
        expected_seconds = client.explain(LOOKUP, "tax")["seconds"]
        first, _ = timed(lambda: client.query(LOOKUP, to="tax"))
        whole = []
        for _ in range(repeats):
            seconds, result = timed(lambda: client.query(LOOKUP, to="tax"))
            whole.append(seconds)
            assert [tuple(r.values()) for r in result.rows] == found
        peak = max(_high_water(p.popen.pid) for p in processes.running)
    return {
        "rows": rows,
        "asked": asked.num_rows,
        "seconds": statistics.median(whole),
        "expected_seconds": expected_seconds,
        "first_seconds": first,
        "peak_mib_of_the_largest_process": peak / 2**20,
    }


def timed(work: Any) -> tuple[float, Any]:
    began = time.perf_counter()
    result = work()
    return time.perf_counter() - began, result


def _high_water(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) * 1024
    return 0
