"""Ways in which the sums of a plan can be added up, what each costs, and which one to take.

Times are those of one core of the machine of docs/benchmarks.md: with keys of 3072 bits a blinding factor takes 87 ms
(made ahead where there is time), adding a ciphertext 0.03 ms, opening one 13 ms. A BFV ciphertext has 432 KB; reading
and verifying a key takes half a second, whatever the size of the total.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

from mpc.errors import LocalError
from mpc.expected import expected_seconds
from mpc.lifted import MOST_WORDS, LiftedPacking
from mpc.protocols.deposit_bfv import ciphertexts_for as bfv_ciphertexts
from mpc.query.deposits import as_deposit
from mpc.query.plan import Plan

#: of a Paillier key as it is made today
KEY_BITS = 3072
FACTOR, ADD, OPEN = 87e-3, 3e-5, 13e-3
#: a BFV ciphertext, and seconds: reading a key, and of a ciphertext encrypting, verifying and adding, opening
BFV_BYTES = 432_500
BFV_KEY, BFV_ENCRYPT, BFV_ADD, BFV_OPEN = 0.5, 0.03, 0.04, 0.08
#: seconds of processor time from which BFV, which sends more, is the better advice for deposits
PATIENCE = 10


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
    paillier = Method("paillier", False, bytes_of(plan, "paillier"), seconds, why)
    if not why and len(plan.parties) > MOST_WORDS:
        why = f"BFV holds deposits of {MOST_WORDS} parties at most"
    large = ciphertexts_of(plan, "bfv")
    seconds = BFV_KEY + large * (BFV_ENCRYPT + BFV_ADD * len(plan.parties) + BFV_OPEN)
    return masked, paillier, Method("bfv", False, bytes_of(plan, "bfv"), seconds, why)


def bytes_of(plan: Plan, method: str) -> int:
    """Of one deposit."""
    return ciphertexts_of(plan, method) * (BFV_BYTES if method == "bfv" else KEY_BITS // 4)


def ciphertexts_of(plan: Plan, method: str = "paillier") -> int:
    """Of one deposit under a key of today's size."""
    lengths: dict[tuple[int, int], int] = {}
    for bits in (64, 128):
        for p, _, _, cells in plan.columns(64 if bits == 64 else 128):
            lengths[p, bits] = lengths.get((p, bits), 0) + cells
    if method == "bfv":
        return sum(bfv_ciphertexts(bits, n) for (_, bits), n in lengths.items())
    return sum(LiftedPacking(bits, n, KEY_BITS - 1).plaintexts for (_, bits), n in lengths.items())


def advice(found: tuple[Method, ...]) -> str:
    """Which method to take, in a sentence."""
    _masked, paillier, bfv = found
    if paillier.why_not:
        return "masked: this is no deposit sum"
    if paillier.seconds > PATIENCE and not bfv.why_not:
        return (
            f"masked, if the parties can be online together; else bfv: with paillier so many values take about "
            f"{ceil(paillier.seconds)} seconds of processor time at each party"
        )
    return "masked, if the parties can be online together; else paillier, in which each deposits when it likes"
