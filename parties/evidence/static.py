"""A member's log as static files over HTTPS, as C2SP tlog-tiles lays them out: for any client of such logs, no login.

    /checkpoint                        the newest signed note                       asked for anew each time
    /tile/LEVEL/INDEX[.p/WIDTH]        hashes                                       never change: cached for ever
    /tile/entries/INDEX[.p/WIDTH]      the entries

Names are of this form and no other, so nothing else in the folder can be asked for: no documents, messages, tokens or
keys. A narrower tile than there is now is cut from the wider one, so that whoever holds an older checkpoint finds all
that belongs to it, while the log grows. Entries hold no data, but they say who worked with whom, when and how much:
the address is off unless set.
"""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from mpc.evidence import tiles

#: index in groups of three digits, all but the last with an x in front; up to 10^18
_TILE = re.compile(r"/tile/(entries|[0-7])/((?:x[0-9]{3}/){0,5}[0-9]{3})(?:\.p/([1-9][0-9]{0,2}))?")
_HEADERS = {"Content-Security-Policy": "default-src 'none'", "X-Content-Type-Options": "nosniff"}


def app(folder: Path) -> Starlette:
    """The application. ``folder``: the member's."""
    log = folder / "state" / "log"

    async def shown(request: Request) -> Response:
        path = request.scope["path"]
        found = await asyncio.to_thread(file, log, path)
        if path == "/checkpoint":
            return _answer(found, "text/plain; charset=utf-8", "no-cache")
        return _answer(found, "application/octet-stream", "public, max-age=31536000, immutable")

    return Starlette(routes=[Route("/{path:path}", shown)])


def file(log: Path, path: str) -> bytes | None:
    """What is shown at ``path``, None for nothing. ``log``: the folder."""
    if path == "/checkpoint":
        return _read(log / "checkpoint")
    name = _TILE.fullmatch(path)
    return _tile(log, name) if name else None


def _answer(found: bytes | None, kind: str, cached: str) -> Response:
    if found is None:
        return Response("not found\n", 404, {**_HEADERS, "Cache-Control": "no-store"}, "text/plain")
    return Response(found, 200, {**_HEADERS, "Cache-Control": cached}, kind)


def _tile(log: Path, name: re.Match[str]) -> bytes | None:
    level, index, width = name.groups()
    full = log / "tile" / level / index
    if width is None:
        return _read(full)
    if int(width) >= tiles.WIDTH:
        return None
    for path in (full, *_partial(full)):
        wider = _read(path)
        found = tiles.begins(level, wider, int(width)) if wider else None
        if found is not None:
            return found
    return None


def _partial(full: Path) -> list[Path]:
    """What there is of a tile that is not full."""
    folder = full.with_name(full.name + ".p")
    return sorted(folder.glob("[0-9]*")) if folder.is_dir() else []


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None
