"""A gateway that stops waits for carriers that say their last, for a bounded time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from isthmus.transports.span.farewells import Farewells, farewells_of


class Carrier:
    """What leaves when it is cut, if it does."""

    def __init__(self, cut: Callable[[Carrier], None] = lambda _: None) -> None:
        self.cuts = 0
        self._cut = cut

    def abort(self) -> None:
        self.cuts += 1
        self._cut(self)


def test_nobody_is_waited_for_when_nobody_leaves() -> None:
    async def look() -> None:
        await Farewells().finish(3600.0)

    asyncio.run(look())


def test_it_ends_as_soon_as_the_last_has_left() -> None:
    async def look() -> None:
        farewells = Farewells()
        first, second = Carrier(), Carrier()
        farewells.begin(first)
        farewells.begin(second)
        farewells.end(Carrier())  # one that was never told of
        finishing = asyncio.ensure_future(farewells.finish(3600.0))
        await asyncio.sleep(0)
        farewells.end(first)
        await asyncio.sleep(0)
        assert not finishing.done()
        farewells.end(second)
        await finishing
        assert first.cuts == second.cuts == 0

    asyncio.run(look())


def test_who_does_not_leave_in_time_is_cut_and_waited_for() -> None:
    async def look() -> None:
        farewells = Farewells()
        loop = asyncio.get_running_loop()

        def leave_soon(carrier: Carrier) -> None:
            loop.call_soon(farewells.end, carrier)

        slow = Carrier(leave_soon)
        farewells.begin(slow)
        await farewells.finish(0.01)
        assert slow.cuts == 1
        assert not len(farewells)

    asyncio.run(look())


def test_who_never_leaves_is_not_waited_for_for_ever() -> None:
    async def look() -> None:
        farewells = Farewells()
        stuck = Carrier()
        farewells.begin(stuck)
        await farewells.finish(0.01)
        assert stuck.cuts == 1
        assert len(farewells) == 1

    asyncio.run(look())


def test_each_loop_has_its_own() -> None:
    async def look() -> Farewells:
        loop = asyncio.get_running_loop()
        assert farewells_of(loop) is farewells_of(loop)
        return farewells_of(loop)

    assert asyncio.run(look()) is not asyncio.run(look())
