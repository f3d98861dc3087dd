/* SPDX-License-Identifier: MIT */
/* endpoint.h: one end of a face: the rings and the wake-up of a role, bound to a region.
 *
 *   endpoint.c  life: create, connect, shutdown, and what can be asked
 *   packets.c   use: receiving and sending
 *   sleep.c     going to sleep and waking
 *
 * What the rings and the wake-up guarantee is said in ring.h and wake.h. One thread per endpoint at a time. */
#ifndef NDNSHM_ENDPOINT_H
#define NDNSHM_ENDPOINT_H

#include "chore.h"
#include "ndnshm.h"
#include "names.h"
#include "pair.h"
#include "region.h"
#include "ring.h"
#include "wake.h"

struct ndnshm_s {
  /* the hot part */
  ndnshm__tx_t tx;
  ndnshm__rx_t rx;
  ndnshm__wake_t wake;
  const uint32_t* peer_caps;
  uint32_t* own_caps;
  size_t reserved_bytes;     /* of the open reservation; 0 = none */
  unsigned int peeked_slots; /* handed out by peek, not released */
  bool open;
  bool is_awaited; /* the next packet: who sent us something is likely to wait for an answer */
  ndnshm_stats_t stats;
  /* the rest */
  bool is_engine;
  bool is_attached;        /* engine: an app is there, or was */
  bool may_seal;           /* engine of a named face: it was tried when the region was made */
  bool seal_is_due;        /* the same: an app is there, or the last attempt failed for a passing cause */
  bool leaves_chores;      /* the same: to who asks for them (NDNSHM_CHORES) */
  ndnshm__claim_t* claim;  /* the same; holds the region's descriptor in the end */
  ndnshm_chore_t* chore;   /* after shutdown, until somebody takes it */
  bool is_level_triggered; /* what is left in the descriptor is told again */
  bool is_private;         /* has no names: descriptors are handed over */
  pid_t pid;               /* of the process that opened it; a child's copy leaves its face alone */
  ndnshm__pair_t app_end;  /* engine of a private face: what the app gets, until it is closed here */
  ndnshm__region_t region;
  ndnshm__names_t names;
  ndnshm__error_t error;
};

/* The bits that the peer announces, loaded once; ep is open. */
unsigned int ndnshm__announced_caps(const ndnshm_t* ep);

/* Engine of a named face: its region is to be sealed; does it, unless chores are left to somebody else. */
void ndnshm__seal(ndnshm_t* ep);

/* The error of an endpoint whose region is lost. */
int ndnshm__fail_lost(ndnshm_t* ep);

/* -EIO once too much time was lost with the peer (patience.h), else 0. */
int ndnshm__check_patience(ndnshm_t* ep);

#endif
