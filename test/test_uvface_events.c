/* SPDX-License-Identifier: MIT */
/* test_uvface_events.c: what a face tells beside packets: that an app has come, that the peer is gone, floods, the
 * seal; and what can be asked of a face in its close callback. See faces.h. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "faces.h"
#include "puppet.h"

/* What was told, in order: 'a'ttached, 'g'one, 't'hrottled, 's'ealed, 'r'oom, 'c'losed; 'p' for packets, 'e' for the
 * error of recv_cb. */
static char story[256];
static size_t told;
static int gone_status, recv_status, packets;
static void (*in_event)(uvface_t* face);

static void note(char what) {
  HOLDS(told < sizeof(story) - 1);
  story[told++] = what;
}

static void forget(void) {
  told = 0;
  memset(story, 0, sizeof(story));
}

static bool heard(char what) {
  return strchr(story, what) != NULL;
}

static void on_event(uvface_t* face, unsigned int events, int status) {
  HOLDS(events != 0 && (events & ~31u) == 0);
  HOLDS(((events & UVFACE_GONE) != 0) == (status != 0));
  if ((events & UVFACE_ATTACHED) != 0) note('a');
  if ((events & UVFACE_SEALED) != 0) note('s');
  if ((events & UVFACE_THROTTLED) != 0) note('t');
  if ((events & UVFACE_ROOM) != 0) note('r');
  if ((events & UVFACE_GONE) != 0) note('g');
  if (status != 0) gone_status = status;
  if (in_event != NULL) in_event(face);
}

static void on_packets(uvface_t* face, ssize_t npkts, const uv_buf_t pkts[]) {
  (void) face;
  (void) pkts;
  note(npkts > 0 ? 'p' : 'e');
  if (npkts > 0)
    packets += (int) npkts;
  else
    recv_status = (int) npkts;
}

static void send_texts(uvface_t* face, int n) {
  uv_buf_t buf = uv_buf_init((char*) (uintptr_t) "text", 4);

  for (int i = 0; i < n; i++) ck_assert_int_eq(uvface_try_send(face, &buf, 1), 4);
}

/* As pair_open() would, but the app comes later. */
static void open_engine(pair_t* pair, unsigned int flags) {
  uvface_options_t options = UVFACE_OPTIONS_INIT;

  memset(pair, 0, sizeof(*pair));
  pair->kind = faces_kind;
  snprintf(pair->name, sizeof(pair->name), "%s", harness_name("events"));
  options.flags = flags;
  ASSERT_OK(uv_loop_init(&pair->loop));
  ASSERT_OK(uvface_init(&pair->loop, &pair->engine));
  ASSERT_OK(uvface_init(&pair->loop, &pair->app));
  ASSERT_OK(uvface_set_event_cb(&pair->engine, on_event));
  ASSERT_OK(face_create(&pair->engine, pair->name, &options));
}

/* --- The end of the peer ------------------------------------------------------------------------- */

/* _i: who dies. */
TEST_KINDS_LOOP(face_that_does_not_receive_hears_of_its_peers_death_and_gets_its_packets_later, 2) {
  uvface_t *held, *other;
  pair_t pair;

  pair_open(&pair, NULL);
  held = _i == 0 ? &pair.engine : &pair.app;
  other = _i == 0 ? &pair.app : &pair.engine;
  ASSERT_OK(uvface_recv_start(held, on_packets));
  ASSERT_OK(uvface_recv_stop(held));
  ASSERT_OK(uvface_set_event_cb(held, on_event));
  send_texts(other, 3);
  uvface_close(other, NULL);
  RUN_UNTIL(&pair.loop, heard('g'));
  ck_assert_int_eq(gone_status, UV_EOF);
  ck_assert_uint_eq(stats_of(held).rx_packets, 0);
  ck_assert(!heard('p') && !heard('e'));
  ck_assert_ptr_nonnull(strstr(uvface_errmsg(held), "the peer is gone"));
  forget();
  ASSERT_OK(uvface_recv_start(held, on_packets));
  RUN_UNTIL(&pair.loop, heard('e'));
  run_for(&pair.loop, 5);
  ck_assert_str_eq(story, "pe"); /* that it is gone was told */
  ck_assert_int_eq(packets, 3);
  ck_assert_int_eq(recv_status, UV_EOF);
  pair_close(&pair);
}

TEST(stream_that_does_not_receive_hears_of_its_peers_death) {
  pair_t pair;

  faces_kind = STREAM;
  pair_open(&pair, NULL);
  ASSERT_OK(uvface_set_event_cb(&pair.engine, on_event));
  uvface_close(&pair.app, NULL);
  RUN_UNTIL(&pair.loop, heard('g'));
  ck_assert_str_eq(story, "g");
  ck_assert_int_eq(gone_status, UV_EOF);
  pair_close(&pair);
}

TEST_KINDS(end_is_told_before_the_receive_callback_is) {
  pair_t pair;

  pair_open(&pair, NULL);
  ASSERT_OK(uvface_set_event_cb(&pair.app, on_event));
  ASSERT_OK(uvface_recv_start(&pair.app, on_packets));
  uvface_close(&pair.engine, NULL);
  RUN_UNTIL(&pair.loop, heard('e'));
  run_for(&pair.loop, 5);
  ck_assert_str_eq(story, "ge");
  pair_close(&pair);
}

/* It is found where packets are taken, on the way to the receive callback. */
TEST_KINDS(broken_protocol_is_told_before_the_receive_callback_is) {
  pair_t pair;
  puppet_t app;

  harness_forbid_sealing();
  open_engine(&pair, 0);
  ASSERT_OK(uvface_recv_start(&pair.engine, on_packets));
  puppet_attach(&app, pair.name);
  puppet_fill(&app, UINT32_MAX, "text", 4);
  puppet_publish(&app);
  RUN_UNTIL(&pair.loop, heard('e'));
  ck_assert_str_eq(story, "age");
  ck_assert_int_eq(gone_status, UV_EPROTO);
  ck_assert_int_eq(recv_status, UV_EPROTO);
  puppet_drop(&app);
  pair_close(&pair);
}

TEST(region_that_was_lost_is_told_to_a_face_that_does_not_receive) {
  pair_t pair;

  open_engine(&pair, 0);
  ck_assert_int_eq(truncate(harness_shm_path(pair.name), 100), 0);
  RUN_UNTIL(&pair.loop, heard('g'));
  ck_assert_int_eq(gone_status, UV_EIO);
  ck_assert_int_eq(uvface_recv_start(&pair.engine, on_packets), UV_EIO);
  pair_close(&pair);
}

/* --- An app has come ----------------------------------------------------------------------------- */

/* _i: 0 = the engine receives; 1 = it does not. */
TEST_KINDS_LOOP(engine_hears_of_its_app_before_its_first_packet, 2) {
  pair_t pair;

  harness_forbid_sealing();
  open_engine(&pair, 0);
  if (_i == 0) ASSERT_OK(uvface_recv_start(&pair.engine, on_packets));
  run_for(&pair.loop, 5);
  ck_assert(!heard('a'));
  ck_assert_uint_eq(stats_of(&pair.engine).attached, 0);
  ASSERT_OK(face_connect(&pair.app, pair.name, NULL));
  send_texts(&pair.app, 2);
  if (_i == 1) RUN_UNTIL(&pair.loop, heard('a'));
  if (_i == 1) ASSERT_OK(uvface_recv_start(&pair.engine, on_packets));
  RUN_UNTIL(&pair.loop, packets == 2);
  ck_assert_int_eq(story[0], 'a');
  ck_assert_uint_eq(stats_of(&pair.engine).attached, 1);
  send_texts(&pair.app, 2);
  RUN_UNTIL(&pair.loop, packets == 4);
  ck_assert_ptr_null(strchr(story + 1, 'a')); /* once */
  pair_close(&pair);
}

TEST_KINDS(engine_hears_of_an_app_that_is_silent) {
  pair_t pair;

  harness_forbid_sealing();
  open_engine(&pair, 0);
  ASSERT_OK(face_connect(&pair.app, pair.name, NULL));
  RUN_UNTIL(&pair.loop, heard('a'));
  ck_assert_str_eq(story, "a");
  pair_close(&pair);
}

/* Which announces nothing. */
TEST(engine_hears_of_an_app_of_ndn_rs_that_is_silent) {
  pair_t pair;
  puppet_t app;

  harness_forbid_sealing();
  faces_kind = NAMED;
  open_engine(&pair, 0);
  puppet_attach(&app, pair.name);
  RUN_UNTIL(&pair.loop, heard('a'));
  ck_assert_str_eq(story, "a");
  puppet_drop(&app);
  pair_close(&pair);
}

/* It has sent a packet and no byte, and the packet was taken before anybody wanted to hear. */
TEST_KINDS(engine_hears_of_an_app_of_ndn_rs_that_has_sent) {
  pair_t pair;
  puppet_t app;

  harness_forbid_sealing();
  open_engine(&pair, 0);
  ASSERT_OK(uvface_set_event_cb(&pair.engine, NULL));
  ASSERT_OK(uvface_recv_start(&pair.engine, on_packets));
  puppet_attach(&app, pair.name);
  puppet_fill(&app, 4, "text", 4);
  puppet_store(puppet_own_tail(&app), app.tail);
  RUN_UNTIL(&pair.loop, packets == 1);
  ck_assert_uint_eq(stats_of(&pair.engine).wakeups_received, 0);
  ASSERT_OK(uvface_set_event_cb(&pair.engine, on_event));
  RUN_UNTIL(&pair.loop, heard('a'));
  ck_assert_str_eq(story, "pa");
  puppet_drop(&app);
  pair_close(&pair);
}

/* The packet lies there, and nobody takes it. */
TEST_KINDS(engine_that_does_not_receive_hears_of_an_app_of_ndn_rs_that_has_sent) {
  pair_t pair;
  puppet_t app;

  harness_forbid_sealing();
  open_engine(&pair, 0);
  puppet_attach(&app, pair.name);
  puppet_fill(&app, 4, "text", 4);
  puppet_store(puppet_own_tail(&app), app.tail);
  RUN_UNTIL(&pair.loop, heard('a'));
  ck_assert_str_eq(story, "a");
  puppet_drop(&app);
  pair_close(&pair);
}

TEST_LOOP(descriptors_that_nobody_used_were_no_app, 2) {
  pair_t pair;
  int fds[3];

  faces_kind = _i == 0 ? BY_SOCKET : BY_PIPES;
  open_engine(&pair, 0);
  ck_assert(face_take(pair.name, fds));
  close_fds(fds);
  RUN_UNTIL(&pair.loop, heard('g'));
  ck_assert_str_eq(story, "g");
  pair_close(&pair);
}

TEST(app_that_came_and_went_between_two_looks_is_told_of_whole) {
  pair_t pair;

  harness_forbid_sealing();
  open_engine(&pair, 0);
  ASSERT_OK(face_connect(&pair.app, pair.name, NULL));
  uvface_close(&pair.app, NULL);
  RUN_UNTIL(&pair.loop, heard('g'));
  ck_assert_str_eq(story, "ag");
  pair_close(&pair);
}

TEST(seal_is_told) {
  pair_t pair;

  if (!harness_may_seal()) SKIP("may not make files append-only");
  open_engine(&pair, 0);
  ASSERT_OK(face_connect(&pair.app, pair.name, NULL));
  RUN_UNTIL(&pair.loop, heard('s'));
  ck_assert_uint_eq(stats_of(&pair.engine).sealed, 1);
  run_for(&pair.loop, 20);
  ck_assert_str_eq(story, "as"); /* each once */
  ck_assert(!exists(harness_shm_path(pair.name)));
  pair_close(&pair);
}

/* --- Floods -------------------------------------------------------------------------------------- */

static uint32_t throttled_then;

static void look_whether_throttled(uvface_t* face) {
  throttled_then = stats_of(face).throttled;
}

TEST_KINDS(flood_that_goes_on_is_told_to_who_asks_later) {
  puppet_t flooder;
  pair_t pair;

  harness_forbid_sealing();
  open_engine(&pair, 0);
  ASSERT_OK(uvface_recv_start(&pair.engine, on_packets));
  puppet_attach(&flooder, pair.name);
  for (int i = 0; i < 10000 && strcmp(story, "atat") != 0; i++) {
    if (strcmp(story, "at") == 0) {
      in_event = look_whether_throttled;
      ASSERT_OK(uvface_set_event_cb(&pair.engine, on_event));
    }
    puppet_write(&flooder, "x", 1);
    uv_run(&pair.loop, UV_RUN_NOWAIT);
  }
  ck_assert_str_eq(story, "atat");
  ck_assert_uint_eq(throttled_then, 1);
  puppet_drop(&flooder);
  pair_close(&pair);
}

TEST_KINDS(flood_is_told_when_it_begins_and_when_it_ends) {
  puppet_t flooder;
  pair_t pair;

  harness_forbid_sealing();
  open_engine(&pair, 0);
  ASSERT_OK(uvface_recv_start(&pair.engine, on_packets)); /* so that the loop turns */
  puppet_attach(&flooder, pair.name);
  for (int i = 0; i < 10000 && !heard('t'); i++) {
    puppet_write(&flooder, "x", 1);
    uv_run(&pair.loop, UV_RUN_NOWAIT);
  }
  ck_assert_str_eq(story, "at");
  ck_assert_uint_eq(stats_of(&pair.engine).throttled, 1);
  RUN_UNTIL(&pair.loop, strcmp(story, "att") == 0);
  ck_assert_uint_eq(stats_of(&pair.engine).throttled, 0);
  puppet_drop(&flooder);
  pair_close(&pair);
}

static void note_closed(uvface_t* face) {
  (void) face;
  note('c');
}

/* As TEST_KINDS_LOOP(), over a stream as well. */
#define TEST_ALL_KINDS_LOOP(name, n)                                      \
  static void name##_of_kind(int _i);                                     \
  TEST_LOOP(name, (n) * ((int) N_KINDS + 1)) {                            \
    faces_kind = _i / (n) < (int) N_KINDS ? (kind_t) (_i / (n)) : STREAM; \
    name##_of_kind(_i % (n));                                             \
  }                                                                       \
  static void name##_of_kind(int _i __attribute__((unused)))

/* --- Room ---------------------------------------------------------------------------------------- */

static int sent_in_event;

static void fill_again(uvface_t* face) {
  sent_in_event += fill_ring(face);
}

static unsigned int count_of(char what) {
  unsigned int n = 0;

  for (size_t i = 0; i < told; i++) n += story[i] == what;
  return n;
}

/* _i: who sends. */
TEST_ALL_KINDS_LOOP(room_is_told_once_after_each_time_that_there_was_none, 2) {
  uvface_t *sender, *receiver;
  pair_t pair;
  int sent;

  harness_forbid_sealing();
  pair_open(&pair, NULL);
  sender = _i == 0 ? &pair.engine : &pair.app;
  receiver = _i == 0 ? &pair.app : &pair.engine;
  sent = fill_ring(sender); /* nobody listens yet */
  ASSERT_OK(uvface_set_event_cb(sender, on_event));
  run_for(&pair.loop, 5);
  sent += fill_ring(sender); /* of a stream the socket's buffer, too */
  ck_assert(!heard('r'));
  run_asleep(&pair.loop, 100);                 /* who waits for room sleeps */
  while (faces_kind == STREAM && heard('r')) { /* the kernel has taken some */
    forget();
    sent += fill_ring(sender);
    run_for(&pair.loop, 20);
  }
  ck_assert(!heard('r'));
  ASSERT_OK(uvface_recv_start(receiver, NULL));
  RUN_UNTIL(&pair.loop, heard('r'));
  RUN_UNTIL(&pair.loop, stats_of(receiver).rx_packets == (uint64_t) sent);
  run_asleep(&pair.loop, 50);
  ck_assert_uint_eq(count_of('r'), 1); /* nobody has tried since */
  in_event = fill_again;
  sent += fill_ring(sender);
  RUN_UNTIL(&pair.loop, count_of('r') >= 100); /* woken, and not found by the probe of each second */
  in_event = NULL;
  RUN_UNTIL(&pair.loop, stats_of(receiver).rx_packets == (uint64_t) (sent + sent_in_event));
  pair_close(&pair);
}

static int sends_done, done_at_room;

static void on_sent(uvface_send_t* req, int status) {
  (void) req;
  sends_done += status == 0;
}

static void note_done(uvface_t* face) {
  (void) face;
  done_at_room = sends_done;
}

/* A slot that a peer frees is theirs who queued first. */
/* _i: the reservation ends with a packet. */
TEST_ALL_KINDS_LOOP(room_is_told_when_nothing_is_queued_before_it, 2) {
  static uvface_send_t reqs[3];
  uv_buf_t buf = uv_buf_init((char[]){5, 0}, 2), slot;
  pair_t pair;

  harness_forbid_sealing();
  pair_open(&pair, NULL);
  do { /* of a stream the socket's buffer, too */
    fill_ring(&pair.engine);
    run_for(&pair.loop, 20);
  } while (uvface_try_send(&pair.engine, &buf, 1) > 0);
  ASSERT_OK(uvface_set_event_cb(&pair.engine, on_event));
  for (int i = 0; i < 3; i++) ASSERT_OK(uvface_send(&reqs[i], &pair.engine, &buf, 1, on_sent));
  ck_assert_int_eq(uvface_reserve(&pair.engine, 2, &slot), UV_EAGAIN);
  in_event = note_done;
  ASSERT_OK(uvface_recv_start(&pair.app, NULL));
  RUN_UNTIL(&pair.loop, heard('r'));
  ck_assert_int_eq(done_at_room, 3);
  in_event = NULL;
  RUN_UNTIL(&pair.loop, stats_of(&pair.app).rx_packets == stats_of(&pair.engine).tx_packets);
  ASSERT_OK(uvface_reserve(&pair.engine, 2, &slot));
  run_asleep(&pair.loop, 20);
  forget();
  ck_assert_int_eq(uvface_try_send(&pair.engine, &buf, 1), UV_EAGAIN); /* it waits for its own reservation */
  ck_assert_int_eq(uvface_try_send_batch(&pair.engine, &buf, 1), UV_EAGAIN);
  run_asleep(&pair.loop, 100);
  ck_assert(!heard('r'));
  ASSERT_OK(uvface_commit(&pair.engine, (size_t) (_i % 2) * 2));
  ck_assert(!heard('r'));
  uv_run(&pair.loop, UV_RUN_NOWAIT);
  uv_run(&pair.loop, UV_RUN_NOWAIT);
  ck_assert_str_eq(story, "r");
  pair_close(&pair);
}

TEST_ALL_KINDS_LOOP(room_is_not_told_of_a_face_whose_peer_is_gone, 1) {
  pair_t pair;

  harness_forbid_sealing();
  pair_open(&pair, NULL);
  ASSERT_OK(uvface_set_event_cb(&pair.app, on_event));
  fill_ring(&pair.app);
  uvface_close(&pair.engine, note_closed);
  RUN_UNTIL(&pair.loop, heard('g') && heard('c'));
  run_asleep(&pair.loop, 20);
  ck_assert(faces_kind == STREAM || !heard('r'));
  ck_assert_ptr_null(strchr(strchr(story, 'g'), 'r'));
  pair_close(&pair);
}

/* --- Who hears it -------------------------------------------------------------------------------- */

TEST(what_was_so_before_is_told_to_who_asks_later) {
  pair_t pair;

  harness_forbid_sealing();
  pair_open(&pair, NULL);
  send_texts(&pair.app, 1);
  uvface_close(&pair.app, NULL);
  RUN_UNTIL(&pair.loop,
            uvface_try_send(&pair.engine, &(uv_buf_t){.base = (char*) (uintptr_t) "x", .len = 1}, 1) == UV_EPIPE);
  ASSERT_OK(uvface_set_event_cb(&pair.engine, on_event));
  ck_assert_str_eq(story, ""); /* never inside a call */
  RUN_UNTIL(&pair.loop, heard('g'));
  ck_assert_str_eq(story, "ag");
  ASSERT_OK(uvface_set_event_cb(&pair.engine, NULL));
  ASSERT_OK(uvface_set_event_cb(&pair.engine, on_event)); /* somebody else's, for all that is known */
  RUN_UNTIL(&pair.loop, told == 4);
  ck_assert_str_eq(story, "agag");
  ASSERT_OK(uvface_set_event_cb(&pair.engine, NULL));
  pair_close(&pair);
}

static void close_now(uvface_t* face) {
  uvface_close(face, NULL);
}

/* _i: 0 = when the app comes, with packets; 1 = when it goes. */
TEST_KINDS_LOOP(face_may_be_closed_by_its_event_callback, 2) {
  pair_t pair;

  harness_forbid_sealing();
  open_engine(&pair, 0);
  ASSERT_OK(uvface_recv_start(&pair.engine, on_packets));
  if (_i == 0) in_event = close_now;
  ASSERT_OK(face_connect(&pair.app, pair.name, NULL));
  send_texts(&pair.app, 2);
  if (_i == 1) {
    RUN_UNTIL(&pair.loop, packets == 2);
    in_event = close_now;
    uvface_close(&pair.app, NULL);
  }
  RUN_UNTIL(&pair.loop, uvface_is_closing(&pair.engine));
  pair_close(&pair);
  ck_assert(!heard('e') && (_i == 1 || !heard('p')));
}

static void stop_now(uvface_t* face) {
  ASSERT_OK(uvface_recv_stop(face));
}

TEST_KINDS(face_that_stops_receiving_when_its_app_comes_loses_no_packet) {
  pair_t pair;

  harness_forbid_sealing();
  open_engine(&pair, 0);
  ASSERT_OK(uvface_recv_start(&pair.engine, on_packets));
  in_event = stop_now;
  ASSERT_OK(face_connect(&pair.app, pair.name, NULL));
  send_texts(&pair.app, 2);
  RUN_UNTIL(&pair.loop, heard('a'));
  run_for(&pair.loop, 5);
  ck_assert_int_eq(packets, 0);
  ASSERT_OK(uvface_recv_start(&pair.engine, on_packets));
  RUN_UNTIL(&pair.loop, packets == 2);
  pair_close(&pair);
}

TEST(event_callback_does_not_keep_the_loop_alive) {
  pair_t pair;

  pair_open(&pair, NULL);
  ASSERT_OK(uvface_set_event_cb(&pair.engine, on_event));
  ck_assert_int_eq(uv_run(&pair.loop, UV_RUN_DEFAULT), 0);
  ck_assert_int_eq(uvface_set_event_cb(NULL, on_event), UV_EINVAL);
  uvface_close(&pair.engine, NULL);
  ck_assert_int_eq(uvface_set_event_cb(&pair.engine, on_event), UV_ENOTCONN);
  pair_close(&pair);
}

/* --- Who the peer is ----------------------------------------------------------------------------- */

TEST_ALL_KINDS_LOOP(peer_is_told_where_the_kernel_knows_one, 1) {
  uv_pid_t pid = 77;
  uv_uid_t uid = 77;
  pair_t pair;
  int at_engine, at_app;

  pair_open(&pair, NULL);
  at_engine = uvface_get_peer(&pair.engine, &pid, &uid);
  at_app = uvface_get_peer(&pair.app, NULL, NULL);
  ck_assert_int_eq(at_engine, faces_kind == STREAM ? 0 : UV_ENOTSUP);
  ck_assert_int_eq(at_app, faces_kind == STREAM || faces_kind == BY_SOCKET ? 0 : UV_ENOTSUP);
  if (at_engine == 0) {
    ck_assert_int_eq(pid, getpid());
    ck_assert_uint_eq(uid, geteuid());
  } else {
    ck_assert_int_eq(pid, 77);
    ck_assert_uint_eq(uid, 77);
    ck_assert_ptr_nonnull(strstr(uvface_errmsg(&pair.engine), "uvface_get_peer: "));
  }
  uvface_close(&pair.app, NULL);
  ck_assert_int_eq(uvface_get_peer(&pair.app, &pid, &uid), UV_ENOTCONN);
  ck_assert_int_eq(uvface_get_peer(NULL, &pid, &uid), UV_EINVAL);
  pair_close(&pair);
}

/* An app of another process and, where this one is root's, of another user; it lives as long as its end of `life`. */
static int connect_as_other(void* arg) {
  const int* fds = arg; /* to connect to, and to wait at */
  struct sockaddr_un there;
  socklen_t len = sizeof(there);
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  char byte;

  REQUIRE(!is_root() || become_other() == 0);
  REQUIRE(getsockname(fds[0], (struct sockaddr*) &there, &len) == 0);
  REQUIRE(connect(fd, (struct sockaddr*) &there, len) == 0);
  close(fds[2]);
  REQUIRE(read(fds[1], &byte, 1) == 0);
  return 0;
}

TEST(peer_of_a_socket_is_who_connected) {
  const struct sockaddr_un any = {.sun_family = AF_UNIX}; /* an abstract address that the kernel chooses */
  int fds[3] = {socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)}, conn;
  uv_pid_t pid;
  uv_uid_t uid;
  uv_loop_t loop;
  uvface_t face;
  pid_t child;

  ck_assert_int_eq(pipe2(fds + 1, O_CLOEXEC), 0);
  ck_assert_int_eq(bind(fds[0], (const struct sockaddr*) &any, sizeof(sa_family_t)), 0);
  ck_assert_int_eq(listen(fds[0], 1), 0);
  child = harness_fork(connect_as_other, fds);
  conn = accept4(fds[0], NULL, NULL, SOCK_CLOEXEC);
  ck_assert_int_ge(conn, 0);
  ASSERT_OK(uv_loop_init(&loop));
  ASSERT_OK(uvface_init(&loop, &face));
  ASSERT_OK(uvface_open_stream(&face, conn, NULL));
  ASSERT_OK(uvface_get_peer(&face, &pid, &uid));
  ck_assert_int_eq(pid, child);
  ck_assert(is_root() ? uid != geteuid() && uid != (uv_uid_t) -1 : uid == geteuid());
  uvface_close(&face, NULL);
  finish_loop(&loop);
  for (int i = 0; i < 3; i++) close(fds[i]);
  ck_assert_int_eq(harness_wait(child, DEADLINE_MS), 0);
}

/* --- What is left in the close callback ---------------------------------------------------------- */

static int closed;
static const char* closed_name;

static void ask_and_free(uvface_t* face) {
  uvface_stats_t stats;

  ck_assert_int_eq(uvface_get_stats(face, &stats), 0);
  ck_assert_uint_eq(stats.tx_packets, 3);
  ck_assert_uint_eq(stats.tx_bytes, 12);
  ck_assert_uint_eq(stats.capacity, faces_kind != STREAM ? 256 : 0);
  ck_assert_uint_eq(stats.slot_size, faces_kind != STREAM ? 9020 : 8800);
  ck_assert_str_eq(uvface_get_name(face), faces_kind == NAMED ? closed_name : "");
  ck_assert_ptr_nonnull(strstr(uvface_errmsg(face), "receiving already")); /* what failed last */
  ck_assert_int_ne(uvface_is_closing(face), 0);
  ck_assert_int_eq(uvface_try_send(face, &(uv_buf_t){.base = (char*) (uintptr_t) "x", .len = 1}, 1), UV_EINVAL);
  memset(face, 0xa5, sizeof(*face));
  free(face);
  closed++;
}

static void open_with_peer(uv_loop_t* loop, uvface_t* face, uvface_t* peer, const char* name) {
  int fds[2];

  ASSERT_OK(uvface_init(loop, face));
  ASSERT_OK(uvface_init(loop, peer));
  ck_assert_str_eq(uvface_get_name(face), "");
  if (faces_kind == STREAM) {
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    ASSERT_OK(uvface_open_stream(face, fds[0], NULL));
    ASSERT_OK(uvface_open_stream(peer, fds[1], NULL));
  } else {
    ASSERT_OK(face_create(face, name, NULL));
    ASSERT_OK(face_connect(peer, name, NULL));
  }
}

TEST_LOOP(statistics_name_and_words_are_there_until_the_close_callback_has_returned, STREAM + 1) {
  uv_loop_t loop;
  uvface_t *face, peer;

  if (_i == N_KINDS) return;
  face = malloc(sizeof(*face));
  faces_kind = (kind_t) _i;
  closed_name = harness_name("closed");
  ASSERT_OK(uv_loop_init(&loop));
  open_with_peer(&loop, face, &peer, closed_name);
  for (int i = 0; i < 3; i++)
    ck_assert_int_eq(uvface_try_send(face, &(uv_buf_t){.base = (char*) (uintptr_t) "\005\002ab", .len = 4}, 1), 4);
  ASSERT_OK(uvface_recv_start(face, on_packets));
  ck_assert_int_eq(uvface_recv_start(face, on_packets), UV_EALREADY);
  uvface_close(face, ask_and_free);
  uvface_close(&peer, NULL);
  finish_loop(&loop);
  ck_assert_int_eq(closed, 1);
}

static void open_again(uvface_t* face) {
  uvface_stats_t stats;

  ASSERT_OK(uvface_init(face->loop, face));
  ck_assert_int_eq(uvface_get_stats(face, &stats), UV_ENOTCONN);
  ck_assert_str_eq(uvface_get_name(face), "");
  ck_assert_str_eq(uvface_errmsg(face), "");
  uvface_close(face, NULL);
  closed++;
}

TEST_KINDS(face_may_be_used_again_in_its_close_callback) {
  pair_t pair;

  pair_open(&pair, NULL);
  uvface_close(&pair.engine, open_again);
  uvface_close(&pair.app, open_again);
  finish_loop(&pair.loop);
  ck_assert_int_eq(closed, 2);
}
