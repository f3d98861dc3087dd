/* SPDX-License-Identifier: MIT */
/* test_unload.c: what is left of the libraries when the plug-in that they were linked into, as archives, is unloaded:
 * nothing that the process would still call. UVFACE_PLUGIN is the plug-in's path (plugin.c). */
#include <dlfcn.h>
#include <setjmp.h>
#include <signal.h>
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

/* From its arrival to its end; it must really go, or the test says nothing. */
static void load_run_unload(void) {
  void* plugin = dlopen(UVFACE_PLUGIN, RTLD_NOW | RTLD_LOCAL);
  int (*run)(const char*);
  void* symbol;

  ck_assert_msg(plugin != NULL, "%s", dlerror());
  symbol = dlsym(plugin, "plugin_run");
  ck_assert_ptr_nonnull(symbol);
  memcpy(&run, &symbol, sizeof(run)); /* which C has no cast for */
  ck_assert_int_eq(run(harness_name("unload")), 0);
  ck_assert_int_eq(dlclose(plugin), 0);
  ck_assert_ptr_null(dlopen(UVFACE_PLUGIN, RTLD_NOW | RTLD_NOLOAD));
}

/* _i: 0 = the program has no handler for SIGBUS; 1 = it had one before. Twice: a plug-in may come again. */
TEST_LOOP(nothing_calls_into_a_plug_in_that_was_unloaded, 2) {
  struct sigaction own = {.sa_handler = _i == 0 ? SIG_DFL : on_own_sigbus}, current;

  for (int round = 1; round <= 2; round++) {
    sigemptyset(&own.sa_mask);
    ck_assert_int_eq(sigaction(SIGBUS, &own, NULL), 0);
    load_run_unload();
    ck_assert_int_eq(sigaction(SIGBUS, NULL, &current), 0);
    ck_assert(current.sa_handler == own.sa_handler && (current.sa_flags & SA_SIGINFO) == 0);
    if (_i == 1) fault();
    ck_assert_int_eq(faults, _i * round);
    assert_child_passes(do_nothing, NULL); /* fork handlers */
  }
}
