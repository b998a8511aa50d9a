"""Structured logs without values: JSON lines on stderr, a fixed set of fields, everything else dropped.

A log line may carry names, ids, sizes, states and codes. Fields not on the list are left out rather than trusted, and a
traceback is printed as places in the code only, because exception texts and locals may hold data (checklist 23).
"""

from __future__ import annotations

import logging
import sys
import traceback
from collections.abc import MutableMapping
from typing import Any

import structlog

FIELDS = frozenset(
    {
        "event",
        "level",
        "timestamp",
        "logger",
        "member",
        "job",
        "attempt",
        "code",
        "step",
        "party",
        "submitter",
        "state",
        "bytes",
        "pid",
        "dry_run",
        "address",
        "tables",
        "seconds",
        "signal",
        "places",
        "defect",
        "version",
        "count",
    }
)


def configure(member: str, stream: Any = None) -> None:
    """Log as ``member``, JSON lines to ``stream`` (stderr)."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            lambda _logger, _method, event: {**event, "member": member},
            _places_only,
            _known_fields_only,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(stream or sys.stderr),
        cache_logger_on_first_use=False,
    )
    # libraries that log through the standard module may quote what they were given
    logging.getLogger().addHandler(logging.NullHandler())
    logging.getLogger("asyncio").disabled = True
    logging.getLogger("grpc").disabled = True


def _places_only(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    problem = event.pop("exc_info", None)
    if problem is True:
        problem = sys.exc_info()[1]
    if isinstance(problem, BaseException):
        event["defect"] = type(problem).__name__
        event["places"] = [
            f"{f.filename.rsplit('/', 2)[-1]}:{f.lineno} {f.name}" for f in traceback.extract_tb(problem.__traceback__)
        ]
    return event


def _known_fields_only(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    return {k: v for k, v in event.items() if k in FIELDS}
