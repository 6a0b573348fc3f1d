/* The clock of the machine as a process sees it, ahead or behind by what a shared file says; monotonic time stays. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <threads.h>
#include <time.h>
#include <unistd.h>

static volatile int64_t *ahead_ns;
static int (*own_gettime)(clockid_t, struct timespec *);
static int (*own_cnd_timedwait)(cnd_t *, mtx_t *, const struct timespec *);
static int (*own_timedwait)(pthread_cond_t *, pthread_mutex_t *, const struct timespec *);

__attribute__((constructor)) static void begin(void) {
    own_gettime = dlsym(RTLD_NEXT, "clock_gettime");
    own_timedwait = dlvsym(RTLD_NEXT, "pthread_cond_timedwait", "GLIBC_2.3.2");
    if (!own_timedwait) own_timedwait = dlsym(RTLD_NEXT, "pthread_cond_timedwait");
    own_cnd_timedwait = dlsym(RTLD_NEXT, "cnd_timedwait");
    const char *path = getenv("TWINFLOW_TEST_CLOCK");
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (file < 0) return;
    void *found = mmap(0, sizeof *ahead_ns, PROT_READ, MAP_SHARED, file, 0);
    close(file);
    if (found != MAP_FAILED) ahead_ns = found;
}

static void shift(struct timespec *t, int64_t by_ns) {
    int64_t ns = t->tv_nsec + by_ns % 1000000000;
    t->tv_sec += by_ns / 1000000000;
    if (ns < 0) { ns += 1000000000; t->tv_sec--; }
    if (ns >= 1000000000) { ns -= 1000000000; t->tv_sec++; }
    t->tv_nsec = ns;
}

int clock_gettime(clockid_t id, struct timespec *t) {
    if (!own_gettime) begin();
    int failed = own_gettime(id, t);
    if (!failed && ahead_ns && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE)) shift(t, *ahead_ns);
    return failed;
}

int gettimeofday(struct timeval *restrict t, void *restrict zone) {
    struct timespec now;
    (void)zone;
    int failed = clock_gettime(CLOCK_REALTIME, &now);
    if (!failed) { t->tv_sec = now.tv_sec; t->tv_usec = now.tv_nsec / 1000; }
    return failed;
}

time_t time(time_t *at) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (at) *at = now.tv_sec;
    return now.tv_sec;
}

int timespec_get(struct timespec *t, int base) {
    return base == TIME_UTC && !clock_gettime(CLOCK_REALTIME, t) ? base : 0;
}

/* A deadline by the machine's clock is one the kernel keeps by its own. */
static struct timespec of_kernel(const struct timespec *until) {
    struct timespec mine = *until;
    if (ahead_ns && until->tv_sec > 1000000000) shift(&mine, -*ahead_ns);
    return mine;
}

int pthread_cond_timedwait(pthread_cond_t *restrict cond, pthread_mutex_t *restrict mutex,
                           const struct timespec *restrict until) {
    struct timespec mine = of_kernel(until);
    if (!own_timedwait) begin();
    return own_timedwait(cond, mutex, &mine);
}

int cnd_timedwait(cnd_t *restrict cond, mtx_t *restrict mutex, const struct timespec *restrict until) {
    struct timespec mine = of_kernel(until);
    if (!own_cnd_timedwait) begin();
    return own_cnd_timedwait(cond, mutex, &mine);
}
