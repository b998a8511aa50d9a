"""``heji explain`` and ``heji query``: what a query would do, and what comes out of it."""

from __future__ import annotations

from pathlib import Path
from textwrap import indent
from typing import Annotated

from cyclopts import App, Parameter

from mpc.errors import LocalError
from mpc.explain import render
from parties.cli.collecting import Closes, Early, Least, Method, asked_for, moment, tomorrow
from parties.cli.delivery import Format, Out, check_target, deliver, progress
from parties.cli.output import As, Consortium, err, out, plain
from parties.cli.question import NO_OPTIONS, Question, Verified, client, sql_text
from parties.practice import query as practice_query
from parties.results import Result, json_text


def register(app: App) -> None:
    """Add these commands to ``heji``."""
    app.command(explain)
    app.command(query)


def explain(
    sql: str | None = None,
    /,
    *,
    question: Question = NO_OPTIONS,
    verified: Verified = False,
    method: Method = "masked",
    closes: Closes = "",
    min_contributors: Least = None,
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
    text = sql_text(sql, question.file)
    with client(consortium, as_, question.to) as heji:
        deposits = asked_for(method, closes or tomorrow(), min_contributors, early=False)
        told = heji.explain(text, question.to or None, **question.options, verified=verified, deposits=deposits)
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
    question: Question = NO_OPTIONS,
    verified: Verified = False,
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
    text, options = sql_text(sql, question.file), question.options
    check_target(format, out)
    if practice is not None:
        made_up = practice_query(practice, text, question.to or ("modeler",), question.trust, options["parameters"])
        deliver(Result(made_up, {"made_up": True}), format, out)
        return
    deposits = asked_for(method, closes, min_contributors, early=early)
    with client(consortium, as_, question.to) as heji:
        recipients = question.to or (heji.name,)
        if heji.name not in recipients or days is not None or deposits is not None:
            if days is not None and not 1 <= days <= 31:
                raise LocalError("config.invalid", "--days takes 1 to 31.")
            job = heji.submit(text, recipients, **options, verified=verified, days=days or 0, deposits=deposits)
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
            result = heji.query(text, recipients, **options, verified=verified, watch=watch)
    deliver(result, format, out)
