/* SPDX-License-Identifier: MIT */
/* test_uvface_guard.c: what the adapter does about a peer that pulls the region away, wipes it, or floods: the
 * guard, the seal, the slow probe, the throttle, the bound on the queue. A "thief" is an app of our own that also
 * holds a descriptor of the region and of the engine's FIFO, as any app can. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "faces.h"

typedef struct thief_s {
  pair_t pair;
  int region_fd;
  int fifo_fd;
  int packets;
  int error;
} thief_t;

static void on_thief(uvface_t* face, ssize_t npkts, const uv_buf_t pkts[]) {
  thief_t* thief = face->data;

  (void) pkts;
  if (npkts > 0) {
    thief->packets += (int) npkts;
  } else {
    ck_assert_int_eq(thief->error, 0);
    thief->error = (int) npkts;
  }
}

static uvface_options_t small(unsigned int flags) {
  uvface_options_t options = UVFACE_OPTIONS_INIT;

  options.capacity = 16;
  options.slot_size = 1020;
  options.flags = flags;
  return options;
}

static void thief_open(thief_t* thief, unsigned int flags) {
  uvface_options_t options = small(flags);

  memset(thief, 0, sizeof(*thief));
  pair_open(&thief->pair, &options);
  thief->region_fd = open(harness_shm_path(thief->pair.name), O_RDWR | O_CLOEXEC);
  thief->fifo_fd = open(harness_a2e_path(thief->pair.name), O_WRONLY | O_NONBLOCK | O_CLOEXEC);
  ck_assert_int_ge(thief->region_fd, 0);
  ck_assert_int_ge(thief->fifo_fd, 0);
  thief->pair.engine.data = thief;
  ASSERT_OK(uvface_recv_start(&thief->pair.engine, on_thief));
}

static void thief_close(thief_t* thief) {
  close(thief->region_fd);
  close(thief->fifo_fd);
  pair_close(&thief->pair);
}

static void send_one(uvface_t* face) {
  char byte = 'x';
  uv_buf_t buf = uv_buf_init(&byte, 1);

  ck_assert_int_eq(uvface_try_send(face, &buf, 1), 1);
}

static void expect_error(thief_t* thief, int error, const char* reason) {
  ck_assert(run_until(&thief->pair.loop, &thief->error, DEADLINE_MS));
  ck_assert_int_eq(thief->error, error);
  ck_assert_msg(strstr(uvface_errmsg(&thief->pair.engine), reason) != NULL, "%s", uvface_errmsg(&thief->pair.engine));
}

/* --- The region lost its memory ------------------------------------------------------------------- */

static void pull_away(thief_t* thief) {
  ck_assert_int_eq(ftruncate(thief->region_fd, 0), 0);
}

void harness_setup(void) {
  harness_needs_fault_address();
}

TEST_LOOP(truncated_region_fails_the_face_with_eio, 4) {
  thief_t thief;
  char byte = 'x';
  uv_buf_t slot, buf = uv_buf_init(&byte, 1);

  harness_forbid_sealing();
  thief_open(&thief, UVFACE_SIGBUS_GUARD | (_i == 1 ? UVFACE_RECV_BORROW : 0));
  send_one(&thief.pair.app);
  ck_assert(run_until(&thief.pair.loop, &thief.packets, DEADLINE_MS));
  if (_i == 2) ASSERT_OK(uvface_reserve(&thief.pair.engine, 1, &slot));
  pull_away(&thief);
  if (_i == 2) ck_assert_int_eq(uvface_commit(&thief.pair.engine, 1), UV_EIO);
  if (_i == 3) ck_assert_int_eq(uvface_try_send(&thief.pair.engine, &buf, 1), UV_EIO);
  expect_error(&thief, UV_EIO, "lost its memory");
  ck_assert_int_eq(uvface_try_send(&thief.pair.engine, &buf, 1), UV_EIO);
  thief_close(&thief);
}

/* An engine that only sends must be told, too. */
TEST(truncated_region_fails_a_waiting_send) {
  thief_t thief;
  uvface_send_t req;
  char byte = 'x';
  uv_buf_t buf = uv_buf_init(&byte, 1);

  harness_forbid_sealing();
  thief_open(&thief, UVFACE_SIGBUS_GUARD);
  fill_ring(&thief.pair.engine);
  ASSERT_OK(uvface_send(&req, &thief.pair.engine, &buf, 1, NULL));
  pull_away(&thief);
  expect_error(&thief, UV_EIO, "lost its memory");
  thief_close(&thief);
}

/* The engine holds a descriptor, and so sees the length of the file: no guard is needed for that. */
TEST(probe_finds_a_truncated_region_without_touching_it) {
  uv_loop_t loop;
  uvface_t engine;
  thief_t thief = {0};
  uvface_options_t options = small(0);
  const char* name = harness_name("lone");
  int region_fd;

  ASSERT_OK(uv_loop_init(&loop));
  ASSERT_OK(uvface_init(&loop, &engine));
  ASSERT_OK(uvface_create(&engine, name, &options));
  engine.data = &thief;
  ASSERT_OK(uvface_recv_start(&engine, on_thief));
  run_for(&loop, 20); /* parked by now */
  region_fd = open(harness_shm_path(name), O_RDWR | O_CLOEXEC);
  ck_assert_int_eq(ftruncate(region_fd, 4096), 0);
  close(region_fd);
  ck_assert(run_until(&loop, &thief.error, DEADLINE_MS));
  ck_assert_int_eq(thief.error, UV_EIO);
  uvface_close(&engine, NULL);
  finish_loop(&loop);
}

/* No signal comes, only zeros; who is idle notices by the probe. */
TEST(probe_finds_a_region_that_was_truncated_and_grown_again) {
  thief_t thief;
  struct stat st;

  harness_forbid_sealing();
  thief_open(&thief, 0);
  run_for(&thief.pair.loop, 20);
  ck_assert_int_eq(fstat(thief.region_fd, &st), 0);
  pull_away(&thief);
  ck_assert_int_eq(ftruncate(thief.region_fd, st.st_size), 0);
  expect_error(&thief, UV_EPROTO, "wiped");
  thief_close(&thief);
}

/* What was added can be taken away again, and holds up whoever touches the region meanwhile. */
TEST_LOOP(probe_finds_a_region_that_somebody_made_longer, 2) {
  thief_t thief;
  struct stat st;

  if (_i == 0) harness_forbid_sealing();
  thief_open(&thief, 0); /* before the loop turns: in a second it would seal the region */
  ck_assert_int_eq(fstat(thief.region_fd, &st), 0);
  ck_assert_int_eq(fallocate(thief.region_fd, 0, st.st_size, 1), 0);
  expect_error(&thief, UV_EPROTO, "longer");
  thief_close(&thief);
}

/* Its peer claimed the announcement, and died before it wrote the byte. */
TEST(probe_finds_a_packet_that_nobody_told_of) {
  thief_t thief;
  uint32_t zero = 0;

  thief_open(&thief, 0);
  run_until_parked(&thief.pair.loop, &thief.pair.engine);
  ck_assert_int_eq(pwrite(thief.region_fd, &zero, sizeof(zero), 320), sizeof(zero));
  send_one(&thief.pair.app);
  ck_assert(run_until(&thief.pair.loop, &thief.packets, DEADLINE_MS));
  ck_assert_uint_eq(stats_of(&thief.pair.engine).wakeups_received, 0);
  ck_assert_uint_eq(stats_of(&thief.pair.engine).recheck_hits, 1);
  thief_close(&thief);
}

#define FACES 64
#define VICTIMS 48

TEST(of_64_faces_48_are_truncated_and_16_go_on) {
  static thief_t thieves[FACES];
  int failed = 0, served = 0;
  uint32_t random = 12345;

  harness_forbid_sealing();
  for (int i = 0; i < FACES; i++) {
    char name[80];
    uvface_options_t options = small(UVFACE_SIGBUS_GUARD);
    thief_t* t = &thieves[i];

    memset(t, 0, sizeof(*t));
    snprintf(name, sizeof(name), "%s-%d", harness_name("many"), i);
    snprintf(t->pair.name, sizeof(t->pair.name), "%s", name);
    if (i == 0) ASSERT_OK(uv_loop_init(&thieves[0].pair.loop));
    ASSERT_OK(uvface_init(&thieves[0].pair.loop, &t->pair.engine));
    ASSERT_OK(uvface_init(&thieves[0].pair.loop, &t->pair.app));
    ASSERT_OK(uvface_create(&t->pair.engine, name, &options));
    ASSERT_OK(uvface_connect(&t->pair.app, name, &options));
    t->region_fd = open(harness_shm_path(name), O_RDWR | O_CLOEXEC);
    t->pair.engine.data = t;
    ASSERT_OK(uvface_recv_start(&t->pair.engine, on_thief));
    send_one(&t->pair.app);
  }
  for (int i = 0; i < FACES; i++) RUN_UNTIL(&thieves[0].pair.loop, thieves[i].packets == 1);
  for (int victims = 0; victims < VICTIMS;) {
    thief_t* t = &thieves[(random = random * 1103515245u + 12345u) / 65536u % FACES];

    if (t->region_fd < 0) continue;
    ck_assert_int_eq(ftruncate(t->region_fd, (off_t) (random % 3) * 4096), 0);
    close(t->region_fd);
    t->region_fd = -1;
    victims++;
  }
  for (int i = 0; i < FACES; i++) {
    char byte = 'y';
    uv_buf_t buf = uv_buf_init(&byte, 1);
    int sent = uvface_try_send(&thieves[i].pair.app, &buf, 1);

    thieves[i].packets = 0;
    ck_assert(sent == 1 || (thieves[i].region_fd < 0 && sent == UV_EIO)); /* what is left may be enough for one */
  }
  for (int i = 0; i < FACES; i++) {
    const int* until = thieves[i].region_fd < 0 ? &thieves[i].error : &thieves[i].packets;

    ck_assert(run_until(&thieves[0].pair.loop, until, DEADLINE_MS));
    failed += thieves[i].error == UV_EIO;
    served += thieves[i].error == 0 && thieves[i].packets == 1;
  }
  ck_assert_int_eq(failed, VICTIMS);
  ck_assert_int_eq(served, FACES - VICTIMS);
  for (int i = 0; i < FACES; i++) {
    if (thieves[i].region_fd >= 0) close(thieves[i].region_fd);
    uvface_close(&thieves[i].pair.app, NULL);
    uvface_close(&thieves[i].pair.engine, NULL);
  }
  finish_loop(&thieves[0].pair.loop);
}

/* --- The seal --------------------------------------------------------------------------------- */

TEST(sealed_region_refuses_every_attack_and_traffic_goes_on) {
  thief_t thief;
  struct stat st;
  void* view;
  char path[64];

  if (!harness_may_seal()) SKIP("needs CAP_LINUX_IMMUTABLE");
  thief_open(&thief, 0);
  ck_assert_uint_eq(stats_of(&thief.pair.engine).sealed, 0);
  ck_assert_int_eq(fstat(thief.region_fd, &st), 0);
  view = mmap(NULL, (size_t) st.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, thief.region_fd, 0);
  ck_assert_ptr_ne(view, MAP_FAILED);
  send_one(&thief.pair.app);
  ck_assert(run_until(&thief.pair.loop, &thief.packets, DEADLINE_MS));
  RUN_UNTIL(&thief.pair.loop, stats_of(&thief.pair.engine).sealed == 1);
  ck_assert(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, thief.region_fd, 0) == MAP_FAILED);
  ck_assert(ftruncate(thief.region_fd, 0) == -1 && errno == EPERM);
  ck_assert(fallocate(thief.region_fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096) == -1 && errno == EPERM);
  snprintf(path, sizeof(path), "/proc/self/fd/%d", thief.region_fd);
  ck_assert(open(path, O_RDWR | O_CLOEXEC) == -1 && errno == EPERM);
  ck_assert(truncate(path, 0) == -1 && errno == EPERM);
  ck_assert(access(harness_shm_path(thief.pair.name), F_OK) == -1 && errno == ENOENT);
  munmap(view, (size_t) st.st_size);
  thief.packets = 0;
  send_one(&thief.pair.app);
  ck_assert(run_until(&thief.pair.loop, &thief.packets, DEADLINE_MS));
  thief_close(&thief);
}

TEST(sealed_region_keeps_its_pages_from_madvise) {
  thief_t thief;
  void* view;

  if (!harness_may_seal()) SKIP("needs CAP_LINUX_IMMUTABLE");
  if (harness_under_emulation()) SKIP("qemu answers madvise by itself");
  thief_open(&thief, 0);
  view = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, thief.region_fd, 0);
  ck_assert_ptr_ne(view, MAP_FAILED);
  send_one(&thief.pair.app);
  ck_assert(run_until(&thief.pair.loop, &thief.packets, DEADLINE_MS));
  RUN_UNTIL(&thief.pair.loop, stats_of(&thief.pair.engine).sealed == 1);
  ck_assert(madvise(view, 4096, MADV_REMOVE) == -1 && errno == EPERM);
  munmap(view, 4096);
  thief_close(&thief);
}

/* A sealed region cannot be removed, not even by root: another name would keep its memory for good. */
TEST_LOOP(region_that_was_given_another_name_is_not_sealed_and_fails_its_face, 2) {
  thief_t thief;
  char other[128];
  const char* path;

  if (!harness_may_seal()) SKIP("needs CAP_LINUX_IMMUTABLE");
  thief_open(&thief, 0);
  path = harness_shm_path(thief.pair.name);
  snprintf(other, sizeof(other), "%s-other", path);
  ck_assert_int_eq(_i == 0 ? link(path, other) : rename(path, other), 0);
  send_one(&thief.pair.app);
  ck_assert(run_until(&thief.pair.loop, &thief.error, DEADLINE_MS));
  ck_assert_int_eq(thief.error, UV_EPROTO);
  ck_assert_msg(strstr(uvface_errmsg(&thief.pair.engine), "another name") != NULL, "%s",
                uvface_errmsg(&thief.pair.engine));
  ck_assert_uint_eq(stats_of(&thief.pair.engine).sealed, 0);
  ck_assert_int_eq(unlink(other), 0);
  thief_close(&thief);
}

TEST(app_that_stays_silent_is_sealed_by_the_probe) {
  thief_t thief;

  if (!harness_may_seal()) SKIP("needs CAP_LINUX_IMMUTABLE");
  thief_open(&thief, 0);
  RUN_UNTIL(&thief.pair.loop, stats_of(&thief.pair.engine).sealed == 1);
  thief_close(&thief);
}

/* What an app, or anybody, can use up is not needed for it. (test_places has the same for inodes.) */
TEST(region_is_sealed_though_no_descriptor_is_left_when_its_app_comes) {
  thief_t thief;

  if (!harness_may_seal()) SKIP("needs CAP_LINUX_IMMUTABLE");
  if (harness_under_valgrind()) SKIP("valgrind needs descriptors of its own");
  thief_open(&thief, 0);
  ck_assert_int_eq(limit_descriptors(0), 0);
  ck_assert_int_eq(dup(thief.region_fd), -1);
  send_one(&thief.pair.app);
  RUN_UNTIL(&thief.pair.loop, stats_of(&thief.pair.engine).sealed == 1);
  ck_assert_int_eq(limit_descriptors(-1), 0);
  thief_close(&thief);
}

/* Of an app that truncates the region before it shows itself the engine learns without touching it, and without a
 * guard. */
TEST(region_that_is_truncated_before_its_app_is_seen_fails_its_face_alone) {
  uvface_options_t options = small(0);
  thief_t thief = {0};
  uv_loop_t loop;
  uvface_t engine;

  if (harness_under_emulation()) SKIP("qemu answers madvise by itself");
  options.recheck_ms = 0; /* it looks at the ring, once in the millisecond in which the face has gone to sleep */
  ASSERT_OK(uv_loop_init(&loop));
  ASSERT_OK(uvface_init(&loop, &engine));
  ASSERT_OK(uvface_create(&engine, harness_name("early"), &options));
  engine.data = &thief;
  ASSERT_OK(uvface_recv_start(&engine, on_thief));
  run_until_parked(&loop, &engine);
  ck_assert_int_eq(truncate(harness_shm_path(harness_name("early")), 0), 0);
  thief.fifo_fd = open(harness_a2e_path(harness_name("early")), O_WRONLY | O_NONBLOCK | O_CLOEXEC);
  ck_assert_int_eq(write(thief.fifo_fd, "x", 1), 1);
  ck_assert(run_until(&loop, &thief.error, DEADLINE_MS));
  ck_assert_int_eq(thief.error, UV_EIO);
  close(thief.fifo_fd);
  uvface_close(&engine, NULL);
  finish_loop(&loop);
}

TEST(name_of_a_sealed_region_is_still_taken) {
  thief_t thief;
  uvface_t other;

  if (!harness_may_seal()) SKIP("needs CAP_LINUX_IMMUTABLE");
  thief_open(&thief, 0);
  send_one(&thief.pair.app);
  ck_assert(run_until(&thief.pair.loop, &thief.packets, DEADLINE_MS));
  RUN_UNTIL(&thief.pair.loop, stats_of(&thief.pair.engine).sealed == 1);
  ASSERT_OK(uvface_init(&thief.pair.loop, &other));
  ck_assert_int_eq(uvface_create(&other, thief.pair.name, NULL), UV_EADDRINUSE);
  ck_assert_int_eq(uvface_connect(&other, thief.pair.name, NULL), UV_EBUSY);
  thief.packets = 0;
  send_one(&thief.pair.app);
  ck_assert(run_until(&thief.pair.loop, &thief.packets, DEADLINE_MS));
  uvface_close(&other, NULL);
  thief_close(&thief);
}

static int sealing_engine_body(void* arg) {
  thief_t thief = {0};
  uvface_options_t options = small(0);

  uv_loop_init(&thief.pair.loop);
  uvface_init(&thief.pair.loop, &thief.pair.engine);
  thief.pair.engine.data = &thief;
  if (uvface_create(&thief.pair.engine, arg, &options) != 0) return 1;
  uvface_recv_start(&thief.pair.engine, on_thief);
  uv_run(&thief.pair.loop, UV_RUN_DEFAULT);
  return 0;
}

/* The region's lock tells who is dead, but its name has gone; and an ndn-rs app reads the FIFO until it ends. */
TEST(name_of_a_dead_sealing_engine_is_free_while_its_app_lingers) {
  uv_loop_t loop;
  uvface_t app, heir;
  char name[80];
  int lingering;
  pid_t pid;

  if (!harness_may_seal()) SKIP("needs CAP_LINUX_IMMUTABLE");
  snprintf(name, sizeof(name), "%s", harness_name("linger"));
  pid = harness_fork(sealing_engine_body, name);
  ASSERT_OK(uv_loop_init(&loop));
  ASSERT_OK(uvface_init(&loop, &app));
  RUN_UNTIL(&loop, uvface_get_mtu(&app) != 0 || uvface_connect(&app, name, NULL) == 0);
  lingering = open(harness_a2e_path(name), O_RDWR | O_NONBLOCK | O_CLOEXEC);
  ck_assert_int_ge(lingering, 0);
  send_one(&app);
  RUN_UNTIL(&loop, !exists(harness_shm_path(name)));
  ASSERT_OK(uvface_init(&loop, &heir));
  ck_assert_int_eq(uvface_create(&heir, name, NULL), UV_EADDRINUSE);
  harness_kill(pid);
  ck_assert_msg(uvface_create(&heir, name, NULL) == 0, "%s", uvface_errmsg(&heir));
  close(lingering);
  uvface_close(&app, NULL);
  uvface_close(&heir, NULL);
  finish_loop(&loop);
}

TEST(engine_that_may_not_seal_goes_on_and_says_so) {
  thief_t thief;

  harness_forbid_sealing();
  thief_open(&thief, 0);
  send_one(&thief.pair.app);
  ck_assert(run_until(&thief.pair.loop, &thief.packets, DEADLINE_MS));
  ck_assert_uint_eq(stats_of(&thief.pair.engine).sealed, 0);
  ck_assert_int_eq(access(harness_shm_path(thief.pair.name), F_OK), 0);
  thief_close(&thief);
}

/* --- The names were swept away -------------------------------------------------------------------- */

static void sweep_away(const char* name, int which) {
  const char* path = which == 0 ? harness_shm_path(name) : which == 1 ? harness_a2e_path(name) : harness_e2a_path(name);

  ck_assert_int_eq(unlink(path), 0);
}

static void open_waiting(thief_t* t, uv_loop_t* loop, uvface_t* engine, const char* name) {
  uvface_options_t options = small(0);

  ASSERT_OK(uvface_init(loop, engine));
  engine->data = t;
  ck_assert_msg(uvface_create(engine, name, &options) == 0, "%s", uvface_errmsg(engine));
  ASSERT_OK(uvface_recv_start(engine, on_thief));
}

/* _i: which. It can be created again, and an app finds it. */
TEST_LOOP(waiting_engine_is_told_that_a_name_of_its_face_was_removed, 3) {
  const char* parts[] = {"/ndn-shm-", ".a2e", ".e2a"};
  thief_t thief = {0};
  uv_loop_t loop;
  uvface_t engine, app;

  ASSERT_OK(uv_loop_init(&loop));
  open_waiting(&thief, &loop, &engine, harness_name("swept"));
  sweep_away(harness_name("swept"), _i);
  ck_assert(run_until(&loop, &thief.error, DEADLINE_MS));
  ck_assert_int_eq(thief.error, UV_ENOENT);
  ck_assert_msg(strstr(uvface_errmsg(&engine), "somebody removed it") != NULL &&
                    strstr(uvface_errmsg(&engine), parts[_i]) != NULL,
                "%s", uvface_errmsg(&engine));
  close_face(&engine);
  open_waiting(&thief, &loop, &engine, harness_name("swept"));
  ASSERT_OK(uvface_init(&loop, &app));
  ck_assert_msg(uvface_connect(&app, harness_name("swept"), NULL) == 0, "%s", uvface_errmsg(&app));
  uvface_close(&app, NULL);
  uvface_close(&engine, NULL);
  finish_loop(&loop);
}

/* The same probe that ends one that waits, and was opened later, has passed it by. */
TEST(face_that_has_its_app_needs_no_names) {
  thief_t thief, waiting = {0};
  uvface_t engine;

  harness_forbid_sealing();
  thief_open(&thief, 0);
  open_waiting(&waiting, &thief.pair.loop, &engine, harness_name("waits"));
  for (int i = 0; i < 3; i++) sweep_away(thief.pair.name, i);
  sweep_away(harness_name("waits"), 0);
  ck_assert(run_until(&thief.pair.loop, &waiting.error, DEADLINE_MS));
  ck_assert_int_eq(waiting.error, UV_ENOENT);
  ck_assert_int_eq(thief.error, 0);
  send_one(&thief.pair.app);
  RUN_UNTIL(&thief.pair.loop, thief.packets == 1);
  uvface_close(&engine, NULL);
  thief_close(&thief);
}

/* --- Floods ----------------------------------------------------------------------------------- */

static void flood(uv_idle_t* idle) {
  thief_t* thief = idle->data;

  ck_assert(write(thief->fifo_fd, "zzzzzzzz", 8) == 8 || errno == EAGAIN);
}

TEST(flooded_fifo_is_not_polled_until_it_is_quiet) {
  thief_t thief;
  uv_idle_t flooder;

  thief_open(&thief, 0);
  uv_idle_init(&thief.pair.loop, &flooder);
  flooder.data = &thief;
  uv_idle_start(&flooder, flood);
  RUN_UNTIL(&thief.pair.loop, stats_of(&thief.pair.engine).throttled == 1);
  send_one(&thief.pair.app);
  ck_assert(run_until(&thief.pair.loop, &thief.packets, DEADLINE_MS)); /* found by the clock */
  uv_idle_stop(&flooder);
  flooder.data = NULL;
  uv_close((uv_handle_t*) &flooder, NULL);
  RUN_UNTIL(&thief.pair.loop, stats_of(&thief.pair.engine).throttled == 0);
  thief.packets = 0;
  run_for(&thief.pair.loop, 5);
  send_one(&thief.pair.app);
  ck_assert(run_until(&thief.pair.loop, &thief.packets, DEADLINE_MS));
  thief_close(&thief);
}

TEST(death_of_a_flooder_is_reported) {
  thief_t thief;
  int waited = 0;

  thief_open(&thief, 0);
  while (stats_of(&thief.pair.engine).throttled == 0 && waited++ < 1000) {
    ck_assert_int_eq(write(thief.fifo_fd, "z", 1), 1);
    uv_run(&thief.pair.loop, UV_RUN_NOWAIT);
  }
  ck_assert_uint_eq(stats_of(&thief.pair.engine).throttled, 1);
  close(thief.fifo_fd);
  thief.fifo_fd = -1;
  uvface_close(&thief.pair.app, NULL);
  expect_error(&thief, UV_EOF, "gone");
  ck_assert_uint_eq(stats_of(&thief.pair.engine).throttled, 0);
  thief.error = 0;
  close(thief.region_fd);
  pair_close(&thief.pair);
}

/* --- The queue -------------------------------------------------------------------------------- */

static int canceled;

static void count_canceled(uvface_send_t* req, int status) {
  (void) req;
  ck_assert_int_eq(status, UV_ECANCELED);
  canceled++;
}

static unsigned int queue_until_refused(uvface_t* face, uvface_send_t reqs[], unsigned int max, int* ret_err) {
  static char byte = 'q';
  uv_buf_t buf = uv_buf_init(&byte, 1);
  unsigned int n = 0;

  *ret_err = 0;
  while (n < max && (*ret_err = uvface_send(&reqs[n], face, &buf, 1, count_canceled)) == 0) n++;
  return n;
}

TEST_LOOP(queue_of_an_engine_is_bounded, 2) {
  static uvface_send_t reqs[1100];
  thief_t thief;
  uvface_options_t options = small(0);
  unsigned int bound = _i == 0 ? 1024 : 3, queued;
  int err;

  options.queue_max = _i == 0 ? 0 : 3;
  pair_open(&thief.pair, &options);
  fill_ring(&thief.pair.engine);
  fill_ring(&thief.pair.app);
  canceled = 0;
  ck_assert_uint_eq(queue_until_refused(&thief.pair.engine, reqs, 1100, &err), bound);
  ck_assert_int_eq(err, UV_ENOBUFS);
  ck_assert_ptr_nonnull(strstr(uvface_errmsg(&thief.pair.engine), "wait for room already"));
  uvface_close(&thief.pair.engine, NULL);
  RUN_UNTIL(&thief.pair.loop, canceled == (int) bound);
  if (_i == 0) { /* an app's sends have a deadline instead */
    uvface_close(&thief.pair.app, NULL);
    uv_run(&thief.pair.loop, UV_RUN_DEFAULT);
    ASSERT_OK(uvface_init(&thief.pair.loop, &thief.pair.engine));
    ASSERT_OK(uvface_init(&thief.pair.loop, &thief.pair.app));
    ASSERT_OK(uvface_create(&thief.pair.engine, thief.pair.name, &options));
    ASSERT_OK(uvface_connect(&thief.pair.app, thief.pair.name, &options));
    fill_ring(&thief.pair.app);
    queued = queue_until_refused(&thief.pair.app, reqs, 1100, &err);
    ck_assert_uint_eq(queued, 1100);
    ck_assert_int_eq(err, 0);
  }
  pair_close(&thief.pair);
}
