/* SPDX-License-Identifier: MIT */
/* hurry.c: see hurry.h. */
#include "hurry.h"

#include <sched.h>

ndnshm__hurry_t ndnshm__hurry_begin(void) {
  const struct sched_param lowest = {.sched_priority = 1};
  bool is_ordinary = sched_getscheduler(0) == SCHED_OTHER;

  return (ndnshm__hurry_t){.is_on = is_ordinary && sched_setscheduler(0, SCHED_FIFO, &lowest) == 0};
}

void ndnshm__hurry_end(ndnshm__hurry_t hurry) {
  const struct sched_param none = {.sched_priority = 0};

  if (hurry.is_on) sched_setscheduler(0, SCHED_OTHER, &none);
}
