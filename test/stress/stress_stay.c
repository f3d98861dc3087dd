/* SPDX-License-Identifier: MIT */
/* stress_stay.c: how long the engine stays away from its wait for events, which is what its faces wait for if one of
 * them keeps it. The calls in which libuv waits are taken over here, and only pass through. Time that the scheduler
 * gave to others does not count, time that a call of the engine's was blocked does. Guarantees an error of at most
 * REFRESH_NS downwards, for that is how old the note of what the scheduler took may be. For one thread of a process. */
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <uv.h>

#include "stress.h"

#define REFRESH_NS 1000000
#define OF_INTEREST_NS 200000 /* below, it is not worth to ask the kernel */

static struct {
  stress_board_t* board; /* NULL: nobody is interested */
  int fd;                /* of the thread's schedstat */
  uint64_t began_ns, waited_ns, refreshed_ns;
} stay;

/* Nanoseconds that this thread was ready to run and did not. */
static uint64_t waited_for_cpu_ns(void) {
  char text[128], *end;
  ssize_t n = pread(stay.fd, text, sizeof(text) - 1, 0);
  if (n <= 0) return 0;
  text[n] = '\0';
  strtoull(text, &end, 10); /* what it ran */
  return strtoull(end, NULL, 10);
}

static void begin(void) {
  stay.began_ns = uv_hrtime();
  if (stay.began_ns - stay.refreshed_ns < REFRESH_NS) return;
  stay.waited_ns = waited_for_cpu_ns();
  stay.refreshed_ns = stay.began_ns;
}

static void end(void) {
  uint64_t ns = uv_hrtime() - stay.began_ns;
  if (ns < OF_INTEREST_NS) return;
  uint64_t now_ns = waited_for_cpu_ns(), waited = now_ns - stay.waited_ns;
  ns = ns > waited ? ns - waited : 0;
  if (ns > stress_get(&stay.board->longest_stay_ns))
    atomic_store_explicit(&stay.board->longest_stay_ns, ns, memory_order_relaxed);
}

void stress_stay_watch(stress_board_t* board) {
  stay.fd = open("/proc/thread-self/schedstat", O_RDONLY | O_CLOEXEC);
  if (stay.fd < 0) {
    stress_say(board,
               "engine: this kernel does not say how long it had to wait for a CPU (/proc/thread-self/schedstat)");
    stress_add(&board->errors, 1);
    return;
  }
  stay.board = board;
  begin();
}

static int wait_for_events(int fd, struct epoll_event* events, int max, int timeout_ms, const sigset_t* mask) {
  if (stay.board != NULL) end();
  int n = (int) syscall(SYS_epoll_pwait, fd, events, max, timeout_ms, mask, (size_t) _NSIG / 8);
  if (stay.board != NULL) begin(); /* keeps errno: nothing in it fails */
  return n;
}

/* The two calls by which libuv's loops wait, in front of libc's. */
__attribute__((visibility("default"))) int epoll_wait(int fd, struct epoll_event* events, int max, int timeout_ms) {
  return wait_for_events(fd, events, max, timeout_ms, NULL);
}

__attribute__((visibility("default"))) int epoll_pwait(int fd, struct epoll_event* events, int max, int timeout_ms,
                                                       const sigset_t* mask) {
  return wait_for_events(fd, events, max, timeout_ms, mask);
}
