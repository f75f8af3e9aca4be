"""Configuration files for tests, in the form of the whitepaper."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from xml.sax.saxutils import escape

_NAMESPACE = "http://xmlns.kaazing.com/gateway-config/excalibur"


def service(
    accepts: str | Sequence[str],
    connect: str | Sequence[str] = "",
    *,
    kind: str = "proxy",
    properties: Mapping[str, object] | None = None,
    accept_options: Mapping[str, object] | None = None,
    connect_options: Mapping[str, object] | None = None,
) -> str:
    """Return one `<service>`."""
    accepts = [accepts] if isinstance(accepts, str) else accepts
    lines = [_element("accept", accept) for accept in accepts]
    connects = [connect] if isinstance(connect, str) else connect
    lines += [_element("connect", each) for each in connects if each]
    lines.append(_element("type", kind))
    lines.append(_section("properties", properties))
    lines.append(_section("accept-options", accept_options))
    lines.append(_section("connect-options", connect_options))
    return f"<service>{''.join(lines)}</service>"


def directory(accept: str) -> str:
    """Return the directory service that the whitepaper's files have."""
    properties = {
        "directory": "/base",
        "welcome-file": "index.html",
        "error-pages-directory": "/error-pages",
        "options": "indexes",
    }
    return service(accept, kind="directory", properties=properties)


def security(*, keystore: Path | None = None, truststore: Path | None = None) -> str:
    """Return the `<security>` with PEM files."""
    stores = {"keystore": keystore, "truststore": truststore}
    inner = "".join(
        f"<{name}><type>PEM</type>{_element('file', file)}</{name}>" for name, file in stores.items() if file
    )
    return f"<security>{inner}</security>"


def write(file: Path, *parts: str, options: Mapping[str, object] | None = None) -> Path:
    """Write a configuration of services and sections. `options` are the `gateway-options`."""
    body = "\n".join([*parts, _section("gateway-options", options)])
    file.write_text(
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f'<gateway-config xmlns="{_NAMESPACE}">\n{body}\n</gateway-config>\n'
    )
    return file


def _section(name: str, values: Mapping[str, object] | None) -> str:
    if not values:
        return ""
    return f"<{name}>{''.join(_element(key, value) for key, value in values.items())}</{name}>"


def _element(name: str, value: object) -> str:
    return f"<{name}>{escape(str(value))}</{name}>"
