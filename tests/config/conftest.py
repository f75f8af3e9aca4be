"""Shared by the tests of configuration: write a file, read it, look at the problems."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from isthmus.config import Loaded, load
from isthmus.errors import ConfigurationError

NAMESPACE = "http://xmlns.kaazing.org/2016/06/gateway"

Problems = Callable[..., list[str]]
Load = Callable[..., Loaded]


@pytest.fixture
def load_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Load:
    """Write a text to a file and load it. The file is relative, so that messages are the same everywhere."""
    monkeypatch.chdir(tmp_path)

    def run(
        text: str | bytes, name: str = "gateway.xml", settings: Mapping[str, str] | None = None
    ) -> Loaded:
        Path(name).write_bytes(text if isinstance(text, bytes) else text.encode())
        return load(Path(name), settings)

    return run


@pytest.fixture
def problems_of(load_text: Load) -> Problems:
    """Load a text that is wrong and return its problems as they are shown."""

    def run(
        text: str | bytes, name: str = "gateway.xml", settings: Mapping[str, str] | None = None
    ) -> list[str]:
        with pytest.raises(ConfigurationError) as caught:
            load_text(text, name, settings)
        return [str(problem) for problem in caught.value.problems]

    return run


def gateway(*lines: str) -> str:
    """Return a configuration with `lines` inside; the first of them is line 2 of the file."""
    return "\n".join([f'<gateway-config xmlns="{NAMESPACE}">', *lines, "</gateway-config>"])


def proxy(*lines: str, accept: str = "tcp://localhost:1", connect: str = "ws://localhost:2/") -> str:
    """Return a proxy service on one line, with `lines` inside."""
    address = f"<accept>{accept}</accept><type>proxy</type><connect>{connect}</connect>"
    return f"<service>{address}{''.join(lines)}</service>"


PROXY = proxy()
