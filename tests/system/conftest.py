"""Fixtures of the system tests. Every test here is marked `system`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.system.certificates import Authority
from tests.system.network import Network, whitepaper_network
from tests.system.pair import Processes
from tests.system.requirements import Requirements

_HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if _HERE in item.path.parents:
            item.add_marker(pytest.mark.system)


@pytest.fixture(scope="session")
def need(pytestconfig: pytest.Config) -> Requirements:
    """What the machine must have for a test."""
    return Requirements(pytestconfig)


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """A certificate authority that only these tests believe."""
    return Authority(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def processes() -> Iterator[Processes]:
    """Start processes for one test; all are ended after it, and gateways must have said proper lines only."""
    with Processes() as started:
        yield started


@pytest.fixture(scope="module")
def lasting() -> Iterator[Processes]:
    """Like `processes`, for all tests of a file."""
    with Processes() as started:
        yield started


@pytest.fixture
def network(need: Requirements) -> Iterator[Network]:
    """The network of the whitepaper, in namespaces."""
    need.root()
    for program in ("ip", "nft", "sysctl"):
        need.program(program)
    with whitepaper_network() as made:
        yield made
