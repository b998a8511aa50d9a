"""``make bench``: every measurement next to what it is compared with, in the same run."""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.dealer import dealt
from benchmarks.encrypted import encrypted
from benchmarks.evidence import on_and_off, verified
from benchmarks.intersections import intersections
from benchmarks.jobs import whole_job
from benchmarks.joins import joined, looked_up
from benchmarks.members import ANALYST, COORDINATOR, Members, Task, vector
from benchmarks.tallies import tallies
from parties.consortium import init_consortium

Row = dict[str, Any]


def secure_sum(folder: Path, sizes: list[int], counts: list[int], repeats: int) -> list[Row]:
    """The secure sum over real gRPC against bare streams of the same bytes between the same processes."""
    names = [f"p{i}" for i in range(max(counts))]
    init_consortium(folder, parties=names, modelers=[ANALYST])
    members = Members(folder, [*names, COORDINATOR])
    rows, number = [], 0
    try:
        for count in counts:
            parties = tuple(names[:count])
            for size in sizes:
                sums, bares, copies = [], [], 0.0
                for turn in range(repeats + 1):  # the first one warms up connections and memory
                    number += 2
                    seconds, c = members.run(Task("sum", parties, size, number))
                    bare, _ = members.run(Task("bare", parties, size, number + 1))
                    copies = max(copies, c)
                    if turn:
                        sums.append(seconds)
                        bares.append(bare)
                x = [vector(p, size) for p in parties]
                began = time.perf_counter()
                total = np.zeros(size, np.uint64)
                for v in x:
                    np.add(total, v, out=total)
                plain = time.perf_counter() - began
                ratio = statistics.median(s / b for s, b in zip(sums, bares, strict=True))
                rows.append(
                    {
                        "words": size,
                        "parties": count,
                        "seconds": statistics.median(sums),
                        "bare_grpc_seconds": statistics.median(bares),
                        "ratio_to_bare_grpc": ratio,
                        "numpy_seconds": plain,
                        "copies_of_the_vector": copies,
                    }
                )
                print_row(rows[-1])
    finally:
        members.close()
    return rows


def mpyc(length: int, ours: float) -> list[Row]:
    """Share, add and open one vector of each of three parties in MPyC; only where it is installed."""
    if importlib.util.find_spec("mpyc") is None:
        return []
    command = [sys.executable, "-m", "benchmarks.mpyc_sum", "-M3", str(length)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=600, check=True)
    seconds = float(run.stdout.split("seconds")[1])
    return [{"words": length, "parties": 3, "mpyc_seconds": seconds, "seconds": ours, "times_faster": seconds / ours}]


def spu_psi(rows: int, ours: float) -> list[Row]:
    """Plain intersections of two parties in spu, by the Python that $SPU_PYTHON names; it cannot share one with us."""
    python = os.environ.get("SPU_PYTHON")
    found: list[Row] = []
    for protocol in ("PROTOCOL_RR22", "PROTOCOL_KKRT", "PROTOCOL_ECDH") if python else ():
        command = [str(python), str(Path(__file__).with_name("spu_psi.py")), str(rows), protocol]
        run = subprocess.run(command, capture_output=True, text=True, timeout=900, check=True)
        seconds = float(run.stdout.splitlines()[-1].split()[0])
        found.append(
            {"rows": rows, "protocol": protocol, "spu_seconds": seconds, "seconds": ours, "times": seconds / ours}
        )
    return found


def print_row(row: Row) -> None:
    print(
        "  ".join(
            f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v:,}" if isinstance(v, int) else f"{k} {v}"
            for k, v in row.items()
        ),
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="smaller sizes, one repetition")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("results.json"))
    options = parser.parse_args()
    sizes = [100_000, 1_000_000] if options.quick else [1_000_000, 10_000_000]
    repeats = 1 if options.quick else 3
    results: dict[str, Any] = {
        "machine": {
            "processor": platform.processor() or platform.machine(),
            "cores": os.cpu_count(),
            "python": platform.python_version(),
            "numpy": np.__version__,
        },
    }
    with tempfile.TemporaryDirectory(prefix="heji-bench-") as scratch:
        print("Secure sum over gRPC (aim: at most 2.5 times bare streams, at most 3 copies)")
        results["secure_sum"] = secure_sum(Path(scratch) / "sum", sizes, [3, 8], repeats)
        print("A job of 10 groups (aim: at most 1.5 s beyond the local query)")
        results["job"] = whole_job(Path(scratch), 100_000 if options.quick else 1_000_000, repeats)
        for row in results["job"]:
            print_row(row)
        print("A join of three (aim at 2^20 rows: at most 5 s, 30 times DuckDB, 1.5 GB a process)")
        results["join"] = []
        for rows in (100_000,) if options.quick else (100_000, 1 << 20, 10_000_000):
            results["join"].append(joined(Path(scratch), rows, repeats if rows <= 1 << 20 else 1))
            print_row(results["join"][-1])
        largest = results["join"][min(1, len(results["join"]) - 1)]
        print("spu 0.9.5, plain intersection of two parties, against the whole join of three (only with $SPU_PYTHON)")
        results["spu"] = spu_psi(largest["rows_per_party"], largest["seconds"])
        for row in results["spu"]:
            print_row(row)
        print(
            "Evidence on against off, the join of three (aim at 10^6 rows: at most 1.10); verifying a bundle (aim 2 s)"
        )
        results["evidence"] = on_and_off(Path(scratch), 100_000 if options.quick else 1_000_000, repeats)
        print_row(results["evidence"])
        results["verify"] = verified(10_000)
        print_row(results["verify"])
        print("Ten ids looked up in a table of another (aim at 10^6 rows: at most 3 s)")
        results["lookup"] = looked_up(Path(scratch), 100_000 if options.quick else 1_000_000, repeats)
        print_row(results["lookup"])
        print("A join of two without a helper (aims: 25,000 points a second on two cores, totals no longer than that)")
        results["tallies"] = tallies(Path(scratch), (10_000,) if options.quick else (10_000, 100_000))
        for row in results["tallies"]:
            print_row(row)
        print("Its blinding beside openmined-psi and spu's ECDH (only with $OPENMINED_PYTHON, $SPU_PYTHON)")
        results["intersections"] = intersections((10_000,) if options.quick else (10_000, 100_000), repeats)
        for row in results["intersections"]:
            print_row(row)
    ours = next(r for r in results["secure_sum"] if (r["words"], r["parties"]) == (1_000_000, 3))
    results["mpyc"] = mpyc(1_000_000, ours["seconds"])
    for row in results["mpyc"]:
        print("MPyC 0.11, the same sum (Shamir shares, no TLS)")
        print_row(row)
    print("Deposits: Paillier, BFV, CKKS per value and depositor, beside masked sums (one core, no network)")
    results["encrypted"] = encrypted((10, 1_000) if options.quick else (10, 1_000, 100_000, 1_000_000))
    for row in results["encrypted"]:
        print_row(row)
    print("Products and comparisons of two, dealt by a helper and between themselves (one core, no network)")
    results["dealer"] = dealt(1 << 13 if options.quick else 1 << 14)
    for row in results["dealer"]:
        print_row(row)
    options.out.write_text(json.dumps(results, indent=1) + "\n")
    print(f"Written to {options.out}.")


if __name__ == "__main__":
    main()
