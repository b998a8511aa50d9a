"""Logging in by the node's own token, and what a browser must show afterwards.

    keys/console-token     32 random bytes as text, 0600, made when the console is first served

Sessions live in memory and end with the process, after eight hours, or by logging out. A form is taken only with the
session's own secret in it (CSRF), besides a cookie that no other site can send (SameSite=Strict).
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from parties import files
from parties.identity import KEYS, read_secret

TOKEN = "console-token"  # a file's name
#: seconds a session lasts; wrong tokens that are taken within MINUTE seconds
LASTS, MINUTE, MOST_WRONG = 8 * 3600, 60, 5


def token_of(folder: Path) -> bytes:
    """The node's token, made where there is none. Raises LocalError config.invalid where others could read it."""
    path = folder / KEYS / TOKEN
    if not path.exists():
        files.write(path, secrets.token_urlsafe(32) + "\n", 0o600)
    return read_secret(path).strip()


@dataclass(frozen=True)
class Session:
    """Somebody who showed the token. ``person`` is what they call themselves: it goes into their decisions."""

    person: str
    csrf: str
    until: int

    def __repr__(self) -> str:
        return f"Session({self.person!r}, …)"


class Sessions:
    """Who is logged in."""

    def __init__(self, token: bytes, clock: Callable[[], int]) -> None:
        self._token, self._clock = token, clock
        self._known: dict[str, Session] = {}
        self._wrong: list[int] = []

    @property
    def locked(self) -> bool:
        """Too many wrong tokens in the last minute: nobody logs in, not even with the right one."""
        now = self._clock()
        self._wrong = [t for t in self._wrong if now - t < MINUTE]
        return len(self._wrong) >= MOST_WRONG

    def login(self, token: str, person: str) -> str | None:
        """A new session's cookie, None for a wrong token or while locked."""
        if self.locked:
            return None
        if not hmac.compare_digest(token.strip().encode(), self._token):
            self._wrong.append(self._clock())
            return None
        cookie = secrets.token_urlsafe(32)
        self._known[cookie] = Session(person, secrets.token_urlsafe(32), self._clock() + LASTS)
        return cookie

    def find(self, cookie: str) -> Session | None:
        """The session of a cookie, if it lasts."""
        found = self._known.get(cookie)
        if found is not None and found.until <= self._clock():
            del self._known[cookie]
            return None
        return found

    def logout(self, cookie: str) -> None:
        self._known.pop(cookie, None)
