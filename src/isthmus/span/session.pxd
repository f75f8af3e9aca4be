# C types for session.py, read by Cython only.
cimport cython

cdef class Session

from isthmus.span.carrier cimport Carrier
from isthmus.span.counters cimport Counters
from isthmus.span.flow cimport Flow
from isthmus.span.flows cimport Flows
from isthmus.span.limits cimport Budget
from isthmus.span.opened cimport OpenedStreams
from isthmus.span.outbox cimport Outbox
from isthmus.span.receive_side cimport ReceiveSide
from isthmus.span.recent cimport RecentStreams
from isthmus.span.stream cimport Stream

cdef int NEEDS_ACK, NEEDS_OPEN, NEEDS_OPENED, NEEDS_RESET
cdef long long EARLY_DATA, MAXIMUM_AHEAD, _MAXIMUM_ID


cdef class Handler:
    cpdef stream_opened(self, Stream stream)
    cpdef opened(self, Stream stream)
    cpdef data(self, Stream stream, data)
    cpdef eof(self, Stream stream)
    cpdef writable(self, Stream stream)
    cpdef closed(self, Stream stream)
    cpdef datagrams(self, Flow flow, list datagrams)


@cython.final
cdef class Session:
    cdef readonly object role
    cdef public Handler handler
    cdef readonly object limits
    cdef public object random_bytes
    cdef readonly Budget receive_budget
    cdef readonly Budget send_budget
    cdef readonly Counters counters
    cdef public object owner
    cdef public object on_end
    cdef public bytes id
    cdef public bytes secret
    cdef public bytes place
    cdef public object peer
    cdef readonly dict carriers
    cdef readonly list in_order
    cdef readonly list handshakes
    cdef public Carrier founder
    cdef readonly set given_up
    cdef readonly dict epochs
    cdef readonly dict streams
    cdef readonly RecentStreams recent
    cdef readonly OpenedStreams opened
    cdef readonly dict unanswered
    cdef long long _lowest
    cdef readonly Outbox outbox
    cdef readonly Flows flows
    cdef public double now
    cdef readonly double acknowledge_within
    cdef public double ping_after
    cdef public double resumes_left
    cdef public double resumes_since
    cdef double _deadline_grace
    cdef double _handshake_timeout
    cdef double _ping_deadline
    cdef double _round_trip
    cdef public long long next_epoch
    cdef public long long next_stream
    cdef public long long opened_by_peer
    cdef readonly bint over
    cdef public bint going

    @cython.locals(stream_id="long long", ours="long long", most="long long", ahead="long long", stream=Stream)
    cpdef Stream open(self, str origin=*)

    cpdef accept(self, Stream stream)

    @cython.locals(room="long long", kept=bytes)
    cpdef Py_ssize_t write(self, Stream stream, data) except? -1

    cpdef write_eof(self, Stream stream)

    @cython.locals(told=bint)
    cpdef consumed(self, Stream stream, long long size)


    @cython.locals(carrier=Carrier, deadline=double, stall=double, handshake=double, ping=double, others=bint)
    cpdef double next_deadline(self)

    cpdef double round_trip(self)

    @cython.locals(each=Carrier)
    cpdef bint has_other(self, Carrier carrier)

    @cython.locals(other=Carrier)
    cpdef bint is_elsewhere(self, int slot, Carrier carrier) except -1
    cpdef bint is_ours(self, long long stream_id)

    @cython.locals(stream=Stream, receive=ReceiveSide)
    cpdef Stream add_stream(self, unsigned int stream_id, bint ours, unsigned long long limit)

    cpdef answered(self, Stream stream)
    cdef long long _lowest_unanswered(self)
    cpdef forget(self, Stream stream)
    cpdef remove(self, Stream stream)

    @cython.locals(carrier=Carrier)
    cdef _drop_bytes(self, Stream stream)

    cdef _take_out(self, Stream stream)
    cpdef end_if_done(self)
