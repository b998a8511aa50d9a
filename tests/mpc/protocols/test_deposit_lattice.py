"""P10 under BFV and CKKS against the plain sum, at the bounds, and with each thing that can be wrong."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpc.coins import Coins
from mpc.crypto import coefficients, lattice
from mpc.crypto.labels import framed, unframed
from mpc.errors import HejiError, LocalError
from mpc.lifted import MOST_WORDS, WORD_BLIND, LiftedWords
from mpc.protocols.deposit import Terms, add_up, open_total, verify_body
from mpc.protocols.deposit_lattice import PARTS, NamedKey, body_of, lifted
from mpc.protocols.total import Sum
from mpc.ring import ring
from tests.mpc.protocols.test_deposit import NAMES, refused
from tests.mpc.protocols.test_deposit import terms as paillier_terms


@pytest.fixture(scope="module", params=["bfv", "ckks"])
def secret(request: pytest.FixtureRequest) -> lattice.SecretKey:
    return lattice.new_key(request.param, PARTS[request.param])


def named(secret: lattice.SecretKey) -> NamedKey:
    return NamedKey(secret.public.scheme, secret.public.fingerprint, secret.public)


def terms(secret: lattice.SecretKey, *sums: Sum) -> Terms:
    return paillier_terms(key=named(secret), sums=sums)


def one(bits: int = 64, length: int = 3) -> Sum:
    return Sum(f"s{bits}", NAMES, "analyst", bits, length)


def made(t: Terms, values: dict[str, list[int]], seed: int = 0) -> bytes:
    vectors = {s.name: ring(s.bits).from_ints(values[s.name]) for s in t.sums}
    assert isinstance(t.key, NamedKey)
    whole = lifted(t.key.scheme, t.sums, vectors, Coins(bytes([seed]) * 32))
    return body_of([lattice.encrypt(t.key.of(s), whole[s.name]) for s in t.sums])


# ---- words in plaintexts


@settings(max_examples=30, deadline=None, database=None)
@given(data=st.data(), bits=st.sampled_from([64, 128]), length=st.integers(1, 20), block=st.integers(2, 9))
def test_lifted_words_add_like_the_ring(data, bits, length, block):
    layout, z = LiftedWords(bits, length, block), ring(bits)
    word = st.sampled_from([0, 1, -1, -(1 << (bits - 1)), (1 << (bits - 1)) - 1]) | st.integers(0, (1 << bits) - 1)
    vectors = data.draw(st.lists(st.lists(word, min_size=length, max_size=length), min_size=1, max_size=5))
    blinds = [data.draw(st.sampled_from([b"\x00", b"\xff"])) * layout.blind_bytes for _ in vectors]
    whole = [
        layout.lift(z.from_ints([w % (1 << bits) for w in v]), b).astype(object)
        for v, b in zip(vectors, blinds, strict=True)
    ]
    added = sum(sum(w[:, i] << (64 * i) for i in range(w.shape[1])) for w in whole)
    found = z.from_ints(layout.whole(np.asarray(added, dtype=object), len(vectors)).tolist())
    expected = z.from_ints([sum(column) % (1 << bits) for column in zip(*vectors, strict=True)])
    assert (found == expected).all()
    with pytest.raises(ValueError):
        layout.whole(np.asarray(added, dtype=object), len(vectors) + 1)
    for wrong in (-1, len(vectors) << (bits + WORD_BLIND)):
        beyond = np.asarray(added, dtype=object).copy()
        beyond[-1] = wrong
        with pytest.raises(ValueError):
            layout.whole(beyond, len(vectors))


@pytest.mark.parametrize(("bits", "primes"), [(64, 2), (128, 3)])
def test_so_many_deposits_stay_below_the_product_of_the_primes(bits: int, primes: int) -> None:
    assert MOST_WORDS << (bits + WORD_BLIND) < np.prod(np.array(lattice.PRIMES[:primes], dtype=object))


def test_so_many_deposits_are_within_what_ckks_gives_exactly() -> None:
    assert coefficients.most(MOST_WORDS) > MOST_WORDS << (64 + WORD_BLIND)
    assert coefficients.off(MOST_WORDS) < Fraction(1, 4)


# ---- exactness


def test_equals_the_plain_sum_at_the_bounds_of_the_ring(secret: lattice.SecretKey) -> None:
    """Both rings in one job, more than one ciphertext of one of them, every extreme; two deposits differ."""
    length = lattice.DEGREE + 5
    t = terms(secret, one(64, length), one(128, 3))
    extremes = {64: [-(1 << 63), (1 << 63) - 1, 0, -1, 7], 128: [-(1 << 127), (1 << 127) - 1, -1]}
    values = {"s64": (extremes[64] * (length // 5 + 1))[:length], "s128": extremes[128]}
    bodies = {n: made(t, values, i) for i, n in enumerate(NAMES)}
    assert bodies["tax"] != made(t, values, NAMES.index("tax"))
    total = open_total(t, sorted(NAMES), add_up(t, bodies), secret)
    for s in t.sums:
        z = ring(s.bits)
        assert (total[s.name] == z.from_ints([len(NAMES) * v % (1 << s.bits) for v in values[s.name]])).all()
    assert len(bodies["tax"]) <= t.bytes


def test_a_spoiled_word_is_uniform_noise_and_the_others_are_exact(secret: lattice.SecretKey) -> None:
    t = terms(secret, one(64, 3))
    noise = 0xFEDCBA9876543210
    bodies = {n: made(t, {"s64": [5, noise if n == "tax" else 5, -5]}, i) for i, n in enumerate(NAMES)}
    total = open_total(t, sorted(NAMES), add_up(t, bodies), secret)["s64"]
    assert ring(64).to_ints(total)[::2] == [20, -20]
    assert int(total[1]) == (noise + 15) % (1 << 64)


# ---- what is refused


def test_another_key_or_part_of_one(secret: lattice.SecretKey) -> None:
    scheme = secret.public.scheme
    other = lattice.new_key(scheme, PARTS[scheme])
    t = terms(secret, one())
    bodies = {n: made(t, {"s64": [1, 2, 3]}, i) for i, n in enumerate(NAMES)}
    refused("protocol.point", NamedKey, scheme, secret.public.fingerprint, other.public)
    refused("protocol.point", NamedKey, "ckks" if scheme == "bfv" else "bfv", secret.public.fingerprint, secret.public)
    if scheme == "bfv":
        short = lattice.PublicKey("bfv", secret.public.contexts[:2])
        refused("protocol.point", NamedKey, scheme, short.fingerprint, short)
    secrets = framed(scheme.encode(), *secret.contexts)
    refused("protocol.point", lattice.PublicKey.from_bytes, secrets)  # holds the secret
    refused("protocol.point", open_total, t, sorted(NAMES), add_up(t, bodies), other)
    foreign = paillier_terms(key=named(other), sums=t.sums)
    bodies["tax"] = made(foreign, {"s64": [1, 2, 3]})
    refused("protocol.malformed", open_total, t, sorted(NAMES), add_up(t, bodies), secret)
    bare = paillier_terms(key=NamedKey(scheme, secret.public.fingerprint), sums=t.sums)
    refused("evidence.missing", add_up, bare, bodies)


def test_malformed_deposits(secret: lattice.SecretKey) -> None:
    t = terms(secret, one())
    good = made(t, {"s64": [1, 2, 3]})
    verify_body(t, good, "tax")
    parts = unframed(good)
    several = len(parts) > 1
    swapped = [framed(parts[0]), framed(*parts[::-1])] if several else []  # each under the parameters of another prime
    cut = framed(*parts[:-1], parts[-1][:-1])
    length = 4 if several else lattice.DEGREE
    longer = made(terms(secret, one(64, length)), {"s64": [1] * length})
    for bad in (b"", good[:-1], good + b"\0", framed(*parts, parts[0]), *swapped, cut, longer):
        assert refused("protocol.malformed", verify_body, t, bad, "tax").party == "tax"


def test_another_number_of_deposits_than_are_named(secret: lattice.SecretKey) -> None:
    t = terms(secret, one())
    bodies = {n: made(t, {"s64": [1, 2, 3]}, i) for i, n in enumerate(NAMES)}
    three = {n: bodies[n] for n in NAMES[:3]}
    refused("protocol.malformed", open_total, t, sorted(NAMES), add_up(t, three), secret)
    refused("policy.contributors", add_up, t, {n: bodies[n] for n in NAMES[:2]})


def test_too_many_depositors(secret: lattice.SecretKey) -> None:
    many = tuple(f"bank_{i:02}" for i in range(MOST_WORDS + 1))
    organisations = {n: n for n in (*many, "analyst", "coordinator")}
    with pytest.raises(LocalError) as caught:
        paillier_terms(key=named(secret), depositors=many, organisations=organisations)
    assert caught.value.code == "plan.deposit"
    paillier_terms(key=named(secret), depositors=many[1:], organisations=organisations)


def test_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "tenseal", None)
    with pytest.raises(HejiError) as caught:
        lattice.verify_installed()
    assert caught.value.code == "config.missing" and "heji[lattice]" in caught.value.advice


def test_halves_of_a_long_word_show_no_carry_of_the_lower_ones() -> None:
    """Under CKKS a word of 128 bits is two: all that the sum of the lower ones has besides the total's lower half is
    their carry under a sum of blinds, and the sum of the upper ones follows from the two."""
    s = one(128, 1)
    seen = []
    for lows in ((2**64 - 1, 1), (0, 0)):  # with and without a carry
        whole = [
            lifted("ckks", (s,), {s.name: ring(128).from_ints([low + (5 << 64)])}, Coins(bytes([i]) * 32))[s.name]
            for i, low in enumerate(lows)
        ]
        numbers = [[int(w[0]) + (int(w[1]) << 64) for w in x[1:]] for x in whole]
        low, high = (sum(column) for column in zip(*numbers, strict=True))
        assert (low + (high << 64)) % 2**128 == (sum(lows) + (10 << 64)) % 2**128
        blinds = sum(x[0] >> 64 for x in numbers)
        assert high % 2**64 == (10 - blinds) % 2**64
        seen.append((low >> 64) - blinds)
    assert seen == [1, 0]
