"""How far away is it, and how much gets through?"""

from __future__ import annotations

import asyncio
import statistics
from dataclasses import dataclass

from isthmus.doctor.finding import Finding, Verdict, left_out, milliseconds
from isthmus.doctor.websocket import WebSocket
from isthmus.transports import probe

PINGS = 10
_PING_PATIENCE = 5.0
_ENOUGH = 0.7
"""Seconds of one direction after which no more is asked for."""
_FIRST = 64 * 1024
_BLOCK = bytes(range(256)) * 256


@dataclass(frozen=True, slots=True)
class Speed:
    """Times in seconds. `pings` are the answered ones of `asked`; `down` and `up` bytes, each with its time.

    `probed`: the far side moves bytes for us. `limited`: it granted fewer than were asked for.
    """

    connect: float = 0.0
    tls: float = 0.0
    handshake: float = 0.0
    asked: int = 0
    pings: tuple[float, ...] = ()
    probed: bool = False
    down: tuple[int, float] = (0, 0.0)
    up: tuple[int, float] = (0, 0.0)
    limited: bool = False

    @property
    def round_trip(self) -> float:
        return statistics.median(self.pings) if self.pings else 0.0


def judge_round_trip(speed: Speed) -> Finding:
    facts = {
        "connect": round(speed.connect, 4),
        "tls": round(speed.tls, 4),
        "handshake": round(speed.handshake, 4),
        "pings": [round(each, 5) for each in speed.pings],
        "median": round(speed.round_trip, 5),
    }
    if not speed.asked:
        return left_out("round trip", "no WebSocket is open to ping")
    if not speed.pings:
        advice = "ws.inactivity.timeout must stay 0 here; ask who answers in the place of the server"
        return Finding("round trip", Verdict.WARNING, "a WebSocket's pings are not answered", advice, facts)
    worst = max(speed.pings)
    steps = [f"connect {milliseconds(speed.connect)}"] if speed.connect else []
    steps += [f"TLS {milliseconds(speed.tls)}"] if speed.tls else []
    steps += [f"handshake {milliseconds(speed.handshake)}"]
    pings = f"median of {len(speed.pings)} pings, worst {milliseconds(worst)}"
    seen = f"{milliseconds(speed.round_trip)} ({pings}); {', '.join(steps)}"
    if len(speed.pings) < speed.asked:
        lost = speed.asked - len(speed.pings)
        advice = (
            f"something stalls for {_PING_PATIENCE:g} s and more: packets are lost, or a box holds them back"
        )
        return Finding("round trip", Verdict.WARNING, f"{seen}; {lost} pings came to nothing", advice, facts)
    return Finding("round trip", Verdict.OK, seen, "", facts)


def judge_throughput(speed: Speed) -> Finding:
    if not speed.probed:
        return left_out("throughput", "the far side answers no probes")
    facts = {
        "down bytes": speed.down[0],
        "down seconds": round(speed.down[1], 4),
        "up bytes": speed.up[0],
        "up seconds": round(speed.up[1], 4),
        "limited": speed.limited,
    }
    parts = [
        f"{name} {_rate(*moved)}" for name, moved in (("down", speed.down), ("up", speed.up)) if moved[0]
    ]
    if not parts:
        return left_out(
            "throughput", "the gateway grants no bytes now: too many probes (doctor.maximum.rate)"
        )
    moved = speed.down[0] + speed.up[0]
    seen = f"{', '.join(parts)} (one connection, {moved / 1e6:.1f} MB moved)"
    return Finding("throughput", Verdict.OK, seen, "", facts)


def _rate(count: int, seconds: float) -> str:
    rate = count / max(seconds, 1e-4) / 1e6
    return f"{rate:.0f} MB/s" if rate >= 10 else f"{rate:.2f} MB/s"


async def pings(socket: WebSocket, seconds: float) -> tuple[int, tuple[float, ...]]:
    """Ping a few times, one after the other; return how many were sent, and the times of those answered."""
    deadline = socket.now() + seconds
    answered: list[float] = []
    asked = 0
    while asked < PINGS and (left := deadline - socket.now()) > 0 and not socket.ended:
        asked += 1
        took = await socket.ping(b"doctor %d" % asked, min(left, _PING_PATIENCE))
        if took is None:
            break
        answered.append(took)
    return asked, tuple(answered)


async def throughput(
    socket: WebSocket, round_trip: float, seconds: float
) -> tuple[tuple[int, float], tuple[int, float], bool]:
    """Move bytes down, then up, in growing amounts until that has taken long enough; return both with their
    times (of the largest amount), and whether the gateway granted fewer than were asked for.
    """
    down, up = (0, 0.0), (0, 0.0)
    limited = False
    try:
        async with asyncio.timeout(seconds):
            for way in (b"D", b"U"):
                wanted = _FIRST
                while wanted < probe.MAXIMUM_BYTES and not socket.ended:
                    granted, took = await _move(socket, way, wanted, round_trip)
                    if granted < wanted:
                        limited = True
                    if granted:
                        down, up = ((granted, took), up) if way == b"D" else (down, (granted, took))
                    if granted < wanted or took > _ENOUGH:
                        break
                    wanted *= 2
    except TimeoutError:
        pass
    return down, up, limited


async def _move(socket: WebSocket, way: bytes, wanted: int, round_trip: float) -> tuple[int, float]:
    began = socket.now()
    socket.send(way + wanted.to_bytes(4, "big"))
    header = await _exactly(socket, 5)
    granted = int.from_bytes(header[1:], "big") if header[:1] == way.lower() else 0
    if not granted:
        return 0, 0.0
    if way == b"D":
        left = granted
        while left and not socket.ended:
            left -= len(socket.take(left))
            if left:
                await socket.hear()
        return granted - left, max(1e-4, socket.now() - began - round_trip)
    began = socket.now()
    left = granted
    while left and not socket.ended:
        part = _BLOCK[: min(left, len(_BLOCK))]
        socket.send(part)
        left -= len(part)
        await asyncio.sleep(0)
    done = await _exactly(socket, 1)
    return (granted if done == b"e" else 0), max(1e-4, socket.now() - began - round_trip)


async def _exactly(socket: WebSocket, size: int) -> bytes:
    found = b""
    while len(found) < size and not socket.ended:
        found += socket.take(size - len(found))
        if len(found) < size:
            await socket.hear()
    return found
