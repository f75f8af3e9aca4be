from __future__ import annotations

import pytest

from isthmus.config.bind import Bind
from isthmus.errors import UriError


@pytest.mark.parametrize(
    ("text", "bind", "shown"),
    [
        ("8050", Bind("0.0.0.0", 8050), "0.0.0.0:8050"),
        (" 0 ", Bind("0.0.0.0", 0), "0.0.0.0:0"),
        ("10.0.0.1:8050", Bind("10.0.0.1", 8050), "10.0.0.1:8050"),
        ("Gateway.example.com:1", Bind("gateway.example.com", 1), "gateway.example.com:1"),
        ("[::]:8050", Bind("::", 8050), "[::]:8050"),
    ],
)
def test_a_bind(text: str, bind: Bind, shown: str) -> None:
    assert Bind.parse(text) == bind
    assert str(bind) == shown
    assert Bind.parse(shown) == bind


@pytest.mark.parametrize("text", ["", "x", "70000", "9" * 5000, "a:b", ":80", "[::1]", "@eth0:80", "٨٠"])
def test_what_is_not_a_bind(text: str) -> None:
    with pytest.raises(UriError):
        Bind.parse(text)
