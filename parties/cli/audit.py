"""For auditors, and for members that show them something: export, verify, report."""

from __future__ import annotations

import asyncio
import datetime as dt
import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Parameter

from mpc.errors import HejiError, LocalError
from mpc.evidence.blame import accusations, blamed
from mpc.evidence.bundle import Bundle
from mpc.evidence.case import Case, read_part
from mpc.evidence.report import html
from mpc.evidence.stamp import Stamp
from mpc.evidence.verify import Settings, overall, to_json
from parties import files
from parties.auditor import key as auditor_key
from parties.auditor.export import export as collect
from parties.auditor.export import export_period, own_evidence
from parties.auditor.judge import authority, judge, text
from parties.cli.output import As, Consortium, err, plain
from parties.clock import now
from parties.config import locate
from parties.evidence.documents import Documents
from parties.evidence.stamps import Stamps
from parties.job_ids import SHORTEST
from parties.member import Member
from parties.modeler.client import Client
from parties.replaying import Replayed
from parties.replaying import replay as replay_role
from parties.results import json_text

Target = Annotated[Path, Parameter(name="--out", help="where to write the file")]
RosterFile = Annotated[
    Path | None, Parameter(name="--roster", help="the consortium's roster.json as you know it, not the bundle's own")
]
Quorum = Annotated[
    int | None,
    Parameter(help="cosignatures that each log must have; else of more than half of the other participants"),
]

Witness = Annotated[
    tuple[str, ...],
    Parameter(name="--witness", negative="", help="a witness that must have cosigned every log (may repeat)"),
]

Tsa = Annotated[
    Path | None, Parameter(name="--tsa", help="root certificate (PEM) of the authority whose timestamps you believe")
]

#: seconds
DAY = 86400

Auditor = Annotated[Path | None, Parameter(name="--as", help="an auditor's folder, to open what is sealed to it")]


def register(app: App) -> None:
    """Add these commands to ``heji``."""
    audit = App(name="audit", help="Evidence of a job: collect it, verify it offline, read it.")
    for command in (export, verify, report, blame, replay, stamp, key):
        audit.command(command)
    app.command(audit)


def export(
    job: str = "",
    /,
    *,
    out: Target,
    since: Annotated[str, Parameter(help="instead of a job: all jobs from this day on, such as 2026-01-01 (UTC)")] = "",
    until: Annotated[str, Parameter(help="the last day of that period; else until now")] = "",
    of: Annotated[str, Parameter(help="whose period, if you are an auditor of the roster; else your own")] = "",
    with_policy: Annotated[bool, Parameter(negative="", help="add the policies this owner approved under")] = False,
    with_result: Annotated[bool, Parameter(negative="", help="add the result this member received")] = False,
    seal_for: Annotated[
        Path | None, Parameter(help="an auditor's key: seal to it what this coordinator heard, to be added up again")
    ] = None,
    consortium: Consortium = None,
    as_: As = None,
) -> None:
    """Collect the evidence of a job from all its participants into one signed file. It holds no data.

    With --since, that of all jobs of one member in a period, from its own log: who received what, what was spent of
    limits, second runs on other parties.

    Example: heji audit export 3f1c0a2b --out evidence.zip
    Example: heji audit export --since 2026-01-01 --as bank_a --out year.zip

    Parameters
    ----------
    job: str
        the job's id, or its first eight digits
    """
    folder = locate(consortium, as_, (), os.environ)
    if bool(job) == bool(since) or ((until or of) and not since):
        raise LocalError(
            "config.invalid",
            "Evidence is exported of one job, or of a period.",
            "Give a job's id, or --since (with --until and --of, if you like).",
        )
    if since and (with_result or seal_for):
        raise LocalError(
            "config.invalid", "The bundle of a period holds no results and no messages.", "Export those job by job."
        )
    if out.exists():
        raise LocalError("config.exists", f"{out} exists.", "Choose another name with --out, or remove it first.")
    if since:
        bundle = asyncio.run(_period(folder, of, _span(since, until), with_policy))
        told = f"what the log of {of or bundle.by} tells of {since} to {until or 'now'}"
    else:
        whole = _job_id(folder, job)
        bundle, absent = asyncio.run(_collected(folder, whole, with_policy, with_result, seal_for))
        for who, why in sorted(absent.items()):
            err.print(f"Without the log of {who}: {why.message}")
        told = f"the evidence of {whole[:16]}, with the logs of {', '.join(sorted(bundle.part('logs')))}"
    files.write(out, bundle.write())
    plain(f"{out}: {told}.")
    plain(f"Verify it anywhere: heji audit verify {out}")


def verify(
    bundle: Path,
    /,
    *,
    roster: RosterFile = None,
    quorum: Quorum = None,
    witness: Witness = (),
    tsa: Tsa = None,
    as_: Auditor = None,
    json: bool = False,
) -> None:
    """Check a bundle, offline: signatures, logs, messages, approvals, times. Exit status 1 if a check failed.

    Example: heji audit verify evidence.zip --roster roster.json

    Parameters
    ----------
    bundle: Path
        the file that `heji audit export` made
    json: bool
        the same for programs
    """
    settings = Settings(quorum, witness, authority=authority(tsa))
    case, checks = judge(bundle, roster, settings, auditor_key.private(as_) if as_ else b"")
    plain(json_text(to_json(case, checks)) if json else text(case, checks).rstrip("\n"))
    if overall(checks) == "failed":
        raise SystemExit(1)


def report(
    bundle: Path,
    /,
    *,
    out: Target,
    roster: RosterFile = None,
    quorum: Quorum = None,
    witness: Witness = (),
    tsa: Tsa = None,
    as_: Auditor = None,
    language: Annotated[Literal["en", "zh"], Parameter(help="English or Chinese")] = "en",
) -> None:
    """Write one self-contained page for people: what was asked, who approved, who learned what, every check.

    Example: heji audit report evidence.zip --out evidence.html --language zh

    Parameters
    ----------
    bundle: Path
        the file that `heji audit export` made
    """
    settings = Settings(quorum, witness, authority=authority(tsa))
    case, checks = judge(bundle, roster, settings, auditor_key.private(as_) if as_ else b"")
    files.write(out, html(case, checks, language))
    plain(f"{out}: {'no check failed' if overall(checks) == 'passed' else 'CHECKS FAILED'}.")


def key(folder: Path, /, *, out: Target) -> None:
    """Make an auditor's key for sealed messages, and write its public part, signed, to hand to coordinators.

    Example: heji audit key auditor --out auditor-key.json

    Parameters
    ----------
    folder: Path
        the auditor's member folder
    """
    files.write(out, asyncio.run(_key(folder)))
    plain(f"{out}: hand it to the coordinator. The private part is in {folder}/keys and leaves it never.")


async def _key(folder: Path) -> bytes:
    return auditor_key.make(Member(folder))


def blame(*bundles: Path, roster: RosterFile = None, json: bool = False) -> None:
    """Name the members whose own signatures show that they deviated. Exit status 1 if there is one.

    Several bundles of one job, exported by different members, show who told them different things.

    Example: heji audit blame evidence.zip --roster roster.json

    Parameters
    ----------
    bundles: Path
        files that `heji audit export` made, of one job
    json: bool
        the same for programs
    """
    judged = [(case, checks) for case, checks in (judge(b, roster) for b in bundles) if isinstance(case, Case)]
    if len({case.job for case, _ in judged}) != 1 or len(judged) < len(bundles):
        raise LocalError("evidence.invalid", "These are not bundles of one job.", "Give bundles of the same job.")
    found, told = blamed(judged), accusations(judged)
    if json:
        plain(
            json_text(
                {
                    "blamed": [{"member": f.by, "for": f.text} for f in found],
                    "accused": [asdict(a) for a in told],
                }
            )
        )
    else:
        for f in found:
            plain(f"{f.by}: {f.text}")
        for a in told:
            named = f"named {a.whom}" if a.whom else "named nobody"
            plain(f"{a.by} gave up attempt {a.attempt} and {named} ({a.code}{' at ' + a.step if a.step else ''}).")
        if not found:
            plain("Nobody is shown to have deviated by signatures in these bundles.")
            plain("If a result is disputed, each member replays its role: heji audit replay.")
    if found:
        raise SystemExit(1)


def replay(job: str, /, *, consortium: Consortium = None, as_: As = None) -> None:
    """Run this member's own role again, from its seed, what it heard and its tables, and compare every byte it said.

    Example: heji audit replay 3f1c0a2b --as bank_a

    Parameters
    ----------
    job: str
        the job's id, or its first eight digits
    """
    folder = locate(consortium, as_, (), os.environ)
    found = asyncio.run(_replayed(folder, _job_id(folder, job)))
    for r in found:
        plain(
            f"Attempt {r.attempt}: the role of the {r.role} says the same {r.messages} messages again, byte for byte "
            f"({r.bytes:,} bytes)."
        )
        if r.remark:
            plain(
                f"It was run on the input that was kept, which the log bound it to. Today's tables differ: {r.remark}"
            )


def stamp(*, consortium: Consortium = None, as_: As = None) -> None:
    """Have a timestamp authority (RFC 3161) sign that this member's log is as it is now. It sees one hash.

    Example: heji audit stamp --as bank_a
    """
    member_folder = locate(consortium, as_, (), os.environ)
    size, made = asyncio.run(_stamped(member_folder))
    when = dt.datetime.fromtimestamp(made.time, dt.UTC).isoformat()
    plain(f"{size} entries of {member_folder.name} were so at {when}, by the word of {made.authority}.")


async def _stamped(folder: Path) -> tuple[int, Stamp]:
    member = Member(folder)
    try:
        stamps = Stamps(folder)
        point = stamps.newest()
        return point.size, await stamps.ask(member, point)
    finally:
        await member.close()


async def _replayed(folder: Path, job: str) -> list[Replayed]:
    member = Member(folder)
    try:
        part = read_part(member.name, await own_evidence(member, job))
        return await replay_role(member, part)
    finally:
        await member.close()


async def _period(folder: Path, of: str, span: tuple[int, int], with_policy: bool) -> Bundle:
    member = Member(folder)
    try:
        return await export_period(member, of or member.name, *span, with_policy=with_policy)
    finally:
        await member.close()


def _span(since: str, until: str) -> tuple[int, int]:
    """Unix seconds, both included. Raises LocalError config.invalid."""
    first, last = _day(since), min(now(), _day(until) + DAY - 1) if until else now()
    if first > last:
        raise LocalError("config.invalid", f"Nothing lies between {since} and {until or 'now'}.", "Mend the days.")
    return first, last


def _day(text: str) -> int:
    """Unix seconds of the beginning of a day. Raises LocalError config.invalid."""
    try:
        day = dt.datetime.combine(dt.date.fromisoformat(text), dt.time(), dt.UTC)
    except ValueError:
        raise LocalError("config.invalid", f"{text!r} is no day.", "Write it as 2026-01-31.") from None
    return max(0, int(day.timestamp()))


async def _collected(
    folder: Path, job: str, with_policy: bool, with_result: bool, seal_for: Path | None
) -> tuple[Bundle, Mapping[str, HejiError]]:
    member = Member(folder)
    try:
        return await collect(member, job, with_policy=with_policy, with_result=with_result, seal_for=seal_for)
    finally:
        await member.close()


def _job_id(folder: Path, begins: str) -> str:
    """The whole id of a job that this member took part in, asked for or receives."""
    if len(begins) == 64:
        return begins
    found = Documents(folder).jobs(begins) if len(begins) >= SHORTEST and begins.isalnum() else []
    if len(found) == 1:
        return found[0]
    with Client(folder) as heji:
        return heji.job_id(begins)
