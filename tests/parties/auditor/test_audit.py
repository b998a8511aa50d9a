"""Evidence from a run to its verdict: a good bundle passes, a bundle with one defect fails at that check."""

from __future__ import annotations

import ast
import asyncio
import hashlib
import inspect
import io
import json
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mpc.crypto.sign import verify as verify_signed
from mpc.errors import HejiError, LocalError
from mpc.evidence import blame as blaming
from mpc.evidence import job_checks, record_checks
from mpc.evidence import verify as verifying
from mpc.evidence.blame import Accusation, accusations, blamed
from mpc.evidence.bundle import BUNDLE, Bundle
from mpc.evidence.case import Case, read_case
from mpc.evidence.chinese import CHINESE
from mpc.evidence.entry import Event
from mpc.evidence.receipt import RECEIPT, receipt_bytes
from mpc.evidence.report import html
from mpc.evidence.verify import CHECKS, LIMITS, Check, Settings, overall, to_json, verify
from parties.auditor.export import export
from parties.auditor.judge import judge, listed, text
from parties.member import Member
from parties.roster import Roster
from tests.parties import test_tallies, world
from tests.parties.auditor.forge import Forge
from tests.parties.conftest import serving


@pytest.fixture(scope="module")
def collected(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Bundle]:
    """A total over three banks, and all its evidence, with the analyst's result and one bank's policy."""
    folder = world.make(tmp_path_factory.mktemp("audit"))
    bundle = asyncio.run(asked(folder, world.BY_GRADE, with_result=True))
    forge = Forge(folder, bundle)
    forge.files["policies/bank_a.toml"] = (folder / "bank_a" / "policy.toml").read_bytes()
    return folder, forge.made()


async def asked(folder: Path, sql: str, *, with_result: bool = False, **options: Any) -> Bundle:
    """Run a query, and collect its evidence as the analyst."""
    async with serving(folder) as running:
        result = await running.query(sql, **options)
        member = await running.apart(Member, folder / "analyst")
        try:
            bundle, absent = await export(member, result.statement["job"], with_result=with_result)
        finally:
            await member.close()
    assert not absent
    return bundle


def judged(folder: Path, bundle: Bundle, **settings: Any) -> tuple[Case, list[Check]]:
    roster = listed(Roster.load(folder / "analyst" / "roster.json"), given=True)
    case = read_case(Bundle.read(bundle.write()), roster)
    return case, verify(case, Settings(**settings))


def first_failed(checks: list[Check]) -> int | None:
    return next((c.number for c in checks if c.verdict == "failed"), None)


def test_a_good_bundle_passes(collected: tuple[Path, Bundle]) -> None:
    folder, bundle = collected
    case, checks = judged(folder, bundle)
    assert overall(checks) == "passed", text(case, checks)
    assert sorted(case.parts) == ["analyst", "bank_a", "bank_b", "bank_c", "coordinator"]
    passed = {c.number for c in checks if c.verdict == "passed"}
    assert passed == {1, 2, 3, 4, 5, 6, 7, 11, 15, 16}
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


DEFECTS: dict[int, Callable[[Forge], None]] = {}


def defect(number: int) -> Callable[[Callable[[Forge], None]], Callable[[Forge], None]]:
    def register(change: Callable[[Forge], None]) -> Callable[[Forge], None]:
        DEFECTS[number] = change
        return change

    return register


@defect(1)
def signed_by_another(forge: Forge) -> None:
    """bank_a's entries under bank_b's key."""
    forge.rewrite("bank_a", lambda events: events, signer="bank_b")


@defect(2)
def cosigned_by_nobody(forge: Forge) -> None:
    part = forge.part("bank_a")
    part["checkpoint"] = part["newest"] = "\n".join(part["newest"].split("\n")[:5]) + "\n"
    part["inclusion"] = part["inclusion"]
    forge.put("bank_a", part)


@defect(3)
def an_entry_is_left_out(forge: Forge) -> None:
    forge.rewrite("bank_a", lambda events: [e for e in events if e.event != "committed"], chain=False)


@defect(4)
def another_digest_at_one_end(forge: Forge) -> None:
    """The coordinator says, with a receipt to it, that bank_a sent something else."""

    def change(events: list[Event]) -> list[Event]:
        at = next(
            i
            for i, e in enumerate(events)
            if e.event == "received" and e.facts["peer"] == "bank_a" and "pool" in e.facts["step"]
        )
        e, other = events[at], hashlib.sha256(b"other words").digest()
        told = receipt_bytes(
            bytes.fromhex(e.job), e.attempt, "bank_a", "coordinator", e.facts["number"], e.facts["step"], other
        )
        facts = {**e.facts, "sha256": other.hex(), "receipt": forge.keys["coordinator"].sign(RECEIPT, told).hex()}
        return [*events[:at], replace(e, facts=facts), *events[at + 1 :]]

    forge.rewrite("coordinator", change)


@defect(5)
def approved_something_else(forge: Forge) -> None:
    """bank_a's approval, as everybody kept it and as bank_a logged it, is of another plan."""
    told: list[bytes] = []

    def change(d: dict[str, Any]) -> None:
        statement = json.loads(bytes.fromhex(d["approvals"]["bank_a"][0]))
        raw = json.dumps({**statement, "plan": "00" * 32}).encode()
        told.append(raw)
        d["approvals"]["bank_a"] = [raw.hex(), forge.keys["bank_a"].sign("approval", raw).hex()]

    forge.documents(change)
    digest = hashlib.sha256(told[0]).hexdigest()
    forge.rewrite(
        "bank_a",
        lambda events: [
            replace(e, facts={**e.facts, "approval": digest}) if e.event == "approved" else e for e in events
        ],
    )


@defect(6)
def another_policy(forge: Forge) -> None:
    forge.files["policies/bank_a.toml"] += b"\n# a word more\n"


@defect(7)
def bound_afterwards(forge: Forge) -> None:
    """bank_a commits to data and seed after it has sent masked words."""

    def change(events: list[Event]) -> list[Event]:
        [made] = [e for e in events if e.event == "committed"]
        rest = [e for e in events if e.event != "committed"]
        return [*rest[:-1], replace(made, time=rest[-1].time), rest[-1]]

    forge.rewrite("bank_a", change)


@defect(11)
def another_result(forge: Forge) -> None:
    forge.files["results/analyst.arrow"] += b"\0"


@defect(15)
def other_software(forge: Forge) -> None:
    forge.rewrite(
        "bank_a",
        lambda events: [
            replace(e, facts={**e.facts, "software": "heji 0.0.1"}) if e.event == "approved" else e for e in events
        ],
    )


@defect(16)
def time_runs_backwards(forge: Forge) -> None:
    forge.rewrite("bank_a", lambda events: [*events[:-1], replace(events[-1], time=events[-1].time - 60)])


@pytest.mark.parametrize("number", sorted(DEFECTS))
def test_each_defect_is_found_by_its_check(collected: tuple[Path, Bundle], number: int) -> None:
    folder, bundle = collected
    forge = Forge(folder, bundle)
    DEFECTS[number](forge)
    case, checks = judged(folder, forge.made())
    assert first_failed(checks) == number, text(case, checks)


def test_a_forged_log_that_is_right_passes(collected: tuple[Path, Bundle]) -> None:
    """Or the defects above would be found for what the forge does to every log."""
    folder, bundle = collected
    forge = Forge(folder, bundle)
    forge.rewrite("bank_a", lambda events: events)
    forge.rewrite("coordinator", lambda events: events)
    case, checks = judged(folder, forge.made())
    assert overall(checks) == "passed", text(case, checks)


def test_another_exporter_or_a_missing_signature_fails(collected: tuple[Path, Bundle]) -> None:
    folder, bundle = collected
    _, checks = judged(folder, Forge(folder, bundle).made(by="bank_b"))
    assert first_failed(checks) == 1


#: what a member did with its log -> whom its own signatures give away
MISDEEDS: dict[str, tuple[Callable[[Forge], None], set[str]]] = {
    "another digest, with a receipt of its own": (another_digest_at_one_end, {"coordinator"}),
    "approved something else": (approved_something_else, {"bank_a"}),
    "bound itself afterwards": (bound_afterwards, {"bank_a"}),
    "turned its clock back": (time_runs_backwards, {"bank_a"}),
    "left out what it sent": (
        lambda f: f.rewrite("bank_a", lambda es: [e for e in es if not (e.event == "sent" and e.seq < 8)]),
        {"bank_a"},
    ),
    "left out what it received": (
        lambda f: f.rewrite("bank_a", lambda es: [e for e in es if e.event != "received"]),
        {"bank_a"},
    ),
    "said that it sent something else": (
        lambda f: f.rewrite(
            "bank_b",
            lambda es: [replace(e, facts={**e.facts, "sha256": "00" * 32}) if e.event == "sent" else e for e in es],
        ),
        {"bank_b"},
    ),
    "told of a message twice": (
        lambda f: f.rewrite("bank_a", lambda es: [*es[:5], *[e for e in es if e.event == "sent"][:1], *es[5:]]),
        {"bank_a"},
    ),
    # what a forger of bundles can do to a member blames nobody
    "signed with another's key": (signed_by_another, set()),
    "cosigned by nobody": (cosigned_by_nobody, set()),
    "an entry left out of the bundle": (an_entry_is_left_out, set()),
    "another policy in the bundle": (another_policy, set()),
    "another result in the bundle": (another_result, set()),
}


@pytest.mark.parametrize("name", MISDEEDS)
def test_the_guilty_are_named_and_nobody_else(collected: tuple[Path, Bundle], name: str) -> None:
    folder, bundle = collected
    forge = Forge(folder, bundle)
    change, guilty = MISDEEDS[name]
    change(forge)
    case, checks = judged(folder, forge.made())
    assert overall(checks) == "failed"
    assert {f.by for f in blamed([(case, checks)])} == guilty, text(case, checks)


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


def noticed(roster: Any, raw: bytes) -> bool:
    try:
        bundle = Bundle.read(raw)
    except HejiError:
        return True
    member = roster.members.get(bundle.by)
    if member is None:
        return True
    try:
        verify_signed(member.identity, BUNDLE, bundle.manifest, bundle.signature, party=bundle.by)
    except HejiError:
        return True
    return False


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


def test_every_word_has_its_chinese() -> None:
    templates = {title for title, _ in CHECKS} | set(LIMITS)
    nodes = (
        n for m in (verifying, record_checks, job_checks, blaming) for n in ast.walk(ast.parse(inspect.getsource(m)))
    )
    for node in nodes:
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("good", "bad", "open_"):
            first = node.args[0]
            assert isinstance(first, ast.Constant), ast.unparse(node)
            templates.add(str(first.value))
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
