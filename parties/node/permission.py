"""The owner's word: policy.toml as it stands now, asked about a plan that this node compiled itself."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import rfc8785
import structlog

from mpc.errors import LocalError
from mpc.explain import explain, render
from mpc.job import Job
from mpc.policy.budget import Spending, columns_shown, spendings
from mpc.policy.flow import (
    BitsShown,
    ContributorSet,
    Limits,
    Request,
    bits_shown,
    check,
    contributor_sets_conflict,
)
from mpc.policy.grants import BITS_DAYS, Policy, parse_policy
from mpc.policy.standing import Standing
from mpc.query.compile import PLANNER, compile_job
from mpc.query.questions import Told
from parties import files
from parties.member import Member
from parties.node.decisions import Decision, Word
from parties.node.earlier import shown_columns
from parties.node.standing import read_standing
from parties.node.store import Store
from parties.proposals import Proposed, request_of, terms_of

log = structlog.get_logger("heji.node")


def read_policy(folder: Path) -> Policy:
    """``folder``/policy.toml; without the file nothing is granted. Raises LocalError policy.*, config.missing."""
    path = folder / "policy.toml"
    try:
        return parse_policy(files.read(path, "the policy").decode() if path.exists() else "")
    except UnicodeDecodeError as problem:
        raise LocalError("policy.invalid", "policy.toml is no UTF-8 text.", "Save it as UTF-8.") from problem


@dataclass(frozen=True)
class Given:
    """Under what an owner lets a job run. ``policy``: as it was read for this question, whatever the file says since;
    ``words``: of the persons that its grants ask for, if they do; ``standing``: the standing approval that they gave
    beforehand."""

    policy: Policy
    limits: Limits
    request: Request
    words: tuple[Word, ...] = ()
    standing: Standing | None = None

    def told(self) -> dict[str, Any]:
        """As a signed approval says it, beside the limits."""
        found: dict[str, Any] = {"by_hand": [w.told() for w in self.words]} if self.words else {}
        if self.standing is not None:
            found["standing"] = {"name": self.standing.name, "digest": self.standing.digest()}
        return found


class Permission:
    """Reads the policy anew for every question, so that a changed file is in force without a restart."""

    def __init__(self, member: Member, on_question: Callable[[Job], None] = lambda _job: None) -> None:
        """``on_question``: hears of each job that persons are asked about."""
        self._member, self._on_question = member, on_question

    def policy(self) -> Policy:
        """The policy in force. Raises LocalError policy.invalid, naming the owner, and config.missing; then no job is
        approved (fail closed)."""
        try:
            return read_policy(self._member.folder)
        except LocalError as problem:
            name = self._member.name
            if problem.code != "policy.invalid":  # where the file lies is nobody else's concern
                raise LocalError(
                    problem.code,
                    f"{name}'s policy.toml cannot be read.",
                    f"Ask {name}: no job is approved there.",
                    party=name,
                ) from None
            raise LocalError(
                problem.code, f"{name}'s {problem.message}", problem.advice, **problem.facts, party=name
            ) from None

    def check(self, store: Store, proposed: Proposed, *, ask: bool) -> Given:
        """Under what this owner approves. Raises LocalError policy.*: what is missing and what to grant, or that
        persons have to decide, who are asked then (``ask``); job.state where the job was said to be over."""
        store.decisions.verify_open(proposed.job.id)
        policy = self.policy()
        try:
            return self._given(store, proposed, policy)
        except LocalError as refused:
            if refused.code != "policy.pending":
                raise
            decision, needed = self._decision(store, proposed, policy), int(refused.facts["persons"])
            if decision is not None and decision.rejection is not None:
                because = f": {decision.rejection.reason}" if decision.rejection.reason else "."
                raise LocalError(
                    "policy.rejected", f"{self._member.name} rejected the job{because}", party=self._member.name
                ) from None
            known = store.decisions.of(proposed.job.id) is not None
            # a question that was asked is asked again where the policy changed since, or asks for more persons now
            if (decision is None or decision.needed < needed) and (ask or known):
                store.earlier.remember(proposed.job.id, shown_columns(proposed.plan, self._member.name))
                store.decisions.ask(self._question(proposed, policy, needed))
                self._on_question(proposed.job)
            raise

    def statement(
        self,
        proposed: Proposed,
        given: Given,
        spendings: Sequence[Spending] = (),
        compared: Sequence[Told] | None = None,
    ) -> bytes:
        """What this member signs: exactly this job and plan, under this policy, until the job's expiry; what it spends
        of budgets; the digests of earlier questions that a join is ``compared`` with, and names of its own totals, if
        it asks for that; and whose word it was where persons decided."""
        return rfc8785.dumps(
            {
                "v": 1,
                "job": proposed.job.id,
                "plan": proposed.plan.digest(),
                "party": self._member.name,
                "policy": given.policy.digest,
                "roster": proposed.job.roster,
                "planner": PLANNER,
                "expires": proposed.job.expires,
                **given.limits.told(),
                **({"budgets": [s.told() for s in spendings]} if spendings else {}),
                **({} if compared is None else {"compared": [t if isinstance(t, str) else t.told for t in compared]}),
                **given.told(),
            }
        )

    def _given(self, store: Store, proposed: Proposed, policy: Policy) -> Given:
        """What the policy says, with the word of persons where it asks for some. Raises LocalError policy.*."""
        request = self._request(proposed)
        try:
            return Given(policy, self._limits(proposed, policy, request), request)
        except LocalError as refused:
            if refused.code != "policy.pending":
                raise
            needed = int(refused.facts["persons"])
            decision = self._decision(store, proposed, policy)
            standing: Standing | None = None
            if decision is not None and decision.state == "approved" and decision.needed >= needed:
                words = decision.approvals
            elif decision is not None and decision.rejection is not None:
                raise  # what a person refused, no earlier word lets through
            else:
                standing, words = self._standing(store, proposed, policy)
                if len(words) < needed:
                    raise
        request = replace(request, by_hand=needed)
        return Given(policy, self._limits(proposed, policy, request), request, words, standing)

    def _limits(self, proposed: Proposed, policy: Policy, request: Request) -> Limits:
        limits = check(proposed.plan, self._member.name, policy, request)
        if limits.max_numbers and not self._member.config.release_ledger:
            raise LocalError(
                "policy.unenforceable",
                f"A grant of {self._member.name} has max_numbers, which is counted in the release ledger; that is "
                "switched off here.",
                f"Let {self._member.name} set release_ledger = true in its member.toml, or take the limit out.",
            )
        return limits

    def _request(self, proposed: Proposed) -> Request:
        job = proposed.job
        request = request_of(self._member, proposed.plan, job.recipients, job.purpose, job.allow_two_party)
        if job.deposit is None:
            return request
        everybody = terms_of(self._member, proposed).all_needed
        who = "" if everybody else f"whoever deposits for {job.id[:16]}"
        return replace(request, least=job.deposit.least, open_set=who)

    def _decision(self, store: Store, proposed: Proposed, policy: Policy) -> Decision | None:
        """What was decided about exactly this job and plan under the policy as it stands."""
        found = store.decisions.of(proposed.job.id)
        same = found and (found.plan, found.policy) == (proposed.plan.digest(), policy.digest)
        return found if same else None

    def _standing(self, store: Store, proposed: Proposed, policy: Policy) -> tuple[Standing | None, tuple[Word, ...]]:
        """The standing approval of exactly this query, with uses left, that most persons have put in force.

        A mistake in standing.toml is nobody's word: persons are asked.
        """
        job, today = proposed.job, self._today()
        best: tuple[Standing | None, tuple[Word, ...]] = (None, ())
        try:
            for standing in read_standing(self._member.folder):
                words = store.standing.of(standing, policy.digest)
                if len(words) <= len(best[1]) or not standing.fits(job, today):
                    continue
                if store.standing.uses(standing, today, but=job.id) >= standing.runs:
                    continue
                # the owner's text with the job's values, compiled here, must be what would run
                mine = compile_job(replace(job, sql=standing.sql), proposed.catalogs)
                if mine.digest() == proposed.plan.digest():
                    best = (standing, words)
        except LocalError as problem:
            log.warning("standing approvals not used", code=problem.code)
            return None, ()
        return best

    def _question(self, proposed: Proposed, policy: Policy, needed: int) -> Decision:
        job, plan = proposed.job, proposed.plan
        told = render(explain(plan, job.recipients, job.deposit.method if job.deposit else "paillier"))
        return Decision(
            job.id,
            plan.digest(),
            policy.digest,
            "pending",
            needed,
            job.submitter,
            job.recipients,
            job.purpose,
            job.shown,
            told,
            self._member.clock(),
            job.expires,
        )

    def commit(self, store: Store, proposed: Proposed, snapshot: str, noise: str) -> tuple[BitsShown, ...]:
        """Before anything is sent: refuse a column that would enter totals with another set of contributors than
        before over the same snapshot (sums over different sets can be solved), conditions beyond ``max_bits``, and
        privacy loss beyond a budget; else remember these, and the use of a standing approval. ``noise``: a commitment
        to the seed of a job's noise. Returns what is spent of limits on single entities."""
        policy = self.policy()
        given = self._given(store, proposed, policy)
        before = [
            ContributorSet(t, c, who, snap) for job, t, c, who, snap in store.contributions() if job != proposed.job.id
        ]
        now = contributor_sets_conflict(before, proposed.plan, self._member.name, policy, given.request, snapshot)
        shown = self._unspent(store, proposed, policy, given.request)
        if given.standing is not None:
            store.standing.use(given.standing, proposed.job.id, self._today())
        store.record_contributions(proposed.job.id, [(s.table, s.column, s.contributors, s.snapshot) for s in now])
        store.record_bits(proposed.job.id, self._today(), [(s.table, s.column, s.organisation, s.bits) for s in shown])
        if given.request.epsilon is not None:
            store.budgets.reserve(
                proposed.job.id,
                snapshot,
                noise,
                self._today(),
                given.request.epsilon,
                columns_shown(proposed.plan, self._member.name, given.request),
                lambda others: spendings(others, proposed.plan, self._member.name, policy, given.request),
            )
        return shown

    def unspent(self, store: Store, proposed: Proposed, given: Given) -> None:
        """Raises LocalError policy.spent where the job shows too many conditions on single entities."""
        self._unspent(store, proposed, given.policy, given.request)

    def _unspent(self, store: Store, proposed: Proposed, policy: Policy, request: Request) -> tuple[BitsShown, ...]:
        since = (self._today() - dt.timedelta(days=BITS_DAYS)).isoformat()
        before = [BitsShown(t, c, who, bits) for job, t, c, who, bits in store.bits(since) if job != proposed.job.id]
        return bits_shown(before, proposed.plan, self._member.name, policy, request)

    def spendings(self, store: Store, proposed: Proposed, given: Given) -> tuple[Spending, ...]:
        """What the job spends of budgets, and what is left then. Raises LocalError policy.spent."""
        others = store.budgets.others(proposed.job.id)
        return spendings(others, proposed.plan, self._member.name, given.policy, given.request)

    def _today(self) -> dt.date:
        return dt.datetime.fromtimestamp(self._member.clock(), dt.UTC).date()


def facts_of(proposed: Proposed, policy: str) -> dict[str, Any]:
    """What the store keeps of a job. ``policy``: the digest it is approved under, "" for who only receives."""
    job = proposed.job
    return {
        "submitter": job.submitter,
        "recipients": list(job.recipients),
        "purpose": job.purpose,
        "sql": job.shown,
        "plan": proposed.plan.digest(),
        "policy": policy,
        "expires": job.expires,
    }
