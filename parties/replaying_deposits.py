"""A deposit made again, and a coordinator's addition, from what each kept: the same bytes, or what differs is named."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Iterable

from mpc.crypto import paillier
from mpc.crypto.labels import unframed
from mpc.errors import LocalError
from mpc.evidence.case import Document, Part
from mpc.evidence.deposit_checks import KEY
from mpc.policy.flow import Limits
from mpc.protocols.deposit import DEPOSIT, add_up, statement_of
from mpc.protocols.deposit_lattice import NamedKey
from mpc.query.compile import PLANNER
from mpc.roles import deposit_cast
from mpc.run import Sent
from parties.depositing import LEAVE, encrypted, said
from parties.evidence.recorder import seed_commitment
from parties.evidence.retained import Retained
from parties.member import Member
from parties.proposals import Proposed, compiled, terms_of
from parties.replaying_input import own_input

#: role, messages, bytes, remark: the fields of parties.replaying.Replayed behind the attempt
Again = tuple[str, int, int, str]


async def replay_deposit(member: Member, part: Part, d: Document, kept: Retained) -> Again:
    """Role, messages and bytes that came out the same, and a remark about the tables. Raises LocalError
    protocol.replay, data.changed, evidence.*."""
    if d.what.planner != PLANNER:
        raise LocalError(
            "peer.version",
            f"The job was planned by {d.what.planner}; this is {PLANNER}.",
            "Replay it with that version.",
        )
    proposed = await asyncio.to_thread(compiled, member, d.job.text, d.what, d.published)
    if member.name == d.coordinator:
        return await asyncio.to_thread(_addition, member, part, d, proposed, kept)
    if member.name in d.deposits:
        return await _deposit(member, part, d, proposed, kept)
    raise LocalError("evidence.missing", f"{member.name} said nothing in this job: it only received.")


async def _deposit(member: Member, part: Part, d: Document, proposed: Proposed, kept: Retained) -> Again:
    key = (bytes.fromhex(d.what.id), d.attempt)
    terms = terms_of(member, proposed)
    if isinstance(terms.key, NamedKey):
        terms = terms_of(member, proposed, _key_beside(kept.heard(key, member.name)))
    seed = kept.seed(key)
    stated = json.loads(d.deposits[member.name].text)
    bound = [e.facts for e in part.about(d.attempt, "committed") if e.facts["data"] == stated["data"]]
    if not bound or bound[-1]["seed"] != seed_commitment(key, seed).hex():
        raise LocalError("protocol.replay", f"The seed kept is not the one {member.name} bound itself to.")
    cast = deposit_cast(d.what, proposed.plan, terms)
    approval = d.approvals[member.name].text
    given = await own_input(
        member, cast, proposed.plan, Limits.from_told(json.loads(approval)), True, stated["data"], kept
    )
    pool = None
    if isinstance(terms.key, paillier.PublicKey):
        pool = paillier.Pool(terms.key)
        await asyncio.to_thread(pool.fill, seed, terms.ciphertexts)
    body = await asyncio.to_thread(encrypted, terms, given.vectors, given.session.own, pool)
    statement = statement_of(terms, member.name, stated["number"], stated["data"], approval, body).to_bytes()
    raw = said(statement, member.sign(DEPOSIT, statement), body)
    [sent] = [e.facts for e in part.about(d.attempt, "sent") if e.facts["number"] == stated["number"]]
    if sent["sha256"] != hashlib.sha256(raw).hexdigest():
        raise LocalError(
            "protocol.replay", f"{member.name} left another deposit than its data, seed and approval give."
        )
    return "depositor", 1, len(raw), given.remark


def _addition(member: Member, part: Part, d: Document, proposed: Proposed, kept: Retained) -> Again:
    kept_all = kept.heard((bytes.fromhex(d.what.id), d.attempt), member.name)
    heard = [s for s in kept_all if s.step != KEY]
    logged = {e.facts["sha256"] for e in part.about(d.attempt, "received") if e.facts["step"] == LEAVE}
    if any(hashlib.sha256(s.raw).hexdigest() not in logged for s in heard):
        raise LocalError("protocol.replay", "The deposits kept are not those in the log.")
    terms = terms_of(member, proposed, _key_beside(kept_all))
    total = add_up(terms, {s.sender: unframed(bytes(s.raw))[2] for s in heard})
    told = [e.facts["sums"] for e in part.about(d.attempt, "added")]
    if not told or told[-1] != {LEAVE: hashlib.sha256(total).hexdigest()}:
        raise LocalError("protocol.replay", f"{member.name} handed on another total than its deposits add up to.")
    return "coordinator", 1, len(total), ""


def _key_beside(heard: Iterable[Sent]) -> bytes:
    """The public key that a job only names, of what was kept; b"" where there is none."""
    return b"".join(bytes(s.raw) for s in heard if s.step == KEY)
