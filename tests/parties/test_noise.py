"""Jobs with noise between members over gRPC: budgets, accuracy, the noise itself, and that a retry shows it again."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest

from mpc.errors import HejiError, LocalError
from mpc.evidence.case import Part, read_part
from parties.auditor.export import own_evidence
from parties.cli.output import out, table_of
from parties.member import Member
from parties.node.budgets import Budgets
from parties.node.inputs import Inputs
from parties.node.tables import add_table
from parties.results import ACCURACY, SUPPRESSED, UNCLEAR, Result
from tests.mpc.test_noise import FAR, far_out
from tests.parties import world
from tests.parties.conftest import Running, serving
from tests.parties.test_kill import until
from tests.parties.test_replaying import again

BUDGET = 'budget = { epsilon = 1.0, per = "30d" }'
#: of bank accounts the bounds are generous; firms are counted
COUNT = "SELECT COUNT(*) AS n FROM (" + " UNION ALL ".join(f"SELECT uscc FROM {b}.accounts" for b in world.BANKS) + ")"


def make(folder: Path, budgets: Mapping[str, str] = MappingProxyType(dict.fromkeys(world.BANKS, BUDGET))) -> Path:
    made = world.make(folder)
    for bank, line in budgets.items():
        policy = made / bank / "policy.toml"
        policy.write_text(policy.read_text().rstrip() + f"\n{line}\n")
    return made


async def refusal(running: Running, sql: str, to: str = "analyst", **options: Any) -> HejiError:
    with pytest.raises(HejiError) as refused:
        await running.query(sql, to, **options)
    return refused.value


async def evidence(folder: Path, name: str, job: str) -> Part:
    member = Member(folder / name)
    try:
        return read_part(name, await own_evidence(member, job))
    finally:
        await member.close()


async def test_numbers_come_with_noise_its_accuracy_and_what_is_left(tmp_path: Path) -> None:
    folder = make(tmp_path)
    async with serving(folder) as running:
        error = await refusal(running, world.BY_GRADE)
        assert error.code == "policy.refused" and "--epsilon 1.0" in error.advice
        result = await running.query(world.BY_GRADE, epsilon="0.4")
        verified = await running.query(COUNT, epsilon="0.6", verified=True)
        assert verified.statement["verified"] is True and abs(verified.rows[0]["n"] - 90) < 100
        assert (await refusal(running, COUNT, entity_rows=3)).code == "plan.noise"  # for what has noise
    assert [r["grade"] for r in result.rows] == ["A", "B"]
    for row, total in zip(result.rows, (632700, 672300), strict=True):
        off = row[ACCURACY]
        assert off["n"] == 25 and off["total"] > 10**10  # two words, three owners: scale 5 each
        assert abs(row["n"] - 45) < 5 * off["n"] and abs(float(row["total"]) - total) < 5 * float(off["total"])
    assert SUPPRESSED not in result.table.column_names
    statement = result.statement
    assert statement["noise"]["epsilon"] == "0.4" and statement["noise"]["confidence"] == 0.95
    assert {p: b["left"] for p, (b,) in statement["budgets"].items()} == dict.fromkeys(world.BANKS, "0.6")
    (told,) = statement["budgets"]["bank_a"]
    events = (await evidence(folder, "bank_a", statement["job"])).events
    (entry,) = [e for e in events if e.event == "budget"]
    assert {k: entry.facts[k] for k in told} == told and len(entry.facts["noise"]) == 64
    assert (entry.facts["epsilon"], entry.facts["recipient"], entry.facts["days"]) == ("0.4", "analyst", 30)
    masked = [e for e in events if e.event == "sent" and "keys" not in str(e.facts["step"])]
    assert masked and all(entry.seq < e.seq for e in masked)


async def test_a_budget_is_spent_and_other_recipients_have_their_own(tmp_path: Path) -> None:
    async with serving(make(tmp_path)) as running:
        await running.query(COUNT, epsilon="0.75")
        assert (await refusal(running, COUNT, epsilon="0.5")).code == "policy.spent"
        told = await running.ask("analyst", "explain", COUNT, epsilon="0.5")
        assert {v["code"] for v in told["verdicts"].values()} == {"policy.spent"}
        last = await running.query(world.TOGETHER, epsilon="0.25")
        assert last.statement["budgets"]["bank_c"][0]["left"] == "0"
        error = await refusal(running, COUNT, epsilon="0.000001")
        assert error.code == "policy.spent" and "Wait until" in error.advice
        other = await running.query(COUNT, "bank_a", epsilon="1")
        assert set(other.statement["budgets"]) == {"bank_b", "bank_c"}  # to itself bank_a needs no grant
        await running.stop("bank_b")
        await running.start("bank_b")
        assert (await refusal(running, COUNT, epsilon="0.000001")).code == "policy.spent"


async def test_a_job_that_ends_before_anything_is_sent_spends_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(make(tmp_path)) as running:
        real = Budgets.spend

        def full(self: Budgets, job: str, snapshot: str) -> None:
            raise LocalError("store.failed", "The disk is full.")

        monkeypatch.setattr(Budgets, "spend", full)
        assert (await refusal(running, COUNT, epsilon="0.75")).code in ("store.failed", "peer.aborted")
        monkeypatch.setattr(Budgets, "spend", real)
        assert (await running.query(COUNT, epsilon="0.75")).statement["budgets"]["bank_a"][0]["left"] == "0.25"


async def test_another_attempt_shows_the_same_noise_and_spends_nothing_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first attempt dies at bank_b when it has everything ready and its budget is spent."""
    given: list[dict[str, bytes]] = []
    real_vectors, real_spend, failed = Inputs._vectors, Budgets.spend, []

    def noted(self: Inputs, *args: Any) -> Any:
        made = real_vectors(self, *args)
        given.append({name: words.tobytes() for name, words in made.vectors.items()})
        return made

    def once(self: Budgets, job: str, snapshot: str) -> None:
        real_spend(self, job, snapshot)
        if not failed:
            failed.append(job)
            raise LocalError("peer.unavailable", "A cable was pulled.")

    monkeypatch.setattr(Inputs, "_vectors", noted)
    monkeypatch.setattr(Budgets, "spend", once)
    folder = make(tmp_path)
    async with serving(folder) as running:
        result = await running.query(world.BY_GRADE, epsilon="0.4")
        assert failed and len(given) > 3
        # a party's words are its values and its noise: attempt by attempt the same three
        assert len({json.dumps({k: v.hex() for k, v in g.items()}) for g in given}) == 3
        assert result.statement["budgets"]["bank_b"][0]["left"] == "0.6"
        second = await running.query(world.BY_GRADE, epsilon="0.4")
        assert second.rows != result.rows  # a new job draws anew, and has paid for it
        assert second.statement["budgets"]["bank_b"][0]["left"] == "0.2"
    job = result.statement["job"]
    store = sqlite3.connect(folder / "bank_b" / "state" / "node.db")
    spends = store.execute("SELECT DISTINCT epsilon, state FROM spends WHERE job = ?", (job,)).fetchall()
    store.close()
    assert spends == [("0.4", "spent")]
    found = await again(folder, "bank_b", job)
    assert {f.role for f in found} == {"party"}


async def test_the_noise_of_a_whole_job_is_what_it_claims(tmp_path: Path) -> None:
    """Two thousand empty cells: what comes out is the noise of three owners and nothing else."""
    labels = [f"g{i}" for i in range(2000)]
    folder = make(tmp_path)
    for bank in world.BANKS:
        rows = world.rows_of(bank)
        world.write_accounts(tmp_path / f"{bank}_wide.csv", [(u, "g0", b) for u, _, b in rows])
        add_table(
            folder / bank,
            str(tmp_path / f"{bank}_wide.csv"),
            name="wide",
            keys=["uscc"],
            grants=("aggregate", "group"),
            types={"balance": "DECIMAL(18,2)"},
            domains={"grade": ",".join(labels)},
            bounds={"balance": "-1000000:1000000000"},
        )
        policy = folder / bank / "policy.toml"
        policy.write_text(policy.read_text().rstrip() + f"\n{BUDGET}\n")
    union = " UNION ALL ".join(f"SELECT grade FROM {b}.wide" for b in world.BANKS)
    async with serving(folder) as running:
        result = await running.query(f"SELECT grade, COUNT(*) AS n FROM ({union}) GROUP BY grade", epsilon="1")
    noise = Counter(r["n"] for r in result.rows if r["grade"] not in ("g0", None))
    one = np.array([np.exp(-abs(z)) for z in range(-60, 61)])
    one /= one.sum()  # scale 1: sensitivity 1, epsilon 1, one word
    three = np.convolve(np.convolve(one, one), one)
    expected = {z - 180: float(p) for z, p in enumerate(three)}
    assert far_out(noise, expected, sum(noise.values())) < FAR
    assert abs(next(r["n"] for r in result.rows if r["grade"] == "g0") - 90) < 60


async def test_seeds_are_destroyed_and_the_log_says_so(tmp_path: Path) -> None:
    folder = make(tmp_path)
    for bank in world.BANKS:
        settings = folder / bank / "member.toml"
        settings.write_text(settings.read_text() + "\nnoise_days = 0\n")
    async with serving(folder) as running:
        job = (await running.query(COUNT, epsilon="0.5")).statement["job"]
        seeds = folder / "bank_a" / "state" / "noise"
        await running.apart(until, lambda: not list(seeds.iterdir()))  # when the coordinator has closed the job
    part = await evidence(folder, "bank_a", job)
    assert [e.facts["what"] for e in part.events if e.event == "destroyed"] == ["seed of the noise"]
    with pytest.raises(LocalError) as gone:
        await again(folder, "bank_a", job)
    assert gone.value.code == "evidence.missing" and "noise" in gone.value.message


async def test_owners_without_a_budget_keep_their_exact_rules(tmp_path: Path) -> None:
    """Noise is added, and small cells are hidden by exact counts, as their grants say."""
    folder = world.make(tmp_path)
    rows = world.rows_of("bank_b")
    world.write_accounts(tmp_path / "bank_b.csv", [(u, "A" if i < 27 else "B", b) for i, (u, _, b) in enumerate(rows)])
    async with serving(folder) as running:
        a, b = (await running.query(world.BY_GRADE, epsilon="1")).rows[:2]
        assert a["n"] is not None and a[ACCURACY]["n"] == 10 and not a[SUPPRESSED]
        assert b["n"] is None and b[SUPPRESSED] == ["n", "total"]


async def test_exact_presence_is_not_told_by_an_owner_with_a_budget(tmp_path: Path) -> None:
    folder = make(tmp_path, {"bank_b": BUDGET})
    async with serving(folder) as running:
        error = await refusal(running, world.BY_GRADE, epsilon="0.5")
    assert error.code == "policy.contributors" and "bank_b" in error.message


def test_how_results_are_written() -> None:
    import pyarrow as pa

    off = pa.struct([("n", pa.int64()), ("a", pa.float64())])
    table = pa.table(
        {
            "n": [12, -1],
            "a": [1.5, None],
            UNCLEAR: [[], ["a"]],
            ACCURACY: pa.array([{"n": 5, "a": 0.25}, {"n": 5, "a": None}], off),
        }
    )
    result = Result(table, {})
    assert '"_accuracy": {"n": 5, "a": 0.25}' in result.to_json()
    assert result.to_csv().splitlines()[1:] == ['12,1.5,"","n=5;a=0.25"', '-1,,"a","n=5"']
    with out.capture() as shown:
        out.print(table_of(result))
    assert "12 ± 5" in shown.get() and "too noisy" in shown.get()
    assert Result.from_bytes(result.to_bytes()).rows == result.rows
    assert Decimal(result.rows[0]["n"]) == 12
