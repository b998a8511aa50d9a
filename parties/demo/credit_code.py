"""Unified social credit codes (统一社会信用代码), GB 32100-2015: 18 characters that name an organisation in China.

    9 1  350100  M000100Y4  3
    | |  |       |          check character over the 17 before it (ISO 7064 MOD 31-3)
    | |  |       organisation code, GB 11714: 8 characters and a check character
    | |  registration authority's region, GB/T 2260
    | category (1 enterprise, 2 household business, 3 farmers' cooperative under 9)
    registering department (9: market regulation)

The alphabet has 31 characters: 0-9 and A-Z without I, O, S, V, Z. Character i (from 0) weighs 3^i mod 31, and all 18
weighted values add up to 0 mod 31. Organisation codes count letters as A = 10 ... Z = 35, with weights of their own.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

ALPHABET = "0123456789ABCDEFGHJKLMNPQRTUWXY"
LENGTH = 18
WEIGHTS = tuple(pow(3, i, 31) for i in range(LENGTH - 1))
ORGANISATION = slice(8, 17)
ORGANISATION_WEIGHTS = (3, 7, 9, 10, 5, 8, 4, 2)

_ASCII = np.frombuffer(ALPHABET.encode(), dtype=np.uint8)
#: value of each ALPHABET character in an organisation code, where letters keep their places in the full alphabet
_ORGANISATION_VALUES = np.array([int(c, 36) for c in ALPHABET], dtype=np.int64)

Codes = npt.NDArray[np.uint8]


def check_character(body: str) -> str:
    """The 18th character for the 17 of ``body``. Raises ValueError on another length or alphabet."""
    if len(body) != LENGTH - 1:
        raise ValueError(f"a credit code has {LENGTH - 1} characters before its check character, not {len(body)}")
    total = sum(ALPHABET.index(c) * w for c, w in zip(body, WEIGHTS, strict=True))
    return ALPHABET[-total % 31]


def organisation_check_character(body: str) -> str:
    """GB 11714: the 9th character for the 8 of ``body``; ``X`` stands for 10."""
    total = sum(int(c, 36) * w for c, w in zip(body, ORGANISATION_WEIGHTS, strict=True))
    return "0123456789X"[-total % 11]


def verify_credit_code(code: str) -> None:
    """Raises ValueError saying what is wrong with ``code``; the message never repeats the code itself."""
    if len(code) != LENGTH:
        raise ValueError(f"a unified social credit code has {LENGTH} characters, this one has {len(code)}")
    for position, c in enumerate(code, start=1):
        if c not in ALPHABET:
            raise ValueError(f"position {position}: credit codes use only 0-9 and A-Z without I, O, S, V, Z")
    if not code[2:8].isdigit():
        raise ValueError("positions 3 to 8 are a region code and must be digits")
    if organisation_check_character(code[8:16]) != code[16]:
        raise ValueError("the organisation code in positions 9 to 17 does not match its check character (position 17)")
    if check_character(code[:17]) != code[17]:
        raise ValueError("the code does not match its check character (position 18)")


def complete(bodies: Codes) -> Codes:
    """Fill in both check characters of many codes at once.

    ``bodies``: n x 18 indices into ALPHABET, whose columns 16 and 17 are ignored. Returns n x 18 ASCII bytes.
    """
    codes = bodies.copy()
    organisation = _ORGANISATION_VALUES[codes[:, 8:16]] @ np.array(ORGANISATION_WEIGHTS)
    check = -organisation % 11
    codes[:, 16] = np.where(check == 10, ALPHABET.index("X"), check)
    codes[:, 17] = -(codes[:, :17].astype(np.int64) @ np.array(WEIGHTS)) % 31
    return _ASCII[codes]
