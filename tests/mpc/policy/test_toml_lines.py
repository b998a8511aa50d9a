"""Lines of keys: every way in which TOML hides a line break or a bracket."""

from __future__ import annotations

import tomllib

import pytest

from mpc.policy.toml_lines import lines_of, statements

TEXT = '''# a comment with [[grant]] in it
version = 1

[[grant]]   # first = "no key"
table = "a # no comment"
columns = [
  "x",  # ] not the end
  "[[grant]]",
]
purposes = ["""
uses = 1 ""quoted"" """]
budget = { epsilon = 1.0, per = '[30d' }

[[ "grant" ]]
'table' = 'c:\\'
"to" = ["\\"", 'b']
to2 = """""x"""""
expires = 2027-06-30

[grant.budget]
epsilon = 1
[[grant]]
budget.epsilon = 1
'''


def test_lines() -> None:
    assert len(tomllib.loads(TEXT)["grant"]) == 3
    lines = lines_of(TEXT, "grant")
    assert lines.headers == [4, 14, 22]
    assert lines.top == {"version": 2, "grant": 4}
    assert lines.keys == [
        {"table": 5, "columns": 6, "purposes": 10, "budget": 12},
        {"table": 15, "to": 16, "to2": 17, "expires": 18, "budget": 20},
        {"budget": 23},
    ]


@pytest.mark.parametrize("text", ["", "\n\n", "# nothing", "a = 1", "[a.b]\n", "a = [[1], [2]]", 'a."b.c" = 1'])
def test_small_texts_end(text: str) -> None:
    tomllib.loads(text)
    assert all(s.line >= 1 and s.path for s in statements(text))
