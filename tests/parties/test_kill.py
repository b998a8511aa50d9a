"""kill -9 at every step of a job, at a party and at the coordinator: it ends exact, nothing is masked twice alike."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from mpc.codec import decode
from mpc.messages import Words
from parties.modeler.client import Client
from parties.processes import Process, members_to_serve, start, wait_until_serving
from tests.parties import test_joins, test_tally_disclosure, world

COMMAND = ("-m", "tests.parties.mortal")
PARTY = ["approve", "approved", "query", "queried", "round 1", "round 2", "round 3", "round 4"]
#: where a member lets something out of its organisation
RELEASING = ["release", "released"]
RECEIVING = ["round 5", "keep", "kept"]
COORDINATOR = ["submitted", "round 1", "round 2", "round 3", "round 4", "finish", "finished"]


class Supervisor:
    """Starts the members and starts again whoever dies."""

    def __init__(self, consortium: Path) -> None:
        self.restarts: Counter[str] = Counter()
        self._processes = {
            name: start(name, kind, folder, COMMAND) for name, kind, folder in members_to_serve(consortium)
        }
        self._ended = threading.Event()
        for p in self._processes.values():
            wait_until_serving(p)
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()

    def _watch(self) -> None:
        while not self._ended.wait(0.05):
            for name, p in self._processes.items():
                if p.popen.poll() is not None:
                    self.restarts[name] += 1
                    self._processes[name] = start(name, p.kind, p.folder, COMMAND)

    def close(self) -> None:
        self._ended.set()
        self._thread.join()
        for p in self._processes.values():
            p.popen.terminate()
        for p in self._processes.values():
            p.popen.wait(20)


@pytest.fixture(scope="module")
def consortium(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return world.make(tmp_path_factory.mktemp("kill"))


@pytest.fixture(scope="module")
def members(consortium: Path):
    supervisor = Supervisor(consortium)
    yield supervisor
    supervisor.close()


def wish(consortium: Path, member: str, place: str) -> Path:
    path = consortium / member / "die-at"
    path.write_text(place)
    return path


def until(condition, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("member", "place", "recipient"),
    [
        *(("bank_b", p, "analyst") for p in (*PARTY, *RELEASING)),
        *(("coordinator", p, "analyst") for p in COORDINATOR),
        *(("bank_b", p, "bank_b") for p in (*PARTY, *RECEIVING)),
        *(("coordinator", p, "bank_b") for p in COORDINATOR),
    ],
)
def test_killed_at(consortium: Path, members: Supervisor, member: str, place: str, recipient: str):
    wished = wish(consortium, member, place)
    before = members.restarts[member]
    with Client(consortium / recipient) as client:
        job = submit_stubbornly(client, recipient)
        client.wait(job)
        result = client.result(job)
    assert float(result.rows[0]["together"]) == pytest.approx(world.together(), abs=1e-6)
    assert result.rows[0]["n"] == 90
    until(lambda: members.restarts[member] == before + 1)
    assert not wished.exists(), "it never came to that place"
    assert_no_word_twice(consortium)


def submit_stubbornly(client: Client, recipient: str, sql: str = world.TOGETHER, **options: Any) -> str:
    """Submitting is the one call that is answered or not; a modeler whose coordinator dies over it submits again."""
    for _ in range(50):
        try:
            return client.submit(sql, recipient, **options).id
        except Exception:
            time.sleep(0.3)
    raise AssertionError("the coordinator does not come back")


def assert_no_word_twice(consortium: Path) -> None:
    """No masked word that the coordinator ever saw, in any job or attempt, appears twice."""
    store = sqlite3.connect(f"file:{consortium}/coordinator/state/coordinator.db?mode=ro", uri=True)
    words = [
        int(w)
        for (body,) in store.execute("SELECT body FROM seen")
        if isinstance(m := decode(bytes(body)), Words)
        for w in m.words.reshape(-1)
    ]
    store.close()
    assert words
    assert len(set(words)) == len(words)


def test_a_party_that_stays_away_is_named(tmp_path: Path):
    consortium = world.make(tmp_path)
    processes: list[Process] = [start(n, k, f) for n, k, f in members_to_serve(consortium) if n != "bank_c"]
    try:
        for p in processes:
            wait_until_serving(p)
        with Client(consortium / "analyst") as client, pytest.raises(Exception, match="bank_c cannot be") as raised:
            client.query(world.TOGETHER, "analyst")
        assert raised.value.code == "peer.unavailable"
    finally:
        for p in processes:
            p.popen.terminate()
        for p in processes:
            p.popen.wait(20)


# ---- joins

BY_ROW = f"SELECT t.uscc, b.balance, m.spend {test_joins.JOINED} ORDER BY t.uscc"
#: every kind of step of each role, in the order in which they come: the spine, another party, the last one (the helper
#: deals to it), the helper, the coordinator
SPINE = ["queried", "say spine-tags", "hear positions", "say shared", "say ends", "say below", "hear level/2"]
SPINE += ["say bit", "say kept", "hear kept", "say pool0/w64/"]
OTHER = ["approve", "round 2", "say bank/tags", "say bank/places", "say masked", "hear picked"]
OTHER += ["say ends", "hear below", "hear bit", "say kept", "say pool0/w64/"]
LAST = ["hear mask/", "hear arithmetic", "hear kept/64/batch/0/c"]
HELPING = [
    "approved",
    "round 2",
    "hear spine-tags",
    "hear telecom/places",
    "say positions",
    "hear masked",
    "say picked",
]
HELPING += ["hear ends/bank/places", "hear ends/bank/column", "say ends/telecom"]
HELPING += ["say mask/", "say level/3/c", "say arithmetic", "say kept"]
ADDING = ["submitted", "round 1", "round 2", "hear pool0/w64/", "finish", "finished"]


@pytest.fixture(scope="module")
def firms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return test_joins.make(tmp_path_factory.mktemp("kill-joins"), grants=(*test_joins.ALL, "row", "join_reveal"))


@pytest.fixture(scope="module")
def joining(firms: Path):
    supervisor = Supervisor(firms)
    yield supervisor
    supervisor.close()


def by_row() -> list[dict[str, Any]]:
    met = [i for i in range(50) if i % 4]
    return [{"uscc": test_joins.FIRMS[i], "balance": Decimal(f"{i}.50"), "spend": i + 1} for i in met]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("member", "place", "recipient"),
    [
        *(("tax", p, "analyst") for p in SPINE),
        *(("bank", p, "analyst") for p in OTHER),
        *(("telecom", p, "analyst") for p in LAST),
        *(("helper", p, "analyst") for p in HELPING),
        *(("coordinator", p, "analyst") for p in ADDING),
        *(("telecom", p, "telecom") for p in ("say pool0/w64/", "hear total", "keep", "kept")),
        *(("coordinator", p, "telecom") for p in ("hear pool0/w64/", "say total", "finish")),
        *(("tax", p, "tax") for p in ("hear total", "keep", "kept")),
        *((m, "round 3", "tax") for m in ("bank", "telecom", "helper", "coordinator")),
        ("coordinator", "say total", "tax"),
    ],
)
def test_killed_in_a_join(firms: Path, joining: Supervisor, member: str, place: str, recipient: str):
    """Totals to an analyst or a party, rows to the spine."""
    sql, exact = (BY_ROW, by_row()) if recipient == "tax" else (test_joins.BY_INDUSTRY, test_joins.expected())
    wished = wish(firms, member, place)
    before = joining.restarts[member]
    with Client(firms / recipient) as client:
        job = submit_stubbornly(client, recipient, sql)
        client.wait(job)
        assert client.result(job).rows == exact
    until(lambda: joining.restarts[member] == before + 1)
    assert not wished.exists(), "it never came to that place"
    assert_no_word_twice(firms)
    assert_no_message_twice(firms)


def assert_no_message_twice(consortium: Path) -> None:
    """No words that any member ever said to another, at any step of any attempt, were said at another step or again in
    another attempt: data and sizes are the same in all of these, so a stream that was used twice would show here."""
    said: dict[tuple[str, str], set[tuple[str, str]]] = {}
    attempts = set()
    for path in consortium.glob("*/said"):
        for line in path.read_text().splitlines():
            attempt, step, digest = line.split(" ")
            said.setdefault((path.parent.name, digest), set()).add((attempt, step))
            attempts.add(attempt)
    assert len(attempts) > 3, "nothing was noted"
    again = {steps for steps in map(frozenset, said.values()) if len(steps) > 1}
    assert not again


# ---- joins without a helper


@pytest.mark.slow
@pytest.mark.parametrize("place", ["compare", "compared", "say words", "say small"])
def test_killed_when_it_knows_what_met(tmp_path: Path, place: str):
    """Whatever became of the attempts: what the job let out stands in the ledger of each side, so that neither lets out
    nearly the same."""
    asked = test_tally_disclosure
    consortium = asked.consortium(tmp_path)
    supervisor = Supervisor(consortium)
    try:
        wishes = [wish(consortium, member, place) for member in ("tax", "bank")]
        with Client(consortium / "analyst") as client:
            client.wait(first := submit_stubbornly(client, "analyst", asked.COUNTED, trust="parties"))
            assert client.result(first).rows[0]["n"] == 40
            for aimed in (asked.but_for("tax", asked.tax(30)), asked.but_for("bank", asked.bank(31))):
                client.wait(job := submit_stubbornly(client, "analyst", asked.COUNTED + aimed, trust="parties"))
                assert client.result(job).rows[0]["n"] is None
        left = [w for w in wishes if w.exists()]
        assert len(left) == (1 if place.startswith("say") else 0), "it never came to that place"
        until(lambda: sum(supervisor.restarts.values()) == 2 - len(left))
        assert_no_word_twice(consortium)
    finally:
        supervisor.close()
