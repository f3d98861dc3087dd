/* SPDX-License-Identifier: MIT */
/* test_wake.c: the sleep flags, the bytes that wake, the signals that must not show, and FIFOs beside dead engines.
 * That no wake-up is lost is shown by test/models and, end to end, by test_sleep.c. What changes signals runs in a
 * child. */
#include "fifo.h"
#include "ring.h"
#include "wake.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "harness.h"

#define NOBODY ((uid_t) -1)

/* --- Injected faults: the library is linked statically, so these come before libc's ------------- */

static int interruptions; /* or other failures, of so many calls */
static int interruption = EINTR;

static bool interrupted(void) {
  if (interruptions == 0) return false;
  interruptions--;
  errno = interruption;
  return true;
}

ssize_t read(int fd, void* buffer, size_t n) {
  return interrupted() ? -1 : syscall(SYS_read, fd, buffer, n);
}

ssize_t write(int fd, const void* buffer, size_t n) {
  return interrupted() ? -1 : syscall(SYS_write, fd, buffer, n);
}

/* The flag that spares SIGPIPE, as a kernel treats it that does not know it. */
static bool flag_is_unknown;
static int mask_calls, pending_calls;

ssize_t pwritev2(int fd, const struct iovec* bufs, int nbufs, off_t at, int flags) {
  if (flag_is_unknown) {
    errno = EOPNOTSUPP;
    return -1;
  }
  /* the offset goes in two words, of which 64-bit machines use the first alone */
  return interrupted() ? -1 : syscall(SYS_pwritev2, fd, bufs, nbufs, (long) at, (long) (at >> 32), flags);
}

int pthread_sigmask(int how, const sigset_t* set, sigset_t* before) {
  mask_calls++;
  return syscall(SYS_rt_sigprocmask, how, set, before, _NSIG / 8) == 0 ? 0 : errno;
}

int sigpending(sigset_t* set) {
  pending_calls++;
  return (int) syscall(SYS_rt_sigpending, set, _NSIG / 8);
}

/* --- One FIFO, an app that writes it, an engine that reads it -------------------------------------- */

typedef struct link_s {
  char path[320];
  ndnshm__access_t access;
  uint32_t app_parked, app_waiting, engine_parked, engine_waiting;
  ndnshm__wake_t app, engine;
  ndnshm__error_t error;
} link_t;

static void link_plan(link_t* l, const char* tag) {
  *l = (link_t){.access = {0600, NOBODY, (gid_t) -1}};
  snprintf(l->path, sizeof(l->path), "%s", harness_a2e_path(harness_name(tag)));
  l->app = (ndnshm__wake_t){.own_parked = &l->app_parked,
                            .own_waiting = &l->app_waiting,
                            .peer_parked = &l->engine_parked,
                            .peer_waiting = &l->engine_waiting,
                            .rx_fd = -1,
                            .tx_fd = -1,
                            .tx_may_signal = true};
  l->engine = (ndnshm__wake_t){.own_parked = &l->engine_parked,
                               .own_waiting = &l->engine_waiting,
                               .peer_parked = &l->app_parked,
                               .peer_waiting = &l->app_waiting,
                               .rx_fd = -1,
                               .tx_fd = -1};
}

/* No assertions: children call these. */
static int make_fifo(link_t* l, int flags, int* ret_fd) {
  ndnshm__names_t names = {.a2e = "a FIFO"};
  int stage_fd = -1, err;

  snprintf(names.stage, sizeof(names.stage), "/tmp/.ndn-t-%ld-stage", (long) getpid());
  err = ndnshm__stage_open(&names, &stage_fd, &l->error);
  if (err < 0) return err;
  err = ndnshm__fifo_make(stage_fd, l->path, flags, flags == O_RDONLY, &l->access, ret_fd, &l->error);
  if (err == 0) err = ndnshm__fifo_publish(*ret_fd, l->path, flags == O_RDONLY, &l->access, &l->error);
  ndnshm__stage_close(stage_fd, &names);
  return err;
}

static int open_as_app(link_t* l) {
  struct stat st;
  int looked_fd = -1;
  int err = ndnshm__fifo_look(l->path, NOBODY, &looked_fd, &st, &l->error);

  if (err < 0) return err;
  err = ndnshm__fifo_open(looked_fd, l->path, O_WRONLY, &l->app.tx_fd, &l->error);
  close(looked_fd);
  return err;
}

static int link_open(link_t* l) {
  int err = make_fifo(l, O_RDONLY, &l->engine.rx_fd);

  return err < 0 ? err : open_as_app(l);
}

static void link_make(link_t* l, const char* tag) {
  link_plan(l, tag);
  ck_assert_msg(link_open(l) == 0, "%s", l->error.text);
}

static void link_drop(link_t* l) {
  if (l->app.tx_fd >= 0) close(l->app.tx_fd);
  if (l->engine.rx_fd >= 0) close(l->engine.rx_fd);
  unlink(l->path);
}

/* --- Flags and bytes ------------------------------------------------------------------------------- */

TEST(each_announcement_sets_its_own_flag_and_one_withdrawal_clears_both) {
  link_t l;

  link_plan(&l, "flags");
  ndnshm__wake_announce_parked(&l.app);
  ck_assert(l.app_parked == 1 && l.app_waiting == 0);
  ndnshm__wake_withdraw(&l.app);
  ndnshm__wake_announce_waiting(&l.app);
  ck_assert(l.app_parked == 0 && l.app_waiting == 1);
  ndnshm__wake_announce_parked(&l.app);
  ndnshm__wake_withdraw(&l.app);
  ck_assert(l.app_parked == 0 && l.app_waiting == 0);
  ck_assert(l.engine_parked == 0 && l.engine_waiting == 0);
}

TEST(nobody_asleep_costs_no_byte) {
  link_t l;

  link_make(&l, "awake");
  ck_assert(!ndnshm__wake_parked_peer(&l.app));
  ck_assert(!ndnshm__wake_waiting_peer(&l.app));
  ck_assert_int_eq(ndnshm__wake_drain(&l.engine), 0);
  ndnshm__wake_announce_parked(&l.engine);
  ck_assert(!ndnshm__wake_waiting_peer(&l.app));
  ndnshm__wake_withdraw(&l.engine);
  ndnshm__wake_announce_waiting(&l.engine);
  ck_assert(!ndnshm__wake_parked_peer(&l.app));
  ck_assert_int_eq(ndnshm__wake_drain(&l.engine), 0);
  link_drop(&l);
}

TEST(sleeper_gets_one_byte_for_many_publishes) {
  link_t l;

  link_make(&l, "once");
  ndnshm__wake_announce_parked(&l.engine);
  ck_assert(ndnshm__wake_parked_peer(&l.app));
  ck_assert_uint_eq(l.engine_parked, 0);
  for (int i = 0; i < 100; i++) ck_assert(!ndnshm__wake_parked_peer(&l.app));
  ck_assert_int_eq(ndnshm__wake_drain(&l.engine), 1);
  ndnshm__wake_announce_waiting(&l.engine);
  ck_assert(ndnshm__wake_waiting_peer(&l.app));
  ck_assert_uint_eq(l.engine_waiting, 0);
  for (int i = 0; i < 100; i++) ck_assert(!ndnshm__wake_waiting_peer(&l.app));
  ck_assert_int_eq(ndnshm__wake_drain(&l.engine), 1);
  link_drop(&l);
}

TEST(flag_of_any_value_but_zero_is_set) {
  link_t l;

  link_make(&l, "value");
  l.engine_parked = 0x80000000;
  ck_assert(ndnshm__wake_parked_peer(&l.app));
  ck_assert_uint_eq(l.engine_parked, 0);
  link_drop(&l);
}

static uint32_t* contested; /* a flag in a page that can be read but, at first, not written */

/* Somebody wants to write the flag that he saw set: another claims it just before. */
static void rival_claims(int number, siginfo_t* info, void* context) {
  (void) context;
  if (info->si_addr != contested) signal(number, SIG_DFL);
  mprotect(contested, sizeof(*contested), PROT_READ | PROT_WRITE);
  *contested = 0;
}

TEST(of_two_who_see_the_flag_one_claims_it) {
  struct sigaction action = {.sa_sigaction = rival_claims, .sa_flags = SA_SIGINFO};
  struct sigaction before;
  bool woken;
  link_t l;

  link_make(&l, "claim");
  contested = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  ck_assert_ptr_ne(contested, MAP_FAILED);
  *contested = 1;
  mprotect(contested, 4096, PROT_READ);
  l.app.peer_parked = contested;
  sigaction(SIGSEGV, &action, &before);
  woken = ndnshm__wake_parked_peer(&l.app);
  sigaction(SIGSEGV, &before, NULL);
  ck_assert_msg(!woken, "the rival's claim was overlooked");
  ck_assert_int_eq(ndnshm__wake_drain(&l.engine), 0);
  munmap(contested, 4096);
  link_drop(&l);
}

TEST(full_fifo_wakes_as_well) {
  char filler[4096] = {0};
  link_t l;

  link_make(&l, "full");
  while (write(l.app.tx_fd, filler, sizeof(filler)) > 0) continue;
  while (write(l.app.tx_fd, filler, 1) > 0) continue;
  ndnshm__wake_announce_parked(&l.engine);
  ck_assert_msg(!ndnshm__wake_parked_peer(&l.app), "no byte can have been written");
  ck_assert_uint_eq(l.engine_parked, 0);
  ck_assert_int_eq(ndnshm__wake_drain(&l.engine), 4096);
  link_drop(&l);
}

TEST(drain_takes_up_to_4096_bytes) {
  char bytes[5000] = {0};
  link_t l;

  link_make(&l, "drain");
  ck_assert_int_eq(ndnshm__wake_drain(&l.engine), 0);
  ck_assert_int_eq(write(l.app.tx_fd, bytes, 5000), 5000);
  ck_assert_int_eq(ndnshm__wake_drain(&l.engine), 4096);
  ck_assert_int_eq(ndnshm__wake_drain(&l.engine), 904);
  ck_assert_int_eq(ndnshm__wake_drain(&l.engine), 0);
  link_drop(&l);
}

TEST(last_writers_end_is_epipe_after_its_bytes) {
  link_t l;

  link_make(&l, "eof");
  ndnshm__wake_announce_parked(&l.engine);
  ck_assert(ndnshm__wake_parked_peer(&l.app));
  close(l.app.tx_fd);
  ck_assert_int_eq(ndnshm__wake_drain(&l.engine), 1);
  ck_assert_int_eq(ndnshm__wake_drain(&l.engine), -EPIPE);
  ck_assert_int_eq(ndnshm__wake_drain(&l.engine), -EPIPE);
  ck_assert_int_eq(open_as_app(&l), 0);
  ck_assert_int_eq(ndnshm__wake_drain(&l.engine), 0);
  link_drop(&l);
}

TEST(descriptor_that_cannot_be_read_says_why) {
  link_t l;

  link_plan(&l, "ebadf");
  ck_assert_int_eq(ndnshm__wake_drain(&l.engine), -EBADF);
}

TEST(interrupted_reads_and_writes_are_repeated) {
  link_t l;

  link_make(&l, "eintr");
  ndnshm__wake_announce_parked(&l.engine);
  interruptions = 3;
  ck_assert(ndnshm__wake_parked_peer(&l.app));
  ck_assert_int_eq(interruptions, 0);
  interruptions = 3;
  ck_assert_int_eq(ndnshm__wake_drain(&l.engine), 1);
  ck_assert_int_eq(interruptions, 0);
  link_drop(&l);
}

/* A FIFO takes a page for a byte, and there may be none. The sleeper is not forgotten: the next publish wakes it. */
TEST(byte_that_found_no_memory_is_written_by_the_next_publish) {
  link_t l;

  link_make(&l, "enomem");
  for (int i = 0; i < 2; i++) {
    l.app.tx_may_signal = i == 1;
    ndnshm__wake_announce_parked(&l.engine);
    interruptions = 1;
    interruption = ENOMEM;
    ck_assert(!ndnshm__wake_parked_peer(&l.app));
    ck_assert_int_eq(ndnshm__wake_drain(&l.engine), 0);
    ck_assert(ndnshm__wake_parked_peer(&l.app));
    ck_assert_int_eq(ndnshm__wake_drain(&l.engine), 1);
    ck_assert(!ndnshm__wake_parked_peer(&l.app));
  }
  link_drop(&l);
}

/* --- SIGPIPE --------------------------------------------------------------------------------------- */

typedef struct sigpipe_s {
  link_t link;
  bool old_kernel;
  bool blocked, pending; /* before the write to a FIFO that nobody reads */
} sigpipe_t;

static bool sigpipe_is(int (*get)(sigset_t* set)) {
  sigset_t set;

  get(&set);
  return sigismember(&set, SIGPIPE) == 1;
}

static int get_mask(sigset_t* set) {
  return pthread_sigmask(SIG_SETMASK, NULL, set);
}

static int wake_the_dead(void* arg) {
  sigpipe_t* s = arg;
  sigset_t set, after;

  flag_is_unknown = s->old_kernel;
  signal(SIGPIPE, SIG_DFL);
  sigemptyset(&set);
  sigaddset(&set, SIGUSR2);
  if (s->blocked) sigaddset(&set, SIGPIPE);
  pthread_sigmask(SIG_SETMASK, &set, NULL);
  if (s->pending) raise(SIGPIPE);
  REQUIRE(link_open(&s->link) == 0);
  close(s->link.engine.rx_fd);
  s->link.engine.rx_fd = -1;
  for (int i = 0; i < 3; i++) {
    ndnshm__wake_announce_parked(&s->link.engine);
    REQUIRE(!ndnshm__wake_parked_peer(&s->link.app));
    REQUIRE(s->link.engine_parked == 0);
  }
  get_mask(&after);
  for (int number = 1; number < NSIG; number++) REQUIRE(sigismember(&after, number) == sigismember(&set, number));
  REQUIRE(sigpipe_is(sigpending) == s->pending);
  link_drop(&s->link);
  return 0;
}

TEST_LOOP(dead_reader_raises_no_sigpipe, 2) {
  sigpipe_t s = {.old_kernel = _i == 1};

  link_plan(&s.link, "sigpipe");
  assert_child_passes(wake_the_dead, &s);
}

TEST_LOOP(blocked_sigpipe_stays_blocked_and_none_is_left_pending, 2) {
  sigpipe_t s = {.old_kernel = _i == 1, .blocked = true};

  link_plan(&s.link, "blocked");
  assert_child_passes(wake_the_dead, &s);
}

TEST_LOOP(pending_sigpipe_stays_pending, 2) {
  sigpipe_t s = {.old_kernel = _i == 1, .blocked = true, .pending = true};

  link_plan(&s.link, "pending");
  assert_child_passes(wake_the_dead, &s);
}

/* From now on the kernel refuses both ways to be spared: the flag, and to take the signal back. */
static bool filter_calls(void) {
  struct sock_filter filter[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
#ifdef SYS_rt_sigtimedwait
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_rt_sigtimedwait, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
#endif
#ifdef SYS_rt_sigtimedwait_time64
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_rt_sigtimedwait_time64, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
#endif
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  struct sock_fprog program = {sizeof(filter) / sizeof(*filter), filter};

  flag_is_unknown = true;
  return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

#define NO_FILTER 77

/* The signal waits for ever: nobody else in this thread asked for it. */
static int wake_the_dead_under_a_filter(void* arg) {
  sigpipe_t* s = arg;

  signal(SIGPIPE, SIG_DFL);
  REQUIRE(link_open(&s->link) == 0);
  if (!filter_calls()) {
    link_drop(&s->link);
    return NO_FILTER;
  }
  close(s->link.engine.rx_fd);
  s->link.engine.rx_fd = -1;
  REQUIRE(!sigpipe_is(get_mask));
  for (int i = 0; i < 3; i++) {
    ndnshm__wake_announce_parked(&s->link.engine);
    REQUIRE(!ndnshm__wake_parked_peer(&s->link.app));
    REQUIRE(sigpipe_is(get_mask) && sigpipe_is(sigpending));
  }
  link_drop(&s->link);
  return 0;
}

TEST(sigpipe_that_cannot_be_taken_back_stays_blocked) {
  sigpipe_t s = {.old_kernel = true};
  int status;

  if (harness_under_valgrind()) SKIP("valgrind needs these calls itself");
  link_plan(&s.link, "filtered");
  status = harness_wait(harness_fork(wake_the_dead_under_a_filter, &s), DEADLINE_MS);
  if (WIFEXITED(status) && WEXITSTATUS(status) == NO_FILTER) SKIP("no filters of system calls here");
  ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "status %#x", (unsigned int) status);
}

static int wake_the_living(void* arg) {
  sigpipe_t* s = arg;
  sigset_t set;

  flag_is_unknown = s->old_kernel;
  sigemptyset(&set);
  sigaddset(&set, SIGPIPE);
  pthread_sigmask(SIG_BLOCK, &set, NULL);
  raise(SIGPIPE);
  REQUIRE(link_open(&s->link) == 0);
  ndnshm__wake_announce_parked(&s->link.engine);
  REQUIRE(ndnshm__wake_parked_peer(&s->link.app));
  REQUIRE(sigpipe_is(sigpending) && sigpipe_is(get_mask));
  link_drop(&s->link);
  return 0;
}

TEST_LOOP(write_that_succeeds_leaves_a_pending_sigpipe_too, 2) {
  sigpipe_t s = {.old_kernel = _i == 1};

  link_plan(&s.link, "living");
  assert_child_passes(wake_the_living, &s);
}

/* One system call where the kernel knows the flag, three elsewhere: no look for a pending SIGPIPE, which there cannot
 * be as long as nobody blocks it. */
static int count_calls(void* arg) {
  sigpipe_t* s = arg;

  flag_is_unknown = s->old_kernel;
  REQUIRE(link_open(&s->link) == 0);
  for (int i = 0; i < 2; i++) {
    mask_calls = pending_calls = 0;
    ndnshm__wake_announce_parked(&s->link.engine);
    REQUIRE(ndnshm__wake_parked_peer(&s->link.app));
    REQUIRE(pending_calls == 0);
  }
  REQUIRE(mask_calls == (s->old_kernel ? 2 : 0));
  link_drop(&s->link);
  return 0;
}

static bool kernel_spares_sigpipe(void) {
  int fds[2];
  struct iovec byte = {"x", 1};
  bool spares;

  ck_assert_int_eq(pipe2(fds, O_CLOEXEC), 0);
  spares = syscall(SYS_pwritev2, fds[1], &byte, 1, -1l, -1l, 0x100) == 1;
  close(fds[0]);
  close(fds[1]);
  return spares;
}

TEST_LOOP(wakeup_costs_one_system_call_or_three, 2) {
  sigpipe_t s = {.old_kernel = _i == 1};

  if (!s.old_kernel && !kernel_spares_sigpipe()) SKIP("this kernel has no flag to spare SIGPIPE (Linux 6.18)");
  link_plan(&s.link, "calls");
  assert_child_passes(count_calls, &s);
}

/* --- Making FIFOs ---------------------------------------------------------------------------------- */

/* e2a: its reader is an app that has not noticed yet, and no engine. */
TEST(fifo_to_write_is_replaced_though_an_app_still_reads_it) {
  int old, fd;
  link_t l;

  link_plan(&l, "lingering");
  ck_assert_int_eq(mkfifo(l.path, 0600), 0);
  old = open(l.path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  ck_assert_int_eq(make_fifo(&l, O_RDWR, &fd), 0);
  ck_assert_int_eq(write(fd, "x", 1), 1);
  ck_assert_int_eq(read(old, &(char){0}, 1), 0); /* another FIFO, and no writer on the old one */
  close(old);
  close(fd);
  unlink(l.path);
}

/* --- Opening and removing FIFOs --------------------------------------------------------------------- */

TEST(only_an_open_reader_counts_as_one) {
  link_t l;

  link_plan(&l, "reader");
  ck_assert_int_eq(ndnshm__fifo_clear(l.path, false, &l.access, &l.error), 0);
  link_make(&l, "reader");
  ck_assert_int_eq(ndnshm__fifo_clear(l.path, false, &l.access, &l.error), -EADDRINUSE);
  close(l.engine.rx_fd);
  l.engine.rx_fd = -1;
  ck_assert_int_eq(ndnshm__fifo_clear(l.path, false, &l.access, &l.error), 0); /* though there is a writer */
  link_drop(&l);
}
