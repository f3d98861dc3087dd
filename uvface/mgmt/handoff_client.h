/* SPDX-License-Identifier: MIT */
/* handoff_client.h: an app's side of the handoff: three descriptors from the forwarder that knows the key.
 *
 * Guarantees that nothing is proved to somebody who has not proved that he knows the key, that exactly three
 * descriptors are taken, all of them closed on exec, and that whatever else was sent is closed. Has no clock: whoever
 * started it gives up in time. Loop thread. */
#ifndef UVFACE_MGMT_HANDOFF_CLIENT_H
#define UVFACE_MGMT_HANDOFF_CLIENT_H

#include <uv.h>

#include "handoff.h"

typedef struct uvface__handoff_s uvface__handoff_t;

/* status 1: a step is done, the next one's time begins. status 0: the end, fds are the caller's. < 0: the end, it
 * failed; why: "what: reason" then. After the end the handoff is gone: not to be dropped any more. */
typedef void (*uvface__handoff_cb)(void* arg, int status, const int fds[3], const char* why);

/* Connects, and sends the first nonce.
 * path: of the socket. crypto: the caller's, until the end.
 * Errors: as connect(): UV_ENOENT and UV_ECONNREFUSED: nobody hands anything out there; UV_EAGAIN: try again later. */
int uvface__handoff_start(uv_loop_t* loop, ndnpkt_crypto_t* crypto, const char* path,
                          const unsigned char key[UVFACE__KEY_BYTES], uvface__handoff_cb cb, void* arg,
                          uvface__handoff_t** ret_handoff);

/* What it waits for, for words: "the proof", "the descriptors". */
const char* uvface__handoff_waits_for(const uvface__handoff_t* handoff);

/* Gives up. handoff: NULL is allowed. */
void uvface__handoff_drop(uvface__handoff_t* handoff);

#endif
