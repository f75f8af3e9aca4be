# The C types of flows.py, for Cython; flows.py itself is ordinary Python and runs without them.
cimport cython
from cpython cimport time

from isthmus.transports cimport datagrams as sides
from isthmus.transports.datagrams cimport DatagramCounters, DatagramLayer


cdef class FlowService:
    cdef public double last_active
    cdef public object loop
    cdef public DatagramCounters counters
    cdef public object name
    cdef public object connector
    cdef public object options
    cdef public Py_ssize_t maximum_pending_bytes
    cdef object _flows
    cdef object _open
    cdef double _allowance
    cdef double _allowance_at
    cdef bint _stopping
    cdef object _sweep_timer
    cdef object _report_timer
    cdef object _reported
    cdef object _reported_drops
    cdef double _warned_at
    cdef bint _monotonic

    cpdef double now(self) except? -1


cdef class FlowSide(DatagramLayer):
    cdef public Flow flow
    cdef public FlowSide other
    cdef public object transport
    cdef public object bytes

    @cython.locals(flow=Flow, service=FlowService, counters=DatagramCounters)
    cpdef datagrams_received(self, list datagrams)


cdef class Flow:
    cdef public double last_active
    cdef public bint ended
    cdef public FlowSide client
    cdef public FlowSide far
    cdef public FlowService service
    cdef object _incoming
    cdef object _dial
    cdef object _retry
    cdef object _error
    cdef object _waiting
    cdef str _client
    cdef Py_ssize_t _waiting_size
    cdef double _began
    cdef bint _failed
