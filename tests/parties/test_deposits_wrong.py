"""Deposits that are wrong, as a member with its own keys could leave them; keys, totals and jobs that are."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import grpc.aio
import pytest

from mpc.coins import Coins
from mpc.crypto import paillier
from mpc.errors import HejiError, PeerError
from mpc.job import Job
from mpc.protocols.deposit import DEPOSIT, WITHDRAWAL, Terms, encrypt, statement_of, withdrawal
from mpc.ring import ring
from parties.coordinator import deposits as at_coordinator
from parties.deposit_keys import DepositKeys
from parties.depositing import left, opened
from parties.failures import from_rpc
from parties.member import Member
from parties.modeler.asked import Asked
from parties.proposals import APPROVAL, JOB, Proposed, propose, read_catalogs, terms_of
from parties.rpc.v1 import coordinator_pb2_grpc, deposits_pb2_grpc, node_pb2
from parties.rpc.v1 import deposits_pb2 as pb
from tests.parties import world
from tests.parties.conftest import Running
from tests.parties.depositing import asked, at, banks, deposit, make, submit
from tests.parties.test_jobs import refusal


@pytest.fixture(autouse=True)
def small_and_quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paillier, "MIN_BITS", 1024)
    monkeypatch.setattr(at_coordinator, "LOOK", 0.05)


class Depositor:
    """bank_a, speaking to the coordinator by hand."""

    def __init__(self, running: Running, member: Member, proposed: Proposed, name: str) -> None:
        self.running, self.member, self.proposed, self.name = running, member, proposed, name
        self.terms = terms_of(member, proposed)

    def body(self, terms: Terms | None = None) -> bytes:
        t, seed = terms or self.terms, os.urandom(32)
        pool = paillier.Pool(t.key)
        pool.fill(seed, t.ciphertexts)
        return encrypt(t, {s.name: ring(s.bits).zeros(s.length) for s in t.sums}, Coins(seed), pool)

    def approval(self, **changed: Any) -> bytes:
        told = {"job": self.terms.job, "plan": self.terms.plan, "party": self.name, "min_contributors": 2, **changed}
        return json.dumps(told).encode()

    def head(self, body: bytes, *, terms: Terms | None = None, number: int = 0, **changed: Any) -> pb.DepositHead:
        approval = self.approval(**changed)
        statement = statement_of(terms or self.terms, self.name, number, "00" * 32, approval, body).to_bytes()
        return pb.DepositHead(
            job=bytes.fromhex(self.terms.job),
            statement=statement,
            signature=self.member.sign(DEPOSIT, statement),
            approval=node_pb2.Approval(statement=approval, signature=self.member.sign(APPROVAL, approval)),
        )

    async def leave(self, head: pb.DepositHead, body: bytes) -> bytes:
        return bytes((await self._call("Leave", left(head, body))).receipt)

    async def withdraw(self, statement: bytes, label: str = WITHDRAWAL) -> bytes:
        signature = self.member.sign(label, statement)
        request = pb.Withdrawal(job=bytes.fromhex(self.terms.job), statement=statement, signature=signature)
        return bytes((await self._call("Withdraw", request)).receipt)

    async def _call(self, method: str, request: Any) -> Any:
        stub = deposits_pb2_grpc.DepositsStub(self.member.channel("coordinator"))
        try:
            return await getattr(stub, method)(request, timeout=20)
        except grpc.aio.AioRpcError as error:
            raise from_rpc(error, "coordinator") from None


async def depositor(running: Running, job: str, name: str = "bank_a") -> Depositor:
    member = Member(running.folder / name)
    stub = deposits_pb2_grpc.DepositsStub(member.channel("coordinator"))
    [o] = [o for o in (await stub.Look(pb.LookRequest())).jobs if hashlib.sha256(o.job.job).hexdigest() == job]
    proposed = propose(member, o.job.job, o.job.signature, read_catalogs(member, o.catalogs))
    return Depositor(running, member, proposed, name)


async def test_what_the_coordinator_does_not_take(tmp_path: Path) -> None:
    async with banks(make(tmp_path)) as (running, _):
        d = await depositor(running, await submit(running, least=2))
        t, good = d.terms, d.body()
        other_key = dataclasses.replace(t, key=paillier.key_from_seed(b"\x02" * 32, 1024).public)
        zero, large = bytes(len(good)), b"\xff" * len(good)

        async def refused(code: str, head: pb.DepositHead, body: bytes) -> None:
            assert (await refusal(d.leave(head, body))).code == code

        await refused("protocol.size", d.head(good[:-1]), good[:-1])
        await refused("protocol.size", d.head(good + good), good + good)
        await refused("protocol.size", d.head(b""), b"")
        await refused("protocol.malformed", d.head(zero), zero)
        await refused("protocol.malformed", d.head(large), large)
        await refused("protocol.malformed", d.head(good), d.body())  # other ciphertexts than it signed
        await refused("protocol.malformed", d.head(good, terms=other_key), good)
        await refused("protocol.malformed", d.head(good, terms=dataclasses.replace(t, job="00" * 32)), good)
        await refused("protocol.malformed", d.head(good, terms=dataclasses.replace(t, plan="00" * 32)), good)
        await refused("job.replayed", d.head(good, number=1), good)
        await refused("job.differs", d.head(good, plan="00" * 32), good)  # the approval
        await refused("job.differs", d.head(good, min_contributors=3), good)
        head = d.head(good)
        head.signature = d.member.sign(APPROVAL, head.statement)
        await refused("protocol.signature", head, good)
        head = d.head(good)
        head.approval.statement = d.approval(policy="another")
        await refused("protocol.signature", head, good)
        assert (await refusal(d.withdraw(withdrawal(t.job, "bank_a", 0, b"none")))).code == "job.state"

        head = d.head(good)
        receipt = await d.leave(head, good)
        assert await d.leave(head, good) == receipt  # delivered again
        fresh = d.body()
        await refused("job.replayed", d.head(fresh, number=1), fresh)  # a second one
        assert (await refusal(d.withdraw(withdrawal(t.job, "bank_a", 1, b"another")))).code == "protocol.malformed"
        statement = withdrawal(t.job, "bank_a", 1, head.statement)
        assert (await refusal(d.withdraw(statement, DEPOSIT))).code == "protocol.signature"
        assert await d.withdraw(statement) == await d.withdraw(statement)
        await refused("job.replayed", d.head(good, number=2), good)  # what was taken back
        assert await d.leave(d.head(fresh, number=2), fresh)

        b = await depositor(running, t.job, "bank_b")
        assert (await refusal(b.leave(b.head(fresh), fresh))).code == "job.replayed"  # another's ciphertexts
        stranger = Depositor(running, Member(running.folder / "analyst"), d.proposed, "analyst")
        assert (await refusal(stranger.leave(stranger.head(good), good))).code == "job.unknown"
        for one in (d, b, stranger):
            await one.member.close()


async def changed_job(running: Running, change: Callable[[Job], Job]) -> Awaitable[Any]:
    """A job like a good one, signed again after ``change``, handed in."""
    member = await running.apart(Member, running.folder / "analyst")
    heji = running._clients["analyst"]
    proposed, _, _ = await running.apart(
        heji._loop.wait, heji._asking.job(world.TOGETHER, "analyst", Asked(), 0, asked())
    )
    raw = change(proposed.job).to_bytes()
    stub = coordinator_pb2_grpc.CoordinatorStub(member.channel("coordinator"))
    try:
        return await stub.Submit(node_pb2.SignedJob(job=raw, signature=member.sign(JOB, raw)), timeout=20)
    except grpc.aio.AioRpcError as error:
        raise from_rpc(error, "coordinator") from None
    finally:
        await member.close()


async def test_a_key_that_is_not_the_recipient_s(tmp_path: Path) -> None:
    """Whoever could put its own key into the job could read the deposits: its signature is looked at everywhere."""
    async with banks(make(tmp_path)) as (running, _):
        await running.ask("analyst", "catalog")
        bank = DepositKeys(Member(running.folder / "bank_a")).make()

        def swapped(job: Job) -> Job:
            assert job.deposit is not None
            terms = dataclasses.replace(job.deposit, key=bank.key.hex(), made=bank.made, signature=bank.signature.hex())
            return dataclasses.replace(job, deposit=terms)

        def alone(job: Job) -> Job:
            assert job.deposit is not None
            return dataclasses.replace(job, deposit=dataclasses.replace(job.deposit, key=bank.key.hex()))

        def parties(job: Job) -> Job:
            return dataclasses.replace(job, trust="parties")

        def masked(job: Job) -> Job:
            return dataclasses.replace(job, deposit=None)

        for change in (swapped, alone):
            assert (await refusal(changed_job(running, change))).code == "protocol.signature"
        for change in (parties, masked):
            assert (await refusal(changed_job(running, change))).code == "job.invalid"


async def test_what_a_recipient_does_not_open(tmp_path: Path) -> None:
    async with banks(make(tmp_path)) as (running, _):
        job = await submit(running, early=True)
        await deposit(running, job)
        await running.ask("analyst", "wait", job)
        member = Member(running.folder / "analyst")
        stub = deposits_pb2_grpc.DepositsStub(member.channel("coordinator"))
        parts = [p async for p in stub.Collect(pb.DepositRef(job=job))]
        await member.close()
        head, body = parts[0].head, b"".join(p.data for p in parts[1:])
        d = await depositor(running, job)
        keys = DepositKeys(member)
        good = list(head.deposits)

        def refused(
            code: str, deposits: list[pb.DepositHead], body: bytes = body, whose: DepositKeys = keys
        ) -> HejiError:
            with pytest.raises(HejiError) as raised:
                opened(member, d.proposed, deposits, body, whose)
            assert raised.value.code == code
            return raised.value

        assert opened(member, d.proposed, good, body, keys).rows[0]["n"] == 90
        refused("policy.contributors", good[:2])
        refused("policy.contributors", [])
        refused("job.differs", [*good, good[0]])
        refused("protocol.size", good, body[:-1])
        error = refused("protocol.malformed", good, d.body())  # not a sum of three
        assert isinstance(error, PeerError) and error.party == "coordinator"
        swapped = [pb.DepositHead.FromString(h.SerializeToString()) for h in good]
        swapped[0].statement = good[1].statement
        refused("protocol.signature", swapped)
        refused("config.missing", good, whose=DepositKeys(Member(running.folder / "bank_a")))
        other = await depositor(running, job, "bank_b")  # nobody else is handed the total
        stub = deposits_pb2_grpc.DepositsStub(other.member.channel("coordinator"))
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await anext(aiter(stub.Collect(pb.DepositRef(job=job))))
        assert from_rpc(raised.value, "coordinator").code == "job.unknown"
        await d.member.close()
        await other.member.close()


@pytest.mark.slow
async def test_nobody_but_the_institution_moves_its_node(tmp_path: Path) -> None:
    async with banks(make(tmp_path)) as (running, _):
        job = await submit(running)
        stranger = Member(running.folder / "bank_b")
        stub = deposits_pb2_grpc.OwnDepositsStub(stranger.channel("bank_a"))
        for method in ("Make", "Withdraw"):
            with pytest.raises(grpc.aio.AioRpcError):
                await getattr(stub, method)(pb.DepositRef(job=job), timeout=20)
        with pytest.raises(grpc.aio.AioRpcError):
            await stub.List(pb.OwnDepositsRequest(), timeout=20)
        await stranger.close()
        assert (await at(running, "bank_a", "List")).deposits[0].state == "waiting"
        assert (await refusal(at(running, "bank_a", "Make", "0000"))).code == "job.unknown"


def test_keys_at_rest(tmp_path: Path) -> None:
    folder = world.make(tmp_path, banks=("bank_a", "bank_b"))
    keys = DepositKeys(Member(folder / "bank_a"))
    assert keys.current() is None
    first = keys.make()
    second = keys.make()
    assert keys.current() == second and first.made < second.made and len(keys.all()) == 2
    for key in (first, second):
        public = paillier.PublicKey.from_bytes(key.key)
        secret = keys.secret(public.fingerprint)
        key.verify(Member(folder / "bank_b"), "bank_a")
        path = folder / "bank_a" / "keys" / "deposits" / f"{key.fingerprint}.key"
        raw = path.read_bytes()
        assert path.stat().st_mode & 0o077 == 0
        assert all(x.to_bytes(64, "big") not in raw for x in (secret.p, secret.q))
    with pytest.raises(HejiError, match="not of bank_b"):
        first.verify(Member(folder / "bank_b"), "bank_b")
    path.write_bytes(raw[:-1] + bytes([raw[-1] ^ 1]))
    with pytest.raises(HejiError, match="cannot be opened"):
        keys.secret(paillier.PublicKey.from_bytes(second.key).fingerprint)
    path.unlink()
    with pytest.raises(HejiError, match="Put keys/deposits back"):
        keys.secret(paillier.PublicKey.from_bytes(second.key).fingerprint)
