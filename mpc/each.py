"""Work side by side, without mpc knowing how: whoever runs a role hands in what applies a function to many things."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol, TypeVar

T = TypeVar("T")
R = TypeVar("R")


class Each(Protocol):
    """Applies a function to many things and gives the outcomes in order: ``map``, or that of an executor."""

    def __call__(self, function: Callable[[T], R], things: Iterable[T], /) -> Iterable[R]: ...
