// The clock of a server for any program: preloaded, it lets the wall clock show what the server
// shows, as the clock file says that $TORIL_CLOCK names (src/server/clock.rs has its layout).
//
//     LD_PRELOAD=libtoril_clock.so TORIL_CLOCK=/tmp/toril-1-2.clock celery worker
//
// The monotonic clock goes ahead by as much, so that timers of the program become due, and never
// goes back; not so with TORIL_CLOCK_TIMERS=none, for programs that give up a job by a timer and
// find what is due by the wall clock. What waits until a moment of one of these clocks waits in real time: the moment is
// turned back before the kernel sees it.
//
// A process that runs already follows by toril_clock_follow, as Python's `clock.follow()` does.
//
// Built with: cc -shared -fPIC -O2 -Wl,-Bsymbolic -o libtoril_clock.so clock.c -ldl -lpthread
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define MILLION 1000000LL
#define BILLION 1000000000LL

struct clock_file {
  char magic[8];
  uint32_t version;
  uint32_t is_frozen;
  int64_t ahead_ms;
  int64_t frozen_ms;
};

// What is followed; null if the real time is shown.
static const struct clock_file *volatile file;
static int timers_are_real;
// The furthest that the monotonic clock has been ahead, in nanoseconds.
static _Atomic int64_t ahead_max;

static int (*real_gettime)(clockid_t, struct timespec *);
static int (*real_nanosleep)(clockid_t, int, const struct timespec *, struct timespec *);
static int (*real_cond_timedwait)(pthread_cond_t *, pthread_mutex_t *, const struct timespec *);
static int (*real_cond_clockwait)(pthread_cond_t *, pthread_mutex_t *, clockid_t,
                                  const struct timespec *);
static int (*real_sem_timedwait)(sem_t *, const struct timespec *);
static int (*real_sem_clockwait)(sem_t *, clockid_t, const struct timespec *);
static int (*real_mutex_timedlock)(pthread_mutex_t *, const struct timespec *);

static void find(void *place, const char *name) {
  void *found = dlsym(RTLD_NEXT, name);
  memcpy(place, &found, sizeof found);
}

// The first caller may come before the constructor of this library.
static void find_all(void) {
  if (real_gettime) return;
  find(&real_nanosleep, "clock_nanosleep");
  find(&real_cond_timedwait, "pthread_cond_timedwait");
  find(&real_cond_clockwait, "pthread_cond_clockwait");
  find(&real_sem_timedwait, "sem_timedwait");
  find(&real_sem_clockwait, "sem_clockwait");
  find(&real_mutex_timedlock, "pthread_mutex_timedlock");
  find(&real_gettime, "clock_gettime");
}

// Node has toril/clock for it, which leaves the timers of tests alone: time must not move twice.
static int follows_by_itself(void) {
  const char *options = getenv("NODE_OPTIONS");
  return options && strstr(options, "toril/clock") &&
         !strcmp(program_invocation_short_name, "node");
}

// Null if there is no clock file of this version under that name.
static const struct clock_file *opened(const char *path) {
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return NULL;
  struct stat found;
  void *map = MAP_FAILED;
  if (!fstat(fd, &found) && found.st_size >= (off_t)sizeof(struct clock_file))
    map = mmap(0, sizeof(struct clock_file), PROT_READ, MAP_SHARED, fd, 0);
  close(fd);
  if (map == MAP_FAILED) return NULL;
  const struct clock_file *clock = map;
  if (!memcmp(clock->magic, "TORILCLK", 8) && clock->version == 1) return clock;
  munmap(map, sizeof(struct clock_file));
  return NULL;
}

__attribute__((constructor)) static void follow(void) {
  find_all();
  const char *path = getenv("TORIL_CLOCK"), *timers = getenv("TORIL_CLOCK_TIMERS");
  timers_are_real = timers && !strcmp(timers, "none");
  if (path && !follows_by_itself()) file = opened(path);
}

static int64_t nanoseconds(const struct timespec *time) {
  return time->tv_sec * BILLION + time->tv_nsec;
}

static struct timespec timespec_of(int64_t ns) {
  struct timespec time = {.tv_sec = ns / BILLION, .tv_nsec = ns % BILLION};
  if (time.tv_nsec < 0) {
    time.tv_sec--;
    time.tv_nsec += BILLION;
  }
  return time;
}

// What it has been ahead by it stays ahead by, whoever is followed.
static int64_t monotonic_ahead(const volatile struct clock_file *followed) {
  int64_t before = atomic_load(&ahead_max);
  if (!followed || timers_are_real) return before;
  int64_t ahead = followed->ahead_ms * MILLION;
  while (ahead > before && !atomic_compare_exchange_weak(&ahead_max, &before, ahead)) {
  }
  return ahead > before ? ahead : before;
}

static int is_wall(clockid_t id) { return id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE; }

static int is_monotonic(clockid_t id) {
  return id == CLOCK_MONOTONIC || id == CLOCK_MONOTONIC_COARSE || id == CLOCK_BOOTTIME;
}

int clock_gettime(clockid_t id, struct timespec *time) {
  find_all();
  int result = real_gettime(id, time);
  // Read once: another thread may end the following.
  const volatile struct clock_file *followed = file;
  if (result) return result;
  if (is_wall(id) && followed && followed->is_frozen)
    *time = timespec_of(followed->frozen_ms * MILLION);
  else if (is_wall(id) && followed)
    *time = timespec_of(nanoseconds(time) + followed->ahead_ms * MILLION);
  else if (is_monotonic(id))
    *time = timespec_of(nanoseconds(time) + monotonic_ahead(followed));
  return 0;
}

int gettimeofday(struct timeval *restrict time, void *restrict zone) {
  (void)zone;
  struct timespec now;
  int result = clock_gettime(CLOCK_REALTIME, &now);
  if (!result) *time = (struct timeval){.tv_sec = now.tv_sec, .tv_usec = now.tv_nsec / 1000};
  return result;
}

time_t time(time_t *place) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  if (place) *place = now.tv_sec;
  return now.tv_sec;
}

// A moment as the kernel's own clock will show it. What a jump has left behind by more than the
// kernel's clock has counted is over, and the kernel takes no time before its zero.
static struct timespec turned_back(clockid_t id, const struct timespec *until) {
  if (!(is_wall(id) || is_monotonic(id))) return *until;
  struct timespec shown, real;
  clock_gettime(id, &shown);
  real_gettime(id, &real);
  int64_t ns = nanoseconds(until) - nanoseconds(&shown) + nanoseconds(&real);
  return timespec_of(ns > 0 ? ns : 0);
}

int clock_nanosleep(clockid_t id, int flags, const struct timespec *span, struct timespec *left) {
  find_all();
  if (!(flags & TIMER_ABSTIME)) return real_nanosleep(id, flags, span, left);
  struct timespec until = turned_back(id, span);
  return real_nanosleep(id, flags, &until, left);
}

// Of a condition variable its attributes alone know which clock it goes by. A moment of the wall
// clock and one of the monotonic clock are decades apart.
static clockid_t clock_of(const struct timespec *until) {
  struct timespec wall;
  clock_gettime(CLOCK_REALTIME, &wall);
  return until->tv_sec > wall.tv_sec / 2 ? CLOCK_REALTIME : CLOCK_MONOTONIC;
}

int pthread_cond_timedwait(pthread_cond_t *restrict cond, pthread_mutex_t *restrict mutex,
                           const struct timespec *restrict until) {
  find_all();
  struct timespec real = turned_back(clock_of(until), until);
  return real_cond_timedwait(cond, mutex, &real);
}

int pthread_cond_clockwait(pthread_cond_t *restrict cond, pthread_mutex_t *restrict mutex,
                           clockid_t id, const struct timespec *restrict until) {
  find_all();
  if (!real_cond_clockwait) return ENOSYS;
  struct timespec real = turned_back(id, until);
  return real_cond_clockwait(cond, mutex, id, &real);
}

int sem_timedwait(sem_t *restrict semaphore, const struct timespec *restrict until) {
  find_all();
  struct timespec real = turned_back(CLOCK_REALTIME, until);
  return real_sem_timedwait(semaphore, &real);
}

int sem_clockwait(sem_t *restrict semaphore, clockid_t id, const struct timespec *restrict until) {
  find_all();
  if (!real_sem_clockwait) {
    errno = ENOSYS;
    return -1;
  }
  struct timespec real = turned_back(id, until);
  return real_sem_clockwait(semaphore, id, &real);
}

int pthread_mutex_timedlock(pthread_mutex_t *restrict mutex, const struct timespec *restrict until) {
  find_all();
  struct timespec real = turned_back(CLOCK_REALTIME, until);
  return real_mutex_timedlock(mutex, &real);
}

// In a process that runs already its programs and libraries have found the functions of libc. Each
// keeps them in a table of its own, whose entries are put right here, by the names that they stand
// for. What is loaded later finds libc again, until the next time.

static const struct {
  const char *name;
  void *function;
} OURS[] = {
    {"clock_gettime", clock_gettime},
    {"gettimeofday", gettimeofday},
    {"time", time},
    {"clock_nanosleep", clock_nanosleep},
    {"pthread_cond_timedwait", pthread_cond_timedwait},
    {"pthread_cond_clockwait", pthread_cond_clockwait},
    {"sem_timedwait", sem_timedwait},
    {"sem_clockwait", sem_clockwait},
    {"pthread_mutex_timedlock", pthread_mutex_timedlock},
};

#if defined __aarch64__
enum { BY_NAME = R_AARCH64_GLOB_DAT, AT_FIRST_CALL = R_AARCH64_JUMP_SLOT };
#else
enum { BY_NAME = R_X86_64_GLOB_DAT, AT_FIRST_CALL = R_X86_64_JUMP_SLOT };
#endif

// The table is read-only once it is filled in, unless entries are filled in at the first call.
static int put(void **entry, void *function) {
  uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
  void *start = (void *)((uintptr_t)entry & -page);
  if (*entry == function) return 0;
  if (mprotect(start, page, PROT_READ | PROT_WRITE)) return errno;
  __atomic_store_n(entry, function, __ATOMIC_SEQ_CST);
  return 0;
}

// What the dynamic section says of one object that is loaded.
struct object {
  ElfW(Addr) base;
  const ElfW(Sym) * symbols;
  const char *names;
};

static int redirect(const struct object *object, const ElfW(Rela) * entries, size_t size) {
  for (size_t at = 0; at < size / sizeof *entries; at++) {
    unsigned kind = ELF64_R_TYPE(entries[at].r_info);
    if (kind != BY_NAME && kind != AT_FIRST_CALL) continue;
    const char *name = object->names + object->symbols[ELF64_R_SYM(entries[at].r_info)].st_name;
    for (size_t it = 0; it < sizeof OURS / sizeof *OURS; it++) {
      if (strcmp(name, OURS[it].name)) continue;
      int failed = put((void **)(object->base + entries[at].r_offset), OURS[it].function);
      if (failed) return failed;
    }
  }
  return 0;
}

static int redirect_object(struct dl_phdr_info *info, size_t size, void *unused) {
  (void)size, (void)unused;
  const ElfW(Dyn) *entry = NULL;
  for (int at = 0; at < info->dlpi_phnum; at++)
    if (info->dlpi_phdr[at].p_type == PT_DYNAMIC)
      entry = (const void *)(info->dlpi_addr + info->dlpi_phdr[at].p_vaddr);
  ElfW(Addr) found[DT_NUM] = {0};
  for (; entry && entry->d_tag != DT_NULL; entry++)
    if (entry->d_tag < DT_NUM) found[entry->d_tag] = entry->d_un.d_ptr;
  // The kernel's own object has no such tables.
  if (!found[DT_SYMTAB] || !found[DT_STRTAB] || found[DT_SYMTAB] < info->dlpi_addr) return 0;
  struct object object = {info->dlpi_addr, (const void *)found[DT_SYMTAB],
                          (const void *)found[DT_STRTAB]};
  int failed = redirect(&object, (const void *)found[DT_RELA], found[DT_RELASZ]);
  return failed ? failed : redirect(&object, (const void *)found[DT_JMPREL], found[DT_PLTRELSZ]);
}

// Has this process show the time of that clock file from here on, its timers as well if it is told
// to. A path that is null shows the real time again, of the wall clock: the monotonic clock never
// goes back. Returns an error's number, which is 0 if all went well.
int toril_clock_follow(const char *path, int with_timers) {
  const struct clock_file *next = NULL;
  if (path && !(next = opened(path))) return ENOENT;
  find_all();
  int failed = path ? dl_iterate_phdr(redirect_object, NULL) : 0;
  if (failed) return failed;
  timers_are_real = !with_timers;
  file = next;
  return 0;
}
