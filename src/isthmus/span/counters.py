"""What a session counts, as plain integers."""

from __future__ import annotations


class Counters:
    """Counts since the session, or the table of sessions, began. Bytes are payload of streams."""

    __slots__ = (
        "acks_sent",
        "bytes_received",
        "bytes_sent",
        "bytes_sent_again",
        "bytes_twice",
        "carriers_fenced",
        "carriers_flooded",
        "carriers_full",
        "carriers_lost",
        "carriers_opened",
        "carriers_silent",
        "carriers_stalled",
        "datagrams_forgotten",
        "datagrams_late",
        "datagrams_overflowed",
        "datagrams_received",
        "datagrams_sent",
        "datagrams_unsent",
        "flows_ended_by_peer",
        "flows_opened_by_peer",
        "flows_opened_by_us",
        "flows_overloaded",
        "frames_forgotten",
        "handshakes_failed",
        "joins",
        "opened_by_peer",
        "opened_by_us",
        "overloaded",
        "pings_received",
        "pings_sent",
        "protocol_errors",
        "refused_elsewhere",
        "refused_later",
        "refused_unknown",
        "resets_received",
        "resets_sent",
        "resumes",
        "resumes_deferred",
        "sessions_ended",
        "sessions_evicted",
        "sessions_opened",
        "states_received",
        "streams_scattered",
        "writes_blocked",
    )

    def __init__(self) -> None:
        self.opened_by_us = 0
        self.opened_by_peer = 0
        self.overloaded = 0  # streams of the peer refused because of a limit
        self.resets_sent = 0
        self.resets_received = 0
        self.bytes_sent = 0
        self.bytes_sent_again = 0
        self.bytes_received = 0
        self.bytes_twice = 0  # received, and held already
        self.writes_blocked = 0  # times that the application had to wait
        self.streams_scattered = 0  # times that data waited because of too many ranges to tell apart
        self.flows_opened_by_us = 0
        self.flows_opened_by_peer = 0
        self.flows_overloaded = 0  # flows of the peer refused: their limit is reached, or nobody takes any
        self.flows_ended_by_peer = 0
        self.datagrams_sent = 0
        self.datagrams_received = 0
        self.datagrams_late = 0  # dropped: waited for longer than they may
        self.datagrams_overflowed = 0  # dropped: more waited than may
        self.datagrams_unsent = 0  # dropped: waited when their flow ended
        self.datagrams_forgotten = 0  # frames for a flow that has ended, or never was
        self.frames_forgotten = 0  # for a stream that is forgotten
        self.acks_sent = 0
        self.pings_sent = 0
        self.pings_received = 0
        self.states_received = 0
        self.carriers_opened = 0
        self.carriers_lost = 0
        self.carriers_silent = 0  # of those lost: nothing came within the ping deadline
        self.carriers_full = 0  # times that data waited because a carrier had enough in flight
        self.carriers_stalled = 0  # times that one was silent, and its data went elsewhere
        self.carriers_flooded = 0  # of those lost: the peer asked and did not read the answers
        self.carriers_fenced = 0
        self.handshakes_failed = 0  # an invalid frame, a wrong proof of the server, or none in time
        self.joins = 0
        self.resumes = 0
        self.resumes_deferred = 0  # answered LATER: too many of them
        self.refused_unknown = 0
        self.refused_elsewhere = 0
        self.refused_later = 0
        self.protocol_errors = 0
        self.sessions_opened = 0
        self.sessions_ended = 0
        self.sessions_evicted = 0  # of those ended: their place was needed
