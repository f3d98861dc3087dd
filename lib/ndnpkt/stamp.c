/* SPDX-License-Identifier: MIT */
/* stamp.c: the time that goes into signatures, and the version of the library. The time is the one thing that all
 * threads of a process share: a forwarder refuses a command that is not younger than the last one with the same key,
 * whoever of the process sent it. */
#include <stdatomic.h>
#include <time.h>

#include "ndnpkt.h"
#include "version.h"

uint64_t ndnpkt_signature_time(void) {
  static _Atomic uint64_t last;
  struct timespec now;
  uint64_t before = atomic_load_explicit(&last, memory_order_relaxed), next;

  clock_gettime(CLOCK_REALTIME, &now);
  /* relaxed: nothing else hangs on it, and the exchange makes each value unique */
  do {
    next = (uint64_t) now.tv_sec * 1000 + (uint64_t) now.tv_nsec / 1000000;
    if (next <= before) next = before + 1;
  } while (!atomic_compare_exchange_weak_explicit(&last, &before, next, memory_order_relaxed, memory_order_relaxed));
  return next;
}

unsigned int ndnpkt_version(void) {
  return VERSION_MAJOR << 16 | VERSION_MINOR << 8 | VERSION_PATCH;
}

const char* ndnpkt_version_string(void) {
  return VERSION_STRING;
}
