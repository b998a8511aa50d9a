"""Checks of what was released: points, the verified-sum equation, the table, suppression (8, 10, 11, 13).

What a recipient opened is its own, and enters a bundle with its consent only (mpc.evidence.released). Without it these
checks rest on what members signed: that points were bound first, that the recipient verified, which digest it saw.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from mpc.codec import encode
from mpc.crypto import curve, labels
from mpc.crypto.sign import verify as verify_signed
from mpc.errors import HejiError, LocalError
from mpc.evidence.case import Case, Document
from mpc.evidence.findings import (
    Findings,
    Settings,
    bad,
    cast_in,
    events_of,
    good,
    if_whole,
    open_,
)
from mpc.evidence.released import Released, columns_of
from mpc.messages import Message
from mpc.policy.flow import Limits
from mpc.protocols import verified
from mpc.protocols.total import Sum
from mpc.query import finish, layout
from mpc.query.layout import Opened
from mpc.query.plan import Plan
from mpc.query.plan_joins import JoinPool, shows_rows
from mpc.query.plan_pools import Measure, Pool
from mpc.query.plan_reveals import ColumnUse
from mpc.query.reveals import reach_mask
from mpc.roles import sums_of


@dataclass(frozen=True)
class Shown:
    """What a recipient opened, given with its consent; it is what its log says."""

    recipient: str
    document: Document
    plan: Plan
    released: Released

    @property
    def sums(self) -> list[Sum]:
        return [s for s in sums_of(self.plan, self.document.what.recipients) if s.recipient == self.recipient]

    def opened(self) -> Opened:
        """The words of all pools, and which cells are suppressed."""
        totals = {s.name.rsplit("/", 1)[0]: self.released.total(s) for s in self.sums}
        return layout.read(self.plan, totals)


def shown(case: Case) -> Iterator[Shown]:
    """Of every recipient that gave what it opened, where that is what it acknowledged."""
    for r, raw in case.results.items():
        for number, d in case.attempts.items():
            told, plan = events_of(case, r, number, "revealed"), d.plan
            if told and plan is not None and told[-1].facts["result"] == labels.digest("result", raw).hex():
                yield Shown(r, d, plan, Released.from_bytes(raw))


# -- 8


def points(case: Case, _: Settings) -> Findings:
    """Every contributor signed the hash of its points before it sent data; the points are those."""
    for number, d in case.attempts.items():
        if not d.what.verified:
            yield open_("the job asked for no verified sums")
            continue
        for p in sorted(d.what.catalogs):
            part = case.parts.get(p)
            if part is None:
                continue
            sent = part.about(number, "sent")
            bound = [e.seq for e in sent if str(e.facts["step"]).endswith("/verified/hash")]
            data = [e.seq for e in sent if "/block/" in str(e.facts["step"])]
            if data and (not bound or bound[0] > data[0]):
                yield bad("{} sent data in attempt {} before it bound itself to points", p, number, by=if_whole(part))
            elif data:
                yield good("{} bound itself to points before it sent data in attempt {}", p, number)
    for s in shown(case):
        if s.plan.verified:
            yield from _points_given(case, s)


def _points_given(case: Case, s: Shown) -> Findings:
    """They are points, of the hash that was signed, and the messages that the contributor's log tells of."""
    context, number = cast_in(case, s.document, s.plan).context.digest(), s.document.attempt
    count = 0
    for total in s.sums:
        for p, bound in s.released.bound[total.name].bound.items():
            count += len(bound.points)
            if not all(map(_is_point, bound.points)):
                yield bad("{} gave something for a point of {} that is none", s.recipient, p)
            if verified.hashed(context, total, p, bound.points) != bound.word.digest:
                yield bad("the points of {} that {} gave are not those it signed the hash of", p, s.recipient)
            said: dict[str, Message] = {"hash": bound.word, "points": verified.points_message(bound.points)}
            for what, message in said.items():
                digest = hashlib.sha256(encode(message)).hexdigest()
                logged = [
                    e
                    for e in events_of(case, p, number, "sent")
                    if str(e.facts["step"]).endswith(f"{total.name}/verified/{what}")
                ]
                if any(e.facts["sha256"] != digest for e in logged):
                    yield bad("the points of {} that {} gave are not those in its log", p, s.recipient)
    yield good("{} points that {} gave are valid, signed before data moved, and those in the logs", count, s.recipient)


def _is_point(raw: bytes) -> bool:
    try:
        curve.check(raw)
    except LocalError:
        return False
    return True


# -- 10


def equations(case: Case, _: Settings) -> Findings:
    """The recipient verified the sums, and signed that it did. Where it gives what it opened, anybody verifies them."""
    for number, d in case.attempts.items():
        if not d.what.verified:
            yield open_("the job asked for no verified sums")
            continue
        for r in d.what.recipients:
            told = events_of(case, r, number, "revealed")
            if told and told[-1].facts.get("verified"):
                yield good("{} verified that the sums are of what the parties bound themselves to", r)
            elif told:
                yield bad("{} opened the sums without verifying them", r, by=r)
            else:
                yield open_("{} acknowledged no result in this bundle", r)
    for s in shown(case):
        if s.plan.verified:
            context, verify = cast_in(case, s.document, s.plan).context.digest(), partial(_verify, case)
            try:
                for total in s.sums:
                    verified.verify_opened(
                        total, s.released.total(total), s.released.bound[total.name], context, verify
                    )
            except HejiError as problem:
                # it signed that it had verified just this; whose points are not theirs, a forger may have changed
                by = s.recipient if problem.code == "protocol.sum" else ""
                yield bad("what {} opened does not verify: {}", s.recipient, problem.code, by=by)
            else:
                yield good("the equation holds for all {} sums that {} opened", len(s.sums), s.recipient)


def _verify(case: Case, who: str, purpose: str, body: bytes, signature: bytes) -> None:
    verify_signed(case.roster.members[who].identity, purpose, body, signature, party=who)


# -- 11


def results(case: Case, _: Settings) -> Findings:
    given = case.results
    for r in sorted({r for d in case.attempts.values() for r in d.what.recipients}):
        part = case.parts.get(r)
        told = [e for e in part.events if e.event == "revealed"] if part else []
        if r in given:
            if told and told[-1].facts["result"] == labels.digest("result", given[r]).hex():
                yield good("the result given for {} is the one it acknowledged", r)
            else:
                yield bad("the result given for {} is not the one in its log", r)
        elif told:
            yield good("{} acknowledged a result (digest {}); it did not give it", r, told[-1].facts["result"])
        else:
            yield open_("{} acknowledged no result in this bundle", r)
    for s in shown(case):
        yield from _computed_again(s)


def _computed_again(s: Shown) -> Findings:
    told, job = s.released.statement, s.document.what
    if (told["job"], told["recipient"], told["plan"]) != (job.id, s.recipient, s.plan.digest()):
        yield bad("the statement of {} is of another job, recipient or plan", s.recipient, by=s.recipient)
    if any(map(shows_rows, s.plan.pools)):
        yield open_("the table of {} is by row, beside rows of its own: not computed again", s.recipient)
    elif s.released.columns == columns_of(finish.finish(s.plan, s.opened())):
        yield good("the table of {} is what the plan computes from the words it opened", s.recipient)
    else:
        yield bad("the table of {} is not what the plan computes from the words it opened", s.recipient, by=s.recipient)


# -- 13


def suppression(case: Case, _: Settings) -> Findings:
    """Nothing is shown of a suppressed cell; what is shown counts as many rows as the owners' limits ask for; and no
    total beside groups gives back a single hidden one."""
    given = list(shown(case))
    for s in given:
        yield from _table_keeps(s)
        if not any(map(shows_rows, s.plan.pools)):
            yield from _cells_keep(s, s.opened())
    if given:
        return
    for d in case.attempts.values():
        for p in sorted(d.what.catalogs):
            if p in d.approvals:
                told = d.approval(p)
                yield open_(
                    "{} kept cells of fewer than {} entities and {} institutions hidden by its signed word",
                    p,
                    told["min_entities"],
                    told["min_contributors"],
                )


def _table_keeps(s: Shown) -> Findings:
    for name, _kind, hidden, values in s.released.columns:
        if any(values[i] is not None for i in hidden):
            yield bad("{}: a suppressed value of {} is shown", s.recipient, name)
    if s.released.suppressed != s.released.statement["suppressed_values"]:
        yield bad("{}: the statement tells of another number of suppressed values than the table", s.recipient)
    else:
        yield good("{}: {} values are suppressed, and none of them is shown", s.recipient, s.released.suppressed)


def _cells_keep(s: Shown, opened: Opened) -> Findings:
    for p, pool in enumerate(s.plan.pools):
        for m, measure in enumerate(pool.measures):
            hidden = opened.pools[p].suppressed[m]
            least = _fewest(s, pool, measure)
            for w in (w for w, word in enumerate(measure.words) if word.kind == "rows" and least.any()):
                counts = opened.pools[p].words[m][w]
                few = [(n, k) for n, k, h in zip(counts, least.tolist(), hidden, strict=True) if not h and 0 < n < k]
                if few:
                    yield bad("{}: a cell of {} rows is shown, where {} are the fewest", s.recipient, *few[0])
                else:
                    shown_cells = len(hidden) - sum(hidden)
                    yield good("{}: {} shown cells have at least {} rows each", s.recipient, shown_cells, least.max())
            if sum(hidden) == 1 and _margin_shown(s.plan, pool, measure.name, opened):
                facts = (s.recipient, measure.name)
                yield bad("{}: a total of {} is shown beside groups of which one is hidden: it gives it back", *facts)


def _fewest(s: Shown, pool: Pool, measure: Measure) -> NDArray[np.int64]:
    """By cell the fewest rows with which it is shown: of each owner that can have rows there as many entities as its
    limit says; in a join, the largest of the limits. A limit of 0 or 1 hides nothing."""
    told = {p: s.document.approval(p) for p in pool.parties if p in s.document.approvals}  # of deposits, who left one
    if any(t.get("noised") for t in told.values()):
        return np.zeros(pool.cells, dtype=np.int64)  # counts have noise on them
    limits = {p: Limits.from_told(t).min_entities for p, t in told.items()}
    if isinstance(pool, JoinPool):
        return np.full(pool.cells, max(limits.values(), default=0))
    least = np.zeros(pool.cells, dtype=np.int64)
    for p, k in limits.items():
        least += reach_mask(pool, measure, p) * (k if k >= 2 else 0)
    return least


def _margin_shown(plan: Plan, pool: Pool, measure: str, opened: Opened) -> bool:
    """Whether a pool of one cell shows the total of this measure over the same rows."""
    mine = _uses(plan, pool, measure)
    for q, other in enumerate(plan.pools):
        for m, one in enumerate(other.measures):
            same = other.cells == 1 < pool.cells and one.name == measure and _uses(plan, other, measure) == mine
            if same and not opened.pools[q].suppressed[m][0]:
                return True
    return False


def _uses(plan: Plan, pool: Pool, measure: str) -> set[ColumnUse]:
    """Columns that a measure of a pool derives from, but for the keys that make the groups."""
    reveals = [r for r in plan.reveals if (r.pool, r.what) == (pool.name, measure)]
    return {u for r in reveals for u in r.uses if u.use != "group"}
