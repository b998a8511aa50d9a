"""A bundle: the evidence of one job, or of what a member did in a period, in a zip file that can be written in one way.

    bundle.json            {"v": 1, "job", "by", "made", "files": {name: SHA-256}}, canonical JSON; of a period
                           "period": {"member", "since", "until"} in place of "job"
    bundle.sig             signature of ``by`` over bundle.json, hex
    roster.json            the consortium, as ``by`` holds it
    logs/MEMBER.json       a participant's entries, proofs and documents, as it handed them out
    period/MEMBER.json     of a period: a whole range of the member's log, and documents, as it handed them out
    policies/PARTY.toml    an owner's policy at the time, if the owner gave it; of a period by its digest
    results/MEMBER.json    what a recipient opened, if the recipient gave it (mpc.evidence.released)
    bodies/MEMBER.sealed   the messages that a coordinator heard, sealed to one auditor (mpc.evidence.sealed)

Nothing is extracted and nothing is compressed: names are of this list, sizes are bounded by the file's own, and a file
that ``write`` would not write again byte for byte is refused, so there is no room for anything else in it (checklist
24, 29).
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import rfc8785

from mpc.errors import LocalError

BUNDLE = "bundle"
MAX_BUNDLE_BYTES = 1 << 30
MAX_FILES = 1000
_MANIFEST, _SIGNATURE = "bundle.json", "bundle.sig"
_NAMES = re.compile(
    r"roster\.json|(?:(?:logs|period|results)/{0}\.json)|(?:policies/{0}\.toml)|(?:bodies/{0}\.sealed)".format(
        "[a-z0-9_-]{1,64}"
    )
)


@dataclass(frozen=True)
class Span:
    """What ``member``'s log tells from ``since`` until ``until`` (Unix seconds, both included)."""

    member: str
    since: int
    until: int

    def to_json(self) -> dict[str, Any]:
        return {"member": self.member, "since": self.since, "until": self.until}


@dataclass(frozen=True)
class Bundle:
    """``manifest``: the exact signed bytes; ``about``: a job's id, or a member's period; ``files``: all others but the
    signature, by name."""

    manifest: bytes
    signature: bytes
    about: str | Span
    by: str
    made: int
    files: Mapping[str, bytes]

    @property
    def job(self) -> str:
        """The job's id; "" for a period."""
        return self.about if isinstance(self.about, str) else ""

    def part(self, folder: str) -> dict[str, bytes]:
        """Files of a folder ("logs", "policies", "results") by the member they belong to."""
        return {
            n.removeprefix(folder + "/").rpartition(".")[0]: raw
            for n, raw in self.files.items()
            if n.startswith(folder + "/")
        }

    def write(self) -> bytes:
        """The file's bytes."""
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as zipped:
            first = {_MANIFEST: self.manifest, _SIGNATURE: self.signature.hex().encode()}
            for name, raw in {**first, **dict(sorted(self.files.items()))}.items():
                info = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
                info.create_system = 3
                zipped.writestr(info, raw)
        return out.getvalue()

    @staticmethod
    def read(raw: bytes) -> Bundle:
        """Strict inverse of ``write``. Raises LocalError evidence.invalid."""
        if len(raw) > MAX_BUNDLE_BYTES:
            raise invalid("it is larger than 1 GiB")
        try:
            with zipfile.ZipFile(io.BytesIO(raw)) as zipped:
                listed = zipped.infolist()
                if len(listed) > MAX_FILES or sum(i.file_size for i in listed) > len(raw):
                    raise invalid("it holds more than its own size")
                if any(i.compress_type != zipfile.ZIP_STORED for i in listed):
                    raise invalid("it is compressed")
                files = {i.filename: zipped.read(i) for i in listed}
            manifest, signature = files.pop(_MANIFEST), bytes.fromhex(files.pop(_SIGNATURE).decode())
            body = json.loads(manifest)
            about = Span(**body["period"]) if "period" in body else body["job"]
            made = Bundle(manifest, signature, about, body["by"], body["made"], files)
            typed = _typed(about) and isinstance(made.by, str) and type(made.made) is int
            canonical = rfc8785.dumps(manifest_of(about, made.by, made.made, made.files)) == manifest
        except LocalError:
            raise
        except zipfile.BadZipFile as problem:
            raise invalid("it is no zip file, or a damaged one") from problem
        except Exception as problem:  # whatever a hostile file makes the library say
            raise invalid("it is no bundle of this version") from problem
        if strange := [n for n in files if not _NAMES.fullmatch(n)]:
            raise invalid(f"it holds {strange[0][:80]!r}")
        if not typed or not canonical:
            raise invalid("its list of contents does not fit its contents")
        if made.write() != raw:
            raise invalid("it is not in its canonical form")
        return made


def manifest_of(about: str | Span, by: str, made: int, files: Mapping[str, bytes]) -> dict[str, Any]:
    """What bundle.json says."""
    digests = {name: hashlib.sha256(raw).hexdigest() for name, raw in files.items()}
    what = {"period": about.to_json()} if isinstance(about, Span) else {"job": about}
    return {"v": 1, **what, "by": by, "made": made, "files": digests}


def _typed(about: str | Span) -> bool:
    if isinstance(about, Span):
        times = (about.since, about.until)
        return isinstance(about.member, str) and all(type(t) is int and 0 <= t < 1 << 53 for t in times)
    return isinstance(about, str)


def invalid(why: str) -> LocalError:
    return LocalError(
        "evidence.invalid", f"The bundle cannot be read: {why}.", "Get it again from the member that exported it."
    )
