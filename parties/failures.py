"""Errors across the wire: a HejiError becomes a gRPC status with its JSON beside it, and the other way round.

Whatever is not a HejiError is a defect: the caller hears ``internal`` and nothing else, the traceback stays in the log
of the member it happened at (and there without values: see parties.logs).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, NoReturn

import grpc
import grpc.aio

from mpc.errors import HejiError, LocalError, PeerError

_DETAIL = "heji-error-bin"
_STATUS: Mapping[str, grpc.StatusCode] = {
    "policy": grpc.StatusCode.PERMISSION_DENIED,
    "sql": grpc.StatusCode.INVALID_ARGUMENT,
    "plan": grpc.StatusCode.INVALID_ARGUMENT,
    "job": grpc.StatusCode.FAILED_PRECONDITION,
    "data": grpc.StatusCode.FAILED_PRECONDITION,
    "protocol": grpc.StatusCode.ABORTED,
    "peer": grpc.StatusCode.ABORTED,
    "roster": grpc.StatusCode.FAILED_PRECONDITION,
}
_SPECIAL = {
    "peer.identity": grpc.StatusCode.UNAUTHENTICATED,
    "job.unknown": grpc.StatusCode.NOT_FOUND,
    "job.not_recipient": grpc.StatusCode.PERMISSION_DENIED,
}


async def abort(context: grpc.aio.ServicerContext[Any, Any], error: HejiError) -> NoReturn:
    """End a call with ``error``."""
    status = _SPECIAL.get(error.code) or _STATUS.get(error.code.split(".")[0], grpc.StatusCode.INTERNAL)
    await context.abort(status, error.message[:1000], trailing_metadata=((_DETAIL, encode(error)),))
    raise AssertionError("context.abort returns never")


def encode(error: HejiError) -> bytes:
    """JSON of an error, at most 7 KiB (metadata is limited)."""
    fields = error.to_dict()
    raw = json.dumps(fields, ensure_ascii=False).encode()
    if len(raw) > 7000:  # the facts may hold a long grant text, which the advice repeats
        raw = json.dumps({**fields, "advice": error.advice[:1500], "facts": {}}, ensure_ascii=False).encode()
    return raw


def decode(raw: bytes) -> HejiError:
    """Inverse of ``encode``; anything malformed is an ``internal`` error."""
    try:
        fields = json.loads(raw)
        return HejiError.from_dict(fields)
    except (ValueError, TypeError, AttributeError):
        return LocalError("internal", "Another member failed and its reason cannot be read.")


def told(error: grpc.aio.AioRpcError | grpc.RpcError) -> bytes | None:
    """What the other member said of the failure; None if it said nothing, as when the connection broke."""
    metadata: Any = error.trailing_metadata() if hasattr(error, "trailing_metadata") else None
    return next((bytes(value) for key, value in metadata or () if key == _DETAIL), None)


def from_rpc(error: grpc.aio.AioRpcError | grpc.RpcError, peer: str, doing: str = "") -> HejiError:
    """What a failed call to ``peer`` means: the error it told, or that it cannot be reached."""
    detail = told(error)
    if detail is not None:
        return decode(detail)
    code = error.code() if hasattr(error, "code") else None
    if code == grpc.StatusCode.UNAVAILABLE:
        return unreachable(peer, doing, str(error.details() or "") if hasattr(error, "details") else "")
    if code == grpc.StatusCode.DEADLINE_EXCEEDED:
        return PeerError(
            "peer.timeout",
            f"{peer} did not answer in time{_while(doing)}.",
            "Look at that member's log; then try again.",
            party=peer,
        )
    if code == grpc.StatusCode.CANCELLED:
        return PeerError("peer.aborted", f"The call to {peer} was cancelled{_while(doing)}.", party=peer)
    return PeerError(
        "internal",
        f"{peer} failed{_while(doing)} ({code.name if code else 'no status'}).",
        "Its operator finds the reason in that member's log.",
        party=peer,
    )


def named(error: HejiError, party: str) -> HejiError:
    """An error that ``party`` told of itself, for others: who reads "the disk is full" has to know whose."""
    if isinstance(error, PeerError) or re.search(rf"\b{re.escape(party)}\b", error.message):
        return error
    return LocalError(error.code, f"{party}: {error.message}", error.advice, **{"party": party, **error.facts})


def unreachable(peer: str, doing: str = "", detail: str = "") -> PeerError:
    if any(word in detail.lower() for word in ("certificate", "handshake", "ssl")):
        return PeerError(
            "peer.identity",
            f"No secure connection to {peer}: its certificate is not the one in the roster, "
            f"or it does not accept ours{_while(doing)}.",
            "Compare the rosters of both members (`heji roster show`).",
            party=peer,
        )
    if "failed to connect" in detail and ("Socket closed" in detail or "Connection reset" in detail):
        # gRPC's servers say no more to a caller whose certificate they refuse, and the same when they are stopping
        return PeerError(
            "peer.unavailable",
            f"{peer} took the connection and ended it{_while(doing)}: it is stopping, or refuses our certificate.",
            "Try again; if it repeats, compare dates and rosters of both members (`heji node check`).",
            party=peer,
        )
    return PeerError(
        "peer.unavailable",
        f"{peer} cannot be reached{_while(doing)}.",
        f"Ask the operator of {peer} whether it runs (`heji node check`). Nothing is lost: once it does, look with "
        "`heji jobs list` whether the job goes on, and submit it again where it has failed or is not there.",
        party=peer,
    )


def is_transient(error: HejiError) -> bool:
    """Worth a new attempt with new keys: a member was away, restarted or slow."""
    return error.code in ("peer.unavailable", "peer.timeout", "peer.aborted")


def _while(doing: str) -> str:
    return f" while {doing}" if doing else ""
