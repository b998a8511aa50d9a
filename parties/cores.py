"""The cores of this machine for the CPU work of roles that is neither numpy's nor short: points and ciphertexts (P9).

Worker processes, since GMP's powers hold the interpreter's lock; started when there is enough to do, for one attempt,
and gone with it. They hear functions of mpc with their arguments, secrets among them, through pipes of this user.
"""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from typing import TypeVar

In = TypeVar("In")
Out = TypeVar("Out")

#: seconds of work left from which on it is worth starting workers, each of which imports for a second or two
WORTH = 3.0


class Cores:
    """A ``mpc.crypto.spread.Spread`` over ``count`` processes; ``close`` ends them."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._workers: ProcessPoolExecutor | None = None

    def __call__(self, f: partial[Out], chunks: Sequence[In], /) -> Iterator[Out]:
        if self._count < 2 or len(chunks) < 2:
            return map(f, chunks)
        return self._workers.map(f, chunks) if self._workers else self._begin(f, chunks)

    def _begin(self, f: partial[Out], chunks: Sequence[In]) -> Iterator[Out]:
        """Here, until it shows that there is enough to do."""
        spent = 0.0
        for done, chunk in enumerate(chunks, start=1):
            began = time.perf_counter()
            made = f(chunk)
            spent += time.perf_counter() - began
            yield made
            if spent / done * (len(chunks) - done) > WORTH:
                yield from self._started().map(f, chunks[done:])
                return

    def _started(self) -> ProcessPoolExecutor:
        # spawned, as a fork of a process with threads and channels may hang
        context = multiprocessing.get_context("spawn")
        self._workers = ProcessPoolExecutor(self._count, context, initializer=_end_with, initargs=(os.getpid(),))
        return self._workers

    def close(self) -> None:
        """End the workers; blocks until they have."""
        if self._workers is not None:
            self._workers.shutdown(wait=True, cancel_futures=True)


def _end_with(parent: int) -> None:
    """A worker whose node was killed would wait for ever: it holds both ends of its pipe."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
