"""One job in three drivers: over gRPC, in process, and replayed. From the same seeds they say the same bytes."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import parties.coordinator.attempt as attempt
from mpc.coins import own_coins
from mpc.errors import LocalError
from mpc.replay import replay
from mpc.roles import Cast, play_coordinator, play_helper, play_party
from mpc.rounds import Rounds, Session
from mpc.run import Sent, Trace, run
from parties.member import Member
from parties.node.inputs import Inputs
from parties.node.noise_seeds import NoiseSeeds
from parties.node.releases import Releases
from tests.parties import test_joins, test_ranked, world
from tests.parties.conftest import serving

#: both rings, several cells, one of them small at one owner, a recipient with a node and one without
SQL = world.BY_GRADE.replace("SUM(balance) AS total", "SUM(balance) AS total, VARIANCE(balance) AS spread")
RECIPIENTS = ("analyst", "bank_a")


def seed(name: str) -> bytes:
    return hashlib.sha256(b"the seed of " + name.encode()).digest()


@dataclass(frozen=True)
class Scenario:
    """A consortium below a folder, and what is asked of it."""

    make: Callable[[Path], Path]
    parties: tuple[str, ...]
    sql: str
    recipients: tuple[str, ...]
    helper: tuple[str, ...] = ()

    @property
    def members(self) -> tuple[str, ...]:
        return (*self.parties, *self.helper, "coordinator")


def with_a_small_cell(folder: Path) -> Path:
    consortium = world.make(folder)
    few = [(u, "B" if i >= 5 else "A", b) for i, (u, _, b) in enumerate(world.rows_of("bank_c"))]
    world.write_accounts(folder / "bank_c.csv", few)
    return consortium


SUMS = Scenario(with_a_small_cell, world.BANKS, SQL, RECIPIENTS)
#: a comparison and a product across owners, both rings, groups
JOIN = Scenario(
    test_joins.make,
    ("tax", "bank", "telecom"),
    "SELECT t.industry, COUNT(*) AS n, SUM(CASE WHEN t.paid > b.balance * 5 THEN m.spend END) AS s, "
    f"SUM(t.paid * t.paid * m.spend * m.spend * b.balance * b.balance) AS p {test_joins.JOINED} GROUP BY t.industry",
    ("analyst",),
    ("helper",),
)
SEARCH = Scenario(test_ranked.make, test_ranked.BANKS, test_ranked.BY_REGION, ("analyst",), ("helper",))


@dataclass
class Recorded:
    """A job as it ran over gRPC."""

    scenario: Scenario
    job: str = ""
    number: int = 0
    cast: Cast | None = None
    plan: Any = None
    given: dict[str, tuple[Any, bool]] = field(default_factory=dict)  # party -> limits, strict_none
    heard: dict[str, list[Sent]] = field(default_factory=lambda: defaultdict(list))
    results: dict[str, Any] = field(default_factory=dict)


async def record(scenario: Scenario, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Recorded:
    consortium = scenario.make(folder)
    recorded = Recorded(scenario)
    real_cast, real_vectors = attempt.cast_of, Inputs.vectors

    def cast_of(raw: bytes, number: int, plan: Any, **facts: Any) -> Cast:
        recorded.cast, recorded.number, recorded.plan = real_cast(raw, number, plan, **facts), number, plan
        return recorded.cast

    async def vectors(self: Inputs, cast: Cast, plan: Any, limits: Any, *, strict_none: bool, **rest: Any) -> Any:
        recorded.given[self._member.name] = (limits, strict_none)
        return await real_vectors(self, cast, plan, limits, strict_none=strict_none, **rest)

    monkeypatch.setattr(attempt, "cast_of", cast_of)
    monkeypatch.setattr(Inputs, "vectors", vectors)
    hooks: dict[str, dict[str, Any]] = {"coordinator": {"seed": lambda: seed("coordinator")}}
    for name in (*scenario.parties, *scenario.helper):
        hooks[name] = {"seed": lambda name=name: seed(name), "on_message": recorded.heard[name].append}
    async with serving(consortium, hooks=hooks) as running:
        job = await running.ask(scenario.recipients[0], "submit", scenario.sql, scenario.recipients)
        await running.ask(scenario.recipients[0], "wait", job.id)
        for who in scenario.recipients:
            recorded.results[who] = await running.ask(who, "result", job.id)
    recorded.job = job.id
    return recorded


@pytest.fixture
async def over_grpc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Recorded:
    return await record(SUMS, tmp_path, monkeypatch)


async def role(consortium: Path, name: str, recorded: Recorded) -> Rounds[Any]:
    """The role of one member, from its own folder, seed and tables."""
    member, cast = Member(consortium / name), recorded.cast
    assert cast is not None
    coins = own_coins(seed(name), bytes.fromhex(recorded.job), recorded.number)
    session = Session(name, coins)
    if name == "coordinator":
        return play_coordinator(session, cast, member.sign, member.verify)
    if name in recorded.scenario.helper:
        return play_helper(session, cast, member.sign, member.verify)
    limits, strict = recorded.given[name]
    releases = Releases(member.folder / "state" / "node.db")
    given = await Inputs(member, releases, NoiseSeeds(member.folder, member.identity)).vectors(
        cast, recorded.plan, limits, strict_none=strict, coins=coins, salt=bytes(32)
    )
    return play_party(session, cast, given.vectors, member.sign, member.verify, given.rows, given.values)


def by_pair(sent: list[Sent]) -> dict[tuple[str, str], list[tuple[str, bytes]]]:
    pairs = defaultdict(list)
    for s in sent:
        pairs[s.sender, s.receiver].append((s.step, s.raw))
    return dict(pairs)


@pytest.mark.parametrize("scenario", [SUMS, JOIN, SEARCH], ids=["sums", "join", "search"])
async def test_grpc_in_process_and_replay_say_the_same_bytes(
    scenario: Scenario, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    over_grpc = await record(scenario, tmp_path, monkeypatch)
    consortium, nodes = tmp_path / "consortium", scenario.members[:-1]
    # every message once: what a node said, and what it heard of the coordinator
    on_the_wire = [s for n in nodes for s in over_grpc.heard[n] if s.sender in (n, "coordinator")]
    trace = Trace()
    results = run({n: await role(consortium, n, over_grpc) for n in scenario.members}, trace)
    assert by_pair(trace.sent) == by_pair(on_the_wire)
    assert scenario is SEARCH or {64, 128} <= {s.bits for s in over_grpc.cast.sums}

    for name in scenario.members:
        again = replay(name, await role(consortium, name, over_grpc), on_the_wire)
        assert again.totals.keys() == results[name].totals.keys()
        for total, words in again.totals.items():
            assert np.array_equal(words, results[name].totals[total])


async def test_replay_names_the_first_message_that_differs(over_grpc: Recorded, tmp_path: Path):
    heard = over_grpc.heard["bank_b"]
    at = next(i for i, s in enumerate(heard) if s.sender == "bank_b" and "block" in s.step)
    changed = bytearray(heard[at].raw)
    changed[-1] ^= 1
    record = [*heard[:at], Sent("bank_b", heard[at].receiver, heard[at].step, bytes(changed)), *heard[at + 1 :]]
    with pytest.raises(LocalError) as raised:
        replay("bank_b", await role(tmp_path / "consortium", "bank_b", over_grpc), record)
    assert raised.value.code == "protocol.replay"
    assert raised.value.facts["step"] == heard[at].step


async def test_all_members_heard_what_the_others_said(over_grpc: Recorded):
    said = {b: by_pair([s for s in over_grpc.heard[b] if s.sender == b]) for b in world.BANKS}
    for a in world.BANKS:
        for b in world.BANKS:
            if a != b:
                heard = by_pair([s for s in over_grpc.heard[b] if s.sender == a])
                assert heard.get((a, b)) == said[a].get((a, b))


async def test_the_small_cell_is_noise_for_both_recipients(over_grpc: Recorded):
    for who in RECIPIENTS:
        rows = over_grpc.results[who].rows
        assert rows[0]["grade"] == "A"
        assert rows[0]["total"] is None
        assert rows[1]["n"] == 55
