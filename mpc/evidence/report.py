"""A report for people who read no code: one self-contained page, no scripts, nothing fetched, English or Chinese."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Iterator, Sequence
from html import escape
from typing import Literal

from mpc.errors import HejiError
from mpc.evidence.case import Case, Document
from mpc.evidence.chinese import chinese
from mpc.evidence.findings import Check, plan_of
from mpc.evidence.verify import LIMITS, overall
from mpc.policy.persons import approved_by
from mpc.query.ledger import ledger

Language = Literal["en", "zh"]
Say = Callable[..., str]

_STYLE = """
:root{color-scheme:light dark;--ink:#1c2330;--soft:#5b6577;--line:#d9dee7;--back:#fff;--card:#f6f8fb;
--good:#176b3a;--bad:#a61b29;--open:#7a5b00}
@media(prefers-color-scheme:dark){:root{--ink:#e7eaf0;--soft:#9aa5b8;--line:#333c4b;--back:#12161d;--card:#1a202a;
--good:#6fcf97;--bad:#ff8a95;--open:#e2c36b}}
*{box-sizing:border-box}body{margin:0;background:var(--back);color:var(--ink);
font:16px/1.55 system-ui,"Noto Sans CJK SC","PingFang SC","Microsoft YaHei",sans-serif}
main{max-width:60rem;margin:0 auto;padding:2rem 1.25rem 4rem}h1{font-size:1.6rem;margin:0 0 .25rem}
h2{font-size:1.15rem;margin:2.25rem 0 .6rem}p{margin:.4rem 0;overflow-wrap:anywhere}.soft{color:var(--soft)}
.banner{border:1px solid var(--line);border-left:.4rem solid var(--good);background:var(--card);padding:.8rem 1rem;
border-radius:.4rem;margin:1.2rem 0}.banner.failed{border-left-color:var(--bad)}
dl{display:grid;grid-template-columns:minmax(7rem,max-content) 1fr;gap:.3rem 1.2rem;margin:0}dt{color:var(--soft)}
dd{margin:0;overflow-wrap:anywhere}code,pre{font:.87rem/1.5 ui-monospace,Menlo,Consolas,monospace}
pre{background:var(--card);padding:.7rem .9rem;border-radius:.4rem;white-space:pre-wrap;overflow-wrap:anywhere;
margin:0 0 .7rem}
table{border-collapse:collapse;width:100%}th,td{text-align:left;padding:.4rem .7rem .4rem 0;vertical-align:top;
border-bottom:1px solid var(--line);overflow-wrap:anywhere}th{color:var(--soft);font-weight:500;font-size:.9rem}
.wide{overflow-x:auto}.facts td,.facts th{white-space:nowrap;overflow-wrap:normal}
.passed{color:var(--good)}.failed{color:var(--bad)}.open{color:var(--open)}
.number{white-space:nowrap}.verdict{white-space:nowrap;font-weight:600}ul{margin:.2rem 0;padding-left:1.1rem}
li{margin:.15rem 0;overflow-wrap:anywhere}
@media print{body{font-size:11pt}main{max-width:none;padding:0}tr{break-inside:avoid}}
"""


def html(case: Case, checks: list[Check], language: Language = "en") -> str:
    """The page. ``language``: of everything but SQL, names and what the plan's ledger says."""
    say = chinese if language == "zh" else str.format
    body = "\n".join(
        [
            *_head(case, checks, say),
            *_job(case, say),
            *_approvals(case, say),
            *_learned(case, say),
            *_checks(checks, say),
            *_timeline(case, say),
            f"<h2>{_(say('What evidence cannot show'))}</h2>",
            "<ul>",
            *(f"<li>{_(say(limit))}</li>" for limit in LIMITS),
            "</ul>",
        ]
    )
    tag = "zh-CN" if language == "zh" else "en"
    return (
        f'<!doctype html>\n<html lang="{tag}"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        f"<title>{_(say('Evidence report'))} {case.job[:16]}</title><style>{_STYLE}</style></head>\n"
        f"<body><main>\n{body}\n</main></body></html>\n"
    )


def _head(case: Case, checks: list[Check], say: Say) -> Iterator[str]:
    verdict = overall(checks)
    counts = ", ".join(f"{sum(c.verdict == v for c in checks)} {say(v)}" for v in ("passed", "failed", "open"))
    told = say("No check failed") if verdict == "passed" else say("Checks failed")
    yield f'<h1>{_(say("Evidence report"))}</h1><p class="soft"><code>{_(case.job)}</code></p>'
    yield f'<div class="banner {verdict}"><strong class="{verdict}">{_(told)}</strong><br>{_(counts)}</div>'


def _job(case: Case, say: Say) -> Iterator[str]:
    yield f"<h2>{_(say('The job'))}</h2>"
    facts = [("Exported by", f"{case.bundle.by}, {_time(case.bundle.made)}"), ("Roster", case.roster.digest)]
    for d in list(case.attempts.values())[-1:]:
        job = d.what
        yield f"<pre>{_(job.shown)}</pre>"
        facts = [
            ("Purpose", job.purpose or "-"),
            ("Submitted by", job.submitter),
            ("Recipients", ", ".join(job.recipients)),
            ("Handed in", _time(job.created)),
            *facts,
        ]
    yield "<dl>" + "".join(f"<dt>{_(say(name))}</dt><dd>{_(value)}</dd>" for name, value in facts) + "</dl>"


def _approvals(case: Case, say: Say) -> Iterator[str]:
    yield f"<h2>{_(say('Who approved'))}</h2>"
    heads = ("Party", "Organisation", "Approved at", "Hides cells under", "By hand", "Policy")
    rows = []
    for d in list(case.attempts.values())[-1:]:
        for p in sorted(d.approvals):
            told, listed, part = d.approval(p), case.roster.members.get(p), case.parts.get(p)
            logged = part.about(d.attempt, "approved") if part else []
            words = "; ".join(f"{s.person}, {_time(s.at)}: {s.reason or '-'}" for s in approved_by(told))
            if isinstance(standing := told.get("standing"), dict):
                words = f"{standing.get('name')} ({words})"
            rows.append(
                (
                    p,
                    listed.organisation if listed else "?",
                    _time(logged[0].time) if logged else "-",
                    str(told.get("min_entities", "-")),
                    words or "-",
                    str(told.get("policy", "-"))[:16] + "…",
                )
            )
    yield from _table(map(say, heads), rows)


def _learned(case: Case, say: Say) -> Iterator[str]:
    documents: list[Document] = list(case.attempts.values())
    try:
        plan = plan_of(documents[-1]) if documents else None
    except (HejiError, ValueError):
        plan = None
    if plan is None:
        return
    yield f"<h2>{_(say('Who learned what'))}</h2>"
    yield f'<p class="soft">{_(say("from the plan, which every member compiled itself"))}</p><dl>'
    roles: dict[str, list[str]] = {}
    for entry in ledger(plan, documents[-1].what.recipients):
        roles.setdefault(entry.role, []).append(entry.learns)
    for role, learns in roles.items():
        told = "".join(f"<li>{_(line)}</li>" for line in learns)
        yield f"<dt>{_(role)}</dt><dd><ul>{told}</ul></dd>"
    yield "</dl>"


def _checks(checks: list[Check], say: Say) -> Iterator[str]:
    yield f"<h2>{_(say('Checks'))}</h2><div class='wide'><table><tbody>"
    for c in checks:
        found = "".join(
            f'<li class="{"failed" if f.good is False else ""}">'
            f"{_(say('not checked: ') if f.good is None else '')}{_(say(f.template, *f.args))}</li>"
            for f in c.findings
        )
        yield (
            f'<tr><td class="number">{c.number}</td><td class="verdict {c.verdict}">{_(say(c.verdict))}</td>'
            f"<td><strong>{_(say(c.title))}</strong><ul>{found}</ul></td></tr>"
        )
    yield "</tbody></table></div>"


def _timeline(case: Case, say: Say) -> Iterator[str]:
    """Every event but the messages, which are counted."""
    yield f"<h2>{_(say('Timeline'))}</h2>"
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
    yield from _table(
        map(say, ("Time (UTC)", "Who", "What")), [(_time(t), who, what) for t, _, who, what in sorted(rows)]
    )


def _table(heads: Iterable[str], rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    yield (
        "<div class='wide'><table class='facts'><thead><tr>"
        + "".join(f"<th>{_(h)}</th>" for h in heads)
        + "</tr></thead><tbody>"
    )
    for row in rows:
        yield "<tr>" + "".join(f"<td>{_(cell)}</td>" for cell in row) + "</tr>"
    yield "</tbody></table></div>"


def _time(seconds: int) -> str:
    return dt.datetime.fromtimestamp(seconds, dt.UTC).strftime("%Y-%m-%d %H:%M:%S")


def _(text: str) -> str:
    return escape(text)
