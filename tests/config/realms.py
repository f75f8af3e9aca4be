"""Realms and services as XML, for the tests of configuration."""

from __future__ import annotations

FILE = (
    "<login-module><type>file</type><success>required</success>"
    "<options><file>users</file></options></login-module>"
)
TOKEN = FILE.replace(">file</type>", ">token</type>")


def realm(
    modules: str = FILE, scheme: str = "Basic", authentication: str = "", inside: str = "", name: str = "demo"
) -> str:
    return (
        f"<security><realm><name>{name}</name>{inside}<authentication>"
        f"<http-challenge-scheme>{scheme}</http-challenge-scheme>{authentication}"
        f"<login-modules>{modules}</login-modules></authentication></realm></security>"
    )


def module(kind: str, options: str, success: str = "required") -> str:
    return (
        f"<login-module><type>{kind}</type><success>{success}</success>"
        f"<options>{options}</options></login-module>"
    )


def echo(*lines: str, accept: str = "wss://localhost:1/") -> str:
    address = f"<accept>{accept}</accept><type>echo</type>"
    return f"<service>{address}{''.join(lines)}</service>"
