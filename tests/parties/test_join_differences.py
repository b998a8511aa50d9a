"""Attacks by differences of totals over joins that no owner can see by itself: from policies to what a modeler gets."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from mpc.evidence.case import Document, read_part
from mpc.query.questions import Question
from parties.auditor.export import own_evidence
from parties.member import Member
from parties.node.tables import add_table
from tests.parties.conftest import Running, serving
from tests.parties.test_joins import ALL, FIRMS, JOINED, make, refused, write
from tests.parties.test_replaying import again

BANKED = "FROM tax.firms t JOIN bank.firms b USING (uscc)"
TOTAL = f"SELECT COUNT(*) AS n, SUM(t.paid) AS paid, SUM(b.balance) AS balance {BANKED}"
#: of tax's firms the bank has those whose number is not a multiple of four
MET = [f for i, f in enumerate(FIRMS) if i % 4]
UNMET = [f for i, f in enumerate(FIRMS) if not i % 4]


def without(firms: Sequence[str], of: str = "t") -> str:
    """The total but for these firms, as the tax bureau or the bank writes them."""
    written = firms if of == "t" else [f"{f[0].lower()}-{f[1:]}" for f in firms]
    return f"{TOTAL} WHERE {of}.uscc NOT IN ({', '.join(map(repr, written))})"


async def shown(running: Running, sql: str) -> list[dict[str, Any]]:
    return list((await running.query(sql)).rows)


HIDDEN = [{"n": None, "paid": None, "balance": None, "_suppressed": ["n", "paid", "balance"]}]


async def test_many_firms_of_an_owner_few_of_which_met(tmp_path: Path) -> None:
    """Eleven firms are left out, more than min_entities, ten of which nobody else has: the difference is one firm."""
    async with serving(make(tmp_path, least=10)) as running:
        everybody = await shown(running, TOTAL)
        assert everybody[0]["n"] == len(MET)
        assert await shown(running, without([MET[7], *UNMET[:10]])) == HIDDEN
        assert await shown(running, without([MET[7], *UNMET[:10]])) == HIDDEN  # also when it is asked again
        assert await shown(running, TOTAL) == everybody  # what was let out first stays so
        nobody = await running.query(without(UNMET[5:15]))  # leaves out nobody who met
        assert nobody.rows == everybody
        far = await running.query(without(MET[:11]))  # ten more than the first of them, which MET[7] is
        assert far.rows[0]["n"] == len(MET) - 11
    for name in ("tax", "bank", "helper"):  # what is compared besides is replayed like all else
        for result in (nobody, far):
            [found] = await again(tmp_path / "consortium", name, result.statement["job"])
            assert found.role == ("helper" if name == "helper" else "party")


async def test_a_comparison_of_columns_of_two_owners(tmp_path: Path) -> None:
    """No owner has a condition of its own there: of all firms but one the bank holds a fourteenth of twice the tax."""
    async with serving(make(tmp_path, least=10)) as running:
        [everybody] = await shown(running, TOTAL)
        assert everybody["n"] == len(MET)
        assert await shown(running, f"{TOTAL} WHERE t.paid * 2 >= b.balance * 14") == HIDDEN
        [half] = await shown(running, f"{TOTAL} WHERE t.paid < 50 * b.overdue * b.balance")  # those with overdue > 0
        assert half["n"] == sum(1 for i, _ in enumerate(FIRMS) if i % 4 and i % 3)
        within = f"SELECT SUM(t.paid) AS x, SUM(CASE WHEN t.paid * 2 >= b.balance * 14 THEN t.paid END) AS y {BANKED}"
        [row] = await shown(running, within)  # in one job
        assert (row["x"], row["y"]) == (everybody["paid"], None)


@pytest.mark.slow
async def test_in_a_table_by_group(tmp_path: Path) -> None:
    """Ten of tax's firms in industry A are left out; the bank has one of them."""
    by, left_out = f"SELECT t.industry, COUNT(*) AS n {BANKED}", ", ".join(map(repr, ["F0002", *UNMET[:9]]))
    async with serving(make(tmp_path, least=10)) as running:
        before = await shown(running, f"{by} GROUP BY t.industry ORDER BY 1")
        after = await shown(
            running,
            f"{by} WHERE t.uscc NOT IN ({left_out}) GROUP BY t.industry ORDER BY 1",
        )
    assert [r["n"] for r in before] == [15, 30]
    assert [r["n"] for r in after] == [None, None]  # B beside it: a total less B would be A


async def test_an_owner_alone_may_ask_for_it(tmp_path: Path) -> None:
    """What one of them names is compared for all; where none does, the difference goes out."""
    folder = make(tmp_path, least=10)
    set_in(folder / "tax", "compared_releases = 0")
    async with serving(folder) as running:
        await shown(running, TOTAL)
        assert await shown(running, without([MET[7], *UNMET[:10]])) == HIDDEN
    set_in(folder / "bank", "compared_releases = 0")
    async with serving(folder) as running:
        [row] = await shown(running, without([MET[7], *UNMET[:10]]))
        assert row["n"] == len(MET) - 1


@pytest.mark.slow
async def test_more_than_an_owner_compares_is_refused(tmp_path: Path) -> None:
    folder = make(tmp_path, least=10)
    set_in(folder / "tax", "compared_releases = 2")
    async with serving(folder) as running:
        questions = [f"SELECT COUNT(*) AS n {BANKED} WHERE b.balance > {n}" for n in (0, 20, 40)]
        for sql in (*questions, *questions):  # what was asked before may be asked again
            await shown(running, sql)
        error = await refused(running, f"SELECT COUNT(*) AS n {BANKED} WHERE b.balance > 30")
    assert error.code == "job.limits" and "compared_releases" in str(error)


@pytest.mark.slow
async def test_questions_that_exclude_each_other_take_up_none_of_what_an_owner_compares(tmp_path: Path) -> None:
    folder = make(tmp_path, least=10)
    set_in(folder / "tax", "compared_releases = 1")
    ranges = [f"b.balance >= {n} AND b.balance < {n + 15}" for n in range(0, 60, 15)]
    async with serving(folder) as running:
        counts = [(await shown(running, f"SELECT COUNT(*) AS n {BANKED} WHERE {r}"))[0]["n"] for r in ranges]
        error = await refused(running, f"SELECT COUNT(*) AS n {BANKED} WHERE b.balance >= 14")
    assert counts == [sum(1 for i, _ in enumerate(FIRMS) if i % 4 and n <= i + 0.5 < n + 15) for n in range(0, 60, 15)]
    assert error.code == "job.limits"


async def test_of_two_jobs_at_once_one_is_compared_with_the_other(tmp_path: Path) -> None:
    async with serving(make(tmp_path, least=10)) as running:
        both = await asyncio.gather(shown(running, TOTAL), shown(running, without([MET[7], *UNMET[:10]])))
    assert HIDDEN in both


async def test_approvals_name_earlier_questions_in_their_order(tmp_path: Path) -> None:
    folder = make(tmp_path, least=10)
    async with serving(folder) as running:
        results = [await running.query(sql) for sql in (TOTAL, without(MET[:12]), TOTAL)]
        refused_job = await refused(running, f"SELECT COUNT(*) AS n {BANKED} WHERE b.unknown > 1")
        last = await running.query(f"SELECT COUNT(*) AS n {BANKED}")
    assert refused_job.code == "sql.unknown_column"
    told = {p: json.loads(s.text) for p, s in (await evidence(folder, "tax", last.statement["job"])).approvals.items()}
    nonces = [(await evidence(folder, "tax", r.statement["job"])).what.nonce for r in results]
    texts = zip((TOTAL, without(MET[:12])), nonces, strict=False)
    names = [Question(q, (), ("analyst",), nonce).digest() for q, nonce in texts]
    assert not {Question(q, (), ("analyst",)).digest() for q in (TOTAL, without(MET[:12]))} & set(names)  # a guess
    assert {p: t.get("compared") for p, t in told.items()} == {"tax": names, "bank": names, "helper": None}
    assert len({r.statement["job"] for r in results}) == 3


@pytest.mark.slow
async def test_a_join_with_a_third_owner_is_not_told_what_two_asked(tmp_path: Path) -> None:
    async with serving(make(tmp_path, least=10)) as running:
        await shown(running, TOTAL)
        [row] = await shown(running, f"SELECT COUNT(*) AS n {JOINED}")
        assert row["n"] == sum(1 for i in range(50) if i % 4)
        assert (await shown(running, f"SELECT COUNT(*) AS n {JOINED} WHERE t.paid >= b.balance * 9"))[0]["n"] is None


@pytest.mark.slow
async def test_a_question_that_todays_catalogs_cannot_answer_stops_the_join(tmp_path: Path) -> None:
    folder = make(tmp_path, least=10)
    async with serving(folder) as running:
        await shown(running, f"SELECT COUNT(*) AS n {BANKED} WHERE b.overdue > 0")
    rows = [(f"{f[0].lower()}-{f[1:]}", f"{i}.50") for i, f in enumerate(FIRMS) if i % 4]
    source = write(tmp_path / "bank.csv", ("uscc", "balance"), rows)
    add_table(folder / "bank", source, name="firms", keys=["uscc"], grants=ALL, min_entities=10, replace=True)
    async with serving(folder) as running:
        error = await refused(running, f"SELECT COUNT(*) AS n {BANKED}")
    assert error.code == "policy.earlier" and "today's catalogs" in str(error)


def set_in(folder: Path, line: str) -> None:
    """A setting of a member."""
    path = folder / "member.toml"
    path.write_text(f"{path.read_text()}\n{line}\n")


async def evidence(folder: Path, name: str, job: str) -> Document:
    member = Member(folder / name)
    try:
        [document] = read_part(name, await own_evidence(member, job)).documents
        return document
    finally:
        await member.close()


@pytest.mark.slow
async def test_sums_of_the_cells_of_a_table_are_no_way_around(tmp_path: Path) -> None:
    """A total and a table, or tables by different keys: what all cells together are of is compared."""
    left_out = ", ".join(map(repr, [MET[7], *UNMET[:10]]))
    table = f"SELECT t.industry, COUNT(*) AS n {BANKED} WHERE t.uscc NOT IN ({left_out}) GROUP BY t.industry ORDER BY 1"
    async with serving(make(tmp_path, least=10)) as running:
        [everybody] = await shown(running, f"SELECT COUNT(*) AS n {BANKED}")
        by = f"SELECT t.industry, COUNT(*) AS n {BANKED} GROUP BY t.industry ORDER BY 1"
        assert [r["n"] for r in await shown(running, by)] == [15, 30]  # of the same firms
        assert [r["n"] for r in await shown(running, table)] == [None, None]
        [crossed] = await shown(running, f"SELECT COUNT(*) AS n {BANKED} WHERE t.paid * 2 >= b.balance * 14")
    assert (everybody["n"], crossed["n"]) == (len(MET), None)
