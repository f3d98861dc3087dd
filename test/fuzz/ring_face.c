/* SPDX-License-Identifier: MIT */
/* ring_face.c: the victim that is a face on a loop: see victim.h. */
#include "../../include/uvface.h"
#include "victim.h"

#define REQUESTS_MAX 24
#define CLOSING_TURNS 8
#define FIND_OUT_TURNS 6
#define SEND_TIMEOUT_MS 5

typedef struct face_run_s {
  victim_t* v;
  uv_loop_t loop;
  uvface_t face;
  uvface_send_t requests[REQUESTS_MAX];
  int accepted, finished; /* requests */
  int errors, closes;     /* callbacks */
} face_run_t;

static bool is_peers_fault(int err) {
  return err == UV_EPROTO || err == UV_EPIPE || err == UV_EIO || err == UV_EOF || err == UV_ECONNREFUSED;
}

/* What a call that sends may return, beside 0 and counts. */
static bool is_refusal(int err) {
  return is_peers_fault(err) || err == UV_EAGAIN || err == UV_EINVAL || err == UV_EMSGSIZE || err == UV_ENOTCONN ||
         err == UV_EALREADY;
}

static const uv_buf_t* as_bufs(const struct iovec pkts[]) {
  return (const uv_buf_t*) (const void*) pkts; /* laid out alike: uvface/face.c asserts it */
}

static void on_closed(uvface_t* face) {
  face_run_t* run = face->data;

  FUZZ_REQUIRE(run->finished == run->accepted); /* close comes last */
  run->closes++;
}

/* Requests end in the order they were made. */
static void on_sent(uvface_send_t* req, int status) {
  face_run_t* run = req->face->data;

  FUZZ_REQUIRE(req == &run->requests[run->finished]);
  FUZZ_REQUIRE(status == 0 || status == UV_ECANCELED || status == UV_ETIMEDOUT || is_peers_fault(status));
  run->finished++;
}

/* --- Steps ------------------------------------------------------------------------------------ */

static void on_packets(uvface_t* face, ssize_t npkts, const uv_buf_t pkts[]) {
  face_run_t* run = face->data;
  victim_t* v = run->v;
  uint8_t op;

  FUZZ_REQUIRE(npkts != 0 && run->closes == 0 && run->errors == 0);
  if (npkts < 0) {
    run->errors++;
    FUZZ_REQUIRE(is_peers_fault((int) npkts));
    if (fuzz_back(&v->in) % 2 == 0) uvface_close(face, on_closed);
    return;
  }
  victim_hold_packets(v, (const struct iovec*) (const void*) pkts, (int) npkts);
  op = fuzz_back(&v->in) % 8;
  if (op < 2) {
    int n = uvface_try_send_batch(face, pkts, (unsigned int) npkts); /* an echo */

    FUZZ_REQUIRE((n > 0 && n <= npkts) || is_refusal(n));
  } else if (op == 2) {
    uvface_recv_stop(face);
  } else if (op == 3) {
    uvface_close(face, on_closed);
    victim_hold_packets(v, (const struct iovec*) (const void*) pkts, (int) npkts); /* they stay till we return */
  }
}

static void send_request(face_run_t* run, bool batch) {
  struct iovec pkts[VICTIM_BATCH_MAX];
  unsigned int npkts = victim_pick_batch(run->v, pkts);
  uvface_send_t* req = &run->requests[run->accepted];
  int err;

  if (run->accepted == REQUESTS_MAX) return;
  err = batch ? uvface_send_batch(req, &run->face, as_bufs(pkts), npkts, on_sent)
              : uvface_send(req, &run->face, as_bufs(pkts), npkts, on_sent);
  FUZZ_REQUIRE(err == 0 || (err != UV_EAGAIN && is_refusal(err)));
  if (err == 0) run->accepted++;
}

static void try_send(face_run_t* run, bool batch) {
  struct iovec pkts[VICTIM_BATCH_MAX];
  unsigned int npkts = victim_pick_batch(run->v, pkts);
  uint32_t limit = batch ? run->v->geometry.capacity : run->v->geometry.slot_size;
  int n = batch ? uvface_try_send_batch(&run->face, as_bufs(pkts), npkts)
                : uvface_try_send(&run->face, as_bufs(pkts), npkts);

  FUZZ_REQUIRE((n > 0 && n <= (int) limit) || is_refusal(n));
}

static void encode_in_place(face_run_t* run, bool leave_open) {
  size_t len = victim_pick_length(run->v);
  uv_buf_t slot;
  int err = uvface_reserve(&run->face, len, &slot);

  FUZZ_REQUIRE(err == 0 || is_refusal(err));
  if (err == 0)
    for (size_t i = 0; i < len; i++) slot.base[i] = (char) i;
  if (leave_open) return;
  err = uvface_commit(&run->face, err == 0 ? len : 1);
  FUZZ_REQUIRE(err == 0 || is_refusal(err));
}

static void take_step(face_run_t* run, uint8_t op) {
  uvface_stats_t stats;

  switch (op % 16) {
    case 0: break;
    case 1: try_send(run, false); break;
    case 2: try_send(run, true); break;
    case 3:
    case 4: send_request(run, false); break;
    case 5: send_request(run, true); break;
    case 6: encode_in_place(run, false); break;
    case 7: encode_in_place(run, true); break;
    case 8: uvface_recv_stop(&run->face); break;
    case 9: uvface_recv_start(&run->face, on_packets); break;
    case 10: uvface_recv_start(&run->face, run->v->windows ? NULL : on_packets); break;
    case 11: uvface_commit(&run->face, victim_pick_length(run->v)); break;
    case 12: sandbox_advance_ms(1); break;
    case 13: sandbox_advance_ms(1 + SEND_TIMEOUT_MS); break;
    case 14: uvface_get_stats(&run->face, &stats); break;
    default: uvface_close(&run->face, on_closed); break;
  }
}

/* --- The run ---------------------------------------------------------------------------------- */

static void turn(face_run_t* run) {
  uvface_stats_t stats;

  victim_begin_step();
  uv_run(&run->loop, UV_RUN_NOWAIT);
  if (uvface_get_stats(&run->face, &stats) == 0) victim_check_sent(run->v, stats.tx_packets);
  if (sandbox_region.base != NULL && run->closes == 0) attacker_check(&run->v->attacker);
}

/* A face that receives, or looks around once a second, must not take its own zeros for a silent peer. */
static void find_out(face_run_t* run) {
  static char byte = 'z';
  uv_buf_t buf = uv_buf_init(&byte, 1);
  int n;

  uvface_recv_start(&run->face, on_packets);
  for (int i = 0; i < FIND_OUT_TURNS; i++) {
    sandbox_advance_ms(500);
    turn(run);
  }
  n = run->closes > 0 || uvface_is_closing(&run->face) ? UV_ENOTCONN : uvface_try_send(&run->face, &buf, 1);
  FUZZ_REQUIRE(n < 0 && n != UV_EAGAIN);
}

static int open_face(face_run_t* run) {
  victim_t* v = run->v;
  uvface_options_t options = UVFACE_OPTIONS_INIT;

  if (v->is_engine) {
    options.capacity = v->geometry.capacity;
    options.slot_size = v->geometry.slot_size;
  }
  options.flags = UVFACE_SIGBUS_GUARD; /* the attacker pulls files */
  if (v->borrow) options.flags |= UVFACE_RECV_BORROW;
  if (!v->windows) options.hot_ns = options.spin_ns = 0;
  options.send_timeout_ms = SEND_TIMEOUT_MS;
  v->attacker.active = true;
  return v->is_engine ? uvface_create(&run->face, v->names.face, &options)
                      : uvface_connect(&run->face, v->names.face, &options);
}

void ring_face_run(victim_t* v) {
  face_run_t run = {.v = v};
  int err;

  FUZZ_REQUIRE(uv_loop_init(&run.loop) == 0);
  FUZZ_REQUIRE(uvface_init(&run.loop, &run.face) == 0);
  run.face.data = &run;
  victim_begin_step();
  err = open_face(&run);
  FUZZ_REQUIRE(err == 0 || is_peers_fault(err));
  if (err == 0) {
    victim_attached(v);
    FUZZ_REQUIRE(uvface_recv_start(&run.face, on_packets) == 0);
    for (int step = 0; step < VICTIM_STEPS_MAX && (step < 4 || fuzz_left(&v->in) > 0); step++) {
      if (run.closes > 0) break;
      victim_begin_step();
      take_step(&run, fuzz_back(&v->in));
      turn(&run);
    }
    if (victim_end_scripts(v) && run.closes == 0) find_out(&run);
  }
  if (run.closes == 0) uvface_close(&run.face, on_closed);
  for (int n = 0; n < CLOSING_TURNS && uv_loop_alive(&run.loop); n++) turn(&run);
  FUZZ_REQUIRE(run.closes == 1);
  FUZZ_REQUIRE(uv_loop_close(&run.loop) == 0);
}
