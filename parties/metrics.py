"""Counters for whoever watches a member: how many jobs came how far, what was refused, bytes, seconds. Never values.

Labels are states, error codes and directions: no SQL, no names of tables or columns, no members, no ids. Served as
Prometheus text over plain HTTP, only where ``metrics`` is set in member.toml; it should name a loopback address.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram, start_http_server

from mpc.errors import LocalError
from mpc.run import Sent


class Metrics:
    """One member's counters; several members can live in one process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._jobs = Counter("heji_jobs", "Times a job came to a state here.", ["state"], registry=self.registry)
        self._refusals = Counter(
            "heji_refusals",
            "Proposals refused (node) or jobs that ended without a result (coordinator), by error code.",
            ["code"],
            registry=self.registry,
        )
        self._bytes = Counter(
            "heji_message_bytes", "Protocol messages, without framing.", ["direction"], registry=self.registry
        )
        self._seconds = Histogram(
            "heji_attempt_seconds",
            "Duration of attempts, by how they ended.",
            ["outcome"],
            buckets=(0.1, 0.3, 1, 3, 10, 30, 100, 300, 1000, 3600),
            registry=self.registry,
        )

    def job(self, state: str) -> None:
        """A job came to ``state``."""
        self._jobs.labels(state).inc()

    def refused(self, code: str) -> None:
        """Something was refused or failed, with this error code."""
        self._refusals.labels(code).inc()

    def message(self, sent: Sent, here: str) -> None:
        """A protocol message left or reached ``here``."""
        self._bytes.labels("received" if sent.receiver == here else "sent").inc(len(sent.raw))

    @contextlib.contextmanager
    def attempt(self) -> Iterator[None]:
        """Times the attempt inside the block."""
        began, outcome = time.monotonic(), "failed"
        try:
            yield
            outcome = "done"
        finally:
            self._seconds.labels(outcome).observe(time.monotonic() - began)


def serve(metrics: Metrics, address: str) -> Callable[[], None]:
    """Serve at ``HOST:PORT`` ("": nowhere) from a thread; returns what stops it. Raises LocalError config.invalid."""
    if not address:
        return lambda: None
    host, _, port = address.rpartition(":")
    try:
        server, thread = start_http_server(int(port), host.strip("[]"), metrics.registry)
    except (OSError, OverflowError) as problem:
        raise LocalError(
            "config.invalid",
            f"Metrics cannot be served at {address}: {problem}.",
            "Stop whatever uses it, or change `metrics` in member.toml.",
        ) from problem

    def stop() -> None:
        server.shutdown()
        server.server_close()
        thread.join()

    return stop
