/* SPDX-License-Identifier: MIT */
/* watch.c: see watch.h. */
#include "watch.h"

#include <stddef.h>
#include <stdlib.h>
#include <unistd.h>

#include "closing.h"

struct uvface__watch_s {
  uv_poll_t poll; /* its data stays NULL: others may close it */
  uvface__closing_t closing;
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

static void on_closed(uvface__closing_t* closing) {
  free((char*) closing - offsetof(uvface__watch_t, closing));
}

int uvface__watch_take(uvface__watch_t* watch) {
  if (watch == NULL) return -1;
  watch->cb = NULL;
  uvface__close_handle((uv_handle_t*) &watch->poll);
  uvface__closing_begin(watch->loop, &watch->closing, on_closed);
  return watch->fd;
}

void uvface__watch_drop(uvface__watch_t* watch) {
  if (watch != NULL) close(uvface__watch_take(watch));
}
