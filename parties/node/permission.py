"""The owner's word: policy.toml as it stands now, asked about a plan that this node compiled itself."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from pathlib import Path

from mpc.errors import LocalError
from mpc.explain import explain, render
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
from parties import files
from parties.member import Member
from parties.node.decisions import Decision
from parties.node.earlier import shown_columns
from parties.node.store import Store
from parties.proposals import Proposed, request_of


def read_policy(folder: Path) -> Policy:
    """``folder``/policy.toml; without the file nothing is granted. Raises LocalError policy.*, config.missing."""
    path = folder / "policy.toml"
    try:
        return parse_policy(files.read(path, "the policy").decode() if path.exists() else "")
    except UnicodeDecodeError as problem:
        raise LocalError("policy.invalid", "policy.toml is no UTF-8 text.", "Save it as UTF-8.") from problem


class Permission:
    """Reads the policy anew for every question, so that a changed file is in force without a restart."""

    def __init__(self, member: Member) -> None:
        self._member = member

    def policy(self) -> Policy:
        """The policy in force. Raises LocalError policy.invalid; then no job is approved (fail closed)."""
        return read_policy(self._member.folder)

    def digest(self) -> str:
        return self.policy().digest

    def check(self, store: Store, proposed: Proposed, *, ask: bool) -> Limits:
        """The limits under which this owner approves. Raises LocalError policy.*: what is missing and what to grant, or
        that persons have to decide, who are asked then (``ask``)."""
        me, policy = self._member.name, self.policy()
        try:
            limits = check(proposed.plan, me, policy, self._request(store, proposed))
            self._refuse_forgetting(limits)
            return limits
        except LocalError as refused:
            if refused.code != "policy.pending":
                raise
            decision, needed = self._decision(store, proposed), int(refused.facts["persons"])
            if decision is not None and decision.rejection is not None:
                because = f": {decision.rejection.reason}" if decision.rejection.reason else "."
                raise LocalError("policy.rejected", f"{me} rejected the job{because}") from None
            known = store.decisions.of(proposed.job.id) is not None
            # a question that was asked is asked again where the policy changed since, or asks for more persons now
            if (decision is None or decision.needed < needed) and (ask or known):
                store.earlier.remember(proposed.job.id, shown_columns(proposed.plan, me))
                store.decisions.ask(self._question(proposed, policy, needed))
            raise

    def _refuse_forgetting(self, limits: Limits) -> None:
        if limits.max_numbers and not self._member.config.release_ledger:
            raise LocalError(
                "policy.unenforceable",
                f"A grant of {self._member.name} has max_numbers, which is counted in the release ledger; that is "
                "switched off here.",
                f"Let {self._member.name} set release_ledger = true in its member.toml, or take the limit out.",
            )

    def approval_of(self, store: Store, proposed: Proposed) -> Decision | None:
        """The persons' word under which a job runs; None where its grants ask for none."""
        decision = self._decision(store, proposed)
        return decision if decision is not None and decision.state == "approved" else None

    def _decision(self, store: Store, proposed: Proposed) -> Decision | None:
        """What was decided about exactly this job and plan under the policy as it stands."""
        found = store.decisions.of(proposed.job.id)
        same = found and (found.plan, found.policy) == (proposed.plan.digest(), self.policy().digest)
        return found if same else None

    def _question(self, proposed: Proposed, policy: Policy, needed: int) -> Decision:
        job, plan = proposed.job, proposed.plan
        told = render(explain(plan, job.recipients))
        return Decision(
            job.id,
            plan.digest(),
            policy.digest,
            "pending",
            needed,
            job.submitter,
            job.recipients,
            job.purpose,
            job.sql,
            told,
            self._member.clock(),
            job.expires,
        )

    def commit(self, store: Store, proposed: Proposed, snapshot: str) -> tuple[BitsShown, ...]:
        """Before anything is sent: refuse a column that would enter totals with another set of contributors than
        before over the same snapshot (sums over different sets can be solved), and conditions beyond ``max_bits``; else
        remember these, and return what is spent of limits."""
        policy = self.policy()
        before = [
            ContributorSet(t, c, who, snap) for job, t, c, who, snap in store.contributions() if job != proposed.job.id
        ]
        request = self._request(store, proposed)
        now = contributor_sets_conflict(before, proposed.plan, self._member.name, policy, request, snapshot)
        store.record_contributions(proposed.job.id, [(s.table, s.column, s.contributors, s.snapshot) for s in now])

        shown = self.unspent(store, proposed)
        store.record_bits(proposed.job.id, self._today(), [(s.table, s.column, s.organisation, s.bits) for s in shown])
        return shown

    def unspent(self, store: Store, proposed: Proposed) -> tuple[BitsShown, ...]:
        """The conditions the job shows for single entities. Raises LocalError policy.spent where they are too many."""
        since = (self._today() - dt.timedelta(days=BITS_DAYS)).isoformat()
        before = [BitsShown(t, c, who, bits) for job, t, c, who, bits in store.bits(since) if job != proposed.job.id]
        return bits_shown(before, proposed.plan, self._member.name, self.policy(), self._request(store, proposed))

    def _today(self) -> dt.date:
        return dt.datetime.fromtimestamp(self._member.clock(), dt.UTC).date()

    def _request(self, store: Store, proposed: Proposed) -> Request:
        job = proposed.job
        request = request_of(self._member, proposed.plan, job.recipients, job.purpose, job.allow_two_party)
        word = self.approval_of(store, proposed)
        return replace(request, by_hand=word.needed if word else 0)
