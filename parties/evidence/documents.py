"""What was signed about an attempt, kept beside the log: job, catalogs, approvals, the proof of agreement.

state/log/jobs/JOB-ATTEMPT.json       shown to every participant; entries of the log hold its digests
state/log/jobs/JOB-ATTEMPT.tables     the owner's own: the digest of its tables, behind its salt, that the log's
                                      entry is a digest of
state/log/policies/DIGEST.toml        the owner's own: every policy it approved under
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mpc.protocols.agree import Agreement
from parties import files
from parties.rpc.v1 import node_pb2


@dataclass(frozen=True)
class Signed:
    """A text and its signer's Ed25519 signature."""

    text: bytes
    signature: bytes

    def to_json(self) -> list[str]:
        return [self.text.hex(), self.signature.hex()]


class Documents:
    """The folder of a member's documents."""

    def __init__(self, folder: Path) -> None:
        """``folder``: the member's."""
        self._folder = folder / "state" / "log" / "jobs"
        self._policies = folder / "state" / "log" / "policies"

    def keep(
        self,
        job: str,
        attempt: int,
        coordinator: str,
        signed: node_pb2.SignedJob,
        catalogs: Iterable[node_pb2.SignedCatalog],
        approvals: Mapping[str, node_pb2.Approval],
        agreement: Agreement | None = None,
        deposits: Mapping[str, Signed] | None = None,
    ) -> None:
        """Write what is known of an attempt; once agreed, again with the agreement. ``deposits``: statements of a
        deposit job, which has no agreement."""
        body: dict[str, Any] = {
            "attempt": attempt,
            "coordinator": coordinator,
            "job": Signed(signed.job, signed.signature).to_json(),
            "catalogs": {c.party: Signed(c.catalog, c.signature).to_json() for c in catalogs},
            "approvals": {p: Signed(a.statement, a.signature).to_json() for p, a in approvals.items()},
            "announced": {},
            "agreed": {},
            "deposits": {p: s.to_json() for p, s in (deposits or {}).items()},
        }
        if agreement is not None:
            body["announced"] = {p: [a.public_key.hex(), a.signature.hex()] for p, a in agreement.announced.items()}
            body["agreed"] = {p: [a.digest.hex(), a.signature.hex()] for p, a in agreement.agreed.items()}
        self._folder.mkdir(parents=True, exist_ok=True)
        files.write(self._folder / f"{job}-{attempt}.json", json.dumps(body, sort_keys=True) + "\n", 0o600)

    def jobs(self, begins: str) -> list[str]:
        """Ids of jobs that begin so."""
        return sorted({p.name.partition("-")[0] for p in self._folder.glob(f"{begins}*.json")})

    def of_job(self, job: str) -> list[dict[str, Any]]:
        """What was kept of all attempts of a job, the first attempt first."""
        found = [json.loads(p.read_text()) for p in self._folder.glob(f"{job}-*.json")]
        return sorted(found, key=lambda d: int(d["attempt"]))

    def keep_policy(self, digest: str, text: str) -> None:
        """Keep a policy that something is approved under."""
        path = self._policies / f"{digest}.toml"
        if not path.exists():
            self._policies.mkdir(parents=True, exist_ok=True, mode=0o700)
            files.write(path, text, 0o600)

    def policy(self, digest: str) -> bytes | None:
        """The policy of this digest, if something was approved under it."""
        path = self._policies / f"{digest}.toml"
        return path.read_bytes() if path.exists() else None

    def keep_tables(self, job: str, attempt: int, snapshot: bytes) -> None:
        """Keep what the entry of the log is a digest of."""
        self._folder.mkdir(parents=True, exist_ok=True)
        files.write(self._folder / f"{job}-{attempt}.tables", snapshot.hex() + "\n", 0o600)

    def tables(self, job: str) -> dict[int, str]:
        """By attempt, in hexadecimal."""
        found = {int(p.stem.partition("-")[2]): p.read_text().strip() for p in self._folder.glob(f"{job}-*.tables")}
        return dict(sorted(found.items()))
