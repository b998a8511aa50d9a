"""BFV and CKKS ciphertexts as functions of a seed, so that who made one can make it again: by SEAL, under TenSEAL.

SEAL draws the u, e1 and e2 of a ciphertext from a generator that it makes anew for every encryption. TenSEAL leaves it
unseeded; its binding of SEAL (``tenseal.sealapi``) lets a context have a Blake2xb generator with a seed of 64 bytes.
**Such a context encrypts everything with the same randomness**: the difference of two of its ciphertexts would be that
of their plaintexts, in the clear. So each ciphertext has a seed and a context of its own here, and neither comes back.

The same seed, key and numbers give the same bytes under the same TenSEAL (pinned in constraints.txt).
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from mpc.crypto.coefficients import varint

#: the bytes of what a function writes to the path that it is given: SEAL saves to files only, and mpc opens none
Saved = Callable[[Callable[[str], Any]], bytes]

#: of Blake2xb as SEAL seeds it: eight words
SEED_BYTES = 64


@dataclass(frozen=True, eq=False)
class Seeds:
    """``raw``: ``SEED_BYTES`` for each ciphertext of one vector, drawn for it alone and kept secret."""

    raw: bytes = field(repr=False)
    saved: Saved

    def of(self, number: int) -> bytes:
        """The seed of one ciphertext."""
        seed = self.raw[number * SEED_BYTES : (number + 1) * SEED_BYTES]
        assert len(seed) == SEED_BYTES
        return seed


def seeded_vector(context: Any, values: Sequence[Any], scale: float | None, seed: bytes, saved: Saved) -> bytes:
    """What ``tenseal.bfv_vector(context, values).serialize()`` gives, or with a ``scale`` ``ckks_vector``, but with the
    randomness of ``seed``."""
    from tenseal import sealapi as seal

    parameters = seal.EncryptionParameters(context.seal_context().data.key_context_data().parms())
    words = [int.from_bytes(seed[i : i + 8], "little") for i in range(0, SEED_BYTES, 8)]
    parameters.set_random_generator(seal.Blake2xbPRNGFactory(words))
    # without the chain of smaller moduli, which only who multiplies needs and which takes half of the time
    own = seal.SEALContext(parameters, False, seal.SEC_LEVEL_TYPE.TC128)
    plain, made = seal.Plaintext(), seal.Ciphertext(own)
    if scale is None:
        seal.BatchEncoder(own).encode(list(values), plain)
    else:
        seal.CKKSEncoder(own).encode(list(values), scale, plain)
    seal.Encryptor(own, context.public_key().data).encrypt(plain, made)
    raw, length = saved(made.save), varint(len(values))
    # TenSEAL's BFVVectorProto or CKKSVectorProto: its sizes, its ciphertexts, the scale
    vector = b"\x0a" + varint(len(length)) + length + b"\x12" + varint(len(raw)) + raw
    return vector if scale is None else vector + b"\x19" + struct.pack("<d", scale)
