"""Judging a bundle, offline: ``heji audit verify``, and ``heji-verify`` where only the bare package is installed.

Imports nothing that opens a connection or a database.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import sys
from pathlib import Path

from mpc.errors import HejiError, LocalError
from mpc.evidence.bundle import MAX_BUNDLE_BYTES, Bundle, Span, invalid
from mpc.evidence.case import Case, Member, read_case
from mpc.evidence.case import Roster as Listed
from mpc.evidence.period import Period, read_period
from mpc.evidence.report import html
from mpc.evidence.stamp import certificates_of
from mpc.evidence.verify import Check, Settings, overall, to_json, verify
from parties import files
from parties.roster import Roster

MARKS = {"passed": "passed", "failed": "FAILED", "open": "open  "}


def judge(
    path: Path, roster: Path | None = None, settings: Settings | None = None, key: bytes = b""
) -> tuple[Case | Period, list[Check]]:
    """Read and check the bundle at ``path``, of a job or a period.

    ``roster``: the consortium as the verifier knows it, else the bundle's; ``key``: the auditor's, to open what is
    sealed to it. Raises LocalError evidence.invalid, config.missing, roster.invalid.
    """
    if path.exists() and path.stat().st_size > MAX_BUNDLE_BYTES:
        raise invalid("it is larger than 1 GiB")
    bundle = Bundle.read(files.read(path, "the bundle"))
    if roster is None and "roster.json" not in bundle.files:
        raise LocalError("evidence.invalid", "The bundle holds no roster.", "Give one with --roster roster.json.")
    raw = files.read(roster, "the roster") if roster else bundle.files["roster.json"]
    members = listed(Roster.from_json(raw), given=roster is not None)
    case = read_period(bundle, members) if isinstance(bundle.about, Span) else read_case(bundle, members, key)
    return case, verify(case, settings)


def authority(path: Path | None) -> bytes:
    """The certificates in the file, b"" for none. Raises LocalError config.missing, config.invalid."""
    if path is None:
        return b""
    raw = files.read(path, "the certificate")
    certificates_of(raw)
    return raw


def listed(roster: Roster, *, given: bool) -> Listed:
    """The roster as the checks want it."""
    members = {
        m.name: Member(
            m.name, bytes.fromhex(m.identity), m.organisation, m.roles, m.valid_from, m.valid_until, m.revoked
        )
        for m in roster.members
    }
    return Listed(roster.digest(), members, tuple(roster.unsigned_by()), given)


def text(case: Case | Period, checks: list[Check]) -> str:
    """The verdicts for a terminal."""
    lines = [
        *_about(case),
        f"Roster    {case.roster.digest}" + ("" if case.roster.given else "  (the bundle's own: compare the digest)"),
        "",
    ]
    for c in checks:
        lines.append(f"{MARKS[c.verdict]}  {c.number:>2}  {c.title}")
        shown = [f for f in c.findings if f.good is False] if c.verdict == "failed" else c.findings
        lines += [f"            {'' if f.good else 'not checked: ' if f.good is None else '! '}{f.text}" for f in shown]
    failed = [c.title for c in checks if c.verdict == "failed"]
    counts = {v: sum(c.verdict == v for c in checks) for v in ("passed", "failed", "open")}
    told = (
        f"{counts['passed']} passed, {counts['failed']} failed, {counts['open']} could not be checked from this bundle."
    )
    return "\n".join([*lines, "", told + (f" Failed: {'; '.join(failed)}." if failed else ""), ""])


def _about(case: Case | Period) -> list[str]:
    if isinstance(case, Period):
        since, until = (dt.datetime.fromtimestamp(t, dt.UTC) for t in (case.span.since, case.span.until))
        me = case.log.member
        return [
            f"Period    {since:%Y-%m-%d %H:%M:%S} to {until:%Y-%m-%d %H:%M:%S} UTC: {len(case.jobs)} jobs of {me}",
            f"Exported  by {case.bundle.by}, with {len(case.log.raw)} entries of the log of {me}",
        ]
    return [
        f"Job       {case.job}",
        f"Exported  by {case.bundle.by}, with the logs of {', '.join(sorted(case.parts))}",
    ]


def main() -> None:
    """``heji-verify BUNDLE``: exit status 0 if no check failed, 1 otherwise, 2 for a wrong command line."""
    parser = argparse.ArgumentParser(prog="heji-verify", description="Verify a bundle of evidence, offline.")
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--roster", type=Path, help="the consortium's roster.json as you know it")
    parser.add_argument("--quorum", type=int, help="cosignatures that each log must have")
    parser.add_argument("--witness", action="append", default=[], help="who must have cosigned every log besides")
    parser.add_argument("--tsa", type=Path, help="root certificate (PEM) of the authority whose timestamps you believe")
    parser.add_argument("--json", action="store_true", help="for programs")
    parser.add_argument("--html", type=Path, help="write a report for people to this file")
    wanted = parser.parse_args()
    try:
        settings = Settings(wanted.quorum, tuple(wanted.witness), authority=authority(wanted.tsa))
        case, checks = judge(wanted.bundle, wanted.roster, settings)
        if wanted.html:
            files.write(wanted.html, html(case, checks))
    except HejiError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(1)
    sys.stdout.write(
        json.dumps(to_json(case, checks), ensure_ascii=False) + "\n" if wanted.json else text(case, checks)
    )
    sys.exit(0 if overall(checks) == "passed" else 1)
