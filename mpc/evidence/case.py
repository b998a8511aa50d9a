"""What a bundle holds, read strictly and typed: the case that the checks look at.

Reading judges nothing but form. What does not have its form is refused as a whole (evidence.invalid).
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeVar

from mpc.errors import LocalError
from mpc.evidence.bundle import Bundle, invalid
from mpc.evidence.entry import Entry, Event
from mpc.evidence.note import Checkpoint, Malformed
from mpc.evidence.sealed import open_sealed
from mpc.job import Job
from mpc.messages import Agreed, Announce
from mpc.query.catalog import Catalog
from mpc.query.compile import PLANNER, compile_job
from mpc.query.plan import Plan
from mpc.run import Sent

T = TypeVar("T")


@dataclass(frozen=True)
class Member:
    """A member as the roster lists it. Times: Unix seconds."""

    name: str
    identity: bytes
    organisation: str
    roles: tuple[str, ...]
    valid_from: int
    valid_until: int
    revoked: bool

    def valid_at(self, time: int) -> bool:
        return not self.revoked and self.valid_from <= time <= self.valid_until


@dataclass(frozen=True)
class Roster:
    """Who is who, and whom the roster lacks a signature of. ``given``: handed to the verifier, not the bundle's own."""

    digest: str
    members: Mapping[str, Member]
    unsigned: tuple[str, ...]
    given: bool


@dataclass(frozen=True)
class Signed:
    """A text with a signature, of whom the place it stands in says."""

    text: bytes
    signature: bytes


@dataclass(frozen=True)
class Document:
    """What was signed about one attempt, as one participant kept it."""

    attempt: int
    coordinator: str
    job: Signed
    catalogs: Mapping[str, Signed]
    approvals: Mapping[str, Signed]
    announced: Mapping[str, Announce]
    agreed: Mapping[str, Agreed]
    #: of a deposit job: the depositors' statements
    deposits: Mapping[str, Signed]

    @cached_property
    def what(self) -> Job:
        return Job.from_bytes(self.job.text)

    @property
    def fullness(self) -> tuple[int, int]:
        return len(self.agreed), len(self.deposits)

    @property
    def participants(self) -> list[str]:
        """Who approved, and the coordinator."""
        return sorted({*self.approvals, self.coordinator})

    def approval(self, party: str) -> dict[str, Any]:
        """What ``party`` signed."""
        told: dict[str, Any] = json.loads(self.approvals[party].text)
        return told

    @cached_property
    def plan(self) -> Plan | None:
        """Compiled again from the job's text and the owners' catalogs; None where the job was planned by another
        version. Raises LocalError, ValueError for what does not compile."""
        if self.what.planner != PLANNER:
            return None
        for p, catalog in self.published.items():
            if catalog.digest() != self.what.catalogs.get(p):
                raise ValueError(f"{p}'s catalog is not the one the job names")
        return compile_job(self.what, self.published)

    @cached_property
    def published(self) -> dict[str, Catalog]:
        return {p: Catalog.from_dict(json.loads(s.text)) for p, s in self.catalogs.items()}


@dataclass(frozen=True)
class Stamped:
    """A timestamp ``token`` (mpc.evidence.stamp) of a checkpoint that holds all entries of a part. ``consistency``:
    between that checkpoint and the part's, from the smaller to the larger."""

    checkpoint: Checkpoint
    consistency: tuple[bytes, ...]
    token: bytes


@dataclass(frozen=True)
class Part:
    """A participant's part of what is known of a job. ``numbers``: where its entries stand in its log; ``inclusion``:
    their audit paths in ``checkpoint``, none where a whole range of the log shows it (mpc.evidence.period)."""

    member: str
    numbers: tuple[int, ...]
    raw: tuple[bytes, ...]
    entries: tuple[Entry, ...]
    inclusion: tuple[tuple[bytes, ...], ...]
    checkpoint: Checkpoint
    newest: Checkpoint
    consistency: tuple[bytes, ...]
    stamp: Stamped | None
    documents: tuple[Document, ...]

    @cached_property
    def events(self) -> tuple[Event, ...]:
        return tuple(e.event for e in self.entries)

    @cached_property
    def messages(self) -> dict[tuple[int, str, str, int], Event]:
        """What was sent and received, by attempt, "sent" or "received", peer and number."""
        return {
            (e.attempt, e.event, str(e.facts["peer"]), int(e.facts["number"])): e
            for e in self.events
            if e.event in ("sent", "received")
        }

    def about(self, attempt: int, *names: str) -> list[Event]:
        """Events of these names in an attempt."""
        return [e for e in self.events if e.attempt == attempt and e.event in names]


@dataclass(frozen=True)
class Case:
    """What a bundle holds of one job, read."""

    job: str
    bundle: Bundle
    roster: Roster
    parts: Mapping[str, Part]
    #: by owner the text of its policy, where it gave it
    policies: Mapping[str, bytes] = field(default_factory=dict)
    #: by recipient what it opened, where it gave it
    results: Mapping[str, bytes] = field(default_factory=dict)
    #: by member the messages it heard, where they were sealed to whoever reads this
    bodies: Mapping[str, tuple[Sent, ...]] = field(default_factory=dict)

    @cached_property
    def attempts(self) -> dict[int, Document]:
        """One document of every attempt: the fullest (check 5 compares them all)."""
        found: dict[int, Document] = {}
        for part in self.parts.values():
            for d in part.documents:
                if d.attempt not in found or d.fullness > found[d.attempt].fullness:
                    found[d.attempt] = d
        return dict(sorted(found.items()))

    @property
    def participants(self) -> list[str]:
        """Of all attempts."""
        return sorted({p for d in self.attempts.values() for p in d.participants})

    @property
    def absent(self) -> list[str]:
        """Participants whose log is not in the bundle."""
        return [p for p in self.participants if p not in self.parts]

    def documents(self) -> Iterator[tuple[str, Document]]:
        for name, part in sorted(self.parts.items()):
            for d in part.documents:
                yield name, d

    def done(self, attempt: int) -> bool:
        """Whether the coordinator, or else everybody whose log is here, says that the attempt ended well."""
        return any(p.about(attempt, "done") for p in self.parts.values())


def read_case(bundle: Bundle, roster: Roster, key: bytes = b"") -> Case:
    """The bundle of one job. ``key``: the X25519 private key of the auditor that bodies are sealed to, if any are.

    Raises LocalError evidence.invalid naming the part that has not its form.
    """
    parts = {name: well_formed(name, raw, read_part) for name, raw in bundle.part("logs").items()}
    if not parts:
        raise invalid("it holds no log")
    sealed = bundle.part("bodies") if key else {}
    bodies = {m: open_sealed(raw, bundle.job, m, key) for m, raw in sealed.items()}
    return Case(bundle.job, bundle, roster, parts, bundle.part("policies"), bundle.part("results"), bodies)


def well_formed(name: str, raw: bytes, read: Callable[[str, bytes], T]) -> T:
    """The part of a member as ``read`` reads it. Raises LocalError evidence.invalid for one that has not its form."""
    try:
        return read(name, raw)
    except (LocalError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as problem:
        told = f" ({problem})" if isinstance(problem, Malformed) else ""
        raise invalid(f"the part of {name} has not its form{told}") from None


_FIELDS = {"member", "entries", "checkpoint", "inclusion", "newest", "consistency", "stamp", "documents"}
_STAMP = {"checkpoint", "consistency", "token"}
_DOCUMENT = {"attempt", "coordinator", "job", "catalogs", "approvals", "announced", "agreed", "deposits"}


def read_part(name: str, raw: bytes) -> Part:
    """A participant's part. Raises Malformed, LocalError, or what wrong types raise."""
    body = json.loads(raw)
    if body.keys() != _FIELDS or body["member"] != name:
        raise Malformed("it has not exactly its fields")
    numbers, entries = zip(*body["entries"], strict=True) if body["entries"] else ((), ())
    if not all(type(n) is int for n in numbers) or len(body["inclusion"]) != len(numbers):
        raise Malformed("entries without their numbers or proofs")
    leaves = tuple(map(unbase64, entries))
    return Part(
        name,
        tuple(numbers),
        leaves,
        tuple(map(Entry.from_bytes, leaves)),
        tuple(tuple(map(unbase64, path)) for path in body["inclusion"]),
        Checkpoint.parse(body["checkpoint"]),
        Checkpoint.parse(body["newest"]),
        tuple(map(unbase64, body["consistency"])),
        _stamp(body["stamp"]),
        tuple(map(read_document, body["documents"])),
    )


def _stamp(body: Any) -> Stamped | None:
    if body is None:
        return None
    if body.keys() != _STAMP:
        raise Malformed("a timestamp has not exactly its fields")
    proof = tuple(map(unbase64, body["consistency"]))
    return Stamped(Checkpoint.parse(body["checkpoint"]), proof, unbase64(body["token"]))


def read_document(body: Any) -> Document:
    """What was signed about an attempt. Raises as ``read_part`` does."""
    if body.keys() != _DOCUMENT or type(body["attempt"]) is not int or not isinstance(body["coordinator"], str):
        raise Malformed("a document has not exactly its fields")
    made = Document(
        body["attempt"],
        body["coordinator"],
        Signed(*_two(body["job"])),
        {p: Signed(*_two(s)) for p, s in body["catalogs"].items()},
        {p: Signed(*_two(s)) for p, s in body["approvals"].items()},
        {p: Announce(*_two(s)) for p, s in body["announced"].items()},
        {p: Agreed(*_two(s)) for p, s in body["agreed"].items()},
        {p: Signed(*_two(s)) for p, s in body["deposits"].items()},
    )
    made.what, made.published  # noqa: B018  # they have their form too
    for party in made.approvals:
        if not isinstance(made.approval(party), dict):
            raise Malformed("an approval that is none")
    return made


def _two(pair: Any) -> tuple[bytes, bytes]:
    first, second = pair
    return bytes.fromhex(first), bytes.fromhex(second)


def unbase64(text: str) -> bytes:
    """Raises Malformed."""
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        raise Malformed("a field that is not base64") from None
