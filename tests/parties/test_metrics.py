"""Counters: what they count during jobs, what they never tell, and where they are served."""

from __future__ import annotations

import re
import socket
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from mpc.errors import HejiError, LocalError
from parties.metrics import Metrics, serve
from tests.parties import world
from tests.parties.conftest import serving


def free_address() -> str:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{s.getsockname()[1]}"


def read(address: str) -> str:
    with urllib.request.urlopen(f"http://{address}/metrics", timeout=10) as reply:
        return str(reply.read().decode())


def values(text: str) -> dict[str, float]:
    """Samples by name and labels, without the times at which counters began."""
    found = re.findall(r"^(\w+(?:\{[^}]*\})?) (\S+)$", text, re.MULTILINE)
    return {name: float(value) for name, value in found if "_created" not in name}


async def test_what_is_counted_and_what_is_never_told(tmp_path: Path) -> None:
    consortium = world.make(tmp_path, grants=("aggregate",))  # not "group"
    addresses = {name: free_address() for name in ("bank_a", "coordinator")}
    for name, address in addresses.items():
        settings = consortium / name / "member.toml"
        settings.write_text(settings.read_text() + f'\nmetrics = "{address}"\n')
    async with serving(consortium) as running:
        result = await running.query(world.TOGETHER)
        job = result.statement["job"]
        with pytest.raises(HejiError) as refused:
            await running.query(world.BY_GRADE)
        texts = {name: await running.apart(read, address) for name, address in addresses.items()}
    node, coordinator = values(texts["bank_a"]), values(texts["coordinator"])

    assert refused.value.code == "policy.refused"
    assert node['heji_jobs_total{state="approved"}'] == node['heji_jobs_total{state="done"}'] == 1
    assert node['heji_refusals_total{code="policy.refused"}'] == 1
    assert node['heji_attempt_seconds_count{outcome="done"}'] == 1
    assert coordinator['heji_jobs_total{state="submitted"}'] == 2
    assert coordinator['heji_jobs_total{state="done"}'] == coordinator['heji_jobs_total{state="failed"}'] == 1
    assert coordinator['heji_refusals_total{code="policy.refused"}'] == 1
    assert coordinator['heji_message_bytes_total{direction="received"}'] > 0
    assert node['heji_message_bytes_total{direction="sent"}'] > 0

    told = "".join(texts.values())
    for secret in (
        "balance",
        "grade",
        "accounts",
        "SELECT",
        "bank_",
        "analyst",
        job[:16],
        str(result.rows[0]["together"]),
    ):
        assert secret not in told
    for address in addresses.values():
        with pytest.raises(urllib.error.URLError):  # stopped with the member
            read(address)


async def test_nothing_is_served_unless_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[object] = []
    monkeypatch.setattr("parties.metrics.start_http_server", lambda *a, **k: opened.append(a))
    async with serving(world.make(tmp_path)) as running:
        await running.query(world.TOGETHER)
    assert opened == []


def test_a_taken_address_is_named() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(LocalError, match=address) as caught:
            serve(Metrics(), address)
    assert caught.value.code == "config.invalid"


def test_an_attempt_that_fails_is_timed_too() -> None:
    metrics = Metrics()
    with pytest.raises(ZeroDivisionError), metrics.attempt():
        raise ZeroDivisionError
    assert metrics.registry.get_sample_value("heji_attempt_seconds_count", {"outcome": "failed"}) == 1
    assert metrics.registry.get_sample_value("heji_attempt_seconds_count", {"outcome": "done"}) is None
