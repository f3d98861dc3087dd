/* SPDX-License-Identifier: MIT */
/* victim.h: what fuzz_ring's two victims share: the bare endpoint (ring_core.c) and the face on a loop
 * (ring_face.c), each alone with an attacker. A victim reads its script from the back of the input, uses its
 * face as a program would, and holds the product to what it promises. One thread. */
#ifndef VICTIM_H
#define VICTIM_H

#include <sys/uio.h>

#include "attacker.h"

#define VICTIM_STEPS_MAX 40 /* of a script */
#define VICTIM_PAYLOAD_MAX 4096
#define VICTIM_BATCH_MAX 12

typedef struct victim_s {
  fuzz_input_t in;
  attacker_t attacker;
  sandbox_names_t names;
  ndnshm__geometry_t geometry;
  bool is_engine;
  bool borrow;              /* receive without copying */
  bool windows;             /* spin and stay hot, as by default */
  unsigned int head_writes; /* of the attacker's, as last seen, and the packets sent until then */
  uint64_t sent;
} victim_t;

/* To be called at the start of each step: counts the accesses to shared memory from here on, and ends the
 * process when they do not end. */
void victim_begin_step(void);

/* Has the attacker at work at the points from now on; what it alone may write is watched. */
void victim_attached(victim_t* v);

/* Holds npkts packets, as a program that parses them would, while the attacker is at work; checks that they
 * lie where they must and, if copied, that they stay as they are. */
void victim_hold_packets(victim_t* v, const struct iovec pkts[], int npkts);

/* To be called after each step with the packets sent so far: a head that stands still makes no room. Up to twice
 * the capacity, because the head as seen before counts as well. */
void victim_check_sent(victim_t* v, uint64_t sent);

/* Ends both scripts. True if the attacker left the file too short: then the face must find out. */
bool victim_end_scripts(victim_t* v);

/* The next length to send: from 0 to just above the MTU. */
size_t victim_pick_length(victim_t* v);

/* 1 to VICTIM_BATCH_MAX packets to send. Their bytes stay as they are. */
unsigned int victim_pick_batch(victim_t* v, struct iovec pkts[VICTIM_BATCH_MAX]);

/* The same bytes, as one piece. */
struct iovec victim_pick_packet(victim_t* v);

void ring_core_run(victim_t* v);
void ring_face_run(victim_t* v);

#endif
