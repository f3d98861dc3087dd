/* SPDX-License-Identifier: MIT */
/* attack.h: what attack.c, the judge, and attack_kinds.c, the attacker, know of each other: the kinds of
 * attack, by number on the board and by name in the report. Private to uvface-attack. */
#ifndef ATTACK_H
#define ATTACK_H

#include <stddef.h>

enum {
  ATTACK_HEADER,   /* every field of the header, nasty values */
  ATTACK_INDEX,    /* every index, relative to what it should be */
  ATTACK_LENGTH,   /* every nasty length */
  ATTACK_RACE,     /* length, bytes and index changed while they are read */
  ATTACK_TRUNCATE, /* to 0, short, long, there and back; with the guard only */
  ATTACK_PUNCH,    /* holes, MADV_REMOVE */
  ATTACK_FLOOD,    /* bytes into the FIFO, packets of no bytes */
  ATTACK_MODES,    /* both FIFOs opened in every mode, read, written, left */
  ATTACK_TWICE,    /* attached twice, both sending */
  ATTACK_COME_GO,  /* attached and left, many times */
  ATTACK_SQUAT,    /* names of faces to come: files, FIFOs, symbolic and hard links, directories */
  ATTACK_OTHERS,   /* regions, FIFOs and process of others */
  ATTACK_GROW,     /* the file of the region made long, and punched in one go */
  ATTACK_LINK,     /* another name for the region, which must not stay for ever */
  ATTACK_LEASE,    /* names of faces to come, by files whose opening waits for us */
  ATTACK_SLEEPERS, /* thousands of sleepers for each wake-up byte */
  ATTACK_KINDS
};

/* Places of the engine: two victims, then the attacker's. */
enum { ATTACK_VICTIMS = 2, ATTACK_PLACE = ATTACK_VICTIMS };

extern const char* const attack_names[ATTACK_KINDS];

/* A file of the engine's user that a squatted name may point to; it must never change. */
void attack_canary_path(char* to, size_t size, const char* prefix);

#endif
