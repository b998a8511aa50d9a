"""The information-flow check: may this plan's values go to these recipients, as far as one owner is concerned?

Run by the owner's own node on its own compilation of the plan (query.md, Policy). For every revealed value and every
column of the owner that it derives from, along the path it takes, one grant in force must cover column, use,
recipient, purpose and trust level. What is checked, in order:

    1  every use in the plan is one this version has rules for             policy.unenforceable
    2  no total lets one of two institutions read the other, unless the
       job says so                                                         plan.two_party
    3  every need of this owner has its grant, min_contributors included   policy.refused, policy.contributors
       where grants say approval = "manual" or "two", persons decide first policy.pending
    4  limits: the strictest of the grants that were used                  -> Limits, kept inside the computation
       of a job with noise (P12), where grants have a budget: none, noise
       takes their place                                                   policy.refused where some have none

    5  before anything is sent: no column enters totals of another set of
       institutions than before over one snapshot                          contributor_sets_conflict
    6  no recipient is shown more conditions on a column than its grant
       says, all jobs of a period together                                 bits_shown -> policy.spent
    7  nor more privacy loss                                               mpc.policy.budget -> policy.spent

Steps 5 to 7 need the store's memory, so the node calls them apart. Several recipients are each judged by themselves.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from mpc.errors import LocalError
from mpc.policy import refusal
from mpc.policy.grants import BITS_DAYS, PERSONS, Grant, Policy
from mpc.policy.needs import (
    ADDED,
    JUDGED,
    JUDGED_IN_JOINS,
    JUDGED_IN_ROWS,
    JUDGED_WHERE_MET,
    Need,
    Recipient,
    Request,
    chosen,
    contributor_sets,
    hides,
    needs_of,
    obstacles,
    organisations,
    outside,
)
from mpc.query.plan import Plan
from mpc.query.plan_joins import JoinPool
from mpc.query.plan_reveals import JoinReveal, MetReveal, Reveal, RowReveal, Use

__all__ = [
    "BitsShown",
    "ContributorSet",
    "Limits",
    "Recipient",
    "Request",
    "bits_shown",
    "check",
    "contributor_sets_conflict",
    "suggest",
]


@dataclass(frozen=True)
class ColumnLimit:
    """What an owner's grants ask for of one column, in small letters. None: nothing."""

    table: str
    column: str
    max_numbers: int | None
    round_to: Decimal | None


@dataclass(frozen=True)
class Limits:
    """What the owner's node must keep to inside the computation, for the whole job.

    ``min_entities``: fewest distinct own entities in a cell that is let out; 0: the result stays in the owner's
    organisation, nothing is hidden. ``min_contributors``: 1 where no pooled total goes outside. ``max_share``: the most
    that one entity may carry of what is added in a cell; None: no limit. ``columns``: what holds of single columns.
    ``noised``: the owner's entities are protected by its own noise, and nothing may be told that is decided by exact
    counts.
    """

    min_entities: int
    min_contributors: int
    max_share: Decimal | None = None
    columns: tuple[ColumnLimit, ...] = ()
    noised: bool = False

    @property
    def max_numbers(self) -> dict[tuple[str, str], int]:
        """By table and column."""
        return {(c.table, c.column): c.max_numbers for c in self.columns if c.max_numbers is not None}

    @property
    def round_to(self) -> dict[tuple[str, str], Decimal]:
        """By table and column."""
        return {(c.table, c.column): c.round_to for c in self.columns if c.round_to is not None}

    def told(self) -> dict[str, Any]:
        """As a signed approval says it; ``from_told`` reads it back."""
        more: dict[str, Any] = {} if self.max_share is None else {"max_share": str(self.max_share)}
        more |= {"noised": True} if self.noised else {}
        if self.columns:
            more["columns"] = [
                {k: str(v) if isinstance(v, Decimal) else v for k, v in vars(c).items() if v is not None}
                for c in self.columns
            ]
        return {"min_entities": self.min_entities, "min_contributors": self.min_contributors, **more}

    @classmethod
    def from_told(cls, told: Mapping[str, Any]) -> Limits:
        share = told.get("max_share")
        return cls(
            int(told["min_entities"]),
            int(told["min_contributors"]),
            None if share is None else Decimal(str(share)),
            tuple(map(_column_limit, told.get("columns", ()))),
            bool(told.get("noised", False)),
        )


def _column_limit(told: Mapping[str, Any]) -> ColumnLimit:
    to = told.get("round_to")
    return ColumnLimit(
        str(told["table"]), str(told["column"]), told.get("max_numbers"), None if to is None else Decimal(str(to))
    )


@dataclass(frozen=True)
class ContributorSet:
    """A column of the owner was let into totals of these parties over this snapshot (digest) of its data."""

    table: str
    column: str
    contributors: frozenset[str]
    snapshot: str


@dataclass(frozen=True)
class BitsShown:
    """So many conditions on a column of the owner were shown for single entities to somebody of this organisation,
    whose grants allow it ``allowed`` in ``BITS_DAYS`` days (0 in what is read back from the past)."""

    table: str
    column: str
    organisation: str
    bits: int
    allowed: int = 0

    def told(self) -> dict[str, Any]:
        """As the owner's log says it."""
        of, amounts = f"{self.table}.{self.column}", {"amount": str(self.bits), "limit": str(self.allowed)}
        return {"what": "bits", "of": of, "to": self.organisation, **amounts, "days": BITS_DAYS}


def check(plan: Plan, party: str, policy: Policy, request: Request) -> Limits:
    """Whether ``party`` lets the plan run. Raises LocalError with everything that is missing (see module)."""
    if party not in plan.parties:
        return Limits(0, 1)  # a recipient or coordinator without data in this job has nothing to grant
    _refuse_unjudged(plan, party)
    wanted = needs_of(plan, party, request)
    unmet = [n for n in wanted if chosen(policy, n, request) is None]
    _refuse_two_party(plan, party, request, refusal.grant_text(unmet, request))
    if unmet:
        for persons in range(request.by_hand + 1, max(PERSONS.values()) + 1):
            asked = replace(request, by_hand=persons)
            if all(chosen(policy, n, asked) is not None for n in unmet):
                raise refusal.pending(party, unmet, policy, asked)
        raise refusal.refused(party, unmet, policy, request)
    used = [(n, g) for n in wanted if (g := chosen(policy, n, request))]
    min_contributors = max((g.min_contributors for n, g in used if n.others is not None), default=1)
    if any(g.budget is not None for _, g in used):
        exact = [(n, g) for n, g in used if g.budget is None and hides(g)]
        if exact:
            raise refusal.noise_and_exact(party, [n for n, _ in exact], sorted({g.line for _, g in exact}), request)
        return Limits(0, min_contributors, noised=True)
    return Limits(
        min_entities=max((g.min_entities for _, g in used), default=0),
        min_contributors=min_contributors,
        max_share=min((g.max_share for _, g in used if g.max_share is not None), default=None),
        columns=_column_limits(used),
    )


def several_wanted(plan: Plan, party: str, told: Mapping[str, Limits]) -> bool:
    """Whether this owner hides cells in which it has nothing, since some owner wants several institutions behind each.

    ``told``: what all owners approved. Raises LocalError policy.contributors where it wants that itself, and the budget
    of another, with which it adds up cells, forbids the other to tell where it has nothing. Over a join nobody hides
    cells by itself.
    """
    mine = told[party]
    beside = {
        p for pool in plan.pools if party in pool.parties and not isinstance(pool, JoinPool) for p in pool.parties
    }
    noised = sorted(p for p, limits in told.items() if limits.noised and p in beside)
    if noised and not mine.noised and mine.min_entities and mine.min_contributors > 1:
        raise LocalError(
            "policy.contributors",
            f"{party} wants {mine.min_contributors} institutions behind each cell, and {' and '.join(noised)} may not "
            "tell exactly where there is nothing, for the budget in the grants there.",
            f"Ask without --epsilon if {' and '.join(noised)} grants that too, or let {party} grant with a budget or "
            "with min_contributors = 1.",
            party=party,
        )
    return max(limits.min_contributors for limits in told.values()) > 1


def _column_limits(used: Iterable[tuple[Need, Grant]]) -> tuple[ColumnLimit, ...]:
    """Of each column whose values are added, and not only counted, the strictest of the grants used for it."""
    found: dict[tuple[str, str], list[Grant]] = {}
    for n, g in used:
        if n.use in ADDED and n.numbers:
            found.setdefault((n.table.lower(), n.column.lower()), []).append(g)
    limits = (
        ColumnLimit(
            *column,
            min((g.max_numbers for g in grants if g.max_numbers is not None), default=None),
            max((g.round_to for g in grants if g.round_to is not None), default=None),
        )
        for column, grants in sorted(found.items())
    )
    return tuple(c for c in limits if c.max_numbers is not None or c.round_to is not None)


def suggest(plan: Plan, party: str, request: Request) -> str:
    """The smallest grants, as text for policy.toml, under which ``check`` passes; "" where none is needed."""
    return refusal.grant_text(needs_of(plan, party, request), request) if party in plan.parties else ""


def contributor_sets_conflict(
    previous: Iterable[ContributorSet], plan: Plan, party: str, policy: Policy, request: Request, snapshot: str
) -> tuple[ContributorSet, ...]:
    """The sets this plan lets columns into, for the node to remember before it sends anything.

    a+b, b+c and a+c can be solved for a, b and c; so over one snapshot a column enters pooled totals with one set of
    contributors, unless the grant that ``check`` used says contributor_sets = "any". Raises LocalError
    policy.contributors. Totals that stay in the owner's organisation are not counted.
    """
    if party not in plan.parties or not outside(party, request):
        return ()
    now = contributor_sets(plan, party)
    if request.open_set:  # it is like no other set
        now = {c: {s | {request.open_set} for s in sets} for c, sets in now.items()}
    before: dict[tuple[str, str], set[frozenset[str]]] = {}
    for s in previous:
        if s.snapshot == snapshot:
            before.setdefault((s.table.lower(), s.column.lower()), set()).add(s.contributors)
    changed = {c for c, sets in now.items() if len(sets | before.get(c, set())) > 1}
    strict = [
        (n, g)
        for n in needs_of(plan, party, request)
        if n.others is not None and n.use in ADDED and (n.table.lower(), n.column.lower()) in changed
        for g in [chosen(policy, n, request)]
        if g is None or g.contributor_sets == "one"
    ]
    if strict:
        raise _solvable(party, strict, now, before)
    return tuple(
        ContributorSet(table, column, who, snapshot)
        for (table, column), sets in sorted(now.items())
        for who in sorted(sets, key=sorted)
    )


def bits_shown(
    previous: Iterable[BitsShown], plan: Plan, party: str, policy: Policy, request: Request
) -> tuple[BitsShown, ...]:
    """The conditions this plan shows for single entities, for the node to remember before it sends anything.

    Of each entity a recipient learns a bit a condition; enough of them are the value. Which entities were asked about
    nobody knows, so the bits of all jobs are counted by column. ``previous``: those of other jobs of the last
    ``BITS_DAYS`` days. Raises LocalError policy.spent.
    """
    now, shown = conditions(plan, party, request), []
    for (table, column, organisation), (n, bits) in sorted(now.items(), key=lambda item: item[0]):
        spent = sum(
            p.bits
            for p in previous
            if (p.table.lower(), p.column.lower(), p.organisation) == (table, column, organisation)
        )
        allowed = max((g.max_bits for g in policy.grants if not obstacles(g, n, request)), default=0)
        if spent + bits > allowed:
            raise LocalError(
                "policy.spent",
                f"{party} shows {organisation} at most {allowed} condition(s) on {n.table}.{n.column} in {BITS_DAYS} "
                f"days; {spent} were shown, and this job shows {bits} ({n.where}).",
                f"Wait, or let {party} raise max_bits in its policy.toml. Forty conditions on a value are the value.",
                party=party,
                table=n.table,
                column=n.column,
                spent=spent,
                allowed=allowed,
            )
        shown.append(BitsShown(table, column, organisation, bits, allowed))
    return tuple(shown)


def conditions(plan: Plan, party: str, request: Request) -> dict[tuple[str, str, str], tuple[Need, int]]:
    """How many conditions the plan shows for single entities: by table, column and the recipient's organisation."""
    found: dict[tuple[str, str, str], tuple[Need, int]] = {}
    for n in needs_of(plan, party, request) if party in plan.parties else ():
        if n.use == "threshold":
            key = (n.table.lower(), n.column.lower(), n.recipient.organisation)
            found[key] = (n, max(n.bits, found[key][1] if key in found else 0))
    return found


def _refuse_unjudged(plan: Plan, party: str) -> None:
    unjudged = sorted({u.use for r in plan.reveals for u in r.uses if u.use not in _judged(r)})
    if unjudged:
        raise LocalError(
            "policy.unenforceable",
            f"The plan uses columns for {', '.join(unjudged)}; this version of {party}'s node has no rules for that.",
            f"Ask for totals over each owner's own rows, or let {party} upgrade.",
            uses=unjudged,
        )


def _judged(reveal: Reveal) -> frozenset[Use]:
    if isinstance(reveal, MetReveal):
        return JUDGED_WHERE_MET
    if isinstance(reveal, RowReveal):
        return JUDGED_IN_ROWS
    return JUDGED_IN_JOINS if isinstance(reveal, JoinReveal) else JUDGED


def _refuse_two_party(plan: Plan, party: str, request: Request, grant: str) -> None:
    if request.allow_two_party:
        return
    for reveal in plan.reveals:
        added = organisations(reveal, request)
        learning = {r.name: r.organisation for r in request.recipients}
        learning |= {p: request.organisations[p] for p in reveal.searched_by}
        readers = [name for name, organisation in learning.items() if organisation in added]
        if reveal.pooled and len(added) == 2 and readers:
            owners = [request.organisations[c] for c in reveal.contributors]
            shared = [c for c, owner in zip(reveal.contributors, owners, strict=True) if owners.count(owner) > 1]
            raise refusal.two_party(reveal.what, readers, reveal.contributors, " and ".join(shared), grant)


def _solvable(
    party: str,
    strict: list[tuple[Need, Grant | None]],
    now: dict[tuple[str, str], set[frozenset[str]]],
    before: dict[tuple[str, str], set[frozenset[str]]],
) -> LocalError:
    columns = sorted({(n.table.lower(), n.column.lower()) for n, _ in strict})
    lines = sorted({g.line for _, g in strict if g})

    def listed(sets: set[frozenset[str]]) -> str:
        return " / ".join(sorted("+".join(sorted(s)) for s in sets))

    told = "\n".join(
        f"  - {t}.{c}: now {listed(now[t, c])}, before {listed(before.get((t, c), set())) or '-'}"
        for t, c in columns[: refusal.SHOWN]
    )
    return LocalError(
        "policy.contributors",
        f"{party} does not let a column into totals of different sets of institutions over the same data, "
        f"since single parts could be solved for:\n{told}",
        f"Ask for the same set of institutions as before, or wait until {party}'s data has changed. "
        + (
            f'{party} can allow it by contributor_sets = "any" in its grant at line {", ".join(map(str, lines))} of '
            "policy.toml."
            if lines
            else ""
        ),
        party=party,
        columns=[f"{t}.{c}" for t, c in columns],
        lines=lines,
    )
