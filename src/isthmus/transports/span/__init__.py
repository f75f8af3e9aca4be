"""Span on the event loop: sessions of streams over WebSockets that come and go (docs/span.md, isthmus.span).

connect      the connector of ws and wss; request: one connect; offer: asking whether a server speaks span
client       one session with a server, and getting its carriers back
accept       the sessions of one accept; place: what tells this process from others
session      what drives a session in both roles: its timer, and the way to its streams
stream       a stream as a transport; incoming: as what a service is offered
flow         a flow as one side of a flow of datagrams, as what a service is offered, and its connect
websocket    the WebSocket of one carrier
limits       from options to limits
"""
