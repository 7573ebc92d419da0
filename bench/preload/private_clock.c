/* A private clock for one process: preloaded, it gives the process an oscillator and a CLOCK_REALTIME of
 * its own, which it may step and slew as it likes, and never touches the machine's.
 *
 *   PRIVATE_CLOCK_STATE=FILE PRIVATE_CLOCK_OFFSET=0.005 PRIVATE_CLOCK_PPM=10 LD_PRELOAD=private_clock.so chronyd ...
 *
 * The oscillator is CLOCK_MONOTONIC_RAW made faster by PRIVATE_CLOCK_PPM; it is what the process reads as
 * CLOCK_MONOTONIC_RAW. CLOCK_REALTIME starts PRIVATE_CLOCK_OFFSET seconds ahead of the machine's, runs on the
 * oscillator, and obeys clock_adjtime (also adjtimex, ntp_adjtime, adjtime), clock_settime and settimeofday.
 * CLOCK_MONOTONIC and CLOCK_BOOTTIME follow it without its steps, as in the kernel. Kernel time stamps in
 * received control messages are translated. Sent NTP requests are counted. /proc has no processes: those of
 * the machine do not steer this clock.
 *
 * FILE holds struct state, mapped shared; bench/src/private_clock.rs reads it. */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <math.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timex.h>
#include <time.h>
#include <unistd.h>

#define NS 1000000000LL
#define SLEW 500e-6 /* the kernel's rate for adjtime and ADJ_OFFSET */

/* real(raw) = v0 + (raw - raw0) * rate, raw the machine's CLOCK_MONOTONIC_RAW. seq is odd while it changes. */
static struct state {
	volatile uint64_t seq;
	int64_t raw0, v0;
	double rate, freq_ppm, hw_ppm;
	uint64_t steps;
	double slew;
	uint64_t sent;
} own, *st = &own;

static double fraction; /* of v0, below a nanosecond */
static int64_t raw_start, mono_minus_v, boot_minus_v;
static long tick = 10000, sfreq, maxerr = 16000000, esterr = 16000000, tconst = 2;
static int status = STA_UNSYNC, tai;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static int (*real_gettime)(clockid_t, struct timespec *);

static int64_t machine(clockid_t id) {
	struct timespec t = {0, 0};
	real_gettime(id, &t);
	return t.tv_sec * NS + t.tv_nsec;
}

/* clock `id` minus CLOCK_MONOTONIC_RAW, from the tightest of some readings */
static int64_t against_raw(clockid_t id) {
	int64_t found = 0, best = INT64_MAX;
	for (int i = 0; i < 5; i++) {
		int64_t a = machine(CLOCK_MONOTONIC_RAW), r = machine(id), b = machine(CLOCK_MONOTONIC_RAW);
		if (b - a < best) { best = b - a; found = r - a - (b - a) / 2; }
	}
	return found;
}

static double setting(const char *name) { const char *v = getenv(name); return v ? atof(v) : 0; }

static void set_rate(void) {
	double slew = st->slew != 0 ? copysign(SLEW, st->slew) : 0;
	st->freq_ppm = sfreq / 65536.0 + (tick - 10000) * 100.0;
	st->rate = (1 + st->hw_ppm * 1e-6) * (1 + st->freq_ppm * 1e-6 + slew);
}

static void start(void) {
	real_gettime = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
	const char *path = getenv("PRIVATE_CLOCK_STATE");
	int fd = path ? open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644) : -1;
	if (fd >= 0 && !ftruncate(fd, sizeof own)) {
		void *m = mmap(NULL, sizeof own, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		if (m != MAP_FAILED) st = m;
	}
	if (fd >= 0) close(fd);
	st->seq = 1;
	st->hw_ppm = setting("PRIVATE_CLOCK_PPM");
	st->slew = 0;
	st->steps = st->sent = 0;
	raw_start = st->raw0 = machine(CLOCK_MONOTONIC_RAW);
	int64_t real = raw_start + against_raw(CLOCK_REALTIME);
	st->v0 = real + (int64_t)(setting("PRIVATE_CLOCK_OFFSET") * NS);
	mono_minus_v = raw_start + against_raw(CLOCK_MONOTONIC) - st->v0;
	boot_minus_v = raw_start + against_raw(CLOCK_BOOTTIME) - st->v0;
	set_rate();
	st->seq = 2;
}
__attribute__((constructor)) static void init(void) { pthread_once(&once, start); }

static void begin(void) { init(); pthread_mutex_lock(&lock); }
static void end(void) { pthread_mutex_unlock(&lock); }
static void change(void) { st->seq++; __sync_synchronize(); }
static void changed(void) { __sync_synchronize(); st->seq++; }

static int64_t v_of(int64_t raw) {
	return st->v0 + (raw - st->raw0) + (int64_t)floor((double)(raw - st->raw0) * (st->rate - 1.0) + fraction);
}
static void move_to(int64_t raw) { /* a new base at raw, with the same value */
	double d = (double)(raw - st->raw0) * (st->rate - 1.0) + fraction, whole = floor(d);
	st->v0 += raw - st->raw0 + (int64_t)whole;
	fraction = d - whole;
	st->raw0 = raw;
}
static void advance(int64_t raw) { /* whole seconds of slewing */
	while (st->slew != 0 && raw - st->raw0 >= NS) {
		change();
		move_to(st->raw0 + NS);
		st->slew = fabs(st->slew) <= SLEW ? 0 : st->slew - copysign(SLEW, st->slew);
		set_rate();
		changed();
	}
}
static int64_t now(int64_t *raw) { /* the caller holds the lock */
	*raw = machine(CLOCK_MONOTONIC_RAW);
	advance(*raw);
	return v_of(*raw);
}
static void step(int64_t by) {
	st->v0 += by;
	mono_minus_v -= by;
	boot_minus_v -= by;
	st->steps++;
}

static int64_t read_clock(clockid_t id) {
	int64_t raw, shown;
	begin();
	int64_t v = now(&raw);
	switch (id) {
	case CLOCK_MONOTONIC_RAW: shown = raw + (int64_t)floor((double)(raw - raw_start) * st->hw_ppm * 1e-6); break;
	case CLOCK_MONOTONIC: case CLOCK_MONOTONIC_COARSE: shown = v + mono_minus_v; break;
	case CLOCK_BOOTTIME: shown = v + boot_minus_v; break;
	case CLOCK_TAI: shown = v + tai * NS; break;
	default: shown = v;
	}
	end();
	return shown;
}
static int64_t translated(int64_t stamp) { /* a kernel stamp, as our clock would have given it */
	begin();
	int64_t raw = stamp - against_raw(CLOCK_REALTIME);
	advance(machine(CLOCK_MONOTONIC_RAW));
	int64_t v = v_of(raw);
	end();
	return v;
}

int clock_gettime(clockid_t id, struct timespec *t) {
	init();
	switch (id) {
	case CLOCK_REALTIME: case CLOCK_REALTIME_COARSE: case CLOCK_MONOTONIC: case CLOCK_MONOTONIC_COARSE:
	case CLOCK_MONOTONIC_RAW: case CLOCK_BOOTTIME: case CLOCK_TAI: {
		int64_t ns = read_clock(id);
		t->tv_sec = ns / NS;
		t->tv_nsec = ns % NS;
		return 0;
	}
	default: return real_gettime(id, t);
	}
}
int gettimeofday(struct timeval *t, void *zone) {
	(void)zone;
	int64_t v = read_clock(CLOCK_REALTIME);
	t->tv_sec = v / NS;
	t->tv_usec = v % NS / 1000;
	return 0;
}
time_t time(time_t *t) {
	time_t v = read_clock(CLOCK_REALTIME) / NS;
	if (t) *t = v;
	return v;
}
static int set_to(int64_t target) {
	int64_t raw;
	begin();
	int64_t v = now(&raw);
	change();
	move_to(raw);
	step(target - v);
	changed();
	end();
	return 0;
}
int clock_settime(clockid_t id, const struct timespec *t) {
	if (id != CLOCK_REALTIME) { errno = EPERM; return -1; }
	return set_to(t->tv_sec * NS + t->tv_nsec);
}
int settimeofday(const struct timeval *t, const struct timezone *zone) {
	(void)zone;
	return t ? set_to(t->tv_sec * NS + t->tv_usec * 1000) : 0;
}

int clock_adjtime(clockid_t id, struct timex *t) {
	if (id != CLOCK_REALTIME) {
		if (t->modes) { errno = EPERM; return -1; }
		static int (*next)(clockid_t, struct timex *);
		if (!next) next = (int (*)(clockid_t, struct timex *))dlsym(RTLD_NEXT, "clock_adjtime");
		return next(id, t);
	}
	unsigned m = t->modes;
	int single = m == ADJ_OFFSET_SINGLESHOT || m == ADJ_OFFSET_SS_READ;
	if (!single && (m & ADJ_TICK) && (t->tick < 9000 || t->tick > 11000)) { errno = EINVAL; return -1; }
	int64_t raw;
	begin();
	now(&raw);
	change();
	move_to(raw);
	if (single) {
		double left = st->slew;
		if (m == ADJ_OFFSET_SINGLESHOT) st->slew = t->offset * 1e-6;
		t->offset = (long)(left * 1e6);
		m = 0;
	}
	if (m & ADJ_SETOFFSET) step(t->time.tv_sec * NS + (m & ADJ_NANO ? t->time.tv_usec : t->time.tv_usec * 1000LL));
	if (m & ADJ_FREQUENCY) sfreq = t->freq > 32768000 ? 32768000 : t->freq < -32768000 ? -32768000 : t->freq;
	if (m & ADJ_TICK) tick = t->tick;
	if (m & ADJ_STATUS) status = t->status & 0xff;
	if (m & ADJ_MAXERROR) maxerr = t->maxerror;
	if (m & ADJ_ESTERROR) esterr = t->esterror;
	if (m & ADJ_TIMECONST) tconst = t->constant;
	if (m & ADJ_TAI) tai = t->constant;
	if (m & ADJ_OFFSET) st->slew = t->offset * ((status & STA_NANO) || (m & ADJ_NANO) ? 1e-9 : 1e-6);
	if (m & ADJ_NANO) status |= STA_NANO;
	if (m & ADJ_MICRO) status &= ~STA_NANO;
	set_rate();
	int64_t v = v_of(raw);
	changed();
	end();
	if (!single) t->offset = 0;
	t->freq = sfreq; t->tick = tick; t->status = status; t->maxerror = maxerr; t->esterror = esterr;
	t->constant = tconst; t->tai = tai; t->precision = 1; t->tolerance = 32768000;
	t->time.tv_sec = v / NS;
	t->time.tv_usec = status & STA_NANO ? v % NS : v % NS / 1000;
	return status & STA_UNSYNC ? TIME_ERROR : TIME_OK;
}
int adjtimex(struct timex *t) { return clock_adjtime(CLOCK_REALTIME, t); }
int ntp_adjtime(struct timex *t) { return clock_adjtime(CLOCK_REALTIME, t); }
int adjtime(const struct timeval *by, struct timeval *left) {
	int64_t raw;
	begin();
	now(&raw);
	if (left) { left->tv_sec = (long)st->slew; left->tv_usec = (long)((st->slew - (long)st->slew) * 1e6); }
	if (by) {
		change();
		move_to(raw);
		st->slew = by->tv_sec + by->tv_usec * 1e-6;
		set_rate();
		changed();
	}
	end();
	return 0;
}
long syscall(long n, ...) { /* programs that call the clock by number */
	va_list list;
	va_start(list, n);
	long a[6];
	for (int i = 0; i < 6; i++) a[i] = va_arg(list, long);
	va_end(list);
	static long (*next)(long, ...);
	if (!next) next = (long (*)(long, ...))dlsym(RTLD_NEXT, "syscall");
	if (n == SYS_clock_adjtime && a[0] == CLOCK_REALTIME) return clock_adjtime(a[0], (struct timex *)a[1]);
	if (n == SYS_adjtimex) return adjtimex((struct timex *)a[0]);
	if (n == SYS_clock_settime) return clock_settime(a[0], (struct timespec *)a[1]);
	return next(n, a[0], a[1], a[2], a[3], a[4], a[5]);
}

static void translate(struct msghdr *m) {
	for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
		if (c->cmsg_level != SOL_SOCKET) continue;
		if (c->cmsg_type == SO_TIMESTAMPING || c->cmsg_type == SO_TIMESTAMPNS) {
			struct timespec *t = (void *)CMSG_DATA(c);
			if (!t->tv_sec) continue;
			int64_t v = translated(t->tv_sec * NS + t->tv_nsec);
			t->tv_sec = v / NS;
			t->tv_nsec = v % NS;
		} else if (c->cmsg_type == SO_TIMESTAMP) {
			struct timeval *t = (void *)CMSG_DATA(c);
			int64_t v = translated(t->tv_sec * NS + t->tv_usec * 1000);
			t->tv_sec = v / NS;
			t->tv_usec = v % NS / 1000;
		}
	}
}
ssize_t recvmsg(int fd, struct msghdr *m, int flags) {
	static ssize_t (*next)(int, struct msghdr *, int);
	if (!next) next = (ssize_t (*)(int, struct msghdr *, int))dlsym(RTLD_NEXT, "recvmsg");
	ssize_t got = next(fd, m, flags);
	if (got >= 0) translate(m);
	return got;
}
int recvmmsg(int fd, struct mmsghdr *v, unsigned n, int flags, struct timespec *patience) {
	static int (*next)(int, struct mmsghdr *, unsigned, int, struct timespec *);
	if (!next) next = (int (*)(int, struct mmsghdr *, unsigned, int, struct timespec *))dlsym(RTLD_NEXT, "recvmmsg");
	int got = next(fd, v, n, flags, patience);
	for (int i = 0; i < got; i++) translate(&v[i].msg_hdr);
	return got;
}

/* an NTP header of mode 3 (client) and version 3 to 5 */
static int is_request(const void *bytes, size_t n) {
	unsigned char first = n >= 48 ? *(const unsigned char *)bytes : 0;
	return (first & 7) == 3 && (first >> 3 & 7) >= 3 && (first >> 3 & 7) <= 5;
}
static void count(const struct msghdr *m) {
	if (m->msg_iovlen > 0 && is_request(m->msg_iov[0].iov_base, m->msg_iov[0].iov_len))
		__sync_fetch_and_add(&st->sent, 1);
}
ssize_t sendto(int fd, const void *b, size_t n, int flags, const struct sockaddr *to, socklen_t len) {
	static ssize_t (*next)(int, const void *, size_t, int, const struct sockaddr *, socklen_t);
	if (!next) next = (ssize_t (*)(int, const void *, size_t, int, const struct sockaddr *, socklen_t))dlsym(RTLD_NEXT, "sendto");
	ssize_t done = next(fd, b, n, flags, to, len);
	if (done >= 0 && is_request(b, n)) __sync_fetch_and_add(&st->sent, 1);
	return done;
}
ssize_t send(int fd, const void *b, size_t n, int flags) { return sendto(fd, b, n, flags, NULL, 0); }
ssize_t sendmsg(int fd, const struct msghdr *m, int flags) {
	static ssize_t (*next)(int, const struct msghdr *, int);
	if (!next) next = (ssize_t (*)(int, const struct msghdr *, int))dlsym(RTLD_NEXT, "sendmsg");
	ssize_t done = next(fd, m, flags);
	if (done >= 0) count(m);
	return done;
}
int sendmmsg(int fd, struct mmsghdr *v, unsigned n, int flags) {
	static int (*next)(int, struct mmsghdr *, unsigned, int);
	if (!next) next = (int (*)(int, struct mmsghdr *, unsigned, int))dlsym(RTLD_NEXT, "sendmmsg");
	int done = next(fd, v, n, flags);
	for (int i = 0; i < done; i++) count(&v[i].msg_hdr);
	return done;
}

DIR *opendir(const char *path) {
	static DIR *(*next)(const char *);
	if (!next) next = (DIR *(*)(const char *))dlsym(RTLD_NEXT, "opendir");
	char folder[4096] = "";
	const char *state = getenv("PRIVATE_CLOCK_STATE");
	if (strcmp(path, "/proc") != 0 || !state) return next(path);
	strncpy(folder, state, sizeof folder - 1);
	return next(dirname(folder));
}
