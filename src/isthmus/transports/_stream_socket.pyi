import socket

from isthmus.transports.stream_socket import PlainStreamSocket, Quota

MAXIMUM_PARTS: int

class StreamSocket(PlainStreamSocket): ...

def open_stream(family: int) -> StreamSocket: ...
def accept(listening: socket.socket, family: int, quota: Quota | None) -> StreamSocket | None: ...
