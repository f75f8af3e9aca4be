"""The commands in docs/keystores.md, run as they stand there, in order."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import isthmus

TEXT = (Path(__file__).parent.parent / "docs" / "keystores.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^```sh\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
SECURITY = re.findall(r"^```xml\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)[0]
ENVIRONMENT = {**os.environ, "COLUMNS": "200", "PYTHONPATH": str(Path(isthmus.__file__).parents[1])}
GATEWAY = """<gateway-config xmlns="http://xmlns.kaazing.org/2016/06/gateway">
<service><name>s</name><accept>wss://gw.example.com:8443/</accept><type>echo</type>
<accept-options><wss.bind>127.0.0.1:8443</wss.bind><ssl.verify-client>optional</ssl.verify-client></accept-options>
</service>
{}
</gateway-config>
"""


@pytest.mark.skipif(
    not shutil.which("keytool") or not shutil.which("openssl"), reason="needs keytool, openssl"
)
def test_the_guide(tmp_path: Path) -> None:
    (tmp_path / "gateway.xml").write_text(GATEWAY.format(SECURITY))
    output = ""
    for block in COMMANDS:
        script = block.replace("isthmus ", f"{sys.executable} -m isthmus ")
        done = subprocess.run(
            ["sh", "-e", "-c", script],
            cwd=tmp_path,
            env=ENVIRONMENT,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        output = done.stdout
    assert "can be started" in output
    assert re.search(r"keystore +CN=gw\.example\.com +gw\.example\.com +itself .* 36[45] days", output)
    assert re.search(r"truststore +CN=gw\.example\.com", output)
    assert "WARN" not in output
    pem = GATEWAY.format("<security><keystore><file>gateway.pem</file></keystore></security>")
    (tmp_path / "gateway.xml").write_text(pem.replace("optional", "none"))
    done = subprocess.run(
        [sys.executable, "-m", "isthmus", "check", "gateway.xml"],
        cwd=tmp_path,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout
