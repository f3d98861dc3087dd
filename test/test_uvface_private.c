/* SPDX-License-Identifier: MIT */
/* test_uvface_private.c: what of private faces is the adapter's: whose the descriptors are, and how a death is told.
 * What all faces have in common is tested over both kinds in test_uvface_rules.c and its like; what the core checks, in
 * test_private.c. */
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "faces.h"

#define N_PRIVATE (N_KINDS - BY_SOCKET)
#define KIND ((kind_t) (BY_SOCKET + _i))

typedef struct told_s {
  int packets, end, done;
} told_t;

static void on_packets(uvface_t* face, ssize_t npkts, const uv_buf_t pkts[]) {
  told_t* told = face->data;

  (void) pkts;
  if (npkts > 0) told->packets += (int) npkts;
  if (npkts < 0) told->end = (int) npkts;
  told->done = 1;
}

static void listen_to(uvface_t* face, told_t* told) {
  *told = (told_t){0};
  face->data = told;
  ASSERT_OK(uvface_recv_start(face, on_packets));
}

static int send_text(uvface_t* face, const char* text) {
  uv_buf_t buf = uv_buf_init((char*) (uintptr_t) text, (unsigned int) strlen(text));

  return uvface_try_send(face, &buf, 1);
}

TEST_LOOP(faces_that_were_handed_over_talk_and_part, N_PRIVATE) {
  told_t engine, app;
  pair_t pair;

  faces_kind = KIND;
  pair_open(&pair, NULL);
  listen_to(&pair.engine, &engine);
  listen_to(&pair.app, &app);
  run_until_parked(&pair.loop, &pair.engine);
  ck_assert_int_eq(send_text(&pair.app, "up"), 2);
  RUN_UNTIL(&pair.loop, engine.packets == 1);
  ck_assert_int_eq(send_text(&pair.engine, "down"), 4);
  RUN_UNTIL(&pair.loop, app.packets == 1);
  ck_assert_uint_eq(stats_of(&pair.engine).sealed, 1);
  ck_assert_uint_eq(stats_of(&pair.app).sealed, 1);
  ck_assert_int_eq(send_text(&pair.app, "last words"), 10);
  uvface_close(&pair.app, NULL);
  RUN_UNTIL(&pair.loop, engine.end != 0);
  ck_assert_int_eq(engine.end, UV_EOF);
  ck_assert_int_eq(engine.packets, 2);
  ck_assert_int_eq(send_text(&pair.engine, "to nobody"), UV_EPIPE);
  ck_assert_ptr_nonnull(strstr(uvface_errmsg(&pair.engine), "private face"));
  pair_close(&pair);
}

static int fds_at_close;

static void count_fds_at_close(uvface_t* face) {
  (void) face;
  fds_at_close = harness_count_fds();
}

/* Of an app that makes nothing slow: what may be open for longer is said in docs/security.rst. */
TEST_LOOP(descriptors_are_closed_when_the_close_callback_comes, N_PRIVATE) {
  uvface_options_t options = UVFACE_OPTIONS_INIT;
  uv_loop_t loop;
  uvface_t first, face;
  int before;

  options.flags = _i == 0 ? UVFACE_WAKE_SOCKET : UVFACE_WAKE_PIPE;
  ASSERT_OK(uv_loop_init(&loop));
  ASSERT_OK(uvface_init(&loop, &first));
  ASSERT_OK(uvface_create_private(&first, &options)); /* the loop's own handles are there then */
  ASSERT_OK(uvface_init(&loop, &face));
  before = harness_count_fds();
  ASSERT_OK(uvface_create_private(&face, &options));
  ck_assert_int_gt(harness_count_fds(), before);
  uvface_close(&face, count_fds_at_close);
  for (fds_at_close = 0; fds_at_close == 0;) uv_run(&loop, UV_RUN_NOWAIT);
  ck_assert_int_eq(fds_at_close, before);
  uvface_close(&first, NULL);
  finish_loop(&loop);
}

TEST_LOOP(engine_that_closes_is_end_of_file, N_PRIVATE) {
  told_t app;
  pair_t pair;

  faces_kind = KIND;
  pair_open(&pair, NULL);
  listen_to(&pair.app, &app);
  run_until_parked(&pair.loop, &pair.app);
  ck_assert_int_eq(send_text(&pair.engine, "last words"), 10);
  uvface_close(&pair.engine, NULL);
  RUN_UNTIL(&pair.loop, app.end != 0);
  ck_assert_int_eq(app.end, UV_EOF);
  ck_assert_int_eq(app.packets, 1);
  pair_close(&pair);
}

/* Has the engine write a byte that nobody reads: the app says in the region that it sleeps. */
static void leave_a_byte(uvface_t* engine, int region_fd) {
  static const uint32_t parked = 1;

  ck_assert_int_eq(pwrite(region_fd, &parked, sizeof(parked), 384), sizeof(parked));
  ck_assert_int_eq(send_text(engine, "wakes you"), 9);
}

/* An engine of that kind alone, and what its app would have. */
static void open_engine(kind_t kind, uv_loop_t* loop, uvface_t* engine, int fds[3]) {
  ASSERT_OK(uv_loop_init(loop));
  ASSERT_OK(uvface_init(loop, engine));
  faces_kind = kind;
  ASSERT_OK(face_create(engine, harness_name("alone"), NULL));
  ck_assert(face_take(harness_name("alone"), fds));
}

/* A Unix socket tells of that as an error, which stands behind whatever the peer had sent itself. */
TEST_LOOP(app_that_dies_with_a_byte_unread_is_end_of_file, 3) {
  static const char flood[150000];
  const size_t sent = _i == 0 ? 0 : _i == 1 ? 1 : sizeof(flood);
  const int all = 4 << 20;
  told_t told;
  uv_loop_t loop;
  uvface_t engine;
  int fds[3];

  open_engine(BY_SOCKET, &loop, &engine, fds);
  listen_to(&engine, &told);
  run_until_parked(&loop, &engine);
  setsockopt(fds[1], SOL_SOCKET, SO_SNDBUF, &all, sizeof(all));
  leave_a_byte(&engine, fds[0]);
  ck_assert_int_eq(send(fds[1], flood, sent, MSG_DONTWAIT), (ssize_t) sent);
  close_fds(fds);
  RUN_UNTIL(&loop, told.end != 0);
  ck_assert_msg(told.end == UV_EOF, "%s", uvface_errmsg(&engine));
  uvface_close(&engine, NULL);
  finish_loop(&loop);
}

TEST_LOOP(descriptors_are_the_faces_once_attached_and_the_callers_until_then, N_PRIVATE) {
  uvface_options_t options = UVFACE_OPTIONS_INIT;
  uv_loop_t loop;
  uvface_t engine, app;
  int fds[3], bad[3], before, none[3] = {-1, -1, -1};

  ASSERT_OK(uv_loop_init(&loop));
  ASSERT_OK(uvface_init(&loop, &engine));
  ASSERT_OK(uvface_init(&loop, &app));
  ck_assert_int_eq(uvface_app_fds(&engine, fds), UV_ENOTCONN);
  options.flags = KIND == BY_SOCKET ? UVFACE_WAKE_SOCKET : UVFACE_WAKE_PIPE;
  ASSERT_OK(uvface_create_private(&engine, &options));
  ck_assert_int_eq(uvface_app_fds(&engine, NULL), UV_EINVAL);
  ck_assert_int_eq(uvface_app_fds(NULL, fds), UV_EINVAL);
  face_hand_over(&engine, fds);
  uvface_app_fds_close(&engine);
  ck_assert_int_eq(uvface_app_fds(&engine, bad), UV_EBADF);
  before = harness_count_fds();
  ck_assert_int_eq(uvface_attach(NULL, fds, NULL), UV_EINVAL);
  ck_assert_int_eq(uvface_attach(&app, NULL, NULL), UV_EINVAL);
  ck_assert_ptr_nonnull(strstr(uvface_errmsg(&app), "uvface_attach: fds"));
  ck_assert_int_eq(uvface_attach(&app, none, NULL), UV_EBADF);
  ck_assert_ptr_nonnull(strstr(uvface_errmsg(&app), "uvface_attach: fcntl private face, descriptor -1 (region)"));
  for (int i = 0; i < 3; i++) {
    memcpy(bad, fds, sizeof(bad));
    bad[i] = 1000;
    ck_assert_int_eq(uvface_attach(&app, bad, NULL), UV_EBADF);
    bad[i] = STDERR_FILENO;
    ck_assert_int_lt(uvface_attach(&app, bad, NULL), 0);
    ck_assert_int_eq(harness_count_fds(), before);
    ck_assert_int_ge(fcntl(STDERR_FILENO, F_GETFD), 0);
  }
  ck_assert_int_eq(uvface_attach(&engine, fds, NULL), UV_EALREADY);
  ck_assert_msg(uvface_attach(&app, fds, NULL) == 0, "%s", uvface_errmsg(&app));
  for (int i = 0; i < 3; i++) ck_assert_int_eq(fcntl(fds[i], F_GETFD), -1);
  ck_assert_int_eq(uvface_attach(&app, fds, NULL), UV_EALREADY);
  ck_assert_int_eq(uvface_app_fds(&app, bad), UV_EBADF);
  ck_assert_int_eq(send_text(&app, "in"), 2);
  uvface_close(&app, NULL);
  uvface_close(&engine, NULL);
  ck_assert_int_eq(uvface_app_fds(&engine, bad), UV_ENOTCONN);
  uvface_app_fds_close(&engine);
  finish_loop(&loop);
}

TEST(stream_has_nothing_to_hand_over) {
  uv_loop_t loop;
  uvface_t face;
  int sockets[2], fds[3];

  ASSERT_OK(uv_loop_init(&loop));
  ASSERT_OK(uvface_init(&loop, &face));
  ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets), 0);
  ASSERT_OK(uvface_open_stream(&face, sockets[0], NULL));
  ck_assert_int_eq(uvface_app_fds(&face, fds), UV_EBADF);
  uvface_app_fds_close(&face);
  ck_assert_int_eq(uvface_attach(&face, fds, NULL), UV_EALREADY);
  uvface_close(&face, NULL);
  close(sockets[1]);
  finish_loop(&loop);
}
