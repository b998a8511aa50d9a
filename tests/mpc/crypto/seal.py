"""Microsoft SEAL as an oracle: our polynomials and ciphertexts in its files, and its own back."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import tenseal.sealapi as seal
from numpy.typing import NDArray

from mpc.crypto.negacyclic import DEGREE

#: SEAL keeps a prime for keys only: a small one, so that all stay within what the standard allows for this degree
_KEYS_ONLY = 147457


class Oracle:
    """SEAL with these primes; files go to ``folder``."""

    def __init__(self, q: tuple[int, ...], t: int, folder: Path) -> None:
        parameters = seal.EncryptionParameters(seal.SCHEME_TYPE.BFV)
        parameters.set_poly_modulus_degree(DEGREE)
        parameters.set_coeff_modulus([seal.Modulus(p) for p in (*q, _KEYS_ONLY)])
        parameters.set_plain_modulus(t)
        self.q, self.t, self._folder = q, t, folder
        self.context = seal.SEALContext(parameters, True, seal.SEC_LEVEL_TYPE.TC128)
        assert self.context.parameters_set()
        self.evaluator = seal.Evaluator(self.context)

    def plain(self, polynomial: list[int]) -> Any:
        """A plaintext from coefficients."""
        terms = [f"{c % self.t:X}x^{i}" for i, c in reversed(list(enumerate(polynomial))) if c % self.t]
        return seal.Plaintext(" + ".join(terms) or "0")

    def ciphertext(self, polynomials: NDArray[np.uint64]) -> Any:
        """From coefficients, (2, primes, N)."""
        named = struct.pack("<4Q", *self.context.first_parms_id())
        head = struct.pack("<?QQQdQ", False, *polynomials.shape[:1], DEGREE, len(self.q), 1.0, 1)
        words = polynomials.astype("<u8").tobytes()
        array = _filed(struct.pack("<Q", polynomials.size) + words)
        path = self._folder / "ciphertext"
        path.write_bytes(_filed(named + head + array))
        out = seal.Ciphertext()
        out.load(self.context, str(path))
        return out

    def words(self, ciphertext: Any) -> NDArray[np.uint64]:
        """The coefficients of a ciphertext, (2, primes, N)."""
        array, count = ciphertext.dyn_array(), 2 * len(self.q) * DEGREE
        return np.fromiter(map(array.at, range(count)), np.uint64, count).reshape(2, len(self.q), DEGREE)

    def decrypt(self, secret: list[int], ciphertext: Any) -> list[int]:
        """The plaintext's coefficients, under a secret polynomial."""
        key = self.plain(secret)
        self.evaluator.transform_to_ntt_inplace(key, self.context.key_parms_id())
        path = self._folder / "secret"
        key.save(str(path))
        loaded = seal.SecretKey()
        loaded.load(self.context, str(path))
        plain = seal.Plaintext()
        decryptor = seal.Decryptor(self.context, loaded)
        assert decryptor.invariant_noise_budget(ciphertext) > 0
        decryptor.decrypt(ciphertext, plain)
        array = plain.dyn_array()
        found = [array.at(i) for i in range(plain.coeff_count())]
        return found + [0] * (DEGREE - len(found))


def _filed(content: bytes) -> bytes:
    """With the header of a SEAL 4 file that is not compressed."""
    return struct.pack("<HBBBBHQ", 0xA15E, 16, 4, 3, 0, 0, 16 + len(content)) + content
