/* SPDX-License-Identifier: MIT */
/* soak.c: uvface-soak: one engine, honest apps at full rate, and villains among them. Phases without and with
 * villains alternate; in the soak honest apps stand in for the villains in the former, so that what differs is
 * how they behave and not how much they want. Both have a CPU of their own, so that what reaches the healthy
 * apps has come through the engine and not through the kernel's scheduler; in the crowd all CPUs are shared,
 * and the others are compared with processes that only use them. Guarantees that its verdict needs no absolute
 * speed: each phase with villains is compared with the two beside it, and the median of that is judged; where
 * it is beyond its bound, as many phases more may show that it was the machine. What is measured is in stage.c;
 * what is a failure is decided here. On private faces the villains are compared with nobody, and with ten processes
 * that only compute. */
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

#include "soak.h"
#include "stage.h"

enum { MIN_PHASES = 15, KILL_MS = 1000 };

#define MAX_PHASE_S 10.0
#define WARM_UP_S 0.5
#define RSS_SLACK_BYTES (UINT64_C(1) << 20)

/* A stay as long as the villain's hold is no matter of the clock: it is held. */
#define HELD_MS (STRESS_HOLD_MS / 2.0)

static const scenario_t scenarios[] = {
    {.name = "soak",
     .text = "apps at full rate; one killed and replaced every second, one hostile, one flooding",
     .nhealthy = 8,
     .nvillains = 3,
     .villains = {"mortal", "hostile", "flood"},
     .stand_ins = {"app", "app", "app"},
     .max_p99_ratio = 2,
     .apart = true},
    {.name = "crowd",
     .text = "the same on CPUs shared by all; without: others that only use CPUs",
     .nhealthy = 8,
     .nvillains = 3,
     .villains = {"mortal", "hostile", "flood"},
     .stand_ins = {"app", "burn", "burn"},
     .max_p99_ratio = 2},
    {.name = "private",
     .text = "private faces: apps beside ten that misuse the kernel; without: alone",
     .nhealthy = 8,
     .nvillains = 10,
     .villains = {"hold", "bomb", "punch", "hold", "bomb", "punch", "hold", "punch", "hold", "punch"},
     .is_private = true,
     .apart = true,
     .has_computing = true,
     .max_p50_ratio = 1.2,
     .min_rate_ratio = 0.9,
     .max_stay_ms = 20},
    {.name = "stopped",
     .text = "one app beside one that is stopped with both rings full",
     .nhealthy = 1,
     .nvillains = 1,
     .villains = {"stopped"},
     .max_p99_ratio = 2},
    {.name = "full",
     .text = "an app that is stopped with both rings full, alone",
     .nvillains = 1,
     .villains = {"stopped"},
     .max_engine_cpu = 0.05},
    {.name = "flood",
     .text = "one app beside one that floods; without: alone",
     .nhealthy = 1,
     .nvillains = 1,
     .villains = {"flood"},
     .min_rate_ratio = 0.4,
     .apart = true},
    {.name = "pour",
     .text = "a private face that pours urgent bytes and descriptors beside one app; without: alone",
     .nhealthy = 1,
     .nvillains = 1,
     .villains = {"pour"},
     .is_private = true,
     .apart = true,
     .min_rate_ratio = 0.4,
     .max_stay_ms = 20},
    {.name = "wakes",
     .text = "an app that floods the FIFO with bytes and sends no packet, alone",
     .nvillains = 1,
     .villains = {"wakes"},
     .max_engine_cpu = 0.2},
};
enum { SCENARIOS = sizeof(scenarios) / sizeof(*scenarios) };

/* --- The run ----------------------------------------------------------------------------------- */

static void each_look(stage_t* s, void* arg) {
  soak_t* k = arg;
  uint64_t now_ns = uv_hrtime();
  if (now_ns < k->next_kill_ns) return;
  k->next_kill_ns = now_ns + KILL_MS * UINT64_C(1000000);
  for (uint32_t i = s->nhealthy; i < s->nplaces; i++) {
    const stage_place_t* p = &s->places[i];
    if (p->part == NULL || strcmp(p->part, "mortal") != 0 || p->actor.pid == 0) continue;
    stage_kill(s, i);
    k->murders++;
  }
}

static void show_progress(const soak_t* k, uint64_t start_ns, int kind) {
  static const char* const names[KINDS] = {"clean    ", "villains ", "computing"};
  const stage_t* s = &k->stage;
  if (k->progress)
    fprintf(stderr, "uvface-soak: %.0f of %.0f s, %s, %" PRIu64 " processes started, %" PRIu64 " faults\033[K\r",
            (double) (uv_hrtime() - start_ns) / 1e9, k->secs, names[kind], s->starts, stage_faults(s));
}

static const char* part_of(const soak_t* k, uint32_t villain, int kind) {
  const scenario_t* c = k->scenario;
  if (kind == COMPUTING) return "burn";
  if (kind == CLEAN) return c->stand_ins[villain];
  return k->only == NULL || strcmp(k->only, c->villains[villain]) == 0 ? c->villains[villain] : NULL;
}

static uint64_t longer(uint64_t a, uint64_t b) {
  return a > b ? a : b;
}

static bool run_phase(soak_t* k, int kind, double secs) {
  const scenario_t* c = k->scenario;
  stage_phase_t phase;
  unsigned int at = k->n[kind];
  for (uint32_t v = 0; v < c->nvillains; v++) stage_cast(&k->stage, k->stage.nhealthy + v, part_of(k, v, kind));
  if (!stage_settle(&k->stage)) return false;
  k->next_kill_ns = uv_hrtime() + (uint64_t) (secs / 2 < 0.5 ? secs * 5e8 : 5e8);
  k->stay_between_ns = longer(k->stay_between_ns, stage_take_stay_ns(&k->stage));
  if (!stage_phase(&k->stage, secs, each_look, k, &phase)) return false;
  k->rate[kind][at] = phase.rate;
  k->p50[kind][at] = (double) phase.p50_ns;
  k->p99[kind][at] = (double) phase.p99_ns;
  k->cpu[kind][at] = phase.engine_cpu;
  k->stay_ns[kind] = longer(k->stay_ns[kind], phase.stay_ns);
  k->before[kind][at] = k->n[CLEAN];
  k->n[kind]++;
  return true;
}

/* Every second one is clean, the others by turns. */
static int kind_of(const scenario_t* c, unsigned int phase) {
  if (phase % 2 == 0) return CLEAN;
  return c->has_computing && phase % 4 == 3 ? COMPUTING : VILLAINS;
}

/* Odd, so that it begins and ends without villains, when what the engine holds can be compared; with computing ones as
 * many of them as of the others. */
static unsigned int phases_of(const scenario_t* c, double secs) {
  unsigned int n = secs > MIN_PHASES * MAX_PHASE_S ? (unsigned int) (secs / MAX_PHASE_S) : MIN_PHASES;
  if (n > MAX_PHASES / 2) n = MAX_PHASES / 2;
  return c->has_computing ? n / 4 * 4 + 1 : n | 1u;
}

/* Whether the healthy apps were as well served as the scenario demands. */
static bool well_served(soak_t* k) {
  const scenario_t* c = k->scenario;
  return (c->max_p99_ratio == 0 || soak_ratio(k, k->p99, VILLAINS) <= c->max_p99_ratio) &&
         (c->max_p50_ratio == 0 || soak_ratio(k, k->p50, VILLAINS) <= c->max_p50_ratio) &&
         (c->min_rate_ratio == 0 || soak_ratio(k, k->rate, VILLAINS) >= c->min_rate_ratio);
}

static bool open_scene(soak_t* k) {
  const scenario_t* c = k->scenario;
  uint32_t nplaces = c->nhealthy + c->nvillains;
  return c->is_private ? stage_open_private(&k->stage, "uvface-soak", c->nhealthy, nplaces)
                       : stage_open(&k->stage, "uvface-soak", c->nhealthy, nplaces, STRESS_PLACES, (gid_t) -1);
}

static void run(soak_t* k) {
  const scenario_t* c = k->scenario;
  unsigned int phases = phases_of(c, k->secs);
  stage_phase_t warm_up;
  uint64_t start_ns = uv_hrtime();
  if (!open_scene(k)) return;
  if (c->apart) stage_keep_apart(&k->stage);
  for (uint32_t i = 0; i < c->nhealthy; i++) stage_cast(&k->stage, i, "app");
  for (uint32_t v = 0; v < c->nvillains; v++) stage_cast(&k->stage, c->nhealthy + v, c->stand_ins[v]);
  if (!stage_settle(&k->stage) || !stage_phase(&k->stage, WARM_UP_S, NULL, NULL, &warm_up)) return;
  for (unsigned int i = 0; i < phases || (i < 2 * phases - 1 && (i % 2 == 0 || !well_served(k))); i++) {
    int kind = kind_of(c, i);
    show_progress(k, start_ns, kind);
    if (!run_phase(k, kind, k->secs / phases)) return;
    if (i == 0) k->first = stage_size(&k->stage);
  }
  k->last = stage_size(&k->stage);
}

/* --- The verdict ------------------------------------------------------------------------------- */

static void judge(soak_t* k) {
  const scenario_t* c = k->scenario;
  stage_t* s = &k->stage;
  double p50 = soak_ratio(k, k->p50, VILLAINS), p99 = soak_ratio(k, k->p99, VILLAINS),
         rate = soak_ratio(k, k->rate, VILLAINS);
  double cpu = stage_median(k->cpu[VILLAINS], k->n[VILLAINS]), stay_ms = soak_longest_stay_ms(k);
  if (s->failed) return;
  if (c->max_stay_ms > 0 && stay_ms > HELD_MS) stage_fail(s, "the engine was held for %.0f ms", stay_ms);
  if (k->last.fds != k->first.fds)
    stage_fail(s, "the engine had %" PRIu64 " descriptors and has %" PRIu64, k->first.fds, k->last.fds);
  if (k->last.regions != k->first.regions)
    stage_fail(s, "the engine had %" PRIu64 " regions mapped and has %" PRIu64, k->first.regions, k->last.regions);
  if (k->last.rss_bytes > k->first.rss_bytes + k->first.rss_bytes / 10 + RSS_SLACK_BYTES)
    stage_fail(s, "the engine's memory grew from %" PRIu64 " to %" PRIu64 " bytes", k->first.rss_bytes,
               k->last.rss_bytes);
  if (k->left > 0) stage_fail(s, "%u files were left behind", k->left);
  /* From here on by the clock; stage_fail() keeps the first failure, and so says what happened before what took
   * long. */
  if (c->max_p50_ratio > 0 && p50 > c->max_p50_ratio)
    stage_fail(s, "p50 of the healthy apps is %.2f times what it is without villains (at most %.1f)", p50,
               c->max_p50_ratio);
  if (c->max_p99_ratio > 0 && p99 > c->max_p99_ratio)
    stage_fail(s, "p99 of the healthy apps is %.2f times what it is without villains (at most %.1f)", p99,
               c->max_p99_ratio);
  if (c->min_rate_ratio > 0 && rate < c->min_rate_ratio)
    stage_fail(s, "the healthy apps keep %.2f of their rate (at least %.1f)", rate, c->min_rate_ratio);
  if (c->max_engine_cpu > 0 && cpu > c->max_engine_cpu)
    stage_fail(s, "the engine takes %.1f %% of a CPU (at most %.0f %%)", cpu * 100, c->max_engine_cpu * 100);
  if (c->max_stay_ms > 0 && stay_ms > c->max_stay_ms)
    stage_fail(s, "the engine stays away from its loop for %.1f ms (at most %.0f)", stay_ms, c->max_stay_ms);
}

/* --- The command line -------------------------------------------------------------------------- */

static void usage(FILE* to) {
  fputs(
      "Usage: uvface-soak [SCENARIO] [options]\n"
      "\n"
      "Runs an engine, honest apps and villains as processes of their own, and checks that the\n"
      "villains harm nobody: every packet of the others comes back, once, in order, unchanged.\n\n",
      to);
  for (int i = 0; i < SCENARIOS; i++) fprintf(to, "  %-10s %s\n", scenarios[i].name, scenarios[i].text);
  fputs(
      "  idle       a turn of a loop with 500 idle faces beside one without (no other process)\n"
      "\n"
      "  --secs S   run about this long, or up to twice as long where a comparison is in doubt (600)\n"
      "  --only P   of the villains those that play this part, to tell which of them does harm\n"
      "  --json     print one JSON object\n"
      "  --version, --help\n"
      "\n"
      "Exit: 0 well; 1 failed, or a check did; 2 usage.\n",
      to);
}

static bool has_villain(const scenario_t* c, const char* part) {
  for (uint32_t i = 0; i < c->nvillains; i++)
    if (strcmp(c->villains[i], part) == 0) return true;
  return false;
}

static const scenario_t* find_scenario(const char* name) {
  for (int i = 0; i < SCENARIOS; i++)
    if (strcmp(scenarios[i].name, name) == 0) return &scenarios[i];
  return NULL;
}

/* Returns STRESS_OK with k->scenario == NULL for "idle". */
static int parse(soak_t* k, int argc, char** argv) {
  static const struct option options[] = {
      {"secs", required_argument, NULL, 's'}, {"only", required_argument, NULL, 'o'}, {"json", no_argument, NULL, 'j'},
      {"version", no_argument, NULL, 'V'},    {"help", no_argument, NULL, 'h'},       {NULL, 0, NULL, 0}};
  int option;
  char* end = NULL;
  k->secs = 600;
  while ((option = getopt_long(argc, argv, "h", options, NULL)) != -1) {
    if (option == 's') k->secs = strtod(optarg, &end);
    if (option == 'o') k->only = optarg;
    if (option == 'j') k->json = true;
    if (option == 'h') usage(stdout);
    if (option == 'V') puts("uvface-soak " STRESS_VERSION);
    if (option == 'h' || option == 'V') exit(STRESS_OK);
    if (option == '?' || (option == 's' && (*end != '\0' || !(k->secs > 0) || k->secs > 1e6))) {
      fputs("uvface-soak: see uvface-soak --help\n", stderr);
      return STRESS_USAGE;
    }
  }
  const char* name = optind < argc ? argv[optind++] : "soak";
  k->scenario = find_scenario(name);
  if (optind < argc || (k->scenario == NULL && strcmp(name, "idle") != 0)) {
    fprintf(stderr, "uvface-soak: no such scenario: %s; see uvface-soak --help\n", optind < argc ? argv[optind] : name);
    return STRESS_USAGE;
  }
  if (k->only != NULL && (k->scenario == NULL || !has_villain(k->scenario, k->only))) {
    fprintf(stderr, "uvface-soak: no villain of %s plays %s; see uvface-soak --help\n", name, k->only);
    return STRESS_USAGE;
  }
  return STRESS_OK;
}

int main(int argc, char** argv) {
  static soak_t soak;
  int exit_code = stress_play(argc, argv, NULL);
  if (exit_code >= 0) return exit_code;
  exit_code = parse(&soak, argc, argv);
  if (exit_code != STRESS_OK) return exit_code;
  if (soak.scenario == NULL) return soak_idle(soak.secs, soak.json);
  soak.progress = isatty(STDERR_FILENO) != 0;
  stage_catch_signals();
  run(&soak);
  stage_close(&soak.stage);
  soak.left = stage_sweep(&soak.stage);
  judge(&soak);
  if (soak.progress) fputs("\033[K", stderr);
  if (soak.json)
    soak_print_json(&soak);
  else
    soak_print_text(&soak);
  return fflush(stdout) == 0 && !soak.stage.failed ? STRESS_OK : STRESS_FAILED;
}
