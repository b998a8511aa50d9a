"""A member as a process: gRPC server over mutual TLS, health and reflection, graceful end on SIGTERM or SIGINT."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import structlog
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from mpc.errors import HejiError, LocalError
from parties import credentials, https, logs, memory, metrics
from parties.clock import now
from parties.coordinator.catalogs import Catalogs
from parties.coordinator.deposit_store import DepositStore
from parties.coordinator.deposits import Deposits
from parties.coordinator.service import CoordinatorService
from parties.coordinator.store import Store as CoordinatorStore
from parties.evidence.recorder import Recorder
from parties.evidence.service import EvidenceService, WitnessService
from parties.evidence.witness import Heads
from parties.mail import PostOffice
from parties.member import Clock, Member
from parties.node.deposit_store import DepositStore as DepositMessages
from parties.node.deposits import Deposits as OwnDeposits
from parties.node.inputs import Inputs
from parties.node.noise_seeds import NoiseSeeds
from parties.node.over import OverWatch
from parties.node.permission import Permission
from parties.node.releases import Releases
from parties.node.service import NodeService
from parties.node.stopping import Watch
from parties.node.store import Store as NodeStore
from parties.node.webhook import Webhook
from parties.rpc.v1 import (
    coordinator_pb2,
    coordinator_pb2_grpc,
    deposits_pb2_grpc,
    evidence_pb2,
    evidence_pb2_grpc,
    node_pb2,
    node_pb2_grpc,
    peer_pb2,
)

log = structlog.get_logger("heji")

#: seconds that calls under way get to end
GRACE = 5.0

Stop = Callable[[], Awaitable[None]]
Start = Callable[[Path], Awaitable[tuple[grpc.aio.Server, Stop]]]


async def serve_node(folder: Path, clock: Clock = now, **hooks: Any) -> tuple[grpc.aio.Server, Stop]:
    """Start a party node; returns its server and what stops it. ``hooks`` go to NodeService (tests, benchmarks)."""
    member = Member(folder, clock)
    recorder = _recorder(member)
    store = NodeStore(folder / "state" / "node.db", os.urandom(32))
    for job in store.abort_unfinished(member.clock()):
        log.info("cut off by the restart", job=job)
    post = PostOffice(member.caller, recorder)
    config = member.config
    kept = Releases(folder / "state" / "node.db", most=config.release_ledger_bytes) if config.release_ledger else None
    inputs = Inputs(member, kept, NoiseSeeds(folder, member.identity))
    counters = metrics.Metrics()
    webhook = Webhook(folder, member.name, member.config.webhook, member.clock)
    permission = Permission(member, lambda job: webhook.job("waiting", job))
    service = NodeService(
        member, store, post, inputs, permission, metrics=counters, recorder=recorder, webhook=webhook, **hooks
    )
    service.destroy_noise()
    messages = DepositMessages(folder / "state" / "node.db")
    deposits = OwnDeposits(member, store, messages, inputs, permission, recorder, webhook)
    console = await _console(member, store, inputs, recorder, lambda: service.under_way)

    async def end_all(reason: HejiError) -> None:
        deposits.take_back_soon()
        await service.end_all(reason)

    watch = Watch(member.name, store.decisions, store.questions, recorder, end_all, webhook.node)
    watch.start()
    over = OverWatch(member, store.decisions)
    server = _server(member)
    node_pb2_grpc.add_NodeServicer_to_server(service, server)
    deposits_pb2_grpc.add_OwnDepositsServicer_to_server(deposits, server)
    if recorder is not None:
        evidence_pb2_grpc.add_EvidenceServicer_to_server(EvidenceService(member, recorder), server)
    stop = await _start(
        member,
        server,
        post,
        counters,
        node_pb2.DESCRIPTOR.services_by_name["Node"].full_name,
        [
            service.stop,
            deposits.stop,
            watch.stop,
            over.stop,
            console,
            await _log(member),
            _soon(store.close),
            lambda: asyncio.to_thread(webhook.close),
            _soon(messages.close),
            *([_soon(kept.close)] if kept else []),
            *([recorder.close] if recorder else []),
        ],
    )
    deposits.start()
    over.start()
    return server, stop


async def serve_coordinator(folder: Path, clock: Clock = now, **hooks: Any) -> tuple[grpc.aio.Server, Stop]:
    """Start a coordinator; unfinished jobs go on. Returns its server and what stops it. ``hooks``: as above."""
    member = Member(folder, clock)
    recorder = _recorder(member)
    store = CoordinatorStore(folder / "state" / "coordinator.db")
    post = PostOffice(member.caller, recorder)
    counters = metrics.Metrics()
    kept = DepositStore(folder / "state" / "coordinator.db")
    catalogs = Catalogs(member, kept)
    deposits = Deposits(member, store, kept, catalogs, recorder)
    service = CoordinatorService(member, store, post, catalogs, deposits, metrics=counters, recorder=recorder, **hooks)
    server = _server(member)
    coordinator_pb2_grpc.add_CoordinatorServicer_to_server(service, server)
    deposits_pb2_grpc.add_DepositsServicer_to_server(deposits, server)
    if recorder is not None:
        evidence_pb2_grpc.add_EvidenceServicer_to_server(EvidenceService(member, recorder), server)
    stop = await _start(
        member,
        server,
        post,
        counters,
        coordinator_pb2.DESCRIPTOR.services_by_name["Coordinator"].full_name,
        [
            service.stop,
            await _log(member),
            _soon(store.close),
            _soon(kept.close),
            *([recorder.close] if recorder else []),
        ],
    )
    service.resume()
    return server, stop


async def serve_witness(folder: Path) -> tuple[grpc.aio.Server, Stop]:
    """Start a witness: it cosigns, and keeps nothing but one size and root for every member."""
    member = Member(folder)
    heads = Heads(folder)
    server = _server(member)
    evidence_pb2_grpc.add_EvidenceServicer_to_server(WitnessService(member, heads), server)
    service = evidence_pb2.DESCRIPTOR.services_by_name["Evidence"].full_name
    stop = await _start(member, server, None, metrics.Metrics(), service, [_soon(lambda: None), _soon(heads.close)])
    return server, stop


def _recorder(member: Member) -> Recorder | None:
    """The member's evidence. ``HEJI_EVIDENCE=off`` is there to measure what evidence costs (make bench): members that
    keep none sign no receipts, and whoever keeps some refuses them."""
    return None if os.environ.get("HEJI_EVIDENCE") == "off" else Recorder(member)


async def _console(
    member: Member, store: NodeStore, inputs: Inputs, recorder: Recorder | None, running: Callable[[], int]
) -> Stop:
    """Serve the operator's console, if the settings have an address for it; returns what stops it."""
    if not member.config.console:
        return _soon(lambda: None)
    from parties.console.app import Console  # only where it is served
    from parties.console.session import Sessions
    from parties.console.tokens import people

    sessions = Sessions(lambda: people(member.folder), member.clock)
    return await https.serve(Console(member, store, inputs, sessions, recorder, running).app(), member, "console")


async def _log(member: Member) -> Stop:
    """Serve the member's log as static files, if the settings have an address for it; returns what stops it."""
    if not member.config.log_address:
        return _soon(lambda: None)
    from parties.evidence.static import app  # only where it is served

    return await https.serve(app(member.folder), member, "log_address")


def run(folder: Path, start: Start, *, also: Sequence[tuple[Start, Path]] = (), parent: int | None = None) -> None:
    """Serve until SIGTERM or SIGINT; a second one ends at once. ``also``: other members in this process, served first.
    ``parent``: also until this parent process ends."""
    logs.configure(folder.name)
    memory.keep_freed_blocks()
    asyncio.run(_until_signal([*also, (start, folder)], parent))


async def _until_signal(served: Sequence[tuple[Start, Path]], parent: int | None) -> None:
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    stops = [(await start(folder))[1] for start, folder in served]
    while not ended.is_set() and (parent is None or os.getppid() == parent):
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1):
                await ended.wait()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.remove_signal_handler(number)
    log.info("stopping")
    for stop in reversed(stops):
        await stop()
    log.info("stopped")


def _server(member: Member) -> grpc.aio.Server:
    return grpc.aio.server(options=credentials.message_options(), maximum_concurrent_rpcs=512)


async def _start(
    member: Member,
    server: grpc.aio.Server,
    post: PostOffice | None,
    counters: metrics.Metrics,
    service: str,
    closers: list[Stop],
) -> Stop:
    """Add what every member serves, open the port, and return what stops all of it. ``post``: of members of jobs."""
    if post is not None:
        post.serve(server)
    healthy = health.aio.HealthServicer()  # type: ignore[attr-defined]
    health_pb2_grpc.add_HealthServicer_to_server(healthy, server)
    peer = [peer_pb2.DESCRIPTOR.services_by_name["Peer"].full_name] if post is not None else []
    reflection.enable_server_reflection((service, *peer, health.SERVICE_NAME, reflection.SERVICE_NAME), server)
    address = member.config.listen
    try:
        bound = server.add_secure_port(address, credentials.server_credentials(member.identity, member.roster))
    except RuntimeError:
        bound = 0
    if bound == 0:
        raise LocalError(
            "config.invalid",
            f"{member.name} cannot listen on {address}: the address is in use or not here.",
            "Stop whatever uses it, or change `listen` in member.toml.",
        )
    unwatch = metrics.serve(counters, member.config.metrics)
    await server.start()
    for name in ("", service):
        await healthy.set(name, health_pb2.HealthCheckResponse.SERVING)
    log.info("serving", address=address, pid=os.getpid())

    async def stop() -> None:
        await healthy.enter_graceful_shutdown()
        await closers[0]()  # attempts first: their peers are told while the server still answers
        await server.stop(GRACE)
        for close in (*closers[1:], _soon(unwatch)):
            with contextlib.suppress(Exception):
                await close()
        await member.close()

    return stop


def _soon(close: Callable[[], None]) -> Stop:
    async def closed() -> None:
        close()

    return closed
