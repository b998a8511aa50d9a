"""P10 Deposit sums: depositors need not be online together, nor with the recipient.

    depositor i                              coordinator C                           recipient R
                                                                                       p, q secret; n signed in the job
      c_i = Enc_n(lifted x_i)
      ── c_i, sig_i(job, plan, n,     ─▶   keeps c_i until the closing date
         number, snapshot, H(c_i))
      ── withdraw ─────────────────────▶   forgets c_i
                                           closing date:  c = Π c_i mod n²
                                           ── c, all sig_i ────────────────────▶   Dec(c) = lifted Σ x_i

x_i are the ring words that a masked sum would add (P3), small cells spoiled in the same way; mpc/lifted.py puts them
into plaintexts. So the recipient reads the same totals, exact, and of a spoiled cell uniform noise.

Trust level: deposit. C and R together open every single deposit, so no organisation may run both. Adversary:
semi-honest; C without R, with all depositors but one, learns nothing; R without C, with n − 2 other depositors, learns
no more than the total, but for 2^-56 a word (carries).
The same with BFV or CKKS in place of Paillier, with 2^-40 a word: deposit_lattice.py.
Leakage: C who deposited and when, the length; depositors nothing; R the total and who is in it.
Rounds: none, one message a depositor. Bytes per word: 2·|n| / words a plaintext holds, the same from every depositor
and to R.
Source: P. Paillier, EUROCRYPT 1999, additive homomorphism; sums under a third party's key as in C. Castelluccia,
E. Mykletun, G. Tsudik, MobiQuitous 2005.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import rfc8785

from mpc.coins import Coins
from mpc.crypto import lattice, paillier
from mpc.errors import LocalError, PeerError
from mpc.lifted import MOST_WORDS, LiftedPacking
from mpc.messages import RingWords
from mpc.protocols import deposit_lattice as lattices
from mpc.protocols.agree import Verify
from mpc.protocols.deposit_lattice import NamedKey
from mpc.protocols.total import Sum

#: labels of signatures: of a recipient over its key, of a depositor over a deposit and over its withdrawal
DEPOSIT_KEY, DEPOSIT, WITHDRAWAL = "deposit-key", "deposit", "withdrawal"


@dataclass(frozen=True)
class Terms:
    """What everybody knows of one deposit sum: all of it stands in the job that its modeler signed, and in the roster.

    ``job``, ``plan``: their ids, hex. ``organisations`` of depositors, recipient and coordinator. ``least``:
    organisations, the recipient's not counted, below which nothing is released. ``sums``: what is added, in order.
    Raises LocalError plan.trust or policy.contributors for terms under which single deposits could be opened.
    """

    job: str
    plan: str
    depositors: tuple[str, ...]
    recipient: str
    coordinator: str
    organisations: Mapping[str, str]
    key: paillier.PublicKey | NamedKey
    least: int
    sums: tuple[Sum, ...]

    def __post_init__(self) -> None:
        if self.organisations[self.coordinator] == self.organisations[self.recipient]:
            raise LocalError(
                "plan.trust",
                f"{self.organisations[self.recipient]} runs the coordinator and would receive the total: together the "
                "two can open every single deposit.",
                "Let another organisation receive the total, or use a secure sum (--method masked).",
            )
        if isinstance(self.key, NamedKey) and len(self.depositors) > MOST_WORDS:
            raise LocalError(
                "plan.deposit",
                f"{len(self.depositors)} parties would deposit, and a {self.key.name} plaintext holds the sum of "
                f"{MOST_WORDS} at most.",
                "Use --method paillier, which holds 255.",
            )
        if self.least < 2 or self.counted(self.depositors) < self.least:
            raise LocalError(
                "policy.contributors",
                f"A deposit sum needs at least two organisations besides the recipient's, and at least as many as its "
                f"minimum; it names {self.counted(self.depositors)}, with a minimum of {self.least}.",
                "Ask more institutions to deposit.",
            )

    def counted(self, names: Collection[str]) -> int:
        """Organisations among ``names``, the recipient's not counted."""
        return len({self.organisations[n] for n in names} - {self.organisations[self.recipient]})

    @property
    def all_needed(self) -> bool:
        """Whether nothing is released unless every depositor is in it."""
        return self.least == self.counted(self.depositors) == len(self.depositors)

    @property
    def ciphertexts(self) -> int:
        """Of one deposit, and of the total."""
        if isinstance(self.key, NamedKey):
            return sum(lattices.ciphertexts_of(self.key.scheme, s) for s in self.sums)
        return sum(packing(self.key, s).plaintexts for s in self.sums)

    @property
    def bytes(self) -> int:
        """Of one deposit's ciphertexts, and of the total's, at most."""
        if isinstance(self.key, NamedKey):
            return self.ciphertexts * (8 + lattice.MOST_CIPHERTEXT)
        return self.ciphertexts * self.key.width

    def verify_enough(self, names: Collection[str]) -> None:
        """Raises LocalError policy.contributors where too few have deposited."""
        if self.counted(names) < self.least:
            raise LocalError(
                "policy.contributors",
                f"{self.counted(names)} organisations besides the recipient's deposited, {self.least} are needed: "
                "nothing is released.",
                "Ask again in a new job, with a later closing date.",
            )


@dataclass(frozen=True)
class Statement:
    """What a depositor signs about one deposit. ``number``: of its messages about this job, from 0; ``data``: a salted
    digest of what it read; ``approval``: SHA-256 of its approval; ``body``: SHA-256 of the ciphertexts. All in hex."""

    job: str
    plan: str
    key: str
    party: str
    number: int
    data: str
    approval: str
    body: str

    def to_bytes(self) -> bytes:
        """Canonical JSON."""
        return rfc8785.dumps({"v": 1, **self.__dict__})


def statement_of(terms: Terms, party: str, number: int, data: str, approval: bytes, body: bytes) -> Statement:
    """The statement of a deposit of ``body`` under ``terms``."""
    return Statement(
        terms.job,
        terms.plan,
        terms.key.fingerprint.hex(),
        party,
        number,
        data,
        hashlib.sha256(approval).hexdigest(),
        hashlib.sha256(body).hexdigest(),
    )


def read_statement(terms: Terms, raw: bytes, signature: bytes, sender: str, verify: Verify) -> Statement:
    """The inverse of ``to_bytes``. ``sender``: who says it, by its certificate or by whoever hands it on.

    Raises PeerError protocol.signature; protocol.malformed for another job, plan, key or depositor.
    """
    verify(sender, DEPOSIT, raw, signature)
    told = _object(raw, sender)
    try:
        if told.pop("v") != 1:
            raise ValueError("another version")
        said = Statement(**told)
        canonical = said.to_bytes() == raw and type(said.number) is int and said.number >= 0
        same = (said.job, said.plan, said.key) == (terms.job, terms.plan, terms.key.fingerprint.hex())
    except (ValueError, TypeError, KeyError) as problem:
        raise _wrong_deposit(sender) from problem
    if not canonical or not same or said.party != sender or sender not in terms.depositors:
        raise _wrong_deposit(sender)
    return said


def withdrawal(job: str, party: str, number: int, deposit: bytes) -> bytes:
    """What a depositor signs to take back the deposit of statement ``deposit``: canonical JSON."""
    return rfc8785.dumps(
        {"v": 1, "job": job, "party": party, "number": number, "withdrawn": hashlib.sha256(deposit).hexdigest()}
    )


def packing(key: paillier.PublicKey, s: Sum) -> LiftedPacking:
    """How a sum's words lie in Paillier's plaintexts: n ≥ 2^(|n| − 1), so whatever is below that is below n."""
    return LiftedPacking(s.bits, s.length, key.n.bit_length() - 1)


def encrypt(terms: Terms, vectors: Mapping[str, RingWords], coins: Coins, pool: paillier.Pool) -> bytes:
    """The depositor's role under a Paillier key: the ciphertexts to leave with the coordinator. ``vectors`` by name of
    the sum. Under lattices it is ``deposit_lattice.lifted`` and ``mpc.crypto.lattice.encrypt``.

    Raises LocalError protocol.reuse where the pool runs out.
    """
    key = terms.key
    assert isinstance(key, paillier.PublicKey)
    plaintexts: list[int] = []
    for s in terms.sums:
        p = packing(key, s)
        plaintexts += p.pack(vectors[s.name], coins.draw(f"deposit/{s.name}/lift", p.blind_bytes))
    return paillier.encode(key, paillier.encrypt(key, plaintexts, pool))


def verify_body(terms: Terms, body: bytes, sender: str) -> None:
    """Whether these are ciphertexts of a deposit. Raises PeerError protocol.size, protocol.malformed."""
    if isinstance(terms.key, NamedKey):
        lattices.read(terms.key, terms.sums, body, sender, "deposit")
    else:
        paillier.decode(terms.key, body, terms.ciphertexts, party=sender, step="deposit")


def add_up(terms: Terms, bodies: Mapping[str, bytes]) -> bytes:
    """The coordinator's role at the closing date: the total of the deposits, by depositor. It has no secret, so an
    auditor can do it again. Raises LocalError policy.contributors for too few, PeerError for what is no deposit."""
    terms.verify_enough(bodies)
    key, who = terms.key, sorted(bodies)
    if isinstance(key, NamedKey):
        read = [lattices.read(key, terms.sums, bodies[d], d, "deposit") for d in who]
        return lattices.body_of(lattices.add(key, terms.sums, read))
    columns = (paillier.decode(key, bodies[d], terms.ciphertexts, party=d, step="deposit") for d in who)
    return paillier.encode(key, paillier.add(key, columns, terms.ciphertexts))


def open_total(
    terms: Terms, names: Sequence[str], body: bytes, secret: paillier.SecretKey | lattice.SecretKey
) -> dict[str, RingWords]:
    """The recipient's role: Σ x_i by name of the sum, (length,) or (length, 2). ``names``: whose deposits it holds.

    Raises LocalError policy.contributors for too few depositors, protocol.point for another key, PeerError
    protocol.malformed where the plaintext is no sum of that many deposits.
    """
    if secret.public.fingerprint != terms.key.fingerprint:
        raise LocalError("protocol.point", "The job names another key than this one.", "Open it with that key.")
    terms.verify_enough(names)
    try:
        if isinstance(secret, lattice.SecretKey):
            named = NamedKey(secret.public.scheme, secret.public.fingerprint, secret.public)
            columns = lattices.read(named, terms.sums, body, terms.coordinator, "deposit-total")
            return lattices.open_sums(secret, terms.sums, columns, len(names))
        read = paillier.decode(secret.public, body, terms.ciphertexts, party=terms.coordinator, step="deposit-total")
        plaintexts = iter(paillier.decrypt(secret, read))
        return {s.name: _unpacked(packing(secret.public, s), plaintexts, len(names)) for s in terms.sums}
    except ValueError:
        raise PeerError(
            "protocol.malformed",
            f"The total from {terms.coordinator} is not the sum of as many deposits as it says.",
            "Nothing was opened. A depositor or the coordinator deviated: ask for the deposits to be audited.",
            party=terms.coordinator,
            step="deposit-total",
        ) from None


def _unpacked(p: LiftedPacking, plaintexts: Iterator[int], vectors: int) -> RingWords:
    return p.unpack([next(plaintexts) for _ in range(p.plaintexts)], vectors)


def _object(raw: bytes, sender: str) -> dict[str, Any]:
    try:
        told = json.loads(raw)
    except ValueError as problem:
        raise _wrong_deposit(sender) from problem
    if not isinstance(told, dict):
        raise _wrong_deposit(sender)
    return told


def _wrong_deposit(sender: str) -> PeerError:
    return PeerError(
        "protocol.malformed",
        f"{sender} sent a deposit for another job, another recipient's key or in another's name.",
        "Nothing of it was used. That member has to make a deposit for this job.",
        party=sender,
        step="deposit",
    )
