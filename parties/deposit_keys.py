"""A recipient's keys for deposits: made where it lives, encrypted at rest, signed for others.

    FOLDER/keys/deposits/FINGERPRINT.json   {"member", "method", "key", "made", "signature"}: what jobs carry
    FOLDER/keys/deposits/FINGERPRINT.key    AES-256-GCM of the two primes, under a key of the identity's    0600

The newest is used for new jobs, older ones open totals of older jobs. Whoever has ``keys`` as a whole has them: back it
up as a whole. Without ``identity.pem`` the primes cannot be read, and without the primes no total is ever opened.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from mpc.crypto import paillier
from mpc.crypto.agree import hkdf
from mpc.crypto.labels import framed, label, unframed
from mpc.errors import LocalError
from mpc.job import key_statement
from mpc.protocols.deposit import DEPOSIT_KEY
from parties import files
from parties.identity import KEYS, read_secret
from parties.member import Member

METHOD = "paillier"


@dataclass(frozen=True)
class SignedKey:
    """A public key and its owner's signature over ``mpc.job.key_statement``. ``made``: Unix seconds."""

    member: str
    method: str
    key: bytes
    made: int
    signature: bytes

    def verify(self, member: Member, owner: str) -> None:
        """Raises PeerError protocol.signature, LocalError job.invalid unless it is ``owner``'s."""
        if self.member != owner:
            raise LocalError("job.invalid", f"The key for deposits is of {self.member}, not of {owner}.")
        statement = key_statement(self.member, self.method, self.key.hex(), self.made)
        member.verify(owner, DEPOSIT_KEY, statement, self.signature)

    @property
    def fingerprint(self) -> str:
        return paillier.PublicKey.from_bytes(self.key).fingerprint.hex()


class DepositKeys:
    """A member's folder of keys."""

    def __init__(self, member: Member, seed: Callable[[], bytes] = lambda: os.urandom(32)) -> None:
        self._member, self._seed = member, seed
        self._folder = member.folder / KEYS / "deposits"

    def current(self) -> SignedKey | None:
        """The newest; None where there is none yet."""
        found = sorted(self.all(), key=lambda k: (k.made, k.fingerprint))
        return found[-1] if found else None

    def all(self) -> list[SignedKey]:
        """Every key that was made here. Raises LocalError config.invalid for a file that is none."""
        return [self._read(p) for p in sorted(self._folder.glob("*.json"))]

    def make(self) -> SignedKey:
        """A new key, which is the current one from now on. Takes seconds."""
        secret = paillier.key_from_seed(self._seed(), paillier.MIN_BITS)
        now = self._member.clock()
        before = self.current()
        made = max(now, before.made + 1) if before else now
        public = secret.public.to_bytes()
        signature = self._member.sign(DEPOSIT_KEY, key_statement(self._member.name, METHOD, public.hex(), made))
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        name = secret.public.fingerprint.hex()
        primes = framed(*(x.to_bytes((x.bit_length() + 7) // 8, "big") for x in (secret.p, secret.q)))
        files.write(self._folder / f"{name}.key", self._cipher(name).encrypt(bytes(12), primes, None), 0o600)
        body = {
            "member": self._member.name,
            "method": METHOD,
            "key": public.hex(),
            "made": made,
            "signature": signature.hex(),
        }
        files.write(self._folder / f"{name}.json", json.dumps(body, indent=1) + "\n")
        return SignedKey(self._member.name, METHOD, public, made, signature)

    def secret(self, public: paillier.PublicKey) -> paillier.SecretKey:
        """The secret key that belongs to ``public``. Raises LocalError config.missing, config.invalid."""
        name = public.fingerprint.hex()
        path = self._folder / f"{name}.key"
        if not path.exists():
            raise LocalError(
                "config.missing",
                f"{self._member.name} has no secret key of the fingerprint {name[:16]}… in {self._folder}.",
                "Restore the keys folder from the backup; without this key the total cannot be opened.",
            )
        try:
            p, q = unframed(self._cipher(name).decrypt(bytes(12), read_secret(path), None))
        except (InvalidTag, ValueError):
            raise LocalError(
                "config.invalid",
                f"{path} cannot be opened: it is damaged, or was made under another identity key.",
                "Restore keys and identity from the same backup.",
            ) from None
        return paillier.SecretKey(public, int.from_bytes(p, "big"), int.from_bytes(q, "big"))

    def _read(self, path: Path) -> SignedKey:
        try:
            body = json.loads(files.read(path, "the key"))
            return SignedKey(
                body["member"],
                body["method"],
                bytes.fromhex(body["key"]),
                int(body["made"]),
                bytes.fromhex(body["signature"]),
            )
        except (ValueError, KeyError, TypeError) as problem:
            raise LocalError("config.invalid", f"{path} is no key for deposits.", "Restore it.") from problem

    def _cipher(self, name: str) -> AESGCM:
        """Of one key only, so that a nonce of zeros is used once."""
        secret = self._member.identity.signing.private_bytes_raw()
        return AESGCM(hkdf(secret, salt=bytes.fromhex(name), info=label("deposit-key-at-rest")))
