"""What errors, notes and helps advise can be typed: their commands exist and have the options that are named."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from cyclopts import App

from parties.cli.main import app

ROOT = Path(__file__).parents[2]
#: words of a command, as they begin
COMMAND = re.compile(r"\bheji((?: [a-z][a-z-]*)+)")
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]+")
#: what follows a command up to the end of what is quoted or said of it
REST = re.compile(r"[^`\n;]*?(?=`|\n|;|\. |\.$|\)|$| or `?heji| and `?heji)")


def commands(group: App, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], frozenset[str]]]:
    """Every command with its options; groups have none."""
    for name in group:
        if not name.startswith("-"):
            here = (*path, name)
            takes = group[name].assemble_argument_collection() if group[name].default_command else ()
            yield here, frozenset(n for argument in takes for n in argument.names if n.startswith("--"))
            yield from commands(group[name], here)


OPTIONS = dict(commands(app))
#: which do nothing by themselves
GROUPS = {path[:n] for path in OPTIONS for n in range(1, len(path))} - {("deposit",)}


def texts() -> Iterator[tuple[str, str]]:
    """Every text of the code with its place, what is put into it as X."""
    for path in sorted([*(ROOT / "mpc").rglob("*.py"), *(ROOT / "parties").rglob("*.py")]):
        if path.name == "page.py":  # CSS has names with two dashes too
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        inside = {id(v) for n in ast.walk(tree) if isinstance(n, ast.JoinedStr) for v in ast.walk(n) if v is not n}
        for node in ast.walk(tree):
            place = f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 0)}"
            if isinstance(node, ast.JoinedStr):
                yield place, "".join(v.value if isinstance(v, ast.Constant) else "X" for v in node.values)  # type: ignore[misc]
            elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in inside:
                yield place, node.value


def mistakes(text: str) -> list[str]:
    """Commands in a text that there are not, and options that they do not have."""
    found = []
    for match in COMMAND.finditer(text):
        words = match[1].split()
        path = next((tuple(words[:n]) for n in range(len(words), 0, -1) if tuple(words[:n]) in OPTIONS), None)
        if path is None or (path in GROUPS and len(words) > len(path)):
            found += [match[0]] if path or text[: match.start()].endswith("`") else []
            continue
        said = REST.match(text, match.end())
        found += [f"{' '.join(path)} {o}" for o in OPTION.findall(said[0] if said else "") if o not in OPTIONS[path]]
    known = {"--version", "--html"}.union(*OPTIONS.values())  # the latter is heji-verify's
    return found + [o for o in OPTION.findall(text) if o not in known]


def test_what_is_advised_can_be_typed() -> None:
    wrong = [f"{place}: {m}" for place, text in texts() for m in mistakes(text)]
    assert not wrong


@pytest.mark.parametrize(
    "text",
    [
        "Use `heji node frobnicate DIR`; or wait.",
        "See `heji frob`.",
        'heji node console-token demo/tax --by "Li Na"',
        "Say so with --whom.",
        "`heji node stop X --now --as tax` ends it.",
    ],
)
def test_wrong_advice_would_be_found(text: str) -> None:
    assert mistakes(text)


def test_right_advice_is_let_be() -> None:
    assert not mistakes("End it: heji node stop DIR --now --by NAME; what waits: `heji jobs pending --as X`. Add --as.")
