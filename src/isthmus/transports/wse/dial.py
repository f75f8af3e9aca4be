"""One attempt to open an emulated WebSocket."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from isthmus.config.model import ConnectOptions
from isthmus.transports.door import Door
from isthmus.transports.ways import Way
from isthmus.transports.ws_dial import Failed, Opened, Opening, WebSocketDial
from isthmus.transports.wse.opening import EmulationOpening
from isthmus.uri import Address
from isthmus.wse.requests import Asking


class EmulationDial(WebSocketDial):
    """One attempt to open an emulated WebSocket by `way`, also where the server redirects it; None: see
    `EmulationOpening`.
    """

    __slots__ = ("_made", "_way")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        address: Address,
        options: ConnectOptions,
        opened: Opened,
        failed: Failed,
        subprotocols: Sequence[str] = (),
        fields: Sequence[tuple[str, str]] = (),
        way: Way | None = None,
    ) -> None:
        super().__init__(loop, address, options, opened, failed, subprotocols, fields)
        self._way = way
        self._made: EmulationOpening | None = None

    @property
    def way(self) -> Way | None:
        """The way that it is open by."""
        return None if self._made is None else self._made.open_way

    def _make(self, door: Door, address: Address) -> Opening:
        def asking() -> Asking:
            host, target, headers = door.asking(address, self._fields)
            return Asking(host, target, tuple(headers))

        self._made = EmulationOpening(
            address,
            door.connector(address),
            self._origin,
            self._opened_once,
            self._failed_once,
            asking,
            self._subprotocols,
            lambda response: door.heard(address, response),
            self._way,
        )
        return self._made
