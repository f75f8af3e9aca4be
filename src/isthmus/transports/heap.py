"""What the allocator does with memory that is freed: keeps a little of it for the next read.

What is read for a transport that keeps it goes into bytes of up to 512 KiB, freed when they have arrived. glibc
would give each back to the kernel and fetch it again for the next, a page fault for every 4 KiB: measured, a
seventh of the time of a copy. There is a setting for that only in glibc (mallopt(3)), and only compiled code
reaches it here; elsewhere nothing changes.
"""

from __future__ import annotations

import os

MAP_FROM = 4 * 1024 * 1024
"""From this size in bytes on, memory is the kernel's own and goes back to it at once."""
TRIM_FROM = 16 * 1024 * 1024
"""So much freed memory is kept at most."""


def keep_freed() -> bool:
    """Keep up to 16 MiB of freed memory in this process. Return whether that could be set."""
    if os.environ.get("ISTHMUS_PURE") == "1":
        return False
    try:
        from isthmus.transports import _heap
    except ImportError:
        return False
    return _heap.keep_freed(MAP_FROM, TRIM_FROM)
