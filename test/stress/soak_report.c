/* SPDX-License-Identifier: MIT */
/* soak_report.c: what the phases of uvface-soak come to: each with villains against the two clean ones beside it, and
 * the report. Decides nothing. */
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>

#include "soak.h"

/* --- Sums -------------------------------------------------------------------------------------- */

double soak_ratio(soak_t* k, double (*a)[MAX_PHASES], int kind) {
  double ratios[MAX_PHASES];
  unsigned int known = 0;
  for (unsigned int i = 0; i < k->n[kind]; i++) {
    unsigned int next = k->before[kind][i];
    if (next < k->n[CLEAN] && a[CLEAN][next - 1] + a[CLEAN][next] > 0)
      ratios[known++] = 2 * a[kind][i] / (a[CLEAN][next - 1] + a[CLEAN][next]);
  }
  return stage_median(ratios, known);
}

double soak_longest_stay_ms(const soak_t* k) {
  uint64_t ns = k->stay_between_ns;
  for (int kind = 0; kind < KINDS; kind++)
    if (k->stay_ns[kind] > ns) ns = k->stay_ns[kind];
  return (double) ns / 1e6;
}

/* --- The report -------------------------------------------------------------------------------- */

static json_t* pair(soak_t* k, double (*a)[MAX_PHASES]) {
  json_t* found = json_pack("{s:f, s:f, s:f}", "clean", stage_median(a[CLEAN], k->n[CLEAN]), "villains",
                            stage_median(a[VILLAINS], k->n[VILLAINS]), "ratio", soak_ratio(k, a, VILLAINS));
  if (k->scenario->has_computing) {
    json_object_set_new(found, "computing", json_real(stage_median(a[COMPUTING], k->n[COMPUTING])));
    json_object_set_new(found, "computing_ratio", json_real(soak_ratio(k, a, COMPUTING)));
  }
  return found;
}

static json_t* stay_json(const soak_t* k) {
  return json_pack("{s:f, s:f, s:f, s:f, s:f}", "clean", (double) k->stay_ns[CLEAN] / 1e6, "villains",
                   (double) k->stay_ns[VILLAINS] / 1e6, "computing", (double) k->stay_ns[COMPUTING] / 1e6, "between",
                   (double) k->stay_between_ns / 1e6, "longest", soak_longest_stay_ms(k));
}

static json_t* size_json(const stage_size_t* s) {
  return json_pack("{s:I, s:I, s:I}", "rss_bytes", (json_int_t) s->rss_bytes, "fds", (json_int_t) s->fds, "regions",
                   (json_int_t) s->regions);
}

void soak_print_json(soak_t* k) {
  const stage_t* s = &k->stage;
  json_t* report = json_pack(
      "{s:s, s:s, s:s, s:f, s:b, s:i, s:i, s:I, s:I, s:I, s:I, s:I, s:i, s:b, s:o, s:o, s:o, s:o, s:o, s:o, s:o}",
      "program", "uvface-soak", "version", STRESS_VERSION, "scenario", k->scenario->name, "secs", k->secs, "apart",
      (int) s->apart, "phases", (int) (k->n[CLEAN] + k->n[VILLAINS] + k->n[COMPUTING]), "healthy", (int) s->nhealthy,
      "started", (json_int_t) s->starts, "killed", (json_int_t) k->murders, "faults", (json_int_t) stage_faults(s),
      "blows", (json_int_t) stage_blows(s), "breaches", (json_int_t) stage_breaches(s), "left_behind", (int) k->left,
      "guard", (int) atomic_load(&s->engine.board->guard), "rate", pair(k, k->rate), "p50_ns", pair(k, k->p50),
      "p99_ns", pair(k, k->p99), "engine_cpu", pair(k, k->cpu), "stay_ms", stay_json(k), "engine_first",
      size_json(&k->first), "engine_last", size_json(&k->last));
  json_object_set_new(report, "failure", s->failed ? json_string(s->why) : json_null());
  json_dumpf(report, stdout, JSON_COMPACT);
  putchar('\n');
  json_decref(report);
}

static void print_row(soak_t* k, const char* label, const char* unit, double scale, double (*a)[MAX_PHASES]) {
  printf("  %-12s %10.3f %10.3f %8.2f", label, stage_median(a[CLEAN], k->n[CLEAN]) / scale,
         stage_median(a[VILLAINS], k->n[VILLAINS]) / scale, soak_ratio(k, a, VILLAINS));
  if (k->scenario->has_computing)
    printf(" %10.3f %8.2f", stage_median(a[COMPUTING], k->n[COMPUTING]) / scale, soak_ratio(k, a, COMPUTING));
  printf("  %s\n", unit);
}

void soak_print_text(soak_t* k) {
  const stage_t* s = &k->stage;
  printf("uvface-soak %s: %s\n", k->scenario->name, k->scenario->text);
  printf("  medians of %2u phases    clean   villains    ratio%s\n", k->n[CLEAN] + k->n[VILLAINS] + k->n[COMPUTING],
         k->scenario->has_computing ? "  computing    ratio" : "");
  if (s->nhealthy > 0) {
    print_row(k, "round trips", "k/s, all healthy apps", 1e3, k->rate);
    print_row(k, "p50", "us", 1e3, k->p50);
    print_row(k, "p99", "us", 1e3, k->p99);
  }
  print_row(k, "engine CPU", "of one", 1, k->cpu);
  printf("  longest stay %10.3f %10.3f", (double) k->stay_ns[CLEAN] / 1e6, (double) k->stay_ns[VILLAINS] / 1e6);
  if (k->scenario->has_computing) printf("          %10.3f         ", (double) k->stay_ns[COMPUTING] / 1e6);
  printf("  ms, and %.3f between phases\n", (double) k->stay_between_ns / 1e6);
  if (stage_blows(s) > 0)
    printf("  villains     struck %" PRIu64 " times; breaches: %" PRIu64 "\n", stage_blows(s), stage_breaches(s));
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
