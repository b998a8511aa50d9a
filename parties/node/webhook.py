"""A word to the owner's own systems when a job waits here, is approved, refused or ended, or the node is stopped.

    POST URL                                 https, or plain http on loopback
    Heji-Signature: sha256=HEX               HMAC-SHA256 of the body under keys/webhook-key
    {"v": 1, "id", "at", "member", "event", "job", "attempt", "submitter", "recipients", "purpose", "code"}

No SQL, no table, no value: constants in a query can be about somebody, and whoever is notified looks at the console. A
job never waits for it: one thread sends, tries again a few times, and lets go what it cannot deliver.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import http.client
import json
import queue
import secrets
import ssl
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import structlog

from mpc.job import Job
from parties import files
from parties.identity import KEYS, read_secret

log = structlog.get_logger("heji.webhook")

KEY, SIGNATURE = "webhook-key", "Heji-Signature"
#: notifications that may wait; seconds to wait for an answer; pauses before another try, seconds
MOST, PATIENCE, PAUSES = 256, 10.0, (1.0, 4.0, 15.0, 60.0)
#: seconds that the node, when it stops, waits for what is still to be sent
AT_THE_END = 2.0

Event = Literal["waiting", "approved", "refused", "done", "aborted", "stopped", "resumed"]


def key_of(folder: Path) -> bytes:
    """The key notifications are signed with, made where there is none. Raises LocalError config.invalid."""
    path = folder / KEYS / KEY
    if not path.exists():
        files.write(path, secrets.token_hex(32) + "\n", 0o600)
    return read_secret(path).strip()


class Webhook:
    """Sends notifications to one address; to none, if the address is empty."""

    def __init__(
        self, folder: Path, member: str, url: str, clock: Callable[[], int], pauses: Sequence[float] = PAUSES
    ) -> None:
        """``url``: checked by parties.config. Raises LocalError config.invalid, store.failed."""
        self._member, self._url, self._clock, self._pauses = member, urlsplit(url), clock, pauses
        self._waiting: queue.Queue[bytes | None] = queue.Queue(MOST)
        self._last: tuple[str, int, Event] | None = None
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        if url:
            self._key = key_of(folder)
            self._thread = threading.Thread(target=self._send_all, name="heji-webhook", daemon=True)
            self._thread.start()

    def job(self, event: Event, job: Job, attempt: int = 0, code: str = "") -> None:
        """Something happened to a job. The same twice in a row is said once."""
        if self._last != (said := (job.id, attempt, event)):
            self._last = said
            facts = {"submitter": job.submitter, "recipients": list(job.recipients), "purpose": job.purpose}
            self._tell(event, job=job.id, attempt=attempt, code=code, **facts)

    def node(self, event: Event) -> None:
        """The node was stopped or resumed."""
        self._tell(event, job="", attempt=0, code="", submitter="", recipients=[], purpose="")

    def close(self) -> None:
        """Send what can be sent at once; the rest is lost."""
        if self._thread is not None:
            with contextlib.suppress(queue.Full):
                self._waiting.put_nowait(None)
            self._thread.join(AT_THE_END)
            self._ended.set()

    def _tell(self, event: Event, **facts: Any) -> None:
        if self._thread is None:
            return
        body = {"v": 1, "id": secrets.token_hex(16), "at": self._clock(), "member": self._member, "event": event}
        try:
            self._waiting.put_nowait(json.dumps({**body, **facts}, ensure_ascii=False).encode())
        except queue.Full:
            log.warning("notification dropped", count=MOST)

    # -- in the thread

    def _send_all(self) -> None:
        while not self._ended.is_set() and (body := self._waiting.get()) is not None:
            for tries, pause in enumerate((*self._pauses, None), 1):
                status = self._post(body)
                if 200 <= status < 300:
                    break
                final = pause is None or (400 <= status < 500 and status not in (408, 429))
                log.warning("notification failed", attempt=tries, code=str(status or "no answer"))
                if final or self._ended.wait(pause):
                    break

    def _post(self, body: bytes) -> int:
        """The answer's status, 0 where there is none. Redirections are not followed."""
        url, link = self._url, self._link()
        signature = hmac.new(self._key, body, hashlib.sha256).hexdigest()
        headers = {"Content-Type": "application/json", SIGNATURE: f"sha256={signature}"}
        try:
            link.request("POST", (url.path or "/") + (f"?{url.query}" if url.query else ""), body, headers)
            return link.getresponse().status
        except (OSError, http.client.HTTPException, ValueError):
            return 0
        finally:
            link.close()

    def _link(self) -> http.client.HTTPConnection:
        host, port = self._url.hostname or "", self._url.port
        if self._url.scheme == "https":
            context = ssl.create_default_context()
            return http.client.HTTPSConnection(host, port, timeout=PATIENCE, context=context)
        return http.client.HTTPConnection(host, port, timeout=PATIENCE)
