/* SPDX-License-Identifier: MIT */
/* tables.h: the three tables of an NDN forwarder: FIB (where an Interest goes), PIT (who waits for what)
 * and content store (what was seen lately). Guarantees: every operation that a packet causes costs no more
 * than one hash lookup per name component; the memory each table takes is bounded by what it was given, and
 * one face gets no more than its part of it; of a face that was forgotten nothing is left. They know no
 * uvface_t, clock or loop: a face is a hop_t, time is a number of milliseconds. Does not do: several next hops
 * at a time, the implicit digest, a dead nonce list. The seed of the hashes keeps collisions from being
 * computed in advance, no more than that. One thread. */
#ifndef EXAMPLES_TABLES_H
#define EXAMPLES_TABLES_H

#include <ndnpkt.h>

enum {
  FIB_DEPTH_MAX = 32,     /* components of a route */
  FIB_ROUTES_MAX = 65536, /* of all faces */
  HOP_ROUTES_MAX = 4096,  /* of one */
  HOP_PART = 4,           /* one face may take this part of the PIT */
  WHEEL_SLOTS = 1024,     /* times WHEEL_TICK_MS: the time a PIT entry is not looked at */
  WHEEL_TICK_MS = 8
};

/* A hash table of named entries, which embed a node. Several may bear the same name. */
typedef struct node_s node_t;
struct node_s {
  node_t* next;
  uint64_t hash;
  ndnpkt_name_t name;
  void* entry; /* the struct this node is in */
};

typedef struct table_s {
  node_t** buckets;
  size_t mask, count;
} table_t;

typedef struct route_s route_t;
typedef struct pit_in_s pit_in_t;
typedef struct pit_entry_s pit_entry_t;

/* A face, as the tables know it. The caller's, where it stays until it is forgotten; begins as zeros. */
typedef struct hop_s {
  void* data;         /* the caller's */
  route_t* routes;    /* that lead to it */
  pit_in_t* ins;      /* what it waits for */
  pit_entry_t* asked; /* what it was asked for */
  size_t nroutes, nins;
} hop_t;

struct route_s {
  node_t node; /* with the prefix */
  hop_t* hop;
  route_t* next; /* of the hop */
  route_t** link;
  uint64_t cost;
  uint64_t expires_ms; /* UINT64_MAX: never. For the caller to look at */
  uint8_t name[];
};

typedef struct fib_s {
  table_t table;
  uint64_t seed;
  size_t depth; /* components of the longest route */
} fib_t;

/* A face that waits. */
struct pit_in_s {
  pit_in_t* next; /* of the entry, or of a match */
  pit_entry_t* entry;
  hop_t* hop;
  pit_in_t* hop_next;
  pit_in_t** hop_link;
  uint64_t expires_ms;
  uint32_t nonce;
  bool has_nonce;
  uint8_t token_bytes;
  uint8_t token[NDNPKT_PIT_TOKEN_MAX]; /* goes back with the answer */
};

typedef struct pit_s {
  table_t table;
  uint64_t seed;
  size_t max_ins, nins; /* an entry has one at least */
  size_t can_be_prefix; /* entries that any longer name satisfies */
  uint64_t tick;        /* the last one swept */
  uint64_t expired;     /* entries that ended without Data */
  pit_entry_t* wheel[WHEEL_SLOTS];
  pit_entry_t* free_entries;
  pit_in_t* free_ins;
} pit_t;

typedef struct cs_entry_s cs_entry_t;

/* The packets lie one behind the other in one block, from `oldest` round to `free`, in the order in which they came. */
typedef struct cs_s {
  table_t table;
  uint64_t seed;
  size_t bytes, max_bytes;
  uint8_t* block;
  size_t block_bytes;
  size_t free, oldest; /* offsets; equal while the store is empty */
  size_t end;          /* what lies behind this is empty until the next round */
  cs_entry_t* place;   /* lent by cs_place() */
} cs_t;

/* --- FIB -------------------------------------------------------------------------------------- */

int fib_init(fib_t* fib, uint64_t seed);
void fib_free(fib_t* fib);

/* Adds a route, or gives the one that is there new values. prefix: copied.
 * Errors: -EINVAL (too deep), -ENOSPC (the table, or the hop's part, is full), -ENOMEM. */
int fib_add(fib_t* fib, ndnpkt_name_t prefix, hop_t* hop, uint64_t cost, uint64_t expires_ms);

/* Takes a route out; NULL is allowed. */
void fib_remove(fib_t* fib, route_t* route);

/* The route of exactly this prefix to that hop; to any but `except` if hop is NULL. NULL: there is none. */
route_t* fib_route(const fib_t* fib, ndnpkt_name_t prefix, const hop_t* hop, const hop_t* except);

/* Where an Interest that came from `from` goes: of the longest prefix of the name that leads elsewhere, the route of
 * the lowest cost, the youngest of these. NULL: there is none. */
hop_t* fib_find(const fib_t* fib, ndnpkt_name_t name, const hop_t* from);

/* --- PIT -------------------------------------------------------------------------------------- */

int pit_init(pit_t* pit, uint64_t seed, size_t max_ins, uint64_t now_ms);
void pit_free(pit_t* pit);

typedef enum pit_result_e {
  PIT_FORWARD,   /* new, or a retransmission by a face that waits already: send it on */
  PIT_AGGREGATE, /* another face's Interest for the same is on its way */
  PIT_LOOP,      /* this Nonce is pending: it came round, or is a duplicate */
  PIT_FULL       /* the table, or the face's part of it */
} pit_result_t;

/* Notes that face `from` waits for what is to come from face `to`. token: its PIT token; copied. */
pit_result_t pit_add(pit_t* pit, const ndnpkt_interest_t* interest, ndnpkt_bytes_t token, hop_t* from, hop_t* to,
                     uint64_t now_ms);

/* Who waited; to be given back by pit_release() before the PIT is used again. */
typedef struct pit_match_s {
  pit_in_t* ins;
  bool found;         /* an entry, even if its time was over */
  size_t prefix_size; /* bytes of the shortest name that asked for it */
} pit_match_t;

/* Ends every entry that Data of this name from face `from` satisfies. Data from a face that was not
 * asked is no answer: no app can put words into another's mouth. */
pit_match_t pit_satisfy(pit_t* pit, ndnpkt_name_t name, const hop_t* from, uint64_t now_ms);

/* Ends the entry of an Interest that came back from the face that was asked. */
pit_match_t pit_refuse(pit_t* pit, const ndnpkt_interest_t* interest, const hop_t* from, uint64_t now_ms);

void pit_release(pit_t* pit, pit_match_t* match);

/* Ends what is over by now. To be called about every WHEEL_TICK_MS while the PIT is not empty. */
void pit_sweep(pit_t* pit, uint64_t now_ms);

/* Forgets a face: that it waits, and what it was asked for, so that the next who asks is sent on. */
void pit_forget(pit_t* pit, hop_t* hop);

/* --- Content store ---------------------------------------------------------------------------- */

int cs_init(cs_t* cs, uint64_t seed, size_t max_bytes);
void cs_free(cs_t* cs);

/* Lends memory for a packet of len bytes, until the next cs_place() or cs_add(): a Data packet that is put there is
 * kept by cs_add() without being copied again. NULL if the store has no room for it now. */
uint8_t* cs_place(cs_t* cs, size_t len);

/* Keeps a Data packet: as it lies if it begins where the last cs_place() said, else a copy. It is then found under its
 * name and under the first prefix_size bytes of it. May exceed the bound until cs_trim(), so that packets found or kept
 * before stay valid. */
void cs_add(cs_t* cs, ndnpkt_bytes_t wire, const ndnpkt_data_t* data, size_t prefix_size, uint64_t now_ms);

/* A Data packet that answers the Interest, valid until cs_trim(); len 0: none. */
ndnpkt_bytes_t cs_find(cs_t* cs, const ndnpkt_interest_t* interest, uint64_t now_ms);

/* Drops the oldest packets until the bound holds. One that was found since it came goes round once more instead. */
void cs_trim(cs_t* cs);

#endif
