/* SPDX-License-Identifier: MIT */
/* test_unload.c: what is left of the libraries when the plug-in that they were linked into, as archives, is unloaded:
 * nothing that the process would still call. UVFACE_PLUGIN is the plug-in's path (plugin.c). */
#include <dirent.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "harness.h"

static sigjmp_buf after_fault;
static volatile sig_atomic_t faults;

static void on_own_sigbus(int signal_number) {
  (void) signal_number;
  faults++;
  siglongjmp(after_fault, 1);
}

static void fault(void) {
  int fd = memfd_create("nothing", MFD_CLOEXEC);
  volatile char* base = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0);

  close(fd);
  if (sigsetjmp(after_fault, 1) == 0) (void) base[0];
  munmap((void*) (uintptr_t) base, 4096);
}

static int do_nothing(void* arg) {
  (void) arg;
  return 0;
}

static atomic_bool holding;

/* Stands in for libc's: an app that holds a lock of the kernel's, for which the thread that removes names has to
 * wait. */
int unlink(const char* path) {
  while (gettid() != getpid() && atomic_load(&holding)) usleep(100);
  return unlinkat(AT_FDCWD, path, 0);
}

/* From its arrival to its end. */
static void load_run_unload(const char* name) {
  void* plugin = dlopen(UVFACE_PLUGIN, RTLD_NOW | RTLD_LOCAL);
  int (*run)(const char*);
  void* symbol;

  ck_assert_msg(plugin != NULL, "%s", dlerror());
  symbol = dlsym(plugin, "plugin_run");
  ck_assert_ptr_nonnull(symbol);
  memcpy(&run, &symbol, sizeof(run)); /* which C has no cast for */
  ck_assert_int_eq(run(name), 0);
  ck_assert_int_eq(dlclose(plugin), 0);
}

static bool is_loaded(void) {
  void* plugin = dlopen(UVFACE_PLUGIN, RTLD_NOW | RTLD_NOLOAD);

  return plugin != NULL && dlclose(plugin) == 0;
}

/* _i: 0 = the program has no handler for SIGBUS; 1 = it had one before. Twice: a plug-in may come again. */
TEST_LOOP(nothing_calls_into_a_plug_in_that_was_unloaded, 2) {
  struct sigaction own = {.sa_handler = _i == 0 ? SIG_DFL : on_own_sigbus}, current;

  for (int round = 1; round <= 2; round++) {
    sigemptyset(&own.sa_mask);
    ck_assert_int_eq(sigaction(SIGBUS, &own, NULL), 0);
    load_run_unload(harness_name("unload"));
    ck_assert(!is_loaded()); /* it must really go, or the test says nothing */
    ck_assert_int_eq(sigaction(SIGBUS, NULL, &current), 0);
    ck_assert(current.sa_handler == own.sa_handler && (current.sa_flags & SA_SIGINFO) == 0);
    if (_i == 1) fault();
    ck_assert_int_eq(faults, _i * round);
    assert_child_passes(do_nothing, NULL); /* fork handlers */
  }
}

static int count_threads(void) {
  DIR* dir = opendir("/proc/self/task");
  int n = -2; /* "." and ".." */

  while (readdir(dir) != NULL) n++;
  closedir(dir);
  return n;
}

static bool ends_in_time(int threads) {
  uint64_t end_ns = harness_now_ns() + (uint64_t) DEADLINE_MS * 1000000;

  while (count_threads() > threads && harness_now_ns() < end_ns) usleep(1000);
  return count_threads() == threads;
}

static int run_held_up(void* arg) {
  int before;

  (void) arg;
  load_run_unload(harness_name("first")); /* ThreadSanitizer begins a thread of its own with the first */
  before = count_threads();
  for (int round = 1; round <= 2; round++) {
    atomic_store(&holding, true);
    load_run_unload(harness_name(round == 1 ? "one" : "two")); /* whose names are still there */
    ck_assert_int_eq(count_threads(), before + round);
    ck_assert(is_loaded());
  }
  atomic_store(&holding, false);
  return ends_in_time(before) ? 0 : 1;
}

/* The face is closed by then, and so is another that came while the thread was still there. In a process of its own,
 * for what a plug-in needs stays as well, with its descriptors. */
TEST(thread_that_an_app_holds_up_ends_well_in_a_plug_in_that_was_unloaded) {
  assert_child_passes(run_held_up, NULL);
}
