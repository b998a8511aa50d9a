"""Every example runs as its README says, to the last digit, under the policies beside it."""

from __future__ import annotations

import pytest

from examples.running import HERE, names, queries, run


def test_there_are_those_that_the_page_lists() -> None:
    page = (HERE / "README.md").read_text(encoding="utf-8")
    assert len(names()) >= 5 and all(f"[{name}]({name}/README.md)" in page for name in names())
    assert all(queries(name) for name in names())


@pytest.mark.slow
@pytest.mark.parametrize("example", names())
def test_example(example: str) -> None:
    page = (HERE / example / "README.md").read_text(encoding="utf-8")
    for told in run(example):
        assert told.comparison.exact, told.comparison.differences
        assert told.comparison.cells
        assert f"```sql\n{told.query.sql}\n```\n\nTo {told.query.to}" in page
        assert f"```\n{told.table()}\n```" in page
