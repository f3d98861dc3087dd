/* SPDX-License-Identifier: MIT */
/* closing.h: how handles end that somebody else may have closed already.
 *
 * A program may close all handles of its loop by uv_walk() and uv_close(), ours too. Then our own uv_close() would
 * abort it, and no close callback of ours is ever called. So handles are closed unless they are closing, without a
 * callback, and two rounds of the loop later, when every one of them has surely finished, who waits is told. Loop
 * thread. */
#ifndef UVFACE_MGMT_CLOSING_H
#define UVFACE_MGMT_CLOSING_H

#include <uv.h>

typedef struct uvface__closing_s uvface__closing_t;
struct uvface__closing_s {
  /* private */
  uv_idle_t idle; /* lives only while closing; data stays NULL */
  uv_loop_t* loop;
  void (*on_closed)(uvface__closing_t* closing);
};

/* Closes a handle, unless it is closing. */
void uvface__close_handle(uv_handle_t* handle);

/* All that was closed before has finished when on_closed is called, on a later turn. Then the memory is free again. */
void uvface__closing_begin(uv_loop_t* loop, uvface__closing_t* closing, void (*on_closed)(uvface__closing_t* closing));

#endif
