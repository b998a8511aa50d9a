"""The checks as they are made over a period: of the whole range of a member's log, or of every job in it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

from mpc.evidence.case import Case
from mpc.evidence.findings import SKEW, Finding, Findings, Settings, bad, found_by, good, open_, where
from mpc.evidence.merkle import Grown, leaf_hash
from mpc.evidence.note import Checkpoint
from mpc.evidence.period import Period
from mpc.evidence.record_checks import (
    IN_TIME,
    MISSING,
    NOT_NEXT,
    SIGNED,
    approved_in_time,
    bundle_signed,
    clocks,
    cosigned,
    entries_signed,
    texts_signed,
)

OfJob = Callable[[Case, Settings], Findings]
OfPeriod = Callable[[Period, Settings], Findings]


def each(check: OfJob) -> OfPeriod:
    """A check of one job, made of all jobs. What several have in common is said once."""

    def of_all(period: Period, settings: Settings) -> Findings:
        seen: dict[tuple[object, ...], list[tuple[str, Finding]]] = {}
        for job, case in period.jobs.items():
            for f in found_by(check, case, settings):
                alike = (f.good, f.template) if f.good else (f.good, f.template, f.args, f.by)
                seen.setdefault(alike, []).append((job, f))
        for found in seen.values():
            jobs = tuple(dict.fromkeys(job for job, _ in found))
            yield replace(found[0][1], args=_in_common([f.args for _, f in found]), jobs=jobs)
        if not period.jobs:
            yield open_("no job began in this period")

    return of_all


def _in_common(args: list[tuple[object, ...]]) -> tuple[object, ...]:
    return tuple(values[0] if len(set(map(str, values))) == 1 else "…" for values in zip(*args, strict=True))


# -- 1 to 3, 16: the record


def signatures(period: Period, _: Settings) -> Findings:
    yield from bundle_signed(period.whole)
    count = yield from entries_signed(period.whole)
    for case in period.jobs.values():
        count += yield from texts_signed(case)
    yield good(SIGNED, count)


def logs(period: Period, settings: Settings) -> Findings:
    """The entries are all that the log got between two checkpoints, of which others saw the first before the period
    began and the second after it was over."""
    log, me = period.log, period.log.member
    listed, origin = period.roster.members.get(me), f"heji/{me}"
    for point in filter(None, (log.begin, log.end)):
        if listed is None or not point.signed_by(origin, listed.identity) or point.origin != origin:
            yield bad("a checkpoint of {} does not bear its signature", me)
            return
    try:
        tree = Grown(log.first, log.peaks)
    except ValueError:
        yield bad("what {} says of its log before the period does not hold together", me)
        return
    if (log.begin.size, log.begin.root) != (log.first, tree.root()) if log.begin else log.first:
        yield bad("the entries of {} do not begin where its log of {} entries ended", me, log.first)
    for raw in log.raw:
        tree.append(leaf_hash(raw))
    if (log.end.size, log.end.root) != (log.first + len(log.raw), tree.root()):
        yield bad("the entries of {} are not all that its log got until it had {}", me, log.end.size)
    yield from _seen_in_time(period)
    others = {p for case in period.jobs.values() for p in case.participants}
    yield from cosigned(period.roster, others, settings, period.whole.parts[me], log.end)


def _seen_in_time(period: Period) -> Findings:
    log, span = period.log, period.span
    if log.begin is None:
        yield good("the log of {} is here from its first entry on", log.member)
    elif any(t <= span.since + SKEW for t in _times(period, log.begin)):
        yield good("others saw the log of {} before the period began", log.member)
    else:
        yield bad("nobody else saw the log of {} before the period began: entries of it may be left out", log.member)
    if not any(t >= span.until - SKEW for t in _times(period, log.end)):
        yield open_("nobody else saw the log of {} after the period was over: its end rests on its word", log.member)


def _times(period: Period, point: Checkpoint) -> list[int]:
    """When others cosigned."""
    members = period.roster.members
    keys = {f"heji/{m}": listed.identity for m, listed in members.items() if m != period.log.member}
    return list(point.cosignatures(keys).values())


def chains(period: Period, _: Settings) -> Findings:
    """Of every job, and of what is about none, no entry is missing between two that are here."""
    me = period.log.member
    for job, part in period.parts.items():
        jobs = (job,) if job else ()
        for before, event in pairwise(part.events):
            if event.seq != before.seq + 1:
                yield replace(bad(MISSING, me, event.seq), jobs=jobs)
                break
            if event.prev != before.digest():
                yield replace(bad(NOT_NEXT, where(event, part), by=me), jobs=jobs)
                break
    yield good("{} told of {} jobs in {} entries without a gap", me, len(period.jobs), len(period.log.raw))
    if period.cut:
        yield open_("{} jobs began before: only what {} wrote since is here", len(period.cut), me)


def times(period: Period, settings: Settings) -> Findings:
    yield from clocks(period.whole)
    yield from (f for f in each(lambda case, _: approved_in_time(case))(period, settings) if f.good is False)
    yield good(IN_TIME)
