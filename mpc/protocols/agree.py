"""P0 Keys and coins: fresh keys for one attempt of one job, and one digest that everybody signs.

    every participant i           every other participant j
      e_i from own coins
      ── announce: E_i, sig_i(E_i, context) ──▶
      ◀── announce: E_j, sig_j(E_j, context) ──
      d = H(context, all names, all E)
      ── agreed: d, sig_i(d) ──▶
      ◀── agreed: d, sig_j(d) ──            refuse to go on unless every d is one's own
      k_ij = HKDF(X25519(e_i, E_j), …)

``context`` is the digest of job, attempt, roster, plan and participants. Announcements and agreements are signed by the
identities pinned in the roster, so a coordinator that shows different jobs, rosters or keys to different parties is
caught before any input moves (checklist 16, 17). A recipient without a node takes no part: its key stands in the job
it signed.

Adversary: active on the network and in the coordinator for agreement; a participant that will not agree stops the job.
Leakage: nobody learns anything beyond names and public keys. Rounds: 2. Source: SIGMA-style signed X25519, RFC 7748.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from mpc.coins import Coins
from mpc.crypto.agree import pair_key, public_key
from mpc.crypto.labels import digest
from mpc.errors import LocalError, PeerError
from mpc.messages import Agreed, Announce
from mpc.rounds import Round, Rounds, Session, expect

ANNOUNCE = "announce"
AGREED = "agreed"

#: sign(label, payload) -> signature, and verify(member, label, payload, signature), which raises PeerError
Sign = Callable[[str, bytes], bytes]
Verify = Callable[[str, str, bytes, bytes], None]


@dataclass(frozen=True)
class Context:
    """What an attempt is about: ``statement`` is the digest of job, roster, plan and policy facts."""

    job: bytes  # job id, 32 bytes
    attempt: int
    statement: bytes  # 32 bytes
    participants: tuple[str, ...]  # sorted; all who announce keys
    outside: Mapping[str, bytes]  # recipient without a node -> X25519 public key from the job

    def digest(self) -> bytes:
        outside = [part for name in sorted(self.outside) for part in (name.encode(), self.outside[name])]
        names = [n.encode() for n in self.participants]
        return digest(
            "context",
            self.job,
            self.attempt.to_bytes(4, "big"),
            self.statement,
            len(names).to_bytes(4, "big"),
            *names,
            *outside,
        )


@dataclass(frozen=True)
class Agreement:
    """The proof that all agreed: everybody's announcement and signature over the common digest."""

    announced: Mapping[str, Announce]
    agreed: Mapping[str, Agreed]


def agree(session: Session, context: Context, sign: Sign, verify: Verify) -> Rounds[tuple[Session, Agreement]]:
    """Run P0; returns the session with pair coins for every other participant and outside recipient.

    Raises PeerError protocol.signature, protocol.point or job.differs, naming the member.
    """
    me, others = session.me, frozenset(context.participants) - {session.me}
    here = context.digest()
    private = session.own.draw(session.at("ephemeral").path, 32)
    mine = Announce(public_key(private), sign(ANNOUNCE, announced_bytes(here, me, public_key(private))))

    step = session.at("announce").path
    heard = yield Round(step, dict.fromkeys(others, mine), others)
    announced = {j: expect(heard[j], Announce, party=j, step=step) for j in others} | {me: mine}
    for j in sorted(others):
        verify(j, ANNOUNCE, announced_bytes(here, j, announced[j].public_key), announced[j].signature)

    common = agreed_digest(here, announced)
    word = Agreed(common, sign(AGREED, common))
    step = session.at("agreed").path
    heard = yield Round(step, dict.fromkeys(others, word), others)
    agreed = {j: expect(heard[j], Agreed, party=j, step=step) for j in others} | {me: word}
    verify_agreed(common, {j: agreed[j] for j in others}, verify, step)

    pairs = {}
    for j, theirs in {**{j: announced[j].public_key for j in others}, **context.outside}.items():
        pairs[j] = pair_coins(context, private, me, mine.public_key, j, theirs)
    return session.with_pairs(pairs), Agreement(announced, agreed)


def verify_agreement(context: Context, agreement: Agreement, verify: Verify) -> None:
    """What an outside recipient checks: all participants announced and agreed to one digest. Raises PeerError."""
    if set(agreement.announced) != set(context.participants) or set(agreement.agreed) != set(context.participants):
        raise LocalError("job.differs", "The proof of agreement does not cover exactly the job's participants.")
    here = context.digest()
    for j in sorted(agreement.announced):
        verify(
            j, ANNOUNCE, announced_bytes(here, j, agreement.announced[j].public_key), agreement.announced[j].signature
        )
    verify_agreed(agreed_digest(here, agreement.announced), agreement.agreed, verify, AGREED)


def verify_agreed(common: bytes, agreed: Mapping[str, Agreed], verify: Verify, step: str) -> None:
    """Every member signed exactly ``common``; else PeerError naming the first that did not."""
    for j in sorted(agreed):
        verify(j, AGREED, agreed[j].digest, agreed[j].signature)
        if agreed[j].digest != common:
            raise PeerError(
                "job.differs",
                f"{j} was shown another job, roster, plan or set of keys than this member.",
                "Nothing was sent. Compare rosters and versions; the coordinator may be showing two faces.",
                party=j,
                step=step,
            )


def pair_coins(context: Context, private: bytes, me: str, my_public: bytes, peer: str, peer_public: bytes) -> Coins:
    """The coins that ``me`` and ``peer`` share; PeerError protocol.point blames a peer with a low-order key."""
    try:
        key = pair_key(
            private=private,
            me=me,
            my_public=my_public,
            peer=peer,
            peer_public=peer_public,
            job=context.job,
            attempt=context.attempt,
        )
    except LocalError as problem:
        raise PeerError(problem.code, f"{peer}: {problem.message}", party=peer, step=ANNOUNCE) from problem
    return Coins(key)


def announced_bytes(context: bytes, name: str, public: bytes) -> bytes:
    return digest(ANNOUNCE, context, name.encode(), public)


def agreed_digest(context: bytes, announced: Mapping[str, Announce]) -> bytes:
    parts = [part for name in sorted(announced) for part in (name.encode(), announced[name].public_key)]
    return digest(AGREED, context, *parts)
