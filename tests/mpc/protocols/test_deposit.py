"""P10 against the plain sum, at the bounds, and with each thing that can be wrong with a deposit or a total."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpc.crypto.paillier import Pool, SecretKey, key_from_seed
from mpc.errors import HejiError
from mpc.protocols.deposit import Collection, Terms, Total, deposit, open_total, read_total, write_total
from mpc.ring import ring

CLOSING = 1_800_000_000
SNAPSHOT = b"\x05" * 32
NAMES = ("bank_a", "bank_b", "tax", "telecom")
ORGANISATIONS = {n: n for n in (*NAMES, "analyst", "coordinator")}
_KEYS: dict[int, SecretKey] = {}


def key(seed: int = 1) -> SecretKey:
    if seed not in _KEYS:
        _KEYS[seed] = key_from_seed(bytes([seed]) * 32)
    return _KEYS[seed]


def terms(**changed) -> Terms:
    usual = Terms(
        job=b"\x09" * 32, depositors=NAMES, recipient="analyst", coordinator="coordinator",
        organisations=ORGANISATIONS, key=key().public, least=3, closing=CLOSING, bits=64, length=3, bound=1000,
    )  # fmt: skip
    return replace(usual, **changed)


def made(t: Terms, me: str, values: list[int], seed: int = 0) -> bytes:
    pool = Pool(t.key)
    pool.fill(bytes([seed]) + me.encode().ljust(31, b"."), t.packing.plaintexts)
    return deposit(t, me, SNAPSHOT, ring(t.bits).from_ints(values), pool)


def collected(t: Terms, names=NAMES[:3]) -> Collection:
    c = Collection(t)
    for i, name in enumerate(names):
        c.accept(made(t, name, [i, -i, 1000]), name, CLOSING - 1)
    return c


def refused(code: str, call, *args) -> HejiError:
    with pytest.raises(HejiError) as caught:
        call(*args)
    assert caught.value.code == code
    return caught.value


@settings(max_examples=8, deadline=None)
@given(data=st.data(), bits=st.sampled_from([64, 128]), length=st.integers(1, 60), size=st.integers(0, 124))
def test_equals_the_plain_sum(data, bits, length, size):
    bound = min((1 << size) - 1, ((1 << (bits - 1)) - 1) // 4)
    t = terms(bits=bits, length=length, bound=bound)
    who = data.draw(st.permutations(NAMES))[: data.draw(st.integers(3, 4))]
    value = st.sampled_from([-bound, bound, 0]) | st.integers(-bound, bound)
    values = [data.draw(st.lists(value, min_size=length, max_size=length)) for _ in who]
    c = Collection(t)
    for i, (name, v) in enumerate(zip(who, values, strict=True)):
        c.accept(made(t, name, v), name, i)  # on different days
    total = read_total(t, write_total(t, c.total(CLOSING)))
    assert sorted(total.depositors) == sorted(who)
    assert ring(bits).to_ints(open_total(t, total, key())) == [sum(column) for column in zip(*values, strict=True)]


def test_one_value_twice_looks_different():
    t = terms()
    assert made(t, "tax", [1, 2, 3], 1)[-768:] != made(t, "tax", [1, 2, 3], 2)[-768:]
    assert made(t, "tax", [1, 2, 3]) == made(t, "tax", [1, 2, 3])  # replay: same seed, same bytes


def test_a_deposit_has_the_size_it_says_whatever_its_values():
    t = terms(length=1000)
    a, b = made(t, "tax", [0] * 1000), made(t, "tax", [1000] * 1000)
    assert len(a) == len(b)
    # 8,000 = 4 · 2 · 1000 takes two bytes a slot: 190 values beside the count, so six ciphertexts of 768 bytes
    assert len(a) - 6 * 768 < 120


def test_deposits_that_are_not_taken():
    t, c = terms(), collected(terms(), ("bank_a",))
    good = made(t, "tax", [1, 2, 3])
    now = CLOSING - 1
    for wrong in (
        made(terms(job=b"\x08" * 32), "tax", [1, 2, 3]),  # another job
        made(terms(key=key(2).public), "tax", [1, 2, 3]),  # another key
        made(t, "bank_b", [1, 2, 3]),  # in another's name
        good[:-768] + bytes(768),  # zero
        good[:-768] + key().public.n.to_bytes(768, "big"),  # shares a factor with n
        good[:-768] + b"\xff" * 768,  # beyond n²
        b"",
    ):
        assert refused("protocol.malformed", c.accept, wrong, "tax", now).party == "tax"
    for wrong in (good[:-1], good + b"\0", good + good[-768:]):
        refused("protocol.size", c.accept, wrong, "tax", now)
    refused("policy.refused", c.accept, made(t, "tax", [1, 2, 3]), "guest", now)
    refused("job.state", c.accept, good, "tax", CLOSING)
    refused("data.bounds", made, t, "tax", [1, 2, 1001])
    refused("policy.contributors", c.total, CLOSING)  # nothing of all that was kept


def test_one_deposit_each():
    t = terms()
    c = collected(t)
    c.accept(made(t, "tax", [2, -2, 1000]), "tax", CLOSING - 1)  # the same bytes: an answer got lost
    refused("job.replayed", c.accept, made(t, "tax", [2, -2, 1000], seed=1), "tax", CLOSING - 1)
    total = c.total(CLOSING)
    assert ring(64).to_ints(open_total(t, total, key())) == [3, -3, 3000]
    assert c.total(CLOSING + 9) is total
    refused("job.state", c.accept, made(t, "telecom", [1, 1, 1]), "telecom", CLOSING - 1)  # the clock was set back


def test_withdrawn_before_closing():
    t = terms()
    c = collected(t, NAMES)
    c.withdraw("bank_b", CLOSING - 1)
    refused("job.state", c.withdraw, "bank_b", CLOSING - 1)
    refused("job.replayed", c.accept, made(t, "bank_b", [1, -1, 1000]), "bank_b", CLOSING - 1)
    refused("job.state", c.withdraw, "tax", CLOSING)
    total = c.total(CLOSING)
    assert total.depositors == ("bank_a", "tax", "telecom")
    assert ring(64).to_ints(open_total(t, total, key())) == [5, -5, 3000]


def test_withdrawn_and_made_anew():
    t = terms()
    c = collected(t)
    c.withdraw("tax", 0)
    c.accept(made(t, "tax", [10, 10, 10], seed=1), "tax", 1)
    assert ring(64).to_ints(open_total(t, c.total(CLOSING), key())) == [11, 9, 2010]


def test_nothing_below_the_minimum_and_nothing_early():
    refused("job.state", collected(terms()).total, CLOSING - 1)
    refused("policy.contributors", collected(terms(), NAMES[:2]).total, CLOSING)
    firm = {**ORGANISATIONS, "bank_b": "bank_a"}  # one organisation with two members
    refused("policy.contributors", collected(terms(organisations=firm)).total, CLOSING)
    own = {**ORGANISATIONS, "tax": "analyst"}  # the recipient's own
    refused("policy.contributors", collected(terms(organisations=own)).total, CLOSING)


def test_terms_under_which_single_deposits_could_be_opened():
    refused("plan.trust", lambda: terms(organisations={**ORGANISATIONS, "coordinator": "analyst"}))
    refused("policy.contributors", lambda: terms(least=1))
    refused("policy.contributors", lambda: terms(depositors=NAMES[:2]))
    refused("plan.overflow", lambda: terms(bound=1 << 61).packing)


def test_totals_that_are_not_opened():
    t = terms()
    good = collected(t).total(CLOSING)
    raw = write_total(t, good)
    assert read_total(t, raw) == good
    for wrong in (b"", raw[:-769], b"x" + raw[1:], raw[:-768] + bytes(768)):
        refused("protocol.malformed", read_total, t, wrong)
    for wrong in (raw[:-1], raw + b"\0"):
        refused("protocol.size", read_total, t, wrong)
    refused("protocol.malformed", read_total, replace(t, job=b"\x01" * 32), raw)
    refused("protocol.malformed", read_total, terms(key=key(2).public), raw)
    refused("protocol.point", open_total, t, good, key(2))
    refused("policy.contributors", open_total, t, Total(NAMES[:2], good.ciphertexts), key())
    # the coordinator adds another number of deposits than it says
    refused("protocol.malformed", open_total, t, Total(NAMES, good.ciphertexts), key())
    (c,) = good.ciphertexts
    doubled = Total(good.depositors, (c * c % t.key.square,))
    refused("protocol.malformed", open_total, t, doubled, key())


def test_a_deposit_beyond_its_bounds_shows_in_the_total():
    t, c = terms(), collected(terms(), NAMES[:2])
    c.accept(made(replace(t, bound=8000), "tax", [8000] * 3), "tax", 0)  # a node that was changed
    error = refused("protocol.malformed", open_total, t, c.total(CLOSING), key())
    assert "8000" not in str(error)


def test_no_values_in_what_is_printed():
    t = terms()
    (c,) = collected(t).total(CLOSING).ciphertexts
    assert str(c)[:20] not in repr(collected(t).total(CLOSING))
    assert str(key().p)[:20] not in repr(t)
