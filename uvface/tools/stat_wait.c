/* SPDX-License-Identifier: MIT */
/* stat_wait.c: waiting, until a signal comes or nobody reads any more. */
#include <poll.h>
#include <signal.h>
#include <time.h>

#include "stat.h"

static volatile sig_atomic_t interrupted;

static void on_signal(int signum) {
  (void) signum;
  interrupted = 1;
}

static void catch (int signum) {
  struct sigaction action = {.sa_handler = on_signal};
  sigset_t set;

  sigemptyset(&set);
  sigaddset(&set, signum);
  sigprocmask(SIG_BLOCK, &set, NULL);
  sigaction(signum, &action, NULL);
}

void catch_signals(void) {
  struct sigaction before;

  catch (SIGINT);
  catch (SIGTERM);
  if (sigaction(SIGHUP, NULL, &before) != 0 || before.sa_handler != SIG_IGN) catch (SIGHUP);
  signal(SIGPIPE, SIG_IGN);
}

bool wait_for_next(double seconds, int fd) {
  struct timespec pause = {(time_t) seconds, (long) ((seconds - (double) (time_t) seconds) * 1e9)};
  struct pollfd out = {.fd = fd, .events = 0};
  sigset_t none;

  sigemptyset(&none);
  if (ppoll(&out, 1, &pause, &none) > 0 && (out.revents & (POLLERR | POLLHUP | POLLNVAL)) != 0) return false;
  return !interrupted;
}
