"""What a member keeps of an attempt so that its role can be run again: its seed, the input it bound itself to, and
every message it heard.

    state/retained/JOB-ATTEMPT     records of [length (4 bytes)][AES-256-GCM(nonce = number of the record)]:
                                   the seed; how many blocks of the input, and for each its place and content;
                                   then for each message its sender and step, and the message

The key is derived from the member's identity key for this attempt alone, so a copy of ``state`` without ``keys`` tells
nothing. The salts of blocks come from the seed. Destroyed after ``retain_days``. Of an attempt that may hear more than
``retain_bytes`` only the seed is kept; the input only where it fits in beside the messages.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import BinaryIO

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from mpc.codec import Raw
from mpc.crypto.agree import hkdf
from mpc.crypto.labels import framed, label, unframed
from mpc.errors import LocalError
from mpc.evidence.data import Block
from mpc.run import Sent
from parties.identity import Identity

Key = tuple[bytes, int]
_NAME = re.compile(r"([0-9a-f]{64})-([0-9]{1,9})")


class Retained:
    """A member's folder of what it keeps."""

    def __init__(self, folder: Path, identity: Identity, limit: int) -> None:
        """``limit``: bytes of input and messages kept of one attempt."""
        self._folder, self._identity, self._limit = folder / "state" / "retained", identity, limit

    def begin(self, key: Key, seed: bytes, expected: int, blocks: Sequence[Block] = ()) -> Keeping:
        """Keep seed and input of an attempt, and take in what it hears: at most ``expected`` bytes. Raises LocalError
        store.failed."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            descriptor = os.open(self._path(key), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except OSError as problem:
            raise LocalError(
                "store.failed",
                f"What is kept for replay cannot be written: {problem.strerror}.",
                "Make room on the disk, or set retain_days = 0 to keep nothing.",
            ) from problem
        if expected + sum(len(b.content) for b in blocks) > self._limit:
            blocks = ()
        return Keeping(os.fdopen(descriptor, "wb"), self._cipher(key), seed, blocks, messages=expected <= self._limit)

    def forget(self, key: Key) -> None:
        """Destroy what was kept of an attempt that begins again."""
        self._path(key).unlink(missing_ok=True)

    def seed(self, key: Key) -> bytes:
        """The seed of an attempt. Raises LocalError evidence.missing, evidence.invalid."""
        return _take(self._records(key), 1)[0]

    def blocks(self, key: Key) -> list[Block]:
        """The input of an attempt, [] where it is not kept. Raises LocalError evidence.missing, evidence.invalid."""
        records = self._records(key)
        _, count = _take(records, 2)
        parts = iter(_take(records, 2 * int.from_bytes(count, "big")))
        return [_block(head, content) for head, content in zip(parts, parts, strict=True)]

    def heard(self, key: Key, me: str) -> list[Sent]:
        """What was heard in an attempt, in order. Raises LocalError evidence.missing, evidence.invalid."""
        found, records = [], self._records(key)
        _, count = _take(records, 2)
        _take(records, 2 * int.from_bytes(count, "big"))
        for head in records:
            if not head:
                raise LocalError(
                    "evidence.missing",
                    f"{me} kept its seed only: in this attempt it could hear more than retain_bytes ({self._limit}).",
                    "Raise retain_bytes in member.toml before the next job that is to be replayed.",
                )
            sender, step = unframed(head)
            found.append(Sent(sender.decode(), me, step.decode(), _take(records, 1)[0]))
        return found

    def destroy_before(self, time: float) -> list[Key]:
        """Destroy what was kept before ``time`` (Unix seconds); returns which attempts' it was."""
        gone = []
        for path in sorted(self._folder.glob("*")) if self._folder.exists() else []:
            match = _NAME.fullmatch(path.name)
            if match and path.stat().st_mtime < time:
                path.unlink()
                gone.append((bytes.fromhex(match[1]), int(match[2])))
        return gone

    def _records(self, key: Key) -> Iterator[bytes]:
        path, cipher = self._path(key), self._cipher(key)
        if not path.exists():
            raise LocalError(
                "evidence.missing",
                "The seed of this attempt is not kept here (any more).",
                "It is destroyed after retain_days; without it the role cannot be run again.",
            )
        raw, at, number = path.read_bytes(), 0, 0
        while at < len(raw):
            end = at + 4 + int.from_bytes(raw[at : at + 4], "big")
            try:
                yield cipher.decrypt(number.to_bytes(12, "big"), raw[at + 4 : end], None)
            except (InvalidTag, ValueError):
                raise _damaged(path.name) from None
            at, number = end, number + 1

    def _path(self, key: Key) -> Path:
        return self._folder / f"{key[0].hex()}-{key[1]}"

    def _cipher(self, key: Key) -> AESGCM:
        secret = self._identity.signing.private_bytes_raw()
        return AESGCM(hkdf(secret, salt=key[0] + key[1].to_bytes(4, "big"), info=label("retained")))


class Keeping:
    """An attempt that is being kept. A disk that fills up ends the keeping, not the attempt."""

    def __init__(self, file: BinaryIO, cipher: AESGCM, seed: bytes, blocks: Sequence[Block], *, messages: bool) -> None:
        self._file, self._cipher, self._number = file, cipher, 0
        self._over = False
        self._write(seed)
        self._write(len(blocks).to_bytes(4, "big"))
        for b in blocks:
            self._write(b.head())
            self._write(b.content)
        if not messages:
            self._write(b"")  # says so
            self._over = True

    def heard(self, sent: Sent) -> None:
        """Take in one message."""
        self._write(framed(sent.sender.encode(), sent.step.encode()))
        self._write(sent.raw)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._file.close()

    def _write(self, record: Raw) -> None:
        if self._over:
            return
        sealed = self._cipher.encrypt(self._number.to_bytes(12, "big"), record, None)
        self._number += 1
        try:
            self._file.write(len(sealed).to_bytes(4, "big"))
            self._file.write(sealed)
        except OSError:
            self._over = True


def _take(records: Iterator[bytes], count: int) -> list[bytes]:
    """The next records. Raises LocalError evidence.invalid where they end before."""
    found = list(islice(records, count))
    if len(found) < count:
        raise _damaged("What is kept of this attempt")
    return found


def _damaged(what: str) -> LocalError:
    return LocalError("evidence.invalid", f"{what} is damaged or cut off.", "Restore it.")


def _block(head: bytes, content: bytes) -> Block:
    column, first, end = unframed(head)
    return Block(column.decode(), int.from_bytes(first, "big"), int.from_bytes(end, "big"), content)
