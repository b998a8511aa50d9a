"""``heji jobs``: those a modeler submitted or receives."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from textwrap import indent
from typing import Any

from cyclopts import App
from rich.text import Text

from parties.cli.delivery import Format, Out, check_target, deliver, progress
from parties.cli.output import As, Consortium, out, plain, said
from parties.cli.question import client
from parties.failures import decode
from parties.job_ids import SHOWN_DIGITS
from parties.modeler.coordinator import FINAL
from parties.results import json_text
from parties.rpc.v1 import coordinator_pb2 as pb
from parties.visible import visible


def register(app: App) -> App:
    """Add these commands to ``heji``; returns the group ``heji jobs``."""
    jobs = App(name="jobs", help="Jobs you submitted or receive, or that wait for your word.")
    for command in (jobs_list, jobs_show, jobs_wait, jobs_result, jobs_cancel):
        jobs.command(command, name=command.__name__.removeprefix("jobs_"))
    app.command(jobs)
    return jobs


def jobs_list(*, consortium: Consortium = None, as_: As = None, json: bool = False) -> None:
    """List your jobs, newest first, one a line. The digits shown of an id stand for all of it in other commands."""
    with client(consortium, as_) as heji:
        found = heji.jobs()
    if json:
        plain(json_text([status_dict(j) for j in found]))
        return
    for line in one_line_each(found):
        shown = Text(visible(line))
        if out.is_terminal:  # programs and files get the whole line
            shown.truncate(out.width, overflow="ellipsis")
        out.print(shown)


def jobs_show(job: str, /, *, consortium: Consortium = None, as_: As = None, json: bool = False) -> None:
    """Show how far a job is, or why it ended."""
    with client(consortium, as_) as heji:
        status = heji.show(heji.job_id(job))
    told = status_dict(status)
    if json:
        plain(json_text(told))
        return
    for name, value in told.items():
        if name == "error" and value:
            advice = f"{indent(value['advice'], '  ')}\n" if value["advice"] else ""
            said(f"{name}: {value['message']}\n{advice}  [{value['code']}]")
        elif name in ("created", "updated", "expires"):
            plain(f"{name}: {dt.datetime.fromtimestamp(value).astimezone().isoformat(sep=' ')}")
        elif value not in ("", None):
            said(f"{name}: {', '.join(value) if isinstance(value, list) else value}")


def jobs_wait(job: str, /, *, consortium: Consortium = None, as_: As = None) -> None:
    """Wait until a job is done; fails if the job fails."""
    with client(consortium, as_) as heji, progress() as watch:
        try:
            plain(heji.wait(heji.job_id(job), watch).state)
        except KeyboardInterrupt:
            raise KeyboardInterrupt("Only the waiting: the job goes on.") from None


def jobs_result(
    job: str, /, *, format: Format = "table", out: Out = None, consortium: Consortium = None, as_: As = None
) -> None:
    """Fetch and print the result of a finished job that is for you."""
    check_target(format, out)
    with client(consortium, as_) as heji:
        result = heji.result(heji.job_id(job))
    deliver(result, format, out)


def jobs_cancel(job: str, /, *, consortium: Consortium = None, as_: As = None) -> None:
    """Cancel a job you submitted. What was sent stays masked; nothing is released."""
    with client(consortium, as_) as heji:
        plain(heji.cancel(heji.job_id(job)).state)


def one_line_each(found: Sequence[pb.JobStatus]) -> Iterator[str]:
    """A heading and a line a job, as text in columns; of the job's id as many digits as tell it from the others."""
    digits = SHOWN_DIGITS
    while len({j.job[:digits] for j in found}) < len(found):
        digits += 4
    rows = [("JOB", "STATE", "FROM", "TO", "SQL")]
    rows += [(j.job[:digits], j.state, j.submitter, ",".join(j.recipients), " ".join(j.sql.split())) for j in found]
    widths = [max(len(row[i]) for row in rows) for i in range(4)]
    for row in rows:
        yield "  ".join([*(cell.ljust(w) for cell, w in zip(row[:4], widths, strict=True)), row[4]])


def status_dict(status: pb.JobStatus) -> dict[str, Any]:
    return {
        "job": status.job,
        "state": status.state,
        "submitter": status.submitter,
        "recipients": list(status.recipients),
        "purpose": status.purpose,
        "sql": status.sql,
        "attempt": status.attempt,
        "created": status.created,
        "updated": status.updated,
        "expires": status.expires,
        "phase": status.phase if status.state not in FINAL else "",
        "bytes": status.bytes,
        "error": decode(status.error).to_dict() if status.error else None,
    }
