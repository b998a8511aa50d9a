"""P10 Deposit sums: depositors need not be online together, nor with the recipient.

    depositor i                              coordinator C                           recipient R
                                                                                       p, q secret; n signed in the job
      c_i = Enc_n(packed x_i)
      ── job, i, n, snapshot, c_i ─────▶   keeps c_i until the closing date
      ── withdraw ─────────────────────▶   forgets c_i
                                           closing date:  c = Π c_i mod n²
                                           ── c, who is in it ─────────────────▶   Dec(c) = packed Σ x_i

Trust level: deposit. C and R together open every single deposit, so no organisation may run both. Adversary:
semi-honest; C without R, with all depositors but one, learns nothing; R without C, with n − 2 other depositors, learns
no more than the total.
Leakage: C who deposited and when, on which snapshot, the length; depositors nothing; R the total and who is in it.
Rounds: none, one message a depositor. Bytes per value: 2·|n| / values a plaintext holds (mpc/packing.py), the same
from every depositor and to R.
Source: P. Paillier, EUROCRYPT 1999, additive homomorphism; sums under a third party's key as in C. Castelluccia,
E. Mykletun, G. Tsudik, MobiQuitous 2005.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from mpc.crypto import paillier
from mpc.crypto.labels import digest, framed, label
from mpc.errors import LocalError, PeerError
from mpc.messages import RingWords
from mpc.packing import Packing

_DIGEST = 32


@dataclass(frozen=True)
class Terms:
    """What everybody knows of one deposit sum: all of it stands in the job that its modeler signed.

    ``depositors`` and ``recipient`` by name, ``organisations`` of them and of the coordinator. ``least``:
    organisations, the recipient's not counted, below which nothing is released. ``closing``: Unix seconds.
    Raises LocalError plan.trust or policy.contributors for terms under which single deposits could be opened.
    """

    job: bytes
    depositors: tuple[str, ...]
    recipient: str
    coordinator: str
    organisations: Mapping[str, str]
    key: paillier.PublicKey
    least: int
    closing: int
    bits: int
    length: int
    bound: int

    def __post_init__(self) -> None:
        assert len(self.job) == _DIGEST and len(set(self.depositors)) == len(self.depositors)
        if self.organisations[self.coordinator] == self.organisations[self.recipient]:
            raise LocalError(
                "plan.trust",
                f"{self.organisations[self.recipient]} runs the coordinator and would receive the total: together the "
                "two can open every single deposit.",
                "Let another organisation receive the total, or use a secure sum (trust = parties).",
            )
        if self.least < 2 or self.counted(self.depositors) < self.least:
            raise LocalError(
                "policy.contributors",
                f"A deposit sum needs at least two organisations besides the recipient's, and at least as many as its "
                f"minimum; it names {self.counted(self.depositors)}, with a minimum of {self.least}.",
                "Ask more institutions to deposit.",
            )

    @property
    def packing(self) -> Packing:
        """How values lie in plaintexts: n ≥ 2^(|n| − 1), so whatever is below that is below n."""
        room = self.key.n.bit_length() - 1
        return Packing(self.bits, self.length, self.bound, len(self.depositors), room)

    def counted(self, names: tuple[str, ...]) -> int:
        """Organisations among ``names``, the recipient's not counted."""
        return len({self.organisations[n] for n in names} - {self.organisations[self.recipient]})

    @property
    def header(self) -> bytes:
        """What a deposit begins with before the depositor's name: job and key, so that it fits no others."""
        return digest("deposit", self.job, self.key.fingerprint)


@dataclass(frozen=True)
class Deposit:
    """One depositor's ciphertexts for one job. ``snapshot``: 32 bytes that name the state of its data (salted)."""

    depositor: str
    snapshot: bytes
    ciphertexts: tuple[int, ...] = field(repr=False)


@dataclass(frozen=True)
class Total:
    """What the coordinator hands to the recipient: the added ciphertexts, and whose deposits are in them."""

    depositors: tuple[str, ...]
    ciphertexts: tuple[int, ...] = field(repr=False)


def deposit(terms: Terms, me: str, snapshot: bytes, x: RingWords, pool: paillier.Pool) -> bytes:
    """The depositor's role: the bytes to leave with the coordinator. ``x``: (length,) or (length, 2).

    Raises LocalError data.bounds beyond ±bound, protocol.reuse where the pool runs out.
    """
    assert me in terms.depositors and len(snapshot) == _DIGEST
    ciphertexts = paillier.encrypt(terms.key, terms.packing.pack(x), pool)
    return _prefix(terms, me) + snapshot + paillier.encode(terms.key, ciphertexts)


def read_deposit(terms: Terms, raw: bytes, sender: str) -> Deposit:
    """A deposit's content. ``sender``: who handed it over, by its certificate.

    Raises PeerError protocol.malformed for another job, key or depositor, or for what is no ciphertext; protocol.size.
    """
    prefix = _prefix(terms, sender)
    if raw[: len(prefix)] != prefix:
        raise PeerError(
            "protocol.malformed",
            f"{sender} sent a deposit for another job, another recipient's key or in another's name.",
            "Nothing of it was used. That member has to make a deposit for this job.",
            party=sender,
            step="deposit",
        )
    start = len(prefix) + _DIGEST
    ciphertexts = paillier.decode(terms.key, raw[start:], terms.packing.plaintexts, party=sender, step="deposit")
    return Deposit(sender, raw[len(prefix) : start], tuple(ciphertexts))


class Collection:
    """The coordinator's role for one job: takes deposits until the closing date, then adds them up, once.

    Whoever keeps it on disk stores each deposit before it answers, and calls the same methods again after a restart.
    ``now``: Unix seconds.
    """

    def __init__(self, terms: Terms) -> None:
        self.terms = terms
        self._kept: dict[str, Deposit] = {}
        self._digests: dict[str, bytes] = {}
        self._withdrawn: set[bytes] = set()
        self._total: Total | None = None

    def accept(self, raw: bytes, sender: str, now: int) -> None:
        """Keep a deposit. The same bytes again change nothing.

        Raises LocalError job.state after closing, policy.refused for a stranger, job.replayed for a second deposit or
        one that was withdrawn; PeerError for what ``read_deposit`` refuses.
        """
        self._before_closing(now)
        if sender not in self.terms.depositors:
            raise LocalError(
                "policy.refused", f"{sender} is no depositor of this job.", "Only those that the job names may deposit."
            )
        seen = digest("deposit-seen", raw)
        if self._digests.get(sender) == seen:
            return
        if sender in self._kept or seen in self._withdrawn:
            raise LocalError(
                "job.replayed",
                f"{sender} has deposited for this job already, or took this deposit back.",
                "Withdraw the earlier deposit, then make a new one from the data as they are.",
            )
        self._kept[sender] = read_deposit(self.terms, raw, sender)
        self._digests[sender] = seen

    def withdraw(self, sender: str, now: int) -> None:
        """Forget ``sender``'s deposit. Its bytes are not taken a second time. Raises LocalError job.state."""
        self._before_closing(now)
        if sender not in self._kept:
            raise LocalError(
                "job.state", f"{sender} has no deposit in this job that could be withdrawn.", "Nothing was changed."
            )
        del self._kept[sender]
        self._withdrawn.add(self._digests.pop(sender))

    def total(self, now: int) -> Total:
        """The sum of all deposits, from the closing date on; always the same one.

        Raises LocalError job.state before closing, policy.contributors where too few deposited.
        """
        if now < self.terms.closing:
            raise LocalError(
                "job.state",
                "Deposits are still being taken: nothing is added up before the closing date.",
                "Ask again after the closing date.",
            )
        if self._total is None:
            names = tuple(d for d in self.terms.depositors if d in self._kept)
            _enough(self.terms, names)
            columns = (self._kept[d].ciphertexts for d in names)
            self._total = Total(names, tuple(paillier.add(self.terms.key, columns, self.terms.packing.plaintexts)))
            self._kept.clear()
        return self._total

    def _before_closing(self, now: int) -> None:
        # a total once made also closes, should the clock have been set back
        if now >= self.terms.closing or self._total is not None:
            raise LocalError(
                "job.state", "The closing date of this job has passed.", "The modeler can ask again in a new job."
            )


def write_total(terms: Terms, total: Total) -> bytes:
    """The bytes the coordinator hands to the recipient."""
    flags = bytes(d in total.depositors for d in terms.depositors)
    return label("deposit-total") + terms.header + flags + paillier.encode(terms.key, total.ciphertexts)


def read_total(terms: Terms, raw: bytes) -> Total:
    """The inverse of ``write_total``. Raises PeerError protocol.malformed or protocol.size."""
    prefix = label("deposit-total") + terms.header
    end = len(prefix) + len(terms.depositors)
    flags = raw[len(prefix) : end]
    if raw[: len(prefix)] != prefix or len(flags) != len(terms.depositors) or set(flags) - {0, 1}:
        raise _wrong_total(terms, "is for another job or under another key")
    names = tuple(d for d, flag in zip(terms.depositors, flags, strict=True) if flag)
    ciphertexts = paillier.decode(
        terms.key, raw[end:], terms.packing.plaintexts, party=terms.coordinator, step="deposit-total"
    )
    return Total(names, tuple(ciphertexts))


def open_total(terms: Terms, total: Total, secret: paillier.SecretKey) -> RingWords:
    """The recipient's role: Σ x_i, (length,) or (length, 2).

    Raises LocalError policy.contributors for too few depositors, protocol.point for another key, PeerError
    protocol.malformed where the plaintext is no sum of that many deposits within their bounds.
    """
    if secret.public != terms.key:
        raise LocalError(
            "protocol.point", "The job names another Paillier key than this one.", "Open it with that key."
        )
    _enough(terms, total.depositors)
    plaintexts = paillier.decrypt(secret, total.ciphertexts)
    try:
        return terms.packing.unpack(plaintexts, len(total.depositors))
    except ValueError:
        raise _wrong_total(terms, "is not the sum of as many deposits as it says, each within its bounds") from None


def _prefix(terms: Terms, depositor: str) -> bytes:
    return label("deposit") + terms.header + framed(depositor.encode())


def _enough(terms: Terms, names: tuple[str, ...]) -> None:
    if terms.counted(names) < terms.least:
        raise LocalError(
            "policy.contributors",
            f"{terms.counted(names)} organisations besides the recipient's deposited, {terms.least} are needed: "
            "nothing is released.",
            "Ask again in a new job, with a later closing date.",
        )


def _wrong_total(terms: Terms, why: str) -> PeerError:
    return PeerError(
        "protocol.malformed",
        f"The total from {terms.coordinator} {why}.",
        "Nothing was opened. A depositor or the coordinator deviated: ask for the deposits to be audited.",
        party=terms.coordinator,
        step="deposit-total",
    )
