"""What every test runs under."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from mpc.protocols import size

# What lands asks the same questions each time, so that a change is refused only for what it did; HEJI_FUZZ=1 asks
# others. Machines that run much else at once are slow, not wrong: pytest-timeout alone keeps the time.
settings.register_profile(
    "heji",
    deadline=None,
    derandomize="HEJI_FUZZ" not in os.environ,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("heji")

#: a file system in memory, on Linux
MEMORY = "/dev/shm"


def pytest_configure(config: pytest.Config) -> None:
    """Members wait for the disk at every step (fsync), so their folders lie in memory where that has room for them:
    half the time of tests/parties. PYTEST_DEBUG_TEMPROOT and --basetemp name another place."""
    if os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free > 1 << 32:
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", MEMORY)


@pytest.fixture(scope="module")
def few_extras() -> Iterator[None]:
    """Sizes alone of small tables in little time."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(size, "EXTRA", 64)
        yield
