"""A job by the first digits of its id, as people give them."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from mpc.errors import LocalError

#: digits of an id, and the fewest that stand for it
DIGITS, SHORTEST = 64, 8
#: digits of an id where people read it; commands take them for the whole id
SHOWN_DIGITS = 16


def whole_id(begins: str, known: Callable[[], Iterable[str]], *, whose: str, advice: str) -> str:
    """The one id among ``known`` that ``begins`` so; known ids are asked for only where that can be one's beginning.

    ``whose``: what the jobs are, in the plural. Raises LocalError job.unknown where it is too short, no beginning, or
    that of several.
    """
    begins = begins.strip().lower()
    if not SHORTEST <= len(begins) <= DIGITS or not set(begins) <= set("0123456789abcdef"):
        raise LocalError(
            "job.unknown",
            f"A job id is {DIGITS} hexadecimal digits; at least its first {SHORTEST} are needed.",
            advice,
        )
    found = [job for job in known() if job.startswith(begins)]
    if len(found) != 1:
        how_many = f"{len(found)} {whose} begin" if found else f"None of the {whose} begins"
        raise LocalError("job.unknown", f"{how_many} with {begins}.", advice)
    return found[0]
