/* SPDX-License-Identifier: MIT */
/* hurry.h: a few calls between which no other thread of this CPU runs, where the system allows it.
 *
 * A file that appears in a directory wakes whoever watches the directory, and the kernel likes to let him run at once,
 * on this CPU and before us. A thread at real-time priority goes on. Promises nothing: it needs CAP_SYS_NICE or
 * RLIMIT_RTPRIO, and the other CPUs do what they like. Any thread; for microseconds only. */
#ifndef NDNSHM_HURRY_H
#define NDNSHM_HURRY_H

#include <stdbool.h>

typedef struct ndnshm__hurry_s {
  bool is_on;
} ndnshm__hurry_t;

/* The calling thread's priority, if it is an ordinary one, until ndnshm__hurry_end(). */
ndnshm__hurry_t ndnshm__hurry_begin(void);
void ndnshm__hurry_end(ndnshm__hurry_t hurry);

#endif
