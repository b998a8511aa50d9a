"""For owners: deposits for jobs that collect them until a closing date, and a recipient's keys."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from textwrap import indent
from typing import Annotated, Any, Literal

import grpc.aio
from cyclopts import App, Parameter

from mpc.crypto.lattice import DEGREE
from mpc.errors import LocalError
from mpc.job import METHODS
from parties.cli.collecting import moment
from parties.cli.output import As, Consortium, err, plain
from parties.config import locate
from parties.deposit_keys import DepositKeys, SignedKey
from parties.failures import decode, from_rpc
from parties.job_ids import SHOWN_DIGITS
from parties.member import Member
from parties.results import json_text
from parties.rpc.v1 import deposits_pb2 as pb
from parties.rpc.v1 import deposits_pb2_grpc

#: seconds to wait for one's own node, which encrypts and speaks with the coordinator
PATIENCE = 600.0


def register(app: App) -> None:
    """Add these commands to ``heji``."""
    deposit = App(name="deposit", help="Deposits of this owner, each on a day of its own; keys of a recipient.")
    deposit.default(deposit_make)
    for command in (deposit_list, deposit_withdraw, deposit_key):
        deposit.command(command, name=command.__name__.removeprefix("deposit_"))
    app.command(deposit)


def deposit_make(job: str, /, *, consortium: Consortium = None, as_: As = None) -> None:
    """Deposit for a job now. A node does it by itself where its policy says approval = "auto".

    Example: heji deposit 3f2a91c0 --as bank_a --consortium demo
    """
    told = _at_node(consortium, as_, lambda node: node.Make(pb.DepositRef(job=job), timeout=PATIENCE))
    plain(f"{told.job[:SHOWN_DIGITS]} {told.state}.")


def deposit_withdraw(job: str, /, *, consortium: Consortium = None, as_: As = None) -> None:
    """Take this owner's deposit back, before the closing date.

    Example: heji deposit withdraw 3f2a91c0 --as bank_a --consortium demo
    """
    told = _at_node(consortium, as_, lambda node: node.Withdraw(pb.DepositRef(job=job), timeout=PATIENCE))
    plain(f"{told.job[:SHOWN_DIGITS]} {told.state}.")


def deposit_list(*, consortium: Consortium = None, as_: As = None, json: bool = False) -> None:
    """The deposit jobs that name this owner, and how far its deposits are."""
    told = _at_node(consortium, as_, lambda node: node.List(pb.OwnDepositsRequest(), timeout=PATIENCE))
    if json:
        plain(json_text([_fields(d) for d in told.deposits]))
        return
    for d in told.deposits:
        plain(
            f"{d.job[:SHOWN_DIGITS]}  {d.state:9}  closes {moment(d.closes)}  {d.submitter} -> {d.recipient}  "
            f"{d.purpose or 'no purpose'}"
        )
        plain(f"  {' '.join(d.sql.split())}")
        if d.error:
            error = decode(d.error)
            plain(indent(f"{error.message}\n{error.advice}", "  "))
    if not told.deposits:
        plain("No job asks for a deposit.")


def deposit_key(
    *,
    method: Annotated[Literal["paillier", "bfv", "ckks"], Parameter(help="of jobs with this --method")] = "paillier",
    rotate: Annotated[bool, Parameter(negative="", help="make a new key for the jobs to come")] = False,
    consortium: Consortium = None,
    as_: As = None,
) -> None:
    """The public keys that deposits for this member are encrypted under: made here, the newest in use.

    Example: heji deposit key --rotate --as tax --consortium demo
    """
    keys = DepositKeys(Member(locate(consortium, as_, (), os.environ)))
    if rotate or keys.current(method) is None:
        keys.make(method)
        err.print("Made a new key. Back up the member's keys folder: a total can be opened with its key only.")
    newest = [keys.current(m) for m in METHODS]
    for key in sorted(keys.all(), key=lambda k: -k.made):
        use = "in use" if key in newest else "opens older totals"
        plain(f"{key.fingerprint[:32]}  {key.method}  {_size(key)}  {moment(key.made)}  {use}")


def _size(key: SignedKey) -> str:
    return f"{len(key.key) * 8} bits" if key.method == "paillier" else f"{DEGREE} coefficients"


def _fields(d: pb.OwnDeposit) -> dict[str, Any]:
    return {
        "job": d.job,
        "state": d.state,
        "submitter": d.submitter,
        "recipient": d.recipient,
        "purpose": d.purpose,
        "sql": d.sql,
        "closes": d.closes,
        "error": decode(d.error).to_dict() if d.error else None,
    }


def _at_node(
    consortium: Any, as_: str | None, call: Callable[[deposits_pb2_grpc.OwnDepositsStub], Awaitable[Any]]
) -> Any:
    """Ask the member's own node, which must be running."""
    return asyncio.run(_asked(consortium, as_, call))


async def _asked(
    consortium: Any, as_: str | None, call: Callable[[deposits_pb2_grpc.OwnDepositsStub], Awaitable[Any]]
) -> Any:
    member = Member(locate(consortium, as_, (), os.environ))
    try:
        if not member.has_node(member.name):
            raise LocalError("config.missing", f"{member.name} has no node, so no data to deposit.", "Use --as PARTY.")
        return await call(deposits_pb2_grpc.OwnDepositsStub(member.channel(member.name)))
    except grpc.aio.AioRpcError as error:
        raise from_rpc(error, member.name, "asked about its deposits") from None
    finally:
        await member.close()
