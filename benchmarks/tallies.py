"""``python -m benchmarks.tallies``: a join of two parties without a helper, its parts and the whole job.

The parts in this process, the work of both parties spread over the cores: blinding (all points of both, both ways) and
totals by group on ciphertexts with their key; ``--one-core``: only these, on one core by processor time, for a machine
that others use. Then the job between real processes, from SQL to result. The blinding beside other libraries:
benchmarks/intersections.py.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import duckdb
import numpy as np

from benchmarks.joins import make_tables, timed
from benchmarks.sharing import sessions
from mpc.crypto.subgroup import key_from_seed
from mpc.ids import INTEGER, Integers, lay_out
from mpc.protocols.blind import Blind, meet
from mpc.protocols.tally import GroupRows, group_side, value_side
from mpc.protocols.tally_terms import Form, Release, Tally
from mpc.run import Trace, run
from parties.consortium import init_consortium
from parties.cores import Cores
from parties.modeler.client import Client
from parties.node.tables import add_table
from parties.processes import Processes

PARTIES = ("bank", "tax")
GROUPS = 100
SQL = """
    SELECT t.sector, COUNT(*) AS n, SUM(b.amount) AS held, AVG(b.grade) AS grade
    FROM tax.firms t JOIN bank.firms b USING (id) WHERE b.grade < 5 GROUP BY t.sector ORDER BY t.sector
"""

Row = dict[str, Any]


def parts(rows: int, *, one: bool = False) -> Row:
    """Seconds of the two halves, the second with its key; four fifths of the keys in common. ``one``: on one core, of
    the processor."""
    timed = partial(measured, time.process_time if one else time.perf_counter)
    random = np.random.Generator(np.random.PCG64(7))
    own = {p: lay_out([INTEGER], [Integers(random.permutation(rows + rows // 4)[:rows])]).matrix for p in PARTIES}
    cores, trace = Cores(1 if one else os.cpu_count() or 1), Trace()
    try:
        if not one:
            list(cores._started().map(partial(len), [b""] * 8))  # once in a job
        s = sessions(PARTIES, 1)
        b = Blind("blind", PARTIES, (rows, rows))
        blinding, found = timed(lambda: run({p: meet(s[p], b, own[p], cores) for p in PARTIES}, trace))
        shared = len(found["tax"])
        met = np.full(rows, -1)
        met[found["tax"]] = np.arange(shared)
        columns = [np.ones(shared, np.uint64), *(random.integers(0, 10**10, shared).astype(np.uint64) for _ in "ab")]
        forms = tuple(Form(64, ((1, i),)) for i in range(3))
        t = Tally(
            "totals", "tax", "bank", GROUPS, rows, rows, (), 3, 64, tuple((None, i) for i in range(3)),
            tuple(Release((f,), (forms[0],)) for f in forms), 10,
        )  # fmt: skip
        mine = GroupRows(met, random.integers(0, GROUPS, rows), ())
        making, key = timed(lambda: key_from_seed(os.urandom(32)))
        roles = {
            "tax": group_side(s["tax"], t, shared, mine, cores),
            "bank": value_side(s["bank"], t, columns, key, cores),
        }
        totals, said = timed(lambda: run(roles, trace))
        totals += making
        (words, others) = (said[p][0][0] for p in ("tax", "bank"))
        assert int((words + others).sum()) == shared
    finally:
        cores.close()
    return {
        "ids_a_side": rows,
        "shared": shared,
        "groups": GROUPS,
        "blinding_seconds": blinding,
        "points_a_second": int(4 * rows / blinding),
        "totals_seconds": totals,
        "totals_to_blinding": totals / blinding,
        "mib_said": sum(len(m.raw) for m in trace.sent) / 2**20,
    }


def measured(clock: Callable[[], float], work: Callable[[], Any]) -> tuple[float, Any]:
    began = clock()
    result = work()
    return clock() - began, result


def whole(scratch: Path, rows: int) -> Row:
    """Seconds from submit to result in a running client."""
    folder = scratch / f"tally{rows}"
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
            grants=["join", "join_reveal", "aggregate", "group", "filter"],
        )
    plain = SQL.replace("tax.firms", f"'{folder}/tax.parquet'").replace("bank.firms", f"'{folder}/bank.parquet'")
    duck, expected = timed(lambda: duckdb.execute(plain).fetchall())
    with Processes(consortium), Client(consortium / "analyst") as client:
        told = client.explain(SQL, "analyst", trust="parties")["seconds"]
        seconds, result = timed(lambda: client.query(SQL, to="analyst", trust="parties"))
    assert [(r["sector"], r["n"], int(r["held"])) for r in result.rows] == [tuple(map(int, r[:3])) for r in expected]
    return {"ids_a_side": rows, "seconds": seconds, "expected_seconds": told, "duckdb_seconds": duck}


def tallies(scratch: Path, sizes: tuple[int, ...] = (10_000, 100_000)) -> list[Row]:
    """All of it for each number of ids a side."""
    return [row for n in sizes for row in (parts(n), whole(scratch, n))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rows", type=int, nargs="*", default=[10_000, 100_000])
    parser.add_argument("--one-core", action="store_true", help="the parts only, by processor time")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="heji-bench-") as folder:
        sizes = tuple(options.rows)
        for row in [parts(n, one=True) for n in sizes] if options.one_core else tallies(Path(folder), sizes):
            print(
                "  ".join(f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v:,}" for k, v in row.items()), flush=True
            )


if __name__ == "__main__":
    main()
