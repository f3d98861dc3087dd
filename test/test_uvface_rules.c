/* SPDX-License-Identifier: MIT */
/* test_uvface_rules.c: the ten rules of docs/design.rst, a test each. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "faces.h"

/* An element: what a stream carries must be one. */
static char payload[32] = {6, 30, 'a', ' ', 'p', 'a', 'c', 'k', 'e', 't'};

static uv_buf_t packet(void) {
  return uv_buf_init(payload, sizeof(payload));
}

static void must_not_run_send(uvface_send_t* req, int status) {
  (void) req;
  ck_abort_msg("a send callback ran, status %d", status);
}

static void must_not_run_recv(uvface_t* face, ssize_t npkts, const uv_buf_t pkts[]) {
  (void) face;
  (void) pkts;
  ck_abort_msg("a receive callback ran, %zd", npkts);
}

/* --- 1 ---------------------------------------------------------------------------------------- */

TEST(rule1_failed_call_never_calls_back) {
  pair_t pair;
  uvface_send_t req;
  uvface_t lone;
  uv_buf_t buf = packet(), none = uv_buf_init(payload, 0), huge;

  pair_open(&pair, NULL);
  ASSERT_OK(uvface_init(&pair.loop, &lone));
  huge = uv_buf_init(payload, (unsigned int) uvface_get_mtu(&pair.app) + 1);
  ck_assert_int_eq(uvface_send(&req, &lone, &buf, 1, must_not_run_send), UV_ENOTCONN);
  ck_assert_int_eq(uvface_send(NULL, &pair.app, &buf, 1, must_not_run_send), UV_EINVAL);
  ck_assert_int_eq(uvface_send(&req, NULL, &buf, 1, must_not_run_send), UV_EINVAL);
  ck_assert_int_eq(uvface_send(&req, &pair.app, NULL, 1, must_not_run_send), UV_EINVAL);
  ck_assert_int_eq(uvface_send(&req, &pair.app, &buf, 0, must_not_run_send), UV_EINVAL);
  ck_assert_int_eq(uvface_send(&req, &pair.app, &none, 1, must_not_run_send), UV_EINVAL);
  ck_assert_int_eq(uvface_send(&req, &pair.app, &huge, 1, must_not_run_send), UV_EMSGSIZE);
  ck_assert_ptr_nonnull(strstr(uvface_errmsg(&pair.app), "larger than the MTU"));
  ck_assert_int_eq(uvface_send_batch(&req, &pair.app, &huge, 1, must_not_run_send), UV_EMSGSIZE);
  ck_assert_int_eq(uvface_recv_start(&lone, must_not_run_recv), UV_ENOTCONN);
  uvface_close(&pair.engine, NULL);
  RUN_UNTIL(&pair.loop, uvface_try_send(&pair.app, &buf, 1) == UV_EPIPE);
  ck_assert_int_eq(uvface_send(&req, &pair.app, &buf, 1, must_not_run_send), UV_EPIPE);
  uvface_close(&pair.app, NULL);
  ck_assert_int_eq(uvface_send(&req, &pair.app, &buf, 1, must_not_run_send), UV_ENOTCONN);
  ck_assert_int_eq(uvface_recv_start(&pair.app, must_not_run_recv), UV_ENOTCONN);
  uvface_close(&lone, NULL);
  finish_loop(&pair.loop);
}

/* --- 2 ---------------------------------------------------------------------------------------- */

static bool inside_call;
static int callbacks;
static uvface_send_t reply_req;

static void outside_send(uvface_send_t* req, int status) {
  (void) req;
  (void) status;
  ck_assert(!inside_call);
  callbacks++;
}

static void outside_recv(uvface_t* face, ssize_t npkts, const uv_buf_t pkts[]) {
  ck_assert(!inside_call);
  callbacks++;
  if (npkts < 0) return;
  inside_call = true;
  ASSERT_OK(uvface_send(&reply_req, face, pkts, 1, outside_send));
  inside_call = false;
}

static void outside_close(uvface_t* face) {
  (void) face;
  ck_assert(!inside_call);
  callbacks++;
}

TEST(rule2_callback_never_inside_call) {
  pair_t pair;
  uvface_send_t req;
  uv_buf_t buf = packet();

  pair_open(&pair, NULL);
  callbacks = 0;
  inside_call = true;
  ASSERT_OK(uvface_send(&req, &pair.app, &buf, 1, outside_send));
  ASSERT_OK(uvface_recv_start(&pair.engine, outside_recv)); /* a packet is waiting already */
  inside_call = false;
  RUN_UNTIL(&pair.loop, callbacks == 3);
  inside_call = true;
  ASSERT_OK(uvface_recv_start(&pair.app, must_not_run_recv)); /* so is the reply, but ... */
  uvface_close(&pair.app, outside_close);                     /* ... close comes first */
  uvface_close(&pair.engine, outside_close);
  inside_call = false;
  finish_loop(&pair.loop);
  ck_assert_int_eq(callbacks, 5); /* send, packet, reply sent, two closes */
}

/* --- 3 ---------------------------------------------------------------------------------------- */

#define MANY 3000

typedef struct numbered_s {
  unsigned char header[4]; /* of an element of 4 bytes, the first two of them 0 */
  unsigned int number;
} numbered_t;

static unsigned int next_done, next_seen;
static int all_seen;

static void in_order_done(uvface_send_t* req, int status) {
  ck_assert_int_eq(status, 0);
  ck_assert_uint_eq((unsigned int) (uintptr_t) req->data, next_done);
  next_done++;
}

static void in_order_seen(uvface_t* face, ssize_t npkts, const uv_buf_t pkts[]) {
  (void) face;
  ck_assert_int_gt(npkts, 0);
  for (ssize_t p = 0; p < npkts; p++) {
    numbered_t packet;

    ck_assert_uint_eq(pkts[p].len, sizeof(packet));
    memcpy(&packet, pkts[p].base, sizeof(packet));
    ck_assert_uint_eq(packet.number, next_seen);
    next_seen++;
  }
  all_seen = next_seen == MANY;
}

TEST(rule3_send_callbacks_in_order_once) {
  static uvface_send_t reqs[MANY];
  static numbered_t values[MANY];
  pair_t pair;
  uvface_options_t options = UVFACE_OPTIONS_INIT;
  unsigned int nreqs = 0;

  options.capacity = 16; /* most must queue */
  pair_open(&pair, &options);
  next_done = next_seen = 0;
  all_seen = 0;
  for (unsigned int v = 0; v < MANY; v++) values[v] = (numbered_t){{6, sizeof(values[v]) - 2}, v};
  for (unsigned int v = 0; v < MANY; nreqs++) { /* singles and batches of 5 in turn */
    uv_buf_t bufs[5];
    unsigned int n = nreqs % 2 == 0 ? 1 : 5;

    if (n > MANY - v) n = MANY - v;
    for (unsigned int b = 0; b < n; b++) bufs[b] = uv_buf_init((char*) &values[v + b], sizeof(values[0]));
    reqs[nreqs].data = (void*) (uintptr_t) nreqs;
    if (n == 1)
      ASSERT_OK(uvface_send(&reqs[nreqs], &pair.app, bufs, 1, in_order_done));
    else
      ASSERT_OK(uvface_send_batch(&reqs[nreqs], &pair.app, bufs, n, in_order_done));
    v += n;
  }
  ASSERT_OK(uvface_recv_start(&pair.engine, in_order_seen));
  RUN_UNTIL(&pair.loop, all_seen);
  RUN_UNTIL(&pair.loop, next_done == nreqs);
  ck_assert(!uvface_is_active(&pair.app));
  pair_close(&pair);
  ck_assert_uint_eq(next_done, nreqs);
}

/* --- 4 ---------------------------------------------------------------------------------------- */

static int queued_done;

static void note_done(uvface_send_t* req, int status) {
  (void) req;
  ck_assert_int_eq(status, 0);
  queued_done = 1;
}

static int last_seen;

static void note_last(uvface_t* face, ssize_t npkts, const uv_buf_t pkts[]) {
  (void) face;
  if (npkts > 0 && pkts[npkts - 1].len == 3) last_seen = pkts[npkts - 1].base[2];
}

/* A packet that would have to wait is checked before it is accepted (rule 1). */
static void refuse_behind_queue(uvface_t* face) {
  uv_buf_t none = uv_buf_init(payload, 0), huge = uv_buf_init(payload, (unsigned int) uvface_get_mtu(face) + 1);
  uv_buf_t whole[] = {packet(), huge}, part[] = {packet(), none};
  uvface_send_t req;

  ck_assert_int_eq(uvface_send(&req, face, NULL, 1, must_not_run_send), UV_EINVAL);
  ck_assert_int_eq(uvface_send(&req, face, &none, 1, must_not_run_send), UV_EINVAL);
  ck_assert_int_eq(uvface_send(&req, face, whole, 2, must_not_run_send), UV_EMSGSIZE);
  ck_assert_int_eq(uvface_send_batch(&req, face, whole, 2, must_not_run_send), UV_EMSGSIZE);
  ck_assert_int_eq(uvface_send_batch(&req, face, part, 2, must_not_run_send), UV_EINVAL);
  ck_assert_ptr_nonnull(strstr(uvface_errmsg(face), "uvface_send_batch: packet of 0 bytes"));
}

TEST(rule4_try_send_never_overtakes) {
  pair_t pair;
  uvface_options_t options = UVFACE_OPTIONS_INIT;
  uvface_send_t req;
  char first[] = {6, 1, '1'}, second[] = {6, 1, '2'};
  uv_buf_t a = uv_buf_init(first, 3), b = uv_buf_init(second, 3), slot;

  options.capacity = 16;
  pair_open(&pair, &options);
  ck_assert_int_ge(fill_ring(&pair.app), 16);
  if (pair.kind != STREAM) ck_assert_uint_eq(stats_of(&pair.app).tx_packets, 16);
  queued_done = last_seen = 0;
  ASSERT_OK(uvface_send(&req, &pair.app, &a, 1, note_done));
  ck_assert_int_eq(uvface_try_send(&pair.app, &b, 1), UV_EAGAIN);
  refuse_behind_queue(&pair.app);
  ASSERT_OK(uvface_recv_start(&pair.engine, note_last)); /* makes room at the next turn */
  while (!queued_done) {
    ck_assert_int_eq(uvface_try_send(&pair.app, &b, 1), UV_EAGAIN);
    ck_assert_int_eq(uvface_try_send_batch(&pair.app, &b, 1), UV_EAGAIN);
    ck_assert_int_eq(uvface_reserve(&pair.app, 1, &slot), UV_EAGAIN);
    uv_run(&pair.loop, UV_RUN_NOWAIT);
  }
  RUN_UNTIL(&pair.loop, last_seen == '1');
  ck_assert_int_eq(uvface_try_send(&pair.app, &b, 1), 3);
  RUN_UNTIL(&pair.loop, last_seen == '2');
  pair_close(&pair);
}

/* --- 5 ---------------------------------------------------------------------------------------- */

static int canceled;
static bool closed_last;

static void count_canceled(uvface_send_t* req, int status) {
  ck_assert_int_eq(status, UV_ECANCELED);
  ck_assert_int_eq((int) (uintptr_t) req->data, canceled);
  ck_assert(!closed_last);
  canceled++;
}

static void note_closed(uvface_t* face) {
  ck_assert_int_eq(canceled, 10);
  ck_assert(uvface_is_closing(face));
  closed_last = true;
  memset(face, 0xee, sizeof(*face)); /* the memory is ours again */
}

TEST(rule5_close_cancels_in_order_and_comes_last) {
  pair_t pair;
  uvface_send_t reqs[10];
  uv_buf_t buf = packet();

  pair_open(&pair, NULL);
  fill_ring(&pair.app);
  canceled = 0;
  closed_last = false;
  for (uintptr_t r = 0; r < 10; r++) {
    reqs[r].data = (void*) r;
    ASSERT_OK(uvface_send(&reqs[r], &pair.app, &buf, 1, count_canceled));
  }
  uvface_close(&pair.app, note_closed);
  uvface_close(&pair.app, NULL); /* a second close is nothing */
  ck_assert_int_eq(canceled, 0);
  uvface_close(&pair.engine, NULL);
  finish_loop(&pair.loop);
  ck_assert(closed_last);
}

static int viewed;

static void close_and_look(uvface_t* face, ssize_t npkts, const uv_buf_t pkts[]) {
  ck_assert_int_eq(npkts, 2);
  uvface_close(face, NULL);
  ck_assert_mem_eq(pkts[1].base, payload, sizeof(payload)); /* the slot itself, still mapped */
  viewed = 1;
}

TEST(rule5_views_stay_mapped_until_recv_cb_returns) {
  pair_t pair;
  uvface_options_t options = UVFACE_OPTIONS_INIT;
  uv_buf_t bufs[2];

  options.flags = UVFACE_RECV_BORROW;
  pair_open(&pair, &options);
  bufs[0] = bufs[1] = packet();
  ck_assert_int_eq(uvface_try_send_batch(&pair.app, bufs, 2), 2);
  viewed = 0;
  ASSERT_OK(uvface_recv_start(&pair.engine, close_and_look));
  RUN_UNTIL(&pair.loop, viewed);
  pair_close(&pair);
}

static unsigned int borrowed;
static uvface_t next_app;

static void count_borrowed(uvface_t* face, ssize_t npkts, const uv_buf_t pkts[]) {
  (void) face;
  for (ssize_t p = 0; p < npkts; p++) borrowed += pkts[p].len == sizeof(payload);
}

/* Makes way for the next app at the first packet, and reads on: what was lent stays readable until the callback
 * returns. The engine has had no turn to see the end of the first. */
static void hand_over(uvface_t* face, ssize_t npkts, const uv_buf_t pkts[]) {
  uvface_close(face, NULL);
  ASSERT_OK(uvface_init(face->loop, &next_app));
  ASSERT_OK(uvface_connect(&next_app, face->data, NULL));
  ASSERT_OK(uvface_recv_start(&next_app, count_borrowed));
  count_borrowed(face, npkts, pkts);
}

TEST(rule5_packets_lent_to_the_callback_that_closes_are_not_the_next_apps) {
  pair_t pair;
  uvface_options_t options = UVFACE_OPTIONS_INIT;
  uv_buf_t buf = packet();

  NEEDS_NAMES();
  harness_forbid_sealing(); /* a sealed region takes no second app */
  options.flags = UVFACE_RECV_BORROW;
  pair_open(&pair, &options);
  borrowed = 0;
  pair.app.data = pair.name;
  for (int i = 0; i < 3; i++) ck_assert_int_gt(uvface_try_send(&pair.engine, &buf, 1), 0);
  ASSERT_OK(uvface_recv_start(&pair.app, hand_over));
  RUN_UNTIL(&pair.loop, borrowed >= 3);
  ck_assert_int_gt(uvface_try_send(&pair.engine, &buf, 1), 0);
  RUN_UNTIL(&pair.loop, borrowed >= 4);
  ck_assert_uint_eq(borrowed, 4); /* and not the three again */
  uvface_close(&next_app, NULL);
  pair_close(&pair);
}

/* --- 6 ---------------------------------------------------------------------------------------- */

static pair_t* everything;
static uvface_send_t everything_reqs[64];
static unsigned int everything_used;
static int everything_ran;

static void ignore_recv(uvface_t* face, ssize_t npkts, const uv_buf_t pkts[]) {
  (void) face;
  (void) npkts;
  (void) pkts;
}

static void everything_done(uvface_send_t* req, int status);

static void drop_face(uvface_t* face) {
  free(face);
}

/* Every function of the API on a face, and a new face on the side. */
static void call_everything(uvface_t* face) {
  uvface_stats_t stats;
  uv_buf_t buf = packet(), slot;
  uvface_t* other = malloc(sizeof(*other));

  if (everything_used + 2 <= 60) {
    uvface_send(&everything_reqs[everything_used++], face, &buf, 1, everything_done);
    uvface_send_batch(&everything_reqs[everything_used++], face, &buf, 1, everything_done);
  }
  uvface_try_send(face, &buf, 1);
  uvface_try_send_batch(face, &buf, 1);
  if (uvface_reserve(face, 8, &slot) == 0) {
    memcpy(slot.base, "\6\6served", 8);
    uvface_commit(face, 8);
  }
  uvface_recv_stop(face);
  uvface_recv_start(face, ignore_recv);
  uvface_unref(face);
  uvface_ref(face);
  uvface_is_active(face);
  uvface_get_mtu(face);
  uvface_get_stats(face, &stats);
  uvface_errmsg(face);
  ASSERT_OK(uvface_init(&everything->loop, other));
  if (everything->kind == NAMED) ck_assert_int_eq(uvface_create(other, everything->name, NULL), UV_EADDRINUSE);
  ck_assert_int_eq(uvface_connect(other, "..", NULL), UV_EINVAL);
  uvface_close(other, drop_face);
  everything_ran++;
}

static void everything_done(uvface_send_t* req, int status) {
  (void) status;
  call_everything(req->face);
}

static void everything_recv(uvface_t* face, ssize_t npkts, const uv_buf_t pkts[]) {
  (void) npkts;
  (void) pkts;
  call_everything(face);
}

static void close_in_send(uvface_send_t* req, int status) {
  (void) status;
  uvface_close(req->face, NULL);
}

static void close_both(uvface_t* face, ssize_t npkts, const uv_buf_t pkts[]) {
  (void) npkts;
  (void) pkts;
  uvface_close(face, NULL);
  uvface_close(&everything->app, NULL);
}

static void call_on_closed(uvface_t* face) {
  uv_buf_t buf = packet();

  ck_assert_int_lt(uvface_try_send(face, &buf, 1), 0);
  uvface_close(face, NULL);
}

TEST(rule6_any_call_from_any_callback) {
  pair_t pair;
  uv_buf_t buf = packet();

  pair_open(&pair, NULL);
  everything = &pair;
  everything_used = 0;
  everything_ran = 0;
  ASSERT_OK(uvface_recv_start(&pair.engine, everything_recv));
  ck_assert_int_eq(uvface_try_send(&pair.app, &buf, 1), (int) sizeof(payload));
  RUN_UNTIL(&pair.loop, everything_ran > 20);
  ASSERT_OK(uvface_recv_stop(&pair.engine));
  ASSERT_OK(uvface_recv_start(&pair.engine, close_both));
  ck_assert_int_eq(uvface_try_send(&pair.app, &buf, 1), (int) sizeof(payload));
  uv_run(&pair.loop, UV_RUN_DEFAULT);
  ck_assert(uvface_is_closing(&pair.engine) && uvface_is_closing(&pair.app));
  finish_loop(&pair.loop);
}

TEST(rule6_close_from_send_and_close_callbacks) {
  pair_t pair;
  uvface_send_t req;
  uv_buf_t buf = packet();

  pair_open(&pair, NULL);
  ASSERT_OK(uvface_send(&req, &pair.app, &buf, 1, close_in_send));
  uvface_close(&pair.engine, call_on_closed);
  finish_loop(&pair.loop);
  ck_assert(uvface_is_closing(&pair.app));
}

/* --- 7 ---------------------------------------------------------------------------------------- */

static int closes;

static void count_close(uvface_t* face) {
  (void) face;
  closes++;
}

TEST(rule7_close_is_owed_after_failed_create) {
  uv_loop_t loop;
  uvface_t face;
  const char* name = harness_name("squat");
  FILE* squatter = fopen(harness_a2e_path(name), "w");

  ck_assert_ptr_nonnull(squatter);
  fclose(squatter);
  closes = 0;
  ASSERT_OK(uv_loop_init(&loop));
  ASSERT_OK(uvface_init(&loop, &face));
  ck_assert_str_eq(uvface_errmsg(&face), "");
  ck_assert_int_eq(uvface_create(&face, name, NULL), UV_EADDRINUSE);
  ck_assert_ptr_nonnull(strstr(uvface_errmsg(&face), "uvface_create: mkfifo /tmp/.ndn-"));
  ck_assert_ptr_null(fopen(harness_shm_path(name), "r")); /* nothing is left of the region */
  ck_assert_int_eq(remove(harness_a2e_path(name)), 0);
  ck_assert_int_eq(uvface_connect(&face, name, NULL), UV_ENOENT);
  ck_assert_ptr_nonnull(strstr(uvface_errmsg(&face), "No such file"));
  ASSERT_OK(uvface_create(&face, name, NULL)); /* it may be tried again */
  ck_assert_int_eq(uvface_create(&face, name, NULL), UV_EALREADY);
  uvface_close(&face, count_close);
  finish_loop(&loop);
  ck_assert_int_eq(closes, 1);
}

/* --- 8 ---------------------------------------------------------------------------------------- */

static void close_any(uv_handle_t* handle, void* arg) {
  (void) arg;
  ck_assert_ptr_null(handle->data);
  if (!uv_is_closing(handle)) uv_close(handle, NULL);
}

static void walk_and_close(uvface_t* face, ssize_t npkts, const uv_buf_t pkts[]) {
  (void) npkts;
  (void) pkts;
  uv_walk(face->loop, close_any, NULL);
}

static void assert_canceled(uvface_t* face) {
  uvface_send_t req;
  uv_buf_t buf = packet(), slot;

  ck_assert_int_eq(uvface_send(&req, face, &buf, 1, must_not_run_send), UV_ECANCELED);
  ck_assert_int_eq(uvface_send_batch(&req, face, &buf, 1, must_not_run_send), UV_ECANCELED);
  ck_assert_int_eq(uvface_try_send(face, &buf, 1), UV_ECANCELED);
  ck_assert_int_eq(uvface_try_send_batch(face, &buf, 1), UV_ECANCELED);
  ck_assert_int_eq(uvface_reserve(face, 1, &slot), UV_ECANCELED);
  ck_assert_int_eq(uvface_commit(face, 0), UV_ECANCELED);
  ck_assert_int_eq(uvface_recv_start(face, must_not_run_recv), UV_ECANCELED);
  ck_assert_ptr_nonnull(strstr(uvface_errmsg(face), "uvface_recv_start: face "));
}

TEST_LOOP(rule8_foreign_walk_and_close_is_harmless, 3) {
  pair_t pair;
  uvface_t later, lone;
  uv_buf_t buf = packet();

  pair_open(&pair, NULL);
  ASSERT_OK(uvface_init(&pair.loop, &lone));
  ASSERT_OK(uvface_recv_start(&pair.engine, ignore_recv));
  if (_i == 0) {
    uv_walk(&pair.loop, close_any, NULL);
  } else {
    uvface_recv_stop(&pair.engine);
    uvface_recv_start(&pair.engine, walk_and_close);
    ck_assert_int_eq(uvface_try_send(&pair.app, &buf, 1), (int) sizeof(payload));
  }
  if (_i != 2) uv_run(&pair.loop, UV_RUN_DEFAULT); /* ends: nothing is left alive on the loop */
  if (_i != 2) assert_canceled(&pair.app);
  if (_i != 2) ck_assert_int_eq(uvface_create(&lone, harness_name("lone"), NULL), UV_ECANCELED);
  uvface_ref(&pair.app);
  closes = 0;
  uvface_close(&pair.app, count_close);
  ASSERT_OK(uvface_init(&pair.loop, &later)); /* a new face on the same loop is as good as new */
  uvface_close(&pair.engine, count_close);
  ASSERT_OK(uvface_create(&later, harness_name("later"), NULL));
  uvface_close(&later, count_close);
  uvface_close(&lone, count_close);
  finish_loop(&pair.loop);
  ck_assert_int_eq(closes, 4);
}

/* --- 9 ---------------------------------------------------------------------------------------- */

TEST(rule9_active_face_keeps_loop_alive) {
  pair_t pair;
  uvface_send_t req;
  uv_buf_t buf = packet();

  pair_open(&pair, NULL);
  ck_assert(!uv_loop_alive(&pair.loop));
  ck_assert_int_eq(uv_run(&pair.loop, UV_RUN_DEFAULT), 0); /* returns at once */
  ASSERT_OK(uvface_recv_start(&pair.engine, ignore_recv));
  ck_assert(uvface_is_active(&pair.engine) && uv_loop_alive(&pair.loop));
  uvface_unref(&pair.engine);
  uvface_unref(&pair.engine);
  ck_assert(!uvface_has_ref(&pair.engine) && !uv_loop_alive(&pair.loop));
  uvface_ref(&pair.engine);
  ck_assert(uvface_has_ref(&pair.engine) && uv_loop_alive(&pair.loop));
  ASSERT_OK(uvface_recv_stop(&pair.engine));
  ck_assert(!uvface_is_active(&pair.engine) && !uv_loop_alive(&pair.loop));
  fill_ring(&pair.app);
  ASSERT_OK(uvface_send(&req, &pair.app, &buf, 1, NULL));
  ck_assert(uvface_is_active(&pair.app) && uv_loop_alive(&pair.loop));
  ASSERT_OK(uvface_recv_start(&pair.engine, ignore_recv));
  uvface_unref(&pair.engine);
  ck_assert_int_eq(uv_run(&pair.loop, UV_RUN_DEFAULT), 0); /* until the send is in the ring */
  ck_assert(!uvface_is_active(&pair.app));
  pair_close(&pair);
}

/* --- 10 --------------------------------------------------------------------------------------- */

static int got_eof;

static void note_eof(uvface_t* face, ssize_t npkts, const uv_buf_t pkts[]) {
  if (npkts > 0) return;
  ck_assert_int_eq(npkts, UV_EOF);
  ck_assert_ptr_null(pkts);
  ck_assert(!uvface_is_active(face)); /* receiving is stopped already */
  got_eof++;
}

TEST(rule10_null_callbacks_and_dead_faces) {
  pair_t pair;
  uvface_send_t req;
  uvface_stats_t stats;
  uv_buf_t buf = packet(), slot;

  pair_open(&pair, NULL);
  ASSERT_OK(uvface_recv_start(&pair.engine, NULL));
  ASSERT_OK(uvface_send(&req, &pair.app, &buf, 1, NULL));
  RUN_UNTIL(&pair.loop, uvface_get_stats(&pair.engine, &stats) == 0 && stats.rx_packets == 1);
  got_eof = 0;
  ASSERT_OK(uvface_recv_start(&pair.app, note_eof));
  uvface_close(&pair.engine, NULL);
  RUN_UNTIL(&pair.loop, got_eof);
  ck_assert_int_eq(uvface_recv_start(&pair.app, note_eof), UV_EOF);
  ck_assert_int_eq(uvface_recv_stop(&pair.app), 0);
  ck_assert_int_eq(uvface_try_send(&pair.app, &buf, 1), UV_EPIPE);
  ck_assert_int_eq(uvface_reserve(&pair.app, 1, &slot), UV_EPIPE);
  ck_assert_int_eq(uvface_commit(&pair.app, 1), UV_EPIPE);
  ck_assert_ptr_nonnull(strstr(uvface_errmsg(&pair.app), "the peer is gone"));
  uvface_close(&pair.app, NULL);
  ck_assert_int_eq(uvface_try_send_batch(&pair.app, &buf, 1), UV_ENOTCONN);
  ck_assert_int_eq(uvface_recv_stop(&pair.app), UV_ENOTCONN);
  ck_assert_int_eq(uvface_get_stats(&pair.app, &stats), 0); /* until the close callback has returned */
  ck_assert_uint_eq(stats.tx_packets, 1);
  ck_assert_int_eq(uvface_create(&pair.app, pair.name, NULL), UV_ENOTCONN);
  finish_loop(&pair.loop);
  ck_assert_int_eq(got_eof, 1);
  ck_assert_int_eq(uvface_try_send(NULL, &buf, 1), UV_EINVAL);
  ck_assert_int_eq(uvface_get_stats(&pair.app, &stats), UV_EINVAL); /* closed: nothing is behind it */
  ck_assert_uint_eq(uvface_get_mtu(&pair.app), 0);
  ck_assert_str_eq(uvface_errmsg(NULL), "");
}

/* face: NULL, or one that uvface_init() has not seen. */
static void assert_no_face(uvface_t* face) {
  uvface_stats_t stats;
  uvface_send_t req;
  uv_buf_t buf = packet(), slot;

  ck_assert_int_eq(uvface_create(face, "name", NULL), UV_EINVAL);
  ck_assert_int_eq(uvface_connect(face, "name", NULL), UV_EINVAL);
  ck_assert_int_eq(uvface_recv_start(face, must_not_run_recv), UV_EINVAL);
  ck_assert_int_eq(uvface_recv_stop(face), UV_EINVAL);
  ck_assert_int_eq(uvface_send(&req, face, &buf, 1, must_not_run_send), UV_EINVAL);
  ck_assert_int_eq(uvface_try_send(face, &buf, 1), UV_EINVAL);
  ck_assert_int_eq(uvface_try_send_batch(face, &buf, 1), UV_EINVAL);
  ck_assert_int_eq(uvface_reserve(face, 1, &slot), UV_EINVAL);
  ck_assert_int_eq(uvface_commit(face, 1), UV_EINVAL);
  ck_assert_int_eq(uvface_get_stats(face, &stats), UV_EINVAL);
  ck_assert(!uvface_is_active(face) && uvface_is_closing(face) && !uvface_has_ref(face) && uvface_get_mtu(face) == 0);
  ck_assert_str_eq(uvface_errmsg(face), "");
  uvface_ref(face);
  uvface_unref(face);
  uvface_close(face, NULL);
}

TEST(rule10_what_is_no_face_is_einval_everywhere) {
  uvface_t never = {.priv_ = NULL};
  uv_loop_t loop;

  assert_no_face(NULL);
  assert_no_face(&never);
  ck_assert_int_eq(uvface_init(NULL, &never), UV_EINVAL);
  ck_assert_int_eq(uvface_init(&loop, NULL), UV_EINVAL);
  ck_assert_uint_eq(uvface_version() >> 16 == 0 && uvface_version() > 0, 1);
}
