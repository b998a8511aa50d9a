"""Who may log in to the console: a token for each person, so that two names are two tokens.

    keys/console-people.json    name -> SHA-256 of its token (32 random bytes as text), 0600

Only hashes are kept: reading the folder gives nobody's token away, writing it makes new ones. Whoever makes a token
hands it to the person it names, and to nobody else.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
from collections.abc import Mapping
from pathlib import Path

from mpc.errors import LocalError
from mpc.policy.persons import same_person
from parties import files
from parties.identity import KEYS, read_secret

PEOPLE = "console-people.json"


def people(folder: Path) -> Mapping[str, str]:
    """Name -> hash of the token. Raises LocalError config.invalid where others could read it, or it is no such file."""
    path = folder / KEYS / PEOPLE
    if not path.exists():
        return {}
    try:
        found = json.loads(read_secret(path))
        if not isinstance(found, dict) or not all(isinstance(v, str) and len(v) == 64 for v in found.values()):
            raise ValueError
    except ValueError:
        raise LocalError(
            "config.invalid", f"{path} cannot be read.", "Delete it and make the tokens anew: heji node console-token."
        ) from None
    return found


def issue(folder: Path, person: str) -> str:
    """A new token for a person, in place of an earlier one."""
    token = secrets.token_urlsafe(32)
    _write(folder, {**_others(folder, person), person: _hash(token)})
    return token


def revoke(folder: Path, person: str) -> None:
    """The person's token is no more; its sessions end. Raises LocalError config.missing."""
    others = _others(folder, person)
    if len(others) == len(people(folder)):
        raise LocalError("config.missing", f"{person} has no token here.", f"There are: {', '.join(others) or 'none'}.")
    _write(folder, others)


def holder(known: Mapping[str, str], token: str) -> str | None:
    """Whose token it is."""
    shown, found = _hash(token.strip()), None
    for person, kept in known.items():  # all of them, whichever it is
        found = person if hmac.compare_digest(shown, kept) else found
    return found


def _others(folder: Path, person: str) -> dict[str, str]:
    return {name: kept for name, kept in people(folder).items() if same_person(name) != same_person(person)}


def _write(folder: Path, known: Mapping[str, str]) -> None:
    files.write(folder / KEYS / PEOPLE, json.dumps(known, ensure_ascii=False, indent=1) + "\n", 0o600)


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
