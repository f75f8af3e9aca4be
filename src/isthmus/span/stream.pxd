# C types for stream.py, read by Cython only.
cimport cython

from isthmus.span.limits cimport Budget
from isthmus.span.receive_side cimport ReceiveSide
from isthmus.span.send_side cimport SendSide

cdef long long EARLY_DATA, GUARANTEED_WINDOW, LARGEST_STORE


@cython.final
cdef class Stream:
    cdef readonly SendSide send
    cdef readonly ReceiveSide receive
    cdef Budget _send_budget
    cdef long long _send_charged
    cdef public str origin
    cdef public object owner
    cdef public object scheduler
    cdef public Stream behind
    cdef public str reset_text
    cdef public long long deficit
    cdef readonly unsigned int id
    cdef public int reset_code
    cdef public short needs
    cdef public short state_slot
    cdef public short answer_slot
    cdef public bint ours
    cdef public bint opened
    cdef public bint over
    cdef public bint owed
    cdef public bint eof_told
    cdef public bint end_acknowledged
    cdef public bint resetting
    cdef public bint blocked

    cpdef unsigned long long send_limit(self) noexcept

    @cython.locals(acked="long long", wanted="long long", most="long long", free="long long")
    cpdef long long room(self) noexcept

    cpdef bint unblocks(self) noexcept

    @cython.locals(above="long long")
    cpdef void charge(self) noexcept

    cpdef bint complete(self) noexcept
    cpdef list drop(self)
