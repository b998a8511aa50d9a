"""Which plans can be deposit sums (P10): those whose every value is one total over all of the job's parties.

A deposit is made once, on a day of its owner's choice, for a total over whoever has deposited at the end. So all that
is revealed must be words that parties compute by themselves and that are added: no joins and no searches, in which they
speak with each other. And all values must be of the same parties, so that one minimum of contributors holds for each.
"""

from __future__ import annotations

from dataclasses import replace

from mpc.errors import LocalError
from mpc.lifted import MOST_VECTORS
from mpc.query.plan import Plan
from mpc.query.plan_joins import shows_rows


def as_deposit(plan: Plan, recipients: tuple[str, ...]) -> Plan:
    """The same plan at trust level deposit. Raises LocalError plan.deposit, plan.noise."""
    if plan.noise is not None:
        raise LocalError(
            "plan.noise",
            "Deposits carry no noise.",
            "Ask for the total with --epsilon without --method, or for deposits without --epsilon.",
        )
    why, advice = "", "Ask for it with --method masked: then the parties are online together."
    if len(recipients) != 1:
        why = "deposits are encrypted under one recipient's key, and it has several recipients"
        advice = "Ask once for each recipient, on data that have changed, or let one recipient tell the others."
    elif plan.joins or any(shows_rows(p) for p in plan.pools):
        why = "in a join the parties speak with each other"
    elif any(p.rankings for p in plan.pools):
        why = "MIN, MAX and quantiles are searched for, or show one owner's value, and are no sums"
    elif plan.verified:
        why = "verified sums bind the parties in a round of their own, before any data move"
    elif len(plan.parties) > MOST_VECTORS:
        why = f"more than {MOST_VECTORS} parties would deposit"
    elif len(plan.parties) < 2 or any(tuple(sorted(r.contributors)) != plan.parties for r in plan.reveals):
        why = "not every value is a total over all of its parties, for which one minimum of contributors would hold"
        advice = "Ask in each job for totals over the same parties; a single party's total needs no deposits."
    if why:
        raise LocalError("plan.deposit", f"This query is no deposit sum: {why}.", advice)
    return replace(plan, trust="deposit")
