/* SPDX-License-Identifier: MIT */
/* request.h: what a client asks of a forwarder, and what it makes of the answer.
 *
 * Guarantees that an answer is taken for what it is only if it can be read whole; who answered is not looked at, for
 * who owns the forwarder's socket is trusted. No I/O here. Loop thread (for the ndnpkt_crypto_t). */
#ifndef UVFACE_MGMT_REQUEST_H
#define UVFACE_MGMT_REQUEST_H

#include <stdbool.h>

#include "ndnpkt.h"

typedef enum uvface__verb_e { UVFACE__CREATE, UVFACE__DESTROY, UVFACE__REGISTER, UVFACE__UNREGISTER } uvface__verb_t;

/* "faces/create" and so on. */
const char* uvface__verb_text(uvface__verb_t verb);

/* Encodes a command.
 * buf: NDNPKT_PACKET_MAX bytes. ret_name: receives its name, a view of buf.
 * Returns the size. Errors: as ndnpkt_command_encode(). */
ssize_t uvface__request_encode(ndnpkt_crypto_t* crypto, uint8_t buf[NDNPKT_PACKET_MAX], uvface__verb_t verb,
                               const ndnpkt_parameters_t* parameters, uint64_t lifetime_ms,
                               const ndnpkt_signer_t* signer, ndnpkt_name_t* ret_name);

/* An answer. */
typedef struct uvface__answer_s {
  int status;        /* 0, or the libuv code that stands for it */
  unsigned int code; /* the forwarder's; 0: there was none */
  bool has_face_id;
  uint64_t face_id;
  char text[256]; /* the forwarder's; control characters are shown as '?' */
} uvface__answer_t;

/* True if the packet may be an answer to a command that this library sends: a Data, or a Nack in its link headers. Its
 * name goes to ret_name. */
bool uvface__answer_name(ndnpkt_bytes_t packet, ndnpkt_name_t* ret_name);

/* Reads such a packet. */
void uvface__answer_read(ndnpkt_bytes_t packet, uvface__answer_t* ret_answer);

#endif
