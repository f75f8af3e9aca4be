# cython: language_level=3
"""The compiled twin of `epoll.py`, which imports it: the contracts are written there."""

cimport cython
from cpython.exc cimport PyErr_CheckSignals, PyErr_SetFromErrno
from libc.math cimport ceil
from libc.errno cimport EINTR, errno
from libc.stdint cimport uint32_t
from posix.time cimport CLOCK_MONOTONIC, clock_gettime, timespec
from posix.unistd cimport close

from isthmus.transports.epoll cimport PlainEpoll
from isthmus.transports.spinning cimport Spinning
from isthmus.layer cimport Layer

cdef extern from "<sys/epoll.h>" nogil:
    ctypedef union epoll_data_t:
        int fd
    struct epoll_event:
        uint32_t events
        epoll_data_t data
    int EPOLL_CLOEXEC, EPOLL_CTL_ADD, EPOLL_CTL_MOD, EPOLL_CTL_DEL
    int epoll_create1(int flags)
    int epoll_ctl(int epoll, int operation, int descriptor, epoll_event *event)
    int epoll_wait(int epoll, epoll_event *events, int maximum, int milliseconds)

cdef extern from "<sched.h>" nogil:
    int sched_yield()

cdef enum:
    EVENTS_AT_A_TIME = 32


cdef double monotonic() noexcept nogil:
    cdef timespec now
    clock_gettime(CLOCK_MONOTONIC, &now)
    return now.tv_sec + now.tv_nsec * 1e-9


cdef class Epoll(PlainEpoll):
    cdef int _descriptor

    def __cinit__(self):
        self._descriptor = -1

    def __init__(self, spinning=None):
        self._spinning = Spinning(0.0) if spinning is None else spinning
        self.close()
        self._descriptor = epoll_create1(EPOLL_CLOEXEC)
        if self._descriptor < 0:
            PyErr_SetFromErrno(OSError)

    def __dealloc__(self):
        if self._descriptor >= 0:
            close(self._descriptor)

    def fileno(self):
        return self._descriptor

    def close(self):
        if self._descriptor >= 0:
            close(self._descriptor)
            self._descriptor = -1

    cdef int _control(self, int operation, int descriptor, int wanted) except -1:
        cdef epoll_event event
        event.events = <uint32_t> wanted
        event.data.fd = descriptor
        if epoll_ctl(self._descriptor, operation, descriptor, &event) < 0:
            PyErr_SetFromErrno(OSError)
        return 0

    cpdef register(self, int descriptor, int wanted):
        self._control(EPOLL_CTL_ADD, descriptor, wanted)

    cpdef modify(self, int descriptor, int wanted):
        self._control(EPOLL_CTL_MOD, descriptor, wanted)

    cpdef unregister(self, int descriptor):
        self._control(EPOLL_CTL_DEL, descriptor, 0)

    cpdef double now(self) except -1:
        return monotonic()

    cdef int _wait(self, epoll_event *events, double spin, double began, int milliseconds) noexcept nogil:
        cdef int count
        while spin > 0.0:
            count = epoll_wait(self._descriptor, events, EVENTS_AT_A_TIME, 0)
            if count != 0:
                return count
            sched_yield()
            if monotonic() - began >= spin:
                break
        return epoll_wait(self._descriptor, events, EVENTS_AT_A_TIME, milliseconds)

    @cython.wraparound(False)
    cpdef tell(self, double seconds, list watchers, set fresh, failed):
        cdef epoll_event[EVENTS_AT_A_TIME] events
        cdef int count, descriptor, happened, place
        cdef double began, spin
        cdef int milliseconds = <int> ceil(seconds * 1000) if seconds >= 0 else -1
        PyErr_CheckSignals()  # those that came while nothing of Python ran
        if milliseconds == 0:
            count = epoll_wait(self._descriptor, events, EVENTS_AT_A_TIME, 0)
        else:
            began = monotonic()
            spin = self._spinning.begin(began)
            with nogil:
                count = self._wait(events, spin, began, milliseconds)
        if count < 0:
            if errno == EINTR:
                PyErr_CheckSignals()
                return
            PyErr_SetFromErrno(OSError)
        if milliseconds != 0:
            self._spinning.end(monotonic())
        place = 0
        while place < count:
            try:  # around all of them: to begin one costs about as much as to tell
                while place < count:
                    descriptor = events[place].data.fd
                    happened = <int> events[place].events
                    place += 1
                    watcher = watchers[descriptor]
                    if watcher is None or (fresh and descriptor in fresh):
                        continue
                    if isinstance(watcher, Layer):
                        (<Layer> watcher).ready(happened)
                    else:
                        watcher.ready(happened)
            except Exception as error:
                failed(error)
