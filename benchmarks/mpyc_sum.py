"""The same sum in MPyC, for comparison: ``python -m benchmarks.mpyc_sum -M3 LENGTH``, three processes on loopback.

Every party shares a vector, the shares are added, the sum is opened to all. MPyC's channels are plain TCP here.
"""

from __future__ import annotations

import sys
import time
from typing import Any


async def main(length: int) -> None:
    import numpy as np
    from mpyc.runtime import mpc  # type: ignore[import-untyped]

    field: Any = mpc.SecFld(modulus=2**61 - 1)
    values = np.arange(length, dtype=object) + mpc.pid
    await mpc.start()
    await mpc.barrier()
    began = time.perf_counter()
    shared = mpc.input(field.array(field.field.array(values)))
    total = await mpc.output(sum(shared[1:], shared[0]))
    seconds = time.perf_counter() - began
    parties = len(mpc.parties)
    expected = parties * (length - 1) + sum(range(parties))
    assert int(total[-1]) == expected, "MPyC's sum is wrong"
    await mpc.shutdown()
    if mpc.pid == 0:
        print(f"seconds {seconds}")


if __name__ == "__main__":
    from mpyc.runtime import mpc

    mpc.run(main(int(sys.argv[-1])))
