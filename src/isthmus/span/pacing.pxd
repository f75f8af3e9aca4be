# C types for pacing.py, read by Cython only.
cimport cython

cdef double _FRAME_TIME, _SHORTEST_WINDOW, _SHORTEST_AT_START, _STARTING_GAIN, _GAIN, _GROWTH, _ACKNOWLEDGE_WITHIN, _ROUND, _MINIMUM_LASTS
cdef int _WINDOWS, _FLAT_WINDOWS
cdef Py_ssize_t LEAST_DATA
cdef long long _MUCH


@cython.final
cdef class Pacing:
    cdef readonly long long in_flight
    cdef public long long cap
    cdef public long long frame_size
    cdef readonly double rate
    cdef readonly double round_trip
    cdef readonly double smoothed
    cdef readonly double flying_since
    cdef public bint held
    cdef public bint limited
    cdef readonly bint probing
    cdef bint _starting
    cdef bint _probed
    cdef int _windows
    cdef int _flat
    cdef long long _acknowledged
    cdef long long _sent
    cdef long long _gone
    cdef long long _arrived
    cdef double _since
    cdef double _minimum_at
    cdef double _best
    cdef double _best_before
    cdef double _grown_to

    cpdef bint full(self) noexcept

    @cython.locals(left="long long")
    cpdef long long next_frame(self) noexcept

    cpdef void sent(self, long long size, double now) noexcept
    cpdef void forget(self, long long size) noexcept

    cpdef delivered(self, long long size, double now)
    cpdef bint arrived(self, unsigned long long total, double now) except -1

    @cython.locals(before="long long")
    cdef long long _settle(self) noexcept

    @cython.locals(elapsed=double, shortest=double)
    cdef _progress(self, double now)

    cpdef bint probes(self) except -1
    cpdef measured(self, double seconds, double now)
    cdef void _begin(self, double now) noexcept
    cdef _sample(self, double rate)

    @cython.locals(held=double, gain=double, waiting=double, allowance=double, least="long long")
    cdef _follow(self)
