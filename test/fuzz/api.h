/* SPDX-License-Identifier: MIT */
/* api.h: the ground of fuzz_api: the ledger of what was sent (api_ledger.c), links between ends, and what a peer does
 * to them by hand (api_links.c). The faces of a program stand on it (api_ends.h).
 *
 * Guarantees that a packet can be told from every other one: by its bytes alone it says on which link, in which
 * direction and as the how-manieth it was sent. One thread. */
#ifndef API_H
#define API_H

#include <uv.h>

#include "../../include/uvface.h"
#include "fuzz.h"
#include "sandbox.h"

/* --- api_ledger.c ------------------------------------------------------------------------------- */

#define LEDGER_PACKETS_MAX 1024 /* of a direction */
#define LEDGER_BYTES_MIN 6      /* of a packet */
#define LEDGER_BYTES_MAX 4000

typedef enum {
  LEDGER_PENDING, /* accepted, its callback is to come */
  LEDGER_SENT,
  LEDGER_MAYBE,   /* of a batch that ended with an error, or dropped by its receiver's own will */
  LEDGER_REFUSED, /* must never arrive */
} ledger_state_t;

/* One direction of a link. */
typedef struct ledger_s {
  uint8_t tag; /* goes into each packet */
  unsigned int next;
  unsigned int received, shown; /* the first packet that recv_cb, or a filter, may still get */
  bool poked;                   /* somebody wrote into it by hand: anything may come */
  bool lossy;                   /* a receiver, or its filter, lets packets go unseen */
  uint8_t states[LEDGER_PACKETS_MAX];
  uint16_t sizes[LEDGER_PACKETS_MAX];
  bool edited[LEDGER_PACKETS_MAX]; /* by the sender's filter */
} ledger_t;

/* The nearest number of bytes that a packet, which is one element, can have. */
size_t ledger_fit(size_t bytes, size_t max);
/* Writes the next packet, of `bytes` bytes as ledger_fit() has them. Its number, or -1: there were too many. */
int ledger_write(ledger_t* ledger, uint8_t* packet, size_t bytes);
/* What has become of n packets that are pending; those that a filter has dropped stay so. */
void ledger_settle(ledger_t* ledger, unsigned int first, unsigned int n, ledger_state_t state);
/* A packet has come to recv_cb, or to a filter: it was sent, whole, and none before it is missing. */
void ledger_receive(ledger_t* ledger, const uv_buf_t* packet, bool by_filter);
/* A filter has a packet on its way out: changes it as `how` says. Its new size. */
size_t ledger_edit(ledger_t* ledger, uint8_t* packet, size_t bytes, size_t max, uint8_t how);
/* Everything that was surely sent has come. */
void ledger_require_all(const ledger_t* ledger);

/* --- api_links.c -------------------------------------------------------------------------------- */

#define LINKS_MAX 16
#define NAMES 2

typedef enum { BY_NAME, BY_DESCRIPTORS, BY_STREAM } link_kind_t;

/* Two sides: 0 is the engine, or the stream's first end. */
typedef struct link_s {
  link_kind_t kind;
  unsigned int name;      /* of NAMES */
  uint32_t mtu;           /* of both ends of a stream */
  ledger_t ledgers[2];    /* what side 0, and side 1, sends */
  unsigned int open[2];   /* faces on each side now */
  unsigned int unguarded; /* of them, without a guard */
  bool closed[2];         /* a face was there, and was closed */
  int raw[3];             /* region, a2e, e2a, or a socket; held by the peer's hand; -1 = not */
  bool app_fds_closed;    /* by the engine */
  unsigned char* map;     /* the region, for the peer's hand */
  size_t map_bytes;
  bool lost; /* truncated */
} link_t;

void links_begin(void);
void links_end(void);
/* NULL: there were too many. */
link_t* link_new(link_kind_t kind);
/* The one of that number, or NULL. */
link_t* link_get(unsigned int i);
const char* link_name(unsigned int name);
/* The region of a face that has just been created, or descriptors of its own for its app. */
void link_hold_region(link_t* link, const uvface_t* engine);
void link_hold_descriptors(link_t* link, const uvface_t* engine);
void link_drop_raw(link_t* link);
/* Nothing is certain any more of what goes over it. */
void link_mark_poked(link_t* link);
/* What the hand does: one of many things, by three bytes of the script. */
void link_poke(link_t* link, uint8_t what, uint8_t where, uint8_t value);

#endif
