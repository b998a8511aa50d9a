"""``heji demo``: what Heji is, in a minute, with proof."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter
from rich.console import Console
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from mpc.evidence.report import html
from mpc.evidence.verify import to_json
from parties import files
from parties.cli.output import err, out, plain, table_of
from parties.demo import chart
from parties.demo.run import Evidence, Report, Told, consortium, run_stories
from parties.demo.stories import STORIES, chart_points
from parties.demo.tables import DEFAULT_FIRMS, DEFAULT_SEED
from parties.processes import end_on_signals
from parties.results import json_text


def register(app: App) -> None:
    """Add this command to ``heji``."""
    app.command(demo)


def demo(
    *,
    firms: Annotated[int, Parameter(help="synthetic firms to make")] = DEFAULT_FIRMS,
    seed: Annotated[int, Parameter(help="seed of the synthetic data")] = DEFAULT_SEED,
    evidence: Annotated[
        Path | None, Parameter(help="keep the evidence of a join in this folder: the bundle, and reports to read")
    ] = None,
    json: Annotated[bool, Parameter(negative="", help="the same for programs, on stdout")] = False,
) -> None:
    """Run several jobs between a tax bureau, two banks and a telecom on this machine, and check every result.

    Five processes on loopback, mutual TLS, real tables; afterwards everything is stopped and deleted. Exit status 1 if
    any result differs from the plaintext by even one cent, or a check of the evidence fails.
    """
    end_on_signals()
    with err.status("starting") as line:

        def tell(what: str) -> None:
            line.update(what)
            if not err.is_terminal:
                err.print(Text(what, style="dim"))

        with consortium(firms, seed, tell) as (folder, tables):
            if not json:
                introduce()
            report = run_stories(folder, tables, STORIES, (lambda _told: None) if json else show, line.update)
    if json:
        plain(json_text(as_dict(report)))
    else:
        conclude(report)
    if evidence is not None and report.evidence is not None:
        keep(report.evidence, evidence)
    if not report.good:
        sys.exit(1)


def introduce() -> None:
    Console(highlight=False).print(
        Panel(
            "A tax bureau, two banks and a telecom run a node each, beside their own tables. A coordinator adds up "
            "what they send, masked. The recipient opens the sum, and nothing else.\n"
            "[i]I don't know how much you have, nor how much he has, "
            "but I can know how much you two have together.[/i]",
            title="Heji 合计",
            width=100,
        )
    )


def show(told: Told) -> None:
    """One story: question, SQL, result, chart, and the verdict against the plaintext."""
    story = told.story
    out.print()
    out.rule(f"[bold]{story.title}", align="left")
    out.print(Text(story.question))
    out.print(Text(story.sql, style="dim"))
    out.print(table_of(told.result))
    labels, values = chart_points(story, told.result.rows)
    if len(values) > 1:
        out.print(Text(story.chart[1] if story.chart else "", style="bold"))
        chart.show(out, labels, values)
    out.print(verdict(told))


def verdict(told: Told) -> Text:
    """How the result compares with the same SQL over everybody's plaintext, which only the demo can run."""
    c = told.comparison
    text = Text()
    if c.exact:
        hidden = f", {c.suppressed} suppressed by an owner's small-cell rule" if c.suppressed else ""
        text.append(f"✓ {c.cells} values equal the plaintext exactly{hidden}", "green")
    else:
        text.append("✗ differs from the plaintext: " + "; ".join(c.differences[:5]), "bold red")
    parties = ", ".join(told.result.statement["parties"])
    text.append(
        f"  ·  {parties} → {told.story.recipient}  ·  {told.seconds:.2f} s  ·  {told.bytes:,} masked bytes", "dim"
    )
    return text


def conclude(report: Report) -> None:
    out.print()
    out.rule("[bold]What the coordinator saw", align="left")
    out.print(f"Of the first job, read from its own store just now (job {report.told[0].job[:16]}…):")
    table = Table(
        "party", "what it held (only the demo can look)", "what the coordinator received of it", header_style="bold"
    )
    for seen in report.seen:
        table.add_row(seen.party, seen.held, " ".join(seen.received) + " …")
    out.print(table)
    if report.evidence is not None:
        out.print()
        out.rule("[bold]What an auditor finds", align="left")
        out.print(judged(report.evidence))
        out.print()
    cells = sum(t.comparison.cells for t in report.told)
    good = "[green]all equal to the plaintext to the last digit[/green]" if report.exact else "[red]NOT all equal[/red]"
    out.print(
        f"{len(report.told)} jobs, {cells} values, {good}, {report.seconds:.1f} s. Everything is stopped and deleted."
    )


def judged(evidence: Evidence) -> Text:
    """What an auditor finds in the bundle."""
    logs = ", ".join(sorted(evidence.case.parts))
    counts = {v: sum(c.verdict == v for c in evidence.checks) for v in ("passed", "failed", "open")}
    text = Text(f"Of “{evidence.told.story.title}”, with the logs of {logs}, checked offline:\n")
    for c in evidence.checks:
        if c.verdict == "passed":
            text.append(f"✓ {c.title}   ", "green")
        elif c.verdict == "failed":
            text.append(f"✗ {c.title}   ", "bold red")
    text.rstrip()
    text.append(f"\n{counts['open']} more checks need what is not in this bundle (heji audit verify).", "dim")
    return text


def keep(evidence: Evidence, folder: Path) -> None:
    """The bundle and its reports, for who wants to read them."""
    folder.mkdir(parents=True, exist_ok=True)
    files.write(folder / "evidence.zip", evidence.bundle.write())
    for language, name in (("en", "evidence.html"), ("zh", "evidence.zh.html")):
        files.write(folder / name, html(evidence.case, evidence.checks, "zh" if language == "zh" else "en"))
    out.print(f"Kept in {folder}: evidence.zip, evidence.html, evidence.zh.html.")


def as_dict(report: Report) -> dict[str, object]:
    """The report for programs."""
    return {
        "exact": report.exact,
        "seconds": round(report.seconds, 3),
        "jobs": [
            {
                "name": t.story.name,
                "title": t.story.title,
                "sql": t.story.sql,
                "recipient": t.story.recipient,
                "job": t.job,
                "rows": t.result.rows,
                "plaintext": t.plaintext,
                "statement": t.result.statement,
                "exact": t.comparison.exact,
                "values_compared": t.comparison.cells,
                "values_suppressed": t.comparison.suppressed,
                "differences": list(t.comparison.differences),
                "seconds": round(t.seconds, 3),
                "bytes": t.bytes,
            }
            for t in report.told
        ],
        "evidence": report.evidence and to_json(report.evidence.case, report.evidence.checks),
        "coordinator_saw": [{"party": s.party, "held": s.held, "received": list(s.received)} for s in report.seen],
    }
