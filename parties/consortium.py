"""Making members: a whole consortium for practice, or one real member on its own premises.

    DIR/NAME/   member.toml   roster.json   keys/{identity.pem, tls.pem, tls.crt}
                and for nodes policy.toml, catalog.json

A member's folder holds everything it needs and nothing of anybody else: it works wherever it is moved.
"""

from __future__ import annotations

import contextlib
import json
import random
import socket
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from mpc.errors import LocalError
from mpc.query.catalog import Catalog
from parties import files
from parties.card import SERVING, card_json, is_address, make_card
from parties.clock import now
from parties.config import template
from parties.identity import Identity, make_identity, save_identity
from parties.roster import ROSTER, Roster, check_name

_POLICY = """\
# What this owner lets out, of what, to whom. Nothing is granted until a [[grant]] says so.
# Every key is explained in docs/policy.md. Example:
#
# [[grant]]
# table = "firms"
# columns = ["tax_paid"]
# to = ["modeler:analyst"]
# uses = ["aggregate"]
# approval = "auto"
"""


def init_consortium(
    folder: Path,
    *,
    parties: Sequence[str],
    modelers: Sequence[str] = (),
    coordinator: str = "coordinator",
    helper: str = "helper",
    witness: str = "",
    auditors: Sequence[str] = (),
    organisations: Mapping[str, str] | None = None,
    host: str = "127.0.0.1",
) -> Roster:
    """All members of a practice consortium on this machine, on free ports, with a roster that all have signed.

    ``organisations``: member -> organisation, by default the member's own name. ``witness``: a member that cosigns the
    others' logs and does nothing else, "" for none. Raises LocalError config.exists,
    roster.invalid.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise LocalError("config.exists", f"{folder} is not empty.", "Name a new folder; nothing is overwritten.")
    roles = {
        **dict.fromkeys(parties, ("party",)),
        coordinator: ("coordinator",),
        helper: ("helper",),
        **dict.fromkeys(modelers, ("modeler",)),
        **dict.fromkeys(auditors, ("auditor",)),
        **({witness: ("witness",)} if witness else {}),
    }
    names = [*parties, *modelers, *auditors, coordinator, helper, *([witness] if witness else [])]
    if len(roles) != len(names):
        twice = next(n for n in names if names.count(n) > 1)
        raise LocalError(
            "roster.invalid",
            f"Two members are called {twice}.",
            f"Every name stands once; {coordinator} and {helper} are there in any case.",
        )
    for name in roles:
        check_name(name)
    serving = [n for n, r in roles.items() if SERVING & set(r)]
    ports = dict(zip(serving, free_ports(host, len(serving)), strict=True))
    addresses = {n: f"{host}:{ports[n]}" if n in ports else "" for n in roles}
    identities = {n: make_identity(n, now()) for n in roles}
    cards = [make_card(identities[n], (organisations or {}).get(n, n), roles[n], addresses[n]) for n in sorted(roles)]
    roster = Roster(folder.resolve().name, 1, "", tuple(cards))
    body = roster.signed_bytes()
    roster = replace(roster, signatures={n: i.sign(ROSTER, body).hex() for n, i in identities.items()})
    for name, identity in identities.items():
        _write_member(folder / name, identity, addresses[name], node="party" in roles[name])
        files.write(folder / name / "roster.json", roster.to_json())
    files.write(
        folder / "README.txt",
        "A practice consortium of Heji: all members' secret keys lie on this one machine.\n"
        "Real members make their own keys at home: heji node init.\n",
    )
    return roster


def init_member(folder: Path, name: str, address: str, organisation: str, roles: Sequence[str]) -> Path:
    """One member's keys and settings, made where it lives; returns the public card to hand over."""
    check_name(name)
    if (folder / "keys").exists():
        raise LocalError(
            "config.exists", f"{folder} has keys already.", "Name a new folder; keys are never overwritten."
        )
    if address and not is_address(address):
        raise LocalError(
            "config.invalid",
            f"{address!r} is no address.",
            "Write --address HOST:PORT, where the others reach this member, such as 10.1.2.3:7700.",
        )
    identity = make_identity(name, now())
    card = make_card(identity, organisation, tuple(roles), address)
    port = address.rpartition(":")[2]
    _write_member(folder, identity, f"0.0.0.0:{port}" if address else "", node="party" in roles)
    files.write(folder / "card.json", card_json(identity, card))
    return folder / "card.json"


def free_ports(host: str, count: int) -> list[int]:
    """Ports that are free at this moment, all different, below those that systems give to outgoing connections: one of
    these could otherwise take a member's port while the member is not running."""
    found: list[int] = []
    for port in random.sample(range(20_000, 32_000), 4_000):
        if len(found) == count:
            break
        with socket.socket() as s, contextlib.suppress(OSError):
            s.bind((host, port))
            found.append(port)
    if len(found) < count:
        raise LocalError(
            "config.invalid",
            f"{host} has no {count} free ports between 20000 and 32000, or is no address of this machine.",
            "Give `host` an address of this machine, or stop what uses the ports.",
        )
    return found


def _write_member(folder: Path, identity: Identity, listen: str, *, node: bool) -> None:
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    save_identity(folder, identity)
    files.write(folder / "member.toml", template(identity.name, listen))
    if node:
        files.write(folder / "policy.toml", _POLICY)
        files.write(folder / "catalog.json", json.dumps(Catalog(identity.name).to_dict(), indent=1) + "\n")
