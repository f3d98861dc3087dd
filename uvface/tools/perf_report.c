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

/* What a packet that was counted stands for. */
static const char* counted(const perf_options_t* o) {
  return o->mode == MODE_RTT || o->mode == MODE_PACED ? "round trips" : o->mode == MODE_FETCH ? "replies" : "packets";
}

/* "12.3456 M packets/s: 24691200 packets"; round trips are too few for millions. */
static void print_count(const perf_options_t* o, double rate, double packets) {
  bool few = o->mode == MODE_RTT || o->mode == MODE_PACED;
  printf("%.*f %s%s/s: %.0f %s", few ? 0 : 4, few ? rate : rate / 1e6, few ? "" : "M ", counted(o), packets,
         counted(o));
}

void report_interval(const perf_options_t* o, perf_result_t* r, double from_s, double to_s, uint64_t packets) {
  double rate = to_s > from_s ? (double) packets / (to_s - from_s) : 0;
  json_array_append_new(r->intervals, json_pack("{s:f, s:f, s:I, s:f}", "from_s", from_s, "to_s", to_s, "packets",
                                                (json_int_t) packets, "packets_per_s", rate));
  if (o->json) return;
  printf("%7.2f to %.2f s  ", from_s, to_s);
  print_count(o, rate, (double) packets);
  putchar('\n');
  fflush(stdout); /* it may be read while we run */
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
  json_object_set_new(side, "cpus", place_cpus(&r->place));
  json_object_set_new(side, "pinned", json_boolean(r->place.pinned));
  if (o->side == SIDE_PING || o->side == SIDE_PACED)
    json_object_set(side, "round_trips_per_s", json_object_get(side, "packets_per_s"));
  if (r->intervals != NULL) json_object_set_new(side, "intervals", r->intervals);
  json_object_set_new(side, "read_sum", json_integer((json_int_t) r->read_sum));
  if (r->samples_ns != NULL) json_object_set_new(side, "rtt_ns", rtt_json(r));
  if (r->verify.checked != 0) json_object_set_new(side, "verify", verify_json(&r->verify));
  return side;
}

/* What describes a whole program belongs to the run, and neither end need repeat it. */
static void describe_run(json_t* run, json_t* client, json_t* server) {
  static const char* const keys[] = {"build", "cpu_model", "hints", "intervals"};
  bool pinned = json_is_true(json_object_get(client, "pinned")) && json_is_true(json_object_get(server, "pinned"));
  if (json_object_get(client, "intervals") != NULL)
    json_object_set(run, "intervals", json_object_get(client, "intervals"));
  for (size_t i = 0; i < sizeof(keys) / sizeof(*keys); i++) {
    json_object_del(client, keys[i]);
    json_object_del(server, keys[i]);
  }
  place_describe(run, pinned);
}

/* The sink sees the one-way rate, the sipping end when the other went on; the client, all that has a reply. */
json_t* report_run(const perf_options_t* o, json_t* client, json_t* server, int exit_code) {
  const json_t* receiver = o->mode == MODE_THROUGHPUT || o->mode == MODE_FULL ? server : client;
  json_t* run =
      json_pack("{s:s, s:s, s:s, s:s, s:I, s:I, s:i, s:i, s:I, s:b, s:b, s:b, s:b, s:i, s:b, s:[i,i], s:i}", "program",
                o->program, "version", PERF_VERSION, "mode", perf_mode_name(o->mode), "server_role",
                perf_role_name(o->role == ROLE_ENGINE ? ROLE_APP : ROLE_ENGINE), "size", (json_int_t) o->size_bytes,
                "reply", (json_int_t) o->reply_bytes, "batch", (int) o->batch, "window", (int) o->window, "interval_us",
                (json_int_t) o->interval_us, "borrow", (int) o->borrow, "coalesce", (int) o->coalesce, "literal",
                (int) o->literal, "stream", (int) o->stream, "private", o->private, "verify", (int) o->verify, "cpu",
                o->cpu[0], o->cpu[1], "exit", exit_code);
  static const char* const headline[] = {"packets",           "seconds",    "packets_per_s",
                                         "round_trips_per_s", "gbit_per_s", "rtt_ns"};
  for (size_t i = 0; i < sizeof(headline) / sizeof(*headline); i++)
    if (json_object_get(receiver, headline[i]) != NULL)
      json_object_set(run, headline[i], json_object_get(receiver, headline[i]));
  describe_run(run, client, server);
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

static void print_rate(const perf_options_t* o, const json_t* object) {
  printf("  rate        ");
  if (json_is_real(json_object_get(object, "packets_per_s"))) {
    print_count(o, number(object, "packets_per_s"), number(object, "packets"));
    printf(" in %.3f s, %.3f Gbit/s\n", number(object, "seconds"), number(object, "gbit_per_s"));
  } else {
    printf("none: everything arrived at once\n");
  }
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

static void print_place(const json_t* side) {
  const json_t* cpus = json_object_get(side, "cpus");
  printf(" %s on CPU", string(side, "side"));
  if (json_array_size(cpus) == 0) printf(" ?");
  for (size_t i = 0; i < json_array_size(cpus); i++)
    printf("%s %lld", i > 0 ? "," : "", (long long) json_integer_value(json_array_get(cpus, i)));
  printf(json_is_true(json_object_get(side, "pinned")) ? ", pinned" : ", not pinned");
}

/* report: of a run of both or, without a client, of one side. */
static void print_circumstances(const json_t* report) {
  const json_t* client = json_object_get(report, "client");
  const json_t* server = json_object_get(report, "server");
  const json_t* build = json_object_get(report, "build");
  const json_t* libraries = json_object_get(build, "libraries");
  const json_t* hints = json_object_get(report, "hints");
  printf("  build       %s, %s", string(build, "type"), string(build, "compiler"));
  for (size_t i = 0; i < json_array_size(libraries); i++)
    printf("%s%s", i > 0 ? ", " : ", with ", json_string_value(json_array_get(libraries, i)));
  printf("\n  CPU model   %s\n  placement  ", string(report, "cpu_model"));
  print_place(client != NULL ? client : report);
  if (json_is_object(server)) {
    putchar(';');
    print_place(server);
  }
  putchar('\n');
  for (size_t i = 0; i < json_array_size(hints); i++)
    printf("  hint        %s\n", json_string_value(json_array_get(hints, i)));
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
  print_rate(o, report);
  print_rtt(json_object_get(report, "rtt_ns"));
  print_side(client != NULL ? client : report);
  if (json_is_object(json_object_get(report, "server"))) print_side(json_object_get(report, "server"));
  print_circumstances(report);
}
