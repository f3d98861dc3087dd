/* SPDX-License-Identifier: MIT */
/* shim.h: stands between the libraries and libc and libuv, to let the n-th call fail, or the process die there.
 *
 * The linker puts it in front of the calls (-Wl,--wrap, test/meson.build) of a binary that links the libraries
 * built with the points of lib/words.h. A step is a wrapped call, or an access to shared memory. Guarantees that
 * steps are counted in program order while armed, and that a call that is made to fail has no effect; except
 * for close(), which closes all the same, as Linux does. Closing what is not open fails the test. Does not know calls
 * that libuv makes inside itself, nor those that cannot fail (uv_prepare_init() and the like; uv_poll_start() on a
 * descriptor that uv_poll_init() has just accepted). For one thread: the process's first, whose calls alone count, and
 * to which pthread_create() gives no other while armed; a forked child takes the arms over, and counts for itself. */
#ifndef SHIM_H
#define SHIM_H

#include <stdbool.h>
#include <stdint.h>

#define SHIM_TRACE_STEPS 1024
#define SHIM_ERRORS 4

/* What a victim leaves to its survivors: to be placed in memory that they share. */
typedef struct shim_trace_s {
  uint64_t died_ns;                    /* monotonic; 0 = it did not */
  unsigned int steps;                  /* begun */
  const char* names[SHIM_TRACE_STEPS]; /* of the calls, or what the access was; the first is step 1 */
} shim_trace_t;

/* From now on calls are counted, and the n-th fails with the k-th error (from 0) that is natural to it.
 * EINTR is among them where a call can be interrupted and nothing has happened yet. */
void shim_fail_at(unsigned int n, unsigned int k);

/* From now on steps are counted and traced; the n-th is not begun: the process dies of SIGKILL. */
void shim_die_at(unsigned int n, shim_trace_t* trace);

/* From now on the hook is called before each step; NULL = no longer. Steps within the hook are not told. */
void shim_before_each(void (*hook)(void));

/* Ends the first two. Returns how many were counted. */
unsigned int shim_disarm(void);

/* The call that was made to fail since shim_fail_at(), NULL = none; and with which error. */
const char* shim_failed_call(void);
int shim_failed_errno(void);

/* How often the call was counted since the process began, armed or not. */
unsigned int shim_count(const char* call);

/* For wrappers in other files, of calls that this one does not know: counts the call as a step. True if it is to fail
 * now; errno says with which of the errors; 0 is none. */
bool shim_fails(const char* name, const int errors[SHIM_ERRORS]);

#endif
