# C types for outgoing.py, read by Cython only.
cimport cython

from isthmus.span cimport frames
from isthmus.span.carrier cimport Carrier
from isthmus.span.flows cimport Flows
from isthmus.span.message cimport Message
from isthmus.span.outbox cimport Outbox
from isthmus.span.pacing cimport Pacing
from isthmus.span.receive_side cimport ReceiveSide
from isthmus.span.scheduler cimport Scheduler
from isthmus.span.send_side cimport SendSide
from isthmus.span.session cimport Session
from isthmus.span.stream cimport Stream

cdef Py_ssize_t _DATA_HEADER, LEAST_DATA
cdef int ANSWERS, NEEDS_ACK, NEEDS_OPEN, NEEDS_OPENED, NEEDS_RESET


@cython.locals(outbox=Outbox, flows=Flows, shares=bint, reserved=bint)
cpdef bint fill(Session session, Carrier carrier, Message message) except -1

@cython.locals(stream=Stream)
cdef bint _say(Session session, Carrier carrier, Message message, dict pending) except -1

@cython.locals(receive=ReceiveSide)
cdef bint _say_of(Session session, Carrier carrier, Message message, Stream stream) except -1

@cython.locals(slot=int, pacing=Pacing, stuck=Py_ssize_t, stream=Stream, send=SendSide, limit="unsigned long long",
               room="long long", available="long long", size="long long", most="long long", before="long long",
               offset="long long", again=bint)
cdef bint _data(Session session, Carrier carrier, Message message, Scheduler scheduler) except -1
