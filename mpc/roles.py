"""What each participant does in a job, from its first word to its last: read this to follow a job.

    data party     agree on keys (P0) → of joins, compute its words on shares (mpc.joint), or without a helper
                   (mpc.pair); of MIN, MAX and quantiles, search for them with the others (mpc.protocols.ranked) → say
                   its masked vectors (P3)
                   → if it receives: hear the totals, open them
    coordinator    agree → add what the data parties say → hand the masked totals to recipients with a node,
                   keep them for the others
    helper         agree → match tags and deal for the joins, deal for the searches
    recipient      with a node: agree → hear and open; without: fetch totals and proof later, ``open_outside``

A role is a generator of rounds; its inputs are the member's session (coins), the cast and the ring words.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain

import numpy as np

from mpc import joint, pair
from mpc.coins import Coins
from mpc.crypto import lattice
from mpc.crypto.labels import digest
from mpc.crypto.paillier import PublicKey
from mpc.crypto.spread import Spread, one_core
from mpc.job import Job
from mpc.joint_setup import Joint, joint_of
from mpc.joint_sides import SideRows
from mpc.messages import RingWords
from mpc.pair import Hide, Pair
from mpc.policy.flow import Limits
from mpc.protocols import ranked, total, verified
from mpc.protocols.agree import Agreement, Context, Sign, Verify, agree, pair_coins, verify_agreement
from mpc.protocols.deposit import Terms
from mpc.protocols.deposit_lattice import NamedKey, scheme_of
from mpc.protocols.dominance import THOUSANDTHS
from mpc.protocols.ranked import Found, OwnValues, Search
from mpc.protocols.total import Sum
from mpc.protocols.verified import Binding
from mpc.query.plan import Plan
from mpc.query.plan_joins import ComparedPool
from mpc.query.plan_pools import Ring
from mpc.rounds import Rounds, Session
from mpc.traffic import pair_traffic, search_traffic, traffic

#: masked or opened totals by the name of their sum
Totals = dict[str, RingWords]


@dataclass(frozen=True)
class Cast:
    """Who plays what: ``context`` for P0, the coordinator's name, the secure sums in their order, the joins by the
    number of their pool, with a helper (``joints``) or without (``pairs``), and the searches."""

    context: Context
    coordinator: str
    sums: tuple[Sum, ...]
    verified: bool = False
    joints: tuple[tuple[int, Joint], ...] = ()
    pairs: tuple[tuple[int, Pair], ...] = ()
    searches: tuple[Places, ...] = ()

    @property
    def helper(self) -> str:
        """Who helps with joins and searches; "" where there are none."""
        helpers = (*(j.helper for _, j in self.joints), *(p.search.helper for p in self.searches if not p.search.alone))
        return next(iter(helpers), "")

    def said_by(self, name: str) -> list[Sum]:
        return [s for s in self.sums if name in s.contributors]

    def heard_by(self, name: str) -> list[Sum]:
        return [s for s in self.sums if s.recipient == name]


@dataclass(frozen=True)
class Places:
    """A search for values by their place (mpc.protocols.ranked), and where its words stand in the vectors of its pool:
    ``columns`` as (measure, word, range), word -1 the flag. ``measures``: their numbers in the pool."""

    pool: int
    measures: tuple[int, ...]
    search: Search
    columns: tuple[tuple[int, int, slice], ...]

    def put(self, found: Found, vector: RingWords, *, first: bool) -> RingWords:
        """The pool's vector of 64-bit words with what was found in place of what stood there. All parties of the search
        know it; the first one says it."""
        out = vector.copy()
        for i, w, at in self.columns:
            value = found.words[i][w] * found.shown[i] if w >= 0 else (~found.shown[i]).astype(np.int64)
            out[at] = value.view(np.uint64) if first else 0
        return out


@dataclass
class Outcome:
    """How a role ended: the proof of agreement, and totals (opened at a recipient, masked at the coordinator)."""

    agreement: Agreement
    totals: Totals = field(default_factory=dict)
    #: of verified sums: at the coordinator what recipients without a node verify them with; at a recipient, without
    #: masks, what anybody to whom it shows the sum verifies it with
    bindings: dict[str, Binding] = field(default_factory=dict)


def cast_of(
    job_bytes: bytes,
    attempt: int,
    plan: Plan,
    *,
    coordinator: str,
    inside: tuple[str, ...],
    approvals: Mapping[str, bytes] | None,
    helper: str = "",
    compared: Mapping[int, ComparedPool] | None = None,
) -> Cast:
    """The cast of one attempt: the same at every member that holds the same job, plan and approvals.

    ``inside``: the recipients that run a node; the others' keys stand in the job. ``approvals``: party -> the exact
    bytes of its signed approval, so that all members also agree on what each of them was told; None while they are not
    known, for what may be said at most. ``helper``: who is it, where the plan has joins. ``compared``: by the number of
    their pool the joins that are compared with what was asked before (``compile_compared``); needed by whoever computes
    them, and by nobody else.
    """
    job = Job.from_bytes(job_bytes)
    seats = {*plan.parties, *inside, coordinator} | ({helper} if plan.helped else set())
    participants = tuple(sorted(seats))
    # the longest is a join in which shares are limited, however they are, and a size whatever it is
    told = None if approvals is None else {p: Limits.from_told(json.loads(a)) for p, a in approvals.items()}
    least, most = (0, 0) if told is None else _strictest(told.values())
    round_to = (
        None if told is None else {(p, *c): to for p, limits in told.items() for c, to in limits.round_to.items()}
    )
    pools = {**dict(plan.hidden_joins), **(compared or {} if least > 1 else {})}
    joints = tuple((p, joint_of(pool, helper, least, most, round_to)) for p, pool in pools.items())
    pairs = tuple((p, Pair(pool, pool.most if approvals is None else least)) for p, pool in plan.tallies)
    approved = [part for name, told in sorted((approvals or {}).items()) for part in (name.encode(), told)]
    statement = digest("statement", job_bytes, bytes.fromhex(job.roster), bytes.fromhex(plan.digest()), *approved)
    outside = {r: bytes.fromhex(job.recipient_keys[r]) for r in job.recipients if r not in inside}
    context = Context(bytes.fromhex(job.id), attempt, statement, participants, outside)
    sums = sums_of(plan, job.recipients)
    return Cast(context, coordinator, sums, plan.verified, joints, pairs, tuple(searches_of(plan, helper)))


def deposit_terms(
    job: Job, plan: Plan, coordinator: str, organisations: Mapping[str, str], beside: bytes = b""
) -> Terms:
    """The terms of a deposit job, whose parties leave their words on days of their own (P10): no attempt, no cast.

    ``organisations``: of all members. ``beside``: a lattice key, which the job only names, where it is at hand. Raises
    LocalError plan.trust, policy.contributors, protocol.point.
    """
    assert job.deposit is not None
    told = bytes.fromhex(job.deposit.key)
    key: PublicKey | NamedKey
    if job.deposit.method == "paillier":
        key = PublicKey.from_bytes(told)
    else:
        key = NamedKey(scheme_of(job.deposit.method), told, lattice.PublicKey.from_bytes(beside) if beside else None)
    [recipient] = job.recipients
    return Terms(
        job.id,
        plan.digest(),
        plan.parties,
        recipient,
        coordinator,
        {m: organisations[m] for m in (*plan.parties, recipient, coordinator)},
        key,
        job.deposit.least,
        sums_of(plan, job.recipients),
    )


def deposit_cast(job: Job, plan: Plan, terms: Terms) -> Cast:
    """What a depositor computes its words for: the sums, and no keys that anybody agrees on."""
    return Cast(Context(bytes.fromhex(job.id), 1, bytes.fromhex(plan.digest()), (), {}), terms.coordinator, terms.sums)


def searches_of(plan: Plan, helper: str) -> Iterator[Places]:
    """The searches of a plan, pool by pool."""
    for p, pool in enumerate(plan.pools):
        at = plan.offsets(p, 64)
        for r, search in zip(pool.rankings, pool.searches(helper), strict=True):
            columns = tuple(
                (i, w, at[m.measure, w]) for i, m in enumerate(r.measures) for w in (*range(len(m.searched.tests)), -1)
            )
            yield Places(p, tuple(m.measure for m in r.measures), search, columns)


def _strictest(limits: Collection[Limits]) -> tuple[int, int | None]:
    """The owners' min_entities and max_share in thousandths, of which the strictest hold for all."""
    shares = [int(limit.max_share * THOUSANDTHS) for limit in limits if limit.max_share is not None]
    return max((limit.min_entities for limit in limits), default=0), min(shares, default=None)


def allowed_bytes(cast: Cast, sender: str, receiver: str) -> int:
    """The most that ``sender`` may say to ``receiver`` in this attempt: what the cast needs, and not a block more."""
    header = 64  # protobuf framing of a message of words; announcements and agreements take 104 bytes each
    size = 2 * (96 + header)
    for s in cast.sums:
        contributed = receiver == cast.coordinator and sender in s.contributors
        delivered = sender == cast.coordinator and receiver == s.recipient
        if contributed or delivered:
            size += s.length * s.bits // 8 + header * sum(1 for _ in s.blocks())
        if cast.verified:
            size += _binding_bytes(s, sender, receiver, cast.coordinator, header)
    joined = chain(*(traffic(j) for _, j in cast.joints), *(pair_traffic(j) for _, j in cast.pairs))
    size += sum(t.bytes + header * t.messages for t in joined if (t.sender, t.receiver) == (sender, receiver))
    for p in cast.searches:
        said = (t for t in search_traffic(p.search) if (t.sender, t.receiver) == (sender, receiver))
        size += sum(t.bytes + header * t.messages for t in said)
    return size


def _binding_bytes(s: Sum, sender: str, receiver: str, coordinator: str, header: int) -> int:
    """What members say about a verified sum besides the sum."""
    word, column = 96 + header, 32 * verified.blocks(s) + header
    if sender in s.contributors and receiver in s.contributors:
        return word
    if sender in s.contributors and receiver == coordinator:
        return word + 2 * column
    if sender == coordinator and receiver == s.recipient:
        return len(s.contributors) * (word + column) + column
    return 0


def rounds_of(cast: Cast, name: str) -> int:
    """How many rounds the role of ``name`` has, for progress."""
    said = [s for s in cast.sums if name in s.contributors or name == cast.coordinator]
    heard = [
        s for s in cast.sums if s.recipient in cast.context.participants and name in (s.recipient, cast.coordinator)
    ]
    every = chain(*(traffic(j) for _, j in cast.joints), *(pair_traffic(j) for _, j in cast.pairs))
    joined = sum(t.messages for t in every if name in (t.sender, t.receiver))
    joined += sum(t.messages for p in cast.searches for t in search_traffic(p.search) if name in (t.sender, t.receiver))
    bound = sum(3 if s in said else 2 * len(s.contributors) + 1 for s in said + heard) if cast.verified else 0
    return 2 + joined + bound + sum(1 for s in said + heard for _ in s.blocks())


def sums_of(plan: Plan, recipients: tuple[str, ...]) -> tuple[Sum, ...]:
    """The secure sums of a plan: one for each pool, ring and recipient, in a fixed order."""
    return tuple(
        Sum(sum_name(p, bits, recipient), pool.parties, recipient, bits, length)
        for p, pool in enumerate(plan.pools)
        for bits in (64, 128)
        if (length := vector_length(plan, p, bits))
        for recipient in sorted(recipients)
    )


def sum_name(pool: int, bits: Ring, recipient: str) -> str:
    return f"pool{pool}/w{bits}/{recipient}"


def pool_of(name: str) -> int:
    """The pool whose words the sum of this name adds."""
    return int(name.split("/")[0].removeprefix("pool"))


def ring_of(s: Sum) -> Ring:
    return 64 if s.bits == 64 else 128


def vector_length(plan: Plan, pool: int, bits: Ring) -> int:
    """Elements in the vector of one pool and ring."""
    return sum(cells for p, _, _, cells in plan.columns(bits) if p == pool)


def play_party(
    session: Session,
    cast: Cast,
    vectors: Mapping[str, RingWords],
    sign: Sign,
    verify: Verify,
    rows: Mapping[int, Mapping[str, SideRows]] | None = None,
    values: Mapping[str, Sequence[OwnValues]] | None = None,
    spread: Spread = one_core,
    hiding: Mapping[int, Hide] | None = None,
) -> Rounds[Outcome]:
    """A member with a node: data party, recipient, or both. ``vectors`` by name of the sum, for those it adds to;
    ``rows`` by number of the pool and name of the side, for the joins it has a side in; ``values`` by name of the
    search, for those it takes part in; ``spread``: its cores; ``hiding`` by number of the pool, for joins without a
    helper of which it keeps something back once it knows what met."""
    speaking, agreement = yield from _agree(session, cast, sign, verify)
    joined: dict[int, Mapping[Ring, RingWords]] = {}
    for p, j in cast.joints:
        if session.me in j.circle.holders:
            joined[p] = yield from joint.play(speaking, j, (rows or {})[p])
    for p, two in cast.pairs:
        if session.me in two.blind.sides:
            joined[p] = yield from pair.play(speaking, two, (rows or {})[p], spread, (hiding or {}).get(p))
    found: list[tuple[Places, Found]] = []
    for places in cast.searches:
        if session.me in places.search.parties:
            own = (values or {})[places.search.name]
            found.append((places, (yield from ranked.play(speaking, places.search, own))))
    for s in cast.said_by(session.me):
        p = pool_of(s.name)
        mine = joined[p][ring_of(s)] if p in joined else vectors[s.name]
        for places, what in found:
            if (places.pool, 64) == (p, ring_of(s)):
                mine = places.put(what, mine, first=session.me == places.search.parties[0])
        if cast.verified:
            here = cast.context.digest()
            yield from verified.contribute(speaking, s, mine, cast.coordinator, here, sign, verify, spread)
        else:
            yield from total.contribute(speaking, s, mine, cast.coordinator)
    outcome = Outcome(agreement)
    for s in cast.heard_by(session.me):
        if cast.verified:
            here = cast.context.digest()
            said = yield from verified.receive(speaking, s, cast.coordinator, here, verify)
            outcome.totals[s.name], outcome.bindings[s.name] = said
        else:
            outcome.totals[s.name] = yield from total.receive(speaking, s, cast.coordinator)
    return outcome


def play_helper(session: Session, cast: Cast, sign: Sign, verify: Verify) -> Rounds[Outcome]:
    """The helper: of joins it matches tags and deals, of searches it deals."""
    speaking, agreement = yield from _agree(session, cast, sign, verify)
    for _, j in cast.joints:
        yield from joint.play_helper(speaking, j)
    for places in cast.searches:
        if not places.search.alone:
            yield from ranked.play_helper(speaking, places.search)
    return Outcome(agreement)


def play_coordinator(session: Session, cast: Cast, sign: Sign, verify: Verify) -> Rounds[Outcome]:
    """The coordinator: adds masked vectors."""
    speaking, agreement = yield from _agree(session, cast, sign, verify)
    totals, bindings = yield from add_up(speaking, cast)
    return Outcome(agreement, totals, bindings)


def add_up(session: Session, cast: Cast) -> Rounds[tuple[Totals, dict[str, Binding]]]:
    """What the coordinator does without a secret of its own, so that an auditor can do it again: returns the masked
    totals of recipients without a node. All sums are collected before any total is handed on, so that a recipient that
    is still speaking is never waited for while it waits."""
    totals: Totals = {}
    bindings: dict[str, Binding] = {}
    for s in cast.sums:
        if cast.verified:
            totals[s.name], bindings[s.name] = yield from verified.collect(session, s)
        else:
            totals[s.name] = yield from total.collect(session, s)
    for s in cast.sums:
        if s.recipient not in cast.context.participants:
            continue
        if cast.verified:
            yield from verified.deliver(session, s, totals.pop(s.name), bindings.pop(s.name))
        else:
            yield from total.deliver(session, s, totals.pop(s.name))
    return totals, bindings


def open_outside(name: str, private: bytes, public: bytes, cast: Cast, outcome: Outcome, verify: Verify) -> Totals:
    """A recipient without a node: check the proof of agreement, then open the fetched totals, and take the masks off
    what verifies them (in place)."""
    context = cast.context
    verify_agreement(context, outcome.agreement, verify)
    contributors = {i for s in cast.heard_by(name) for i in s.contributors}
    pairs: dict[str, Coins] = {
        i: pair_coins(context, private, name, public, i, outcome.agreement.announced[i].public_key)
        for i in contributors
    }
    session = Session(name, Coins(bytes(32)), pairs)  # an outside recipient draws no coins of its own
    for s in cast.heard_by(name):
        total.open_total(session, s, outcome.totals[s.name])
        if cast.verified:
            binding = outcome.bindings.get(s.name, Binding({}, ()))
            opened = outcome.totals[s.name]
            outcome.bindings[s.name] = verified.check(session, s, opened, binding, context.digest(), verify)
    return outcome.totals


def _agree(session: Session, cast: Cast, sign: Sign, verify: Verify) -> Rounds[tuple[Session, Agreement]]:
    speaking, agreement = yield from agree(session.at("keys"), cast.context, sign, verify)
    return replace(speaking, path=session.path), agreement
