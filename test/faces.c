/* SPDX-License-Identifier: MIT */
/* faces.c: see faces.h. */
#include "faces.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

void pair_open(pair_t* pair, const uvface_options_t* options) {
  static const uvface_options_t defaults = UVFACE_OPTIONS_INIT;

  memset(pair, 0, sizeof(*pair));
  snprintf(pair->name, sizeof(pair->name), "%s", harness_name("pair"));
  if (options == NULL) options = &defaults;
  ASSERT_OK(uv_loop_init(&pair->loop));
  ASSERT_OK(uvface_init(&pair->loop, &pair->engine));
  ASSERT_OK(uvface_init(&pair->loop, &pair->app));
  ck_assert_msg(uvface_create(&pair->engine, pair->name, options) == 0, "%s", uvface_errmsg(&pair->engine));
  ck_assert_msg(uvface_connect(&pair->app, pair->name, options) == 0, "%s", uvface_errmsg(&pair->app));
}

void pair_close(pair_t* pair) {
  uvface_close(&pair->app, NULL);
  uvface_close(&pair->engine, NULL);
  finish_loop(&pair->loop);
}

void finish_loop(uv_loop_t* loop) {
  ck_assert_int_eq(uv_run(loop, UV_RUN_DEFAULT), 0);
  ck_assert_int_eq(uv_loop_close(loop), 0);
}

/* --- With a deadline -------------------------------------------------------------------------- */

#define TICK_MS 10

static void on_tick(uv_timer_t* timer) {
  (void) timer; /* that it wakes the loop is all */
}

static void start(patience_t* patience, uv_loop_t* loop, int timeout_ms, uint64_t first_ms, uint64_t then_ms) {
  patience->end_ns = harness_now_ns() + (uint64_t) timeout_ms * 1000000u * harness_slow();
  uv_timer_init(loop, &patience->tick);
  patience->tick.data = NULL;
  uv_update_time(loop);
  uv_timer_start(&patience->tick, on_tick, first_ms, then_ms);
}

void patience_start(patience_t* patience, uv_loop_t* loop, int timeout_ms) {
  start(patience, loop, timeout_ms, TICK_MS, TICK_MS);
}

bool patience_is_over(const patience_t* patience) {
  return harness_now_ns() >= patience->end_ns;
}

void patience_stop(patience_t* patience) {
  uv_loop_t* loop = patience->tick.loop;

  uv_close((uv_handle_t*) &patience->tick, NULL);
  uv_run(loop, UV_RUN_NOWAIT);
}

bool run_until(uv_loop_t* loop, const int* flag, int timeout_ms) {
  patience_t patience;

  patience_start(&patience, loop, timeout_ms);
  while (!*flag && !patience_is_over(&patience)) uv_run(loop, UV_RUN_ONCE);
  patience_stop(&patience);
  return *flag != 0;
}

void run_until_parked(uv_loop_t* loop, const uvface_t* face) {
  patience_t patience;
  uvface_stats_t stats = {0};

  patience_start(&patience, loop, PATIENCE_MS);
  while (stats.parks == 0 && !patience_is_over(&patience)) {
    uv_run(loop, UV_RUN_NOWAIT);
    ASSERT_OK(uvface_get_stats(face, &stats));
  }
  patience_stop(&patience);
  ck_assert_uint_gt(stats.parks, 0);
}

void run_for(uv_loop_t* loop, int ms) {
  patience_t patience;

  start(&patience, loop, ms, (uint64_t) ms * harness_slow() + 1, 1); /* no tick before: the loop may sleep */
  while (!patience_is_over(&patience)) uv_run(loop, UV_RUN_ONCE);
  patience_stop(&patience);
}

static uint64_t cpu_ns(void) {
  struct timespec t;

  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return (uint64_t) t.tv_sec * 1000000000u + (uint64_t) t.tv_nsec;
}

void run_asleep(uv_loop_t* loop, int ms) {
  uint64_t wall_ns = harness_now_ns(), used_ns = cpu_ns();

  run_for(loop, ms);
  used_ns = cpu_ns() - used_ns;
  wall_ns = harness_now_ns() - wall_ns;
  ck_assert_msg(used_ns < wall_ns / 10, "%llu us of the CPU in %llu us", (unsigned long long) used_ns / 1000,
                (unsigned long long) wall_ns / 1000);
}

int fill_ring(uvface_t* face) {
  static char byte = 'f';
  uv_buf_t buf = uv_buf_init(&byte, 1);
  int n = 0;

  while (uvface_try_send(face, &buf, 1) == 1) n++;
  return n;
}

uvface_stats_t stats_of(const uvface_t* face) {
  uvface_stats_t stats;

  ASSERT_OK(uvface_get_stats(face, &stats));
  return stats;
}
