// Load for a UDP tunnel: a server that echoes, and a client that keeps datagrams in flight over several flows.
//   udp_load serve PORT
//   udp_load run PORT FLOWS SIZE WINDOW SECONDS     prints one line of JSON
// A flow is one socket. Each keeps WINDOW datagrams in flight; when nothing came back for 200 ms they count as lost
// and are sent anew. Datagrams carry the time when they were sent (SIZE is at least 16).
// cc -O2 -o udp_load udp_load.c
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define BATCH 64
#define SIZE 65536
#define SAMPLES 4000000

static unsigned char slab[BATCH][SIZE];
static struct sockaddr_in names[BATCH];
static struct iovec vectors[BATCH];
static struct mmsghdr messages[BATCH];
static float samples[SAMPLES];

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec * 1e-9;
}

static void die(const char *what) {
    perror(what);
    exit(1);
}

static int udp_socket(void) {
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0), size = 4 << 20;
    if (fd < 0)
        die("socket");
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    return fd;
}

static void prepare(int with_names) {
    for (int i = 0; i < BATCH; i++) {
        vectors[i] = (struct iovec){slab[i], SIZE};
        messages[i].msg_hdr = (struct msghdr){.msg_iov = &vectors[i], .msg_iovlen = 1};
        if (with_names) {
            messages[i].msg_hdr.msg_name = &names[i];
            messages[i].msg_hdr.msg_namelen = sizeof names[i];
        }
    }
}

static void serve(int port) {
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = udp_socket(), ep = epoll_create1(0);
    struct epoll_event event = {.events = EPOLLIN};
    if (bind(fd, (void *) &at, sizeof at))
        die("bind");
    epoll_ctl(ep, EPOLL_CTL_ADD, fd, &event);
    for (;;) {
        epoll_wait(ep, &event, 1, -1);
        prepare(1);
        int count = recvmmsg(fd, messages, BATCH, 0, NULL);
        for (int i = 0; i < count; i++)
            vectors[i].iov_len = messages[i].msg_len;
        for (int sent = 0; sent < count;) {
            int more = sendmmsg(fd, messages + sent, count - sent, 0);
            if (more < 0 && errno != EAGAIN)
                break;
            if (more > 0)
                sent += more;
        }
    }
}

typedef struct {
    int fd, flying;
    double heard;
} flow;

static long lost, back;

static int refill(flow *f, int size, int window) {
    int count = window - f->flying;
    if (count > BATCH)
        count = BATCH;
    prepare(0);
    double at = now();
    for (int i = 0; i < count; i++) {
        memcpy(slab[i], &at, sizeof at);
        vectors[i].iov_len = size;
    }
    int sent = count > 0 ? sendmmsg(f->fd, messages, count, 0) : 0;
    if (sent > 0)
        f->flying += sent;
    return sent;
}

static int compare(const void *a, const void *b) {
    float x = *(const float *) a, y = *(const float *) b;
    return (x > y) - (x < y);
}

static void run(int port, int flows, int size, int window, double seconds) {
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    flow *all = calloc(flows, sizeof *all);
    int ep = epoll_create1(0);
    struct epoll_event events[256];
    long kept = 0;
    for (int i = 0; i < flows; i++) {
        flow *f = &all[i];
        f->fd = udp_socket();
        if (connect(f->fd, (void *) &to, sizeof to))
            die("connect");
        epoll_ctl(ep, EPOLL_CTL_ADD, f->fd, &(struct epoll_event){.events = EPOLLIN, .data.ptr = f});
        // One round trip first: what has to be set up for a flow is not what is measured.
        for (int try = 0; try < 50; try++) {
            memset(slab[0], 0, 16);
            if (send(f->fd, slab[0], size, 0) < 0 && errno != ECONNREFUSED)
                die("send");
            struct epoll_event one;
            int other = epoll_create1(0);
            epoll_ctl(other, EPOLL_CTL_ADD, f->fd, &(struct epoll_event){.events = EPOLLIN});
            int ready = epoll_wait(other, &one, 1, 200);
            close(other);
            if (ready > 0 && recv(f->fd, slab[0], SIZE, 0) == size)
                break;
            usleep(100000);
            if (try == 49) {
                fprintf(stderr, "flow %d: no answer\n", i);
                exit(1);
            }
        }
    }
    usleep(300000);
    printf("ready\n");
    fflush(stdout);
    if (getchar() == EOF)
        exit(1);
    double start = now(), end = start + seconds, at = start;
    for (int i = 0; i < flows; i++) {
        all[i].heard = start;
        refill(&all[i], size, window);
    }
    double checked = start;
    while (at < end) {
        int ready = epoll_wait(ep, events, 256, 50);
        for (int i = 0; i < ready; i++) {
            flow *f = events[i].data.ptr;
            prepare(0);
            int count = recvmmsg(f->fd, messages, BATCH, 0, NULL);
            if (count <= 0)
                continue;
            double arrived = now();
            f->heard = arrived;
            for (int j = 0; j < count; j++) {
                double sent;
                memcpy(&sent, slab[j], sizeof sent);
                if (sent == 0)
                    continue;
                back++;
                f->flying--;
                if (kept < SAMPLES)
                    samples[kept++] = (arrived - sent) * 1e6;
            }
            if (f->flying < 0)
                f->flying = 0;
            refill(f, size, window);
        }
        at = now();
        if (at - checked > 0.05) {
            checked = at;
            for (int i = 0; i < flows; i++)
                if (at - all[i].heard > 0.2) {
                    lost += all[i].flying;
                    all[i].flying = 0;
                    all[i].heard = at;
                    refill(&all[i], size, window);
                }
        }
    }
    double took = now() - start;
    qsort(samples, kept, sizeof *samples, compare);
    printf("{\"round_trips\": %ld, \"lost\": %ld, \"seconds\": %.3f, \"p50_us\": %.1f, \"p99_us\": %.1f}\n", back, lost,
           took, kept ? samples[kept / 2] : 0.0, kept ? samples[kept * 99 / 100] : 0.0);
}

int main(int argc, char **argv) {
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    if (argc == 3 && !strcmp(argv[1], "serve"))
        serve(atoi(argv[2]));
    else if (argc == 7 && !strcmp(argv[1], "run"))
        run(atoi(argv[2]), atoi(argv[3]), atoi(argv[4]), atoi(argv[5]), atof(argv[6]));
    else {
        fprintf(stderr, "udp_load serve PORT | run PORT FLOWS SIZE WINDOW SECONDS\n");
        return 2;
    }
    return 0;
}
