/* SPDX-License-Identifier: MIT */
/* where.h: where the forwarder is: from a URI, or from what the environment says.
 *
 * Guarantees that what comes out is well-formed and short enough to be connected to; whether anybody is there is not
 * looked at. Reads variables of the environment and client.conf, nothing else. Errors are negative errno values. Any
 * thread, as far as nobody changes the environment meanwhile. */
#ifndef UVFACE_MGMT_WHERE_H
#define UVFACE_MGMT_WHERE_H

#include <stdbool.h>
#include <stddef.h>

#define UVFACE__HOST_BYTES 256
#define UVFACE__PLACES_MAX 2

/* One place to connect to. */
typedef struct uvface__place_s {
  bool is_tcp;
  char host[UVFACE__HOST_BYTES]; /* or the path of a Unix socket, of at most 107 bytes */
  char port[6];                  /* of tcp */
} uvface__place_t;

/* Places to be tried in this order. */
typedef struct uvface__where_s {
  unsigned int n;
  uvface__place_t places[UVFACE__PLACES_MAX];
} uvface__where_t;

/* Where client.conf is looked for after ~/.ndn, and the sockets that are tried if nothing says which. Not constant, for
 * the tests. */
extern const char* uvface__conf_files[2];
extern const char* uvface__run_sockets[UVFACE__PLACES_MAX];

/* Finds the places that uri names or, if it is NULL, the environment.
 * why: receives "object: reason" on failure.
 * Errors: -EINVAL, -ENAMETOOLONG. */
int uvface__where(const char* uri, uvface__where_t* ret_where, char* why, size_t why_bytes);

/* Writes the place as a URI. Returns out. */
const char* uvface__place_text(const uvface__place_t* place, char* out, size_t cap);

#endif
