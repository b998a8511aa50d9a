"""The seeds of this node's noise (P12): one for each job and state of the data, so that a job's next attempt shows the
same noise and not a second sample of it.

    state/noise/JOB-SNAPSHOT    a nonce and AES-256-GCM(32 random bytes), on disk before anything depends on it

Who has a seed takes the noise off. So seeds are in no other file, no bundle of evidence and not among the seeds that
are kept for replay; they are encrypted under a key that is derived from the member's identity, and destroyed
``noise_days`` days after they were made, if the job can no longer run.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from mpc.coins import Coins
from mpc.crypto.agree import hkdf
from mpc.crypto.labels import digest, label
from mpc.errors import LocalError
from parties import files
from parties.identity import Identity

_NAME = re.compile(r"([0-9a-f]{64})-([0-9a-f]{64})")


class NoiseSeeds:
    """A member's folder of seeds."""

    def __init__(self, folder: Path, identity: Identity, *, make: bool = True) -> None:
        """``make``: False to use only seeds that are there (replay)."""
        self._folder, self._identity, self._make = folder / "state" / "noise", identity, make

    def coins(self, job: bytes, snapshot: bytes) -> tuple[Coins, str]:
        """The coins of a job's noise over this state of the data, and a commitment to their seed (hex), of which nobody
        can search the seed. Raises LocalError evidence.missing, evidence.invalid, store.failed."""
        path = self._folder / f"{job.hex()}-{snapshot.hex()}"
        if not path.exists():
            if not self._make and any(self._folder.glob(f"{job.hex()}-*")):
                raise LocalError(
                    "data.changed",
                    "The tables are not those that the noise of this job was drawn for.",
                    "Restore them as they were (their source as of the time of the job) in a copy of the folder; then "
                    "replay.",
                )
            if not self._make:
                raise LocalError(
                    "evidence.missing",
                    "The seed of this job's noise is not kept here (any more).",
                    "It is destroyed noise_days after the job; without it the noise cannot be made again.",
                )
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            nonce = os.urandom(12)
            files.write(path, nonce + self._cipher(path.name).encrypt(nonce, os.urandom(32), None), 0o600)
        raw = files.read(path, "the seed of a job's noise")
        try:
            seed = self._cipher(path.name).decrypt(raw[:12], raw[12:], None)
        except (InvalidTag, ValueError):
            raise LocalError("evidence.invalid", f"{path.name} is damaged.", "Restore it.") from None
        return Coins(hkdf(seed, salt=job + snapshot, info=label("noise"))), digest("noise-seed", seed, job).hex()

    def destroy_before(self, time: float, over: Callable[[str], bool]) -> list[bytes]:
        """Destroy what was made by ``time`` (Unix seconds) for jobs that are ``over``; returns whose it was."""
        gone = []
        for path in sorted(self._folder.glob("*")) if self._folder.exists() else []:
            match = _NAME.fullmatch(path.name)
            if match and int(path.stat().st_mtime) <= time and over(match[1]):
                path.unlink()
                gone.append(bytes.fromhex(match[1]))
        return gone

    def _cipher(self, name: str) -> AESGCM:
        secret = self._identity.signing.private_bytes_raw()
        return AESGCM(hkdf(secret, salt=name.encode(), info=label("noise-at-rest")))
