"""The locked database of local queries: what it can reach, what it says when it fails, what it keeps in memory."""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import threading
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mpc.query.catalog import Catalog, Column, Table
from parties.node.sources import database as module
from parties.node.sources.database import LocalDatabase, Tables, _Cached, _column
from parties.node.tables import add_table
from tests.parties.node import CANARY_NUMBER, CANARY_TEXT, everything_of, member_folder, refused


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A member with ``t`` of three rows in CSV."""
    (tmp_path / "t.csv").write_text(f"name,amount,region\n{CANARY_TEXT},{CANARY_NUMBER},001\nb,-2.50,001\nc,,002\n")
    made = member_folder(tmp_path / "tax")
    add_table(made, str(tmp_path / "t.csv"), domains={"region": "001,002"})
    return made


def total(tables: Tables) -> int:
    """SUM(amount) in units."""
    with tables.open(["t"]) as database:
        low, high = database.run("SELECT CAST(sum(amount) AS DECIMAL(38, 2)) AS w FROM t")["w"][0]
    value = (int(high) << 64) + int(low)
    return value - (1 << 128) if value >> 127 else value


def test_a_local_query(folder: Path) -> None:
    with Tables(folder).open(["t"]) as database:
        answer = database.run("SELECT region AS k0, count(*) AS n FROM t GROUP BY region ORDER BY region")
    assert answer["k0"] == ["001", "002"] and list(answer["n"]) == [2, 1]
    assert total(Tables(folder)) == 867530692


FORBIDDEN = [
    "SELECT content AS k FROM read_text('/etc/passwd')",
    "SELECT * FROM read_csv('{csv}')",
    "SELECT * FROM '{csv}'",
    "SELECT * FROM read_parquet('{csv}')",
    "SELECT * FROM glob('/etc/*')",
    "COPY t TO '{out}'",
    "COPY (SELECT 1) TO '{out}'",
    "COPY t FROM '{csv}'",
    "EXPORT DATABASE '{out}'",
    "ATTACH '{out}' AS x",
    "ATTACH '{csv}' AS x",
    "INSTALL httpfs",
    "LOAD httpfs",
    "SET enable_external_access = true",
    "SET threads = 9",
    "RESET lock_configuration",
    "SET lock_configuration = false",
    "PRAGMA memory_limit = '9GB'",
    "SET temp_directory = '/tmp'",
    "CREATE SECRET s (TYPE s3)",
    "SELECT * FROM other",
    "SELECT (",
    "SELECT CAST(name AS BIGINT) AS k FROM t",
    "SELECT error(name) AS k FROM t",
    "SELECT amount AS w FROM t",
    "SELECT avg(amount) AS w FROM t",
    "SELECT sum(amount) * 1e30::DECIMAL(38,0) AS w FROM t",
    "SELECT self AS k FROM self",
    "SELECT name AS w FROM t",
    "SELECT 18446744073709551615::UBIGINT AS n",
    "SELECT 0.1::DOUBLE AS n",
    "",
    "CHECKPOINT nowhere",
]


@pytest.mark.parametrize("sql", FORBIDDEN)
def test_any_failure_says_the_same_and_no_more(folder: Path, tmp_path: Path, sql: str) -> None:
    out = tmp_path / "out"
    with Tables(folder).open(["t"]) as database, pytest.raises(Exception) as caught:
        database.run(sql.format(csv=tmp_path / "t.csv", out=out))
    assert not out.exists()
    problem = caught.value
    assert str(problem) == "local query failed" and problem.code == "data.local_query"  # type: ignore[attr-defined]
    assert problem.__cause__ is None and problem.__context__ is None
    shown = everything_of(problem)
    assert "Canary" not in shown and CANARY_NUMBER not in shown


def test_a_query_sees_the_tables_it_named_only(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "u.csv").write_text("x\n1\n")
    add_table(folder, str(tmp_path / "u.csv"))
    with Tables(folder).open(["t"]) as database, refused("data.local_query"):
        database.run("SELECT count(*) AS n FROM u")


def test_limits_are_set(folder: Path) -> None:
    with Tables(folder, memory_limit="64MB", threads=1).open(["t"]) as database:
        answer = database.run("SELECT current_setting('threads') AS n")
        assert list(answer["n"]) == [1]
        with refused("data.local_query"):
            database.run("SELECT len(list(a.range)) AS n FROM range(100000000) a")


def test_a_changed_file_is_read_again(folder: Path, tmp_path: Path) -> None:
    tables = Tables(folder)
    total(tables)
    kept = tables._rows("t")
    assert tables._rows("T") is kept
    (tmp_path / "t.csv").write_text("name,amount,region\na,1.00,001\n")
    assert total(tables) == 100


def test_a_file_replaced_within_the_same_instant_is_read_again(folder: Path, tmp_path: Path) -> None:
    tables, path = Tables(folder), tmp_path / "t.csv"
    path.write_text("name,amount,region\na,1.00,001\n")
    assert total(tables) == 100
    before = path.stat()
    (tmp_path / "new.csv").write_text("name,amount,region\na,2.00,001\n")
    os.utime(tmp_path / "new.csv", ns=(before.st_atime_ns, before.st_mtime_ns))
    os.replace(tmp_path / "new.csv", path)
    assert total(tables) == 200


def test_rows_in_the_log_of_a_sqlite_file_are_seen(tmp_path: Path) -> None:
    path = tmp_path / "t.db"
    writer = sqlite3.connect(path, isolation_level=None)
    writer.execute("PRAGMA journal_mode = WAL")
    writer.execute("PRAGMA wal_autocheckpoint = 0")
    writer.execute("CREATE TABLE t (amount TEXT)")
    writer.execute("INSERT INTO t VALUES ('1.00')")
    tables = Tables(member_folder(tmp_path / "tax"))
    add_table(tmp_path / "tax", f"sqlite:{path}", table="t", bounds={"amount": "0:100"})
    assert total(tables) == 100
    writer.execute("INSERT INTO t VALUES ('2.00')")
    assert total(tables) == 300
    writer.close()


def test_a_changed_declaration_is_checked_again(folder: Path) -> None:
    tables = Tables(folder)
    total(tables)
    path = folder / "catalog.json"
    body = json.loads(path.read_text())
    (amount,) = (c for c in body["tables"][0]["columns"] if c["name"] == "amount")
    amount["high"] = "100"
    path.write_text(json.dumps(body))
    with refused("data.bounds", CANARY_NUMBER, says=("t.amount", "bounds")):
        total(tables)


def test_a_column_that_went_away_or_a_file_that_did(folder: Path, tmp_path: Path) -> None:
    tables = Tables(folder)
    total(tables)
    (tmp_path / "t.csv").write_text("name,region\na,001\n")
    with refused("data.source", says=("no longer has the column amount",)):
        total(tables)
    (tmp_path / "t.csv").unlink()
    with refused("data.source", says=("cannot be read",)):
        total(tables)


def test_more_columns_than_declared_are_left_out(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("extra,region,amount,name\nx,001,1.00,a\n")
    tables = Tables(folder)
    assert total(tables) == 100
    assert tables._rows("t").rows.column_names == ["name", "amount", "region"]


def test_an_unknown_table_and_a_broken_catalog(folder: Path) -> None:
    with refused("data.source", says=("No table nowhere",)), Tables(folder).open(["nowhere"]):
        pass
    (folder / "catalog.json").write_text("{")
    with refused("plan.catalog"):
        Tables(folder).catalog()


def test_the_cache_is_bounded(folder: Path, tmp_path: Path) -> None:
    for name in ("u", "v"):
        (tmp_path / f"{name}.csv").write_text("x\n" + "1\n" * 1000)
        add_table(folder, str(tmp_path / f"{name}.csv"))
    tables = Tables(folder, cache_bytes=16_500)
    for name in ("u", "v", "u", "t"):
        tables._rows(name)
        assert sum(c.rows.nbytes for c in tables._cache.values()) <= 16_500
    assert set(tables._cache) == {"u", "v", "t"}
    tables = Tables(folder, cache_bytes=10_000)
    for name in ("u", "v"):
        tables._rows(name)
    assert set(tables._cache) == {"v"}
    tables = Tables(folder, cache_bytes=0)
    assert tables._rows("u").rows.num_rows == 1000 and not tables._cache


def test_two_jobs_at_once_read_a_table_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tables, calls = Tables(folder), []

    def counted(*args: object) -> object:
        calls.append(args)
        return real(*args)  # type: ignore[arg-type]

    real = module.read
    monkeypatch.setattr(module, "read", counted)
    jobs = [threading.Thread(target=total, args=(tables,)) for _ in range(8)]
    for j in jobs:
        j.start()
    for j in jobs:
        j.join()
    assert len(calls) == 1


@pytest.mark.parametrize(
    "values", [[], [0], [1, -1], [-(10**38) + 1, 10**38 - 1, 2**64, -(2**64), 2**63, -(2**63)], list(range(-500, 500))]
)
def test_words_are_twos_complement_of_128_bits(values: list[int]) -> None:
    kind = pa.decimal128(38, 2)
    with_units = pa.array([Decimal(v).scaleb(-2, context=module_context()) for v in values], kind)
    padded = pa.concat_arrays([pa.array([Decimal(7)] * 3, kind), with_units, pa.array([Decimal(9)], kind)])
    middle = padded.slice(3, len(values))
    halves = pa.chunked_array([middle.slice(0, len(values) // 2), middle.slice(len(values) // 2)], kind)
    for column in (pa.chunked_array([with_units], kind), pa.chunked_array([middle], kind), halves):
        words = _column("w0", column)
        assert isinstance(words, np.ndarray) and words.dtype == np.uint64 and words.shape == (len(values), 2)
        assert [(int(h) << 64) + int(w) for w, h in words] == [v % 2**128 for v in values]


def module_context() -> object:
    import decimal

    return decimal.Context(prec=50)


def test_counts() -> None:
    for kind in (pa.int64(), pa.uint64(), pa.int32()):
        found = _column("n", pa.chunked_array([pa.array([1, 2], kind), pa.array([3], kind)]))
        assert isinstance(found, np.ndarray) and found.dtype == np.int64 and found.tolist() == [1, 2, 3]


def digest(*batches: pa.Table, table: str = "t") -> bytes:
    return _Cached(None, Table(table, (Column("a", "text"),), 10), pa.concat_tables(batches)).digest()


def test_the_snapshot_is_of_values_not_of_memory() -> None:
    values = {
        "i": [1, None, -3],
        "s": ["ab", None, ""],
        "d": [Decimal("1.5"), None, Decimal("-2")],
        "b": [True, None, False],
        "t": [3, None, 4],
    }
    schema = pa.schema(
        {"i": pa.int64(), "s": pa.string(), "d": pa.decimal128(38, 1), "b": pa.bool_(), "t": pa.date32()}
    )
    whole = pa.table({k: pa.array(v, schema.field(k).type) for k, v in values.items()})
    split = [whole.slice(0, 1), whole.slice(1, 1), whole.slice(2)]
    rebuilt = pa.Table.from_pylist(whole.to_pylist(), schema)
    mask = pa.array([True, False, True])
    dirty = whole.set_column(
        0, "i", pa.Array.from_buffers(pa.int64(), 3, [mask.buffers()[1], pa.array([1, 999, -3]).buffers()[1]])
    )
    padded = pa.concat_tables([whole, whole]).combine_chunks().slice(3)
    assert len({digest(t) for t in (whole, rebuilt, dirty, padded)} | {digest(*split)}) == 1
    assert digest(whole) != digest(whole, table="u")
    for name, changed in (
        ("i", [0, None, -3]),
        ("i", [1, 0, -3]),
        ("s", ["a", None, "b"]),
        ("s", ["ab", "", None]),
        ("d", [Decimal("1.6"), None, Decimal("-2")]),
        ("b", [True, True, False]),
        ("t", [3, 3, 4]),
    ):
        other = whole.set_column(whole.column_names.index(name), name, pa.array(changed, schema.field(name).type))
        assert digest(other) != digest(whole), name
    assert digest(whole.slice(0, 2)) != digest(whole)


def test_snapshots_are_the_same_in_every_process_and_salted(tmp_path: Path) -> None:
    table = pa.table(
        {
            "k": [f"k{i % 100_003}" for i in range(400_000)],
            "v": pa.array([i if i % 7 else None for i in range(400_000)]),
        }
    )
    pq.write_table(table, tmp_path / "t.parquet", row_group_size=30_000)
    folder = member_folder(tmp_path / "tax")
    add_table(
        folder, str(tmp_path / "t.parquet"), sql="SELECT k, sum(v)::BIGINT AS v, min(v) AS m FROM source GROUP BY k"
    )
    seen = set()
    for _ in range(4):
        with Tables(folder).open(["t"]) as database:
            seen.add(database.snapshot(b"salt"))
    assert len(seen) == 1
    with Tables(folder).open(["t"]) as database:
        assert database.snapshot(b"another") not in seen
    assert hashlib.sha256(b"salt").digest() not in seen


def test_an_open_database_shows_nothing_of_itself(folder: Path) -> None:
    with Tables(folder).open(["t"]) as database:
        assert isinstance(database, LocalDatabase)
        assert "Canary" not in repr(database) and "Canary" not in repr(Tables(folder)._rows("t"))
    assert Catalog.from_dict(json.loads((folder / "catalog.json").read_text())).party == "tax"
