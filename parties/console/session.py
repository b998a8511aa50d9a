"""Logging in by a person's own token, and what a browser must show afterwards.

Sessions live in memory and end with the process, after eight hours, by logging out, or when the token they began with
is replaced or revoked. A form is taken only with the session's own secret in it (CSRF), besides a cookie that no other
site can send (SameSite=Strict).
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from parties.console.tokens import holder

#: seconds a session lasts; wrong tokens that are taken within MINUTE seconds
LASTS, MINUTE, MOST_WRONG = 8 * 3600, 60, 5


@dataclass(frozen=True)
class Session:
    """Somebody who showed a token. ``person``: whose it is; goes into their decisions. ``kept``: its hash."""

    person: str
    csrf: str
    until: int
    kept: str

    def __repr__(self) -> str:
        return f"Session({self.person!r}, …)"


class Sessions:
    """Who is logged in."""

    def __init__(self, people: Callable[[], Mapping[str, str]], clock: Callable[[], int]) -> None:
        """``people``: name -> hash of the token, as it is now."""
        self._people, self._clock = people, clock
        self._known: dict[str, Session] = {}
        self._wrong: list[int] = []

    @property
    def locked(self) -> bool:
        """Too many wrong tokens in the last minute: nobody logs in, not even with the right one."""
        now = self._clock()
        self._wrong = [t for t in self._wrong if now - t < MINUTE]
        return len(self._wrong) >= MOST_WRONG

    def login(self, token: str) -> str | None:
        """A new session's cookie, None for a wrong token or while locked. Raises LocalError config.invalid."""
        if self.locked:
            return None
        known = self._people()
        person = holder(known, token)
        if person is None:
            self._wrong.append(self._clock())
            return None
        cookie = secrets.token_urlsafe(32)
        self._known[cookie] = Session(person, secrets.token_urlsafe(32), self._clock() + LASTS, known[person])
        return cookie

    def find(self, cookie: str) -> Session | None:
        """The session of a cookie, if it lasts. Raises LocalError config.invalid."""
        found = self._known.get(cookie)
        if found is None:
            return None
        if found.until <= self._clock() or self._people().get(found.person) != found.kept:
            del self._known[cookie]
            return None
        return found

    def logout(self, cookie: str) -> None:
        self._known.pop(cookie, None)
