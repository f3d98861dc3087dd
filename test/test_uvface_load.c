/* SPDX-License-Identifier: MIT */
/* test_uvface_load.c: what faces that are idle, full or flooded cost the others of their loop, by counting and
 * not by the clock: accesses to shared memory (the points of lib/words.h), packets, bytes of the FIFO. The
 * same by the clock, with processes, is test/stress/soak.c. */
#include <fcntl.h>
#include <unistd.h>

#include "faces.h"
#include "words.h"

enum { IDLE_FACES = 50, TURNS = 1000, FLOODED_TURNS = 100, FIFO_BYTES_PER_TURN = 4096, PACKETS_PER_TURN = 64 };

static uint64_t accesses;

void ndnshm__point(const char* access) {
  (void) access;
  accesses++;
}

static ssize_t received;

static void count_packets(uvface_t* face, ssize_t npkts, const uv_buf_t pkts[]) {
  (void) pkts;
  ck_assert_int_gt(npkts, 0);
  received += npkts;
  if (face->data != NULL) *(ssize_t*) face->data += npkts;
}

static uint64_t accesses_of_turns(uv_loop_t* loop, int turns) {
  uint64_t before = accesses;

  for (int turn = 0; turn < turns; turn++) uv_run(loop, UV_RUN_NOWAIT);
  return accesses - before;
}

/* Turns until every face is parked: a turn then touches none. */
static void settle(uv_loop_t* loop) {
  uint64_t end_ns = harness_now_ns() + UINT64_C(10000000000) * harness_slow();

  while (accesses_of_turns(loop, 10) > 0) ck_assert_uint_lt(harness_now_ns(), end_ns);
}

/* --- Idle ------------------------------------------------------------------------------------- */

/* A look by the clock now and then is allowed; one each turn would be at least TURNS, for each face. */
TEST(idle_faces_are_not_looked_at) {
  static uvface_t idle[IDLE_FACES];
  uvface_options_t options = UVFACE_OPTIONS_INIT;
  pair_t pair;
  char tag[16];

  options.capacity = 16;
  options.slot_size = 64;
  pair_open(&pair, &options);
  ASSERT_OK(uvface_recv_start(&pair.engine, count_packets));
  ASSERT_OK(uvface_recv_start(&pair.app, count_packets));
  for (int i = 0; i < IDLE_FACES; i++) {
    snprintf(tag, sizeof(tag), "idle-%d", i);
    ASSERT_OK(uvface_init(&pair.loop, &idle[i]));
    ASSERT_OK(uvface_create(&idle[i], harness_name(tag), &options));
    ASSERT_OK(uvface_recv_start(&idle[i], count_packets));
  }
  settle(&pair.loop);
  ck_assert_uint_lt(accesses_of_turns(&pair.loop, TURNS), TURNS / 2);
  for (int i = 0; i < IDLE_FACES; i++) uvface_close(&idle[i], NULL);
  pair_close(&pair);
}

/* --- Full ------------------------------------------------------------------------------------- */

TEST(face_that_waits_for_room_is_not_looked_at) {
  pair_t pair;
  uvface_send_t req;
  char byte = 'x';
  uv_buf_t buf = uv_buf_init(&byte, 1);

  pair_open(&pair, NULL);
  fill_ring(&pair.engine);
  ASSERT_OK(uvface_send(&req, &pair.engine, &buf, 1, NULL));
  settle(&pair.loop);
  ck_assert_uint_lt(accesses_of_turns(&pair.loop, TURNS), TURNS / 2);
  ck_assert(uvface_is_active(&pair.engine)); /* it still waits */
  ASSERT_OK(uvface_recv_start(&pair.app, count_packets));
  received = 0;
  while (received < 257) uv_run(&pair.loop, UV_RUN_ONCE); /* and is woken: the harness's timeout is the deadline */
  pair_close(&pair);
}

/* --- Flooded ---------------------------------------------------------------------------------- */

/* A second face with an app on the pair's loop. */
static void open_victim(pair_t* pair, uvface_t* engine, uvface_t* app) {
  ASSERT_OK(uvface_init(&pair->loop, engine));
  ASSERT_OK(uvface_init(&pair->loop, app));
  ASSERT_OK(uvface_create(engine, harness_name("victim"), NULL));
  ASSERT_OK(uvface_connect(app, harness_name("victim"), NULL));
}

static void flood_fifo(int fd) {
  static const char bytes[FIFO_BYTES_PER_TURN];

  while (write(fd, bytes, sizeof(bytes)) > 0) continue;
}

static uint64_t bytes_drained(const uvface_t* face) {
  uvface_stats_t stats;

  ASSERT_OK(uvface_get_stats(face, &stats));
  return stats.wakeups_received;
}

/* The flooder's ring and FIFO are full at the start of each turn. In that turn the victim gets its packet all the
 * same, and the flooder no more than its share. */
TEST(flooded_face_leaves_the_turn_to_others) {
  pair_t flooder;
  uvface_t engine, app;
  ssize_t of_victim = 0, of_flooder = 0;
  char byte = 'v';
  uv_buf_t buf = uv_buf_init(&byte, 1);
  int fd;

  NEEDS_NAMES();
  pair_open(&flooder, NULL);
  open_victim(&flooder, &engine, &app);
  engine.data = &of_victim;
  flooder.engine.data = &of_flooder;
  fd = open(harness_a2e_path(flooder.name), O_WRONLY | O_NONBLOCK | O_CLOEXEC);
  ck_assert_int_ge(fd, 0);
  ASSERT_OK(uvface_recv_start(&engine, count_packets));
  ASSERT_OK(uvface_recv_start(&flooder.engine, count_packets));
  for (int turn = 1; turn <= FLOODED_TURNS; turn++) {
    uint64_t drained = bytes_drained(&flooder.engine);
    ssize_t before = of_flooder;

    fill_ring(&flooder.app);
    flood_fifo(fd);
    ck_assert_int_eq(uvface_try_send(&app, &buf, 1), 1);
    uv_run(&flooder.loop, UV_RUN_NOWAIT);
    ck_assert_int_eq(of_victim, turn);
    ck_assert_int_le(of_flooder - before, PACKETS_PER_TURN);
    ck_assert_uint_le(bytes_drained(&flooder.engine) - drained, FIFO_BYTES_PER_TURN);
  }
  ck_assert_int_ge(of_flooder, FLOODED_TURNS); /* it is served, too */
  close(fd);
  uvface_close(&app, NULL);
  uvface_close(&engine, NULL);
  pair_close(&flooder);
}
