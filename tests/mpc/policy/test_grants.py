"""policy.toml: defaults, presets, and every mistake with its line."""

from __future__ import annotations

import datetime as dt
import hashlib
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpc.errors import LocalError
from mpc.policy.grants import PRESETS, TRUST, USES, Budget, Grant, parse_policy, write_grant


def the_grant(lines: str) -> Grant:
    [grant] = parse_policy(f"[[grant]]\n{lines}").grants
    return grant


def refusal(text: str) -> LocalError:
    with pytest.raises(LocalError) as caught:
        parse_policy(text)
    return caught.value


def test_defaults_are_those_of_the_specification() -> None:
    g = the_grant('table = "firms"')
    assert (g.columns, g.to, g.uses) == ((), (), ())
    assert (g.purposes, g.trust) == (("any",), ("helper", "parties"))
    assert (g.min_entities, g.min_contributors, g.approval) == (10, 2, "manual")
    assert (g.max_share, g.max_numbers, g.round_to, g.budget, g.expires) == (None, None, None, None, None)
    assert (g.max_bits, g.contributor_sets, g.alone, g.line) == (1, "one", True, 1)


def test_every_key() -> None:
    g = the_grant(
        'table = "firms"\ncolumns = ["tax_paid"]\nto = ["bank", "modeler:analyst", "organisation:中国银行"]\n'
        'uses = ["aggregate", "threshold"]\npurposes = ["SME credit"]\ntrust = ["parties"]\nmin_entities = 1\n'
        'min_contributors = 3\ncontributor_sets = "any"\nalone = false\nmax_share = 1\nmax_numbers = "off"\n'
        'max_bits = 1\nround_to = "off"\nbudget = "off"\napproval = "auto"\nexpires = 2027-06-30\n'
    )
    assert g == Grant(
        "firms",
        ("tax_paid",),
        ("bank", "modeler:analyst", "organisation:中国银行"),
        ("aggregate", "threshold"),
        ("SME credit",),
        ("parties",),
        1,
        3,
        "any",
        False,
        approval="auto",
        expires=dt.date(2027, 6, 30),
    )


def test_no_text_no_grants_and_editors_marks_do_not_matter() -> None:
    assert parse_policy("").grants == () == parse_policy("version = 1\ngrant = []").grants
    assert parse_policy('\ufeff[[grant]]\r\ntable = "a"\r\n\r\n[[grant]]\r\ntable = "b"').grants[1].line == 4


def test_digest_covers_the_exact_text() -> None:
    raw = "# 税务\n".encode()
    expected = hashlib.sha256(b"".join(len(p).to_bytes(8, "big") + p for p in (b"heji/v1/policy", raw))).hexdigest()
    assert parse_policy(raw.decode()).digest == expected
    assert parse_policy("").digest != parse_policy(" ").digest


@pytest.mark.parametrize("name", PRESETS)
def test_presets_grant_only_known_uses_and_single_keys_override(name: str) -> None:
    g = the_grant(f'table = "firms"\npreset = "{name}"')
    assert g.uses == PRESETS[name]["uses"]
    assert set(g.uses) <= set(USES)
    assert (g.columns, g.to, g.approval, g.min_entities) == ((), (), "manual", 10)
    assert the_grant(f'uses = ["filter"]\nmin_entities = 3\ntable = "f"\npreset = "{name}"').uses == ("filter",)
    assert the_grant(f'uses = ["filter"]\nmin_entities = 3\ntable = "f"\npreset = "{name}"').min_entities == 3


MISTAKES = [
    ('table = "f"\nuses = ["agregate"]', 3, "'agregate' is no use; did you mean 'aggregate'?", "Allowed: join,"),
    ('table = "f"\nuses = [\n "filter",\n "x"]', 3, "'x' is no use", "Allowed: join,"),
    ('table = "f"\nuses = [1]', 3, "a list of texts", ""),
    ('tabel = "f"', 2, "no key 'tabel'", "Did you mean table?"),
    ('table = "f"\n\n# note\nmin_entites = 3', 5, "no key 'min_entites'", "Did you mean min_entities?"),
    ("uses = []", 1, "names no table", ""),
    ("table = 1", 2, "a name in quotes", ""),
    ('table = " "', 2, "a name in quotes", ""),
    ('table = "f"\ncolumns = [""]', 3, "a list of texts", ""),
    ('table = "f"\nto = ["organization:x"]', 3, "did you mean 'organisation'?", "organisation:NAME"),
    ('table = "f"\nto = ["modeler:"]', 3, "is no recipient", ""),
    ('table = "f"\npurposes = {}', 3, "a list of texts", ""),
    ('table = "f"\ntrust = ["helpers"]', 3, "did you mean 'helper'?", "Allowed: helper, parties"),
    ('table = "f"\nmin_entities = 0', 3, "at least 1", "1 asks for nothing"),
    ('table = "f"\nmin_entities = true', 3, "at least 1", ""),
    ('table = "f"\nmin_contributors = 2.0', 3, "at least 1", ""),
    ('table = "f"\ncontributor_sets = "all"', 3, "not a choice", '"one", "any"'),
    ('table = "f"\nalone = "no"', 3, "true or false", ""),
    ('table = "f"\napproval = "automatic"', 3, "did you mean 'auto'?", '"auto", "manual", "two"'),
    ('table = "f"\nexpires = "2027-06-30"', 3, "a date without quotes", ""),
    ('table = "f"\nexpires = 2027-06-30T00:00:00', 3, "a date without quotes", ""),
    ('table = "f"\npreset = "joint-statistic"', 3, "did you mean 'joint-statistics'?", "intersection"),
    ('table = "f"\nmax_share = 90', 3, "a share above 0", ""),
    ('table = "f"\nmax_share = nan', 3, "a share above 0", ""),
    ('table = "f"\nround_to = inf', 3, "a number above 0", ""),
    ('table = "f"\nround_to = -1', 3, "a number above 0", ""),
    ('table = "f"\nmax_numbers = "of"', 3, "at least 1", ""),
    ('table = "f"\nbudget = 1', 3, "a table of epsilon and per", ""),
    ('table = "f"\nbudget = { per = "30d" }', 3, "a table of epsilon and per", ""),
    ('table = "f"\nbudget = { epsilon = 1, delta = 0 }', 3, "a table of epsilon and per", ""),
    ('table = "f"\nbudget = { epsilon = 0 }', 3, "epsilon: a number above 0", ""),
    ('table = "f"\nbudget = { epsilon = inf }', 3, "epsilon: a number above 0", ""),
    ('table = "f"\nbudget = { epsilon = true }', 3, "epsilon: a number above 0", ""),
    ('table = "f"\nbudget = { epsilon = 1.0, per = "1m" }', 3, "per: a number of days", ""),
    ('table = "f"\nbudget = { epsilon = 1.0, per = 30 }', 3, "per: a number of days", ""),
    ('table = "f"\ntable = "g"', 3, "a key stands twice in one block", "Take one of them out"),
    ('table = "f"\nexpires = 2027-02-30', 3, "not TOML", "one of the calendar"),
    ('table = "f"\nexpires = 2027-6-30', 3, "not TOML", "2027-06-30"),
    ("table = “f”", 2, "not TOML", "half-width"),
    ('table = "f"\ncolumns = ["a"', 3, "not TOML", ""),
]


@pytest.mark.parametrize(("lines", "line", "message", "advice"), MISTAKES)
def test_a_mistake_names_its_line(lines: str, line: int, message: str, advice: str) -> None:
    for before, shift in (("", 0), ('[[grant]]\ntable = "first"\n', 2)):
        error = refusal(f"{before}[[grant]]\n{lines}")
        assert error.code == "policy.invalid"
        assert error.facts["line"] == line + shift
        assert f"line {line + shift}:" in error.message
        assert message in error.message
        assert advice in error.advice


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("\nversion = 2", 2, "version 1"),
        ("version = true", 1, "version 1"),
        ('version = 1\n[grants]\ntable = "f"', 2, "'grants' is not known"),
        ('# x\n[grant]\ntable = "f"', 2, "a block of its own"),
        ('grant = [{ table = "f" }]', 1, "a block of its own"),
        ("table = 1", 1, "'table' is not known"),
    ],
)
def test_mistakes_outside_of_grants(text: str, line: int, message: str) -> None:
    error = refusal(text)
    assert (error.code, error.facts["line"]) == ("policy.invalid", line)
    assert message in error.message


def test_a_budget_as_a_table_of_its_own_has_its_line() -> None:
    text = '[[grant]]\ntable = "f"\n[grant.budget]\nepsilon = 0.5\nper = "7d"\n'
    assert parse_policy(text).grants[0].budget == Budget(Decimal("0.5"), 7)
    error = refusal(text.replace("0.5", "-1"))
    assert (error.code, error.facts["line"]) == ("policy.invalid", 3)


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(str.strip)
LISTS = st.lists(TEXTS, max_size=3).map(tuple)
GRANTS = st.builds(
    Grant,
    table=TEXTS,
    columns=LISTS,
    to=st.lists(TEXTS.map(lambda t: "organisation:" + t)).map(tuple),
    uses=st.lists(st.sampled_from(USES)).map(tuple),
    purposes=LISTS,
    trust=st.lists(st.sampled_from(TRUST)).map(tuple),
    min_entities=st.integers(1, 99),
    min_contributors=st.integers(1, 9),
    contributor_sets=st.sampled_from(["one", "any"]),
    alone=st.booleans(),
    budget=st.none() | st.builds(Budget, st.decimals("0.000001", 100, allow_nan=False), st.integers(1, 9999)),
    approval=st.sampled_from(["auto", "manual", "two"]),
    expires=st.none() | st.dates(),
)


@given(st.lists(GRANTS, max_size=3))
def test_what_is_written_is_read_back(grants: list[Grant]) -> None:
    assert parse_policy("\n".join(map(write_grant, grants))).grants == tuple(grants)


@given(st.text(st.sampled_from("ab.=[]{}\"'\\#\n ,1grant"), max_size=40))
def test_no_text_breaks_the_reader(text: str) -> None:
    try:
        parse_policy("[[grant]]\n" + text)
    except LocalError as error:
        assert error.facts["line"] >= 1
