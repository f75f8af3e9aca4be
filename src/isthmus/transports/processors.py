"""How many processors this process may use: those it is bound to, or what its control groups grant."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

_MOUNTS = Path("/proc/self/mountinfo")
_GROUPS = Path("/proc/self/cgroup")


def processors(mounts: Path = _MOUNTS, groups: Path = _GROUPS) -> float:
    """Return the least of all that limits it; a container with a quota of half a processor has 0.5.

    `mounts` and `groups` are files as the kernel shows them (proc(5), cgroups(7)). What cannot be
    read limits nothing.
    """
    bound = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min([bound, *_quotas(mounts, groups)])


def _quotas(mounts: Path, groups: Path) -> Iterator[float]:
    """Yield the quota of each control group that has one, in processors."""
    try:
        of_process = [line.split(":", 2) for line in groups.read_text().splitlines()]
        mounted = [line.split() for line in mounts.read_text().splitlines()]
    except OSError:
        return  # no Linux, or nothing to see: nothing is known to be rationed
    for words in mounted:
        kind, options = words[words.index("-") + 1], words[-1].split(",")
        if kind != "cgroup2" and not (kind == "cgroup" and "cpu" in options):
            continue
        for number, controllers, path in of_process:
            if number == "0" if kind == "cgroup2" else "cpu" in controllers.split(","):
                root = Path(words[4])
                group = root / path.lstrip("/")
                for folder in (group, *group.parents):
                    yield from _quota(folder)
                    if folder == root:
                        break


def _quota(folder: Path) -> Iterator[float]:
    try:
        if (folder / "cpu.max").exists():
            quota, period = (folder / "cpu.max").read_text().split()
        else:
            quota = (folder / "cpu.cfs_quota_us").read_text().strip()
            period = (folder / "cpu.cfs_period_us").read_text().strip()
        if quota.isdigit() and int(period) > 0:  # else it is "max", or -1
            yield int(quota) / int(period)
    except (OSError, ValueError):
        return  # this group grants what the one above it does
