"""What is checked of a deposit job in place of keys that all agree on, and its addition done again (5 and 9).

Depositors were not there together, so nobody signed a digest of everything. Each signed its own deposit: for which job,
plan and recipient's key it is, under which approval, and of which ciphertexts.
"""

from __future__ import annotations

import hashlib
import json

from mpc.crypto.labels import unframed
from mpc.errors import HejiError, LocalError, PeerError
from mpc.evidence.case import Case, Document
from mpc.evidence.findings import Findings, bad, events_of, good, if_whole, open_, signed_by
from mpc.protocols.agree import Verify
from mpc.protocols.deposit import DEPOSIT_KEY, Terms, add_up, read_statement
from mpc.protocols.deposit_lattice import NamedKey
from mpc.query.plan import Plan
from mpc.roles import deposit_terms

#: as the coordinator keeps a lattice key that a job only names, among what it heard
KEY = "deposit-key"


def deposits(case: Case, number: int, d: Document) -> Findings:
    """Every deposit is its owner's, for this job, plan and key; none that was receipted and not taken back is left
    out; the key is the recipient's."""
    plan, asked = d.plan, d.what.deposit
    if plan is None or asked is None:
        return
    [recipient] = d.what.recipients
    if not signed_by(case, recipient, DEPOSIT_KEY, asked.statement(recipient), bytes.fromhex(asked.signature)):
        yield bad("the key that deposits are encrypted under does not bear the signature of {}", recipient)
    terms = terms_in(case, d, plan)
    for p, signed in d.deposits.items():
        try:
            stated = read_statement(terms, signed.text, signed.signature, p, _verifier(case))
            approved = hashlib.sha256(d.approvals[p].text).hexdigest() == stated.approval
        except HejiError:
            approved = False
        if not approved:
            yield bad("the deposit of {} is not for this job, plan, key and approval, under its signature", p)
    yield from _left_out(case, number, d)
    if case.done(number) and terms.counted(d.deposits) < terms.least:
        if {d.coordinator, recipient} & set(case.parts):  # who have all deposits' statements; a depositor has its own
            yield bad("a total of fewer deposits than the job's minimum was handed on", by=d.coordinator)
        else:
            yield open_("the deposits of others are at the coordinator and the recipient")
    names = ", ".join(sorted(d.deposits)) or "-"
    yield good("{} deposited, each by its signature for this job, plan and key of {}", names, recipient)


def _left_out(case: Case, number: int, d: Document) -> Findings:
    """Whoever holds the coordinator's receipt for a deposit, and has not taken it back, is in the total."""
    closed = events_of(case, d.coordinator, number, "closed")
    for p, part in case.parts.items():
        sent = [e for e in part.about(number, "sent") if e.facts["peer"] == d.coordinator and e.facts["receipt"]]
        stands = bool(sent) and max(sent, key=lambda e: int(e.facts["number"])).facts["step"] == "deposit"
        if closed and stands and p not in closed[-1].facts["deposits"]:
            yield bad("{} holds a receipt for its deposit, which is not in the total", p, by=d.coordinator)


def added_again(case: Case, number: int, d: Document, plan: Plan) -> Findings:
    """The product of the ciphertexts that were sealed to whoever reads this."""
    part = case.parts[d.coordinator]
    heard = [s for s in case.bodies[d.coordinator] if s.step != KEY]
    beside = b"".join(bytes(s.raw) for s in case.bodies[d.coordinator] if s.step == KEY)
    logged = {(e.facts["peer"], e.facts["sha256"]) for e in part.about(number, "received")}
    bodies: dict[str, bytes] = {}
    for s in heard:
        statement, _signature, body = unframed(bytes(s.raw))
        same = s.sender in d.deposits and d.deposits[s.sender].text == statement
        digest = json.loads(statement)["body"] if same else ""
        if (s.sender, hashlib.sha256(s.raw).hexdigest()) not in logged or hashlib.sha256(body).hexdigest() != digest:
            yield bad("a message of {} at {} is not the one in the log", s.sender, s.step)
            return
        bodies[s.sender] = body
    if missing := sorted(d.deposits.keys() - bodies):
        yield bad("a message of {} at {} is not the one in the log", missing[0], "deposit")
        return
    try:
        terms = terms_in(case, d, plan, beside)
        if isinstance(terms.key, NamedKey) and terms.key.public is None:
            raise LocalError("protocol.point", "it is not there")
    except HejiError as problem:
        if problem.code == "config.missing":
            yield open_(
                "lattice ciphertexts are added up again where the package for it is installed: {}", problem.advice
            )
        else:
            yield bad("the key sealed with the ciphertexts is not the one that the job names")
        return
    try:
        total = hashlib.sha256(add_up(terms, bodies)).hexdigest()
    except HejiError as problem:
        yield bad("the coordinator did not add up what it heard: {}", problem.message, by=d.coordinator)
        return
    told = [e.facts["sums"] for e in part.about(number, "added")]
    if told and told[-1] == {"deposit": total}:
        yield good("attempt {}: {} messages to the coordinator add up to what it handed on", number, len(bodies))
    else:
        yield bad("the coordinator did not add up what it heard: {}", "-", by=d.coordinator if told else if_whole(part))


def no_bodies() -> Findings:
    yield open_("deposits are in no bundle: the coordinator's total rests on its signed log")


def terms_in(case: Case, d: Document, plan: Plan, beside: bytes = b"") -> Terms:
    """The terms of a deposit job. ``beside``: the key that it only names, where it is at hand. Raises LocalError for
    terms under which nothing should have run."""
    organisations = {name: m.organisation for name, m in case.roster.members.items()}
    return deposit_terms(d.what, plan, d.coordinator, organisations, beside)


def _verifier(case: Case) -> Verify:
    def verify(who: str, label: str, text: bytes, signature: bytes) -> None:
        if not signed_by(case, who, label, text, signature):
            raise PeerError("protocol.signature", f"not signed by {who}", party=who)

    return verify
