"""The command line: what each command takes, says and returns."""

from __future__ import annotations

import logging
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

import isthmus
from isthmus import cli, gateway
from isthmus.config.model import GatewayConfig
from isthmus.errors import IsthmusError

ECHO = """\
<gateway-config xmlns="http://xmlns.kaazing.org/2016/06/gateway">
  <properties><property><name>port</name><value>1</value></property></properties>
  <service><accept>ws://127.0.0.1:${port}/</accept><type>echo</type></service>
</gateway-config>
"""
WRONG = """\
<gateway-config xmlns="http://xmlns.kaazing.org/2016/06/gateway">
  <service>
    <accept>tpc://127.0.0.1:5000</accept>
    <type>prxy</type>
  </service>
</gateway-config>
"""
COMMANDS = ("start", "proxy", "doctor", "check", "convert", "password", "seal", "init", "version")


pytestmark = pytest.mark.usefixtures("restored_logging")


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GATEWAY_CONFIG", "GATEWAY_HOME", "ISTHMUS_LOG_LEVEL"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def echo(tmp_path: Path) -> Path:
    file = tmp_path / "echo.xml"
    file.write_text(ECHO)
    return file


@pytest.fixture
def wrong(tmp_path: Path) -> Path:
    file = tmp_path / "wrong.xml"
    file.write_text(WRONG)
    return file


class Started:
    """Stands in for `gateway.run`: remembers what it was asked to run."""

    config: GatewayConfig
    source: str
    directory: Path
    home: Path
    code = 0
    error: BaseException | None = None
    called = False

    def __call__(self, config: GatewayConfig, *, source: str, directory: Path, home: Path) -> int:
        self.config, self.source, self.directory, self.home = config, source, directory, home
        self.called = True
        if self.error is not None:
            raise self.error
        return self.code


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> Started:
    stand_in = Started()
    monkeypatch.setattr(gateway, "run", stand_in)
    return stand_in


def run(*arguments: str | Path) -> Result:
    """Run a command in this process. What it must never show is a traceback."""
    result = CliRunner().invoke(cli.app, [str(argument) for argument in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit)
    assert "Traceback" not in result.output
    return result


# -- help --


@pytest.mark.parametrize("command", COMMANDS)
def test_each_help_has_an_example(command: str) -> None:
    result = run(command, "--help")
    assert result.exit_code == 0
    assert re.search(rf"^ +(ssh .*)?isthmus {command} ?", result.stdout, re.MULTILINE)
    assert run(command, "-h").stdout == result.stdout


def test_the_first_help_shows_the_three_ways_to_start() -> None:
    shown = run("--help").stdout
    assert "isthmus start --config conf/gateway-config-minimal.xml" in shown
    assert "isthmus proxy tcp://127.0.0.1:2222 wss://gw.example.com/ssh" in shown
    assert "ssh -o ProxyCommand='isthmus proxy - wss://gw.example.com/ssh' me@host" in shown
    assert all(f" {command} " in shown for command in COMMANDS)


def test_help_and_version_import_little() -> None:
    heavy = "aiohttp", "aiofastnet", "lxml", "pydantic", "asyncio", "cryptography"
    code = f"import sys, isthmus.cli; print([name for name in {heavy} if name in sys.modules])"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=_environment())
    assert ended.stdout == "[]\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ("start", "--frob"),
        ("frob",),
        ("check",),
        ("proxy", "-"),
        ("proxy", "-", "ws://h/", "--connect-timeout", "0"),
        ("check", "a.xml", "--set", "name"),
        ("start", "--config", "a.xml", "--set", "=value"),
        ("start", "--log-level", "loud"),
    ],
)
def test_bad_usage_is_2(arguments: tuple[str, ...], started: Started) -> None:
    result = run(*arguments)
    assert result.exit_code == 2
    assert result.stderr
    assert not started.called


# -- start --


def test_start_runs_what_the_file_says(echo: Path, started: Started) -> None:
    assert run("start", "--config", echo, "--set", "port=18001").exit_code == 0
    assert [str(accept) for accept in started.config.services[0].accepts] == ["ws://127.0.0.1:18001/"]
    assert (started.source, started.directory) == (str(echo), echo.parent)


def test_the_last_of_two_settings_wins(echo: Path, started: Started) -> None:
    run("start", "--config", echo, "--set", "port=2", "--set", "port=18=1")
    assert not started.called  # 18=1 is no port: the value is all that follows the first =
    run("start", "--config", echo, "--set", "port=2", "--set", "port=3")
    assert started.config.services[0].accepts[0].port == 3


def test_start_returns_the_gateways_code(echo: Path, started: Started) -> None:
    started.code = 1
    assert run("start", "--config", echo).exit_code == 1


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "home"
    (folder / "conf").mkdir(parents=True)
    (folder / "conf" / "gateway-config.xml").write_text(ECHO)
    return folder


def test_the_home_is_the_parent_of_conf(home: Path, started: Started) -> None:
    run("start", "--config", home / "conf" / "gateway-config.xml")
    assert started.home == home


def test_the_home_of_a_relative_file(home: Path, started: Started, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(home / "conf")
    run("start", "--config", "gateway-config.xml")
    assert started.home == home


def test_the_home_of_the_environment_is_stronger(
    home: Path, started: Started, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("GATEWAY_HOME", str(tmp_path / "environment"))
    run("start", "--config", home / "conf" / "gateway-config.xml")
    assert started.home == tmp_path / "environment"
    run("start", "--config", home / "conf" / "gateway-config.xml", "--home", tmp_path / "option")
    assert started.home == tmp_path / "option"


def test_without_any_home_it_is_the_packages_own(echo: Path, started: Started) -> None:
    run("start", "--config", echo)
    assert (started.home / "web" / "base" / "index.html").is_file()


def test_without_config_it_is_the_homes(
    home: Path, started: Started, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("start", "--home", home)
    assert started.source == str(home / "conf" / "gateway-config.xml")

    monkeypatch.setenv("GATEWAY_HOME", str(home))
    (home / "conf" / "gateway-config.xml").rename(home / "conf" / "gateway-config-minimal.xml")
    run("start")
    assert started.source == str(home / "conf" / "gateway-config-minimal.xml")


def test_without_config_the_environment_names_it(
    echo: Path, home: Path, started: Started, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GATEWAY_CONFIG", str(echo))
    run("start", "--home", home)
    assert started.source == str(echo)


def test_nothing_to_start(started: Started) -> None:
    result = run("start")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.splitlines() == [
        "ERROR nothing says which configuration to start",
        "ERROR add --config FILE, or make a home to begin with: isthmus init gateway",
    ]


@pytest.mark.parametrize("command", [["start", "--config"], ["check"], ["convert"]])
def test_a_wrong_file(command: list[str], wrong: Path, started: Started) -> None:
    result = run(*command, wrong)
    assert (result.exit_code, result.stdout) == (2, "")
    lines = result.stderr.splitlines()
    assert lines[0].startswith(f"ERROR {wrong}:3: <service/accept>: ")
    assert any(line.startswith(f"ERROR {wrong}:4: <service/type>: ") for line in lines)
    assert "    did you mean: proxy" in lines
    assert re.fullmatch(r"ERROR .*wrong\.xml: 2 problems; nothing was started", lines[-1])
    assert not started.called


def test_a_file_that_is_not_there(tmp_path: Path, started: Started) -> None:
    result = run("start", "--config", tmp_path / "none.xml")
    assert result.exit_code == 2
    assert "none.xml: cannot be read: No such file or directory" in result.stderr


def test_warnings_are_logged_before_the_start(tmp_path: Path, started: Started) -> None:
    file = tmp_path / "insecure.xml"
    file.write_text(
        '<gateway-config xmlns="http://xmlns.kaazing.org/2016/06/gateway"><service>'
        "<accept>tcp://127.0.0.1:1</accept><connect>wss://localhost/</connect><type>proxy</type>"
        "<connect-options><ssl.verify-server>none</ssl.verify-server></connect-options>"
        "</service></gateway-config>"
    )
    result = run("start", "--config", file)
    assert started.called
    assert "WARN " in result.stderr
    assert "ssl.verify-server" in result.stderr


def test_a_log_file_that_cannot_be_written(echo: Path, tmp_path: Path, started: Started) -> None:
    result = run("start", "--config", echo, "--log-file", tmp_path / "none" / "a.log")
    assert result.exit_code == 2
    assert "ERROR cannot write the log file" in result.stderr
    assert not started.called


def test_what_isthmus_foresees_is_a_line(echo: Path, started: Started) -> None:
    started.error = IsthmusError("the wire is cut", hint="mend it")
    result = run("start", "--config", echo)
    assert (result.exit_code, result.stderr) == (1, "ERROR the wire is cut\nERROR mend it\n")


def test_a_fault_of_isthmus_is_a_line(echo: Path, started: Started) -> None:
    started.error = ZeroDivisionError("division by zero")
    result = run("start", "--config", echo)
    assert result.exit_code == 1
    assert result.stderr.startswith("ERROR internal error: ZeroDivisionError: division by zero\n")


def test_a_fault_of_isthmus_in_full(echo: Path, started: Started, monkeypatch: pytest.MonkeyPatch) -> None:
    started.error = ZeroDivisionError("division by zero")
    monkeypatch.setenv("ISTHMUS_LOG_LEVEL", "debug")
    result = CliRunner().invoke(cli.app, ["start", "--config", str(echo)])
    assert result.exit_code == 1
    assert "ERROR internal error\n    Traceback" in result.stderr


def test_an_interrupt_is_quiet(echo: Path, started: Started) -> None:
    started.error = KeyboardInterrupt()
    result = run("start", "--config", echo)
    assert (result.exit_code, result.output) == (130, "")


# -- proxy --


def test_proxy(started: Started) -> None:
    result = run("proxy", "tcp://127.0.0.1:2222", "wss://gw.example.com/ssh", "--connect-timeout", "2.5")
    assert (result.exit_code, result.stderr) == (0, "")
    (service,) = started.config.services
    assert [str(accept) for accept in service.accepts] == ["tcp://127.0.0.1:2222/"]
    assert [str(connect) for connect in service.connects] == ["wss://gw.example.com:443/ssh"]
    assert service.connect_options.connect_timeout == 2.5
    assert service.connect_options.verify_server == "required"
    assert started.config.security.truststore is None
    assert started.directory == Path.cwd()


def test_proxy_with_certificates(started: Started) -> None:
    run(
        "proxy",
        "wss://h:1/",
        "tls://h:2",
        "--truststore",
        "ca.pem",
        "--keystore",
        "k.p12",
        "--password-file",
        "p",
    )
    security = started.config.security
    assert security.truststore is not None
    assert (security.truststore.type, security.truststore.file) == ("PEM", Path("ca.pem"))
    assert security.keystore is not None
    assert (security.keystore.type, security.keystore.password_file) == ("PKCS12", Path("p"))

    run("proxy", "wss://h:1/", "tls://h:2", "--keystore", "k.pem", "--key-file", "key.pem")
    keystore = started.config.security.keystore
    assert keystore is not None
    assert (keystore.type, keystore.key_file) == ("PEM", Path("key.pem"))


def test_proxy_with_credentials(started: Started) -> None:
    assert run("proxy", "tcp://127.0.0.1:1", "wss://h/", "--credentials", "token").exit_code == 0
    (service,) = started.config.services
    assert service.connect_options.authorization_file == Path("token")
    refused = run("proxy", "tcp://127.0.0.1:1", "ws://h/", "--credentials", "token")
    assert refused.exit_code == 2
    assert "could be read on the way" in refused.stderr


def test_password(tmp_path: Path) -> None:
    file = tmp_path / "users"
    for user, secret, said in (("joe", "one", "added"), ("joe", "two", "changed"), ("ann", "x", "added")):
        arguments = ["password", str(file), user, *(["--role", "A"] if user == "joe" else [])]
        result = CliRunner().invoke(cli.app, arguments, input=f"{secret}\n")
        assert (result.exit_code, result.output) == (0, f"{file}: {user} is {said}\n")
    lines = file.read_text().splitlines()
    assert [line.split(":")[0] for line in lines] == ["joe", "ann"]
    assert lines[0].endswith(":A")
    assert CliRunner().invoke(cli.app, ["password", str(file), "joe"], input="\n").exit_code == 2
    assert CliRunner().invoke(cli.app, ["password", str(file), "a:b"], input="x\n").exit_code == 2
    assert file.read_text().splitlines() == lines


def test_proxy_without_verification(started: Started) -> None:
    run("proxy", "tcp://127.0.0.1:1", "wss://h/", "--insecure")
    assert started.config.services[0].connect_options.verify_server == "none"


def test_proxy_through_proxies(started: Started) -> None:
    chain = ("--proxy", "http://a:3128", "--proxy", "socks://b")
    run("proxy", "tcp://127.0.0.1:1", "wss://h/", *chain, "--proxy-credentials", "who")
    options = started.config.services[0].connect_options
    assert [str(proxy) for proxy in options.tcp_transport or ()] == ["http://a:3128", "socks://b:1080"]
    assert options.proxy_credentials_file == Path("who")


def test_proxy_that_seals(started: Started) -> None:
    pins = (
        "sha256/pWx7BWk7ZXjAmJ1eGnvZZJ0hQmDNmlIa3cyLFHsaTQE=",
        "sha256/qWx7BWk7ZXjAmJ1eGnvZZJ0hQmDNmlIa3cyLFHsaTQE=",
    )
    words = [word for pin in pins for word in ("--seal-pin", pin)]
    assert run("proxy", "tcp://127.0.0.1:1", "wss://h/", *words).exit_code == 0
    assert started.config.services[0].connect_options.span_seal_pins == pins


@pytest.mark.parametrize(
    ("connect", "pin", "said"),
    [
        ("wss://h/", "sha256:abc", "is not the pin of a key"),
        ("tcp://h:1", "sha256/pWx7BWk7ZXjAmJ1eGnvZZJ0hQmDNmlIa3cyLFHsaTQE=", "--seal-pin seals a WebSocket"),
    ],
)
def test_proxy_that_could_not_seal(connect: str, pin: str, said: str, started: Started) -> None:
    result = run("proxy", "tcp://127.0.0.1:1", connect, "--seal-pin", pin)
    assert result.exit_code == 2
    assert said in result.stderr
    assert not started.called


@pytest.mark.parametrize(
    ("proxy", "said"),
    [
        ("http://alice:sesame@a:1", "leave them out"),
        ("ftp://a", "ftp:// is no kind of proxy"),
    ],
)
def test_proxy_through_what_is_no_proxy(proxy: str, said: str, started: Started) -> None:
    result = run("proxy", "tcp://127.0.0.1:1", "wss://h/", "--proxy", proxy)
    assert result.exit_code == 2
    assert said in result.stderr
    assert "sesame" not in result.stderr
    assert not started.called


@pytest.mark.parametrize(
    ("options", "level"),
    [([], "WARNING"), (["--log-level", "debug"], "DEBUG"), (["--log-level", "error"], "ERROR")],
)
def test_standard_input_and_output_are_not_told_about(
    options: list[str], level: str, started: Started
) -> None:
    run("proxy", "-", "ws://h/", *options)
    assert started.config.services[0].accepts[0].scheme == "stdio"
    assert logging.getLevelName(logging.getLogger("isthmus").level) == level


@pytest.mark.parametrize(
    ("accept", "connect", "said"),
    [
        ("tpc://127.0.0.1:1", "ws://h/", "tcp"),
        ("tcp://127.0.0.1:1", "gw.example.com", "scheme://host:port/path"),
        ("http://h/", "ws://h/", "http"),
    ],
)
def test_proxy_with_wrong_addresses(accept: str, connect: str, said: str, started: Started) -> None:
    result = run("proxy", accept, connect)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("ERROR ")
    assert said in result.stderr
    assert not started.called


# -- check, convert, init, version --


def test_check_shows_and_starts_nothing(echo: Path, started: Started) -> None:
    result = run("check", echo, "--set", "port=18001")
    assert result.exit_code == 0
    assert "echo-1" in result.stdout
    assert "ws://127.0.0.1:18001/" in result.stdout
    assert result.stdout.splitlines()[-1] == f"{echo} can be started: nothing to complain of"
    assert not started.called


def test_check_verbose_shows_more(echo: Path) -> None:
    assert len(run("check", echo, "-v").stdout) > len(run("check", echo).stdout)


def test_check_of_what_would_fail(tmp_path: Path) -> None:
    file = tmp_path / "secure.xml"
    file.write_text(
        '<gateway-config xmlns="http://xmlns.kaazing.org/2016/06/gateway">'
        "<security><keystore><type>PEM</type><file>none.pem</file></keystore></security>"
        "<service><accept>wss://127.0.0.1:1/</accept><type>echo</type></service></gateway-config>"
    )
    result = run("check", file)
    assert result.exit_code == 2
    assert "none.pem" in result.stdout
    assert "cannot be started here: 1 error" in result.stdout


def test_convert(echo: Path) -> None:
    result = run("convert", echo, "--set", "port=18001")
    assert result.exit_code == 0
    assert tomllib.loads(result.stdout)["service"][0]["accept"] == "ws://127.0.0.1:18001/"


def test_init(tmp_path: Path) -> None:
    folder = tmp_path / "gateway"
    result = run("init", folder)
    assert result.exit_code == 0
    assert f"Start it with: {folder}/bin/gateway.start" in result.stdout
    assert os.access(folder / "bin" / "gateway.start", os.X_OK)

    again = run("init", folder)
    assert again.exit_code == 2
    assert "--force" in again.stderr
    assert run("init", folder, "--force").exit_code == 0


def test_version() -> None:
    result = run("version")
    assert result.exit_code == 0
    said = dict(line.split(None, 1) for line in result.stdout.replace("inner ", "inner-").splitlines())
    assert said["isthmus"] == isthmus.__version__
    assert said["Python"].startswith(f"CPython {sys.version.split()[0]}")
    assert "OpenSSL" in said["OpenSSL"]
    from isthmus.websocket import frames

    assert said["inner-loops"].startswith("not compiled" if frames.__file__.endswith(".py") else "compiled")


def test_a_reader_who_leaves_is_no_error(echo: Path) -> None:
    command = f'"{sys.executable}" -m isthmus check "{echo}" -v | true'
    ended = subprocess.run(["sh", "-c", command], capture_output=True, text=True, env=_environment())
    assert "Traceback" not in ended.stderr
    assert "internal error" not in ended.stderr


# -- real processes --


def _environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "COLUMNS": "100"}


@pytest.fixture
def isthmus_process() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    processes: list[subprocess.Popen[str]] = []

    def launch(*arguments: str | Path) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "isthmus", *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=_environment(),
        )
        processes.append(process)
        return process

    yield launch
    for process in processes:
        if process.poll() is None:
            process.kill()
        process.communicate()


def _until(process: subprocess.Popen[str], text: str) -> list[str]:
    assert process.stderr
    lines = []
    for line in process.stderr:
        lines.append(line.rstrip("\n"))
        if text in line:
            return lines
    raise AssertionError(f"{text!r} was not said: {lines}")


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port: int = listening.getsockname()[1]
        return port


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_start_and_stop(
    number: signal.Signals, echo: Path, isthmus_process: Callable[..., subprocess.Popen[str]]
) -> None:
    port = _free_port()
    process = isthmus_process("start", "--config", echo, "--set", f"port={port}")
    said = _until(process, "Started server")
    assert said[0] == f"INFO isthmus WebSocket Gateway ({isthmus.__version__})"
    assert said[1] == f"INFO Configuration file: {echo}"
    assert f"INFO   ws://127.0.0.1:{port}/" in said
    process.send_signal(number)
    output, rest = process.communicate(timeout=60)
    assert (process.returncode, output) == (0, "")
    assert "INFO Stopped server successfully in" in rest


def test_the_one_liner_with_standard_input(isthmus_process: Callable[..., subprocess.Popen[str]]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        process = isthmus_process("proxy", "-", f"tcp://127.0.0.1:{server.getsockname()[1]}")
        server.settimeout(60)
        connection, _ = server.accept()
        with connection:
            assert process.stdin
            process.stdin.write("ping\n")
            process.stdin.close()
            process.stdin = None
            with connection.makefile("rb") as lines:
                assert lines.read() == b"ping\n"
            connection.sendall(b"pong\n")
        assert process.communicate(timeout=60) == ("pong\n", "")
    assert process.returncode == 0


def test_a_destination_that_refuses(isthmus_process: Callable[..., subprocess.Popen[str]]) -> None:
    process = isthmus_process("proxy", "-", f"tcp://127.0.0.1:{_free_port()}")
    output, said = process.communicate(timeout=60)
    assert (process.returncode, output) == (1, "")
    assert re.fullmatch(r"((WARN|ERROR) .*\n)+", said)


def test_a_port_in_use(echo: Path, isthmus_process: Callable[..., subprocess.Popen[str]]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        process = isthmus_process("start", "--config", echo, "--set", f"port={taken.getsockname()[1]}")
        _, said = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "ERROR Unable to bind to resource: ws://127.0.0.1:" in said
    assert "Traceback" not in said


@pytest.mark.skipif(shutil.which("sh") is None, reason="needs sh")
def test_gateway_start_of_a_new_home(tmp_path: Path) -> None:
    run("init", tmp_path / "gateway")
    script = tmp_path / "gateway" / "bin" / "gateway.start"
    port, other = _free_port(), _free_port()
    environment = _environment() | {"ISTHMUS_PYTHON": sys.executable}
    text = (tmp_path / "gateway" / "conf" / "gateway-config-minimal.xml").read_text()
    text = text.replace("8000</http.bind>", f"{port}</http.bind>").replace(
        "8001</ws.bind>", f"{other}</ws.bind>"
    )
    (tmp_path / "gateway" / "conf" / "gateway-config.xml").write_text(text)
    with subprocess.Popen([script], stderr=subprocess.PIPE, text=True, env=environment) as process:
        try:
            said = _until(process, "Started server")
            assert said[1] == f"INFO Configuration file: {tmp_path}/gateway/conf/gateway-config.xml"
        finally:
            process.terminate()
    assert process.returncode == 0
