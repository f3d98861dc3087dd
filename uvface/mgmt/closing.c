/* SPDX-License-Identifier: MIT */
/* closing.c: see closing.h. */
#include "closing.h"

#include <stddef.h>

static uvface__closing_t* closing_of(uv_handle_t* handle) {
  return (uvface__closing_t*) ((char*) handle - offsetof(uvface__closing_t, idle));
}

void uvface__close_handle(uv_handle_t* handle) {
  if (!uv_is_closing(handle)) uv_close(handle, NULL);
}

static void on_round_two(uv_handle_t* handle) {
  uvface__closing_t* closing = closing_of(handle);

  closing->on_closed(closing);
}

/* libuv finishes the handles of a round newest first, so a close that came before ours may still be under way here. */
static void on_round_one(uv_handle_t* handle) {
  uv_idle_init(closing_of(handle)->loop, (uv_idle_t*) handle);
  handle->data = NULL;
  uv_close(handle, on_round_two);
}

void uvface__closing_begin(uv_loop_t* loop, uvface__closing_t* closing, void (*on_closed)(uvface__closing_t* closing)) {
  closing->loop = loop;
  closing->on_closed = on_closed;
  uv_idle_init(loop, &closing->idle);
  closing->idle.data = NULL;
  uv_close((uv_handle_t*) &closing->idle, on_round_one);
}
