"""Jobs between members over real gRPC: exact results, and every way a job can be wrong."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import time
from decimal import Decimal

import pytest
import structlog

from mpc.errors import HejiError
from mpc.job import Job, job_id
from parties import logs
from parties.member import Member
from parties.modeler import coordinator
from parties.modeler.asked import Asked
from parties.node.inputs import Inputs
from parties.proposals import JOB
from parties.rpc.v1 import coordinator_pb2 as pb
from parties.rpc.v1 import coordinator_pb2_grpc, node_pb2, node_pb2_grpc
from tests.parties import world
from tests.parties.conftest import Running, serving

TWO = (
    "SELECT SUM(balance) AS t FROM (SELECT balance FROM bank_a.accounts UNION ALL SELECT balance FROM bank_b.accounts)"
)


async def refusal(work) -> HejiError:
    with pytest.raises(HejiError) as raised:
        await work
    return raised.value


async def test_the_sentence_it_all_started_from(banks: Running):
    result = await banks.query(world.TOGETHER)
    assert result.rows == [{"together": Decimal("1305001.80"), "n": 90}]
    assert result.statement["parties"] == list(world.BANKS)
    assert result.statement["trust"] == "parties"


async def test_groups(banks: Running):
    rows = (await banks.query(world.BY_GRADE)).rows
    assert [r["grade"] for r in rows] == ["A", "B"]
    assert sum(r["total"] for r in rows) == Decimal("1305001.80")
    assert [r["n"] for r in rows] == [45, 45]


async def test_a_data_party_receives(banks: Running):
    result = await banks.query(world.TOGETHER, "bank_a")
    assert result.rows[0]["together"] == Decimal("1305001.80")
    status = (await banks.ask("bank_a", "jobs"))[0]
    assert status.recipients == ["bank_a"]
    # the coordinator holds nothing of it: the node has it
    error = await refusal(banks.ask("analyst", "result", status.job))
    assert error.code == "job.unknown"


async def test_several_recipients_each_open_their_own(banks: Running):
    job = await banks.ask("analyst", "submit", world.TOGETHER, ("analyst", "bank_a"))
    await banks.ask("analyst", "wait", job.id)
    for who in ("analyst", "bank_a"):
        assert (await banks.ask(who, "result", job.id)).rows[0]["together"] == Decimal("1305001.80")


async def test_the_recipient_may_be_away_and_fetch_later(banks: Running):
    job = await banks.ask("analyst", "submit", world.TOGETHER)
    await banks.ask("analyst", "wait", job.id)
    await banks.stop("coordinator")
    await banks.start("coordinator")
    assert (await banks.ask("analyst", "result", job.id)).rows[0]["n"] == 90


async def test_many_jobs_at_once(banks: Running):
    results = await asyncio.gather(*(banks.query(world.TOGETHER) for _ in range(6)))
    assert {r.rows[0]["together"] for r in results} == {Decimal("1305001.80")}


async def test_a_refusal_prints_the_grant_that_helps_without_a_restart(tmp_path):
    async with serving(world.make(tmp_path, grants=("group",))) as running:
        error = await refusal(running.query(world.TOGETHER))
        assert error.code == "policy.refused"
        for bank in world.BANKS:
            error = await refusal(running.query(world.TOGETHER))
            policy = running.folder / error.facts["missing"][0]["party"] / "policy.toml"
            policy.write_text(policy.read_text() + "\n" + error.facts["grant"])
            assert bank  # one owner after the other is asked
        assert (await running.query(world.TOGETHER)).rows[0]["n"] == 90


async def test_a_policy_with_a_mistake_approves_nothing(banks: Running):
    policy = banks.folder / "bank_b" / "policy.toml"
    policy.write_text(policy.read_text() + "\n[[grant]]\ntabel = 3\n")
    error = await refusal(banks.query(world.TOGETHER))
    assert error.code == "policy.invalid"


async def test_two_parties_and_one_of_them_receives(banks: Running):
    error = await refusal(banks.query(TWO, "bank_a"))
    assert error.code == "plan.two_party"


async def test_sums_over_different_sets_are_refused(banks: Running):
    await banks.query(TWO)
    error = await refusal(banks.query(world.TOGETHER))
    assert error.code == "policy.contributors"


async def test_small_cells_come_out_suppressed(tmp_path):
    consortium = world.make(tmp_path)
    few = [*world.rows_of("bank_c", 24), ("x1", "A", "1.00")]
    rows = [(u, "B" if i >= 5 else "A", b) for i, (u, _, b) in enumerate(few)]
    world.write_accounts(tmp_path / "bank_c.csv", rows)  # grade A: 5 firms, fewer than 10
    async with serving(consortium) as running:
        result = await running.query(world.BY_GRADE)
        assert result.rows[0] == {"grade": "A", "n": None, "total": None, "_suppressed": ["n", "total"]}
        assert result.rows[1]["n"] == 50
        assert result.statement["suppressed_values"] == 2


async def test_a_value_outside_its_bounds_names_the_column_and_no_value(tmp_path):
    consortium = world.make(tmp_path)
    rows = [*world.rows_of("bank_c"), ("canary", "A", "77777777777.77")]
    world.write_accounts(tmp_path / "bank_c.csv", rows)
    async with serving(consortium) as running:
        error = await refusal(running.query(world.TOGETHER))
        assert error.code == "data.bounds"
        assert "accounts.balance" in error.message
        assert "77777777777" not in str(error.to_dict())


@pytest.mark.parametrize(
    ("sql", "code", "said"),
    [
        ("SELECT SUM(balanc) FROM bank_a.accounts", "sql.unknown_column", "column 12"),
        ("SELECT SUM(balance) FROM bank_a.acounts", "sql.unknown_table", "acounts"),
        ("SELEC 1", "sql.syntax", "ine 1"),
        ("SELECT balance FROM bank_a.accounts", "sql.unsupported", "single rows"),
        (
            "SELECT SUM(a.balance) FROM bank_a.accounts a FULL JOIN bank_b.accounts b USING (uscc)",
            "sql.unsupported",
            "JOIN",
        ),
    ],
)
async def test_bad_sql(banks: Running, sql: str, code: str, said: str):
    error = await refusal(banks.query(sql))
    assert error.code == code
    assert said in error.message


async def test_explain_asks_every_owner_and_runs_nothing(banks: Running):
    told = await banks.ask("analyst", "explain", world.TOGETHER)
    assert told["verdicts"] == dict.fromkeys(world.BANKS)
    assert await banks.ask("analyst", "jobs") == []


# -- members that are away, jobs that are wrong


async def test_a_party_that_is_away_is_named(tmp_path):
    async with serving(world.make(tmp_path), without=("bank_b",)) as running:
        error = await refusal(running.query(world.TOGETHER))
        assert (error.code, error.facts["party"]) == ("peer.unavailable", "bank_b")
        await running.start("bank_b")
        assert (await running.query(world.TOGETHER)).rows[0]["n"] == 90


async def test_a_job_waits_for_a_party_that_comes_back(banks: Running):
    proposed, _, _ = await on_client(banks, "job", world.TOGETHER, None, Asked())
    await banks.stop("bank_c")
    await submit(banks, proposed.raw)
    await asyncio.sleep(1.5)
    await banks.start("bank_c")
    status = await banks.ask("analyst", "wait", proposed.job.id)
    assert status.state == "done"
    assert status.attempt > 1


async def test_a_job_goes_on_when_the_coordinator_is_back(banks: Running, monkeypatch: pytest.MonkeyPatch):
    """Whoever gives up waiting is told of the job that goes on, and not to make a second one."""
    job = (await changed(banks)).to_bytes()
    await banks.stop("bank_c")
    await submit(banks, job)
    await banks.stop("coordinator")
    with monkeypatch.context() as impatient:
        impatient.setattr(coordinator, "LOOKS", 1)
        error = await refusal(banks.ask("analyst", "wait", job_id(job)))
    assert error.code == "peer.unavailable" and error.facts["job"] == job_id(job)
    assert f"heji jobs wait {job_id(job)[:16]}" in error.advice and "Do not submit it again" in error.advice
    await banks.start("bank_c")
    await banks.start("coordinator")
    assert (await banks.ask("analyst", "wait", job_id(job))).state == "done"
    assert len(await banks.ask("analyst", "jobs")) == 1


async def on_client(running: Running, method: str, *args):
    """Run a coroutine method of the analyst's client on the client's own loop."""
    await running.ask("analyst", "jobs")
    client = running._clients["analyst"]
    return await running.apart(lambda: client._loop.wait(getattr(client._asking, method)(*args)))


async def test_a_job_that_expires_while_it_waits_ends(banks: Running):
    job = await changed(banks, expires=int(time.time()) + 2)
    await banks.stop("bank_c")
    await submit(banks, job.to_bytes())
    error = await refusal(banks.ask("analyst", "wait", job.id))
    assert error.code in ("peer.unavailable", "job.expired")
    await banks.start("bank_c")
    assert (await banks.ask("analyst", "jobs"))[0].state == "failed"  # and it stays so


async def submit(running: Running, raw: bytes, *, signature: bytes | None = None, as_: str = "analyst") -> None:
    member = Member(running.folder / as_)
    signed = node_pb2.SignedJob(job=raw, signature=signature if signature is not None else member.sign(JOB, raw))
    try:
        await coordinator_pb2_grpc.CoordinatorStub(member.channel("coordinator")).Submit(signed, timeout=10)
    finally:
        await member.close()


async def changed(running: Running, **fields) -> Job:
    proposed, _, _ = await on_client(running, "job", world.TOGETHER, None, Asked())
    return dataclasses.replace(proposed.job, **fields)


async def told(work) -> HejiError:
    import grpc

    from parties.failures import from_rpc

    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await work
    return from_rpc(raised.value, "coordinator")


async def test_jobs_that_are_wrong_are_refused_at_once(banks: Running):
    now = int(time.time())
    cases = [
        (await changed(banks, created=now - 100, expires=now - 10), "job.expired"),
        (await changed(banks, expires=now + 10**8), "job.expired"),
        (await changed(banks, roster="00" * 32), "job.differs"),
        (await changed(banks, planner="heji-0"), "peer.version"),
        (await changed(banks, recipients=("analyst", "nobody")), "roster.unknown"),
        (await changed(banks, recipient_keys={}), "job.invalid"),
        (await changed(banks, submitter="bank_a", recipients=("bank_a",), recipient_keys={}), "protocol.signature"),
    ]
    for job, code in cases:
        error = await told(submit(banks, job.to_bytes()))
        assert error.code == code, job


async def test_the_next_attempt_ends_one_that_a_killed_coordinator_left_behind(banks: Running):
    proposed, _, catalogs = await on_client(banks, "job", world.TOGETHER, None, Asked())
    signature = Member(banks.folder / "analyst").sign(JOB, proposed.raw)
    coordinator = Member(banks.folder / "coordinator")

    async def propose(number: int) -> None:
        await node_pb2_grpc.NodeStub(coordinator.channel("bank_a")).Propose(
            node_pb2.Proposal(
                job=node_pb2.SignedJob(job=proposed.raw, signature=signature), catalogs=catalogs, attempt=number
            ),
            timeout=10,
        )

    try:
        await propose(1)
        await propose(3)
        for number in (3, 2, 1):  # the same one again, and those before it
            assert (await told(propose(number))).code == "job.replayed"
    finally:
        await coordinator.close()


async def test_a_tampered_or_unsigned_job_is_refused(banks: Running):
    job = await changed(banks)
    member = Member(banks.folder / "analyst")
    signature = member.sign(JOB, job.to_bytes())
    error = await told(submit(banks, dataclasses.replace(job, purpose="other").to_bytes(), signature=signature))
    assert error.code == "protocol.signature"
    assert (await told(submit(banks, job.to_bytes(), signature=b""))).code == "protocol.signature"
    assert (await told(submit(banks, job.to_bytes() + b" "))).code == "job.invalid"


async def test_a_changed_catalog_fails_the_job_in_plain_words(banks: Running):
    job = await changed(banks, catalogs={**(await changed(banks)).catalogs, "bank_b": "00" * 32})
    await submit(banks, job.to_bytes())
    error = await refusal(banks.ask("analyst", "wait", job.id))
    assert error.code == "job.differs"
    assert "bank_b changed its catalog" in error.message


async def test_a_job_submitted_twice_runs_once(banks: Running):
    job = await changed(banks)
    for _ in range(3):
        await submit(banks, job.to_bytes())
    await banks.ask("analyst", "wait", job.id)
    assert len(await banks.ask("analyst", "jobs")) == 1


async def test_a_node_takes_no_used_job_or_attempt_even_from_the_coordinator(banks: Running):
    job = await changed(banks)
    raw = job.to_bytes()
    await submit(banks, raw)
    await banks.ask("analyst", "wait", job.id)
    await asyncio.sleep(0.2)  # the coordinator tells the nodes that the job is closed
    coordinator, analyst = Member(banks.folder / "coordinator"), Member(banks.folder / "analyst")
    node = node_pb2_grpc.NodeStub(coordinator.channel("bank_a"))
    catalogs = [
        await node_pb2_grpc.NodeStub(coordinator.channel(b)).Publish(node_pb2.PublishRequest()) for b in world.BANKS
    ]
    signed = node_pb2.SignedJob(job=raw, signature=analyst.sign(JOB, raw))
    for attempt in (1, 2, 7):
        proposal = node_pb2.Proposal(job=signed, catalogs=catalogs, attempt=attempt)
        error = await told(node.Propose(proposal, timeout=10))
        assert error.code == "job.replayed"
    await coordinator.close()


async def test_only_the_coordinator_may_propose_and_only_members_may_ask(banks: Running):
    bank = Member(banks.folder / "bank_b")
    node = node_pb2_grpc.NodeStub(bank.channel("bank_a"))
    assert (await told(node.Propose(node_pb2.Proposal(), timeout=10))).code == "peer.identity"
    assert (await told(node.Result(node_pb2.NodeResultRequest(job=bytes(32)), timeout=10))).code == "job.not_recipient"
    await bank.close()


async def test_others_jobs_do_not_exist(banks: Running):
    result = await banks.query(world.TOGETHER)
    job = result.statement["job"]
    bank = Member(banks.folder / "bank_b")
    stub = coordinator_pb2_grpc.CoordinatorStub(bank.channel("coordinator"))
    for call in (stub.Show, stub.Cancel):
        assert (await told(call(pb.JobRef(job=job), timeout=10))).code == "job.unknown"
    with pytest.raises(Exception, match="knows no such job"):
        async for _ in stub.Fetch(pb.JobRef(job=job), timeout=10):
            pass
    assert not (await stub.List(pb.ListRequest(), timeout=10)).jobs
    await bank.close()


async def test_cancel(banks: Running):
    proposed, _, _ = await on_client(banks, "job", world.TOGETHER, None, Asked())
    await banks.stop("bank_c")
    await submit(banks, proposed.raw)
    await banks.ask("analyst", "cancel", proposed.job.id)
    error = await refusal(banks.ask("analyst", "wait", proposed.job.id))
    assert error.code == "job.cancelled"
    assert (await refusal(banks.ask("analyst", "cancel", proposed.job.id))).code == "job.state"


async def test_changed_data_after_a_possible_release_needs_a_new_job(banks: Running, tmp_path):
    """A second attempt over other data would give the difference away to whoever kept the first."""
    job = await changed(banks)
    calls = 0
    from parties.coordinator.store import Store

    real = Store.finish

    def lose_it(self, *args, **kwargs):
        nonlocal calls
        calls += 1
        if calls == 1:
            world.write_accounts(tmp_path / "bank_a.csv", world.rows_of("bank_a", 29))
            raise HejiErrorOnce("peer.unavailable", "the disk went away")
        return real(self, *args, **kwargs)

    from mpc.errors import LocalError as HejiErrorOnce

    Store.finish = lose_it
    try:
        await submit(banks, job.to_bytes())
        error = await refusal(banks.ask("analyst", "wait", job.id))
    finally:
        Store.finish = real
    assert error.code == "data.changed"


# -- what is left behind


async def test_canaries_are_nowhere_but_at_home(tmp_path, capfd, request):
    """Values placed in one bank's table must not be in any log, error, or in another member's files."""
    consortium = world.make(tmp_path)
    rows = [*world.rows_of("bank_c"), ("CANARYuscc", "A", "314159265.35")]
    world.write_accounts(tmp_path / "bank_c.csv", rows)
    logs.configure("test")
    request.addfinalizer(structlog.reset_defaults)
    async with serving(consortium) as running:
        await running.query(world.TOGETHER)
        await refusal(running.query("SELECT SUM(balanc) FROM bank_c.accounts"))
        world.write_accounts(tmp_path / "bank_c.csv", [*rows, ("CANARYuscc2", "A", "31415926535897.00")])
        await refusal(running.query(world.TOGETHER))
    out, err = capfd.readouterr()
    secrets = [b"CANARY", b"31415926535", b"314159265.35"]
    for text in (out.encode(), err.encode()):
        assert not [s for s in secrets if s in text]
    assert '"event": "done"' in out + err
    number = 31415926535
    patterns = [*secrets, number.to_bytes(8, "little"), number.to_bytes(8, "big")]
    for path in consortium.rglob("*"):
        if path.is_file():
            raw = path.read_bytes()
            assert not [p for p in patterns if p in raw], path


async def test_every_member_folder_is_private(banks: Running):
    await banks.query(world.TOGETHER, "bank_a")
    for member in (*world.BANKS, "coordinator", "analyst"):
        folder = banks.folder / member
        assert os.stat(folder).st_mode & 0o077 == 0
        for secret in [*folder.glob("keys/*.pem"), *folder.glob("state/*.db"), *folder.glob("jobs/*")]:
            assert os.stat(secret).st_mode & 0o077 == 0, secret


async def test_statement_names_policies_and_plan(banks: Running):
    statement = (await banks.query(world.TOGETHER, purpose=None or "")).statement
    assert set(statement["policies"]) == set(world.BANKS)
    assert json.dumps(statement)


async def test_what_opens_a_result_is_broken(banks: Running):
    result = await banks.query(world.TOGETHER)
    job = result.statement["job"]
    jobs = banks.folder / "analyst" / "jobs"
    opened, kept = jobs / f"{job}.arrow", jobs / f"{job}.json"
    opened.write_bytes(b"broken")
    error = await refusal(banks.ask("analyst", "result", job))
    assert error.code == "config.invalid" and "Move it away" in error.advice
    opened.unlink()
    assert (await banks.ask("analyst", "result", job)).rows == result.rows
    opened.unlink()
    for content in ("", "nonsense", "{}", '{"job": 3}', "[]"):
        kept.write_text(content)
        error = await refusal(banks.ask("analyst", "result", job))
        assert error.code == "config.invalid" and "backup" in error.advice


async def test_a_job_that_was_cancelled_has_no_result_to_wait_for(banks: Running, monkeypatch: pytest.MonkeyPatch):
    async def never(*_args: object, **_options: object) -> object:
        return await asyncio.Event().wait()

    monkeypatch.setattr(Inputs, "vectors", never)
    job = await banks.ask("analyst", "submit", world.TOGETHER)
    await banks.ask("analyst", "cancel", job.id)
    error = await refusal(banks.ask("analyst", "result", job.id))
    assert "was cancelled: there is no result" in error.message and "jobs wait" not in error.advice
