"""Files that say what is expected, so that a change in planning or wording is seen in review.

``WRITE_FIXTURES=1 pytest tests/mpc/query`` writes them anew; read the difference before committing it.
"""

from __future__ import annotations

import os
from pathlib import Path

FIXTURES = Path(__file__).parents[2] / "fixtures" / "query"


def same(name: str, found: str) -> None:
    """Compare with the fixture of this name, or write it."""
    path = FIXTURES / name
    if os.environ.get("WRITE_FIXTURES"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(found, encoding="utf-8")
    assert found == path.read_text(encoding="utf-8"), f"{name} differs"
