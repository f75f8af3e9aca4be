# The C types of relay.py, for Cython; relay.py itself is ordinary Python and runs without them.

cdef class Relay


cdef class Half:
    cdef public Relay relay
    cdef public Half other
    cdef public object transport
    cdef public object first_event
    cdef public object held
    cdef public Py_ssize_t received
    cdef public bint ended
    cdef public bint blocked
    cdef public bint lost


cdef class Relay:
    cdef public Py_ssize_t pending_limit
    cdef public bint joined
    cdef public bint closing
    cdef public bint over
    cdef public object error
    cdef public Half accepted
    cdef public Half connected
