"""Serving the console from the node's process, over TLS with the node's own certificate."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator

import structlog
import uvicorn
from starlette.applications import Starlette

from mpc.errors import LocalError
from parties.identity import CERTIFICATE, KEYS, TLS_KEY
from parties.member import Member

log = structlog.get_logger("heji.console")


class _Server(uvicorn.Server):
    """uvicorn without signal handlers: the node has its own."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def serve(app: Starlette, member: Member) -> Callable[[], Awaitable[None]]:
    """Start serving at ``member.config.console``; returns what stops it. Raises LocalError config.invalid."""
    host, _, port = member.config.console.rpartition(":")
    keys = member.folder / KEYS
    config = uvicorn.Config(
        app,
        host=host.strip("[]"),
        port=int(port),
        ssl_keyfile=keys / TLS_KEY,
        ssl_certfile=keys / CERTIFICATE,
        log_config=None,
        access_log=False,
        server_header=False,
        lifespan="off",
        limit_concurrency=64,
    )
    server = _Server(config)

    async def run() -> None:
        with contextlib.suppress(SystemExit):  # uvicorn's word for an address that is in use
            await server.serve()

    task = asyncio.create_task(run())
    while not server.started:
        if task.done():
            raise LocalError(
                "config.invalid",
                f"The console cannot listen on {member.config.console}: the address is in use or not here.",
                "Stop whatever uses it, or change `console` in member.toml.",
            )
        await asyncio.sleep(0.01)
    log.info("serving", address=member.config.console)

    async def stop() -> None:
        server.should_exit = True
        await task

    return stop
