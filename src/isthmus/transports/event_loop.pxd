# The C types of event_loop.py, for Cython; event_loop.py itself is ordinary Python and runs without them.
cdef int READ, WRITE, _LONGEST_WAIT, _CANCELLED_TIMERS
