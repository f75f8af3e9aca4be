"""The `isthmus` command.

Exit codes: 0 done, or stopped as asked; 1 failed while running; 2 a bad command line or configuration; 3 and
4 are the doctor's. What a user did wrong is told in a line or a block on standard error, never as a
traceback.

Each command imports what it needs when it runs, so that `--help` and `version` answer at once.
"""

from __future__ import annotations

import functools
import gc
import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, ParamSpec

import typer

from isthmus import console
from isthmus.cli_options import (
    ConnectTimeout,
    Credentials,
    Insecure,
    KeyFile,
    PasswordFile,
    ProxyCredentials,
    SealPins,
    Through,
    Truststore,
    connect_options,
    security,
)
from isthmus.console import Format, Level, Levels
from isthmus.errors import ConfigurationError, IsthmusError, KeystoreError

log = logging.getLogger("isthmus")
P = ParamSpec("P")

_HELP = """
Join two networks over the Web: TCP in, WebSocket across, TCP out.

An application connects to one gateway, the traffic crosses the Web over
WebSocket, and another gateway hands it to the server. Neither of them knows.

A gateway from a Kaazing configuration file:

    isthmus check conf/gateway-config-minimal.xml
    isthmus start --config conf/gateway-config-minimal.xml

Without a file, from a local port to a service behind a gateway:

    isthmus proxy tcp://127.0.0.1:2222 wss://gw.example.com/ssh

As the ProxyCommand of ssh, without a port:

    ssh -o ProxyCommand='isthmus proxy - wss://gw.example.com/ssh' me@host
"""

app = typer.Typer(
    name="isthmus",
    help=_HELP,
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def main() -> None:
    """Run the command that the process's arguments name, and end the process with its exit code."""
    gc.disable()  # what is made while starting stays; a gateway that has started enables it
    app(prog_name="isthmus")


def _reported(command: Callable[P, int]) -> Callable[P, None]:
    """Make a command of a function that returns an exit code: what it raises becomes a message and a code."""

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        raise typer.Exit(_exit_code(lambda: command(*args, **kwargs)))

    return run


def _exit_code(command: Callable[[], int]) -> int:
    console.start()  # so that the command can say what is wrong with its own logging
    try:
        return command()
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # nobody reads our output any more, `head` for one
        raise
    except IsthmusError as error:
        console.report(error)
        return 2 if isinstance(error, (ConfigurationError, KeystoreError)) else 1
    except Exception as error:  # the last resort for bugs
        if log.isEnabledFor(logging.DEBUG):
            log.exception("internal error")
        else:
            log.error("internal error: %s: %s", type(error).__name__, error)
            log.error("This is a fault in isthmus: please report it, with what --log-level debug shows")
        return 1


def _are_settings(words: list[str] | None) -> list[str]:
    for word in words or ():
        if not word.partition("=")[0].strip() or "=" not in word:
            raise typer.BadParameter(
                f"{word!r} is not name=value, for example gateway.hostname=gw.example.com"
            )
    return words or []


def _are_levels(words: list[str] | None) -> list[str]:
    try:
        _levels(words)
    except ConfigurationError as error:
        raise typer.BadParameter(str(error)) from None
    return words or []


def _levels(words: list[str] | None) -> Levels:
    return Levels.parse(words or ["info"])


def _settings(words: list[str] | None) -> dict[str, str]:
    pairs = (word.partition("=") for word in words or ())
    return {name.strip(): value for name, _, value in pairs}


Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="NAME=VALUE",
        callback=_are_settings,
        help="The value of a property, stronger than the file's own. May be repeated.",
    ),
]
LogLevel = Annotated[
    list[str] | None,
    typer.Option(
        "--log-level",
        envvar="ISTHMUS_LOG_LEVEL",
        metavar="LEVEL",
        callback=_are_levels,
        help="The least that is said: debug, info, warn or error; with AREA=LEVEL by one area, "
        "for example info,access=info. May be repeated.",
    ),
]
LogFormat = Annotated[
    Format, typer.Option("--log-format", help="Text, or one JSON object for each line, for machines.")
]
LogFile = Annotated[
    Path | None, typer.Option("--log-file", metavar="FILE", help="Log to this file as well, with the time.")
]
ConfigurationFile = Annotated[Path, typer.Argument(metavar="FILE", help="A configuration, XML or TOML.")]


@app.command()
@_reported
def start(
    config: Annotated[
        Path | None,
        typer.Option(
            "--config",
            metavar="FILE",
            envvar="GATEWAY_CONFIG",
            help="The configuration, XML or TOML; else conf/gateway-config.xml of the home.",
        ),
    ] = None,
    home: Annotated[
        Path | None,
        typer.Option(
            "--home",
            metavar="DIR",
            envvar="GATEWAY_HOME",
            help="The folder that has web/; else the parent of the configuration's conf/ folder.",
        ),
    ] = None,
    settings: Settings = None,
    log_level: LogLevel = None,
    log_file: LogFile = None,
    log_format: LogFormat = Format.TEXT,
) -> int:
    """Start a gateway, and run it until SIGTERM or Ctrl-C.

    The first of these lets what is in flight end, for stop.timeout at most; a second one stops at once.

        isthmus start --config conf/gateway-config-minimal.xml

        isthmus start --config gateway.toml --set gateway.hostname=gw.example.com
    """
    console.start(_levels(log_level), log_file, log_format)
    file = _configuration(config, home)
    from isthmus.config import load

    loaded = load(file, _settings(settings))
    for warning in loaded.warnings:
        log.warning("%s", warning)
    from isthmus import gateway

    with console.in_background():
        return gateway.run(
            loaded.config, source=str(file), directory=loaded.directory, home=home or _home_of(file)
        )


@app.command()
@_reported
def proxy(
    accept: Annotated[
        str, typer.Argument(metavar="ACCEPT", help="Where to listen, or - for stdin and stdout.")
    ],
    connect: Annotated[str, typer.Argument(metavar="CONNECT", help="Where each connection goes.")],
    truststore: Truststore = None,
    insecure: Insecure = False,
    keystore: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Certificate for a wss or ssl ACCEPT (PEM, PKCS12, JKS)."),
    ] = None,
    key_file: KeyFile = None,
    password_file: PasswordFile = None,
    through: Through = None,
    proxy_credentials: ProxyCredentials = None,
    credentials: Credentials = None,
    seal_pins: SealPins = None,
    connect_timeout: ConnectTimeout = 10.0,
    log_level: LogLevel = None,
    log_file: LogFile = None,
    log_format: LogFormat = Format.TEXT,
) -> int:
    """Join one ACCEPT to one CONNECT, without a configuration file.

    Addresses are URIs: tcp, udp, ssl, ws, wss, unix. A path in a ws or wss address names the service.

        isthmus proxy tcp://127.0.0.1:2222 wss://gw.example.com/ssh

        isthmus proxy ws://0.0.0.0:8080/ssh tcp://127.0.0.1:22

        isthmus proxy udp://127.0.0.1:5353 wss://gw.example.com/dns

        ssh -o ProxyCommand='isthmus proxy - wss://gw.example.com/ssh' me@host

        isthmus proxy tcp://127.0.0.1:2222 wss://gw.example.com/ssh --proxy http://proxy.example.com:3128

    With - only warnings and errors are logged, unless --log-level is debug.
    """
    from isthmus import uri

    source = uri.parse(accept)
    levels = _levels(log_level)
    if source.scheme == "stdio" and levels.default is Level.INFO:
        levels = Levels(Level.WARN, levels.areas)
    console.start(levels, log_file, log_format)
    destination = uri.parse(connect)
    if seal_pins and destination.scheme not in ("ws", "wss"):
        raise ConfigurationError(f"--seal-pin seals a WebSocket, and {destination} is none", hint="wss://")
    from isthmus.config import proxy_config

    config = proxy_config(
        source,
        destination,
        connect_options=connect_options(
            insecure=insecure,
            through=through,
            proxy_credentials=proxy_credentials,
            credentials=credentials,
            seal_pins=seal_pins,
            connect_timeout=connect_timeout,
        ),
        security=security(truststore, keystore, key_file, password_file),
    )
    from isthmus import gateway

    with console.in_background():
        return gateway.run(
            config,
            source=f"none (isthmus proxy {source} {destination})",
            directory=Path.cwd(),
            home=_packaged_home(),
        )


@app.command()
@_reported
def doctor(
    address: Annotated[
        str, typer.Argument(metavar="URI", help="The ws or wss address of a gateway's service.")
    ],
    idle: Annotated[
        float,
        typer.Option(
            metavar="SECONDS", min=0, max=890, help="Find out whether what is silent so long is cut."
        ),
    ] = 0.0,
    pin: Annotated[
        str, typer.Option(metavar="SHA256", help="What the server's public key must be, as --json tells it.")
    ] = "",
    accept: Annotated[
        str, typer.Option(metavar="URI", help="Where applications will connect to, in what is recommended.")
    ] = "tcp://127.0.0.1:2222",
    seconds: Annotated[
        float, typer.Option("--time", metavar="SECONDS", min=1, help="How long all but --idle may take.")
    ] = 60.0,
    machine: Annotated[bool, typer.Option("--json", help="One JSON object, for machines.")] = False,
    truststore: Truststore = None,
    insecure: Insecure = False,
    keystore: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Certificate for a server that asks for one (PEM, PKCS12, JKS)."),
    ] = None,
    key_file: KeyFile = None,
    password_file: PasswordFile = None,
    through: Through = None,
    proxy_credentials: ProxyCredentials = None,
    credentials: Credentials = None,
    seal_pins: SealPins = None,
    connect_timeout: ConnectTimeout = 10.0,
    log_level: LogLevel = None,
) -> int:
    """Say what stands between this machine and a gateway, and what to do about it.

    Exit code 0: reachable as is. 3: reachable, with warnings. 4: not reachable as is.

        isthmus doctor wss://gw.example.com/ssh

        isthmus doctor wss://gw.example.com/ssh --proxy http://proxy.example.com:3128 --idle 300
    """
    console.start(_levels(log_level or ["warn"]))
    import os

    from isthmus import uri

    destination, source = uri.parse(address), uri.parse(accept)
    if destination.scheme not in ("ws", "wss"):
        raise ConfigurationError(f"{destination} is not the address of a WebSocket", hint="ws:// or wss://")
    if pin and destination.scheme == "ws":
        raise ConfigurationError("--pin is about the key of TLS, and ws has none", hint="use wss")
    from isthmus.config import proxy_config
    from isthmus.doctor.line import Line, check_pin
    from isthmus.doctor.visit import visit

    options = connect_options(
        insecure=insecure,
        through=through,
        proxy_credentials=proxy_credentials,
        credentials=credentials,
        seal_pins=seal_pins,
        connect_timeout=connect_timeout,
    )
    certificates = security(truststore, keystore, key_file, password_file)
    proxy_config(source, destination, connect_options=options, security=certificates)  # or say what is wrong
    line = Line(destination, options, certificates, Path.cwd(), os.environ)
    wanted = check_pin(pin) if pin else ""
    text, code = visit(line, source, seconds=seconds, idle=idle, pin=wanted, machine=machine)
    typer.echo(text, nl=False)
    return code


_NOTE_WORDS = {"ERROR": "error", "WARN": "warning", "HINT": "hint"}


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'s' if number != 1 else ''}"


@app.command()
@_reported
def check(
    file: ConfigurationFile,
    settings: Settings = None,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show defaults too.")] = False,
    log_level: LogLevel = None,
) -> int:
    """Say what a configuration would do, and what is wrong with it. Starts nothing.

    Exit code 0: it can be started, though there may be warnings. 2: it cannot.

        isthmus check conf/gateway-config-minimal.xml

        isthmus check gateway.toml --set gateway.hostname=gw.example.com
    """
    console.start(_levels(log_level))
    from rich.console import Console

    from isthmus import credentials, logins
    from isthmus.certificates import examine
    from isthmus.config import load
    from isthmus.config.explain import explain, render
    from isthmus.config.machine import Machine

    loaded = load(file, _settings(settings))
    rows, notes = examine(loaded)
    notes += credentials.examine(loaded) + logins.examine(loaded)
    report = explain(loaded, Machine.here(), verbose=verbose).plus(rows, notes)
    output = Console(highlight=False)
    render(report, output)
    levels = [note.level for note in report.notes]
    found = [_count(levels.count(level), word) for level, word in _NOTE_WORDS.items() if level in levels]
    verdict = "cannot be started here" if report.failed else "can be started"
    output.print(
        f"\n{file} {verdict}: {', '.join(found) or 'nothing to complain of'}", soft_wrap=True, markup=False
    )
    return 2 if report.failed else 0


@app.command()
@_reported
def convert(file: ConfigurationFile, settings: Settings = None, log_level: LogLevel = None) -> int:
    """Print a configuration as TOML, with properties and defaults resolved.

    Keep the result in the same folder: keystores are relative to it.

        isthmus convert conf/gateway-config.xml > conf/gateway-config.toml
    """
    console.start(_levels(log_level))
    from isthmus.config import load, toml

    typer.echo(toml.dumps(load(file, _settings(settings))), nl=False)
    return 0


@app.command()
@_reported
def password(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The password file; made if it is not there.")],
    user: Annotated[str, typer.Argument(metavar="USER", help="Whose password it is.")],
    role: Annotated[
        list[str] | None,
        typer.Option(metavar="ROLE", help="A role of the user, any number; without, they stay as they are."),
    ] = None,
    log_level: LogLevel = None,
) -> int:
    """Set a user's password in a password file, hashed with argon2. Asks for it, or reads a line of stdin.

    isthmus password conf/users joe --role AUTHORIZED
    """
    console.start(_levels(log_level))
    from isthmus.security import password_file

    if sys.stdin.isatty():
        secret = typer.prompt(f"Password of {user}", hide_input=True, confirmation_prompt=True, err=True)
    else:
        secret = sys.stdin.readline().rstrip("\r\n")
    if not secret:
        raise ConfigurationError(
            "there is no password", hint="type one, or give it as a line of standard input"
        )
    new = password_file.set_password(file, user, secret, tuple(role) if role else None)
    typer.echo(f"{file}: {user} is {'added' if new else 'changed'}")
    return 0


@app.command()
@_reported
def seal(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The key (PEM); made if it is not there.")],
    certificate: Annotated[
        bool, typer.Option("--certificate", help="Print its certificate, for span.seal.clients, instead.")
    ] = False,
    log_level: LogLevel = None,
) -> int:
    """Make a key for span.seal.key, unless there is one, and print its pin, for span.seal.pin.

    isthmus seal conf/seal.pem
    """
    console.start(_levels(log_level))
    from isthmus.security import seal as keys

    if not file.exists():
        keys.make_key(file)
        log.info("%s is a new key; keep it secret, and give its pin to those who connect", file)
    typer.echo(keys.certificate_of_file(file) if certificate else keys.pin_of_file(file), nl=not certificate)
    return 0


@app.command()
@_reported
def init(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="The folder to make.")],
    force: Annotated[bool, typer.Option("--force", help="Overwrite files that exist.")] = False,
    log_level: LogLevel = None,
) -> int:
    """Make a GATEWAY_HOME: a first configuration, bin/gateway.start, home page, error pages.

    isthmus init gateway

    gateway/bin/gateway.start
    """
    console.start(_levels(log_level))
    from isthmus import home

    for written in home.install(directory, force=force):
        typer.echo(written)
    typer.echo(f"Start it with: {directory / 'bin' / 'gateway.start'}")
    return 0


@app.command()
@_reported
def version() -> int:
    """Say which isthmus this is and what it runs on. Put this into bug reports.

    isthmus version
    """
    from isthmus.installation import described

    for name, value in described():
        typer.echo(f"{name:<12}{value}")
    return 0


def _configuration(config: Path | None, home: Path | None) -> Path:
    """Return the file to start: the one that is named, else the home's own, else the home's first one."""
    if config is not None:
        return config
    if home is None:
        raise ConfigurationError(
            "nothing says which configuration to start",
            hint="add --config FILE, or make a home to begin with: isthmus init gateway",
        )
    own = home / "conf" / "gateway-config.xml"
    first = home / "conf" / "gateway-config-minimal.xml"
    return own if own.exists() or not first.exists() else first


def _home_of(file: Path) -> Path:
    folder = file.resolve().parent
    return folder.parent if folder.name == "conf" else _packaged_home()


def _packaged_home() -> Path:
    from isthmus import home

    return Path(home.__file__).parent
