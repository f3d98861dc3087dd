/* SPDX-License-Identifier: MIT */
/* faces.c: see faces.h. */
#include "faces.h"

#include <stdio.h>
#include <string.h>

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

static void on_deadline(uv_timer_t* timer) {
  *(int*) timer->data = 1;
}

bool run_until(uv_loop_t* loop, const int* flag, int timeout_ms) {
  uv_timer_t deadline;
  int expired = 0;

  uv_timer_init(loop, &deadline);
  deadline.data = &expired;
  uv_timer_start(&deadline, on_deadline, (uint64_t) timeout_ms * harness_slow(), 0);
  while (!*flag && !expired) uv_run(loop, UV_RUN_ONCE);
  deadline.data = NULL;
  uv_close((uv_handle_t*) &deadline, NULL);
  uv_run(loop, UV_RUN_NOWAIT);
  return *flag != 0;
}

void run_for(uv_loop_t* loop, int ms) {
  static const int never = 0;

  run_until(loop, &never, ms);
}

int fill_ring(uvface_t* face) {
  static char byte = 'f';
  uv_buf_t buf = uv_buf_init(&byte, 1);
  int n = 0;

  while (uvface_try_send(face, &buf, 1) == 1) n++;
  return n;
}
