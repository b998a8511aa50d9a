"""The roster: who belongs to the consortium, with every key pinned, signed by all of them.

A roster is a JSON document {consortium, version, previous, members, signatures}. What counts is its body, everything
but the signatures, in RFC 8785's canonical form: the digest and the signatures (label ``roster``) are over that, so
white space in the file does not matter and nothing else is free. It is in force when every member that is not revoked
has signed exactly this body. There is no certificate authority: docs/decisions/0002-pinned-certificates.md.

A change makes the next version, without signatures, whose ``previous`` is the digest of the one before; as long as
nobody has signed a version it is a draft, and further changes go into it. A member signs and installs only what follows
its own copy.

A member whose time is over, or not yet come, stays listed but is refused (``current``); the others go on.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import rfc8785
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from mpc.crypto.labels import digest
from mpc.errors import HejiError, LocalError
from parties import files
from parties.card import MemberCard, check_card, check_name, check_text, invalid, read_card, read_json, verify_hex
from parties.identity import Identity, load_identity

__all__ = [
    "ROSTER",
    "MemberCard",
    "Roster",
    "add_card",
    "check_name",
    "install_roster",
    "revoke",
    "sign_roster",
    "verify_listed",
]

ROSTER = "roster"
_FIELDS = ("consortium", "version", "previous", "members", "signatures")


@dataclass(frozen=True)
class Roster:
    """A roster, in force or not; ``verify`` says."""

    consortium: str
    version: int
    previous: str
    members: tuple[MemberCard, ...]
    signatures: Mapping[str, str] = field(default_factory=dict)

    @staticmethod
    def load(path: Path) -> Roster:
        """Read a roster file. Raises LocalError config.missing, roster.invalid."""
        return Roster.from_json(files.read(path, "the roster"))

    @staticmethod
    def from_json(raw: bytes) -> Roster:
        """Strict inverse of ``to_json``, up to white space. Raises LocalError roster.invalid."""
        body = read_json(raw)
        if body.keys() != set(_FIELDS):
            raise invalid(f"it has not exactly the fields {', '.join(_FIELDS)}")
        members, signatures = body["members"], body["signatures"]
        if not isinstance(members, list) or not isinstance(signatures, dict):
            raise invalid("members should be a list, signatures an object")
        if not all(isinstance(s, str) for s in signatures.values()):
            raise invalid("a signature is no text")
        made = Roster(
            body["consortium"],
            body["version"],
            body["previous"],
            tuple(MemberCard.from_dict(m) for m in members),
            signatures,
        )
        made.check_form()
        return made

    def to_json(self) -> bytes:
        """The file's bytes."""
        body = {**self._body(), "signatures": dict(sorted(self.signatures.items()))}
        return json.dumps(body, indent=1, ensure_ascii=False).encode() + b"\n"

    def _body(self) -> dict[str, Any]:
        return {
            "consortium": self.consortium,
            "version": self.version,
            "previous": self.previous,
            "members": [m.to_dict() for m in self.members],
        }

    def signed_bytes(self) -> bytes:
        """The canonical body."""
        return rfc8785.dumps(self._body())

    def digest(self) -> str:
        """SHA-256 (hex) of the body under its label; jobs and approvals name it."""
        return digest(ROSTER, self.signed_bytes()).hex()

    # -- is it in force

    def check_form(self) -> None:
        """Raises LocalError roster.invalid for what no signature could mend."""
        if not (isinstance(self.consortium, str) and check_text(self.consortium)):
            raise invalid("the consortium's name should be a short line of text")
        if type(self.version) is not int or not 1 <= self.version < 1 << 53:
            raise invalid("the version should be a whole number from 1")
        form = r"[0-9a-f]{64}" if self.version > 1 else ""
        if not isinstance(self.previous, str) or not re.fullmatch(form, self.previous):
            raise invalid("`previous` should be the digest of the version before, empty in version 1")
        for m in self.members:
            check_card(m)
        for what in ("name", "identity", "certificate"):
            _check_different(what, [getattr(m, what) for m in self.members])
        public = [m.x509().public_key() for m in self.members]
        _check_different("TLS key", [k.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo) for k in public])
        if strangers := self.signatures.keys() - {m.name for m in self.members}:
            raise invalid(f"it is signed by {', '.join(sorted(strangers))}, who is not in it")

    def unsigned_by(self) -> list[str]:
        """Members whose signature is missing or not over this version; revoked ones need not sign."""
        left, body = [], self.signed_bytes()
        for m in self.members:
            try:
                if not m.revoked:
                    verify_hex(m, ROSTER, body, self.signatures.get(m.name, ""))
            except HejiError:
                left.append(m.name)
        return left

    def verify(self, now: int) -> None:
        """Raises LocalError roster.invalid unless every member signed it and some member is valid now (Unix s)."""
        if left := self.unsigned_by():
            raise LocalError(
                "roster.invalid",
                f"The roster (version {self.version}) is not signed by {', '.join(left)}.",
                "Each member signs it: `heji roster sign roster.json --as DIR`.",
            )
        if not any(_fault(m, now) is None for m in self.members):
            raise LocalError(
                "roster.invalid",
                "No member of the roster is valid now.",
                "Compare this machine's clock; if it is right, the members need new keys and a new roster.",
            )

    def follows(self, held: Roster) -> None:
        """Raises LocalError roster.invalid unless this is ``held`` itself or a later version of the same roster."""
        why = None
        if self.consortium != held.consortium:
            why = f"it is of another consortium ({self.consortium}, not {held.consortium})"
        elif self.version < held.version:
            why = f"it is version {self.version}, older than version {held.version} that this member holds"
        elif self.version == held.version and self.digest() != held.digest():
            why = f"it is another version {self.version} than the one that this member holds"
        elif self.version == held.version + 1 and self.previous != held.digest():
            why = f"it does not follow version {held.version} as this member holds it"
        if why:
            raise invalid(why)

    # -- who is in it

    def member(self, name: str) -> MemberCard:
        """A member by name, revoked or not. Raises LocalError roster.unknown."""
        for m in self.members:
            if m.name == name:
                return m
        near = difflib.get_close_matches(name, [m.name for m in self.members], 1)
        hint = f"Did you mean {near[0]}?" if near else f"Members are {', '.join(m.name for m in self.members)}."
        raise LocalError("roster.unknown", f"The roster has no member {name[:80]!r}.", hint)

    def current(self, name: str, now: int) -> MemberCard:
        """A member that is neither revoked nor outside its time. Raises LocalError roster.unknown, roster.invalid."""
        m = self.member(name)
        if fault := _fault(m, now):
            raise LocalError(
                "roster.invalid",
                f"{name} {fault}.",
                "Its operator joins anew (`heji node init`) and hands over the card; or compare clocks.",
            )
        return m

    def members_with(self, role: str) -> tuple[str, ...]:
        """Names of members with a role, revoked ones left out, sorted."""
        return tuple(sorted(m.name for m in self.members if role in m.roles and not m.revoked))

    def organisation_of(self, name: str) -> str:
        """Raises LocalError roster.unknown."""
        return self.member(name).organisation

    def by_certificate(self, pem: bytes) -> MemberCard | None:
        """The member, revoked or not, that exactly this certificate is pinned for."""
        try:
            return self._by_certificate.get(x509.load_pem_x509_certificate(pem).public_bytes(Encoding.DER))
        except ValueError:
            return None

    @cached_property
    def _by_certificate(self) -> Mapping[bytes, MemberCard]:
        return {m.x509().public_bytes(Encoding.DER): m for m in self.members}  # every call to a node asks


def add_card(path: Path, *cards: Path, consortium: str = "consortium") -> Roster:
    """Put members' cards on the roster at ``path`` (made, named ``consortium``, if there is none).

    Returns what was written. A listed member's new card is taken if its identity is the old one (new address, new
    certificate) or the old one is revoked: else whoever brings a card could take a member's place. Raises LocalError
    roster.invalid, config.*.
    """
    old = Roster.load(path) if path.exists() else Roster(consortium, 0, "", ())
    members = {m.name: m for m in old.members}
    for card in map(read_card, cards):
        listed = members.get(card.name)
        if listed and listed.revoked and listed.identity == card.identity:
            raise invalid(f"the card of {card.name} has the identity that was revoked")
        if listed and not listed.revoked and listed.identity != card.identity:
            raise LocalError(
                "roster.invalid",
                f"{card.name} is on the roster with another identity.",
                f"If it lost its keys, revoke them first: `heji roster revoke {path} {card.name}`.",
            )
        members[card.name] = card
    return _write_next(path, old, tuple(members.values()))


def revoke(path: Path, name: str) -> Roster:
    """Mark ``name`` as revoked in the roster at ``path``. Raises LocalError roster.unknown, roster.invalid."""
    old = Roster.load(path)
    if old.member(name).revoked:
        raise invalid(f"{name} is revoked already")
    return _write_next(path, old, tuple(replace(m, revoked=True) if m.name == name else m for m in old.members))


def sign_roster(path: Path, folder: Path) -> Roster:
    """Add the signature of the member whose folder this is to the roster at ``path``.

    Raises LocalError roster.unknown, or roster.invalid if the roster lists other keys for this member or does not
    follow the member's own copy.
    """
    identity, roster = load_identity(folder), Roster.load(path)
    _check_own(roster, folder)
    signature = identity.sign(ROSTER, roster.signed_bytes()).hex()
    signed = replace(roster, signatures={**roster.signatures, identity.name: signature})
    files.write(path, signed.to_json())
    return signed


def install_roster(path: Path, folder: Path, now: int) -> Roster:
    """Take the roster at ``path`` as the member's own copy: signed by all, with this member's keys, never an older one.

    A running node reads it at its next start. Raises LocalError roster.*.
    """
    roster = Roster.load(path)
    roster.verify(now)
    _check_own(roster, folder)
    files.write(folder / "roster.json", roster.to_json())
    return roster


def verify_listed(roster: Roster, identity: Identity) -> None:
    """Raises LocalError roster.unknown, roster.invalid unless the roster pins exactly these keys for their member."""
    listed = roster.member(identity.name)
    if listed.identity != identity.public.hex() or listed.certificate.encode() != identity.certificate:
        raise LocalError(
            "roster.invalid",
            f"The roster lists other keys for {identity.name} than its folder holds.",
            "Sign nothing; hand over the folder's card.json again and ask who changed it.",
        )


def _check_own(roster: Roster, folder: Path) -> None:
    """The member's keys are those listed, and its own copy, if it has one, comes before."""
    verify_listed(roster, load_identity(folder))
    if (held := folder / "roster.json").exists():
        roster.follows(Roster.load(held))


def _write_next(path: Path, old: Roster, members: tuple[MemberCard, ...]) -> Roster:
    ordered = tuple(sorted(members, key=lambda m: m.name))
    if old.version and not old.signatures:
        made = replace(old, members=ordered)  # nobody has signed this draft yet
    else:
        made = Roster(old.consortium, old.version + 1, old.digest() if old.version else "", ordered)
    made.check_form()
    files.write(path, made.to_json())
    return made


def _check_different(what: str, seen: list[Any]) -> None:
    if len(set(seen)) != len(seen):
        raise invalid(f"two members have one {what}")


def _fault(member: MemberCard, now: int) -> str | None:
    """Why a member is not to be dealt with now."""
    if member.revoked:
        return "is revoked in the roster"
    if now < member.valid_from:
        return "is on the roster from a later time on"
    return "is on the roster until an earlier time: its keys have expired" if now > member.valid_until else None
