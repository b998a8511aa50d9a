"""Every error a person can meet: one tree, one stable code each, always with advice.

``LocalError``  something here is wrong: the question asked, the data, the settings. Nothing was sent.
``PeerError``   another member said something it should not have said; names member, step and message digest.

Codes are listed in ``CODES``; ``docs/errors.md`` explains each (a test compares the two).
Messages never contain values of data, keys or seeds: only names, sizes, positions and digests.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

#: code -> what it means, in one line. A code is never reused for another meaning.
CODES: Mapping[str, str] = {
    # the question
    "sql.syntax": "the SQL text cannot be parsed",
    "sql.unknown_table": "no published table has this name",
    "sql.unknown_column": "no table in scope has a column of this name",
    "sql.ambiguous_column": "several tables in scope have a column of this name",
    "sql.unsupported": "the SQL is understood but not supported; the message says what to write instead",
    "sql.type": "an operator or function is used on types it does not take",
    "sql.parameter": "a parameter of the query has no value, or a value no parameter",
    "plan.overflow": "declared bounds do not exclude a value beyond 128 bits",
    "plan.domain": "a GROUP BY column has no declared domain, or the domains make too many cells",
    "plan.inexact": "an expression cannot be computed exactly (floating point)",
    "plan.unsafe_weights": "weights or combinations from which the parts of a pooled total could be told apart",
    "plan.trust": "the query needs a weaker trust level than the job accepts",
    "plan.deposit": "the query is no deposit sum: not every value is one total over all of its parties",
    "plan.verified": "verified sums do not go with this query",
    "plan.noise": "noise does not go with this query, or is asked for in numbers that cannot be read",
    "plan.helper": "there is no helper, or it belongs to an institution that takes part in the join",
    "plan.rows": "single rows of a join go to a party whose own table gives the rows, and to nobody else",
    "plan.two_party": "two parties and a total for one of them would reveal the other's input",
    "plan.catalog": "a catalog is malformed or contradicts itself",
    # the owner's word
    "policy.refused": "an owner's policy does not grant what the job needs",
    "policy.invalid": "policy.toml has a mistake; the message names the line",
    "policy.unenforceable": "policy.toml asks for a rule this version cannot enforce yet",
    "policy.contributors": "a pooled total would have fewer contributing institutions than an owner demands",
    "policy.spent": "what an owner allows in a period is used: conditions shown, privacy loss, standing approvals",
    "policy.earlier": "a join is to be compared with an earlier question that is not known, or not answerable today",
    "policy.pending": "an owner decides by hand whether the job may run, and has not yet",
    "policy.rejected": "an owner decided by hand that the job may not run",
    "policy.stopped": "an owner has stopped its node: nothing is approved until it resumes",
    # the job
    "job.invalid": "a job's text is malformed, unsigned or signed by the wrong key",
    "job.expired": "the job's expiry has passed (or lies too far ahead)",
    "job.replayed": "this job, attempt or message was used before",
    "job.unknown": "no such job here",
    "job.state": "the job is in a state that does not allow this",
    "job.cancelled": "the job was cancelled",
    "job.differs": "participants do not agree on job, plan, catalog or roster",
    "job.not_recipient": "the caller is not a recipient of this job",
    "job.limits": "the job is larger than this member's limits allow",
    # the data
    "data.bounds": "a column holds values outside its declared bounds, type or domain",
    "data.source": "a table's source cannot be opened or read",
    "data.type": "a column's type cannot be used; the message says which to declare",
    "data.local_query": "the local query failed (no detail leaves the node)",
    "data.id": "an id cannot be used as a key: too long, malformed, or its check character is wrong",
    "data.rows": "a table has more rows than its published catalog says",
    "data.skew": "a few keys have so many rows that a large table cannot be joined part by part",
    "data.repeated_key": "a key stands twice where each may stand once",
    "data.changed": "the data changed after an attempt of this job may already have been released",
    # the protocol
    "protocol.order": "a message came out of order",
    "protocol.malformed": "a message cannot be decoded",
    "protocol.signature": "a signature does not verify",
    "protocol.point": "a public key is of low order or malformed",
    "protocol.size": "a message is larger than the plan allows",
    "protocol.reuse": "a stream would be drawn a second time",
    "protocol.sum": "a sum is not that of the values the contributors bound themselves to",
    "protocol.replay": "a replayed role differs from what was recorded",
    # evidence
    "evidence.rollback": "a log is shorter than, or other than, what was signed last",
    "evidence.invalid": "a bundle of evidence cannot be read",
    "evidence.missing": "there is no evidence of this job here",
    "evidence.stamp": "a timestamp authority gave no timestamp of the log",
    # members and connections
    "peer.unavailable": "a member cannot be reached",
    "peer.timeout": "a member did not answer in time",
    "peer.aborted": "a member gave up the attempt",
    "peer.identity": "a certificate or signature is not the one in the roster",
    "peer.version": "members run versions that do not go together",
    "roster.invalid": "the roster is malformed, unsigned or not valid now",
    "roster.unknown": "no member of this name",
    "config.invalid": "a settings file has a mistake",
    "config.missing": "a file or folder that should be there is not",
    "config.exists": "the target exists and would be overwritten",
    "store.failed": "local storage failed (disk full, permissions)",
    "store.version": "what an earlier version stored cannot be used by this one",
    "internal": "a defect in this program",
}


class HejiError(Exception):
    """Base of all errors. ``str()`` gives message and advice; ``code`` is stable."""

    def __init__(self, code: str, message: str, advice: str = "", **facts: Any) -> None:
        """``facts`` are extra machine-readable fields (JSON-able, never data values)."""
        assert code in CODES, f"undeclared error code {code}"
        super().__init__(message)
        self.code = code
        self.message = message
        self.advice = advice
        self.facts = facts

    def __str__(self) -> str:
        return f"{self.message}\n  {self.advice}" if self.advice else self.message

    def __reduce__(self) -> tuple[Any, ...]:
        """Errors of workers come from other processes."""
        return HejiError.from_dict, (self.to_dict(),)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form, the inverse of ``from_dict``."""
        kind = "peer" if isinstance(self, PeerError) else "local"
        return {"kind": kind, "code": self.code, "message": self.message, "advice": self.advice, "facts": self.facts}

    @staticmethod
    def from_dict(fields: Mapping[str, Any]) -> HejiError:
        """Rebuild an error told by another member; unknown codes become ``internal``.

        Its words will stand on somebody's terminal: control characters are left out.
        """
        code = str(fields.get("code", "internal"))
        code = code if code in CODES else "internal"
        facts = {str(k): _printable(v) if isinstance(v, str) else v for k, v in dict(fields.get("facts") or {}).items()}
        message, advice = (_printable(str(fields.get(k, "")))[:4000] for k in ("message", "advice"))
        if fields.get("kind") == "peer":
            told = {k: facts.pop(k, "") for k in ("party", "step", "digest")}
            return PeerError(code, message, advice, **{k: str(v) for k, v in told.items()}, **facts)
        return LocalError(code, message, advice, **facts)


def _printable(text: str) -> str:
    return "".join(c for c in text if c == "\n" or c.isprintable())


class LocalError(HejiError):
    """Something on this side is wrong: the question, the data, the settings."""


class PeerError(HejiError):
    """Another member deviated or failed: ``party`` at ``step``; ``digest`` of the message, if there is one."""

    def __init__(
        self, code: str, message: str, advice: str = "", *, party: str, step: str = "", digest: str = "", **facts: Any
    ) -> None:
        super().__init__(code, message, advice, party=party, step=step, digest=digest, **facts)
        self.party = party
        self.step = step
        self.digest = digest
