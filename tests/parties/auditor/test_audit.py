"""Evidence from a run to its verdict: a good bundle passes, a bundle with one defect fails at that check."""

from __future__ import annotations

import ast
import asyncio
import inspect
import io
import json
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mpc.errors import HejiError, LocalError
from mpc.evidence import blame as blaming
from mpc.evidence import (
    deposit_checks,
    job_checks,
    period_checks,
    period_report,
    record_checks,
    report,
    reruns,
    result_checks,
    spending,
)
from mpc.evidence import page as paging
from mpc.evidence import verify as verifying
from mpc.evidence.blame import Accusation, accusations, blamed
from mpc.evidence.bundle import Bundle
from mpc.evidence.chinese import CHINESE
from mpc.evidence.entry import Event
from mpc.evidence.report import html
from mpc.evidence.verify import CHECKS, LIMITS, overall, to_json
from parties.auditor.export import export
from parties.auditor.judge import judge, listed, text
from parties.member import Member
from parties.roster import Roster
from tests.parties import test_tallies, world
from tests.parties.auditor.bundles import asked, first_failed, judged, noticed
from tests.parties.auditor.forge import Forge
from tests.parties.conftest import serving


def test_a_good_bundle_passes(collected: tuple[Path, Bundle]) -> None:
    folder, bundle = collected
    case, checks = judged(folder, bundle)
    assert overall(checks) == "passed", text(case, checks)
    assert sorted(case.parts) == ["analyst", "bank_a", "bank_b", "bank_c", "coordinator"]
    passed = {c.number for c in checks if c.verdict == "passed"}
    assert passed == {1, 2, 3, 4, 5, 6, 7, 11, 13, 15, 16}
    assert all(c.findings for c in checks)
    # every log is cosigned by all the others that have one
    told = [f.text for f in checks[1].findings if "cosigned by" in f.text]
    assert len(told) == 5
    assert all(t.count("bank_") + t.count("coordinator") >= 3 for t in told)


def test_a_join_without_a_helper(tmp_path: Path) -> None:
    """Both have logged every ciphertext that went between them, and are bound to the rows they joined."""
    folder = test_tallies.make(tmp_path)
    bundle = asyncio.run(asked(folder, test_tallies.BY_INDUSTRY, with_result=True, trust="parties"))
    case, checks = judged(folder, bundle)
    assert first_failed(checks) is None
    steps = {str(e.facts["step"]) for part in case.parts.values() for e in part.events if e.event == "sent"}
    assert {"pool0/pair/blind/points/block/0", "pool0/pair/totals/rows/part/0/block/0"} <= steps


def test_it_holds_no_data(collected: tuple[Path, Bundle]) -> None:
    """Digests of masked words, names and sizes: none of the amounts, keys or labels, and no message body."""
    _, bundle = collected
    raw = b"".join(r for n, r in bundle.files.items() if not n.startswith("results/"))
    for bank in world.BANKS:
        for uscc, _, balance in world.rows_of(bank):
            assert uscc.encode() not in raw
            if float(balance) > 10_000:
                assert balance.encode() not in raw


def test_another_exporter_or_a_missing_signature_fails(collected: tuple[Path, Bundle]) -> None:
    folder, bundle = collected
    _, checks = judged(folder, Forge(folder, bundle).made(by="bank_b"))
    assert first_failed(checks) == 1


def test_nobody_is_blamed_for_a_good_bundle(collected: tuple[Path, Bundle]) -> None:
    folder, bundle = collected
    both = [judged(folder, bundle), judged(folder, Forge(folder, bundle).made())]
    assert blamed(both) == [] and accusations(both) == []


def test_two_stories_in_two_bundles(collected: tuple[Path, Bundle]) -> None:
    """bank_a shows the second auditor another log, right in itself, than the first."""
    folder, bundle = collected
    forge = Forge(folder, bundle)

    def change(events: list[Event]) -> list[Event]:
        return [replace(e, time=e.time + 1) for e in events]

    forge.rewrite("bank_a", change)
    both = [judged(folder, bundle), judged(folder, forge.made())]
    assert overall(both[1][1]) == "passed"
    assert {f.by for f in blamed(both)} == {"bank_a"}
    assert "told two stories" in blamed(both)[0].text


def test_who_gave_up_is_told_apart(tmp_path: Path) -> None:
    """A coordinator's word that does not decode ends the attempt; who says so accuses, and is not believed blindly."""
    folder = world.make(tmp_path)

    async def failed() -> Bundle:
        def break_off(_: object) -> None:
            raise LocalError("job.limits", "enough")

        async with serving(folder, hooks={"bank_b": {"on_message": break_off}}) as running:
            with pytest.raises(HejiError):
                await running.query(world.TOGETHER)
            member = await running.apart(Member, folder / "analyst")
            try:
                [job] = [j.job for j in await running.ask("analyst", "jobs")]
                return (await export(member, job))[0]
            finally:
                await member.close()

    case, checks = judged(folder, asyncio.run(failed()))
    assert overall(checks) == "passed", text(case, checks)
    assert blamed([(case, checks)]) == []
    told = accusations([(case, checks)])
    assert Accusation("bank_b", "", "job.limits", "", 1) in told


def test_two_faces_are_found(collected: tuple[Path, Bundle]) -> None:
    """One bank was shown another approval of bank_b than the others."""
    folder, bundle = collected
    forge = Forge(folder, bundle)

    def change(d: dict[str, Any]) -> None:
        statement = json.loads(bytes.fromhex(d["approvals"]["bank_b"][0]))
        raw = json.dumps({**statement, "min_contributors": 1}).encode()
        d["approvals"]["bank_b"] = [raw.hex(), forge.keys["bank_b"].sign("approval", raw).hex()]

    forge.documents(change, "bank_c")
    _, checks = judged(folder, forge.made())
    assert first_failed(checks) == 5
    assert any("bank_c was shown other catalogs or approvals" in f.text for f in checks[4].findings)


def test_a_log_less_is_said_not_failed(collected: tuple[Path, Bundle]) -> None:
    folder, bundle = collected
    forge = Forge(folder, bundle)
    del forge.files["logs/bank_c.json"]
    case, checks = judged(folder, forge.made())
    assert overall(checks) == "passed" and case.absent == ["bank_c"]
    assert "the log of bank_c is not in the bundle" in [f.text for f in checks[1].findings]


def test_the_quorum_can_be_asked_for(collected: tuple[Path, Bundle]) -> None:
    folder, bundle = collected
    _, checks = judged(folder, bundle, quorum=9)
    assert first_failed(checks) == 2
    _, checks = judged(folder, bundle, software=("heji 9",))
    assert first_failed(checks) == 15


@pytest.mark.parametrize("step", [397, pytest.param(1, marks=[pytest.mark.slow, pytest.mark.timeout(900)])])
def test_every_flipped_byte_is_noticed(collected: tuple[Path, Bundle], step: int) -> None:
    folder, bundle = collected
    raw = bytearray(bundle.write())
    roster = listed(Roster.load(folder / "analyst" / "roster.json"), given=True)
    assert not noticed(roster, bytes(raw))
    for at in range(0, len(raw), step):
        raw[at] ^= 0x41
        assert noticed(roster, bytes(raw)), at
        raw[at] ^= 0x41


def test_hostile_files(collected: tuple[Path, Bundle], tmp_path: Path) -> None:
    _, bundle = collected

    def zipped(files: dict[str, bytes], how: int = zipfile.ZIP_STORED) -> bytes:
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w", how) as z:
            for name, raw in files.items():
                z.writestr(name, raw)
        return out.getvalue()

    whole = {"bundle.json": bundle.manifest, "bundle.sig": bundle.signature.hex().encode(), **bundle.files}
    for bad in (
        b"",
        b"PK\x03\x04 no zip",
        zipped({}),
        zipped(whole, zipfile.ZIP_DEFLATED),
        zipped({**whole, "../../etc/passwd": b"x"}),
        zipped({**whole, "logs/x.json": b"0" * 10}),
        zipped({**whole, "bundle.json": b"[" * 100_000}),
        bundle.write() + b"\0",
        b"\0" + bundle.write(),
    ):
        with pytest.raises(LocalError) as refused:
            Bundle.read(bad)
        assert refused.value.code == "evidence.invalid"
    path = tmp_path / "no.zip"
    with pytest.raises(LocalError):
        judge(path)


def test_reports_in_both_languages(collected: tuple[Path, Bundle]) -> None:
    folder, bundle = collected
    case, checks = judged(folder, bundle)
    english, chinese = html(case, checks), html(case, checks, "zh")
    for page in (english, chinese):
        assert page.count("<script") == 0 and "http://" not in page and "https://" not in page
        assert "GROUP BY grade" in page and "bank_a" in page
    assert "No check failed" in english and "没有检查未通过" in chinese
    assert "passed" not in chinese.split("<main>")[1].replace('class="passed"', "").replace('passed"', "")
    told = to_json(case, checks)
    assert told["verdict"] == "passed" and len(told["checks"]) == 16
    json.dumps(told)


#: what takes a template
TELL = ("good", "bad", "open_")


def test_every_word_has_its_chinese() -> None:
    templates = {title for title, *_ in CHECKS} | set(LIMITS)
    for module in (
        verifying,
        record_checks,
        job_checks,
        deposit_checks,
        result_checks,
        blaming,
        period_checks,
        spending,
        reruns,
    ):
        for node in ast.walk(ast.parse(inspect.getsource(module))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in TELL:
                first = node.args[0]
                named = isinstance(first, ast.Name)
                templates.add(str(getattr(module, first.id) if named else ast.literal_eval(first)))
    for module in (report, period_report, paging):
        for node in ast.walk(ast.parse(inspect.getsource(module))):
            said = isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "say"
            if said and isinstance(node.args[0], ast.Constant):
                templates.add(str(node.args[0].value))
    assert templates <= CHINESE.keys(), templates - CHINESE.keys()
    for english, chinese in CHINESE.items():
        assert english.count("{}") == chinese.count("{}"), english


def test_hostile_text_in_a_job_is_text_in_the_report(tmp_path: Path) -> None:
    folder = world.make(tmp_path)
    bundle = asyncio.run(asked(folder, world.TOGETHER, purpose="<img src=x>"))
    case, checks = judged(folder, bundle)
    page = html(case, checks)
    assert "<img" not in page and "&lt;img src=x&gt;" in page


def test_the_verifier_needs_no_more_than_the_bare_package(collected: tuple[Path, Bundle], tmp_path: Path) -> None:
    """No gRPC, database, Arrow or terminal library is there, and no socket can be opened."""
    folder, bundle = collected
    path = tmp_path / "evidence.zip"
    path.write_bytes(bundle.write())
    code = (
        "import sys\n"
        "for name in ('grpc','duckdb','pyarrow','cyclopts','rich','structlog','prometheus_client','tenseal','phe',"
        "'rfc3161_client'):\n"
        "    sys.modules[name] = None\n"
        "from parties.auditor.judge import main\n"
        f"sys.argv = ['heji-verify', {str(path)!r}, '--roster', {str(folder / 'analyst' / 'roster.json')!r}]\n"
        "import socket\n"
        "socket.socket = None\n"
        "main()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 failed" in done.stdout
