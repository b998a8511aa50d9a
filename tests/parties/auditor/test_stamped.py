"""A log with timestamps: asked for when a job ends and by hand, in bundles, verified offline, never another log's."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mpc.errors import LocalError
from mpc.evidence import stamp
from mpc.evidence.bundle import Bundle
from mpc.evidence.case import read_case
from mpc.evidence.note import Checkpoint
from mpc.evidence.verify import Check, Settings, overall, verify
from parties.auditor.export import export
from parties.auditor.judge import authority as certificates
from parties.auditor.judge import listed, main
from parties.cli import audit as commands
from parties.clock import now
from parties.evidence.stamps import Stamps
from parties.member import Member
from parties.roster import Roster
from tests.parties import world
from tests.parties.auditor.forge import Forge, text
from tests.parties.conftest import serving
from tests.tsa import Authority


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority("Test authority", now)


def use(member: Path, url: str, authority: Authority) -> None:
    with (member / "member.toml").open("a") as settings:
        settings.write(f'tsa = "{url}"\n')
    (member / "tsa.pem").write_bytes(authority.pem)


@pytest.fixture(scope="module")
def stamped(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Iterator[tuple[Path, Bundle]]:
    """A total over three banks; bank_a has its log stamped."""
    folder = world.make(tmp_path_factory.mktemp("stamped"))
    with authority.serving() as url:
        use(folder / "bank_a", url, authority)
        yield folder, asyncio.run(collected(folder))


async def collected(folder: Path) -> Bundle:
    async with serving(folder) as running:
        result = await running.query(world.TOGETHER)
        stamps = folder / "bank_a" / "state" / "log" / "stamps"
        for _ in range(500):  # beside what goes on
            if list(stamps.glob("*.tsr")):
                break
            await asyncio.sleep(0.01)
        member = await running.apart(Member, folder / "analyst")
        try:
            bundle, absent = await export(member, result.statement["job"])
        finally:
            await member.close()
    assert not absent
    return bundle


def judged(folder: Path, bundle: Bundle, pem: bytes = b"") -> list[Check]:
    roster = listed(Roster.load(folder / "analyst" / "roster.json"), given=True)
    return verify(read_case(Bundle.read(bundle.write()), roster), Settings(authority=pem))


def told(checks: list[Check], good: bool | None) -> list[str]:
    return [f.text for f in checks[15].findings if f.good is good]


def test_a_stamped_log_is_verified_offline(stamped: tuple[Path, Bundle], authority: Authority) -> None:
    folder, bundle = stamped
    checks = judged(folder, bundle, authority.pem)
    assert overall(checks) == "passed"
    assert any(
        "the log of bank_a was so at 20" in t and "by the word of CN=Test authority" in t for t in told(checks, True)
    )
    assert "the log of bank_b bears no timestamp" in told(checks, None)


def test_without_the_certificate_it_is_not_believed(stamped: tuple[Path, Bundle]) -> None:
    folder, bundle = stamped
    checks = judged(folder, bundle)
    assert overall(checks) == "passed" and not any("bank_a" in t for t in told(checks, True))
    assert any("give its root certificate" in t for t in told(checks, None))
    assert not any("no timestamp" in t for t in told(checks, None))  # nobody asked


def test_under_another_certificate_it_fails(stamped: tuple[Path, Bundle]) -> None:
    folder, bundle = stamped
    checks = judged(folder, bundle, Authority("Test authority", now).pem)
    assert [c.number for c in checks if c.verdict == "failed"] == [16]


def changed(folder: Path, bundle: Bundle, **fields: Any) -> Bundle:
    forge = Forge(folder, bundle)
    part = forge.part("bank_a")
    part["stamp"] = {**part["stamp"], **fields}
    forge.put("bank_a", part)
    return forge.made()


def test_a_token_of_another_root_fails_the_times(stamped: tuple[Path, Bundle], authority: Authority) -> None:
    """The bad vector: a good token of the right authority, over another root of the same log; no other check fails."""
    folder, bundle = stamped
    point = Checkpoint.parse(Forge(folder, bundle).part("bank_a")["stamp"]["checkpoint"])
    other = replace(point, root=bytes(32))
    token = authority.token(hashlib.sha256(other.body()).digest())
    for pem in (authority.pem, b""):  # seen without the certificate too
        checks = judged(folder, changed(folder, bundle, token=text(token)), pem)
        assert [c.number for c in checks if c.verdict == "failed"] == [16]
        assert told(checks, False) == ["the timestamp of bank_a is not one of the checkpoint it stands with"]


def test_a_stamped_checkpoint_of_another_log_fails(stamped: tuple[Path, Bundle], authority: Authority) -> None:
    """A stamp of a log that does not hold the entries: bank_a's own, of one entry, and of other entries."""
    folder, bundle = stamped
    key = Forge(folder, bundle).keys["bank_a"]
    mine = Checkpoint.parse(Forge(folder, bundle).part("bank_a")["stamp"]["checkpoint"])
    for size, root in ((1, bytes(32)), (mine.size, bytes(32)), (mine.size + 5, bytes(32))):
        point = Checkpoint(mine.origin, size, root).signed(mine.origin, key.public, key.signing.sign)
        token = text(authority.token(hashlib.sha256(point.body()).digest()))
        bad = changed(folder, bundle, checkpoint=point.text(), token=token)
        checks = judged(folder, bad, authority.pem)
        assert [c.number for c in checks if c.verdict == "failed"] == [16]
        assert told(checks, False) == ["the checkpoint of bank_a that bears a timestamp does not hold its entries"]
    unsigned = replace(mine, lines=())
    checks = judged(folder, changed(folder, bundle, checkpoint=unsigned.text()), authority.pem)
    assert told(checks, False) == ["the checkpoint of bank_a that bears a timestamp does not bear its signature"]


def test_entries_later_than_the_timestamp_fail(stamped: tuple[Path, Bundle]) -> None:
    """A log written in advance, or a clock that was wrong."""
    folder, bundle = stamped
    early = Authority("Test authority", lambda: now() - 3600)
    point = Checkpoint.parse(Forge(folder, bundle).part("bank_a")["stamp"]["checkpoint"])
    token = text(early.token(hashlib.sha256(point.body()).digest()))
    checks = judged(folder, changed(folder, bundle, token=token), early.pem)
    assert [c.number for c in checks if c.verdict == "failed"] == [16]
    assert all("is later than the timestamp over it" in t for t in told(checks, False))


def test_forms_that_are_none(stamped: tuple[Path, Bundle]) -> None:
    folder, bundle = stamped
    for fields in ({"token": "%"}, {"checkpoint": "x"}, {"more": 1}):
        with pytest.raises(LocalError) as refused:
            judged(folder, changed(folder, bundle, **fields))
        assert refused.value.code == "evidence.invalid"
    checks = judged(folder, changed(folder, bundle, token=text(b"no token")))
    assert [c.number for c in checks if c.verdict == "failed"] == [16]


async def test_by_hand_and_once(tmp_path: Path, authority: Authority) -> None:
    """`heji audit stamp` beside a running node: the newest checkpoint, asked for once."""
    folder = world.make(tmp_path)
    async with serving(folder) as running:
        await running.query(world.TOGETHER)
        member = await running.apart(Member, folder / "bank_a")
        await member.close()
    stamps = Stamps(folder / "bank_a")
    point = stamps.newest()
    with pytest.raises(LocalError, match="no timestamp authority"):
        await stamps.ask(Member(folder / "bank_a"), point)
    with authority.serving() as url:
        use(folder / "bank_a", url, authority)
        member, before = Member(folder / "bank_a"), authority.asked
        first = await stamps.ask(member, point)
        assert await stamps.ask(member, point) == first and authority.asked == before + 1
        assert stamps.of(point) and not stamps.of(replace(point, size=1))
        await member.close()


@pytest.mark.parametrize("answer", [b"", b"no token", b"x" * (1 << 18)])
async def test_an_authority_that_answers_nothing_of_use(tmp_path: Path, authority: Authority, answer: bytes) -> None:
    """The job is done all the same, and nothing is kept."""
    folder = world.make(tmp_path, banks=world.BANKS[:2])
    with authority.serving(lambda _: answer) as url:
        use(folder / "bank_a", url, authority)
        member = Member(folder / "bank_a")
        point = Checkpoint("heji/bank_a", 1, bytes(32))
        with pytest.raises(LocalError) as refused:
            await Stamps(member.folder).ask(member, point)
        assert refused.value.code == "evidence.stamp"
        assert not Stamps(member.folder).of(point)
        await member.close()


async def test_an_authority_that_is_away(tmp_path: Path, authority: Authority) -> None:
    folder = world.make(tmp_path)
    with authority.serving() as url:
        pass
    use(folder / "bank_a", url, authority)
    async with serving(folder) as running:
        assert (await running.query(world.TOGETHER)).rows
    member = Member(folder / "bank_a")
    with pytest.raises(LocalError, match="No timestamp came from") as refused:
        await Stamps(member.folder).ask(member, Checkpoint("heji/bank_a", 1, bytes(32)))
    assert refused.value.code == "evidence.stamp"
    await member.close()


def test_a_certificate_file_that_is_none(tmp_path: Path) -> None:
    path = tmp_path / "tsa.pem"
    path.write_text("no certificate")
    with pytest.raises(LocalError) as refused:
        certificates(path)
    assert refused.value.code == "config.invalid" and certificates(None) == b""


class Killed(BaseException):
    pass


async def test_killed_while_a_timestamp_is_kept(
    tmp_path: Path, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between any two writes: there is none, or a whole one, and the next try gets it."""
    folder = world.make(tmp_path, banks=world.BANKS[:2]) / "bank_a"
    use(folder, "http://localhost", authority)
    member, stamps = Member(folder), Stamps(folder)
    monkeypatch.setattr("parties.evidence.stamps._asked", lambda _url, query: authority.token(query[-35:-3]))
    kills = 0
    for after in range(20):
        point = Checkpoint("heji/bank_a", after + 1, bytes([after]) * 32)
        with monkeypatch.context() as here:
            killing(here, after)
            try:
                await stamps.ask(member, point)
            except Killed:
                kills += 1
        kept = stamps.of(point)
        assert not kept or stamp.verify(kept, point, authority.pem)
        assert (await stamps.ask(member, point)).time and stamps.of(point)
        if kills < after:
            break
    assert kills >= 5
    await member.close()


def killing(monkeypatch: pytest.MonkeyPatch, after: int) -> None:
    """The write after so many never happens."""
    writes = 0

    def mortal(real: Any) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            nonlocal writes
            writes += 1
            if writes > after:
                raise Killed
            return real(*args, **kwargs)

        return call

    for name in ("open", "fdopen", "fsync", "replace"):
        monkeypatch.setattr(f"parties.files.os.{name}", mortal(getattr(os, name)))


def test_commands(
    stamped: tuple[Path, Bundle],
    authority: Authority,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """`heji audit stamp`, and `--tsa` of `heji audit verify` and `heji-verify`."""
    folder, bundle = stamped
    commands.stamp(consortium=folder, as_="bank_a")
    assert "entries of bank_a were so at 20" in capsys.readouterr().out
    path, pem, roster = tmp_path / "evidence.zip", tmp_path / "tsa.pem", folder / "analyst" / "roster.json"
    path.write_bytes(bundle.write())
    pem.write_bytes(authority.pem)
    commands.verify(path, roster=roster, tsa=pem)
    assert "the log of bank_a was so at 20" in capsys.readouterr().out
    monkeypatch.setattr("sys.argv", ["heji-verify", str(path), "--roster", str(roster), "--tsa", str(pem)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0 and "by the word of CN=Test authority" in capsys.readouterr().out
