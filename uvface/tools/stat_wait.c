/* SPDX-License-Identifier: MIT */
/* stat_wait.c: waiting, until a signal comes or nobody reads any more. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

#include "stat.h"

static volatile sig_atomic_t interrupted;
static sigset_t caught; /* and blocked, but for waiting */

static void on_signal(int signum) {
  (void) signum;
  interrupted = 1;
}

static void catch_one(int signum) {
  struct sigaction action = {.sa_handler = on_signal};

  sigaddset(&caught, signum);
  sigprocmask(SIG_BLOCK, &caught, NULL);
  sigaction(signum, &action, NULL);
}

void catch_signals(void) {
  struct sigaction before;

  sigemptyset(&caught);
  catch_one(SIGINT);
  catch_one(SIGTERM);
  catch_one(SIGALRM);
  if (sigaction(SIGHUP, NULL, &before) != 0 || before.sa_handler != SIG_IGN) catch_one(SIGHUP);
  signal(SIGPIPE, SIG_IGN);
}

bool is_interrupted(void) {
  sigset_t pending;

  if (interrupted) return true;
  sigemptyset(&pending);
  sigpending(&pending);
  sigandset(&pending, &pending, &caught);
  return !sigisemptyset(&pending);
}

double now_s(void) {
  struct timespec now;

  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double) now.tv_sec + (double) now.tv_nsec * 1e-9;
}

bool wait_for_next(double seconds, int fd) {
  struct timespec pause = {(time_t) seconds, (long) ((seconds - (double) (time_t) seconds) * 1e9)};
  struct pollfd out = {.fd = fd, .events = 0};
  sigset_t none;

  sigemptyset(&none);
  if (ppoll(&out, 1, &pause, &none) > 0 && (out.revents & (POLLERR | POLLHUP | POLLNVAL)) != 0) return false;
  return !interrupted;
}

/* Signals are let in while it waits for room; and while it writes, because a terminal may have room for a part. After
 * the signal an alarm takes its place. */
ssize_t write_or_end(int fd, const void* bytes, size_t n) {
  struct pollfd out = {.fd = fd, .events = POLLOUT};
  struct timespec zero = {0, 0};
  sigset_t none;
  ssize_t wrote;
  int err;

  sigemptyset(&none);
  if (ppoll(&out, 1, interrupted ? &zero : NULL, &none) <= 0) {
    errno = EINTR;
    return -1;
  }
  sigprocmask(SIG_UNBLOCK, &caught, NULL);
  if (interrupted) alarm(1);
  wrote = write(fd, bytes, n);
  err = errno;
  alarm(0);
  sigprocmask(SIG_BLOCK, &caught, NULL);
  errno = err;
  return wrote;
}
