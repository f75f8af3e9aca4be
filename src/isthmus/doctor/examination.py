"""The whole examination, in order and in a bounded time: what fails on the way never ends it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from isthmus.doctor import buffering, clock, emulation, idle, names, proxy, routes, speed, tls, upgrade
from isthmus.doctor.finding import ESSENTIAL, EXAMINATIONS, Finding, Verdict, left_out, quoted
from isthmus.doctor.idle import Silence, timeout_for
from isthmus.doctor.line import Line
from isthmus.doctor.recommendation import Needs
from isthmus.doctor.speed import Speed
from isthmus.doctor.upgrade import Answer
from isthmus.doctor.websocket import WebSocket, open_websocket
from isthmus.errors import IsthmusError
from isthmus.security.certificate import utc_now
from isthmus.transports import probe

log = logging.getLogger(__name__)
Looked = TypeVar("Looked")

_RESOLVER = 10.0
_STREAM = 10.0
_PINGS = 10.0
_BYTES = 10.0
_LAST_PING = 10.0
_NO_PROBES = (
    "the far side answers no probes (no isthmus, an older one, doctor.probe is disabled, or too many at once)"
)


class _NoTime(Exception):
    """The whole has taken as long as it may."""


@dataclass
class Examination:
    """Examines one line, in `seconds` at most, `idle` seconds of silence not counted (0: none).

    `pin` is what the key of the server must be, see `line.check_pin`; empty: any.
    """

    line: Line
    seconds: float = 60.0
    idle: float = 0.0
    pin: str = ""
    found: dict[str, Finding] = field(default_factory=dict, init=False)
    needs: Needs = field(default_factory=Needs, init=False)
    _deadline: float = field(default=0.0, init=False)
    _connect: float = field(default=0.0, init=False)
    _whose: str = field(default="the gateway", init=False)
    _seen: tls.Tls | None = field(default=None, init=False)

    @property
    def findings(self) -> list[Finding]:
        """All findings, in the order of the report."""
        return [self.found[name] for name in EXAMINATIONS if name in self.found]

    async def run(self) -> None:
        """Look at everything. Never raises for what stands on the way."""
        self._deadline = asyncio.get_running_loop().time() + self.seconds
        steps: tuple[tuple[str, Callable[[], Awaitable[bool]]], ...] = (
            ("names", self._names),
            ("routes", self._routes),
            ("proxy", self._proxy),
            ("tls", self._tls),
            ("upgrade", self._upgrade),
            ("emulation", self._emulation),
            ("buffering", self._buffering),
            ("round trip", self._websocket),
            ("idle", self._idle),
        )
        for name, step in steps:
            if not await self._take(name, step):
                break
        failed = [each.examination for each in self.findings if each.verdict is Verdict.FAILED]
        why = f"not looked at, as {', '.join(failed) or 'what comes before'} failed"
        for name in EXAMINATIONS:
            self.found.setdefault(name, left_out(name, why))

    async def _take(self, name: str, step: Callable[[], Awaitable[bool]]) -> bool:
        """Take one step, whatever becomes of it; tell whether the next one makes sense."""
        try:
            return await step()
        except _NoTime:
            why = f"no time was left (--time {self.seconds:g})"
        except TimeoutError:
            why = "it took too long"
        except (IsthmusError, OSError) as error:
            log.debug("%s could not be examined", name, exc_info=error)
            why = quoted(str(error), 200)
        except Exception as error:  # a fault of ours, or something that nobody has thought of
            log.debug("%s could not be examined", name, exc_info=error)
            why = f"it could not be examined: {type(error).__name__}: {quoted(str(error))}"
        if name in self.found:
            return True
        if name in ESSENTIAL:
            return self._note(Finding(name, Verdict.FAILED, why))
        return self._note(left_out(name, why))

    async def _in(self, seconds: float, looking: Coroutine[Any, Any, Looked]) -> Looked:
        """Await what looks at something, for `seconds` and what is left of the whole."""
        left = self._deadline - asyncio.get_running_loop().time()
        if left <= 0:
            looking.close()
            raise _NoTime
        async with asyncio.timeout(min(left, seconds)):
            return await looking

    def _note(self, finding: Finding) -> bool:
        self.found[finding.examination] = finding
        return finding.verdict is not Verdict.FAILED

    @property
    def _patience(self) -> float:
        return self.line.options.connect_timeout

    # --- the steps: each tells whether the next one makes sense

    async def _names(self) -> bool:
        line, way = self.line, self.line.way
        if way.proxies:
            self._whose, host, self._port = "the proxy", way.proxies[0].host, way.proxies[0].port
        else:
            host, self._port = way.instead or (line.address.host, line.address.port)
        self._known = await self._in(_RESOLVER + 1, names.look(host.rstrip("."), self._whose, _RESOLVER))
        return self._note(names.judge(self._known)) or self._nothing_between()

    async def _routes(self) -> bool:
        looking = routes.look(self._known.addresses, self._port, self._patience)
        tried = await self._in(self._patience + 1, looking)
        used = routes.best(tried)
        if used is not None:
            self.line.first_hop = used.ip
            self._connect = used.seconds
        return self._note(routes.judge(tried, self._port, self._whose)) or self._nothing_between()

    def _nothing_between(self) -> bool:
        """Say what is known of proxies all the same where there is none: it may be what is missing."""
        if not self.line.way.proxies:
            self._note(proxy.judge(self.line.way, ()))
        return False

    async def _proxy(self) -> bool:
        line = self.line
        count = 2 * len(line.way.proxies)
        asked = await self._in(self._patience * max(1, count), proxy.look(line, self._patience))
        refusing = next((each for each in asked if not each.opened), None)
        if refusing is not None and refusing.schemes and not refusing.credential:
            self.needs = replace(self.needs, proxy_credentials=True)
        from_environment = any(each.credential is not None for each in line.way.proxies)
        if from_environment and line.options.proxy_credentials_file is None:
            self.needs = replace(self.needs, proxy_credentials=True)
        return self._note(proxy.judge(line.way, asked))

    async def _tls(self) -> bool:
        if not self.line.address.kind.secure:
            seen = "none: everybody on the way can read and change what crosses"
            return self._note(Finding("tls", Verdict.NOTE, seen, "use wss where the gateway has it"))
        self._seen = await self._in(2 * self._patience, tls.look(self.line, self.pin, self._patience))
        self._note(tls.judge(self._seen, utc_now()))
        return bool(self._seen.chain)

    async def _upgrade(self) -> bool:
        asked = await self._in(5 * self._patience, upgrade.look(self.line, self._patience))
        self._asked = asked
        if self._seen is not None and (told := asked.told) is not None:
            version = told.told.get("tls")
            certificates = told.told.get("certificates")
            shown = [str(each) for each in certificates] if isinstance(certificates, list) else []
            self._seen = self._seen.heard(shown, version if isinstance(version, str) else None)
            self._note(tls.judge(self._seen, utc_now()))
        if self._seen is not None and self._seen.code in (2, 18, 19, 20, 21):
            self.needs = replace(self.needs, authority=True)
        if asked.span.status == 401 and not asked.credentials and self.line.address.kind.secure:
            self.needs = replace(self.needs, credentials=True)
        self._note(upgrade.judge(asked))
        not_yet = self._seen is not None and self._seen.code == tls.NOT_YET_VALID
        self._note(clock.judge(clock.from_upgrade(asked), not_yet))
        return True

    async def _emulation(self) -> bool:
        """See what stands in for a WebSocket that is blocked, in the time that a connect gives it."""
        asked = self._asked
        if not asked.blocked:
            why = "a WebSocket opens" if asked.opened else "nothing on the way blocks WebSockets alone"
            self._note(left_out("emulation", f"not needed: {why}"))
            return True
        seconds = self._patience / 2 if asked.falls_back else self._patience
        found = await self._in(seconds + emulation.LONGEST_PING + 2.0, emulation.look(self.line, seconds))
        if found.way is not None:
            fallback = "" if asked.falls_back else found.way.name.lower()
            self.needs = replace(self.needs, fallback=fallback)
            self._note(upgrade.emulated(self.found["upgrade"]))
        elif found.status == 401 and not asked.credentials and self.line.address.kind.secure:
            self.needs = replace(self.needs, credentials=True)
        self._note(emulation.judge(found, self.needs.fallback))
        return True

    # --- what follows stands for itself

    async def _buffering(self) -> bool:
        if self._asked.told is None:
            self._note(left_out("buffering", _NO_PROBES))
        else:
            self._note(buffering.judge(await self._in(_STREAM + 1, buffering.look(self.line, _STREAM))))
        return True

    async def _websocket(self) -> bool:
        """Ping it, and move bytes over it."""
        socket, answer = await self._open()
        if socket is None:
            why = f"no WebSocket can be opened ({answer.status or answer.error})"
            for name in ("round trip", "throughput", "idle"):
                self._note(left_out(name, why))
            return False
        try:
            await self._measure(socket, answer.seconds)
        finally:
            socket.close()
        return True

    async def _measure(self, socket: WebSocket, handshake: float) -> None:
        asked = self._asked
        secured = self._seen.seconds - self._connect if self._seen is not None else 0.0
        measured = Speed(self._connect, max(0.0, secured), handshake, probed=asked.can_probe)
        count, answered = await self._in(_PINGS + 1, speed.pings(socket, _PINGS))
        measured = replace(measured, asked=count, pings=answered)
        self._note(speed.judge_round_trip(measured))
        if asked.can_probe:
            moving = speed.throughput(socket, measured.round_trip, _BYTES)
            down, up, limited = await self._in(_BYTES + 1, moving)
            measured = replace(measured, down=down, up=up, limited=limited)
        self._note(
            speed.judge_throughput(measured) if asked.can_probe else left_out("throughput", _NO_PROBES)
        )

    async def _idle(self) -> bool:
        """Keep a fresh WebSocket silent: the one before has had its say."""
        asked, silence = self._asked, Silence()
        if self.idle:
            self._deadline += self.idle + _LAST_PING
            socket, answer = await self._open()
            if socket is None:
                self._note(left_out("idle", f"no second WebSocket can be opened ({answer.status})"))
                return True
            try:
                silence = await self._in(
                    self.idle + _LAST_PING, idle.look(socket, self.idle, own=asked.can_probe)
                )
            finally:
                socket.close()
        self._note(idle.judge(silence, asked.has_span))
        if timeout_for(silence):
            if not asked.has_span:
                self.needs = replace(self.needs, inactivity=timeout_for(silence))
            elif silence.seconds <= idle.SPAN_PING:
                self.needs = replace(self.needs, ping_deadline=timeout_for(silence))
        return True

    async def _open(self) -> tuple[WebSocket | None, Answer]:
        if not self._asked.opened:
            return None, self._asked.best
        subprotocol = probe.SUBPROTOCOL if self._asked.can_probe else ""
        return await self._in(2 * self._patience, open_websocket(self.line, subprotocol, self._patience))
