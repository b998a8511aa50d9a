"""A plain intersection of two parties in OpenMined's PSI, for comparison: both in this process, on one core.

Run by the Python of an environment that has openmined-psi (2.0.6 was measured, Apache-2.0; it wants another protobuf
than Heji):

    PYTHON benchmarks/openmined_psi.py ROWS

Prints the seconds, those of the processor, and the size of the intersection, which the client alone learns. Points lie
on P-256; each party multiplies those of both, so four times as many as a party has rows.
"""

from __future__ import annotations

import random
import sys
import time


def main(rows: int) -> None:
    import private_set_intersection.python as psi  # type: ignore[import-not-found]

    draw = random.Random(7)
    ids = [[f"F{i:012d}" for i in draw.sample(range(rows + rows // 4), rows)] for _ in range(2)]
    began, used = time.perf_counter(), time.process_time()
    client, server = psi.client.CreateWithNewKey(True), psi.server.CreateWithNewKey(True)
    setup = server.CreateSetupMessage(0.0, rows, ids[1], psi.DataStructure.RAW)
    found = client.GetIntersection(setup, server.ProcessRequest(client.CreateRequest(ids[0])))
    print(f"{time.perf_counter() - began:.3f} {time.process_time() - used:.3f} {len(found)}")


if __name__ == "__main__":
    main(int(sys.argv[1]))
