"""What evidence costs: the same join with logs, receipts and cosignatures and without; and a large bundle verified."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import statistics
import time
from pathlib import Path
from typing import Any

import rfc8785
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from benchmarks.joins import SQL, make_consortium, timed
from mpc.crypto.sign import sign
from mpc.evidence.bundle import BUNDLE, Bundle, manifest_of
from mpc.evidence.case import Member, Roster, read_case
from mpc.evidence.entry import Chain, make_entry
from mpc.evidence.merkle import Tree, leaf_hash
from mpc.evidence.note import Checkpoint, cosign
from mpc.evidence.receipt import RECEIPT, receipt_bytes
from mpc.evidence.verify import Settings, verify
from parties.modeler.client import Client
from parties.processes import Processes


def on_and_off(scratch: Path, rows: int, repeats: int) -> dict[str, Any]:
    """Median seconds of the join with evidence and without, in turns over the same tables, and what evidence stores."""
    consortium = make_consortium(scratch / f"evidence{rows}", rows)
    seconds: dict[str, list[float]] = {"on": [], "off": []}
    for _ in range(2):
        for switch in ("on", "off"):
            os.environ["HEJI_EVIDENCE"] = switch
            with Processes(consortium), Client(consortium / "analyst") as client:
                client.query(SQL, to="analyst")  # tables are read and checked
                seconds[switch] += [timed(lambda c=client: c.query(SQL, to="analyst"))[0] for _ in range(repeats)]
    del os.environ["HEJI_EVIDENCE"]
    runs = 2 * (repeats + 1)
    logs = sum(f.stat().st_size for f in consortium.glob("*/state/log/**/*") if f.is_file())
    kept = sum(f.stat().st_size for f in consortium.glob("*/state/retained/*"))
    on, off = statistics.median(seconds["on"]), statistics.median(seconds["off"])
    return {
        "rows_per_party": rows,
        "seconds_with": on,
        "seconds_without": off,
        "ratio": on / off,
        "log_kib_a_job": logs / runs / 1024,
        "kept_for_replay_mib_a_job": kept / runs / 2**20,
    }


def verified(entries: int) -> dict[str, Any]:
    """Seconds to verify a bundle in which two members tell of ``entries`` events together."""
    keys = {name: Ed25519PrivateKey.generate() for name in ("bank", "tax")}
    job, now = b"\1" * 32, 1_790_000_000
    chains = {name: Chain(name, lambda: now) for name in keys}
    made: dict[str, list[bytes]] = {name: [] for name in keys}
    for number in range(entries // 2):
        digest = hashlib.sha256(b"%d" % number).digest()
        step = f"pool0/{number}"
        receipt = sign(keys["tax"], RECEIPT, receipt_bytes(job, 1, "bank", "tax", number, step, digest)).hex()
        for name, event, peer in (("bank", "sent", "tax"), ("tax", "received", "bank")):
            facts = {"peer": peer, "number": number, "step": step, "len": 8, "sha256": digest.hex(), "receipt": receipt}
            told = chains[name].event(event, job.hex(), 1, facts)
            made[name].append(make_entry(told, name, keys[name].sign).to_bytes())
    files = {}
    for name, key in keys.items():
        tree = Tree(map(leaf_hash, made[name]))
        public = key.public_key().public_bytes_raw()
        point = Checkpoint(f"heji/{name}", len(tree), tree.root()).signed(f"heji/{name}", public, key.sign)
        for other in keys.keys() - {name}:
            theirs = keys[other].public_key().public_bytes_raw()
            point = point.with_line(cosign(point, f"heji/{other}", theirs, now, keys[other].sign))
        part = {
            "member": name,
            "entries": [[i, _text(raw)] for i, raw in enumerate(made[name])],
            "checkpoint": point.text(),
            "inclusion": [[_text(h) for h in tree.inclusion(i, len(tree))] for i in range(len(tree))],
            "newest": point.text(),
            "consistency": [],
            "stamp": None,
            "documents": [],
        }
        files[f"logs/{name}.json"] = json.dumps(part).encode()
    manifest = rfc8785.dumps(manifest_of(job.hex(), "bank", now, files))
    raw = Bundle(manifest, sign(keys["bank"], BUNDLE, manifest), job.hex(), "bank", now, files).write()
    members = {
        n: Member(n, k.public_key().public_bytes_raw(), n, ("party",), now - 1, now + 1, False) for n, k in keys.items()
    }
    began = time.perf_counter()
    checks = verify(read_case(Bundle.read(raw), Roster("", members, (), True)), Settings(quorum=0))
    seconds = time.perf_counter() - began
    assert all(c.verdict == "passed" for c in checks[:4]), [c for c in checks if c.verdict == "failed"]
    return {"entries": entries, "mib": len(raw) / 2**20, "seconds": seconds}


def _text(raw: bytes) -> str:
    return base64.b64encode(raw).decode()
