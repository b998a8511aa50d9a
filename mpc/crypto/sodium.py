"""libsodium, as rbcl brings it along: the only place that imports it."""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import os
from collections.abc import Callable
from functools import cache
from typing import Any


@cache
def library() -> Any:
    """The library, loaded when a point is first needed: it writes libsodium to a temporary file, loads that, and leaves
    it behind. What is loaded stays loaded without the file."""
    library = importlib.import_module("rbcl")
    with contextlib.suppress(OSError):  # systems that keep loaded files
        os.unlink(importlib.import_module("rbcl._sodium").lib_path)
    return library


@cache
def verify_ed25519() -> Callable[[bytes, bytes, int, bytes], int] | None:
    """crypto_sign_ed25519_verify_detached (signature, message, its length, public key) -> 0 if it verifies. rbcl wraps
    it not, so it is looked up; None where the library lacks it."""
    try:
        found = library()._sodium["crypto_sign_ed25519_verify_detached"]
    except (AttributeError, TypeError):
        return None
    found.argtypes = [ctypes.c_char_p, ctypes.c_char_p, ctypes.c_ulonglong, ctypes.c_char_p]
    found.restype = ctypes.c_int
    verify: Callable[[bytes, bytes, int, bytes], int] = found
    return verify
