"""Voice beside a copy of a file: streams and flows of one service, one session, over a way that is full.

What is measured is compared with what the same way gives when nothing else is on it, in the same run.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.system import configuration
from tests.system.network import Namespace
from tests.system.pair import Processes
from tests.system.peers import Backend
from tests.system.process import PATIENCE, Gateway, free_port
from tests.system.requirements import Requirements
from tests.system.span_network import SERVER, FarNetwork, far_network
from tests.system.span_scene import HOST, SOAK_SECONDS, bar, soak
from tests.system.test_span_speed import Bulk, serve

pytestmark = [pytest.mark.soak, pytest.mark.timeout(180 + 2 * SOAK_SECONDS)]

VOICE = Path(__file__).with_name("voice.py")


@dataclass(frozen=True)
class Voice:
    """What `talk` saw; the 99th part of 100 of its round trips, in seconds."""

    p50: float
    p99: float
    lost: float


class Scene:
    """A service that takes TCP and UDP on one side of the Web, and one that hands both on at the other."""

    def __init__(
        self, network: FarNetwork, processes: Processes, folder: Path, tcp: int, *, carriers: int | str
    ) -> None:
        self._processes = processes
        self._near: Namespace = network.client
        self.port, web_port, udp = free_port(), free_port(), free_port()
        uri = f"ws://{SERVER}:{web_port}/both"
        far = configuration.service(uri, [f"tcp://{HOST}:{tcp}", f"udp://{HOST}:{udp}"])
        near = configuration.service(
            [f"tcp://{HOST}:{self.port}", f"udp://{HOST}:{self.port}"],
            uri,
            connect_options={"span.mode": "required", "span.carriers": carriers},
        )
        files = [
            configuration.write(folder / f"{name}.xml", part, options={"stop.timeout": "1 s"})
            for name, part in (("server", far), ("client", near))
        ]
        self.server: Gateway = processes.gateway(files[0], prefix=network.server.prefix).started()
        self.client: Gateway = processes.gateway(files[1], prefix=network.client.prefix).started()
        command = [*network.server.prefix, sys.executable, str(VOICE), "echo", HOST, str(udp)]
        processes.start(command).wait_for("serving")

    def talk(self, seconds: float) -> Voice:
        command = [sys.executable, str(VOICE), "talk", HOST, str(self.port), str(seconds)]
        talking = self._processes.start([*self._near.prefix, *command])
        talking.wait(seconds + PATIENCE)
        told = json.loads(talking.output)
        times = sorted(told["round_trips"])
        count = len(times) + told["lost"]
        return Voice(times[len(times) // 2], times[len(times) * 99 // 100], told["lost"] / count)


@pytest.mark.parametrize("carriers", ["auto", 2] if SOAK_SECONDS else ["auto"])
@pytest.mark.parametrize("way", ["u", "d"], ids=["up", "down"])
def test_voice_passes_a_copy_of_a_file(
    way: str, carriers: int | str, need: Requirements, processes: Processes, tmp_path: Path
) -> None:
    """20 Mbit/s, 20 ms there and back, a queue of 200 ms: bulk of the same session costs voice at most 50 ms.

    And at most one packet of 100.
    """
    need.root()
    need.program("ip")
    with far_network(delay=0.01, rate=20e6, queue=0.2) as network:
        listener = network.server.listen(HOST, free_port())
        with Backend(serve, listener) as backend:
            scene = Scene(network, processes, tmp_path, backend.port, carriers=carriers)
            empty = scene.talk(soak(3))
            connection = network.client.connect(HOST, scene.port)
            connection.settimeout(PATIENCE)
            with Bulk(connection, way) as bulk:
                rate = bulk.rate(1, 1)
                beside = scene.talk(soak(8))
                rate = max(rate, bulk.rate(0, 2)) * 8 / 1e6
        print(f"{way} {carriers}: empty {empty}, beside bulk of {rate:.1f} Mbit/s {beside}")
        assert beside.p99 - empty.p99 <= bar(0.050, 0.100)
        assert beside.lost <= bar(0.01, 0.02)
        assert rate >= bar(0.8, 0.4) * 20
        assert ("opening a carrier for datagrams" in scene.client.text) is (carriers == "auto")
