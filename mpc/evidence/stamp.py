"""Timestamps of checkpoints (RFC 3161): the word of somebody outside the consortium that a log was so at a time.

    member ── SHA-256 of the checkpoint's signed text ──▶ timestamp authority
           ◀── token: that hash and a time, signed ──────
    anybody: token's hash = that of this checkpoint, token's signer under a certificate that I trust for times?

The authority sees a hash and when it was asked. A request has no nonce: a token for this text cannot have been made
before the text was, so an old one handed out again tells no less. This is the only module that uses rfc3161-client
(Trail of Bits, Apache-2.0; the optional extra ``anchors``), which is loaded when a token is first looked at.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from mpc.errors import LocalError
from mpc.evidence.note import Checkpoint, Malformed

#: no token of an authority is longer
MAX_TOKEN_BYTES = 64 * 1024
_SHA256 = x509.ObjectIdentifier("2.16.840.1.101.3.4.2.1")


@dataclass(frozen=True)
class Stamp:
    """What a token says: when (Unix seconds), and who signs, as its certificate names it (nothing is checked yet)."""

    time: int
    authority: str


def request(checkpoint: Checkpoint, trusted: bytes = b"") -> bytes:
    """What an authority is asked (DER): for its certificates too, unless its own is in ``trusted`` (PEM).

    Raises LocalError config.missing without rfc3161-client, config.invalid where no root is in ``trusted``.
    """
    _library()
    from rfc3161_client import HashAlgorithm, TimestampRequestBuilder

    known = any(map(_signs_times, certificates_of(trusted))) if trusted else False
    asked = TimestampRequestBuilder().data(checkpoint.body()).hash_algorithm(HashAlgorithm.SHA256).nonce(nonce=False)
    return asked.cert_request(cert_request=not known).build().as_bytes()


def read(raw: bytes, checkpoint: Checkpoint) -> Stamp:
    """A token of this checkpoint, its signature not looked at.

    Raises Malformed for what is no granted token of it, LocalError config.missing without rfc3161-client.
    """
    _library()
    from rfc3161_client import decode_timestamp_response

    if len(raw) > MAX_TOKEN_BYTES:
        raise Malformed("a timestamp of more than 64 KiB")
    try:
        response = decode_timestamp_response(raw)
        told, data = response.tst_info, response.signed_data
        [signer] = data.signer_infos
        subjects = [
            c.subject
            for c in map(x509.load_der_x509_certificate, data.certificates)
            if (c.issuer, c.serial_number) == (signer.issuer, signer.serial_number)
        ]
        stamp = Stamp(int(told.gen_time.timestamp()), (subjects or [signer.issuer])[0].rfc4514_string())
        imprint, granted = (told.message_imprint.hash_algorithm, told.message_imprint.message), response.status == 0
    except Exception:  # whatever a hostile token makes the libraries say
        raise Malformed("a timestamp that is none") from None
    if not granted or imprint != (_SHA256, _digest(checkpoint)):
        raise Malformed("a timestamp of something else than this checkpoint")
    return stamp


def verify(raw: bytes, checkpoint: Checkpoint, trusted: bytes) -> Stamp:
    """The same, under one of the certificates in ``trusted`` (PEM): the authority's root, and what of its chain is not
    in the token.

    They must have been valid at the token's time. Raises Malformed where the token is not theirs, LocalError
    config.invalid where there is no root among them.
    """
    stamp, chain = read(raw, checkpoint), certificates_of(trusted)
    from rfc3161_client import VerificationError, VerifierBuilder, decode_timestamp_response

    response = decode_timestamp_response(raw)
    [signer] = response.signed_data.signer_infos
    own = next((c for c in chain if (c.issuer, c.serial_number) == (signer.issuer, signer.serial_number)), None)
    roots = [c for c in chain if c.issuer == c.subject]
    between = [c for c in chain if c not in roots and c != own]
    verifier = VerifierBuilder(roots=roots, intermediates=between, tsa_certificate=own).build()
    try:
        verifier.verify(response, _digest(checkpoint))
    except (VerificationError, ValueError):
        raise Malformed("a timestamp that is not signed under the certificate given") from None
    return Stamp(stamp.time, own.subject.rfc4514_string()) if own else stamp


def certificates_of(trusted: bytes) -> list[x509.Certificate]:
    """Certificates in PEM, a root among them. Raises LocalError config.invalid."""
    try:
        found = x509.load_pem_x509_certificates(trusted)
    except ValueError:
        found = []
    if not any(c.issuer == c.subject for c in found):
        raise LocalError(
            "config.invalid",
            "The timestamp authority's certificates are no PEM file with a root in it.",
            "Give the root certificate that the authority publishes (one that signed itself), in PEM.",
        )
    return found


def _signs_times(certificate: x509.Certificate) -> bool:
    """Whether it is an authority's own."""
    try:
        usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except (x509.ExtensionNotFound, ValueError):
        return False
    return ExtendedKeyUsageOID.TIME_STAMPING in usage


def _digest(checkpoint: Checkpoint) -> bytes:
    return hashlib.sha256(checkpoint.body()).digest()


def _library() -> None:
    try:
        import rfc3161_client  # noqa: F401
    except ImportError:
        raise LocalError(
            "config.missing",
            "Timestamps need the package rfc3161-client.",
            "Install it: pip install 'heji[anchors]'.",
        ) from None
