"""What a recipient opened, given with its consent: the table computed again, verified sums verified, limits kept."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mpc.evidence.blame import blamed
from mpc.evidence.bundle import Bundle
from mpc.evidence.released import Released
from mpc.evidence.verify import Check, overall
from parties.auditor.export import export
from parties.auditor.judge import text
from parties.member import Member
from tests.parties import test_join_rows, test_joins, world
from tests.parties.auditor.bundles import asked, first_failed, judged
from tests.parties.auditor.forge import Forge, retell
from tests.parties.conftest import serving

ALL_BANKS = " UNION ALL ".join(f"SELECT grade, balance FROM {bank}.accounts" for bank in world.BANKS)
BESIDE = (
    f"SELECT grade, SUM(balance) AS total, (SELECT SUM(balance) FROM ({ALL_BANKS})) AS all_grades FROM ({ALL_BANKS}) "
    "GROUP BY grade"
)


def found(checks: list[Check], number: int) -> list[str]:
    return [f.text for f in checks[number - 1].findings]


def test_everything_is_checked_again(checked: tuple[Path, Bundle]) -> None:
    folder, bundle = checked
    case, checks = judged(folder, bundle)
    assert overall(checks) == "passed", text(case, checks)
    assert {c.number for c in checks if c.verdict == "passed"} >= {8, 10, 11, 13}
    assert "the equation holds for all 1 sums that analyst opened" in found(checks, 10)
    assert "3 points that analyst gave are valid, signed before data moved, and those in the logs" in found(checks, 8)
    assert "the table of analyst is what the plan computes from the words it opened" in found(checks, 11)
    assert "analyst: 2 values are suppressed, and none of them is shown" in found(checks, 13)
    assert "analyst: 1 shown cells have at least 30 rows each" in found(checks, 13)


def another_point(body: dict[str, Any]) -> None:
    [one] = body["bound"].values()
    one["parties"]["bank_a"]["points"] = one["parties"]["bank_b"]["points"]


def no_point(body: dict[str, Any]) -> None:
    [one] = body["bound"].values()
    one["parties"]["bank_a"]["points"] = ["ff" * 32]


def another_sum(body: dict[str, Any]) -> None:
    """bank_b's fen more, and the table with it."""
    [(name, text)] = body["words"].items()
    words = np.frombuffer(base64.b64decode(text), dtype="<u8").copy().reshape(-1, 2)
    at = 3  # the count of grade B, which is shown
    words[at, 0] += 1
    body["words"][name] = base64.b64encode(words.tobytes()).decode()
    for column in body["columns"]:
        column[3] = [str(int(v) + 1) if v == str(int(words[at, 0]) - 1) else v for v in column[3]]


def other_scalars(body: dict[str, Any]) -> None:
    [one] = body["bound"].values()
    one["scalars"] = ["7"]


def another_table(body: dict[str, Any]) -> None:
    n = next(c for c in body["columns"] if c[0] == "n")
    n[3] = ["1000" if v is not None else None for v in n[3]]


def another_statement(body: dict[str, Any]) -> None:
    body["statement"]["plan"] = "00" * 32


@pytest.mark.parametrize(
    ("change", "number", "guilty"),
    [
        (another_point, 8, set()),
        (no_point, 8, set()),
        (other_scalars, 10, {"analyst"}),
        (another_table, 11, {"analyst"}),
        (another_statement, 11, {"analyst"}),
    ],
    ids=lambda x: getattr(x, "__name__", ""),
)
def test_what_is_wrong_is_found(
    checked: tuple[Path, Bundle], change: Callable[[dict[str, Any]], None], number: int, guilty: set[str]
) -> None:
    folder, bundle = checked
    forge = Forge(folder, bundle)
    retell(forge, change)
    case, checks = judged(folder, forge.made())
    assert first_failed(checks) == number, text(case, checks)
    assert {f.by for f in blamed([(case, checks)])} == guilty


def test_another_sum_does_not_verify(checked: tuple[Path, Bundle]) -> None:
    folder, bundle = checked
    forge = Forge(folder, bundle)
    retell(forge, another_sum)
    _, checks = judged(folder, forge.made())
    assert first_failed(checks) == 10 and "protocol.sum" in found(checks, 10)[-1]


def test_nobody_else_can_put_in_a_result(checked: tuple[Path, Bundle]) -> None:
    """What is not the one in the log is not looked into: it shows nothing of anybody."""
    folder, bundle = checked
    forge = Forge(folder, bundle)
    forge.files["results/analyst.json"] = forge.files["results/analyst.json"].replace(b'"scalars":["', b'"scalars":["1')
    case, checks = judged(folder, forge.made())
    assert first_failed(checks) == 11 and blamed([(case, checks)]) == []
    assert checks[12].verdict == "open"


def a_suppressed_value_shown(body: dict[str, Any]) -> None:
    total = next(c for c in body["columns"] if c[0] == "total")
    total[3] = ["12.00" if v is None else v for v in total[3]]


def another_number_of_suppressed(body: dict[str, Any]) -> None:
    body["statement"]["suppressed_values"] = 0


@pytest.mark.parametrize("change", [a_suppressed_value_shown, another_number_of_suppressed])
def test_suppression_that_is_not_kept(checked: tuple[Path, Bundle], change: Callable[[dict[str, Any]], None]) -> None:
    folder, bundle = checked
    forge = Forge(folder, bundle)
    retell(forge, change)
    _, checks = judged(folder, forge.made())
    assert checks[12].verdict == "failed"


@pytest.fixture(scope="module")
def limits(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Bundle]:
    """A total of owners who approved with a limit of 2 entities."""
    folder = world.make(tmp_path_factory.mktemp("limits"), min_entities=2)
    return folder, asyncio.run(asked(folder, world.BY_GRADE, with_result=True))


def test_a_cell_of_too_few_rows_is_found(limits: tuple[Path, Bundle]) -> None:
    """As if the owners had approved with 20 entities: cells of 45 rows are then too small."""
    folder, bundle = limits
    _, checks = judged(folder, bundle)
    assert checks[12].verdict == "passed" and "2 shown cells have at least 6 rows each" in found(checks, 13)[-1]
    forge = Forge(folder, bundle)

    def stricter(d: dict[str, Any]) -> None:
        for p in d["approvals"]:
            statement = json.loads(bytes.fromhex(d["approvals"][p][0]))
            raw = json.dumps({**statement, "min_entities": 20}).encode()
            d["approvals"][p] = [raw.hex(), forge.keys[p].sign("approval", raw).hex()]

    forge.documents(stricter)
    _, checks = judged(folder, forge.made())
    assert any("a cell of 45 rows is shown, where 60 are the fewest" in t for t in found(checks, 13))


async def test_a_total_beside_groups_is_hidden_with_a_single_one(tmp_path: Path) -> None:
    """The node hides a second cell; the check says so of what was released, and finds it where it was not."""
    folder = world.make(tmp_path, min_entities=10)
    few = [(u, "B" if i >= 5 else "A", b) for i, (u, _, b) in enumerate(world.rows_of("bank_c"))]
    world.write_accounts(tmp_path / "bank_c.csv", few)
    for remember, verdict in ((True, "passed"), (False, "failed")):
        for bank in world.BANKS if not remember else ():
            with (folder / bank / "member.toml").open("a") as settings:
                settings.write("\nrelease_ledger = false\n")
        async with serving(folder) as running:
            result = await running.query(BESIDE)
            member = await running.apart(Member, folder / "analyst")
            bundle, _ = await export(member, result.statement["job"], with_result=True)
            await member.close()
        _, checks = judged(folder, bundle)
        assert checks[12].verdict == verdict, found(checks, 13)


async def test_a_join_and_a_result_by_row(tmp_path: Path) -> None:
    folder = test_joins.make(tmp_path / "joins")
    async with serving(folder) as running:
        asked_for = f"SELECT t.industry, COUNT(*) AS n {test_joins.JOINED} GROUP BY t.industry"
        job = (await running.query(asked_for)).statement["job"]
        member = await running.apart(Member, folder / "analyst")
        bundle, _ = await export(member, job, with_result=True)
        await member.close()
    case, checks = judged(folder, bundle)
    assert overall(checks) == "passed", text(case, checks)
    assert "the table of analyst is what the plan computes" in found(checks, 11)[-1]
    folder = test_join_rows.make(tmp_path / "rows", test_join_rows.GRANTS)
    async with serving(folder) as running:
        job = (await running.query(test_join_rows.DECISION, "bank")).statement["job"]
        member = await running.apart(Member, folder / "bank")
        bundle, _ = await export(member, job, with_result=True)
        await member.close()
    case, checks = judged(folder, bundle)
    assert overall(checks) == "passed", text(case, checks)
    assert "by row" in found(checks, 11)[-1] and checks[12].verdict == "passed"


def test_reading_is_strict(checked: tuple[Path, Bundle]) -> None:
    _, bundle = checked
    raw = bundle.files["results/analyst.json"]
    assert Released.from_bytes(raw).to_bytes() == raw
    for bad in (b"", b"[]", b"{}", raw[:-1], raw.replace(b'"words"', b'"wards"', 1)):
        with pytest.raises((ValueError, KeyError, TypeError, AttributeError)):
            Released.from_bytes(bad)
