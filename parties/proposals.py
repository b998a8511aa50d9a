"""Reading a proposed job the same way everywhere: who signed it, when it expires, which catalogs it rests on, its plan.

Node, coordinator and modeler all compile the job from its text and the owners' signed catalogs; nobody takes over
another's plan.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from mpc.errors import LocalError
from mpc.job import Job, epsilon_of
from mpc.policy.flow import Recipient, Request
from mpc.protocols.deposit import DEPOSIT_KEY, Terms
from mpc.query.catalog import Catalog
from mpc.query.compile import PLANNER, compile_job
from mpc.query.plan import Plan
from mpc.roles import deposit_terms
from parties.member import Member
from parties.rpc.v1 import node_pb2

#: labels of signatures over jobs, catalogs and approvals
JOB, CATALOG, APPROVAL = "job", "catalog", "approval"
#: a job may be valid for this long at most, and clocks may differ by this much (seconds)
LONGEST_JOB, CLOCK_SKEW = 31 * 86400, 300
#: deposits may be taken for this long at most
LONGEST_DEPOSIT = 366 * 86400


@dataclass(frozen=True)
class Proposed:
    """A job that was read and found in order, with its plan."""

    raw: bytes
    job: Job
    plan: Plan
    inside: tuple[str, ...]  # recipients with a node
    helper: str = ""  # who helps with the joins of the plan, if it has any
    catalogs: Mapping[str, Catalog] = field(default_factory=dict)  # those it was compiled from

    @property
    def participants(self) -> tuple[str, ...]:
        """Members with a node that take part: data parties and recipients, and the helper of joins."""
        return tuple(sorted({*self.plan.parties, *self.inside, self.helper} - {""}))


def request_of(member: Member, plan: Plan, recipients: Iterable[str], purpose: str, allow_two_party: bool) -> Request:
    """The facts of a job that an owner's policy is asked about. Raises LocalError roster.* for who is not listed."""
    roster = member.roster
    return Request(
        recipients=tuple(Recipient(r, roster.organisation_of(r), tuple(roster.member(r).roles)) for r in recipients),
        organisations={p: roster.organisation_of(p) for p in plan.parties},
        purpose=purpose,
        trust=plan.trust,
        allow_two_party=allow_two_party,
        today=dt.datetime.fromtimestamp(member.clock(), dt.UTC).date(),
        epsilon=epsilon_of(plan.noise.epsilon) if plan.noise is not None else None,
    )


def read_job(member: Member, raw: bytes, signature: bytes | None) -> Job:
    """Check a job's form, signature, expiry, roster and recipients. ``signature`` None: a dry run."""
    job = Job.from_bytes(raw)
    submitter = member.roster.member(job.submitter)
    if not {"modeler", "party"} & set(submitter.roles):
        raise LocalError(
            "job.invalid", f"{job.submitter} may not submit jobs: the roster says neither modeler nor party."
        )
    if signature is not None:
        member.verify(job.submitter, JOB, raw, signature)
    here = member.clock()
    if job.expires <= here:
        raise LocalError("job.expired", "The job's expiry has passed.", "Submit the query again.")
    longest = LONGEST_JOB if job.deposit is None else LONGEST_DEPOSIT
    if job.created > here + CLOCK_SKEW or job.expires > here + longest + CLOCK_SKEW:
        raise LocalError(
            "job.expired",
            "The job's times lie too far in the future.",
            "Compare the clocks of the submitter and of this member.",
        )
    if job.roster != member.roster.digest():
        raise LocalError(
            "job.differs",
            f"{member.name} and {job.submitter} hold different rosters.",
            "Compare `heji roster show` at both and hand the newer one over.",
        )
    if job.planner != PLANNER:
        raise LocalError(
            "peer.version",
            f"The job was planned by {job.planner}; {member.name} runs {PLANNER}.",
            "Whoever has the older one must upgrade.",
        )
    for r in job.recipients:
        listed = member.roster.member(r)
        keyed = len(job.recipient_keys.get(r, "")) == 64 or job.deposit is not None
        if not member.has_node(r) and (r != job.submitter or not keyed):
            raise LocalError(
                "job.invalid",
                f"{r} has no node, so it must submit a job for itself, with its key in it.",
                f"Submit it as {r}, or name a recipient with a node.",
            )
        if not {"party", "modeler", "recipient"} & set(listed.roles):
            raise LocalError("job.invalid", f"{r} receives no results: the roster gives it no such role.")
    if set(job.recipient_keys) - {r for r in job.recipients if not member.has_node(r)}:
        raise LocalError("job.invalid", "The job carries keys of members that announce their own.")
    if job.deposit is not None:
        # the key that inputs are encrypted under is the recipient's own, by the identity that policies grant to
        statement = job.deposit.statement(job.recipients[0])
        member.verify(job.recipients[0], DEPOSIT_KEY, statement, bytes.fromhex(job.deposit.signature))
    return job


def read_catalogs(member: Member, signed: Iterable[node_pb2.SignedCatalog]) -> dict[str, Catalog]:
    """Catalogs by party, each under its owner's signature."""
    catalogs = {}
    for s in signed:
        member.verify(s.party, CATALOG, s.catalog, s.signature)
        catalog = Catalog.from_dict(json.loads(s.catalog))
        if catalog.party != s.party:
            raise LocalError("plan.catalog", f"{s.party} signed a catalog of {catalog.party}.")
        catalogs[s.party] = catalog
    return catalogs


def propose(member: Member, raw: bytes, signature: bytes | None, catalogs: Mapping[str, Catalog]) -> Proposed:
    """Read a job and compile its plan from exactly the catalogs it names."""
    return compiled(member, raw, read_job(member, raw, signature), catalogs)


def compiled(member: Member, raw: bytes, job: Job, catalogs: Mapping[str, Catalog]) -> Proposed:
    """The plan of a job that was read, whether or not its time is over."""
    used = {}
    for party, digest in job.catalogs.items():
        if party not in catalogs:
            raise LocalError("job.differs", f"The job rests on the catalog of {party}, which is not here.")
        if catalogs[party].digest() != digest:
            raise LocalError(
                "job.differs",
                f"{party} changed its catalog since the job was planned.",
                "Submit the query again: it will be planned on the new catalog.",
            )
        used[party] = catalogs[party]
    plan = compile_job(job, used)
    if set(plan.parties) != set(job.catalogs):
        raise LocalError(
            "job.invalid", "The job names catalogs of parties that its query does not use, or leaves some out."
        )
    inside = tuple(sorted(r for r in job.recipients if member.has_node(r)))
    proposed = Proposed(raw, job, plan, inside, helper_of(member, plan, job.recipients), used)
    if job.deposit is not None:
        terms_of(member, proposed)
    return proposed


def coordinator_of(member: Member) -> str:
    """Who keeps deposits. Raises LocalError roster.invalid."""
    found = member.roster.members_with("coordinator")
    if not found:
        raise LocalError("roster.invalid", "The roster has no coordinator.")
    return found[0]


def terms_of(member: Member, proposed: Proposed, beside: bytes = b"") -> Terms:
    """The terms of a deposit job. ``beside``: the key that came beside a job that only names it. Raises LocalError
    plan.trust, policy.contributors, protocol.point."""
    organisations = {m.name: m.organisation for m in member.roster.members}
    return deposit_terms(proposed.job, proposed.plan, coordinator_of(member), organisations, beside)


def helper_of(member: Member, plan: Plan, recipients: tuple[str, ...]) -> str:
    """Who helps with the joins and searches of a plan: the first helper of the roster; "" where there are none.

    Raises LocalError plan.helper where it belongs to an institution that takes part: with the helper's randomness a
    party could read the others' values.
    """
    if not plan.helped:
        return ""
    helpers = member.roster.members_with("helper")
    if not helpers:
        raise LocalError(
            "plan.helper",
            "The query needs a helper, and the roster has none.",
            "Add one whom all trust not to collude with a party (heji node init --role helper, heji roster add). Two "
            "parties can join without one where both let the other know which keys met: --trust parties.",
        )
    belongs = member.roster.organisation_of(helpers[0])
    inside = sorted(p for p in {*plan.parties, *recipients} if member.roster.organisation_of(p) == belongs)
    if inside:
        raise LocalError(
            "plan.helper",
            f"The helper {helpers[0]} belongs to {belongs}, as {' and '.join(inside)} does: together they could read "
            "the others' values.",
            "Let an institution without data in the job help.",
        )
    return helpers[0]
