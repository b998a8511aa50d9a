"""Ways in which the sums of a plan can be added up, what each costs, and which one to take.

Times are those of one core of the machine of docs/benchmarks.md: with keys of 3072 bits a blinding factor takes 87 ms
(made ahead where there is time), adding a ciphertext 0.03 ms, opening one 13 ms.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

from mpc.errors import LocalError
from mpc.expected import expected_seconds
from mpc.lifted import LiftedPacking
from mpc.query.deposits import as_deposit
from mpc.query.plan import Plan

#: of a Paillier key as it is made today
KEY_BITS = 3072
FACTOR, ADD, OPEN = 87e-3, 3e-5, 13e-3
#: seconds of a party's processor that a deposit may take before masked sums are the better advice
PATIENCE = 600


@dataclass(frozen=True)
class Method:
    """``together``: whether the parties must be online together. ``bytes`` that a party sends; ``seconds`` from
    submission to result, of deposits those of a party's and of the recipient's processor. ``why_not``: "" where it can
    be used."""

    name: str
    together: bool
    bytes: int
    seconds: float
    why_not: str = ""


def methods(plan: Plan, recipients: tuple[str, ...]) -> tuple[Method, ...]:
    """All there are for this plan; only masked ones for a plan that is no sum."""
    words = {bits: sum(c for _, _, _, c in plan.columns(bits)) for bits in (64, 128)}
    sent = sum(n * bits // 8 for bits, n in words.items()) * len(recipients)
    masked = Method("masked", True, sent, expected_seconds(plan, len(recipients)))
    ciphertexts = ciphertexts_of(plan)
    try:
        as_deposit(plan, recipients)
        why = ""
    except LocalError as error:
        why = error.message
    seconds = ciphertexts * (FACTOR + ADD * len(plan.parties) + OPEN)
    return masked, Method("paillier", False, ciphertexts * KEY_BITS // 4, seconds, why)


def ciphertexts_of(plan: Plan) -> int:
    """Of one deposit under a key of today's size."""
    lengths: dict[tuple[int, int], int] = {}
    for bits in (64, 128):
        for p, _, _, cells in plan.columns(64 if bits == 64 else 128):
            lengths[p, bits] = lengths.get((p, bits), 0) + cells
    return sum(LiftedPacking(bits, n, KEY_BITS - 1).plaintexts for (_, bits), n in lengths.items())


def advice(found: tuple[Method, ...]) -> str:
    """Which method to take, in a sentence."""
    _masked, paillier = found
    if paillier.why_not:
        return "masked: this is no deposit sum"
    if paillier.seconds > PATIENCE:
        return (
            f"masked: deposits of so many values take about {ceil(paillier.seconds / 60)} minutes of processor time "
            "at each party"
        )
    return "masked, if the parties can be online together; else paillier, in which each deposits when it likes"
