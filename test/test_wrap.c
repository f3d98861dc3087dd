/* SPDX-License-Identifier: MIT */
/* test_wrap.c: an app's face whose indices wrap at 2^32 while packets flow both ways, in a region that a peer
 * made (puppet.h) with indices that begin shortly before: with a capacity that divides 2^32, and with one that
 * does not, where our producer has to let the ring drain. An engine's indices always begin at 0, and its
 * capacity is a power of two; its wrap is the same code, tested in test_ring.c. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "faces.h"
#include "puppet.h"

#define SLOT_BYTES 60
#define BATCH 7u
#define REQUESTS 430u
#define PACKETS (REQUESTS * BATCH) /* each way */
#define BEFORE_WRAP 600u

static const uint32_t capacities[] = {256, 131, 16, 3, 1};

typedef struct wrap_s {
  uv_loop_t loop;
  uvface_t face;
  puppet_t puppet;
  uvface_send_t reqs[REQUESTS];
  uint32_t numbers[PACKETS];
  unsigned int sent, acked, at_engine, from_engine, received, bad;
  bool lazy; /* the engine takes nothing until the ring is full, as far as it can be */
  int done;
} wrap_t;

static void on_sent(uvface_send_t* req, int status) {
  wrap_t* w = req->data;

  w->bad += status != 0;
  w->acked += BATCH;
}

static void on_packets(uvface_t* face, ssize_t npkts, const uv_buf_t pkts[]) {
  wrap_t* w = face->data;

  if (npkts < 0) ck_abort_msg("%s", uvface_errmsg(face));
  for (ssize_t p = 0; p < npkts; p++, w->received++)
    w->bad += pkts[p].len != sizeof(w->received) || memcmp(pkts[p].base, &w->received, sizeof(w->received)) != 0;
}

/* The engine: takes what has come, all of it or as little as it can, and sends numbers of its own. */
static void move_engine(uv_idle_t* idle) {
  wrap_t* w = idle->data;
  uint32_t published = puppet_load(puppet_peer_tail(&w->puppet)) - w->puppet.head;
  uint32_t number;

  if (w->lazy && published < w->puppet.capacity && w->at_engine + published < w->sent)
    published = published > 0; /* one at a time, so that the ring stays as full as our producer dares */
  for (; published > 0; published--, w->at_engine++)
    w->bad += puppet_take(&w->puppet, &number, sizeof(number)) != (int) sizeof(number) || number != w->at_engine;
  while (w->from_engine < PACKETS && puppet_send(&w->puppet, &w->from_engine, sizeof(w->from_engine))) w->from_engine++;
  while (w->sent < PACKETS && w->sent - w->acked < 500) {
    uvface_send_t* req = &w->reqs[w->sent / BATCH];
    uv_buf_t bufs[BATCH]; /* it may straddle the wrap */

    req->data = w;
    for (unsigned int b = 0; b < BATCH; b++, w->sent++) {
      w->numbers[w->sent] = w->sent;
      bufs[b] = uv_buf_init((char*) &w->numbers[w->sent], sizeof(w->numbers[0]));
    }
    if (uvface_send_batch(req, &w->face, bufs, BATCH, on_sent) != 0) ck_abort_msg("%s", uvface_errmsg(&w->face));
  }
  w->done = w->at_engine == PACKETS && w->received == PACKETS && w->acked == PACKETS;
}

TEST_KINDS_LOOP(every_packet_passes_the_wrap_once_in_order, 2 * (int) (sizeof(capacities) / sizeof(capacities[0]))) {
  wrap_t* w = calloc(1, sizeof(*w));
  uvface_options_t options = UVFACE_OPTIONS_INIT;
  char name[80];
  uv_idle_t mover;

  options.send_timeout_ms = 0;
  snprintf(name, sizeof(name), "%s", harness_name("wrap"));
  puppet_make(&w->puppet, name, capacities[_i / 2], SLOT_BYTES, 0u - BEFORE_WRAP);
  w->lazy = _i % 2 == 1;
  ASSERT_OK(uv_loop_init(&w->loop));
  ASSERT_OK(uvface_init(&w->loop, &w->face));
  w->face.data = w;
  ck_assert_msg(face_connect(&w->face, name, &options) == 0, "%s", uvface_errmsg(&w->face));
  ASSERT_OK(uvface_recv_start(&w->face, on_packets));
  uv_idle_init(&w->loop, &mover);
  mover.data = w;
  uv_idle_start(&mover, move_engine);
  ck_assert_msg(run_until(&w->loop, &w->done, 20000), "%u at the engine, %u acknowledged, %u received", w->at_engine,
                w->acked, w->received);
  ck_assert_uint_eq(w->bad, 0);
  ck_assert_uint_eq(puppet_load(puppet_peer_tail(&w->puppet)), PACKETS - BEFORE_WRAP);
  ck_assert_uint_eq(puppet_load(puppet_peer_head(&w->puppet)), PACKETS - BEFORE_WRAP);
  mover.data = NULL;
  uv_close((uv_handle_t*) &mover, NULL);
  uvface_close(&w->face, NULL);
  finish_loop(&w->loop);
  puppet_drop(&w->puppet);
  free(w);
}
