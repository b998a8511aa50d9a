"""What a question is asked with: its SQL, its options, and the identity it is asked under."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, TypedDict

from cyclopts import Parameter

from mpc.errors import LocalError
from parties.config import locate
from parties.modeler.client import Client


class Options(TypedDict):
    """What a client is asked with, besides SQL and recipients."""

    purpose: str
    trust: str
    allow_two_party: bool
    parameters: Mapping[str, str]
    epsilon: str
    entity_rows: int


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Question:
    """The options that every command with a query takes."""

    file: Annotated[Path | None, Parameter(name=["--file", "-f"], help="read the SQL from a file")] = None
    to: Annotated[tuple[str, ...], Parameter(negative="", help="recipient of the result (may repeat)")] = ()
    purpose: Annotated[str, Parameter(help="what the result is for; owners grant purposes")] = ""
    trust: Annotated[Literal["helper", "parties"], Parameter(help="the weakest trust level you accept")] = "helper"
    allow_two_party: Annotated[
        bool, Parameter(negative="", help="two parties and a total for one of them: it learns the other's input")
    ] = False
    param: Annotated[
        tuple[str, ...], Parameter(negative="", help="NAME=VALUE of a $NAME in the query (may repeat)")
    ] = ()
    epsilon: Annotated[
        str, Parameter(help="numbers with noise: the privacy loss, such as 0.5; the smaller, the more noise")
    ] = ""
    entity_rows: Annotated[int, Parameter(help="with --epsilon: how many rows of one entity count at most")] = 1

    @property
    def options(self) -> Options:
        """Raises LocalError config.invalid."""
        return {
            "purpose": self.purpose,
            "trust": self.trust,
            "allow_two_party": self.allow_two_party,
            "parameters": parameters(self.param),
            "epsilon": self.epsilon,
            "entity_rows": self.entity_rows,
        }


#: a question without options
NO_OPTIONS = Question()

Verified = Annotated[
    bool, Parameter(negative="", help="verify that totals are of what the parties bound themselves to beforehand")
]


def client(consortium: Path | None, as_: str | None, to: tuple[str, ...] = ()) -> Client:
    """A client under the right identity: ``--as``, else a recipient whose keys lie there."""
    return Client(locate(consortium, as_, to, os.environ))


def sql_text(sql: str | None, file: Path | None) -> str:
    """The SQL from the argument, a file, or standard input (``-``)."""
    if (sql is None) == (file is None):
        raise LocalError("config.missing", "Give the SQL once: as argument, with -f FILE, or - for standard input.")
    try:
        if file is not None:
            return file.read_text(encoding="utf-8-sig")
        return sys.stdin.buffer.read().decode("utf-8-sig") if sql == "-" else str(sql)
    except UnicodeDecodeError as problem:
        raise LocalError(
            "config.invalid", f"The SQL in {file or 'standard input'} is not UTF-8.", "Save it as UTF-8."
        ) from problem


def parameters(given: Sequence[str]) -> dict[str, str]:
    """NAME=VALUE as a mapping. Raises LocalError config.invalid."""
    found: dict[str, str] = {}
    for one in given:
        name, equals, value = one.partition("=")
        if not equals or name in found:
            raise LocalError("config.invalid", f"--param {one}: NAME=VALUE is expected, each name once.")
        found[name] = value
    return found
