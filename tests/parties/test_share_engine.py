"""The share engine between members over gRPC: the same bytes as in process, and long columns through real channels."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import grpc.aio
import numpy as np

from mpc.ring import ring
from mpc.rounds import Rounds, Session, together
from mpc.run import Sent, Trace, run
from mpc.sharing.circle import Circle
from mpc.sharing.compare import deal_negative, negative
from mpc.sharing.multiply import deal_multiply, deal_multiply_known, multiply, multiply_known
from mpc.sharing.opening import open_sum
from mpc.sharing.permute import deal_permute, permute
from parties import credentials
from parties.consortium import init_consortium
from parties.drive import drive
from parties.mail import Inbox, Outbox, PostOffice
from parties.member import Member
from tests.mpc.joining import sessions
from tests.mpc.sharing.test_engine import opened, share

CIRCLE = Circle(("bank_a", "bank_b"), "helper")
NAMES = (*CIRCLE.holders, CIRCLE.helper)
KEY = (bytes(range(32)), 1)


async def over_grpc(folder: Path, roles: Mapping[str, Rounds[Any]]) -> tuple[dict[str, Any], list[Sent]]:
    """Every role at a member of its own; their results, and every message in the order its sender said it."""
    init_consortium(folder, parties=list(NAMES), helper="aside")
    members = {name: Member(folder / name) for name in NAMES}
    said: list[Sent] = []
    async with AsyncExitStack() as stack:
        inboxes = {}
        for name, member in members.items():
            stack.push_async_callback(member.close)
            office = PostOffice(member.caller)
            inboxes[name] = Inbox({peer: 1 << 30 for peer in NAMES if peer != name})
            office.open(KEY, inboxes[name])
            server = grpc.aio.server(options=credentials.message_options())
            office.serve(server)
            assert server.add_secure_port(
                member.config.listen, credentials.server_credentials(member.identity, member.roster)
            )
            await server.start()
            stack.push_async_callback(server.stop, 0)

        async def play(name: str) -> Any:
            peers = [peer for peer in NAMES if peer != name]
            outboxes = {peer: Outbox(peer, members[name].channel(peer), KEY, 10) for peer in peers}

            def on_message(sent: Sent) -> None:
                if sent.sender == name:
                    said.append(Sent(sent.sender, sent.receiver, sent.step, bytes(sent.raw)))

            try:
                return await drive(name, roles[name], inboxes[name], outboxes, patience=10, on_message=on_message)
            finally:
                for outbox in outboxes.values():
                    await outbox.close()

        results = await asyncio.gather(*(play(name) for name in NAMES))
    return dict(zip(NAMES, results, strict=True)), said


def by_pair(sent: list[Sent]) -> dict[tuple[str, str], list[tuple[str, bytes]]]:
    pairs: dict[tuple[str, str], list[tuple[str, bytes]]] = {}
    for s in sent:
        pairs.setdefault((s.sender, s.receiver), []).append((s.step, bytes(s.raw)))
    return pairs


async def test_the_bytes_are_those_of_the_run_in_process(tmp_path: Path):
    x = list(range(-30, 30))
    shares, order = share(x, 64, 2), np.arange(len(x))[::-1]

    def roles() -> dict[str, Rounds[Any]]:
        s = sessions(NAMES)

        def hold(here: Session, mine: np.ndarray) -> Rounds[Any]:
            known = order if here.me == "bank_a" else None
            return together(
                here.at("all"),
                multiply(here.at("product"), CIRCLE, 64, mine, mine),
                negative(here.at("sign"), CIRCLE, 64, mine),
                permute(here.at("order"), CIRCLE, "bank_a", [64], [mine], known),
            )

        def deal(here: Session) -> Rounds[Any]:
            return together(
                here.at("all"),
                deal_multiply(here.at("product"), CIRCLE, 64, len(x)),
                deal_negative(here.at("sign"), CIRCLE, 64, len(x)),
                deal_permute(here.at("order"), CIRCLE, "bank_a", [64], len(x)),
            )

        holders = {h: hold(s[h], shares[i]) for i, h in enumerate(CIRCLE.holders)}
        return {**holders, CIRCLE.helper: deal(s[CIRCLE.helper])}

    results, said = await over_grpc(tmp_path / "c", roles())
    trace = Trace()
    run(roles(), trace)
    assert by_pair(said) == by_pair(trace.sent)
    assert all(s.receiver != CIRCLE.helper for s in said)
    products, signs, reversed_ = (
        opened([results[h][k] if k < 2 else results[h][k][0] for h in CIRCLE.holders], 64) for k in range(3)
    )
    assert (products, signs, reversed_) == ([v * v for v in x], [int(v < 0) for v in x], x[::-1])


async def test_columns_longer_than_all_windows_pass(tmp_path: Path):
    """24 blocks from each to the other, where inbox and outbox together hold 16."""
    n, s = 3_000_000, sessions(NAMES)
    column = np.arange(n, dtype=np.uint64)
    known = np.full(n, 3, np.uint64)

    def hold(here: Session) -> Rounds[Any]:
        mine = column if here.me == "bank_a" else ring(64).zeros(n)
        value = yield from open_sum(here.at("open"), CIRCLE, 64, mine)
        factor = known if here.me == "bank_a" else None
        times = yield from multiply_known(here.at("times"), CIRCLE, "bank_a", 64, mine, factor)
        return value, times

    deal = deal_multiply_known(s["helper"].at("times"), CIRCLE, "bank_a", 64, n)
    results, _ = await over_grpc(tmp_path / "c", {**{h: hold(s[h]) for h in CIRCLE.holders}, "helper": deal})
    for h in CIRCLE.holders:
        assert np.array_equal(results[h][0], column)
    assert np.array_equal(results["bank_a"][1] + results["bank_b"][1], column * np.uint64(3))
