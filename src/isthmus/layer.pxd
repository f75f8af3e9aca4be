# The C types of layer.py, for Cython; layer.py itself is ordinary Python and runs without them.
cimport cython


cdef class Layer:
    cpdef ready(self, int events)
    cpdef round_over(self)
    cpdef output_ready(self)
    cpdef connection_made(self, transport)
    cpdef data_received(self, data)
    cpdef eof_received(self)
    cpdef connection_lost(self, error)
    cpdef pause_reading(self)
    cpdef resume_reading(self)
    cpdef write(self, data)
    cpdef write_eof(self)


@cython.locals(layer=Layer)
cpdef made(receiver, transport)

@cython.locals(layer=Layer)
cpdef deliver(receiver, data)

@cython.locals(layer=Layer)
cpdef ended(receiver)

@cython.locals(layer=Layer)
cpdef lost(receiver, error)

@cython.locals(layer=Layer)
cpdef pause(transport)

@cython.locals(layer=Layer)
cpdef resume(transport)

@cython.locals(layer=Layer)
cpdef send(transport, data)

@cython.locals(layer=Layer)
cpdef end(transport)

@cython.locals(layer=Layer)
cpdef wake(handler)
