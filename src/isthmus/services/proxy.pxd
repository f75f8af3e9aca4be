# Has Cython compile proxy.py, which is ordinary Python; its classes stay Python's.
