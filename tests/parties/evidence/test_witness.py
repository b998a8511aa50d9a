"""Cosigning: whoever rewrites a log, or restores an old one, gets no second cosignature."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import pytest

from mpc.errors import PeerError
from mpc.evidence.case import read_case
from mpc.evidence.merkle import Tree, leaf_hash
from mpc.evidence.note import Checkpoint
from mpc.evidence.verify import Settings, overall, verify
from parties.auditor.export import export
from parties.auditor.judge import listed
from parties.evidence.log import Log, origin_of
from parties.evidence.witness import Heads, answer
from parties.member import Member
from parties.rpc.v1 import evidence_pb2
from tests.parties import world
from tests.parties.conftest import serving


def request(member: Member, leaves: list[bytes], old: int = 0) -> evidence_pb2.CosignRequest:
    tree, own = Tree(map(leaf_hash, leaves)), member.identity
    point = Checkpoint(origin_of(member.name), len(tree), tree.root())
    point = point.signed(point.origin, own.public, own.signing.sign)
    proof = tree.consistency(old, len(tree)) if old else []
    return evidence_pb2.CosignRequest(checkpoint=point.text(), old_size=old, proof=proof)


ENTRIES = [b"entry %d" % i for i in range(9)]


def test_it_cosigns_what_continues_and_nothing_else(tmp_path: Path) -> None:
    folder = world.make(tmp_path)
    bank, tax = Member(folder / "bank_a"), Member(folder / "bank_b")
    heads = Heads(folder / "bank_b")
    assert answer(tax, heads, "bank_a", request(bank, ENTRIES[:5])).line
    later = answer(tax, heads, "bank_a", request(bank, ENTRIES))
    assert (later.size, later.line) == (5, "")  # prove from there
    assert answer(tax, heads, "bank_a", request(bank, ENTRIES, 5)).size == 9
    rewritten = [*ENTRIES[:3], b"another", *ENTRIES[4:], b"more"]
    with pytest.raises(PeerError, match="does not continue"):
        answer(tax, heads, "bank_a", request(bank, rewritten, 9))
    # an older one: whoever restored a backup
    assert answer(tax, heads, "bank_a", request(bank, ENTRIES[:5])).size == 9
    heads.close()
    heads = Heads(folder / "bank_b")  # it remembers
    assert heads.size(origin_of("bank_a")) == 9
    heads.close()


def test_another_members_log_is_not_cosigned_for_the_caller(tmp_path: Path) -> None:
    folder = world.make(tmp_path)
    bank, other = Member(folder / "bank_a"), Member(folder / "bank_b")
    heads = Heads(folder / "bank_b")
    for caller, asked in (
        ("bank_c", request(bank, ENTRIES)),
        ("bank_a", evidence_pb2.CosignRequest(checkpoint="no note")),
        ("bank_a", evidence_pb2.CosignRequest(checkpoint=request(bank, ENTRIES).checkpoint.replace("9", "8", 1))),
    ):
        with pytest.raises(PeerError):
            answer(other, heads, caller, asked)
    heads.close()


async def test_a_witness_cosigns_every_log_and_keeps_nothing_else(tmp_path: Path) -> None:
    folder = world.make(tmp_path, witness="regulator")
    async with serving(folder) as running:
        job = (await running.query(world.TOGETHER)).statement["job"]
        member = await running.apart(Member, folder / "analyst")
        bundle, absent = await export(member, job)
        await member.close()
    assert not absent
    case = read_case(bundle, listed(Member(folder / "analyst").roster, given=True))
    assert "regulator" not in case.parts
    assert overall(verify(case, Settings(witnesses=("regulator",)))) == "passed"
    assert overall(verify(case, Settings(witnesses=("bank_a",)))) == "failed"
    kept = (
        sqlite3.connect(folder / "regulator" / "state" / "log" / "heads.db").execute("SELECT * FROM heads").fetchall()
    )
    assert sorted(origin for origin, _, _ in kept) == sorted(map(origin_of, case.parts))
    files = {p.name.partition(".db")[0] for p in (folder / "regulator" / "state").rglob("*") if p.is_file()}
    assert files == {"heads"}


async def test_jobs_go_on_without_the_witness(tmp_path: Path) -> None:
    folder = world.make(tmp_path, witness="regulator")
    async with serving(folder, without=("regulator",)) as running:
        job = (await running.query(world.TOGETHER)).statement["job"]
        member = await running.apart(Member, folder / "analyst")
        bundle, _ = await export(member, job)
        await member.close()
    case = read_case(bundle, listed(Member(folder / "analyst").roster, given=True))
    assert overall(verify(case)) == "passed"


async def test_a_restored_log_gets_no_cosignature_though_its_head_was_removed(tmp_path: Path) -> None:
    """Who deletes log and head together starts a new log; the others remember the old one."""
    folder = world.make(tmp_path)
    async with serving(folder) as running:
        await running.query(world.TOGETHER)
        await asyncio.sleep(0.3)
    import shutil

    shutil.rmtree(folder / "bank_a" / "state" / "log")
    (folder / "bank_a" / "keys" / "log-head").unlink()
    async with serving(folder) as running:
        job = (await running.query(world.TOGETHER)).statement["job"]
        member = await running.apart(Member, folder / "analyst")
        bundle, _ = await export(member, job)
        await member.close()
    case = read_case(bundle, listed(Member(folder / "analyst").roster, given=True))
    checks = verify(case)
    assert overall(checks) == "failed"
    assert [f.args[1] for f in checks[1].findings if f.good is False] == ["bank_a"]
    log = Log(folder / "bank_a", Member(folder / "bank_a").identity)
    log.close()
