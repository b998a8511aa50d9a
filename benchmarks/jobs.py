"""A whole job between real processes, from SQL to result, against the local queries alone."""

from __future__ import annotations

import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet

from mpc.query.compile import compile_plan
from parties.config import load_config
from parties.consortium import init_consortium
from parties.modeler.client import Client
from parties.node.sources.database import Tables
from parties.node.tables import add_table
from parties.processes import Processes

BANKS = ("bank_a", "bank_b", "bank_c")
GROUPS = tuple("ABCDEFGHIJ")
SQL = f"""
    SELECT industry, COUNT(*) AS n, SUM(balance) AS total, AVG(balance) AS mean
    FROM ({" UNION ALL ".join(f"SELECT industry, balance FROM {b}.accounts" for b in BANKS)})
    GROUP BY industry ORDER BY industry
"""


def make_tables(folder: Path, rows: int) -> None:
    random = np.random.Generator(np.random.PCG64(7))
    for bank in BANKS:
        table = pa.table(
            {
                "uscc": pa.array([f"{bank}{i:010d}" for i in range(rows)]),
                "industry": pa.array(np.array(GROUPS)[random.integers(0, len(GROUPS), rows)]),
                "balance": pa.array(random.integers(-(10**9), 10**11, rows))
                .cast(pa.decimal128(21, 2))
                .cast(pa.decimal128(18, 2)),
            }
        )
        pyarrow.parquet.write_table(table, folder / f"{bank}.parquet")


def whole_job(scratch: Path, rows: int, repeats: int) -> list[dict[str, Any]]:
    """Seconds from submit to result in a running client, and those of the local query alone on the same machine."""
    folder = scratch / "job"
    init_consortium(folder, parties=list(BANKS), modelers=["analyst"])
    make_tables(scratch, rows)
    for bank in BANKS:
        add_table(
            folder / bank,
            str(scratch / f"{bank}.parquet"),
            name="accounts",
            keys=["uscc"],
            grants=["aggregate", "group"],
        )
    with Processes(folder), Client(folder / "analyst") as client:
        catalogs = client.catalog()
        client.query(SQL, "analyst")  # tables are read and checked at the first job; measured is a running system
        whole = []
        for _ in range(repeats):
            began = time.perf_counter()
            result = client.query(SQL, "analyst")
            whole.append(time.perf_counter() - began)
        assert result.table.num_rows == len(GROUPS)
    plan = compile_plan(SQL, catalogs, recipients=("analyst",), trust="helper")
    query = plan.pools[0].sources[0]
    tables = Tables(folder / query.party, threads=load_config(folder / query.party).threads)
    local = []
    with tables.open(query.tables) as database:
        for _ in range(repeats):
            began = time.perf_counter()
            database.run(query.sql)
            local.append(time.perf_counter() - began)
    beyond = statistics.median(whole) - statistics.median(local)
    return [
        {
            "rows_per_party": rows,
            "parties": len(BANKS),
            "seconds": statistics.median(whole),
            "local_query_seconds": statistics.median(local),
            "seconds_beyond": beyond,
        }
    ]
