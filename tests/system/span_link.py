"""A program: the only link between two network namespaces, as far away and as broken as a test wants.

    python span_link.py NAMESPACE NAMESPACE [--delay SECONDS] [--rate BYTES] [--queue SECONDS]

It makes a TUN device `tun0` in each and carries packets between them, `--delay` seconds later. With `--rate`
they leave no faster than that, and wait in a queue of `--queue` seconds, in which those that find no room are
lost: a queue on the way, that the sender's kernel knows nothing of. It obeys lines on standard input and
answers each with `ok COMMAND`: `down` (no packet passes), `up`. Only root may run it.
"""

from __future__ import annotations

import argparse
import ctypes
import fcntl
import os
import select
import struct
import sys
import time
from collections import deque

_CLONE_NEWNET = 0x40000000
_TUNSETIFF = 0x400454CA
_IFF_TUN, _IFF_NO_PI = 0x0001, 0x1000
_WAITING = 100_000  # packets


def enter(namespace: str) -> None:
    with open(f"/run/netns/{namespace}", "rb") as file:
        if ctypes.CDLL(None, use_errno=True).setns(file.fileno(), _CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), f"cannot enter the namespace {namespace}")


def tun(namespace: str) -> int:
    """Return a new TUN device of a namespace."""
    enter(namespace)
    device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(device, _TUNSETIFF, struct.pack("16sH22x", b"tun0", _IFF_TUN | _IFF_NO_PI))
    return device


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("namespaces", nargs=2)
    parser.add_argument("--delay", type=float, default=0.0, help="seconds, one way")
    parser.add_argument("--rate", type=float, default=0.0, help="bytes a second, each way")
    parser.add_argument("--queue", type=float, default=0.2, help="seconds")
    settings = parser.parse_args()
    delay: float = settings.delay
    first, second = (tun(name) for name in settings.namespaces)
    other = {first: second, second: first}
    free_at = {first: 0.0, second: 0.0}
    waiting: dict[int, deque[tuple[float, bytes]]] = {first: deque(), second: deque()}
    up = True
    print("linked", file=sys.stderr, flush=True)
    commands = sys.stdin.fileno()
    while True:
        due = min((queue[0][0] for queue in waiting.values() if queue), default=None)
        wait = None if due is None else max(0.0, due - time.monotonic())
        ready, _, _ = select.select([first, second, commands], [], [], wait)
        now = time.monotonic()
        for device in ready:
            if device == commands:
                words = os.read(commands, 200).decode().split()
                match words:
                    case []:
                        return
                    case ["down"]:
                        up = False
                        for queue in waiting.values():
                            queue.clear()
                    case ["up"]:
                        up = True
                    case _:
                        raise ValueError(words)
                print("ok", *words, file=sys.stderr, flush=True)
                continue
            for _ in range(64):
                try:
                    packet = os.read(device, 65_536)
                except BlockingIOError:
                    break
                if not up or len(waiting[device]) >= _WAITING:
                    continue
                leaves = now
                if settings.rate:
                    leaves = max(now, free_at[device])
                    if leaves - now > settings.queue:
                        continue
                    leaves += len(packet) / settings.rate
                    free_at[device] = leaves
                waiting[device].append((leaves + delay, packet))
        for device, queue in waiting.items():
            while queue and queue[0][0] <= now:
                _, packet = queue.popleft()
                try:
                    os.write(other[device], packet)
                except OSError:  # nobody has the device up, or its queue is full: as a network loses packets
                    pass


if __name__ == "__main__":
    main()
