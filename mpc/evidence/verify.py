"""The sixteen checks over a bundle, offline, in their order: those of the record (record_checks.py) and those of what
was done (job_checks.py). No networking, nothing of a node: numbers, texts, hashes and signatures.

What evidence cannot show stands in ``LIMITS`` and at the end of every report.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from mpc.errors import HejiError
from mpc.evidence.case import Case
from mpc.evidence.findings import Check, Findings, Settings, bad
from mpc.evidence.job_checks import (
    additions,
    budgets,
    commitments,
    equations,
    one_job,
    points,
    policies,
    reruns,
    results,
    suppression,
)
from mpc.evidence.record_checks import chains, logs, messages, signatures, software, times

__all__ = ["CHECKS", "LIMITS", "Check", "Settings", "overall", "to_json", "verify"]

LIMITS = (
    "Whether a party's tables are true: evidence binds a party to the data it used, not to the world.",
    "What was copied or read outside of this software.",
    "That nobody else was told: members who pool their secrets could learn more than the protocol gives them.",
    "What happened before the logs began or at members whose part is not in the bundle.",
    "Deviations are shown and attributed afterwards; they are not prevented.",
)


CHECKS: tuple[tuple[str, Callable[[Case, Settings], Findings]], ...] = (
    ("signatures", signatures),
    ("logs and cosignatures", logs),
    ("sequence", chains),
    ("messages and receipts", messages),
    ("one job, plan and roster; approvals", one_job),
    ("policies", policies),
    ("commitments before data", commitments),
    ("points of verified sums", points),
    ("the coordinator's additions", additions),
    ("the verified-sum equation", equations),
    ("result as acknowledged", results),
    ("budgets", budgets),
    ("suppression", suppression),
    ("no second run on fewer parties", reruns),
    ("software", software),
    ("times", times),
)


def verify(case: Case, settings: Settings | None = None) -> list[Check]:
    """All checks, in their order. Raises nothing: what cannot even be looked at is a failed check."""
    wanted, checks = settings or Settings(), []
    for number, (title, check) in enumerate(CHECKS, 1):
        try:
            findings = tuple(check(case, wanted))
        except (HejiError, ValueError, KeyError, TypeError, IndexError) as problem:
            findings = (bad("cannot be looked at: {}", type(problem).__name__),)
        checks.append(Check(number, title, findings))
    return checks


def to_json(case: Case, checks: list[Check]) -> dict[str, Any]:
    """For programs."""
    return {
        "job": case.job,
        "bundle": {"by": case.bundle.by, "made": case.bundle.made, "logs": sorted(case.parts), "absent": case.absent},
        "roster": {"digest": case.roster.digest, "given": case.roster.given},
        "checks": [
            {
                "number": c.number,
                "title": c.title,
                "verdict": c.verdict,
                "evidence": [{"good": f.good, "text": f.text, **({"by": f.by} if f.by else {})} for f in c.findings],
            }
            for c in checks
        ],
        "limits": list(LIMITS),
        "verdict": overall(checks),
    }


def overall(checks: list[Check]) -> Literal["passed", "failed"]:
    """Failed if any check has."""
    return "failed" if any(c.verdict == "failed" for c in checks) else "passed"
