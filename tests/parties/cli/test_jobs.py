"""``heji jobs``, and jobs cancelled by command or Ctrl-C."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from typing import Any

import psutil
import pytest

from mpc.errors import PeerError
from parties.modeler import connect
from tests.parties.cli.program import EXPECTED, HEJI, TOGETHER, Ask, Up, good

pytestmark = pytest.mark.slow


def test_jobs(ask: Ask) -> None:
    done = json.loads(good(ask("query", TOGETHER, "--format", "json")))["statement"]["job"]
    lines = good(ask("jobs", "list")).splitlines()
    listed = json.loads(good(ask("jobs", "list", "--json")))
    assert len(lines) == 1 + len(listed)  # a line a job
    shown = next(line.split()[0] for line in lines if done.startswith(line.split()[0]))
    assert f"job: {done}" in good(ask("jobs", "show", shown))  # what the list shows can be pasted
    told = json.loads(good(ask("jobs", "show", done[:8].upper(), "--json")))
    assert (told["job"], told["state"], told["submitter"], told["error"]) == (done, "done", "analyst", None)
    assert good(ask("jobs", "wait", shown)).strip() == "done"
    assert f"{EXPECTED:,}" in good(ask("jobs", "result", shown))
    again = ask("jobs", "cancel", shown)
    assert again.status == 1 and "nothing to cancel" in again.err


def test_job_ids_that_name_no_job(ask: Ask) -> None:
    assert "at least its first 8" in ask("jobs", "show", "1234567").err
    assert "at least its first 8" in ask("jobs", "show", "not-hexadecimal").err
    assert "None of the jobs of analyst begins with 0123456789." in ask("jobs", "show", "0123456789").err
    assert "job.unknown" in ask("jobs", "show", "0" * 64).err


def test_a_job_of_others_is_not_even_there(ask: Ask) -> None:
    job = json.loads(good(ask("query", TOGETHER, "--to", "bank_a", "--format", "json")))["statement"]["job"]
    assert "job.unknown" in ask("jobs", "show", job, "--as", "bank_b").err


def test_cancel(ask: Ask, running: Up) -> None:
    stopped = psutil.Process(running.members["bank_b"])
    with connect(running.folder, as_="analyst") as client:
        try:
            for _ in range(20):  # until bank_b stands still while the job is under way
                job = client.submit(TOGETHER).id
                stopped.suspend()
                if client.show(job).state not in ("done", "failed"):
                    break
                stopped.resume()
            assert good(ask("jobs", "cancel", job[:12])).strip() == "cancelled"
        finally:
            stopped.resume()
    waited = ask("jobs", "wait", job)
    assert waited.status == 1 and "job.cancelled" in waited.err
    assert "job.state" in ask("jobs", "result", job).err


def test_ctrl_c_cancels_the_job(ask: Ask, running: Up) -> None:
    stopped = psutil.Process(running.members["bank_b"])
    before = {j["job"] for j in json.loads(good(ask("jobs", "list", "--json")))}
    env = os.environ | {"HEJI_CONSORTIUM": str(running.folder)}
    with connect(running.folder, as_="analyst") as client:
        try:
            for _ in range(20):
                asking = subprocess.Popen(
                    [*HEJI, "query", TOGETHER], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env
                )
                fresh: list[str] = []
                while not fresh and asking.poll() is None:
                    fresh = [j.job for j in client.jobs() if j.job not in before]
                stopped.suspend()
                if fresh and client.show(fresh[0]).state not in ("done", "failed"):
                    break
                stopped.resume()
                asking.communicate()
                before |= set(fresh)
            asking.send_signal(signal.SIGINT)
            out, err = asking.communicate(timeout=60)
            assert (asking.returncode, out) == (130, b"")
            assert f"Stopped. The job {fresh[0][:16]} is cancelled." in err.decode()
            assert client.show(fresh[0]).state == "cancelled"
        finally:
            stopped.resume()


def test_ctrl_c_after_the_end_says_where_the_result_is(running: Up, monkeypatch: pytest.MonkeyPatch) -> None:
    with connect(running.folder, as_="analyst") as client:

        def interrupted(_job: str) -> Any:
            raise KeyboardInterrupt

        monkeypatch.setattr(client, "result", interrupted)
        with pytest.raises(KeyboardInterrupt, match=r"The job (\w+) was done .*`heji jobs result \w+`"):
            client.query(TOGETHER)


def test_ctrl_c_where_the_coordinator_cannot_be_asked(running: Up, monkeypatch: pytest.MonkeyPatch) -> None:
    with connect(running.folder, as_="analyst") as client:

        def away(_job: str, *_more: Any) -> Any:
            raise PeerError("peer.unavailable", "coordinator cannot be reached.", party="coordinator")

        monkeypatch.setattr(client, "cancel", away)
        monkeypatch.setattr(client, "show", away)
        assert "may go on: coordinator cannot be asked" in client._give_up("ab" * 32)


def test_ctrl_c_while_handing_in_cancels_the_job(running: Up, monkeypatch: pytest.MonkeyPatch) -> None:
    """The coordinator has the job, and the modeler's program has not heard so yet."""
    stopped = psutil.Process(running.members["bank_b"])
    with connect(running.folder, as_="analyst") as client:
        before = {j.job for j in client.jobs()}
        wait, call = client._loop.wait, client._coordinator.call

        async def stop_first(method: str, request: Any) -> Any:
            if method == "Submit":
                stopped.suspend()
            return await call(method, request)

        def interrupted(work: Any) -> Any:
            monkeypatch.setattr(client._loop, "wait", wait)
            wait(work)
            raise KeyboardInterrupt

        monkeypatch.setattr(client._coordinator, "call", stop_first)
        monkeypatch.setattr(client._loop, "wait", interrupted)
        try:
            with pytest.raises(KeyboardInterrupt, match=r"The job \w+ is cancelled\."):
                client.submit(TOGETHER)
            (fresh,) = [j for j in client.jobs() if j.job not in before]
            assert fresh.state == "cancelled"
        finally:
            stopped.resume()
