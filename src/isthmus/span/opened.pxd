# C types for opened.py, read by Cython only.

cdef class OpenedStreams:
    cdef set _above
    cdef readonly long long below

    cpdef bint has(self, long long stream)
    cpdef add(self, long long stream)
