"""PostgreSQL, against a server of the Debian package that these tests start: as a user that is not root, in a folder of
its own, on a loopback port, stopped whatever happens. Skipped, with the reason, where the package is not installed
(.ci/run installs it)."""

from __future__ import annotations

import datetime as dt
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import adbc_driver_manager as adbc
import adbc_driver_postgresql.dbapi as driver
import pytest

from mpc.query.catalog import Column
from parties.node.sources import reading
from parties.node.sources.database import Tables
from parties.node.sources.inference import Declared, infer
from parties.node.tables import add_table
from tests.parties.node import CANARY_TEXT, everything_of, member_folder, raw, refused, rows

PASSWORD = "hunter2-canary"
BIG, SMALL = Decimal("9999999999999999999999999999.9999999999"), Decimal("-0.0000000001")
FIRMS = f"""
CREATE SCHEMA tax;
CREATE TYPE tax.size AS ENUM ('small', 'large');
CREATE TABLE tax.firms (uscc text NOT NULL, region char(6), paid numeric(38,10), fen bigint, staff int,
                        huge numeric(30), founded date, active boolean, rate double precision, size tax.size);
INSERT INTO tax.firms VALUES
  ('91310000A', '310000', {BIG}, 9223372036854775807, 12, 123456789012345678901234567890,
   '1999-12-31', true, 0.25, 'small'),
  ('91310000B', '001200', {SMALL}, -9007199254740993, NULL, -1, '2024-02-29', false, 1.5, 'large'),
  ('{CANARY_TEXT}', NULL, NULL, NULL, 3, NULL, NULL, NULL, NULL, NULL);
CREATE TABLE tax.odd (n numeric, t timestamptz, j json, a int[]);
INSERT INTO tax.odd VALUES ('NaN', now(), '{{}}', '{{1}}');
"""


def binaries() -> Path | None:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda p: int(p.parts[4]))
    return found[-1].parent if found else None


def as_nobody_special() -> dict[str, object]:
    """PostgreSQL refuses to run as root: how to start it as somebody else."""
    if os.geteuid() != 0:
        return {}
    for name in ("postgres", "nobody"):
        try:
            user = pwd.getpwnam(name)
        except KeyError:
            continue
        return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    pytest.skip("no user 'postgres' or 'nobody' to run PostgreSQL as")


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The URI of a running server with the tables above."""
    where = binaries()
    if where is None:
        pytest.skip("PostgreSQL is not installed: `bash .ci/postgres.sh` installs Debian's package")
    who = as_nobody_special()
    # not pytest's own folder: others may not enter that
    folder = Path(tempfile.mkdtemp(prefix="heji-pg-", dir="/tmp"))
    try:
        if who:
            os.chown(folder, who["user"], who["group"])  # type: ignore[arg-type]
        yield from running(where, folder, who)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def running(where: Path, folder: Path, who: dict[str, object]) -> Iterator[str]:
    how: dict[str, object] = {
        "cwd": folder,
        "env": {"LC_ALL": "C.UTF-8", "PATH": "/usr/bin:/bin"},
        "check": True,
        "stdout": subprocess.DEVNULL,
        "stderr": subprocess.DEVNULL,
        **who,
    }
    data, secret = folder / "data", folder / "password"
    secret.write_text(PASSWORD + "\n")
    secret.chmod(0o644)
    subprocess.run(
        [where / "initdb", "-D", data, "-U", "heji", "-E", "UTF8", "-A", "scram-sha-256", f"--pwfile={secret}", "-N"],
        **how,
    )  # type: ignore[call-overload]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    control = [where / "pg_ctl", "-D", data, "-w", "-t", "60", "-l", folder / "log"]
    options = f"-c listen_addresses=127.0.0.1 -p {port} -c unix_socket_directories='' -c fsync=off"
    try:
        subprocess.run([*control, "-o", options, "start"], **how)  # type: ignore[call-overload]
        uri = f"postgresql://heji:{PASSWORD}@127.0.0.1:{port}/postgres"
        with driver.connect(uri) as connection, connection.cursor() as cursor:
            for statement in filter(str.strip, FIRMS.split(";\n")):
                cursor.execute(statement)
            connection.commit()
        yield uri
    finally:
        subprocess.run([*control, "-m", "immediate", "stop"], **{**how, "check": False})  # type: ignore[call-overload]


PAID = Column("paid", "decimal", 10, -(10**38) + 1, 10**38 - 1)


def test_every_digit_of_a_numeric(server: str) -> None:
    assert rows(server, PAID, table="tax.firms") == [(BIG,), (SMALL,), (None,)]


def test_inferred_types_hold(server: str) -> None:
    table = raw(server, sql="SELECT uscc, region, paid, fen, staff, huge, founded, active, rate FROM tax.firms")
    columns, _ = infer(table, Declared(keys=["uscc"]))
    assert [(c.name, c.kind, c.scale) for c in columns] == [
        ("uscc", "text", 0),
        ("region", "text", 0),
        ("paid", "decimal", 10),
        ("fen", "integer", 0),
        ("staff", "integer", 0),
        ("huge", "integer", 0),
        ("founded", "date", 0),
        ("active", "boolean", 0),
        ("rate", "decimal", 2),
    ]
    assert rows(server, *columns, table="tax.firms")[:2] == [
        (
            "91310000A",
            "310000",
            BIG,
            2**63 - 1,
            12,
            123456789012345678901234567890,
            dt.date(1999, 12, 31),
            True,
            Decimal("0.25"),
        ),
        ("91310000B", "001200", SMALL, -9007199254740993, None, -1, dt.date(2024, 2, 29), False, Decimal("1.50")),
    ]


def test_sql_of_the_owner(server: str) -> None:
    sql = "SELECT paid::numeric(38,10) AS paid FROM tax.firms WHERE uscc ILIKE '%b'; -- one firm"
    assert rows(server, PAID, sql=sql) == [(SMALL,)]


def test_a_table_is_published_and_read_anew_for_every_job(server: str, tmp_path: Path) -> None:
    folder = member_folder(tmp_path / "tax")
    made = add_table(folder, server, sql="SELECT uscc, staff, founded FROM tax.firms", name="firms", keys=["uscc"])
    assert [c.name for c in made.table.columns] == ["uscc", "staff", "founded"]
    assert PASSWORD not in repr(made) and PASSWORD not in (folder / "catalog.json").read_text()
    assert (folder / "tables" / "firms.json").stat().st_mode & 0o077 == 0
    tables = Tables(folder)
    with tables.open(["firms"]) as database:
        assert list(database.run("SELECT sum(staff)::BIGINT AS n FROM firms")["n"]) == [15]
        first = database.snapshot(b"")
    assert not tables._cache
    with tables.open(["firms"]) as database:
        assert database.snapshot(b"") == first


def test_more_digits_than_the_scale_and_nan_are_refused(server: str) -> None:
    with refused("data.bounds", "0000000001", "99999", says=("t.paid",)):
        rows(server, Column("paid", "decimal", 2, -(10**37), 10**37), table="tax.firms")
    with refused("data.bounds", "NaN", says=("t.n",)):
        rows(server, Column("n", "decimal", 2, -(10**37), 10**37), sql="SELECT n FROM tax.odd")


@pytest.mark.parametrize(
    ("sql", "code"),
    [
        ("SELECT a FROM tax.odd", "data.type"),
        ("SELECT uscc::bytea AS b FROM tax.firms", "data.type"),
        ("SELECT nothing FROM tax.firms", "data.source"),
        ("SELECT uscc::int FROM tax.firms", "data.source"),
        ("SELECT 1 / (staff - 3) FROM tax.firms", "data.source"),
    ],
)
def test_what_cannot_be_read_is_refused_without_values(server: str, sql: str, code: str) -> None:
    with refused(code, PASSWORD, "Canary", "91310000A"):
        infer(raw(server, sql=sql), Declared())


WRITING = [
    "INSERT INTO tax.firms (uscc) VALUES ('x')",
    "DELETE FROM tax.firms",
    "CREATE TABLE x (a int)",
    "DROP TABLE tax.firms",
    "SELECT * INTO x FROM tax.firms",
    "SELECT uscc FROM tax.firms FOR UPDATE",
    "TRUNCATE tax.firms",
]


@pytest.mark.parametrize("sql", WRITING)
def test_the_session_can_only_read(server: str, sql: str) -> None:
    with (
        reading.postgresql_session(server) as connection,
        connection.cursor() as cursor,
        pytest.raises(adbc.Error, match="read-only"),
    ):
        cursor.execute(sql).fetchall()
    with refused("data.source", PASSWORD):
        raw(server, sql=sql)


def test_a_select_cannot_make_its_session_writable(server: str) -> None:
    with pytest.raises(Exception) as caught:
        raw(server, sql="SELECT set_config('transaction_read_only', 'off', false) AS a, nextval('tax.no') AS b")
    assert PASSWORD not in everything_of(caught.value)
    with refused("data.source"):
        raw(server, sql="SELECT lo_create(0)::text AS a, set_config('transaction_read_only', 'off', true) AS b")


def test_tables_that_are_not_there(server: str) -> None:
    with refused("data.source", PASSWORD, says=("no such database, table or column",)):
        raw(server, table="tax.nothing")


@pytest.mark.parametrize(
    "change",
    [
        ("hunter2-canary", "wrong-canary"),
        ("heji:", "nobody-canary:"),
        ("/postgres", "/nowhere"),
        ("127.0.0.1:", "127.0.0.1:1"),
        ("hunter2-canary", "hunter2-canary%zz"),
    ],
)
def test_logins_that_fail_show_no_password(server: str, change: tuple[str, str]) -> None:
    with refused("data.source", "canary", says=("cannot be read",)):
        raw(server.replace(*change), table="tax.firms")
