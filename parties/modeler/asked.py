"""What a modeler asks for, and what it has in hand once that is handed in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from mpc.errors import LocalError

NONE: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True)
class Submitted:
    """A job on its way."""

    id: str
    recipients: tuple[str, ...]


@dataclass(frozen=True)
class Asked:
    """What a modeler asks for besides the SQL; named as in ``Job``."""

    purpose: str = ""
    trust: str = "helper"
    allow_two_party: bool = False
    verified: bool = False
    epsilon: str = ""
    entity_rows: int = 1
    parameters: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.entity_rows != 1 and not self.epsilon:
            raise LocalError(
                "plan.noise",
                "--entity-rows is for numbers with noise: exact ones leave no row out.",
                "Add --epsilon, or leave it out.",
            )

    @property
    def planned(self) -> dict[str, Any]:
        """What the plan depends on."""
        return {k: getattr(self, k) for k in ("trust", "verified", "parameters", "epsilon", "entity_rows")}
