/* SPDX-License-Identifier: MIT */
/* soak.c: uvface-soak: one engine, honest apps at full rate, and villains among them. Phases without and with
 * villains alternate; in the soak honest apps stand in for the villains in the former, so that what differs is
 * how they behave and not how much they want. Both have a CPU of their own, so that what reaches the healthy
 * apps has come through the engine and not through the kernel's scheduler; in the crowd all CPUs are shared,
 * and the others are compared with processes that only use them. Guarantees that its verdict needs no absolute
 * speed: each phase with villains is compared with the two beside it, and the median of that is judged; where
 * it is beyond its bound, as many phases more may show that it was the machine. What is measured is in stage.c;
 * what is a failure is decided here. */
#include <getopt.h>
#include <inttypes.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

#include "soak.h"
#include "stage.h"

enum { MAX_VILLAINS = 3, MAX_PHASES = 255, MIN_PHASES = 15, KILL_MS = 1000 };

#define MAX_PHASE_S 10.0
#define WARM_UP_S 0.5
#define RSS_SLACK_BYTES (UINT64_C(1) << 20)

typedef struct scenario_s {
  const char* name;
  const char* text;
  uint32_t nhealthy;
  uint32_t nvillains;
  const char* villains[MAX_VILLAINS];
  const char* stand_ins[MAX_VILLAINS]; /* NULL: nobody */
  double max_p99_ratio;                /* of healthy apps, with villains to without; 0 = not judged */
  double min_rate_ratio;
  double max_engine_cpu; /* share of one CPU, with villains */
  bool apart;            /* villains and stand-ins do not share the CPUs of the others */
} scenario_t;

static const scenario_t scenarios[] = {
    {"soak",
     "apps at full rate; one killed and replaced every second, one hostile, one flooding",
     8,
     3,
     {"mortal", "hostile", "flood"},
     {"app", "app", "app"},
     2,
     0,
     0,
     true},
    {"crowd",
     "the same on CPUs shared by all; without: others that only use CPUs",
     8,
     3,
     {"mortal", "hostile", "flood"},
     {"app", "burn", "burn"},
     2,
     0,
     0,
     false},
    {"stopped", "one app beside one that is stopped with both rings full", 1, 1, {"stopped"}, {NULL}, 2, 0, 0, false},
    {"full", "an app that is stopped with both rings full, alone", 0, 1, {"stopped"}, {NULL}, 0, 0, 0.05, false},
    {"flood", "one app beside one that floods; without: alone", 1, 1, {"flood"}, {NULL}, 0, 0.4, 0, true},
    {"wakes",
     "an app that floods the FIFO with bytes and sends no packet, alone",
     0,
     1,
     {"wakes"},
     {NULL},
     0,
     0,
     0.2,
     false},
};
enum { SCENARIOS = sizeof(scenarios) / sizeof(*scenarios) };

typedef struct soak_s {
  const scenario_t* scenario;
  double secs;
  bool json, progress;
  stage_t stage;
  uint64_t next_kill_ns;
  uint32_t murders;
  unsigned int n[2]; /* phases without and with villains */
  double rate[2][MAX_PHASES], p50[2][MAX_PHASES], p99[2][MAX_PHASES], cpu[2][MAX_PHASES];
  stage_size_t first, last;
  unsigned int left;
} soak_t;

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

static void show_progress(const soak_t* k, uint64_t start_ns, bool villains) {
  const stage_t* s = &k->stage;
  if (k->progress)
    fprintf(stderr, "uvface-soak: %.0f of %.0f s, %s, %" PRIu64 " processes started, %" PRIu64 " faults\033[K\r",
            (double) (uv_hrtime() - start_ns) / 1e9, k->secs, villains ? "villains" : "clean   ", s->starts,
            stage_faults(s));
}

static bool run_phase(soak_t* k, bool villains, double secs) {
  const scenario_t* c = k->scenario;
  stage_phase_t phase;
  unsigned int at = k->n[villains];
  for (uint32_t v = 0; v < c->nvillains; v++)
    stage_cast(&k->stage, k->stage.nhealthy + v, villains ? c->villains[v] : c->stand_ins[v]);
  if (!stage_settle(&k->stage)) return false;
  k->next_kill_ns = uv_hrtime() + (uint64_t) (secs / 2 < 0.5 ? secs * 5e8 : 5e8);
  if (!stage_phase(&k->stage, secs, each_look, k, &phase)) return false;
  k->rate[villains][at] = phase.rate;
  k->p50[villains][at] = (double) phase.p50_ns;
  k->p99[villains][at] = (double) phase.p99_ns;
  k->cpu[villains][at] = phase.engine_cpu;
  k->n[villains]++;
  return true;
}

/* Odd, so that it begins and ends without villains, when what the engine holds can be compared. */
static unsigned int phases_of(double secs) {
  unsigned int n = secs > MIN_PHASES * MAX_PHASE_S ? (unsigned int) (secs / MAX_PHASE_S) : MIN_PHASES;
  return (n < MAX_PHASES / 2 ? n : MAX_PHASES / 2) | 1u;
}

/* The median of phases with villains, each over the mean of its two neighbours without. */
static double ratio(double (*a)[MAX_PHASES], const unsigned int n[2]) {
  double ratios[MAX_PHASES];
  unsigned int known = 0;
  for (unsigned int i = 0; i < n[1] && i + 1 < n[0]; i++)
    if (a[0][i] + a[0][i + 1] > 0) ratios[known++] = 2 * a[1][i] / (a[0][i] + a[0][i + 1]);
  return stage_median(ratios, known);
}

/* Whether the healthy apps were as well served as the scenario demands. */
static bool well_served(soak_t* k) {
  const scenario_t* c = k->scenario;
  return (c->max_p99_ratio == 0 || ratio(k->p99, k->n) <= c->max_p99_ratio) &&
         (c->min_rate_ratio == 0 || ratio(k->rate, k->n) >= c->min_rate_ratio);
}

static void run(soak_t* k) {
  const scenario_t* c = k->scenario;
  unsigned int phases = phases_of(k->secs);
  stage_phase_t warm_up;
  uint64_t start_ns = uv_hrtime();
  if (!stage_open(&k->stage, "uvface-soak", c->nhealthy, c->nhealthy + c->nvillains, STRESS_PLACES, (gid_t) -1)) return;
  if (c->apart) stage_keep_apart(&k->stage);
  for (uint32_t i = 0; i < c->nhealthy; i++) stage_cast(&k->stage, i, "app");
  for (uint32_t v = 0; v < c->nvillains; v++) stage_cast(&k->stage, c->nhealthy + v, c->stand_ins[v]);
  if (!stage_settle(&k->stage) || !stage_phase(&k->stage, WARM_UP_S, NULL, NULL, &warm_up)) return;
  for (unsigned int i = 0; i < phases || (i < 2 * phases - 1 && (i % 2 == 0 || !well_served(k))); i++) {
    show_progress(k, start_ns, i % 2 != 0);
    if (!run_phase(k, i % 2 != 0, k->secs / phases)) return;
    if (i == 0) k->first = stage_size(&k->stage);
  }
  k->last = stage_size(&k->stage);
}

/* --- The verdict ------------------------------------------------------------------------------- */

static void judge(soak_t* k) {
  const scenario_t* c = k->scenario;
  stage_t* s = &k->stage;
  double p99 = ratio(k->p99, k->n), rate = ratio(k->rate, k->n), cpu = stage_median(k->cpu[1], k->n[1]);
  if (s->failed) return;
  if (c->max_p99_ratio > 0 && p99 > c->max_p99_ratio)
    stage_fail(s, "p99 of the healthy apps is %.2f times what it is without villains (at most %.1f)", p99,
               c->max_p99_ratio);
  if (c->min_rate_ratio > 0 && rate < c->min_rate_ratio)
    stage_fail(s, "the healthy apps keep %.2f of their rate (at least %.1f)", rate, c->min_rate_ratio);
  if (c->max_engine_cpu > 0 && cpu > c->max_engine_cpu)
    stage_fail(s, "the engine takes %.1f %% of a CPU (at most %.0f %%)", cpu * 100, c->max_engine_cpu * 100);
  if (k->last.fds != k->first.fds)
    stage_fail(s, "the engine had %" PRIu64 " descriptors and has %" PRIu64, k->first.fds, k->last.fds);
  if (k->last.regions != k->first.regions)
    stage_fail(s, "the engine had %" PRIu64 " regions mapped and has %" PRIu64, k->first.regions, k->last.regions);
  if (k->last.rss_bytes > k->first.rss_bytes + k->first.rss_bytes / 10 + RSS_SLACK_BYTES)
    stage_fail(s, "the engine's memory grew from %" PRIu64 " to %" PRIu64 " bytes", k->first.rss_bytes,
               k->last.rss_bytes);
  if (k->left > 0) stage_fail(s, "%u files were left behind", k->left);
}

/* --- The report -------------------------------------------------------------------------------- */

static json_t* pair(double (*a)[MAX_PHASES], const unsigned int n[2]) {
  return json_pack("{s:f, s:f, s:f}", "clean", stage_median(a[0], n[0]), "villains", stage_median(a[1], n[1]), "ratio",
                   ratio(a, n));
}

static json_t* size_json(const stage_size_t* s) {
  return json_pack("{s:I, s:I, s:I}", "rss_bytes", (json_int_t) s->rss_bytes, "fds", (json_int_t) s->fds, "regions",
                   (json_int_t) s->regions);
}

static void print_json(soak_t* k) {
  const stage_t* s = &k->stage;
  json_t* report =
      json_pack("{s:s, s:s, s:s, s:f, s:b, s:i, s:i, s:I, s:I, s:I, s:i, s:b, s:o, s:o, s:o, s:o, s:o, s:o}", "program",
                "uvface-soak", "version", STRESS_VERSION, "scenario", k->scenario->name, "secs", k->secs, "apart",
                (int) s->apart, "phases", (int) (k->n[0] + k->n[1]), "healthy", (int) s->nhealthy, "started",
                (json_int_t) s->starts, "killed", (json_int_t) k->murders, "faults", (json_int_t) stage_faults(s),
                "left_behind", (int) k->left, "guard", (int) atomic_load(&s->engine.board->guard), "rate",
                pair(k->rate, k->n), "p50_ns", pair(k->p50, k->n), "p99_ns", pair(k->p99, k->n), "engine_cpu",
                pair(k->cpu, k->n), "engine_first", size_json(&k->first), "engine_last", size_json(&k->last));
  json_object_set_new(report, "failure", s->failed ? json_string(s->why) : json_null());
  json_dumpf(report, stdout, JSON_COMPACT);
  putchar('\n');
  json_decref(report);
}

static void print_row(const char* label, const char* unit, double scale, double (*a)[MAX_PHASES],
                      const unsigned int n[2]) {
  printf("  %-12s %10.3f %10.3f %8.2f  %s\n", label, stage_median(a[0], n[0]) / scale, stage_median(a[1], n[1]) / scale,
         ratio(a, n), unit);
}

static void print_text(soak_t* k) {
  const stage_t* s = &k->stage;
  printf("uvface-soak %s: %s\n", k->scenario->name, k->scenario->text);
  printf("  medians of %2u phases    clean   villains    ratio\n", k->n[0] + k->n[1]);
  if (s->nhealthy > 0) {
    print_row("round trips", "k/s, all healthy apps", 1e3, k->rate, k->n);
    print_row("p50", "us", 1e3, k->p50, k->n);
    print_row("p99", "us", 1e3, k->p99, k->n);
  }
  print_row("engine CPU", "of one", 1, k->cpu, k->n);
  printf("  engine       RSS %" PRIu64 " -> %" PRIu64 " KiB, descriptors %" PRIu64 " -> %" PRIu64
         ", regions mapped %" PRIu64 " -> %" PRIu64 "\n",
         k->first.rss_bytes / 1024, k->last.rss_bytes / 1024, k->first.fds, k->last.fds, k->first.regions,
         k->last.regions);
  if (k->scenario->apart)
    printf("  CPUs         %s\n", s->apart ? "the villains have one of their own" : "only one, for all");
  printf("  processes    %" PRIu64 " started, %u killed at work; packets lost or wrong: %" PRIu64 "; files left: %u\n",
         s->starts, k->murders, stage_faults(s), k->left);
  printf("  %s%s\n", s->failed ? "FAILED: " : "good", s->failed ? s->why : "");
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
      "  --json     print one JSON object\n"
      "  --version, --help\n"
      "\n"
      "Exit: 0 well; 1 failed, or a check did; 2 usage.\n",
      to);
}

static const scenario_t* find_scenario(const char* name) {
  for (int i = 0; i < SCENARIOS; i++)
    if (strcmp(scenarios[i].name, name) == 0) return &scenarios[i];
  return NULL;
}

/* Returns STRESS_OK with k->scenario == NULL for "idle". */
static int parse(soak_t* k, int argc, char** argv) {
  static const struct option options[] = {{"secs", required_argument, NULL, 's'},
                                          {"json", no_argument, NULL, 'j'},
                                          {"version", no_argument, NULL, 'V'},
                                          {"help", no_argument, NULL, 'h'},
                                          {NULL, 0, NULL, 0}};
  int option;
  char* end = NULL;
  k->secs = 600;
  while ((option = getopt_long(argc, argv, "h", options, NULL)) != -1) {
    if (option == 's') k->secs = strtod(optarg, &end);
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
    print_json(&soak);
  else
    print_text(&soak);
  return fflush(stdout) == 0 && !soak.stage.failed ? STRESS_OK : STRESS_FAILED;
}
