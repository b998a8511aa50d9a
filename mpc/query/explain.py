"""What ``heji explain`` tells before anything runs: a JSON-able dict, and the same as text."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from mpc.protocols.total import BLOCK_WORDS
from mpc.query.ledger import ledger
from mpc.query.plan import Measure, Plan, Pool


def explain(plan: Plan, recipients: tuple[str, ...]) -> dict[str, Any]:
    """Everything that follows from the plan. Integers that may pass 2^53 are strings."""
    return {
        "planner": plan.version,
        "plan": plan.digest(),
        "trust": plan.trust,
        "parties": list(plan.parties),
        "recipients": list(recipients),
        "local_queries": [
            {"party": s.party, "pool": p.name, "tables": list(s.tables), "sql": s.sql}
            for p in plan.pools
            for s in p.sources
        ],
        "pools": [_pool(p) for p in plan.pools],
        "steps": _steps(plan, recipients),
        "ledger": [asdict(e) for e in ledger(plan, recipients)],
        "notes": list(plan.notes),
    }


def _pool(p: Pool) -> dict[str, Any]:
    return {
        "name": p.name,
        "parties": list(p.parties),
        "cells": p.cells,
        "keys": [{"name": k.name, "kind": k.kind, "values": len(k.domain)} for k in p.keys],
        "measures": [_measure(m) for m in p.measures],
    }


def _measure(m: Measure) -> dict[str, Any]:
    return {
        "name": m.name,
        "words": [
            {"kind": w.kind, "ring": w.ring, "scale": w.scale, "low": str(-w.bound), "high": str(w.bound)}
            for w in m.words
        ],
    }


def _steps(plan: Plan, recipients: tuple[str, ...]) -> list[dict[str, Any]]:
    """The joint steps. ``bytes``: what each party sends for all recipients, without framing."""
    steps: list[dict[str, Any]] = [
        {"step": "keys", "protocol": "P0 keys and coins", "trust": "parties", "rounds": 2, "bytes": {}}
    ]
    for i, p in enumerate(plan.pools):
        for bits in (64, 128):
            words = sum(c for pool, _, _, c in plan.columns(bits) if pool == i)
            if not words:
                continue
            blocks = -(-words * (bits // 64) // BLOCK_WORDS)
            sent = words * bits // 8 * len(recipients)
            steps.append(
                {
                    "step": f"{p.name}/w{bits}",
                    "protocol": "P3 secure sum",
                    "trust": "parties",
                    "rounds": blocks * len(recipients),
                    "words": words,
                    "ring": bits,
                    "bytes": dict.fromkeys(p.parties, sent),
                }
            )
    return steps


def render(explained: dict[str, Any], width: int | None = None) -> str:
    """The same for people. ``width``: cut each party's local SQL, which can be long, to lines of so many characters."""
    out = [
        f"Parties: {', '.join(explained['parties'])}   Recipients: {', '.join(explained['recipients'])}   "
        f"Trust: {explained['trust']}",
        "",
        "Each party computes on its own tables:",
    ]
    for q in explained["local_queries"]:
        line = f"    {q['sql']}"
        if width is not None and len(line) > width:
            line = line[: width - 2] + " …"
        out += [f"  {q['party']} ({q['pool']})", line]
    out += ["", "What is added up and revealed:"]
    for p in explained["pools"]:
        keys = " × ".join(f"{k['name']} ({k['values']})" for k in p["keys"]) or "one cell"
        out.append(
            f"  {p['name']}: {' + '.join(p['parties'])}, by {keys}"
            if p["keys"]
            else f"  {p['name']}: {' + '.join(p['parties'])}"
        )
        for m in p["measures"]:
            out.append(f"    {m['name']}")
            out += [
                f"      {w['kind']:8} |total| ≤ {int(w['high']):,} units of 10^-{w['scale']}, ring 2^{w['ring']}"
                for w in m["words"]
            ]
    out += ["", "Joint steps:"]
    for s in explained["steps"]:
        size = max(s["bytes"].values(), default=0)
        out.append(
            f"  {s['step']:12} {s['protocol']}, {s['rounds']} round(s)" + (f", {size:,} bytes a party" if size else "")
        )
    out += ["", "Who learns what:"]
    out += [f"  {e['role']:12} {e['learns']}" for e in explained["ledger"]]
    if explained["notes"]:
        out += ["", "Notes:", *(f"  {n}" for n in explained["notes"])]
    return "\n".join(out) + "\n"
