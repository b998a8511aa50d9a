"""One example: a consortium on this machine, the folder's policies in force, its queries run and checked.

A folder holds ``*.sql`` (first line ``-- to NAME: PURPOSE``), ``policy/PARTY.toml``, and a README.md with SQL and the
output, which tests compare with a run. The tables are those of ``heji demo``, and what two buyers bought of suppliers;
lending_club has a consortium of its own.
"""

from __future__ import annotations

import contextlib
import io
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from itertools import takewhile
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet
from rich.console import Console

from mpc.errors import HejiError
from mpc.query.catalog import Column, Table, round_up
from parties.cli.output import table_of
from parties.clock import now
from parties.consortium import init_consortium
from parties.demo import datasets
from parties.demo import tables as demo
from parties.demo.firms import write
from parties.demo.plaintext import Comparison, compare, plaintext
from parties.demo.tables import MODELER, DemoTable, prepare
from parties.modeler.client import Client
from parties.modeler.deposits import Collecting
from parties.node.tables import publish_table
from parties.processes import Process, Processes, start, wait_until_serving
from parties.results import Result

HERE = Path(__file__).parent
FIRMS = 2000
BUYERS = ("bank_a", "telecom")
AUDITOR = "auditor"


def names() -> list[str]:
    """The examples there are."""
    return sorted(p.parent.name for p in HERE.glob("*/README.md"))


@dataclass(frozen=True)
class Query:
    """A .sql file: its text without the first line, which says to whom the result goes and what for, and the second
    one where it says by which method deposits are made, or at which trust level it runs."""

    name: str
    sql: str
    to: str
    purpose: str
    method: str = ""
    trust: str = "helper"


def queries(example: str) -> list[Query]:
    found = []
    for path in sorted((HERE / example).glob("*.sql")):
        first, _, sql = path.read_text(encoding="utf-8").partition("\n")
        to, _, purpose = first.removeprefix("-- to ").partition(": ")
        said = {"method": "", "trust": "helper"}
        if sql.startswith(tuple(f"-- {option} " for option in said)):
            second, _, sql = sql.partition("\n")
            option, _, value = second.removeprefix("-- ").partition(" ")
            said[option] = value.strip()
        found.append(Query(path.stem, sql.strip(), to, purpose, **said))
    return found


@dataclass(frozen=True)
class Told:
    """A query as it went: the result, what the recipient and others learnt, and how it compares with the plaintext."""

    query: Query
    result: Result
    ledger: list[dict[str, str]]
    comparison: Comparison

    def table(self) -> str:
        """The result as the terminal shows it."""
        text = io.StringIO()
        Console(file=text, width=110, highlight=False).print(table_of(self.result))
        return "\n".join(line.rstrip() for line in text.getvalue().splitlines())


@contextmanager
def consortium(example: str) -> Iterator[tuple[Path, tuple[DemoTable, ...], Processes]]:
    """The members as processes, each with its tables and the example's policy; gone after the block."""
    with tempfile.TemporaryDirectory(prefix="heji-example-") as scratch:
        folder, data = Path(scratch) / "consortium", Path(scratch) / "data"
        tables = make_tables(example, data)
        init_consortium(folder, parties=sorted({t.party for t in tables}), modelers=[MODELER], auditors=[AUDITOR])
        for table in tables:
            publish_table(folder / table.party, table.table, str(table.path))
        for policy in sorted((HERE / example / "policy").glob("*.toml")):
            (folder / policy.stem / "policy.toml").write_text(policy.read_text(encoding="utf-8"), encoding="utf-8")
        with Processes(folder) as members:
            yield folder, tables, members


def make_tables(example: str, folder: Path) -> tuple[DemoTable, ...]:
    """Write the tables of all members of an example below ``folder``."""
    if example == "lending_club":
        return split(folder)
    return (*prepare(folder, FIRMS), *(suppliers(folder, b) for b in BUYERS), scorecard(folder))


def run(example: str) -> Iterator[Told]:
    """Run the queries of an example one after the other."""
    with consortium(example) as (folder, tables, members):
        for query in queries(example):
            deposits = Collecting(query.method, now() + 30 * 86400, early=True) if query.method else None
            with Client(folder / query.to) as client:
                explained = client.explain(
                    query.sql, query.to, purpose=query.purpose, trust=query.trust, deposits=deposits
                )
                if deposits is not None:
                    result = deposited(client, query, deposits, explained["parties"], members)
                else:
                    result = client.query(query.sql, query.to, purpose=query.purpose, trust=query.trust)
            expected = plaintext(tables, query.sql).to_pylist()
            comparison = compare(result.rows, expected, labels(result), ordered=True)
            yield Told(query, result, explained["ledger"], comparison)


def deposited(client: Client, query: Query, deposits: Collecting, parties: list[str], members: Processes) -> Result:
    """The result of a deposit job whose parties are never online together: each has a day on which its node runs, and
    the recipient's is off until the end.

    A node deposits by itself when it starts, since its policy says so; the last deposit closes the job.
    """
    nodes = {m.name: m for m in members.running if m.kind == "node"}
    for name in nodes:
        end(nodes[name])
    job = client.submit(query.sql, query.to, purpose=query.purpose, deposits=deposits).id
    for day, name in enumerate(parties, 1):
        with running(nodes[name]):
            while (status := client.show(job)).done < day and status.state != "done":
                time.sleep(0.1)
    client.wait(job)
    members.running = [start(m.name, m.kind, m.folder) if m.name in nodes else m for m in members.running]
    for member in members.running:
        wait_until_serving(member)
    while True:  # until the recipient's node has fetched the total
        with contextlib.suppress(HejiError):
            return client.result(job)
        time.sleep(0.1)


@contextmanager
def running(member: Process) -> Iterator[None]:
    """The member's process, for the block."""
    process = start(member.name, member.kind, member.folder)
    try:
        wait_until_serving(process)
        yield
    finally:
        end(process)


def end(process: Process) -> None:
    process.popen.terminate()
    process.popen.wait(20)


def labels(result: Result) -> list[str]:
    """The columns that tell the rows apart: the texts in front."""
    kinds = [(field.name, str(field.type)) for field in result.table.schema]
    return [name for name, _ in takewhile(lambda c: c[1] == "string", kinds)]


def split(folder: Path) -> tuple[DemoTable, ...]:
    """lending_club by columns: what a bank, a credit bureau and a tax authority know of the same loans."""
    loans, borrowers = datasets.loans(1), datasets.borrowers()
    declared = {c.name: c for c in (*demo.LOANS, *demo.BORROWERS)}
    parts = {
        "bank": ("loans", loans, ("loan_id", "funded_amnt", "term", "int_rate", "grade", "class")),
        "bureau": ("histories", loans, ("loan_id", "delinq_2yrs", "inq_last_6mths", "revol_util", "total_bal_il")),
        "tax": ("incomes", borrowers, ("loan_id", "annual_inc", "addr_state")),
    }
    found = []
    for party, (name, rows, columns) in parts.items():
        path = folder / party / f"{name}.csv"
        write(rows.select(list(columns)), path)
        table = Table(name, tuple(declared[c] for c in columns), round_up(rows.num_rows), "lending_club", True)
        found.append(DemoTable(party, path, table, ()))
    return tuple(found)


def suppliers(folder: Path, buyer: str) -> DemoTable:
    """What a buyer paid each of its suppliers in the year: some 300 of the tax bureau's firms, a few of them large."""
    draw = np.random.Generator(np.random.PCG64(len(buyer)))
    firms = duckdb.execute(f"SELECT uscc FROM '{folder}/tax/firms.parquet' ORDER BY uscc").fetchall()
    chosen = draw.choice(len(firms), min(300, len(firms)), replace=False)
    fen = np.rint(draw.lognormal(11, 1.6, len(chosen)) * 100).astype(np.int64)
    paid = [Decimal(int(amount)).scaleb(-2) for amount in fen]
    path = folder / buyer / "suppliers.parquet"
    write(pa.table({"uscc": [firms[i][0] for i in chosen], "paid": pa.array(paid, pa.decimal128(18, 2))}), path)
    columns = (
        Column("uscc", "text", nullable=False, key=True),
        Column("paid", "decimal", 2, 0, 10**10, nullable=False, unit="yuan", description="in the year"),
    )
    return DemoTable(buyer, path, Table("suppliers", columns, 1000, "What was bought of whom (synthetic)", True), ())


def scorecard(folder: Path) -> DemoTable:
    """Bank A's weights beside its applicants: half a point for each thousand of tax, minus a point for each hundred not
    paid."""
    path = folder / "bank_a" / "scorecard.parquet"
    weights = {"base": (Decimal("600.00"), 2), "w_tax": (Decimal("0.0005"), 4), "w_late": (Decimal("0.0100"), 4)}
    weights["cutoff"] = (Decimal("620.00"), 2)
    codes = pyarrow.parquet.read_table(folder / "bank_a" / "applicants.parquet", columns=["uscc"])["uscc"]
    columns = [Column("uscc", "text", nullable=False, key=True)]
    rows = {"uscc": codes}
    for name, (value, scale) in weights.items():
        columns.append(Column(name, "decimal", scale, 0, 10**7, nullable=False, description="the bank's own"))
        rows[name] = pa.array([value] * len(codes), pa.decimal128(9, scale))
    write(pa.table(rows), path)
    return DemoTable("bank_a", path, Table("scorecard", tuple(columns), len(codes), "Weights (made up)", True), ())
