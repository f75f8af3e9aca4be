# The C types of access.py, for Cython; access.py itself is ordinary Python and runs without them.

cdef object _is_enabled, _INFO

cpdef bint on() except -1
