"""A plain intersection of two parties in SecretFlow's spu, for comparison: two processes on loopback, CSV files.

Run by the Python of an environment that has spu (0.9.5 was measured; it does not share one with Heji's numpy):

    PYTHON benchmarks/spu_psi.py ROWS [PROTOCOL_RR22 | PROTOCOL_KKRT | PROTOCOL_ECDH]

Prints the seconds of the slower party, the size of the intersection and the processor time of both. It computes which
rows met and shows it to both; a query of Heji hides that, joins three parties, totals by group and hides small cells.
"""

from __future__ import annotations

import multiprocessing
import random
import socket
import sys
import tempfile
import time
from pathlib import Path


def party(
    rank: int, ports: list[int], folder: str, protocol: str, told: multiprocessing.Queue[tuple[float, int, float]]
) -> None:
    import spu.psi as psi  # type: ignore[import-not-found]
    from spu.libspu import link  # type: ignore[import-not-found]

    desc = link.Desc()
    for r, port in enumerate(ports):
        desc.add_party(f"p{r}", f"127.0.0.1:{port}")
    context = link.create_brpc(desc, rank)
    config = psi.PsiExecuteConfig(
        protocol_conf=psi.PsiProtocolConfig(
            protocol=psi.parse_protocol(protocol),
            receiver_rank=0,
            broadcast_result=True,
            ecdh_params=psi.EcdhParams(curve=psi.EllipticCurveType.CURVE_25519),
        ),
        input_params=psi.InputParams(path=f"{folder}/{rank}.csv", selected_keys=["id"], keys_unique=True),
        output_params=psi.OutputParams(path=f"{folder}/{rank}.out.csv", disable_alignment=True),
    )
    began, used = time.perf_counter(), time.process_time()
    report = psi.psi_execute(config, context)
    told.put((time.perf_counter() - began, report.intersection_count, time.process_time() - used))
    context.stop_link()


def main(rows: int, protocol: str) -> None:
    draw = random.Random(7)
    ports = [free_port(), free_port()]
    with tempfile.TemporaryDirectory() as folder:
        for rank in (0, 1):
            ids = draw.sample(range(rows + rows // 4), rows)
            Path(folder, f"{rank}.csv").write_text("id\n" + "".join(f"F{i:012d}\n" for i in ids))
        told: multiprocessing.Queue[tuple[float, int, float]] = multiprocessing.Queue()
        both = [multiprocessing.Process(target=party, args=(r, ports, folder, protocol, told)) for r in (0, 1)]
        for p in both:
            p.start()
        answers = [told.get(timeout=600) for _ in both]
        for p in both:
            p.join()
    print(f"{max(s for s, _, _ in answers):.2f} {answers[0][1]} {sum(used for _, _, used in answers):.3f}")


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port: int = s.getsockname()[1]
        return port


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else "PROTOCOL_RR22")
