"""Check 12: what a recipient was given in all jobs of a period together stays within the owner's limits.

An owner's log says what a job spends before its data leaves: so much of a limit, in a number of days. Where the plan
can be compiled again, what it shows of single entities must be written down.
"""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from decimal import Decimal, InvalidOperation
from itertools import pairwise

from mpc.evidence.case import Case
from mpc.evidence.findings import Findings, Settings, bad, data_given, found_by, good, if_whole, open_, request_in
from mpc.evidence.period import Period
from mpc.policy.flow import conditions


@dataclass(frozen=True)
class Spent:
    """A job spent ``amount`` of what ``limit`` allows the organisation ``to`` in any ``days`` days.

    ``what``: "bits", conditions shown of the column ``of``; or "epsilon", privacy loss under the grant ``of``.
    ``release``: a job's attempts release one thing, but what was noised anew is another.
    """

    what: str
    of: str
    to: str
    amount: Decimal
    limit: Decimal
    days: int
    job: str
    time: int
    release: tuple[str, str]


#: what is spent, of which column, to whom
Account = tuple[str, str, str]


def accounts_of(period: Period) -> dict[Account, list[Spent]]:
    """What the log says was spent, in the order of time; the attempts of a job count once, since a recipient gets the
    result of one of them. Raises ValueError, KeyError for entries that do not say it."""
    found: dict[Account, dict[tuple[str, str], Spent]] = defaultdict(dict)
    for s in _spent(period):
        known = found[s.what, s.of, s.to].setdefault(s.release, s)
        if known.amount < s.amount:
            found[s.what, s.of, s.to][s.release] = s
    return {account: sorted(once.values(), key=lambda s: s.time) for account, once in sorted(found.items())}


def _spent(period: Period) -> Iterator[Spent]:
    for e in period.events("spent", "budget"):
        f, days = e.facts, int(e.facts["days"])
        if e.event == "spent":
            of, amounts = str(f["of"]), (_number(f["amount"]), _number(f["limit"]))
            yield Spent(str(f["what"]), of, str(f["to"]), *amounts, days, e.job, e.time, (e.job, ""))
        else:
            of, amounts = f"grant {str(f['grant'])[:8]}", (_number(f["epsilon"]), _number(f["of"]))
            release = (e.job, str(f.get("noise", "")))
            yield Spent("epsilon", of, str(f["recipient"]), *amounts, days, e.job, e.time, release)


def _number(text: object) -> Decimal:
    try:
        number = Decimal(str(text))
    except InvalidOperation:
        raise ValueError("an amount that is no number") from None
    if not number.is_finite() or number < 0:
        raise ValueError("an amount that is none")
    return number


def budgets(period: Period, settings: Settings) -> Findings:
    yield from _used_once(period)
    accounts = accounts_of(period)
    for account, spent in accounts.items():
        yield from _within(period, "{} {} → {}".format(*account), spent)

    def written_down(case: Case, _: Settings) -> Findings:
        for me, d, plan in data_given(case):
            for (table, column, to), (_need, bits) in conditions(plan, me, request_in(case, d, plan, me)).items():
                spent = accounts.get(("bits", f"{table}.{column}", to), [])
                if not any(s.job == case.job and s.amount >= bits for s in spent):
                    facts = (me, bits, f"{table}.{column}", to)
                    by = if_whole(case.parts[me])
                    yield bad("{} showed {} conditions on {} to {} without writing it down", *facts, by=by)

    for job, case in period.jobs.items():
        yield from (replace(f, jobs=(job,)) for f in found_by(written_down, case, settings))
    if not accounts:
        yield good("{} gave nothing that counts against a limit", period.log.member)


def _used_once(period: Period) -> Findings:
    me = period.log.member
    for job, case in period.jobs.items():
        if any(d.what.deposit is not None for d in case.attempts.values()):
            continue  # who takes a deposit back may leave another
        numbers = [e.attempt for e in case.parts[me].events if e.event == "approved"]
        if any(later <= earlier for earlier, later in pairwise(numbers)):
            yield replace(bad("{} approved an attempt twice, or one before an earlier one", me, by=me), jobs=(job,))
    yield good("no job and no attempt was approved twice")


def _within(period: Period, account: str, spent: list[Spent]) -> Findings:
    """In no ``days`` days, counted as the node does by days of UTC, was more spent than the limit was then."""
    me, most, reaches_back = period.log.member, Decimal(0), False
    for last in spent:
        begins = _day(last.time) - dt.timedelta(days=last.days)
        total = sum((s.amount for s in spent if s.time <= last.time and _day(s.time) > begins), Decimal(0))
        reaches_back |= period.log.first > 0 and begins < _day(period.span.since)
        most = max(most, total)
        if total > last.limit:
            facts = (me, account, total, last.days, last.limit)
            told = bad("{}: {} comes to {} in {} days, where {} are allowed", *facts, by=me)
            yield replace(told, jobs=(last.job,))
    yield good("{}: {} came to {} at most", me, account, most)
    if reaches_back:
        yield open_("{}: {} counts what was spent before the period too, which is not here", me, account)


def _day(time: int) -> dt.date:
    return dt.datetime.fromtimestamp(time, dt.UTC).date()
