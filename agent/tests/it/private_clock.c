// Preloaded into the agent: gives it a CLOCK_REALTIME of its own that it may step and steer, without
// touching the real one. The private clock runs on CLOCK_MONOTONIC_RAW, $CLOCK_OFFSET seconds and
// $CLOCK_PPM off at first, obeys clock_adjtime and clock_settime, and lives in the file $CLOCK_STATE, where
// others can read it and, by changing its frequency, play a rival. Kernel time stamps of received packets
// are translated. With $PRIVATE_PROC the processes of this machine are those of that folder.
#define _GNU_SOURCE
#include <ctype.h>
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/timex.h>
#include <time.h>
#include <unistd.h>

// Twelve words of eight bytes; odd `version`s are half written.
static struct clock {
    volatile uint64_t version;
    int64_t raw, shown;   // the private clock showed `shown` at `raw`
    double rate;          // and runs at this rate against it
    int64_t freq, tick, status, maxerror, esterror, tai, steps;
    double ppm;           // what it would do by itself
} own, *it = &own;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static double rest;       // below a nanosecond, of `shown`

static int64_t real_ns(int id) {
    struct timespec t;
    syscall(SYS_clock_gettime, id, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static int64_t at(int64_t raw) {
    return it->shown + (raw - it->raw) + (int64_t)floor((raw - it->raw) * (it->rate - 1) + rest);
}

static void rebase(int64_t raw) {
    double gained = (raw - it->raw) * (it->rate - 1) + rest, whole = floor(gained);
    it->shown += raw - it->raw + (int64_t)whole;
    it->raw = raw;
    rest = gained - whole;
    double steered = it->freq / 65536e6 + (it->tick - 10000) * 1e-4;
    it->rate = (1 + it->ppm * 1e-6) * (1 + steered);
}

__attribute__((constructor)) static void start(void) {
    const char *state = getenv("CLOCK_STATE"), *offset = getenv("CLOCK_OFFSET"), *ppm = getenv("CLOCK_PPM");
    int fd = state ? open(state, O_RDWR | O_CREAT | O_CLOEXEC, 0600) : -1;
    if (fd >= 0 && ftruncate(fd, sizeof own) == 0) {
        void *shared = mmap(NULL, sizeof own, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        if (shared != MAP_FAILED) it = shared;
    }
    if (fd >= 0) close(fd);
    int64_t before = real_ns(CLOCK_REALTIME), raw = real_ns(CLOCK_MONOTONIC_RAW);
    int64_t now = before + (real_ns(CLOCK_REALTIME) - before) / 2;
    *it = (struct clock){.raw = raw, .shown = now + (int64_t)((offset ? atof(offset) : 0) * 1e9),
        .tick = 10000, .status = STA_UNSYNC, .maxerror = 16000000, .esterror = 16000000,
        .ppm = ppm ? atof(ppm) : 0};
    rebase(raw);
}

static void begin(void) { pthread_mutex_lock(&lock); it->version++; __sync_synchronize(); }
static void end(void) { __sync_synchronize(); it->version++; pthread_mutex_unlock(&lock); }

static int64_t shown_at(int64_t raw) {
    pthread_mutex_lock(&lock);
    int64_t now = at(raw);
    pthread_mutex_unlock(&lock);
    return now;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    if (clock != CLOCK_REALTIME) return syscall(SYS_clock_gettime, clock, now);
    int64_t ns = shown_at(real_ns(CLOCK_MONOTONIC_RAW));
    now->tv_sec = ns / 1000000000;
    now->tv_nsec = ns % 1000000000;
    return 0;
}

int clock_settime(clockid_t clock, const struct timespec *to) {
    if (clock != CLOCK_REALTIME) { errno = EPERM; return -1; }
    begin();
    rebase(real_ns(CLOCK_MONOTONIC_RAW));
    it->shown = to->tv_sec * 1000000000LL + to->tv_nsec;
    it->steps++;
    end();
    return 0;
}

int clock_adjtime(clockid_t clock, struct timex *t) {
    if (clock != CLOCK_REALTIME) { errno = EPERM; return -1; }
    unsigned modes = t->modes == ADJ_OFFSET_SINGLESHOT ? 0 : t->modes;
    begin();
    rebase(real_ns(CLOCK_MONOTONIC_RAW));
    if (modes & ADJ_SETOFFSET) {
        it->shown += t->time.tv_sec * 1000000000LL + t->time.tv_usec * (modes & ADJ_NANO ? 1 : 1000);
        it->steps++;
    }
    if (modes & ADJ_FREQUENCY) it->freq = fmax(-32768000, fmin(32768000, t->freq));
    if (modes & ADJ_TICK) it->tick = t->tick;
    if (modes & ADJ_STATUS) it->status = t->status;
    if (modes & ADJ_MAXERROR) it->maxerror = t->maxerror;
    if (modes & ADJ_ESTERROR) it->esterror = t->esterror;
    if (modes & ADJ_TAI) it->tai = t->constant;
    rebase(it->raw);
    t->freq = it->freq; t->tick = it->tick; t->status = it->status; t->tai = it->tai;
    t->maxerror = it->maxerror; t->esterror = it->esterror;
    end();
    return it->status & STA_UNSYNC ? TIME_ERROR : TIME_OK;
}

int adjtimex(struct timex *t) { return clock_adjtime(CLOCK_REALTIME, t); }

// A stamp of the kernel, as the private clock would have given it.
static void translate(struct msghdr *message) {
    for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c; c = CMSG_NXTHDR(message, c)) {
        int stamp = c->cmsg_type == SO_TIMESTAMPING || c->cmsg_type == SO_TIMESTAMPNS || c->cmsg_type == 64
            || c->cmsg_type == 65;
        struct timespec *time = (void *)CMSG_DATA(c);
        if (c->cmsg_level != SOL_SOCKET || !stamp || !time->tv_sec) continue;
        int64_t raw = 0, least = INT64_MAX;
        for (int i = 0; i < 3; i++) {
            int64_t before = real_ns(CLOCK_REALTIME), now = real_ns(CLOCK_MONOTONIC_RAW);
            int64_t took = real_ns(CLOCK_REALTIME) - before;
            if (took < least) { least = took; raw = now - before - took / 2; }
        }
        int64_t ns = shown_at(time->tv_sec * 1000000000LL + time->tv_nsec + raw);
        time->tv_sec = ns / 1000000000;
        time->tv_nsec = ns % 1000000000;
    }
}

ssize_t recvmsg(int fd, struct msghdr *message, int flags) {
    static ssize_t (*real)(int, struct msghdr *, int);
    if (!real) *(void **)&real = dlsym(RTLD_NEXT, "recvmsg");
    ssize_t result = real(fd, message, flags);
    if (result >= 0) translate(message);
    return result;
}

static const char *moved(const char *path, char *buffer, size_t size) {
    const char *folder = getenv("PRIVATE_PROC");
    if (!folder || strncmp(path, "/proc", 5) != 0) return path;
    if (path[5] != 0 && !(path[5] == '/' && isdigit(path[6]))) return path;
    snprintf(buffer, size, "%s%s", folder, path + 5);
    return buffer;
}

DIR *opendir(const char *path) {
    static DIR *(*real)(const char *);
    if (!real) *(void **)&real = dlsym(RTLD_NEXT, "opendir");
    char buffer[4096];
    return real(moved(path, buffer, sizeof buffer));
}

int open64(const char *path, int flags, ...) {
    va_list rest_of_them;
    va_start(rest_of_them, flags);
    mode_t mode = va_arg(rest_of_them, mode_t);
    va_end(rest_of_them);
    char buffer[4096];
    return syscall(SYS_openat, AT_FDCWD, moved(path, buffer, sizeof buffer), flags | O_LARGEFILE, mode);
}
