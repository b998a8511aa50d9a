"""kill -9 around every write of a job with noise: what was sent is counted once, and never with a second sample."""

from __future__ import annotations

import sqlite3
from fractions import Fraction
from pathlib import Path

import pytest

from parties.identity import load_identity
from parties.modeler.client import Client
from parties.node.noise_seeds import NoiseSeeds
from tests.parties import world
from tests.parties.test_kill import Supervisor, submit_stubbornly, until, wish
from tests.parties.test_noise import make

PLACES = ["seed", "seeded", "reserve", "reserved", "spend", "spent", "round 3", "round 4"]
ENOUGH = 'budget = { epsilon = 100, per = "30d" }'

Spend = tuple[str, str, str, str]


@pytest.fixture(scope="module")
def consortium(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("noise"), dict.fromkeys(world.BANKS, ENOUGH))


@pytest.fixture(scope="module")
def members(consortium: Path):
    supervisor = Supervisor(consortium)
    yield supervisor
    supervisor.close()


def spends(consortium: Path, bank: str) -> list[Spend]:
    """(job, snapshot, epsilon, state), each once."""
    store = sqlite3.connect(f"file:{consortium}/{bank}/state/node.db?mode=ro", uri=True)
    found = store.execute("SELECT DISTINCT job, snapshot, epsilon, state FROM spends ORDER BY job").fetchall()
    store.close()
    return found


@pytest.mark.slow
@pytest.mark.parametrize("place", PLACES)
def test_killed_at(consortium: Path, members: Supervisor, place: str) -> None:
    before, restarts = spends(consortium, "bank_b"), members.restarts["bank_b"]
    wished = wish(consortium, "bank_b", place)
    with Client(consortium / "analyst") as client:
        job = submit_stubbornly(client, "analyst", world.BY_GRADE, epsilon="0.5")
        attempts = client.wait(job).attempt
        result = client.result(job)
    until(lambda: members.restarts["bank_b"] == restarts + 1)
    assert not wished.exists() and attempts > 1
    for bank in world.BANKS:
        (mine,) = [s for s in spends(consortium, bank) if s[0] == job]
        assert mine[2:] == ("0.5", "spent")
        # one seed a job: every attempt drew the same noise
        seeds = list((consortium / bank / "state" / "noise").glob(f"{job}-*"))
        assert len(seeds) == 1
        NoiseSeeds(consortium / bank, load_identity(consortium / bank), make=False).coins(
            bytes.fromhex(job), bytes.fromhex(mine[1])
        )
    assert spends(consortium, "bank_b") == sorted([*before, *[s for s in spends(consortium, "bank_b") if s[0] == job]])
    left = Fraction(result.statement["budgets"]["bank_b"][0]["left"])
    assert left == 100 - Fraction("0.5") * (len(before) + 1)
