"""A job: SQL text and a few facts, signed by its modeler. The job id is the SHA-256 of exactly the signed bytes."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from fractions import Fraction
from typing import Any

import rfc8785

from mpc.errors import LocalError

MAX_JOB_BYTES = 256 * 1024
#: the most rows of one entity that a job may let count, and the largest epsilon
MOST_ENTITY_ROWS, MOST_EPSILON = 10_000, 100
#: a decimal number in one writing
_DECIMAL = re.compile(r"(0|[1-9][0-9]{0,2})(\.[0-9]{0,5}[1-9])?")
#: how depositors encrypt
METHODS = ("paillier", "bfv", "ckks")
#: those of them whose keys are long: a job names their fingerprint, and they travel beside
LATTICES = METHODS[1:]


@dataclass(frozen=True)
class DepositTerms:
    """How a deposit job collects its total (P10). Deposits are taken until the job expires.

    ``least``: organisations besides the recipient's that must deposit, else nothing is released; ``early``: it closes
    as soon as all have deposited. ``key``: the recipient's public key in hex, of a lattice key, which is long,
    the fingerprint; made at ``made`` (Unix seconds), with the recipient's ``signature`` (hex) over ``statement``.
    """

    method: str
    least: int
    early: bool
    key: str
    made: int
    signature: str

    def statement(self, recipient: str) -> bytes:
        """What the recipient signs about its key."""
        return key_statement(recipient, self.method, self.key, self.made)

    def check(self) -> bool:
        """Whether all fields have their form."""
        texts = all(isinstance(x, str) for x in (self.method, self.key, self.signature))
        return (
            texts
            and self.method in METHODS
            and type(self.least) is int
            and type(self.made) is int
            and type(self.early) is bool
            and len(bytes.fromhex(self.signature)) == 64
            and bytes.fromhex(self.key).hex() == self.key
            and (self.method not in LATTICES or len(self.key) == 64)
        )


def key_statement(recipient: str, method: str, key: str, made: int) -> bytes:
    """Canonical JSON about a public key for deposits; signed under the label ``deposit-key``."""
    return rfc8785.dumps({"v": 1, "member": recipient, "method": method, "key": key, "made": made})


@dataclass(frozen=True)
class Job:
    """Everything the modeler asks for. Times are Unix seconds; digests and keys are lower-case hex.

    ``recipient_keys``: X25519 public keys of recipients without a node (the submitter itself; it signs the job).
    ``parameters``: values of the ``$name`` in ``sql``, put in where the parsed query has them.
    ``verified``: the recipient is to verify that sums are of what the parties bound themselves to (P11).
    ``epsilon``: results carry noise of this privacy loss (P12), as decimal text; "": they are exact. With noise at most
    ``entity_rows`` rows of one entity count.
    ``trust``: the weakest level the modeler accepts, "parties" (nothing rests on a third seat) or "helper"; "deposit"
    goes with ``deposit`` and with one recipient.
    """

    sql: str
    submitter: str
    recipients: tuple[str, ...]
    roster: str
    catalogs: Mapping[str, str]
    nonce: str
    created: int
    expires: int
    purpose: str = ""
    trust: str = "helper"
    allow_two_party: bool = False
    verified: bool = False
    epsilon: str = ""
    entity_rows: int = 1
    recipient_keys: Mapping[str, str] = field(default_factory=dict)
    parameters: Mapping[str, str] = field(default_factory=dict)
    planner: str = ""
    deposit: DepositTerms | None = None

    def to_bytes(self) -> bytes:
        """RFC 8785 canonical JSON."""
        return rfc8785.dumps(
            {
                "v": 1,
                "sql": self.sql,
                "submitter": self.submitter,
                "recipients": list(self.recipients),
                "roster": self.roster,
                "catalogs": dict(self.catalogs),
                "nonce": self.nonce,
                "created": self.created,
                "expires": self.expires,
                "purpose": self.purpose,
                "trust": self.trust,
                "allow_two_party": self.allow_two_party,
                "verified": self.verified,
                "epsilon": self.epsilon,
                "entity_rows": self.entity_rows,
                "recipient_keys": dict(self.recipient_keys),
                "parameters": dict(self.parameters),
                "planner": self.planner,
                "deposit": None if self.deposit is None else asdict(self.deposit),
            }
        )

    @staticmethod
    def from_bytes(raw: bytes) -> Job:
        """Strict inverse: anything but the canonical form of a complete job raises LocalError job.invalid."""
        try:
            if len(raw) > MAX_JOB_BYTES:
                raise ValueError("too long")
            body: dict[str, Any] = json.loads(raw)
            if body.pop("v") != 1:
                raise ValueError("unknown version")
            terms = body["deposit"]
            deposit = None if terms is None else DepositTerms(**terms)
            job = Job(**{**body, "recipients": tuple(body["recipients"]), "deposit": deposit})
            checks = [
                all(
                    isinstance(x, str)
                    for x in (job.sql, job.submitter, job.roster, job.nonce, job.purpose, job.trust, job.planner)
                ),
                all(isinstance(x, str) for x in job.recipients) and 0 < len(set(job.recipients)) == len(job.recipients),
                all(
                    isinstance(k, str) and isinstance(v, str)
                    for m in (job.catalogs, job.recipient_keys, job.parameters)
                    for k, v in m.items()
                ),
                type(job.created) is int and type(job.expires) is int and job.created < job.expires,
                type(job.allow_two_party) is bool,
                type(job.verified) is bool,
                isinstance(job.epsilon, str) and (job.epsilon == "" or epsilon_of(job.epsilon) > 0),
                type(job.entity_rows) is int and 1 <= job.entity_rows <= (MOST_ENTITY_ROWS if job.epsilon else 1),
                job.trust in (("helper", "parties") if deposit is None else ("deposit",)),
                deposit is None or (deposit.check() and len(job.recipients) == 1 and not job.recipient_keys),
                len(bytes.fromhex(job.nonce)) == 16,
            ]
            if not all(checks) or job.to_bytes() != raw:
                raise ValueError("not the canonical form of a job")
            return job
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as problem:
            raise LocalError(
                "job.invalid",
                f"The job text cannot be read ({problem}).",
                "Submit it again with a client of the same version.",
            ) from problem

    @property
    def shown(self) -> str:
        """The SQL for people, with the values of its parameters."""
        values = ", ".join(f"${k} = {json.dumps(v, ensure_ascii=False)}" for k, v in sorted(self.parameters.items()))
        return f"{self.sql.rstrip()}\n-- {values}" if values else self.sql

    @property
    def id(self) -> str:
        return job_id(self.to_bytes())


def epsilon_of(text: str) -> Fraction:
    """The privacy loss that a job names: above 0, at most ``MOST_EPSILON``, six digits after the point at most. Raises
    ValueError."""
    if not _DECIMAL.fullmatch(text) or not 0 < (value := Fraction(text)) <= MOST_EPSILON:
        raise ValueError(f"an epsilon is a number above 0 and up to {MOST_EPSILON}, such as 0.5")
    return value


def job_id(raw: bytes) -> str:
    """SHA-256 (hex) of the exact signed bytes."""
    return hashlib.sha256(raw).hexdigest()
