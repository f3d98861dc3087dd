/* SPDX-License-Identifier: MIT */
/* name.h: what else there is to know of a name when it is checked. Any thread. */
#ifndef NDNPKT_NAME_H
#define NDNPKT_NAME_H

#include "ndnpkt.h"

/* The parameters digest in a name. There may be one; and only at the end does it close what a signature covers. */
typedef struct ndnpkt__digest_s {
  unsigned int count;
  bool is_last;             /* of the components */
  ndnpkt_bytes_t component; /* the last one of that type; len 0: there is none */
} ndnpkt__digest_t;

/* Checks a name as ndnpkt_name_check() does, and finds its digest on the way. Returns 0 or -EBADMSG. */
int ndnpkt__name_scan(ndnpkt_name_t name, ndnpkt__digest_t* ret_digest);

/* Whether it is one component, and a good one; whether it is a forwarding hint: names, or the delegations around them
 * that were the format before. Return 0 or -EBADMSG. */
int ndnpkt__component_check(ndnpkt_name_t name);
int ndnpkt__hint_check(ndnpkt_bytes_t value);

#endif
