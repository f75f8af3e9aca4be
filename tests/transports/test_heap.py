"""heap.py: freed memory is kept, where that can be set."""

from __future__ import annotations

import resource
import subprocess
import sys

import pytest

from isthmus.transports import heap

PROGRAM = """
import resource
from isthmus.transports import heap
if {keep}:
    assert heap.keep_freed()
for _ in range(200):
    piece = bytes(range(256)) * 2048
    other = piece + b"x"
    del piece, other
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)
"""


def faults(keep: bool) -> int:
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(keep=keep)], capture_output=True, text=True, check=True
    )
    return int(run.stdout)


def test_what_is_freed_is_used_again_without_page_faults() -> None:
    if not heap.keep_freed():
        pytest.skip("this allocator has no such setting, or isthmus is not compiled")
    assert faults(keep=True) < faults(keep=False) - 10_000


def test_it_may_be_asked_for_again() -> None:
    assert heap.keep_freed() is heap.keep_freed()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss > 0


def test_plain_code_leaves_the_allocator_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ISTHMUS_PURE", "1")
    assert heap.keep_freed() is False
