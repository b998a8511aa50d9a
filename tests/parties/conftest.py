"""Members served inside the test's own event loop, and a client in a thread beside it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from parties.modeler.client import Client
from parties.serve import serve_coordinator, serve_node, serve_witness
from tests.parties import world


class Running:
    """A consortium that is being served; ``ask`` runs a client's method without blocking the servers."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.stops: dict[str, Callable[[], Any]] = {}
        self._clients: dict[str, Client] = {}
        self._threads = ThreadPoolExecutor(32)
        self._opening = asyncio.Lock()

    async def start(self, name: str, **hooks: Any) -> None:
        serve = {"coordinator": serve_coordinator, "regulator": serve_witness}.get(name, serve_node)
        _server, self.stops[name] = await serve(self.folder / name, **hooks)

    async def stop(self, name: str) -> None:
        await self.stops.pop(name)()

    async def ask(self, who: str, method: str, *args: Any, **kwargs: Any) -> Any:
        async with self._opening:  # one client a member, however many ask at once
            if who not in self._clients:
                self._clients[who] = await self.apart(Client, self.folder / who)
        return await self.apart(getattr(self._clients[who], method), *args, **kwargs)

    async def apart(self, work: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Run blocking client work in threads of its own: the servers need the event loop's."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, lambda: work(*args, **kwargs))

    async def query(self, sql: str, to: str = "analyst", **options: Any) -> Any:
        return await self.ask(to, "query", sql, to, **options)

    async def close(self) -> None:
        for client in self._clients.values():
            await self.apart(client.close)
        for stop in list(self.stops.values()):
            await stop()
        self._threads.shutdown(wait=False)


@asynccontextmanager
async def serving(
    folder: Path, *, without: tuple[str, ...] = (), hooks: dict[str, dict[str, Any]] | None = None
) -> AsyncIterator[Running]:
    """All members of a consortium, served."""
    running = Running(folder)
    names = sorted(p.parent.name for p in folder.glob("*/member.toml"))
    async with AsyncExitStack() as stack:
        stack.push_async_callback(running.close)
        for name in names:
            if name not in ("analyst", "auditor", *without):
                await running.start(name, **(hooks or {}).get(name, {}))
        yield running


@pytest.fixture
async def banks(tmp_path: Path) -> AsyncIterator[Running]:
    """Three banks, an analyst and a coordinator, served."""
    async with serving(world.make(tmp_path)) as running:
        yield running
