"""BFV against SEAL and against plain integers; and what an answer shows the key's holder beside the sum."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from mpc.coins import Coins
from mpc.crypto import bfv, negacyclic
from mpc.crypto.bfv import BITS, WHOLE, Parameters, SecretKey
from mpc.crypto.negacyclic import DEGREE, Residues, column

USES = pytest.mark.parametrize("use", [WHOLE, BITS], ids=["whole", "bits"])
#: products in one sum, at most
TERMS = 3


@pytest.fixture(scope="module")
def key() -> SecretKey:
    return bfv.new_key(Coins(b"k" * 32).words, "key")


def draw(seed: str = "d") -> bfv.Draw:
    return Coins(seed.encode() * 32).words


def numbers(seed: int, t: int, n: int = DEGREE) -> Residues:
    return np.random.default_rng(seed).integers(0, t, n, dtype=np.uint64)


def ciphertext(key: SecretKey, use: Parameters, slots: Residues, seed: str = "e") -> bfv.Ciphertext:
    (half,) = bfv.halves(seed.encode() * 32, use, 1)
    return bfv.encrypt(key, use, use.plain[0], slots, half, draw(seed), "e"), half


def polynomials(use: Parameters, c: bfv.Ciphertext) -> Residues:
    return np.stack([negacyclic.coefficients(x, use.q) for x in c])


def secret_polynomial(key: SecretKey) -> list[int]:
    first = negacyclic.coefficients(key.secret, WHOLE.q)[0]
    return [int(x) if x < 2 else -1 for x in first]


# ---- polynomials and parameters


def test_products_modulo_primes_at_their_edges():
    for p in (*WHOLE.q, *WHOLE.plain, *BITS.plain):
        some = [0, 1, 2, p // 2, p // 2 + 1, p - 2, p - 1, *(int(x) for x in numbers(1, p, 50))]
        pairs = [(a, b) for a in some for b in some]
        a, b = (np.array(x, dtype=np.uint64) for x in zip(*pairs, strict=True))
        quotients, rests = negacyclic.divide_product(a, b, np.array([p], dtype=np.uint64))
        assert list(zip(quotients.tolist(), rests.tolist(), strict=True)) == [divmod(x * y, p) for x, y in pairs]


def test_a_product_of_polynomials_wraps_with_a_minus():
    p = column(WHOLE.q)
    a = np.stack([numbers(2, q) for q in WHOLE.q])
    sparse = np.zeros_like(a)
    sparse[:, 3], sparse[:, DEGREE - 1] = 5, 7  # 5·X^3 + 7·X^(N−1)
    at_roots = negacyclic.multiply(negacyclic.transform(a, WHOLE.q), negacyclic.transform(sparse, WHOLE.q), p)
    found = negacyclic.coefficients(at_roots, WHOLE.q)
    for row, got, q in zip(a.astype(object), found.astype(object), WHOLE.q, strict=True):
        turned = [np.concatenate((-row[DEGREE - k :], row[: DEGREE - k])) for k in (3, DEGREE - 1)]
        assert np.array_equal(got, (5 * turned[0] + 7 * turned[1]) % q)
    assert np.array_equal(negacyclic.coefficients(negacyclic.transform(a, WHOLE.q), WHOLE.q), a)


def is_prime(n: int) -> bool:
    d, s = n - 1, (n - 1 & 1 - n).bit_length() - 1
    d >>= s
    for a in (2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37):  # enough below 3·10^24
        x = pow(a, d, n)
        if x in (1, n - 1):
            continue
        if all((x := x * x % n) != n - 1 for _ in range(s - 1)):
            return False
    return True


@USES
def test_parameters_are_those_that_the_page_argues_for(use: Parameters):
    primes = (*use.q, *use.plain)
    assert len(set(primes)) == len(primes)
    assert all(is_prime(p) and p % (2 * DEGREE) == 1 and p < 1 << 50 for p in primes)
    # HomomorphicEncryption.org, table 1: n = 8192, ternary secret, 128 bits
    assert DEGREE == 8192 and use.modulus.bit_length() <= 218
    noise, flood, t = use.noise(TERMS), 1 << use.flood, max(use.plain)
    assert flood >= noise << 75
    # what decrypts, with as much again to spare: before, and after the change of modulus with its rounding
    assert 4 * t * (noise + flood) < use.modulus
    kept = math.prod(use.q[: use.kept])
    rounding = DEGREE + 1
    assert 4 * t * ((noise + flood) * kept // use.modulus + rounding) < kept


def test_what_is_drawn(key: SecretKey):
    secret = np.array(secret_polynomial(key))
    assert set(secret.tolist()) == {-1, 0, 1} and abs(int(secret.sum())) < 400
    drawn = bfv._error(draw(), "error")[0].astype(object)
    errors = np.where(drawn > WHOLE.q[0] // 2, drawn - WHOLE.q[0], drawn).astype(np.int64)
    assert np.abs(errors).max() <= 21 and abs(errors.mean()) < 0.2 and 9.8 < errors.var() < 11.2  # 10.5
    assert not np.array_equal(bfv._error(draw("x"), "error")[0], drawn)


# ---- SEAL as the oracle


@USES
def test_seal_opens_our_ciphertexts_and_computes_the_same_words(use: Parameters, key: SecretKey, tmp_path: Path):
    pytest.importorskip("tenseal")
    from tests.mpc.crypto.seal import Oracle

    t = use.plain[0]
    oracle, secret = Oracle(use.q, t, tmp_path), secret_polynomial(key)
    u, v, w = (numbers(i, t) for i in range(3))
    mine = ciphertext(key, use, u)
    theirs = oracle.ciphertext(polynomials(use, mine))
    assert oracle.decrypt(secret, theirs) == bfv._polynomial(t, u).tolist()

    # ciphertext times plaintext: word for word
    factor = bfv._polynomial(t, v)
    by = negacyclic.transform(bfv._centred(factor, t, use.q), use.q)
    ours = polynomials(use, tuple(negacyclic.multiply(c, by, column(use.q)) for c in mine))
    product = type(theirs)()
    oracle.evaluator.multiply_plain(theirs, oracle.plain(factor.tolist()), product)
    assert np.array_equal(oracle.words(product), ours)

    # and a whole answer, flooded
    flooded = bfv.flooded(key.public, use, t, [(mine, v)], w, draw(), "a")
    want = bfv._polynomial(t, (u.astype(object) * v + w) % t)
    assert oracle.decrypt(secret, oracle.ciphertext(flooded)) == want.tolist()


# ---- exactness


@USES
def test_sums_of_products_are_exact(use: Parameters, key: SecretKey):
    for t in (use.plain[0], use.plain[-1]):
        edge = np.full(DEGREE, t - 1, dtype=np.uint64)
        u, v = [edge, *(numbers(i, t) for i in (1, 2))], [edge, *(numbers(i, t) for i in (3, 4))]
        halves = bfv.halves(b"h" * 32, use, TERMS)
        coins = draw()
        asked = [
            (bfv.encrypt(key, use, t, x, h, coins, str(i)), h) for i, (x, h) in enumerate(zip(u, halves, strict=True))
        ]
        answer = bfv.answer(key.public, use, t, list(zip(asked, v, strict=True)), edge, coins, "a")
        want = sum(x.astype(object) * y for x, y in zip(u, v, strict=True)) + edge
        assert np.array_equal(bfv.decrypt(key, use, t, answer), want % t)


@USES
def test_another_key_opens_nothing(use: Parameters, key: SecretKey):
    other = bfv.new_key(Coins(b"o" * 32).words, "key")
    t = use.plain[0]
    answer = bfv.answer(
        key.public, use, t, [(ciphertext(key, use, numbers(1, t)), numbers(2, t))], numbers(3, t), draw(), "a"
    )
    with pytest.raises(ValueError, match="under this key"):
        bfv.decrypt(other, use, t, answer)


def test_the_same_coins_make_the_same_ciphertexts(key: SecretKey):
    again = bfv.new_key(Coins(b"k" * 32).words, "key")
    assert np.array_equal(again.secret, key.secret) and np.array_equal(again.public.half, key.public.half)
    u = numbers(1, 65537)
    one, two, other = (ciphertext(key, BITS, u, seed) for seed in "eef")
    assert np.array_equal(one[0], two[0])
    assert not (one[0] == other[0]).any()
    assert "secret" not in repr(key) and str(int(key.secret[0, 0])) not in repr(key)


# ---- what the key's holder sees


def noise_of(key: SecretKey, use: Parameters, answer: Residues, plain: Residues) -> np.ndarray:
    """The error of an answer before the change of modulus, as whole numbers."""
    p, t = column(use.q), use.plain[0]
    turned = negacyclic.multiply(negacyclic.transform(answer[1], use.q), key.secret[: len(use.q)], p)
    phase = negacyclic.add(answer[0], negacyclic.coefficients(turned, use.q), p)
    off = negacyclic.subtract(phase, bfv._scaled(use, t, bfv._polynomial(t, plain)), p)
    total = sum(
        row.astype(object) * (use.modulus // q) * pow(use.modulus // q, -1, q)
        for row, q in zip(off, use.q, strict=True)
    )
    total %= use.modulus
    return np.where(total > use.modulus // 2, total - use.modulus, total)


def from_uniform(noise: np.ndarray, use: Parameters) -> float:
    """Kolmogorov's statistic of the noise against uniform in [−F, F), times √N: above 2 once in 1500 draws."""
    x = np.sort((noise / (1 << use.flood)).astype(float) / 2 + 0.5)
    steps = np.arange(1, DEGREE + 1) / DEGREE
    return float(np.abs(x - steps).max() * math.sqrt(DEGREE))


@USES
@pytest.mark.parametrize("factor", ["nothing", "most"])
def test_noise_does_not_depend_on_the_factors(use: Parameters, key: SecretKey, factor: str, monkeypatch):
    """It would without flooding: then nothing but the factors decides its size."""
    t = use.plain[0]
    u = numbers(1, t)
    v = np.zeros(DEGREE, dtype=np.uint64) if factor == "nothing" else numbers(2, t)
    c, w = ciphertext(key, use, u), numbers(3, t)
    plain = ((u.astype(object) * v + w) % t).astype(np.uint64)
    noise = noise_of(key, use, bfv.flooded(key.public, use, t, [(c, v)], w, draw(), "a"), plain)
    assert from_uniform(noise, use) < 2
    assert abs(noise).max() < (1 << use.flood) + use.noise(1)

    monkeypatch.setattr(bfv, "_flood", lambda use, draw, path: np.zeros((len(use.q), DEGREE), dtype=np.uint64))
    bare = noise_of(key, use, bfv.flooded(key.public, use, t, [(c, v)], w, draw(), "a"), plain)
    assert abs(bare).max() < use.noise(1)  # the bound holds
    assert from_uniform(bare, use) > 40
    without = use.noise(0)
    assert abs(bare).max() < without if factor == "nothing" else abs(bare).max() > without


def test_the_other_half_does_not_give_the_factors_away(key: SecretKey, monkeypatch):
    """Who made c1 could divide by it."""
    use, t = WHOLE, WHOLE.plain[0]
    v = numbers(2, t)
    c = ciphertext(key, use, numbers(1, t))
    by = negacyclic.transform(bfv._centred(bfv._polynomial(t, v), t, use.q), use.q)

    def divided() -> Residues:
        answer = bfv.flooded(key.public, use, t, [(c, v)], numbers(3, t), draw(), "a")
        q = use.q[0]
        inverse = np.array([pow(int(x), -1, q) for x in c[1][0][:50]], dtype=np.uint64)
        return negacyclic.multiply(negacyclic.transform(answer[1], use.q)[0][:50], inverse, column([q])[0])

    assert not (divided() == by[0][:50]).any()
    nothing = lambda draw, path: np.zeros((len(WHOLE.q), DEGREE), dtype=np.uint64)  # noqa: E731
    monkeypatch.setattr(bfv, "_ternary", nothing)
    monkeypatch.setattr(bfv, "_error", nothing)
    assert np.array_equal(divided(), by[0][:50])
