# C types for flows.py, read by Cython only.
cimport cython

cdef class Flows

from isthmus.span cimport frames
from isthmus.span.carrier cimport Carrier
from isthmus.span.flow cimport Flow
from isthmus.span.message cimport Message
from isthmus.span.session cimport Handler, Session

cdef Py_ssize_t OVERHEAD, FLOWS_REMEMBERED, _AT_ONCE, MAXIMUM_DATAGRAM
cdef long long FLOWS_BEHIND, _MAXIMUM_ID
cdef int _FLOW, _FLOWING
cdef unsigned long long _DATAGRAM
cdef Py_ssize_t _HEADER


@cython.final
cdef class Flows:
    cdef Session _session
    cdef readonly dict table
    cdef list _arrived
    cdef list _turns
    cdef Py_ssize_t _turn
    cdef object _ended
    cdef long long _newest
    cdef double _delay
    cdef long long _pending
    cdef long long _pending_of_all
    cdef long long _late
    cdef long long _overflowed
    cdef public long long next_id
    cdef readonly long long count_of_peer
    cdef readonly long long waiting
    cdef readonly int slot

    @cython.locals(carrier=Carrier, size=Py_ssize_t, left=Py_ssize_t, data=bytes, waiting=list, came=object)
    cpdef send(self, Flow flow, list datagrams, double now)

    @cython.locals(carriers=list, carrier=Carrier, other=Carrier, each=Carrier)
    cpdef Carrier carrier(self)

    cpdef bint reserve(self, Carrier carrier)

    @cython.locals(carrier=Carrier)
    cpdef wake(self)

    @cython.locals(turns=list, flow=Flow, waiting=list, now=double, sent="long long", added=Py_ssize_t, size="long long", whole=Py_ssize_t, data=bytes, header=bytes)
    cpdef bint fill(self, Carrier carrier, Message message, Py_ssize_t most) except -1

    @cython.locals(flow=Flow)
    cpdef datagram_received(self, Carrier carrier, unsigned int flow_id, bytes data)

    cpdef frame_received(self, Carrier carrier, int kind, unsigned int flow_id, bytes payload)

    @cython.locals(session=Session, flow=Flow, flows=list, datagrams=list, handler=Handler)
    cpdef deliver(self)

    @cython.locals(carrier=Carrier)
    cdef _say(self, long long flow_id, bytes frame)

    cdef _drop_oldest(self, Flow flow, list waiting)

    @cython.locals(since=double)
    cdef _drop_late(self, Flow flow, list waiting, double now)


@cython.locals(oldest=tuple)
cdef double _oldest_came(list waiting) except? -1
