"""The roster: who belongs to the consortium, with every key pinned, signed by all of them.

A roster is a JSON document {consortium, version, previous, members, signatures}. It is in force when every member that is
not revoked has signed exactly its canonical body (RFC 8785, without the signatures). There is no certificate authority:
a member's self-signed TLS certificate and its Ed25519 identity stand in the roster (decision record 0002).
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import rfc8785
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256

from mpc.crypto import sign
from mpc.crypto.labels import digest
from mpc.errors import HejiError, LocalError
from parties import files

ROSTER, CARD = "roster", "card"
ROLES = frozenset({"party", "coordinator", "helper", "modeler", "auditor", "recipient"})
#: words of SQL that cannot name a party, since names are used as ``party.table``
RESERVED = frozenset("all and any as by case cast check collate create cross default delete desc distinct drop else end "
                     "except exists false fetch for from full grant group having in inner insert intersect into is join "
                     "left like limit main natural not null offset on or order outer primary references right select some "
                     "table temp then to true union unique update using values when where window with".split())  # fmt: skip


@dataclass(frozen=True)
class MemberCard:
    """One member: ``identity`` Ed25519 public key (hex), ``certificate`` PEM, times in Unix seconds."""

    name: str
    organisation: str
    roles: tuple[str, ...]
    address: str
    identity: str
    certificate: str
    valid_from: int
    valid_until: int
    revoked: bool = False

    def fingerprint(self) -> str:
        """SHA-256 of the certificate, hex."""
        return x509.load_pem_x509_certificate(self.certificate.encode()).fingerprint(SHA256()).hex()


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
        try:
            body = json.loads(raw)
            members = tuple(MemberCard(**{**m, "roles": tuple(m["roles"])}) for m in body["members"])
            made = Roster(str(body["consortium"]), int(body["version"]), str(body["previous"]), members,
                          {str(k): str(v) for k, v in body["signatures"].items()})  # fmt: skip
        except (ValueError, KeyError, TypeError, AttributeError) as problem:
            raise _invalid("it cannot be read") from problem
        made._check_form()
        return made

    def to_json(self) -> bytes:
        return json.dumps({**self._body(), "signatures": dict(sorted(self.signatures.items()))}, indent=1).encode() + b"\n"

    def _body(self) -> dict[str, Any]:
        return {
            "consortium": self.consortium, "version": self.version, "previous": self.previous,
            "members": [{**asdict(m), "roles": list(m.roles)} for m in self.members],
        }  # fmt: skip

    def signed_bytes(self) -> bytes:
        return rfc8785.dumps(self._body())

    def digest(self) -> str:
        """SHA-256 (hex) of the body; jobs and approvals name it."""
        return digest(ROSTER, self.signed_bytes()).hex()

    def unsigned_by(self) -> list[str]:
        """Members whose signature is missing or not over this version."""
        left = []
        for m in self.members:
            if m.revoked:
                continue
            try:
                signature = bytes.fromhex(self.signatures.get(m.name, ""))
                sign.verify(bytes.fromhex(m.identity), ROSTER, self.signed_bytes(), signature, party=m.name)
            except (HejiError, ValueError):
                left.append(m.name)
        return left

    def verify(self, now: int) -> None:
        """Raises LocalError roster.invalid unless all members signed it and none of them has expired unnoticed."""
        if left := self.unsigned_by():
            raise LocalError("roster.invalid", f"The roster (version {self.version}) is not signed by {', '.join(left)}.",
                             "Each member signs it: `heji roster sign roster.json --as DIR`.")  # fmt: skip
        if not any(m.valid_from <= now <= m.valid_until and not m.revoked for m in self.members):
            raise LocalError("roster.invalid", "No member of the roster is valid now.", "Compare this machine's clock.")

    def member(self, name: str) -> MemberCard:
        """A member by name, revoked or not. Raises LocalError roster.unknown."""
        for m in self.members:
            if m.name == name:
                return m
        near = difflib.get_close_matches(name, [m.name for m in self.members], 1)
        hint = f"Did you mean {near[0]}?" if near else f"Members are {', '.join(m.name for m in self.members)}."
        raise LocalError("roster.unknown", f"The roster has no member {name!r}.", hint)

    def current(self, name: str, now: int) -> MemberCard:
        """A member that is neither revoked nor outside its validity. Raises LocalError roster.invalid."""
        m = self.member(name)
        if m.revoked:
            raise LocalError("roster.invalid", f"{name} is revoked in the roster.", "Its operator must join anew.")
        if not m.valid_from <= now <= m.valid_until:
            raise LocalError("roster.invalid", f"{name}'s keys are not valid now.",
                             "Its operator makes new ones (`heji node init`) and hands over the card; or compare clocks.")  # fmt: skip
        return m

    def members_with(self, role: str) -> tuple[str, ...]:
        """Names of members with a role, revoked ones left out, sorted."""
        return tuple(sorted(m.name for m in self.members if role in m.roles and not m.revoked))

    def organisation_of(self, name: str) -> str:
        return self.member(name).organisation

    def by_certificate(self, pem: bytes) -> MemberCard | None:
        """The member that this certificate is pinned for."""
        try:
            theirs = x509.load_pem_x509_certificate(pem).fingerprint(SHA256()).hex()
        except ValueError:
            return None
        return next((m for m in self.members if m.fingerprint() == theirs), None)

    def _check_form(self) -> None:
        for what in ("name", "identity", "certificate"):
            seen = [getattr(m, what) for m in self.members]
            if len(set(seen)) != len(seen):
                raise _invalid(f"two members have one {what}")
        for m in self.members:
            check_card(m)


def check_name(name: str) -> None:
    """Party names are SQL identifiers: lower-case letters, digits, underscores. Raises LocalError roster.invalid."""
    good = name.isascii() and name.isidentifier() and name == name.lower() and not name.startswith("_") and len(name) <= 63
    if not good or name in RESERVED:
        raise LocalError("roster.invalid", f"{name!r} cannot name a member.",
                         "Use lower-case letters, digits and underscores, beginning with a letter, and no word of SQL.")  # fmt: skip


def check_card(card: MemberCard) -> None:
    """Raises LocalError roster.invalid for a card that contradicts itself."""
    check_name(card.name)
    if not set(card.roles) <= ROLES or not card.roles:
        raise _invalid(f"{card.name} has a role that is none of {', '.join(sorted(ROLES))}")
    try:
        certificate = x509.load_pem_x509_certificate(card.certificate.encode())
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        if names.get_values_for_type(x509.DNSName) != [card.name]:
            raise _invalid(f"the certificate of {card.name} names somebody else")
        if len(bytes.fromhex(card.identity)) != 32:
            raise ValueError
    except (ValueError, x509.ExtensionNotFound) as problem:
        raise _invalid(f"the keys of {card.name} cannot be read") from problem
    if {"party", "coordinator", "helper"} & set(card.roles) and ":" not in card.address:
        raise _invalid(f"{card.name} serves, so it needs an address HOST:PORT")


def add_card(path: Path, card_path: Path) -> Roster:
    """A new version of the roster at ``path`` with one more member, or a member's new keys (by its self-signed card)."""
    card = read_card(card_path)
    old = Roster.load(path) if path.exists() else Roster("consortium", 0, "", ())
    members = tuple(m for m in old.members if m.name != card.name) + (card,)
    return _write_next(path, old, members)


def revoke(path: Path, name: str) -> Roster:
    """A new version of the roster at ``path`` in which ``name`` is revoked."""
    old = Roster.load(path)
    old.member(name)
    return _write_next(path, old, tuple(replace(m, revoked=True) if m.name == name else m for m in old.members))


def sign_roster(path: Path, folder: Path) -> Roster:
    """Add the signature of the member whose folder this is. Raises LocalError roster.unknown if it is not listed."""
    from parties.identity import load_identity  # noqa: PLC0415  # identity reads cards, which are ours

    identity = load_identity(folder)
    roster = Roster.load(path)
    listed = roster.member(identity.name)
    if listed.identity != identity.public.hex():
        raise LocalError("roster.invalid", f"The roster lists another key for {identity.name} than its folder holds.",
                         "Hand over the folder's card.json again.")  # fmt: skip
    signature = identity.sign(ROSTER, roster.signed_bytes()).hex()
    signed = replace(roster, signatures={**roster.signatures, identity.name: signature})
    files.write(path, signed.to_json())
    return signed


def read_card(path: Path) -> MemberCard:
    """A member's public card, under its own signature. Raises LocalError roster.invalid."""
    try:
        body = json.loads(files.read(path, "the card"))
        card = MemberCard(**{**body["card"], "roles": tuple(body["card"]["roles"])})
        signature = bytes.fromhex(body["signature"])
        check_card(card)
        sign.verify(bytes.fromhex(card.identity), CARD, card_bytes(card), signature, party=card.name)
    except (ValueError, KeyError, TypeError) as problem:
        raise _invalid(f"the card {path} cannot be read") from problem
    return card


def card_bytes(card: MemberCard) -> bytes:
    return rfc8785.dumps({**asdict(card), "roles": list(card.roles)})


def _write_next(path: Path, old: Roster, members: tuple[MemberCard, ...]) -> Roster:
    made = Roster(old.consortium, old.version + 1, old.digest() if old.version else "", tuple(sorted(members, key=lambda m: m.name)))
    made._check_form()
    files.write(path, made.to_json())
    return made


def _invalid(why: str) -> LocalError:
    return LocalError("roster.invalid", f"The roster cannot be used: {why}.", "Ask another member for its copy and compare.")
