"""Mutual TLS between members: every certificate is pinned by the roster, TLS 1.3 only.

A channel has the roster certificate of the member it goes to as its only root, and expects that member's name in it. A
server asks for a certificate, compares it with the roster byte for byte, and refuses older TLS versions itself, since
gRPC negotiates 1.2 as well.
"""

from __future__ import annotations

from typing import Any

import grpc
import grpc.aio

from mpc.errors import PeerError
from parties.identity import Identity
from parties.roster import Roster

#: a frame of 1 MiB and its header; nothing larger is read
MESSAGE_BYTES = (1 << 20) + (64 << 10)
Options = list[tuple[str, Any]]


def message_options() -> Options:
    """Channel and server options: bounded messages, keepalive."""
    return [
        ("grpc.max_receive_message_length", MESSAGE_BYTES),
        ("grpc.max_send_message_length", MESSAGE_BYTES),
        ("grpc.keepalive_time_ms", 20_000),
        ("grpc.keepalive_timeout_ms", 10_000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_recv_ping_interval_without_data_ms", 10_000),
        ("grpc.so_reuseport", 0),
    ]


def server_credentials(identity: Identity, roster: Roster) -> grpc.ServerCredentials:
    """Ours, and a client certificate of some member required."""
    roots = "".join(m.certificate for m in roster.members if not m.revoked).encode()
    return grpc.ssl_server_credentials([(identity.tls_key, identity.certificate)], roots, require_client_auth=True)


def channel(identity: Identity, roster: Roster, peer: str) -> grpc.aio.Channel:
    """A channel to ``peer`` at its roster address, under both members' pinned certificates."""
    member = roster.member(peer)
    ours = grpc.ssl_channel_credentials(member.certificate.encode(), identity.tls_key, identity.certificate)
    # names are not host names: the certificate carries the member's name, the roster its address
    options: Options = [
        *message_options(),
        ("grpc.ssl_target_name_override", peer),
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.min_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", 1000),
        ("grpc.use_local_subchannel_pool", 1),
    ]
    return grpc.aio.secure_channel(member.address, ours, options)


def peer_name(context: grpc.aio.ServicerContext[Any, Any], roster: Roster) -> str:
    """The member at the other end of a call. Raises PeerError peer.identity."""
    auth = context.auth_context()
    version = auth.get("ssl_tls_version", [b"an unknown TLS version"])[0]
    pem = auth.get("x509_pem_cert", [b""])[0]
    member = roster.by_certificate(pem)
    if member is None or member.revoked:
        raise PeerError("peer.identity", "The caller's certificate is not in the roster, or is revoked.",
                        "Compare the rosters of both members.", party=member.name if member else "")  # fmt: skip
    if version != b"TLSv1.3":
        raise PeerError("peer.identity", f"{member.name} called with {version.decode()}; TLS 1.3 is required.", party=member.name)
    return member.name
