"""What a member keeps of an attempt so that its role can be run again: its seed, and every message it heard.

    state/retained/JOB-ATTEMPT     records of [length (4 bytes)][AES-256-GCM(nonce = number of the record)]:
                                   the seed; then for each message its sender and step, and the message

The key is derived from the member's identity key for this attempt alone, so a copy of ``state`` without ``keys`` tells
nothing. Destroyed after ``retain_days``; of an attempt that may hear more than ``retain_bytes`` only the seed is kept.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from mpc.codec import Raw
from mpc.crypto.agree import hkdf
from mpc.crypto.labels import framed, label, unframed
from mpc.errors import LocalError
from mpc.run import Sent
from parties.identity import Identity

Key = tuple[bytes, int]
_NAME = re.compile(r"([0-9a-f]{64})-([0-9]{1,9})")


class Retained:
    """A member's folder of what it keeps."""

    def __init__(self, folder: Path, identity: Identity, limit: int) -> None:
        """``limit``: bytes of messages kept of one attempt."""
        self._folder, self._identity, self._limit = folder / "state" / "retained", identity, limit

    def begin(self, key: Key, seed: bytes, expected: int) -> Keeping:
        """Keep the seed of an attempt, and take in what it hears: at most ``expected`` bytes. Raises LocalError
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
        return Keeping(os.fdopen(descriptor, "wb"), self._cipher(key), seed, messages=expected <= self._limit)

    def forget(self, key: Key) -> None:
        """Destroy what was kept of an attempt that begins again."""
        self._path(key).unlink(missing_ok=True)

    def seed(self, key: Key) -> bytes:
        """The seed of an attempt. Raises LocalError evidence.missing, evidence.invalid."""
        return next(self._records(key))

    def heard(self, key: Key, me: str) -> list[Sent]:
        """What was heard in an attempt, in order. Raises LocalError evidence.missing, evidence.invalid."""
        found, records = [], self._records(key)
        next(records)
        for head in records:
            if not head:
                raise LocalError(
                    "evidence.missing",
                    f"{me} kept its seed only: in this attempt it could hear more than retain_bytes ({self._limit}).",
                    "Raise retain_bytes in member.toml before the next job that is to be replayed.",
                )
            sender, step = unframed(head)
            found.append(Sent(sender.decode(), me, step.decode(), next(records)))
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
                raise LocalError("evidence.invalid", f"{path.name} is damaged.", "Restore it.") from None
            at, number = end, number + 1

    def _path(self, key: Key) -> Path:
        return self._folder / f"{key[0].hex()}-{key[1]}"

    def _cipher(self, key: Key) -> AESGCM:
        secret = self._identity.signing.private_bytes_raw()
        return AESGCM(hkdf(secret, salt=key[0] + key[1].to_bytes(4, "big"), info=label("retained")))


class Keeping:
    """An attempt that is being kept. A disk that fills up ends the keeping, not the attempt."""

    def __init__(self, file: BinaryIO, cipher: AESGCM, seed: bytes, *, messages: bool) -> None:
        self._file, self._cipher, self._number = file, cipher, 0
        self._over = False
        self._write(seed)
        if not messages:
            self._write(b"")  # says so
            self._over = True

    def heard(self, sent: Sent) -> None:
        """Take in one message."""
        if not self._over:
            self._write(framed(sent.sender.encode(), sent.step.encode()))
            self._write(sent.raw)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._file.close()

    def _write(self, record: Raw) -> None:
        sealed = self._cipher.encrypt(self._number.to_bytes(12, "big"), record, None)
        self._number += 1
        try:
            self._file.write(len(sealed).to_bytes(4, "big"))
            self._file.write(sealed)
        except OSError:
            self._over = True
