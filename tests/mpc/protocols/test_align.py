"""P6 against a plain join; what every seat sees; tampered, replayed, repeated and missing keys."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpc.codec import decode, encode
from mpc.errors import HejiError, LocalError, PeerError
from mpc.ids import Field, Keys, lay_out, width
from mpc.messages import Positions, Words
from mpc.protocols import align
from mpc.protocols.align import Align
from mpc.replay import replay
from mpc.ring import ring
from mpc.rounds import Rounds
from mpc.run import Sent, Trace, run
from tests.duck import session
from tests.mpc.columns import texts
from tests.mpc.joining import Brought, sessions

FIELDS = (Field("id", 12),)
Key = str | None


def keys_of(values: list[Key]) -> Keys:
    return lay_out(FIELDS, [texts(values)])


@dataclass
class Other:
    """A party's table: unique keys, whether its own condition holds, its columns (bits, signed values)."""

    keys: list[Key]
    passing: list[bool]
    columns: list[tuple[int, list[int]]] = field(default_factory=list)


@dataclass
class World:
    """A spine's keys and others' tables, padded by ``pad`` rows."""

    spine: list[Key]
    others: dict[str, Other]
    pad: int = 2
    seed: int = 0

    def plans(self) -> list[Align]:
        return [
            Align(
                f"align/{name}",
                "a",
                name,
                "helper",
                len(self.spine) + self.pad,
                len(o.keys) + self.pad,
                width(FIELDS),
                tuple(bits for bits, _ in o.columns),
            )
            for name, o in self.others.items()
        ]

    def roles(self) -> dict[str, Rounds[Any]]:
        s = sessions(["a", "helper", *self.others], self.seed)

        roles: dict[str, Rounds[Any]] = {
            "a": align.spine(s["a"], self.plans(), keys_of(self.spine)),
            "helper": align.helper(s["helper"], self.plans()),
        }
        for plan in self.plans():
            o = self.others[plan.other]
            columns = tuple(ring(bits).from_ints(values) for bits, values in o.columns)
            brought = Brought(keys_of(o.keys), np.array(o.passing, bool), columns)
            roles[plan.other] = align.other(s[plan.other], [plan], [brought])
        return roles

    def opened(self, results: dict[str, Any]) -> dict[str, list[list[int]]]:
        """Per party the flag and its columns, row by row of the spine (padding included)."""
        out = {}
        for plan, mine in zip(self.plans(), results["a"], strict=True):
            columns = []
            for bits, x, y in zip(plan.rings, mine, *results[plan.other], strict=True):
                total = x.copy()
                ring(bits).add_into(total, y)
                columns.append(ring(bits).to_ints(total))
            out[plan.other] = columns
        return out

    def expected(self) -> dict[str, list[list[int]]]:
        """A LEFT JOIN in DuckDB, zeros for what is missing, and zeros for the padding."""
        out = {}
        for name, o in self.others.items():
            names = [f"c{i}" for i in range(len(o.columns))]
            columns = "".join(f", {c} HUGEINT" for c in names)
            rows = zip(o.keys, o.passing, *(values for _, values in o.columns), strict=True)
            a = "i INTEGER, key VARCHAR", enumerate(self.spine)
            database = session(a=a, b=(f"key VARCHAR, passing BOOLEAN{columns}", rows))
            chosen = ", ".join(f"coalesce({c}, 0)" for c in ["b.passing::INTEGER", *names])
            joined = database.execute(
                f"SELECT {chosen} FROM a LEFT JOIN b ON a.key = b.key AND b.passing ORDER BY i"
            ).fetchall()
            padded = [*joined, *[(0,) * (1 + len(names))] * self.pad]
            out[name] = [[int(r[c]) for r in padded] for c in range(1 + len(names))]
        return out


ids = st.sampled_from([f"K{i}" for i in range(9)])
#: values of one width reach the ends of a 64-bit or 128-bit ring
values = {64: st.integers(-(2**63), 2**63 - 1), 128: st.integers(-(2**120), 2**120)}


@st.composite
def others(draw: Any) -> Other:
    keys = [*draw(st.lists(ids, unique=True, max_size=9)), *draw(st.lists(st.none(), max_size=2))]
    keys = draw(st.permutations(keys))
    n = len(keys)
    columns = [
        (bits, draw(st.lists(values[bits], min_size=n, max_size=n)))
        for bits in draw(st.lists(st.sampled_from([64, 128]), max_size=3))
    ]
    return Other(keys, draw(st.lists(st.booleans(), min_size=n, max_size=n)), columns)


worlds = st.builds(
    World,
    st.lists(st.none() | ids, max_size=12),
    st.dictionaries(st.sampled_from(["b", "c", "d", "e"]), others(), min_size=1, max_size=4),
    st.integers(0, 3),
    st.integers(0, 10**6),
)


@settings(max_examples=100)
@given(worlds)
def test_equals_the_plain_join(world):
    trace = Trace()
    results = run(world.roles(), trace)
    assert world.opened(results) == world.expected()
    # match counts at H: distinct keys of A that B has, whatever B's condition
    met = [len(set(world.spine) & set(o.keys) - {None}) for o in world.others.values()]
    assert results["helper"] == met


def test_a_larger_table_travels_in_blocks():
    rng = np.random.default_rng(7)
    n, m = 200_000, 150_000
    spine = [f"{k}" for k in rng.integers(0, 300_000, n)]
    table = rng.permutation(300_000)[:m]
    other = Other([f"{k}" for k in table], [bool(k % 3) for k in table], [(64, (table * 17 - 5).tolist())])
    world = World(spine, {"b": other}, pad=1000)
    trace = Trace()
    flag, column = world.opened(run(world.roles(), trace))["b"]
    there = dict(zip(other.keys, other.columns[0][1], strict=True))
    want = [there.get(k, 0) if int(k) % 3 else 0 for k in spine]
    assert column == want + [0] * 1000
    assert sum(flag) == sum(1 for k in spine if k in there and int(k) % 3)
    assert max(len(s.raw) for s in trace.sent) < 1 << 20
    assert any(s.step.endswith("masked/block/2") for s in trace.sent)


WORLD = World(
    ["K1", "K2", "K2", None, "K5", "k-1"],
    {
        "b": Other(["K2", "K7", "K1"], [True, True, False], [(64, [-5, 6, 7]), (128, [2**90, 1, 2])]),
        "c": Other(["K5", None], [True, True], [(64, [11, 12])]),
    },
    pad=3,
)


def seen(world: World, member: str) -> tuple[list[tuple[str, str, int]], list[Any]]:
    """Who said what of which size to ``member``, and the decoded messages."""
    trace = Trace()
    run(world.roles(), trace)
    heard = trace.heard_by(member)
    return [(s.sender, s.step, len(s.raw)) for s in heard], [decode(s.raw) for s in heard]


def test_the_helper_hears_tags_places_and_masked_columns_only():
    """Every message to H by its step; and under other coins every word of it is another one."""
    shape, messages = seen(WORLD, "helper")
    kinds = {step.rsplit("/", 2)[0].split("/", 3)[-1] for _, step, _ in shape}
    assert kinds == {"spine-tags", "tags", "places", "column/0/masked", "column/1/masked", "column/2/masked"}
    _, again = seen(World(WORLD.spine, WORLD.others, WORLD.pad, seed=1), "helper")
    for x, y in zip(messages, again, strict=True):
        if isinstance(x, Words):
            assert not np.isin(x.words.ravel(), y.words.ravel()).any()
            assert x.words.ravel().min() > 2**32  # no small number shows: flags and values are masked
        else:
            assert isinstance(x, Positions)


def test_bytes_and_rounds_are_those_of_the_page():
    trace = Trace()
    run(WORLD.roles(), trace)
    for plan in WORLD.plans():
        said = [s for s in trace.sent if s.step.startswith(f"job/{plan.name}/")]
        header = sum(len(encode_empty(s)) for s in said)
        assert sum(len(s.raw) for s in said) - header == plan.bytes()
    # nobody but A, H and the one other of an alignment says or hears a word of it
    assert {(s.sender, s.receiver) for s in trace.sent} == {
        pair for o in WORLD.others for pair in (("a", "helper"), ("helper", "a"), (o, "helper"), ("helper", o))
    }
    c = len(WORLD.plans()[0].rings)
    assert trace.rounds["b"] == 2 + 2 * c


def encode_empty(s: Sent) -> bytes:
    """The header of a message: all of it but the payload."""
    message = decode(s.raw)
    payload = message.words.nbytes if isinstance(message, Words) else message.positions.nbytes
    return bytes(s.raw)[: len(s.raw) - payload]


def flipped(world: World) -> World:
    """The same tables under other conditions of everybody: only flags change."""
    others = {n: Other(o.keys, [not p for p in o.passing], o.columns) for n, o in world.others.items()}
    return World(world.spine, others, world.pad, world.seed)


def test_no_size_and_no_count_depends_on_a_condition():
    first, second = Trace(), Trace()
    one, two = run(WORLD.roles(), first), run(flipped(WORLD).roles(), second)
    assert WORLD.opened(one) != flipped(WORLD).opened(two)
    assert one["helper"] == two["helper"]
    shape = [[(s.sender, s.receiver, s.step, len(s.raw)) for s in t.sent] for t in (first, second)]
    assert shape[0] == shape[1]
    # what H sees of keys and places is the very same: the conditions are in the masked columns only
    for x, y in zip(first.heard_by("helper"), second.heard_by("helper"), strict=True):
        assert (x.raw == y.raw) == ("masked" not in x.step)


def test_distinct_spine_keys_cannot_be_linked_across_alignments():
    """H's two lists of A's tags have no tag in common, and equal keys stand at unrelated places."""
    n = 500
    spine: list[Key] = [f"K{i}" for i in range(n)]
    world = World(spine, {"b": Other(["K1"], [True]), "c": Other(["K1"], [True])}, pad=0)
    trace = Trace()
    run(world.roles(), trace)
    tags = {
        plan.other: decode(next(s.raw for s in trace.sent if s.step == f"job/{plan.name}/spine-tags/block/0")).words
        for plan in world.plans()
    }
    assert not set(map(bytes, tags["b"])) & set(map(bytes, tags["c"]))
    # the order of each is that of a permutation which H does not hold: row i of A stands somewhere else in each
    shuffles = [align._shuffle(sessions("abc", 0)["a"].pairs[o], plan_step(world, o), n) for o in "bc"]
    assert np.count_nonzero(shuffles[0] == shuffles[1]) < 10
    assert abs(np.corrcoef(shuffles[0], shuffles[1])[0, 1]) < 0.2


def plan_step(world: World, other: str) -> Any:
    plan = next(p for p in world.plans() if p.other == other)
    return sessions("abc", 0)["a"].at(plan.name)


def test_repeated_keys_show_as_repeated_tags_and_nothing_else():
    """The ledger's line: multiplicities of A's keys are what H sees of them."""
    trace = Trace()
    run(WORLD.roles(), trace)
    for plan in WORLD.plans():
        words = decode(next(s.raw for s in trace.sent if s.step == f"job/{plan.name}/spine-tags/block/0")).words
        # K1 twice (k-1 is K1), K2 twice, K5 once; one NULL and three rows of padding once each
        assert sorted(Counter(map(bytes, words)).values()) == [1, 1, 1, 1, 1, 2, 2]


def test_a_hears_distinct_places_spread_over_all():
    """To A a match looks like a dummy: over many coins each place comes equally often, met or not."""
    met, missed = Counter(), Counter()
    for seed in range(400):
        world = World(["K1", "K2"], {"b": Other(["K1"], [True])}, pad=0, seed=seed)
        trace = Trace()
        run(world.roles(), trace)
        (raw,) = (s.raw for s in trace.heard_by("a"))
        shuffle = align._shuffle(sessions(["a", "b"], seed)["a"].pairs["b"], sessions("ab")["a"].at("align/b"), 2)
        place = np.empty(2, int)
        place[shuffle] = decode(raw).positions
        assert place[0] != place[1]
        met[int(place[0])] += 1
        missed[int(place[1])] += 1
    for counts in (met, missed):
        assert set(counts) == {0, 1, 2} and min(counts.values()) > 90


def test_a_key_that_stands_twice_is_refused_before_anything_is_said():
    world = World(["K1"], {"b": Other(["K1", "ｋ１"], [True, False])})
    trace = Trace()
    with pytest.raises(LocalError) as raised:
        run(world.roles(), trace)
    assert raised.value.code == "data.repeated_key"
    assert not trace.said_by("b")


def test_more_rows_than_the_catalog_says():
    with pytest.raises(LocalError) as raised:
        run(World(["K1", "K2"], {"b": Other([], [])}, pad=-1).roles())
    assert raised.value.code == "data.rows"


@pytest.mark.parametrize("name", ["a", "b", "c", "helper"])
def test_every_role_replays_byte_for_byte(name):
    trace = Trace()
    results = run(WORLD.roles(), trace)
    again = replay(name, WORLD.roles()[name], trace.sent)
    assert np.array_equal(again, results[name]) if name == "helper" else repr(again) == repr(results[name])


def tampering() -> list[int]:
    trace = Trace()
    run(WORLD.roles(), trace)
    return list(range(len(trace.sent)))


@pytest.mark.parametrize("change", ["flip", "shorten", "kind", "garbage", "huge"])
@pytest.mark.parametrize("which", tampering())
def test_tampering_is_an_error_that_blames_or_another_result_never_a_crash(which, change):
    count = iter(range(10**6))

    def tamper(s: Sent) -> bytes:
        if next(count) != which:
            return bytes(s.raw)
        message = decode(s.raw)
        match change:
            case "flip":
                return bytes(s.raw)[:-1] + bytes([s.raw[-1] ^ 1])
            case "garbage":
                return b"\xff" * 9
            case "shorten" if isinstance(message, Words):
                return encode(Words(message.ring, message.words[:-1]))
            case "shorten":
                return encode(Positions(message.positions[:-1]))
            case "kind" if isinstance(message, Words):
                return encode(Positions(message.words.ravel().astype(np.uint32)))
            case "kind":
                return encode(Words(64, message.positions.astype(np.uint64)))
            case _ if isinstance(message, Words):
                return encode(Words(message.ring, np.full_like(message.words, 2**64 - 1)))
            case _:
                return encode(Positions(np.full_like(message.positions, 2**32 - 1)))

    try:
        results = run(WORLD.roles(), tamper=tamper)
    except HejiError as error:
        assert isinstance(error, PeerError) and error.party
    else:
        assert change in ("flip", "huge")
        assert WORLD.opened(results)["b"][0] is not None


@pytest.mark.parametrize(("row", "like", "told"), [(4, 0, "a place twice"), (2, 0, "one key two places")])
def test_a_place_of_its_own_for_every_key_and_one_only(row: int, like: int, told: str):
    """K5 at the place of K1, and the second row of K2 at that of K1: A itself sees that no helper may say so."""
    plan = WORLD.plans()[0]
    shuffle = align._shuffle(sessions(["a", "helper", "b", "c"])["a"].pairs["b"], session_at(plan), plan.spine_rows)
    at = np.argsort(shuffle)  # where row i of A stands in what H says

    def tamper(s: Sent) -> bytes:
        if s.step != f"job/{plan.name}/positions/block/0":
            return bytes(s.raw)
        said = decode(s.raw).positions.copy()
        said[at[row]] = said[at[like]]
        return encode(Positions(said))

    with pytest.raises(PeerError, match=told) as raised:
        run(WORLD.roles(), tamper=tamper)
    assert (raised.value.party, raised.value.code) == ("helper", "protocol.malformed")


def session_at(plan: Align) -> Any:
    return sessions(["a", "helper", "b", "c"])["a"].at(plan.name)
