"""Each participant in turn misbehaves in each way of a list: it is named, and nobody else ever is.

The member rewrites its log, signs it again and has it cosigned, so that nothing but the misdeed is wrong. What whoever
makes a bundle can do to a member without its key must blame nobody.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mpc.evidence.blame import blamed
from mpc.evidence.bundle import Bundle
from mpc.evidence.entry import Event
from mpc.evidence.receipt import RECEIPT, receipt_bytes
from mpc.evidence.verify import overall
from parties.auditor.judge import text
from tests.parties import world
from tests.parties.auditor import defects
from tests.parties.auditor.bundles import judged
from tests.parties.auditor.forge import Forge

MEMBERS = (*world.BANKS, "coordinator")


def events(change: Callable[[list[Event]], list[Event]]) -> Callable[[Forge, str], None]:
    return lambda forge, member: forge.rewrite(member, change)


def each(name: str, change: Callable[[Event], Event | None]) -> Callable[[Forge, str], None]:
    """Every entry of this event changed, or left out."""
    return events(lambda es: [x for e in es for x in [change(e) if e.event == name else e] if x is not None])


def facts(e: Event, **changed: Any) -> Event:
    return replace(e, facts={**e.facts, **changed})


def masked(e: Event) -> bool:
    return e.event in ("sent", "received") and not str(e.facts["step"]).startswith("keys/")


def heard_something_else(forge: Forge, member: str) -> None:
    """It signs a second receipt, for other bytes than it got."""

    def change(es: list[Event]) -> list[Event]:
        at = next(i for i, e in enumerate(es) if e.event == "received")
        e, other = es[at], hashlib.sha256(b"other words").digest()
        message = (e.facts["peer"], member, e.facts["number"], e.facts["step"], other)
        signed = forge.keys[member].sign(RECEIPT, receipt_bytes(bytes.fromhex(e.job), e.attempt, *message))
        return [*es[:at], facts(e, sha256=other.hex(), receipt=signed.hex()), *es[at + 1 :]]

    forge.rewrite(member, change)


def one_message_twice(es: list[Event]) -> list[Event]:
    at = next(i for i, e in enumerate(es) if e.event == "sent")
    return [*es[:at], es[at], es[at], *es[at + 1 :]]


def out_of_order(forge: Forge, member: str) -> None:
    """Its entries do not follow each other."""
    digest = hashlib.sha256(b"another").hexdigest()
    forge.rewrite(member, lambda es: [*es[:-1], replace(es[-1], prev=digest)], chain=False)


def clock_turned_back(es: list[Event]) -> list[Event]:
    return [*es[:-1], replace(es[-1], time=es[-1].time - 60)]


def bound_afterwards(es: list[Event]) -> list[Event]:
    [made] = [e for e in es if e.event == "committed"]
    rest = [e for e in es if e.event != "committed"]
    return [*rest[:-1], replace(made, time=rest[-1].time), rest[-1]]


def approved_afterwards(es: list[Event]) -> list[Event]:
    [made] = [e for e in es if e.event == "approved"]
    rest = [e for e in es if e.event != "approved"]
    return [*rest[:-1], replace(made, time=rest[-1].time), rest[-1]]


def approved_long_after(forge: Forge, member: str) -> None:
    """When the job had expired: all that follows moves with it."""
    forge.rewrite(member, lambda es: [replace(e, time=e.time + 10**6) for e in es])


def another_approval(forge: Forge, member: str, **changed: Any) -> None:
    """Its approval, as everybody kept it and as it logged it, says something else."""
    told: list[bytes] = []

    def change(d: dict[str, Any]) -> None:
        statement = json.loads(bytes.fromhex(d["approvals"][member][0]))
        raw = json.dumps({**statement, **changed}).encode()
        told.append(raw)
        d["approvals"][member] = [raw.hex(), forge.keys[member].sign("approval", raw).hex()]

    forge.documents(change)
    digest = hashlib.sha256(told[0]).hexdigest()
    each("approved", lambda e: facts(e, approval=digest))(forge, member)


def another_key_to_one(es: list[Event]) -> list[Event]:
    """It told one peer another key than the others."""
    at = next(i for i, e in enumerate(es) if e.event == "sent" and e.facts["step"] == "keys/announce")
    return [*es[:at], facts(es[at], sha256="00" * 32), *es[at + 1 :]]


def less(name: str, keep: Callable[[Event], bool]) -> Callable[[Forge, str], None]:
    return events(lambda es: [e for e in es if e.event != name or keep(e)])


#: what a member does -> how, and who can do it
WAYS: Mapping[str, tuple[Callable[[Forge, str], None], tuple[str, ...]]] = {
    "signs for other bytes than it got": (heard_something_else, MEMBERS),
    "says that it sent other bytes": (each("sent", lambda e: facts(e, sha256="00" * 32)), MEMBERS),
    "says that it got other bytes": (each("received", lambda e: facts(e, sha256="00" * 32)), MEMBERS),
    "tells another length": (each("sent", lambda e: facts(e, len=int(e.facts["len"]) + 1)), MEMBERS),
    "tells another step": (each("received", lambda e: facts(e, step="elsewhere")), MEMBERS),
    "leaves out its first message": (less("sent", lambda e: e.facts["number"] > 0), MEMBERS),
    "leaves out all that it got": (less("received", lambda e: False), MEMBERS),
    "leaves out what it got at one step": (less("received", lambda e: e.facts["step"] != "keys/agreed"), MEMBERS),
    "leaves out the receipts it got": (each("sent", lambda e: facts(e, receipt="")), MEMBERS),
    "keeps receipts that are none": (each("sent", lambda e: facts(e, receipt="11" * 64)), MEMBERS),
    "tells of a message twice": (events(one_message_twice), MEMBERS),
    "breaks the chain of its entries": (out_of_order, MEMBERS),
    "turns its clock back": (events(clock_turned_back), MEMBERS),
    "tells one peer another key": (events(another_key_to_one), MEMBERS),
    "binds itself after it has sent data": (events(bound_afterwards), world.BANKS),
    "never binds itself": (each("committed", lambda e: None), world.BANKS),
    "approves after it has sent data": (events(approved_afterwards), world.BANKS),
    "approves what has expired": (approved_long_after, world.BANKS),
    "approves another plan": (lambda f, m: another_approval(f, m, plan="00" * 32), world.BANKS),
    "approves for another roster": (lambda f, m: another_approval(f, m, roster="00" * 32), world.BANKS),
    "logs another approval than it gave": (each("approved", lambda e: facts(e, approval="00" * 32)), world.BANKS),
}
#: misdeeds that evidence shows without telling whose they are: receipts do not cover a message's length
UNNAMED = {"tells another length"}


def everybody() -> Iterator[Any]:
    """Every way by every member who can; every day by one of them each."""
    for n, (way, (_, who)) in enumerate(WAYS.items()):
        for member in who:
            marks = () if member == who[n % len(who)] else (pytest.mark.slow,)
            yield pytest.param(way, member, marks=marks)


@pytest.mark.parametrize(("way", "member"), list(everybody()))
def test_the_guilty_are_named_and_nobody_else(collected: tuple[Path, Bundle], way: str, member: str) -> None:
    folder, bundle = collected
    forge = Forge(folder, bundle)
    WAYS[way][0](forge, member)
    case, checks = judged(folder, forge.made())
    assert overall(checks) == "failed"
    assert {f.by for f in blamed([(case, checks)])} == (set() if way in UNNAMED else {member}), text(case, checks)


#: what whoever makes a bundle can do without a member's key
FORGERIES: Mapping[str, Callable[[Forge], None]] = {
    "signed with another's key": defects.signed_by_another,
    "cosigned by nobody": defects.cosigned_by_nobody,
    "an entry left out of the bundle": defects.an_entry_is_left_out,
    "another policy in the bundle": defects.another_policy,
    "another result in the bundle": defects.another_result,
}


def papers(change: Callable[[dict[str, Any]], None]) -> Callable[[Forge], None]:
    return lambda forge: forge.documents(change)


def drop(*path: str) -> Callable[[dict[str, Any]], None]:
    def change(d: dict[str, Any]) -> None:
        for key in path[:-1]:
            d = d[key]
        del d[path[-1]]

    return change


def entries(number: int) -> Callable[[Forge], None]:
    """One entry, of the middle, left out of the part of each member."""

    def change(forge: Forge) -> None:
        for member in MEMBERS:
            part = forge.part(member)
            for field in ("entries", "inclusion"):
                del part[field][number]
            forge.put(member, part)

    return change


MORE: Mapping[str, Callable[[Forge], None]] = {
    "an approval taken out": papers(drop("approvals", "bank_b")),
    "a key taken out": papers(drop("announced", "bank_b")),
    "an agreement taken out": papers(drop("agreed", "bank_b")),
    "a catalog taken out": papers(drop("catalogs", "bank_b")),
    "the second entry taken out of each log": entries(1),
    "the fifth entry taken out of each log": entries(4),
    "papers of nobody": papers(lambda d: d.update(coordinator="bank_b")),
}


@pytest.mark.parametrize("name", [*FORGERIES, *MORE])
def test_forgers_of_bundles_get_nobody_blamed(collected: tuple[Path, Bundle], name: str) -> None:
    folder, bundle = collected
    forge = Forge(folder, bundle)
    {**FORGERIES, **MORE}[name](forge)
    case, checks = judged(folder, forge.made())
    assert overall(checks) == "failed"
    assert blamed([(case, checks)]) == [], text(case, checks)
