"""A member's public card: what the others pin of it. Handed over as ``card.json`` under the member's own signature.

A card is strict: every field there, of its type, in one form only; the certificate is self-signed, for P-256, for no
other name, and no authority over others. What two members would read differently is refused.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import rfc8785
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding

from mpc.crypto import sign
from mpc.errors import LocalError
from parties import files
from parties.identity import Identity

CARD = "card"
ROLES = frozenset({"party", "coordinator", "helper", "modeler", "auditor", "recipient", "witness"})
#: roles of members that the others connect to
SERVING = frozenset({"party", "coordinator", "helper", "witness"})
#: Names are used as ``party.table``, so no word that DuckDB keeps for itself, no schema or database of DuckDB's, and
#: not the ``any`` of policies. From duckdb_keywords(): every category but unreserved.
RESERVED = frozenset(
    word
    for line in (
        "all analyse analyze and anti any array as asc asof asymmetric at authorization between bigint binary bit",
        "boolean both by case cast char character check coalesce collate collation column columns concurrently",
        "constraint create cross dec decimal default deferrable delete desc describe distinct do drop else end except",
        "exists extract false fetch float for foreign freeze from full generated glob grant group grouping",
        "grouping_id having ilike in information_schema initially inner inout insert int integer intersect interval",
        "into is isnull join lambda lateral leading left like limit main map memory national natural nchar none not",
        "notnull null nullif numeric offset on only or order out outer overlaps overlay pg_catalog pivot pivot_longer",
        "pivot_wider placing position positional precision primary qualify real references returning right row select",
        "semi set setof show similar smallint some struct substring summarize symmetric system table tablesample temp",
        "then time timestamp to trailing treat trim true try_cast tuple union unique unpack unpivot update user using",
        "values varchar variadic verbose view when where window with xmlattributes xmlconcat xmlelement xmlexists",
        "xmlforest xmlnamespaces xmlparse xmlpi xmlroot xmlserialize xmltable",
    )
    for word in line.split()
)

_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
#: a host name, IPv4 or [IPv6], and a port: nothing that gRPC could take for another scheme (unix:, xds:)
_ADDRESS = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\]):([0-9]{1,5})")
_KEY = re.compile(r"[0-9a-f]{64}")
_LAST = (1 << 53) - 1  # JSON's integers


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
        return self.x509().fingerprint(SHA256()).hex()

    def x509(self) -> x509.Certificate:
        return x509.load_pem_x509_certificate(self.certificate.encode())

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "roles": list(self.roles)}

    @staticmethod
    def from_dict(body: Any) -> MemberCard:
        """Strict inverse of ``to_dict``. Raises LocalError roster.invalid."""
        kinds = {f.name: {"int": int, "bool": bool}.get(str(f.type), str) for f in fields(MemberCard)} | {"roles": list}
        if not isinstance(body, dict) or body.keys() != kinds.keys():
            raise invalid(f"a member's entry has not exactly the fields {', '.join(kinds)}")
        for key, kind in kinds.items():
            if type(body[key]) is not kind:  # no bool for an int
                raise invalid(f"{key} of a member's entry is of the wrong type")
        if not all(isinstance(r, str) for r in body["roles"]):
            raise invalid("a role of a member's entry is no text")
        card = MemberCard(**{**body, "roles": tuple(body["roles"])})
        check_card(card)
        return card


def check_name(name: str) -> None:
    """Member names are SQL identifiers: lower-case letters, digits, underscores. Raises LocalError roster.invalid."""
    if not _NAME.fullmatch(name) or name in RESERVED:
        why = "it is a word of SQL" if name in RESERVED else "it is no plain SQL identifier"
        raise LocalError(
            "roster.invalid",
            f"{name[:80]!r} cannot name a member: {why}.",
            "Use up to 63 lower-case letters, digits and underscores, beginning with a letter, such as bank_a.",
        )


def is_address(text: str) -> bool:
    """HOST:PORT with a real port; IPv6 in brackets."""
    found = _ADDRESS.fullmatch(text)
    return found is not None and 1 <= int(found[1]) <= 65535


def check_card(card: MemberCard) -> None:
    """Raises LocalError roster.invalid for a card that contradicts itself."""
    check_name(card.name)
    if not card.roles or not set(card.roles) <= ROLES or len(set(card.roles)) != len(card.roles):
        raise invalid(f"{card.name} needs roles, each once, out of {', '.join(sorted(ROLES))}")
    if not check_text(card.organisation):
        raise invalid(f"{card.name}'s organisation should be a short line of text")
    if card.address and not is_address(card.address):
        raise invalid(f"{card.name}'s address should read HOST:PORT")
    if SERVING & set(card.roles) and not card.address:
        raise invalid(f"{card.name} serves, so it needs an address HOST:PORT")
    if not 0 <= card.valid_from < card.valid_until <= _LAST:
        raise invalid(f"{card.name} is valid at no time")
    _check_identity(card)
    _check_certificate(card)


def check_text(text: str) -> bool:
    """A line that can be printed anywhere: no control characters, at most 200."""
    return 0 < len(text) <= 200 and text.isprintable() and text.strip() == text


def _check_identity(card: MemberCard) -> None:
    try:
        if not _KEY.fullmatch(card.identity):
            raise ValueError
        sign.verify_public(bytes.fromhex(card.identity))
    except ValueError:
        raise invalid(f"{card.name}'s identity is no Ed25519 public key") from None


def _check_certificate(card: MemberCard) -> None:
    try:
        certificate = card.x509()
        # one certificate in one form: whatever else stood in the text would become a trusted root
        if certificate.public_bytes(Encoding.PEM).decode() != card.certificate:
            raise ValueError
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        basic = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
        certificate.verify_directly_issued_by(certificate)
        key = certificate.public_key()
    except (ValueError, TypeError, InvalidSignature, x509.ExtensionNotFound, x509.DuplicateExtension):
        raise invalid(f"{card.name}'s certificate is no self-signed certificate in PEM form") from None
    subject = [a.value for a in certificate.subject]
    if subject != [card.name] or [n.value for n in names] != [card.name] or not isinstance(names[0], x509.DNSName):
        raise invalid(f"the certificate of {card.name} names somebody else")
    if basic.ca:
        raise invalid(f"the certificate of {card.name} could vouch for others")
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise invalid(f"the certificate of {card.name} is not for an ECDSA P-256 key")
    since, until = certificate.not_valid_before_utc.timestamp(), certificate.not_valid_after_utc.timestamp()
    if card.valid_from < since or until < card.valid_until:
        raise invalid(f"{card.name} is listed for longer than its certificate is valid")


def make_card(identity: Identity, organisation: str, roles: tuple[str, ...], address: str) -> MemberCard:
    """The public side of an identity, as it goes on the roster."""
    certificate = x509.load_pem_x509_certificate(identity.certificate)
    card = MemberCard(
        identity.name,
        organisation,
        tuple(sorted(roles)),
        address,
        identity.public.hex(),
        identity.certificate.decode(),
        int(certificate.not_valid_before_utc.timestamp()),
        int(certificate.not_valid_after_utc.timestamp()),
    )
    check_card(card)
    return card


def card_json(identity: Identity, card: MemberCard) -> bytes:
    """The card under the member's own signature, to hand to the other members."""
    signature = identity.sign(CARD, rfc8785.dumps(card.to_dict())).hex()
    return json.dumps({"card": card.to_dict(), "signature": signature}, indent=1, ensure_ascii=False).encode() + b"\n"


def read_card(path: Path) -> MemberCard:
    """A member's public card. Raises LocalError roster.invalid, PeerError protocol.signature (not signed by it)."""
    body = read_json(files.read(path, "the card"))
    if body.keys() != {"card", "signature"} or not isinstance(body["signature"], str):
        raise invalid(f"{path} is no card: it should hold a card and a signature")
    card = MemberCard.from_dict(body["card"])
    if card.revoked:
        raise invalid(f"{path} is the card of a revoked member")
    verify_hex(card, CARD, rfc8785.dumps(card.to_dict()), body["signature"])
    return card


def verify_hex(card: MemberCard, purpose: str, body: bytes, signature: str) -> None:
    """Raises PeerError protocol.signature unless ``signature`` (lower-case hex) is this member's."""
    raw = bytes.fromhex(signature) if re.fullmatch(r"[0-9a-f]{128}", signature) else b""
    sign.verify(bytes.fromhex(card.identity), purpose, body, raw, party=card.name)


def read_json(raw: bytes) -> Mapping[str, Any]:
    """A JSON object in which every key stands once. Raises LocalError roster.invalid."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len({k for k, _ in pairs}) != len(pairs):
            raise ValueError("a key stands twice")
        return dict(pairs)

    try:
        if len(raw) > 1 << 22:
            raise ValueError("larger than 4 MiB")
        body = json.loads(raw.decode(), object_pairs_hook=once)
    except (ValueError, RecursionError) as problem:
        raise invalid("it is no JSON, or a key stands in it twice") from problem
    if not isinstance(body, dict):
        raise invalid("it is no JSON object")
    return body


def invalid(why: str) -> LocalError:
    """roster.invalid, for rosters and cards alike."""
    return LocalError(
        "roster.invalid",
        f"The roster or card cannot be used: {why}.",
        "Ask another member for its copy and compare digests (`heji roster show`).",
    )
