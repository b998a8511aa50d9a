"""standing.toml: what it says, what it refuses to say, and which jobs it is about."""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import fields, replace
from typing import Any

import pytest

from mpc.errors import LocalError
from mpc.job import DepositTerms, Job
from mpc.policy import standing as module
from mpc.policy.standing import Standing, parse_standing

SQL = "SELECT SUM(balance) FROM bank.accounts WHERE month = $month"
TEXT = f'''
[[standing]]
name = "monthly"
sql = """{SQL}"""
to = ["analyst"]
purpose = "monthly statistics"
parameters = {{ month = {{ from = "2025-11", to = "2026-02" }} }}
runs = 1
per = "month"
expires = 2026-12-31
'''
TODAY = dt.date(2026, 1, 15)
JOB = Job(
    sql="whatever",
    submitter="analyst",
    recipients=("analyst",),
    roster="r",
    catalogs={},
    nonce="00" * 16,
    created=1,
    expires=2,
    purpose="monthly statistics",
    parameters={"month": "2026-01"},
)


def the(text: str = TEXT) -> Standing:
    [found] = parse_standing(text)
    return found


def test_what_it_says() -> None:
    s = the()
    assert (s.name, s.sql, s.recipients, s.runs, s.per) == ("monthly", SQL, ("analyst",), 1, "month")
    assert s.parameters == {"month": ("2025-11", "2025-12", "2026-01", "2026-02")}
    assert parse_standing("") == () == parse_standing("version = 1\n")


def test_the_digest_is_of_all_it_says() -> None:
    changed = [
        TEXT.replace("analyst", "tax"),
        TEXT.replace("statistics", "study"),
        TEXT.replace("2026-02", "2026-03"),
        TEXT.replace("runs = 1", "runs = 2"),
        TEXT.replace('per = "month"', 'per = "day"'),
        TEXT.replace("2026-12-31", "2027-12-31"),
        TEXT.replace("SUM", "AVG"),
        TEXT.replace("monthly", "weekly", 1),
        TEXT + "verified = true\n",
        TEXT + "epsilon = 0.5\n",
        TEXT + "epsilon = 0.5\nentity_rows = 2\n",
        TEXT + 'from = ["tax"]\n',
    ]
    assert len({the(t).digest() for t in [TEXT, *changed]}) == len(changed) + 1
    assert the(TEXT + "verified = false\n").digest() == the("# a comment\n" + TEXT).digest() == the().digest()


#: of each field of a job, others than the approval was given for; each alone takes the job out of it
OTHERS: dict[str, list[Any]] = {
    "recipients": [("analyst", "tax"), ("tax",)],
    "submitter": ["tax"],
    "purpose": ["study", "Monthly statistics", ""],
    "parameters": [{"month": "2026-03"}, {}, {"month": "2026-01", "more": "x"}],
    "trust": ["parties", "deposit"],
    "allow_two_party": [True],
    "verified": [True],
    "epsilon": ["0.5", "100"],
    "entity_rows": [2],
    "deposit": [DepositTerms("paillier", 1, False, "00", 1, "00" * 64)],
}
#: what differs from job to job, or says nothing of what leaves and to whom: the query itself is compared by its plan;
#: a roster's and a catalog's digest must be the node's own; keys are of recipients that submit for themselves
FREE = {"sql", "roster", "catalogs", "nonce", "created", "expires", "recipient_keys", "planner"}


def test_which_jobs_it_is_about() -> None:
    assert the().fits(JOB, TODAY)
    assert the().fits(JOB, dt.date(2026, 12, 31)) and not the().fits(JOB, dt.date(2027, 1, 1))
    assert the(TEXT + 'from = ["tax"]\n').fits(replace(JOB, submitter="tax"), TODAY)


@pytest.mark.parametrize(("field", "value"), [(f, v) for f, values in OTHERS.items() for v in values])
def test_each_field_changed_takes_a_job_out_of_it(field: str, value: Any) -> None:
    assert not the().fits(replace(JOB, **{field: value}), TODAY)


def test_every_field_of_a_job_is_judged_or_free() -> None:
    """A new option of jobs is compared with its default until somebody decides otherwise here."""
    assert {f.name for f in fields(Job)} == {*OTHERS, *FREE} and not OTHERS.keys() & FREE
    assert module._FREE - {"submitter"} == FREE - {"sql"}


@pytest.mark.parametrize(
    ("line", "options", "others"),
    [
        ("verified = true", {"verified": True}, [{}]),
        ('trust = "parties"', {"trust": "parties"}, [{}]),
        ("allow_two_party = true", {"allow_two_party": True}, [{}]),
        ("epsilon = 0.50", {"epsilon": "0.5"}, [{}, {"epsilon": "0.25"}, {"epsilon": "0.51"}, {"epsilon": "5"}]),
        ("epsilon = 10", {"epsilon": "10"}, [{}, {"epsilon": "1"}, {"epsilon": "100"}]),
        (
            "epsilon = 1\nentity_rows = 12",
            {"epsilon": "1", "entity_rows": 12},
            [{"epsilon": "1"}, {"epsilon": "1", "entity_rows": 11}, {"epsilon": "1", "entity_rows": 13}],
        ),
    ],
)
def test_an_option_is_for_jobs_with_exactly_this_option(
    line: str, options: dict[str, Any], others: list[dict[str, Any]]
) -> None:
    s = the(f"{TEXT}{line}\n")
    assert s.fits(replace(JOB, **options), TODAY) and s.digest() != the().digest()
    assert not any(s.fits(replace(JOB, **o), TODAY) for o in others)
    assert json.loads(json.dumps(s.told()))["options"] == options


def test_periods() -> None:
    day = dt.date(2026, 3, 9)
    found = {p: the(TEXT.replace('per = "month"', f'per = "{p}"')).period(day) for p in ("day", "month", "year", "all")}
    assert found == {"day": "2026-03-09", "month": "2026-03", "year": "2026", "all": ""}


@pytest.mark.parametrize(
    ("old", "new", "line", "said"),
    [
        ('name = "monthly"', "", 2, "name is missing"),
        ("expires = 2026-12-31", "", 2, "expires is missing"),
        ("expires = 2026-12-31", 'expires = "2026-12-31"', 10, "without quotes"),
        ("runs = 1", "runs = 0", 8, "at least 1"),
        ("runs = 1", "runs = true", 8, "at least 1"),
        ('per = "month"', 'per = "week"', 9, "day or month or year or all"),
        ("$month", "$day", 2, "$day, $month"),
        ("month = $month", "month = ?", 4, "without a name"),
        ("SELECT SUM", "SELEKT SUM", 4, "near"),
        ('{ from = "2025-11", to = "2026-02" }', '{ from = "2026-02", to = "2025-11" }', 7, "1 to 600 months"),
        ('{ from = "2025-11", to = "2026-02" }', '{ from = "2026" }', 7, "months are written"),
        ('{ from = "2025-11", to = "2026-02" }', '"2026-01"', 7, "list of texts"),
        ('{ from = "2025-11", to = "2026-02" }', "[]", 7, "list of texts"),
        ("runs = 1", "runs = 1\nrounds = 2", 9, "no key 'rounds'"),
        ('to = ["analyst"]', "to = []", 5, "list of texts"),
        ("[[standing]]", "version = 2\n[[standing]]", 2, "version 1"),
        ("[[standing]]", "[standing]", 2, "block [[standing]]"),
        ("[[standing]]", "[[standings]]", 2, "not known"),
        ("runs = 1", "runs = ", 0, "not TOML"),
        ("runs = 1", "runs = 1\nepsilon = 0", 9, "above 0 and up to 100"),
        ("runs = 1", "runs = 1\nepsilon = 100.5", 9, "above 0 and up to 100"),
        ("runs = 1", "runs = 1\nepsilon = nan", 9, "above 0 and up to 100"),
        ("runs = 1", "runs = 1\nepsilon = inf", 9, "above 0 and up to 100"),
        ("runs = 1", 'runs = 1\nepsilon = "0.5"', 9, "without quotes"),
        ("runs = 1", "runs = 1\nepsilon = true", 9, "without quotes"),
        ("runs = 1", "runs = 1\nepsilon = 1\nentity_rows = 0", 10, "from 1 to 10,000"),
        ("runs = 1", "runs = 1\nentity_rows = 2", 9, "goes with epsilon"),
    ],
)
def test_mistakes_are_named_with_their_line(old: str, new: str, line: int, said: str) -> None:
    assert old in TEXT
    with pytest.raises(LocalError) as caught:
        parse_standing(TEXT.replace(old, new))
    assert caught.value.code == "policy.invalid" and said in caught.value.message
    assert caught.value.facts["line"] == line


def test_names_are_unique() -> None:
    with pytest.raises(LocalError, match="two are called 'monthly'"):
        parse_standing(TEXT + TEXT)
