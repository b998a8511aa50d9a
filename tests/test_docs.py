"""The documentation says what the code does: commands parse, SQL compiles, links resolve, quoted output is real."""

from __future__ import annotations

import ast
import contextlib
import itertools
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from cyclopts import CycloptsError, MissingArgumentError

from mpc.codec import encode
from mpc.crypto.agree import public_key
from mpc.errors import CODES, HejiError
from mpc.messages import Words
from mpc.protocols.total import BLOCK_WORDS, Sum
from mpc.query.catalog import Catalog, Column, Table
from mpc.query.compile import compile_plan
from mpc.run import Trace, run
from parties.cli.demo import introduce
from parties.cli.main import app, sql_last
from parties.config import MemberConfig
from parties.demo.stories import STORIES
from tests.mpc.cast import COORDINATOR, World

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").rglob("README.md")])
TEXTS = {str(p.relative_to(ROOT)): p.read_text(encoding="utf-8") for p in PAGES}
READMES = ("README.md", "README.zh-CN.md")

#: fenced blocks: info string and content
FENCE = re.compile(r"^```([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
#: whom the pages may send a reader to
HOSTS = {"keepachangelog.com", "semver.org"}


def blocks(text: str, kind: str) -> list[tuple[str, str]]:
    """(info string, content) of the fenced blocks whose info string begins with ``kind``."""
    return [(i.strip(), c) for i, c in FENCE.findall(text) if i.strip().split(" ")[0] == kind]


# ---- links


def slug(heading: str) -> str:
    """GitHub's anchor of a heading."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def links() -> list[tuple[str, str]]:
    return [(page, link) for page, text in TEXTS.items() for link in LINK.findall(FENCE.sub("", text))]


@pytest.mark.parametrize(("page", "link"), links())
def test_links_resolve(page: str, link: str) -> None:
    if link.startswith("https://"):
        assert link.split("/")[2] in HOSTS
        return
    path, _, anchor = link.partition("#")
    target = (ROOT / page).parent / path if path else ROOT / page
    assert target.exists(), f"{page} links to {link}"
    if anchor:
        headings = re.findall(r"^#+ (.*)$", target.read_text(encoding="utf-8"), re.MULTILINE)
        assert anchor in {slug(h) for h in headings}


def test_every_page_can_be_reached_from_the_readme() -> None:
    todo, found = [ROOT / "README.md"], {ROOT / "README.md"}
    while todo:
        page = todo.pop()
        for link in LINK.findall(page.read_text(encoding="utf-8")):
            target = (page.parent / link.partition("#")[0]).resolve()
            if target.suffix == ".md" and target.exists() and target not in found:
                found.add(target)
                todo.append(target)
    listed = set((ROOT / "docs" / "decisions").glob("*.md"))  # docs/architecture.md links to the folder
    assert not set(PAGES) - found - listed


# ---- commands


def whole_commands() -> Iterator[tuple[str, str]]:
    """Command lines in fenced blocks without a language: complete, as a reader types them."""
    for page, text in TEXTS.items():
        for _, content in blocks(text, ""):
            for line in content.splitlines():
                if line.startswith("heji "):
                    yield page, line.removeprefix("heji ")


def mentioned_commands() -> Iterator[tuple[str, str]]:
    """Commands in running text, arguments and options perhaps left out."""
    for page, text in TEXTS.items():
        for span in re.findall(r"`heji\s([^`]+)`", FENCE.sub("", text)):
            yield page, " ".join(span.split())


def parse(command: str) -> None:
    """Raises CycloptsError for what the command line would refuse."""
    words = [w for w in shlex.split(command, comments=True) if w != "…"]
    app.parse_args(sql_last(words), exit_on_error=False, print_error=False)


@pytest.mark.parametrize(("page", "command"), list(whole_commands()))
def test_quoted_commands_are_complete(page: str, command: str) -> None:
    parse(command)


@pytest.mark.parametrize(("page", "command"), sorted(set(mentioned_commands())))
def test_mentioned_commands_exist(page: str, command: str) -> None:
    with contextlib.suppress(MissingArgumentError):  # "`heji node check`" does not say of which folder
        parse(command)


@pytest.mark.parametrize("command", ["node foo", "query --bogus 1", "consortium init d --party a --moduler b", "frob"])
def test_wrong_commands_would_be_found(command: str) -> None:
    with pytest.raises(CycloptsError):
        parse(command)


def test_make_targets_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for text in TEXTS.values():
        spans = re.findall(r"`make ([a-z-]+)`", text) + re.findall(r"^make ([a-z-]+)", text, re.MULTILINE)
        assert set(spans) <= targets


# ---- SQL


def accounts(party: str) -> Catalog:
    columns = (
        Column("uscc", "text", nullable=False, key=True),
        Column("industry", "text", domain=("C", "F", "K")),
        Column("region", "text", domain=("110000", "440000")),
        Column("size", "text", domain=("micro", "small", "medium")),
        Column("balance", "decimal", 2, -(10**11), 10**11),
        Column("outstanding", "decimal", 2, 0, 10**11),
        Column("overdue_days", "integer", 0, 0, 10_000),
        Column("opened", "date", 0, 0, 25_000),
        Column("active", "boolean"),
    )
    return Catalog(party, (Table("accounts", columns, 1000, "", party == "bank_a"),))


CATALOGS = {
    "bank_a": accounts("bank_a"),
    "bank_b": accounts("bank_b"),
    "tax": Catalog(
        "tax",
        (
            Table(
                "firms",
                (
                    Column("uscc", "text", nullable=False, key=True),
                    Column("industry", "text", domain=("C", "F", "K")),
                    Column("tax_paid", "decimal", 2, 0, 10**11),
                ),
                1000,
                "",
                True,
            ),
            Table(
                "arrears",
                (Column("uscc", "text", nullable=False, key=True), Column("outstanding", "decimal", 2, 0, 10**11)),
                1000,
            ),
        ),
    ),
}


def sql_blocks() -> list[tuple[str, str, str]]:
    """Those of the examples are over tables of their own, and run by tests/test_examples.py."""
    pages = {page: text for page, text in TEXTS.items() if not page.startswith("examples/")}
    return [(page, info, sql) for page, text in pages.items() for info, sql in blocks(text, "sql")]


@pytest.mark.parametrize(("page", "info", "sql"), list(sql_blocks()))
def test_sql_compiles_or_is_refused_as_said(page: str, info: str, sql: str) -> None:
    """```sql compiles, ```sql to NAME for that recipient; ```sql refused CODE is refused with that code."""
    _, *refused = info.split(" ")
    if not refused or refused[0] == "to":
        to = refused[1] if refused else "analyst"
        assert compile_plan(sql, CATALOGS, recipients=(to,), trust="helper").pools
        return
    assert refused[0] == "refused" and refused[1] in CODES
    with pytest.raises(HejiError) as raised:
        compile_plan(sql, CATALOGS, recipients=("analyst",), trust="helper")
    assert raised.value.code == refused[1]


def test_there_is_sql_of_both_kinds() -> None:
    infos = [info for page, info, _ in sql_blocks() if page == "docs/sql.md"]
    assert "sql" in infos and len(set(infos)) >= 4


# ---- the READMEs


@pytest.mark.parametrize("page", READMES)
def test_the_excerpt_of_the_demo_is_of_stories_that_it_tells(page: str) -> None:
    [excerpt] = [c for _, c in blocks(TEXTS[page], "") if "What the coordinator saw ─" in c]
    ends = {"What the coordinator saw", "What an auditor finds"}
    told = [title for title in re.findall(r"^(.*?) ─{3,}$", excerpt, re.MULTILINE) if title not in ends]
    by_title = {s.title: s for s in STORIES}
    assert told and set(told) <= by_title.keys()
    for title in told:
        assert f"{by_title[title].question}\n{by_title[title].sql}\n" in excerpt
    assert f"\n{len(STORIES)} jobs, " in excerpt


def test_the_sentence_it_all_started_from(capsys: pytest.CaptureFixture[str]) -> None:
    sentence = "I don't know how much you have, nor how much he has, but I can know how much you two have together."
    introduce()
    said = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert sentence in said
    assert f"> {sentence}" in TEXTS["README.md"]


def test_both_readmes_say_the_same() -> None:
    english, chinese = (TEXTS[p] for p in READMES)
    assert len(re.findall("^## ", english, re.MULTILINE)) == len(re.findall("^## ", chinese, re.MULTILINE))
    assert set(LINK.findall(english)) - {"README.zh-CN.md"} == set(LINK.findall(chinese)) - {"README.md"}
    commands = [
        [
            line.split("#")[0].strip()
            for _, c in blocks(text, "")
            for line in c.splitlines()
            if line.startswith(("heji ", "make "))
        ]
        for text in (english, chinese)
    ]
    assert commands[0] == commands[1] and commands[0]
    assert [k for k, _ in FENCE.findall(english)] == [k for k, _ in FENCE.findall(chinese)]


# ---- code in pages


def python_blocks() -> list[tuple[str, str]]:
    return [(page, code) for page, text in TEXTS.items() for _, code in blocks(text, "python")]


@pytest.mark.parametrize(("page", "code"), list(python_blocks()))
def test_python_parses_and_imports_what_exists(page: str, code: str) -> None:
    tree = ast.parse(code) if not code.startswith("heard = yield") else ast.parse(f"def role():\n    {code}")
    imports = [n for n in tree.body if isinstance(n, ast.Import | ast.ImportFrom)]
    exec(compile(ast.Module(body=imports, type_ignores=[]), page, "exec"), {})


def test_files_that_pages_name_exist() -> None:
    named = {
        (page, f) for page, text in TEXTS.items() for f in re.findall(r"`((?:mpc|parties|tests|proto)/[\w./-]*)`", text)
    }
    missing = sorted((page, f) for page, f in named if not (ROOT / f).exists())
    assert not missing


def test_settings_on_the_operations_page_are_those_of_the_code() -> None:
    page = TEXTS["docs/operations.md"]
    for name, default in re.findall(r"^\| `(\w+)` \| (\d+) \|", page, re.MULTILINE):
        assert MemberConfig.model_fields[name].default == int(default)
    for name in MemberConfig.model_fields.keys() - {"name", "listen"}:
        assert f"`{name}`" in page


# ---- what protocols cost


def test_costs_on_the_protocol_pages_are_those_of_a_traced_run() -> None:
    parties = ("p0", "p1", "p2")
    s = Sum("pool0/w64/analyst", parties, "analyst", 64, BLOCK_WORDS + 7)
    w = World(parties, (s,), {"analyst": public_key(b"\x07" * 32)})
    trace = Trace()
    run(w.roles({p: {s.name: np.zeros(s.length, np.uint64)} for p in parties}), trace)

    pages = {page: " ".join(text.split()) for page, text in TEXTS.items()}  # lines break where they like
    for a, b in itertools.permutations([*parties, COORDINATOR], 2):
        keys = [m for m in trace.sent if (m.sender, m.receiver) == (a, b) and m.step.startswith("keys/")]
        assert [len(m.raw) for m in keys] == [102, 102]
    assert "two messages of 102 bytes" in pages["docs/protocols/keys.md"]
    assert trace.rounds["p0"] == 2 + 2  # keys, blocks

    words = [m for m in trace.said_by("p0") if not m.step.startswith("keys/")]
    assert {m.receiver for m in words} == {COORDINATOR}
    assert sum(len(m.raw) for m in words) - 8 * s.length <= 15 * len(words)
    assert f"{8 * BLOCK_WORDS:,}" in pages["docs/protocols/secure-sum.md"]
    assert f"{BLOCK_WORDS:,} words of 64 bits" in pages["docs/wire-format.md"]
    wide = len(encode(Words(128, np.zeros((BLOCK_WORDS // 2, 2), np.uint64)))) - 8 * BLOCK_WORDS
    assert wide <= 15


# ---- what must not be written


@pytest.mark.parametrize("page", TEXTS)
def test_no_hosts_but_known_ones_and_no_paths_of_a_machine(page: str) -> None:
    text = TEXTS[page]
    assert {u.split("/")[2] for u in re.findall(r"https?://[^\s)>`\"]+", text)} <= HOSTS
    domains = re.findall(r"\b(?:[a-z0-9-]+\.)+(?:org|com|net|io|cn|dev)\b", text)
    assert set(domains) <= HOSTS
    assert not re.search(r"(?<![\w.])/(?:home|root|Users|work|tmp)/", text)
    assert str(ROOT) not in text
