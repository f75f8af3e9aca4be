"""What `isthmus version` tells of the installation."""

from __future__ import annotations

import platform

from isthmus import __version__
from isthmus.installation import described
from isthmus.websocket import frames


def test_it_names_what_a_report_of_a_fault_needs() -> None:
    told = dict(described())
    assert told["isthmus"] == __version__
    assert platform.python_version() in told["Python"]
    assert told["inner loops"].startswith("not compiled" if frames.__file__.endswith(".py") else "compiled")
    assert told["OpenSSL"].count("OpenSSL") >= 2
    assert set(told) == {"isthmus", "inner loops", "Python", "event loop", "aiofastnet", "OpenSSL"}
