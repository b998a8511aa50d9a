"""Earlier questions about a join: what they are, and how owners name them in their approvals.

    a job asks something of a join ─▶ whoever takes part keeps it as a ``Question``
    a later job over its tables    ─▶ each owner's approval names what it approved before, in order, by digests
    who computes the join          ─▶ ``Named``: all of them, and which came before which

What is made of them: mpc/query/compared.py.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import rfc8785

from mpc.crypto.labels import digest
from mpc.errors import PeerError
from mpc.job import MAX_JOB_BYTES
from mpc.query.plain import NamedPlain


@dataclass(frozen=True)
class Question:
    """What a job asked of a join, as far as its populations depend on it.

    ``nonce``: of the first job that asked it, as far as a member knows, which only those know that had a part in that
    job: who guesses the question cannot tell by its digest that it was asked. Questions of equal ``content`` are one.
    """

    sql: str
    parameters: tuple[tuple[str, str], ...]
    recipients: tuple[str, ...]
    nonce: str = ""

    def to_bytes(self) -> bytes:
        """RFC 8785 canonical JSON."""
        nonce = {"nonce": self.nonce} if self.nonce else {}
        parameters = dict(self.parameters)
        return rfc8785.dumps(
            {"v": 1, "sql": self.sql, "parameters": parameters, "recipients": list(self.recipients), **nonce}
        )

    @classmethod
    def from_bytes(cls, raw: bytes) -> Question:
        """Strict inverse. Raises ValueError."""
        try:
            told = json.loads(raw) if len(raw) <= MAX_JOB_BYTES else {}
            parameters, recipients = tuple(sorted(told["parameters"].items())), tuple(told["recipients"])
            found = cls(told["sql"], parameters, recipients, told.get("nonce", ""))
            texts = [found.sql, found.nonce, *recipients, *(t for pair in parameters for t in pair)]
            if not all(isinstance(t, str) for t in texts) or found.to_bytes() != raw:
                raise ValueError("not the canonical form of a question")
        except (TypeError, KeyError, AttributeError, RecursionError) as problem:
            raise ValueError("bytes that are no question") from problem
        return found

    def digest(self) -> str:
        """SHA-256 (hex), by which approvals name it."""
        return digest("question", self.to_bytes()).hex()

    @property
    def content(self) -> str:
        """The digest without the nonce: the same for jobs that ask the same."""
        return replace(self, nonce="").digest()


#: what an owner names in an approval: a question about a join by its digest, or a total of its own
Told = str | NamedPlain


def told_in(party: str, approval: bytes) -> tuple[Told, ...] | None:
    """What a party's approval names; None where it asks for no comparison. Raises PeerError protocol.malformed."""
    try:
        names = json.loads(approval).get("compared")
        if not isinstance(names, list | None):
            raise TypeError("no list of names")
        return None if names is None else tuple(_told(party, name) for name in names)
    except (ValueError, TypeError, KeyError, AttributeError) as problem:
        raise PeerError(
            "protocol.malformed",
            f"{party}'s approval names what is no earlier question.",
            "Compare versions; its signed approval shows what it said.",
            party=party,
        ) from problem


def _told(party: str, name: object) -> Told:
    if isinstance(name, str):
        return name
    if not isinstance(name, dict):
        raise TypeError(f"neither a digest nor a total: {type(name).__name__}")
    return NamedPlain.read(party, name)


def named_by(approvals: Mapping[str, bytes]) -> dict[str, tuple[str, ...]]:
    """The digests of questions that each owner names in its approval; not of those that ask for no comparison. Raises
    PeerError protocol.malformed."""
    told = {p: told_in(p, raw) for p, raw in sorted(approvals.items())}
    return {p: tuple(n for n in names if isinstance(n, str)) for p, names in told.items() if names is not None}


@dataclass(frozen=True)
class Named:
    """The questions that owners name in their approvals, by digest, each list in the order of its owner's approvals;
    ``plain``: those of them that are totals of an owner's rows without a join, by their key."""

    lists: tuple[tuple[str, ...], ...]
    plain: tuple[NamedPlain, ...] = ()

    @classmethod
    def of(cls, lists: Iterable[Sequence[Told]]) -> Named:
        every = [tuple(told) for told in lists]
        names = tuple(tuple(t if isinstance(t, str) else t.key for t in told) for told in every)
        return cls(names, tuple(dict.fromkeys(t for told in every for t in told if not isinstance(t, str))))

    @classmethod
    def in_approvals(cls, approvals: Mapping[str, bytes]) -> Named | None:
        """None where no owner asks for a comparison. Raises PeerError protocol.malformed."""
        told = [told_in(party, raw) for party, raw in sorted(approvals.items())]
        lists = [names for names in told if names is not None]
        return cls.of(lists) if lists else None

    def renamed(self, names: Mapping[str, str]) -> Named:
        """The same by other names of questions, of which several may be one."""
        return Named(tuple(tuple(dict.fromkeys(names.get(n, n) for n in of)) for of in self.lists), self.plain)

    @property
    def every(self) -> tuple[str, ...]:
        """Questions about joins."""
        plain = {p.key for p in self.plain}
        return tuple(dict.fromkeys(name for names in self.lists for name in names if name not in plain))

    def settles(self, first: str, other: str) -> bool:
        """Whether everybody who names ``other`` names ``first`` before it; of a total without a join its owner, who
        alone can."""
        lists = [names for names in self.lists if other in names]
        if first in {p.key for p in self.plain}:
            lists = [names for names in lists if first in names]
        return bool(lists) and all(first in names[: names.index(other)] for names in lists)
