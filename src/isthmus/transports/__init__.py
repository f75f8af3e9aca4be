"""Layers that carry streams: sockets, TLS, WebSocket, and the port they share."""
