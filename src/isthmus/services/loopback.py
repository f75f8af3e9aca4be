"""The far side of an echo's flows: sends back what it is given."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from isthmus.errors import ConnectError
from isthmus.transports.base import Dial
from isthmus.transports.datagrams import DatagramReceiver
from isthmus.uri import Address


class LoopbackConnector:
    """Makes far sides that send each datagram back `repeat` times: a `DatagramConnector`."""

    def __init__(self, address: Address, repeat: int) -> None:
        self.address = address
        self._repeat = repeat

    def connect(
        self, receiver: DatagramReceiver, failed: Callable[[ConnectError], None], *, origin: str = ""
    ) -> Dial:
        loopback = Loopback(receiver, self._repeat)
        return asyncio.get_running_loop().call_soon(receiver.datagrams_made, loopback)

    def close(self) -> None:
        """Nothing is kept."""


class Loopback:
    """One far side: a `DatagramTransport`."""

    __slots__ = ("_receiver", "_repeat")

    def __init__(self, receiver: DatagramReceiver, repeat: int) -> None:
        self._receiver: DatagramReceiver | None = receiver
        self._repeat = repeat

    def send(self, datagrams: list[bytes]) -> None:
        if self._repeat > 1:
            datagrams = [data for data in datagrams for _ in range(self._repeat)]
        if self._receiver is not None:
            self._receiver.datagrams_received(datagrams)

    def close(self) -> None:
        self._receiver = None

    def info(self, name: str) -> Any:
        return None
