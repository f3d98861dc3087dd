/* SPDX-License-Identifier: MIT */
/* window.c: see window.h. */
#include "window.h"

#include <sys/resource.h>

/* A window below this is not worth a turn of the loop. */
#define WINDOW_MIN_NS 1000
/* Of so many packets that came too late for the window one is followed by a full window all the same, so that two
 * ends that both sleep between packets find out when they need not. */
#define MISSES_PER_TRIAL 32
/* A packet that comes so soon was not waited for in vain, whoever ran meanwhile. */
#define QUICK_NS 3000
/* Finds for which the window stays shut after a preemption spoiled it; doubles up to this. */
#define PENALTY_MAX 4096

void uvface__window_init(uvface__window_t* w, uint32_t max_ns) {
  *w = (uvface__window_t){.max_ns = max_ns, .ns = max_ns};
}

/* True if the kernel took the CPU from this thread since this was asked last. */
static bool was_preempted(long* preemptions) {
  long before = *preemptions;
  struct rusage usage;

  getrusage(RUSAGE_THREAD, &usage);
  *preemptions = usage.ru_nivcsw;
  return before >= 0 && usage.ru_nivcsw != before;
}

static void shut(uvface__window_t* w) {
  w->ns = 0;
  w->penalty = w->penalty == 0 ? 1 : w->penalty < PENALTY_MAX ? w->penalty * 2 : PENALTY_MAX;
  w->skips = w->penalty;
}

/* It pays to look where what is waited for comes within the window. It does not where it comes later, nor where the
 * peer can only run when the kernel takes the CPU away from our looking. */
uint64_t uvface__window_hit(uvface__window_t* w, uint64_t now_ns, bool more, long* preemptions) {
  uint64_t gap_ns = now_ns > w->since_ns ? now_ns - w->since_ns : 0; /* now_ns may have been read before since_ns */
  bool slept = w->slept, had_more = w->more;
  uint32_t trial_ns = 0;

  w->since_ns = now_ns;
  w->slept = false;
  w->more = more;
  if (had_more || (gap_ns <= QUICK_NS && !slept)) {
    w->ns = w->max_ns;
    w->penalty = w->skips = 0;
  } else if (w->skips > 0) {
    w->skips--;
  } else if (gap_ns > w->max_ns) {
    w->ns = w->ns / 2 >= WINDOW_MIN_NS ? w->ns / 2 : 0;
    if (++w->misses % MISSES_PER_TRIAL == 0) trial_ns = w->max_ns;
  } else if (was_preempted(preemptions) && !slept) { /* asked in any case: those while it slept do not count */
    shut(w);
  } else {
    w->ns = w->max_ns;
  }
  return now_ns + (trial_ns > w->ns ? trial_ns : w->ns);
}

uint64_t uvface__window_open(uvface__window_t* w, uint64_t now_ns) {
  w->since_ns = now_ns;
  w->more = w->slept = false;
  return now_ns + w->ns;
}

void uvface__window_sleep(uvface__window_t* w) {
  w->slept = true;
  w->more = false;
}
