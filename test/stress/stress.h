/* SPDX-License-Identifier: MIT */
/* stress.h: what uvface-soak and uvface-attack share: processes that each play a part (stress_engine.c,
 * stress_app.c, stress_villains.c), the board through which each of them reports, and numbered packets with a
 * checksum (stress.c). The stage, which starts, kills, replaces and measures the processes, is in stage.h.
 * Private to the two. */
#ifndef STRESS_H
#define STRESS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Exit codes of the two programs. */
enum { STRESS_OK = 0, STRESS_FAILED = 1, STRESS_USAGE = 2 };

enum {
  STRESS_PLACES = 20,       /* faces of the engine at a time, at most */
  STRESS_KINDS = 16,        /* kinds of attacks, at most */
  STRESS_BUCKETS = 36 * 32, /* of round trips: 32 to each power of two, up to 2^40 ns */
  STRESS_CAPACITY = 64,     /* slots per ring, fewer than some apps have packets under way */
  STRESS_SLOT_BYTES = 1400,
  STRESS_PACKET_BYTES = 24, /* the shortest numbered packet */
  STRESS_FACE_FD = 4, /* private faces: the first of an app's three descriptors; engine: the socket they leave by */
  STRESS_SLEEPERS_FD = 100,
  STRESS_HOLD_MS = 1000 /* as long a villain holds a lock at a time */
};

typedef _Atomic uint64_t stress_count_t;
typedef _Atomic uint32_t stress_word_t;

/* What the engine says of one of its places. A face that ended is followed by the next generation. */
typedef struct stress_place_s {
  stress_word_t generation;        /* of the face that is open; 0 = none */
  stress_word_t honest;            /* set by the stage: packets of the next face are to be checked */
  stress_count_t opened;           /* faces */
  stress_count_t refused;          /* names that could not be taken: squatted */
  stress_count_t eof, eproto, eio; /* how faces ended */
  stress_count_t packets;
  stress_count_t faults; /* packets of honest apps that were lost, repeated, reordered or torn */
} stress_place_t;

/* Shared by one process with the stage alone. Counters only grow, and have one writer. */
typedef struct stress_board_s {
  /* written by the stage, before the process starts where not said otherwise */
  char prefix[64]; /* of names; that of a face is PREFIX-PLACE-GENERATION */
  uint32_t nplaces;
  uint32_t open_place; /* engine: the place that a group may use, else STRESS_PLACES */
  gid_t open_gid;
  uint32_t place, window, seed;
  uint32_t may_truncate; /* villains: the engine has the guard */
  uint32_t is_stranger;  /* attacker: runs as another user than the engine */
  uint32_t is_private;   /* faces have no names: see stress_offer_t */
  pid_t engine_pid;
  stress_word_t stop;  /* at any time */
  stress_word_t pause; /* at any time */
  /* written by the process */
  stress_word_t ready; /* attached, under way */
  stress_word_t guard; /* engine: UVFACE_SIGBUS_GUARD is on */
  stress_count_t sent, received, faults, errors;
  stress_count_t longest_stay_ns; /* engine: between two waits for events; the stage may set it to 0 */
  stress_count_t struck;          /* villains: blows begun */
  char message[256];              /* of the first fault or error */
  stress_count_t tried[STRESS_KINDS], refused[STRESS_KINDS], breaches[STRESS_KINDS];
  stress_place_t places[STRESS_PLACES];
  stress_count_t round_trips[STRESS_BUCKETS];
} stress_board_t;

/* What comes with the three descriptors of a private face, from the engine to the stage. */
typedef struct stress_offer_s {
  uint32_t place, generation;
} stress_offer_t;

/* --- stress.c ---------------------------------------------------------------------------------- */

/* Writes packet number seq of a face into at; salt tells faces apart. Returns its length. */
size_t stress_write_packet(void* at, uint64_t seq, uint64_t salt, uint64_t now_ns);
/* NULL if p is packet number seq of that face, else what is wrong. ret_sent_ns: may be NULL. */
const char* stress_check_packet(const void* p, size_t len, uint64_t seq, uint64_t salt, uint64_t* ret_sent_ns);
/* The number that tells a face from all others. */
uint64_t stress_salt(uint32_t place, uint32_t generation);
/* PREFIX-PLACE-GENERATION. */
void stress_face_name(char* to, size_t size, const char* prefix, uint32_t place, uint32_t generation);

/* One more, by the only writer. */
void stress_add(stress_count_t* count, uint64_t n);
uint64_t stress_get(const stress_count_t* count);
void stress_note_round_trip(stress_board_t* board, uint64_t ns);
/* Nanoseconds below which the fraction of the round trips lie; 0 if there are none. */
uint64_t stress_percentile(const uint64_t round_trips[STRESS_BUCKETS], double fraction);
/* The first message stays. */
__attribute__((format(printf, 2, 3))) void stress_say(stress_board_t* board, const char* format, ...);
void stress_nap(unsigned int us);
/* The next of a row of numbers that looks random. */
uint32_t stress_random(uint32_t* state);

/* --- stress_stay.c ----------------------------------------------------------------------------- */

/* From now on this thread's loop notes on the board how long it stays away from its wait for events. */
void stress_stay_watch(stress_board_t* board);

/* --- stress_villains.c: what villains share ------------------------------------------------------ */

typedef struct raw_face_s raw_face_t;

bool stress_stopped_by_stage(const stress_board_t* board);
/* Takes the face: the one of that name, or the private one that was inherited. False after a message. */
bool stress_take_face(stress_board_t* board, raw_face_t* f, const char* name);
/* Takes all answers without looking at them. */
void stress_swallow(raw_face_t* f);
/* stress_abuse.c: as many sleepers on what wakes the app as there may be descriptors; all are STRESS_SLEEPERS_FD or
 * higher. False if there is none. */
bool stress_gather_sleepers(const raw_face_t* f);

/* --- the parts: each is the whole program of a process ------------------------------------------ */

int stress_engine(stress_board_t* board);                    /* stress_engine.c */
int stress_app(stress_board_t* board, const char* name);     /* stress_app.c: echo round trips */
int stress_hostile(stress_board_t* board, const char* name); /* stress_villains.c: all of them */
int stress_flood(stress_board_t* board, const char* name);   /* packets and FIFO bytes without end */
int stress_wakes(stress_board_t* board, const char* name);   /* FIFO bytes alone */
int stress_stopped(stress_board_t* board, const char* name); /* fills both rings, then SIGSTOP */
int stress_burn(stress_board_t* board, const char* name);    /* attaches, and uses its CPU for nothing */
int stress_hold(stress_board_t* board, const char* name);    /* stress_abuse.c: holds locks of the kernel's */
int stress_bomb(stress_board_t* board, const char* name);    /* makes each wake-up wake thousands */
int stress_punch(stress_board_t* board, const char* name);   /* holes, and sizes that must be refused */
int stress_pour(stress_board_t* board, const char* name);    /* urgent bytes and descriptors */
int stress_attacker(stress_board_t* board);                  /* attack_kinds.c */
/* The part of a process that stage.c has started, or -1 if argv is a user's. */
int stress_play(int argc, char** argv, int (*attacker)(stress_board_t*));

#endif
