"""``heji demo``: exact, and gone without a trace whenever it is stopped; not exact means a status that says so."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa
import pytest

import parties.cli.demo as command
import parties.demo.run as run
from parties.demo.stories import STORIES

pytestmark = pytest.mark.slow

#: where it does not matter what the demo finds
SMALL = ("--firms", "400")


def started(scratch: Path, *options: str, together: bool = False) -> subprocess.Popen[bytes]:
    """``heji demo``, its throw-away folder below ``scratch``; ``together``: all it says comes on its stdout."""
    return subprocess.Popen(
        [sys.executable, "-m", "parties.cli", "demo", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT if together else subprocess.PIPE,
        env=os.environ | {"TMPDIR": str(scratch)},
    )


def wait_for(process: subprocess.Popen[bytes], words: str) -> None:
    """Read what the demo says until it says ``words``."""
    assert process.stdout is not None
    for line in process.stdout:
        if words in line.decode():
            return
    pytest.fail(f"the demo never said {words!r}")


def left_behind(scratch: Path) -> list[str]:
    """Files of the demo, and processes that work on them."""
    lines = [" ".join(p.info["cmdline"] or ()) for p in psutil.process_iter(["cmdline"])]
    return [str(p) for p in scratch.iterdir()] + [line for line in lines if str(scratch) in line]


def test_json_is_exact_and_nothing_is_left(tmp_path: Path) -> None:
    process = started(tmp_path, "--json")
    out, err = process.communicate(timeout=110)
    assert process.returncode == 0, err.decode()
    told = json.loads(out, parse_float=Decimal)
    assert told["exact"] is True
    assert [j["name"] for j in told["jobs"]] == [s.name for s in STORIES]
    assert all(j["exact"] and not j["differences"] and j["values_compared"] > 0 for j in told["jobs"])
    first = told["jobs"][0]
    assert first["rows"] == first["plaintext"]
    assert first["statement"]["job"] == first["job"]
    seen = {s["party"]: s["received"] for s in told["coordinator_saw"]}
    assert set(seen) == set(first["statement"]["parties"]) and all(seen.values())
    assert b"is serving" in err  # progress goes to stderr
    assert not left_behind(tmp_path)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize(
    "moment", ["making keys", "loading tables", "bank_a is serving", "coordinator is serving", STORIES[0].title]
)
def test_stopped_at_any_moment_leaves_nothing(tmp_path: Path, moment: str, number: signal.Signals) -> None:
    process = started(tmp_path, *SMALL, together=True)
    wait_for(process, moment)
    process.send_signal(number)
    rest, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert b"Stopped." in rest and b"Traceback" not in rest
    assert not left_behind(tmp_path)


def test_stopped_twice_leaves_nothing(tmp_path: Path) -> None:
    process = started(tmp_path, *SMALL, together=True)
    wait_for(process, "coordinator is serving")
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 130
    assert not left_behind(tmp_path)


def test_one_cent_is_told_by_the_status(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The plaintext of one story is made wrong by its last digit: the command says where, and ends with 1."""
    real = run.plaintext

    def off_by_a_cent(tables: Any, sql: str) -> pa.Table:
        table = real(tables, sql)
        if sql != STORIES[0].sql:
            return table
        rows = table.to_pylist()
        name = next(n for n, v in rows[0].items() if isinstance(v, Decimal))
        rows[0][name] += Decimal("0.01")
        return pa.Table.from_pylist(rows, schema=table.schema)

    monkeypatch.setattr(run, "plaintext", off_by_a_cent)
    monkeypatch.setattr(command, "STORIES", STORIES[:2])
    monkeypatch.setattr(command, "end_on_signals", lambda: None)  # pytest has its own way with signals
    for as_json in (True, False):
        with pytest.raises(SystemExit) as ended:
            command.demo(firms=400, json=as_json)
        assert ended.value.code == 1
        out = capsys.readouterr().out
        if as_json:
            told = json.loads(out)
            assert [told["exact"], *(j["exact"] for j in told["jobs"])] == [False, False, True]
            assert len(told["jobs"][0]["differences"]) == 1
        else:
            assert "differs from the plaintext" in out and "NOT all equal" in out


def test_a_demo_without_jobs_is_not_exact() -> None:
    assert not run.Report().exact
