"""BFV and CKKS sums: exact at their limits, and strict about what strangers send."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpc.crypto import coefficients, lattice
from mpc.crypto.labels import framed
from mpc.errors import LocalError, PeerError
from mpc.messages import RingWords
from mpc.ring import ring

pytest.importorskip("tenseal")


@pytest.fixture(scope="module")
def bfv() -> lattice.SecretKey:
    return lattice.new_key("bfv", 1)


@pytest.fixture(scope="module")
def wide() -> lattice.SecretKey:
    return lattice.new_key("bfv", 3)


@pytest.fixture(scope="module")
def ckks() -> lattice.SecretKey:
    return lattice.new_key("ckks")


def total(secret: lattice.SecretKey, vectors: list[list[int]], bits: int) -> list[int]:
    """The sum of what several encrypted."""
    r, n = ring(bits), len(vectors[0])
    columns = [lattice.encrypt(secret.public, r.from_ints(v)) for v in vectors]
    for c in columns:
        lattice.verify_ciphertexts(secret.public, c, n, party="bank", step="deposit")
    added = lattice.add(secret.public, columns)
    lattice.verify_ciphertexts(secret.public, added, n, party="coordinator", step="total")
    return [int(v) for v in lattice.decrypt(secret, added, n)]


def test_bfv_is_exact_at_its_bound(bfv: lattice.SecretKey) -> None:
    most = (lattice.PRIMES[0] - 1) // 2
    share = most // 4
    vectors = [[share, -share, 0, 7] for _ in range(4)]
    vectors[0][0] += most - 4 * share
    vectors[0][1] -= most - 4 * share
    assert total(bfv, vectors, 64) == [most, -most, 0, 28]
    assert lattice.primes_for(most) == 1
    assert lattice.primes_for(most + 1) == 2


def test_several_primes_hold_what_one_does_not(wide: lattice.SecretKey) -> None:
    most = 2**126 - 1
    assert lattice.primes_for(2 * most) == 3
    assert total(wide, [[most, -most, 1, -1], [most, -most, -1, 0]], 128) == [2 * most, -2 * most, 0, -1]


@settings(max_examples=5, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(-(2**100), 2**100), st.integers(-(2**100), 2**100), st.integers(-5, 5)),
        min_size=1,
        max_size=6,
    )
)
def test_bfv_adds_like_integers(wide: lattice.SecretKey, rows: list[tuple[int, int, int]]) -> None:
    columns = [list(c) for c in zip(*rows, strict=True)]
    assert total(wide, columns, 128) == [sum(r) for r in rows]


@pytest.mark.parametrize("length", [1, 8192, 8193])
def test_vectors_longer_than_a_ciphertext(bfv: lattice.SecretKey, length: int) -> None:
    values = [(i * 2654435761) % 2**50 - 2**49 for i in range(length)]
    assert total(bfv, [values, values], 64) == [2 * v for v in values]


def test_ckks_rounds_to_the_exact_total(ckks: lattice.SecretKey) -> None:
    most = coefficients.most(20)
    assert most > 2**110
    share = most // 20
    rng = np.random.default_rng(7)
    vectors = [[int(x) for x in rng.integers(-(2**62), 2**62, 8200)] for _ in range(20)]
    for v in vectors:
        v[0], v[1], v[8191] = share, -share, 0
    vectors[0][0] += most - 20 * share
    vectors[0][1] -= most - 20 * share
    found = total(ckks, vectors, 128)
    assert found == [sum(v) for v in zip(*vectors, strict=True)] and found[:2] == [most, -most]


def test_a_value_that_is_no_whole_number_is_noticed(ckks: lattice.SecretKey) -> None:
    import tenseal

    half = bytes(tenseal.ckks_vector(lattice._context(ckks.public.contexts[0]), [0.5], 2.0**20).serialize())
    with pytest.raises(ValueError, match="whole"):
        lattice.decrypt(ckks, [half], 1)


def test_two_ciphertexts_of_one_value_differ(bfv: lattice.SecretKey, ckks: lattice.SecretKey) -> None:
    x = ring(64).from_ints([1, 2, 3])
    for key in (bfv.public, ckks.public):
        assert lattice.encrypt(key, x) != lattice.encrypt(key, x)


def test_adding_is_a_function_of_its_arguments(bfv: lattice.SecretKey) -> None:
    """An auditor who has the ciphertexts gets the coordinator's bytes."""
    x = ring(64).from_ints([1, 2, 3])
    columns = [lattice.encrypt(bfv.public, x) for _ in range(3)]
    again = lattice.PublicKey.from_bytes(bfv.public.to_bytes())
    assert lattice.add(bfv.public, columns) == lattice.add(again, columns)


def test_no_public_key_holds_a_secret(bfv: lattice.SecretKey, wide: lattice.SecretKey, ckks: lattice.SecretKey) -> None:
    for secret in (bfv, wide, ckks):
        for raw, kept in zip(secret.public.contexts, secret.contexts, strict=True):
            context = lattice._context(raw)
            assert context.is_public() and not context.has_secret_key()
            assert len(kept) > len(raw)
        with pytest.raises(LocalError) as refused:
            lattice.PublicKey(secret.public.scheme, secret.contexts)
        assert refused.value.code == "protocol.point"
        assert lattice.SecretKey.from_bytes(secret.to_bytes()).public == secret.public
        assert repr(secret).count("contexts") == 0


def test_keys_under_other_parameters_are_refused(bfv: lattice.SecretKey, ckks: lattice.SecretKey) -> None:
    import tenseal

    small = tenseal.context(tenseal.SCHEME_TYPE.BFV, poly_modulus_degree=4096, plain_modulus=1032193)
    raw = bytes(small.serialize(True, False, False, False))
    good = bfv.public.to_bytes()
    for bad in (
        framed(b"bfv", raw),
        framed(b"bfv", *ckks.public.contexts),
        framed(b"bfv"),
        framed(b"rsa", *bfv.public.contexts),
        good[:-1],
        good + b"\0",
        b"",
        framed(b"bfv", bfv.public.contexts[0] + b"\0"),
    ):
        with pytest.raises(LocalError) as refused:
            lattice.PublicKey.from_bytes(bad)
        assert refused.value.code == "protocol.point"


def _transparent(key: lattice.PublicKey) -> bytes:
    """A value minus itself: a ciphertext of nothing but zeros, where SEAL makes one at all."""
    context = lattice._context(key.contexts[0])
    c = lattice._vector(key.scheme, context, lattice.encrypt(key, ring(64).from_ints([5]))[0])
    return bytes((c - c).serialize())


def test_what_is_no_ciphertext_is_refused(
    bfv: lattice.SecretKey, wide: lattice.SecretKey, ckks: lattice.SecretKey
) -> None:
    def encrypted(key: lattice.PublicKey, values: list[int], bits: int = 64) -> list[bytes]:
        return lattice.encrypt(key, ring(bits).from_ints(values))

    def refused(ciphertexts: list[bytes], code: str, key: lattice.PublicKey = bfv.public, length: int = 3) -> None:
        with pytest.raises(PeerError) as said:
            lattice.verify_ciphertexts(key, ciphertexts, length, party="bank", step="deposit")
        assert said.value.code == code and said.value.facts["party"] == "bank"

    good = encrypted(bfv.public, [1, 2, 3])
    refused([], "protocol.size")
    refused(good * 2, "protocol.size")
    refused([good[0] + bytes(2**20)], "protocol.size")
    refused(encrypted(bfv.public, [1, 2]), "protocol.malformed")  # another length inside
    refused(encrypted(ckks.public, [1, 2, 3]), "protocol.malformed")
    refused([encrypted(wide.public, [1, 2, 3], 128)[1]], "protocol.malformed")  # another prime's parameters
    refused([b""], "protocol.malformed")
    for at in (0, 1, 2, 4, 8, 10, 12, len(good[0]) - 1):  # elsewhere a changed bit makes another ciphertext, of noise
        refused([good[0][:at] + bytes([good[0][at] ^ 1]) + good[0][at + 1 :]], "protocol.malformed")
    import tenseal

    context = lattice._context(ckks.public.contexts[0])
    other_scale = bytes(tenseal.ckks_vector(context, [1.0, 2.0, 3.0], 2.0**50).serialize())
    refused([other_scale], "protocol.malformed", ckks.public)


def test_a_ciphertext_that_hides_nothing_is_refused(bfv: lattice.SecretKey) -> None:
    try:
        bare = _transparent(bfv.public)
    except (RuntimeError, ValueError):
        return  # SEAL itself refuses to make it
    with pytest.raises(PeerError):
        lattice.verify_ciphertexts(bfv.public, [bare], 1, party="bank", step="deposit")


@given(st.integers(-(2**63), 2**63 - 1), st.integers(-(2**127), 2**127 - 1))
def test_residues(small: int, large: int) -> None:
    for bits, value in ((64, small), (128, large)):
        words: RingWords = ring(bits).from_ints([value])
        for p in lattice.PRIMES:
            (r,) = lattice._residues(words, p).tolist()
            assert (r - value) % p == 0 and abs(r) <= p // 2
