"""P11: the sum that was bound to comes out and verifies; any other does not, whoever changed it."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpc.codec import decode, encode
from mpc.crypto import curve
from mpc.crypto.agree import public_key
from mpc.errors import HejiError, LocalError, PeerError
from mpc.messages import Agreed, Words
from mpc.protocols import verified
from mpc.protocols.total import Sum
from mpc.protocols.verified import BLOCK, MOST, NOISE_BITS, VALUE_BITS, Binding
from mpc.ring import ring
from mpc.roles import allowed_bytes, open_outside
from mpc.run import Sent, Trace, run
from tests.mpc.cast import COORDINATOR, World

PRIVATE = b"\x07" * 32
LIMIT = 1 << (NOISE_BITS + 1)


def world(n: int, length: int, recipient: str = "analyst") -> World:
    parties = tuple(f"p{i}" for i in range(n))
    outside = {} if recipient in parties or recipient == "guest" else {recipient: public_key(PRIVATE)}
    inside = (recipient,) if not outside else ()
    s = Sum(f"pool0/w128/{recipient}", parties, recipient, 128, length)
    return World(parties, (s,), outside, inside=inside, verified=True)


def ran(w: World, values: dict[str, list[int]], trace: Trace | None = None, tamper: Any = None) -> list[int]:
    s = w.sums[0]
    vectors = {p: {s.name: ring(128).from_ints(v)} for p, v in values.items()}
    results = run(w.roles(vectors), trace, tamper)
    if s.recipient in results:
        return ring(128).to_ints(results[s.recipient].totals[s.name])
    totals = open_outside(s.recipient, PRIVATE, public_key(PRIVATE), w.cast, results[COORDINATOR], w.verify)
    return ring(128).to_ints(totals[s.name])


@settings(max_examples=12)
@given(data=st.data(), n=st.integers(1, 4), length=st.integers(1, 6))
def test_equals_the_plain_sum_and_verifies(data: st.DataObject, n: int, length: int) -> None:
    w = world(n, length, data.draw(st.sampled_from(["analyst", "p0", "guest"])))
    numbers = st.integers(-LIMIT, LIMIT) | st.sampled_from([0, LIMIT, -LIMIT])
    values = {p: data.draw(st.lists(numbers, min_size=length, max_size=length)) for p in w.parties}
    assert ran(w, values) == [sum(column) for column in zip(*values.values(), strict=True)]


@pytest.mark.parametrize("recipient", ["analyst", "guest"])
def test_several_blocks(recipient: str) -> None:
    w, length = world(2, BLOCK + 3, recipient), BLOCK + 3
    values = {p: [i - 5 for i in range(length)] for p in w.parties}
    assert ran(w, values) == [2 * (i - 5) for i in range(length)]
    assert verified.blocks(w.sums[0]) == 2


def test_the_bounds_exclude_that_a_sum_wraps() -> None:
    assert MOST * ((1 << NOISE_BITS) + (1 << VALUE_BITS)) < 1 << 127
    assert NOISE_BITS - VALUE_BITS >= 40


def changed(sent: Sent, step: str, sender: str) -> bytes:
    """The first word of a message of words, plus one."""
    if sent.step != step or sent.sender != sender:
        return bytes(sent.raw)
    said = decode(sent.raw)
    if isinstance(said, Agreed):
        return encode(Agreed(said.digest, bytes([said.signature[0] ^ 1]) + said.signature[1:]))
    assert isinstance(said, Words)
    words = said.words.copy()
    words.reshape(-1)[0] += np.uint64(1)
    return encode(Words(said.ring, words))


INSIDE = world(3, 4, "guest")
VALUES = {p: [1, -2, 3 << 70, 0] for p in INSIDE.parties}


def steps() -> list[tuple[str, str]]:
    """Who says what after the keys."""
    trace = Trace()
    ran(INSIDE, VALUES, trace)
    return sorted({(s.step, s.sender) for s in trace.sent if not s.step.startswith("keys/")})


@pytest.mark.parametrize(("step", "sender"), steps())
def test_whatever_is_changed_is_noticed(step: str, sender: str) -> None:
    """Masked words, the sum on its way, points, hashes, masked scalars: none can be changed and still verify."""
    with pytest.raises(HejiError) as refused:
        ran(INSIDE, VALUES, tamper=lambda sent: changed(sent, step, sender))
    assert refused.value.code in ("protocol.sum", "protocol.point", "protocol.signature", "protocol.malformed")
    if "/block/" in step:  # this is what P3 alone cannot see
        assert refused.value.code == "protocol.sum"


def test_a_coordinator_that_adds_something_is_noticed_by_a_recipient_without_a_node() -> None:
    w = world(3, 4)
    s = w.sums[0]
    vectors = {p: {s.name: ring(128).from_ints(VALUES[p])} for p in w.parties}
    results = run(w.roles(vectors))
    results[COORDINATOR].totals[s.name][0, 0] += np.uint64(1)
    with pytest.raises(LocalError) as refused:
        open_outside("analyst", PRIVATE, public_key(PRIVATE), w.cast, results[COORDINATOR], w.verify)
    assert refused.value.code == "protocol.sum"


@pytest.mark.parametrize("what", ["none", "one less", "points", "scalars"])
def test_a_proof_that_is_not_whole_is_refused(what: str) -> None:
    w = world(2, 4)
    s = w.sums[0]
    outcome = run(w.roles({p: {s.name: ring(128).from_ints([1, 2, 3, 4])} for p in w.parties}))[COORDINATOR]
    binding = outcome.bindings[s.name]
    bound = dict(binding.bound)
    if what == "none":
        outcome.bindings.clear()
    elif what == "one less":
        del bound["p1"]
        outcome.bindings[s.name] = Binding(bound, binding.scalars)
    elif what == "points":
        other = curve.hash_to_point("generator", b"other")
        bound["p0"] = verified.Bound(bound["p0"].word, (other,))
        outcome.bindings[s.name] = Binding(bound, binding.scalars)
    else:
        outcome.bindings[s.name] = Binding(bound, (binding.scalars[0] + 1,))
    with pytest.raises(HejiError) as refused:
        open_outside("analyst", PRIVATE, public_key(PRIVATE), w.cast, outcome, w.verify)
    assert refused.value.code in ("protocol.sum", "protocol.point")


def test_points_that_are_none_are_refused_with_their_sender() -> None:
    def tamper(sent: Sent) -> bytes:
        if not sent.step.endswith("/verified/points") or sent.sender != "p1":
            return bytes(sent.raw)
        return encode(Words(64, np.zeros(4, np.uint64)))

    with pytest.raises(PeerError) as refused:
        ran(INSIDE, VALUES, tamper=tamper)
    assert (refused.value.code, refused.value.party) == ("protocol.point", "p1")


def test_data_moves_after_all_are_bound() -> None:
    trace = Trace()
    ran(INSIDE, VALUES, trace)
    for p in INSIDE.parties:
        first = next(i for i, s in enumerate(trace.sent) if s.sender == p and "/block/" in s.step)
        bound = [s for s in trace.sent[:first] if s.step.endswith("/verified/hash") and s.receiver == p]
        assert {s.sender for s in bound} == set(INSIDE.parties) - {p}


def test_what_is_said_is_uniform_and_within_the_plan() -> None:
    """Two runs over the same values share no commitment and no masked scalar; nobody says more than the plan has."""
    first, second = Trace(), Trace()
    ran(INSIDE, VALUES, first)
    again = World(INSIDE.parties, INSIDE.sums, {}, 2, INSIDE.inside, True)
    ran(again, VALUES, second)
    for kind in ("/verified/points", "/verified/scalars"):
        a, b = ({bytes(s.raw) for s in t.sent if s.step.endswith(kind)} for t in (first, second))
        assert a and not a & b
    for sender in INSIDE.cast.context.participants:
        for receiver in INSIDE.cast.context.participants:
            if sender != receiver:
                assert first.bytes_between(sender, receiver) <= allowed_bytes(INSIDE.cast, sender, receiver)


def test_the_library_leaves_no_file_behind(tmp_path: Path) -> None:
    """It comes as bytes that it writes out to load them; and nobody loads it who needs no points."""
    code = "import sys\nfrom mpc.crypto import curve\nassert 'rbcl' not in sys.modules\n"
    code += "curve.check(curve.hash_to_point('generator', b'x'))"
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment, timeout=60)
    assert list(tmp_path.iterdir()) == []


def test_rfc_9496() -> None:
    """Its appendix A.1: small multiples of the generator, and encodings that are no points."""
    base = bytes.fromhex("e2f2ae0a6abc4e71a884a961c500515f58e30b6aa582dd8db6a65945e08d2d76")
    twice = bytes.fromhex("6a493210f7499cd17fecb510ae0cea23a110e8d5b901f8acadd3095c73a3b919")
    assert curve.add([base, base]) == curve.multiply(base, 2) == twice
    assert curve.multiply(base, curve.ORDER) is None and curve.multiply(base, 0) is None
    assert curve.add([base, curve.multiply(base, -1)]) is None
    curve.check(base)
    for bad in ("00" * 32, "01" + "00" * 31, "ed" + "ff" * 30 + "7f", "ff" * 32, "00" * 31):
        with pytest.raises(LocalError):
            curve.check(bytes.fromhex(bad))


def test_blocks_are_committed_to_on_all_cores() -> None:
    """A chunk for each block, whose work can go to other processes, and the same points."""
    x, r = list(range(-20, 2 * BLOCK + 20)), [11, 12, 13]
    asked = []

    def spread(f: Any, chunks: Any) -> Any:
        asked.extend(chunks)
        return map(pickle.loads(pickle.dumps(f)), pickle.loads(pickle.dumps(chunks)))

    assert verified.commit(x, r, spread) == verified.commit(x, r)
    assert [len(part) for part, _ in asked] == [BLOCK, BLOCK, 40]
