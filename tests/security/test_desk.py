from __future__ import annotations

import asyncio
import logging
import threading
from pathlib import Path
from typing import Any

import pytest
from tests.security.realms import Module, basic, bearer, realm

from isthmus.config.model import GatewayOptions
from isthmus.errors import AccessDenied
from isthmus.identity import Asked
from isthmus.security import desk as desk_module
from isthmus.security.desk import Desk, challenge
from isthmus.security.login import Credentials, Entry, LoginUnavailable
from isthmus.security.realm import Realm

JOE = Entry("joe", frozenset({"A"}))


def made(module: Any = None, scheme: str = "Basic", **options: Any) -> tuple[Desk, Realm, Any]:
    module = module or Module(JOE, quick=False)
    given = {"login.failure.delay": 0, **{name.replace("_", "."): value for name, value in options.items()}}
    kind = ("file" if "Basic" in scheme else "token", "required", {"file": "x"})
    config = realm(kind, scheme=scheme, description='The "Demo"')
    return Desk(GatewayOptions.model_validate(given)), Realm(config, Path(), modules=[module]), module


async def denied(desk: Desk, realm: Realm, asked: Asked) -> AccessDenied:
    with pytest.raises(AccessDenied) as caught:
        await desk.login(realm, asked)
    return caught.value


class Slow(Module):
    """Answers when it is let; `running` counts who waits for that."""

    def __init__(self) -> None:
        super().__init__(JOE, quick=False)
        self.gate = threading.Event()
        self.running = 0

    def login(self, credentials: Credentials) -> Entry:
        self.running += 1
        assert self.gate.wait(20)
        return super().login(credentials)


async def test_who_is_right_gets_in_and_is_known_again() -> None:
    desk, realm, module = made()
    assert str(await desk.login(realm, basic("joe", "w"))) == "demo/joe"
    assert str(await desk.login(realm, basic("joe", "w"))) == "demo/joe"
    assert len(module.asked) == 1
    await desk.login(realm, basic("joe", "other"))
    assert len(module.asked) == 2, "other credentials are not known"
    assert (desk.counters.succeeded, desk.counters.known) == (3, 1)
    module.vouching = False
    module.answer = LoginUnavailable("x")
    desk.close()


async def test_what_changed_is_not_known_again() -> None:
    desk, realm, module = made(Module(Entry("joe", stamp="s"), quick=False))
    await desk.login(realm, basic("joe", "w"))
    module.vouching = False
    await desk.login(realm, basic("joe", "w"))
    assert len(module.asked) == 2
    desk.close()


async def test_nothing_is_known_again_after_a_while_or_without_the_option() -> None:
    desk, realm, module = made(login_cache_time=0)
    for _ in range(2):
        await desk.login(realm, basic("joe", "w"))
    assert len(module.asked) == 2
    desk.close()


async def test_what_is_known_does_not_grow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(desk_module, "MAXIMUM_KNOWN", 5)
    desk, realm, module = made()
    for number in range(8):
        await desk.login(realm, basic(f"u{number}", "w"))
    assert len(desk._known) == 5
    await desk.login(realm, basic("u7", "w"))
    assert len(module.asked) == 8
    desk.close()


async def test_who_shows_nothing_is_asked_and_not_counted() -> None:
    desk, realm, module = made(login_failure_limit=1)
    for _ in range(5):
        error = await denied(desk, realm, Asked())
        assert (error.status, error.headers) == (
            401,
            (("WWW-Authenticate", 'Basic realm="The \'Demo\'", charset="UTF-8"'),),
        )
    assert module.asked == []


async def test_failures_are_counted_by_address_and_told_when_to_come_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    desk, realm, module = made(Module(quick=False), login_failure_limit=3)
    statuses = [(await denied(desk, realm, basic("joe", "s3cret"))).status for _ in range(5)]
    assert statuses == [401, 401, 401, 429, 429]
    error = await denied(desk, realm, basic("joe", "s3cret"))
    assert [name for name, _ in error.headers] == ["Retry-After"]
    assert len(module.asked) == 3, "what is limited costs no work"
    assert (desk.counters.failed, desk.counters.limited) == (3, 3)
    assert "10.0.0.7: login to demo as 'joe' failed: it is not so" in caplog.text
    assert "s3cret" not in caplog.text
    elsewhere = Asked(headers=basic("joe", "x").headers, client="10.0.0.8")
    assert (await denied(desk, realm, elsewhere)).status == 401
    desk.close()


async def test_who_is_known_gets_in_beside_those_who_fail() -> None:
    """Several users may have one address."""
    desk, realm, module = made(login_failure_limit=1)
    await desk.login(realm, basic("joe", "w"))
    module.answer = LoginUnavailable("x")
    module.answer = Module().answer
    assert (await denied(desk, realm, basic("eve", "x"))).status == 401
    assert (await denied(desk, realm, basic("eve", "x"))).status == 429
    await desk.login(realm, basic("joe", "w"))
    desk.close()


async def test_malformed_credentials_are_failures() -> None:
    desk, realm, module = made(login_failure_limit=2)
    asked = Asked(headers=(("authorization", "Basic !"),), client="10.0.0.7")
    assert [(await denied(desk, realm, asked)).status for _ in range(3)] == [401, 401, 429]
    assert module.asked == []


async def test_a_failure_takes_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    real = asyncio.sleep

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        await real(0)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    desk, realm, _ = made(Module(quick=True), login_failure_delay="5 s")
    await denied(desk, realm, basic("joe", "x"))
    assert len(slept) == 1
    assert 4.0 < slept[0] <= 5.0, "what the work took is part of it"


async def test_a_login_has_a_time_and_its_thread_keeps_its_place() -> None:
    desk, realm, module = made(Slow(), login_timeout=0.05, login_workers=1)
    error = await denied(desk, realm, basic("joe", "w"))
    assert (error.status, desk.counters.unavailable) == (503, 1)
    error = await denied(desk, realm, basic("joe", "w"))
    assert error.status == 503
    assert module.running == 1, "the second one never got to the thread"
    assert desk.pending == 0
    module.gate.set()
    for _ in range(200):
        if not desk._places.locked():
            break
        await asyncio.sleep(0.01)
    desk._options = GatewayOptions()
    assert str(await desk.login(realm, basic("joe", "w"))) == "demo/joe"
    desk.close()


async def test_only_so_many_wait_and_only_so_many_are_worked_on() -> None:
    desk, realm, module = made(Slow(), login_workers=2, login_maximum_pending=5)
    waiting = [asyncio.create_task(desk.login(realm, basic("joe", f"w{n}"))) for n in range(5)]
    for _ in range(200):
        if module.running == 2 and desk.pending == 5:
            break
        await asyncio.sleep(0.01)
    assert (module.running, desk.pending) == (2, 5)
    assert (await denied(desk, realm, basic("joe", "w"))).status == 503
    assert desk.counters.overloaded == 1
    for task in waiting[2:]:
        task.cancel()
    await asyncio.sleep(0.02)
    assert desk.pending == 2, "who leaves frees its place"
    assert desk.counters.abandoned == 3
    module.gate.set()
    assert [str(each) for each in await asyncio.gather(*waiting[:2])] == ["demo/joe"] * 2
    assert module.running == 2
    desk.close()


async def test_many_with_the_same_right_password_are_checked_once_and_none_is_turned_away() -> None:
    """A client gateway that comes back with all its connections at once."""
    desk, realm, module = made(login_failure_limit=3, login_workers=1)
    found = await asyncio.gather(*(desk.login(realm, basic("joe", "w")) for _ in range(50)))
    assert [str(each) for each in found] == ["demo/joe"] * 50
    assert len(module.asked) == 1
    assert len(desk._failures) == 0
    desk.close()


async def test_many_of_one_address_wait_for_each_other() -> None:
    """Each has a password of its own; none of them fails, so none is too many."""
    desk, realm, module = made(login_failure_limit=3)
    found = await asyncio.gather(*(desk.login(realm, basic(f"u{n}", "w")) for n in range(20)))
    assert len(found) == len(module.asked) == 20
    assert (desk.counters.limited, desk.pending) == (0, 0)
    desk.close()


async def test_many_at_once_that_fail_are_not_more_than_one_after_the_other() -> None:
    desk, realm, module = made(Module(quick=False), login_failure_limit=3)
    outcomes = await asyncio.gather(
        *(desk.login(realm, basic("joe", f"w{n}")) for n in range(20)), return_exceptions=True
    )
    statuses = [each.status for each in outcomes if isinstance(each, AccessDenied)]
    assert sorted(statuses) == [401] * 3 + [429] * 17
    assert len(module.asked) == 3
    desk.close()


async def test_who_leaves_before_it_is_told_has_used_its_token() -> None:
    desk, realm, module = made(Slow(), login_failure_limit=2)
    for number in range(2):
        task = asyncio.create_task(desk.login(realm, basic("joe", f"w{number}")))
        await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.sleep(0.01)
    assert (await denied(desk, realm, basic("joe", "w"))).status == 429
    module.gate.set()
    desk.close()


async def test_what_cannot_be_found_out_is_503_and_no_failure(caplog: pytest.LogCaptureFixture) -> None:
    desk, realm, _ = made(
        Module(LoginUnavailable("the directory is away"), quick=False), login_failure_limit=1
    )
    for _ in range(3):
        error = await denied(desk, realm, basic("joe", "s3cret"))
        assert (error.status, error.headers) == (503, (("Retry-After", "5"),))
    assert "the directory is away" in caplog.text
    assert "s3cret" not in caplog.text
    desk.close()


@pytest.mark.parametrize(
    ("scheme", "websocket", "error", "status", "challenges"),
    [
        ("Basic", True, "", 401, 'Basic realm="The \'Demo\'", charset="UTF-8"'),
        ("Application Basic", True, "", 401, "Application Basic realm=\"The 'Demo'\""),
        ("Application Basic", False, "", 401, 'Basic realm="The \'Demo\'", charset="UTF-8"'),
        ("Application Token", True, "", 401, "Application Token"),
        ("Application Token", False, "x", 401, "Application Token"),
        ("Bearer", True, "", 401, "Bearer realm=\"The 'Demo'\""),
        ("Bearer", True, "invalid_token", 401, 'Bearer realm="The \'Demo\'", error="invalid_token"'),
        ("Certificate", True, "", 403, ""),
    ],
)
def test_what_a_client_is_asked_for(
    scheme: str, websocket: bool, error: str, status: int, challenges: str
) -> None:
    config = realm(scheme=scheme, description='The "Demo"')
    found = challenge(Realm(config, Path(), modules=[]), websocket=websocket, error=error)
    assert found.status == status
    assert dict(found.headers).get("WWW-Authenticate", "") == challenges


def test_who_shows_nothing_is_not_asked_with_validate() -> None:
    config = realm(scheme="Bearer", asked={"authorization-mode": "validate"})
    mine = Realm(config, Path(), modules=[])
    assert challenge(mine, websocket=True, error="").status == 403
    assert challenge(mine, websocket=True, error="invalid_token").status == 401


async def test_quick_logins_need_no_thread() -> None:
    desk, realm, module = made(Module(JOE, quick=True), scheme="Bearer")
    await desk.login(realm, bearer("t"))
    await desk.login(realm, bearer("t"))
    assert desk._pool is None
    assert len(module.asked) == 2
