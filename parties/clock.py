"""The one place that reads the clock."""

from __future__ import annotations

import time


def now() -> int:
    """Unix seconds."""
    return int(time.time())
