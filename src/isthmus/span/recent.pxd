# C types for recent.py, read by Cython only.
cimport cython

from isthmus.span.stream cimport Stream

cdef unsigned int _PLACES


@cython.final
cdef class RecentStreams:
    cdef dict _table
    cdef list _places

    @cython.locals(place="unsigned int", stream=Stream)
    cpdef Stream find(self, unsigned int stream_id)

    @cython.locals(place="unsigned int")
    cpdef forget(self, Stream stream)

    cpdef clear(self)


cdef inline unsigned int _place(unsigned int stream_id) noexcept
