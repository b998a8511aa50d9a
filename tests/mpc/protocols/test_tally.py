"""P9's group totals against the plain sums, with small cells, each message tampered with, and what each role sees."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpc.codec import Raw, decode, encode
from mpc.crypto import paillier, subgroup
from mpc.crypto.paillier import MIN_BITS
from mpc.crypto.subgroup import SubgroupSecret, key_from_seed
from mpc.errors import HejiError
from mpc.messages import Words
from mpc.protocols.ciphertexts import CIPHERTEXT_BYTES
from mpc.protocols.tally import GroupRows, group_side, value_side
from mpc.protocols.tally_terms import Form, Release, Tally
from mpc.ring import ring
from mpc.run import Sent, Trace, run
from tests.mpc.joining import sessions

#: COUNT(*) of the value side's flag; SUM of its column 1; SUM of the product of the group side's 0 and its flag
COUNT, SUM, WEIGHED = Form(64, ((1, 0),)), Form(64, ((1, 1),)), Form(64, ((1, 2), (-3, 1)))


@cache
def secret(seed: int = 1) -> SubgroupSecret:
    return key_from_seed(bytes([seed]) * 32)


def tally(**changed: Any) -> Tally:
    usual = Tally(
        "tally", "tax", "bank", groups=3, rows=20, keys=20, weights=(63,), columns=2, bits=64,
        atoms=((None, 0), (None, 1), (0, 0)), releases=(Release((COUNT, SUM, WEIGHED), (COUNT,)),), least=2,
    )  # fmt: skip
    return replace(usual, **changed)


def roles(
    t: Tally, met: list[int], group: list[int], weights: list[list[int]], columns: list[list[int]], seed: int = 0
) -> dict[str, Any]:
    r = ring(t.bits)
    s = sessions(["tax", "bank"], seed)
    rows = GroupRows(np.array(met, dtype=np.int64), np.array(group, dtype=np.int64), tuple(map(r.from_ints, weights)))
    mine = [r.from_ints(c) for c in columns]
    return {
        "tax": group_side(s["tax"], t, len(columns[0]), rows, map),
        "bank": value_side(s["bank"], t, mine, secret(), map),
    }


def totals(
    t: Tally,
    met: list[int],
    group: list[int],
    weights: list[list[int]],
    columns: list[list[int]],
    *,
    seed: int = 0,
    trace: Trace | None = None,
    tamper: Callable[[Sent], Raw] | None = None,
) -> list[list[int]]:
    """What the recipient opens, word by word and flag by flag."""
    said = run(roles(t, met, group, weights, columns, seed), trace, tamper)
    out = []
    for release, one, other in zip(t.releases, said["tax"], said["bank"], strict=True):
        for bits, x, y in zip((*(w.bits for w in release.words), 64), one, other, strict=True):
            total = x.copy()
            ring(bits).add_into(total, y)
            out.append(ring(bits).to_ints(total))
    return out


def plain(t: Tally, met, group, weights, columns) -> list[list[int | None]]:
    """The same in the clear; None where suppressed."""

    def total(form: Form, g: int) -> int:
        return sum(
            c * sum(
                (1 if a is None else weights[a][i]) * columns[b][met[i]]
                for i in range(len(met))
                if met[i] >= 0 and group[i] == g
            )
            for c, (a, b) in ((c, t.atoms[n]) for c, n in form.terms)
        )  # fmt: skip

    out: list[list[int | None]] = []
    for release in t.releases:
        keys = [len({met[i] for i in range(len(met)) if met[i] >= 0 and group[i] == g}) for g in range(t.groups)]
        small = [
            t.least > 0 and (keys[g] < t.least or any(total(e, g) < t.least for e in release.entities))
            for g in range(t.groups)
        ]
        for w in release.words:
            modulus = 1 << w.bits
            wrapped = [(total(w, g) + modulus // 2) % modulus - modulus // 2 for g in range(t.groups)]
            out.append([None if s else v for v, s in zip(wrapped, small, strict=True)])
        out.append([int(s) for s in small])
    return out


def agrees(found: list[list[int]], expected: list[list[int | None]]) -> bool:
    return all(e in (None, f) for x, y in zip(found, expected, strict=True) for f, e in zip(x, y, strict=True))


DATA = (
    [0, 1, 2, 3, -1, 0, 4],
    [0, 0, 1, 1, 1, -1, 2],
    [[10, -20, 30, 2**62, 5, 6, 7]],
    [[1, 1, 1, 1, 1], [-5, 7, 2**63 - 1, -(2**63), 0]],
)


def test_equals_the_plain_totals_and_suppresses_the_small_cell():
    found, expected = totals(tally(), *DATA), plain(tally(), *DATA)
    assert agrees(found, expected) and expected[0] == [2, 2, None] and expected[3] == found[3] == [0, 0, 1]
    assert found[0][2] != 1 and found[1][2] != 0  # noise, not the small cell's words


def test_nothing_is_small_where_nobody_asks():
    assert totals(tally(least=0), *DATA) == plain(tally(least=0), *DATA)


ANY = {"data": st.data(), "bits": st.sampled_from([64, 128]), "groups": st.integers(1, 5), "least": st.integers(0, 3)}


@settings(max_examples=4, deadline=None)
@given(**ANY)
def test_any_data(data, bits, groups, least):
    check(data, bits, groups, least)


@pytest.mark.slow
@settings(max_examples=30, deadline=None)
@given(**ANY)
def test_very_much_data(data, bits, groups, least):
    check(data, bits, groups, least)


def check(data, bits, groups, least):
    most = 2 ** (bits - 1)
    shared, rows = data.draw(st.integers(0, 6)), data.draw(st.integers(0, 8))
    number = st.one_of(st.integers(-most, most - 1), st.sampled_from([-most, most - 1, 0, 1]))
    met = data.draw(st.lists(st.integers(-1, shared - 1), min_size=rows, max_size=rows))
    group = data.draw(st.lists(st.integers(-1, groups - 1), min_size=rows, max_size=rows))
    weight = data.draw(st.lists(number, min_size=rows, max_size=rows))
    flags = data.draw(st.lists(st.integers(0, 1), min_size=shared, max_size=shared))
    columns = [flags, *([data.draw(number) * f for f in flags] for _ in range(data.draw(st.sampled_from([1, 2, 12]))))]
    last = len(columns) - 1
    keys = data.draw(st.sampled_from([max(shared, 1), 3000]))  # one key in a ciphertext, or several
    # one row a key and group counts as an entity, as the spine marks it
    first = [int((met[i], group[i]) not in {(met[j], group[j]) for j in range(i)}) for i in range(rows)]
    t = tally(
        groups=groups, rows=max(rows, 1), keys=keys, bits=bits, columns=len(columns), least=least,
        weights=(bits - 1, 0), atoms=((None, 0), (None, last), (0, last), (1, 0)),
        releases=(
            Release((Form(64, ((1, 0),)), Form(bits, ((2, 1), (-1, 2)))), (Form(64, ((1, 3),)),)),
            Release((Form(bits, ((1, 2),)),), (COUNT, Form(64, ((1, 3),)))),
        ),
    )  # fmt: skip
    assert agrees(totals(t, met, group, [weight, first], columns), plain(t, met, group, [weight, first], columns))


@pytest.mark.parametrize(("keys", "places"), [(20, 1), (12 * 3 * 2 * 4, 2), (12 * 3 * 2 * 9, 3), (10**6, 5)])
def test_several_keys_in_one_ciphertext(keys, places):
    t = tally(keys=keys)
    trace = Trace()
    assert t.places == places and t.slots // 2 == 5
    found, expected = totals(t, *DATA, trace=trace), plain(t, *DATA)
    assert agrees(found, expected) and found[3] == [0, 0, 1]
    sizes = [len(decode(m.raw).words) for m in trace.said_by("bank") if "/rows/" in m.step]
    assert sizes == [-(-5 // places) * CIPHERTEXT_BYTES // 8]


def test_a_key_of_many_columns_has_its_ciphertexts_alone():
    half = tally().slots // 2
    assert tally(keys=10**6, columns=half).places == 2 and tally(keys=10**6, columns=half + 1).places == 1


def test_the_places_of_other_keys_are_masked_too():
    """The value side opens a slot for every key of a ciphertext: of those that are not asked for it sees only masks,
    another of each slot, as of the one that is."""
    t, seen = tally(keys=12 * 3 * 2 * 9, least=0), set()
    for seed in range(2):
        trace = Trace()
        totals(t, *DATA, seed=seed, trace=trace)
        slots = [v for p in opened(trace, "totals") for v in t.unpacked(p, 2 * t.places)]
        assert len(slots) == t.groups * 2 * t.places * 2 * t.places
        assert all(v >> (t.value_bits + 100) for v in slots)
        seen |= set(slots)
    assert len(seen) == 2 * len(slots)


def test_noise_of_both_sides_is_in_a_small_cell():
    """A recipient that is one of the two knows its own noise: the other's must be there as well."""
    found = totals(tally(), *DATA)
    alone = []
    for name in ("tax", "bank"):
        here = sessions(["tax", "bank"])[name]
        path = {"tax": "job/tally/words/noise/1/uniform", "bank": "job/tally/small/noise/1/uniform"}[name]
        raw = here.own.draw(path, 24)
        alone.append([int.from_bytes(raw[i : i + 8], "big") for i in range(0, 24, 8)])
    for noise in alone:
        assert all((found[1][2] - n) % 2**64 != 0 for n in noise)  # the small cell's sum is 0
    assert any((found[1][2] - alone[0][2] - n) % 2**64 == 0 for n in alone[1])


def opened(trace: Trace, step: str) -> list[int]:
    """The plaintexts of what came to the value side at a step."""
    raw = b"".join(decode(m.raw).words.tobytes() for m in trace.heard_by("bank") if f"/{step}/" in m.step)
    found = [int.from_bytes(raw[i : i + CIPHERTEXT_BYTES], "big") for i in range(0, len(raw), CIPHERTEXT_BYTES)]
    return subgroup.decrypt(secret(), found, MIN_BITS, map)


def counts(trace: Trace) -> list[int]:
    (said,) = (decode(m.raw).words for m in trace.heard_by("bank") if "/entities/" in m.step)
    return said.tolist()


def test_the_value_side_sees_sizes_without_labels():
    """The groups come in another order in every attempt, and what is shown in the end comes masked."""
    orders, seen = set(), set()
    for seed in range(3):
        trace = Trace()
        totals(tally(least=0), *DATA, seed=seed, trace=trace)
        t = tally()
        slots = [t.unpacked(p, 2) for p in opened(trace, "totals")[:3]]
        sizes = [(s[0] + c) % 2**64 for s, c in zip(slots, counts(trace), strict=True)]
        assert sorted(sizes) == [1, 2, 2]
        orders.add(tuple(sizes))
        masks = {v >> (t.value_bits + 1) for m in opened(trace, "totals") for (v,) in [[m & ((1 << t.slot) - 1)]]}
        assert all(0 < m < 1 << (t.slot - t.value_bits - 2) for m in masks)
        seen |= {*opened(trace, "totals"), *opened(trace, "words")}
    assert len(orders) > 1
    assert len(seen) == 3 * 9  # no mask twice: of each group two ciphertexts of products and one of words


def test_the_value_side_sees_no_count_that_the_group_side_has_to_hide():
    trace = Trace()
    totals(tally(), *DATA, trace=trace)
    slots = [tally().unpacked(p, 2) for p in opened(trace, "totals")[:3]]
    assert sorted((s[0] + c) % 2**64 for s, c in zip(slots, counts(trace), strict=True)) == [0, 2, 2]


def test_what_leaves_the_group_side_is_blinded_anew():
    """Two runs with the same data and coins of the value side, other coins of the group side: nothing is the same."""
    one, two = Trace(), Trace()
    for trace, seed in ((one, 0), (two, 5)):
        s, other = sessions(["tax", "bank"]), sessions(["tax", "bank"], seed)
        rows = GroupRows(np.array(DATA[0]), np.array(DATA[1]), (ring(64).from_ints(DATA[2][0]),))
        columns = [ring(64).from_ints(c) for c in DATA[3]]
        run(
            {
                "tax": group_side(other["tax"], tally(), 5, rows, map),
                "bank": value_side(s["bank"], tally(), columns, secret(), map),
            },
            trace,
        )
    assert [m.raw for m in one.said_by("bank")][:2] == [m.raw for m in two.said_by("bank")][:2]
    assert not {m.raw for m in one.said_by("tax")} & {m.raw for m in two.said_by("tax")}


def test_the_same_values_look_different():
    trace = Trace()
    totals(tally(), [0, 1], [0, 0], [[1, 1]], [[1, 1], [7, 7]], trace=trace)
    raw = b"".join(decode(m.raw).words.tobytes() for m in trace.said_by("bank") if "/rows/" in m.step)
    assert len(raw) == 2 * CIPHERTEXT_BYTES and raw[:CIPHERTEXT_BYTES] != raw[CIPHERTEXT_BYTES:]


def test_sizes_do_not_depend_on_values_conditions_or_the_rule():
    def sizes(t: Tally, *data) -> list[tuple[str, str, int]]:
        trace = Trace()
        totals(t, *data, trace=trace)
        return [(m.sender, m.step, len(m.raw)) for m in trace.sent]

    nothing = (DATA[0], [-1] * 7, [[0] * 7], [[0] * 5, [0] * 5])
    assert sizes(tally(), *DATA) == sizes(tally(), *nothing) == sizes(tally(least=0), *DATA)


def test_keys_come_part_by_part(monkeypatch):
    monkeypatch.setattr("mpc.protocols.tally.PART", 2)
    for keys, parts in ((20, ["0", "1", "2"]), (12 * 3 * 2 * 4, ["0", "1"])):
        trace, t = Trace(), tally(least=0, keys=keys)
        assert totals(t, *DATA, trace=trace) == plain(t, *DATA)
        assert [m.step.split("/")[-3] for m in trace.said_by("bank") if "/rows/" in m.step] == parts


STEPS = ["key", "rows", "totals", "entities/0", "small", "words"]


@pytest.mark.parametrize("step", STEPS)
def test_a_message_cut_short_or_of_another_kind_is_refused(step):
    for change in (lambda w: w[:-1], lambda w: w[:0]):

        def tamper(sent: Sent, change=change) -> Raw:
            if f"/{step}/" not in sent.step:
                return sent.raw
            return encode(Words(64, change(decode(sent.raw).words)))

        with pytest.raises(HejiError) as caught:
            totals(tally(), *DATA, tamper=tamper)
        assert caught.value.code == "protocol.size"


@pytest.mark.parametrize("step", ["rows", "totals", "small", "words"])
@pytest.mark.parametrize("bad", ["zero", "n", "too large"])
def test_what_is_no_ciphertext_is_refused(step, bad):
    n = secret().public.n
    number = {"zero": 0, "n": n, "too large": n * n + 1}[bad]

    def tamper(sent: Sent) -> Raw:
        if f"/{step}/" not in sent.step:
            return sent.raw
        words = decode(sent.raw).words.copy()
        words[: CIPHERTEXT_BYTES // 8] = np.frombuffer(number.to_bytes(CIPHERTEXT_BYTES, "big"), "<u8")
        return encode(Words(64, words))

    with pytest.raises(HejiError) as caught:
        totals(tally(), *DATA, tamper=tamper)
    assert caught.value.code == "protocol.malformed"


@pytest.mark.parametrize("step", ["totals", "words"])
def test_a_factor_outside_of_the_subgroup_is_refused(step):
    def tamper(sent: Sent) -> Raw:
        if f"/{step}/" not in sent.step:
            return sent.raw
        words, key = decode(sent.raw).words.copy(), secret().public
        c = int.from_bytes(words[: CIPHERTEXT_BYTES // 8].tobytes(), "big") * pow(3, key.n, key.square) % key.square
        words[: CIPHERTEXT_BYTES // 8] = np.frombuffer(c.to_bytes(CIPHERTEXT_BYTES, "big"), "<u8")
        return encode(Words(64, words))

    with pytest.raises(HejiError) as caught:
        totals(tally(), *DATA, tamper=tamper)
    assert caught.value.code == "protocol.malformed" and "tax" in caught.value.message


@pytest.mark.parametrize("step", ["totals", "words", "entities/0"])
def test_a_total_beyond_its_slots_or_a_count_beyond_what_met_is_refused(step):
    """What the value side can check; a subset of the rows it cannot: replay does."""

    def tamper(sent: Sent) -> Raw:
        if f"/{step}/" not in sent.step:
            return sent.raw
        words = decode(sent.raw).words.copy()
        if "entities" in step:
            words += np.uint64(1000)
        else:
            pool = paillier.Pool(secret().public)
            pool.put(b"\x07" * 32, subgroup.factors(secret().public, b"\x07" * 32, 1, map))
            (c,) = paillier.encrypt(secret().public, [secret().public.n - 1], pool)
            words[: CIPHERTEXT_BYTES // 8] = np.frombuffer(c.to_bytes(CIPHERTEXT_BYTES, "big"), "<u8")
        return encode(Words(64, words))

    with pytest.raises(HejiError) as caught:
        totals(tally(), *DATA, tamper=tamper)
    assert caught.value.code == "protocol.malformed" and "tax" in caught.value.message


def test_a_short_or_even_key_is_refused():
    for change in (lambda k: k >> 8, lambda k: k - 1):

        def tamper(sent: Sent, change=change) -> Raw:
            if "/key/" not in sent.step:
                return sent.raw
            raw = change(secret().public.n).to_bytes(384, "big") + secret().public.to_bytes()[384:]
            return encode(Words(64, np.frombuffer(raw, "<u8").astype(np.uint64)))

        with pytest.raises(HejiError) as caught:
            totals(tally(), *DATA, tamper=tamper)
        assert caught.value.code == "protocol.point"


def test_messages_in_another_order_are_refused():
    def tamper(sent: Sent) -> Raw:
        return kept.setdefault(sent.sender, sent.raw) if "/small/" in sent.step else sent.raw

    kept: dict[str, Raw] = {"bank": encode(Words(64, np.zeros(4, np.uint64)))}
    with pytest.raises(HejiError) as caught:
        totals(tally(), *DATA, tamper=tamper)
    assert caught.value.code == "protocol.size"


def test_nothing_secret_is_printed():
    assert "20" not in repr(GroupRows(np.array([1]), np.array([1]), (np.array([20], np.uint64),)))
