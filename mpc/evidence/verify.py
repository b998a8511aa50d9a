"""The sixteen checks over a bundle, offline, in their order: of the record (record_checks.py), of what was done in a
job (job_checks.py), of what was released (result_checks.py), and how they are made over a period (period_checks.py,
spending.py, reruns.py). No networking, nothing of a node: numbers, texts, hashes and signatures.

What evidence cannot show stands in ``LIMITS`` and at the end of every report.
"""

from __future__ import annotations

from typing import Any, Literal

from mpc.evidence import job_checks, period_checks, record_checks, reruns, result_checks, spending
from mpc.evidence.case import Case
from mpc.evidence.findings import Check, Finding, Findings, Settings, found_by, open_
from mpc.evidence.period import Period
from mpc.evidence.period_checks import OfJob, OfPeriod, each

__all__ = ["CHECKS", "LIMITS", "Check", "Settings", "overall", "to_json", "verify"]

LIMITS = (
    "Whether a party's tables are true: evidence binds a party to the data it used, not to the world.",
    "What was copied or read outside of this software.",
    "That nobody else was told: members who pool their secrets could learn more than the protocol gives them.",
    "What happened before the logs began or at members whose part is not in the bundle.",
    "Deviations are shown and attributed afterwards; they are not prevented.",
)


def of_a_period_only(_case: Case, _settings: Settings) -> Findings:
    yield open_("needs all jobs of a period")


def _of_all(title: str, check: OfJob) -> tuple[str, OfJob, OfPeriod]:
    return title, check, each(check)


#: title, how it is made of a job, how of a period
CHECKS: tuple[tuple[str, OfJob, OfPeriod], ...] = (
    ("signatures", record_checks.signatures, period_checks.signatures),
    ("logs and cosignatures", record_checks.logs, period_checks.logs),
    ("sequence", record_checks.chains, period_checks.chains),
    _of_all("messages and receipts", record_checks.messages),
    _of_all("one job, plan and roster; approvals", job_checks.one_job),
    _of_all("policies", job_checks.policies),
    _of_all("commitments before data", job_checks.commitments),
    _of_all("points of verified sums", result_checks.points),
    _of_all("the coordinator's additions", job_checks.additions),
    _of_all("the verified-sum equation", result_checks.equations),
    _of_all("result as acknowledged", result_checks.results),
    ("budgets", of_a_period_only, spending.budgets),
    _of_all("suppression", result_checks.suppression),
    ("no second run on fewer parties", of_a_period_only, reruns.reruns),
    _of_all("software", record_checks.software),
    ("times", record_checks.times, period_checks.times),
)


def verify(case: Case | Period, settings: Settings | None = None) -> list[Check]:
    """All checks, in their order. Raises nothing: what cannot even be looked at is a failed check."""
    wanted, checks = settings or Settings(), []
    for number, (title, of_job, of_period) in enumerate(CHECKS, 1):
        found = found_by(of_period, case, wanted) if isinstance(case, Period) else found_by(of_job, case, wanted)
        checks.append(Check(number, title, found))
    return checks


def to_json(case: Case | Period, checks: list[Check]) -> dict[str, Any]:
    """For programs."""
    bundle: dict[str, Any] = {"by": case.bundle.by, "made": case.bundle.made}
    if isinstance(case, Period):
        about: dict[str, Any] = {"period": case.span.to_json(), "jobs": list(case.jobs)}
    else:
        about = {"job": case.job}
        bundle |= {"logs": sorted(case.parts), "absent": case.absent}
    return {
        **about,
        "bundle": bundle,
        "roster": {"digest": case.roster.digest, "given": case.roster.given},
        "checks": [
            {
                "number": c.number,
                "title": c.title,
                "verdict": c.verdict,
                "evidence": [_finding(f) for f in c.findings],
            }
            for c in checks
        ],
        "limits": list(LIMITS),
        "verdict": overall(checks),
    }


def _finding(f: Finding) -> dict[str, Any]:
    more = {**({"by": f.by} if f.by else {}), **({"jobs": list(f.jobs)} if f.jobs else {})}
    return {"good": f.good, "text": f.text, **more}


def overall(checks: list[Check]) -> Literal["passed", "failed"]:
    """Failed if any check has."""
    return "failed" if any(c.verdict == "failed" for c in checks) else "passed"
