/* SPDX-License-Identifier: MIT */
/* sandbox.c: see sandbox.h. Linux. */
#include "sandbox.h"

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "fuzz.h"

#if defined(__SANITIZE_ADDRESS__)
#define HAVE_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define HAVE_ASAN 1
#endif
#endif
#ifdef HAVE_ASAN
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(addr, bytes) ((void) (addr), (void) (bytes))
#define ASAN_UNPOISON_MEMORY_REGION(addr, bytes) ((void) (addr), (void) (bytes))
#endif

#define CLOCK_START_NS UINT64_C(1000000000000)
#define CLOCK_STEP_NS 100 /* by which each reading moves the clock on: what waits for it comes to an end */
#define PAGE_BYTES ((size_t) 4096)

sandbox_region_t sandbox_region;
static sandbox_region_t regions[SANDBOX_REGIONS_MAX]; /* base NULL = free */
bool sandbox_may_sigpipe;
static bool entered;
static uint64_t clock_ns;
static sandbox_names_t made[4];
static unsigned int nmade;

/* --- Time ------------------------------------------------------------------------------------- */

/* Stands in for libc's, for libuv too. */
int clock_gettime(clockid_t clock, struct timespec* now) {
  if (!entered || (clock != CLOCK_MONOTONIC && clock != CLOCK_MONOTONIC_COARSE))
    return (int) syscall(SYS_clock_gettime, clock, now);
  clock_ns += CLOCK_STEP_NS;
  now->tv_sec = (time_t) (clock_ns / 1000000000u);
  now->tv_nsec = (long) (clock_ns % 1000000000u);
  return 0;
}

void sandbox_advance_ms(uint64_t ms) {
  clock_ns += ms * 1000000u;
}

/* A write of the product's must not raise it, whatever the peer closed. */
static void on_sigpipe(int signum) {
  static const char text[] = "broken promise: a write raised SIGPIPE\n";

  (void) signum;
  if (sandbox_may_sigpipe) return;
  (void) !write(STDERR_FILENO, text, sizeof(text) - 1);
  abort();
}

void sandbox_enter(void) {
  static bool prepared;

  if (!prepared) FUZZ_REQUIRE(signal(SIGPIPE, on_sigpipe) != SIG_ERR);
  prepared = true;
  clock_ns = CLOCK_START_NS;
  entered = true;
}

void sandbox_leave(void) {
  entered = false;
}

int sandbox_getrusage(int who, struct rusage* usage) {
  (void) who;
  memset(usage, 0, sizeof(*usage)); /* never preempted */
  return 0;
}

typedef struct work_s {
  void* (*run)(void*);
  void* arg;
  pid_t tid;
} work_t;

static void* do_work(void* arg) {
  work_t* work = arg;

  work->tid = gettid();
  return work->run(work->arg);
}

/* The kernel knows a thread a little longer than it can be joined. */
int sandbox_thread(pthread_t* thread, const pthread_attr_t* attr, void* (*run)(void*), void* arg) {
  work_t work = {.run = run, .arg = arg};
  int err = pthread_create(thread, NULL, do_work, &work);

  (void) attr; /* says that nobody joins it */
  if (err != 0) return err;
  pthread_join(*thread, NULL);
  while (syscall(SYS_tgkill, getpid(), work.tid, 0) == 0) sched_yield();
  return 0;
}

long sandbox_sysconf(int name) {
  return name == _SC_NPROCESSORS_ONLN ? 2 : sysconf(name);
}

/* --- Memory ----------------------------------------------------------------------------------- */

static size_t whole_pages(size_t bytes) {
  return (bytes + PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES;
}

static sandbox_region_t* find_region(const void* base) {
  for (unsigned int i = 0; i < SANDBOX_REGIONS_MAX; i++)
    if (regions[i].base == base) return &regions[i];
  return NULL;
}

static void keep_region(sandbox_region_t region) {
  sandbox_region_t* place = find_region(NULL);

  FUZZ_REQUIRE(place != NULL);
  *place = region;
}

unsigned int sandbox_count_regions(void) {
  unsigned int n = 0;

  for (unsigned int i = 0; i < SANDBOX_REGIONS_MAX; i++) n += regions[i].base != NULL;
  return n;
}

void* sandbox_mmap(void* addr, size_t bytes, int prot, int flags, int fd, off_t offset) {
  size_t pages = whole_pages(bytes);
  unsigned char* guard;
  void* base;

  if ((flags & MAP_SHARED) == 0 || addr != NULL) return mmap(addr, bytes, prot, flags, fd, offset);
  guard = mmap(NULL, pages + 2 * PAGE_BYTES, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (guard == MAP_FAILED) return MAP_FAILED;
  base = mmap(guard + PAGE_BYTES, bytes, prot, flags | MAP_FIXED, fd, offset);
  if (base == MAP_FAILED) {
    munmap(guard, pages + 2 * PAGE_BYTES);
    return MAP_FAILED;
  }
  ASAN_POISON_MEMORY_REGION((unsigned char*) base + bytes, pages - bytes);
  sandbox_region = (sandbox_region_t){base, bytes};
  keep_region(sandbox_region);
  return base;
}

int sandbox_munmap(void* addr, size_t bytes) {
  size_t pages = whole_pages(bytes);
  sandbox_region_t* region = addr != NULL ? find_region(addr) : NULL;

  if (region == NULL) return munmap(addr, bytes);
  ASAN_UNPOISON_MEMORY_REGION((unsigned char*) addr + bytes, pages - bytes);
  *region = (sandbox_region_t){NULL, 0};
  if (addr == sandbox_region.base) sandbox_region = *region;
  return munmap((unsigned char*) addr - PAGE_BYTES, pages + 2 * PAGE_BYTES);
}

/* --- Files ------------------------------------------------------------------------------------ */

void sandbox_names(const char* tag, sandbox_names_t* ret_names) {
  snprintf(ret_names->face, sizeof(ret_names->face), "fuzz-%ld-%.16s", (long) getpid(), tag);
  snprintf(ret_names->shm, sizeof(ret_names->shm), "/ndn-shm-%s", ret_names->face);
  snprintf(ret_names->a2e, sizeof(ret_names->a2e), "/tmp/.ndn-%s.a2e.pipe", ret_names->face);
  snprintf(ret_names->e2a, sizeof(ret_names->e2a), "/tmp/.ndn-%s.e2a.pipe", ret_names->face);
}

static void remove_files(void) {
  while (nmade > 0) {
    nmade--;
    shm_unlink(made[nmade].shm);
    unlink(made[nmade].a2e);
    unlink(made[nmade].e2a);
  }
}

int sandbox_make_engine_files(const sandbox_names_t* names) {
  int fd = shm_open(names->shm, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

  FUZZ_REQUIRE(fd >= 0);
  FUZZ_REQUIRE(mkfifo(names->a2e, 0600) == 0);
  FUZZ_REQUIRE(mkfifo(names->e2a, 0600) == 0);
  if (nmade == 0) FUZZ_REQUIRE(atexit(remove_files) == 0);
  FUZZ_REQUIRE(nmade < sizeof(made) / sizeof(made[0]));
  made[nmade++] = *names;
  return fd;
}
