"""A recipient's keys for deposits: made where it lives, encrypted at rest, signed for others.

    FOLDER/keys/deposits/FINGERPRINT.json    {"member", "method", "key", "made", "signature"}: what jobs carry
    FOLDER/keys/deposits/FINGERPRINT.public  of BFV and CKKS, whose ``key`` above is the fingerprint: the public key
    FOLDER/keys/deposits/FINGERPRINT.key     AES-256-GCM of the secret key, under a key of the identity's    0600

The newest of a method is used for new jobs, older ones open totals of older jobs. Whoever has ``keys`` as a whole has
them: back it up as a whole. Without ``identity.pem`` the secrets cannot be read, and without them no total is opened.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from mpc.crypto import lattice, paillier
from mpc.crypto.agree import hkdf
from mpc.crypto.labels import framed, label, unframed
from mpc.errors import LocalError
from mpc.job import LATTICES, key_statement
from mpc.protocols.deposit import DEPOSIT_KEY
from mpc.protocols.deposit_lattice import PARTS, scheme_of
from parties import files
from parties.identity import KEYS, read_secret
from parties.member import Member


@dataclass(frozen=True)
class SignedKey:
    """A public key, of lattices its fingerprint, and its owner's signature over ``mpc.job.key_statement``. ``made``:
    Unix seconds."""

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
        if self.method in LATTICES:
            return self.key.hex()
        return paillier.PublicKey.from_bytes(self.key).fingerprint.hex()


class DepositKeys:
    """A member's folder of keys."""

    def __init__(self, member: Member, seed: Callable[[], bytes] = lambda: os.urandom(32)) -> None:
        self._member, self._seed = member, seed
        self._folder = member.folder / KEYS / "deposits"

    def current(self, method: str = "paillier") -> SignedKey | None:
        """The newest of a method; None where there is none yet."""
        found = sorted((k for k in self.all() if k.method == method), key=lambda k: (k.made, k.fingerprint))
        return found[-1] if found else None

    def all(self) -> list[SignedKey]:
        """Every key that was made here. Raises LocalError config.invalid for a file that is none."""
        return [self._read(p) for p in sorted(self._folder.glob("*.json"))]

    def make(self, method: str = "paillier") -> SignedKey:
        """A new key, which is the current one of its method from now on. Takes seconds. Raises LocalError plan.trust
        where no deposit could ever be made under it."""
        self._verify_may_receive()
        name, told, public, secret = _new_paillier(self._seed()) if method == "paillier" else _new_lattice(method)
        now = self._member.clock()
        before = self.current(method)
        made = max(now, before.made + 1) if before else now
        signature = self._member.sign(DEPOSIT_KEY, key_statement(self._member.name, method, told.hex(), made))
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        files.write(self._folder / f"{name}.key", self._cipher(name).encrypt(bytes(12), secret, None), 0o600)
        if public:
            files.write(self._folder / f"{name}.public", public)
        body = {
            "member": self._member.name,
            "method": method,
            "key": told.hex(),
            "made": made,
            "signature": signature.hex(),
        }
        files.write(self._folder / f"{name}.json", json.dumps(body, indent=1) + "\n")
        return SignedKey(self._member.name, method, told, made, signature)

    def _verify_may_receive(self) -> None:
        roster, name = self._member.roster, self._member.name
        mine = roster.organisation_of(name)
        for coordinator in roster.members_with("coordinator"):
            if roster.organisation_of(coordinator) == mine:
                raise LocalError(
                    "plan.trust",
                    f"{name} is of {mine}, which runs the coordinator and so keeps everybody's deposits: with a key of "
                    "its own it could open every single deposit, so nobody may deposit under it, and none is made.",
                    "Make the key as a member of another organisation, which is to receive the total.",
                )

    def whole(self, key: SignedKey) -> bytes:
        """The public key itself, where ``key`` holds its fingerprint. Raises LocalError config.missing."""
        path = self._folder / f"{key.fingerprint}.public"
        if not path.exists():
            raise LocalError("config.missing", f"{path} is missing.", "Put keys/deposits back from the backup.")
        return path.read_bytes()

    def secret(self, fingerprint: bytes) -> paillier.SecretKey | lattice.SecretKey:
        """The secret key of this fingerprint. Raises LocalError config.missing, config.invalid."""
        name = fingerprint.hex()
        path = self._folder / f"{name}.key"
        if not path.exists():
            raise LocalError(
                "config.missing",
                f"{self._member.name} has no secret key of the fingerprint {name[:16]}… in {self._folder}.",
                "Put keys/deposits back from the backup, nothing else; without this key the total cannot be opened.",
            )
        try:
            raw = self._cipher(name).decrypt(bytes(12), read_secret(path), None)
            signed = self._read(path.with_suffix(".json"))
            if signed.method in LATTICES:
                return lattice.SecretKey.from_bytes(raw)
            p, q = unframed(raw)
        except (InvalidTag, ValueError):
            raise LocalError(
                "config.invalid",
                f"{path} cannot be opened: it is damaged, or was made under another identity key.",
                "Restore keys and identity from the same backup.",
            ) from None
        public = paillier.PublicKey.from_bytes(signed.key)
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


def _new_paillier(seed: bytes) -> tuple[str, bytes, bytes, bytes]:
    """Fingerprint in hex, what jobs carry, nothing beside, and the secret."""
    paillier.verify_installed()
    made = paillier.key_from_seed(seed, paillier.MIN_BITS)
    primes = framed(*(x.to_bytes((x.bit_length() + 7) // 8, "big") for x in (made.p, made.q)))
    return made.public.fingerprint.hex(), made.public.to_bytes(), b"", primes


def _new_lattice(method: str) -> tuple[str, bytes, bytes, bytes]:
    """The same; what jobs carry is the fingerprint, and the key is beside. SEAL draws the randomness."""
    scheme = scheme_of(method)
    made = lattice.new_key(scheme, PARTS[scheme])
    told = made.public.fingerprint
    return told.hex(), told, made.public.to_bytes(), made.to_bytes()
