"""Ways in which the sums of a plan can be added up, what each costs, and which one to take.

Times are those of one core of the machine of docs/benchmarks.md: with keys of 3072 bits a blinding factor takes 87 ms
(made ahead where there is time), adding a ciphertext 0.03 ms, opening one 13 ms. A BFV ciphertext has 432 KB, one of
CKKS 327 KB; reading and verifying a key takes up to half a second, whatever the size of the total.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

from mpc.crypto.lattice import Scheme
from mpc.errors import LocalError
from mpc.expected import expected_seconds
from mpc.job import LATTICES
from mpc.lifted import MOST_WORDS, LiftedPacking
from mpc.protocols.deposit_lattice import ciphertexts_for, scheme_of
from mpc.query.deposits import as_deposit
from mpc.query.plan import Plan

#: of a Paillier key as it is made today
KEY_BITS = 3072
FACTOR, ADD, OPEN = 87e-3, 3e-5, 13e-3
#: a BFV ciphertext, and seconds: reading a key, and of a ciphertext encrypting, verifying and adding, opening
BFV_BYTES = 432_500
BFV_KEY, BFV_ENCRYPT, BFV_ADD, BFV_OPEN = 0.5, 0.03, 0.04, 0.08
#: the same of CKKS
CKKS_BYTES = 327_300
CKKS_KEY, CKKS_ENCRYPT, CKKS_ADD, CKKS_OPEN = 0.2, 0.04, 0.02, 0.1
#: seconds of processor time from which lattices, which send more, are the better advice for deposits
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
        why = f"lattice ciphertexts hold deposits of {MOST_WORDS} parties at most"
    return masked, paillier, _lattice(plan, "bfv", why), _lattice(plan, "ckks", why)


def _lattice(plan: Plan, scheme: Scheme, why: str) -> Method:
    key, encrypt, add, open_ = (
        (BFV_KEY, BFV_ENCRYPT, BFV_ADD, BFV_OPEN) if scheme == "bfv" else (CKKS_KEY, CKKS_ENCRYPT, CKKS_ADD, CKKS_OPEN)
    )
    seconds = key + ciphertexts_of(plan, scheme) * (encrypt + add * len(plan.parties) + open_)
    return Method(scheme, False, bytes_of(plan, scheme), seconds, why)


def bytes_of(plan: Plan, method: str) -> int:
    """Of one deposit."""
    return ciphertexts_of(plan, method) * {"bfv": BFV_BYTES, "ckks": CKKS_BYTES}.get(method, KEY_BITS // 4)


def ciphertexts_of(plan: Plan, method: str = "paillier") -> int:
    """Of one deposit under a key of today's size."""
    lengths: dict[tuple[int, int], int] = {}
    for bits in (64, 128):
        for p, _, _, cells in plan.columns(64 if bits == 64 else 128):
            lengths[p, bits] = lengths.get((p, bits), 0) + cells
    if method in LATTICES:
        return sum(ciphertexts_for(scheme_of(method), bits, n) for (_, bits), n in lengths.items())
    return sum(LiftedPacking(bits, n, KEY_BITS - 1).plaintexts for (_, bits), n in lengths.items())


def advice(found: tuple[Method, ...]) -> str:
    """Which method to take, in a sentence."""
    _masked, paillier, *lattices = found
    if paillier.why_not:
        return "masked: this is no deposit sum"
    usable = sorted((m for m in lattices if not m.why_not), key=lambda m: (m.seconds, m.bytes))
    if paillier.seconds > PATIENCE and usable:
        return (
            f"masked, if the parties can be online together; else {usable[0].name}: with paillier so many values take "
            f"about {ceil(paillier.seconds)} seconds of processor time at each party"
        )
    return "masked, if the parties can be online together; else paillier, in which each deposits when it likes"
