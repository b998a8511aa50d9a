"""Work for all cores: mpc starts no threads and no processes, so whoever runs a role hands in how to spread it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Protocol, TypeVar

In = TypeVar("In")
Out = TypeVar("Out")


class Spread(Protocol):
    """What ``map`` does, on as many cores as the caller has: results in the order of the chunks. Functions and chunks
    can be pickled, so the workers may be processes."""

    def __call__(self, f: partial[Out], chunks: Sequence[In], /) -> Iterator[Out]: ...


def one_core(f: partial[Out], chunks: Sequence[In], /) -> Iterator[Out]:
    """Nothing is spread."""
    return map(f, chunks)
