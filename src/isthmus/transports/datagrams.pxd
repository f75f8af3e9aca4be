# The C types of datagrams.py, for Cython; datagrams.py itself is ordinary Python and runs without them.
cimport cython

from isthmus.layer cimport Layer


cdef class DatagramCounters:
    cdef public long long flows
    cdef public long long idle
    cdef public long long evicted
    cdef public long long failed
    cdef public long long lost
    cdef public long long from_client
    cdef public long long to_client
    cdef public long long unreachable
    cdef public long long dropped_new
    cdef public long long dropped_waiting
    cdef public long long dropped_failed
    cdef public long long dropped_late
    cdef public long long dropped_buffer
    cdef public long long dropped_oversized
    cdef public long long dropped_unsent


cdef class DatagramLayer(Layer):
    cpdef datagrams_received(self, list datagrams)
    cpdef send(self, list datagrams)


@cython.locals(layer=DatagramLayer)
cpdef deliver(receiver, list datagrams)

@cython.locals(layer=DatagramLayer)
cpdef send(transport, list datagrams)
