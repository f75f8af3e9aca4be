# C types for reader.py, read by Cython only.
cimport cython

cdef int _DATA, _ACK, _DATAGRAM, _OPTIONAL, _HEADER, _DATA_HEADER, _MAXIMUM_HANDSHAKE
cdef int _FIRST_OF_STREAMS, _LAST_OF_STREAMS
cdef list SHORTEST, LONGEST


@cython.final
cdef class FrameReader:
    cdef object _sink
    cdef bytes _head
    cdef bytearray _gathered
    cdef unsigned long long _offset
    cdef long long _maximum
    cdef long long _size
    cdef long long _left
    cdef readonly long long skipped
    cdef unsigned int _stream
    cdef int _kind
    cdef bint _stopped
    cdef bint _in_frame
    cdef public bint handshaking

    cpdef stop(self)

    @cython.locals(end=Py_ssize_t, position=Py_ssize_t, size=Py_ssize_t, kept=Py_ssize_t)
    cpdef receive(self, data, bint final)

    @cython.locals(kind=int, length="long long", stream="unsigned int", shortest=int, size=int)
    cdef int _begin(self, unsigned long long word, unsigned long long offset, int available) except -1

    @cython.locals(ended=bint, kind=int, offset="unsigned long long", payload=bytes)
    cdef _take(self, piece, Py_ssize_t size)

    cdef _wrong(self, reason)
