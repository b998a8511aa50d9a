"""An owner's policy before it is in force: what changed, and example queries with the verdict they should have."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from mpc.errors import LocalError
from mpc.policy.grants import Grant, Policy, write_grant

ALLOWED = "allowed"
_LINE = re.compile(r"--\s*(to|purpose|expect|trust|allow-two-party|epsilon|entity-rows)\b\s*:?\s*(.*)")


@dataclass(frozen=True)
class Case:
    """An example query. ``expect``: "allowed", or the code of the refusal ("refused": any)."""

    sql: str
    to: tuple[str, ...]
    purpose: str
    trust: str
    allow_two_party: bool
    expect: str
    epsilon: str = ""
    entity_rows: int = 1

    def met_by(self, verdict: str) -> bool:
        """``verdict``: "allowed" or a code."""
        return verdict != ALLOWED if self.expect == "refused" else verdict == self.expect


def read_case(name: str, text: str) -> Case:
    """A file of SQL whose first lines are comments: ``-- to: analyst``, ``-- purpose: …``, ``-- expect: allowed`` or a
    code such as ``policy.refused``. Raises LocalError config.invalid."""
    said: dict[str, str] = {}
    for line in text.lstrip("\ufeff").splitlines():
        found = _LINE.fullmatch(line.strip())
        if found:
            said[found[1]] = found[2].strip()
        elif line.strip() and not line.strip().startswith("--"):
            break
    for needed in ("to", "expect"):
        if not said.get(needed):
            raise LocalError(
                "config.invalid",
                f"{name} does not say `-- {needed}: …`.",
                "Begin the file with `-- to: RECIPIENT` and `-- expect: allowed`, or the code of the refusal.",
            )
    return Case(
        text,
        tuple(r.strip() for r in said["to"].split(",") if r.strip()),
        said.get("purpose", ""),
        said.get("trust") or "helper",
        "allow-two-party" in said,
        said["expect"],
        said.get("epsilon", ""),
        int(rows) if (rows := said.get("entity-rows", "1")).isdecimal() else 0,
    )


def differences(old: Policy, new: Policy) -> Iterator[str]:
    """What changes, grant by grant: ``-`` gone, ``+`` new, as text of policy.toml. Order and comments say nothing."""
    before, after = list(map(_plain, old.grants)), list(map(_plain, new.grants))
    for grant in before:
        if grant not in after:
            yield from _marked("-", grant)
    for grant in after:
        if grant not in before:
            yield from _marked("+", grant)


def _plain(grant: Grant) -> Grant:
    """A grant in one writing: names in any order and case are the same."""
    return replace(
        grant,
        line=0,
        columns=tuple(sorted(c.lower() for c in grant.columns)),
        to=tuple(sorted(grant.to)),
        uses=tuple(sorted(grant.uses)),
        purposes=tuple(sorted(grant.purposes)),
        trust=tuple(sorted(grant.trust)),
    )


def _marked(mark: str, grant: Grant) -> Iterator[str]:
    yield from (f"{mark} {line}" for line in write_grant(grant).strip().splitlines())
    yield ""
