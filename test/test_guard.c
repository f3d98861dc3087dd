/* SPDX-License-Identifier: MIT */
/* test_guard.c: the SIGBUS handler of lib/guard.h, with the application's own handlers before and after it, in
 * several threads, and what it must not swallow. Files of its own stand for regions. */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "guard.h"
#include "harness.h"

#define BYTES (16 * 4096)

/* A mapping without memory behind it: touching it is a bus error. */
static volatile char* map_nothing(void) {
  int fd = memfd_create("nothing", MFD_CLOEXEC);
  void* base;

  ck_assert_int_ge(fd, 0);
  base = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  ck_assert_ptr_ne(base, MAP_FAILED);
  close(fd);
  return base;
}

static void unmap(volatile char* base) {
  munmap((void*) (uintptr_t) base, BYTES);
}

static ndnshm__guard_t* guard_of(volatile char* base) {
  ndnshm__guard_t* guard;

  ck_assert_int_eq(ndnshm__guard_add((void*) (uintptr_t) base, BYTES, &guard), 0);
  return guard;
}

void harness_setup(void) {
  harness_needs_fault_address();
}

TEST(fault_under_guard_reads_zeros_and_writes_harmlessly) {
  volatile char* lost = map_nothing();
  volatile char* other = map_nothing();
  ndnshm__guard_t* guard = guard_of(lost);
  ndnshm__guard_t* other_guard = guard_of(other);

  ck_assert(!ndnshm__guard_is_lost(guard));
  ck_assert_int_eq(lost[BYTES - 1], 0);
  ck_assert(ndnshm__guard_is_lost(guard));
  lost[0] = 'x';
  ck_assert_int_eq(lost[0], 'x');
  ck_assert(!ndnshm__guard_is_lost(other_guard));
  other[5000] = 'y';
  ck_assert(ndnshm__guard_is_lost(other_guard));
  ndnshm__guard_remove(guard);
  ndnshm__guard_remove(other_guard);
  unmap(lost);
  unmap(other);
}

TEST(removed_guard_is_used_again_untripped) {
  volatile char* lost = map_nothing();
  ndnshm__guard_t* guard = guard_of(lost);
  ndnshm__guard_t* again;

  lost[0] = 'x';
  ndnshm__guard_remove(guard);
  ndnshm__guard_remove(NULL);
  ck_assert(!ndnshm__guard_is_lost(NULL));
  unmap(lost);
  lost = map_nothing();
  again = guard_of(lost);
  ck_assert_ptr_eq(again, guard);
  ck_assert(!ndnshm__guard_is_lost(again));
  lost[0] = 'x';
  ck_assert(ndnshm__guard_is_lost(again));
  ndnshm__guard_remove(again);
  unmap(lost);
}

/* --- Other handlers --------------------------------------------------------------------------- */

static sigjmp_buf escape;
static volatile sig_atomic_t application_saw, application_was_told_where;
static struct sigaction application_found;

static void leap_out(int signal_number) {
  application_saw = signal_number;
  siglongjmp(escape, 1);
}

static void leap_out_with_info(int signal_number, siginfo_t* info, void* context) {
  (void) context;
  application_was_told_where = info->si_addr != NULL;
  leap_out(signal_number);
}

static void count_and_pass_on(int signal_number, siginfo_t* info, void* context) {
  application_saw++;
  application_found.sa_sigaction(signal_number, info, context);
}

/* Touches what nobody guards; the application's handler must be the one that sees it. */
static void expect_application_sees_fault(void) {
  volatile char* foreign = map_nothing();

  application_saw = 0;
  if (sigsetjmp(escape, 1) == 0) foreign[0] = 'x';
  ck_assert_int_eq(application_saw, SIGBUS);
  unmap(foreign);
}

TEST_LOOP(handler_that_stood_before_gets_what_is_not_ours, 2) {
  struct sigaction action = {.sa_handler = leap_out};
  volatile char* lost = map_nothing();
  ndnshm__guard_t* guard;

  if (_i == 1) {
    action.sa_sigaction = leap_out_with_info;
    action.sa_flags = SA_SIGINFO;
  }
  sigaction(SIGBUS, &action, NULL);
  guard = guard_of(lost);
  expect_application_sees_fault();
  ck_assert_int_eq(application_was_told_where, _i);
  application_saw = 0;
  lost[0] = 'x';
  ck_assert(ndnshm__guard_is_lost(guard));
  ck_assert_int_eq(application_saw, 0);
  ndnshm__guard_remove(guard);
  expect_application_sees_fault();
  unmap(lost);
}

TEST(handler_that_comes_later_and_passes_on_keeps_the_guard) {
  struct sigaction action = {.sa_sigaction = count_and_pass_on, .sa_flags = SA_SIGINFO};
  volatile char* lost = map_nothing();
  ndnshm__guard_t* guard = guard_of(lost);

  application_saw = 0;
  sigaction(SIGBUS, &action, &application_found);
  lost[0] = 'x';
  ck_assert_int_eq(application_saw, 1);
  ck_assert(ndnshm__guard_is_lost(guard));
  ndnshm__guard_remove(guard);
  unmap(lost);
}

static bool guard_stands_foremost(void) {
  struct sigaction current;

  ck_assert_int_eq(sigaction(SIGBUS, NULL, &current), 0);
  return (current.sa_flags & SA_SIGINFO) != 0 && current.sa_sigaction != count_and_pass_on;
}

/* Its code may be unloaded then. */
TEST(handler_goes_with_the_last_guard_unless_another_stands_before_it) {
  struct sigaction action = {.sa_sigaction = count_and_pass_on, .sa_flags = SA_SIGINFO}, current;
  volatile char *lost = map_nothing(), *other = map_nothing();
  ndnshm__guard_t *first = guard_of(lost), *second = guard_of(other);

  ndnshm__guard_remove(first);
  ck_assert(guard_stands_foremost());
  ndnshm__guard_remove(second);
  ck_assert_int_eq(sigaction(SIGBUS, NULL, &current), 0);
  ck_assert((current.sa_flags & SA_SIGINFO) == 0 && current.sa_handler == SIG_DFL);
  first = guard_of(lost);
  sigaction(SIGBUS, &action, &application_found);
  ndnshm__guard_remove(first);
  ck_assert_int_eq(sigaction(SIGBUS, NULL, &current), 0);
  ck_assert(current.sa_sigaction == count_and_pass_on);
  second = guard_of(other); /* and works */
  application_saw = 0;
  other[0] = 'x';
  ck_assert(ndnshm__guard_is_lost(second));
  ck_assert_int_eq(application_saw, 1);
  ndnshm__guard_remove(second);
  unmap(lost);
  unmap(other);
}

/* As a library does that restores what it has saved, or a framework between two tests; of the default, of ignoring, of
 * both kinds of handlers. */
TEST_LOOP(guard_that_was_replaced_by_what_stood_before_stands_again, 4) {
  static const struct sigaction dispositions[] = {
      {.sa_handler = SIG_DFL},
      {.sa_handler = SIG_IGN},
      {.sa_handler = leap_out},
      {.sa_sigaction = leap_out_with_info, .sa_flags = SA_SIGINFO},
  };
  volatile char* lost = map_nothing();
  ndnshm__guard_t *first, *second;

  sigaction(SIGBUS, &dispositions[_i], NULL);
  first = guard_of(map_nothing());
  sigaction(SIGBUS, &dispositions[_i], NULL);
  second = guard_of(lost);
  application_saw = 0;
  lost[0] = 'x';
  ck_assert(ndnshm__guard_is_lost(second));
  ck_assert_int_eq(application_saw, 0);
  if (_i >= 2) expect_application_sees_fault();
  ndnshm__guard_remove(first);
  ndnshm__guard_remove(second);
  unmap(lost);
}

/* Were it replaced in turn, each would pass on to the other for ever. */
TEST(handler_that_comes_later_stays_in_front_of_new_guards) {
  struct sigaction action = {.sa_sigaction = count_and_pass_on, .sa_flags = SA_SIGINFO};
  struct sigaction before = {.sa_handler = leap_out};
  volatile char* lost = map_nothing();
  ndnshm__guard_t *first, *second;

  sigaction(SIGBUS, &before, NULL);
  first = guard_of(map_nothing());
  sigaction(SIGBUS, &action, &application_found);
  second = guard_of(lost);
  application_saw = 0;
  lost[0] = 'x';
  ck_assert_int_eq(application_saw, 1);
  ck_assert(ndnshm__guard_is_lost(second));
  expect_application_sees_fault();
  ndnshm__guard_remove(first);
  ndnshm__guard_remove(second);
  unmap(lost);
}

static void no_core(void) {
  static const struct rlimit none = {0, 0};

  setrlimit(RLIMIT_CORE, &none);
}

static int touch_unguarded(void* arg) {
  volatile char* lost = map_nothing();
  volatile char* foreign = map_nothing();

  (void) arg;
  no_core();
  guard_of(lost);
  foreign[0] = 'x';
  return 0;
}

static int killed_from_outside(void* arg) {
  no_core();
  if (arg != NULL) signal(SIGBUS, SIG_IGN);
  guard_of(map_nothing());
  kill(getpid(), SIGBUS);
  return 0;
}

TEST(without_a_handler_a_foreign_fault_still_kills) {
  int status = harness_wait(harness_fork(touch_unguarded, NULL), 5000);

  ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS);
}

static void note_and_return(int signal_number) {
  static const char dot = '.';

  (void) signal_number;
  if (write(STDOUT_FILENO, &dot, 1) != 1) _exit(1);
}

/* As crash handlers do: say so, return, and die of the fault when it comes again. */
static int die_of_the_second(void* arg) {
  struct sigaction once = {.sa_handler = note_and_return, .sa_flags = (int) SA_RESETHAND};
  volatile char* foreign = map_nothing();

  no_core();
  dup2(*(int*) arg, STDOUT_FILENO);
  sigaction(SIGBUS, &once, NULL);
  guard_of(map_nothing());
  foreign[0] = 'x';
  return 0;
}

TEST(one_shot_handler_is_called_once) {
  int ends[2], status;
  char dots[8];

  ck_assert_int_eq(pipe(ends), 0);
  status = harness_wait(harness_fork(die_of_the_second, &ends[1]), 5000 * (int) harness_slow());
  ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS);
  close(ends[1]);
  ck_assert_int_eq(read(ends[0], dots, sizeof(dots)), 1);
  close(ends[0]);
}

TEST(signal_sent_by_somebody_does_what_it_did) {
  int status = harness_wait(harness_fork(killed_from_outside, NULL), 5000);

  ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS);
  status = harness_wait(harness_fork(killed_from_outside, "ignoring it"), 5000);
  ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

/* --- Threads ---------------------------------------------------------------------------------- */

#define THREADS 8
#define FACES_PER_THREAD 64

/* Guards, loses and gives back mappings beside others that do the same. */
static void* lose_many(void* arg) {
  int* lost = arg;

  for (int round = 0; round < FACES_PER_THREAD; round++) {
    volatile char* base = map_nothing();
    ndnshm__guard_t* guard = guard_of(base);

    base[(round * 4096) % BYTES] = 'x';
    *lost += ndnshm__guard_is_lost(guard) && base[(round * 4096) % BYTES] == 'x';
    ndnshm__guard_remove(guard);
    unmap(base);
  }
  return NULL;
}

TEST(guards_of_many_threads_do_not_disturb_each_other) {
  pthread_t threads[THREADS];
  int lost[THREADS] = {0};

  for (int t = 0; t < THREADS; t++) ck_assert_int_eq(pthread_create(&threads[t], NULL, lose_many, &lost[t]), 0);
  for (int t = 0; t < THREADS; t++) pthread_join(threads[t], NULL);
  for (int t = 0; t < THREADS; t++) ck_assert_int_eq(lost[t], FACES_PER_THREAD);
}
