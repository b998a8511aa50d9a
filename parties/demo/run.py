"""The demo, told as it happens: a throw-away consortium, real processes, every story run and checked to the cent.

make a folder → members with keys → tables → start five processes → for each story: submit, wait, open, compare with
the plaintext, show → look into the coordinator's own store → stop everything, delete the folder
"""

from __future__ import annotations

import asyncio
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb

from mpc.codec import decode
from mpc.evidence.bundle import Bundle
from mpc.evidence.case import Case, read_case
from mpc.evidence.verify import Check, overall, verify
from mpc.messages import Words
from parties.auditor.export import export
from parties.auditor.judge import listed
from parties.consortium import init_consortium
from parties.demo.plaintext import Comparison, compare, plaintext
from parties.demo.stories import STORIES, Story
from parties.demo.tables import DATA_PARTIES, DEFAULT_FIRMS, DEFAULT_SEED, MODELER, DemoTable, prepare
from parties.member import Member
from parties.modeler.client import Client
from parties.node.tables import publish_table
from parties.processes import Processes
from parties.results import Result

COORDINATOR = "coordinator"


@dataclass(frozen=True)
class Told:
    """One story as it went."""

    story: Story
    job: str
    result: Result
    plaintext: list[dict[str, Any]]
    comparison: Comparison
    seconds: float
    bytes: int


@dataclass(frozen=True)
class Seen:
    """What one party held (only the demo can look), and what the coordinator received of it."""

    party: str
    held: str
    received: tuple[str, ...]


@dataclass(frozen=True)
class Evidence:
    """The bundle of one job, as an auditor would get it, and what the checks say."""

    told: Told
    bundle: Bundle
    case: Case
    checks: list[Check]


@dataclass
class Report:
    """Everything the demo shows."""

    told: list[Told] = field(default_factory=list)
    seen: list[Seen] = field(default_factory=list)
    evidence: Evidence | None = None
    seconds: float = 0.0

    @property
    def exact(self) -> bool:
        return bool(self.told) and all(t.comparison.exact for t in self.told)

    @property
    def good(self) -> bool:
        """Every number exact, and no check of the evidence failed."""
        return self.exact and self.evidence is not None and overall(self.evidence.checks) == "passed"


@contextmanager
def consortium(
    firms: int = DEFAULT_FIRMS, seed: int = DEFAULT_SEED, tell: Callable[[str], None] = lambda _line: None
) -> Iterator[tuple[Path, tuple[DemoTable, ...]]]:
    """A consortium with the demo's tables, its members running as processes; gone after the block."""
    with tempfile.TemporaryDirectory(prefix="heji-demo-") as scratch:
        folder = Path(scratch) / "consortium"
        tell("making keys, certificates and a roster that every member signs")
        init_consortium(folder, parties=list(DATA_PARTIES), modelers=[MODELER])
        tell(f"loading tables: lending_club, telco_churn, {firms:,} synthetic firms")
        tables = prepare(Path(scratch) / "data", firms, seed)
        for table in tables:
            publish_table(folder / table.party, table.table, str(table.path), policy=table.policy_toml())
        with Processes(folder, tell=tell):
            yield folder, tables


def run_stories(
    folder: Path,
    tables: tuple[DemoTable, ...],
    stories: tuple[Story, ...] = STORIES,
    each: Callable[[Told], None] = lambda _told: None,
    progress: Callable[[str], None] = lambda _line: None,
) -> Report:
    """Run the stories one after the other, each under its recipient's own identity."""
    report = Report()
    began = time.monotonic()
    clients: dict[str, Client] = {}
    try:
        for story in stories:
            if story.recipient not in clients:
                clients[story.recipient] = Client(folder / story.recipient)
            told = run_story(clients[story.recipient], tables, story, progress)
            report.told.append(told)
            each(told)
    finally:
        for client in clients.values():
            client.close()
    report.seconds = time.monotonic() - began
    report.seen = look_into_the_coordinator(folder / COORDINATOR, tables, report.told[0])
    helped = [t for t in report.told if t.result.statement["trust"] == "helper" and t.story.recipient == MODELER]
    report.evidence = asyncio.run(evidence_of(folder, (helped or report.told)[0]))
    return report


async def evidence_of(folder: Path, told: Told) -> Evidence:
    """Collect the evidence of a job under its recipient's identity, and check it as anybody could, offline."""
    member = Member(folder / told.story.recipient)
    try:
        bundle, _ = await export(member, told.job)
    finally:
        await member.close()
    case = read_case(bundle, listed(member.roster, given=True))
    return Evidence(told, bundle, case, verify(case))


def run_story(client: Client, tables: tuple[DemoTable, ...], story: Story, progress: Callable[[str], None]) -> Told:
    began = time.monotonic()
    job = client.submit(story.sql, story.recipient, purpose=story.purpose)
    status = client.wait(job.id, lambda s: progress(f"{story.title} · {s.state} {s.phase} {s.done}/{s.total}"))
    result = client.result(job.id)
    seconds = time.monotonic() - began
    expected = plaintext(tables, story.sql).to_pylist()
    comparison = compare(result.rows, expected, story.keys, ordered=story.ordered)
    return Told(story, job.id, result, expected, comparison, seconds, status.bytes)


def look_into_the_coordinator(folder: Path, tables: tuple[DemoTable, ...], told: Told) -> list[Seen]:
    """Read the coordinator's own database: the masked words of the first story, beside what each party really held."""
    store = sqlite3.connect(f"file:{folder / 'state' / 'coordinator.db'}?mode=ro", uri=True)
    try:
        rows = store.execute(
            "SELECT sender, body FROM seen WHERE job = ? ORDER BY sender, step", (told.job,)
        ).fetchall()
    finally:
        store.close()
    words: dict[str, list[str]] = {}
    for sender, body in rows:
        message = decode(bytes(body))
        if isinstance(message, Words):
            words.setdefault(sender, []).extend(f"{int(v):016x}" for v in message.words.reshape(-1)[:4])
    return [Seen(party, _held(tables, party), tuple(w[:4])) for party, w in sorted(words.items())]


def _held(tables: tuple[DemoTable, ...], party: str) -> str:
    """A party's own share of the first story, in the clear: the sum of its balances."""
    path = next(t.path for t in tables if t.party == party and t.table.name == "accounts")
    with duckdb.connect(":memory:") as database:
        row = database.execute("SELECT SUM(balance) FROM read_parquet(?)", [str(path)]).fetchone()
    assert row is not None
    return f"SUM(balance) = {row[0]:,}"
