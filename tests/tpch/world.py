"""TPC-H over three owners: sales has customer and orders, shipping lineitem, supply all else.

Data: tpchgen-cli (Apache-2.0), made when the tests run. Beside the tables of the specification, sales and supply
publish one joined table each, as an owner does with `heji node table add --sql`: tables of one owner are joined there.
"""

from __future__ import annotations

import subprocess
import sysconfig
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import duckdb
import pyarrow as pa

from mpc.query.catalog import Column, Table
from parties.node.sources.canonical import canonical
from tests.mpc.query.world import Held, World, date, decimal, integer, text

KEY = 10**9
NATIONS = (
    "ALGERIA ARGENTINA BRAZIL CANADA CHINA EGYPT ETHIOPIA FRANCE GERMANY INDIA INDONESIA IRAN IRAQ JAPAN JORDAN KENYA "
    "MOROCCO MOZAMBIQUE PERU ROMANIA RUSSIA SAUDI_ARABIA UNITED_KINGDOM UNITED_STATES VIETNAM"
)
PRIORITIES = ("1-URGENT", "2-HIGH", "3-MEDIUM", "4-NOT SPECIFIED", "5-LOW")
SEGMENTS = ("AUTOMOBILE", "BUILDING", "FURNITURE", "HOUSEHOLD", "MACHINERY")
MODES = ("AIR", "FOB", "MAIL", "RAIL", "REG AIR", "SHIP", "TRUCK")
DAYS = ("1992-01-01", "1998-12-31")


def _nations() -> list[str]:
    return [n.replace("_", " ") for n in NATIONS.split()]


def key(name: str, *, entity: bool = False) -> Column:
    return integer(name, 0, KEY, nullable=False, key=entity)


def money(name: str, low: int = 0, high: int = 10**6) -> Column:
    return decimal(name, 2, low, high, nullable=False)


CUSTOMER = [
    text("c_name"),
    text("c_address"),
    integer("c_nationkey", 0, 24, nullable=False),
    text("c_phone"),
    money("c_acctbal", -1000, 10_000),
    text("c_mktsegment", *SEGMENTS, nullable=False),
    text("c_comment"),
]
ORDERS = [
    key("o_custkey"),
    text("o_orderstatus", "F", "O", "P", nullable=False),
    money("o_totalprice"),
    date("o_orderdate", *DAYS, nullable=False),
    text("o_orderpriority", *PRIORITIES, nullable=False),
    text("o_clerk"),
    integer("o_shippriority", 0, 9, nullable=False),
    text("o_comment"),
]
LINEITEM = [
    key("l_orderkey"),  # a line is an entity of its own: the owner marks none
    key("l_partkey"),
    key("l_suppkey"),
    integer("l_linenumber", 1, 7, nullable=False),
    decimal("l_quantity", 2, 0, 50, nullable=False),
    money("l_extendedprice"),
    decimal("l_discount", 2, 0, 1, nullable=False),
    decimal("l_tax", 2, 0, 1, nullable=False),
    text("l_returnflag", "A", "N", "R", nullable=False),
    text("l_linestatus", "F", "O", nullable=False),
    date("l_shipdate", *DAYS, nullable=False),
    date("l_commitdate", *DAYS, nullable=False),
    date("l_receiptdate", *DAYS, nullable=False),
    text("l_shipinstruct", "COLLECT COD", "DELIVER IN PERSON", "NONE", "TAKE BACK RETURN", nullable=False),
    text("l_shipmode", *MODES, nullable=False),
    text("l_comment"),
]
PART = [
    text("p_name"),
    text("p_mfgr"),
    text("p_brand", *(f"Brand#{m}{n}" for m in range(1, 6) for n in range(1, 6)), nullable=False),
    text("p_type"),
    integer("p_size", 1, 50, nullable=False),
    text("p_container"),
    money("p_retailprice"),
    text("p_comment"),
]
SUPPLIER = [
    text("s_name"),
    text("s_address"),
    integer("s_nationkey", 0, 24, nullable=False),
    text("s_phone"),
    money("s_acctbal", -1000, 10_000),
    text("s_comment"),
]
PARTSUPP = [integer("ps_availqty", 1, 9999, nullable=False), money("ps_supplycost"), text("ps_comment")]
NATION = [text("n_name", *_nations(), nullable=False), integer("n_regionkey", 0, 4, nullable=False), text("n_comment")]

PUBLISHED = {
    ("sales", "customer"): ([key("c_custkey", entity=True), *CUSTOMER], True, "SELECT * FROM customer"),
    ("sales", "orders"): ([key("o_orderkey", entity=True), *ORDERS], True, "SELECT * FROM orders"),
    ("sales", "orders_of_customers"): (
        [key("o_orderkey", entity=True), *ORDERS, *CUSTOMER, text("c_nation", *_nations(), nullable=False)],
        True,
        "SELECT o.*, c.*, n_name AS c_nation FROM orders o JOIN customer c ON c_custkey = o_custkey "
        "JOIN nation ON n_nationkey = c_nationkey",
    ),
    ("shipping", "lineitem"): (LINEITEM, False, "SELECT * FROM lineitem"),
    ("supply", "part"): ([key("p_partkey", entity=True), *PART], True, "SELECT * FROM part"),
    ("supply", "supplier"): ([key("s_suppkey", entity=True), *SUPPLIER], True, "SELECT * FROM supplier"),
    ("supply", "partsupp"): (
        [key("ps_partkey", entity=True), key("ps_suppkey", entity=True), *PARTSUPP],
        True,
        "SELECT * FROM partsupp",
    ),
    ("supply", "offers"): (
        [key("ps_partkey", entity=True), key("ps_suppkey", entity=True), *PARTSUPP, *PART, *NATION[:1]],
        True,
        "SELECT * FROM partsupp JOIN part ON p_partkey = ps_partkey JOIN supplier ON s_suppkey = ps_suppkey "
        "JOIN nation ON n_nationkey = s_nationkey",
    ),
    ("supply", "nation"): (
        [integer("n_nationkey", 0, 24, nullable=False, key=True), *NATION],
        True,
        "SELECT * FROM nation",
    ),
    ("supply", "region"): (
        [integer("r_regionkey", 0, 4, nullable=False, key=True), text("r_name"), text("r_comment")],
        True,
        "SELECT * FROM region",
    ),
}


@dataclass(frozen=True, eq=False)
class Loaded(Held):
    """A table from Arrow in place of Python rows."""

    read: pa.Table

    @cached_property
    def arrow(self) -> pa.Table:
        return canonical(self.read, self.table)


def tpch(folder: Path, scale: str) -> World:
    """The tables of a scale factor, made in ``folder``."""
    generator = Path(sysconfig.get_path("scripts")) / "tpchgen-cli"
    subprocess.run([generator, "parquet", "-s", scale, f"--output-dir={folder}"], check=True, capture_output=True)
    tables = []
    with duckdb.connect(":memory:") as database:
        for file in folder.glob("*.parquet"):
            database.execute(f"CREATE VIEW {file.stem} AS FROM read_parquet('{file}')")
        for (party, name), (columns, unique, sql) in PUBLISHED.items():
            listed = ", ".join(c.name for c in columns)
            read = database.sql(f"SELECT {listed} FROM ({sql})").to_arrow_table()
            tables.append(Loaded(party, Table(name, tuple(columns), read.num_rows, "", unique), (), read))
    return World(tuple(tables))
