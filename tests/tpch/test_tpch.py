"""TPC-H: every query of docs/tpch.md is exact, or refused as the page says. The page is the list of expectations."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import pytest

from mpc.errors import LocalError
from tests.mpc.query.world import World
from tests.tpch.world import tpch

HERE = Path(__file__).parent
PAGE = Path(__file__).parents[2] / "docs" / "tpch.md"
ROW = re.compile(r"^\| (Q\d+[a-z]?) \| (exact|refused: `([a-z._]+)`) \|([^|]*)\|", re.M)
#: name -> code ("" where it is exact), and what stands in the message
EXPECTED = {m[1]: (m[3] or "", m[4].strip()) for m in ROW.finditer(PAGE.read_text(encoding="utf-8"))}


def file_of(name: str) -> Path:
    number = int(re.sub(r"\D", "", name))
    return HERE / "queries" / f"q{number:02}{'_heji' if name.endswith('b') else ''}.sql"


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> World:
    return tpch(tmp_path_factory.mktemp("tpch"), "0.01")


@pytest.fixture(scope="module")
def larger(tmp_path_factory: pytest.TempPathFactory) -> World:
    return tpch(tmp_path_factory.mktemp("tpch"), "0.1")


def test_the_page_has_all_queries() -> None:
    assert {n for n in EXPECTED if not n.endswith("b")} == {f"Q{i}" for i in range(1, 23)}
    assert {file_of(n) for n in EXPECTED} == set((HERE / "queries").glob("*.sql"))
    assert all(code == "" for name, (code, _) in EXPECTED.items() if name.endswith("b"))


def recipient(sql: str) -> str:
    said = re.match(r"-- to (\w+):", sql)
    return said[1] if said else "analyst"


def exact(world: World, name: str) -> None:
    sql = file_of(name).read_text(encoding="utf-8")
    result = world.result(world.plan(sql, recipients=(recipient(sql),)))
    theirs = world.plaintext(sql)
    assert theirs and len(result.rows) == len(theirs)
    assert all(
        same(a, b) for mine, other in zip(result.rows, theirs, strict=True) for a, b in zip(mine, other, strict=True)
    )


def same(mine: Any, theirs: Any) -> bool:
    """To the last digit; quotients are the nearest doubles, where DuckDB's own digits may differ."""
    if isinstance(mine, float):
        return math.isclose(mine, float(theirs), rel_tol=1e-9)
    return bool(mine == theirs)


@pytest.mark.parametrize("name", [n for n, (code, _) in EXPECTED.items() if not code])
def test_exact(small: World, name: str) -> None:
    exact(small, name)


@pytest.mark.slow
@pytest.mark.parametrize("name", [n for n, (code, _) in EXPECTED.items() if not code])
def test_exact_at_ten_times_the_size(larger: World, name: str) -> None:
    exact(larger, name)


@pytest.mark.parametrize("name", [n for n, (code, _) in EXPECTED.items() if code])
def test_refused_by_name(small: World, name: str) -> None:
    code, why = EXPECTED[name]
    with pytest.raises(LocalError) as caught:
        small.plan(file_of(name).read_text(encoding="utf-8"))
    assert caught.value.code == code
    assert why.replace("`", "") in str(caught.value), caught.value
    assert caught.value.advice
