"""What opens a result, kept from before its job is handed in: ``jobs/ID.json`` in the member's folder, mode 0600.

    {"job": …, "private": …, "catalogs": [[party, catalog, signature], …]}      all in hex

Beside it ``jobs/ID.arrow`` once the result was opened.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from mpc.errors import LocalError
from mpc.job import Job
from parties import files
from parties.member import Member
from parties.proposals import Proposed, compiled, read_catalogs
from parties.results import Result
from parties.rpc.v1 import node_pb2


@dataclass(frozen=True, repr=False)
class Kept:
    """A job as it was handed in, and the private key for its result (empty where none is needed)."""

    proposed: Proposed
    private: bytes


def keep(member: Member, proposed: Proposed, private: bytes, catalogs: Sequence[node_pb2.SignedCatalog]) -> None:
    """On disk when it returns."""
    path = _path(member, proposed.job.id)
    path.parent.mkdir(mode=0o700, exist_ok=True)
    facts = {
        "job": proposed.raw.hex(),
        "private": private.hex(),
        "catalogs": [[c.party, c.catalog.hex(), c.signature.hex()] for c in catalogs],
    }
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump(facts, file)
        file.flush()
        os.fsync(file.fileno())


def kept(member: Member, job: str) -> Kept:
    """Raises LocalError job.unknown where the job was handed in from another folder, or by nobody; config.invalid."""
    path = _path(member, job_bytes(job).hex())
    if not path.exists():
        raise LocalError(
            "job.unknown",
            f"{member.name} has no key for this job in {path.parent}.",
            "A result can be opened only from the folder it was submitted from.",
        )
    try:
        facts = json.loads(path.read_text())
        raw, private = bytes.fromhex(facts["job"]), bytes.fromhex(facts["private"])
        signed = [
            node_pb2.SignedCatalog(party=p, catalog=bytes.fromhex(c), signature=bytes.fromhex(s))
            for p, c, s in facts["catalogs"]
        ]
    except (ValueError, TypeError, KeyError):
        raise LocalError(
            "config.invalid",
            f"{path} is not what was written when the job was handed in: it opens no result.",
            "Restore it from a backup of the folder. Without it nobody can open this result; submit the query again.",
        ) from None
    proposed = compiled(member, raw, Job.from_bytes(raw), read_catalogs(member, signed))
    return Kept(proposed, private)


def opened_before(member: Member, job: str) -> Result | None:
    """The result, if it was opened here before. Raises LocalError config.invalid."""
    path = _opened(member, job_bytes(job).hex())
    if not path.exists():
        return None
    try:
        return Result.from_bytes(path.read_bytes())
    except (pa.ArrowInvalid, ValueError, TypeError):
        raise LocalError(
            "config.invalid",
            f"{path} holds no result that can be read.",
            "Move it away: the result is then fetched and opened once more.",
        ) from None


def keep_opened(member: Member, job: str, result: Result) -> None:
    files.write(_opened(member, job), result.to_bytes(), 0o600)


def job_bytes(job: str) -> bytes:
    """The 32 bytes of an id. Raises LocalError job.unknown."""
    try:
        raw = bytes.fromhex(job)
    except ValueError:
        raw = b""
    if len(raw) != 32:
        raise LocalError("job.unknown", "A job id is 64 hexadecimal digits.", "List yours with `heji jobs list`.")
    return raw


def _path(member: Member, job: str) -> Path:
    return member.folder / "jobs" / f"{job}.json"


def _opened(member: Member, job: str) -> Path:
    return member.folder / "jobs" / f"{job}.arrow"
