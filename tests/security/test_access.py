from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.security.realms import Module, basic, realm, write

from isthmus.config.model import EchoProperties, GatewayConfig, GatewayOptions, Security, Service
from isthmus.config.realm import AuthorizationConstraint
from isthmus.errors import AccessDenied, KeystoreError
from isthmus.identity import Identity
from isthmus.security.access import Access, Doors
from isthmus.security.desk import Desk
from isthmus.security.login import Entry
from isthmus.security.realm import Realm
from isthmus.security.watch import Watch


def access(module: Module, *constraints: dict[str, Any]) -> Access:
    mine = Realm(realm(("file", "required", {"file": "x"})), Path(), modules=[module])
    read = [AuthorizationConstraint.model_validate(each) for each in constraints]
    return Access("echo", mine, read, Desk(GatewayOptions()), Watch())


@pytest.mark.parametrize(
    ("constraints", "allowed"),
    [
        ([], True),
        ([{"require-role": "A"}], True),
        ([{"require-role": ["A", "B"]}], True),
        ([{"require-role": "*"}], True),
        ([{"require-role": ["*", "C"]}], False),
        ([{"require-role": ["A", "C"]}], False),
        ([{"require-role": "A"}, {"require-role": "C"}], False),
        ([{"require-role": "a"}], False),
        ([{"require-role": "joe"}], False),
        ([{"require-user": ["ann", "joe"]}], True),
        ([{"require-user": "ann"}], False),
        ([{"require-user": "joe"}, {"require-user": "ann"}], False),
        ([{"require-user": "joe", "require-role": "C"}], False),
        ([{"require-valid-user": ""}], True),
    ],
)
async def test_who_is_let_in(constraints: list[dict[str, Any]], allowed: bool) -> None:
    mine = access(Module(Entry("joe", frozenset({"A", "B"}))), *constraints)
    if allowed:
        identity = await mine.admit(basic("joe", "w"))
        assert mine.still_allowed(identity)
        return
    with pytest.raises(AccessDenied) as caught:
        await mine.admit(basic("joe", "w"))
    assert (caught.value.status, str(caught.value)) == (403, "you may not use this service")
    assert not mine.still_allowed(Identity("demo", "joe", frozenset({"A", "B"})))


async def test_who_is_still_allowed() -> None:
    module = Module(Entry("joe", stamp="s"))
    mine = access(module)
    identity = await mine.admit(basic("joe", "w"))
    assert mine.still_allowed(identity)
    assert not mine.still_allowed(Identity("other", "joe"))
    module.vouching = False
    assert not mine.still_allowed(identity)


async def test_doors_make_the_realms_that_are_used(tmp_path: Path) -> None:
    write(tmp_path / "tokens", "")
    used = realm(("token", "required", {"file": "tokens"}), scheme="Bearer", name="used")
    unused = realm(("token", "required", {"file": "none"}), scheme="Bearer", name="unused")
    service = Service(name="echo", type="echo", properties=EchoProperties(), realm_name="used")
    config = GatewayConfig(services=(service,), security=Security(realms=(unused, used)))
    doors = Doors(config, tmp_path)
    with pytest.raises(AccessDenied):
        await doors.access(service).admit(basic("joe", "w"))
    doors.close()
    other = service.model_copy(update={"realm_name": "unused"})
    with pytest.raises(KeystoreError):
        Doors(GatewayConfig(services=(other,), security=config.security), tmp_path)
