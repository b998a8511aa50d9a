"""Notifications: signed, without SQL, tried again within bounds, and never in the way of a job."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

import parties.coordinator.service as coordinator
from mpc.errors import HejiError, LocalError
from mpc.job import Job
from parties.config import load_config
from parties.node import webhook as module
from parties.node.decisions import Word
from parties.node.store import Store
from parties.node.webhook import Webhook, key_of
from tests.parties import world
from tests.parties.conftest import serving
from tests.parties.test_by_hand import HAND, by_hand, waiting

PURPOSE = 'a "purpose" </script>'


class Receiver:
    """The owner's own system: keeps what it is told, answers as it is told to."""

    def __init__(self) -> None:
        self.told: list[dict[str, Any]] = []
        self.raw: list[tuple[bytes, str]] = []
        self.answers: list[int] = []
        self.heard = threading.Condition()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                with outer.heard:
                    status = outer.answers.pop(0) if outer.answers else 204
                    outer.raw.append((body, self.headers["Heji-Signature"]))
                    outer.told.append(json.loads(body))
                    outer.heard.notify_all()
                self.send_response(status)
                self.send_header("Location", "http://127.0.0.1:1/elsewhere")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook?from=heji"
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def until(self, enough: Callable[[list[dict[str, Any]]], bool]) -> list[dict[str, Any]]:
        with self.heard:
            assert self.heard.wait_for(lambda: enough(self.told), 30), self.told
            return list(self.told)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.server.shutdown()
    made.server.server_close()


@pytest.fixture
def hook(tmp_path: Path, receiver: Receiver) -> Iterator[Webhook]:
    (tmp_path / "keys").mkdir()
    made = Webhook(tmp_path, "bank_b", receiver.url, lambda: 1000, pauses=(0.0, 0.0))
    yield made
    made.close()


def job(sql: str = "SELECT 'secret'") -> Job:
    return Job(sql, "analyst", ("analyst",), "r", {}, "00" * 16, 1, 2, purpose=PURPOSE, parameters={"x": "secret"})


def test_what_is_said_and_how_it_is_signed(hook: Webhook, receiver: Receiver, tmp_path: Path) -> None:
    hook.job("waiting", job())
    hook.job("waiting", job())  # the same twice is said once
    hook.job("refused", job(), 2, "policy.refused")
    hook.node("stopped")
    told = receiver.until(lambda t: len(t) == 3)
    assert {k: v for k, v in told[0].items() if k != "id"} == {
        "v": 1,
        "at": 1000,
        "member": "bank_b",
        "event": "waiting",
        "job": job().id,
        "attempt": 0,
        "submitter": "analyst",
        "recipients": ["analyst"],
        "purpose": PURPOSE,
        "code": "",
    }
    assert (told[1]["event"], told[1]["attempt"], told[1]["code"]) == ("refused", 2, "policy.refused")
    assert told[2]["event"] == "stopped" and len({t["id"] for t in told}) == 3
    for body, signature in receiver.raw:
        assert signature == "sha256=" + hmac.new(key_of(tmp_path), body, hashlib.sha256).hexdigest()
        assert b"secret" not in body and b"SELECT" not in body
    assert (tmp_path / "keys" / "webhook-key").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    ("answers", "tries"), [([500, 503], 3), ([429, 204], 2), ([404], 1), ([302], 3), ([500, 500, 500], 3)]
)
def test_it_is_tried_again_within_bounds(hook: Webhook, receiver: Receiver, answers: list[int], tries: int) -> None:
    receiver.answers = answers * 3 if answers == [302] else list(answers)
    hook.job("waiting", job())
    receiver.until(lambda t: len(t) == tries)
    receiver.answers = []
    hook.job("done", job())  # and the next one comes through
    told = receiver.until(lambda t: t[-1]["event"] == "done")
    assert [t["event"] for t in told] == ["waiting"] * tries + ["done"]
    assert len({t["id"] for t in told}) == 2


def test_what_nobody_takes_is_dropped_and_nothing_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "keys").mkdir()
    monkeypatch.setattr(module, "MOST", 3)
    monkeypatch.setattr(module, "AT_THE_END", 0.1)
    hook = Webhook(tmp_path, "bank_b", "http://127.0.0.1:1/", lambda: 1, pauses=(1000.0,))
    for n in range(10):
        hook.job("waiting", job(str(n)))  # returns at once, however many
    hook.close()
    assert hook._thread is not None
    hook._thread.join(10)
    assert not hook._thread.is_alive()


def test_without_an_address_nothing_happens(tmp_path: Path) -> None:
    hook = Webhook(tmp_path, "bank_b", "", lambda: 1)
    hook.job("waiting", job())
    hook.close()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("url", "good"),
    [
        ("https://alerts.bank.example/heji?x=1", True),
        ("https://alerts.bank.example:8443", True),
        ("http://127.0.0.1:9000/x", True),
        ("http://localhost/x", True),
        ("http://[::1]:9000", True),
        ("http://alerts.bank.example/", False),
        ("http://127.0.0.1.evil.example/", False),
        ("http://127.0.0.1@evil.example/", False),
        ("https://user:secret@alerts.bank.example/", False),
        ("ftp://alerts.bank.example/", False),
        ("https://alerts.bank.example/ x", False),
    ],
)
def test_addresses(tmp_path: Path, url: str, good: bool) -> None:
    (tmp_path / "member.toml").write_text(f'name = "bank_b"\nwebhook = "{url}"\n')
    if good:
        assert load_config(tmp_path).webhook == url
        return
    with pytest.raises(LocalError) as caught:
        load_config(tmp_path)
    assert "webhook" in caught.value.message and "secret" not in str(caught.value)


async def test_a_node_tells(tmp_path: Path, receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coordinator, "WAIT", 0.05)
    consortium = by_hand(tmp_path)
    settings = consortium / HAND / "member.toml"
    settings.write_text(settings.read_text() + f'\nwebhook = "{receiver.url}"\n')
    async with serving(consortium) as running:
        asked = await running.ask("analyst", "submit", world.TOGETHER, "analyst", purpose=PURPOSE)
        await waiting(running, asked.id)
        store = Store(consortium / HAND / "state" / "node.db", b"\x00" * 32)
        store.decisions.decide(asked.id, Word("Li Na", 1, "", "command"))
        await running.ask("analyst", "wait", asked.id)
        told = await asyncio.to_thread(receiver.until, lambda t: t[-1:] and t[-1]["event"] == "done")
        assert [(t["event"], t["job"]) for t in told] == [(e, asked.id) for e in ("waiting", "approved", "done")]
        assert told[0]["purpose"] == PURPOSE

        no = await running.ask("analyst", "submit", world.BY_GRADE)
        await waiting(running, no.id)
        store.decisions.decide(no.id, Word("Li Na", 1, "not now", "command", approves=False))
        with pytest.raises(HejiError):
            await running.ask("analyst", "wait", no.id)
        told = await asyncio.to_thread(receiver.until, lambda t: t[-1]["event"] == "refused")
        assert told[-1]["code"] == "policy.rejected" and [t["event"] for t in told[3:]] == ["waiting", "refused"]
        store.decisions.stop(Word("Li Na", 1, "", "command"), now=True)
        await asyncio.to_thread(receiver.until, lambda t: t[-1]["event"] == "stopped")
        store.close()
        assert "not now" not in str(receiver.told)
