"""One defect for each check. Each kind of bundle is good but for it, and the verifier names its check first."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from mpc.evidence.entry import Event
from mpc.evidence.receipt import RECEIPT, receipt_bytes
from tests.parties.auditor.forge import Forge, ForgePeriod, retell


def signed_by_another(forge: Forge) -> None:
    """bank_a's entries under bank_b's key."""
    forge.rewrite("bank_a", lambda events: events, signer="bank_b")


def cosigned_by_nobody(forge: Forge) -> None:
    part = forge.part("bank_a")
    part["checkpoint"] = part["newest"] = "\n".join(part["newest"].split("\n")[:5]) + "\n"
    part["inclusion"] = part["inclusion"]
    forge.put("bank_a", part)


def an_entry_is_left_out(forge: Forge) -> None:
    forge.rewrite("bank_a", lambda events: [e for e in events if e.event != "committed"], chain=False)


def another_digest_at_one_end(forge: Forge) -> None:
    """The coordinator says, with a receipt to it, that bank_a sent something else."""

    def change(events: list[Event]) -> list[Event]:
        at = next(
            i
            for i, e in enumerate(events)
            if e.event == "received" and e.facts["peer"] == "bank_a" and "pool" in e.facts["step"]
        )
        e, other = events[at], hashlib.sha256(b"other words").digest()
        told = receipt_bytes(
            bytes.fromhex(e.job), e.attempt, "bank_a", "coordinator", e.facts["number"], e.facts["step"], other
        )
        facts = {**e.facts, "sha256": other.hex(), "receipt": forge.keys["coordinator"].sign(RECEIPT, told).hex()}
        return [*events[:at], replace(e, facts=facts), *events[at + 1 :]]

    forge.rewrite("coordinator", change)


def approved_something_else(forge: Forge) -> None:
    """bank_a's approval, as everybody kept it and as bank_a logged it, is of another plan."""
    told: list[bytes] = []

    def change(d: dict[str, Any]) -> None:
        statement = json.loads(bytes.fromhex(d["approvals"]["bank_a"][0]))
        raw = json.dumps({**statement, "plan": "00" * 32}).encode()
        told.append(raw)
        d["approvals"]["bank_a"] = [raw.hex(), forge.keys["bank_a"].sign("approval", raw).hex()]

    forge.documents(change)
    digest = hashlib.sha256(told[0]).hexdigest()
    forge.rewrite(
        "bank_a",
        lambda events: [
            replace(e, facts={**e.facts, "approval": digest}) if e.event == "approved" else e for e in events
        ],
    )


def another_policy(forge: Forge) -> None:
    forge.files["policies/bank_a.toml"] += b"\n# a word more\n"


def bound_afterwards(forge: Forge) -> None:
    """bank_a commits to data and seed after it has sent masked words."""

    def change(events: list[Event]) -> list[Event]:
        [made] = [e for e in events if e.event == "committed"]
        rest = [e for e in events if e.event != "committed"]
        return [*rest[:-1], replace(made, time=rest[-1].time), rest[-1]]

    forge.rewrite("bank_a", change)


def another_result(forge: Forge) -> None:
    forge.files["results/analyst.json"] += b" "


def other_software(forge: Forge) -> None:
    forge.rewrite(
        "bank_a",
        lambda events: [
            replace(e, facts={**e.facts, "software": "heji 0.0.1"}) if e.event == "approved" else e for e in events
        ],
    )


def time_runs_backwards(forge: Forge) -> None:
    forge.rewrite("bank_a", lambda events: [*events[:-1], replace(events[-1], time=events[-1].time - 60)])


def no_points(forge: Forge) -> None:
    """What the analyst gives for a point of bank_a is none."""

    def change(body: dict[str, Any]) -> None:
        [one] = body["bound"].values()
        one["parties"]["bank_a"]["points"] = ["ff" * 32]

    retell(forge, change)


def added_something(forge: Forge) -> None:
    """The coordinator says that what it heard comes to something else."""

    def change(events: list[Event]) -> list[Event]:
        return [
            replace(e, facts={"sums": dict.fromkeys(e.facts["sums"], "00" * 32)}) if e.event == "added" else e
            for e in events
        ]

    forge.rewrite("coordinator", change)


def other_scalars(forge: Forge) -> None:
    """The analyst says that it verified what does not verify."""

    def change(body: dict[str, Any]) -> None:
        [one] = body["bound"].values()
        one["scalars"] = ["7"]

    retell(forge, change)


def suppressed_values_not_told(forge: Forge) -> None:
    def change(body: dict[str, Any]) -> None:
        body["statement"]["suppressed_values"] = 0

    retell(forge, change)


def spent_more(forge: ForgePeriod) -> None:
    """The tax bureau showed two conditions, where its grant allows one."""

    def change(events: list[Event]) -> list[Event]:
        return [replace(e, facts={**e.facts, "amount": "2"}) if e.event == "spent" else e for e in events]

    forge.rewrite(change)


def a_second_run_on_fewer(forge: ForgePeriod) -> None:
    """There is one, and without the policy nothing that allows it."""
    forge.files = {n: raw for n, raw in forge.files.items() if not n.startswith("policies/")}


#: by number of the check the fixture that the bundle comes from, and what is done to it
DEFECTS: Mapping[int, tuple[str, Callable[[Any], None]]] = {
    1: ("collected", signed_by_another),
    2: ("collected", cosigned_by_nobody),
    3: ("collected", an_entry_is_left_out),
    4: ("collected", another_digest_at_one_end),
    5: ("collected", approved_something_else),
    6: ("collected", another_policy),
    7: ("collected", bound_afterwards),
    8: ("checked", no_points),
    9: ("sealed_total", added_something),
    10: ("checked", other_scalars),
    11: ("collected", another_result),
    12: ("decisions", spent_more),
    13: ("checked", suppressed_values_not_told),
    14: ("quarter", a_second_run_on_fewer),
    15: ("collected", other_software),
    16: ("collected", time_runs_backwards),
}
