/* SPDX-License-Identifier: MIT */
/* soak_idle.c: what 500 idle faces cost a turn of their loop. One busy face and its app on the same loop pass a
 * packet back and forth, so that every turn has work; then the same with 500 more faces, 450 of them with
 * nobody attached and 50 with an app that says nothing. Rounds alternate and medians are compared. */
#include "soak.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>
#include <uvface.h>

#include "stage.h"

enum { IDLE = 500, ATTACHED = 50, ROUNDS = 3, CHUNK = 200 };

#define MAX_RATIO 1.5
#define MAX_ROUND_S 1.0

typedef struct idle_s {
  uv_loop_t loop;
  uvface_t busy[2], idle[IDLE], apps[ATTACHED];
  int open; /* of idle and apps, until their close callbacks: before that their memory is the library's */
  uint64_t passed;
  int err;
  char errmsg[256];
} idle_t;

static bool bad(idle_t* d, int err, const char* what) {
  if (err < 0 && d->err == 0) {
    d->err = err;
    snprintf(d->errmsg, sizeof(d->errmsg), "%s: %s", uv_strerror(err), what);
  }
  return d->err < 0;
}

static void on_busy(uvface_t* face, ssize_t npkts, const uv_buf_t pkts[]) {
  idle_t* d = face->data;
  if (npkts > 0) {
    d->passed += (uint64_t) npkts;
    npkts = uvface_try_send(face, pkts, 1);
  }
  bad(d, (int) npkts, uvface_errmsg(face));
}

static void on_idle_closed(uvface_t* face) {
  idle_t* d = face->data;
  d->open--;
}

static void on_idle(uvface_t* face, ssize_t npkts, const uv_buf_t pkts[]) {
  (void) pkts;
  if (npkts < 0) uvface_close(face, on_idle_closed); /* the app of it has left */
}

static void open_face(idle_t* d, uvface_t* face, bool engine, int number, uvface_recv_cb cb) {
  uvface_options_t options = UVFACE_OPTIONS_INIT;
  char name[64];
  options.capacity = 16;
  options.slot_size = 64;
  snprintf(name, sizeof(name), "uvface-soak-%ld-idle-%d", (long) getpid(), number);
  if (bad(d, uvface_init(&d->loop, face), "uvface_init")) return;
  if (cb == on_idle) d->open++;
  face->data = d;
  int err = engine ? uvface_create(face, name, &options) : uvface_connect(face, name, &options);
  if (err == 0) err = uvface_recv_start(face, cb);
  bad(d, err, uvface_errmsg(face));
}

static void open_idle(idle_t* d) {
  for (int i = 0; i < IDLE && d->err == 0; i++) open_face(d, &d->idle[i], true, i, on_idle);
  for (int i = 0; i < ATTACHED && d->err == 0; i++) open_face(d, &d->apps[i], false, i, on_idle);
  uint64_t until_ns = uv_hrtime() + UINT64_C(20000000); /* until they are parked */
  while (d->err == 0 && uv_hrtime() < until_ns) uv_run(&d->loop, UV_RUN_NOWAIT);
}

static void close_idle(idle_t* d) {
  for (int i = 0; i < ATTACHED; i++) uvface_close(&d->apps[i], on_idle_closed);
  for (int i = 0; i < IDLE; i++) uvface_close(&d->idle[i], on_idle_closed);
  while (d->open > 0) uv_run(&d->loop, UV_RUN_ONCE);
  memset(d->idle, 0, sizeof(d->idle));
  memset(d->apps, 0, sizeof(d->apps));
}

/* The median of short chunks: what the machine does beside it must not count. */
static double turn_ns(idle_t* d, double secs) {
  double chunks[256];
  unsigned int n = 0;
  uint64_t end_ns = uv_hrtime() + (uint64_t) (secs * 1e9);
  while (d->err == 0 && n < 256 && (n < 16 || uv_hrtime() < end_ns)) {
    uint64_t start_ns = uv_hrtime();
    for (int i = 0; i < CHUNK; i++) uv_run(&d->loop, UV_RUN_NOWAIT);
    chunks[n++] = (double) (uv_hrtime() - start_ns) / CHUNK;
  }
  return stage_median(chunks, n);
}

static void measure(idle_t* d, double secs, double ret_ns[2]) {
  double round_s = secs / (2 * ROUNDS) < MAX_ROUND_S ? secs / (2 * ROUNDS) : MAX_ROUND_S;
  double ns[2][ROUNDS];
  uv_buf_t packet = uv_buf_init((char*) (uintptr_t) "packet", 6);
  open_face(d, &d->busy[0], true, IDLE, on_busy);
  open_face(d, &d->busy[1], false, IDLE, on_busy);
  if (d->err == 0) bad(d, uvface_try_send(&d->busy[1], &packet, 1), "uvface_try_send");
  for (int round = 0; round < ROUNDS && d->err == 0; round++) {
    ns[0][round] = turn_ns(d, round_s);
    open_idle(d);
    ns[1][round] = turn_ns(d, round_s);
    close_idle(d);
  }
  ret_ns[0] = d->err == 0 ? stage_median(ns[0], ROUNDS) : 0;
  ret_ns[1] = d->err == 0 ? stage_median(ns[1], ROUNDS) : 0;
}

static void print(const idle_t* d, const double ns[2], bool json) {
  double ratio = ns[0] > 0 ? ns[1] / ns[0] : 0;
  if (json) {
    json_t* report = json_pack("{s:s, s:s, s:s, s:f, s:f, s:f, s:I}", "program", "uvface-soak", "version",
                               STRESS_VERSION, "scenario", "idle", "turn_ns", ns[0], "turn_with_idle_ns", ns[1],
                               "ratio", ratio, "packets", (json_int_t) d->passed);
    json_object_set_new(report, "failure", d->err < 0 ? json_string(d->errmsg) : json_null());
    json_dumpf(report, stdout, JSON_COMPACT);
    putchar('\n');
    json_decref(report);
  } else {
    printf("uvface-soak idle: a turn takes %.0f ns, with %d idle faces %.0f ns: %.2f times that\n", ns[0], IDLE, ns[1],
           ratio);
    printf("  %s%s\n", d->err < 0 ? "FAILED: " : "good", d->errmsg);
  }
}

int soak_idle(double secs, bool json) {
  static idle_t d;
  double ns[2] = {0, 0};
  struct rlimit files;
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max; /* three descriptors a face */
  setrlimit(RLIMIT_NOFILE, &files);
  if (uv_loop_init(&d.loop) != 0) return STRESS_FAILED;
  measure(&d, secs, ns);
  uvface_close(&d.busy[0], NULL);
  uvface_close(&d.busy[1], NULL);
  close_idle(&d);
  uv_run(&d.loop, UV_RUN_DEFAULT);
  bad(&d, uv_loop_close(&d.loop), "uv_loop_close");
  if (d.err == 0 && d.passed == 0) bad(&d, UV_ETIMEDOUT, "no packet was passed");
  if (d.err == 0 && ns[1] > ns[0] * MAX_RATIO)
    bad(&d, UV_E2BIG, "a turn with idle faces takes more than 1.5 times as long");
  print(&d, ns, json);
  return fflush(stdout) == 0 && d.err == 0 ? STRESS_OK : STRESS_FAILED;
}
