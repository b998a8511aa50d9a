"""An auditor's key for sealed messages: made at home, handed out under the auditor's signature.

FOLDER/keys/auditor.key     X25519 private key, 32 bytes in hexadecimal    0600
auditor-key.json            {"member", "key", "signature"}: to hand to coordinators
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from mpc.crypto import sign
from mpc.crypto.agree import public_key
from mpc.errors import LocalError
from parties import files
from parties.identity import KEYS, read_secret
from parties.member import Member
from parties.roster import Roster

AUDITOR_KEY = "auditor-key"
_FILE = "auditor.key"


def make(member: Member) -> bytes:
    """The public part as JSON, signed; the private one is made where there is none.

    Raises LocalError roster.invalid for a member that is no auditor.
    """
    if "auditor" not in member.roster.member(member.name).roles:
        told = f"{member.name} is no auditor in the roster."
        raise LocalError("roster.invalid", told, "Let the members sign a roster that says so.")
    path = member.folder / KEYS / _FILE
    if not path.exists():
        files.write(path, os.urandom(32).hex() + "\n", 0o600)
    public = public_key(private(member.folder))
    signature = member.sign(AUDITOR_KEY, public)
    return json.dumps({"member": member.name, "key": public.hex(), "signature": signature.hex()}).encode() + b"\n"


def private(folder: Path) -> bytes:
    """The private key. Raises LocalError config.missing, config.invalid."""
    try:
        raw = bytes.fromhex(read_secret(folder / KEYS / _FILE).decode().strip())
    except ValueError:
        raw = b""
    if len(raw) != 32:
        raise LocalError("config.invalid", f"{folder / KEYS / _FILE} is no key.", "Make one with `heji audit key`.")
    return raw


def read(path: Path, roster: Roster, parties: set[str]) -> tuple[str, bytes]:
    """The auditor and its public key, if it may have what was said in a job of ``parties``.

    Raises LocalError evidence.invalid for another's or no signature, an auditor of a party's institution, or none.
    """
    try:
        body = json.loads(files.read(path, "the auditor's key"))
        name, key, signature = body["member"], bytes.fromhex(body["key"]), bytes.fromhex(body["signature"])
        listed = roster.member(name)
        sign.verify(bytes.fromhex(listed.identity), AUDITOR_KEY, key, signature, party=name)
    except (ValueError, KeyError, TypeError) as problem:
        raise _refused(f"{path} is no auditor's key") from problem
    if "auditor" not in listed.roles:
        raise _refused(f"{name} is no auditor in the roster")
    inside = sorted(p for p in parties if roster.organisation_of(p) == listed.organisation)
    if inside:
        raise _refused(f"{name} belongs to {listed.organisation}, as {inside[0]} does, who takes part in the job")
    return name, key


def _refused(why: str) -> LocalError:
    return LocalError(
        "evidence.invalid",
        f"Nothing is sealed: {why}.",
        "What was said in a job goes to an auditor whose institution has no part in it.",
    )
