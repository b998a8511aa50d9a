"""A page whose commands are run one after the other: blocks that begin with ``$``, each with what it prints.

In a command JOB stands for the id of the last job. What differs from run to run is not compared: ids, digests, times,
and how many entries a log has.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from examples.running import HERE, consortium, queries
from parties.modeler.client import Client

_BLOCK = re.compile(r"^```\n\$ (.*?)\n(.*?)^```$", re.S | re.M)
_VARYING = (
    (re.compile(r"\b[0-9a-f]{8,64}\b"), "…"),
    (re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d"), "…"),
    (re.compile(r"\b[\d,]+ entries\b"), "… entries"),
    (re.compile(r"\blog of \d+\b"), "log of …"),
    (re.compile(r"\bheji [\d.]+ heji-\d+/sqlglot-[\d.]+"), "heji …"),
)


@dataclass(frozen=True)
class Step:
    """A command of the page, what the page says that it prints, and what it printed."""

    command: str
    told: str
    printed: str

    @property
    def same(self) -> bool:
        return _compared(self.told) == _compared(self.printed)


def walk(example: str) -> Iterator[Step]:
    """Run the example's queries, then the commands of its page, beside its members."""
    steps = commands((HERE / example / "README.md").read_text(encoding="utf-8"))
    if not steps:
        return
    with consortium(example) as (folder, _), tempfile.TemporaryDirectory(prefix="heji-walk-") as here:
        job = ""
        for query in queries(example):
            with Client(folder / query.to) as client:
                job = client.query(query.sql, query.to, purpose=query.purpose).statement["job"]
        (Path(here) / "roster.json").write_bytes((folder / "auditor" / "roster.json").read_bytes())
        for command, told in steps:
            yield Step(command, told, _run(command.replace("JOB", job), folder, Path(here)))


def commands(page: str) -> list[tuple[str, str]]:
    """The commands of a page, with what it says that they print."""
    return _BLOCK.findall(page)


def _run(command: str, folder: Path, here: Path) -> str:
    program, *arguments = shlex.split(command)
    modules = {"heji": ["-m", "parties.cli"], "python": []}
    environ = {**os.environ, "HEJI_CONSORTIUM": str(folder), "PYTHONPATH": str(HERE.parent), "COLUMNS": "110"}
    done = subprocess.run(
        [sys.executable, *modules[program], *arguments],
        cwd=here,
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
        check=False,
    )
    return done.stdout


def _compared(text: str) -> str:
    for pattern, instead in _VARYING:
        text = pattern.sub(instead, text)
    return "\n".join(line.rstrip() for line in text.strip().splitlines())
