"""A member's settings, ``member.toml``: strict, every mistake named with file and key."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mpc.errors import LocalError
from parties import files


class MemberConfig(BaseModel):
    """What an operator can set. Times are seconds, sizes bytes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(description="the member's name in the roster")
    listen: str = Field(default="", description="HOST:PORT to serve at; empty for members that serve nothing")
    max_jobs: int = Field(default=16, ge=1, description="jobs under way at once")
    max_cells: int = Field(default=1_000_000, ge=1, description="cells times measures of one job")
    proposal_seconds: float = Field(default=30, gt=0, description="to answer a proposal")
    step_seconds: float = Field(default=300, gt=0, description="to wait for one peer at one step")
    reconnect_seconds: float = Field(default=10, gt=0, description="to go on trying after a connection broke")
    job_seconds: float = Field(default=3600, gt=0, description="the longest an attempt may take (coordinator)")
    memory_limit: str = Field(default="4GB", description="of local queries (DuckDB's memory_limit)")
    threads: int = Field(default=2, ge=1, description="of local queries")
    cache_bytes: int = Field(default=1 << 30, ge=0, description="of tables kept in memory between jobs")


def load_config(folder: Path) -> MemberConfig:
    """Read ``folder``/member.toml. Raises LocalError config.missing, config.invalid."""
    path = folder / "member.toml"
    if not path.exists():
        raise LocalError("config.missing", f"{folder} is no member's folder: it has no member.toml.",
                         "Make one with `heji node init` or `heji consortium init`.")  # fmt: skip
    try:
        return MemberConfig(**tomllib.loads(files.read(path, "the settings").decode()))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as problem:
        raise LocalError("config.invalid", f"{path} is not TOML: {problem}.") from problem
    except ValidationError as problem:
        first = problem.errors()[0]
        key = ".".join(map(str, first["loc"]))
        known = ", ".join(MemberConfig.model_fields)
        raise LocalError("config.invalid", f"{path}: {key}: {first['msg']}.", f"Settings are {known}.") from None


def locate(consortium: Path | None, as_: str | None, to: tuple[str, ...], environ: Mapping[str, str]) -> Path:
    """The folder of the member whose identity is to be used.

    ``consortium``, else $HEJI_CONSORTIUM, else the current folder: a folder of member folders, or one member's own.
    ``as_``, else the first recipient in ``to`` whose keys lie there, else the only member whose keys lie there.
    """
    base = consortium or Path(environ.get("HEJI_CONSORTIUM") or ".")
    if (base / "member.toml").exists():
        own = load_config(base).name
        if as_ not in (None, own):
            raise LocalError("config.missing", f"{base} is {own}'s folder, not {as_}'s.")
        return base
    here = sorted(p.parent.name for p in base.glob("*/keys/identity.pem"))
    if not here:
        raise LocalError("config.missing", f"{base.resolve()} holds no member's keys.",
                         "Say where they are with --consortium DIR or $HEJI_CONSORTIUM.")  # fmt: skip
    if as_ is not None:
        if as_ not in here:
            raise LocalError("config.missing", f"The keys of {as_} are not in {base}; there are those of {', '.join(here)}.")
        return base / as_
    chosen = [r for r in to if r in here] or (here if len(here) == 1 else [])
    if not chosen:
        raise LocalError("config.missing", "Whose identity should be used?", f"Add --as NAME, one of {', '.join(here)}.")
    return base / chosen[0]
