"""Deposit jobs for tests: banks that grant deposits, a clock that is set, keys that are small."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc.aio

from parties.clock import now
from parties.failures import from_rpc
from parties.member import Member
from parties.modeler.deposits import Collecting
from parties.rpc.v1 import deposits_pb2 as pb
from parties.rpc.v1 import deposits_pb2_grpc
from tests.parties import world
from tests.parties.conftest import Running, serving

DAY = 86400


class Clock:
    """The real time, and as many seconds later as was said."""

    def __init__(self) -> None:
        self.later = 0

    def __call__(self) -> int:
        return now() + self.later


def make(
    folder: Path,
    *,
    lines: str = "",
    seconds: float = 0,
    grants: Iterable[str] = ("aggregate", "group", "filter"),
    **options: Any,
) -> Path:
    """Banks whose policies let deposits be made, with these ``lines`` in their grants besides."""
    made = world.make(folder, grants=grants, **options)
    for policy in made.glob("*/policy.toml"):
        settings = policy.with_name("member.toml")
        policy.write_text(policy.read_text().rstrip() + f'\ntrust = ["parties", "deposit"]\n{lines}\n')
        settings.write_text(settings.read_text() + f"\ndeposit_seconds = {seconds}\n")
    return made


@asynccontextmanager
async def banks(folder: Path, *, without: tuple[str, ...] = (), **options: Any) -> AsyncIterator[tuple[Running, Clock]]:
    """The members, served with one clock."""
    clock = Clock()
    hooks = {n: {"clock": clock} for n in (*world.BANKS, "tax", "coordinator")}
    async with serving(folder, without=("helper", *without), hooks=hooks) as running:
        yield running, clock


def asked(days: int = 10, **options: Any) -> Collecting:
    return Collecting(options.pop("method", "paillier"), now() + days * DAY, **options)


async def submit(
    running: Running, sql: str = world.TOGETHER, to: str = "analyst", by: str = "analyst", **options: Any
) -> str:
    job: str = (await running.ask(by, "submit", sql, to, deposits=asked(**options))).id
    await until(running, by, job, "depositing")
    return job


async def until(running: Running, who: str, job: str, *states: str) -> Any:
    """Wait until the coordinator says one of ``states``."""
    for _ in range(400):
        status = await running.ask(who, "show", job)
        if status.state in states:
            return status
        if status.state in ("failed", "cancelled") and status.error:
            raise AssertionError(status.error)
        await asyncio.sleep(0.02)
    raise AssertionError(status.state)


async def at(running: Running, bank: str, method: str, job: str = "") -> Any:
    """What the bank's operator types: Make, Withdraw or List."""
    member = Member(running.folder / bank)
    request = pb.OwnDepositsRequest() if method == "List" else pb.DepositRef(job=job)
    try:
        return await getattr(deposits_pb2_grpc.OwnDepositsStub(member.channel(bank)), method)(request, timeout=60)
    except grpc.aio.AioRpcError as error:
        raise from_rpc(error, bank) from None
    finally:
        await member.close()


async def deposit(running: Running, job: str, *who: str) -> None:
    for bank in who or world.BANKS:
        assert (await at(running, bank, "Make", job)).state == "deposited"
