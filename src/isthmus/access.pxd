# The C types of access.py, for Cython; access.py itself is ordinary Python and runs without them.

cpdef bint on() except -1
