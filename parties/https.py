"""Serving pages or files from a member's process, over TLS with the member's own certificate."""

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

log = structlog.get_logger("heji.https")


class _Server(uvicorn.Server):
    """uvicorn without signal handlers: the member has its own."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def serve(app: Starlette, member: Member, setting: str) -> Callable[[], Awaitable[None]]:
    """Start serving at the address that member.toml gives as ``setting``; returns what stops it. Raises LocalError
    config.invalid."""
    address = str(getattr(member.config, setting))
    host, _, port = address.rpartition(":")
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
                f"{member.name} cannot listen on {address} ({setting}): the address is in use or not here.",
                f"Stop whatever uses it, or change `{setting}` in member.toml.",
            )
        await asyncio.sleep(0.01)
    log.info("serving", address=address)

    async def stop() -> None:
        server.should_exit = True
        await task

    return stop
