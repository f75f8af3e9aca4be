# cython: language_level=3
"""The compiled part of `heap.py`: the contract is written there."""

cdef extern from *:
    """
    #if defined(__GLIBC__)
    #include <malloc.h>
    static int keep_freed_memory(int map_from, int trim_from) {
        return mallopt(M_MMAP_THRESHOLD, map_from) && mallopt(M_TRIM_THRESHOLD, trim_from);
    }
    #else
    static int keep_freed_memory(int map_from, int trim_from) { return 0; }
    #endif
    """
    int keep_freed_memory(int map_from, int trim_from) nogil


def keep_freed(int map_from, int trim_from):
    return keep_freed_memory(map_from, trim_from) != 0
