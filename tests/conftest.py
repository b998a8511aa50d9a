"""What every test runs under."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

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
