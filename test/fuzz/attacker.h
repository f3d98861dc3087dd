/* SPDX-License-Identifier: MIT */
/* attacker.h: the peer of a face under test, that does what an input tells it to whatever shared memory the
 * face is about to touch, right before that (lib/words.h). README.md has its instructions.
 *
 * Guarantees to touch only what a peer can: the region and its own ends of the FIFOs; knows what it wrote,
 * and so finds what the face wrote and must not have. One thread: it runs inside the face's own calls, which
 * makes every race a matter of the input and not of luck. */
#ifndef ATTACKER_H
#define ATTACKER_H

#include "../../lib/layout.h"
#include "../../lib/words.h"
#include "fuzz.h"
#include "sandbox.h"

#define ATTACKER_REGION_MAX 8192

typedef struct attacker_s {
  fuzz_input_t* in; /* its instructions, from the front */
  const sandbox_names_t* names;
  bool is_engine;           /* its role; the face has the other */
  bool active;              /* else it does nothing at the points */
  unsigned int idle_points; /* points to let pass */
  size_t flip_offset;       /* of a word that changes at each of the next flip_points */
  uint32_t flip_values[2];
  unsigned int flip_points;
  unsigned char* base;      /* the region; NULL = not there */
  bool pulled;              /* the file is too short for its mapping: the face is to find that out, not us */
  bool was_cut;             /* it ever was: perhaps the face has other memory there since */
  bool file_touched;        /* at all */
  unsigned int head_writes; /* times the own head was written */
  ndnshm__geometry_t geometry;
  int wake_fd;                              /* the end of the face's FIFO that it writes */
  int own_fd;                               /* the end of its own FIFO that it reads */
  uint64_t shadow[ATTACKER_REGION_MAX / 8]; /* what the region must hold where the face must not write */
  uint64_t mask[ATTACKER_REGION_MAX / 8];   /* where that is */
} attacker_t;

/* Executes one instruction, or lets one point pass. */
void attacker_step(attacker_t* a);

/* Executes up to n instructions now. */
void attacker_run(attacker_t* a, unsigned int n);

/* Opens the ends of the FIFOs that are not open. */
void attacker_open_fifos(attacker_t* a);
void attacker_close_fifos(attacker_t* a);

/* From now on the face must not write what belongs to the peer alone. */
void attacker_watch(attacker_t* a);

/* Ends the process if it did since attacker_watch(). */
void attacker_check(attacker_t* a);

#endif
