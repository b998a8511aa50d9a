"""A join of three parties between real processes, from SQL to result, against DuckDB over the pooled plaintext."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import psutil
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


def joined(scratch: Path, rows: int, repeats: int = 3) -> list[dict[str, Any]]:
    """Seconds from submit to result in a running client, the same in DuckDB, and the largest process."""
    folder = scratch / f"join{rows}"
    folder.mkdir()
    init_consortium(folder / "consortium", parties=list(PARTIES), modelers=["analyst"])
    make_tables(folder, rows)
    for party in PARTIES:
        add_table(
            folder / "consortium" / party,
            str(folder / f"{party}.parquet"),
            name="firms",
            keys=["id"],
            bounds={"sector": "0:99", "grade": "0:9", "amount": "0:9999999999"},
            grants=["join", "aggregate", "group", "filter"],
        )
    with duckdb.connect(":memory:", config={"threads": 2}) as pooled:
        for party in PARTIES:
            pooled.execute(f"CREATE SCHEMA {party}")
            pooled.execute(f"CREATE TABLE {party}.firms AS FROM read_parquet('{folder}/{party}.parquet')")
        plain = min(_timed(lambda: pooled.execute(SQL).fetchall())[0] for _ in range(repeats))
        expected = pooled.execute(SQL).fetchall()
    with Processes(folder / "consortium") as processes, Client(folder / "consortium" / "analyst") as client:
        took = []
        for _ in range(repeats + 1):  # the first reads the files
            seconds, result = _timed(lambda: client.query(SQL, to="analyst"))
            took.append(seconds)
            assert [tuple(r.values()) for r in result.rows] == [tuple(map(int, r)) for r in expected]
        peak = max(psutil.Process(p.popen.pid).memory_info().rss for p in processes.running)
        high = max(_high_water(p.popen.pid) for p in processes.running)
    seconds = min(took[1:])
    return [
        {"what": f"join of three, {rows:,} rows a side, 100 groups, 3 sums", "seconds": seconds, "first": took[0]},
        {"what": "  DuckDB over the pooled plaintext", "seconds": plain, "ratio": seconds / plain},
        {"what": "  largest process at its peak, MiB", "value": high / 2**20, "after": peak / 2**20},
    ]


def _timed(work: Any) -> tuple[float, Any]:
    began = time.perf_counter()
    result = work()
    return time.perf_counter() - began, result


def _high_water(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) * 1024
    return 0
