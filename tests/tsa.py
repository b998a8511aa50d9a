"""A timestamp authority for tests, with a root of its own: RFC 3161 tokens from cryptography and a little DER."""

from __future__ import annotations

import datetime as dt
import hashlib
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

SHA256 = bytes.fromhex("300d06096086480165030402010500")
ECDSA = bytes.fromhex("300a06082a8648ce3d040302")
TST_INFO = bytes.fromhex("060b2a864886f70d0109100104")
SIGNED_DATA = bytes.fromhex("06092a864886f70d010702")
CONTENT_TYPE = bytes.fromhex("06092a864886f70d010903")
MESSAGE_DIGEST = bytes.fromhex("06092a864886f70d010904")
SIGNING_CERTIFICATE = bytes.fromhex("060b2a864886f70d010910022f")
POLICY = bytes.fromhex("06042a030401")
SEQUENCE, SET, OCTETS, INTEGER, TIME = 0x30, 0x31, 0x04, 0x02, 0x18


def der(tag: int, *parts: bytes) -> bytes:
    body = b"".join(parts)
    size = len(body)
    if size < 0x80:
        return bytes([tag, size]) + body
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(length)]) + length + body


def whole(number: int) -> bytes:
    return der(INTEGER, number.to_bytes(number.bit_length() // 8 + 1, "big"))


class Authority:
    """Root and signer; ``clock`` gives the time in its tokens (Unix seconds)."""

    def __init__(self, name: str, clock: Callable[[], int], *, for_times: bool = True) -> None:
        """``for_times``: whether the signer's certificate says that it may sign times."""
        self.clock, self.asked = clock, 0
        self._root_key, self._key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
        self.root = self._certificate(f"{name} root", self._root_key, None, for_times)
        self.signer = self._certificate(name, self._key, self.root, for_times)
        self.pem = self.root.public_bytes(Encoding.PEM)

    def _certificate(
        self, name: str, key: ec.EllipticCurvePrivateKey, issuer: x509.Certificate | None, for_times: bool
    ) -> x509.Certificate:
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        usage = x509.ExtendedKeyUsageOID.TIME_STAMPING if for_times else x509.ExtendedKeyUsageOID.CODE_SIGNING
        made = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer.subject if issuer else subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(dt.datetime(2020, 1, 1))
            .not_valid_after(dt.datetime(2120, 1, 1))
            .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
        )
        if issuer:
            made = made.add_extension(x509.ExtendedKeyUsage([usage]), critical=True)
        return made.sign(self._root_key, hashes.SHA256())

    def token(self, imprint: bytes) -> bytes:
        """The answer (TimeStampResp) for a SHA-256 hash, as RFC 3161 and RFC 5652 lay it out."""
        time = dt.datetime.fromtimestamp(self.clock(), dt.UTC).strftime("%Y%m%d%H%M%SZ").encode()
        info = der(SEQUENCE, whole(1), POLICY, der(SEQUENCE, SHA256, der(OCTETS, imprint)), whole(7), der(TIME, time))
        mine = hashlib.sha256(self.signer.public_bytes(Encoding.DER)).digest()
        attributes = [
            der(SEQUENCE, CONTENT_TYPE, der(SET, TST_INFO)),
            der(SEQUENCE, MESSAGE_DIGEST, der(SET, der(OCTETS, hashlib.sha256(info).digest()))),
            der(
                SEQUENCE, SIGNING_CERTIFICATE, der(SET, der(SEQUENCE, der(SEQUENCE, der(SEQUENCE, der(OCTETS, mine)))))
            ),
        ]
        attributes.sort()  # DER: a set's elements in the order of their encodings
        signature = self._key.sign(der(SET, *attributes), ec.ECDSA(hashes.SHA256()))
        issuer = der(SEQUENCE, self.signer.issuer.public_bytes(), whole(self.signer.serial_number))
        signed_by = der(SEQUENCE, whole(1), issuer, SHA256, der(0xA0, *attributes), ECDSA, der(OCTETS, signature))
        data = der(
            SEQUENCE,
            whole(3),
            der(SET, SHA256),
            der(SEQUENCE, TST_INFO, der(0xA0, der(OCTETS, info))),
            der(0xA0, self.signer.public_bytes(Encoding.DER)),
            der(SET, signed_by),
        )
        return der(SEQUENCE, der(SEQUENCE, whole(0)), der(SEQUENCE, SIGNED_DATA, der(0xA0, data)))

    @contextmanager
    def serving(self, answer: Callable[[bytes], bytes] = lambda reply: reply) -> Iterator[str]:
        """Its address. ``answer`` may change what it says."""
        authority = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                asked = self.rfile.read(int(self.headers["Content-Length"]))
                assert self.headers["Content-Type"] == "application/timestamp-query"
                at = asked.index(SHA256) + len(SHA256) + 2
                authority.asked += 1
                reply = answer(authority.token(asked[at : at + 32]))
                self.send_response(200)
                self.send_header("Content-Type", "application/timestamp-reply")
                self.send_header("Content-Length", str(len(reply)))
                self.end_headers()
                self.wfile.write(reply)

            def log_message(self, *_: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            server.server_close()
            thread.join()
