"""What follows from the findings: a sentence or two, the command, and the file that does the same."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from isthmus import uri
from isthmus.config import Loaded, proxy_config
from isthmus.config.model import ConnectOptions, Keystore, Security
from isthmus.config.toml import dumps
from isthmus.doctor.finding import Finding, Verdict
from isthmus.doctor.line import Line
from isthmus.uri import Address

REACHABLE, WARNED, UNREACHABLE = 0, 3, 4
"""Exit codes: reachable as is; reachable, and there is something to look at; not reachable as is."""
PROXY_CREDENTIALS = Path("proxy-credentials")
CREDENTIALS = Path("credentials")
TRUSTSTORE = Path("authority.pem")
"""Files that are still to be written, named in what is recommended."""


@dataclass(frozen=True, slots=True)
class Needs:
    """What the way asks for and was not given: see the files above. `inactivity` is a
    `ws.inactivity.timeout`, `ping_deadline` a `span.ping.deadline`, in seconds; 0: as it is. `fallback` is a
    `ws.fallback`; empty: `auto`, which finds it out by itself.
    """

    proxy_credentials: bool = False
    credentials: bool = False
    authority: bool = False
    inactivity: float = 0.0
    ping_deadline: float = 0.0
    fallback: str = ""


@dataclass(frozen=True, slots=True)
class Recommendation:
    """`code` is the exit code, `words` are sentences, `command` is to be pasted, `toml` a configuration."""

    code: int
    words: tuple[str, ...]
    command: str
    toml: str

    @property
    def verdict(self) -> str:
        return {REACHABLE: "reachable", WARNED: "reachable with warnings"}.get(self.code, "unreachable")


def recommend(line: Line, accept: Address, findings: Sequence[Finding], needs: Needs) -> Recommendation:
    """Say what to do. `accept` is where applications will connect to. The secrets stay in their files."""
    failed = [each for each in findings if each.verdict is Verdict.FAILED]
    warned = [each for each in findings if each.verdict is Verdict.WARNING]
    code = UNREACHABLE if failed else WARNED if warned else REACHABLE
    options, security = _options(line, needs), _security(line, needs)
    address = replace(line.address, query="")  # which may be a secret, and reports are passed on
    words = _words(line, failed, warned, needs)
    if line.address.query:
        words.append("The query of the address is left out here; put it back.")
    return Recommendation(
        code,
        tuple(words),
        shlex.join(_command(address, accept, options, security)),
        _toml(address, accept, options, security),
    )


def _words(line: Line, failed: Sequence[Finding], warned: Sequence[Finding], needs: Needs) -> list[str]:
    if failed:
        words = [f"Not reachable as is ({', '.join(each.examination for each in failed)})."]
        words += [f"{each.examination}: {each.advice}." for each in failed if each.advice][:2]
    elif warned:
        words = [f"Reachable; look at {', '.join(each.examination for each in warned)} above."]
    else:
        words = ["Reachable as it is."]
    if needs.fallback:
        words.append(
            f"The file has ws.fallback {needs.fallback}, which the command has not: "
            "start the file (isthmus start --config FILE)."
        )
    missing = []
    if needs.proxy_credentials:
        host = line.way.proxies[-1].host if line.way.proxies else "PROXY"
        missing.append(f"{PROXY_CREDENTIALS} (machine {host} login USER password PASSWORD)")
    if needs.credentials:
        missing.append(f"{CREDENTIALS} (a token, or user:password)")
    if needs.authority:
        missing.append(f"{TRUSTSTORE} (the certificate of who issued the server's)")
    if missing:
        words.append(f"Once you have written {', '.join(missing)}, this is the way:")
    elif failed:
        words.append("Once that is done, this is the way:")
    return words


def _options(line: Line, needs: Needs) -> ConnectOptions:
    way = line.way
    changes: dict[str, object] = {}
    given = line.options.tcp_transport or line.options.ssl_transport or line.options.http_transport
    if way.proxies and given is None:  # the environment said it; a service has another one
        changes["http_transport"] = way.proxies
    if needs.proxy_credentials:
        changes["proxy_credentials_file"] = PROXY_CREDENTIALS
    if needs.credentials:
        changes["authorization_file"] = CREDENTIALS
    elif line.options.authorization_file is not None:
        changes["authorization_file"] = _relative(line.options.authorization_file, line.directory)
    if needs.inactivity:
        changes["websocket_inactivity_timeout"] = needs.inactivity
    if needs.ping_deadline:
        changes["span_ping_deadline"] = needs.ping_deadline
    if needs.fallback:
        changes["fallback"] = needs.fallback
    return line.options.model_copy(update=changes)


def _relative(file: Path, directory: Path) -> Path:
    return file.relative_to(directory) if file.is_relative_to(directory) else file


def _security(line: Line, needs: Needs) -> Security:
    if needs.authority and line.security.truststore is None:
        return line.security.model_copy(update={"truststore": Keystore(type="PEM", file=TRUSTSTORE)})
    return line.security


def _command(address: Address, accept: Address, options: ConnectOptions, security: Security) -> list[str]:
    words = ["isthmus", "proxy", _written(accept), _written(address)]
    for transport in (options.tcp_transport, options.ssl_transport, options.http_transport):
        for each in transport or ():
            words += ["--proxy", str(each)]
    files = [
        ("--proxy-credentials", options.proxy_credentials_file),
        ("--truststore", security.truststore and security.truststore.file),
        ("--keystore", security.keystore and security.keystore.file),
        ("--key-file", security.keystore and security.keystore.key_file),
        ("--password-file", security.keystore and security.keystore.password_file),
        ("--credentials", options.authorization_file),
    ]
    for name, file in files:
        if file is not None:
            words += [name, str(file)]
    for pin in options.span_seal_pins:
        words += ["--seal-pin", pin]
    if options.verify_server == "none":
        words.append("--insecure")
    if options.connect_timeout != ConnectOptions().connect_timeout:
        words += ["--connect-timeout", f"{options.connect_timeout:g}"]
    return words


def _written(address: Address) -> str:
    """Return an address as a person would write it: without the port that is meant anyway."""
    if address.port == address.kind.port:
        return uri.unparse(address).replace(address.host_port, address.authority, 1)
    return uri.unparse(address)


def _toml(address: Address, accept: Address, options: ConnectOptions, security: Security) -> str:
    config = proxy_config(accept, address, connect_options=options, security=security)
    text = dumps(Loaded(config, Path("doctor")))
    lines = [line for line in text.split("\n") if not line.startswith("#")]
    return "\n".join(lines).strip() + "\n"
