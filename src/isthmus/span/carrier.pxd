# C types for carrier.py, read by Cython only.
cimport cython

cdef class Carrier

from isthmus cimport layer
from isthmus.span cimport incoming, outgoing
from isthmus.span.flows cimport Flows
from isthmus.span.message cimport Message
from isthmus.span.pacing cimport Pacing
from isthmus.span.reader cimport FrameReader, FrameSink
from isthmus.span.scheduler cimport Scheduler
from isthmus.span.session cimport Session

cdef object _HANDSHAKE, _EXCHANGE, _LIVE, _CLOSED
cdef int _PING, _PONG, _ARRIVED
cdef Message _message
cdef double _NEVER, _ROUND_TRIP_EVERY, _LEAST_STALL, _ANSWER_WITHIN
cdef Py_ssize_t _DATA_HEADER, LEAST_DATA


cdef class Carrier(FrameSink):
    cdef public object handler
    cdef public object owner
    cdef public Session session
    cdef public object handshake
    cdef readonly FrameReader reader
    cdef public object phase
    cdef readonly object close_code
    cdef readonly object control
    cdef readonly object answers
    cdef readonly dict pending
    cdef readonly Scheduler scheduler
    cdef public bytearray state
    cdef readonly bytes pong
    cdef readonly Pacing pacing
    cdef public double now
    cdef readonly double opened_at
    cdef readonly double heard
    cdef double _ping_sent
    cdef double _round_trip_at
    cdef unsigned long long _pings
    cdef readonly long long arrived
    cdef public long long arrived_told
    cdef public bint tells_arrived
    cdef public long long epoch
    cdef public Py_ssize_t maximum_message
    cdef public int slot
    cdef public bint draining
    cdef readonly bint drained
    cdef public bint peer_ended_tls
    cdef readonly bint pinged
    cdef public bint stalled
    cdef bint _awake

    @cython.locals(session=Session, arrived="long long")
    cpdef receive(self, data, bint final, double now, Py_ssize_t start=*, Py_ssize_t size=*)

    cpdef alive(self, double now)

    cpdef list data_to_send(self, Py_ssize_t budget, double now)

    @cython.locals(message=Message)
    cpdef Message message_to_send(self, Py_ssize_t budget, double now)

    @cython.locals(session=Session)
    cdef _fill(self, Message message, double now)

    cpdef wake(self)
    cpdef data_received(
        self, unsigned int stream, unsigned long long offset, data, Py_ssize_t start, Py_ssize_t size
    )
    cpdef ack_received(self, unsigned int stream, unsigned long long received, unsigned long long limit)
    cpdef datagram_received(self, unsigned int flow, bytes data)
    cpdef frame_received(self, int kind, unsigned int stream, bytes payload)

    cpdef answer(self, long long stream, bytes frame)
    cpdef ping_if_due(self, double now)

    @cython.locals(pacing=Pacing, since=double)
    cpdef double stalls_at(self)
    cpdef double next_deadline(self, double handshake_timeout, double ping_deadline)

    cpdef bint exchanges(self) except -1
    cpdef bint is_live(self) except -1
    cpdef bint good_for_flows(self) except -1

    cpdef delivered(self, long long size, double now)

    @cython.locals(pacing=Pacing)
    cdef _moved(self)
