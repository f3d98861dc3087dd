/* SPDX-License-Identifier: MIT */
/* test_client_losses.c: forwarders that die, at each of their steps; clients that come back, and what of them is
 * left. */
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fake.h"

#define INTEREST "050f 0707 0805 68656c6c6f 0a04 01020304"
#define RESTARTS 100

/* A client and its forwarder, in memory that both processes share. */
typedef struct scene_s {
  fake_t fake;
  watcher_t w;
  pid_t pid;
  int n;
  unsigned int commands; /* that the forwarder has seen */
} scene_t;

static scene_t* begin(int (*forwarder)(void*), int n, const uvface_client_options_t* options) {
  scene_t* s = mmap(NULL, sizeof(*s), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

  ck_assert_ptr_ne(s, MAP_FAILED);
  s->n = n;
  fake_listen(&s->fake, "loss");
  s->pid = harness_fork(forwarder, s);
  watcher_open(&s->w, s->fake.uri, options);
  return s;
}

/* status: that of the forwarder; -1 = it has been reaped. */
/* Of a forwarder that has counted so many commands. */
static void end_served(scene_t* s, unsigned int commands) {
  watcher_close(&s->w);
  ck_assert_int_eq(harness_wait(s->pid, DEADLINE_MS), 0);
  ck_assert_uint_eq(s->commands, commands);
  fake_unlisten(&s->fake);
  munmap(s, sizeof(*s));
}

static void end(scene_t* s, int status) {
  watcher_close(&s->w);
  if (status >= 0) ck_assert_int_eq(harness_wait(s->pid, DEADLINE_MS), status);
  fake_unlisten(&s->fake);
  munmap(s, sizeof(*s));
}

static uvface_client_options_t options_of(int transport, uint32_t reconnect_ms) {
  uvface_client_options_t options = UVFACE_CLIENT_OPTIONS_INIT;

  options.transport = transport;
  options.reconnect_ms = reconnect_ms;
  return options;
}

/* --- The end --------------------------------------------------------------------------------------------- */

/* Gives a face, fills its ring, answers one command, and closes the connection while another is under way. */
static int leave_packets(void* arg) {
  fake_t* fake = &((scene_t*) arg)->fake;
  ndnpkt_bytes_t interest = wire_hex(INTEREST);
  const struct iovec packet = {(void*) (uintptr_t) interest.base, interest.len};
  fake_packet_t command;

  REQUIRE(fake_accept(fake) >= 0);
  REQUIRE(fake_give_face(fake, &command, 300) == 0);
  REQUIRE(fake_expect(fake, &command, "rib", "register"));
  for (int i = 0; i < 200; i++) REQUIRE(ndnshm_send(fake->ep, &packet, 1) > 0);
  close(fake->conn);
  if (((scene_t*) arg)->n == 0) ndnshm_free(fake->ep);
  if (((scene_t*) arg)->n == 1) kill(getpid(), SIGSTOP); /* keeps the face, and says nothing */
  return 0;
}

static order_t pending;

/* Commands are told before the client. */
static void assert_told(watcher_t* w, int status) {
  (void) w;
  if (status < 0) ck_assert_int_eq(pending.told, 1);
}

/* The connection's end is the end of the face. What was in the ring is delivered before. */
TEST_LOOP(the_end_of_the_connection_ends_the_face_after_what_it_had_sent, 2) {
  scene_t* s = begin(leave_packets, _i, NULL);

  s->w.on_change = assert_told;
  order_register(&s->w, &pending, "/d");
  watcher_run_down(&s->w, 1);
  ck_assert_uint_eq(s->w.ups, 1);
  ck_assert_int_eq(s->w.status, UV_EOF);
  ck_assert_uint_eq(s->w.packets, 200);
  if (_i == 0) ck_assert_int_eq(s->w.face_error, UV_EOF);
  ck_assert_int_eq(pending.status, UV_EPIPE);
  watcher_assert_says(&s->w, "uvface_client_cb: ");
  ck_assert_int_eq(uv_loop_alive(&s->w.loop), 0);
  kill(s->pid, SIGCONT);
  end(s, 0);
}

/* Takes the face away, and leaves the connection. */
static int take_face_away(void* arg) {
  fake_t* fake = &((scene_t*) arg)->fake;
  fake_packet_t create;

  REQUIRE(fake_accept(fake) >= 0);
  REQUIRE(fake_give_face(fake, &create, 300) == 0);
  ndnshm_free(fake->ep);
  REQUIRE(fake_ends(fake));
  return 0;
}

TEST(a_face_that_is_taken_away_is_a_loss) {
  scene_t* s = begin(take_face_away, 0, NULL);

  watcher_run_down(&s->w, 1);
  ck_assert_uint_eq(s->w.ups, 1);
  ck_assert_int_eq(s->w.status, UV_EOF);
  end(s, 0);
}

static int serve_twice(void* arg) {
  fake_t* fake = &((scene_t*) arg)->fake;
  fake_packet_t packet;

  REQUIRE(fake_accept(fake) >= 0);
  REQUIRE(fake_read(fake, &packet));
  REQUIRE(fake_accept(fake) >= 0); /* which closes the first */
  return fake_serve(fake, NULL);
}

static void count_up(uvface_client_t* client, int status) {
  if (status == 0) ((watcher_t*) client->data)->ups++;
}

static void connect_again(watcher_t* w, int status) {
  const uvface_client_options_t options = options_of(UVFACE_STREAM, 0);
  char uri[128];

  if (status == 0) return;
  snprintf(uri, sizeof(uri), "unix:///tmp/.ndn-%s.sock", harness_name("loss"));
  ASSERT_OK(uvface_client_connect(&w->client, uri, &options, count_up));
}

TEST(a_client_that_is_down_may_be_connected_again_from_its_callback) {
  const uvface_client_options_t options = options_of(UVFACE_STREAM, 0);
  scene_t* s = begin(serve_twice, 0, &options);
  order_t order;

  s->w.on_change = connect_again;
  order_register(&s->w, &order, "/d");
  RUN_UNTIL(&s->w.loop, s->w.ups == 2);
  ck_assert_int_eq(order.status, UV_EPIPE);
  assert_registers(&s->w, "/e", 0);
  end(s, 0);
}

/* --- Deaths ------------------------------------------------------------------------------------------------- */

enum {
  DIES_ACCEPTED,
  DIES_ASKED,
  DIES_MADE,
  DIES_ANSWERED,
  DIES_CONNECTED,
  DIES_PROVED,
  DIES_HANDED,
  DIES_SERVING,
  DEATHS
};

/* What a forwarder does at its n-th step, instead of going on. */
static int step_signal = SIGKILL;

static int die_at(void* arg) {
  scene_t* s = arg;
  fake_t* fake = &s->fake;
  fake_packet_t create;

#define DIE(step) \
  if (s->n == (step)) raise(step_signal)
  REQUIRE(fake_accept(fake) >= 0);
  DIE(DIES_ACCEPTED);
  REQUIRE(fake_expect(fake, &create, "faces", "create"));
  DIE(DIES_ASKED);
  REQUIRE(fake_make_private(fake, &create) == 0);
  DIE(DIES_MADE);
  fake_answer(fake, &create, 200, "OK", 300);
  DIE(DIES_ANSWERED);
  if (s->n == DIES_CONNECTED) REQUIRE(fake_hand_out(fake, &create, FAKE_EOF_AT_ONCE) == 0);
  DIE(DIES_CONNECTED);
  if (s->n == DIES_PROVED) REQUIRE(fake_hand_out(fake, &create, FAKE_EOF_AFTER_PROOF) == 0);
  DIE(DIES_PROVED);
  REQUIRE(fake_hand_out(fake, &create, FAKE_RIGHT) == 0);
  fake_end_handoff(fake);
  DIE(DIES_HANDED);
  REQUIRE(fake_expect(fake, &create, "rib", "register"));
  DIE(DIES_SERVING);
  return 1;
}

/* Whatever it was doing: the client is told of the end, once, and nothing is left. Who wants shared memory or nothing
 * may be told of a face that is not there any more, before the end of the connection is seen. */
TEST_LOOP(a_forwarder_killed_at_each_step_is_told_as_gone, 2 * DEATHS) {
  const uvface_client_options_t options = options_of(_i % 2 == 0 ? UVFACE_ANY : UVFACE_SHM, 0);
  scene_t* s = begin(die_at, _i / 2, &options);
  order_t order;
  int status;

  order_register(&s->w, &order, "/d");
  watcher_run_down(&s->w, 1);
  status = s->w.status;
  ck_assert_msg(status == UV_EOF || (_i % 2 != 0 && status == UV_ENOENT), "%d %s", status,
                uvface_client_errmsg(&s->w.client));
  ck_assert_int_eq(order.told, 1);
  ck_assert_int_eq(order.status, UV_EPIPE);
  ck_assert_uint_eq(s->w.downs, 1);
  ck_assert_int_eq(uv_loop_alive(&s->w.loop), 0);
  end(s, SIGKILL);
}

/* --- Coming back ------------------------------------------------------------------------------------------------ */

/* Two lives of a forwarder. In the second what was registered comes before anything else, and what was unregistered
 * does not come. */
static int live_twice(void* arg) {
  scene_t* s = arg;
  fake_t* fake = &s->fake;
  fake_packet_t packet;
  bool has_a = false, has_b = false;

  REQUIRE(fake_accept(fake) >= 0);
  if (s->n == UVFACE_SHM) REQUIRE(fake_give_face(fake, &packet, 300) == 0);
  for (int i = 0; i < 4; i++) { /* a, b, c, c no longer */
    REQUIRE(fake_read(fake, &packet));
    fake_answer(fake, &packet, 200, "OK", 0);
  }
  REQUIRE(fake_read(fake, &packet)); /* d, without an answer */
  ndnshm_free(fake->ep);
  fake->ep = NULL;
  REQUIRE(fake_accept(fake) >= 0);
  if (s->n == UVFACE_SHM) REQUIRE(fake_give_face(fake, &packet, 400) == 0);
  for (int i = 0; i < 2; i++) {
    ndnpkt_name_t name;

    REQUIRE(fake_expect(fake, &packet, "rib", "register"));
    name = packet.command.parameters.name;
    has_a = has_a || ndnpkt_name_equal(name, wire_name("/a"));
    has_b = has_b || ndnpkt_name_equal(name, wire_name("/b"));
    REQUIRE(packet.command.parameters.cost == 9);
    if (s->n == UVFACE_SHM) REQUIRE(packet.command.parameters.face_id == 400);
    REQUIRE(s->w.ups == 1); /* not before they are in force */
    fake_answer(fake, &packet, 200, "OK", 0);
  }
  REQUIRE(has_a && has_b);
  REQUIRE(fake_expect(fake, &packet, "rib", "register"));
  REQUIRE(ndnpkt_name_equal(packet.command.parameters.name, wire_name("/d")));
  fake_answer(fake, &packet, 200, "OK", 0);
  REQUIRE(fake_serve(fake, &s->commands) == 0);
  ndnshm_free(fake->ep);
  return 0;
}

static void register_at_cost_9(watcher_t* w, order_t* order, const char* name) {
  uvface_route_t route = UVFACE_ROUTE_INIT;
  ndnpkt_name_t n = wire_name(name);

  route.cost = 9;
  *order = (order_t){.told = 0};
  order->req.data = order;
  ASSERT_OK(uvface_client_register(&w->client, &order->req, n.base, n.len, &route, on_order));
}

TEST_LOOP(what_was_registered_is_so_again_before_the_client_is_up, 2) {
  const uvface_client_options_t options = options_of(_i == 0 ? UVFACE_SHM : UVFACE_STREAM, 1);
  scene_t* s = begin(live_twice, options.transport, &options);
  order_t a, b, c, c_again, d;

  register_at_cost_9(&s->w, &a, "/a"); /* even before the first life */
  watcher_run_up(&s->w, 1);
  register_at_cost_9(&s->w, &b, "/b");
  order_register(&s->w, &c, "/c");
  order_unregister(&s->w, &c_again, "/c");
  RUN_UNTIL(&s->w.loop, a.told && b.told && c.told && c_again.told);
  order_register(&s->w, &d, "/d");
  RUN_UNTIL(&s->w.loop, s->w.ups == 2);
  ck_assert_uint_eq(s->w.downs, 1);
  RUN_UNTIL(&s->w.loop, d.told);
  ck_assert_int_eq(d.status, 0); /* it was under way, and so it was asked again */
  ck_assert_int_eq(a.told, 1);
  ck_assert_int_eq(b.told, 1);
  watcher_echo(&s->w, INTEREST);
  end(s, 0);
}

/* Refuses shared memory, and does all else. */
static int serve_all(void* arg) {
  scene_t* s = arg;
  fake_packet_t packet;

  REQUIRE(fake_accept(&s->fake) >= 0);
  REQUIRE(fake_expect(&s->fake, &packet, "faces", "create"));
  fake_answer(&s->fake, &packet, 400, "no", 0);
  return fake_serve(&s->fake, &s->commands);
}

/* A forwarder that does not take the registration of before: the client is not up, and tries again. */
static int refuse_replay(void* arg) {
  fake_t* fake = &((scene_t*) arg)->fake;
  fake_packet_t packet;

  for (int life = 0; life < 3; life++) {
    REQUIRE(fake_accept(fake) >= 0);
    REQUIRE(fake_expect(fake, &packet, "rib", "register"));
    fake_answer(fake, &packet, life == 1 ? 403 : 200, "not now", 0);
    if (life == 1) REQUIRE(fake_ends(fake));
  }
  return fake_serve(fake, NULL);
}

TEST(a_client_is_not_up_before_its_registrations_are_in_force) {
  const uvface_client_options_t options = options_of(UVFACE_STREAM, 1);
  scene_t* s = begin(refuse_replay, 0, &options);

  assert_registers(&s->w, "/d", 0);
  watcher_run_up(&s->w, 1);
  RUN_UNTIL(&s->w.loop, s->w.ups == 2);
  ck_assert_uint_eq(s->w.downs, 1); /* a loss is told once, attempts are not */
  watcher_assert_says(&s->w, "uvface_client_register: rib/register /d: the forwarder answers 403 not now");
  end(s, 0);
}

/* A client of a forwarder that listens where nobody looks yet. The forwarder is forked before the loop is made: its
 * copy of the heap must not hold what only the parent's loop, in memory that both share, points to, or valgrind calls
 * that lost. */
static scene_t* begin_away(char away[128]) {
  const uvface_client_options_t options = options_of(UVFACE_ANY, 1);
  scene_t* s = mmap(NULL, sizeof(*s), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

  ck_assert_ptr_ne(s, MAP_FAILED);
  fake_listen(&s->fake, "loss");
  snprintf(away, 128, "%s.away", s->fake.path);
  ck_assert_int_eq(rename(s->fake.path, away), 0);
  s->n = UVFACE_STREAM;
  s->pid = harness_fork(serve_all, s);
  watcher_open(&s->w, s->fake.uri, &options);
  return s;
}

TEST(a_forwarder_that_comes_later_is_found) {
  char away[128];
  scene_t* s = begin_away(away);
  order_t order;

  order_register(&s->w, &order, "/d");
  watcher_run_down(&s->w, 1);
  ck_assert_int_eq(s->w.status, UV_ENOENT);
  run_for(&s->w.loop, 30);
  ck_assert_uint_eq(s->w.downs, 1);
  ck_assert_int_eq(order.told, 0);
  ck_assert_int_eq(rename(away, s->fake.path), 0);
  RUN_UNTIL(&s->w.loop, s->w.ups == 1);
  RUN_UNTIL(&s->w.loop, order.told);
  ck_assert_int_eq(order.status, 0);
  end(s, 0);
}

/* Of what is said of one route while nobody is there, the last counts; the others do not wait. */
TEST(who_changes_his_mind_while_nobody_is_there_is_heard_once) {
  static order_t orders[200], other;
  char away[128];
  scene_t* s = begin_away(away);

  order_register(&s->w, &other, "/d");
  for (int i = 0; i < 200; i++) (i % 2 == 0 ? order_unregister : order_register)(&s->w, &orders[i], "/x");
  ck_assert_int_eq(orders[0].told, 0); /* never within the call */
  for (int i = 0; i < 199; i++) {
    RUN_UNTIL(&s->w.loop, orders[i].told);
    ck_assert_int_eq(orders[i].status, UV_ECANCELED);
  }
  ck_assert_int_eq(orders[199].told + other.told, 0);
  ck_assert_int_eq(rename(away, s->fake.path), 0);
  RUN_UNTIL(&s->w.loop, orders[199].told && other.told);
  ck_assert_int_eq(orders[199].status, 0);
  ck_assert_int_eq(other.status, 0);
  end_served(s, 2);
}

/* A forwarder of two lives that answers everything; in the second nothing is registered. */
static int live_twice_and_count(void* arg) {
  scene_t* s = arg;
  fake_packet_t packet;

  REQUIRE(fake_accept(&s->fake) >= 0);
  for (int i = 0; i < 2; i++) {
    REQUIRE(fake_read(&s->fake, &packet));
    fake_answer(&s->fake, &packet, 200, "OK", 0);
  }
  REQUIRE(fake_accept(&s->fake) >= 0);
  return fake_serve(&s->fake, &s->commands);
}

static scene_t* scene_of_tap;
static order_t of_tap;

static void unregister_in_tap(uvface_t* face, int direction, const uv_buf_t pieces[], unsigned int npieces) {
  (void) pieces, (void) npieces;
  if (direction != UVFACE_SENT) return;
  uvface_set_tap(face, NULL);
  order_unregister(&scene_of_tap->w, &of_tap, "/d");
}

/* While the registration is on its way into the socket. */
TEST(what_a_tap_unregisters_is_not_registered_again) {
  const uvface_client_options_t options = options_of(UVFACE_STREAM, 1);
  scene_t* s = begin(live_twice_and_count, UVFACE_STREAM, &options);
  order_t order;

  scene_of_tap = s;
  watcher_run_up(&s->w, 1);
  ASSERT_OK(uvface_set_tap(s->w.client.face, unregister_in_tap));
  order_register(&s->w, &order, "/d");
  RUN_UNTIL(&s->w.loop, s->w.ups == 2);
  ck_assert_int_eq(order.told + of_tap.told, 2);
  end_served(s, 0);
}

/* --- Many lives --------------------------------------------------------------------------------------------------- */

/* Lives until it has echoed so many packets, and dies without a word. */
static int live_shortly(void* arg) {
  scene_t* s = arg;
  fake_packet_t packet;

  REQUIRE(fake_accept(&s->fake) >= 0);
  REQUIRE(fake_give_face(&s->fake, &packet, 300) == 0);
  s->fake.echoes = 50;
  fake_serve(&s->fake, NULL);
  raise(SIGKILL);
  return 1;
}

/* A load that never rests: packets with numbers, of which each comes back at most once, and in order. */
typedef struct load_s {
  scene_t* s;
  uv_timer_t timer;
  uint32_t sent, last, received, refused;
  unsigned int down_when_sent; /* packets that were refused because there was no face */
} load_t;

static load_t load;

static void load_send(uv_timer_t* timer) {
  uint8_t packet[] = {5, 13, 7, 5, 8, 3, 'a', 'b', 'c', 10, 4, 0, 0, 0, 0};
  uv_buf_t buf = uv_buf_init((char*) packet, sizeof(packet));

  (void) timer;
  for (int i = 0; i < 16; i++) {
    uint32_t number = load.sent + 1;

    if (load.s->w.client.face == NULL) {
      load.refused++;
      return;
    }
    memcpy(packet + 11, &number, 4);
    if (uvface_try_send(load.s->w.client.face, &buf, 1) < 0) return;
    load.sent++;
  }
}

static void load_receive(uvface_t* face, ssize_t npkts, const uv_buf_t pkts[]) {
  (void) face;
  if (npkts < 0) {
    load.s->w.face_error = (int) npkts;
    return;
  }
  for (ssize_t p = 0; p < npkts; p++) {
    uint32_t number;

    HOLDS(pkts[p].len == 15);
    memcpy(&number, pkts[p].base + 11, 4);
    HOLDS(number > load.last && number <= load.sent);
    load.last = number;
    load.received++;
  }
}

static void load_change(watcher_t* w, int status) {
  if (status == 0) ASSERT_OK(uvface_recv_start(w->client.face, load_receive));
}

TEST(a_hundred_restarts_under_load_lose_packets_in_flight_and_nothing_else) {
  const uvface_client_options_t options = options_of(UVFACE_SHM, 1);
  unsigned int restarts = harness_slow() > 1 ? RESTARTS / 10 : RESTARTS;
  scene_t* s = begin(live_shortly, 0, &options);
  int fds = -1;
  order_t order;

  load = (load_t){.s = s};
  s->w.receive = false;
  s->w.on_change = load_change;
  uv_timer_init(&s->w.loop, &load.timer);
  uv_timer_start(&load.timer, load_send, 0, 1);
  for (unsigned int life = 1; life <= restarts; life++) {
    RUN_UNTIL(&s->w.loop, s->w.ups == life);
    if (life == 1) fds = harness_count_fds();
    ck_assert_int_eq(harness_count_fds(), fds); /* of all lives before nothing is left */
    RUN_UNTIL(&s->w.loop, s->w.downs == life);
    ck_assert_int_eq(s->w.status, UV_EOF); /* it is told */
    ck_assert_int_eq(s->w.face_error, UV_EOF);
    ck_assert_int_eq(harness_wait(s->pid, DEADLINE_MS), SIGKILL);
    s->pid = harness_fork(live_shortly, s);
  }
  RUN_UNTIL(&s->w.loop, s->w.ups == restarts + 1);
  /* Each life has echoed 50, which came, and what was in flight at its end is all that did not. */
  ck_assert_uint_ge(load.received, 50 * restarts);
  ck_assert_uint_le(load.sent - load.received, (restarts + 1) * 512);
  order_register(&s->w, &order, "/d");
  uv_close((uv_handle_t*) &load.timer, NULL);
  watcher_close(&s->w);
  ck_assert_int_eq(order.told, 1);
  harness_kill(s->pid);
  fake_unlisten(&s->fake);
  munmap(s, sizeof(*s));
}

/* --- Closing, whenever and whoever ------------------------------------------------------------ */

static int serve_shm(void* arg) {
  scene_t* s = arg;
  fake_packet_t packet;

  if (fake_accept(&s->fake) < 0 || !fake_expect(&s->fake, &packet, "faces", "create")) return 0;
  REQUIRE(fake_make_private(&s->fake, &packet) == 0);
  fake_answer(&s->fake, &packet, 200, "OK", 300);
  if (fake_ends(&s->fake)) return 0;
  return 0;
}

#define TURNS 40

/* After each number of turns of the loop: everything that had been begun is ended. */
TEST_LOOP(a_client_may_be_closed_at_any_time, TURNS) {
  const uvface_client_options_t options = options_of(_i % 2 == 0 ? UVFACE_SHM : UVFACE_STREAM, _i % 3 == 0);
  scene_t* s = begin(serve_shm, 0, &options);
  order_t order;

  order_register(&s->w, &order, "/d");
  for (int turn = 0; turn < _i / 2; turn++) {
    uv_run(&s->w.loop, UV_RUN_NOWAIT);
    if (_i % 5 == 0) sched_yield();
  }
  watcher_close(&s->w);
  ck_assert_int_eq(order.told, 1);
  harness_kill(s->pid);
  fake_unlisten(&s->fake);
  munmap(s, sizeof(*s));
}

/* At each step of the forwarder, which stops there. */
TEST_LOOP(a_client_may_be_closed_at_each_step, DEATHS) {
  scene_t* s;
  order_t order;

  step_signal = SIGSTOP;
  s = begin(die_at, _i, NULL);
  order_register(&s->w, &order, "/d");
  RUN_UNTIL(&s->w.loop, harness_wait_state(s->pid, 'T', 1));
  run_for(&s->w.loop, 10); /* what it does with what it has got so far */
  watcher_close(&s->w);
  ck_assert_int_eq(order.status, UV_ECANCELED);
  ck_assert_uint_eq(s->w.downs, 1);
  harness_kill(s->pid);
  fake_unlisten(&s->fake);
  munmap(s, sizeof(*s));
}

static void close_any(uv_handle_t* handle, void* arg) {
  (void) arg;
  if (handle->data == NULL && !uv_is_closing(handle)) uv_close(handle, NULL);
}

/* As programs do that clean up a loop by walking over it. */
TEST_LOOP(somebody_else_may_close_the_inner_handles, TURNS) {
  const uvface_client_options_t options = options_of(_i % 2 == 0 ? UVFACE_SHM : UVFACE_STREAM, 0);
  scene_t* s = begin(serve_shm, 0, &options);

  for (int turn = 0; turn < _i / 2; turn++) uv_run(&s->w.loop, UV_RUN_NOWAIT);
  uv_walk(&s->w.loop, close_any, NULL);
  if (_i % 3 == 0) uv_run(&s->w.loop, UV_RUN_NOWAIT);
  watcher_close(&s->w);
  harness_kill(s->pid);
  fake_unlisten(&s->fake);
  munmap(s, sizeof(*s));
}

TEST(a_face_that_its_user_closes_is_a_loss) {
  const uvface_client_options_t options = options_of(UVFACE_ANY, 0);
  scene_t* s = begin(serve_all, 0, &options);

  watcher_run_up(&s->w, 1);
  uvface_close(s->w.client.face, NULL);
  watcher_run_down(&s->w, 1);
  ck_assert_int_eq(s->w.status, UV_ECANCELED);
  watcher_assert_says(&s->w, "uvface_client_cb: the client's face was closed by its user");
  end(s, 0);
}

/* --- The app's own death ---------------------------------------------------------------------- */

/* The forwarder sees both ends at once: nothing else has the descriptors. */
static int see_both_ends(void* arg) {
  fake_t* fake = &((scene_t*) arg)->fake;
  fake_packet_t packet;

  REQUIRE(fake_accept(fake) >= 0);
  REQUIRE(fake_give_face(fake, &packet, 300) == 0);
  REQUIRE(fake_ends(fake));
  while (ndnshm_wake(fake->ep) != NDNSHM_EOF) usleep(100);
  ndnshm_free(fake->ep);
  return 0;
}

static int app_body(void* arg) {
  scene_t* s = arg;
  watcher_t w;
  pid_t child;

  watcher_open(&w, s->fake.uri, NULL);
  watcher_run_up(&w, 1);
  child = fork();
  if (child == 0) {
    execl("/bin/sleep", "sleep", "60", NULL);
    _exit(127);
  }
  s->n = child;
  s->commands = 1;
  for (;;) pause();
}

TEST(an_app_that_is_killed_leaves_nothing_not_even_in_its_children) {
  scene_t* s = mmap(NULL, sizeof(*s), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  uint64_t end_ns = harness_now_ns() + (uint64_t) DEADLINE_MS * 1000000u;
  char path[64], name[64] = "";
  pid_t app;

  fake_listen(&s->fake, "loss");
  s->pid = harness_fork(see_both_ends, s);
  app = harness_fork(app_body, s);
  while (__atomic_load_n(&s->commands, __ATOMIC_ACQUIRE) == 0 && harness_now_ns() < end_ns) sched_yield();
  ck_assert_uint_eq(s->commands, 1);
  snprintf(path, sizeof(path), "/proc/%d/comm", s->n);
  while (strcmp(name, "sleep\n") != 0 && harness_now_ns() < end_ns) { /* its exec has closed what it was to close */
    FILE* file = fopen(path, "r");

    ck_assert_ptr_nonnull(file);
    if (fgets(name, sizeof(name), file) == NULL) name[0] = '\0';
    fclose(file);
  }
  harness_kill(app);
  ck_assert_int_eq(harness_wait(s->pid, DEADLINE_MS), 0);
  kill(s->n, SIGKILL);
  fake_unlisten(&s->fake);
  munmap(s, sizeof(*s));
}
