"""``heji node``, ``heji up``, ``heji consortium init``: members that serve, end, and leave nothing."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from parties.processes import Processes
from tests.parties.cli.program import HEJI, TOGETHER, Ask, Up, good, heji, members_of, until, up

pytestmark = pytest.mark.slow


def test_node_check(ask: Ask, running: Up) -> None:
    done = ask("node", "check", running.folder / "bank_a")
    assert "bank_b answers with the roster's certificate" in good(done)
    assert "BAD" not in done.out
    bad = ask("node", "check", running.folder / "nobody")
    assert bad.status == 1 and "BAD" in bad.out


def test_node_check_names_what_is_bad(idle: Path) -> None:
    (idle.parent / "a.csv").rename(idle.parent / "moved.csv")
    try:
        done = heji("node", "check", idle / "bank_a")
    finally:
        (idle.parent / "moved.csv").rename(idle.parent / "a.csv")
    assert done.status == 1
    assert any(line.startswith("BAD") and "accounts" in line for line in done.out.splitlines())
    assert "bank_b does not answer" in done.out


def test_nobody_serves(idle: Path) -> None:
    done = heji("query", TOGETHER, "--consortium", idle)
    assert (done.status, done.out) == (1, "")
    assert "coordinator" in done.err and "[peer.unavailable]" in done.err


def test_a_node_is_not_running(idle: Path) -> None:
    with Processes(idle, only=("bank_a", "bank_b", "coordinator")):
        catalog = heji("catalog", "--consortium", idle)
        assert "accounts" in good(catalog) and "bank_c:" in catalog.err
        done = heji("query", TOGETHER, "--consortium", idle)
        assert (done.status, done.out) == (1, "")
        assert "bank_c cannot be asked" in done.err and "[peer.unavailable]" in done.err
        others = (
            "SELECT COUNT(*) AS n FROM (SELECT grade FROM bank_a.accounts UNION ALL SELECT grade FROM bank_b.accounts)"
        )
        assert json.loads(good(heji("query", others, "--consortium", idle, "--format", "json")))["rows"] == [{"n": 48}]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_up_leaves_nothing(idle: Path, number: signal.Signals) -> None:
    started = up(idle)
    assert len(started.members) == 4
    started.process.send_signal(number)
    assert started.process.wait(40) == 0
    assert not members_of(idle)


@pytest.mark.parametrize("members", [1, 2, 3, 4])
def test_up_stopped_while_it_starts_leaves_nothing(idle: Path, members: int) -> None:
    process = subprocess.Popen([*HEJI, "up", str(idle)], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    until(lambda: len(members_of(idle)) > members)  # itself and some members
    process.send_signal(signal.SIGINT)
    out, _err = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, b"")
    assert not members_of(idle)


def test_up_killed_leaves_nothing(idle: Path) -> None:
    started = up(idle)
    started.process.kill()
    started.process.wait(20)
    until(lambda: not members_of(idle))


def test_a_member_whose_parent_ended_before_it_served_ends(idle: Path) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    node = [*HEJI, "node", "serve", str(idle / "bank_a"), "--with-parent", str(gone.pid)]
    assert subprocess.run(node, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=40).returncode == 0


def test_up_says_who_ended(idle: Path) -> None:
    started = up(idle)
    psutil.Process(started.members["bank_c"]).kill()
    assert started.process.wait(40) == 1
    assert "bank_c ended by itself" in (idle.parent / "up.err").read_text()
    assert not members_of(idle)


def test_up_twice_says_why_not(running: Up) -> None:
    done = heji("up", running.folder)
    assert done.status == 1 and "bank_a did not start" in done.err and "in use" in done.err
    assert psutil.Process(running.process.pid).is_running()


def test_init_does_not_overwrite(idle: Path) -> None:
    identity = (idle / "bank_a" / "roster.json").read_bytes()
    done = heji("consortium", "init", idle, "--party", "bank_a", "--modeler", "analyst")
    assert (done.status, done.out) == (1, "")
    assert (idle / "bank_a" / "roster.json").read_bytes() == identity
