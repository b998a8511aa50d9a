"""Memory of a process that moves many megabyte blocks: freed blocks are kept for the next one.

glibc gives memory at the end of a heap back to the kernel as soon as 2 MiB of it are free, and gets it back zeroed,
page by page: with blocks of 1 MiB coming and going that took a sixth of all processor time of a secure sum.
"""

from __future__ import annotations

import ctypes
import platform

# mallopt(3)
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
#: blocks up to 32 MiB come from the heap (glibc's largest); up to 256 MiB of freed heap are kept
_FROM_HEAP, _KEPT = 32 << 20, 256 << 20


def keep_freed_blocks() -> None:
    """Call once, early in a server. Does nothing where the allocator is not glibc's."""
    if platform.libc_ver()[0] == "glibc":
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_MMAP_THRESHOLD, _FROM_HEAP)
        mallopt(_TRIM_THRESHOLD, _KEPT)
