"""P9's scores against the plain sums, with each message tampered with, and what leaves the holder."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpc.codec import Raw, decode, encode
from mpc.crypto import paillier, powers
from mpc.crypto.subgroup import SubgroupSecret, key_from_seed
from mpc.errors import HejiError, PeerError
from mpc.messages import Words
from mpc.protocols import scoring
from mpc.protocols.ciphertexts import CIPHERTEXT_BYTES
from mpc.protocols.scoring import Scoring, Term
from mpc.ring import ring
from mpc.run import Sent, Trace, run
from tests.mpc.joining import sessions

#: 2·w0·f0 − w1·f1 + 7·f0, and w1·f0
SCORES = Scoring(
    "scores", "bank", "tax", (63, 63), (63, 63), (((2, 0, 0), (-1, 1, 1), (7, None, 0)), ((1, 1, 0),))
)  # fmt: skip


@cache
def secret() -> SubgroupSecret:
    return key_from_seed(bytes([4]) * 32)


def scored(
    s: Scoring,
    weights: list[list[int]],
    features: list[list[int]],
    bits: int = 64,
    *,
    seed: int = 0,
    trace: Trace | None = None,
    tamper: Callable[[Sent], Raw] | None = None,
) -> list[list[int]]:
    members, n, r = sessions(["bank", "tax"], seed), len(weights[0]), ring(bits)
    said: dict[str, Any] = run(
        {
            "bank": scoring.ask(members["bank"], s, [r.from_ints(w) for w in weights], n, secret(), map),
            "tax": scoring.answer(members["tax"], s, [r.from_ints(f) for f in features], n, map),
        },
        trace,
        tamper,
    )
    return said["bank"]


def plain(s: Scoring, weights: list[list[int]], features: list[list[int]]) -> list[list[int]]:
    def score(word: tuple[Term, ...], k: int) -> int:
        return sum(c * (1 if a is None else weights[a][k]) * features[b][k] for c, a, b in word)

    return [[score(word, k) for k in range(len(weights[0]))] for word in s.words]


DATA = ([[3, -(2**63), 2**63 - 1], [0, 5, -6]], [[10, 2**63 - 1, -(2**63)], [1, -1, 2]])


def test_equals_the_plain_scores():
    assert scored(SCORES, *DATA) == plain(SCORES, *DATA)


@settings(max_examples=5, deadline=None)
@given(data=st.data(), bits=st.sampled_from([64, 128]))
def test_any_data(data, bits):
    most = 2 ** (bits - 1)
    number = st.one_of(st.integers(-most, most - 1), st.sampled_from([-most, most - 1, 0]))
    n = data.draw(st.integers(1, 30))
    s = Scoring("s", "bank", "tax", (bits - 1,) * 2, (bits - 1,) * 2, SCORES.words)
    weights, features = (
        [data.draw(st.lists(number, min_size=n, max_size=n)) for _ in range(2)] for _ in ("weights", "features")
    )
    assert scored(s, weights, features, bits) == plain(s, weights, features)


def test_nothing_to_score():
    assert scored(SCORES, [[], []], [[], []]) == [[], []]


def test_sizes_are_as_told():
    trace = Trace()
    scored(SCORES, *DATA, trace=trace)
    said = {who: sum(decode(m.raw).words.nbytes for m in trace.said_by(who)) for who in ("bank", "tax")}
    assert said["bank"] == 768 + CIPHERTEXT_BYTES * 3 * 2
    assert said["tax"] == CIPHERTEXT_BYTES * SCORES.ciphertexts(3)
    assert trace.depth["bank"] == 2


def test_what_leaves_the_holder_is_blinded_anew():
    """Neither the product that a key's holder could look for, nor the same twice."""
    said = []
    for seed in (1, 2):
        trace = Trace()
        scored(SCORES, *DATA, seed=seed, trace=trace)
        (raw,) = (decode(m.raw).words.tobytes() for m in trace.said_by("tax"))
        heard = b"".join(decode(m.raw).words.tobytes() for m in trace.said_by("bank") if "weights" in m.step)
        key = secret().public
        weights = paillier.decode(key, heard, 6, party="bank", step="weights")
        told = paillier.decode(key, raw, SCORES.ciphertexts(3), party="tax", step="scores")
        (first,) = powers.products_of_powers(key, [(weights[:2], [2 * 10, -1])], map)
        assert first not in told
        # the bare sums times nothing but (1 + n)^m would keep the holder's exponents of the asker's r
        (bare,) = powers.stacked(key, [[first]], SCORES.slot, map)
        shift = (1 + (SCORES.bound + 70) * key.n) % key.square
        assert bare * shift % key.square not in told
        said.append(told)
    assert said[0] != said[1]


def test_every_message_tampered_with_is_noticed_or_changes_scores_only():
    trace = Trace()
    good = scored(SCORES, *DATA, trace=trace)
    for target in trace.sent:

        def tamper(sent: Sent, target: Sent = target) -> Raw:
            if sent.step != target.step or sent.sender != target.sender:
                return sent.raw
            words = decode(sent.raw).words.copy()
            words[len(words) // 2] ^= np.uint64(1 << 17)
            return encode(Words(64, words))

        try:
            assert scored(SCORES, *DATA, tamper=tamper) != good
        except HejiError as error:  # receipts tell whether the asker's own words came to the holder as it said them
            assert error.facts["party"] == target.sender or target.sender == "bank"


@pytest.mark.parametrize("words", [0, 1, 95, 97])
def test_another_length_is_refused(words):
    def tamper(sent: Sent) -> Raw:
        return encode(Words(64, np.ones(words, np.uint64))) if "scores/scores" in sent.step else sent.raw

    with pytest.raises(PeerError) as refused:
        scored(SCORES, *DATA, tamper=tamper)
    assert refused.value.facts["party"] == "tax"
