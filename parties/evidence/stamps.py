"""Timestamps of this member's log by an authority outside the consortium (RFC 3161), kept beside the log.

    state/log/stamps/SIZE.tsr      the authority's answer about the checkpoint of that size

Asked when a job ends, where member.toml names an authority, and by ``heji audit stamp``. What it answers is verified
under the certificate in the member's folder before it is kept. Jobs do not wait for it: where it is away, a later
checkpoint, which holds all entries of this one, is stamped in its place.
"""

from __future__ import annotations

import asyncio
import http.client
import urllib.error
import urllib.request
from pathlib import Path

from mpc.errors import LocalError
from mpc.evidence import stamp
from mpc.evidence.note import Checkpoint, Malformed
from mpc.evidence.stamp import MAX_TOKEN_BYTES, Stamp
from parties import files
from parties.member import Member

#: seconds to wait for the authority
PATIENCE = 10.0


class Stamps:
    """A member's folder of timestamps."""

    def __init__(self, folder: Path) -> None:
        """``folder``: the member's."""
        self._log = folder / "state" / "log"
        self._folder = self._log / "stamps"

    def of(self, checkpoint: Checkpoint) -> bytes:
        """The token of this checkpoint, b"" where there is none."""
        path = self._path(checkpoint)
        return path.read_bytes() if path.exists() else b""

    def newest(self) -> Checkpoint:
        """The newest checkpoint as it lies there, whoever writes the log now. Raises LocalError evidence.missing."""
        path = self._log / "checkpoint"
        if not path.exists():
            raise LocalError(
                "evidence.missing",
                f"{self._log} holds no checkpoint.",
                "A member signs one when a job ends or evidence is asked for.",
            )
        return Checkpoint.parse(path.read_text())

    async def ask(self, member: Member, checkpoint: Checkpoint) -> Stamp:
        """Have ``checkpoint`` stamped, and keep the token; what is kept already is not asked for again.

        Raises LocalError config.missing, config.invalid, evidence.stamp, store.failed.
        """
        return await asyncio.to_thread(self._ask, member, checkpoint)

    def _ask(self, member: Member, checkpoint: Checkpoint) -> Stamp:
        url = member.config.tsa
        if not url:
            raise LocalError(
                "config.missing",
                f"{member.name} has no timestamp authority.",
                'Name one in member.toml: tsa = "https://…", and its root certificate: tsa_certificate = "tsa.pem".',
            )
        path = member.folder / member.config.tsa_certificate
        trusted = files.read(path, "the timestamp authority's certificate")
        kept = self.of(checkpoint)
        token = kept or _asked(url, stamp.request(checkpoint, trusted))
        try:
            made = stamp.verify(token, checkpoint, trusted)
        except Malformed as problem:
            raise _failed(url, f"it answered {problem}") from None
        if not kept:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            files.write(self._path(checkpoint), token, 0o600)
        return made

    def _path(self, checkpoint: Checkpoint) -> Path:
        return self._folder / f"{checkpoint.size}.tsr"


def _asked(url: str, query: bytes) -> bytes:
    """Raises LocalError evidence.stamp."""
    headers = {"Content-Type": "application/timestamp-query", "Accept": "application/timestamp-reply"}
    try:
        with urllib.request.urlopen(urllib.request.Request(url, query, headers), timeout=PATIENCE) as reply:
            token: bytes = reply.read(MAX_TOKEN_BYTES + 1)
            return token
    except (OSError, http.client.HTTPException, ValueError) as problem:
        raise _failed(url, str(problem)) from None


def _failed(url: str, why: str) -> LocalError:
    return LocalError(
        "evidence.stamp",
        f"No timestamp came from {url}: {why}.",
        "Jobs go on without it. Check tsa and tsa_certificate in member.toml, then: heji audit stamp.",
    )
