"""``python -m benchmarks.intersections``: which ids two parties share, beside other libraries, in turns in one run.

    blinding, ristretto255, by Heji                                  this Python
    OpenMined's PSI, P-256                                           the Python that $OPENMINED_PYTHON names
    spu's ECDH, Curve25519                                           the Python that $SPU_PYTHON names

All three multiply each party's points by both parties' secrets: four times as many as a party has ids. What is compared
is processor time, as the machine may be shared and the three use one core, two processes, and whatever they find. A
library that no variable names is left out; neither shares an environment with Heji.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.sharing import sessions
from mpc.crypto.spread import one_core
from mpc.ids import INTEGER, Integers, lay_out
from mpc.protocols.blind import Blind, meet
from mpc.run import Trace, run

Row = dict[str, Any]

PARTIES = ("bank", "tax")
#: what runs elsewhere: the variable, the script, its arguments behind the number of ids, where it prints processor time
OTHERS = {
    "openmined-psi": ("OPENMINED_PYTHON", "openmined_psi.py", (), 1),
    "spu ECDH": ("SPU_PYTHON", "spu_psi.py", ("PROTOCOL_ECDH",), 2),
}


def blinding(rows: int) -> float:
    """Processor seconds of both parties, four fifths of the ids in common."""
    random = np.random.Generator(np.random.PCG64(7))
    own = {p: lay_out([INTEGER], [Integers(random.permutation(rows + rows // 4)[:rows])]).matrix for p in PARTIES}
    s, b = sessions(PARTIES, 1), Blind("blind", PARTIES, (rows, rows))
    used = time.process_time()
    run({p: meet(s[p], b, own[p], one_core) for p in PARTIES}, Trace())
    return time.process_time() - used


def elsewhere(python: str, script: str, rows: int, arguments: tuple[str, ...], field: int) -> float:
    """Processor seconds that another environment's run tells of."""
    command = [python, str(Path(__file__).with_name(script)), str(rows), *arguments]
    told = subprocess.run(command, capture_output=True, text=True, timeout=900, check=True).stdout
    return float(told.splitlines()[-1].split()[field])


def intersections(sizes: tuple[int, ...] = (10_000, 100_000), repeats: int = 3) -> list[Row]:
    """Medians of turns, and how many times as long Heji takes."""
    rows = []
    for n in sizes:
        seconds: dict[str, list[float]] = {"heji": []}
        for _ in range(repeats):
            seconds["heji"].append(blinding(n))
            for name, (variable, script, arguments, field) in OTHERS.items():
                if python := os.environ.get(variable):
                    seconds.setdefault(name, []).append(elsewhere(python, script, n, arguments, field))
        ours = seconds["heji"]
        for name, found in seconds.items():
            middle = statistics.median(found)
            times = statistics.median(o / f for o, f in zip(ours, found, strict=True))
            rows.append(
                {
                    "ids_a_side": n,
                    "library": name,
                    "processor_seconds": middle,
                    "points_a_second_and_core": int(4 * n / middle),
                    "heji_takes_times_as_long": times,
                }
            )
    return rows


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rows", type=int, nargs="*", default=[10_000, 100_000])
    for row in intersections(tuple(parser.parse_args().rows)):
        print("  ".join(f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}" for k, v in row.items()), flush=True)
