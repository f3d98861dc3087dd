/* SPDX-License-Identifier: MIT */
/* stage.h: the conductor's side of a run under stress: an engine, honest apps and villains as processes, each
 * with its part; phases in which they are measured; and what is left when they are gone. Guarantees that
 * every process it started ends with it. Decides nothing: whether a run was good is for soak.c, attack.c. */
#ifndef STAGE_H
#define STAGE_H

#include <sched.h>

#include "stress.h"

enum { STAGE_WAIT_MS = 20000 }; /* how long anything may take that must happen, on a busy machine */

typedef struct actor_s {
  pid_t pid; /* 0 = none */
  stress_board_t* board;
} actor_t;

typedef struct stage_place_s {
  const char* part; /* that is to be played there; NULL = none */
  uint32_t window;  /* packets that an app has under way */
  actor_t actor;
  uint32_t generation; /* of the face it plays on, or played on last */
  uint32_t offered;    /* private faces: generation of the one whose descriptors are here; 0 = none */
  int fds[3];
  uint64_t vacant_ns; /* since when */
} stage_place_t;

/* Where the engine stands: what must not grow. */
typedef struct stage_size_s {
  uint64_t rss_bytes, fds, regions; /* regions: mapped */
} stage_size_t;

/* What was measured in a phase. */
typedef struct stage_phase_s {
  double secs;
  double rate;       /* round trips of healthy apps a second, all together */
  double engine_cpu; /* share of one CPU */
  uint64_t p50_ns, p99_ns;
  uint64_t stay_ns; /* the engine's longest away from its wait for events */
} stage_phase_t;

typedef struct stage_s {
  const char* program;
  char prefix[64];
  actor_t engine;
  uint32_t nplaces, nhealthy; /* healthy apps have the first places, for the whole run */
  stage_place_t places[STRESS_PLACES];
  bool is_private;   /* faces have no names: the engine hands them over by ... */
  int offers;        /* ... this socket */
  bool apart;        /* the other places have a CPU of their own */
  cpu_set_t cpus[2]; /* then: of the engine and healthy apps, of the others */
  uint32_t seed;
  uint64_t starts;          /* processes, of all places */
  uint64_t lost_packets;    /* faults of apps that are gone */
  uint64_t blows, breaches; /* of villains that are gone */
  bool failed;
  char why[512];
} stage_t;

/* Starts the engine. open_place, open_gid: as on its board. False after a message. */
bool stage_open(stage_t* s, const char* program, uint32_t nhealthy, uint32_t nplaces, uint32_t open_place,
                gid_t open_gid);
/* The same, on private faces. */
bool stage_open_private(stage_t* s, const char* program, uint32_t nhealthy, uint32_t nplaces);
/* Gives the places behind the healthy ones a CPU of their own from now on, the engine and healthy apps the rest.
 * Changes nothing where there is only one. */
void stage_keep_apart(stage_t* s);
/* Puts another part on a place; who has it now is killed, but a hostile app has its last word. NULL: nobody. */
void stage_cast(stage_t* s, uint32_t place, const char* part);
void stage_kill(stage_t* s, uint32_t place);
/* Replaces who is gone, if the engine has a new face for it; notes what ought not to be. Call often. */
void stage_tend(stage_t* s);
/* Tends until every place that has a part is under way. */
bool stage_settle(stage_t* s);
/* Tends for that long, calls each() in between, and measures. False if the stage has failed. */
bool stage_phase(stage_t* s, double secs, void (*each)(stage_t* s, void* arg), void* arg, stage_phase_t* ret_phase);
stage_size_t stage_size(const stage_t* s);
/* Asks healthy apps to end, then the engine; sums up; kills who does not. */
void stage_close(stage_t* s);
/* Faults of healthy apps and of the engine's checks: packets lost, repeated, reordered, torn. */
uint64_t stage_faults(const stage_t* s);
/* What villains were allowed and ought not to have been; how often all of them have struck. */
uint64_t stage_breaches(const stage_t* s);
uint64_t stage_blows(const stage_t* s);
/* The engine's longest stay since the last time that this was asked, and not yet told by stage_phase(). */
uint64_t stage_take_stay_ns(stage_t* s);
/* Removes what carries the prefix in /dev/shm and /tmp. Returns how many there were. */
unsigned int stage_sweep(const stage_t* s);
/* Notes the first failure. */
__attribute__((format(printf, 2, 3))) void stage_fail(stage_t* s, const char* format, ...);

/* Starts a process with a part; uid, gid: whom to become, or -1. The board is made before and freed after. */
stress_board_t* stage_board_new(int* ret_fd);
/* more, nmore: descriptors that it gets as STRESS_FACE_FD and those behind it; NULL, 0: none. */
pid_t stage_start(const char* program, const char* part, const char* face, int board_fd, const int more[], size_t nmore,
                  uid_t uid, gid_t gid);
/* Waits for a child; kills it when the time is over. Returns its wait status. */
int stage_wait(pid_t pid, unsigned int timeout_ms);
void stage_catch_signals(void);
int stage_signal(void);
double stage_median(const double values[], unsigned int n);

#endif
