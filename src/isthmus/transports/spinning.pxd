# The C types of spinning.py, for Cython; spinning.py itself is ordinary Python and runs without them.

cdef double _BRIEF
cdef int _COST, _MOST


cdef class Spinning:
    cdef double _longest
    cdef double _began
    cdef double _ended
    cdef int _earned
    cdef bint _brief
    cdef bint _polls

    cpdef double begin(self, double now) except -1
    cpdef end(self, double now)
