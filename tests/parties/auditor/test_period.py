"""All jobs of one institution in a period: who received what, what was spent of limits, second runs on others."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from mpc.errors import HejiError, LocalError
from mpc.evidence.bundle import Bundle, Span
from mpc.evidence.entry import Event
from mpc.evidence.merkle import Grown, Tree, leaf_hash
from mpc.evidence.note import Checkpoint
from mpc.evidence.period import Period, read_period
from mpc.evidence.report import html
from mpc.evidence.verify import Check, overall, to_json
from parties.auditor.export import export_period
from parties.auditor.judge import judge, listed, text
from parties.cli import audit
from parties.clock import now
from parties.evidence.log import origin_of
from parties.member import Member
from parties.roster import Roster
from tests.parties.auditor.bundles import HOUR, first_failed, noticed
from tests.parties.auditor.bundles import judged_period as judged
from tests.parties.auditor.forge import ForgePeriod


def found(checks: list[Check], number: int) -> list[str]:
    return [f.text for f in checks[number - 1].findings]


def test_a_good_period_passes(quarter: tuple[Path, Bundle, Bundle]) -> None:
    folder, own, _ = quarter
    case, checks = judged(folder, own)
    assert overall(checks) == "passed", text(case, checks)
    assert len(case.jobs) == 3 and case.cut == []
    assert {c.number for c in checks if c.verdict == "passed"} >= {1, 2, 3, 4, 5, 6, 7, 12, 14, 15, 16}
    told = found(checks, 14)
    assert any("added the same accounts.balance" in t and "as its policy allows" in t for t in told), told
    assert len(told) == 2, told  # after the data changed, nothing
    assert "the policy of bank_a allows the plan" in found(checks, 6)[0]


def test_without_the_policy_a_second_run_on_fewer_is_found(quarter: tuple[Path, Bundle, Bundle]) -> None:
    folder, own, _ = quarter
    forge = ForgePeriod(folder, own)
    forge.files = {n: raw for n, raw in forge.files.items() if not n.startswith("policies/")}
    case, checks = judged(folder, forge.made())
    assert first_failed(checks) == 14
    [told] = [f for f in checks[13].findings if f.good is False]
    assert "bank_a+bank_b+bank_c and of bank_a+bank_b: their difference shows" in told.text
    assert list(told.jobs) == list(case.jobs)[:2] and not told.by


def test_an_auditor_does_not_learn_whether_tables_changed(quarter: tuple[Path, Bundle, Bundle]) -> None:
    """Only the owner opens its digests, so to others the check is open."""
    folder, _, others = quarter
    case, checks = judged(folder, others)
    assert overall(checks) == "passed" and case.log.tables == {}
    assert any("whether accounts.balance had changed" in t for t in found(checks, 14))


def test_what_is_spent_of_a_limit_is_in_the_log(decisions: tuple[Path, Bundle]) -> None:
    folder, bundle = decisions
    case, checks = judged(folder, bundle)
    assert overall(checks) == "passed", text(case, checks)
    assert "tax: bits firms.paid → bank came to 1 at most" in found(checks, 12)
    [spent] = case.events("spent")
    assert {k: spent.facts[k] for k in ("of", "to", "amount", "limit", "days")} == {
        "of": "firms.paid",
        "to": "bank",
        "amount": "1",
        "limit": "1",
        "days": 30,
    }
    sent = next(e.seq for e in case.events("sent") if not e.facts["step"].startswith("keys/"))
    assert spent.seq < sent
    page = html(case, checks)
    assert "Spent of limits" in page and "firms.paid" in page


def changed(name: str, change: Callable[[Event], Event | None]) -> Callable[[list[Event]], list[Event]]:
    """Events of this name changed, or left out."""
    return lambda events: [x for e in events for x in [change(e) if e.event == name else e] if x is not None]


def spent(amount: str) -> Callable[[Event], Event]:
    return lambda e: replace(e, facts={**e.facts, "amount": amount})


def test_more_than_the_limit_blames_the_owner(decisions: tuple[Path, Bundle]) -> None:
    folder, bundle = decisions
    forge = ForgePeriod(folder, bundle)
    forge.rewrite(changed("spent", spent("2")))
    _, checks = judged(folder, forge.made())
    assert first_failed(checks) == 12
    assert {f.by for f in checks[11].findings if f.good is False} == {"tax"}
    assert any("comes to 2 in 30 days, where 1 are allowed" in t for t in found(checks, 12))


@pytest.mark.parametrize("amount", ["-1", "NaN", "much", "Infinity"])
def test_amounts_that_are_none_fail(decisions: tuple[Path, Bundle], amount: str) -> None:
    folder, bundle = decisions
    forge = ForgePeriod(folder, bundle)
    forge.rewrite(changed("spent", spent(amount)))
    case, checks = judged(folder, forge.made())
    assert first_failed(checks) == 12
    html(case, checks)


def test_limits_are_of_so_many_days(decisions: tuple[Path, Bundle]) -> None:
    """What was spent thirty days before counts no more; a day later it does."""
    folder, bundle = decisions
    for days, failed in ((31, None), (29, 12)):
        forge = ForgePeriod(folder, bundle)

        def again(events: list[Event], days: int = days) -> list[Event]:
            [e] = [e for e in events if e.event == "spent"]
            return [replace(e, job="ab" * 32, time=e.time - days * 86400), *events]

        forge.rewrite(again)
        _, checks = judged(folder, forge.made())
        assert [c.number for c in checks if c.number == 12 and c.verdict == "failed"] == ([failed] if failed else [])


def test_budgets_of_privacy_loss_are_counted_too(decisions: tuple[Path, Bundle]) -> None:
    """Entries of noised releases: the attempts of a job count once, unless they were noised anew."""
    folder, bundle = decisions
    facts = {"grant": "ab" * 32, "line": 3, "recipient": "bank", "epsilon": "0.4", "of": "1", "left": "0.6", "days": 30}
    for noises, most, failed in (
        (("n", "n", "n"), "0.4", False),
        (("n", "m"), "0.8", False),
        (("n", "m", "k"), "1.2", True),
    ):
        forge = ForgePeriod(folder, bundle)

        def spend(events: list[Event], noises: tuple[str, ...] = noises) -> list[Event]:
            at = next(i for i, e in enumerate(events) if e.event == "spent")
            made = [replace(events[at], event="budget", facts={**facts, "noise": n}) for n in noises]
            return [*events[:at], *made, *events[at:]]

        forge.rewrite(spend)
        case, checks = judged(folder, forge.made())
        assert (checks[11].verdict == "failed") == failed
        assert any(f"epsilon grant abababab → bank came to {most} at most" in t for t in found(checks, 12))
        assert "epsilon grant abababab" in html(case, checks)


def test_what_the_plan_shows_must_be_written_down(decisions: tuple[Path, Bundle]) -> None:
    folder, bundle = decisions
    forge = ForgePeriod(folder, bundle)
    forge.rewrite(changed("spent", lambda e: None))
    _, checks = judged(folder, forge.made())
    assert first_failed(checks) == 12
    assert "tax showed 1 conditions on firms.paid to bank without writing it down" in found(checks, 12)[1]


def test_a_job_approved_twice(quarter: tuple[Path, Bundle, Bundle]) -> None:
    folder, own, _ = quarter
    forge = ForgePeriod(folder, own)
    forge.rewrite(lambda events: [x for e in events for x in ([e, e] if e.event == "approved" else [e])])
    _, checks = judged(folder, forge.made())
    assert first_failed(checks) == 12
    assert {f.by for f in checks[11].findings if f.good is False} == {"bank_a"}


def test_a_log_forged_right_passes(quarter: tuple[Path, Bundle, Bundle]) -> None:
    folder, own, _ = quarter
    forge = ForgePeriod(folder, own)
    forge.rewrite(lambda events: events)
    case, checks = judged(folder, forge.made())
    assert overall(checks) == "passed", text(case, checks)


def an_entry_less(forge: ForgePeriod) -> None:
    entries = forge.part()["entries"]
    forge.put(entries=entries[:9] + entries[10:])


def shorter(forge: ForgePeriod) -> None:
    forge.put(entries=forge.part()["entries"][:-3])


def later_beginning(forge: ForgePeriod) -> None:
    """The first job left out, as if the log had begun after it."""
    part = forge.part()
    forge.put(first=20, entries=part["entries"][20:])


def a_beginning_of_its_own(forge: ForgePeriod) -> None:
    """The same, with the right peaks and a checkpoint that nobody saw in time."""
    me = forge.keys[forge.span.member]
    raw = [base64.b64decode(e) for e in forge.part()["entries"]]
    tree = Tree(map(leaf_hash, raw))
    point = Checkpoint(origin_of(me.name), 20, tree.root(20)).signed(origin_of(me.name), me.public, me.signing.sign)
    peaks = [base64.b64encode(p).decode() for p in tree.peaks(20)]
    forge.put(first=20, peaks=peaks, begin=point.text(), entries=forge.part()["entries"][20:])


def other_peaks(forge: ForgePeriod) -> None:
    forge.put(peaks=[base64.b64encode(bytes(32)).decode()])


@pytest.mark.parametrize(
    "omit", [an_entry_less, shorter, later_beginning, a_beginning_of_its_own, other_peaks], ids=lambda f: f.__name__
)
def test_omissions_show(quarter: tuple[Path, Bundle, Bundle], omit: Callable[[ForgePeriod], None]) -> None:
    folder, own, _ = quarter
    forge = ForgePeriod(folder, own)
    omit(forge)
    _, checks = judged(folder, forge.made())
    assert first_failed(checks) == 2


def test_papers_left_out_show(quarter: tuple[Path, Bundle, Bundle]) -> None:
    folder, own, _ = quarter
    forge = ForgePeriod(folder, own)
    documents = forge.part()["documents"]
    forge.put(documents=dict(list(documents.items())[1:]))
    _, checks = judged(folder, forge.made())
    assert first_failed(checks) == 5
    assert any("is not here, though it sent data" in t for t in found(checks, 5))


def test_other_tables_opened_show(quarter: tuple[Path, Bundle, Bundle]) -> None:
    folder, own, _ = quarter
    forge = ForgePeriod(folder, own)
    forge.put(tables=[[job, n, "00" * 32] for job, n, _ in forge.part()["tables"]])
    _, checks = judged(folder, forge.made())
    assert first_failed(checks) == 14


def test_a_log_that_goes_on_begins_at_what_others_saw(quarter: tuple[Path, Bundle, Bundle]) -> None:
    """A later period begins at the last checkpoint cosigned before it."""
    folder, _, _ = quarter

    async def run() -> Bundle:
        later = now() + 10 * HOUR
        member = Member(folder / "bank_a")
        member.clock = lambda: later
        try:
            return await export_period(member, "bank_a", later, later)
        finally:
            await member.close()

    bundle = asyncio.run(run())
    case, checks = judged(folder, bundle)
    assert case.log.first > 0 and not case.jobs
    assert checks[1].findings[0].text == "others saw the log of bank_a before the period began"
    # nobody was there to see the log after that; the last thing that was seen ends the range
    assert any("rests on its word" in t for t in found(checks, 2))


@pytest.mark.parametrize("step", [397, pytest.param(1, marks=[pytest.mark.slow, pytest.mark.timeout(900)])])
def test_every_flipped_byte_is_noticed(decisions: tuple[Path, Bundle], step: int) -> None:
    folder, bundle = decisions
    raw = bytearray(bundle.write())
    roster = listed(Roster.load(folder / "tax" / "roster.json"), given=True)
    assert not noticed(roster, bytes(raw))
    for at in range(0, len(raw), step):
        raw[at] ^= 0x41
        assert noticed(roster, bytes(raw)), at
        raw[at] ^= 0x41


def test_reports_in_both_languages(quarter: tuple[Path, Bundle, Bundle]) -> None:
    folder, own, _ = quarter
    case, checks = judged(folder, own)
    english, chinese = html(case, checks), html(case, checks, "zh")
    for page in (english, chinese):
        assert page.count("<script") == 0 and "http://" not in page and "https://" not in page
        assert "accounts.balance" in page and "quarterly report" in page and "analyst" in page
        assert all(job[:8] in page for job in case.jobs)
    assert "Every job" in english and "全部作业" in chinese
    told = to_json(case, checks)
    assert told["period"]["member"] == "bank_a" and len(told["jobs"]) == 3


def bad_forms(folder: Path, bundle: Bundle) -> Iterator[Bundle]:
    forge = ForgePeriod(folder, bundle)
    forge.bundle = replace(bundle, about=Span("bank_b", 0, 1))
    yield forge.made()
    forge.bundle = bundle
    forge.put(first=-1)
    yield forge.made()
    forge.files = {"logs/bank_a.json": b"{}", **bundle.files}
    yield forge.made()
    forge.files = {n: raw for n, raw in bundle.files.items() if not n.startswith("period/")}
    yield forge.made()
    forge.files = {**bundle.files, forge.name: b"[]"}
    yield forge.made()


def test_what_has_not_its_form_is_refused(quarter: tuple[Path, Bundle, Bundle]) -> None:
    folder, own, _ = quarter
    roster = listed(Roster.load(folder / "analyst" / "roster.json"), given=True)
    for bundle in bad_forms(folder, own):
        with pytest.raises(LocalError) as refused:
            read_period(Bundle.read(bundle.write()), roster)
        assert refused.value.code == "evidence.invalid"


def test_what_is_asked_for_wrongly(quarter: tuple[Path, Bundle, Bundle], tmp_path: Path) -> None:
    folder, *_ = quarter
    out = tmp_path / "period.zip"
    for options, told in (
        ({}, "one job, or of a period"),
        ({"until": "2026-01-31"}, "one job, or of a period"),
        ({"since": "yesterday"}, "is no day"),
        ({"since": "2026-02-01", "until": "2026-01-31"}, "Nothing lies between"),
        ({"since": "2026-01-01", "with_result": True}, "no results"),
        ({"since": "2026-01-01", "of": "bank_b", "with_policy": True}, "Only bank_b gives its policies"),
    ):
        with pytest.raises(HejiError, match=told):
            audit.export(out=out, consortium=folder, as_="bank_a", **options)
    assert not out.exists()


def test_the_command_exports_what_the_log_of_a_member_at_rest_tells(
    quarter: tuple[Path, Bundle, Bundle], tmp_path: Path
) -> None:
    """No process serves it any more: the folder is read."""
    folder, *_ = quarter
    out = tmp_path / "period.zip"
    audit.export(out=out, since="2020-01-01", with_policy=True, consortium=folder, as_="bank_a")
    case, checks = judge(out, folder / "analyst" / "roster.json")
    assert overall(checks) == "passed" and isinstance(case, Period) and len(case.jobs) == 3
    with pytest.raises(HejiError, match="exists"):
        audit.export(out=out, since="2020-01-01", consortium=folder, as_="bank_a")


def test_peaks_and_what_was_appended_give_the_root() -> None:
    leaves = [leaf_hash(bytes([n])) for n in range(40)]
    tree = Tree(leaves)
    for first in range(41):
        grown = Grown(first, tree.peaks(first))
        assert grown.root() == tree.root(first)
        for n in range(first, 40):
            grown.append(leaves[n])
            assert grown.root() == tree.root(n + 1)
    for size, peaks in ((3, tree.peaks(4)), (4, [b"short"]), (-1, [])):
        with pytest.raises(ValueError):
            Grown(size, peaks)
