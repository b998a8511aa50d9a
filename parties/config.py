"""A member's settings, ``member.toml``: strict, every mistake named with file and key; and which folder is whose.

``template`` writes the file with every setting in it, those left at their default as comments.
"""

from __future__ import annotations

import difflib
import json
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mpc.errors import LocalError
from parties import files

#: a frame of 1 MiB and its header: what members send each other at most in one message
MESSAGE_BYTES = (1 << 20) + (64 << 10)


class MemberConfig(BaseModel):
    """What an operator can set. Times are seconds, sizes bytes."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    name: str = Field(min_length=1, description="the member's name in the roster")
    listen: str = Field(
        default="",
        pattern=r"^(.+:[0-9]{1,5})?$",
        description="HOST:PORT to serve at; empty for members that serve nothing",
    )
    metrics: str = Field(
        default="",
        pattern=r"^(.+:[0-9]{1,5})?$",
        description="HOST:PORT to show counters at (Prometheus, plain HTTP: on loopback); empty for nowhere",
    )
    console: str = Field(
        default="",
        pattern=r"^(.+:[0-9]{1,5})?$",
        description="HOST:PORT of the operator's console (HTTPS: on loopback); empty for none",
    )
    log_address: str = Field(
        default="",
        pattern=r"^(.+:[0-9]{1,5})?$",
        description="HOST:PORT to show this member's log at (HTTPS, static files, no login); empty for nowhere",
    )
    webhook: str = Field(
        default="",
        pattern=r"^(https://[^\s/@?#]+([/?][^\s#]*)?|http://(localhost|127\.0\.0\.1|\[::1\])(:[0-9]{1,5})?([/?][^\s#]*)?)?$",
        description="https:// address (http:// on loopback) told when a job waits, runs, ends; empty for none",
    )
    max_jobs: int = Field(default=16, ge=1, description="jobs under way at once")
    max_cells: int = Field(default=1_000_000, ge=1, description="cells times measures of one job")
    max_join_bytes: int = Field(
        default=4 << 30, ge=1, description="memory that a join may be expected to take, beside the tables"
    )
    proposal_seconds: float = Field(default=30, gt=0, description="to answer a proposal")
    step_seconds: float = Field(default=300, gt=0, description="to wait for one peer at one step")
    reconnect_seconds: float = Field(default=10, gt=0, description="to go on trying after a connection broke")
    job_seconds: float = Field(default=3600, gt=0, description="the longest an attempt may take (coordinator)")
    memory_limit: str = Field(
        default="4GB",
        pattern=r"^[0-9]+(\.[0-9]+)? ?[KMGT]i?B$",
        description="of local queries (DuckDB's memory_limit), such as 512MB or 4GB",
    )
    threads: int = Field(
        default=2, ge=1, le=1024, description="of local queries, and processes of joins without a helper"
    )
    release_ledger: bool = Field(
        default=True, description="to hide cells whose entities differ by few from those of earlier releases"
    )
    release_ledger_bytes: int = Field(
        default=8 << 30, ge=0, description="of the release ledger; a job that needs more fails before it sends anything"
    )
    compared_releases: int = Field(
        default=32,
        ge=0,
        description="that a number of a join is compared with at most, inside the computation; 0: with none",
    )
    retain_days: int = Field(
        default=30,
        ge=0,
        le=36500,
        description="to keep seeds, inputs and heard messages, encrypted, for replay; 0: none",
    )
    retain_bytes: int = Field(
        default=64 << 20,
        ge=0,
        description="of input and heard messages kept of one attempt; of larger ones the seed only",
    )
    tsa: str = Field(
        default="",
        pattern=r"^(https?://\S+)?$",
        description="URL of an RFC 3161 timestamp authority for this member's log; empty for none",
    )
    tsa_certificate: str = Field(
        default="tsa.pem", min_length=1, description="file with the root certificate of that authority (PEM)"
    )
    deposit_seconds: float = Field(
        default=60, ge=0, description="between two looks for deposits to make or totals to receive; 0: only by hand"
    )
    noise_days: int = Field(
        default=1,
        ge=0,
        le=36500,
        description="to keep the seeds of noise, encrypted, for replay of jobs with --epsilon",
    )
    cache_bytes: int = Field(default=1 << 30, ge=0, description="of tables kept in memory between jobs")


def load_config(folder: Path) -> MemberConfig:
    """Read ``folder``/member.toml. Raises LocalError config.missing, config.invalid."""
    path = folder / "member.toml"
    if not path.exists():
        raise LocalError(
            "config.missing",
            f"{folder} is no member's folder: it has no member.toml.",
            "Make one with `heji node init` or `heji consortium init`.",
        )
    try:
        return MemberConfig(**tomllib.loads(files.read(path, "the settings").decode()))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as problem:
        raise LocalError("config.invalid", f"{path} is not TOML: {problem}.", "Mend that line.") from problem
    except ValidationError as problem:
        raise _mistake(path, problem) from None


def template(name: str, listen: str) -> str:
    """A new member.toml: name and address, and all other settings as comments with their defaults."""
    lines = ["# Settings of this member. Times are seconds, sizes bytes. Read at the next start.", ""]
    for key, setting in MemberConfig.model_fields.items():
        value = {"name": name, "listen": listen}.get(key, setting.default)
        shown = json.dumps(value) if isinstance(value, str | bool) else f"{value}"
        line = f"{'' if value != setting.default else '# '}{key} = {shown}"
        lines.append(f"{line:<34}  # {setting.description}")
    return "\n".join(lines) + "\n"


def find_member_dir(consortium: Path, name: str) -> Path:
    """``consortium``/``name``, or ``consortium`` itself if it is that member's. Raises LocalError config.missing."""
    return locate(consortium, name, (), {})


def locate(consortium: Path | None, as_: str | None, to: tuple[str, ...], environ: Mapping[str, str]) -> Path:
    """The folder of the member whose identity is to be used.

    ``consortium``, else $HEJI_CONSORTIUM, else the current folder: a folder of member folders, or one member's own.
    ``as_``, else the first recipient in ``to`` whose keys lie there, else (with no recipient in ``to``) the only member
    whose keys lie there, else the only one of them that serves nothing: in a practice consortium, the modeler.
    Raises LocalError config.missing.
    """
    base = consortium or Path(environ.get("HEJI_CONSORTIUM") or ".")
    if (base / "member.toml").exists():
        own = load_config(base).name
        if as_ not in (None, own):
            raise LocalError(
                "config.missing",
                f"{base} is {own}'s folder, not {as_}'s.",
                f"Leave --as out, or say where {as_}'s keys are with --consortium DIR.",
            )
        return base
    here = sorted(p.parent.name for p in base.glob("*/member.toml"))
    if not here:
        what = "holds no member's folder" if base.is_dir() else "does not exist"
        raise LocalError(
            "config.missing",
            f"{base.resolve()} {what}.",
            "Say where the keys are with --consortium DIR or $HEJI_CONSORTIUM.",
        )
    if as_ is not None:
        if as_ not in here:
            near = difflib.get_close_matches(as_, here, 1)
            raise LocalError(
                "config.missing",
                f"The keys of {as_} are not in {base}; there are those of {', '.join(here)}.",
                f"Did you mean {near[0]}?" if near else "Use one of these names with --as.",
            )
        return base / as_
    chosen = [r for r in to if r in here] or (here if len(here) == 1 else [])
    if not chosen and not to:
        asking = [name for name in here if not load_config(base / name).listen]
        chosen = asking if len(asking) == 1 else []
    if not chosen:
        told = f"The keys of {' and '.join(to)} are not in {base}. " if to else ""
        near = [n for r in to for n in difflib.get_close_matches(r, here, 1)]
        raise LocalError(
            "config.missing",
            f"{told}Whose identity should be used?",
            (f"Did you mean --to {near[0]}? Or add" if near else "Add") + f" --as NAME, one of {', '.join(here)}.",
        )
    return base / chosen[0]


def _mistake(path: Path, problem: ValidationError) -> LocalError:
    """The first mistake, with what to write instead."""
    first = problem.errors(include_url=False, include_input=False)[0]
    key = ".".join(map(str, first["loc"]))
    if first["type"] == "extra_forbidden":
        near = difflib.get_close_matches(key, MemberConfig.model_fields, 1)
        advice = f"Did you mean {near[0]}?" if near else f"Settings are {', '.join(MemberConfig.model_fields)}."
        return LocalError("config.invalid", f"{path}: there is no setting {key}.", advice)
    setting = MemberConfig.model_fields[key]
    what = re.sub(r"^Input should", "it should", first["msg"])
    example = "" if setting.is_required() else f" By default: {key} = {json.dumps(setting.default)}."
    return LocalError("config.invalid", f"{path}: {key}: {what}.", f"It is: {setting.description}.{example}")
