"""One consortium that is served, and one that is not, for all commands."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.parties.cli.program import Done, Up, heji, init, members_of, up


@pytest.fixture(scope="package")
def idle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A consortium nobody serves."""
    return init(tmp_path_factory.mktemp("idle"))


@pytest.fixture(scope="package")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    started = up(init(tmp_path_factory.mktemp("running")))
    try:
        yield started
    finally:
        started.process.send_signal(signal.SIGINT)
        started.process.wait(40)
    assert not members_of(started.folder)


@pytest.fixture
def ask(running: Up) -> Callable[..., Done]:
    """``heji`` with the consortium in the environment, in an empty current folder."""

    def run(*words: str | Path, **kwargs: str) -> Done:
        return heji(*words, HEJI_CONSORTIUM=str(running.folder), **kwargs)

    return run
