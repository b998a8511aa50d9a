"""All that one member's log tells of a period: a whole range of the log, so that nothing can be left out of it.

    log   |--- before the period ---|begin|====== entries of the bundle ======|end|--- later ---|
                                     peaks                                    root

``peaks`` are the roots of the complete subtrees before the range. They give the root of the checkpoint ``begin``, and
that of ``end`` with the entries of the range appended (mpc.evidence.merkle.Grown). Jobs that begin in the range are
cases of their own, of which only this member's part is here; those that began earlier are ``cut``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from mpc.crypto import labels
from mpc.evidence.bundle import Bundle, Span, invalid
from mpc.evidence.case import Case, Document, Part, Roster, read_document, unbase64, well_formed
from mpc.evidence.entry import Entry, Event
from mpc.evidence.note import Checkpoint, Malformed

_FIELDS = {"member", "first", "peaks", "begin", "end", "entries", "documents", "tables"}


@dataclass(frozen=True)
class Range:
    """A member's log from one checkpoint to another. ``begin``: None where the log begins with the range.

    ``tables``: by job and attempt the salted digest of the tables it read, where the member opened what it is bound to
    by its log, so that one sees which jobs read the same.
    """

    member: str
    first: int
    peaks: tuple[bytes, ...]
    begin: Checkpoint | None
    end: Checkpoint
    raw: tuple[bytes, ...]
    entries: tuple[Entry, ...]
    documents: Mapping[str, tuple[Document, ...]]
    tables: Mapping[tuple[str, int], bytes]

    def whole(self) -> Part:
        """The range as one part, whatever its entries are about; without documents."""
        return self._part(range(len(self.entries)), ())

    def by_job(self) -> dict[str, Part]:
        """A part for every job, and one, "", for what belongs to none; in the order of their first entries."""
        at: dict[str, list[int]] = {}
        for i, e in enumerate(self.entries):
            at.setdefault(e.event.job, []).append(i)
        return {job: self._part(where, self.documents.get(job, ())) for job, where in at.items()}

    def _part(self, at: Sequence[int], documents: tuple[Document, ...]) -> Part:
        raw, entries = tuple(self.raw[i] for i in at), tuple(self.entries[i] for i in at)
        numbers = tuple(self.first + i for i in at)
        return Part(self.member, numbers, raw, entries, (), self.end, self.end, (), None, documents)


@dataclass(frozen=True)
class Period:
    """A bundle about a period, read."""

    bundle: Bundle
    span: Span
    roster: Roster
    log: Range

    @cached_property
    def whole(self) -> Case:
        """The range as if it were about one job, without documents: for checks of the record."""
        return Case("", self.bundle, self.roster, {self.log.member: self.log.whole()})

    @cached_property
    def parts(self) -> dict[str, Part]:
        return self.log.by_job()

    @cached_property
    def jobs(self) -> dict[str, Case]:
        """The jobs that begin in the range and not after the period, in the order of their beginning."""
        given = {labels.digest("policy", text).hex(): text for text in self.bundle.part("policies").values()}
        return {
            job: Case(job, self.bundle, self.roster, {self.log.member: part}, self._policies(part, given))
            for job, part in self.parts.items()
            if job and part.events[0].seq == 0 and part.events[0].time <= self.span.until
        }

    @property
    def cut(self) -> list[str]:
        """Jobs that began before the range."""
        return [job for job, part in self.parts.items() if job and part.events[0].seq > 0]

    def events(self, *names: str) -> Iterator[Event]:
        """Those of the range."""
        return (e.event for e in self.log.entries if e.event.event in names)

    def _policies(self, part: Part, given: Mapping[str, bytes]) -> dict[str, bytes]:
        me = self.log.member
        digests = [str(d.approval(me).get("policy")) for d in part.documents if me in d.approvals]
        return dict.fromkeys([me], given[digests[-1]]) if digests and digests[-1] in given else {}


def read_period(bundle: Bundle, roster: Roster) -> Period:
    """Raises LocalError evidence.invalid for a bundle that has not the form of a period's."""
    assert isinstance(bundle.about, Span)
    span, files = bundle.about, bundle.part("period")
    if list(files) != [span.member] or any(bundle.part(folder) for folder in ("logs", "results", "bodies")):
        raise invalid(f"it holds something else than the log of {span.member}")
    return Period(bundle, span, roster, well_formed(span.member, files[span.member], _range))


def _range(name: str, raw: bytes) -> Range:
    body = json.loads(raw)
    if body.keys() != _FIELDS or body["member"] != name or type(body["first"]) is not int or body["first"] < 0:
        raise Malformed("it has not exactly its fields")
    leaves = tuple(map(unbase64, body["entries"]))
    documents = {job: tuple(map(read_document, found)) for job, found in body["documents"].items()}
    return Range(
        name,
        body["first"],
        tuple(map(unbase64, body["peaks"])),
        Checkpoint.parse(body["begin"]) if body["begin"] else None,
        Checkpoint.parse(body["end"]),
        leaves,
        tuple(map(Entry.from_bytes, leaves)),
        documents,
        dict(map(_opened, body["tables"])),
    )


def _opened(row: Any) -> tuple[tuple[str, int], bytes]:
    job, attempt, digest = row
    if not isinstance(job, str) or type(attempt) is not int:
        raise Malformed("an opened digest that is none")
    return (job, attempt), bytes.fromhex(digest)
