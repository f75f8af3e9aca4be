"""Multicast groups of UDP sockets: joining them to receive, and how far what is sent to them goes."""

from __future__ import annotations

import errno
import ipaddress
import socket
import struct
import sys

from isthmus.config.model import UdpOptions

_V4_MEMBERSHIP = struct.Struct("=4s4si")  # ip_mreqn: group, local address, interface; see ip(7)
_V6_MEMBERSHIP = struct.Struct("=16sI")  # ipv6_mreq; see RFC 3493
_ANY = bytes(4)


def join(sock: socket.socket, group: str, options: UdpOptions) -> None:
    """Receive what is sent to `group`, an IP address, from now on. Raises OSError."""
    interface = _interface(options.udp_interface, _scope(group))
    packed = ipaddress.ip_address(group.partition("%")[0]).packed
    if sock.family == socket.AF_INET:
        membership = _v4_membership(packed, interface)
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, membership)
    else:
        membership = _V6_MEMBERSHIP.pack(packed, interface)
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, membership)


def prepare_sending(sock: socket.socket, group: str, options: UdpOptions) -> None:
    """Say through which interface and how far what is sent to `group` goes. Raises OSError."""
    interface = _interface(options.udp_interface, _scope(group))
    ttl, loop = options.udp_multicast_ttl, int(options.udp_multicast_loop == "enabled")
    if sock.family == socket.AF_INET:
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, ttl)
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, loop)
        if interface:
            through = _v4_membership(_ANY, interface)
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, through)
    else:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, ttl)
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_LOOP, loop)
        if interface:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, interface)


def _v4_membership(group: bytes, interface: int) -> bytes:
    if sys.platform == "linux":
        return _V4_MEMBERSHIP.pack(group, _ANY, interface)
    return group + _ANY  # ip_mreq, which knows no interface but by its address


def _scope(group: str) -> str | None:
    return group.partition("%")[2] or None


def _interface(configured: str | None, scope: str | None) -> int:
    """Return the number of the interface that `udp.interface` names, by its name or an address; 0: any."""
    name = configured or scope
    if name is None:
        return 0
    if name.isdigit():
        return int(name)
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return socket.if_nametoindex(name)
    import psutil  # only an interface that is named by its address needs it

    for interface, addresses in psutil.net_if_addrs().items():
        if any(each.address.partition("%")[0] == str(address) for each in addresses):
            return socket.if_nametoindex(interface)
    raise OSError(errno.EADDRNOTAVAIL, f"no interface has the address {address}")
