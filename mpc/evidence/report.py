"""A report for people who read no code: one self-contained page, no scripts, nothing fetched, English or Chinese."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from mpc.errors import HejiError
from mpc.evidence import period_report
from mpc.evidence.case import Case, Document
from mpc.evidence.findings import Check, Say
from mpc.evidence.page import Language, checks_of, head, list_of, page, speaker, table, time_text
from mpc.evidence.period import Period
from mpc.policy.persons import approved_by
from mpc.query.ledger import ledger


def html(case: Case | Period, checks: list[Check], language: Language = "en") -> str:
    """The page. ``language``: of everything but SQL, names and what the plan's ledger says."""
    if isinstance(case, Period):
        return period_report.html(case, checks, language)
    say = speaker(language)
    body = [
        *head(case.job, checks, say),
        *_job(case, say),
        *_approvals(case, say),
        *_learned(case, say),
        *checks_of(checks, say),
        *_timeline(case, say),
    ]
    return page(case.job[:16], body, language)


def _job(case: Case, say: Say) -> Iterator[str]:
    yield f"<h2>{escape(say('The job'))}</h2>"
    facts = [("Exported by", f"{case.bundle.by}, {time_text(case.bundle.made)}"), ("Roster", case.roster.digest)]
    for d in list(case.attempts.values())[-1:]:
        job = d.what
        yield f"<pre>{escape(job.shown)}</pre>"
        facts = [
            ("Purpose", job.purpose or "-"),
            ("Submitted by", job.submitter),
            ("Recipients", ", ".join(job.recipients)),
            ("Handed in", time_text(job.created)),
            *facts,
        ]
    yield list_of(facts, say)


def _approvals(case: Case, say: Say) -> Iterator[str]:
    yield f"<h2>{escape(say('Who approved'))}</h2>"
    heads = ("Party", "Organisation", "Approved at", "Hides cells under", "By hand", "Policy")
    rows = []
    for d in list(case.attempts.values())[-1:]:
        for p in sorted(d.approvals):
            told, listed, part = d.approval(p), case.roster.members.get(p), case.parts.get(p)
            logged = part.about(d.attempt, "approved") if part else []
            words = "; ".join(f"{s.person}, {time_text(s.at)}: {s.reason or '-'}" for s in approved_by(told))
            if isinstance(standing := told.get("standing"), dict):
                words = f"{standing.get('name')} ({words})"
            rows.append(
                (
                    p,
                    listed.organisation if listed else "?",
                    time_text(logged[0].time) if logged else "-",
                    str(told.get("min_entities", "-")),
                    words or "-",
                    str(told.get("policy", "-"))[:16] + "…",
                )
            )
    yield from table(map(say, heads), rows)


def _learned(case: Case, say: Say) -> Iterator[str]:
    documents: list[Document] = list(case.attempts.values())
    try:
        plan = documents[-1].plan if documents else None
    except (HejiError, ValueError):
        plan = None
    if plan is None:
        return
    yield f"<h2>{escape(say('Who learned what'))}</h2>"
    yield f'<p class="soft">{escape(say("from the plan, which every member compiled itself"))}</p><dl>'
    roles: dict[str, list[str]] = {}
    for entry in ledger(plan, documents[-1].what.recipients):
        roles.setdefault(entry.role, []).append(entry.learns)
    for role, learns in roles.items():
        told = "".join(f"<li>{escape(line)}</li>" for line in learns)
        yield f"<dt>{escape(role)}</dt><dd><ul>{told}</ul></dd>"
    yield "</dl>"


def _timeline(case: Case, say: Say) -> Iterator[str]:
    """Every event but the messages, which are counted."""
    yield f"<h2>{escape(say('Timeline'))}</h2>"
    rows = []
    for name, part in sorted(case.parts.items()):
        for e in part.events:
            if e.event in ("sent", "received"):
                continue
            what = say(e.event) + (f" · {say('attempt {}', e.attempt)}" if e.attempt else "")
            what += f" · {e.facts['code']}" if "code" in e.facts else ""
            rows.append((e.time, e.seq, name, what))
        sent = [e for e in part.events if e.event == "sent"]
        if sent:
            size, heard = sum(int(e.facts["len"]) for e in sent), len(part.messages) - len(sent)
            told = say("said {} messages ({} bytes) and heard {}", len(sent), f"{size:,}", heard)
            rows.append((sent[-1].time, sent[-1].seq, name, told))
    yield from table(
        map(say, ("Time (UTC)", "Who", "What")), [(time_text(t), who, what) for t, _, who, what in sorted(rows)]
    )
