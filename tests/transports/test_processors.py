"""How many processors a process may use, as the kernel's files tell it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from isthmus.transports.processors import processors

BOUND = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
LITTLE = 0.25  # less than any machine is bound to


class Machine:
    """The files of a kernel, below `root`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.mounts = root / "mountinfo"
        self.groups = root / "cgroup"

    def has(self, *, mounts: str, groups: str, **files: str) -> Machine:
        self.mounts.write_text(mounts.replace("@", str(self.root)))
        self.groups.write_text(groups)
        for name, text in files.items():
            path = self.root / name.replace("__", "/").replace("_DOT_", ".")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return self

    def processors(self) -> float:
        return processors(self.mounts, self.groups)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


SECOND = "29 23 0:26 / @/two rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"
FIRST = "33 32 0:28 / @/cpu rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct\n"
OTHER = "31 30 0:27 / @/memory rw - cgroup cgroup rw,memory\n22 1 8:1 / / rw - ext4 /dev/sda1 rw\n"


def test_this_machine() -> None:
    assert 0 < processors() <= BOUND


def test_nothing_to_read_limits_nothing(machine: Machine) -> None:
    assert machine.processors() == BOUND


def test_a_quota_of_a_container(machine: Machine) -> None:
    machine.has(mounts=OTHER + SECOND, groups="0::/\n", two__cpu_DOT_max="25000 100000\n")
    assert machine.processors() == LITTLE


def test_no_quota(machine: Machine) -> None:
    machine.has(mounts=SECOND, groups="0::/a/b\n", two__a__b__cpu_DOT_max="max 100000\n")
    assert machine.processors() == BOUND


def test_a_quota_of_a_group_above(machine: Machine) -> None:
    machine.has(
        mounts=SECOND,
        groups="0::/a/b/c\n",
        two__a__cpu_DOT_max="25000 100000",
        two__a__b__cpu_DOT_max="50000 100000",
        two__a__b__c__cpu_DOT_max="max 100000",
    )
    assert machine.processors() == LITTLE


def test_a_group_that_is_not_seen_from_inside(machine: Machine) -> None:
    machine.has(mounts=SECOND, groups="0::/docker/c0ffee\n", two__cpu_DOT_max="25000 100000")
    assert machine.processors() == LITTLE


def test_the_first_version_of_control_groups(machine: Machine) -> None:
    machine.has(
        mounts=OTHER + FIRST,
        groups="3:memory:/m\n2:cpu,cpuacct:/pod\n0::/\n",
        cpu__cpu_DOT_cfs_quota_us="-1\n",
        cpu__cpu_DOT_cfs_period_us="100000\n",
        cpu__pod__cpu_DOT_cfs_quota_us="25000\n",
        cpu__pod__cpu_DOT_cfs_period_us="100000\n",
    )
    assert machine.processors() == LITTLE


@pytest.mark.parametrize("quota", ["many\n", "", "0 0\n", "1000 0\n", "1 2 3\n"])
def test_what_makes_no_sense_limits_nothing(machine: Machine, quota: str) -> None:
    machine.has(mounts="\n- -\n" + SECOND, groups="\n0:\nx\n0::/\n", two__cpu_DOT_max=quota)
    assert machine.processors() == BOUND
