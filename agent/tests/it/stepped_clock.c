// Preloaded into the agent: CLOCK_REALTIME jumps 0.7 s ahead as soon as the file $STEP_WHEN exists.
// Every other clock, and the real system clock, stays as it is.
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int clock_gettime(clockid_t clock, struct timespec *now) {
    int result = syscall(SYS_clock_gettime, clock, now);
    const char *when = getenv("STEP_WHEN");
    if (result == 0 && clock == CLOCK_REALTIME && when && access(when, F_OK) == 0) {
        now->tv_nsec += 700000000;
        now->tv_sec += now->tv_nsec / 1000000000;
        now->tv_nsec %= 1000000000;
    }
    return result;
}
