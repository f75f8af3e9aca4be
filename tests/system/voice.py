"""A program: voice over UDP, 50 packets a second of 172 bytes, and who sends them back.

    python voice.py echo HOST PORT
    python voice.py talk HOST PORT SECONDS

`talk` prints, as JSON, the round trip in seconds of each packet that came back, and how many did not.
"""

from __future__ import annotations

import json
import select
import socket
import struct
import sys
import time

EVERY = 0.02
SIZE = 172
WAIT = 2.0
_HEAD = struct.Struct("!Id")


def echo(host: str, port: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind((host, port))
        print("serving", file=sys.stderr, flush=True)
        while True:
            data, client = server.recvfrom(2_000)
            server.sendto(data, client)


def talk(host: str, port: int, seconds: float) -> None:
    came: dict[int, float] = {}
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.connect((host, port))
        client.setblocking(False)
        print("talking", file=sys.stderr, flush=True)
        began = time.monotonic()
        sent, last = 0, round(seconds / EVERY)
        while True:
            now = time.monotonic()
            if sent < last and now >= began + sent * EVERY:
                client.send(_HEAD.pack(sent, now).ljust(SIZE, b"v"))
                sent += 1
            until = began + sent * EVERY if sent < last else began + last * EVERY + WAIT
            if sent == last and (len(came) == last or now >= until):
                break
            if select.select([client], [], [], max(0.0, until - time.monotonic()))[0]:
                number, when = _HEAD.unpack_from(client.recv(2_000))
                came.setdefault(number, time.monotonic() - when)
    print(json.dumps({"round_trips": [came[each] for each in sorted(came)], "lost": last - len(came)}))


if __name__ == "__main__":
    if sys.argv[1] == "echo":
        echo(sys.argv[2], int(sys.argv[3]))
    else:
        talk(sys.argv[2], int(sys.argv[3]), float(sys.argv[4]))
