"""The command line as people use it: the real program, a consortium of real processes, stdout, stderr and status."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mpc.errors import PeerError
from parties.modeler import connect
from parties.processes import Processes

HEJI = (sys.executable, "-m", "parties.cli")
BANKS = ("bank_a", "bank_b", "bank_c")
ROWS = 24
POOLED = "(" + " UNION ALL ".join(f"SELECT grade, balance FROM {b}.accounts" for b in BANKS) + ")"
TOGETHER = f"SELECT SUM(balance) AS together, COUNT(*) AS n FROM {POOLED}"
BY_GRADE = f"SELECT grade, SUM(balance) AS total FROM {POOLED} GROUP BY grade ORDER BY grade"
COUNT = "SELECT COUNT(*) AS n FROM bank_c.accounts"
UNGRANTED = "SELECT SUM(balance) AS s FROM bank_c.secret"

pytestmark = pytest.mark.slow


def balances(bank: str) -> list[Decimal]:
    return [Decimal(f"{i * 100}.{BANKS.index(bank) + 1:02d}") for i in range(ROWS)]


EXPECTED = sum((sum(balances(b)) for b in BANKS), Decimal(0))


@dataclass(frozen=True)
class Done:
    """A command that ended."""

    status: int
    out: str
    err: str


def heji(*words: str | Path, told: str | bytes = b"", cwd: Path | None = None, **environment: str) -> Done:
    """Run ``heji WORDS`` at 80 columns; ``told``: its standard input."""
    raw = told.encode() if isinstance(told, str) else told
    env = {k: v for k, v in os.environ.items() if not k.startswith("HEJI_")} | {"COLUMNS": "80"} | environment
    ended = subprocess.run([*HEJI, *map(str, words)], input=raw, capture_output=True, timeout=100, env=env, cwd=cwd)
    return Done(ended.returncode, ended.stdout.decode(), ended.stderr.decode())


def good(done: Done) -> str:
    assert done.status == 0, done.err
    return done.out


def init(folder: Path) -> Path:
    """The README's first steps, with a CSV, a Parquet and a SQLite table."""
    consortium = folder / "practice"
    parties = [w for bank in BANKS for w in ("--party", bank)]
    assert "Next:" in good(heji("consortium", "init", consortium, *parties, "--modeler", "analyst"))
    rows = {b: [(f"{b}-{i}", "AB"[i % 2], f"{v}") for i, v in enumerate(balances(b))] for b in BANKS}
    with (folder / "a.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("uscc", "grade", "balance"), *rows["bank_a"]])
    columns = list(zip(*rows["bank_b"], strict=True))
    decimals = pa.array([Decimal(v) for v in columns[2]], pa.decimal128(18, 2))
    pq.write_table(pa.table({"uscc": columns[0], "grade": columns[1], "balance": decimals}), folder / "b.parquet")
    with sqlite3.connect(folder / "c.db") as database:
        for name in ("accounts", "secret"):
            database.execute(f"CREATE TABLE {name} (uscc TEXT, grade TEXT, balance TEXT)")
            database.executemany(f"INSERT INTO {name} VALUES (?, ?, ?)", rows["bank_c"])
    database.close()
    granted = ("--grant", "aggregate", "--grant", "group")
    typed = ("--type", "balance=DECIMAL(18,2)")
    common = ("--name", "accounts", "--key", "uscc", *granted)
    assert "review:" in good(heji("node", "table", "add", consortium / "bank_a", folder / "a.csv", *common))
    good(heji("node", "table", "add", consortium / "bank_b", folder / "b.parquet", *common))
    database_of_c = (consortium / "bank_c", f"sqlite:{folder / 'c.db'}")
    good(heji("node", "table", "add", *database_of_c, "--table", "accounts", *common, *typed))
    told = good(heji("node", "table", "add", *database_of_c, "--table", "secret", "--key", "uscc", *typed))
    assert "none yet" in told
    return consortium


@pytest.fixture(scope="module")
def idle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A consortium nobody serves."""
    return init(tmp_path_factory.mktemp("idle"))


@dataclass(frozen=True)
class Up:
    """``heji up``, serving."""

    folder: Path
    process: subprocess.Popen[bytes]
    members: dict[str, int]  # process ids


def up(folder: Path) -> Up:
    """Start ``heji up`` and wait for its word that all are serving."""
    log = folder.parent / "up.err"
    with log.open("wb") as sink:
        process = subprocess.Popen([*HEJI, "up", str(folder)], stdout=subprocess.PIPE, stderr=sink)
    assert process.stdout is not None
    with process.stdout:
        said = process.stdout.readline().decode()
    assert "members are serving" in said, log.read_text()
    return Up(
        folder, process, {m[1]: int(m[2]) for m in re.finditer(r"(\w+) is serving \(process (\d+)\)", log.read_text())}
    )


def members_of(folder: Path) -> list[psutil.Process]:
    """Processes, other than this one, that were started with a folder below ``folder``."""
    found = []
    for process in psutil.process_iter(["pid", "cmdline"]):
        if any(str(folder) in word for word in process.info["cmdline"] or ()) and process.pid != os.getpid():
            found.append(process)
    return found


def until(holds: Callable[[], bool]) -> None:
    """Wait until something holds that has to come about."""
    last = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < last, "it did not come about"
        time.sleep(0.05)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    started = up(init(tmp_path_factory.mktemp("running")))
    try:
        yield started
    finally:
        started.process.send_signal(signal.SIGINT)
        started.process.wait(40)
    assert not members_of(started.folder)


@pytest.fixture
def ask(running: Up) -> Callable[..., Done]:
    """``heji`` with the consortium in the environment, in an empty current folder."""

    def run(*words: str | Path, **kwargs: str) -> Done:
        return heji(*words, HEJI_CONSORTIUM=str(running.folder), **kwargs)

    return run


Ask = Callable[..., Done]

# -- before a job


def test_catalog(ask: Ask) -> None:
    shown = good(ask("catalog"))  # the analyst is the only member that serves nothing
    assert "balance" in shown and "DECIMAL(38,2)" in shown
    told = json.loads(good(ask("catalog", "--json", "--as", "bank_a")))
    assert [c["party"] for c in told["catalogs"]] == list(BANKS)
    assert told["missing"] == {}
    assert "bank_a-1" not in shown + json.dumps(told)  # never a value of a key


def test_consortium_comes_from_option_environment_or_current_folder(running: Up, tmp_path: Path) -> None:
    told = good(heji("catalog", "--json", "--consortium", running.folder))
    assert good(heji("catalog", "--json", HEJI_CONSORTIUM=str(running.folder))) == told
    assert good(heji("catalog", "--json", cwd=running.folder)) == told
    assert good(heji("catalog", "--json", "--consortium", running.folder / "bank_b")) == told
    nowhere = heji("catalog", cwd=tmp_path)
    assert (nowhere.status, nowhere.out) == (1, "")
    assert "holds no member's folder" in nowhere.err and "$HEJI_CONSORTIUM" in nowhere.err


def test_explain(ask: Ask) -> None:
    told = json.loads(good(ask("explain", BY_GRADE, "--to", "analyst", "--json")))
    assert told["verdicts"] == dict.fromkeys(BANKS)
    (first, *_rest) = told["local_queries"]
    short, full = good(ask("explain", BY_GRADE)), good(ask("explain", BY_GRADE, "--sql"))
    assert f"    {first['sql']}" in full.splitlines()
    assert first["sql"] not in short and max(len(line) for line in short.splitlines() if "SELECT" in line) <= 80
    assert "bank_a would approve." in short
    assert json.loads(good(ask("jobs", "list", "--json", "--as", "bank_c"))) == []  # nothing ran


def test_explain_tells_a_refusal_beforehand(ask: Ask) -> None:
    said = good(ask("explain", UNGRANTED))
    assert "bank_c would refuse" in said
    assert tomllib.loads(said[said.index("  [[grant]]") :])["grant"][0]["columns"] == ["balance"]


def test_an_owner_tries_a_policy_before_it_is_in_force(ask: Ask, running: Up, tmp_path: Path) -> None:
    own = running.folder / "bank_c" / "policy.toml"
    assert re.search(r"line \d+: accounts .*aggregate", good(heji("policy", "check", own.parent)).replace("\n", " "))
    assert "bank_c: allowed" in good(ask("policy", "explain", TOGETHER, "--to", "analyst", "--as", "bank_c"))
    refused = ask("policy", "explain", UNGRANTED, "--to", "analyst", "--as", "bank_c")
    assert refused.status == 1 and "bank_c: policy.refused" in refused.out and "[[grant]]" in refused.out

    drafted = good(ask("policy", "suggest", UNGRANTED, "--to", "analyst"))
    assert drafted.startswith("# bank_c: policy.toml\n[[grant]]")
    draft = tmp_path / "draft.toml"
    draft.write_text(own.read_text() + "\n" + drafted)
    options = ("--policy", draft, "--as", "bank_c")
    assert "bank_c: allowed" in good(ask("policy", "explain", UNGRANTED, "--to", "analyst", *options))
    changes = heji("policy", "diff", own, draft)
    assert changes.status == 1 and "+ columns = " in changes.out and "\n- " not in changes.out
    assert "The same grants." in good(heji("policy", "diff", own, own.parent))

    cases = tmp_path / "cases"
    cases.mkdir()
    (cases / "together.sql").write_text(f"-- to: analyst\n-- expect: allowed\n{TOGETHER}\n")
    (cases / "secret.sql").write_text(f"-- to: analyst\n-- expect: policy.refused\n{UNGRANTED}\n")
    assert "2 of 2 as expected." in good(ask("policy", "test", cases, "--as", "bank_c"))
    tried = ask("policy", "test", cases, *options)
    assert tried.status == 1 and "secret.sql: allowed, where policy.refused was" in tried.out.replace("\n", " ")


def test_noise_and_its_accuracy_on_a_terminal(ask: Ask, running: Up) -> None:
    policy = running.folder / "bank_c" / "policy.toml"
    exact = policy.read_text()
    with_budget = exact.rstrip() + '\nbudget = { epsilon = 1.0, per = "7d" }\n'
    told = good(ask("explain", COUNT, "--epsilon", "0.5"))
    assert "noise of bank_c: ± 6 (95 %)" in told and "Every number carries noise: epsilon 0.5" in told
    try:
        policy.write_text(with_budget)
        assert "a privacy loss of 1.0 in 7 days" in good(heji("policy", "check", policy.parent)).replace("\n", " ")
        refused = ask("query", COUNT, "--to", "analyst")
        assert refused.status == 1 and "--epsilon 1.0" in refused.err.replace("\n", " ")
        done = ask("query", COUNT, "--to", "analyst", "--epsilon", "0.5")
        assert re.search(r" \d+ ± 6 ", good(done)) and "epsilon 0.5" in done.err
        assert "bank_c leaves analyst 0.5 of 1 in 7 days" in done.err.replace("\n", " ")
        assert 'per = "30d"' in good(ask("policy", "suggest", COUNT, "--to", "analyst", "--epsilon", "0.5"))
        options = ("--to", "analyst", "--as", "bank_c")
        assert "allowed" in good(ask("policy", "explain", COUNT, "--epsilon", "0.5", *options))
        assert ask("policy", "explain", COUNT, *options).status == 1
    finally:
        policy.write_text(exact)


def test_a_person_decides(ask: Ask, running: Up) -> None:
    policy = running.folder / "bank_c" / "policy.toml"
    auto = policy.read_text()
    policy.write_text(auto.replace('approval = "auto"', 'approval = "manual"'))
    try:
        assert "bank_c would decide by hand." in good(ask("explain", TOGETHER, "--to", "analyst"))
        job = good(ask("query", TOGETHER, "--to", "analyst", "--days", "3", "--purpose", "monthly")).strip()
        for _ in range(100):
            listed = good(ask("jobs", "pending", "--as", "bank_c"))
            if job[:16] in listed:
                break
            time.sleep(0.1)
        assert "monthly" in listed and "SELECT SUM(balance)" in listed
        assert "Who learns what" in good(ask("jobs", "pending", job[:12], "--as", "bank_c"))
        assert "Nothing waits." in good(ask("jobs", "pending", "--as", "bank_a"))
        assert "approved" in good(ask("jobs", "approve", job[:12], "--by", "Li Na", "--as", "bank_c"))
        good(ask("jobs", "wait", job, "--as", "analyst"))
        assert f"{EXPECTED:,}" in good(ask("jobs", "result", job, "--as", "analyst"))
        again = ask("jobs", "approve", job[:12], "--as", "bank_c")
        assert again.status == 1 and "approved by Li Na" in again.err

        other = good(ask("query", BY_GRADE, "--to", "analyst", "--days", "1")).strip()
        for _ in range(100):
            if other[:16] in good(ask("jobs", "pending", "--as", "bank_c")):
                break
            time.sleep(0.1)
        good(ask("jobs", "reject", other[:12], "--reason", "not before the audit", "--as", "bank_c"))
        refused = ask("jobs", "wait", other, "--as", "analyst")
        assert refused.status == 1 and "not before the audit" in refused.err
    finally:
        policy.write_text(auto)


def test_a_policy_with_a_mistake_names_its_line(tmp_path: Path) -> None:
    path = tmp_path / "policy.toml"
    path.write_text('[[grant]]\ntable = "firms"\nuses = ["agregate"]\n')
    told = heji("policy", "check", path)
    assert told.status == 1 and "line 3" in told.err.lower() and "aggregate" in told.err


def test_a_policy_has_nothing_to_say_to_others_queries(ask: Ask) -> None:
    told = ask("policy", "explain", UNGRANTED, "--to", "analyst", "--as", "bank_a")
    assert told.status == 1 and "reads nothing of bank_a" in told.err


# -- asking


def test_table(ask: Ask) -> None:
    done = ask("query", TOGETHER)
    assert f"{EXPECTED:,}" in good(done) and "72" in done.out
    assert "from bank_a, bank_b, bank_c" in done.err and "job " not in done.out


def test_json_numbers_have_all_their_digits(ask: Ask) -> None:
    told = json.loads(good(ask("query", TOGETHER, "--format", "json", "--purpose", "test")), parse_float=Decimal)
    assert told["rows"] == [{"together": EXPECTED, "n": 3 * ROWS}]
    assert told["statement"]["purpose"] == "test"
    assert sorted(told["statement"]["policies"]) == list(BANKS)


def test_csv(ask: Ask) -> None:
    read = list(csv.DictReader(io.StringIO(good(ask("query", BY_GRADE, "--format", "csv")))))
    assert [r["grade"] for r in read] == ["A", "B"]
    assert sum(Decimal(r["total"]) for r in read) == EXPECTED


@pytest.mark.parametrize("form", ["json", "csv", "parquet"])
def test_out(ask: Ask, tmp_path: Path, form: str) -> None:
    path = tmp_path / f"result.{form}"
    done = ask("query", TOGETHER, "--format", form, "--out", path)
    assert good(done) == ""
    assert f"Written to {path}" in done.err.replace("\n", "")
    if form == "parquet":
        assert pq.read_table(path).to_pylist() == [{"together": EXPECTED, "n": 3 * ROWS}]
    else:
        assert str(EXPECTED) in path.read_text()
    assert [p.name for p in tmp_path.iterdir()] == [path.name]  # no half-written file beside it


def test_what_could_not_be_written_is_not_asked(ask: Ask, tmp_path: Path) -> None:
    before = json.loads(good(ask("jobs", "list", "--json")))
    assert "Add --out FILE" in ask("query", TOGETHER, "--format", "parquet").err
    assert "no folder" in ask("query", TOGETHER, "--out", tmp_path / "no" / "file.csv").err
    assert json.loads(good(ask("jobs", "list", "--json"))) == before


def test_sql_from_file_stdin_and_with_a_comment_in_front(ask: Ask, tmp_path: Path) -> None:
    commented = f"-- what we have together\n{TOGETHER}"
    (tmp_path / "q.sql").write_text(f"\ufeff{commented}\n", encoding="utf-8")
    for done in (
        ask("query", commented, "--format", "json"),
        ask("query", "-f", tmp_path / "q.sql", "--format", "json"),
        ask("query", "-", "--format", "json", told=commented),
        ask("query", "--format", "json", "-", told=commented),
    ):
        assert json.loads(good(done), parse_float=Decimal)["rows"] == [{"together": EXPECTED, "n": 3 * ROWS}]


def test_sql_is_given_once_and_in_utf8(ask: Ask, tmp_path: Path) -> None:
    (tmp_path / "q.sql").write_bytes(b"SELECT '\xb0\xa1'")
    assert "not UTF-8" in ask("query", "-f", tmp_path / "q.sql").err
    assert "not UTF-8" in ask("query", "-", told=b"SELECT '\xb0\xa1'").err
    assert "Give the SQL once" in ask("query").err
    assert "Give the SQL once" in ask("query", TOGETHER, "-f", tmp_path / "q.sql").err
    assert "No such file" in ask("query", "-f", tmp_path / "none.sql").err


def test_who_is_not_the_recipient_gets_the_job_id_only(ask: Ask) -> None:
    done = ask("query", TOGETHER, "--to", "bank_a", "--as", "analyst")
    job = good(done).strip()
    assert re.fullmatch("[0-9a-f]{64}", job)
    assert "not to analyst" in done.err
    assert good(ask("jobs", "wait", job)).strip() == "done"
    refused = ask("jobs", "result", job)
    assert (refused.status, refused.out) == (1, "") and "job.not_recipient" in refused.err
    got = json.loads(good(ask("jobs", "result", job, "--as", "bank_a", "--format", "json")), parse_float=Decimal)
    assert got["rows"][0]["together"] == EXPECTED


def test_a_recipient_asks_under_its_own_name(ask: Ask) -> None:
    told = json.loads(good(ask("query", TOGETHER, "--to", "bank_b", "--format", "json")))
    assert (told["statement"]["submitter"], told["statement"]["recipient"]) == ("bank_b", "bank_b")


# -- jobs


def test_jobs(ask: Ask) -> None:
    done = json.loads(good(ask("query", TOGETHER, "--format", "json")))["statement"]["job"]
    lines = good(ask("jobs", "list")).splitlines()
    listed = json.loads(good(ask("jobs", "list", "--json")))
    assert len(lines) == 1 + len(listed)  # a line a job
    shown = next(line.split()[0] for line in lines if done.startswith(line.split()[0]))
    assert f"job: {done}" in good(ask("jobs", "show", shown))  # what the list shows can be pasted
    told = json.loads(good(ask("jobs", "show", done[:8].upper(), "--json")))
    assert (told["job"], told["state"], told["submitter"], told["error"]) == (done, "done", "analyst", None)
    assert good(ask("jobs", "wait", shown)).strip() == "done"
    assert f"{EXPECTED:,}" in good(ask("jobs", "result", shown))
    again = ask("jobs", "cancel", shown)
    assert again.status == 1 and "nothing to cancel" in again.err


def test_job_ids_that_name_no_job(ask: Ask) -> None:
    assert "at least its first 8" in ask("jobs", "show", "1234567").err
    assert "at least its first 8" in ask("jobs", "show", "not-hexadecimal").err
    assert "None of the jobs of analyst begins with 0123456789." in ask("jobs", "show", "0123456789").err
    assert "job.unknown" in ask("jobs", "show", "0" * 64).err


def test_a_job_of_others_is_not_even_there(ask: Ask) -> None:
    job = json.loads(good(ask("query", TOGETHER, "--to", "bank_a", "--format", "json")))["statement"]["job"]
    assert "job.unknown" in ask("jobs", "show", job, "--as", "bank_b").err


def test_cancel(ask: Ask, running: Up) -> None:
    stopped = psutil.Process(running.members["bank_b"])
    with connect(running.folder, as_="analyst") as client:
        try:
            for _ in range(20):  # until bank_b stands still while the job is under way
                job = client.submit(TOGETHER).id
                stopped.suspend()
                if client.show(job).state not in ("done", "failed"):
                    break
                stopped.resume()
            assert good(ask("jobs", "cancel", job[:12])).strip() == "cancelled"
        finally:
            stopped.resume()
    waited = ask("jobs", "wait", job)
    assert waited.status == 1 and "job.cancelled" in waited.err
    assert "job.state" in ask("jobs", "result", job).err


def test_ctrl_c_cancels_the_job(ask: Ask, running: Up) -> None:
    stopped = psutil.Process(running.members["bank_b"])
    before = {j["job"] for j in json.loads(good(ask("jobs", "list", "--json")))}
    env = os.environ | {"HEJI_CONSORTIUM": str(running.folder)}
    with connect(running.folder, as_="analyst") as client:
        try:
            for _ in range(20):
                asking = subprocess.Popen(
                    [*HEJI, "query", TOGETHER], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env
                )
                fresh: list[str] = []
                while not fresh and asking.poll() is None:
                    fresh = [j.job for j in client.jobs() if j.job not in before]
                stopped.suspend()
                if fresh and client.show(fresh[0]).state not in ("done", "failed"):
                    break
                stopped.resume()
                asking.communicate()
                before |= set(fresh)
            asking.send_signal(signal.SIGINT)
            out, err = asking.communicate(timeout=60)
            assert (asking.returncode, out) == (130, b"")
            assert f"Stopped. The job {fresh[0][:16]} is cancelled." in err.decode()
            assert client.show(fresh[0]).state == "cancelled"
        finally:
            stopped.resume()


def test_ctrl_c_while_handing_in_cancels_the_job(running: Up, monkeypatch: pytest.MonkeyPatch) -> None:
    """The coordinator has the job, and the modeler's program has not heard so yet."""
    stopped = psutil.Process(running.members["bank_b"])
    with connect(running.folder, as_="analyst") as client:
        before = {j.job for j in client.jobs()}
        wait, call = client._loop.wait, client._coordinator.call

        async def stop_first(method: str, request: Any) -> Any:
            if method == "Submit":
                stopped.suspend()
            return await call(method, request)

        def interrupted(work: Any) -> Any:
            monkeypatch.setattr(client._loop, "wait", wait)
            wait(work)
            raise KeyboardInterrupt

        monkeypatch.setattr(client._coordinator, "call", stop_first)
        monkeypatch.setattr(client._loop, "wait", interrupted)
        try:
            with pytest.raises(KeyboardInterrupt, match=r"The job \w+ is cancelled\."):
                client.submit(TOGETHER)
            (fresh,) = [j for j in client.jobs() if j.job not in before]
            assert fresh.state == "cancelled"
        finally:
            stopped.resume()


def test_ctrl_c_after_the_end_says_where_the_result_is(running: Up, monkeypatch: pytest.MonkeyPatch) -> None:
    with connect(running.folder, as_="analyst") as client:

        def interrupted(_job: str) -> Any:
            raise KeyboardInterrupt

        monkeypatch.setattr(client, "result", interrupted)
        with pytest.raises(KeyboardInterrupt, match=r"The job (\w+) was done .*`heji jobs result \w+`"):
            client.query(TOGETHER)


def test_ctrl_c_where_the_coordinator_cannot_be_asked(running: Up, monkeypatch: pytest.MonkeyPatch) -> None:
    with connect(running.folder, as_="analyst") as client:

        def away(_job: str, *_more: Any) -> Any:
            raise PeerError("peer.unavailable", "coordinator cannot be reached.", party="coordinator")

        monkeypatch.setattr(client, "cancel", away)
        monkeypatch.setattr(client, "show", away)
        assert "may go on: coordinator cannot be asked" in client._give_up("ab" * 32)


# -- refused


@pytest.mark.parametrize(
    ("sql", "words"),
    [
        ("SELECT SUM(balance FROM bank_a.accounts", ("Line 1, column 20", "[sql.syntax]")),
        (
            "SELECT\n  SUM(balanse) AS s\nFROM bank_a.accounts",
            ("Line 2, column 7", "Did you mean balance?", "[sql.unknown_column]"),
        ),
        ("SELECT SUM(balance) AS s FROM bank_a.acounts", ("Line 1, column 31", "Did you mean bank_a.accounts?")),
        ("SELECT SUM(balance) AS s FROM bank_x.accounts", ("Did you mean",)),
    ],
)
def test_bad_sql(ask: Ask, sql: str, words: tuple[str, ...]) -> None:
    for command in ("query", "explain"):
        done = ask(command, sql)
        assert (done.status, done.out) == (1, "")
        assert all(w in done.err for w in words), done.err


def test_a_refusal_prints_the_grant_to_paste(ask: Ask, running: Up) -> None:
    done = ask("query", UNGRANTED, "--format", "json")
    assert (done.status, done.out) == (1, "")
    assert done.err.startswith("Refused: The policy of bank_c does not allow this job:")
    assert "[policy.refused]" in done.err
    assert all(line == line.rstrip() for line in done.err.splitlines())  # no blanks to copy along
    grant = done.err[done.err.index("  [[grant]]") : done.err.index("[policy.refused]")]
    assert tomllib.loads(grant)["grant"][0]["table"] == "secret"
    policy = running.folder / "bank_c" / "policy.toml"
    before = policy.read_text()
    try:
        policy.write_text(f"{before}\n{grant}")  # pasted as it stands
        told = json.loads(good(ask("query", UNGRANTED, "--format", "json")), parse_float=Decimal)
        assert told["rows"] == [{"s": sum(balances("bank_c"))}]
    finally:
        policy.write_text(before)


def test_names_that_are_nobody(ask: Ask) -> None:
    assert "Did you mean analyst?" in ask("catalog", "--as", "analist").err
    wrong = ask("query", TOGETHER, "--to", "bank_d", "--as", "analyst")
    assert (wrong.status, wrong.out) == (1, "") and "[roster.unknown]" in wrong.err
    elsewhere = ask("query", TOGETHER, "--to", "bank_d")
    assert elsewhere.status == 1 and "Whose identity should be used?" in elsewhere.err


def test_wrong_command_lines_have_status_2(ask: Ask) -> None:
    for words in (("querry", TOGETHER), ("query", TOGETHER, "--format", "xml"), ("query", TOGETHER, "--nonsense")):
        done = ask(*words)
        assert (done.status, done.out) == (2, "") and done.err


@pytest.mark.parametrize(
    "words", [(), ("query",), ("explain",), ("jobs", "list"), ("node", "table", "add"), ("up",), ("demo",)]
)
def test_help(words: tuple[str, ...]) -> None:
    shown = good(heji(*words, "--help"))
    assert "Usage: heji" in shown and "Traceback" not in shown


# -- members


def test_node_check(ask: Ask, running: Up) -> None:
    done = ask("node", "check", running.folder / "bank_a")
    assert "bank_b answers with the roster's certificate" in good(done)
    assert "BAD" not in done.out
    bad = ask("node", "check", running.folder / "nobody")
    assert bad.status == 1 and "BAD" in bad.out


def test_node_check_names_what_is_bad(idle: Path) -> None:
    (idle.parent / "a.csv").rename(idle.parent / "moved.csv")
    try:
        done = heji("node", "check", idle / "bank_a")
    finally:
        (idle.parent / "moved.csv").rename(idle.parent / "a.csv")
    assert done.status == 1
    assert any(line.startswith("BAD") and "accounts" in line for line in done.out.splitlines())
    assert "bank_b does not answer" in done.out


def test_nobody_serves(idle: Path) -> None:
    done = heji("query", TOGETHER, "--consortium", idle)
    assert (done.status, done.out) == (1, "")
    assert "coordinator" in done.err and "[peer.unavailable]" in done.err


def test_a_node_is_not_running(idle: Path) -> None:
    with Processes(idle, only=("bank_a", "bank_b", "coordinator")):
        catalog = heji("catalog", "--consortium", idle)
        assert "accounts" in good(catalog) and "bank_c:" in catalog.err
        done = heji("query", TOGETHER, "--consortium", idle)
        assert (done.status, done.out) == (1, "")
        assert "bank_c cannot be asked" in done.err and "[peer.unavailable]" in done.err
        others = (
            "SELECT COUNT(*) AS n FROM (SELECT grade FROM bank_a.accounts UNION ALL SELECT grade FROM bank_b.accounts)"
        )
        assert json.loads(good(heji("query", others, "--consortium", idle, "--format", "json")))["rows"] == [{"n": 48}]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_up_leaves_nothing(idle: Path, number: signal.Signals) -> None:
    started = up(idle)
    assert len(started.members) == 4
    started.process.send_signal(number)
    assert started.process.wait(40) == 0
    assert not members_of(idle)


@pytest.mark.parametrize("members", [1, 2, 3, 4])
def test_up_stopped_while_it_starts_leaves_nothing(idle: Path, members: int) -> None:
    process = subprocess.Popen([*HEJI, "up", str(idle)], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    until(lambda: len(members_of(idle)) > members)  # itself and some members
    process.send_signal(signal.SIGINT)
    out, _err = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, b"")
    assert not members_of(idle)


def test_up_killed_leaves_nothing(idle: Path) -> None:
    started = up(idle)
    started.process.kill()
    started.process.wait(20)
    until(lambda: not members_of(idle))


def test_a_member_whose_parent_ended_before_it_served_ends(idle: Path) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    node = [*HEJI, "node", "serve", str(idle / "bank_a"), "--with-parent", str(gone.pid)]
    assert subprocess.run(node, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=40).returncode == 0


def test_up_says_who_ended(idle: Path) -> None:
    started = up(idle)
    psutil.Process(started.members["bank_c"]).kill()
    assert started.process.wait(40) == 1
    assert "bank_c ended by itself" in (idle.parent / "up.err").read_text()
    assert not members_of(idle)


def test_up_twice_says_why_not(running: Up) -> None:
    done = heji("up", running.folder)
    assert done.status == 1 and "bank_a did not start" in done.err and "in use" in done.err
    assert psutil.Process(running.process.pid).is_running()


def test_init_does_not_overwrite(idle: Path) -> None:
    identity = (idle / "bank_a" / "roster.json").read_bytes()
    done = heji("consortium", "init", idle, "--party", "bank_a", "--modeler", "analyst")
    assert (done.status, done.out) == (1, "")
    assert (idle / "bank_a" / "roster.json").read_bytes() == identity
