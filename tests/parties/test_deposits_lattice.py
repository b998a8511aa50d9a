"""Deposit jobs under BFV and CKKS over real gRPC: the same totals, and no secret in anything that is sent."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import sqlite3
from decimal import Decimal
from pathlib import Path
from typing import Any

import grpc.aio
import pytest
from grpc import _common

from mpc.crypto import coefficients, lattice, paillier
from mpc.crypto.labels import framed
from mpc.errors import LocalError
from parties.coordinator import deposits as at_coordinator
from parties.deposit_keys import DepositKeys, SignedKey
from parties.depositing import with_key
from parties.failures import from_rpc
from parties.member import Member
from parties.rpc.v1 import deposits_pb2_grpc
from tests.parties import world
from tests.parties.conftest import Running
from tests.parties.depositing import DAY, banks, deposit, make, submit, until
from tests.parties.test_jobs import refusal

TOGETHER = [{"together": Decimal("1305001.80"), "n": 90}]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paillier, "MIN_BITS", 1024)
    monkeypatch.setattr(at_coordinator, "LOOK", 0.05)


@pytest.fixture
def traffic(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Every message that any member sends or gets, as bytes."""
    seen: list[bytes] = []
    serialize, deserialize = _common.serialize, _common.deserialize

    def sent(message: Any, serializer: Any) -> bytes:
        raw: bytes = serialize(message, serializer)
        seen.append(raw)
        return raw

    def got(raw: bytes, deserializer: Any) -> Any:
        seen.append(raw)
        return deserialize(raw, deserializer)

    monkeypatch.setattr(_common, "serialize", sent)
    monkeypatch.setattr(_common, "deserialize", got)
    return seen


@pytest.mark.parametrize("method", ["bfv", "ckks"])
async def test_the_total_is_the_plain_one_and_no_secret_leaves(
    tmp_path: Path, traffic: list[bytes], method: str
) -> None:
    async with banks(make(tmp_path)) as (running, clock):
        job = await submit(running, method=method)
        await deposit(running, job)
        bodies = _bodies(running)
        clock.later += 11 * DAY
        await until(running, "analyst", job, "done")
        result = await running.ask("analyst", "result", job)
        member = await running.apart(Member, running.folder / "analyst")
        known = DepositKeys(member).current(method)
        assert known is not None and known.method == method
        secret = DepositKeys(member).secret(known.key)
        await member.close()
    assert result.rows == TOGETHER
    assert result.statement["trust"] == "deposit"
    assert result.statement["deposits"].get("off_before_rounding") == (
        None if method == "bfv" else float(coefficients.off(3))
    )
    assert isinstance(secret, lattice.SecretKey) and len(set(bodies)) == 3
    _nowhere(traffic, secret, running.folder / "analyst" / "keys" / "deposits")


def _nowhere(traffic: list[bytes], secret: lattice.SecretKey, folder: Path) -> None:
    """Pieces of what only the secret contexts hold are in no message and in no file; of the public ones they are."""
    public = secret.public.to_bytes()
    everything = b"|".join([*traffic, *(p.read_bytes() for p in folder.iterdir())])
    for context in secret.contexts:
        own = [context[at : at + 48] for at in range(0, len(context) - 48, 30_011)]
        hidden = [piece for piece in own if piece not in public]
        assert len(hidden) > 3
        assert not any(piece in everything for piece in hidden)
        assert any(piece in everything for piece in own if piece in public)


def _bodies(running: Running) -> list[bytes]:
    with contextlib.closing(sqlite3.connect(running.folder / "coordinator" / "state" / "coordinator.db")) as db:
        return [b for (b,) in db.execute("SELECT body FROM deposit_messages WHERE body IS NOT NULL")]


async def test_a_weighted_sum_under_ckks_with_small_cells_hidden(tmp_path: Path) -> None:
    """Weights with decimals; what a masked sum hides is hidden, and the rest comes out to the last digit."""
    sql = world.BY_GRADE.replace("SUM(balance)", "SUM(0.35 * balance + 1)")
    sql = sql.replace(".accounts", ".accounts WHERE grade = 'A' OR balance > 20000")
    grants = ("aggregate", "group", "filter", "arithmetic")
    async with banks(make(tmp_path, grants=grants, min_entities=9)) as (running, _):
        job = await submit(running, sql, early=True, method="ckks")
        await deposit(running, job)
        await until(running, "analyst", job, "done")
        rows = (await running.ask("analyst", "result", job)).rows
        masked = (await running.query(sql)).rows
    assert rows == masked and [r["_suppressed"] for r in rows] == [[], ["n", "total"]]
    balances = [Decimal(b) for bank in world.BANKS for _, grade, b in world.rows_of(bank) if grade == "A"]
    assert rows[0]["total"] == sum(Decimal("0.35") * b + 1 for b in balances)


@pytest.mark.slow
async def test_a_party_receives_groups_at_its_node(tmp_path: Path) -> None:
    """Its node makes the key, the coordinator fetches it, nodes deposit by themselves; the rows are a masked sum's."""
    folder = make(tmp_path, banks=(*world.BANKS, "tax"), seconds=0.05)
    async with banks(folder) as (running, _):
        job = await submit(running, world.BY_GRADE, to="tax", early=True, method="bfv")
        await until(running, "analyst", job, "done")
        rows = await _received(running, "tax", job)
        masked = (await running.query(world.BY_GRADE)).rows
    assert rows == masked


@pytest.mark.slow
async def test_a_new_key_and_a_coordinator_that_starts_again(tmp_path: Path) -> None:
    """An open job goes on under the key it names, which the coordinator keeps with it."""
    async with banks(make(tmp_path)) as (running, clock):
        job = await submit(running, method="bfv")
        await deposit(running, job, "bank_a")
        later = await submit_under_a_new_key(running)
        await running.stop("coordinator")
        await running.start("coordinator", clock=clock)
        await deposit(running, job, "bank_b", "bank_c")
        clock.later += 11 * DAY
        await until(running, "analyst", job, "done")
        assert (await running.ask("analyst", "result", job)).rows == TOGETHER
        assert later != job


async def submit_under_a_new_key(running: Running) -> str:
    member = await running.apart(Member, running.folder / "analyst")
    before = DepositKeys(member).current("bfv")
    assert DepositKeys(member).make("bfv") != before
    await member.close()
    return await submit(running, method="bfv")


async def _received(running: Running, who: str, job: str) -> Any:
    for _ in range(400):
        with contextlib.suppress(Exception):
            return (await running.ask(who, "result", job)).rows
        await asyncio.sleep(0.02)
    raise AssertionError("no result")


# ---- keys


async def test_keys_that_the_coordinator_does_not_take(tmp_path: Path) -> None:
    """Another's, one that another key was signed for, one with its secret in it, and bytes that are none."""
    async with banks(make(tmp_path), without=world.BANKS) as (running, _):
        member = await running.apart(Member, running.folder / "analyst")
        keys = DepositKeys(member)
        signed = keys.make("bfv")
        secret, whole = keys.secret(signed.key), keys.whole(signed)
        assert isinstance(secret, lattice.SecretKey)
        other = lattice.new_key("bfv", 3)
        with_secret = framed(b"bfv", *secret.contexts)
        for key, raw, code in (
            (signed, other.public.to_bytes(), "protocol.point"),
            (signed, with_secret, "protocol"),
            (signed, b"", "protocol"),
            (signed, whole[:-1], "protocol"),
            (dataclasses.replace(signed, key=other.public.fingerprint), other.public.to_bytes(), "protocol.signature"),
            (dataclasses.replace(signed, member="tax"), whole, "job.invalid"),
        ):
            error = await refusal(_leave_key(member, key, raw))
            assert error.code.startswith(code), error
        await _leave_key(member, signed, whole)
        await member.close()


async def _leave_key(member: Member, key: SignedKey, whole: bytes) -> None:
    stub = deposits_pb2_grpc.DepositsStub(member.channel("coordinator"))
    try:
        await stub.LeaveKey(with_key(key, whole), timeout=30)
    except grpc.aio.AioRpcError as error:
        raise from_rpc(error, "coordinator") from None


async def test_a_coordinator_that_hands_out_another_key(tmp_path: Path) -> None:
    """The owner's node encrypts under no key but the one that the recipient signed."""
    async with banks(make(tmp_path)) as (running, _):
        job = await submit(running, method="bfv")
        other = lattice.new_key("bfv", 3).public.to_bytes()
        with contextlib.closing(sqlite3.connect(running.folder / "coordinator" / "state" / "coordinator.db")) as db:
            db.execute("UPDATE deposit_job_keys SET whole = ?", (other,))
            db.commit()
        assert (await refusal(deposit(running, job, "bank_a"))).code == "protocol.point"
        assert _bodies(running) == []


def test_keys_of_all_methods_side_by_side(tmp_path: Path) -> None:
    member = Member(make(tmp_path) / "analyst")
    keys = DepositKeys(member)
    first, paillier_key, ckks = keys.make("bfv"), keys.make(), keys.make("ckks")
    second = keys.make("bfv")
    assert keys.current("bfv") == second != first and keys.current() == paillier_key
    assert keys.current("ckks") == ckks
    assert isinstance(keys.secret(first.key), lattice.SecretKey)  # older ones open older totals
    path = member.folder / "keys" / "deposits" / f"{first.fingerprint}.key"
    assert path.stat().st_mode & 0o077 == 0
    path.write_bytes(path.read_bytes()[:-1] + b"\0")
    with pytest.raises(LocalError) as caught:
        keys.secret(first.key)
    assert caught.value.code == "config.invalid"
