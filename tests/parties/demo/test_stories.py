"""Every story runs over the plaintext, asks only what is granted, and keeps to the rules that it tells about."""

from __future__ import annotations

import re

import pytest
import sqlglot
from sqlglot import exp

from parties.demo import tables as demo
from parties.demo.plaintext import compare, plaintext
from parties.demo.stories import INDUSTRIES, STORIES, Story, chart_points
from parties.demo.tables import DemoTable

TOTALS = [s for s in STORIES if not s.by_row]
SUMS, JOINS = ([s for s in TOTALS if ("JOIN " in s.sql) is joined] for joined in (False, True))
stories = pytest.mark.parametrize("story", STORIES, ids=lambda s: s.name)
sums = pytest.mark.parametrize("story", SUMS, ids=lambda s: s.name)
joins = pytest.mark.parametrize("story", JOINS, ids=lambda s: s.name)


def _parties(tree: exp.Expr) -> set[str]:
    return {table.db for table in tree.find_all(exp.Table)}


@stories
def test_runs_over_the_plaintext(story: Story, tables: tuple[DemoTable, ...]) -> None:
    rows = plaintext(tables, story.sql).to_pylist()
    assert rows
    assert all(value is not None for row in rows for value in row.values())
    assert len({tuple(row[k] for k in story.keys) for row in rows}) == len(rows)
    assert compare(rows, rows, story.keys, ordered=story.ordered).exact
    labels, values = chart_points(story, rows)
    assert len(labels) == len(values) == (len(rows) if story.chart else 0)


@sums
def test_is_sql_of_sums(story: Story) -> None:
    tree = sqlglot.parse_one(story.sql, dialect="duckdb")
    recipients = {demo.MODELER, *demo.DATA_PARTIES}
    assert story.recipient in recipients
    contributors = _parties(tree) - {story.recipient}
    assert len(contributors) >= 2 or len(_parties(tree)) == 1


@sums
def test_columns_exist_and_are_granted(story: Story, tables: tuple[DemoTable, ...]) -> None:
    tree = sqlglot.parse_one(story.sql, dialect="duckdb")
    by_name = {(t.party, t.table.name): t for t in tables}
    to = f"modeler:{demo.MODELER}" if story.recipient == demo.MODELER else story.recipient
    for select in tree.find_all(exp.Select):
        source = select.args["from_"].this if select.args.get("from_") else None
        if not isinstance(source, exp.Table):
            continue
        table = by_name[source.db, source.name]
        granted = {c for g in table.grants if to in g.to or table.party == to for c in g.columns}
        aliases = {e.alias for e in select.expressions if isinstance(e, exp.Alias)}
        assert {c.name for c in select.find_all(exp.Column)} <= granted | aliases
        assert {c.name for e in select.expressions for c in e.find_all(exp.Column)} <= granted


def test_no_column_enters_totals_of_two_sets_of_contributors() -> None:
    """a+b, b+c and a+c can be solved for a, b and c (protocols.md)."""
    sets: dict[tuple[str, str, str], set[frozenset[str]]] = {}
    for story in SUMS:
        tree = sqlglot.parse_one(story.sql, dialect="duckdb")
        contributors = frozenset(_parties(tree))
        for aggregate in tree.find_all(exp.AggFunc):
            for column in aggregate.find_all(exp.Column):
                for table in tree.find_all(exp.Table):
                    inner = table.find_ancestor(exp.Select)
                    if inner and column.name in {c.name for c in inner.find_all(exp.Column)}:
                        sets.setdefault((table.db, table.name, column.name), set()).add(contributors)
    assert ("bank_a", "accounts", "balance") in sets
    assert all(len(found) == 1 for found in sets.values()), sets


SMALLEST = """
    SELECT label, MIN(entities) AS smallest FROM (
        SELECT label, party, COUNT(DISTINCT id) AS entities FROM ({parts}) GROUP BY ALL
    ) GROUP BY label HAVING COUNT(DISTINCT party) = {parties} AND MIN(entities) >= 10
"""


@sums
def test_cells_are_small_only_where_the_story_says_so(story: Story, tables: tuple[DemoTable, ...]) -> None:
    """The min_entities rule by hand, for the groups as a whole: every owner has ten entities in the cells shown."""
    if not story.keys or story.name == "rates":
        return
    tree = sqlglot.parse_one(story.sql, dialect="duckdb")
    keys = {(t.party, t.table.name): t.keys[0] for t in tables}
    parts = []
    for table in tree.find_all(exp.Table):
        inner = table.find_ancestor(exp.Select)
        assert inner is not None
        where = inner.args["where"].sql("duckdb") if inner.args.get("where") else ""
        key = keys[table.db, table.name]
        parts.append(
            f"SELECT {story.keys[0]} AS label, '{table.db}' AS party, {key} AS id FROM {table.db}.{table.name} {where}"
        )
    passing = plaintext(tables, SMALLEST.format(parts=" UNION ALL ".join(parts), parties=len(_parties(tree))))
    labels = {row[story.keys[0]] for row in plaintext(tables, story.sql).to_pylist()}
    small = labels - set(passing["label"].to_pylist())
    assert not small or story.hides
    if story is INDUSTRIES:
        assert 3 <= len(small) <= 12


@joins
def test_cells_of_joins_are_small_only_where_the_story_says_so(story: Story, tables: tuple[DemoTable, ...]) -> None:
    tree = sqlglot.parse_one(story.sql, dialect="duckdb")
    assert len(_parties(tree)) == len(list(tree.find_all(exp.Table))) >= 2
    (using,) = {i.name for j in tree.find_all(exp.Join) for i in j.args["using"]}
    rest = story.sql[story.sql.index("FROM ") : story.sql.index(" ORDER BY")]
    (first, *_) = (t.alias for t in tree.find_all(exp.Table))
    cells = plaintext(tables, f"SELECT COUNT(DISTINCT {first}.{using}) AS entities {rest}").to_pylist()
    small = [c for c in cells if c["entities"] < 10]
    assert len(small) < len(cells) and bool(small) is story.hides


def test_questions_are_for_people() -> None:
    assert len({s.name for s in STORIES}) == len(STORIES) >= 7
    for story in STORIES:
        assert story.title
        assert story.question.endswith(("?", "."))
        assert re.fullmatch(r"[a-z]+", story.name)
        assert max(map(len, story.sql.splitlines())) <= 110
