/* SPDX-License-Identifier: MIT */
/* watch.h: a descriptor that a loop looks at, for a while.
 *
 * Guarantees that it may be dropped at any time, within its callback and after somebody else has closed its handle;
 * that its callback does not come any more then; and that its memory is given back by itself, two rounds of the loop
 * later, when the handle has surely finished. Loop thread. */
#ifndef UVFACE_MGMT_WATCH_H
#define UVFACE_MGMT_WATCH_H

#include <uv.h>

typedef struct uvface__watch_s uvface__watch_t;

/* The descriptor is ready; what for is found by trying. status: < 0: it cannot be looked at any more. */
typedef void (*uvface__watch_cb)(void* arg, int status);

/* Looks at fd for events (UV_READABLE, UV_WRITABLE). fd is the watch's on success.
 * Errors: UV_ENOMEM, UV_ENOSPC (the user's epoll watches), as uv_poll_init(). */
int uvface__watch_new(uv_loop_t* loop, int fd, int events, uvface__watch_cb cb, void* arg, uvface__watch_t** ret_watch);

/* The descriptor: the watch's own. */
int uvface__watch_fd(const uvface__watch_t* watch);

/* Ends it. watch: NULL is allowed. take: gives the descriptor back, which is the caller's again; drop: closes it. */
int uvface__watch_take(uvface__watch_t* watch);
void uvface__watch_drop(uvface__watch_t* watch);

#endif
