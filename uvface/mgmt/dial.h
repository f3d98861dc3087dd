/* SPDX-License-Identifier: MIT */
/* dial.h: connecting to a place, without waiting.
 *
 * Guarantees that descriptors are closed on exec, and that none is left when it fails or is dropped. Loop thread. */
#ifndef UVFACE_MGMT_DIAL_H
#define UVFACE_MGMT_DIAL_H

#include <uv.h>

#include "where.h"

typedef struct uvface__dial_s uvface__dial_t;

/* The end of it: fd is connected and the caller's, or a negative error. The dial is over: not to be dropped any
 * more. */
typedef void (*uvface__dial_cb)(void* arg, int fd);

/* Connects to a Unix socket.
 * Returns the descriptor. Errors: as connect(); UV_EAGAIN: the queue of connections is full, try again later. */
int uvface__dial_path(const char* path);

/* Connects to a host, whose name is looked up: cb comes later, unless the dial is dropped before.
 * Errors: UV_ENOMEM, as uv_getaddrinfo(). */
int uvface__dial_host(uv_loop_t* loop, const uvface__place_t* place, uvface__dial_cb cb, void* arg,
                      uvface__dial_t** ret_dial);

/* Gives up. dial: NULL is allowed. */
void uvface__dial_drop(uvface__dial_t* dial);

#endif
