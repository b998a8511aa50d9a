"""A member's own role, run again from what it kept: every byte the same, or the first difference named."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from mpc.errors import LocalError
from mpc.evidence.case import Part, read_part
from mpc.evidence.data import Block
from mpc.evidence.entry import Entry, make_entry
from mpc.run import Sent
from parties.auditor.export import own_evidence
from parties.config import template
from parties.evidence.recorder import Recorder
from parties.evidence.retained import Retained
from parties.identity import make_identity
from parties.member import Member
from parties.node.sources.database import LocalDatabase
from parties.replaying import Replayed, replay
from tests.parties import test_joins, test_ranked, test_tallies, world
from tests.parties.conftest import serving

pytestmark = pytest.mark.usefixtures("few_extras")


@dataclass(frozen=True)
class Story:
    make: Callable[[Path], Path]
    sql: str
    members: tuple[str, ...]
    trust: str = "helper"


STORIES = (
    Story(world.make, world.BY_GRADE, (*world.BANKS, "coordinator")),
    Story(
        test_joins.make,
        f"SELECT t.industry, SUM(t.paid + b.balance * m.spend) AS s {test_joins.JOINED} GROUP BY t.industry",
        ("tax", "bank", "telecom", "helper", "coordinator"),
    ),
    Story(test_ranked.make, test_ranked.BY_REGION, (*test_ranked.BANKS, "helper", "coordinator")),
    Story(test_tallies.make, test_tallies.BY_INDUSTRY, ("tax", "bank", "coordinator"), "parties"),
    Story(test_tallies.make, f"SELECT COUNT(*) AS n {test_tallies.COMPARED}", ("tax", "bank"), "parties"),
    Story(test_tallies.make, test_tallies.SIZE, ("tax", "bank", "coordinator"), "parties"),
)


async def ran(folder: Path, sql: str, trust: str = "helper") -> str:
    async with serving(folder) as running:
        result = await running.query(sql, trust=trust)
        return str(result.statement["job"])


async def again(
    folder: Path, name: str, job: str, change: Callable[[dict[str, Any]], None] = lambda _: None
) -> list[Replayed]:
    member = Member(folder / name)
    try:
        body = json.loads(await own_evidence(member, job))
        change(body)
        part: Part = read_part(name, json.dumps(body).encode())
        return await replay(member, part)
    finally:
        await member.close()


@pytest.mark.parametrize(
    "story",
    [*STORIES[:-1], pytest.param(STORIES[-1], marks=pytest.mark.slow)],
    ids=["sum", "join", "search", "join without a helper", "comparison", "size alone"],
)
async def test_every_role_says_the_same_again(tmp_path: Path, story: Story) -> None:
    folder = story.make(tmp_path)
    job = await ran(folder, story.sql, story.trust)
    for name in story.members:
        [found] = await again(folder, name, job)
        assert found.attempt == 1 and found.messages > 2
        assert found.role == (name if name in ("helper", "coordinator") else "party")


async def test_in_whichever_order_own_tables_are_joined(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A database with several threads gives the rows of a join in another order each time: the same input all the same,
    and the same messages."""
    folder = test_joins.make_own_tables(tmp_path)
    sql = (
        "SELECT COUNT(*) AS n, SUM(c.spent * t.paid) AS s FROM bank.cards c "
        "JOIN bank.accounts a ON c.account = a.number JOIN tax.firms t ON t.uscc = a.uscc"
    )
    job = await ran(folder, sql)
    rows, turned = LocalDatabase.rows, []

    def backwards(self: LocalDatabase, sql: str) -> pa.Table:
        answer = rows(self, sql)
        turned.append(answer.num_rows)
        return answer.take(list(range(answer.num_rows))[::-1])

    monkeypatch.setattr(LocalDatabase, "rows", backwards)
    [found] = await again(folder, "bank", job)
    assert found.messages > 2 and turned[0] == 90


def change(table: Path, old: str, new: str) -> None:
    """Change the first ``old`` in a table's file."""
    text = table.read_text()
    assert old in text
    table.write_text(text.replace(old, new, 1))


@pytest.mark.parametrize(
    ("story", "name", "old", "new", "where"),
    [
        (0, "bank_a", ",0.01", ",1.00", "pool0: SUM(balance), word 0 (sum), rows 1 to 1"),
        (1, "bank", ",2.50,", ",3.50,", "pool0: bank, column 0, rows 2 to 2"),
        pytest.param(1, "tax", "F0007,B,", "F0007,A,", "pool0: tax, groups, rows 8 to 8", marks=pytest.mark.slow),
        (1, "telecom", "F0049,50\n", "", "pool0: telecom, keys, rows 1 to 50"),
        (2, "bank_b", None, "", "measure 0, values"),
        pytest.param(3, "bank", ",2.50,", ",3.50,", "pool0: bank, column 0, rows 2 to 2", marks=pytest.mark.slow),
    ],
    ids=["sum", "join", "spine", "fewer rows", "search", "tally"],
)
async def test_other_data_is_named_and_the_kept_input_replayed(
    tmp_path: Path, story: int, name: str, old: str | None, new: str, where: str
) -> None:
    """Tables go on; the role is judged by the input that the log bound it to."""
    folder = STORIES[story].make(tmp_path)
    job = await ran(folder, STORIES[story].sql, STORIES[story].trust)
    [before] = await again(folder, name, job)
    table = tmp_path / f"{name}.csv"
    change(table, old if old is not None else table.read_text().splitlines(True)[-1], new)
    [after] = await again(folder, name, job)
    assert before.remark == "" and where in after.remark
    assert (after.messages, after.bytes) == (before.messages, before.bytes)


async def test_tables_that_are_gone(tmp_path: Path) -> None:
    folder = world.make(tmp_path)
    job = await ran(folder, world.TOGETHER)
    (tmp_path / "bank_a.csv").unlink()
    [found] = await again(folder, "bank_a", job)
    assert found.messages > 2 and "bank_a.csv" in found.remark


async def test_a_deviation_is_found_on_the_kept_input_too(tmp_path: Path) -> None:
    """A node that sent other words than its committed input gives, and changed its tables since."""
    folder = world.make(tmp_path)
    job = await ran(folder, world.TOGETHER)
    change(tmp_path / "bank_a.csv", ",0.01", ",1.00")
    with pytest.raises(LocalError, match=r"pool0/.* to coordinator differs"):
        await again(folder, "bank_a", job, said_something_else(folder))


async def test_other_data_without_the_input_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The root alone tells that, not where."""
    folder = world.make(tmp_path)
    keep = Recorder.keep
    monkeypatch.setattr(Recorder, "keep", lambda self, key, seed, expected, _blocks=(): keep(self, key, seed, expected))
    job = await ran(folder, world.TOGETHER)
    await again(folder, "bank_a", job)
    change(tmp_path / "bank_a.csv", ",0.01", ",1.00")
    with pytest.raises(LocalError, match="was not kept") as refused:
        await again(folder, "bank_a", job)
    assert refused.value.code == "data.changed"


async def test_kept_input_that_is_not_the_committed_one_explains_nothing(tmp_path: Path) -> None:
    """Whoever holds the keys could put other blocks in place of those kept, to explain a change away."""
    folder = world.make(tmp_path)
    job = await ran(folder, world.TOGETHER)
    member = Member(folder / "bank_a")
    kept = Retained(member.folder, member.identity, 1 << 20)
    key = (bytes.fromhex(job), 1)
    seed, blocks, heard = kept.seed(key), kept.blocks(key), kept.heard(key, "bank_a")
    assert blocks
    await member.close()
    next((folder / "bank_a" / "state" / "retained").iterdir()).unlink()
    content = bytearray(blocks[0].content)
    content[0] ^= 1
    keeping = kept.begin(key, seed, 0, [replace(blocks[0], content=bytes(content)), *blocks[1:]])
    for sent in heard:
        keeping.heard(sent)
    keeping.close()
    await again(folder, "bank_a", job)  # the tables are the same: what is kept of them is not looked at
    change(tmp_path / "bank_a.csv", ",0.01", ",1.00")
    with pytest.raises(LocalError, match="input kept is not the one") as refused:
        await again(folder, "bank_a", job)
    assert refused.value.code == "protocol.replay"


def said_something_else(folder: Path) -> Callable[[dict[str, Any]], None]:
    """bank_a's part as a node would have logged it that said other words than its data and seed give."""
    key = Member(folder / "bank_a").identity

    def rewrite(body: dict[str, Any]) -> None:
        for i, (number, raw) in enumerate(body["entries"]):
            event = Entry.from_bytes(base64.b64decode(raw)).event
            if event.event == "sent" and "pool" in event.facts["step"]:
                other = {**event.facts, "sha256": "00" * 32}
                forged = make_entry(replace(event, facts=other), "bank_a", key.signing.sign)
                body["entries"][i] = [number, base64.b64encode(forged.to_bytes()).decode()]

    return rewrite


async def test_a_message_other_than_the_role_says_is_named(tmp_path: Path) -> None:
    folder = world.make(tmp_path)
    job = await ran(folder, world.TOGETHER)
    with pytest.raises(LocalError, match=r"pool0/.* to coordinator differs"):
        await again(folder, "bank_a", job, said_something_else(folder))


async def test_another_seed_or_heard_message_is_refused(tmp_path: Path) -> None:
    folder = world.make(tmp_path)
    job = await ran(folder, world.TOGETHER)
    [kept] = (folder / "bank_a" / "state" / "retained").iterdir()
    raw = kept.read_bytes()
    kept.write_bytes(raw[:10] + bytes([raw[10] ^ 1]) + raw[11:])
    with pytest.raises(LocalError) as refused:
        await again(folder, "bank_a", job)
    assert refused.value.code == "evidence.invalid"
    kept.unlink()
    with pytest.raises(LocalError) as refused:
        await again(folder, "bank_a", job)
    assert refused.value.code == "evidence.missing"


async def test_what_is_kept_is_encrypted_and_destroyed(tmp_path: Path) -> None:
    seed = b"s" * 32
    folder = world.make(tmp_path)
    async with serving(folder, hooks={"bank_a": {"seed": lambda: seed}}) as running:
        await running.query(world.TOGETHER)
    [kept] = (folder / "bank_a" / "state" / "retained").iterdir()
    assert seed not in kept.read_bytes() and b"pool0" not in kept.read_bytes()
    assert kept.stat().st_mode & 0o077 == 0
    member = Member(folder / "bank_a")
    later = Member(folder / "bank_a", clock=lambda: member.clock() + 31 * 86400)
    recorder = Recorder(later)
    try:
        assert not kept.exists()
        key = (bytes.fromhex(kept.name[:64]), 1)
        events = [Entry.from_bytes(r).event.event for r in recorder.log.of_job(key[0].hex()).values()]
        assert events[-1] == "destroyed"
    finally:
        await recorder.close()


def test_more_than_is_kept(tmp_path: Path) -> None:
    (tmp_path / "member.toml").write_text(template("bank_a", ""))
    kept = Retained(tmp_path, make_identity("bank_a", 1_790_000_000), 100)
    key = (bytes(32), 1)
    keeping = kept.begin(key, bytes(range(32)), 120)
    for i in range(3):
        keeping.heard(Sent("tax", "bank_a", f"step/{i}", b"x" * 40))
    keeping.close()
    assert kept.seed(key) == bytes(range(32))
    with pytest.raises(LocalError, match="kept its seed only"):
        kept.heard(key, "bank_a")
    assert kept.blocks(key) == []


@pytest.mark.parametrize(("expected", "blocks"), [(40, 3), (80, 0), (120, 0)])
def test_the_input_is_kept_where_it_fits_in_beside_the_messages(tmp_path: Path, expected: int, blocks: int) -> None:
    kept = Retained(tmp_path, make_identity("bank_a", 1_790_000_000), 100)
    key = (bytes(32), 1)
    given = [Block(f"column {i}", i, i + 2, bytes([i]) * 20) for i in range(3)]
    keeping = kept.begin(key, bytes(range(32)), expected, given)
    keeping.heard(Sent("tax", "bank_a", "step", b"x" * 40))
    keeping.close()
    found = kept.blocks(key)
    assert [(b.head(), b.content) for b in found] == [(b.head(), b.content) for b in given[:blocks]]
    if expected <= 100:
        assert [s.raw for s in kept.heard(key, "bank_a")] == [b"x" * 40]
    path = next((tmp_path / "state" / "retained").iterdir())
    whole = path.read_bytes()
    for length in (0, 3, 52, 60, 80, len(whole) - 1):  # cut off wherever a crash or a full disk may
        path.write_bytes(whole[:length])
        with pytest.raises(LocalError, match="damaged or cut off"):
            _all_of(kept, key)


def _all_of(kept: Retained, key: tuple[bytes, int]) -> None:
    kept.seed(key)
    kept.blocks(key)
    kept.heard(key, "bank_a")


async def test_others_do_not_see_whether_tables_changed(tmp_path: Path) -> None:
    """The same tables in two jobs: two commitments."""
    folder = world.make(tmp_path)
    async with serving(folder) as running:
        jobs = [(await running.query(world.TOGETHER)).statement["job"] for _ in range(2)]
    member = Member(folder / "bank_a")
    parts = [read_part("bank_a", await own_evidence(member, job)) for job in jobs]
    await member.close()
    data = [e.facts["data"] for p in parts for e in p.about(1, "committed")]
    assert len(data) == 2 and len(set(data)) == 2
