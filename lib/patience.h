/* SPDX-License-Identifier: MIT */
/* patience.h: how long the calls take by which an end wakes its peer and is woken, and when that is too long.
 *
 * Pipe and socket are the peer's as well, and it can make our calls on them slow, O_NONBLOCK or not: by thousands of
 * sleepers, each of which the kernel wakes with every byte, or, on a pipe, by holding the kernel's lock on it while it
 * copies from memory that does not come. A call is slow if it took more than 1 ms of this thread's CPU, or kept it
 * asleep in the kernel, which only a pipe can, for more than 10 ms. Three slow calls that took 10 ms together are
 * enough. What was lost is forgotten when a hundred times as long has passed; so a peer costs no more than 1 % of the
 * time for long.
 *
 * After a slow call the peer is left alone, together with all others of this thread that have been slow, for two
 * hundred times what the call cost, or a second: all of them have half a percent of the thread's time, however many
 * they are and whether they fail and come again. But the first slow call of each is beyond that: nothing tells before.
 * Reading is no better than writing: what we take out of a socket makes room, of which the kernel tells all who sleep
 * on the other end.
 *
 * Time that the thread was ready to run and did not is no fault of the peer's. A clock on the wall cannot tell it, and
 * is cheap: it looks at every call, and when it has seen a slow one the calls that follow are measured by the CPU time
 * of the thread and by how often it went to sleep, for a hundred times as long as that call took. So are the first
 * calls.
 *
 * Guarantees that the peer of a patience that is_over() has been slow by that measure. Does not guarantee that a call
 * ends. Writes no errno. One thread at a time. */
#ifndef NDNSHM_PATIENCE_H
#define NDNSHM_PATIENCE_H

#include <stdbool.h>
#include <stdint.h>

/* With one end: all calls on both of its descriptors together. All zero at first. */
typedef struct ndnshm__patience_s {
  uint64_t suspects_until_ns; /* calls are measured exactly until then */
  uint64_t forgets_at_ns;     /* what follows ... */
  uint64_t rests_until_ns;    /* no byte should be written or read until then; 0 = it was never slow */
  uint64_t lost_ns;           /* in slow calls */
  unsigned int slow_calls;
  unsigned int first_calls; /* so far, up to those that are measured exactly */
  const char* call;         /* the name of the last */
} ndnshm__patience_t;

/* A call that is under way. */
typedef struct ndnshm__stopwatch_s {
  uint64_t began_ns;
  uint64_t cpu_ns; /* 0 = not measured exactly */
  long sleeps;
} ndnshm__stopwatch_t;

/* Around each call. name: its name, for texts, a literal. may_sleep: it is on a pipe. */
void ndnshm__patience_start(ndnshm__patience_t* patience, ndnshm__stopwatch_t* ret_watch);
void ndnshm__patience_stop(ndnshm__patience_t* patience, const ndnshm__stopwatch_t* watch, const char* name,
                           bool may_sleep);

/* How long the peer is to be left alone; 0 = a call may be made. */
uint64_t ndnshm__patience_rests_ns(ndnshm__patience_t* patience);

/* True, for good, when enough was lost: wake.h makes no call any more. */
bool ndnshm__patience_is_over(const ndnshm__patience_t* patience);

#endif
