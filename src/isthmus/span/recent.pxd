# C types for recent.py, read by Cython only.
cimport cython

from isthmus.span.stream cimport Stream

cdef unsigned int _PLACES


@cython.final
cdef class RecentStreams:
    cdef dict _table
    cdef list _places

    @cython.locals(stream=Stream)
    cpdef Stream find(self, unsigned int stream_id)

    @cython.locals(stream=Stream)
    cdef Stream _look_up(self, unsigned int stream_id)

    @cython.locals(place="unsigned int")
    cpdef forget(self, Stream stream)

    cpdef clear(self)


cdef unsigned int _place(unsigned int stream_id) noexcept
