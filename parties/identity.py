"""A member's secret keys: Ed25519 signs what it says, ECDSA P-256 carries its TLS (gRPC takes no Ed25519 certificates).

    FOLDER/keys/identity.pem   Ed25519 private key, PKCS #8        0600
    FOLDER/keys/tls.pem        ECDSA P-256 private key, PKCS #8    0600
    FOLDER/keys/tls.crt        self-signed certificate, DNS SAN = the member's name

There is no certificate authority: the roster pins the certificate itself (docs/decisions/0002-pinned-certificates.md).
"""

from __future__ import annotations

import datetime as dt
import os
import stat
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from mpc.crypto import sign
from mpc.errors import LocalError
from parties import files
from parties.config import load_config

#: how long a new certificate is good, and how far it reaches back for members whose clocks run behind
VALID, SKEW = dt.timedelta(days=730), dt.timedelta(hours=1)
KEYS, IDENTITY, TLS_KEY, CERTIFICATE = "keys", "identity.pem", "tls.pem", "tls.crt"


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
        """A 64-byte signature over ``payload`` under a label of mpc.crypto.labels."""
        return sign.sign(self.signing, label, payload)

    def __repr__(self) -> str:
        return f"Identity({self.name!r}, …)"


def make_identity(name: str, now: int) -> Identity:
    """Fresh keys and a self-signed certificate whose only name is the member's. ``now``: Unix seconds."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    start = dt.datetime.fromtimestamp(now, dt.UTC) - SKEW
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + VALID)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False
        )
        .sign(key, SHA256())
    )
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return Identity(name, Ed25519PrivateKey.generate(), pem, certificate.public_bytes(Encoding.PEM))


def save_identity(folder: Path, identity: Identity) -> None:
    """Write the keys below ``folder``/keys, readable by their owner only."""
    keys = folder / KEYS
    keys.mkdir(mode=0o700, parents=True, exist_ok=True)
    pem = identity.signing.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    files.write(keys / IDENTITY, pem, 0o600)
    files.write(keys / TLS_KEY, identity.tls_key, 0o600)
    files.write(keys / CERTIFICATE, identity.certificate)


def load_identity(folder: Path) -> Identity:
    """The keys of the member whose folder this is.

    Raises LocalError config.missing, or config.invalid where others could read a key, or key and certificate or
    certificate and name do not go together.
    """
    keys, name = folder / KEYS, load_config(folder).name
    signing = _key(keys / IDENTITY)
    tls = _key(keys / TLS_KEY)
    if not isinstance(signing, Ed25519PrivateKey):
        raise _unusable(keys / IDENTITY, "is no Ed25519 key")
    if not isinstance(tls, ec.EllipticCurvePrivateKey) or not isinstance(tls.curve, ec.SECP256R1):
        raise _unusable(keys / TLS_KEY, "is no ECDSA P-256 key")
    pem = files.read(keys / CERTIFICATE, "the certificate")
    try:
        certificate = x509.load_pem_x509_certificate(pem)
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (ValueError, x509.ExtensionNotFound) as problem:
        raise _unusable(keys / CERTIFICATE, "is no certificate with a name in it") from problem
    if certificate.public_key() != tls.public_key():
        raise _unusable(keys / CERTIFICATE, f"does not belong to the key in {TLS_KEY}")
    if names.get_values_for_type(x509.DNSName) != [name]:
        raise _unusable(keys / CERTIFICATE, f"is not for {name}, whom member.toml names")
    return Identity(name, signing, read_secret(keys / TLS_KEY), pem)


def read_secret(path: Path) -> bytes:
    """A private key's bytes. Raises LocalError config.missing, or config.invalid where others could read it."""
    try:
        # rights are looked at on the open file, so that they are those of the bytes that are read
        with open(os.open(path, os.O_RDONLY), "rb") as file:
            if stat.S_IMODE(os.fstat(file.fileno()).st_mode) & 0o077:
                raise LocalError(
                    "config.invalid",
                    f"{path} can be read by others on this machine.",
                    f"Run: chmod 600 {path}. If anybody else had access, make new keys.",
                )
            return file.read()
    except OSError as problem:
        raise LocalError(
            "config.missing",
            f"The key {path} cannot be read: {problem.strerror}.",
            "Serve as the user that owns the folder; else restore the key from the backup.",
        ) from problem


def _key(path: Path) -> object:
    try:
        return load_pem_private_key(read_secret(path), None)
    except (ValueError, TypeError):
        # without the library's words: they are about secret bytes
        raise _unusable(path, "is no private key, or has a password") from None


def _unusable(path: Path, why: str) -> LocalError:
    return LocalError(
        "config.invalid",
        f"{path} {why}.",
        "Restore the keys folder from the backup, or join anew with `heji node init`.",
    )
