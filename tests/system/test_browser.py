"""A browser opens the home page of a fresh GATEWAY_HOME, and is a client of services through WebSockets."""

from __future__ import annotations

import hashlib
import http.client
import json
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.system import configuration
from tests.system.certificates import Authority
from tests.system.pair import Processes
from tests.system.peers import Backend, echo
from tests.system.process import PATIENCE, Gateway, eventually, free_port, isthmus_command
from tests.system.requirements import Requirements
from websockets.sync.client import ClientConnection
from websockets.sync.client import connect as websockets_connect

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-default-apps",
    "--no-proxy-server",
    # Of the authority of these tests it knows nothing; whom isthmus believes is tested elsewhere.
    "--ignore-certificate-errors",
    # Nothing leaves this machine, whatever the browser would like to look up.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE 127.0.0.1",
    "--remote-debugging-port=0",
)


class Page:
    """One page of a browser, driven by the DevTools protocol."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self._last = 0

    def command(self, method: str, **parameters: object) -> dict[str, Any]:
        """Run one command and return its result."""
        self._last += 1
        self._connection.send(json.dumps({"id": self._last, "method": method, "params": parameters}))
        while True:
            message = json.loads(self._connection.recv(timeout=PATIENCE))
            if message.get("id") == self._last:
                assert "error" not in message, message
                result: dict[str, Any] = message["result"]
                return result

    def evaluate(self, script: str) -> Any:
        """Return the value of a script."""
        result = self.command("Runtime.evaluate", expression=script, returnByValue=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def open(self, url: str) -> None:
        """Go to a page and wait until it is there."""
        outcome = self.command("Page.navigate", url=url)
        assert "errorText" not in outcome, outcome
        eventually(
            lambda: (
                self.evaluate("document.readyState") == "complete" and self.evaluate("location.href") == url
            ),
            f"{url} is loaded",
        )


@pytest.fixture
def page(processes: Processes, need: Requirements, tmp_path: Path) -> Iterator[Page]:
    program = need.program("chromium", "chromium-browser", "google-chrome")
    browser = processes.start([program, *FLAGS, f"--user-data-dir={tmp_path / 'profile'}", "about:blank"])
    listening = re.search(r"ws://127\.0\.0\.1:(\d+)/", browser.wait_for("DevTools listening on"))
    assert listening is not None
    tools = http.client.HTTPConnection("127.0.0.1", int(listening[1]), timeout=PATIENCE)
    tools.request("GET", "/json/list")
    targets = json.loads(tools.getresponse().read())
    tools.close()
    address = next(target["webSocketDebuggerUrl"] for target in targets if target["type"] == "page")
    with websockets_connect(address, proxy=None, max_size=None, open_timeout=PATIENCE) as connection:
        yield Page(connection)


@pytest.fixture
def home(processes: Processes, tmp_path: Path) -> tuple[Gateway, str]:
    """A gateway that runs from a fresh home, unchanged but for its ports; and the address of its page."""
    folder = tmp_path / "home"
    made = isthmus_command("init", folder)
    assert made.code == 0, made.errors
    config = folder / "conf" / "gateway-config-minimal.xml"
    port = free_port()
    text = re.sub(r"\b8000\b", str(port), config.read_text())
    config.write_text(re.sub(r"\b8001\b", str(free_port()), text))
    return processes.gateway(config).started(), f"http://localhost:{port}/"


def test_the_home_page_and_its_echo(home: tuple[Gateway, str], page: Page) -> None:
    gateway, url = home
    page.open(url)
    assert "running" in page.evaluate("document.body.innerText")

    def shown(text: str) -> int:
        times: int = page.evaluate("document.getElementById('echo-log').innerText").count(text)
        return times

    for said in ("Hello from Chromium", "and once more: grüße"):
        page.evaluate(f"document.getElementById('echo-message').value = {json.dumps(said)}")
        page.evaluate("document.getElementById('echo-send').click()")
        # Once as it was sent, once as it came back.
        eventually(partial(lambda text: shown(text) == 2, said), f"the echo is shown; {gateway.text}")


def test_a_page_that_is_missing_and_pages_of_other_sites(home: tuple[Gateway, str], page: Page) -> None:
    _, url = home
    page.open(f"{url}no-such-page")
    assert "404" in page.evaluate("document.documentElement.innerText")
    page.open(url)
    echo = page.evaluate("document.getElementById('echo-url').value")
    # A page of another origin may not use this gateway's WebSocket.
    page.open("data:text/html,another%20site")
    page.evaluate(
        f"window.outcome = ''; const socket = new WebSocket({json.dumps(echo)});"
        "socket.onopen = () => { outcome = 'open' }; socket.onerror = () => { outcome = 'refused' };"
    )
    eventually(lambda: page.evaluate("window.outcome") != "", "the WebSocket is open or refused")
    assert page.evaluate("window.outcome") == "refused"


CLIENT = """
window.outcome = '';
const socket = new WebSocket(%s);
const sent = new Uint8Array(%d);
for (let at = 0; at < sent.length; at++) sent[at] = (at * 31 + (at >> 8)) & 255;
const received = new Uint8Array(sent.length);
let length = 0;
socket.binaryType = 'arraybuffer';
socket.onerror = () => { outcome = 'error' };
socket.onclose = event => { outcome ||= 'closed ' + event.code };
socket.onmessage = event => {
    received.set(new Uint8Array(event.data), length);
    length += event.data.byteLength;
    if (length < sent.length) return;
    crypto.subtle.digest('SHA-256', received).then(digest => {
        const bytes = Array.from(new Uint8Array(digest));
        outcome = bytes.map(byte => byte.toString(16).padStart(2, '0')).join('');
        socket.close(1000);
    });
};
socket.onopen = () => {
    for (let at = 0; at < sent.length; at += 60000) socket.send(sent.subarray(at, at + 60000));
};
"""


@pytest.mark.parametrize("scheme", ["ws", "wss"])
def test_a_browser_is_the_client_of_a_tcp_service(
    scheme: str, page: Page, processes: Processes, tmp_path: Path, authority: Authority
) -> None:
    """Chromium, a gateway that has the page too, another gateway, a TCP server: every byte there and back."""
    size = 5_000_000
    near, far = free_port(), free_port()
    with Backend(echo) as server:
        url = f"{scheme}://localhost:{near}/"
        middle = f"{scheme}://127.0.0.1:{far}/tcp"
        own = tmp_path / "home"
        assert isthmus_command("init", own).code == 0
        secure, believed = "", ""
        if scheme == "wss":
            keystore = authority.server("localhost", "127.0.0.1")
            secure = configuration.security(keystore=keystore)
            believed = configuration.security(keystore=keystore, truststore=authority.truststore)
        first = configuration.write(
            own / "conf" / "near.xml",
            configuration.directory(url.replace("ws", "http", 1)),
            configuration.service(f"{url}app", middle),
            believed,
        )
        second = configuration.write(
            own / "conf" / "far.xml",
            configuration.service(middle, f"tcp://127.0.0.1:{server.port}"),
            secure,
        )
        for config in (second, first):
            processes.gateway(config).started()
        page.open(url.replace("ws", "http", 1))
        page.evaluate(CLIENT % (json.dumps(f"{url}app"), size))
        eventually(lambda: page.evaluate("window.outcome") != "", "the browser has everything back")
        sent = bytes((at * 31 + (at >> 8)) & 255 for at in range(size))
        assert page.evaluate("window.outcome") == hashlib.sha256(sent).hexdigest()
        assert server.outcome() == size
