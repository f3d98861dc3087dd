/* SPDX-License-Identifier: MIT */
/* perf_report.c: what was measured, as JSON and as text made from that JSON, the same for all measuring
 * programs. Percentiles come from every sample, not from a histogram. A rate needs a window: with all
 * packets in the first callback there is none, and the rate is null. Prints; decides nothing. */
#include "perf.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Two counting passes of 16 bits each: a comparison sort of ten million samples would take seconds. */
static bool sort_samples(uint32_t* v, size_t n) {
  uint32_t* other = malloc(n * sizeof(*other));
  size_t* start = calloc(65537, sizeof(*start));
  bool ok = other != NULL && start != NULL;
  for (unsigned int shift = 0; ok && shift < 32; shift += 16) {
    memset(start, 0, 65537 * sizeof(*start));
    for (size_t i = 0; i < n; i++) start[(v[i] >> shift & 0xffff) + 1]++;
    for (size_t i = 1; i < 65537; i++) start[i] += start[i - 1];
    for (size_t i = 0; i < n; i++) other[start[v[i] >> shift & 0xffff]++] = v[i];
    memcpy(v, other, n * sizeof(*v));
  }
  free(other);
  free(start);
  return ok;
}

static json_int_t percentile(const uint32_t* sorted, size_t n, double fraction) {
  size_t i = (size_t) ((double) n * fraction);
  return sorted[i < n ? i : n - 1];
}

static json_t* rtt_json(perf_result_t* r) {
  const uint32_t* v = r->samples_ns;
  size_t n = r->nsamples;
  double sum = 0;
  if (n == 0 || !sort_samples(r->samples_ns, n)) return json_null();
  for (size_t i = 0; i < n; i++) sum += v[i];
  return json_pack("{s:I, s:f, s:I, s:I, s:I, s:I, s:I}", "samples", (json_int_t) n, "mean", sum / (double) n, "p50",
                   percentile(v, n, 0.5), "p90", percentile(v, n, 0.9), "p99", percentile(v, n, 0.99), "p99.9",
                   percentile(v, n, 0.999), "max", percentile(v, n, 1));
}

static json_t* ratio(double a, double b) {
  return b > 0 ? json_real(a / b) : json_null();
}

static json_t* cpu_json(const perf_result_t* r) {
  double secs = (double) r->window_ns / 1e9;
  double used = (double) (r->user_us + r->system_us) / 1e6;
  return json_pack("{s:f, s:f, s:f, s:o, s:I, s:I}", "user_s", (double) r->user_us / 1e6, "system_s",
                   (double) r->system_us / 1e6, "pacing_s", (double) r->pacing_ns / 1e9, "share", ratio(used, secs),
                   "voluntary_switches", (json_int_t) r->voluntary_switches, "involuntary_switches",
                   (json_int_t) r->involuntary_switches);
}

static json_t* verify_json(const perf_verify_t* v) {
  return json_pack("{s:I, s:I, s:I, s:I, s:I}", "checked", (json_int_t) v->checked, "missing", (json_int_t) v->missing,
                   "repeated", (json_int_t) v->repeated, "torn", (json_int_t) v->torn, "bad_length",
                   (json_int_t) v->bad_length);
}

json_t* report_side(const perf_options_t* o, perf_result_t* r, json_t* link_stats) {
  double secs = (double) r->window_ns / 1e9;
  json_t* side = json_pack("{s:s, s:s, s:s, s:s, s:s, s:I, s:I, s:f, s:o, s:o, s:o, s:i, s:i, s:I, s:I, s:i, s:o}",
                           "program", o->program, "mode", perf_mode_name(o->mode), "side", perf_side_name(o->side),
                           "role", perf_role_name(o->role), "name", o->name, "packets", (json_int_t) r->packets,
                           "bytes", (json_int_t) r->bytes, "seconds", secs, "packets_per_s",
                           ratio((double) r->packets, secs), "gbit_per_s", ratio((double) r->bytes * 8e-9, secs), "cpu",
                           cpu_json(r), "fds", r->fds, "threads", r->threads, "rss_bytes", (json_int_t) r->rss_bytes,
                           "stalls", (json_int_t) r->stalls, "exit", r->exit_code, "link", link_stats);
  if (r->samples_ns != NULL) json_object_set_new(side, "rtt_ns", rtt_json(r));
  if (r->verify.checked != 0) json_object_set_new(side, "verify", verify_json(&r->verify));
  return side;
}

/* The sink sees the one-way rate, the sipping end when the other went on; the client, all that has a reply. */
json_t* report_run(const perf_options_t* o, json_t* client, json_t* server, int exit_code) {
  const json_t* receiver = o->mode == MODE_THROUGHPUT || o->mode == MODE_FULL ? server : client;
  json_t* run =
      json_pack("{s:s, s:s, s:s, s:s, s:I, s:I, s:i, s:i, s:I, s:b, s:b, s:b, s:b, s:[i,i], s:i}", "program",
                o->program, "version", PERF_VERSION, "mode", perf_mode_name(o->mode), "server_role",
                perf_role_name(o->role == ROLE_ENGINE ? ROLE_APP : ROLE_ENGINE), "size", (json_int_t) o->size_bytes,
                "reply", (json_int_t) o->reply_bytes, "batch", (int) o->batch, "window", (int) o->window, "interval_us",
                (json_int_t) o->interval_us, "borrow", (int) o->borrow, "coalesce", (int) o->coalesce, "literal",
                (int) o->literal, "verify", (int) o->verify, "cpu", o->cpu[0], o->cpu[1], "exit", exit_code);
  static const char* const headline[] = {"packets", "seconds", "packets_per_s", "gbit_per_s", "rtt_ns"};
  for (size_t i = 0; i < sizeof(headline) / sizeof(*headline); i++)
    if (json_object_get(receiver, headline[i]) != NULL)
      json_object_set(run, headline[i], json_object_get(receiver, headline[i]));
  json_object_set_new(run, "client", client);
  json_object_set_new(run, "server", server != NULL ? server : json_null());
  return run;
}

static double number(const json_t* object, const char* key) {
  return json_number_value(json_object_get(object, key));
}

static const char* string(const json_t* object, const char* key) {
  const char* text = json_string_value(json_object_get(object, key));
  return text != NULL ? text : "?";
}

static void print_rate(const json_t* object) {
  if (json_is_real(json_object_get(object, "packets_per_s")))
    printf("  rate        %.4f M/s, %.3f Gbit/s: %.0f packets in %.3f s\n", number(object, "packets_per_s") / 1e6,
           number(object, "gbit_per_s"), number(object, "packets"), number(object, "seconds"));
  else
    printf("  rate        none: everything arrived at once\n");
}

static void print_rtt(const json_t* rtt) {
  static const char* const keys[] = {"p50", "p90", "p99", "p99.9", "max", "mean"};
  if (!json_is_object(rtt)) return;
  printf("  round trip ");
  for (size_t i = 0; i < sizeof(keys) / sizeof(*keys); i++) printf(" %s %.0f", keys[i], number(rtt, keys[i]));
  printf(" ns, %.0f samples\n", number(rtt, "samples"));
}

static void print_counters(const char* label, const json_t* object) {
  const char* key;
  json_t* value;
  if (json_object_size(object) == 0) return;
  printf("  %-11s", label);
  json_object_foreach((json_t*) (uintptr_t) object, key, value) {
    printf(" %s %lld", key, (long long) json_integer_value(value));
  }
  putchar('\n');
}

static void print_side(const json_t* side) {
  const json_t* cpu = json_object_get(side, "cpu");
  printf("  %-11s %s, CPU %.1f %% (user %.3f s, system %.3f s, switches %.0f + %.0f)\n", string(side, "side"),
         string(side, "role"), number(cpu, "share") * 100, number(cpu, "user_s"), number(cpu, "system_s"),
         number(cpu, "voluntary_switches"), number(cpu, "involuntary_switches"));
  printf("  %-11s %.0f descriptors, %.0f threads, %.0f KiB more memory\n", "", number(side, "fds"),
         number(side, "threads"), number(side, "rss_bytes") / 1024);
  print_counters("", json_object_get(side, "link"));
  if (json_object_get(side, "verify") != NULL) print_counters("  verify", json_object_get(side, "verify"));
  if (number(side, "stalls") > 0) printf("  STALLS      %.0f\n", number(side, "stalls"));
}

void report_print(const perf_options_t* o, const json_t* report) {
  if (o->json) {
    json_dumpf(report, stdout, JSON_COMPACT);
    putchar('\n');
    return;
  }
  const json_t* client = json_object_get(report, "client");
  printf("%s %s: %zu bytes%s", o->program, perf_mode_name(o->mode), o->size_bytes, o->borrow ? ", borrowed" : "");
  if (o->mode == MODE_FETCH) printf(", replies of %zu, window %u", o->reply_bytes, o->window);
  if (o->batch > 1) printf(", batches of %u", o->batch);
  putchar('\n');
  print_rate(report);
  print_rtt(json_object_get(report, "rtt_ns"));
  print_side(client != NULL ? client : report);
  if (json_is_object(json_object_get(report, "server"))) print_side(json_object_get(report, "server"));
}
