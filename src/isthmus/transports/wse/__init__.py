"""WebSocket emulation over HTTP on the event loop (isthmus.wse, docs/wse.md).

stream       an emulated WebSocket as the transport below a WebSocket: what both roles share
exchange     one HTTP request on a connection that was accepted, its body and its answer
accept       the emulated WebSockets of one accept; accepted: one of them
request      one HTTP request to a server, and the connection it is sent on
opening      creating one at a server; connected: one that was created
"""
