# cython: language_level=3
"""The compiled twin of `datagram_socket.py`, for Linux: the contracts are written there."""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.exc cimport PyErr_SetFromErrno
from libc.errno cimport EAGAIN, errno
from libc.stdint cimport uint8_t
from libc.string cimport memcmp, memcpy

from isthmus.transports.datagram_socket cimport PlainDatagramSocket

cdef extern from *:
    """
    #ifndef _GNU_SOURCE
    #define _GNU_SOURCE
    #endif
    #ifndef __linux__
    #error "recvmmsg and sendmmsg are those of Linux"
    #endif
    #include <errno.h>
    #include <stdint.h>
    #include <string.h>
    #include <sys/socket.h>
    #include <netinet/in.h>
    #include <netinet/udp.h>
    #include <arpa/inet.h>

    #define BATCH 64
    #define SIZE 65536
    #define CONTROL 128

    /* One slab for the process: only the pages that datagrams reach are ever there. Reading and sending have
       their own messages, so that those for reading are prepared once and put right where they were used. */
    static unsigned char slab[BATCH][SIZE];
    static union { struct cmsghdr align; char space[CONTROL]; } told[BATCH], controls[BATCH];
    static struct sockaddr_storage names[BATCH], target;
    static struct iovec into[BATCH], vectors[BATCH];
    static struct mmsghdr received[BATCH], plain[BATCH], messages[BATCH];
    static int used = BATCH, prepared = 0;

    static int isthmus_receive(int fd, struct mmsghdr *into_these) {
        int count;
        do count = recvmmsg(fd, into_these, BATCH, MSG_DONTWAIT, NULL);
        while (count < 0 && errno == EINTR);
        return count;
    }

    static void isthmus_prepare(int i, struct msghdr *one) {
        into[i].iov_base = slab[i];
        into[i].iov_len = SIZE;
        one->msg_iov = &into[i];
        one->msg_iovlen = 1;
    }

    /* Reads into `received`, with who sent each. */
    static int isthmus_receive_named(int fd) {
        int i, count;
        for (i = 0; i < used; i++) {
            struct msghdr *one = &received[i].msg_hdr;
            isthmus_prepare(i, one);
            one->msg_name = &names[i];
            one->msg_namelen = sizeof names[i];
            one->msg_control = told[i].space;
            one->msg_controllen = CONTROL;
            one->msg_flags = 0;
        }
        count = isthmus_receive(fd, received);
        used = count < 0 ? 1 : count < BATCH ? count + 1 : BATCH;
        return count;
    }

    /* Reads into `plain`, of which the kernel changes nothing that it reads. */
    static int isthmus_receive_plain(int fd) {
        for (; prepared < BATCH; prepared++)
            isthmus_prepare(prepared, &plain[prepared].msg_hdr);
        return isthmus_receive(fd, plain);
    }

    /* Writes who sent a datagram as datagram_socket.py says; returns its size, 0 for another family. */
    static int isthmus_peer(int i, unsigned char *peer) {
        struct msghdr *one = &received[i].msg_hdr;
        struct cmsghdr *extra;
        int size;
        if (names[i].ss_family == AF_INET) {
            struct sockaddr_in *name = (struct sockaddr_in *) &names[i];
            memcpy(peer, &name->sin_port, 2);
            memset(peer + 2, 0, 4);
            memcpy(peer + 6, &name->sin_addr, 4);
            size = 10;
        } else if (names[i].ss_family == AF_INET6) {
            struct sockaddr_in6 *name = (struct sockaddr_in6 *) &names[i];
            uint32_t scope = htonl(name->sin6_scope_id);
            memcpy(peer, &name->sin6_port, 2);
            memcpy(peer + 2, &scope, 4);
            memcpy(peer + 6, &name->sin6_addr, 16);
            size = 22;
        } else
            return 0;
        for (extra = CMSG_FIRSTHDR(one); extra != NULL; extra = CMSG_NXTHDR(one, extra)) {
            if (size == 10 && extra->cmsg_level == IPPROTO_IP && extra->cmsg_type == IP_PKTINFO) {
                memcpy(peer + 10, &((struct in_pktinfo *) CMSG_DATA(extra))->ipi_spec_dst, 4);
                return 14;
            }
            if (size == 22 && extra->cmsg_level == IPPROTO_IPV6 && extra->cmsg_type == IPV6_PKTINFO) {
                memcpy(peer + 22, &((struct in6_pktinfo *) CMSG_DATA(extra))->ipi6_addr, 16);
                return 38;
            }
        }
        return size;
    }

    /* Prepares the addresses that all messages of a send share. */
    static void isthmus_target(struct msghdr *one, const unsigned char *peer, int size) {
        uint32_t scope;
        memcpy(&scope, peer + 2, 4);
        scope = ntohl(scope);
        memset(&target, 0, sizeof target);
        one->msg_name = &target;
        if (size < 22) {
            struct sockaddr_in *name = (struct sockaddr_in *) &target;
            name->sin_family = AF_INET;
            memcpy(&name->sin_port, peer, 2);
            memcpy(&name->sin_addr, peer + 6, 4);
            one->msg_namelen = sizeof *name;
        } else {
            struct sockaddr_in6 *name = (struct sockaddr_in6 *) &target;
            name->sin6_family = AF_INET6;
            memcpy(&name->sin6_port, peer, 2);
            memcpy(&name->sin6_addr, peer + 6, 16);
            name->sin6_scope_id = scope;
            one->msg_namelen = sizeof *name;
        }
        if (size == 14 || size == 38) {
            struct cmsghdr *extra = &controls[0].align;
            memset(controls[0].space, 0, CONTROL);
            one->msg_control = controls[0].space;
            if (size == 14) {
                struct in_pktinfo *info = (struct in_pktinfo *) CMSG_DATA(extra);
                extra->cmsg_level = IPPROTO_IP;
                extra->cmsg_type = IP_PKTINFO;
                extra->cmsg_len = CMSG_LEN(sizeof *info);
                memcpy(&info->ipi_spec_dst, peer + 10, 4);
                one->msg_controllen = CMSG_SPACE(sizeof *info);
            } else {
                struct in6_pktinfo *info = (struct in6_pktinfo *) CMSG_DATA(extra);
                extra->cmsg_level = IPPROTO_IPV6;
                extra->cmsg_type = IPV6_PKTINFO;
                extra->cmsg_len = CMSG_LEN(sizeof *info);
                memcpy(&info->ipi6_addr, peer + 22, 16);
                info->ipi6_ifindex = scope;
                one->msg_controllen = CMSG_SPACE(sizeof *info);
            }
        }
    }

    #ifndef UDP_SEGMENT
    #define UDP_SEGMENT 103
    #endif
    #define MAXIMUM_RUN 65000

    /* Puts datagrams of one size, the last of which may be shorter, into one message that the kernel cuts
       again (UDP_SEGMENT, see udp(7)). Returns how many messages there are; `runs` says how many datagrams
       each has. */
    static int isthmus_gather(int count, const struct msghdr *first, int *runs) {
        int start = 0, made = 0;
        while (start < count) {
            size_t size = vectors[start].iov_len, total = size;
            int next = start + 1;
            struct msghdr *one = &messages[made].msg_hdr;
            *one = *first;
            one->msg_iov = &vectors[start];
            while (size > 0 && next < count && vectors[next].iov_len > 0 && vectors[next].iov_len <= size
                   && total + vectors[next].iov_len <= MAXIMUM_RUN) {
                total += vectors[next].iov_len;
                if (vectors[next++].iov_len < size)
                    break;
            }
            one->msg_iovlen = runs[made] = next - start;
            if (runs[made] > 1) {
                struct cmsghdr *extra;
                uint16_t segment = (uint16_t) size;
                size_t used = first->msg_controllen;
                if (made > 0 && used)
                    memcpy(controls[made].space, controls[0].space, used);
                one->msg_control = controls[made].space;
                one->msg_controllen = used + CMSG_SPACE(sizeof segment);
                extra = (struct cmsghdr *) (controls[made].space + used);
                memset(extra, 0, CMSG_SPACE(sizeof segment));
                extra->cmsg_level = IPPROTO_UDP;
                extra->cmsg_type = UDP_SEGMENT;
                extra->cmsg_len = CMSG_LEN(sizeof segment);
                memcpy(CMSG_DATA(extra), &segment, sizeof segment);
            }
            made++;
            start = next;
        }
        return made;
    }

    static int isthmus_hand_over(int fd, int count) {
        int sent;
        do sent = count == 1 ? (sendmsg(fd, &messages[0].msg_hdr, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 ? -1 : 1)
                             : sendmmsg(fd, messages, count, MSG_DONTWAIT | MSG_NOSIGNAL);
        while (sent < 0 && errno == EINTR);
        return sent;
    }

    static int isthmus_send(int fd, int count, const unsigned char *peer, int size) {
        struct msghdr first;
        int runs[BATCH], i, made, sent, datagrams = 0;
        memset(&first, 0, sizeof first);
        if (peer)
            isthmus_target(&first, peer, size);
        made = isthmus_gather(count, &first, runs);
        sent = isthmus_hand_over(fd, made);
        if (sent < 0 && runs[0] > 1 && (errno == EINVAL || errno == EMSGSIZE || errno == EIO)) {
            /* They do not fit into the way's packets, or it cannot cut: each for itself, maybe in fragments. */
            for (i = 0; i < count; i++) {
                messages[i].msg_hdr = first;
                messages[i].msg_hdr.msg_iov = &vectors[i];
                messages[i].msg_hdr.msg_iovlen = 1;
            }
            return isthmus_hand_over(fd, count);
        }
        if (sent < 0)
            return sent;
        for (i = 0; i < sent; i++)
            datagrams += runs[i];
        return datagrams;
    }
    """
    const int BATCH
    struct iovec:
        void *iov_base
        size_t iov_len
    struct mmsghdr:
        unsigned int msg_len
    uint8_t slab[64][65536]
    iovec vectors[64]
    mmsghdr received[64]
    mmsghdr plain[64]
    int isthmus_receive_named(int fd)
    int isthmus_receive_plain(int fd)
    int isthmus_peer(int i, unsigned char *peer)
    int isthmus_send(int fd, int count, const unsigned char *peer, int size)


cdef class DatagramSocket(PlainDatagramSocket):
    cdef int _descriptor

    def __init__(self, sock):
        PlainDatagramSocket.__init__(self, sock)
        self._descriptor = sock.fileno()

    cpdef close(self):
        self._descriptor = -1
        self._socket.close()

    cdef int _read(self, bint named) except -1:
        cdef int count
        if named:
            count = isthmus_receive_named(self._descriptor)
        else:
            count = isthmus_receive_plain(self._descriptor)
        if count < 0:
            if errno == EAGAIN:
                return 0
            PyErr_SetFromErrno(OSError)
        return count

    cpdef list receive(self):
        cdef int i, count = self._read(False)
        cdef list found = []
        for i in range(count):
            found.append(PyBytes_FromStringAndSize(<char *> slab[i], plain[i].msg_len))
        return found

    cpdef dict receive_from(self):
        cdef int i, size, last_size = 0, count = self._read(True)
        cdef uint8_t peer[38]
        cdef uint8_t last[38]
        cdef dict found = {}
        cdef list group = None
        cdef bytes key
        for i in range(count):
            size = isthmus_peer(i, peer)
            if size == 0:
                continue
            if size != last_size or memcmp(peer, last, size):
                memcpy(last, peer, size)
                last_size = size
                key = PyBytes_FromStringAndSize(<char *> peer, size)
                found_group = None if group is None else found.get(key)
                if found_group is None:
                    found_group = []
                    found[key] = found_group
                group = <list> found_group
            group.append(PyBytes_FromStringAndSize(<char *> slab[i], received[i].msg_len))
        return found

    @cython.wraparound(False)
    cpdef Py_ssize_t send(self, list datagrams, Py_ssize_t start, bytes peer=None) except -1:
        cdef Py_ssize_t i, count = 0 if datagrams is None else len(datagrams) - start
        cdef int sent, size = 0
        cdef const unsigned char *to = NULL
        cdef bytes data
        if start < 0 or count <= 0:
            raise ValueError("there is nothing to send")
        if count > BATCH:
            count = BATCH
        if peer is not None:
            size = <int> PyBytes_GET_SIZE(peer)
            if size not in (10, 14, 22, 38):
                raise ValueError("this is not a peer")
            to = <const unsigned char *> PyBytes_AS_STRING(peer)
        for i in range(count):
            data = <bytes?> datagrams[start + i]
            vectors[i].iov_base = PyBytes_AS_STRING(data)
            vectors[i].iov_len = PyBytes_GET_SIZE(data)
        sent = isthmus_send(self._descriptor, <int> count, to, size)
        if sent < 0:
            PyErr_SetFromErrno(OSError)
        return sent
