"""policy.toml: what an owner grants (query.md, Policy). Text in, ``Policy`` out; docs/policy.md is the owner's page.

    version = 1                              # optional
    [[grant]]                                # any number; the union of all grants applies
    table = "firms"                          # the only key that must be there
    columns = ["tax_paid"]                   # "*": all                      left out: none
    to = ["bank", "modeler:analyst"]         # also "organisation:NAME", "any"   left out: nobody
    uses = ["aggregate", "arithmetic"]       #                               left out: none
    approval = "auto"                        #                               left out: manual
    ...

Nothing is granted by leaving something out, except purposes and the trust levels "helper" and "parties", which narrow a
grant; deposits are granted by name.
Every mistake raises LocalError ``policy.invalid`` naming the line, and so does a key that this version does not know:
an owner must never believe in a rule that is not applied.
"""

from __future__ import annotations

import datetime as dt
import json
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from decimal import Decimal
from difflib import get_close_matches
from types import MappingProxyType
from typing import Any, Literal, get_args

from mpc.crypto.labels import digest
from mpc.errors import LocalError
from mpc.job import MOST_EPSILON
from mpc.policy.toml_lines import Lines, lines_of
from mpc.query.plan_reveals import Use

VERSION = 1
USES: tuple[Use, ...] = get_args(Use)
TRUST = ("helper", "parties", "deposit")
#: what a grant is for that names no trust level: deposits, where two members together could open single inputs, only
#: where an owner says so
USUAL_TRUST = ("helper", "parties")
ANY, ALL, OFF = "any", "*", "off"
_TOP = ("version", "grant")
#: approval -> how many different persons decide about each job
PERSONS: Mapping[str, int] = MappingProxyType({"auto": 0, "manual": 1, "two": 2})
#: the period over which ``max_bits`` counts
BITS_DAYS = 30


@dataclass(frozen=True)
class Budget:
    """Privacy loss (P12) that one institution may cause in ``days`` days: its jobs carry noise, and spend."""

    epsilon: Decimal
    days: int = 30

    def __str__(self) -> str:
        """As policy.toml has it."""
        return f'{{ epsilon = {self.epsilon:f}, per = "{self.days}d" }}'


@dataclass(frozen=True)
class Grant:
    """One ``[[grant]]``. ``None`` is "off". ``line``: where its header stands in policy.toml (0: not from a file)."""

    table: str
    columns: tuple[str, ...] = ()
    to: tuple[str, ...] = ()
    uses: tuple[Use, ...] = ()
    purposes: tuple[str, ...] = (ANY,)
    trust: tuple[str, ...] = USUAL_TRUST
    min_entities: int = 10
    min_contributors: int = 2
    contributor_sets: Literal["one", "any"] = "one"
    alone: bool = True
    max_share: Decimal | None = None
    max_numbers: int | None = None
    max_bits: int = 1
    round_to: Decimal | None = None
    budget: Budget | None = None
    approval: Literal["auto", "manual", "two"] = "manual"
    expires: dt.date | None = None
    preset: str = ""
    line: int = field(default=0, compare=False)

    @property
    def persons(self) -> int:
        """How many persons at the owner's have to approve a job."""
        return PERSONS[self.approval]

    def names_column(self, table: str, column: str) -> bool:
        """Whether the grant is about this column. ``*`` is COUNT(*) of a table without key: any column will do."""
        if self.table.lower() != table.lower() or not self.columns:
            return False
        return ALL in (column, *self.columns) or column.lower() in (c.lower() for c in self.columns)


@dataclass(frozen=True)
class Policy:
    """An owner's word: its grants in the order of the file, the digest that approvals carry, and the text."""

    grants: tuple[Grant, ...]
    digest: str
    text: str = field(default="", repr=False)


#: what a preset stands for; single keys beside it override
PRESETS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "joint-statistics": {
            "uses": ("join", "filter", "group", "aggregate", "arithmetic"),
            "min_entities": 10,
            "min_contributors": 2,
        },
        "decision": {"uses": ("join", "join_reveal", "threshold"), "max_bits": 1},
        "portrait": {"uses": ("join", "join_reveal", "row")},
        "intersection": {"uses": ("join", "join_reveal", "aggregate"), "min_entities": 10},
    }
)


def parse_policy(text: str) -> Policy:
    """Read policy.toml. Raises LocalError policy.invalid, with ``line`` among the facts."""
    source = text.removeprefix("\ufeff").replace("\r\n", "\n")  # editors on Windows put both in
    try:
        document = tomllib.loads(source, parse_float=Decimal)
    except tomllib.TOMLDecodeError as problem:
        raise _unreadable(source, problem) from problem
    lines = lines_of(source, "grant")
    for key in document:
        if key not in _TOP:
            raise _invalid(lines.top[key], f"{key!r} is not known here.", _meant(key, _TOP, "at the top"))
    version = document.get("version", VERSION)
    if type(version) is not int or version != VERSION:
        raise _invalid(lines.top["version"], "this program reads policies of version 1.", "Write version = 1.")
    tables = document.get("grant", [])
    if not isinstance(tables, list) or len(tables) != len(lines.headers):
        raise _invalid(lines.top["grant"], "a grant is a block of its own.", "Start each with [[grant]] on a line.")
    grants = tuple(_grant(table, lines, n) for n, table in enumerate(tables))
    return Policy(grants, digest("policy", text.encode()).hex(), text)


def write_grant(grant: Grant) -> str:
    """The ``[[grant]]`` block of a grant, without keys that have their default; ``parse_policy`` reads it back."""
    out = ["[[grant]]"]
    for f in fields(Grant):
        value = getattr(grant, f.name)
        if f.name == "table" or (f.name not in ("preset", "line") and value != f.default):
            out.append(f"{f.name} = {_toml(value)}")
    return "\n".join(out) + "\n"


def _toml(value: Any) -> str:
    if isinstance(value, tuple):
        return "[" + ", ".join(_toml(v) for v in value) + "]"
    if isinstance(value, str):  # JSON's escapes are TOML's, but for DEL
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return str(value).lower() if isinstance(value, bool) else str(value)


class _Wrong(Exception):
    """What is wrong with a value, and what to write."""

    def __init__(self, what: str, advice: str) -> None:
        super().__init__(what)
        self.what, self.advice = what, advice


def _grant(table: Mapping[str, Any], lines: Lines, n: int) -> Grant:
    given: dict[str, Any] = {}
    for key, value in table.items():
        line = lines.keys[n][key]
        if key not in _READERS:
            raise _invalid(line, f"a grant has no key {key!r}.", _meant(key, _READERS, "in a grant"))
        try:
            given[key] = _READERS[key](value)
        except _Wrong as wrong:
            raise _invalid(line, f"{key}: {wrong.what}", wrong.advice) from None
    if "table" not in given:
        raise _invalid(lines.headers[n], "the grant names no table.", 'Write table = "NAME", a table of your catalog.')
    return Grant(**{**PRESETS.get(given.get("preset", ""), {}), **given, "line": lines.headers[n]})


# ---- one reader a key: a TOML value in, the field's value out, or _Wrong


def _name(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise _Wrong("a name in quotes is expected", 'For example table = "firms".')
    return value


def _texts(value: Any) -> tuple[str, ...]:
    listed = [value] if isinstance(value, str) else value
    if not isinstance(listed, list) or not all(isinstance(v, str) and v.strip() for v in listed):
        raise _Wrong("a list of texts is expected", 'For example ["tax_paid", "employees"].')
    return tuple(listed)


def _to(value: Any) -> tuple[str, ...]:
    for entry in (entries := _texts(value)):
        kind, colon, name = entry.partition(":")
        if colon and (kind not in ("modeler", "organisation") or not name):
            raise _Wrong(
                f"{entry!r} is no recipient" + _close(kind, ("modeler", "organisation")),
                'Write a member\'s name, "modeler:NAME", "organisation:NAME" or "any".',
            )
    return entries


def _words(allowed: tuple[str, ...], noun: str) -> Callable[[Any], tuple[str, ...]]:
    def read(value: Any) -> tuple[str, ...]:
        for word in (words := _texts(value)):
            if word not in allowed:
                raise _Wrong(f"{word!r} is no {noun}" + _close(word, allowed), f"Allowed: {', '.join(allowed)}.")
        return words

    return read


def _one_of(*allowed: str) -> Callable[[Any], str]:
    def read(value: Any) -> str:
        if value not in allowed or not isinstance(value, str):
            raise _Wrong(
                f"{value!r} is not a choice" + _close(str(value), allowed),
                f"Allowed: {', '.join(_toml(a) for a in allowed)}.",
            )
        return value

    return read


def _whole(value: Any) -> int:
    if type(value) is not int or value < 1:
        raise _Wrong("a whole number of at least 1 is expected", "1 asks for nothing.")
    return value


def _boolean(value: Any) -> bool:
    if type(value) is not bool:
        raise _Wrong("true or false is expected", "Without quotes.")
    return value


def _or_off(read: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda value: None if value == OFF else read(value)


def _is_number(value: Any) -> bool:
    return type(value) is int or (isinstance(value, Decimal) and value.is_finite())


def _share(value: Any) -> Decimal | None:
    if not _is_number(value) or not 0 < value <= 1:
        raise _Wrong("a share above 0 and up to 1 is expected", 'For example 0.9; 1 or "off" asks for nothing.')
    return None if value == 1 else Decimal(value)


def _positive(value: Any) -> Decimal:
    if not _is_number(value) or value <= 0:
        raise _Wrong("a number above 0 is expected", 'For example 1000; "off" asks for nothing.')
    return Decimal(value)


def _budget(value: Any) -> Budget:
    example = 'For example { epsilon = 1.0, per = "30d" }.'
    if not isinstance(value, dict) or "epsilon" not in value or set(value) - {"epsilon", "per"}:
        raise _Wrong("a table of epsilon and per is expected", example)
    epsilon, per = value["epsilon"], value.get("per", "30d")
    if not _is_number(epsilon) or not 0 < epsilon <= MOST_EPSILON:
        raise _Wrong(f"epsilon: a number above 0 and up to {MOST_EPSILON} is expected", example)
    if not isinstance(per, str) or not re.fullmatch(r"[1-9][0-9]{0,3}d", per):
        raise _Wrong("per: a number of days in quotes is expected", example)
    return Budget(Decimal(epsilon), int(per[:-1]))


def _day(value: Any) -> dt.date:
    if type(value) is not dt.date:
        raise _Wrong("a date without quotes and time is expected", "For example 2027-06-30; that day is included.")
    return value


_READERS: Mapping[str, Callable[[Any], Any]] = MappingProxyType(
    {
        "table": _name,
        "columns": _texts,
        "to": _to,
        "uses": _words(USES, "use"),
        "purposes": _texts,
        "trust": _words(TRUST, "trust level"),
        "min_entities": _whole,
        "min_contributors": _whole,
        "contributor_sets": _one_of("one", "any"),
        "alone": _boolean,
        "max_share": _or_off(_share),
        "max_numbers": _or_off(_whole),
        "max_bits": _whole,
        "round_to": _or_off(_positive),
        "budget": _or_off(_budget),
        "approval": _one_of(*PERSONS),
        "expires": _day,
        "preset": _one_of(*PRESETS),
    }
)

# ---- what a person is told


def _invalid(line: int, what: str, advice: str) -> LocalError:
    end = "" if what[-1] in ".?" else "."
    return LocalError("policy.invalid", f"policy.toml, line {line}: {what}{end}", advice, line=line)


def _unreadable(source: str, problem: tomllib.TOMLDecodeError) -> LocalError:
    """tomllib's word, with the line it gives (or the last one) and the usual cause on Chinese keyboards."""
    said = str(problem)
    before, _, place = said.rpartition(" (at ")
    number = place.removeprefix("line ").split(",")[0]
    line = int(number) if number.isdigit() else source.rstrip("\n").count("\n") + 1
    text = [*source.split("\n"), ""][line - 1]
    advice = "Lists and texts need their closing bracket or quote; texts stand in straight quotes."
    if before == "Cannot overwrite a value":
        before, advice = "a key stands twice in one block", "Take one of them out, or begin another [[grant]] above it."
    if re.search(r"=\s*\d+-\d+-\d+", text):
        advice = "A date is written with all its digits and has to be one of the calendar: 2027-06-30."
    if any(c in text for c in "“”‘’，＝［］"):
        advice = 'Quotes, commas and brackets must be the half-width ones: " , = [ ]'
    return _invalid(line, f"this is not TOML: {before or said}.", advice)


def _close(word: str, known: Iterable[str]) -> str:
    near = get_close_matches(word, list(known), n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


def _meant(word: str, known: Iterable[str], where: str) -> str:
    near = get_close_matches(word, list(known), n=1)
    return (f"Did you mean {near[0]}? " if near else "") + f"Known {where}: {', '.join(known)}."
