"""Unified social credit codes: real ones pass, any single mistake is caught, many at once equal one by one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from parties.demo.credit_code import (
    ALPHABET,
    check_character,
    complete,
    organisation_check_character,
    verify_credit_code,
)

#: published by their holders; the first is the example of GB 32100-2015's commentaries
REAL = ("91350100M000100Y43", "91110000600037341L", "91440300708461136T")


@pytest.mark.parametrize("code", REAL)
def test_real_codes(code: str) -> None:
    verify_credit_code(code)
    assert check_character(code[:17]) == code[17]
    assert organisation_check_character(code[8:16]) == code[16]


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("91350100M000100Y4", "18 characters"),
        ("91350100M000100Y433", "18 characters"),
        ("91350100M000100Y4O", "position 18"),
        ("91350100m000100Y43", "position 9"),
        ("9135O100M000100Y43", "position 5"),
        ("９1350100M000100Y43", "position 1:"),
        ("9135A100M000100Y43", "region"),
        ("91350100M000101Y43", "organisation code"),
        ("91350100M000100Y44", "position 18"),
        ("92350100M000100Y43", "position 18"),
    ],
)
def test_wrong_codes(code: str, says: str) -> None:
    with pytest.raises(ValueError, match=says) as caught:
        verify_credit_code(code)
    assert code not in str(caught.value)


@given(st.sampled_from(REAL), st.integers(0, 17), st.sampled_from(ALPHABET))
def test_any_single_substitution_is_caught(code: str, place: int, other: str) -> None:
    changed = code[:place] + other + code[place + 1 :]
    if changed != code:
        with pytest.raises(ValueError):
            verify_credit_code(changed)


@given(st.integers(0, 2**32))
def test_many_at_once_equal_one_by_one(seed: int) -> None:
    bodies = np.random.Generator(np.random.PCG64(seed)).integers(0, 31, size=(20, 18), dtype=np.uint8)
    bodies[:, 2:8] %= 10
    for row, code in zip(bodies, complete(bodies), strict=True):
        text = code.tobytes().decode()
        assert text[:16] == "".join(ALPHABET[i] for i in row[:16])
        verify_credit_code(text)
