"""Signed notes, checkpoints and cosignatures, as C2SP writes them (c2sp.org: signed-note, tlog-checkpoint,
tlog-cosignature).

    heji/bank_a                                        origin: whose log
    42                                                 entries in it
    Zm9v…                                              root hash, base64
                                                       an empty line, then signatures:
    — heji/bank_a az3grl…                              base64(key id ‖ Ed25519 signature)
    — heji/tax    Vb81…                                base64(key id ‖ time ‖ Ed25519 signature): a cosignature

A cosignature says: at this time, this was the longest log of that origin that I have seen, and it continues every one
that I saw before. The signed texts begin with an origin line or with ``cosignature/v1``, never with ``DSSEv1``, so no
signature of a job, an approval or an entry can be taken for one of a checkpoint.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidSignature

from mpc.crypto.sign import verify_raw
from mpc.evidence.merkle import SIZE

#: signature algorithms of signed notes: plain Ed25519, and Ed25519 cosignatures with a time
ED25519, COSIGNATURE = b"\x01", b"\x04"
MAX_NOTE_BYTES = 64 * 1024
_MARK = "— "

#: signs plain bytes with Ed25519
SignRaw = Callable[[bytes], bytes]


class Malformed(ValueError):
    """A note, checkpoint or entry that does not have the one form it may have; the message says where."""


@dataclass(frozen=True)
class Line:
    """One signature line: the key's name, its id (4 bytes) and what the algorithm puts after it."""

    name: str
    key_id: bytes
    value: bytes

    def time(self) -> int:
        """When a cosignature says that it was made (Unix seconds)."""
        return int.from_bytes(self.value[:8], "big")

    def text(self) -> str:
        return f"{_MARK}{self.name} {base64.b64encode(self.key_id + self.value).decode()}\n"


@dataclass(frozen=True)
class Checkpoint:
    """``size`` and ``root`` of the log of ``origin``, with its signature and the cosignatures of others."""

    origin: str
    size: int
    root: bytes
    lines: tuple[Line, ...] = field(default=())

    def body(self) -> bytes:
        """What is signed."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n".encode()

    def text(self) -> str:
        """The note: body, empty line, signatures."""
        return self.body().decode() + "\n" + "".join(line.text() for line in self.lines)

    @staticmethod
    def parse(text: str) -> Checkpoint:
        """Strict inverse of ``text``: raises Malformed for anything that would not be written again the same."""
        if len(text) > MAX_NOTE_BYTES:
            raise Malformed("a checkpoint of more than 64 KiB")
        body, gap, signatures = text.partition("\n\n")
        fields = body.split("\n")
        if not gap or len(fields) != 3:
            raise Malformed("a checkpoint has three lines, an empty one, and signatures")
        origin, size, root = fields
        if not size.isascii() or not size.isdigit() or len(size) > 19:
            raise Malformed("the size of a checkpoint is no number")
        made = Checkpoint(origin, int(size), _unbase64(root), tuple(map(_line, signatures.splitlines())))
        if made.text() != text or len(made.root) != SIZE:
            raise Malformed("a checkpoint that is not in its canonical form")
        return made

    def signed(self, name: str, public: bytes, sign: SignRaw) -> Checkpoint:
        """With the signature of the log's own key in front."""
        line = Line(name, key_id(name, ED25519, public), sign(self.body()))
        return Checkpoint(self.origin, self.size, self.root, (line, *self.lines))

    def with_line(self, line: Line) -> Checkpoint:
        """With one more cosignature; one of the same key takes the earlier one's place."""
        others = tuple(x for x in self.lines if (x.name, x.key_id) != (line.name, line.key_id))
        return Checkpoint(self.origin, self.size, self.root, (*others, line))

    def signed_by(self, name: str, public: bytes) -> bool:
        """Whether the key ``public`` of ``name`` signed this checkpoint as its log's own."""
        return any(
            _good(public, self.body(), line.value)
            for line in self.lines
            if (line.name, line.key_id) == (name, key_id(name, ED25519, public))
        )

    def cosignatures(self, keys: Mapping[str, bytes]) -> dict[str, int]:
        """Who of ``keys`` (name -> Ed25519 key) cosigned, and when (Unix seconds). Others' lines count for nothing."""
        found = {}
        for line in self.lines:
            public = keys.get(line.name)
            if public is None or line.key_id != key_id(line.name, COSIGNATURE, public) or len(line.value) != 8 + 64:
                continue
            time = int.from_bytes(line.value[:8], "big")
            if _good(public, cosigned_bytes(self, time), line.value[8:]):
                found[line.name] = time
        return found


def key_id(name: str, algorithm: bytes, public: bytes) -> bytes:
    """First four bytes of SHA-256(name ‖ newline ‖ algorithm ‖ key)."""
    return hashlib.sha256(name.encode() + b"\n" + algorithm + public).digest()[:4]


def cosigned_bytes(checkpoint: Checkpoint, time: int) -> bytes:
    """What a cosignature is over."""
    return b"cosignature/v1\ntime %d\n" % time + checkpoint.body()


def cosign(checkpoint: Checkpoint, name: str, public: bytes, time: int, sign: SignRaw) -> Line:
    """The cosignature of ``name`` at ``time`` (Unix seconds). The caller has checked that the log only grew."""
    signature = sign(cosigned_bytes(checkpoint, time))
    return Line(name, key_id(name, COSIGNATURE, public), time.to_bytes(8, "big") + signature)


def _line(text: str) -> Line:
    name, gap, value = text.removeprefix(_MARK).rpartition(" ")
    raw = _unbase64(value)
    if not text.startswith(_MARK) or not gap or not name or " " in name or "+" in name or len(raw) < 5:
        raise Malformed("a signature line that is none")
    return Line(name, raw[:4], raw[4:])


def _unbase64(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise Malformed("a field that is not base64") from None


def _good(public: bytes, message: bytes, signature: bytes) -> bool:
    try:
        verify_raw(public, message, signature)
    except (InvalidSignature, ValueError):
        return False
    return True
