"""What is remembered of the ways to a server, for each network."""

from __future__ import annotations

from isthmus.transports.ways import MAXIMUM_NETWORKS, Way, Ways, network


class Scene:
    def __init__(self) -> None:
        self.now = 0.0
        self.where = "home"
        self.ways = Ways(300.0, clock=lambda: self.now, where=lambda: self.where)


def test_what_is_known_is_believed_for_a_while() -> None:
    scene = Scene()
    assert scene.ways.best() is Way.WEBSOCKET
    assert not scene.ways.found(Way.WEBSOCKET)
    assert scene.ways.found(Way.SHORT)
    scene.now = 299.0
    assert scene.ways.best() is Way.SHORT
    assert not scene.ways.found(Way.SHORT), "no news, but believed for longer"
    scene.now = 598.0
    assert scene.ways.best() is Way.SHORT
    scene.now = 599.0
    assert scene.ways.best() is Way.WEBSOCKET
    assert scene.ways.found(Way.WEBSOCKET), "it gets through again"
    assert not scene.ways.found(Way.WEBSOCKET)


def test_each_network_has_its_own() -> None:
    scene = Scene()
    scene.ways.found(Way.STREAMING)
    scene.where = "train"
    assert scene.ways.best() is Way.WEBSOCKET
    scene.ways.found(Way.SHORT)
    scene.where = "home"
    assert scene.ways.best() is Way.STREAMING
    scene.ways.forget()
    assert scene.ways.best() is Way.WEBSOCKET
    scene.where = "train"
    assert scene.ways.best() is Way.SHORT


def test_a_suspicion_is_an_emulated_way_of_any_kind() -> None:
    scene = Scene()
    scene.ways.suspect()
    assert scene.ways.best() is None
    scene.now = 301.0
    assert scene.ways.best() is Way.WEBSOCKET


def test_only_so_many_networks() -> None:
    scene = Scene()
    for number in range(MAXIMUM_NETWORKS + 1):
        scene.where = str(number)
        scene.ways.found(Way.SHORT)
    scene.where = "0"
    assert scene.ways.best() is Way.WEBSOCKET
    scene.where = "1"
    assert scene.ways.best() is Way.SHORT


def test_this_network() -> None:
    assert network() == network()


def test_the_better_the_higher() -> None:
    assert Way.SHORT < Way.STREAMING < Way.WEBSOCKET
