# The C types of flow.py, for Cython; flow.py itself is ordinary Python and runs without them.
cimport cython

from isthmus.span.flow cimport Flow
from isthmus.span.flows cimport Flows
from isthmus.transports cimport datagrams as sides
from isthmus.transports.datagrams cimport DatagramLayer
from isthmus.transports.poller cimport BasePoller


cdef class SpanFlow(DatagramLayer):
    cdef object _driver
    cdef Flow _flow
    cdef Flows _flows
    cdef BasePoller _poller
    cdef object _receiver

    cpdef begin(self, receiver)
    cpdef deliver(self, list datagrams)
    cpdef send(self, list datagrams)
