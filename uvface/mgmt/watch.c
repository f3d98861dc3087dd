/* SPDX-License-Identifier: MIT */
/* watch.c: see watch.h. */
#include "watch.h"

#include <stddef.h>
#include <stdlib.h>
#include <unistd.h>

struct uvface__watch_s {
  uv_poll_t poll;   /* its data stays NULL: others may close it */
  uv_idle_t closer; /* lives only while closing */
  uv_loop_t* loop;
  int fd;
  uvface__watch_cb cb; /* NULL: ended */
  void* arg;
};

static void on_poll(uv_poll_t* handle, int status, int events) {
  uvface__watch_t* watch = (uvface__watch_t*) ((char*) handle - offsetof(uvface__watch_t, poll));

  (void) events;
  if (watch->cb != NULL) watch->cb(watch->arg, status);
}

int uvface__watch_new(uv_loop_t* loop, int fd, int events, uvface__watch_cb cb, void* arg,
                      uvface__watch_t** ret_watch) {
  uvface__watch_t* watch = calloc(1, sizeof(*watch));
  int err;

  if (watch == NULL) return UV_ENOMEM;
  err = uv_poll_init(loop, &watch->poll, fd);
  if (err < 0) {
    free(watch);
    return err;
  }
  watch->loop = loop;
  watch->fd = fd;
  watch->cb = cb;
  watch->arg = arg;
  err = uv_poll_start(&watch->poll, events, on_poll);
  if (err < 0) {
    uvface__watch_take(watch);
    return err;
  }
  *ret_watch = watch;
  return 0;
}

int uvface__watch_fd(const uvface__watch_t* watch) {
  return watch->fd;
}

static void on_close_round_two(uv_handle_t* handle) {
  free((char*) handle - offsetof(uvface__watch_t, closer));
}

/* libuv finishes the handles of a round newest first, so a close that came before ours may still be under way here. */
static void on_close_round_one(uv_handle_t* handle) {
  uvface__watch_t* watch = (uvface__watch_t*) ((char*) handle - offsetof(uvface__watch_t, closer));

  uv_idle_init(watch->loop, &watch->closer);
  uv_close(handle, on_close_round_two);
}

int uvface__watch_take(uvface__watch_t* watch) {
  if (watch == NULL) return -1;
  watch->cb = NULL;
  if (!uv_is_closing((uv_handle_t*) &watch->poll)) uv_close((uv_handle_t*) &watch->poll, NULL);
  uv_idle_init(watch->loop, &watch->closer);
  watch->closer.data = NULL;
  uv_close((uv_handle_t*) &watch->closer, on_close_round_one);
  return watch->fd;
}

void uvface__watch_drop(uvface__watch_t* watch) {
  if (watch != NULL) close(uvface__watch_take(watch));
}
