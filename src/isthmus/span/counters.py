"""What a session counts, as plain integers."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Counters:
    """Counts since the session, or the table of sessions, began. Bytes are payload of streams."""

    opened_by_us: int = 0
    opened_by_peer: int = 0
    overloaded: int = 0  # streams of the peer refused because of a limit
    resets_sent: int = 0
    resets_received: int = 0
    bytes_sent: int = 0
    bytes_sent_again: int = 0
    bytes_received: int = 0
    bytes_twice: int = 0  # received, and held already
    writes_blocked: int = 0  # times that the application had to wait
    streams_scattered: int = 0  # times that data waited because of too many ranges to tell apart
    flows_opened_by_us: int = 0
    flows_opened_by_peer: int = 0
    flows_overloaded: int = 0  # flows of the peer refused: their limit is reached, or nobody takes any
    flows_ended_by_peer: int = 0
    datagrams_sent: int = 0
    datagrams_received: int = 0
    datagrams_late: int = 0  # dropped: waited for longer than they may
    datagrams_overflowed: int = 0  # dropped: more waited than may
    datagrams_unsent: int = 0  # dropped: waited when their flow ended
    datagrams_forgotten: int = 0  # frames for a flow that has ended, or never was
    frames_forgotten: int = 0  # for a stream that is forgotten
    acks_sent: int = 0
    pings_sent: int = 0
    pings_received: int = 0
    states_received: int = 0
    carriers_opened: int = 0
    carriers_lost: int = 0
    carriers_silent: int = 0  # of those lost: nothing came within the ping deadline
    carriers_full: int = 0  # times that data waited because a carrier had enough in flight
    carriers_stalled: int = 0  # times that one was silent, and its data went elsewhere
    carriers_flooded: int = 0  # of those lost: the peer asked and did not read the answers
    carriers_fenced: int = 0
    handshakes_failed: int = 0  # an invalid frame, a wrong proof of the server, or none in time
    joins: int = 0
    resumes: int = 0
    resumes_deferred: int = 0  # answered LATER: too many of them
    refused_unknown: int = 0
    refused_elsewhere: int = 0
    refused_later: int = 0
    protocol_errors: int = 0
    sessions_opened: int = 0
    sessions_ended: int = 0
    sessions_evicted: int = 0  # of those ended: their place was needed
