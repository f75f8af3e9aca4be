"""What runs here: this isthmus and what it stands on."""

from __future__ import annotations

import platform
import ssl
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as version_of

from isthmus import __version__
from isthmus.transports import epoll
from isthmus.websocket import frames


def described() -> Iterator[tuple[str, str]]:
    """Yield a name and a value for each part that a report of a fault should name."""

    def installed(package: str) -> str:
        try:
            return version_of(package)
        except PackageNotFoundError:
            return "not installed"

    compiled = not str(frames.__file__).endswith(".py")
    yield "isthmus", __version__
    yield (
        "inner loops",
        "compiled" if compiled else "not compiled: isthmus was installed without a C compiler",
    )
    yield "Python", f"{platform.python_implementation()} {platform.python_version()} on {platform.platform()}"
    uvloop = installed("uvloop")
    other = "asyncio" if uvloop == "not installed" else f"uvloop {uvloop}"
    yield "event loop", f"isthmus, else {other}" if epoll.available else other
    yield "aiofastnet", installed("aiofastnet")
    yield "OpenSSL", f"{ssl.OPENSSL_VERSION} (Python's ssl), {_openssl_of_cryptography()} (cryptography)"


def _openssl_of_cryptography() -> str:
    from cryptography.hazmat.backends.openssl.backend import backend

    return backend.openssl_version_text()
