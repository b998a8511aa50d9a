"""Mutual TLS between members: every certificate is pinned by the roster, TLS 1.3 only.

A channel has the roster certificate of the member it goes to as its only root, and expects that member's name in it. A
server asks for a certificate, compares it with the roster byte for byte, and refuses older TLS versions itself, since
gRPC negotiates 1.2 as well (``ssl_tls_version`` of the auth context says "TLSv1.3").
"""

from __future__ import annotations

import ipaddress
from typing import Any

import grpc
import grpc.aio

from mpc.errors import LocalError, PeerError
from parties import clock
from parties.config import MESSAGE_BYTES
from parties.identity import Identity
from parties.roster import Roster

Options = list[tuple[str, Any]]


def message_options() -> Options:
    """Channel and server options: bounded messages, keepalive.

    A ping every 20 s notices a dead peer behind a silent firewall; the server's limit has to allow them (its default is
    one in 5 minutes, and GOAWAY for whoever asks more often, in the middle of a long wait).
    """
    return [
        ("grpc.max_receive_message_length", MESSAGE_BYTES),
        ("grpc.max_send_message_length", MESSAGE_BYTES),
        ("grpc.keepalive_time_ms", 20_000),
        ("grpc.keepalive_timeout_ms", 10_000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.max_pings_without_data", 0),
        ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
        ("grpc.so_reuseport", 0),
    ]


def server_credentials(identity: Identity, roster: Roster) -> grpc.ServerCredentials:
    """Ours, and a client certificate of some member required."""
    roots = "".join(m.certificate for m in roster.members if not m.revoked).encode()
    return grpc.ssl_server_credentials([(identity.tls_key, identity.certificate)], roots, require_client_auth=True)


def channel(identity: Identity, roster: Roster, peer: str) -> grpc.aio.Channel:
    """A channel to ``peer`` at its roster address, under both members' pinned certificates.

    Raises LocalError roster.unknown, or roster.invalid for a member that is revoked, expired or serves nothing.
    """
    member = roster.current(peer, clock.now())
    if not member.address:
        raise LocalError(
            "roster.invalid", f"The roster has no address of {peer}.", f"{peer} serves nothing: it calls others."
        )
    ours = grpc.ssl_channel_credentials(member.certificate.encode(), identity.tls_key, identity.certificate)
    options: Options = [
        *message_options(),
        # names are not host names: the certificate carries the member's name, the roster its address
        ("grpc.ssl_target_name_override", peer),
        # a member that was started again is found within half a second; the middle one bounds a single attempt
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.min_reconnect_backoff_ms", 5000),
        ("grpc.max_reconnect_backoff_ms", 500),
        ("grpc.use_local_subchannel_pool", 1),
    ]
    if _is_loopback(member.address):
        options.append(("grpc.enable_http_proxy", 0))  # $http_proxy is for the way out, not for this machine
    return grpc.aio.secure_channel(member.address, ours, options)


def peer_name(context: grpc.aio.ServicerContext[Any, Any], roster: Roster, at: int | None = None) -> str:
    """The member at the other end of a call, at a time in Unix seconds (else now). Raises PeerError peer.identity."""
    auth = context.auth_context() or {}
    version = _first(auth.get("ssl_tls_version")).decode("ascii", "replace") or "an unknown TLS version"
    member = roster.by_certificate(_first(auth.get("x509_pem_cert")))
    if member is None:
        raise PeerError(
            "peer.identity",
            "The caller's certificate is not in the roster.",
            "Compare the rosters of both members (`heji roster show`).",
            party="",
        )
    if version != "TLSv1.3":
        raise PeerError(
            "peer.identity",
            f"{member.name} called with {version}; TLS 1.3 is required.",
            "Update its software, or whatever stands between the two.",
            party=member.name,
        )
    try:
        return roster.current(member.name, clock.now() if at is None else at).name
    except LocalError as problem:
        raise PeerError("peer.identity", problem.message, problem.advice, party=member.name) from None


def _first(values: Any) -> bytes:
    """The only value of an entry of the auth context; several certificates or versions are none."""
    values = list(values or ())
    return bytes(values[0]) if len(values) == 1 else b""


def _is_loopback(address: str) -> bool:
    host = address.rpartition(":")[0].strip("[]")
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
