"""kill -9 at a depositor and at the coordinator: each deposit is in the total once, and there is one total."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest

from parties.modeler.client import Client
from parties.modeler.deposits import Collecting
from tests.parties import world
from tests.parties.depositing import make
from tests.parties.test_kill import Supervisor, submit_stubbornly, until, wish

DEPOSITOR = ["make", "made", "leave", "left", "query", "queried", "release", "released"]
COORDINATOR = ["take", "taken", "add", "added"]


@pytest.fixture(scope="module")
def consortium(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("kill"), seconds=0.2)


@pytest.fixture(scope="module")
def members(consortium: Path):
    supervisor = Supervisor(consortium)
    yield supervisor
    supervisor.close()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("member", "place"), [*(("bank_b", p) for p in DEPOSITOR), *(("coordinator", p) for p in COORDINATOR)]
)
def test_killed_at(consortium: Path, members: Supervisor, member: str, place: str):
    wished = wish(consortium, member, place)
    before = members.restarts[member]
    with Client(consortium / "analyst") as client:
        asked = Collecting("paillier", int(time.time()) + 3600, early=True)
        job = submit_stubbornly(client, "analyst", deposits=asked)
        client.wait(job)
        result = client.result(job)
    assert result.rows[0]["n"] == 90 and float(result.rows[0]["together"]) == pytest.approx(world.together(), abs=1e-6)
    until(lambda: members.restarts[member] == before + 1)
    assert not wished.exists(), "it never came to that place"
    with closing(sqlite3.connect(f"file:{consortium}/coordinator/state/coordinator.db?mode=ro", uri=True)) as store:
        assert store.execute("SELECT COUNT(*) FROM deposit_totals WHERE job = ?", (job,)).fetchone() == (1,)
        rows = store.execute("SELECT party, number, body FROM deposit_messages WHERE job = ?", (job,)).fetchall()
    assert sorted(rows) == [(bank, 0, None) for bank in world.BANKS]
