"""``heji node check``: everything that has to be in order before a member serves, looked at without changing anything.

Works beside a running member, for nodes, coordinators and modelers alike. A peer that does not answer is told, but
is no fault of this member.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import shutil
import socket
import sqlite3
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding

from mpc.errors import HejiError
from mpc.policy.grants import Policy
from mpc.query.catalog import Table
from parties.card import MemberCard
from parties.config import MemberConfig, load_config
from parties.identity import CERTIFICATE, KEYS, TLS_KEY, load_identity
from parties.node.permission import read_policy
from parties.node.sources import source as sources
from parties.node.sources.canonical import canonical, names
from parties.node.sources.database import Tables
from parties.node.sources.reading import read
from parties.node.standing import FILE, read_standing
from parties.node.unknown_names import Known
from parties.roster import Roster

#: warn this long before keys expire, and below this much free disk
SOON, FREE_BYTES = dt.timedelta(days=30), 1 << 30
#: seconds to wait for a peer
PATIENCE = 3.0


@dataclass(frozen=True)
class Finding:
    """One thing looked at. ``ok`` False: it has to be mended first; ``advice`` says how, or what is worth knowing."""

    ok: bool
    what: str
    advice: str = ""


def check_member(folder: Path, now: int) -> list[Finding]:
    """All findings of the member in ``folder`` at Unix time ``now``; those after a broken base are left out."""
    try:
        config = load_config(folder)
        load_identity(folder)
    except HejiError as problem:
        return [_bad(problem)]
    found = [Finding(True, "keys are readable by their owner only and go together")]
    found += _guarded(lambda: _roster(folder, config, now))
    if config.listen:
        found += _disk(folder)
        found += _guarded(lambda: _stores(folder, now))
    if (folder / "catalog.json").exists():
        found += _guarded(lambda: _tables(folder))
    return found


def _guarded(look: Callable[[], Iterator[Finding]]) -> list[Finding]:
    """What ``look`` finds up to the first error, and the error."""
    found: list[Finding] = []
    try:
        found.extend(look())
    except HejiError as problem:
        found.append(_bad(problem))
    return found


def _bad(problem: HejiError) -> Finding:
    return Finding(False, problem.message, problem.advice)


# -- the others


def _roster(folder: Path, config: MemberConfig, now: int) -> Iterator[Finding]:
    roster = Roster.load(folder / "roster.json")
    roster.verify(now)
    mine = roster.current(config.name, now)
    if mine.certificate.encode() != load_identity(folder).certificate:
        yield Finding(
            False,
            f"the roster lists another certificate for {config.name} than the one in {KEYS}",
            "Hand the others this folder's card.json, and sign and install the new roster.",
        )
        return
    count = len(roster.members)
    yield Finding(True, f"roster version {roster.version} of {roster.consortium} is signed by all {count} members")
    today = dt.datetime.fromtimestamp(now, dt.UTC)
    yield Finding(True, f"this machine's clock says {today:%Y-%m-%d %H:%M} UTC, inside the roster's dates")
    for member in roster.members:
        yield from _dates(member, now)
    for member in roster.members:
        if member.name != config.name and member.address and not member.revoked:
            yield _peer(folder, member)


def _dates(member: MemberCard, now: int) -> Iterator[Finding]:
    if member.revoked:
        yield Finding(True, f"{member.name} is revoked")
        return
    until = dt.datetime.fromtimestamp(member.valid_until, dt.UTC)
    join = f"{member.name} makes new keys (`heji node init`) and hands over its card."
    if not member.valid_from <= now <= member.valid_until:
        yield Finding(False, f"{member.name}'s keys are not valid now (until {until:%Y-%m-%d})", join)
    elif now + SOON.total_seconds() > member.valid_until:
        yield Finding(True, f"{member.name}'s keys expire soon, on {until:%Y-%m-%d}: {join}")
    else:
        yield Finding(True, f"{member.name}'s keys are valid until {until:%Y-%m-%d}")


def _peer(folder: Path, member: MemberCard) -> Finding:
    """Whether the member answers at its roster address with its roster certificate, and takes ours."""
    host, _, port = member.address.rpartition(":")
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    tls.minimum_version = ssl.TLSVersion.TLSv1_3
    tls.set_alpn_protocols(["h2"])
    tls.load_verify_locations(cadata=member.certificate)
    tls.load_cert_chain(folder / KEYS / CERTIFICATE, folder / KEYS / TLS_KEY)
    fingerprint = member.fingerprint()
    try:
        with (
            socket.create_connection((host.strip("[]"), int(port)), PATIENCE) as plain,
            tls.wrap_socket(plain, server_hostname=member.name) as secured,
        ):
            shown = secured.getpeercert(binary_form=True)
            secured.settimeout(PATIENCE)
            if not _accepted(secured):
                return Finding(
                    False,
                    f"{member.name} shows the roster's certificate and ends the connection: it does not accept ours",
                    "Compare the rosters of both members (`heji roster show`), and their clocks.",
                )
    except ssl.SSLError as problem:
        reason = (problem.reason or "TLS failed").lower().replace("_", " ")
        return Finding(
            False,
            f"{member.name} does not show the roster's certificate, or does not take ours: {reason}",
            "Compare the rosters of both members (`heji roster show`).",
        )
    except OSError:
        return Finding(True, f"{member.name} does not answer at {member.address} now, so it was not compared")
    if shown != member.x509().public_bytes(Encoding.DER):
        return Finding(
            False,
            f"{member.name} at {member.address} shows another certificate than the roster's",
            "Compare the rosters of both members (`heji roster show`).",
        )
    return Finding(True, f"{member.name} answers with the roster's certificate, {fingerprint[:16]}…")


def _accepted(secured: ssl.SSLSocket) -> bool:
    """In TLS 1.3 a refused client certificate shows only now: instead of HTTP/2's settings an alert or the end."""
    try:
        return bool(secured.recv(1))
    except ConnectionResetError:
        return False


# -- this machine


def _disk(folder: Path) -> list[Finding]:
    free = shutil.disk_usage(folder).free
    size = f"{free / (1 << 30):.1f} GiB free on the disk"
    if free < FREE_BYTES:
        return [Finding(False, size, "Make room: a member whose disk is full stops taking jobs.")]
    return [Finding(True, size)]


def _stores(folder: Path, now: int) -> Iterator[Finding]:
    for path in sorted((folder / "state").glob("*.db")):
        # a store that was closed has no log beside it; opened as usual it would get one
        how = "mode=ro" if path.with_name(f"{path.name}-wal").exists() else "mode=ro&immutable=1"
        try:
            with contextlib.closing(sqlite3.connect(f"{path.resolve().as_uri()}?{how}", uri=True)) as database:
                sound = database.execute("PRAGMA quick_check").fetchone()[0] == "ok"
                latest = database.execute("SELECT coalesce(max(updated), 0) FROM jobs").fetchone()[0]
        except sqlite3.Error:
            sound, latest = False, 0
        restore = "Stop the member, keep the file aside, restore the state folder from the backup."
        yield Finding(sound, f"{path.name} is {'sound' if sound else 'damaged'}", "" if sound else restore)
        if sound and path.name == "node.db":
            yield from _stopped(path, how)
        if latest > now:
            yield Finding(False, f"{path.name} has jobs from the future", "Set this machine's clock right.")


def _stopped(path: Path, how: str) -> Iterator[Finding]:
    """That the node is stopped is no fault, and worth knowing."""
    with (
        contextlib.suppress(sqlite3.Error),  # a store that never served with this version
        contextlib.closing(sqlite3.connect(f"{path.resolve().as_uri()}?{how}", uri=True)) as database,
    ):
        for person, at in database.execute("SELECT person, at FROM stops WHERE resumed IS NULL"):
            day = dt.datetime.fromtimestamp(at, dt.UTC)
            yield Finding(True, f"the node is STOPPED since {day:%Y-%m-%d %H:%M} UTC by {person} (heji node resume)")


def _tables(folder: Path) -> Iterator[Finding]:
    catalog = Tables(folder).catalog()
    for table in catalog.tables:
        try:
            yield _table(folder, table)
        except HejiError as problem:
            yield Finding(False, f"table {table.name}: {problem.message}", problem.advice)
    policy = read_policy(folder)
    yield Finding(True, f"policy.toml has {len(policy.grants)} grant{'' if len(policy.grants) == 1 else 's'}")
    yield from _unknown(folder, policy)


def _table(folder: Path, table: Table) -> Finding:
    """Opens the source, reads it as a job would, and holds it against types, bounds and the published row count."""
    rows = canonical(read(sources.load(folder, table.name), names(table.columns)), table).num_rows
    if rows > table.rows:
        return Finding(True, f"table {table.name} has grown past the {table.rows} rows published: publish it again")
    return Finding(True, f"table {table.name} is as published: columns, types, bounds, rows")


def _unknown(folder: Path, policy: Policy) -> Iterator[Finding]:
    known = Known.of(folder)
    for grant, what in known.unknown_in(policy):
        yield Finding(
            False, f"policy.toml, line {grant.line}: the grant names {what}", "Mend the name; it does nothing now."
        )
    standing = read_standing(folder)
    if standing:
        yield Finding(True, f"{FILE} has {len(standing)} standing approval{'' if len(standing) == 1 else 's'}")
    for s in standing:
        if nobody := known.strangers(s):
            names = ", ".join(nobody)
            yield Finding(False, f"{FILE}: no member is called {names}", f"No job runs by {s.name!r}: mend the name.")
