"""Span without input or output: streams that outlive the WebSockets they travel on (docs/span.md).

session      the streams of one session, for both roles; sessions: the table of a server
carrier      one WebSocket of a session; handshake, proofs, resume: how it becomes part of it
stream       one stream: send_side, receive_side
incoming     what frames do to streams; outgoing, outbox, scheduler, message: what streams have to send
flows        the flows of a session, and what they have to send; flow: one of them
pacing       how much of it is under way at once
frames       the wire format; reader: out of messages
limits       what bounds all this; counters: what is counted
"""

from isthmus.errors import SpanError

# First: its compiled modules refer to each other, and can be imported in this order only.
from isthmus.span import session as session
from isthmus.span.carrier import Carrier, CarrierHandler, Phase
from isthmus.span.counters import Counters
from isthmus.span.flow import Flow
from isthmus.span.frames import SUBPROTOCOL, Code
from isthmus.span.limits import Budget, Limits
from isthmus.span.session import Handler, Session
from isthmus.span.sessions import Sessions
from isthmus.span.stream import Stream

__all__ = [
    "SUBPROTOCOL",
    "Budget",
    "Carrier",
    "CarrierHandler",
    "Code",
    "Counters",
    "Flow",
    "Handler",
    "Limits",
    "Phase",
    "Session",
    "Sessions",
    "SpanError",
    "Stream",
]
