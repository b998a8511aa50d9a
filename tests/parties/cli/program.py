"""``heji`` as people run it: the real program, its stdout, stderr and status, and a consortium of real processes."""

from __future__ import annotations

import csv
import os
import re
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import psutil
import pyarrow as pa
import pyarrow.parquet as pq

HEJI = (sys.executable, "-m", "parties.cli")
BANKS = ("bank_a", "bank_b", "bank_c")
ROWS = 24
POOLED = "(" + " UNION ALL ".join(f"SELECT grade, balance FROM {b}.accounts" for b in BANKS) + ")"
TOGETHER = f"SELECT SUM(balance) AS together, COUNT(*) AS n FROM {POOLED}"
BY_GRADE = f"SELECT grade, SUM(balance) AS total FROM {POOLED} GROUP BY grade ORDER BY grade"
COUNT = "SELECT COUNT(*) AS n FROM bank_c.accounts"
UNGRANTED = "SELECT SUM(balance) AS s FROM bank_c.secret"


def balances(bank: str) -> list[Decimal]:
    return [Decimal(f"{i * 100}.{BANKS.index(bank) + 1:02d}") for i in range(ROWS)]


EXPECTED = sum((sum(balances(b)) for b in BANKS), Decimal(0))


@dataclass(frozen=True)
class Done:
    """A command that ended."""

    status: int
    out: str
    err: str


def heji(*words: str | Path, told: str | bytes = b"", cwd: Path | None = None, **environment: str) -> Done:
    """Run ``heji WORDS`` at 80 columns; ``told``: its standard input."""
    raw = told.encode() if isinstance(told, str) else told
    env = {k: v for k, v in os.environ.items() if not k.startswith("HEJI_")} | {"COLUMNS": "80"} | environment
    ended = subprocess.run([*HEJI, *map(str, words)], input=raw, capture_output=True, timeout=100, env=env, cwd=cwd)
    return Done(ended.returncode, ended.stdout.decode(), ended.stderr.decode())


def good(done: Done) -> str:
    assert done.status == 0, done.err
    return done.out


def init(folder: Path) -> Path:
    """The README's first steps, with a CSV, a Parquet and a SQLite table."""
    consortium = folder / "practice"
    parties = [w for bank in BANKS for w in ("--party", bank)]
    assert "Next:" in good(heji("consortium", "init", consortium, *parties, "--modeler", "analyst"))
    rows = {b: [(f"{b}-{i}", "AB"[i % 2], f"{v}") for i, v in enumerate(balances(b))] for b in BANKS}
    with (folder / "a.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("uscc", "grade", "balance"), *rows["bank_a"]])
    columns = list(zip(*rows["bank_b"], strict=True))
    decimals = pa.array([Decimal(v) for v in columns[2]], pa.decimal128(18, 2))
    pq.write_table(pa.table({"uscc": columns[0], "grade": columns[1], "balance": decimals}), folder / "b.parquet")
    with sqlite3.connect(folder / "c.db") as database:
        for name in ("accounts", "secret"):
            database.execute(f"CREATE TABLE {name} (uscc TEXT, grade TEXT, balance TEXT)")
            database.executemany(f"INSERT INTO {name} VALUES (?, ?, ?)", rows["bank_c"])
    database.close()
    granted = ("--grant", "aggregate", "--grant", "group")
    typed = ("--type", "balance=DECIMAL(18,2)")
    common = ("--name", "accounts", "--key", "uscc", *granted)
    assert "review:" in good(heji("node", "table", "add", consortium / "bank_a", folder / "a.csv", *common))
    good(heji("node", "table", "add", consortium / "bank_b", folder / "b.parquet", *common))
    database_of_c = (consortium / "bank_c", f"sqlite:{folder / 'c.db'}")
    good(heji("node", "table", "add", *database_of_c, "--table", "accounts", *common, *typed))
    told = good(heji("node", "table", "add", *database_of_c, "--table", "secret", "--key", "uscc", *typed))
    assert "none yet" in told
    return consortium


@dataclass(frozen=True)
class Up:
    """``heji up``, serving."""

    folder: Path
    process: subprocess.Popen[bytes]
    members: dict[str, int]  # process ids


def up(folder: Path) -> Up:
    """Start ``heji up`` and wait for its word that all are serving."""
    log = folder.parent / "up.err"
    with log.open("wb") as sink:
        process = subprocess.Popen([*HEJI, "up", str(folder)], stdout=subprocess.PIPE, stderr=sink)
    assert process.stdout is not None
    with process.stdout:
        said = process.stdout.readline().decode()
    assert "members are serving" in said, log.read_text()
    return Up(
        folder, process, {m[1]: int(m[2]) for m in re.finditer(r"(\w+) is serving \(process (\d+)\)", log.read_text())}
    )


def members_of(folder: Path) -> list[psutil.Process]:
    """Processes, other than this one, that were started with a folder below ``folder``."""
    found = []
    for process in psutil.process_iter(["pid", "cmdline"]):
        if any(str(folder) in word for word in process.info["cmdline"] or ()) and process.pid != os.getpid():
            found.append(process)
    return found


def until(holds: Callable[[], bool]) -> None:
    """Wait until something holds that has to come about."""
    last = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < last, "it did not come about"
        time.sleep(0.05)


Ask = Callable[..., Done]
