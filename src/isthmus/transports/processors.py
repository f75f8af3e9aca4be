"""How many processors this process may use: those it is bound to, or what its control groups grant."""

from __future__ import annotations

import os
import re
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
        of_process = re.findall(r"^(\d+):(.*?):/(.*)$", groups.read_text(), re.M)
        mounted = re.findall(r"^\S+ \S+ \S+ \S+ (\S+) .* - (cgroup2?) \S+ (\S+)$", mounts.read_text(), re.M)
    except OSError:
        return  # no Linux, or nothing to see: nothing is known to be rationed
    for place, kind, options in mounted:
        for number, controllers, path in of_process:
            second = kind == "cgroup2" and number == "0"
            first = kind == "cgroup" and "cpu" in options.split(",") and "cpu" in controllers.split(",")
            if second or first:
                root = Path(place)
                group = root / path
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
