"""What the pages of reports have in common: no scripts, nothing fetched, English or Chinese."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Sequence
from html import escape
from typing import Literal

from mpc.evidence.chinese import chinese
from mpc.evidence.findings import Check, Say
from mpc.evidence.verify import LIMITS, overall

Language = Literal["en", "zh"]

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
.texts{font-size:.93rem}.texts td{overflow-wrap:break-word}.texts th{white-space:nowrap}
.passed{color:var(--good)}.failed{color:var(--bad)}.open{color:var(--open)}
.number{white-space:nowrap}.verdict{white-space:nowrap;font-weight:600}ul{margin:.2rem 0;padding-left:1.1rem}
li{margin:.15rem 0;overflow-wrap:anywhere}
@media print{body{font-size:11pt}main{max-width:none;padding:0}tr{break-inside:avoid}}
"""


def speaker(language: Language) -> Say:
    """Says templates in ``language``."""
    return chinese if language == "zh" else str.format


def page(about: str, body: Iterable[str], language: Language) -> str:
    """The whole page. ``about``: what its title names."""
    say = speaker(language)
    text = "\n".join(
        [
            *body,
            f"<h2>{escape(say('What evidence cannot show'))}</h2>",
            "<ul>",
            *(f"<li>{escape(say(limit))}</li>" for limit in LIMITS),
            "</ul>",
        ]
    )
    tag = "zh-CN" if language == "zh" else "en"
    return (
        f'<!doctype html>\n<html lang="{tag}"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        f"<title>{escape(say('Evidence report'))} {escape(about)}</title><style>{_STYLE}</style></head>\n"
        f"<body><main>\n{text}\n</main></body></html>\n"
    )


def head(about: str, checks: list[Check], say: Say) -> Iterator[str]:
    """What the report is about, and the verdict."""
    verdict = overall(checks)
    counts = ", ".join(f"{sum(c.verdict == v for c in checks)} {say(v)}" for v in ("passed", "failed", "open"))
    told = say("No check failed") if verdict == "passed" else say("Checks failed")
    yield f'<h1>{escape(say("Evidence report"))}</h1><p class="soft"><code>{escape(about)}</code></p>'
    yield f'<div class="banner {verdict}"><strong class="{verdict}">{escape(told)}</strong><br>{escape(counts)}</div>'


def checks_of(checks: list[Check], say: Say) -> Iterator[str]:
    """Every check with its evidence."""
    yield f"<h2>{escape(say('Checks'))}</h2><div class='wide'><table><tbody>"
    for c in checks:
        found = "".join(
            f'<li class="{"failed" if f.good is False else ""}">'
            f"{escape(say('not checked: ') if f.good is None else '')}{escape(f.said(say))}</li>"
            for f in c.findings
        )
        yield (
            f'<tr><td class="number">{c.number}</td><td class="verdict {c.verdict}">{escape(say(c.verdict))}</td>'
            f"<td><strong>{escape(say(c.title))}</strong><ul>{found}</ul></td></tr>"
        )
    yield "</tbody></table></div>"


def list_of(facts: Iterable[tuple[str, str]], say: Say) -> str:
    return "<dl>" + "".join(f"<dt>{escape(say(name))}</dt><dd>{escape(value)}</dd>" for name, value in facts) + "</dl>"


def table(heads: Iterable[str], rows: Sequence[tuple[str, ...]], kind: str = "facts") -> Iterator[str]:
    """Heads and cells as they are. ``kind``: "facts" for short cells, each in one line, else "texts"."""
    yield (
        f"<div class='wide'><table class='{kind}'><thead><tr>"
        + "".join(f"<th>{escape(h)}</th>" for h in heads)
        + "</tr></thead><tbody>"
    )
    for row in rows:
        yield "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>"
    yield "</tbody></table></div>"


def time_text(seconds: int) -> str:
    """Of UTC."""
    return dt.datetime.fromtimestamp(seconds, dt.UTC).strftime("%Y-%m-%d %H:%M:%S")
