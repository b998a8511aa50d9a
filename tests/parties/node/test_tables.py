"""Publishing a table: what lands in the member's folder, and that nothing does when something is wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mpc.policy.grants import parse_policy
from mpc.query.catalog import Catalog, Column, Table
from parties import files
from parties.node.sources import source as sources
from parties.node.tables import add_table, append_grant, publish_table
from tests.parties.node import CANARY_NUMBER, CANARY_TEXT, member_folder, refused

FIRMS = "uscc,industry,paid,since\n" + "".join(f"9131{i:04},{'AB'[i % 2]},{i}.50,2001-02-03\n" for i in range(123))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "firms.csv").write_text(FIRMS)
    return member_folder(tmp_path / "tax")


def state(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def published(folder: Path) -> Catalog:
    return Catalog.from_dict(json.loads((folder / "catalog.json").read_text()))


def test_what_is_published(folder: Path, tmp_path: Path) -> None:
    made = add_table(folder, str(tmp_path / "firms.csv"), keys=["uscc"], description="Firms of a district")
    catalog = published(folder)
    assert catalog.party == "tax" and catalog.tables == (made.table,)
    assert made.table.rows == 130  # two digits, rounded up
    uscc, industry, paid, since = made.table.columns
    assert (uscc.kind, uscc.key, uscc.nullable, uscc.domain) == ("text", True, False, None)
    assert (industry.kind, industry.domain) == ("text", ("A", "B"))
    assert (paid.kind, paid.scale, paid.low, paid.high) == ("decimal", 2, 0, 100_000)
    assert since.kind == "date"
    assert any("industry" in line for line in made.review)
    assert sources.load(folder, "firms") == sources.TableSource("csv", str(tmp_path / "firms.csv"))
    assert sorted(state(folder)) == ["catalog.json", "member.toml", "tables/firms.json"]


def test_no_extreme_and_no_rare_category_is_published(folder: Path, tmp_path: Path) -> None:
    text = FIRMS + f"9999,{CANARY_TEXT},{CANARY_NUMBER},1987-06-05\n"
    (tmp_path / "firms.csv").write_text(text)
    made = add_table(folder, str(tmp_path / "firms.csv"), keys=["uscc"])
    shown = (folder / "catalog.json").read_text() + repr(made)
    assert not [c for c in (CANARY_TEXT, "8675309", "867530942", "1987", "6364") if c in shown]
    assert made.table.columns[1].domain is None and any("fewer than 10 rows" in line for line in made.review)


def test_a_few_values_that_make_amounts_a_text_are_told(folder: Path, tmp_path: Path) -> None:
    rows = [f"{i},{i}.50,x{i},{'1,200' if i else ''}" for i in range(30)] + [f"98,{CANARY_TEXT},y,7", "99,n/a,z,8"]
    (tmp_path / "odd.csv").write_text("id,paid,name,grouped\n" + "\n".join(r.replace("1,200", '"1,200"') for r in rows))
    made = add_table(folder, str(tmp_path / "odd.csv"), keys=["id"])
    told = [line for line in made.review if "no numbers" in line]
    assert len(told) == 1 and told[0].startswith("paid: 2 of 32 values are no numbers")
    assert CANARY_TEXT not in " ".join(made.review)


def test_declared_types_domains_and_bounds(folder: Path, tmp_path: Path) -> None:
    made = add_table(
        folder,
        str(tmp_path / "firms.csv"),
        name="f",
        types={"paid": "DECIMAL(18,4)"},
        domains={"industry": "A,B,C"},
        bounds={"paid": "-1.5:200000"},
    )
    _, industry, paid, _ = made.table.columns
    assert industry.domain == ("A", "B", "C")
    assert (paid.scale, paid.low, paid.high) == (4, -15_000, 2_000_000_000)
    assert any("no --key" in line for line in made.review)


def test_a_declaration_that_does_not_hold_publishes_nothing(folder: Path, tmp_path: Path) -> None:
    before = state(folder)
    path = str(tmp_path / "firms.csv")
    for wrong in (
        {"bounds": {"paid": "0:100"}},
        {"domains": {"industry": "A"}},
        {"types": {"paid": "DECIMAL(9,0)"}},
        {"types": {"industry": "DATE"}},
    ):
        with refused("data.bounds", "122.50"):
            add_table(folder, path, **wrong)  # type: ignore[arg-type]
    with refused("config.invalid", says=("no column nothing",)):
        add_table(folder, path, keys=["nothing"])
    with refused("config.invalid", says=("--name",)):
        add_table(folder, path, name="not a name")
    assert state(folder) == before


def test_a_key_that_is_null_somewhere_publishes_nothing(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "firms.csv").write_text(FIRMS + ",A,1.00,2001-02-03\n")
    with refused("data.bounds", says=("firms.uscc", "NULL")):
        add_table(folder, str(tmp_path / "firms.csv"), keys=["uscc"])


def test_a_name_is_published_once_unless_replaced(folder: Path, tmp_path: Path) -> None:
    path = str(tmp_path / "firms.csv")
    add_table(folder, path)
    add_table(folder, path, name="second")
    before = state(folder)
    for name in ("firms", "FIRMS"):
        with refused("config.exists", says=("--replace",)):
            add_table(folder, path, name=name)
    assert state(folder) == before
    add_table(folder, path, sql="SELECT paid FROM source", name="Firms", replace=True)
    assert [t.name for t in published(folder).tables] == ["second", "Firms"]
    assert sources.load(folder, "Firms").sql == "SELECT paid FROM source"


POLICY = """# our policy, 本行政策
version = 1

[[grant]]  # the first one
table = "old"   # keep   these   spaces
uses = []
# the end"""


def test_a_grant_is_appended_and_everything_else_kept(folder: Path, tmp_path: Path) -> None:
    (folder / "policy.toml").write_text(POLICY)
    add_table(folder, str(tmp_path / "firms.csv"), grants=["aggregate", "filter"], min_entities=5, min_contributors=3)
    after = (folder / "policy.toml").read_text()
    assert after.startswith(POLICY)
    policy = parse_policy(after)
    assert [g.table for g in policy.grants] == ["old", "firms"]
    granted = policy.grants[1]
    assert (granted.columns, granted.to, granted.uses) == (("*",), ("any",), ("aggregate", "filter"))
    assert (granted.min_entities, granted.min_contributors, granted.approval) == (5, 3, "auto")


def test_the_same_grant_is_not_appended_twice(folder: Path, tmp_path: Path) -> None:
    for _ in range(2):
        add_table(folder, str(tmp_path / "firms.csv"), grants=["aggregate"], replace=True)
    assert len(parse_policy((folder / "policy.toml").read_text()).grants) == 1


def test_a_grant_that_is_no_grant_writes_nothing(folder: Path, tmp_path: Path) -> None:
    (folder / "policy.toml").write_text(POLICY)
    add_table(folder, str(tmp_path / "firms.csv"))
    before = state(folder)
    with refused("policy.invalid"):
        add_table(
            folder,
            str(tmp_path / "firms.csv"),
            sql="SELECT paid FROM source",
            name="firms",
            grants=["agregate"],
            replace=True,
        )
    with refused("policy.invalid"):
        append_grant(folder, "[[grant]\n")
    assert state(folder) == before


def test_a_policy_that_is_broken_already_is_left_alone(folder: Path, tmp_path: Path) -> None:
    (folder / "policy.toml").write_text("[[grant]]\nuses = 1\n")
    before = state(folder)
    with refused("policy.invalid"):
        add_table(folder, str(tmp_path / "firms.csv"), grants=["aggregate"])
    assert state(folder) == before


def test_a_policy_is_written_whole_or_not_at_all(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "policy.toml").write_text(POLICY)
    before = state(folder)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    with refused("store.failed", says=("No space left",)):
        append_grant(folder, '[[grant]]\ntable = "firms"\n')
    assert state(folder) == before


def test_publishing_with_a_declaration_at_hand(folder: Path, tmp_path: Path) -> None:
    paid = Column("paid", "decimal", 2, 0, 100_000, nullable=False)
    publish_table(folder, Table("f", (paid,), 130), str(tmp_path / "firms.csv"), policy='[[grant]]\ntable = "f"\n')
    assert published(folder).tables[0].columns == (paid,)
    with refused("data.source", says=("no longer has the column other",)):
        publish_table(folder, Table("g", (Column("other", "text"),), 10), str(tmp_path / "firms.csv"))


def test_a_broken_catalog_is_left_alone(folder: Path, tmp_path: Path) -> None:
    (folder / "catalog.json").write_text("{ not json")
    before = state(folder)
    with refused("plan.catalog"):
        add_table(folder, str(tmp_path / "firms.csv"))
    assert state(folder) == before


@pytest.mark.parametrize(
    ("location", "how"),
    [
        ("nowhere.csv", {}),
        (".", {}),
        ("firms.xlsx", {}),
        ("firms.csv", {"table": "t"}),
        ("firms.csv", {"table": "t", "sql": "SELECT 1"}),
    ],
)
def test_locations_with_mistakes(folder: Path, tmp_path: Path, location: str, how: dict[str, str]) -> None:
    with refused("data.source"):
        add_table(folder, str(tmp_path / location), **how)  # type: ignore[arg-type]
