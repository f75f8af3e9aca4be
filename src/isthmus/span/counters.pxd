# C types for counters.py, read by Cython only.
cimport cython


@cython.final
cdef class Counters:
    cdef public long long opened_by_us
    cdef public long long opened_by_peer
    cdef public long long overloaded
    cdef public long long resets_sent
    cdef public long long resets_received
    cdef public long long bytes_sent
    cdef public long long bytes_sent_again
    cdef public long long bytes_received
    cdef public long long bytes_twice
    cdef public long long writes_blocked
    cdef public long long streams_scattered
    cdef public long long flows_opened_by_us
    cdef public long long flows_opened_by_peer
    cdef public long long flows_overloaded
    cdef public long long flows_ended_by_peer
    cdef public long long datagrams_sent
    cdef public long long datagrams_received
    cdef public long long datagrams_late
    cdef public long long datagrams_overflowed
    cdef public long long datagrams_unsent
    cdef public long long datagrams_forgotten
    cdef public long long frames_forgotten
    cdef public long long acks_sent
    cdef public long long pings_sent
    cdef public long long pings_received
    cdef public long long states_received
    cdef public long long carriers_opened
    cdef public long long carriers_lost
    cdef public long long carriers_silent
    cdef public long long carriers_full
    cdef public long long carriers_stalled
    cdef public long long carriers_flooded
    cdef public long long carriers_fenced
    cdef public long long handshakes_failed
    cdef public long long joins
    cdef public long long resumes
    cdef public long long resumes_deferred
    cdef public long long refused_unknown
    cdef public long long refused_elsewhere
    cdef public long long refused_later
    cdef public long long protocol_errors
    cdef public long long sessions_opened
    cdef public long long sessions_ended
    cdef public long long sessions_evicted
