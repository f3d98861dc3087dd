/* SPDX-License-Identifier: MIT */
/* test_client_faults.c: each system call and allocation of a client's fails once, with each error that is natural to it
 * (shim.h), while it connects, takes a face, and registers. Whatever fails: the client is up, and works, or is down,
 * and says so; a command is told once; and nothing is left. */
#include <poll.h>
#include <string.h>

#include "fake.h"
#include "shim.h"

/* --- A forwarder that takes what comes -------------------------------------------------------------------- */

/* Hands the descriptors out, unless the client speaks of something else first. */
static void hand_out_if_asked(fake_t* fake, const fake_packet_t* create) {
  struct pollfd p[] = {{.fd = fake->handoff_listener, .events = POLLIN}, {.fd = fake->conn, .events = POLLIN}};

  if (poll(p, 2, -1) > 0 && p[0].revents != 0) fake_hand_out(fake, create, FAKE_RIGHT);
  fake_end_handoff(fake);
}

static int serve_whoever_comes(void* arg) {
  fake_t* fake = arg;
  fake_packet_t packet;

  while (fake_accept(fake) >= 0) {
    if (!fake_expect(fake, &packet, "faces", "create")) continue;
    if (fake_make_private(fake, &packet) != 0) return 1;
    fake_answer(fake, &packet, 200, "OK", 300);
    hand_out_if_asked(fake, &packet);
    fake_serve(fake, NULL);
    ndnshm_free(fake->ep);
    fake->ep = NULL;
  }
  return 0;
}

/* --- A client whose calls fail ------------------------------------------------------------------------------ */

/* Nothing of Check's while the arms are up: that allocates. */
typedef struct victim_s {
  uv_loop_t loop;
  uvface_client_t client;
  uvface_command_t req;
  int init_err, connect_err, register_err, recv_err, send_err;
  int ups, downs, told, status, command_status, packets, closes;
  bool speechless; /* a failure without words */
} victim_t;

static void on_packets(uvface_t* face, ssize_t npkts, const uv_buf_t pkts[]) {
  (void) pkts;
  if (npkts > 0) ((victim_t*) face->data)->packets += (int) npkts;
}

static void on_client(uvface_client_t* client, int status) {
  victim_t* v = client->data;

  v->status = status;
  if (status < 0) {
    v->downs++;
    if (uvface_client_errmsg(client)[0] == '\0') v->speechless = true;
    return;
  }
  v->ups++;
  client->face->data = v;
  v->recv_err = uvface_recv_start(client->face, on_packets);
}

static void on_command(uvface_command_t* req, int status, unsigned int code, const char* text) {
  victim_t* v = req->data;

  (void) code, (void) text;
  v->told++;
  v->command_status = status;
}

static void on_closed(uvface_client_t* client) {
  ((victim_t*) client->data)->closes++;
}

static bool run_until_any(victim_t* v, const int* one, const int* other) {
  patience_t patience;

  patience_start(&patience, &v->loop, PATIENCE_MS);
  while (!*one && !*other && !patience_is_over(&patience)) uv_run(&v->loop, UV_RUN_ONCE);
  patience_stop(&patience);
  return *one || *other;
}

static void send_one(victim_t* v) {
  static uint8_t interest[] = {5, 11, 7, 3, 8, 1, 'a', 10, 4, 1, 2, 3, 4};
  uv_buf_t buf = uv_buf_init((char*) interest, sizeof(interest));

  v->send_err = uvface_try_send(v->client.face, &buf, 1);
}

/* The whole way. True if all that had to come has come. */
static bool live(victim_t* v, const char* uri) {
  static const uint8_t name[] = {8, 1, 'd'};

  v->client.data = v->req.data = v;
  v->init_err = uvface_client_init(&v->loop, &v->client);
  if (v->init_err < 0) return true;
  v->connect_err = uvface_client_connect(&v->client, uri, NULL, on_client);
  if (v->connect_err < 0) return true;
  v->register_err = uvface_client_register(&v->client, &v->req, name, sizeof(name), NULL, on_command);
  if (!run_until_any(v, &v->ups, &v->downs)) return false;
  if (v->register_err == 0 && !run_until_any(v, &v->told, &v->told)) return false;
  if (v->downs > 0 || v->recv_err < 0) return true;
  send_one(v);
  return v->send_err < 0 || run_until_any(v, &v->packets, &v->downs);
}

/* Returns false if there was no such error to fail with. ret_made: whether there was such a call. */
static bool fail_once(fake_t* fake, unsigned int call, unsigned int error, bool* ret_made) {
  victim_t v = {.ups = 0};
  bool came;

  ASSERT_OK(uv_loop_init(&v.loop));
  shim_fail_at(call, error);
  came = live(&v, fake->uri);
  *ret_made = shim_disarm() >= call;
  ck_assert_msg(came, "call %u, %s, error %d: nothing came", call, shim_failed_call(), shim_failed_errno());
  ck_assert_msg(!v.speechless, "call %u, %s: no words", call, shim_failed_call());
  if (v.init_err == 0 && v.connect_err < 0) ck_assert_str_ne(uvface_client_errmsg(&v.client), "");
  if (v.init_err == 0) uvface_client_close(&v.client, on_closed);
  finish_loop(&v.loop);
  if (v.init_err == 0) {
    ck_assert_int_eq(v.closes, 1);
    if (v.connect_err == 0 && v.register_err == 0)
      ck_assert_msg(v.told == 1, "call %u, %s: told %d", call, shim_failed_call(), v.told);
  }
  return shim_failed_call() != NULL;
}

/* Each call with each error. */
static void fail_each(fake_t* fake, unsigned int at_least) {
  unsigned int failed = 0;
  bool made = true;
  int fds;

  fail_once(fake, UINT32_MAX, 0, &made); /* what is made once in a process is made */
  fds = harness_count_fds();
  made = true;
  for (unsigned int call = 1; made; call++)
    for (unsigned int error = 0; fail_once(fake, call, error, &made); error++) {
      ck_assert_msg(harness_count_fds() == fds, "call %u, %s, error %d: %d descriptors more", call, shim_failed_call(),
                    shim_failed_errno(), harness_count_fds() - fds);
      failed++;
    }
  printf("# %u failures\n", failed);
  ck_assert_uint_gt(failed, at_least);
}

TEST(whatever_call_fails_the_client_works_or_says_why) {
  fake_t fake;
  pid_t pid;

  fake_listen(&fake, "faults");
  pid = harness_fork(serve_whoever_comes, &fake);
  fail_each(&fake, 100);
  harness_kill(pid);
  fake_unlisten(&fake);
}

/* There no shared memory is asked for. */
static int serve_connections(void* arg) {
  fake_t* fake = arg;

  while (fake_accept(fake) >= 0) fake_serve(fake, NULL);
  return 0;
}

TEST(whatever_call_fails_over_tcp_the_client_works_or_says_why) {
  fake_t fake;
  pid_t pid;

  fake_listen_tcp(&fake, fake.uri, sizeof(fake.uri), "127.0.0.1");
  pid = harness_fork(serve_connections, &fake);
  fail_each(&fake, 30);
  harness_kill(pid);
  fake_unlisten(&fake);
}
