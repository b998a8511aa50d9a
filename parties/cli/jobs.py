"""For modelers: catalog, explain, query, jobs."""

from __future__ import annotations

import datetime as dt
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from textwrap import indent
from typing import Annotated, Any, Literal

from cyclopts import App, Parameter
from rich.table import Table
from rich.text import Text

from mpc.errors import LocalError
from mpc.explain import render
from mpc.query.catalog import Catalog
from parties.cli.output import As, Consortium, err, limits, out, plain, said, table_of
from parties.clock import now
from parties.config import locate
from parties.failures import decode
from parties.job_ids import SHOWN_DIGITS
from parties.modeler.client import Client
from parties.modeler.coordinator import FINAL
from parties.modeler.deposits import Collecting
from parties.practice import make as make_practice
from parties.practice import query as practice_query
from parties.results import Result, json_text
from parties.rpc.v1 import coordinator_pb2 as pb
from parties.visible import visible

To = Annotated[tuple[str, ...], Parameter(name="--to", negative="", help="recipient of the result (may repeat)")]
File = Annotated[Path | None, Parameter(name=["--file", "-f"], help="read the SQL from a file")]
Format = Annotated[Literal["table", "json", "csv", "parquet"], Parameter(help="table, json, csv or parquet")]
Out = Annotated[Path | None, Parameter(name="--out", help="write the result to this file")]
Purpose = Annotated[str, Parameter(help="what the result is for; owners grant purposes")]
Trust = Annotated[Literal["helper", "parties"], Parameter(help="the weakest trust level you accept")]
TwoParty = Annotated[
    bool, Parameter(negative="", help="two parties and a total for one of them: it learns the other's input")
]

Verified = Annotated[
    bool, Parameter(negative="", help="verify that totals are of what the parties bound themselves to beforehand")
]

Method = Annotated[
    Literal["masked", "paillier", "bfv", "ckks"],
    Parameter(help="masked: parties online together; else each deposits when it likes, encrypted to the recipient"),
]
Closes = Annotated[
    str, Parameter(help="until when deposits are taken: a day (to its end here), or day and time; with --method")
]
Least = Annotated[
    int | None, Parameter(help="institutions besides the recipient's that must have deposited; by default all")
]
Early = Annotated[bool, Parameter(negative="", help="close as soon as all have deposited")]
Param = Annotated[
    tuple[str, ...], Parameter(name="--param", negative="", help="NAME=VALUE of a $NAME in the query (may repeat)")
]
Epsilon = Annotated[
    str, Parameter(help="numbers with noise: the privacy loss, such as 0.5; the smaller, the more noise")
]
EntityRows = Annotated[int, Parameter(help="with --epsilon: how many rows of one entity count at most")]

#: rows of a made-up table
MOST_MADE_UP = 1_000_000


def register(app: App) -> App:
    """Add these commands to ``heji``; returns the group ``heji jobs``."""
    app.command(catalog)
    app.command(explain)
    app.command(query)
    jobs = App(name="jobs", help="Jobs you submitted or receive, or that wait for your word.")
    for command in (
        jobs_list,
        jobs_show,
        jobs_wait,
        jobs_result,
        jobs_cancel,
    ):
        jobs.command(command, name=command.__name__.removeprefix("jobs_"))
    app.command(jobs)
    return jobs


def catalog(
    *,
    consortium: Consortium = None,
    as_: As = None,
    practice: Annotated[
        Path | None, Parameter(help="write made-up tables after the catalogs to this new folder")
    ] = None,
    rows: Annotated[int, Parameter(help="rows of each made-up table")] = 1000,
    seed: Annotated[int, Parameter(help="of the made-up tables")] = 1,
    json: bool = False,
) -> None:
    """Show what every party publishes: tables, columns, types, bounds, domains. Never a value.

    Example: heji catalog --consortium demo
    """
    with client(consortium, as_) as heji:
        found, missing = heji.catalog(), heji.missing()
    if practice is not None:
        if not 1 <= rows <= MOST_MADE_UP:
            raise LocalError("config.invalid", f"--rows takes 1 to {MOST_MADE_UP:,}.")
        made = make_practice(found, practice, rows, seed)
        plain(f"{practice}: {len(made)} made-up tables of {rows:,} rows. Nothing in them is anybody's.")
        plain(f'Try SQL on them: heji query "SELECT …" --practice {practice}')
        return
    if json:
        plain(json_text({"catalogs": [found[p].to_dict() for p in sorted(found)], "missing": missing}))
        return
    for party in sorted(found):
        out.print(catalog_table(found[party]))
    for party, why in sorted(missing.items()):
        err.print(f"{party}: {why}")


def explain(
    sql: str | None = None,
    /,
    *,
    file: File = None,
    to: To = (),
    purpose: Purpose = "",
    trust: Trust = "helper",
    allow_two_party: TwoParty = False,
    verified: Verified = False,
    method: Method = "masked",
    closes: Closes = "",
    min_contributors: Least = None,
    param: Param = (),
    epsilon: Epsilon = "",
    entity_rows: EntityRows = 1,
    consortium: Consortium = None,
    as_: As = None,
    full: Annotated[bool, Parameter(name="--sql", negative="", help="each party's local SQL in full")] = False,
    json: bool = False,
) -> None:
    """Show what a query would do and reveal, and what every owner would say to it. Nothing runs.

    Example: heji explain "SELECT SUM(balance) FROM bank_a.accounts" --to analyst

    Parameters
    ----------
    sql: str
        the query; - reads it from standard input
    json: bool
        the same for programs
    """
    text = sql_text(sql, file)
    with client(consortium, as_, to) as heji:
        told = heji.explain(
            text,
            to or None,
            purpose=purpose,
            trust=trust,
            allow_two_party=allow_two_party,
            verified=verified,
            parameters=parameters(param),
            deposits=asked_for(method, closes or tomorrow(), min_contributors, early=False),
            epsilon=epsilon,
            entity_rows=entity_rows,
        )
    if json:
        plain(json_text(told))
        return
    plain(render(told, None if full else out.width))
    for party, verdict in told["verdicts"].items():
        if verdict is None:
            plain(f"{party} would approve.")
        elif verdict["code"] == "policy.pending":
            plain(f"{party} would decide by hand.")
        elif verdict["code"] == "peer.unavailable" and told["trust"] == "deposit":
            plain(f"{party} is away and could not be asked; it deposits when it is back, if its policy allows it.")
        else:
            plain(f"{party} would refuse: {verdict['message']}\n{indent(verdict['advice'], '  ')}")


def query(
    sql: str | None = None,
    /,
    *,
    file: File = None,
    to: To = (),
    purpose: Purpose = "",
    trust: Trust = "helper",
    allow_two_party: TwoParty = False,
    verified: Verified = False,
    param: Param = (),
    epsilon: Epsilon = "",
    entity_rows: EntityRows = 1,
    days: Annotated[
        int | None, Parameter(help="how long it may wait for owners that decide by hand; returns at once with the job")
    ] = None,
    method: Method = "masked",
    closes: Closes = "",
    min_contributors: Least = None,
    early: Early = False,
    format: Format = "table",
    out: Out = None,
    practice: Annotated[
        Path | None, Parameter(help="try it on made-up tables (heji catalog --practice): nobody is asked")
    ] = None,
    consortium: Consortium = None,
    as_: As = None,
) -> None:
    """Run a query over several parties' tables and print the result, if it is for you.

    Example: heji query "SELECT SUM(b) FROM (SELECT balance AS b FROM bank_a.accounts
    UNION ALL SELECT balance FROM bank_b.accounts)" --to analyst

    Parameters
    ----------
    sql: str
        the query; - reads it from standard input
    """
    text = sql_text(sql, file)
    check_target(format, out)
    if practice is not None:
        made_up = practice_query(practice, text, to or ("modeler",), trust, parameters(param))
        deliver(Result(made_up, {"made_up": True}), format, out)
        return
    deposits = asked_for(method, closes, min_contributors, early=early)
    with client(consortium, as_, to) as heji:
        recipients = to or (heji.name,)
        if heji.name not in recipients or days is not None or deposits is not None:
            if days is not None and not 1 <= days <= 31:
                raise LocalError("config.invalid", "--days takes 1 to 31.")
            job = heji.submit(
                text,
                recipients,
                purpose=purpose,
                trust=trust,
                allow_two_party=allow_two_party,
                verified=verified,
                parameters=parameters(param),
                epsilon=epsilon,
                entity_rows=entity_rows,
                days=days or 0,
                deposits=deposits,
            )
            plain(json_text({"job": job.id}) if format == "json" else job.id)
            if deposits is not None:
                err.print(f"Deposits are taken until {moment(deposits.closes)}, if the coordinator takes the job.")
            err.print(
                f"The result goes to {', '.join(recipients)}, not to {heji.name}. Follow it with `heji jobs wait`."
                if heji.name not in recipients
                else "Follow it with `heji jobs show` or `wait`; fetch the result with `heji jobs result`."
            )
            return
        with progress() as watch:
            result = heji.query(
                text,
                recipients,
                purpose=purpose,
                trust=trust,
                allow_two_party=allow_two_party,
                verified=verified,
                parameters=parameters(param),
                epsilon=epsilon,
                entity_rows=entity_rows,
                watch=watch,
            )
    deliver(result, format, out)


def asked_for(method: str, closes: str, least: int | None, *, early: bool) -> Collecting | None:
    """How deposits are to be collected; None for a masked sum. Raises LocalError config.missing, config.invalid."""
    if method == "masked":
        if closes and closes != tomorrow():
            raise LocalError(
                "config.invalid", "--closes goes with --method paillier, bfv or ckks.", "Leave one of them out."
            )
        return None
    if not closes:
        raise LocalError(
            "config.missing",
            "A deposit job needs a closing date.",
            "Add --closes 2026-12-31, or with a time: --closes 2026-12-31T12:00.",
        )
    try:
        when = dt.datetime.fromisoformat(closes)
    except ValueError as problem:
        raise LocalError("config.invalid", f"{closes!r} is no date.", "Write --closes 2026-12-31.") from problem
    if len(closes) == len("2026-12-31"):
        when += dt.timedelta(days=1)
    return Collecting(method, int(when.astimezone().timestamp()), least, early)


def tomorrow() -> str:
    """A closing date for who only wants to see what would happen."""
    return dt.datetime.fromtimestamp(now() + 86400).date().isoformat()


def moment(seconds: int) -> str:
    """A point in time as people write it here."""
    return dt.datetime.fromtimestamp(seconds).astimezone().isoformat(sep=" ", timespec="minutes")


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


def client(consortium: Path | None, as_: str | None, to: tuple[str, ...] = ()) -> Client:
    """A client under the right identity: ``--as``, else a recipient whose keys lie there."""
    return Client(locate(consortium, as_, to, os.environ))


def sql_text(sql: str | None, file: Path | None) -> str:
    """The SQL from the argument, a file, or standard input (``-``)."""
    if (sql is None) == (file is None):
        raise LocalError("config.missing", "Give the SQL once: as argument, with -f FILE, or - for standard input.")
    try:
        if file is not None:
            return file.read_text(encoding="utf-8-sig")
        return sys.stdin.buffer.read().decode("utf-8-sig") if sql == "-" else str(sql)
    except UnicodeDecodeError as problem:
        raise LocalError(
            "config.invalid", f"The SQL in {file or 'standard input'} is not UTF-8.", "Save it as UTF-8."
        ) from problem


def parameters(given: Sequence[str]) -> dict[str, str]:
    """NAME=VALUE as a mapping. Raises LocalError config.invalid."""
    found: dict[str, str] = {}
    for one in given:
        name, equals, value = one.partition("=")
        if not equals or name in found:
            raise LocalError("config.invalid", f"--param {one}: NAME=VALUE is expected, each name once.")
        found[name] = value
    return found


def check_target(form: str, target: Path | None) -> None:
    """Fail before a job runs if its result could not be written afterwards."""
    if form == "parquet" and target is None:
        raise LocalError("config.missing", "Parquet is not for terminals.", "Add --out FILE.")
    if target is not None and not target.resolve().parent.is_dir():
        raise LocalError("config.missing", f"There is no folder {target.resolve().parent}.")


def deliver(result: Result, form: str, target: Path | None) -> None:
    """Print the result or write it, in the format asked for."""
    if target is not None:
        result.write(target, "csv" if form == "table" else form)
        err.print(f"Written to {target}.")
    elif form == "json":
        plain(result.to_json())
    elif form == "csv":
        plain(result.to_csv())
    else:
        out.print(table_of(result))
        statement = result.statement
        if statement.get("made_up"):
            err.print(
                Text(
                    "Over made-up tables, in the clear: nobody was asked, and small cells are not hidden.", style="dim"
                )
            )
            return
        err.print(
            Text(
                f"job {statement['job'][:16]} · from {', '.join(statement['parties'])} · trust {statement['trust']}"
                + (" · verified" if statement.get("verified") else "")
                + (f" · without {', '.join(w)}" if (w := statement.get("deposits", {}).get("missing")) else "")
                + (f" · CKKS, off by {x:.4f} of a last digit at most, rounded: exact" if (x := _off(statement)) else "")
                + (f" · {n} values suppressed" if (n := statement["suppressed_values"]) else "")
                + _rounded(statement.get("rounded", {}))
                + (f" · with noise, epsilon {noise['epsilon']}" if (noise := statement.get("noise")) else ""),
                style="dim",
            )
        )
        for party, budgets in statement.get("budgets", {}).items():
            for b in budgets:
                left = f"{party} leaves {b['recipient']} {b['left']} of {b['of']} in {b['days']} days"
                err.print(Text(f"{left} (its grant at line {b['line']})", style="dim"))


def _off(statement: dict[str, Any]) -> float:
    """How far a total under CKKS was off before it was rounded; 0 of any other."""
    return float(statement.get("deposits", {}).get("off_before_rounding", 0))


@contextmanager
def progress() -> Iterator[Callable[[pb.JobStatus], None]]:
    """A line on stderr that follows the job, where stderr is a terminal."""
    if not err.is_terminal:
        yield lambda _status: None
        return
    with err.status("submitted") as line:

        def watch(status: pb.JobStatus) -> None:
            far = f" {status.done}/{status.total}" if status.total else ""
            again = f", attempt {status.attempt}" if status.attempt > 1 else ""
            line.update(f"{status.state}{again} {status.phase if status.phase != status.state else ''}{far}")

        yield watch


def _rounded(by: Mapping[str, Mapping[str, str]]) -> str:
    said = [f"{party} to {to} ({column})" for party, columns in by.items() for column, to in columns.items()]
    return f" · sums rounded by {', '.join(said)}" if said else ""


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


def catalog_table(found: Catalog) -> Table:
    table = Table(
        "table",
        "column",
        "type",
        "range or domain",
        "key",
        "description",
        header_style="bold",
        title=found.party,
        title_justify="left",
    )
    for t in found.tables:
        for i, c in enumerate(t.columns):
            name = f"{t.name} (≤ {t.rows:,} rows)" if i == 0 else ""
            about = f"{c.description} {c.unit}".strip()
            table.add_row(name, Text(c.name), c.type_name, Text(limits(c)), "key" if c.key else "", Text(about))
    return table
