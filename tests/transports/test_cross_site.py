"""Pages of other sites: what is allowed, and what browsers are told."""

from __future__ import annotations

from pathlib import Path

import pytest
from aiohttp import ClientSession
from tests.flow.gateways import HOST, configuration, running, service
from tests.system.process import free_port

from isthmus.config.model import CrossSiteConstraint, Service
from isthmus.transports.cross_site import CrossSite, same_site

SHOP = "https://shop.example.com"


def constraint(origin: str, **more: str) -> CrossSiteConstraint:
    values = {"allow-origin": origin} | {name.replace("_", "-"): value for name, value in more.items()}
    return CrossSiteConstraint.model_validate(values)


@pytest.mark.parametrize(
    ("origin", "host", "same"),
    [
        ("http://gw.example.com", "gw.example.com", True),
        ("https://GW.example.com:443", "gw.example.com", True),
        ("https://gw.example.com", "gw.example.com:443", True),
        ("http://gw.example.com:8000", "gw.example.com:8000", True),
        ("http://[::1]:8000", "[::1]:8000", True),
        ("http://gw.example.com:8000", "gw.example.com", False),
        ("http://gw.example.com.evil.org", "gw.example.com", False),
        ("http://gw.example.com/path", "gw.example.com", False),
        ("null", "gw.example.com", False),
        ("", "gw.example.com", False),
        ("file://gw.example.com", "gw.example.com", False),
    ],
)
def test_same_site(origin: str, host: str, same: bool) -> None:
    assert same_site(origin, host) is same


@pytest.mark.parametrize(
    ("allowed", "origin", "yes"),
    [
        (SHOP, SHOP, True),
        (SHOP, f"{SHOP}:443", True),
        (f"{SHOP}:443", SHOP, True),
        ("HTTPS://Shop.Example.com", SHOP, True),
        (SHOP, "http://shop.example.com", False),
        (SHOP, f"{SHOP}:8443", False),
        (SHOP, f"{SHOP}.evil.org", False),
        (SHOP, "null", False),
        ("null", "null", True),
        ("*", "null", True),
        ("*", "anything", True),
        ("http://a, http://b", "http://b", True),
    ],
)
def test_a_websocket(allowed: str, origin: str, yes: bool) -> None:
    assert CrossSite([constraint(allowed)]).allows(origin, "gw.example.com") is yes


def test_who_sends_no_origin_is_no_browser() -> None:
    assert CrossSite().allows(None, "gw.example.com")
    assert not CrossSite().allows(SHOP, "gw.example.com")
    assert CrossSite().allows("http://gw.example.com", "gw.example.com")


def test_the_first_constraint_that_names_the_origin_counts() -> None:
    several = CrossSite([constraint(SHOP, allow_methods="GET"), constraint("*", allow_methods="GET, PUT")])
    assert several.preflight(SHOP, "PUT", []) is None
    fields = several.preflight("http://other", "PUT", [])
    assert fields is not None
    assert fields["Access-Control-Allow-Origin"] == "*"


def test_preflight() -> None:
    sites = CrossSite(
        [constraint(SHOP, allow_methods="GET, PUT", allow_headers="X-One X-Two", maximum_age="10 min")]
    )
    assert sites.preflight(SHOP, "PUT", ["x-one"]) == {
        "Vary": "Origin, Access-Control-Request-Method, Access-Control-Request-Headers",
        "Access-Control-Allow-Origin": SHOP,
        "Access-Control-Allow-Methods": "GET, PUT",
        "Access-Control-Allow-Headers": "X-One, X-Two",
        "Access-Control-Max-Age": "600",
    }
    assert sites.preflight(SHOP, "DELETE", []) is None
    assert sites.preflight(SHOP, "PUT", ["x-three"]) is None
    assert sites.preflight("http://other", "PUT", []) is None


def test_answers() -> None:
    sites = CrossSite([constraint(SHOP)])
    assert sites.fields(SHOP, "GET") == {"Vary": "Origin", "Access-Control-Allow-Origin": SHOP}
    assert sites.fields("http://other", "GET") == {"Vary": "Origin"}
    assert sites.fields(SHOP, "DELETE") == {"Vary": "Origin"}
    assert sites.fields(None, "GET") == {"Vary": "Origin"}


async def test_files_for_pages_of_other_sites(tmp_path: Path) -> None:
    (tmp_path / "web").mkdir()
    (tmp_path / "web" / "a.txt").write_text("hello")
    port = free_port()
    here = f"http://{HOST}:{port}/"
    files = service("directory", here, directory="/")
    open_to_shop = Service.model_validate(
        {**dict(files), "cross_site": (constraint(SHOP, allow_headers="X-One"),)}
    )
    async with running(configuration(open_to_shop), home=tmp_path), ClientSession() as client:
        async with client.get(f"{here}a.txt", headers={"Origin": SHOP}) as answer:
            assert await answer.text() == "hello"
            assert answer.headers["Access-Control-Allow-Origin"] == SHOP
            assert "Origin" in answer.headers["Vary"]
        async with client.get(f"{here}a.txt", headers={"Origin": "http://other"}) as answer:
            assert answer.status == 200
            assert "Access-Control-Allow-Origin" not in answer.headers
        ask = {"Origin": SHOP, "Access-Control-Request-Method": "GET"}
        async with client.options(
            f"{here}a.txt", headers={**ask, "Access-Control-Request-Headers": "x-one"}
        ) as answer:
            assert answer.status == 204
            assert answer.headers["Access-Control-Allow-Headers"] == "X-One"
        async with client.options(f"{here}a.txt", headers={**ask, "Origin": "http://other"}) as answer:
            assert answer.status == 403
