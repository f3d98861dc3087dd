/* SPDX-License-Identifier: MIT */
/* patience.c: see patience.h. */
#include "patience.h"

#include <errno.h>
#include <sys/resource.h>
#include <time.h>

#define SLOW_NS 1000000    /* of CPU time; by the clock, what makes suspicious */
#define ASLEEP_NS 10000000 /* without CPU: longer than who holds a pipe's lock for its own copy is off the CPU */
#define REST_MAX_NS 1000000000
/* In two hundred times what was lost, half a percent of the time is lost at most, whoever lost it. Where others want
 * the CPU, a scheduler that is fair to them takes a multiple of it from us afterwards. */
#define RESTS_FACTOR 200
/* Both are enough together: one slow call may have a reason of its own, as SIGSTOP or want of memory. */
#define SLOW_CALLS_MAX 3
#define LOST_MAX_NS 10000000
/* Who attacks begins at once, and leaves when it fails, to come again. */
#define FIRST_CALLS 16
/* In a hundred times what was lost no more than 1 % of the time is lost. */
#define FORGETS_FACTOR 100

/* Peers that were slow share what this thread can spare for them. */
static _Thread_local uint64_t slow_ones_rest_until_ns;

static uint64_t read_clock(clockid_t clock) {
  struct timespec t = {0, 0};

  clock_gettime(clock, &t);
  return (uint64_t) t.tv_sec * 1000000000u + (uint64_t) t.tv_nsec;
}

/* How often this thread gave up the CPU because it had to wait. */
static long count_sleeps(void) {
  struct rusage usage;

  return getrusage(RUSAGE_THREAD, &usage) == 0 ? usage.ru_nvcsw : 0;
}

static uint64_t later_of(uint64_t a, uint64_t b) {
  return a > b ? a : b;
}

void ndnshm__patience_start(ndnshm__patience_t* patience, ndnshm__stopwatch_t* ret_watch) {
  int saved_errno = errno;

  ret_watch->began_ns = read_clock(CLOCK_MONOTONIC);
  ret_watch->cpu_ns = 0;
  if (patience->first_calls < FIRST_CALLS)
    patience->first_calls++;
  else if (ret_watch->began_ns >= patience->suspects_until_ns)
    return;
  ret_watch->sleeps = count_sleeps();
  ret_watch->cpu_ns = read_clock(CLOCK_THREAD_CPUTIME_ID);
  errno = saved_errno;
}

/* What the call has cost, as far as it is the peer's doing: CPU time, and all that is not if it slept. Then the time in
 * which it was awake and waited for the CPU counts as well; but nothing counts of a call that was only preempted. */
static uint64_t cost_of(const ndnshm__stopwatch_t* watch, uint64_t took_ns, bool may_sleep) {
  uint64_t cpu_ns = read_clock(CLOCK_THREAD_CPUTIME_ID) - watch->cpu_ns;
  uint64_t asleep_ns = 0;

  if (may_sleep && took_ns > cpu_ns && count_sleeps() != watch->sleeps) asleep_ns = took_ns - cpu_ns;
  return cpu_ns > SLOW_NS || asleep_ns > ASLEEP_NS ? cpu_ns + asleep_ns : 0;
}

static void note_slow(ndnshm__patience_t* patience, uint64_t began_ns, uint64_t now_ns, uint64_t cost_ns) {
  uint64_t rest_ns = cost_ns < REST_MAX_NS / RESTS_FACTOR ? RESTS_FACTOR * cost_ns : REST_MAX_NS;

  if (began_ns >= patience->forgets_at_ns) patience->lost_ns = patience->slow_calls = 0;
  patience->slow_calls++;
  patience->lost_ns += cost_ns;
  patience->forgets_at_ns = later_of(patience->forgets_at_ns, now_ns) + FORGETS_FACTOR * cost_ns;
  patience->suspects_until_ns = later_of(patience->suspects_until_ns, patience->forgets_at_ns);
  patience->rests_until_ns = now_ns + rest_ns;
  slow_ones_rest_until_ns = later_of(slow_ones_rest_until_ns, now_ns) + rest_ns;
  if (slow_ones_rest_until_ns > now_ns + REST_MAX_NS) slow_ones_rest_until_ns = now_ns + REST_MAX_NS;
}

void ndnshm__patience_stop(ndnshm__patience_t* patience, const ndnshm__stopwatch_t* watch, const char* name,
                           bool may_sleep) {
  int saved_errno = errno;
  uint64_t now_ns = read_clock(CLOCK_MONOTONIC), took_ns = now_ns - watch->began_ns, cost_ns;

  if (took_ns <= SLOW_NS) return;
  patience->suspects_until_ns = later_of(patience->suspects_until_ns, now_ns + FORGETS_FACTOR * took_ns);
  if (watch->cpu_ns == 0 || ndnshm__patience_is_over(patience)) return;
  cost_ns = cost_of(watch, took_ns, may_sleep);
  if (cost_ns != 0) {
    note_slow(patience, watch->began_ns, now_ns, cost_ns);
    patience->call = name;
  }
  errno = saved_errno;
}

/* While nothing may be done, nothing is forgotten either. */
uint64_t ndnshm__patience_rests_ns(ndnshm__patience_t* patience) {
  uint64_t now_ns, until_ns = patience->rests_until_ns;

  if (until_ns == 0) return 0;
  now_ns = read_clock(CLOCK_MONOTONIC);
  if (now_ns < patience->forgets_at_ns) until_ns = later_of(until_ns, slow_ones_rest_until_ns);
  if (now_ns >= until_ns) return 0;
  patience->forgets_at_ns = later_of(patience->forgets_at_ns, until_ns + FORGETS_FACTOR * patience->lost_ns);
  patience->suspects_until_ns = later_of(patience->suspects_until_ns, patience->forgets_at_ns);
  return until_ns - now_ns;
}

bool ndnshm__patience_is_over(const ndnshm__patience_t* patience) {
  return patience->slow_calls >= SLOW_CALLS_MAX && patience->lost_ns >= LOST_MAX_NS;
}
