"""Budgets of privacy loss (P12): what a job with noise spends of the grants it goes by, and what is left of them.

A job spends its whole epsilon of each grant with a budget that it needs, once for each institution that receives it.
What was spent of a grant is the sum over all jobs of its period that used one of its columns for that institution,
whatever the policy said at the time. A later attempt of a job over the same data shows the same noise, and spends
nothing.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any

from mpc.crypto.labels import digest
from mpc.errors import LocalError
from mpc.policy.grants import Grant, Policy, write_grant
from mpc.policy.needs import Request, chosen, needs_of
from mpc.query.plan import Plan


@dataclass(frozen=True)
class Spent:
    """A column of the owner was behind noised numbers for somebody of an organisation. ``release``: what they belong
    to, the job and the state of the data; ``day``: it counts from then on."""

    release: str
    table: str
    column: str
    organisation: str
    epsilon: Fraction
    day: dt.date


@dataclass(frozen=True)
class Spending:
    """What a job spends of one grant for one organisation, and what is ``left`` of it then."""

    grant: Grant
    organisation: str
    epsilon: Fraction
    left: Fraction

    def told(self) -> dict[str, Any]:
        """As approvals, statements and logs say it; numbers as decimal text. ``grant``: a digest of its text."""
        budget = self.grant.budget
        assert budget is not None
        return {
            "grant": digest("grant", write_grant(self.grant).encode()).hex(),
            "line": self.grant.line,
            "recipient": self.organisation,
            "epsilon": decimal(self.epsilon),
            "of": decimal(Fraction(budget.epsilon)),
            "days": budget.days,
            "left": decimal(self.left),
        }


def columns_shown(plan: Plan, party: str, request: Request) -> tuple[tuple[str, str, str], ...]:
    """(table, column, organisation) that a job with noise shows, in small letters, for the node to remember."""
    if plan.noise is None or party not in plan.parties:
        return ()
    needs = needs_of(plan, party, request)
    return tuple(sorted({(n.table.lower(), n.column.lower(), n.recipient.organisation) for n in needs}))


def spendings(
    previous: Iterable[Spent], plan: Plan, party: str, policy: Policy, request: Request
) -> tuple[Spending, ...]:
    """What this plan spends. ``previous``: of other releases, whenever. Raises LocalError policy.spent."""
    if request.epsilon is None or party not in plan.parties:
        return ()
    known = tuple(previous)
    used = {
        (grant, need.recipient.organisation): None
        for need in needs_of(plan, party, request)
        if (grant := chosen(policy, need, request)) is not None and grant.budget is not None
    }
    return tuple(_spending(grant, who, known, party, request) for grant, who in used)


def balances(known: Iterable[Spent], policy: Policy, today: dt.date) -> tuple[tuple[Grant, str, Fraction], ...]:
    """What is left of each grant with a budget for each organisation that has spent of it in its period."""
    found: dict[tuple[Grant, str], dict[str, Fraction]] = {}
    for s in known:
        for grant in policy.grants:
            if _counts(s, grant, s.organisation, today):
                found.setdefault((grant, s.organisation), {})[s.release] = s.epsilon
    return tuple(
        (grant, who, Fraction(grant.budget.epsilon) - sum(spent.values()))
        for (grant, who), spent in sorted(found.items(), key=lambda f: (f[0][0].line, f[0][1]))
        if grant.budget is not None
    )


def _counts(s: Spent, grant: Grant, organisation: str, today: dt.date) -> bool:
    """Whether it was spent of this grant for this organisation, in the period that ends today."""
    period = dt.timedelta(days=grant.budget.days) if grant.budget is not None else dt.timedelta()
    return s.organisation == organisation and grant.names_column(s.table, s.column) and s.day > today - period


def _spending(grant: Grant, organisation: str, known: Sequence[Spent], party: str, request: Request) -> Spending:
    assert grant.budget is not None and request.epsilon is not None
    period = dt.timedelta(days=grant.budget.days)
    limit = Fraction(grant.budget.epsilon)
    spent = {s.release: s for s in known if _counts(s, grant, organisation, request.today)}
    gone = sum((s.epsilon for s in spent.values()), Fraction(0))
    left = limit - gone - request.epsilon
    if left >= 0:
        return Spending(grant, organisation, request.epsilon, left)
    renews = request.today
    for s in sorted(spent.values(), key=lambda s: s.day):
        left, renews = left + s.epsilon, s.day + period
        if left >= 0:
            break
    raise LocalError(
        "policy.spent",
        f"{party} allows {organisation} a privacy loss of {decimal(limit)} in {grant.budget.days} days (the grant at "
        f"line {grant.line} of its policy.toml); {decimal(gone)} was spent, and this job asks for "
        f"{decimal(request.epsilon)}.",
        (
            f"Ask for at most {decimal(limit - gone)}, or wait until {renews}. "
            if gone < limit
            else f"Wait until {renews}. "
        )
        + "The same number is not more exact for asking again: think of all you need before you spend.",
        party=party,
        line=grant.line,
        spent=decimal(gone),
        allowed=decimal(limit),
        renews=renews.isoformat(),
    )


def decimal(value: Fraction) -> str:
    """A sum of decimal numbers as text."""
    return f"{(Decimal(value.numerator) / Decimal(value.denominator)).normalize():f}"
