"""All members of a practice consortium as processes of this machine: started, awaited, stopped (``heji up``, demo)."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
import tomllib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from mpc.errors import LocalError
from parties.config import load_config
from parties.roster import Roster

#: seconds a member gets to start, and to stop after SIGTERM before it is killed
START, STOP = 40.0, 10.0


@dataclass
class Process:
    name: str
    kind: str  # "node" or "coordinator"
    folder: Path
    popen: subprocess.Popen[bytes]
    log: Path
    address: str


@dataclass
class Processes:
    """Context manager: members run inside the ``with`` block and are gone after it, whatever happens there."""

    consortium: Path
    only: tuple[str, ...] = ()
    tell: Callable[[str], None] = lambda _line: None
    running: list[Process] = field(default_factory=list)

    def __enter__(self) -> Processes:
        try:
            members = members_to_serve(self.consortium)
            helpers = [folder for _, kind, folder in members if kind == "helper"]
            for name, kind, folder in members:
                if kind != "helper" and (not self.only or name in self.only):
                    # the coordinator's process serves the helper too
                    more = [x for h in helpers for x in ("--helper", str(h))] if kind == "coordinator" else []
                    with signals_held():
                        self.running.append(start(name, kind, folder, more=more))
            for process in self.running:
                wait_until_serving(process)
                self.tell(f"{process.name} is serving (process {process.popen.pid})")
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _exc: BaseException | None, _tb: TracebackType | None
    ) -> None:
        self.stop()

    def wait(self) -> Process:
        """Block until one of the processes ends; returns it."""
        while True:
            for process in self.running:
                if process.popen.poll() is not None:
                    return process
            time.sleep(0.2)

    def stop(self) -> None:
        """SIGTERM to all, and SIGKILL to those still there after a while, or at once where Ctrl-C comes again."""
        deadline = time.monotonic() + STOP
        try:
            for process in self.running:
                if process.popen.poll() is None:
                    process.popen.send_signal(signal.SIGTERM)
            for process in self.running:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.popen.wait(max(0.1, deadline - time.monotonic()))
        finally:
            for process in self.running:
                process.popen.kill()  # does nothing to a process that has ended
                process.popen.wait()
            self.running.clear()


def end_on_signals() -> None:
    """SIGINT and SIGTERM raise KeyboardInterrupt, also in a process that a shell started in the background, which
    inherits an ignored SIGINT. Call it before ``Processes``, whose ``with`` block then stops everything."""

    def interrupted(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, interrupted)


@contextlib.contextmanager
def signals_held() -> Iterator[None]:
    """SIGINT and SIGTERM wait until the end of this block, so that no process is started and then not known."""
    if threading.current_thread() is not threading.main_thread():  # no signals come here, and no handler may be set
        yield
        return
    came: list[int] = []
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {n: signal.signal(n, lambda number, _frame: came.append(number)) for n in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    for one in came:
        signal.raise_signal(one)


def members_to_serve(consortium: Path) -> list[tuple[str, str, Path]]:
    """(name, kind, folder) of all members below ``consortium`` that serve something, coordinators last."""
    found = []
    for settings in sorted(consortium.glob("*/member.toml")):
        folder = settings.parent
        name = tomllib.loads(settings.read_text(encoding="utf-8")).get("name", folder.name)
        roles = Roster.load(folder / "roster.json").member(name).roles
        if "party" in roles:
            found.append((name, "node", folder))
        elif "coordinator" in roles:
            found.append((name, "coordinator", folder))
        elif "helper" in roles:
            found.append((name, "helper", folder))
        elif "witness" in roles:
            found.append((name, "witness", folder))
    if not found:
        raise LocalError(
            "config.missing",
            f"{consortium} holds no members to serve.",
            "Make a practice consortium with `heji consortium init DIR --party …`.",
        )
    return sorted(found, key=lambda m: (m[1] == "coordinator", m[0]))


def start(
    name: str,
    kind: str,
    folder: Path,
    command: tuple[str, ...] = ("-m", "parties.cli"),
    more: Sequence[str] = (),
) -> Process:
    """Start one member in a process of its own; its log goes to ``log.jsonl`` in its folder."""
    log = folder / "log.jsonl"
    with log.open("ab") as sink:
        popen = subprocess.Popen(
            [sys.executable, *command, kind, "serve", str(folder), *more, "--with-parent", str(os.getpid())],
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=sink,
            start_new_session=True,
        )
    return Process(name, kind, folder, popen, log, load_config(folder).listen)


def wait_until_serving(process: Process) -> None:
    """Wait for the member's own word, in its log, that it serves. Raises LocalError with its last words if it ends."""
    words = (f'"pid": {process.popen.pid},', '"event": "serving"', f'"address": "{process.address}"')
    deadline = time.monotonic() + START
    while time.monotonic() < deadline:
        said = process.log.read_bytes().decode(errors="replace")
        if any(all(w in line for w in words) for line in said.splitlines()):
            return
        if process.popen.poll() is not None:
            raise LocalError(
                "config.invalid", f"{process.name} did not start: {said.strip()[-600:]}", f"Its log is {process.log}."
            )
        time.sleep(0.02)
    raise LocalError(
        "peer.timeout", f"{process.name} did not start within {START:.0f} s.", f"Its log is {process.log}."
    )
