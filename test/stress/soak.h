/* SPDX-License-Identifier: MIT */
/* soak.h: what the files of uvface-soak share: soak.c runs and judges, soak_report.c sums up and prints, soak_idle.c is
 * the one scenario that needs no other process. Private to it. */
#ifndef SOAK_H
#define SOAK_H

#include <stdbool.h>

#include "stage.h"

enum { MAX_VILLAINS = 10, MAX_PHASES = 255 };

/* Kinds of phases. The last: in the places of the villains processes that only compute. */
enum { CLEAN, VILLAINS, COMPUTING, KINDS };

typedef struct scenario_s {
  const char* name;
  const char* text;
  uint32_t nhealthy;
  uint32_t nvillains;
  const char* villains[MAX_VILLAINS];
  const char* stand_ins[MAX_VILLAINS]; /* NULL: nobody */
  bool is_private;                     /* faces without names */
  bool apart;                          /* villains and stand-ins do not share the CPUs of the others */
  bool has_computing;                  /* some phases have processes that only compute in the villains' places */
  double max_p50_ratio, max_p99_ratio; /* of healthy apps, with villains to without; 0 = not judged */
  double min_rate_ratio;
  double max_engine_cpu; /* share of one CPU, with villains */
  double max_stay_ms;    /* the engine's longest away from its wait for events */
} scenario_t;

typedef struct soak_s {
  const scenario_t* scenario;
  double secs;
  const char* only; /* villains of this part alone; NULL: all */
  bool json, progress;
  stage_t stage;
  uint64_t next_kill_ns;
  uint32_t murders;
  unsigned int n[KINDS];                  /* phases */
  unsigned int before[KINDS][MAX_PHASES]; /* clean phases before each of the others */
  double rate[KINDS][MAX_PHASES], p50[KINDS][MAX_PHASES], p99[KINDS][MAX_PHASES], cpu[KINDS][MAX_PHASES];
  uint64_t stay_ns[KINDS], stay_between_ns; /* the longest */
  stage_size_t first, last;
  unsigned int left;
} soak_t;

/* --- soak_report.c ------------------------------------------------------------------------------ */

/* The median of phases of that kind, each over the mean of its two clean neighbours. */
double soak_ratio(soak_t* k, double (*a)[MAX_PHASES], int kind);
double soak_longest_stay_ms(const soak_t* k);
void soak_print_json(soak_t* k);
void soak_print_text(soak_t* k);

/* --- soak_idle.c --------------------------------------------------------------------------------- */

/* Measures the turn of a loop with and without 500 idle faces, prints, and returns the exit code. */
int soak_idle(double secs, bool json);

#endif
