"""A member's secret keys, read from its folder: Ed25519 for signatures, ECDSA P-256 for TLS (gRPC takes no Ed25519)."""

from __future__ import annotations

import datetime as dt
import json
import stat
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key
from cryptography.x509.oid import NameOID

from mpc.crypto import sign
from mpc.errors import LocalError
from parties import files
from parties.roster import CARD, MemberCard, card_bytes, check_card

YEARS = 2


@dataclass(frozen=True, repr=False)
class Identity:
    """A member's keys. They never show in ``repr``."""

    name: str
    signing: Ed25519PrivateKey
    tls_key: bytes  # PEM
    certificate: bytes  # PEM

    @property
    def public(self) -> bytes:
        """The Ed25519 public key, 32 bytes."""
        return self.signing.public_key().public_bytes_raw()

    def sign(self, label: str, payload: bytes) -> bytes:
        return sign.sign(self.signing, label, payload)

    def __repr__(self) -> str:
        return f"Identity({self.name!r}, …)"


def make_identity(name: str, now: int) -> Identity:
    """Fresh keys and a self-signed certificate whose only name is the member's."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    start = dt.datetime.fromtimestamp(now - 3600, dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + dt.timedelta(days=365 * YEARS))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(key, SHA256())
    )
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return Identity(name, Ed25519PrivateKey.generate(), pem, certificate.public_bytes(Encoding.PEM))


def save_identity(folder: Path, identity: Identity) -> None:
    """Write the keys below ``folder``/keys, readable by their owner only."""
    keys = folder / "keys"
    keys.mkdir(mode=0o700, parents=True, exist_ok=True)
    pem = identity.signing.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    files.write(keys / "identity.pem", pem, 0o600)
    files.write(keys / "tls.pem", identity.tls_key, 0o600)
    files.write(keys / "tls.crt", identity.certificate)


def load_identity(folder: Path) -> Identity:
    """The member's keys. Raises LocalError config.missing, or config.invalid where others could read them."""
    from parties.config import load_config  # noqa: PLC0415

    keys = folder / "keys"
    for secret in (keys / "identity.pem", keys / "tls.pem"):
        if secret.exists() and stat.S_IMODE(secret.stat().st_mode) & 0o077:
            raise LocalError("config.invalid", f"{secret} can be read by others on this machine.", f"Run: chmod 600 {secret}")
    try:
        signing = load_pem_private_key(files.read(keys / "identity.pem", "the key"), None)
    except ValueError as problem:
        raise LocalError("config.invalid", f"{keys / 'identity.pem'} is no key.", "Restore it from the backup.") from problem
    if not isinstance(signing, Ed25519PrivateKey):
        raise LocalError("config.invalid", f"{keys / 'identity.pem'} is no Ed25519 key.", "Restore it from the backup.")
    return Identity(load_config(folder).name, signing, files.read(keys / "tls.pem", "the key"),
                    files.read(keys / "tls.crt", "the certificate"))  # fmt: skip


def make_card(identity: Identity, organisation: str, roles: tuple[str, ...], address: str) -> MemberCard:
    """The public side of an identity, as it goes on the roster."""
    certificate = x509.load_pem_x509_certificate(identity.certificate)
    card = MemberCard(
        identity.name, organisation, tuple(sorted(roles)), address, identity.public.hex(), identity.certificate.decode(),
        int(certificate.not_valid_before_utc.timestamp()), int(certificate.not_valid_after_utc.timestamp()),
    )  # fmt: skip
    check_card(card)
    return card


def card_json(identity: Identity, card: MemberCard) -> bytes:
    """The card under the member's own signature, to hand to the other members."""
    signature = identity.sign(CARD, card_bytes(card)).hex()
    return json.dumps({"card": json.loads(card_bytes(card)), "signature": signature}, indent=1).encode() + b"\n"
