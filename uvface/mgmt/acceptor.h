/* SPDX-License-Identifier: MIT */
/* acceptor.h: a listening Unix socket with a name in the file system, which hands out the connections that come.
 *
 * Guarantees that the name of a live socket, or of something that is no socket, is never taken or removed; that nobody
 * connects before owner and mode are what was asked for; that a turn of the loop accepts a few connections and no more;
 * and that a want of descriptors or memory pauses accepting instead of turning the loop. Loop thread. */
#ifndef UVFACE_MGMT_ACCEPTOR_H
#define UVFACE_MGMT_ACCEPTOR_H

#include <stdbool.h>
#include <sys/types.h>
#include <uv.h>

#include "closing.h"

/* Bytes of a path that fits into a Unix address, with its NUL. */
#define UVFACE__SOCKET_PATH_BYTES 108

/* What an acceptor is asked for. */
typedef struct uvface__socket_place_s {
  const char* path; /* not empty; a relative one is of the working directory of now */
  mode_t mode;      /* permissions, which umask does not cut */
  uid_t uid;        /* owner; -1 = leave */
  gid_t gid;
  mode_t mode_if_not_given; /* not 0: go on, with these permissions, if we may not give it to uid */
  int backlog;
} uvface__socket_place_t;

typedef struct uvface__acceptor_s uvface__acceptor_t;
struct uvface__acceptor_s {
  void* data;
  /* A connection has come; fd is the callee's: non-blocking, closed on exec. May close the acceptor. */
  void (*on_accept)(uvface__acceptor_t* acceptor, int fd);
  /* accept4() failed for want of something, or oddly; trying goes on. */
  void (*on_trouble)(uvface__acceptor_t* acceptor, int err);
  /* private */
  void (*on_closed)(uvface__acceptor_t* acceptor);
  uv_loop_t* loop;
  int fd; /* -1 = closed */
  uv_poll_t poll;
  uv_timer_t pause;
  uvface__closing_t closing;
  char* name; /* absolute, to remove it */
  dev_t dev;  /* of the name, while it is ours */
  ino_t ino;
};

/* Makes the socket and begins to accept. acceptor: on_accept, on_trouble and data are set. why, cap: on failure, "call
 * object: reason".
 * Errors: those of socket(), bind(), listen(), chmod(), chown() as libuv's codes; UV_EADDRINUSE (a live socket, or no
 * socket, has the name), UV_ENAMETOOLONG, UV_ENOMEM, UV_ENOSPC (the user's epoll watches). Nothing is left then, and
 * uvface__acceptor_close() is not owed. */
int uvface__acceptor_open(uv_loop_t* loop, uvface__acceptor_t* acceptor, const uvface__socket_place_t* place, char* why,
                          size_t cap);

/* Removes the name if it is still ours, and closes the socket, at once; on_closed on a later turn. Only once. */
void uvface__acceptor_close(uvface__acceptor_t* acceptor, void (*on_closed)(uvface__acceptor_t* acceptor));

/* Writes "call object: reason" and returns the code of errno `err` for libuv. */
int uvface__explain(char* why, size_t cap, const char* call, const char* object, int err);

#endif
