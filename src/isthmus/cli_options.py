"""What the commands that connect to a gateway take on their command line: the same for all of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from isthmus.errors import ConfigurationError

if TYPE_CHECKING:
    from isthmus.config.model import ConnectOptions, Keystore, Security

Truststore = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Certificates to believe (PEM or PKCS12), instead of the system's."),
]
Insecure = Annotated[
    bool, typer.Option("--insecure", help="Believe any certificate of the server. For tests only.")
]
KeyFile = Annotated[Path | None, typer.Option(metavar="FILE", help="Private key, where --keystore has none.")]
PasswordFile = Annotated[
    Path | None, typer.Option(metavar="FILE", help="File with the password of --keystore.")
]
Through = Annotated[
    list[str] | None,
    typer.Option(
        "--proxy",
        metavar="URI",
        help="A proxy on the way to CONNECT: http://, https://, socks:// (5), socks4a://, socks+ssl://; "
        "repeated: a chain, the nearest first; or direct. Else what HTTPS_PROXY, HTTP_PROXY, ALL_PROXY "
        "and NO_PROXY say.",
    ),
]
ProxyCredentials = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Who you are to proxies: machine PROXY login USER password PASSWORD, on one line.",
    ),
]
Credentials = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Token, or user:password, to show a wss CONNECT. Read again."),
]
SealPins = Annotated[
    list[str] | None,
    typer.Option(
        "--seal-pin",
        metavar="PIN",
        help="Send nothing to CONNECT but sealed, to a gateway with this key, as isthmus seal prints it "
        "there (span.seal.pin); repeated: one of these keys.",
    ),
]
ConnectTimeout = Annotated[
    float, typer.Option(metavar="SECONDS", min=0.001, help="How long reaching CONNECT may take.")
]


def connect_options(
    *,
    insecure: bool,
    through: list[str] | None,
    proxy_credentials: Path | None,
    credentials: Path | None,
    seal_pins: list[str] | None,
    connect_timeout: float,
) -> ConnectOptions:
    """Return the options of the connect. Raises `ConfigurationError` for a proxy, or a pin, that cannot be
    read.
    """
    from isthmus.config.model import ConnectOptions
    from isthmus.config.proxies import parse_proxies
    from isthmus.config.units import NotAllowed
    from isthmus.config.words import pins

    try:
        sealed_to = pins(tuple(seal_pins or ()))
    except NotAllowed as error:
        raise ConfigurationError(f"--seal-pin: {error}", hint=f"allowed: {error.allowed}") from None
    return ConnectOptions(
        connect_timeout=connect_timeout,
        verify_server="none" if insecure else "required",
        authorization_file=credentials,
        tcp_transport=parse_proxies(through),
        proxy_credentials_file=proxy_credentials,
        span_seal_pins=sealed_to,
    )


def security(
    truststore: Path | None, keystore: Path | None, key_file: Path | None, password_file: Path | None
) -> Security:
    """Return the certificates that the files hold; nothing is read."""
    from isthmus.config.model import Security

    return Security(
        keystore=_store(keystore, key_file=key_file, password_file=password_file),
        truststore=_store(truststore),
    )


def _store(file: Path | None, **more: Path | None) -> Keystore | None:
    from isthmus.config.model import Keystore

    kind: Literal["PEM", "PKCS12"] = "PEM"
    if file is not None and file.suffix.lower() in (".p12", ".pfx", ".jks", ".jceks"):
        kind = "PKCS12"  # or what the content says
    return Keystore(type=kind, file=file, **more) if file is not None else None
