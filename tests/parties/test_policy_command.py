"""`heji policy check` and `test` on files as an officer may have them."""

from __future__ import annotations

from pathlib import Path

import pytest

from parties.cli.main import main
from parties.consortium import init_consortium
from tests.parties import world
from tests.parties.conftest import serving

GRANT = """[[grant]]
table = "accounts"
columns = ["balance"]
to = ["analyst"]
uses = ["aggregate"]
approval = "auto"
"""


def heji(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str]:
    with pytest.raises(SystemExit) as ended:
        main(list(map(str, words)))
    told = capsys.readouterr()
    return int(str(ended.value.code or 0)), " ".join((told.out + told.err).split())


def test_a_grant_whose_day_has_passed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "draft.toml"
    file.write_text(f"{GRANT}expires = 2020-01-31\n{GRANT}expires = 2999-01-31\n")
    status, told = heji(capsys, "policy", "check", file)
    assert status == 0 and told.count("grants nothing any more: that day has passed") == 1


def test_a_mistake_names_the_file_it_is_in(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "draft.toml").write_text("SELECT 1\n")
    status, told = heji(capsys, "policy", "check", tmp_path / "draft.toml")
    assert status == 1 and "draft.toml, line 1: this is not TOML" in told and "policy.toml" not in told


def test_names_that_nobody_has(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    init_consortium(tmp_path / "c", parties=["tax", "bank"], modelers=["analyst"])
    (tmp_path / "c" / "tax" / "policy.toml").write_text(GRANT.replace("analyst", "analist"))
    status, told = heji(capsys, "policy", "check", tmp_path / "c" / "tax")
    assert status == 0 and "line 1 names table 'accounts', which is not published" in told
    assert "line 1 names 'analist', which is no member (did you mean 'analyst'?)" in told
    (tmp_path / "draft.toml").write_text(GRANT.replace("accounts", "acc\u200bounts\u202e"))
    assert "line 1: acc\\u200bounts\\u202e (balance)" in heji(capsys, "policy", "check", tmp_path / "draft.toml")[1]


def test_who_has_no_policy(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    init_consortium(tmp_path / "c", parties=["tax", "bank"], modelers=["analyst"])
    status, told = heji(capsys, "policy", "check", tmp_path / "c" / "analyst")
    assert status == 1 and told.count("analyst/policy.toml") == 1 and "use --as with a party" in told


async def test_what_is_suggested_is_tried(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Two banks' total for one of them: no grant is enough, the job itself has to say that it is read."""
    both = " UNION ALL ".join(f"SELECT balance FROM {bank}.accounts" for bank in ("bank_a", "bank_b"))
    sql = f"SELECT SUM(balance) AS s FROM ({both})"
    async with serving(world.make(tmp_path, ("bank_a", "bank_b"))) as running:

        async def suggested(*more: str) -> tuple[int, str]:
            words = ("policy", "suggest", sql, "--to", "bank_b", "--consortium", str(running.folder), *more)
            return await running.apart(heji, capsys, *words)

        status, told = await suggested()
        assert status == 1 and "# With these grants it is refused all the same." in told and "--allow-two-party" in told
        status, told = await suggested("--allow-two-party")
        assert status == 0 and "refused" not in told and "min_contributors = 1" in told


def test_folders_of_queries_that_are_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    init_consortium(tmp_path / "c", parties=["tax", "bank"], modelers=["analyst"])
    options = ("--consortium", tmp_path / "c", "--as", "tax")
    queries = tmp_path / "queries"
    assert "queries is no folder" in heji(capsys, "policy", "test", queries, *options)[1]
    queries.mkdir()
    assert "queries has no .sql files" in heji(capsys, "policy", "test", queries, *options)[1]
    (queries / "a.sql").write_bytes("-- to: analyst\n-- expect: allowed\nSELECT '季度'".encode("gb18030"))
    status, told = heji(capsys, "policy", "test", queries, *options)
    assert status == 1 and "a.sql is not UTF-8" in told and "Save it as UTF-8" in told
