/* SPDX-License-Identifier: MIT */
/* tables.h: the three tables of an NDN forwarder: FIB (where an Interest goes), PIT (who waits for what)
 * and content store (what was seen lately). Guarantees: every operation that a packet causes costs no more
 * than one hash lookup per name component, and the memory each table takes is bounded by what it was
 * given. They know no faces, clock or loop: a face is a number below 64, time is a number of
 * milliseconds. Does not do: several next hops per prefix, the implicit digest, a dead nonce list. The
 * seed of the hashes keeps collisions from being computed in advance, no more than that. One thread. */
#ifndef EXAMPLES_TABLES_H
#define EXAMPLES_TABLES_H

#include <ndnpkt.h>

enum {
  FACES_MAX = 64,     /* a set of faces is a uint64_t */
  FIB_DEPTH_MAX = 32, /* components of a route */
  WHEEL_SLOTS = 1024, /* times WHEEL_TICK_MS: the time a PIT entry is not looked at */
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

typedef struct fib_s {
  table_t table;
  uint64_t seed;
  size_t depth; /* components of the longest route */
} fib_t;

typedef struct pit_in_s pit_in_t;
typedef struct pit_entry_s pit_entry_t;

typedef struct pit_s {
  table_t table;
  uint64_t seed;
  size_t max_entries;
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

/* prefix: stays the caller's and must outlive the FIB. Errors: -EEXIST, -EINVAL (too deep), -ENOMEM. */
int fib_add(fib_t* fib, ndnpkt_name_t prefix, unsigned int face);

/* The face of the longest prefix that name has, -1 if there is none. */
int fib_find(const fib_t* fib, ndnpkt_name_t name);

/* --- PIT -------------------------------------------------------------------------------------- */

int pit_init(pit_t* pit, uint64_t seed, size_t max_entries, uint64_t now_ms);
void pit_free(pit_t* pit);

typedef enum pit_result_e {
  PIT_FORWARD,   /* new, or a retransmission by a face that waits already: send it on */
  PIT_AGGREGATE, /* another face's Interest for the same is on its way */
  PIT_LOOP,      /* this Nonce is pending: it came round, or is a duplicate */
  PIT_FULL
} pit_result_t;

/* Notes that face `from` waits for what is to come from face `to`. */
pit_result_t pit_add(pit_t* pit, const ndnpkt_interest_t* interest, unsigned int from, unsigned int to,
                     uint64_t now_ms);

typedef struct pit_match_s {
  uint64_t faces;     /* those that wait for this Data, as bits */
  size_t prefix_size; /* bytes of the shortest name that asked for it */
} pit_match_t;

/* Ends every entry that Data of this name from face `from` satisfies. Data from a face that nobody asked
 * is no answer: no app can put words into another's mouth. */
pit_match_t pit_satisfy(pit_t* pit, ndnpkt_name_t name, unsigned int from, uint64_t now_ms);

/* Ends what is over by now. To be called about every WHEEL_TICK_MS while the PIT is not empty. */
void pit_sweep(pit_t* pit, uint64_t now_ms);

/* Forgets that a face waits. Looks at every entry: for the rare end of a face only. */
void pit_forget_face(pit_t* pit, unsigned int face);

/* --- Content store ---------------------------------------------------------------------------- */

int cs_init(cs_t* cs, uint64_t seed, size_t max_bytes);
void cs_free(cs_t* cs);

/* Lends memory for a packet of len bytes, until the next cs_place() or cs_add(): a Data packet that is put there is kept
 * by cs_add() without being copied again. NULL if the store has no room for it now. */
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
