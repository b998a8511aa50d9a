from __future__ import annotations

import pytest

from parties.demo.tables import DemoTable, prepare


@pytest.fixture(scope="session")
def tables(tmp_path_factory: pytest.TempPathFactory) -> tuple[DemoTable, ...]:
    """The demo's files as `heji demo` prepares them."""
    return prepare(tmp_path_factory.mktemp("demo"))
