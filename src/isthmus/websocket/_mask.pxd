# What compiled modules call as a C function.
cpdef bytes masked_start(bytes header, bytearray data, Py_ssize_t size, bytes key)
