"""P10 against the plain sum, at the bounds, and with each thing that can be wrong with a deposit or a total."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpc.coins import Coins
from mpc.crypto import paillier
from mpc.crypto.paillier import Pool, SecretKey, key_from_seed
from mpc.errors import HejiError, PeerError
from mpc.protocols.deposit import (
    DEPOSIT,
    Terms,
    add_up,
    encrypt,
    open_total,
    read_statement,
    statement_of,
    verify_body,
    withdrawal,
)
from mpc.protocols.total import Sum
from mpc.ring import ring

NAMES = ("bank_a", "bank_b", "tax", "telecom")
ORGANISATIONS = {n: n for n in (*NAMES, "analyst", "coordinator")}
APPROVAL = b"{}"
_KEYS: dict[tuple[int, int], SecretKey] = {}


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paillier, "MIN_BITS", 1024)


def key(seed: int = 1) -> SecretKey:
    if (seed, paillier.MIN_BITS) not in _KEYS:
        _KEYS[seed, paillier.MIN_BITS] = key_from_seed(bytes([seed]) * 32, paillier.MIN_BITS)
    return _KEYS[seed, paillier.MIN_BITS]


def terms(bits: int = 64, length: int = 3, **changed) -> Terms:
    usual = Terms(
        job="09" * 32, plan="0a" * 32, depositors=NAMES, recipient="analyst", coordinator="coordinator",
        organisations=ORGANISATIONS, key=key().public, least=3, sums=(Sum("s", NAMES, "analyst", bits, length),),
    )  # fmt: skip
    return replace(usual, **changed)


def made(t: Terms, me: str, values: list[int], seed: int = 0) -> bytes:
    secret = bytes([seed]) + me.encode().ljust(31, b".")
    pool = Pool(t.key)
    pool.fill(secret, t.ciphertexts)
    return encrypt(t, {s.name: ring(s.bits).from_ints(values) for s in t.sums}, Coins(secret), pool)


def refused(code: str, call, *args, **kwargs) -> HejiError:
    with pytest.raises(HejiError) as caught:
        call(*args, **kwargs)
    assert caught.value.code == code
    return caught.value


def signed(label: str, who: str, raw: bytes) -> bytes:
    return f"{who} under {label}".encode() + raw


def verify(who: str, label: str, raw: bytes, signature: bytes) -> None:
    if signature != signed(label, who, raw):
        raise PeerError("protocol.signature", "no", party=who)


# ---- exactness


@settings(max_examples=12, deadline=None, database=None)
@given(data=st.data(), bits=st.sampled_from([64, 128]), length=st.integers(1, 30))
def test_equals_the_plain_sum_and_the_bounds_are_the_ring_s(data, bits, length):
    t = terms(bits, length)
    who = data.draw(st.permutations(NAMES))[: data.draw(st.integers(3, 4))]
    most = 1 << (bits - 1)
    value = st.sampled_from([-most, most - 1, 0]) | st.integers(-most, most - 1)
    values = [data.draw(st.lists(value, min_size=length, max_size=length)) for _ in who]
    bodies = {n: made(t, n, v) for n, v in zip(who, values, strict=True)}
    total = open_total(t, who, add_up(t, bodies), key())
    sums = [(sum(column) + most) % (2 * most) - most for column in zip(*values, strict=True)]
    assert ring(bits).to_ints(total["s"]) == sums


def test_several_sums_lie_one_behind_the_other():
    sums = tuple(Sum(n, NAMES, "analyst", b, 2) for n, b in (("x", 64), ("y", 128)))
    t = terms(sums=sums)
    total = open_total(t, NAMES[:3], add_up(t, {n: made(t, n, [-1, 5]) for n in NAMES[:3]}), key())
    assert {n: ring(128 if n == "y" else 64).to_ints(v) for n, v in total.items()} == {"x": [-3, 15], "y": [-3, 15]}


def test_a_spoiled_word_is_uniform_and_nothing_else_moves():
    """One depositor adds random words: what the recipient reads there is random, the others' words are exact."""
    t = terms(length=2)
    draw = np.random.Generator(np.random.PCG64(1))
    seen = []
    for i in range(30):
        noise = int(draw.integers(0, 2**64, dtype=np.uint64))
        bodies = {n: made(t, n, [noise if n == "tax" else 7, 7], i) for n in NAMES[:3]}
        low, exact = open_total(t, NAMES[:3], add_up(t, bodies), key())["s"]
        assert exact == 21
        seen.append(int(low))
    assert max(seen) > 2**63 > min(seen)


def test_one_value_twice_looks_different():
    t = terms()
    assert made(t, "tax", [5, 5, 5], 1) != made(t, "tax", [5, 5, 5], 2)


def test_coins_and_factors_serve_once():
    t = terms()
    pool, coins = Pool(t.key), Coins(b"c" * 32)
    pool.fill(b"s" * 32, 2)
    vectors = {"s": ring(64).from_ints([1, 2, 3])}
    encrypt(t, vectors, coins, pool)
    refused("protocol.reuse", encrypt, t, vectors, coins, pool)  # the lifts
    refused("protocol.reuse", encrypt, terms(length=40), {"s": ring(64).zeros(40)}, Coins(b"d" * 32), pool)


# ---- terms


def test_coordinator_and_recipient_of_one_organisation():
    refused("plan.trust", terms, organisations={**ORGANISATIONS, "coordinator": "analyst"})


@pytest.mark.parametrize("changed", [{"least": 1}, {"least": 5}, {"depositors": ("bank_a",), "least": 2}])
def test_a_minimum_of_two_and_no_more_than_there_are(changed):
    refused("policy.contributors", terms, **changed)


def test_banks_of_one_institution_count_once_and_the_recipient_s_do_not():
    together = {**ORGANISATIONS, "bank_a": "bank", "bank_b": "bank", "tax": "analyst"}
    t = terms(organisations=together, least=2)
    assert t.counted(NAMES) == 2 and not t.all_needed
    refused("policy.contributors", t.verify_enough, ("bank_a", "bank_b", "tax"))
    assert terms(least=4).all_needed and not terms().all_needed


# ---- deposits


def statement(t: Terms, me: str, body: bytes = b"body", number: int = 0) -> bytes:
    return statement_of(t, me, number, "0b" * 32, APPROVAL, body).to_bytes()


def test_a_statement_is_read_as_it_was_signed():
    t = terms()
    raw = statement(t, "tax", number=4)
    said = read_statement(t, raw, signed(DEPOSIT, "tax", raw), "tax", verify)
    assert (said.party, said.number, said.job) == ("tax", 4, t.job)
    refused("protocol.signature", read_statement, t, raw, b"", "tax", verify)
    refused("protocol.signature", read_statement, t, raw, signed("withdrawal", "tax", raw), "tax", verify)


@pytest.mark.parametrize(
    "other",
    [{"job": "08" * 32}, {"plan": "08" * 32}, {"key": key_from_seed(b"\x02" * 32).public}],
    ids=["job", "plan", "key"],
)
def test_a_deposit_for_something_else(other):
    raw = statement(terms(**other), "tax")
    refused("protocol.malformed", read_statement, terms(), raw, signed(DEPOSIT, "tax", raw), "tax", verify)


def test_a_deposit_in_another_s_name_or_of_a_stranger():
    t = terms()
    raw = statement(t, "tax")
    refused("protocol.malformed", read_statement, t, raw, signed(DEPOSIT, "bank_a", raw), "bank_a", verify)
    fewer = terms(depositors=NAMES[:3])
    raw = statement(fewer, "telecom")
    refused("protocol.malformed", read_statement, fewer, raw, signed(DEPOSIT, "telecom", raw), "telecom", verify)


@pytest.mark.parametrize("raw", [b"", b"[]", b"{}", b'{"v":1}', b"\xff"])
def test_what_is_no_statement(raw):
    refused("protocol.malformed", read_statement, terms(), raw, signed(DEPOSIT, "tax", raw), "tax", verify)


def test_a_statement_has_one_writing():
    t = terms()
    raw = statement(t, "tax").replace(b",", b", ", 1)
    refused("protocol.malformed", read_statement, t, raw, signed(DEPOSIT, "tax", raw), "tax", verify)


def test_a_withdrawal_is_of_one_deposit():
    assert withdrawal("09" * 32, "tax", 1, b"a") != withdrawal("09" * 32, "tax", 1, b"b")
    assert withdrawal("09" * 32, "tax", 1, b"a") != withdrawal("09" * 32, "tax", 3, b"a")


def test_ciphertexts_that_are_none():
    t = terms()
    good = made(t, "tax", [1, 2, 3])
    width, n = t.key.width, t.key.n
    verify_body(t, good, "tax")
    refused("protocol.size", verify_body, t, good[:-1], "tax")
    refused("protocol.size", verify_body, t, good + good, "tax")
    for bad in (0, n, key().p, t.key.square, t.key.square + 5, (1 << (8 * width)) - 1):
        error = refused("protocol.malformed", verify_body, t, bad.to_bytes(width, "big"), "tax")
        assert isinstance(error, PeerError) and error.party == "tax"


# ---- the total


def test_too_few_and_none():
    t = terms()
    bodies = {n: made(t, n, [1, 1, 1]) for n in NAMES[:2]}
    refused("policy.contributors", add_up, t, bodies)
    refused("policy.contributors", add_up, t, {})
    three = add_up(t, {**bodies, "tax": made(t, "tax", [1, 1, 1])})
    refused("policy.contributors", open_total, t, NAMES[:2], three, key())


def test_a_total_of_others_than_it_names():
    """A deposit left out, or put in twice, shows in the count."""
    t = terms()
    bodies = {n: made(t, n, [1, 1, 1]) for n in NAMES}
    refused("protocol.malformed", open_total, t, NAMES, add_up(t, {n: bodies[n] for n in NAMES[:3]}), key())
    refused("protocol.malformed", open_total, t, NAMES[:3], add_up(t, bodies), key())


def test_a_total_under_another_key():
    t = terms()
    body = add_up(t, {n: made(t, n, [1, 1, 1]) for n in NAMES})
    refused("protocol.point", open_total, t, NAMES, body, key(2))
    other = terms(key=key(2).public)
    refused("protocol.malformed", open_total, other, NAMES, body, key(2))


def test_secrets_do_not_show():
    assert str(key().p) not in repr(key()) and hex(key().q)[2:] not in repr(key())
