"""Standing approvals: a job that is one runs without a person; what is none, or too often, asks one."""

from __future__ import annotations

import datetime as dt
import os
from pathlib import Path

import pytest

import parties.coordinator.service as coordinator
from mpc.errors import LocalError
from mpc.policy.standing import parse_standing
from mpc.run import Sent
from parties.cli.main import main
from parties.node.decisions import Word
from parties.node.permission import read_policy
from parties.node.standing import FILE, StandingWords, named
from parties.node.store import Store
from tests.parties.conftest import Running, serving
from tests.parties.test_by_hand import HAND, approval_of, by_hand, waiting

BY_GRADE = (
    "SELECT SUM(balance) AS s, COUNT(*) AS n FROM ("
    + " UNION ALL ".join(f"SELECT grade, balance FROM {b}.accounts" for b in ("bank_a", "bank_b", "bank_c"))
    + ") WHERE grade = $grade"
)
TEXT = f'''
[[standing]]
name = "by grade"
sql = """
-- as agreed in the contract
{BY_GRADE}
"""
to = ["analyst"]
purpose = "monthly"
parameters = {{ grade = ["A", "C"] }}
runs = 2
per = "all"
expires = 2099-12-31
'''


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coordinator, "WAIT", 0.05)


def put_in_force(consortium: Path, *persons: str, text: str = TEXT) -> None:
    (consortium / HAND / FILE).write_text(text)
    for person in persons:
        with pytest.raises(SystemExit) as ended:
            main(
                ["policy", "standing", "by grade", "--approve", "--by", person, "--consortium", str(consortium / HAND)]
            )
        assert not ended.value.code


async def waits(running: Running, sql: str = BY_GRADE, *, grade: str = "A", purpose: str = "monthly") -> None:
    job = await running.ask("analyst", "submit", sql, "analyst", purpose=purpose, parameters={"grade": grade})
    await waiting(running, job.id)
    await running.ask("analyst", "cancel", job.id)


async def runs(running: Running, sql: str = BY_GRADE, *, grade: str = "A") -> str:
    result = await running.query(sql, purpose="monthly", parameters={"grade": grade})
    assert result.rows[0]["n"] == (45 if grade == "A" else 0) or result.rows[0]["_suppressed"]
    return str(result.statement["job"])


async def test_it_runs_without_a_person_and_says_whose_word_it_was(tmp_path: Path) -> None:
    consortium = by_hand(tmp_path)
    put_in_force(consortium, "Li Na")
    async with serving(consortium) as running:
        told = await running.ask(
            "analyst", "explain", BY_GRADE, "analyst", purpose="monthly", parameters={"grade": "A"}
        )
        assert told["verdicts"][HAND] is None
        # another writing of the same query is the same query
        job = await runs(running, BY_GRADE.lower().replace("(select grade", "(\n  select grade"))
        statement = approval_of(running, job)
        assert [w["person"] for w in statement["by_hand"]] == ["Li Na"]
        standing = named(consortium / HAND, "by grade")
        assert statement["standing"] == {"name": "by grade", "digest": standing.digest()}
        store = Store(consortium / HAND / "state" / "node.db", os.urandom(32))
        assert store.decisions.all() == [] and store.standing.uses(standing, dt.date.today()) == 1
        seen = store.jobs(1)[0].sql
        store.close()
        assert '-- $grade = "A"' in seen  # whoever looks at it later sees the value

        await waits(running, grade="B")
        await waits(running, purpose="study")
        await waits(running, BY_GRADE.replace("SUM(balance)", "AVG(balance)"))
        await runs(running, grade="C")
        await waits(running)  # two jobs have used it


async def test_it_takes_the_persons_that_the_grants_ask_for(tmp_path: Path) -> None:
    consortium = by_hand(tmp_path, "two")
    put_in_force(consortium, "Li Na")
    async with serving(consortium) as running:
        await waits(running)
        put_in_force(consortium, "Wang Wei")
        job = await runs(running)
        assert [w["person"] for w in approval_of(running, job)["by_hand"]] == ["Li Na", "Wang Wei"]


async def test_a_change_of_the_text_or_the_policy_takes_it_out_of_force(tmp_path: Path) -> None:
    consortium = by_hand(tmp_path)
    async with serving(consortium) as running:
        put_in_force(consortium)
        await waits(running)  # nobody approved it
        put_in_force(consortium, "Li Na")
        (consortium / HAND / FILE).write_text(TEXT.replace("runs = 2", "runs = 200"))
        await waits(running)
        (consortium / HAND / FILE).write_text(TEXT + "\n# the same\n")
        await runs(running)
        policy = consortium / HAND / "policy.toml"
        policy.write_text(policy.read_text() + "\n# reviewed\n")
        await waits(running)
        put_in_force(consortium, "Li Na")
        (consortium / HAND / FILE).write_text(TEXT + "\n[[standing]]\n")  # a mistake is nobody's word
        await waits(running)


async def test_a_use_is_on_disk_before_anything_is_sent(tmp_path: Path) -> None:
    consortium = by_hand(tmp_path)
    put_in_force(consortium, "Li Na")
    counted: list[int] = []

    def on_message(sent: Sent) -> None:
        if sent.sender == HAND and not counted:
            beside = Store(consortium / HAND / "state" / "node.db", os.urandom(32))  # as after a crash here
            counted.append(beside.standing.uses(named(consortium / HAND, "by grade"), dt.date.today()))
            beside.close()

    async with serving(consortium, hooks={HAND: {"on_message": on_message}}) as running:
        await runs(running)
    assert counted == [1]


async def test_what_waited_and_then_ran_by_it_waits_for_nobody(tmp_path: Path) -> None:
    """A job asked before the standing approval was in force runs by it, and no longer stands among what is pending."""
    consortium = by_hand(tmp_path)
    async with serving(consortium) as running:
        job = await running.ask("analyst", "submit", BY_GRADE, "analyst", purpose="monthly", parameters={"grade": "A"})
        await waiting(running, job.id)
        put_in_force(consortium, "Li Na")
        await running.ask("analyst", "wait", job.id)
        store = Store(consortium / HAND / "state" / "node.db", os.urandom(32))
        assert store.decisions.of(job.id).state == "pending"  # nobody decided
        assert store.decisions.waiting(0) == []
        store.close()


async def test_a_stop_withdraws_it(tmp_path: Path) -> None:
    consortium = by_hand(tmp_path)
    put_in_force(consortium, "Li Na")
    for words in (["node", "stop", "--now"], ["node", "resume"]):
        with pytest.raises(SystemExit):
            main([*words, str(consortium / HAND)])
    async with serving(consortium) as running:
        await waits(running)


async def test_what_a_person_rejected_it_does_not_let_through(tmp_path: Path) -> None:
    consortium = by_hand(tmp_path)
    put_in_force(consortium)
    async with serving(consortium) as running:
        job = await running.ask("analyst", "submit", BY_GRADE, "analyst", purpose="monthly", parameters={"grade": "A"})
        await waiting(running, job.id)
        store = Store(consortium / HAND / "state" / "node.db", os.urandom(32))
        store.decisions.decide(job.id, Word("Wang Wei", 1, "no", "command", approves=False))
        policy = read_policy(consortium / HAND).digest
        store.standing.approve(named(consortium / HAND, "by grade"), policy, Word("Li Na", 1, "", "command"))
        store.close()
        with pytest.raises(LocalError) as caught:
            await running.ask("analyst", "wait", job.id)
        assert caught.value.code == "policy.rejected"


def test_uses_are_counted_once_a_job_and_never_too_many(tmp_path: Path) -> None:
    store = Store(tmp_path / "node.db", os.urandom(32))
    [monthly] = parse_standing(TEXT.replace('per = "all"', 'per = "month"'))
    words: StandingWords = store.standing
    first, later = dt.date(2026, 11, 30), dt.date(2026, 12, 1)
    for job in ("a", "a", "b", "a"):
        words.use(monthly, job, first)
    with pytest.raises(LocalError) as caught:
        words.use(monthly, "c", first)
    assert caught.value.code == "policy.spent" and words.uses(monthly, first) == 2
    words.use(monthly, "b", first)  # a second attempt
    words.use(monthly, "c", later)
    assert (words.uses(monthly, later), words.uses(monthly, first, but="a")) == (1, 1)
    words.approve(monthly, "policy", Word("Li Na", 1, "", "command"))
    with pytest.raises(LocalError, match="already"):
        words.approve(monthly, "policy", Word("li na", 1, "", "command"))
    assert words.of(monthly, "another policy") == ()
    words.withdraw(monthly)
    assert words.of(monthly, "policy") == ()
    [over] = parse_standing(TEXT.replace("2099-12-31", "2026-11-30"))
    words.approve(over, "policy", Word("Li Na", 1_796_083_199, "", "command"))  # the last second of that day
    with pytest.raises(LocalError, match="is over since 2026-11-30"):
        words.approve(over, "policy", Word("Wang Wei", 1_796_083_200, "", "command"))
    store.close()
