"""One entry of a participant's log: an event in canonical JSON, in a DSSE envelope under the participant's key.

    envelope   {"payload": base64, "payloadType": "application/vnd.heji.event.v1+json",
                "signatures": [{"keyid": …, "sig": base64}]}
    payload    {"v": 1, "node", "job", "attempt", "seq", "prev", "event", "time", "facts": {…}}

``seq`` counts a node's entries about one job from 0, ``prev`` is the SHA-256 of the payload before it ("" for the
first), so that the entries about one job show gaps and changes by themselves, whatever else stands between them in the
log. ``facts`` are digests, sizes, names and codes: never data, and of what is not masked or encrypted only digests with
32 random bytes in front. Sources: secure-systems-lab/dsse (protocol and envelope), RFC 8785.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import rfc8785

from mpc.crypto.sign import holds
from mpc.evidence.note import Malformed, SignRaw

PAYLOAD_TYPE = "application/vnd.heji.event.v1+json"
#: the tile format writes an entry's length in two bytes
MAX_ENTRY_BYTES = (1 << 16) - 1

#: event -> what it means and which facts it carries, for the documents and the reader
EVENTS: Mapping[str, str] = {
    "submitted": "the coordinator took a job in: submitter",
    "approved": "this node's signed word on an attempt: digest of the approval, coordinator, software",
    "refused": "this node's refusal: code",
    "committed": "digests of the data, the tables and the seed that the role runs on, with random bytes in front",
    "budget": "privacy loss spent of a grant for a recipient's organisation, before noised data goes out: grant, line, "
    "recipient, epsilon, of, days, left, and a commitment to the seed of the noise",
    "spent": "what a job spends of a limit, before data leaves: what, of which column, to whom, amount, limit, days",
    "sent": "a message went out: step, peer, number, length, digest, the peer's signed receipt",
    "received": "a message came in: step, peer, number, length, digest, the receipt that was signed",
    "gave": "earlier questions went to a member of the attempt that lacked them: to whom, how many",
    "added": "the coordinator added up the sums: names, digests of the masked totals",
    "revealed": "this recipient opened the result: its digest (32 random bytes are in it), whether sums were verified",
    "closed": "deposits are not taken any more: whose deposits are in the total, whether there is one",
    "aborted": "the attempt ended without a result: code, whom it names, step",
    "done": "the role has ended and every word it said is receipted",
    "destroyed": "what was kept for replay was destroyed: what it was",
    "stopped": "this member takes part in no further job: who decided it, when, whether running ones ended",
    "resumed": "it does again: who decided it and when",
    "forgot": "joins need not be compared any more with earlier questions: who decided it, when, how many",
    "started": "the process began: software and protocol versions",
}


@dataclass(frozen=True)
class Event:
    """What an entry says. ``job``: hex, "" for what belongs to no job; ``time``: Unix seconds."""

    node: str
    event: str
    time: int
    job: str = ""
    attempt: int = 0
    seq: int = 0
    prev: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def payload(self) -> bytes:
        """Canonical JSON (RFC 8785)."""
        return canonical(
            {
                "v": 1,
                "node": self.node,
                "job": self.job,
                "attempt": self.attempt,
                "seq": self.seq,
                "prev": self.prev,
                "event": self.event,
                "time": self.time,
                "facts": dict(self.facts),
            }
        )

    def digest(self) -> str:
        """SHA-256 (hex) of the payload: the next entry's ``prev``."""
        return hashlib.sha256(self.payload).hexdigest()


@dataclass(frozen=True)
class Entry:
    """An event with the signature over it."""

    event: Event
    keyid: str
    signature: bytes

    def to_bytes(self) -> bytes:
        """The envelope, canonical JSON: a leaf of the log."""
        return canonical(
            {
                "payload": base64.b64encode(self.event.payload).decode(),
                "payloadType": PAYLOAD_TYPE,
                "signatures": [{"keyid": self.keyid, "sig": base64.b64encode(self.signature).decode()}],
            }
        )

    @staticmethod
    def from_bytes(raw: bytes) -> Entry:
        """Strict inverse. Raises Malformed for whatever would not be written again the same."""
        if len(raw) > MAX_ENTRY_BYTES:
            raise Malformed("an entry of more than 64 KiB")
        try:
            envelope = json.loads(raw)
            [signed] = envelope["signatures"]
            payload = base64.b64decode(envelope["payload"], validate=True)
            entry = Entry(_event(json.loads(payload)), signed["keyid"], base64.b64decode(signed["sig"], validate=True))
            if entry.event.payload != payload or entry.to_bytes() != raw:
                raise Malformed("an entry that is not in its canonical form")
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError, binascii.Error) as problem:
            raise problem if isinstance(problem, Malformed) else Malformed("bytes that are no entry") from None
        return entry

    def signed_by(self, public: bytes) -> bool:
        """Whether the Ed25519 key ``public`` signed it."""
        return holds(public, pae(self.event.payload), self.signature)


def make_entry(event: Event, keyid: str, sign: SignRaw) -> Entry:
    """Sign an event."""
    return Entry(event, keyid, sign(pae(event.payload)))


def canonical(value: Mapping[str, Any]) -> bytes:
    """RFC 8785. What holds whole numbers, ASCII texts, lists and maps only comes out of the standard library the same,
    thirty times as fast; a test compares them."""
    if _plain(value):
        text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        if text.isascii():
            return text.encode()
    return rfc8785.dumps(value)


def _plain(value: Any) -> bool:
    """Texts, whole numbers that RFC 8785 allows, booleans, nothing, lists, and maps with text keys."""
    kind = type(value)
    if kind is str or kind is bool or value is None:
        return True
    if kind is int:
        return bool(-(1 << 53) < value < 1 << 53)
    if kind is dict:
        return all(type(k) is str and _plain(v) for k, v in value.items())
    return kind is list and all(map(_plain, value))


def pae(payload: bytes) -> bytes:
    """DSSE's pre-authentication encoding under the payload type of events."""
    kind = PAYLOAD_TYPE.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def _event(body: Any) -> Event:
    texts = [body[k] for k in ("node", "job", "prev", "event")]
    numbers = [body[k] for k in ("attempt", "seq", "time")]
    good = [
        body["v"] == 1 and type(body["v"]) is int,
        len(body) == 9,
        all(isinstance(t, str) for t in texts),
        all(type(n) is int and 0 <= n < 1 << 53 for n in numbers),
        isinstance(body["facts"], dict),
    ]
    if not all(good):
        raise Malformed("an event with missing or wrong fields")
    return Event(
        body["node"],
        body["event"],
        body["time"],
        body["job"],
        body["attempt"],
        body["seq"],
        body["prev"],
        body["facts"],
    )


class Chain:
    """Makes a node's events, each with its place in the chain of its job."""

    def __init__(self, node: str, clock: Callable[[], int], last: Mapping[str, tuple[int, str]] | None = None) -> None:
        """``last``: job -> (entries so far, digest of the last one), of a log that goes on."""
        self._node, self._clock = node, clock
        self._last = dict(last or {})

    def event(self, name: str, job: str, attempt: int, facts: Mapping[str, Any]) -> Event:
        """The next event about ``job`` ("" for none)."""
        assert name in EVENTS, name
        seq, prev = self._last.get(job, (0, ""))
        made = Event(self._node, name, self._clock(), job, attempt, seq, prev, facts)
        self._last[job] = (seq + 1, made.digest())
        return made
