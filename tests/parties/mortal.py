"""A member that kills itself with SIGKILL at one place, once: ``python -m tests.parties.mortal node serve DIR``.

The place stands in DIR/die-at: "round N" (before the words of round N are sent), "approve", "query", "release",
"compare" (what met without a helper), "reserve", "spend", "seed", "done" or "finish" (before that is written),
"approved", "released", "compared", "reserved", "spent", "seeded" or "finished" (after it), of deposits "make", "leave",
"take", "add" and "made", "left", "taken", "added"; "say X" or "hear X": in the first round that says or hears something
at a step with X in its path. The file is removed first, so that the next start lives.

What it says to other members is kept in DIR/said, line by line: the attempt, the step, a digest of the words.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import signal
import sys
from pathlib import Path
from typing import Any

import parties.coordinator.attempt as attempt
import parties.coordinator.deposit_store as taken
import parties.coordinator.store as coordinator_store
import parties.node.attempts as attempts
import parties.node.budgets as budgets
import parties.node.deposit_store as made
import parties.node.inputs as inputs
import parties.node.met as met
import parties.node.noise_seeds as noise_seeds
import parties.node.releases as releases
import parties.node.store as node_store
from mpc.codec import decode
from mpc.messages import Words
from parties.cli import main
from parties.drive import drive

FOLDER = Path(sys.argv[3])


def die_at(place: str) -> None:
    if wished() == place:
        die()


def die() -> None:
    (FOLDER / "die-at").unlink()
    os.kill(os.getpid(), signal.SIGKILL)


def wished() -> str:
    wish = FOLDER / "die-at"
    return wish.read_text().strip() if wish.exists() else ""


async def mortal_drive(
    *args: Any, on_round: Any = lambda *_: None, on_message: Any = lambda _: None, **kwargs: Any
) -> Any:
    me, attempt_ = args[0], secrets.token_hex(8)

    def mortal(number: int, step: Any) -> None:
        die_at(f"round {number}")
        doing, _, where = wished().partition(" ")
        if where in step.step and ((doing == "say" and step.say) or (doing == "hear" and step.hear)):
            die()
        on_round(number, step)

    def noted(sent: Any) -> None:
        if sent.sender == me and isinstance(message := decode(sent.raw), Words) and message.words.nbytes >= 64:
            with (FOLDER / "said").open("a") as file:  # closed before the words go out
                file.write(f"{attempt_} {sent.step} {hashlib.sha256(message.words.tobytes()).hexdigest()}\n")
        on_message(sent)

    return await drive(*args, on_round=mortal, on_message=noted, **kwargs)


def around(owner: Any, name: str, before: str, after: str) -> None:
    real = getattr(owner, name)

    def mortal(*args: Any, **kwargs: Any) -> Any:
        die_at(before)
        result = real(*args, **kwargs)
        die_at(after)
        return result

    setattr(owner, name, mortal)


attempts.drive = mortal_drive
attempt.drive = mortal_drive
around(node_store.Store, "approve", "approve", "approved")
around(budgets.Budgets, "reserve", "reserve", "reserved")
around(budgets.Budgets, "spend", "spend", "spent")
around(noise_seeds.NoiseSeeds, "coins", "seed", "seeded")
around(releases.Releases, "decide", "release", "released")
around(met.WhatMet, "__call__", "compare", "compared")
around(inputs.Inputs, "_vectors", "query", "queried")
around(node_store.Store, "keep_result", "keep", "kept")
around(coordinator_store.Store, "add", "submit", "submitted")
around(coordinator_store.Store, "finish", "finish", "finished")
around(made.DepositStore, "make", "make", "made")
around(made.DepositStore, "receipted", "leave", "left")
around(taken.DepositStore, "take", "take", "taken")
around(taken.DepositStore, "release", "add", "added")

if __name__ == "__main__":
    main()
