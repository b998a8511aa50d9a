"""The report of a period: every job in a line, what was spent of limits, every check."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from mpc.errors import HejiError
from mpc.evidence.case import Case, Document
from mpc.evidence.findings import Check, Say
from mpc.evidence.page import Language, checks_of, head, list_of, page, speaker, table, time_text
from mpc.evidence.period import Period
from mpc.evidence.spending import accounts_of


def html(period: Period, checks: list[Check], language: Language) -> str:
    """The page. ``language``: of everything but SQL and names."""
    say, span = speaker(language), period.span
    about = f"{span.member} · {time_text(span.since)} – {time_text(span.until)} UTC"
    body = [
        *head(about, checks, say),
        *_about(period, say),
        *_jobs(period, checks, say),
        *_questions(period, say),
        *_spent(period, say),
        *checks_of(checks, say),
    ]
    return page(about, body, language)


def _about(period: Period, say: Say) -> Iterator[str]:
    log, end = period.log, period.log.end
    yield f"<h2>{escape(say('The period'))}</h2>"
    yield list_of(
        [
            ("Whose log", log.member),
            ("Entries", f"{log.first + 1:,} – {end.size:,}"),
            ("Jobs", str(len(period.jobs))),
            ("Exported by", f"{period.bundle.by}, {time_text(period.bundle.made)}"),
            ("Roster", period.roster.digest),
        ],
        say,
    )


def _jobs(period: Period, checks: list[Check], say: Say) -> Iterator[str]:
    yield f"<h2>{escape(say('Every job'))}</h2>"
    heads = ("Began (UTC)", "Job", "Verdict", "Asked by", "Recipients", "Purpose", "Columns used", "End")
    against = {job for c in checks for f in c.findings if f.good is False for job in f.jobs}
    rows = []
    for job, case in period.jobs.items():
        [part] = case.parts.values()
        d = _newest(case)
        asked = (d.what.submitter, ", ".join(d.what.recipients), d.what.purpose or "-") if d else ("-", "-", "-")
        used = _used(d, part.member) if d else "-"
        ends = [say(e.event) + _code(str(e.facts.get("code", ""))) for e in part.events if e.event in _ENDS]
        verdict = say("failed" if job in against else "passed")
        rows.append((time_text(part.events[0].time), job[:8], verdict, *asked, used, ends[-1] if ends else "-"))
    yield from table(map(say, heads), rows, "texts")


_ENDS = ("done", "aborted", "refused")


def _code(code: str) -> str:
    return f" · {code}" if code else ""


def _used(d: Document, me: str) -> str:
    """The member's columns that what is revealed derives from, by the plan; where it is of another version, "?"."""
    try:
        plan = d.plan
    except (HejiError, ValueError):
        plan = None
    if plan is None:
        return "?"
    uses = {f"{u.table}.{u.column}" for r in plan.reveals for u in r.uses if u.party == me}
    return ", ".join(sorted(uses)) or "-"


def _questions(period: Period, say: Say) -> Iterator[str]:
    yield f"<h2>{escape(say('What was asked'))}</h2>"
    for job, case in period.jobs.items():
        if d := _newest(case):
            yield f'<p class="soft"><code>{escape(job[:8])}</code></p><pre>{escape(d.what.shown)}</pre>'


def _spent(period: Period, say: Say) -> Iterator[str]:
    try:
        accounts = accounts_of(period)
    except (ValueError, KeyError):
        return  # check 12 says so
    if not accounts:
        return
    yield f"<h2>{escape(say('Spent of limits'))}</h2>"
    heads = ("Time (UTC)", "Job", "Of", "Whom it was shown to", "Spent", "Limit")
    rows = [
        (time_text(s.time), s.job[:8], f"{s.what} {s.of}", s.to, f"{s.amount}", say("{} in {} days", s.limit, s.days))
        for spent in accounts.values()
        for s in spent
    ]
    yield from table(map(say, heads), sorted(rows))


def _newest(case: Case) -> Document | None:
    return next(reversed(case.attempts.values()), None)
