"""What ``heji explain`` tells before anything runs: a JSON-able dict, and the same as text."""

from __future__ import annotations

from dataclasses import asdict
from decimal import Decimal
from fractions import Fraction
from math import ceil
from typing import Any

from mpc.crypto.coefficients import off
from mpc.expected import expected_bytes, expected_seconds
from mpc.joint_setup import Joint, joint_of
from mpc.methods import advice, bytes_of, ciphertexts_of, methods
from mpc.pair import Pair
from mpc.protocols.ranked import Search
from mpc.protocols.total import BLOCK_WORDS
from mpc.query.accuracy import CONFIDENCE, half_width
from mpc.query.ledger import ledger
from mpc.query.plan import Plan
from mpc.query.plan_joins import JoinPool, TallyPool, beside_one, shows_rows
from mpc.query.plan_pools import Measure, Pool, Word
from mpc.steps import batches
from mpc.traffic import pair_traffic, search_traffic, traffic


def explain(plan: Plan, recipients: tuple[str, ...], method: str = "paillier") -> dict[str, Any]:
    """Everything that follows from the plan. Integers that may pass 2^53 are strings. ``method``: how depositors
    encrypt, if it is a deposit sum."""
    found = methods(plan, recipients)
    return {
        "planner": plan.version,
        "plan": plan.digest(),
        "trust": plan.trust,
        "parties": list(plan.parties),
        "recipients": list(recipients),
        "local_queries": [
            {"party": s.party, "pool": p.name, "tables": list(s.tables), "sql": s.sql}
            for p in plan.pools
            for s in (*p.sources, *(q for r in p.rankings for m in r.measures for q in m.queries))
        ],
        "pools": [_pool(p) for p in plan.pools],
        "steps": _steps(plan, recipients, method),
        "seconds": round(expected_seconds(plan, len(recipients)), 1) if plan.trust != "deposit" else None,
        "memory_bytes": str(expected_bytes(plan)),
        "methods": [asdict(m) for m in found],
        "recommended": advice(found),
        "ledger": [asdict(e) for e in ledger(plan, recipients)],
        "notes": list(plan.notes),
    }


def _pool(p: Pool) -> dict[str, Any]:
    return {
        "name": p.name,
        "parties": list(p.parties),
        "cells": p.cells,
        "keys": [{"name": k.name, "kind": k.kind, "values": len(k.domain)} for k in p.keys if not shows_rows(p)],
        "by_row": shows_rows(p),
        "measures": [_measure(m) for m in p.measures],
        **({"join": _kind(p), "spine": p.sides[0].party, "why": _why(p)} if isinstance(p, JoinPool) else {}),
    }


def _kind(p: JoinPool) -> str:
    if not isinstance(p, TallyPool):
        return "hidden join"
    if p.asks:
        return f"join without a helper, of which {p.asks} counts the keys that met and neither learns which"
    return "join without a helper, of which both learn the keys they share"


def _why(p: JoinPool) -> str:
    """Why this side is the spine."""
    spine, others = p.sides[0], p.sides[1:]
    if p.by_row:
        return "the result has a row for each of its rows that is in the join"
    if p.keys:
        return f"it holds the GROUP BY key{'s' if len(p.keys) > 1 else ''}"
    if not spine.unique and any(s.unique for s in others):
        return "its key may repeat"
    return "it has the fewest rows" if spine.rows < min(s.rows for s in others) else "none has fewer rows"


def _measure(m: Measure) -> dict[str, Any]:
    return {
        "name": m.name,
        "words": [
            {
                "kind": w.kind,
                "ring": w.ring,
                "scale": w.scale,
                "low": str(-w.bound),
                "high": str(w.bound),
                **(_noise(w) if w.noise else {}),
            }
            for w in m.words
        ],
    }


def _noise(w: Word) -> dict[str, Any]:
    """What each party adds, in units; ``off``: how far they may move the total together, in 95 of 100 cases."""
    parts = tuple((Fraction(1), n.scale) for n in w.noise)
    return {
        "noise": {n.party: {"sensitivity": str(n.sensitivity), "scale": str(n.scale.value)} for n in w.noise},
        "off": str(ceil(half_width(parts, CONFIDENCE))),
    }


def _steps(plan: Plan, recipients: tuple[str, ...], method: str) -> list[dict[str, Any]]:
    """The joint steps. ``bytes``: what each party sends for all recipients, without framing."""
    if plan.trust == "deposit":
        return [_deposit_step(plan, method)]
    steps: list[dict[str, Any]] = [
        {"step": "keys", "protocol": "P0 keys and coins", "trust": "parties", "rounds": 2, "bytes": {}}
    ]
    for _, joined in plan.hidden_joins:
        steps += _joint_steps(joined)
    for _, tallied in plan.tallies:
        steps += _pair_steps(tallied)
    steps += [_search_step(s) for p in plan.pools for s in p.searches("helper") if not s.alone]
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
                    "protocol": "P11 verified sum" if plan.verified else "P3 secure sum",
                    "trust": "parties",
                    "rounds": (blocks + (3 if plan.verified else 0)) * len(recipients),
                    "words": words,
                    "ring": bits,
                    "bytes": dict.fromkeys(p.parties, sent),
                }
            )
    return steps


_CIPHERS = {"paillier": "Paillier", "bfv": "BFV", "ckks": "CKKS"}


def _deposit_step(plan: Plan, method: str) -> dict[str, Any]:
    """Deposits: each party by itself, on a day of its own."""
    ciphertexts = ciphertexts_of(plan, method)
    return {
        "step": "deposit",
        "protocol": f"P10 deposit sum, {ciphertexts:,} {_CIPHERS[method]} ciphertext(s) a party" + _error(plan, method),
        "trust": "deposit",
        "rounds": 1,
        "bytes": dict.fromkeys(plan.parties, bytes_of(plan, method)),
    }


def _error(plan: Plan, method: str) -> str:
    """How far a total under CKKS may be off before the recipient rounds it."""
    if method != "ckks":
        return ""
    return f", off by {float(off(len(plan.parties))):.4f} of a last digit at most before it is rounded, so exact"


#: what a step of mpc.traffic is called, and how many latencies it takes at least
_JOINT = {
    "parts": ("P6 tables taken apart by a key of the data parties", 1),
    "align": ("P6 hidden join: each side to the spine's rows", 3),
    "products": ("P4 products of shared columns", 1),
    "comparisons": ("P5 comparisons of shared columns", 9),
    "totals": ("P8 totals by group", 2),
    "release": ("P5, P8 small cells", 11),
    "dominance": ("P8 dominance, only if an owner's grant has max_share", 13),
    "complement": ("P8 cells beside small ones, where a line would give these back", 0),
    "differences": ("P8 differences, for each earlier question that its totals are compared with", 18),
    "rounding": ("P5 sums rounded, only if an owner's grant has round_to: at most", 0),
    "search": ("values by their place among the rows", 0),
}


def _joint_steps(p: JoinPool) -> list[dict[str, Any]]:
    """The steps of a join. ``bytes``: what each member sends."""
    # as where few entities are hidden, so nearly always
    j, limited = joint_of(p, "helper", 2), joint_of(p, "helper", 2, 0)
    said = _said(j)
    if limited.dominance is not None:
        said["dominance"] = _more(j, limited)
    if j.decides:
        said["differences"] = _more(j, joint_of(beside_one(p), "helper", 2))
    rounded = joint_of(p, "helper", 2, None, None)
    comparisons = 0 if rounded.rounding is None else sum(1 for _ in rounded.rounding.comparisons())
    if comparisons:
        said["rounding"] = _said(rounded)["rounding"]
    levels = len({b.level for b in batches(p.steps)})
    return [
        {
            "step": f"{p.name}/{step}",
            "protocol": _JOINT[step][0],
            "trust": "helper",
            "rounds": j.search.rounds
            if step == "search" and j.search is not None
            else comparisons * _JOINT["comparisons"][1]
            if step == "rounding"
            else j.complement.rounds
            if step == "complement" and j.complement is not None
            else _JOINT[step][1]
            * (len(j.aligns) if step == "align" else levels if step == "products" else 1)
            * (1 if step in ("parts", "release") else j.parts),
            "bytes": dict(sorted(by.items())),
        }
        for step, by in said.items()
    ]


def _more(j: Joint, longer: Joint) -> dict[str, int]:
    """What each member sends more in the longer of two."""
    seats = (*j.circle.holders, j.helper)
    more, plain = ({i: sum(by.get(i, 0) for by in _said(x).values()) for i in seats} for x in (longer, j))
    return {i: more[i] - plain[i] for i in seats}


def _said(j: Joint) -> dict[str, dict[str, int]]:
    """Bytes by step and sender."""
    said: dict[str, dict[str, int]] = {}
    for t in traffic(j):
        by = said.setdefault(t.step, {})
        by[t.sender] = by.get(t.sender, 0) + t.bytes
    return said


#: the same of a join without a helper
_PAIR = {
    "blind": ("P9 which keys met: points of both, blinded by both", 2),
    "compared": ("comparisons on shares, of words the two deal each other by BFV", 0),
    "count": ("P9 how many keys met: points of both, blinded by both, in another order", 2),
    "small": ("P9 whether that is small: the same of numbers, heard by each", 4),
    "tally": ("P9 totals by group on ciphertexts, small cells hidden", 4),
    "told": ("P9 the other side's part of each row shown", 1),
    "scores": ("P9 the recipient's columns times the other side's, under the recipient's key", 2),
}


def _pair_steps(p: TallyPool) -> list[dict[str, Any]]:
    """The steps of a join without a helper. ``bytes``: what each party sends, if as many keys met as can."""
    said: dict[str, dict[str, int]] = {}
    pair = Pair(p, 1)
    rounds = {step: n for step, (_, n) in _PAIR.items()} | {"compared": pair.compared.rounds if pair.compared else 0}
    for t in pair_traffic(pair):
        by = said.setdefault(t.step, {})
        by[t.sender] = by.get(t.sender, 0) + t.bytes
    return [
        {
            "step": f"{p.name}/{step}",
            "protocol": _PAIR[step][0],
            "trust": "parties",
            "rounds": rounds[step],
            "bytes": dict(sorted(by.items())),
        }
        for step, by in said.items()
    ]


def _search_step(s: Search) -> dict[str, Any]:
    """A search for values by their place."""
    by: dict[str, int] = {}
    for t in search_traffic(s):
        by[t.sender] = by.get(t.sender, 0) + t.bytes
    return {
        "step": s.name,
        "protocol": f"values by their place: {s.halvings} halvings of their range",
        "trust": "helper",
        "rounds": s.rounds,
        "bytes": dict(sorted(by.items())),
    }


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
        if "spine" in p:
            out.append(f"    {p['join']}; the rows are those of {p['spine']}: {p['why']}")
        for m in p["measures"]:
            out.append(f"    {m['name']}")
            out += [
                f"      {w['kind']:8} |total| ≤ {_decimal(w['high'], w['scale'])}, ring 2^{w['ring']}"
                + (
                    f", noise of {' and '.join(w['noise'])}: ± {_decimal(w['off'], w['scale'])} (95 %)"
                    if "noise" in w
                    else ""
                )
                for w in m["words"]
            ]
    out += ["", "Joint steps:"]
    for s in explained["steps"]:
        size = max(s["bytes"].values(), default=0)
        out.append(
            f"  {s['step']:12} {s['protocol']}, {s['rounds']} round(s)" + (f", {size:,} bytes a party" if size else "")
        )
    if explained["seconds"] is not None:
        out.append(f"  about {explained['seconds']} s with all members on one machine, and what the local queries take")
    if len(usable := [m for m in explained["methods"] if not m["why_not"]]) > 1:
        out += ["", "How it can be added up:", *(f"  {_method(m)}" for m in usable)]
        out.append(f"  take {explained['recommended']}")
    if memory := int(explained["memory_bytes"]):
        out.append(f"  up to about {memory / 1e9:.1f} GB of memory at a party of a join, beside its tables")
    out += ["", "Who learns what:"]
    out += [f"  {e['role']:12} {e['learns']}" for e in explained["ledger"]]
    if explained["notes"]:
        out += ["", "Notes:", *(f"  {n}" for n in explained["notes"])]
    return "\n".join(out) + "\n"


def _decimal(units: str, scale: int) -> str:
    """A whole number of units of 10^-``scale``, as results show it."""
    return f"{Decimal(units).scaleb(-scale):,f}"


def _method(m: dict[str, Any]) -> str:
    how = "the parties are online together" if m["together"] else "each party deposits when it likes"
    what = "" if m["together"] else " of processor time; coordinator and recipient together could open single deposits"
    return f"{m['name']:9} {how}; {m['bytes']:,} bytes a party, about {m['seconds']:.1f} s{what}"
