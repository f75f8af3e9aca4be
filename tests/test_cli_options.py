"""What commands that connect take: the same options, the same defaults."""

from __future__ import annotations

import inspect
from pathlib import Path

from isthmus import cli, cli_options

PIN = "sha256/pWx7BWk7ZXjAmJ1eGnvZZJ0hQmDNmlIa3cyLFHsaTQE="


def test_proxy_and_doctor_take_the_same() -> None:
    own = {"accept", "connect", "address", "idle", "pin", "seconds", "machine", "log_file", "log_format"}
    taken = [
        {
            name: each.default
            for name, each in inspect.signature(command).parameters.items()
            if name not in own
        }
        for command in (cli.proxy, cli.doctor)
    ]
    assert taken[0] == taken[1]


def test_what_they_mean() -> None:
    options = cli_options.connect_options(
        insecure=True,
        through=["socks://proxy:1080"],
        proxy_credentials=Path("a"),
        credentials=Path("b"),
        seal_pins=[PIN],
        connect_timeout=3.0,
    )
    assert options.verify_server == "none"
    assert [str(each) for each in options.tcp_transport or ()] == ["socks://proxy:1080"]
    assert options.span_seal_pins == (PIN,)
    stores = cli_options.security(Path("a.pem"), Path("b.p12"), None, Path("c"))
    assert stores.truststore is not None
    assert stores.truststore.type == "PEM"
    assert stores.keystore is not None
    assert stores.keystore.type == "PKCS12"
    assert cli_options.security(None, None, None, None).keystore is None
