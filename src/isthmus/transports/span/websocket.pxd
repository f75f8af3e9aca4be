# The C types of websocket.py, for Cython; websocket.py itself is ordinary Python and runs without them.
cimport cython

from isthmus cimport layer
from isthmus.span.carrier cimport Carrier
from isthmus.span.message cimport Message
from isthmus.span.session cimport Session
from isthmus.transports.poller cimport BasePoller
from isthmus.transports.span.session cimport SessionDriver
from isthmus.websocket.connection cimport Connection, Handler

cdef Py_ssize_t LEAST_MESSAGE, SMALL, LARGEST_OF_DATAGRAMS, NOT_SENT_BESIDE_FLOWS, _LEAST_QUEUE


cdef class CarrierWebSocket(Handler):
    cdef object _below
    cdef object _owner
    cdef object _loop
    cdef BasePoller _poller
    cdef object _farewell
    cdef object _mask_key
    cdef object _close_with
    cdef Connection _connection
    cdef public Carrier carrier
    cdef public SessionDriver driver
    cdef public str peer
    cdef Py_ssize_t _queued
    cdef Py_ssize_t _low_water
    cdef Py_ssize_t _written
    cdef bint _blocked
    cdef bint _flush_asked
    cdef bint _filling
    cdef bint _fresh
    cdef bint _lost
    cdef public bint cut
    cdef public bint heard

    cpdef data_received(self, data)

    @cython.locals(carrier=Carrier)
    cpdef message_part(self, data, Py_ssize_t start, Py_ssize_t size, bint final)

    cpdef output_ready(self)
    cpdef round_over(self)
    cdef _follow_frames(self, Py_ssize_t size)

    @cython.locals(carrier=Carrier, session=Session, room=Py_ssize_t, waiting=Py_ssize_t, message=Message)
    cpdef flush(self)

    @cython.locals(frame=bytes, buffers=list)
    cdef _send(self, Message message)
