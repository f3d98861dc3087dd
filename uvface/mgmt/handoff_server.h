/* SPDX-License-Identifier: MIT */
/* handoff_server.h: the forwarder's side of the handoff: a socket that gives the descriptors of one private face to
 * whoever asked for it.
 *
 * Guarantees that nobody gets them who is not of the app's user and does not prove that it knows the key; that a
 * connector which is silent costs a second for each step and keeps no other one from its turn; that so many wrong
 * proofs end it; and that the socket goes, whatever happens. Loop thread. */
#ifndef UVFACE_MGMT_HANDOFF_SERVER_H
#define UVFACE_MGMT_HANDOFF_SERVER_H

#include "handoff.h"
#include "uvface.h"

/* Connectors at a time; more are turned away. */
#define UVFACE__CONNECTORS_MAX 8
/* Wrong proofs that end it. */
#define UVFACE__WRONG_PROOFS_MAX 16

typedef struct uvface__handoff_server_s uvface__handoff_server_t;

/* What happened at the handoffs of a server. */
typedef struct uvface__handoff_counts_s {
  uint64_t done, refused, timeouts;
} uvface__handoff_counts_t;

/* What a handoff is made of. All that is pointed at lives until on_closed. */
typedef struct uvface__handoff_options_s {
  uv_loop_t* loop;
  ndnpkt_crypto_t* crypto;
  const char* dir;      /* of the socket; NULL = the default */
  const uint8_t* key;   /* UVFACE__KEY_BYTES; copied */
  uid_t uid;            /* the app's user */
  const uvface_t* face; /* whose descriptors these are; open until the handoff is closed */
  uvface__handoff_counts_t* counts;
  void* data;
  /* It is over: 0, the descriptors are handed over; UV_EACCES, too many wrong proofs. The callee closes it. */
  void (*on_end)(void* data, int status);
  /* A connector comes beside others, and takes a descriptor; or goes, and does not. False: it is turned away. */
  bool (*on_another)(void* data, bool comes);
  void (*on_closed)(void* data); /* its memory and handles are gone */
} uvface__handoff_options_t;

/* Makes the socket. why, cap: on failure "call object: reason".
 * Errors: as uvface__acceptor_open(), UV_ENAMETOOLONG (dir), UV_EIO, UV_ENOMEM. */
int uvface__handoff_server_open(const uvface__handoff_options_t* options, uvface__handoff_server_t** ret_handoff,
                                char* why, size_t cap);

/* Ends it, turns away who is there; on_closed on a later turn. Only once. */
void uvface__handoff_server_close(uvface__handoff_server_t* handoff);

#endif
