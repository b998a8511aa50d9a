"""What a plan needs of one owner, and whether a grant gives it.

A ``Need`` is one column, for one use, shown to one recipient, in one kind of total. The owner's own organisation is
no recipient here: an institution's data to itself needs no grant, since totals hold no choice of others over its rows.
A need is met by one grant that passes every condition by itself; conditions of two grants are never mixed.
"""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from math import inf
from typing import Literal

from mpc.policy.grants import ALL, ANY, Grant, Policy
from mpc.query.plan import Plan
from mpc.query.plan_reveals import ColumnUse, JoinReveal, MetReveal, Reveal, RowReveal, Use

#: uses whose rules this version applies; a plan with another one is refused whatever was granted
JUDGED: frozenset[Use] = frozenset({"filter", "group", "aggregate", "extreme", "arithmetic"})
#: the same in totals over a join
JUDGED_IN_JOINS: frozenset[Use] = JUDGED | {"join", "product"}
#: of single rows of a join
JUDGED_IN_ROWS: frozenset[Use] = frozenset({"join", "join_reveal", "threshold", "row"})
#: of what the parties of a join without a helper learn
JUDGED_WHERE_MET: frozenset[Use] = frozenset({"join", "filter", "join_reveal", "threshold", "group", "aggregate"})
#: uses by which a column's values enter a total
ADDED: frozenset[Use] = frozenset({"aggregate", "extreme", "arithmetic", "product", "row"})

Obstacle = Literal[
    "column",
    "use",
    "recipient",
    "purpose",
    "trust",
    "expired",
    "manual",
    "alone",
    "contributors",
    "contributor_sets",
    "bits",
    "joined",
    "counts",
    "numbers",
    "rounded",
    "noise",
    "epsilon",
]


@dataclass(frozen=True)
class Recipient:
    """Who receives the result, as the roster lists it: ``roles`` such as "party" or "modeler"."""

    name: str
    organisation: str
    roles: tuple[str, ...] = ()

    @property
    def entry(self) -> str:
        """How a grant's ``to`` names exactly this recipient."""
        return f"modeler:{self.name}" if "modeler" in self.roles and "party" not in self.roles else self.name

    def named_by(self, entry: str) -> bool:
        kind, colon, name = entry.partition(":")
        if not colon:
            return entry in (ANY, self.name)
        return name == {"organisation": self.organisation, "modeler": self.name}.get(kind) and (
            kind != "modeler" or "modeler" in self.roles
        )


@dataclass(frozen=True)
class Request:
    """The job's facts beside its plan. ``organisations``: data party -> organisation. ``today``: the node's date.
    ``by_hand``: how many persons at the owner's have approved exactly this job and plan. ``least``: of deposits the
    fewest organisations besides the recipient's that a total is released of; None where all are in every total.
    ``open_set``: where not all are needed, a name for the set of those that will be in it, which nobody knows before
    the end. ``epsilon``: the privacy loss of a job with noise (P12)."""

    recipients: tuple[Recipient, ...]
    organisations: Mapping[str, str]
    purpose: str
    trust: str
    allow_two_party: bool
    today: dt.date
    by_hand: int = 0
    least: int | None = None
    open_set: str = ""
    epsilon: Fraction | None = None


@dataclass(frozen=True)
class Need:
    """One thing the owner must grant. ``others``: organisations in a pooled total besides the recipient's."""

    table: str
    column: str
    use: Use
    recipient: Recipient
    what: str  # the revealed value: "SUM(balance)"
    where: str  # the SQL fragment that uses the column
    alone: bool  # the owner's own total, not pooled
    others: int | None = None  # None: nothing of the owner is added to others' values
    several_sets: bool = False  # this plan adds the column to several sets of contributors
    bits: int = 0  # of a threshold: how many conditions on the column are shown, a bit for each entity
    joined: bool = False  # computed over a join
    shares: bool = True  # the share of one entity in it can be limited
    counted: bool = True  # numbers over one population can be counted, and sums of a column rounded
    exact: bool = False  # a column that also enters otherwise than in sums of its own, which could be rounded
    numbers: int = 0  # of a column that is added: how many numbers the plan lets out of one population


def needs_of(plan: Plan, party: str, request: Request) -> tuple[Need, ...]:
    """All that ``plan`` needs of ``party``, each once, in the order of the plan."""
    mixed = {c for c, sets in contributor_sets(plan, party).items() if len(sets) > 1}
    judged = {pool.name for _, pool in plan.joins if pool.dominance is not None}
    counted = {pool.name for _, pool in plan.hidden_joins if not pool.by_row}
    guarded = {pool.name: pool.hides for _, pool in plan.sizes}
    numbers = numbers_of(plan, party)
    exact = {c for p in plan.pools for s in p.sources if s.party == party for c in s.rounding.exact}
    found: dict[tuple[object, ...], Need] = {}
    conditions: dict[tuple[object, Recipient], set[str]] = defaultdict(set)
    for reveal in reveals_of(plan, party):
        for use in reveal.uses:
            for recipient in readers_of(reveal, party, request) if use.party == party else ():
                pooled = reveal.pooled and party in reveal.contributors
                need = Need(
                    use.table,
                    use.column,
                    use.use,
                    recipient,
                    reveal.what,
                    use.where,
                    alone=not reveal.pooled and not isinstance(reveal, RowReveal | MetReveal),
                    others=_others(reveal, recipient, request) if pooled else None,
                    several_sets=reveal.pooled and use.use in ADDED and column_of(use) in mixed,
                    joined=isinstance(reveal, JoinReveal),
                    shares=not isinstance(reveal, JoinReveal) or reveal.pool in judged,
                    counted=not isinstance(reveal, JoinReveal) or reveal.pool in counted,
                    exact=use.use in ADDED and column_of(use) in exact,
                    numbers=numbers.get(column_of(use), 0) if use.use in ADDED else 0,
                )
                shown = (
                    () if recipient.name in guarded.get(reveal.pool, ()) else _shown_selection(reveal, need, request)
                )
                for one in (need, *shown):
                    key = (
                        column_of(use),
                        one.use,
                        one.recipient,
                        one.alone,
                        one.others,
                        one.several_sets,
                        one.joined,
                        one.shares,
                        one.counted,
                    )
                    found.setdefault(key, one)
                    if one.use == "threshold":
                        conditions[column_of(use), one.recipient].add(one.where)
    return tuple(
        replace(n, bits=len(conditions[(n.table.lower(), n.column.lower()), n.recipient]))
        if n.use == "threshold"
        else n
        for n in found.values()
    )


def _others(reveal: Reveal, recipient: Recipient, request: Request) -> int:
    """The fewest organisations besides the recipient's that may be behind a value."""
    named = len(organisations(reveal, request) - {recipient.organisation})
    return named if request.least is None else min(named, request.least)


def _shown_selection(reveal: Reveal, need: Need, request: Request) -> Iterator[Need]:
    """What else is needed where a recipient could tell from a total over a join which of its own rows were chosen.

    Exact sums of values it knows give the set away, and so does a count that equals the size of a group it knows. Then
    the owner lets it know which keys met, and how its conditions came out. Not so of a size that is hidden where nearly
    all of the recipient's own keys met (``TallyPool.hides``).
    """
    if not isinstance(reveal, JoinReveal) or isinstance(reveal, RowReveal | MetReveal):
        return
    home = need.recipient.organisation
    if home not in {request.organisations[p] for p in reveal.joined}:
        return
    values = organisations(reveal, request)
    own_groups = not reveal.grouped_by or home in {request.organisations[p] for p in reveal.grouped_by}
    if values - {home} or (not values and not own_groups):
        return
    if need.use == "join":
        yield replace(need, use="join_reveal", others=None, where="the recipient knows the values that are added")
    elif need.use == "filter" or (need.use == "group" and reveal.grouped_by):
        yield replace(need, use="threshold", others=None)  # the owner's label chooses among rows the recipient knows


def outside(party: str, request: Request) -> tuple[Recipient, ...]:
    """The recipients that do not belong to the owner's organisation."""
    return tuple(r for r in request.recipients if r.organisation != request.organisations[party])


def readers_of(reveal: Reveal, party: str, request: Request) -> tuple[Recipient, ...]:
    """Who learns a value besides the owner's organisation: recipients, and parties whose search leads to it; of a join
    without a helper the other party."""
    if isinstance(reveal, MetReveal):
        others = (Recipient(p, request.organisations[p], ("party",)) for p in reveal.joined)
        return tuple(r for r in others if r.organisation != request.organisations[party])
    found = outside(party, request)
    named = {r.name for r in found}
    searching = (Recipient(p, request.organisations[p], ("party",)) for p in reveal.searched_by if p not in named)
    return found + tuple(r for r in searching if r.organisation != request.organisations[party])


def organisations(reveal: Reveal, request: Request) -> frozenset[str]:
    """The organisations whose values are added: two nodes of one institution are one contributor."""
    return frozenset(request.organisations[c] for c in reveal.contributors)


def column_of(use: ColumnUse) -> tuple[str, str]:
    return use.table.lower(), use.column.lower()


def contributor_sets(plan: Plan, party: str) -> dict[tuple[str, str], set[frozenset[str]]]:
    """Of each column (table, column) that enters pooled totals: the sets of parties it is added to."""
    sets: dict[tuple[str, str], set[frozenset[str]]] = defaultdict(set)
    for reveal in reveals_of(plan, party):
        for use in reveal.uses:
            if reveal.pooled and party in reveal.contributors and use.party == party and use.use in ADDED:
                sets[column_of(use)].add(frozenset(reveal.contributors))
    return dict(sets)


def numbers_of(plan: Plan, party: str) -> dict[tuple[str, str], int]:
    """Of each column (table, column) whose values are added: the most numbers over what is one population whatever the
    data."""
    found: dict[tuple[tuple[str, str], str, int], set[str]] = defaultdict(set)
    for pool in plan.pools:
        for behind in (s.behind for s in pool.sources if s.party == party):
            for number in (n for m in behind.measures for n in m.numbers):
                for i in number.populations:
                    found[behind.populations[i], pool.name, i].add(number.what)
    most: dict[tuple[str, str], int] = {}
    for (column, _, _), whats in found.items():
        most[column] = max(most.get(column, 0), len(whats))
    return most


def reveals_of(plan: Plan, party: str) -> Iterator[Reveal]:
    """The plan's reveals, and one for each table the owner's local query reads that none of them names.

    The planner should leave none out; if it does, the table's rows count as its COUNT(*), never as nothing.
    """
    yield from plan.reveals
    for pool in plan.pools:
        named = {u.table.lower() for r in plan.reveals if r.pool == pool.name for u in r.uses if u.party == party}
        for table in (t for s in pool.sources if s.party == party for t in s.tables if t.lower() not in named):
            use = ColumnUse(party, table, ALL, "aggregate", "rows read by the local query")
            yield Reveal(f"rows of {table}", pool.name, (use,), pool.parties, len(pool.parties) > 1, ())


def chosen(policy: Policy, need: Need, request: Request) -> Grant | None:
    """The grant that meets ``need``: of several the one with the smallest min_entities, for each of them suffices.

    A job with noise goes by grants with a budget where there are any, of these by the largest.
    """
    fitting = [g for g in policy.grants if not obstacles(g, need, request)]
    order = {"any": 0, "one": 1}
    return min(
        fitting,
        default=None,
        key=lambda g: (
            _preferred(g, request),
            g.min_entities,
            -(g.max_share or 1),
            -(g.max_numbers or inf),
            g.round_to or 0,
            g.min_contributors,
            order[g.contributor_sets],
            g.line,
        ),
    )


def _preferred(grant: Grant, request: Request) -> Fraction:
    """The smaller, the sooner a grant is chosen."""
    return Fraction(0) if grant.budget is None or request.epsilon is None else -Fraction(grant.budget.epsilon)


def hides(grant: Grant) -> bool:
    """Whether a grant asks for cells to be hidden by exact counts, or for exact sums to be rounded first, for which
    noise made for sums of bounded parts is too little."""
    exact = (grant.max_share, grant.max_numbers, grant.round_to)
    return grant.min_entities > 1 or any(limit is not None for limit in exact)


def not_in_joins(grant: Grant, need: Need) -> tuple[str, ...]:
    """The limits of a grant that cannot be kept in this value over a join, so that it needs another grant. A budget
    takes the place of all of them."""
    if grant.budget is not None:
        return ()
    limits = {
        "max_numbers": None if need.counted else grant.max_numbers,
        "round_to": None if need.counted else grant.round_to,
        "max_share": None if need.shares else grant.max_share,
    }
    return tuple(name for name, limit in limits.items() if limit is not None)


def obstacles(grant: Grant, need: Need, request: Request) -> tuple[Obstacle, ...]:
    """Why ``grant`` does not meet ``need``: empty if it does."""
    conditions: tuple[tuple[Obstacle, bool], ...] = (
        ("column", grant.names_column(need.table, need.column)),
        ("use", need.use in grant.uses),
        ("recipient", any(need.recipient.named_by(entry) for entry in grant.to)),
        ("purpose", ANY in grant.purposes or request.purpose in grant.purposes),
        ("trust", request.trust in grant.trust),
        ("expired", grant.expires is None or request.today <= grant.expires),
        ("manual", grant.persons <= request.by_hand),
        ("alone", grant.alone or not need.alone),
        ("contributors", need.others is None or need.others >= grant.min_contributors),
        ("contributor_sets", grant.contributor_sets == "any" or not need.several_sets),
        ("bits", need.bits <= grant.max_bits),
        ("joined", not need.joined or not not_in_joins(grant, need)),
        ("counts", not need.joined or request.epsilon is None or grant.budget is not None or not hides(grant)),
        ("rounded", grant.round_to is None or not need.exact),
        ("numbers", grant.max_numbers is None or need.numbers <= grant.max_numbers),
        ("noise", grant.budget is None or request.epsilon is not None),
        (
            "epsilon",
            grant.budget is None or request.epsilon is None or request.epsilon <= Fraction(grant.budget.epsilon),
        ),
    )
    return tuple(obstacle for obstacle, holds in conditions if not holds)
