"""max_numbers: how many different numbers an owner lets out of one population of a column, all jobs together.

The sums of the first k powers of k values are solved for the values; so are k sums of any expressions of them. For each
population (mpc/policy/differencing.py) of a column the owner remembers which numbers were let out, to whomever, and
spoils a cell that would bring one more than the limit. Never a refusal, which would tell that the population is an
earlier one; what the plan alone shows to be too many is refused (mpc/policy/needs.py).

A *number* is the owner's expression with the owner's own value of it: where both are as before, over the same
population, it is the very number that was let out, whatever it is added to and whoever adds, and costs nothing. What
a search finds also depends on others' values: it is a number of its own in each job.

Not seen: numbers over overlapping populations. A total minus the total of a part is a number over the rest that is
counted as one over the whole.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from mpc.policy.populations import Population, Released

#: a column, the digest of a population of it, and a number
Counted = tuple[Released, bytes, bytes]


@dataclass(frozen=True, repr=False)
class Word:
    """A word of a measure. ``what``: a digest of the owner's expression; ``values``: the owner's part of each cell,
    None where the word is found by a search; ``behind``: the columns it is made of, by their places in the measure."""

    what: str
    values: Sequence[int] | None
    behind: tuple[int, ...]


@dataclass(frozen=True, eq=False, repr=False)
class Numbers:
    """What was let out so far.

    ``limits``: max_numbers, of columns that have one. ``name``: keyed; a number's name from its expression and value
    (None: of this job alone). ``before``: the numbers over the population of this digest.
    """

    limits: Mapping[Released, int]
    name: Callable[[str, int | None], bytes]
    before: Callable[[Released, bytes], Collection[bytes]]
    _now: dict[tuple[Released, bytes], set[bytes]] = field(default_factory=dict)

    def of(
        self, words: Iterable[Word], populations: Sequence[tuple[Released, Population]], cells: Sequence[int]
    ) -> list[Counted]:
        """The numbers that ``words`` of these cells, all together, are; ``populations``: of the measure's columns."""
        found = []
        for word in words:
            name = self.name(word.what, None if word.values is None else sum(word.values[c] for c in cells))
            for column, p in (populations[i] for i in word.behind):
                if len(p):
                    found.append((column, p.digest, name))
        return found

    def too_many(self, found: Iterable[Counted]) -> bool:
        """Whether a column's limit would be passed."""
        added: dict[tuple[Released, bytes], set[bytes]] = {}
        for column, population, name in found:
            added.setdefault((column, population), set()).add(name)
        return any(
            key[0] in self.limits and len(self._known(key) | names) > self.limits[key[0]]
            for key, names in added.items()
        )

    def add(self, found: Iterable[Counted]) -> None:
        for column, population, name in found:
            self._known((column, population)).add(name)

    def _known(self, key: tuple[Released, bytes]) -> set[bytes]:
        if key not in self._now:
            self._now[key] = set(self.before(*key))
        return self._now[key]
