/* SPDX-License-Identifier: MIT */
/* hot-path.c: the same few packets again and again, for counting instructions. Both ends of one face in one
 * process and one thread: the app's end fills half the ring, the engine's end empties it, through the public API
 * of the core (ndnshm.h) or of the adapter (uvface.h, a loop for each end, windows off). Guarantees that
 * nothing in it depends on time, so that two runs execute the same instructions, as long as valgrind counts.
 * bench/instructions.py runs it; hot_send() and hot_receive() are what it counts in. */
#include <ndnshm.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uvface.h>

enum { ROUND_PACKETS = 128, PACKET_BYTES = 64, ARENA_BYTES = 64 * 9088, MAX_BATCH = 32 };

typedef struct ends_s {
  unsigned int batch;
  char packets[MAX_BATCH][PACKET_BYTES];
  struct iovec bufs[MAX_BATCH];
  unsigned int received;
  /* the core's ends, or the adapter's */
  ndnshm_t *app, *engine;
  void* arena;
  uv_loop_t app_loop, engine_loop;
  uvface_t app_face, engine_face;
} ends_t;

typedef struct layer_s {
  void (*open)(ends_t* e, const char* name);
  void (*send)(ends_t* e);
  void (*receive)(ends_t* e);
  void (*close)(ends_t* e);
} layer_t;

/* Not inlined, and what they call not in a tail call, so that valgrind finds their beginning and end. */
void hot_send(const layer_t* layer, ends_t* e);
void hot_receive(const layer_t* layer, ends_t* e);

static void need(int good, const char* what) {
  if (good) return;
  fprintf(stderr, "hot-path: %s failed\n", what);
  exit(1);
}

/* --- The core ---------------------------------------------------------------------------------- */

static void core_open(ends_t* e, const char* name) {
  need(ndnshm_new(&e->engine) == 0 && ndnshm_create(e->engine, name, NULL) == 0, "ndnshm_create");
  need(ndnshm_new(&e->app) == 0 && ndnshm_connect(e->app, name, NULL) == 0, "ndnshm_connect");
  e->arena = malloc(ARENA_BYTES);
  need(e->arena != NULL, "malloc");
}

static void core_send(ends_t* e) {
  for (unsigned int sent = 0; sent < ROUND_PACKETS; sent += e->batch) {
    int rc = e->batch == 1 ? ndnshm_send(e->app, e->bufs, 1) : ndnshm_send_batch(e->app, e->bufs, e->batch);
    need(rc == (e->batch == 1 ? PACKET_BYTES : (int) e->batch), "ndnshm_send");
  }
}

/* A batch of 1 takes packets one at a time, too. */
static void core_receive(ends_t* e) {
  struct iovec pkts[MAX_BATCH];
  int n;
  while ((n = ndnshm_recv(e->engine, e->arena, ARENA_BYTES, pkts, e->batch)) > 0) e->received += (unsigned int) n;
  need(n == 0, "ndnshm_recv");
}

static void core_close(ends_t* e) {
  ndnshm_free(e->app);
  ndnshm_free(e->engine);
  free(e->arena);
}

/* --- The adapter ------------------------------------------------------------------------------- */

static void on_packets(uvface_t* face, ssize_t npkts, const uv_buf_t pkts[]) {
  ends_t* e = face->data;
  (void) pkts;
  need(npkts > 0, "receiving");
  e->received += (unsigned int) npkts;
}

static void adapter_open(ends_t* e, const char* name) {
  uvface_options_t options = UVFACE_OPTIONS_INIT;
  options.hot_ns = options.spin_ns = 0;
  uv_loop_init(&e->engine_loop);
  uv_loop_init(&e->app_loop);
  need(uvface_init(&e->engine_loop, &e->engine_face) == 0, "uvface_init");
  need(uvface_init(&e->app_loop, &e->app_face) == 0, "uvface_init");
  need(uvface_create(&e->engine_face, name, &options) == 0, "uvface_create");
  need(uvface_connect(&e->app_face, name, &options) == 0, "uvface_connect");
  e->engine_face.data = e;
  need(uvface_recv_start(&e->engine_face, on_packets) == 0, "uvface_recv_start");
  uv_run(&e->engine_loop, UV_RUN_NOWAIT);
}

static void adapter_send(ends_t* e) {
  const uv_buf_t* bufs = (const uv_buf_t*) e->bufs;
  for (unsigned int sent = 0; sent < ROUND_PACKETS; sent += e->batch) {
    int rc =
        e->batch == 1 ? uvface_try_send(&e->app_face, bufs, 1) : uvface_try_send_batch(&e->app_face, bufs, e->batch);
    need(rc == (e->batch == 1 ? PACKET_BYTES : (int) e->batch), "uvface_try_send");
  }
}

/* As many turns as the packets of a round need, sleep and wake-up included. */
static void adapter_receive(ends_t* e) {
  for (unsigned int target = e->received + ROUND_PACKETS; e->received < target;) uv_run(&e->engine_loop, UV_RUN_NOWAIT);
  uv_run(&e->engine_loop, UV_RUN_NOWAIT);
}

static void adapter_close(ends_t* e) {
  uvface_close(&e->app_face, NULL);
  uvface_close(&e->engine_face, NULL);
  uv_run(&e->app_loop, UV_RUN_DEFAULT);
  uv_run(&e->engine_loop, UV_RUN_DEFAULT);
  need(uv_loop_close(&e->app_loop) == 0 && uv_loop_close(&e->engine_loop) == 0, "uv_loop_close");
}

/* --- Rounds ------------------------------------------------------------------------------------ */

__attribute__((noinline)) void hot_send(const layer_t* layer, ends_t* e) {
  layer->send(e);
  __asm__ __volatile__("" : : : "memory");
}

__attribute__((noinline)) void hot_receive(const layer_t* layer, ends_t* e) {
  layer->receive(e);
  __asm__ __volatile__("" : : : "memory");
}

static int run(const layer_t* layer, unsigned int batch, unsigned int rounds) {
  static ends_t e;
  char name[64];
  e.batch = batch;
  for (unsigned int i = 0; i < MAX_BATCH; i++) e.bufs[i] = (struct iovec){e.packets[i], PACKET_BYTES};
  snprintf(name, sizeof(name), "hot-path-%ld", (long) getpid());
  layer->open(&e, name);
  for (unsigned int i = 0; i < rounds; i++) {
    hot_send(layer, &e);
    hot_receive(layer, &e);
  }
  layer->close(&e);
  need(e.received == rounds * ROUND_PACKETS, "counting");
  printf("%u\n", e.received);
  return 0;
}

int main(int argc, char** argv) {
  static const layer_t core = {core_open, core_send, core_receive, core_close};
  static const layer_t adapter = {adapter_open, adapter_send, adapter_receive, adapter_close};
  unsigned int batch = argc == 4 ? (unsigned int) strtoul(argv[2], NULL, 10) : 0;
  if ((batch == 1 || batch == MAX_BATCH) && strcmp(argv[1], "core") == 0)
    return run(&core, batch, (unsigned int) strtoul(argv[3], NULL, 10));
  if ((batch == 1 || batch == MAX_BATCH) && strcmp(argv[1], "adapter") == 0)
    return run(&adapter, batch, (unsigned int) strtoul(argv[3], NULL, 10));
  fprintf(stderr, "Usage: hot-path core|adapter 1|32 ROUNDS\n");
  return 2;
}
