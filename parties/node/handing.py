"""Earlier questions from who names them to who computes a join and lacks them.

    who lacks some ── Questions(job, attempt, digests) ──▶ an owner that named them in its approval of this attempt
                   ◀── the text of each ──────────────────

A member lacks what was asked before it came, or before it lost its store. It asks over the authenticated connection of
two members, once all approvals are here; what comes must be the text of the digest that was signed, so it does not
matter who sends it, and is kept. An owner gives only what it named in its own approval of an attempt that is under way,
and only to those who compute it: owners of the join and its helper. They learn what was asked of these very tables
before, with its constants, as they would had they been there. Nobody else may ask: not recipients, not the coordinator.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

import grpc.aio
import structlog

from mpc.errors import HejiError, LocalError, PeerError
from mpc.query.questions import Question, told_in
from parties.failures import from_rpc, is_transient
from parties.mail import AttemptKey
from parties.member import Member
from parties.node.questions import Questions
from parties.proposals import Proposed
from parties.rpc.v1 import node_pb2, node_pb2_grpc

log = structlog.get_logger("heji.node")

#: seconds for one owner's answer; questions that it is asked for, and bytes of all that one attempt brings
PATIENCE, MOST, MOST_BYTES = 30.0, 4096, 16 << 20


def computes(proposed: Proposed, name: str) -> bool:
    """Whether a member computes the joins of a job."""
    return name in (*proposed.plan.parties, proposed.helper)


def given(
    questions: Questions, proposed: Proposed, approval: bytes, caller: str, wanted: Sequence[bytes]
) -> Iterator[bytes]:
    """The texts that ``caller`` asks for, in its order. ``approval``: our own. Raises LocalError policy.earlier."""
    named = told_in("this member", approval) or ()
    names = [w.hex() for w in wanted]
    fits = computes(proposed, caller) and len(set(names)) == len(names) <= MOST and set(names) <= set(named)
    found = questions.of(names) if fits else {}
    if not fits or set(found) != set(names):
        raise LocalError(
            "policy.earlier",
            "Earlier questions are given to who computes a join that is compared with them, and to nobody else.",
        )
    return (found[n].to_bytes() for n in names)


async def fetch(
    member: Member, key: AttemptKey, named: Mapping[str, Sequence[str]], lacking: Collection[str]
) -> list[Question]:
    """Of the questions that this member lacks those that owners hand over, up to ``MOST_BYTES``: the next job brings
    more. ``named``: by owner, what it names.

    Raises PeerError protocol.malformed for what is not the text of its digest, peer.* where an owner that cannot be
    reached now names what nobody else gave."""
    found: dict[str, Question] = {}
    away: HejiError | None = None
    left = MOST_BYTES
    for owner, names in named.items():
        wanted = [n for n in names if n in lacking and n not in found and _is_digest(n)][:MOST]
        if owner == member.name or not wanted:
            continue
        request = node_pb2.QuestionsRequest(job=key[0], attempt=key[1], digests=map(bytes.fromhex, wanted))
        answer = node_pb2_grpc.NodeStub(member.channel(owner)).Questions(request, timeout=PATIENCE)
        try:
            expected = iter(wanted)
            async for one in answer:
                left -= len(one.body)
                if left < 0:
                    break
                question = _read(owner, one.body, next(expected, ""))
                found[question.digest()] = question
        except grpc.aio.AioRpcError as problem:
            error = from_rpc(problem, owner, "asked for earlier questions")
            log.warning("no earlier questions", party=owner, code=error.code)
            away = error if is_transient(error) else away
        finally:
            answer.cancel()
    if away is not None and set(lacking) - set(found):
        raise away
    return list(found.values())


def _read(owner: str, body: bytes, expected: str) -> Question:
    try:
        question = Question.from_bytes(body)
        if question.digest() == expected:
            return question
    except ValueError:
        pass
    raise PeerError(
        "protocol.malformed",
        f"{owner} sent something else than the earlier questions that it names.",
        "Nothing was kept of it; compare versions, and look at that member's log.",
        party=owner,
    )


def _is_digest(name: str) -> bool:
    return len(name) == 64 and all(c in "0123456789abcdef" for c in name)
