"""The GATEWAY_HOME template, what writes it, and its start script."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
from lxml import etree

from isthmus import home
from isthmus.errors import ConfigurationError
from isthmus.home import FILES, install

TEMPLATE = Path(home.__file__).parent


@pytest.fixture
def gateway_home(tmp_path: Path) -> Path:
    install(tmp_path / "gw home")
    return tmp_path / "gw home"


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    """A folder for the PATH with an `isthmus` and a `python` that show their command line."""
    folder = tmp_path / "tools"
    folder.mkdir()
    for name in ("isthmus", "python"):
        program = folder / name
        program.write_text(f'#!/bin/sh\necho {name}\nfor word; do echo "[$word]"; done\n')
        program.chmod(0o755)
    return folder


def start(script: Path, *arguments: str, path: Path | None = None, **environment: str) -> list[str]:
    """Run gateway.start and return the lines it prints; the first is the program that was started."""
    run = subprocess.run(
        ["/bin/sh", str(script), *arguments] if not os.access(script, os.X_OK) else [str(script), *arguments],
        cwd=script.parent,
        env={"PATH": f"{path}:/usr/bin:/bin" if path else "/usr/bin:/bin", **environment},
        capture_output=True,
        text=True,
        timeout=30,
    )
    return [*run.stdout.splitlines(), *run.stderr.splitlines(), f"exit {run.returncode}"]


def test_the_table_of_files_is_the_template() -> None:
    found = {
        str(path.relative_to(TEMPLATE))
        for path in TEMPLATE.rglob("*")
        if path.is_file() and path.suffix not in (".py", ".pyc")
    }
    assert found == set(FILES)


def test_install_writes_every_file_and_returns_them(tmp_path: Path) -> None:
    target = tmp_path / "a" / "home"
    written = install(target)
    assert written == [target / name for name in FILES]
    for name in FILES:
        if name != "bin/gateway.start":
            assert (target / name).read_bytes() == (TEMPLATE / name).read_bytes()
    assert os.access(target / "bin/gateway.start", os.X_OK)
    assert not os.access(target / "web/base/index.html", os.X_OK)


def test_install_refuses_to_overwrite_and_names_what_is_there(gateway_home: Path) -> None:
    page = gateway_home / "web/base/index.html"
    page.write_text("mine")
    for name in FILES:
        if name not in ("web/base/index.html", "bin/gateway.start"):
            (gateway_home / name).unlink()
    with pytest.raises(ConfigurationError) as raised:
        install(gateway_home)
    assert "web/base/index.html" in str(raised.value)
    assert "bin/gateway.start" in str(raised.value)
    assert "404.html" not in str(raised.value)
    assert "--force" in raised.value.hint
    assert page.read_text() == "mine"
    assert not (gateway_home / "web/error-pages/404.html").exists()
    install(gateway_home, force=True)
    assert page.read_text() != "mine"


def test_install_leaves_other_files_alone(tmp_path: Path) -> None:
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf/gateway-config.xml").write_text("mine")
    install(tmp_path)
    assert (tmp_path / "conf/gateway-config.xml").read_text() == "mine"


def test_install_says_what_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match=r"cannot write .*file"):
        install(tmp_path / "file" / "home")


def test_the_whitepapers_command_line(gateway_home: Path, tools: Path) -> None:
    script = gateway_home / "bin/gateway.start"
    config = "../conf/gateway-config-minimal.xml"
    started = start(script, "--config", config, path=tools)
    assert started == [
        "isthmus", "[start]", "[--home]", f"[{gateway_home}]", "[--config]", f"[{config}]", "exit 0",
    ]  # fmt: skip
    assert f"[--config={config}]" in start(script, f"--config={config}", path=tools)


def test_help_needs_nothing(gateway_home: Path) -> None:
    for word in ("--help", "-h"):
        shown = start(gateway_home / "bin/gateway.start", word)
        assert shown[0].startswith("Usage: gateway.start")
        assert shown[-1] == "exit 0"
        assert any("./gateway.start --config ../conf/gateway-config-minimal.xml" in line for line in shown)


def test_which_configuration_is_used(gateway_home: Path, tools: Path) -> None:
    script = gateway_home / "bin/gateway.start"
    assert f"[{gateway_home}/conf/gateway-config-minimal.xml]" in start(script, path=tools)
    (gateway_home / "conf/gateway-config.xml").write_text("<x/>")
    assert f"[{gateway_home}/conf/gateway-config.xml]" in start(script, path=tools)
    assert "[/my own.xml]" in start(script, path=tools, GATEWAY_CONFIG="/my own.xml")
    named = start(script, "--config", "x.xml", path=tools, GATEWAY_CONFIG="/my own.xml")
    assert "[x.xml]" in named
    assert "[/my own.xml]" not in named


def test_which_home_is_used(gateway_home: Path, tools: Path, tmp_path: Path) -> None:
    script = gateway_home / "bin/gateway.start"
    link = tmp_path / "start"
    link.symlink_to(script)
    second = tmp_path / "second"
    second.symlink_to("start")
    assert f"[{gateway_home}]" in start(second, path=tools)
    assert f"[{tools}]" in start(script, path=tools, GATEWAY_HOME=str(tools))
    wrong = start(script, path=tools, GATEWAY_HOME="/no/such/home")
    assert wrong == ["ERROR GATEWAY_HOME is /no/such/home, which is not a folder", "exit 2"]


def test_gateway_opts_come_before_the_command_line(gateway_home: Path, tools: Path) -> None:
    started = start(
        gateway_home / "bin/gateway.start",
        "--set",
        "a=c d",
        path=tools,
        GATEWAY_OPTS="--set a=b  --x=* -Xmx1g -Dq=1",
    )
    words = [line for line in started if line.startswith("[")]
    assert words[3:6] == ["[--set]", "[a=b]", "[--x=*]"]
    assert words[-2:] == ["[--set]", "[a=c d]"]
    warned = [line for line in started if line.startswith("WARN")]
    assert len(warned) == 2
    assert all("option of Java" in line for line in warned)


def test_which_python_is_used(gateway_home: Path, tools: Path) -> None:
    script = gateway_home / "bin/gateway.start"
    asked = start(script, path=tools, ISTHMUS_PYTHON=str(tools / "python"))
    assert asked[:4] == ["python", "[-m]", "[isthmus]", "[start]"]
    assert start(script, path=tools)[0] == "isthmus"
    (tools / "isthmus").unlink()
    text = script.read_text()
    assert text.count(sys.executable) == 1
    script.write_text(text.replace(sys.executable, str(tools / "python")))
    assert start(script)[:3] == ["python", "[-m]", "[isthmus]"]
    script.write_text(text.replace(sys.executable, "/no/such/python"))
    failed = start(script)
    assert failed[-1] == "exit 2"
    assert failed[0].startswith("ERROR isthmus is not installed here")


def test_a_path_with_quotes_is_recorded_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tools: Path
) -> None:
    odd = tmp_path / "it's $odd"
    odd.write_text("#!/bin/sh\necho odd\n")
    odd.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(odd))
    install(tmp_path / "home")
    assert start(tmp_path / "home/bin/gateway.start")[0] == "odd"


def test_the_configuration_is_in_the_whitepapers_form() -> None:
    root = etree.parse(str(TEMPLATE / "conf/gateway-config-minimal.xml")).getroot()
    space = "{http://xmlns.kaazing.com/gateway-config/excalibur}"
    assert root.tag == space + "gateway-config"
    values = [element.text for element in root.iter(space + "value")]
    assert values == ["localhost", "8000"]
    assert [element.text for element in root.iter(space + "type")] == ["directory", "echo"]
    assert [element.text for element in root.iter(space + "accept")] == [
        "http://${gateway.hostname}:${gateway.base.port}/",
        "ws://${gateway.hostname}:${gateway.base.port}/echo",
    ]
    options = next(root.iter(space + "service-defaults"))
    assert [element.tag.removeprefix(space) for element in options[0] if isinstance(element.tag, str)] == [
        "http.bind",
        "ws.bind",
    ]


class Page(HTMLParser):
    """Collects what the tests ask about; fails on tags that are not closed in order."""

    VOID = frozenset({"meta", "link", "input", "path", "rect"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.attributes: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag in self.VOID:
            return
        assert self.open.pop() == tag


@pytest.mark.parametrize("name", [name for name in FILES if name.endswith(".html")])
def test_pages_are_well_formed_and_ask_nothing_of_others(name: str) -> None:
    text = (TEMPLATE / name).read_text()
    page = Page(text)
    assert any(tag == "html" and attributes.get("lang") for tag, attributes in page.attributes)
    assert "prefers-color-scheme: dark" in text
    for _, attributes in page.attributes:
        for key in ("src", "href", "action"):
            target = attributes.get(key) or "/"
            assert target.startswith(("/", "data:")), target
    assert not re.search(r"@import|url\((?!data:)", text)
    if "error-pages" in name:
        assert Path(name).stem in text
        assert len(text) < 4096


def test_the_home_page_has_what_it_promises() -> None:
    text = (TEMPLATE / "web/base/index.html").read_text()
    page = Page(text)
    ids = {attributes.get("id") for _, attributes in page.attributes}
    assert {"echo-url", "echo-message", "echo-send", "echo-log"} <= ids
    assert "The gateway is running" in text
    assert "isthmus check" in text
    assert "bin/gateway.start" in text
    assert "&lt;type&gt;proxy&lt;/type&gt;" in text
