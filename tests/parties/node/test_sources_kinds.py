"""Parquet, DuckDB and SQLite: what each format does to numbers, and which questions it is never asked."""

from __future__ import annotations

import sqlite3
from decimal import Decimal
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mpc.query.catalog import Column
from parties.node.sources import reading
from parties.node.sources.inference import Declared, infer
from parties.node.sources.source import TableSource, load, one_select, parse_location, save
from tests.parties.node import CANARY_NUMBER, CANARY_TEXT, raw, refused, rows

BIG = Decimal("9999999999999999.99")
AMOUNT = Column("amount", "decimal", 2, -(10**30), 10**30)


@pytest.fixture
def csv_file(tmp_path: Path) -> Path:
    path = tmp_path / "t.csv"
    path.write_text(f"name,amount\n{CANARY_TEXT},1.00\nb,{BIG}\n")
    return path


@pytest.fixture
def parquet_file(tmp_path: Path) -> Path:
    path = tmp_path / "t.parquet"
    pq.write_table(
        pa.table({"name": ["a", "b"], "amount": pa.array([Decimal("1.00"), BIG], pa.decimal128(20, 2))}), path
    )
    return path


@pytest.fixture
def duckdb_file(tmp_path: Path) -> Path:
    path = tmp_path / "t.duckdb"
    with duckdb.connect(str(path)) as database:
        database.execute("CREATE SCHEMA s")
        database.execute(
            f"CREATE TABLE s.t AS SELECT * FROM (VALUES ('a', 1.00::DECIMAL(20,2)), ('b', {BIG})) v(name, amount)"
        )
    return path


@pytest.fixture
def sqlite_file(tmp_path: Path) -> Path:
    path = tmp_path / "t.db"
    run(path, "CREATE TABLE t (name TEXT, amount TEXT)", f"INSERT INTO t VALUES ('a', '1.00'), ('b', '{BIG}')")
    return path


def run(path: Path, *statements: str) -> None:
    connection = sqlite3.connect(path)
    with connection:
        for s in statements:
            connection.execute(s)
    connection.close()


@pytest.mark.parametrize(
    ("fixture", "prefix", "table", "name"),
    [
        ("csv_file", "", None, "source"),
        ("parquet_file", "", None, "source"),
        ("duckdb_file", "", "s.t", "s.t"),
        ("sqlite_file", "sqlite:", "t", "t"),
    ],
)
def test_exact_decimals_and_sql_of_each_kind(
    request: pytest.FixtureRequest, fixture: str, prefix: str, table: str | None, name: str
) -> None:
    place = f"{prefix}{request.getfixturevalue(fixture)}"
    how = {} if table is None else {"table": table}
    assert rows(place, AMOUNT, **how) == [(Decimal("1.00"),), (BIG,)]
    sql = f"WITH w AS (SELECT amount FROM {name} WHERE name = 'b') SELECT amount FROM w; -- the large one"
    assert rows(place, AMOUNT, sql=sql) == [(BIG,)]


HOSTILE = [
    "COPY (SELECT 1) TO '/tmp/heji-hostile.csv'",
    "COPY source FROM '/etc/passwd'",
    "ATTACH '/tmp/heji-hostile.db'",
    "EXPORT DATABASE '/tmp/heji-hostile'",
    "INSTALL httpfs",
    "LOAD httpfs",
    "PRAGMA database_list",
    "SET threads = 1",
    "SELECT 1; SELECT 2",
    "SELECT 1; DROP TABLE t",
    "DELETE FROM t",
    "DROP TABLE t",
    "CREATE TABLE x AS SELECT 1",
    "INSERT INTO t VALUES (1)",
    "UPDATE t SET amount = 0",
    "VACUUM",
    "CALL pragma_version()",
    "CHECKPOINT",
    "SELECT * INTO x FROM t",
    "WITH w AS (DELETE FROM t RETURNING *) SELECT * FROM w",
    "",
    "  -- nothing",
    "SELECT 'unfinished",
    "SELECT ((",
    "EXPLAIN ANALYZE SELECT 1",
    "DESCRIBE t",
    "USE memory",
    "BEGIN",
    "GRANT ALL ON t TO public",
    "CREATE SECRET s (TYPE s3)",
    "IMPORT DATABASE '/tmp/x'",
    "DETACH memory",
    "EXECUTE p",
    "PREPARE p AS SELECT 1",
]


@pytest.mark.parametrize("sql", HOSTILE)
@pytest.mark.parametrize("kind", ["duckdb", "sqlite", "postgresql"])
def test_sql_that_is_not_one_select_is_refused(sql: str, kind: str) -> None:
    with refused("data.source"):
        one_select(sql, kind)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "sql",
    ["SELECT 1", "select 1;", "WITH a AS (SELECT 1 AS x) SELECT * FROM a", "SELECT 1 UNION ALL SELECT 2", "(SELECT 1)"],
)
def test_sql_that_is_one_select_passes(sql: str) -> None:
    assert one_select(sql, "duckdb")


OUTSIDE = [
    "SELECT * FROM read_csv('/etc/passwd')",
    "SELECT * FROM read_text('/etc/passwd')",
    "SELECT * FROM '/etc/passwd'",
    "SELECT * FROM read_blob('/etc/*')",
    "SELECT * FROM glob('/etc/*')",
    "SELECT * FROM sniff_csv('/etc/passwd')",
    "SELECT (SELECT content FROM read_text('/etc/passwd')) AS amount",
    "SELECT * FROM read_parquet('https://example.com/x.parquet')",
    "SELECT * FROM query('SELECT * FROM read_text(''/etc/passwd'')')",
    "SELECT * FROM sqlite_scan('/tmp/x', 't')",
    "SELECT * FROM raw",
    "SELECT * FROM table",
    "SELECT * FROM problem",
]


@pytest.mark.parametrize("sql", OUTSIDE)
@pytest.mark.parametrize("fixture", ["csv_file", "parquet_file", "duckdb_file"])
def test_sql_reaches_nothing_but_the_source(request: pytest.FixtureRequest, fixture: str, sql: str) -> None:
    with refused("data.source", "root:"):
        raw(request.getfixturevalue(fixture), sql=sql)


def test_sql_that_slips_past_the_first_check_meets_the_second(
    csv_file: Path, duckdb_file: Path, tmp_path: Path
) -> None:
    """Two parsers read the owner's SQL; what only DuckDB understands as a writing statement is refused by DuckDB's."""
    for sql in (
        "COPY (SELECT 1) TO 'x.csv'",
        "SELECT 1; SELECT 2",
        "CREATE TABLE x AS SELECT 1",
        "ATTACH ':memory:' AS y",
    ):
        for kind, path in (("csv", csv_file), ("duckdb", duckdb_file)):
            with refused("data.source"):
                reading.read(TableSource(kind, str(path), sql=sql))  # type: ignore[arg-type]


def test_a_duckdb_file_is_opened_read_only(duckdb_file: Path) -> None:
    before = duckdb_file.read_bytes()
    raw(duckdb_file, table="s.t")
    assert duckdb_file.read_bytes() == before


def test_sqlite_is_opened_read_only(sqlite_file: Path) -> None:
    import adbc_driver_manager as adbc

    with (
        reading.sqlite_session(str(sqlite_file)) as connection,
        connection.cursor() as cursor,
        pytest.raises(adbc.Error),
    ):
        cursor.execute("INSERT INTO t VALUES ('c', '3.00')")


@pytest.mark.parametrize("name", ["with space.db", "a?b.db", "100%25.db", "a#b.db", "金额.db"])
def test_sqlite_files_of_any_name(tmp_path: Path, name: str) -> None:
    run(tmp_path / name, "CREATE TABLE t (amount TEXT)", "INSERT INTO t VALUES ('1.00')")
    assert rows(f"sqlite:{tmp_path / name}", AMOUNT, table="t") == [(Decimal("1.00"),)]


def test_sqlite_decimals_in_real_columns(tmp_path: Path) -> None:
    path = tmp_path / "t.db"
    run(
        path,
        "CREATE TABLE t (amount DECIMAL(20,2))",
        "INSERT INTO t VALUES (1.5), (-1234567890123.45), (0.1), (7), (1e-2), (NULL), (-0.0)",
    )
    found = [r[0] for r in rows(f"sqlite:{path}", AMOUNT, table="t")]
    assert found == [
        Decimal("1.5"),
        Decimal("-1234567890123.45"),
        Decimal("0.1"),
        Decimal(7),
        Decimal("0.01"),
        None,
        Decimal(0),
    ]
    columns, _ = infer(raw(f"sqlite:{path}", table="t"), Declared())
    assert (columns[0].kind, columns[0].scale) == ("decimal", 2)


@pytest.mark.parametrize(
    "value", ["99999999999999.99", "0.1 + 0.2", "1e300", "9e999", "1e15 + 0.5", "12345678901234567890.0"]
)
def test_sqlite_reals_that_hold_no_exact_decimal_are_refused_with_advice(tmp_path: Path, value: str) -> None:
    path = tmp_path / "t.db"
    run(path, "CREATE TABLE t (name TEXT, amount REAL)", f"INSERT INTO t VALUES ('a', 1.5), ('b', {value})")
    with refused("data.type", "99999999", "0.300000", "e+300", "12345", says=("amount", "REAL", "TEXT", "--sql")):
        raw(f"sqlite:{path}", table="t")
    assert raw(f"sqlite:{path}", sql="SELECT name FROM t").num_rows == 2


def test_sqlite_integers_dates_and_nulls_first(tmp_path: Path) -> None:
    """ADBC guesses a column's type from its first rows: a long run of NULLs must not make it a number."""
    path = tmp_path / "t.db"
    run(path, "CREATE TABLE t (i INTEGER, day TEXT, late TEXT)")
    connection = sqlite3.connect(path)
    with connection:
        connection.executemany("INSERT INTO t VALUES (?, ?, ?)", [(2**62 + k, "2024-02-29", None) for k in range(3000)])
        connection.execute("INSERT INTO t VALUES (NULL, NULL, '0071')")
    connection.close()
    table = raw(f"sqlite:{path}", table="t")
    assert table.num_rows == 3001
    assert table.column("late").to_pylist()[-2:] == [None, "0071"]
    columns, _ = infer(table, Declared())
    assert [(c.kind, c.nullable) for c in columns] == [("integer", True), ("date", True), ("text", True)]
    assert rows(f"sqlite:{path}", Column("i", "integer", 0, 0, 2**63 - 1), table="t")[:2] == [(2**62,), (2**62 + 1,)]


def test_sqlite_blobs_and_broken_text_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.db"
    run(path, "CREATE TABLE t (a)", "INSERT INTO t VALUES (x'fffe')")
    with refused("data.type", says=("a ", "--sql")):
        raw(f"sqlite:{path}", table="t")
    with refused("data.source"):
        raw(f"sqlite:{path}", sql="SELECT CAST(x'fffe' AS TEXT) AS a")


def test_an_empty_sqlite_table(tmp_path: Path) -> None:
    run(tmp_path / "t.db", "CREATE TABLE t (amount TEXT)")
    assert rows(f"sqlite:{tmp_path / 't.db'}", AMOUNT, table="t") == []


@pytest.mark.parametrize(("fixture", "prefix"), [("duckdb_file", ""), ("sqlite_file", "sqlite:")])
def test_tables_that_are_not_there(request: pytest.FixtureRequest, fixture: str, prefix: str) -> None:
    place = f"{prefix}{request.getfixturevalue(fixture)}"
    with refused("data.source", says=("no such table",)):
        raw(place, table="nowhere")
    with refused("data.source", says=("--table T",)):
        raw(place)


def test_files_that_are_not_what_they_are_called(tmp_path: Path) -> None:
    for name in ("t.parquet", "t.duckdb", "t.db"):
        (tmp_path / name).write_text(f"{CANARY_TEXT} {CANARY_NUMBER}\n" * 200)
    for place, table in (("t.parquet", None), ("t.duckdb", "t"), ("t.db", "t")):
        with refused("data.source", "Canary", CANARY_NUMBER):
            raw(f"{'sqlite:' if place == 't.db' else ''}{tmp_path / place}", **({"table": table} if table else {}))


def test_parquet_of_every_type(tmp_path: Path) -> None:
    pq.write_table(
        pa.table(
            {
                "x": pa.array([1, 2]).dictionary_encode(),
                "s": pa.array(["a", "b"]).dictionary_encode(),
                "n": pa.array([{"y": 1}] * 2),
            }
        ),
        tmp_path / "t.parquet",
    )
    with refused("data.type", says=("n ", "--sql")):
        raw(tmp_path / "t.parquet")
    assert raw(tmp_path / "t.parquet", sql="SELECT x, s, n.y AS y FROM source").to_pylist()[0] == {
        "x": 1,
        "s": "a",
        "y": 1,
    }


def test_parquet_decimals_of_256_bits(tmp_path: Path) -> None:
    pq.write_table(pa.table({"amount": pa.array([BIG], pa.decimal256(50, 2))}), tmp_path / "t.parquet")
    assert rows(tmp_path / "t.parquet", AMOUNT) == [(BIG,)]
    pq.write_table(pa.table({"amount": pa.array([Decimal(10**45)], pa.decimal256(50, 2))}), tmp_path / "t.parquet")
    with refused("data.type", "1000000", says=("amount", "38 digits")):
        raw(tmp_path / "t.parquet")


def test_a_source_is_kept_readable_by_its_owner_only(tmp_path: Path) -> None:
    source = TableSource("postgresql", "postgresql://u:secret@h/d", table="s.t")
    save(tmp_path, "t", source)
    kept = tmp_path / "tables" / "t.json"
    assert kept.stat().st_mode & 0o077 == 0 and kept.parent.stat().st_mode & 0o077 == 0
    assert load(tmp_path, "t") == source
    kept.write_text("{")
    with refused("data.source", "secret"):
        load(tmp_path, "t")


@pytest.mark.parametrize(
    "location",
    [
        "postgresql://tax:hunter2@db.example:5432/d",
        "postgres://tax:hunter2@db.example/d?sslmode=require",
        "postgresql://tax:a@hunter2@db.example/d",
        "postgresql://tax:a/hunter2@db.example/d",
        "postgresql://tax:a?hunter2@db.example/d",
        "postgresql://db.example/d?user=tax&password=hunter2",
        "postgresql://db.example/d?application_name=a@b&password=hunter2",
        "postgresql:///d?password=hunter2",
        "postgresql:dbname=d password=hunter2",
        "postgre://tax:hunter2@db.example/d",
        "mysql://tax:hunter2@db.example/d",
        "postgresql://tax:hunter2%zz@db.example/d",
    ],
)
def test_passwords_never_show(location: str) -> None:
    from parties.node.sources.source import unreadable

    source = TableSource("postgresql", location, table="t")
    shown = f"{source!r} {source} {source.described()} {unreadable(source, 'x')!r} {unreadable(source, 'x')}"
    assert "hunter2" not in shown
    try:
        reading.read(parse_location(location, table="t", sql=None, encoding=None))
    except Exception as problem:
        from tests.parties.node import everything_of

        assert "hunter2" not in everything_of(problem)
