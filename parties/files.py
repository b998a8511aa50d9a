"""Files that are written whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

from mpc.errors import LocalError


def write(path: Path, content: bytes | str, mode: int = 0o644) -> None:
    """Write through a temporary file beside ``path``; on disk when it returns. Raises LocalError store.failed."""
    raw = content.encode() if isinstance(content, str) else content
    scratch = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
        with os.fdopen(descriptor, "wb") as file:
            file.write(raw)
            file.flush()
            os.fsync(file.fileno())
        os.replace(scratch, path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as problem:
        scratch.unlink(missing_ok=True)
        raise LocalError(
            "store.failed",
            f"{path} cannot be written: {problem.strerror}.",
            "Make room on the disk or mend its permissions.",
        ) from problem


def read(path: Path, what: str) -> bytes:
    """The file's bytes. Raises LocalError config.missing."""
    try:
        return path.read_bytes()
    except OSError as problem:
        raise LocalError("config.missing", f"{what} {path} cannot be read: {problem.strerror}.") from problem
