/* SPDX-License-Identifier: MIT */
/* test_window.c: how long it pays to look before sleeping, without a loop and without time: each test says when
 * something was found, and what the kernel answers about preemptions. */
#include <sys/resource.h>

#include "harness.h"
#include "window.h"

#define MAX_NS 50000
#define MISS_NS (MAX_NS + 1)
#define SLOW_NS 10000 /* within the window, but not so soon that it proves anything */

static long switches;
static unsigned int asked;

/* In front of libc's. */
int getrusage(__rusage_who_t who, struct rusage* usage) {
  (void) who;
  *usage = (struct rusage){.ru_nivcsw = switches};
  asked++;
  return 0;
}

typedef struct sequence_s {
  uvface__window_t w;
  uint64_t now_ns;
  long seen;
} sequence_t;

static sequence_t start(void) {
  sequence_t c = {.now_ns = 1000000, .seen = -1};

  uvface__window_init(&c.w, MAX_NS);
  ck_assert_uint_eq(uvface__window_open(&c.w, c.now_ns), c.now_ns + MAX_NS);
  return c;
}

/* Found after gap_ns: for how long it pays to look for the next. */
static uint64_t hit(sequence_t* c, uint64_t gap_ns) {
  c->now_ns += gap_ns;
  return uvface__window_hit(&c->w, c->now_ns, false, &c->seen) - c->now_ns;
}

TEST(window_stays_open_while_packets_come_within_it) {
  sequence_t c = start();

  for (int i = 0; i < 100; i++) ck_assert_uint_eq(hit(&c, MAX_NS), MAX_NS);
}

TEST(window_shuts_step_by_step_while_packets_come_too_late) {
  sequence_t c = start();
  uint64_t expected = MAX_NS;

  for (int i = 0; i < 10; i++) {
    expected = expected / 2 >= 1000 ? expected / 2 : 0;
    ck_assert_uint_eq(hit(&c, MISS_NS), expected);
  }
  ck_assert_uint_eq(expected, 0);
}

TEST(each_32nd_miss_tries_a_full_window_and_a_hit_keeps_it) {
  sequence_t c = start();

  for (int i = 1; i < 32; i++) hit(&c, MISS_NS);
  ck_assert_uint_eq(hit(&c, MISS_NS), MAX_NS);
  ck_assert_uint_eq(hit(&c, MISS_NS), 0); /* it was in vain */
  for (int i = 34; i < 64; i++) ck_assert_uint_eq(hit(&c, MISS_NS), 0);
  ck_assert_uint_eq(hit(&c, MISS_NS), MAX_NS);
  ck_assert_uint_eq(hit(&c, SLOW_NS), MAX_NS); /* it was not */
  ck_assert_uint_eq(hit(&c, SLOW_NS), MAX_NS);
}

TEST(preemption_while_looking_shuts_the_window_for_twice_as_long_each_time) {
  sequence_t c = start();

  hit(&c, SLOW_NS); /* what happened before the first question does not count */
  for (unsigned int penalty = 1; penalty <= 8; penalty *= 2) {
    switches++;
    ck_assert_uint_eq(hit(&c, SLOW_NS), 0);
    for (unsigned int i = 0; i < penalty; i++) ck_assert_uint_eq(hit(&c, SLOW_NS), 0);
    ck_assert_uint_eq(hit(&c, SLOW_NS), MAX_NS);
  }
}

TEST(penalty_has_a_bound) {
  sequence_t c = start();

  hit(&c, SLOW_NS);
  for (int i = 0; i < 20; i++) {
    switches++;
    hit(&c, SLOW_NS);
    for (unsigned int k = c.w.skips; k > 0; k--) hit(&c, SLOW_NS);
  }
  ck_assert_uint_eq(c.w.penalty, 4096);
}

TEST(packet_that_comes_at_once_forgives_a_preemption_and_needs_no_question) {
  sequence_t c = start();

  hit(&c, SLOW_NS);
  switches++;
  hit(&c, SLOW_NS);
  asked = 0;
  ck_assert_uint_eq(hit(&c, 3000), MAX_NS);
  ck_assert_uint_eq(asked, 0);
  ck_assert_uint_eq(c.w.penalty, 0);
}

TEST(preemption_while_the_face_slept_does_not_count) {
  sequence_t c = start();

  hit(&c, SLOW_NS);
  switches++;
  uvface__window_sleep(&c.w);
  ck_assert_uint_eq(hit(&c, SLOW_NS), MAX_NS);
  ck_assert_uint_eq(hit(&c, SLOW_NS), MAX_NS); /* nor later: it was noted */
}

TEST(rest_of_more_than_a_turn_takes_was_not_waited_for) {
  sequence_t c = start();

  for (int i = 0; i < 10; i++) hit(&c, MISS_NS); /* shut */
  c.now_ns += MISS_NS;
  uvface__window_hit(&c.w, c.now_ns, true, &c.seen);
  ck_assert_uint_eq(hit(&c, MISS_NS), MAX_NS); /* a long turn lay between, but there was more all the time */
}

TEST(sleep_ends_what_was_left_over) {
  sequence_t c = start();

  for (int i = 0; i < 10; i++) hit(&c, MISS_NS);
  c.now_ns += MISS_NS;
  uvface__window_hit(&c.w, c.now_ns, true, &c.seen);
  uvface__window_sleep(&c.w);
  ck_assert_uint_eq(hit(&c, MISS_NS), 0);
}

TEST(time_that_was_read_before_the_window_opened_is_no_gap) {
  sequence_t c = start();
  uint64_t before_ns = c.now_ns - 500;

  ck_assert_uint_eq(uvface__window_hit(&c.w, before_ns, false, &c.seen), before_ns + MAX_NS);
}

TEST(window_of_nothing_never_opens) {
  uvface__window_t w;
  long seen = -1;

  uvface__window_init(&w, 0);
  ck_assert_uint_eq(uvface__window_open(&w, 1000), 1000);
  for (uint64_t now_ns = 2000; now_ns < 200000; now_ns += 1000)
    ck_assert_uint_eq(uvface__window_hit(&w, now_ns, false, &seen), now_ns);
}
