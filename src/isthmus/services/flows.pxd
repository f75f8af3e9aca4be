# The C types of flows.py, for Cython; flows.py itself is ordinary Python and runs without them.


cdef class FlowSide:
    cdef public Flow flow
    cdef public FlowSide other
    cdef public object transport
    cdef public object bytes

    cpdef datagrams_received(self, list datagrams)


cdef class Flow:
    cdef public double last_active
    cdef public bint ended
    cdef public FlowSide client
    cdef public FlowSide far
    cdef public object service
    cdef object _incoming
    cdef object _dial
    cdef object _retry
    cdef object _error
    cdef object _waiting
    cdef object _client
    cdef Py_ssize_t _waiting_size
    cdef double _began
    cdef bint _failed
