/* SPDX-License-Identifier: MIT */
/* still_clocks.h: time that stands still for the calls that wake, included once by a program whose tests want their bytes
 * at once. Under valgrind the first calls compute for more than a millisecond, and an end has less patience with a peer
 * than that; no peer did it here. What follows from patience that ends is test_patience.c's. */
#ifndef STILL_CLOCKS_H
#define STILL_CLOCKS_H

#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int clock_gettime(clockid_t clock, struct timespec* t) {
  if (clock != CLOCK_THREAD_CPUTIME_ID) return (int) syscall(SYS_clock_gettime, clock, t);
  *t = (struct timespec){.tv_nsec = 1};
  return 0;
}

int getrusage(__rusage_who_t who, struct rusage* usage) {
  int err = (int) syscall(SYS_getrusage, who, usage);

  usage->ru_nvcsw = 0;
  return err;
}

#endif
