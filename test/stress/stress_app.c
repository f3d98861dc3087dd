/* SPDX-License-Identifier: MIT */
/* stress_app.c: an honest app at full rate: keeps a window of numbered packets under way and checks each
 * that comes back: none missing, none twice, none out of order, every byte right. Notes each round trip.
 * When asked to stop it sends no more and leaves when the last answer is there; answers that do not come
 * are counted as faults. It uses the face as its manual says, full ring included. */
#include "stress.h"

#include <stdlib.h>
#include <uvface.h>

enum { BURST = 256, TICK_MS = 20, LAST_ANSWERS_MS = 20000, CONNECT_MS = 10000 };

typedef struct app_s {
  stress_board_t* board;
  uv_loop_t loop;
  uvface_t face;
  uvface_send_t req;
  uv_timer_t tick;
  uint64_t salt, sent, received, stopping_ms;
  bool waiting; /* the packet in bytes waits for room */
  bool done;
  unsigned char bytes[STRESS_SLOT_BYTES];
} app_t;

static void leave(app_t* a) {
  if (a->done) return;
  a->done = true;
  uvface_close(&a->face, NULL);
  uv_close((uv_handle_t*) &a->tick, NULL);
}

static void fail(app_t* a, int err) {
  if (a->done) return;
  stress_say(a->board, "app of place %u: %s: %s", a->board->place, uv_strerror(err), uvface_errmsg(&a->face));
  stress_add(&a->board->errors, 1);
  leave(a);
}

static void go_on(app_t* a);

static void on_sent(uvface_send_t* req, int status) {
  app_t* a = req->data;
  a->waiting = false;
  if (status < 0)
    fail(a, status);
  else
    go_on(a);
}

static int send_next(app_t* a) {
  size_t len = stress_write_packet(a->bytes, a->sent, a->salt, uv_hrtime());
  uv_buf_t buf = uv_buf_init((char*) a->bytes, (unsigned int) len);
  int err = uvface_try_send(&a->face, &buf, 1);
  if (err == UV_EAGAIN) {
    err = uvface_send(&a->req, &a->face, &buf, 1, on_sent);
    a->waiting = err == 0;
  }
  return err;
}

static void go_on(app_t* a) {
  for (int n = 0; n < BURST && !a->done && !a->waiting && a->stopping_ms == 0; n++) {
    if (a->sent - a->received >= a->board->window) return;
    int err = send_next(a);
    if (err < 0) {
      fail(a, err);
      return;
    }
    a->sent++;
    stress_add(&a->board->sent, 1);
  }
}

static void take(app_t* a, const uv_buf_t* pkt) {
  uint64_t sent_ns;
  const char* wrong = stress_check_packet(pkt->base, pkt->len, a->received, a->salt, &sent_ns);
  if (wrong == NULL) {
    stress_note_round_trip(a->board, uv_hrtime() - sent_ns);
  } else {
    stress_say(a->board, "app of place %u, answer %llu: %s", a->board->place, (unsigned long long) a->received, wrong);
    stress_add(&a->board->faults, 1);
  }
  a->received++;
}

static void on_packets(uvface_t* face, ssize_t npkts, const uv_buf_t pkts[]) {
  app_t* a = face->data;
  if (a->done) return;
  if (npkts < 0) {
    fail(a, (int) npkts);
    return;
  }
  for (ssize_t i = 0; i < npkts; i++) take(a, &pkts[i]);
  stress_add(&a->board->received, (uint64_t) npkts);
  atomic_store_explicit(&a->board->ready, 1, memory_order_relaxed);
  if (a->stopping_ms != 0 && a->received >= a->sent)
    leave(a);
  else
    go_on(a);
}

static void on_tick(uv_timer_t* tick) {
  app_t* a = tick->data;
  uint64_t now_ms = uv_hrtime() / 1000000;
  if (atomic_load(&a->board->stop) == 0) return;
  if (a->stopping_ms == 0) a->stopping_ms = now_ms;
  if (now_ms - a->stopping_ms > LAST_ANSWERS_MS) {
    stress_say(a->board, "app of place %u: %llu answers never came", a->board->place,
               (unsigned long long) (a->sent - a->received));
    stress_add(&a->board->faults, a->sent - a->received);
  } else if (a->received < a->sent) {
    return;
  }
  leave(a);
}

static int connect_waiting(app_t* a, const char* name, const uvface_options_t* options) {
  uint64_t start_ns = uv_hrtime();
  int err;
  while ((err = uvface_connect(&a->face, name, options)) == UV_ENOENT || err == UV_ECONNREFUSED || err == UV_EBUSY) {
    if (uv_hrtime() - start_ns > CONNECT_MS * UINT64_C(1000000) || atomic_load(&a->board->stop) != 0) break;
    stress_nap(1000);
  }
  return err;
}

static int start(app_t* a, const char* name) {
  static const int inherited[] = {STRESS_FACE_FD, STRESS_FACE_FD + 1, STRESS_FACE_FD + 2};
  uvface_options_t options = UVFACE_OPTIONS_INIT;
  options.send_timeout_ms = 0; /* a stall is for the stage to see */
  int err =
      a->board->is_private != 0 ? uvface_attach(&a->face, inherited, &options) : connect_waiting(a, name, &options);
  if (err == 0) err = uvface_recv_start(&a->face, on_packets);
  return err;
}

int stress_app(stress_board_t* board, const char* name) {
  app_t* a = calloc(1, sizeof(*a));
  if (a == NULL || uv_loop_init(&a->loop) != 0 || uvface_init(&a->loop, &a->face) != 0) return 1;
  a->board = board;
  a->salt = stress_salt(board->place, board->seed);
  a->face.data = a->req.data = a->tick.data = a;
  uv_timer_init(&a->loop, &a->tick);
  uv_timer_start(&a->tick, on_tick, TICK_MS, TICK_MS);
  int err = start(a, name);
  if (err < 0) fail(a, err);
  go_on(a);
  uv_run(&a->loop, UV_RUN_DEFAULT);
  bool clean = uv_loop_close(&a->loop) == 0;
  bool good = clean && stress_get(&board->errors) == 0 && stress_get(&board->faults) == 0;
  free(a);
  return !good;
}
