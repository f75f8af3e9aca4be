# C types for limits.py, read by Cython only.
cimport cython


@cython.final
cdef class Budget:
    cdef public long long size
    cdef public long long used
    cdef public long long shortages

    @cython.locals(granted="long long")
    cpdef long long borrow(self, long long wanted)
    cpdef give_back(self, long long size)
