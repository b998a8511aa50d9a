"""standing.toml: approvals given beforehand, for one query whose parameters come from a declared set.

    version = 1                                  # optional
    [[standing]]
    name = "monthly"
    sql = '''SELECT … WHERE month = $month'''    # exactly this query
    to = ["analyst"]                             # exactly these recipients
    purpose = "monthly statistics"               # exactly this purpose
    parameters = { month = { from = "2026-01", to = "2026-12" } }     # a list of texts, or months
    runs = 1                                     # so many jobs …
    per = "month"                                # … a day, month or year (UTC), or "all" together
    expires = 2027-06-30                         # that day is included

It replaces a person's word and no grant: policy.toml is asked as ever. What is left out besides (``from``, ``trust``,
``verified``, ``allow_two_party``, ``epsilon``, ``entity_rows``) has the value that a job has by default, and whatever
else a job may ask for must be as it is by default, so that a new option of jobs is covered by nobody's earlier word. A
deposit job (``deposit``) is covered by none.
"""

from __future__ import annotations

import datetime as dt
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields
from decimal import Decimal
from types import MappingProxyType
from typing import Any, Literal, get_args

import rfc8785

from mpc.crypto.labels import digest
from mpc.errors import LocalError
from mpc.job import MOST_ENTITY_ROWS, Job, epsilon_of
from mpc.policy.toml_lines import lines_of
from mpc.query.parameters import LONGEST, names_of

VERSION = 1
Period = Literal["day", "month", "year", "all"]
#: months of one range
MOST_MONTHS = 600
#: what may differ from job to job
_FREE = frozenset({"submitter", "roster", "catalogs", "nonce", "created", "expires", "recipient_keys", "planner"})
#: what a standing approval says of a job, and what it may say
_COMPARED = frozenset({"sql", "parameters", "recipients", "purpose"})
_OPTIONS = ("trust", "allow_two_party", "verified", "epsilon", "entity_rows")


@dataclass(frozen=True)
class Standing:
    """One ``[[standing]]``. ``parameters``: name -> the values it may have. ``submitters``: who may ask; none named:
    the recipients. ``options``: of the job, where they are not its defaults."""

    name: str
    sql: str
    recipients: tuple[str, ...]
    purpose: str
    parameters: Mapping[str, tuple[str, ...]]
    runs: int
    per: Period
    expires: dt.date
    submitters: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)

    def told(self) -> dict[str, Any]:
        """All it says, JSON-able."""
        return {
            "name": self.name,
            "sql": self.sql,
            "to": sorted(self.recipients),
            "purpose": self.purpose,
            "parameters": {k: list(v) for k, v in self.parameters.items()},
            "runs": self.runs,
            "per": self.per,
            "expires": self.expires.isoformat(),
            "from": sorted(self.submitters),
            "options": dict(self.options),
        }

    @property
    def conditions(self) -> tuple[str, ...]:
        """Beside query, recipients and purpose: who may ask if not they, and what is not as a job has it by default."""
        asking = (f"from = {', '.join(sorted(self.submitters))}",) if self.submitters else ()
        return (*asking, *(f"{k} = {str(v).lower()}" for k, v in self.options.items()))

    def digest(self) -> str:
        """SHA-256 under a label, of all it says."""
        return digest("standing", rfc8785.dumps(self.told())).hex()

    def fits(self, job: Job, today: dt.date) -> bool:
        """Whether it is about such a job; whether its query is the job's, their plans say."""
        return (
            set(job.recipients) == set(self.recipients)
            and job.submitter in (self.submitters or self.recipients)
            and job.purpose == self.purpose
            and today <= self.expires
            and job.parameters.keys() == self.parameters.keys()
            and all(v in self.parameters[k] for k, v in job.parameters.items())
            and all(getattr(job, f.name) == self.options.get(f.name, _default(f)) for f in fields(Job) if _is_option(f))
        )

    def period(self, day: dt.date) -> str:
        """The period that a day is in, over which ``runs`` counts."""
        return day.isoformat()[: {"day": 10, "month": 7, "year": 4, "all": 0}[self.per]]


def parse_standing(text: str) -> tuple[Standing, ...]:
    """Read standing.toml. Raises LocalError policy.invalid with ``line`` among the facts."""
    source = text.removeprefix("\ufeff").replace("\r\n", "\n")
    try:
        document = tomllib.loads(source, parse_float=Decimal)
    except tomllib.TOMLDecodeError as problem:
        raise _invalid(0, f"this is not TOML: {problem}.") from problem
    lines = lines_of(source, "standing")
    for key in document:
        if key not in ("version", "standing"):
            raise _invalid(lines.top[key], f"{key!r} is not known here.")
    if document.get("version", VERSION) != VERSION or type(document.get("version", VERSION)) is not int:
        raise _invalid(lines.top["version"], "this program reads version 1.")
    blocks = document.get("standing", [])
    if not isinstance(blocks, list) or len(blocks) != len(lines.headers):
        raise _invalid(lines.top["standing"], "each stands in a block [[standing]] of its own.")
    found = [_standing(b, lines.headers[n], lines.keys[n]) for n, b in enumerate(blocks)]
    names = [s.name for s in found]
    for n, name in enumerate(names):
        if name in names[:n]:
            raise _invalid(lines.headers[n], f"two are called {name!r}.")
    return tuple(found)


def _standing(block: Mapping[str, Any], header: int, lines: Mapping[str, int]) -> Standing:
    given: dict[str, Any] = {}
    for key, value in block.items():
        if key not in _READERS:
            raise _invalid(lines[key], f"there is no key {key!r}. Known: {', '.join(_READERS)}.")
        try:
            given[key] = _READERS[key](value)
        except _Wrong as wrong:
            raise _invalid(lines[key], f"{key}: {wrong}") from None
    for key in ("name", "sql", "to", "purpose", "runs", "per", "expires"):
        if key not in given:
            raise _invalid(header, f"{key} is missing.")
    parameters = given.get("parameters", {})
    try:
        wanted = names_of(given["sql"])
    except LocalError as problem:
        raise _invalid(lines["sql"], problem.message) from None
    if wanted != set(parameters):
        both = sorted(wanted ^ set(parameters))
        raise _invalid(header, f"sql and parameters do not go together: {', '.join('$' + n for n in both)}.")
    options = {k: given[k] for k in _OPTIONS if k in given and given[k] != _default_of(k)}
    if "entity_rows" in options and "epsilon" not in options:
        raise _invalid(
            lines["entity_rows"], "entity_rows goes with epsilon: without noise all rows of an entity count."
        )
    return Standing(
        given["name"],
        given["sql"],
        given["to"],
        given["purpose"],
        parameters,
        given["runs"],
        given["per"],
        given["expires"],
        given.get("from", ()),
        options,
    )


def _is_option(f: Field[Any]) -> bool:
    return f.name not in _FREE | _COMPARED


def _default(f: Field[Any]) -> Any:
    return f.default_factory() if f.default_factory is not MISSING else f.default


def _default_of(name: str) -> Any:
    return next(_default(f) for f in fields(Job) if f.name == name)


# ---- one reader a key


class _Wrong(Exception):
    """What is wrong with a value."""


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise _Wrong("a text is expected.")
    return value


def _texts(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not value or not all(isinstance(v, str) for v in value):
        raise _Wrong("a list of texts is expected.")
    if len(set(value)) < len(value) or any(len(v) > LONGEST for v in value):
        raise _Wrong(f"each stands once, and has at most {LONGEST} characters.")
    return tuple(value)


def _parameters(value: Any) -> dict[str, tuple[str, ...]]:
    if not isinstance(value, dict):
        raise _Wrong('a table is expected, such as { month = ["2026-10", "2026-11"] }.')
    return {name: _months(v) if isinstance(v, dict) else _texts(v) for name, v in value.items()}


def _months(value: Mapping[str, Any]) -> tuple[str, ...]:
    """``{ from = "2026-01", to = "2026-12" }``: these months and all between."""
    try:
        if set(value) != {"from", "to"}:
            raise ValueError
        first, last = (dt.date.fromisoformat(f"{value[k]}-01") for k in ("from", "to"))
    except (ValueError, TypeError):
        raise _Wrong('months are written { from = "2026-01", to = "2026-12" }.') from None
    count = (last.year - first.year) * 12 + last.month - first.month + 1
    if not 1 <= count <= MOST_MONTHS:
        raise _Wrong(f"1 to {MOST_MONTHS} months are expected.")
    at = [first.year * 12 + first.month - 1 + i for i in range(count)]
    return tuple(f"{m // 12:04d}-{m % 12 + 1:02d}" for m in at)


def _runs(value: Any) -> int:
    if type(value) is not int or value < 1:
        raise _Wrong("a whole number of at least 1 is expected.")
    return value


def _one_of(*allowed: Any) -> Callable[[Any], Any]:
    def read(value: Any) -> Any:
        if not any(value == a and type(value) is type(a) for a in allowed):
            raise _Wrong(f"{' or '.join(str(a).lower() for a in allowed)} is expected.")
        return value

    return read


def _epsilon(value: Any) -> str:
    """In the one writing that jobs have: 0.50 is 0.5."""
    if type(value) not in (int, Decimal):
        raise _Wrong("a number without quotes is expected, such as 0.5.")
    text = f"{value:f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    try:
        epsilon_of(text)
    except ValueError as problem:
        raise _Wrong(f"{problem}.") from None
    return text


def _entity_rows(value: Any) -> int:
    if type(value) is not int or not 1 <= value <= MOST_ENTITY_ROWS:
        raise _Wrong(f"a whole number from 1 to {MOST_ENTITY_ROWS:,} is expected.")
    return value


def _day(value: Any) -> dt.date:
    if type(value) is not dt.date:
        raise _Wrong("a date without quotes is expected, such as 2027-06-30.")
    return value


_READERS: Mapping[str, Callable[[Any], Any]] = MappingProxyType(
    {
        "name": _text,
        "sql": _text,
        "to": _texts,
        "from": _texts,
        "purpose": _text,
        "parameters": _parameters,
        "runs": _runs,
        "per": _one_of(*get_args(Period)),
        "expires": _day,
        "trust": _one_of("helper", "parties"),
        "allow_two_party": _one_of(True, False),
        "verified": _one_of(True, False),
        "epsilon": _epsilon,
        "entity_rows": _entity_rows,
    }
)


def _invalid(line: int, what: str) -> LocalError:
    place = f"standing.toml, line {line}" if line else "standing.toml"
    return LocalError("policy.invalid", f"{place}: {what}", "docs/policy.md has an example.", line=line)
