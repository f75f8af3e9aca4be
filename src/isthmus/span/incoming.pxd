# C types for incoming.py, read by Cython only.
cimport cython

from isthmus.span cimport frames
from isthmus.span.carrier cimport Carrier
from isthmus.span.receive_side cimport ReceiveSide
from isthmus.span.recent cimport RecentStreams
from isthmus.span.send_side cimport SendSide
from isthmus.span.session cimport Session
from isthmus.span.stream cimport Stream
from isthmus.websocket cimport _octets as octets

cdef int _STATE, _OPEN, _OPENED, _FIN, _RESET, _CLOSED, _FLOW, _FLOWING, _ENDED, _GOAWAY
cdef int NEEDS_ACK, NEEDS_OPENED


# As many arguments as go in registers.
@cython.locals(session=Session, stream=Stream, receive=ReceiveSide, received="unsigned long long")
cdef data_received(
    Carrier carrier,
    unsigned int stream_id,
    unsigned long long offset,
    data,
    Py_ssize_t start,
    Py_ssize_t size,
)

@cython.locals(session=Session, stream=Stream)
cdef ack_received(
    Carrier carrier, unsigned int stream_id, unsigned long long received, unsigned long long limit
)

@cython.locals(send=SendSide, size="long long", sent_on=Carrier)
cpdef acknowledge(Session session, Stream stream, unsigned long long received, unsigned long long limit)

@cython.locals(stream=Stream)
cpdef frame_received(Session session, Carrier carrier, int kind, unsigned int stream_id, bytes payload)

cpdef opened(Session session, Stream stream, unsigned long long limit)

@cython.locals(send=SendSide)
cpdef ended_by_peer(Session session, Stream stream)

@cython.locals(stream=Stream, limit="unsigned long long", origin=str)
cdef _open_received(Session session, Carrier carrier, unsigned int stream_id, bytes payload)

cdef _received_all(Session session, Stream stream)

@cython.locals(ours=bint)
cdef _forgotten(Session session, Carrier carrier, unsigned int stream_id, bint answered)
