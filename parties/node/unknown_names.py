"""Names in policy.toml and standing.toml that nothing has: a table that is not published, a recipient who is nobody.

Nothing is wrong with such a text, and nothing is granted by it: a member may join later, a table may be published. But
mostly it is a slip, and whoever wrote it waits in vain for it to do something.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from mpc.policy.grants import ALL, ANY, Grant, Policy
from mpc.policy.standing import Standing
from mpc.query.catalog import Catalog
from parties.card import MemberCard
from parties.node.sources.database import Tables
from parties.roster import Roster


@dataclass(frozen=True)
class Known:
    """What can be named here: members of the roster, published tables. None: that is not known."""

    roster: Roster | None
    catalog: Catalog | None

    @classmethod
    def of(cls, folder: Path) -> Known:
        """As a member's folder has it. Raises LocalError roster.*, plan.catalog."""
        roster, catalog = folder / "roster.json", folder / "catalog.json"
        return cls(
            Roster.load(roster) if roster.exists() else None, Tables(folder).catalog() if catalog.exists() else None
        )

    def unknown_in(self, policy: Policy) -> Iterator[tuple[Grant, str]]:
        """Each grant that names something unknown, and what, as the end of a sentence about the grant."""
        members = self._members()
        entries = {ANY, *(m.name for m in members), *(f"organisation:{m.organisation}" for m in members)}
        entries |= {f"modeler:{m.name}" for m in members if "modeler" in m.roles}
        for grant in policy.grants:
            for what in self._unpublished(grant):
                yield grant, what
            for entry in grant.to if self.roster else ():
                if entry not in entries:
                    yield grant, f"{entry!r}, which is no member{_near(entry, entries)}"

    def strangers(self, standing: Standing) -> tuple[str, ...]:
        """Recipients and askers of a standing approval that are no members: no job is by it."""
        names = {m.name for m in self._members()}
        named = dict.fromkeys((*standing.recipients, *standing.submitters))
        return tuple(n for n in named if n not in names) if self.roster else ()

    def _members(self) -> list[MemberCard]:
        return [m for m in self.roster.members if not m.revoked] if self.roster else []

    def _unpublished(self, grant: Grant) -> Iterator[str]:
        if self.catalog is None:
            return
        tables = {t.name.lower(): [c.name for c in t.columns] for t in self.catalog.tables}
        columns = tables.get(grant.table.lower())
        if columns is None:
            near = _near(grant.table, (t.name for t in self.catalog.tables))
            yield f"table {grant.table!r}, which is not published{near}"
            return
        for column in grant.columns:
            if column != ALL and column.lower() not in (c.lower() for c in columns):
                yield f"column {column!r} of {grant.table}, which is not published{_near(column, columns)}"


def _near(word: str, known: Iterable[str]) -> str:
    near = get_close_matches(word, sorted(known), n=1)
    return f" (did you mean {near[0]!r}?)" if near else ""
