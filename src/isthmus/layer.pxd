# The C types of layer.py, for Cython; layer.py itself is ordinary Python and runs without them.
cimport cython


cdef class Layer:
    cpdef ready(self, int events)
    cpdef round_over(self)
    cpdef data_received(self, data)
    cpdef write(self, data)


@cython.locals(layer=Layer)
cpdef deliver(receiver, data)

@cython.locals(layer=Layer)
cpdef send(transport, data)
