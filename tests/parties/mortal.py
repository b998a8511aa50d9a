"""A member that kills itself with SIGKILL at one place, once: ``python -m tests.parties.mortal node serve DIR``.

The place stands in DIR/die-at: "round N" (before the words of round N are sent), "approve", "query", "done" or "finish"
(before that is written), "approved" or "finished" (after it). The file is removed first, so that the next start lives.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

import parties.coordinator.attempt as attempt
import parties.coordinator.store as coordinator_store
import parties.node.inputs as inputs
import parties.node.service as service
import parties.node.store as node_store
from parties.cli import main
from parties.drive import drive

FOLDER = Path(sys.argv[3])


def die_at(place: str) -> None:
    wish = FOLDER / "die-at"
    if wish.exists() and wish.read_text().strip() == place:
        wish.unlink()
        os.kill(os.getpid(), signal.SIGKILL)


async def mortal_drive(*args: Any, on_round: Any = lambda *_: None, **kwargs: Any) -> Any:
    def mortal(number: int, step: Any) -> None:
        die_at(f"round {number}")
        on_round(number, step)

    return await drive(*args, on_round=mortal, **kwargs)


def around(owner: Any, name: str, before: str, after: str) -> None:
    real = getattr(owner, name)

    def mortal(*args: Any, **kwargs: Any) -> Any:
        die_at(before)
        result = real(*args, **kwargs)
        die_at(after)
        return result

    setattr(owner, name, mortal)


service.drive = mortal_drive
attempt.drive = mortal_drive
around(node_store.Store, "approve", "approve", "approved")
around(inputs.Inputs, "_vectors", "query", "queried")
around(node_store.Store, "keep_result", "keep", "kept")
around(coordinator_store.Store, "add", "submit", "submitted")
around(coordinator_store.Store, "finish", "finish", "finished")

if __name__ == "__main__":
    main()
