# What compiled modules call of _mask.pyx without a call of Python.
cpdef apply_mask(buffer, bytes key, int phase=*, Py_ssize_t start=*, Py_ssize_t size=*)
cpdef bytes masked_start(bytes header, bytearray data, Py_ssize_t size, bytes key)
