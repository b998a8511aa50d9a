"""The Python interface: ``connect`` and what its client gives, from programs with and without an event loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pytest

from mpc.errors import LocalError
from parties.modeler import connect
from parties.modeler.client import Client
from tests.parties import world
from tests.parties.conftest import serving

EXPECTED = sum(Decimal(row[2]) for bank in world.BANKS for row in world.rows_of(bank))


@pytest.fixture(scope="module")
def consortium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A consortium served from a thread of its own: the tests are programs beside it."""
    folder = world.make(tmp_path_factory.mktemp("modeler"))
    ready, over = threading.Event(), asyncio.Event()
    loop = asyncio.new_event_loop()

    async def serve() -> None:
        async with serving(folder):
            ready.set()
            await over.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()))
    thread.start()
    try:
        assert ready.wait(60)
        yield folder
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join(30)
        loop.close()


def test_catalog_explain_and_query(consortium: Path) -> None:
    with connect(consortium, as_="analyst") as heji:
        catalog = heji.catalog()
        told = heji.explain(world.TOGETHER, to="analyst")
        result = heji.query(world.TOGETHER, to="analyst")
    assert [c.name for c in catalog["bank_b"].tables[0].columns] == ["uscc", "grade", "balance"]
    assert told["verdicts"] == dict.fromkeys(world.BANKS)
    assert isinstance(result.table, pa.Table)
    assert result.table.to_pylist() == [{"together": EXPECTED, "n": 90}]
    assert result.to_pandas()["together"].tolist() == [EXPECTED]
    assert result.statement["parties"] == list(world.BANKS)
    assert result.statement["recipient"] == "analyst"


async def test_inside_a_running_event_loop(consortium: Path) -> None:
    assert asyncio.get_running_loop().is_running()
    with connect(str(consortium), as_="analyst") as heji:
        assert heji.query(world.TOGETHER).rows == [{"together": EXPECTED, "n": 90}]


def test_the_folder_comes_from_the_environment(consortium: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEJI_CONSORTIUM", str(consortium))
    with connect() as heji:  # the analyst is the only member that serves nothing
        assert heji.name == "analyst"
    with connect(as_="bank_b") as heji:
        assert heji.name == "bank_b"


def test_a_result_for_somebody_else_is_not_handed_out(consortium: Path) -> None:
    with connect(consortium, as_="analyst") as heji, pytest.raises(LocalError) as caught:
        heji.query(world.TOGETHER, to="bank_a")
    assert caught.value.code == "job.not_recipient"


def test_no_thread_is_left(consortium: Path, tmp_path: Path) -> None:
    before = client_threads()  # other tests' clients may still be there
    with connect(consortium, as_="analyst"):
        assert client_threads() > before
    assert client_threads() <= before
    with pytest.raises(LocalError):
        Client(tmp_path)  # no member's folder
    assert client_threads() <= before


def test_closed_twice_is_closed(consortium: Path) -> None:
    before = client_threads()
    heji = connect(consortium, as_="analyst")
    heji.close()
    heji.close()
    assert client_threads() <= before


def client_threads() -> set[int | None]:
    return {t.ident for t in threading.enumerate() if t.name == "heji-client"}
