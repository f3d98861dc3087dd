/* SPDX-License-Identifier: MIT */
/* test_client_commands.c: registrations: what is sent, what becomes of each answer, and the rules of the calls. */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fake.h"

#define MANY 2000

static uvface_client_options_t stream_options(void) {
  uvface_client_options_t options = UVFACE_CLIENT_OPTIONS_INIT;

  options.transport = UVFACE_STREAM;
  return options;
}

/* A client that is up over the socket of a forwarder in a child. */
typedef struct scene_s {
  fake_t fake;
  watcher_t w;
  pid_t pid;
  int n;
} scene_t;

static void begin_with(scene_t* s, int (*forwarder)(void*), const uvface_client_options_t* options) {
  fake_listen(&s->fake, "commands");
  s->pid = harness_fork(forwarder, s);
  watcher_open(&s->w, s->fake.uri, options);
}

static void begin(scene_t* s, int (*forwarder)(void*)) {
  const uvface_client_options_t options = stream_options();

  begin_with(s, forwarder, &options);
}

static void end(scene_t* s) {
  watcher_close(&s->w);
  ck_assert_int_eq(harness_wait(s->pid, DEADLINE_MS), 0);
  fake_unlisten(&s->fake);
}

/* --- What is sent ------------------------------------------------------------------------------------- */

static bool same_name(ndnpkt_name_t name, const char* uri) {
  return ndnpkt_name_equal(name, wire_name(uri));
}

static int look_at_stream(void* arg) {
  fake_t* fake = &((scene_t*) arg)->fake;
  const uint32_t numbers = NDNPKT_HAS_NAME | NDNPKT_HAS_ORIGIN | NDNPKT_HAS_COST | NDNPKT_HAS_FLAGS;
  fake_packet_t packet;
  const ndnpkt_parameters_t* p = &packet.command.parameters;
  ndnpkt_crypto_t* crypto;

  ndnpkt_crypto_new(&crypto);
  REQUIRE(fake_accept(fake) >= 0);
  REQUIRE(fake_expect(fake, &packet, "rib", "register"));
  REQUIRE(same_name(packet.command.prefix, "/localhost/nfd"));
  REQUIRE(packet.packet.link.wrapped == false);
  REQUIRE(packet.packet.interest.has_nonce);
  REQUIRE(packet.packet.interest.lifetime_ms == 4000);
  REQUIRE(packet.command.signature.type == NDNPKT_SIGNATURE_DIGEST_SHA256);
  REQUIRE(ndnpkt_verify(crypto, &packet.command.signature, NULL) == 0);
  REQUIRE(ndnpkt_interest_check(crypto, &packet.packet.interest) == 0);
  REQUIRE(p->has == numbers && same_name(p->name, "/d"));
  REQUIRE(p->origin == 0 && p->cost == 0 && p->flags == NDNPKT_ROUTE_CHILD_INHERIT);
  fake_answer(fake, &packet, 200, "OK", 262);
  REQUIRE(fake_expect(fake, &packet, "rib", "register"));
  REQUIRE(p->has == (numbers | NDNPKT_HAS_EXPIRATION) && p->name.len == 0);
  REQUIRE(p->origin == 65 && p->cost == 7 && p->flags == NDNPKT_ROUTE_CAPTURE && p->expiration_ms == 60000);
  fake_answer(fake, &packet, 200, "OK", 262);
  REQUIRE(fake_expect(fake, &packet, "rib", "unregister"));
  REQUIRE(p->has == (NDNPKT_HAS_NAME | NDNPKT_HAS_ORIGIN) && p->origin == 65 && p->name.len == 0);
  fake_answer(fake, &packet, 200, "OK", 262);
  ndnpkt_crypto_free(crypto);
  REQUIRE(fake_ends(fake));
  return 0;
}

TEST(a_command_says_what_was_asked_for_and_nothing_else) {
  const uvface_route_t route = {sizeof(route), 65, 7, NDNPKT_ROUTE_CAPTURE, 60000};
  order_t order = {.req.data = &order};
  scene_t s;

  begin(&s, look_at_stream);
  assert_registers(&s.w, "/d", 0);
  ASSERT_OK(uvface_client_register(&s.w.client, &order.req, NULL, 0, &route, on_order)); /* "/" */
  RUN_UNTIL(&s.w.loop, order.told == 1);
  ck_assert_uint_eq(order.code, 200);
  ck_assert_str_eq(order.text, "OK");
  ck_assert_ptr_eq(order.req.client, &s.w.client);
  ASSERT_OK(uvface_client_unregister(&s.w.client, &order.req, NULL, 0, &route, on_order));
  RUN_UNTIL(&s.w.loop, order.told == 2);
  ck_assert_int_eq(order.status, 0);
  end(&s);
}

static int look_at_shm(void* arg) {
  fake_t* fake = &((scene_t*) arg)->fake;
  fake_packet_t packet;

  REQUIRE(fake_accept(fake) >= 0);
  REQUIRE(fake_expect(fake, &packet, "faces", "create"));
  REQUIRE(packet.command.parameters.has == (NDNPKT_HAS_URI | NDNPKT_HAS_SHM_TOKEN | NDNPKT_HAS_MTU));
  REQUIRE(packet.command.parameters.mtu == 65536);
  REQUIRE(fake_make_private(fake, &packet) == 0);
  fake_answer(fake, &packet, 200, "OK", 777);
  REQUIRE(fake_hand_out(fake, &packet, FAKE_RIGHT) == 0);
  fake_end_handoff(fake);
  REQUIRE(fake_expect(fake, &packet, "rib", "register"));
  REQUIRE((packet.command.parameters.has & NDNPKT_HAS_FACE_ID) != 0 && packet.command.parameters.face_id == 777);
  fake_answer(fake, &packet, 200, "OK", 0);
  REQUIRE(fake_ends(fake));
  ndnshm_free(fake->ep);
  return 0;
}

TEST(the_face_that_carries_the_packets_is_registered) {
  uvface_client_options_t options = UVFACE_CLIENT_OPTIONS_INIT;
  scene_t s;

  options.mtu = 65536;
  begin_with(&s, look_at_shm, &options);
  watcher_run_up(&s.w, 1);
  ck_assert_uint_ge(uvface_get_mtu(s.w.client.face), 65536);
  assert_registers(&s.w, "/d", 0);
  end(&s);
}

/* --- What becomes of it --------------------------------------------------------------------------------- */

static const struct {
  unsigned int code; /* 0: a Nack */
  int status;
} codes[] = {{200, 0},          {299, 0},         {400, UV_EINVAL}, {403, UV_EACCES}, {404, UV_ENOENT},
             {501, UV_ENOTSUP}, {409, UV_EPROTO}, {410, UV_EPROTO}, {500, UV_EPROTO}, {0, UV_ENOTSUP}};
#define CODES ((int) (sizeof(codes) / sizeof(codes[0])))

static int answer_code(void* arg) {
  scene_t* s = arg;
  fake_packet_t packet;

  REQUIRE(fake_accept(&s->fake) >= 0);
  REQUIRE(fake_expect(&s->fake, &packet, "rib", "register"));
  if (codes[s->n].code == 0)
    fake_nack(&s->fake, &packet);
  else
    fake_answer(&s->fake, &packet, codes[s->n].code, "as it is", 0);
  REQUIRE(fake_ends(&s->fake));
  return 0;
}

TEST_LOOP(each_code_has_its_status, CODES) {
  scene_t s = {.n = _i};
  order_t order;
  char words[128];

  begin(&s, answer_code);
  order_register(&s.w, &order, "/some/prefix");
  RUN_UNTIL(&s.w.loop, order.told);
  ck_assert_int_eq(order.status, codes[_i].status);
  ck_assert_uint_eq(order.code, codes[_i].code);
  ck_assert_str_eq(order.text, codes[_i].code != 0 ? "as it is" : "");
  snprintf(words, sizeof(words), "uvface_client_register: rib/register /some/prefix: the forwarder answers %u as it is",
           codes[_i].code);
  if (codes[_i].code >= 300) watcher_assert_says(&s.w, words);
  if (codes[_i].code == 0)
    watcher_assert_says(&s.w, "uvface_client_register: rib/register /some/prefix: operation not");
  end(&s);
}

#define ORDERS 8

static int answer_backwards(void* arg) {
  fake_t* fake = &((scene_t*) arg)->fake;
  static fake_packet_t packets[ORDERS];
  char text[16];

  REQUIRE(fake_accept(fake) >= 0);
  for (int i = 0; i < ORDERS; i++) REQUIRE(fake_expect(fake, &packets[i], "rib", "register"));
  for (int i = ORDERS; i-- > 0;) {
    snprintf(text, sizeof(text), "number %d", i);
    fake_answer(fake, &packets[i], 200, text, 0);
    fake_answer(fake, &packets[i], 403, "again", 0); /* nobody's any more */
  }
  REQUIRE(fake_ends(fake));
  return 0;
}

TEST(answers_are_matched_by_name_and_not_by_order) {
  order_t orders[ORDERS];
  char name[16];
  scene_t s;

  begin(&s, answer_backwards);
  for (int i = 0; i < ORDERS; i++) { /* before it is up */
    snprintf(name, sizeof(name), "/d/%d", i);
    order_register(&s.w, &orders[i], name);
  }
  for (int i = 0; i < ORDERS; i++) {
    RUN_UNTIL(&s.w.loop, orders[i].told);
    snprintf(name, sizeof(name), "number %d", i);
    ck_assert_str_eq(orders[i].text, name);
    ck_assert_int_eq(orders[i].status, 0);
  }
  RUN_UNTIL(&s.w.loop, s.w.packets == ORDERS); /* what is not ours is the app's */
  for (int i = 0; i < ORDERS; i++) ck_assert_int_eq(orders[i].told, 1);
  end(&s);
}

static int answer_late(void* arg) {
  fake_t* fake = &((scene_t*) arg)->fake;
  fake_packet_t first, second;

  REQUIRE(fake_accept(fake) >= 0);
  REQUIRE(fake_expect(fake, &first, "rib", "register"));
  REQUIRE(first.packet.interest.lifetime_ms == 100);
  REQUIRE(fake_expect(fake, &second, "rib", "register")); /* which is sent when the first has been given up */
  fake_answer(fake, &first, 200, "too late", 0);
  fake_answer(fake, &second, 200, "OK", 0);
  REQUIRE(fake_ends(fake));
  return 0;
}

TEST(a_command_without_an_answer_times_out_and_the_next_does_not_get_its_answer) {
  uvface_client_options_t options = stream_options();
  order_t first, second;
  scene_t s;

  fake_true_time();
  options.command_timeout_ms = 100;
  begin_with(&s, answer_late, &options);
  watcher_run_up(&s.w, 1);
  order_register(&s.w, &first, "/d");
  RUN_UNTIL(&s.w.loop, first.told);
  ck_assert_int_eq(first.status, UV_ETIMEDOUT);
  ck_assert_uint_eq(first.code, 0);
  ck_assert_str_eq(first.text, "");
  watcher_assert_says(&s.w, "uvface_client_register: rib/register /d: connection timed out");
  order_register(&s.w, &second, "/d");
  RUN_UNTIL(&s.w.loop, second.told);
  if (second.status != UV_ETIMEDOUT) { /* a machine that is very busy: then it says nothing */
    ck_assert_int_eq(second.status, 0);
    ck_assert_str_eq(second.text, "OK");
  }
  end(&s);
}

static int serve(void* arg) {
  fake_t* fake = &((scene_t*) arg)->fake;

  REQUIRE(fake_accept(fake) >= 0);
  return fake_serve(fake, NULL);
}

/* More than fit into the socket and the face's queue, while the forwarder does not read. */
TEST(many_commands_at_once_are_all_answered) {
  static order_t orders[MANY];
  static uint8_t name[1004], letters[1000];
  uvface_client_options_t options = stream_options();
  scene_t s;

  options.command_timeout_ms = 60000;
  options.face.queue_max = 8;
  begin_with(&s, serve, &options);
  watcher_run_up(&s.w, 1);
  kill(s.pid, SIGSTOP);
  ck_assert(harness_wait_state(s.pid, 'T', DEADLINE_MS));
  for (int i = 0; i < MANY; i++) {
    orders[i].req.data = &orders[i];
    ck_assert_int_eq(ndnpkt_append(name, 0, sizeof(name), 8, (ndnpkt_bytes_t){letters, 1000}), 1004);
    memcpy(name + 4, &i, sizeof(i));
    ASSERT_OK(uvface_client_register(&s.w.client, &orders[i].req, name, sizeof(name), NULL, on_order));
    if (i % 64 == 0) uv_run(&s.w.loop, UV_RUN_NOWAIT);
  }
  kill(s.pid, SIGCONT);
  for (int i = 0; i < MANY; i++) {
    RUN_UNTIL(&s.w.loop, orders[i].told);
    ck_assert_int_eq(orders[i].status, 0);
  }
  end(&s);
}

static int answer_when_told(void* arg) {
  fake_t* fake = &((scene_t*) arg)->fake;
  fake_packet_t packet;

  REQUIRE(fake_accept(fake) >= 0);
  REQUIRE(fake_expect(fake, &packet, "rib", "register"));
  kill(getpid(), SIGSTOP);
  fake_answer(fake, &packet, 200, "OK", 0);
  kill(getpid(), SIGSTOP);
  REQUIRE(fake_ends(fake));
  return 0;
}

/* The answer has come while the loop's user held it up longer than the command's time. */
TEST(a_loop_that_was_held_up_does_not_lose_an_answer) {
  uvface_client_options_t options = stream_options();
  order_t order;
  scene_t s;

  fake_true_time();
  options.command_timeout_ms = 300 * harness_slow();
  begin_with(&s, answer_when_told, &options);
  watcher_run_up(&s.w, 1);
  order_register(&s.w, &order, "/d");
  uv_run(&s.w.loop, UV_RUN_NOWAIT); /* sends it */
  ck_assert(harness_wait_state(s.pid, 'T', DEADLINE_MS));
  kill(s.pid, SIGCONT);
  usleep(400 * 1000 * harness_slow());
  ck_assert(harness_wait_state(s.pid, 'T', DEADLINE_MS)); /* it has answered */
  kill(s.pid, SIGCONT);
  RUN_UNTIL(&s.w.loop, order.told);
  ck_assert_int_eq(order.status, 0);
  end(&s);
}

/* --- Signatures -------------------------------------------------------------------------------------------- */

#define CERTIFICATE "/alice/KEY/0123456789abcdef/self/v=0"

static int check_signatures(void* arg) {
  fake_t* fake = &((scene_t*) arg)->fake;
  fake_packet_t packet;
  ndnpkt_crypto_t* crypto;
  ndnpkt_key_t* key;
  uint64_t last_ms = 0;

  ndnpkt_crypto_new(&crypto);
  ndnpkt_key_new(&key);
  REQUIRE(ndnpkt_key_set_secret(key, wire_text("secret")) == 0);
  REQUIRE(fake_accept(fake) >= 0);
  for (int i = 0; i < 3; i++) {
    REQUIRE(fake_read(fake, &packet));
    REQUIRE(packet.command.signature.type == NDNPKT_SIGNATURE_HMAC_SHA256);
    REQUIRE(same_name(packet.command.signature.key_name, CERTIFICATE));
    REQUIRE(ndnpkt_verify(crypto, &packet.command.signature, key) == 0);
    REQUIRE(packet.command.signature.has_time && packet.command.signature.time_ms > last_ms);
    last_ms = packet.command.signature.time_ms;
    fake_answer(fake, &packet, i == 0 ? 400 : 200, "", 0);
  }
  ndnpkt_key_free(key);
  ndnpkt_crypto_free(crypto);
  REQUIRE(fake_ends(fake));
  return 0;
}

TEST(commands_are_signed_by_the_key_and_name_its_certificate) {
  uvface_client_options_t options = UVFACE_CLIENT_OPTIONS_INIT;
  ndnpkt_signer_t signer = NDNPKT_SIGNER_INIT;
  uint8_t name[200];
  ndnpkt_key_t* key;
  scene_t s;

  ASSERT_OK(ndnpkt_key_new(&key));
  ASSERT_OK(ndnpkt_key_set_secret(key, wire_text("secret")));
  ASSERT_OK(ndnpkt_name_from_uri(CERTIFICATE, name, sizeof(name), &signer.key_name));
  signer.key = key;
  options.signer = &signer;
  begin_with(&s, check_signatures, &options);
  memset(name, 0xff, sizeof(name)); /* copied */
  memset(&signer, 0xff, sizeof(signer));
  assert_registers(&s.w, "/a", 0);
  assert_registers(&s.w, "/b", 0);
  end(&s);
  ndnpkt_key_free(key);
}

static int sign_and_fail(void* ctx, const ndnpkt_bytes_t pieces[], unsigned int n, uint8_t* out, size_t* len) {
  (void) pieces, (void) n, (void) out, (void) len;
  ++*(int*) ctx;
  return -EKEYREVOKED;
}

TEST(a_signer_that_fails_fails_the_command) {
  uvface_client_options_t options = stream_options();
  ndnpkt_signer_t signer = NDNPKT_SIGNER_INIT;
  int calls = 0;
  scene_t s;

  signer.type = NDNPKT_SIGNATURE_ED25519;
  signer.sign = sign_and_fail;
  signer.ctx = &calls;
  options.signer = &signer;
  begin_with(&s, serve, &options);
  watcher_run_up(&s.w, 1);
  assert_registers(&s.w, "/a", -EKEYREVOKED);
  ck_assert_int_eq(calls, 1);
  watcher_assert_says(&s.w, "uvface_client_register: rib/register /a: ");
  end(&s);
}

/* --- The rules of the calls --------------------------------------------------------------------------------- */

TEST(calls_refuse_what_they_must) {
  static uint8_t long_name[NDNPKT_PACKET_MAX], letters[NDNPKT_PACKET_MAX];
  const uint8_t broken[] = {8, 5, 'a'};
  uvface_client_options_t options = stream_options();
  ndnpkt_signer_t signer = NDNPKT_SIGNER_INIT;
  struct {
    uvface_route_t route;
    uint64_t from_the_future;
  } newer = {UVFACE_ROUTE_INIT, 1};
  uvface_client_t lone;
  uv_loop_t loop;
  order_t order = {.req.data = &order};
  uvface_client_t* c;
  scene_t s;

  uv_loop_init(&loop);
  ck_assert_int_eq(uvface_client_init(NULL, &lone), UV_EINVAL);
  ck_assert_int_eq(uvface_client_init(&loop, NULL), UV_EINVAL);
  ASSERT_OK(uvface_client_init(&loop, &lone));
  ck_assert_str_eq(uvface_client_errmsg(&lone), "");
  ck_assert_int_eq(uvface_client_register(&lone, &order.req, NULL, 0, NULL, on_order), UV_ENOTCONN);
  ck_assert_str_eq(uvface_client_errmsg(&lone), "uvface_client_register: neither connected nor connecting");
  ck_assert_int_eq(uvface_client_connect(NULL, NULL, NULL, NULL), UV_EINVAL);
  ck_assert_int_eq(uvface_client_connect(&lone, "udp://x", NULL, NULL), UV_EINVAL);
  ck_assert_str_eq(uvface_client_errmsg(&lone),
                   "uvface_client_connect: uri \"udp://x\": is neither unix:///path nor tcp://host:port");
  options.size = 3;
  ck_assert_int_eq(uvface_client_connect(&lone, "unix:///x", &options, NULL), UV_EINVAL);
  options = stream_options();
  options.transport = 3;
  ck_assert_int_eq(uvface_client_connect(&lone, "unix:///x", &options, NULL), UV_EINVAL);
  ck_assert_str_eq(uvface_client_errmsg(&lone), "uvface_client_connect: options: unknown transport 3");
  options = stream_options();
  options.face.size = sizeof(uvface_options_t) + 8; /* would reach into `transport` */
  ck_assert_int_eq(uvface_client_connect(&lone, "unix:///x", &options, NULL), UV_EINVAL);
  ck_assert_ptr_nonnull(strstr(uvface_client_errmsg(&lone), "uvface_client_connect: options.face: impossible size"));
  options = stream_options();
  options.face.reserved[0] = 1;
  ck_assert_int_eq(uvface_client_connect(&lone, "unix:///x", &options, NULL), UV_EINVAL);
  ck_assert_str_eq(uvface_client_errmsg(&lone),
                   "uvface_client_connect: options.face: reserved[0]: is a member that this library does not know");
  options = stream_options();
  signer.key_name = (ndnpkt_name_t){broken, sizeof(broken)};
  options.signer = &signer;
  ck_assert_int_eq(uvface_client_connect(&lone, "unix:///x", &options, NULL), UV_EINVAL);
  ck_assert_str_eq(uvface_client_errmsg(&lone), "uvface_client_connect: options: signer: key_name is not a name");
  options.signer = NULL;
  options.handoff_dir = "/0123456789012345678901234567890123456789012345678901234567890123456789/0123456789";
  ck_assert_int_eq(uvface_client_connect(&lone, "unix:///x", &options, NULL), UV_ENAMETOOLONG);
  ck_assert_ptr_nonnull(strstr(uvface_client_errmsg(&lone), "options: handoff_dir /0123"));
  uvface_client_close(&lone, NULL);
  ck_assert_str_eq(uvface_client_errmsg(&lone), "uvface_client_close: the client was closed");
  finish_loop(&loop);
  ck_assert_ptr_null(lone.priv_);
  uvface_client_close(&lone, NULL); /* once more does no harm */
  ck_assert_str_eq(uvface_client_errmsg(NULL), "");

  begin(&s, serve);
  c = &s.w.client;
  ck_assert_int_eq(uvface_client_connect(c, NULL, NULL, NULL), UV_EALREADY);
  watcher_run_up(&s.w, 1);
  ck_assert_int_eq(uvface_client_connect(c, NULL, NULL, NULL), UV_EALREADY);
  ck_assert_int_eq(uvface_client_register(NULL, &order.req, NULL, 0, NULL, on_order), UV_EINVAL);
  ck_assert_int_eq(uvface_client_register(c, NULL, NULL, 0, NULL, on_order), UV_EINVAL);
  ck_assert_int_eq(uvface_client_register(c, &order.req, NULL, 1, NULL, on_order), UV_EINVAL);
  ck_assert_int_eq(uvface_client_register(c, &order.req, broken, sizeof(broken), NULL, on_order), UV_EINVAL);
  ck_assert_ptr_nonnull(strstr(uvface_client_errmsg(c), "uvface_client_register: name: is not a name"));
  newer.route.size = sizeof(newer);
  ck_assert_int_eq(uvface_client_register(c, &order.req, NULL, 0, &newer.route, on_order), UV_EINVAL);
  ck_assert_ptr_nonnull(strstr(uvface_client_errmsg(c), "has members that this library does not know"));
  newer.from_the_future = 0;
  newer.route.flags = 4;
  ck_assert_int_eq(uvface_client_unregister(c, &order.req, NULL, 0, &newer.route, on_order), UV_EINVAL);
  ck_assert_str_eq(uvface_client_errmsg(c), "uvface_client_unregister: route: unknown flags 0x4");
  ck_assert_int_gt(ndnpkt_append(long_name, 0, sizeof(long_name), 8, (ndnpkt_bytes_t){letters, 8000}), 8000);
  ck_assert_int_eq(uvface_client_register(c, &order.req, long_name, 8004, NULL, on_order), UV_EMSGSIZE);
  ck_assert_int_gt(ndnpkt_append(long_name, 0, sizeof(long_name), 8, (ndnpkt_bytes_t){letters, 7880}), 7880);
  ASSERT_OK(
      uvface_client_register(c, &order.req, long_name, 7884, NULL, on_order)); /* the longest that is let in fits */
  RUN_UNTIL(&s.w.loop, order.told);
  ck_assert_int_eq(order.status, 0);
  uvface_client_close(c, NULL);
  ck_assert_int_eq(uvface_client_connect(c, NULL, NULL, NULL), UV_ENOTCONN);
  ck_assert_int_eq(uvface_client_register(c, &order.req, NULL, 0, NULL, on_order), UV_ENOTCONN);
  ck_assert_str_eq(uvface_client_errmsg(c), "uvface_client_register: the client is closing");
  ck_assert_ptr_null(c->face);
  finish_loop(&s.w.loop);
  ck_assert_int_eq(order.told, 1);
  ck_assert_int_eq(harness_wait(s.pid, DEADLINE_MS), 0);
  fake_unlisten(&s.fake);
}

static int ignore(void* arg) {
  fake_t* fake = &((scene_t*) arg)->fake;
  fake_packet_t packet;

  REQUIRE(fake_accept(fake) >= 0);
  while (fake_read(fake, &packet)) continue;
  return 0;
}

static char sequence[16];

static void note(char what) {
  sequence[strlen(sequence)] = what;
}

static void note_command(uvface_command_t* req, int status, unsigned int code, const char* text) {
  (void) code, (void) text;
  ck_assert_int_eq(status, UV_ECANCELED);
  note(*(const char*) req->data);
}

static void note_change(watcher_t* w, int status) {
  (void) w;
  note(status == 0 ? 'u' : status == UV_ECANCELED ? 'd' : '?');
}

static void note_close(uvface_client_t* client) {
  (void) client;
  note('c');
}

static void note_sent(uvface_send_t* req, int status) {
  (void) req;
  if (status == UV_ECANCELED) note('s');
}

/* What is pending is told in order, the face's own first, close last, and nothing inside the call. */
TEST(closing_tells_everything_once_and_in_order) {
  static char megabyte[8000] = {6, (char) 253, 0x1f, 0x3c};
  static uvface_send_t sends[200];
  uvface_command_t one = {.data = "1"}, two = {.data = "2"};
  uv_buf_t buf = uv_buf_init(megabyte, sizeof(megabyte));
  scene_t s;

  memset(sequence, 0, sizeof(sequence));
  begin(&s, ignore);
  s.w.on_change = note_change;
  ASSERT_OK(uvface_client_register(&s.w.client, &one, NULL, 0, NULL, note_command));
  watcher_run_up(&s.w, 1);
  ASSERT_OK(uvface_client_register(&s.w.client, &two, NULL, 0, NULL, note_command));
  kill(s.pid, SIGSTOP);
  ck_assert(harness_wait_state(s.pid, 'T', DEADLINE_MS));
  for (size_t i = 0; i < 199; i++) ASSERT_OK(uvface_send(&sends[i], s.w.client.face, &buf, 1, NULL));
  ASSERT_OK(uvface_send(&sends[199], s.w.client.face, &buf, 1, note_sent));
  uvface_client_close(&s.w.client, note_close);
  ck_assert_str_eq(sequence, "u");
  finish_loop(&s.w.loop);
  ck_assert_str_eq(sequence, "us12dc");
  kill(s.pid, SIGCONT);
  ck_assert_int_eq(harness_wait(s.pid, DEADLINE_MS), 0);
  fake_unlisten(&s.fake);
}

static order_t second;

static void register_again(uvface_command_t* req, int status, unsigned int code, const char* text) {
  watcher_t* w = req->client->data;

  on_order(req, status, code, text);
  order_register(w, &second, "/second");
}

static void close_client(uvface_command_t* req, int status, unsigned int code, const char* text) {
  on_order(req, status, code, text);
  uvface_client_close(req->client, NULL);
}

TEST(every_call_may_come_from_a_callback) {
  order_t first = {.req.data = &first}, last = {.req.data = &last};
  scene_t s;

  begin(&s, serve);
  watcher_run_up(&s.w, 1);
  ASSERT_OK(uvface_client_register(&s.w.client, &first.req, NULL, 0, NULL, register_again));
  RUN_UNTIL(&s.w.loop, second.told);
  ck_assert_int_eq(second.status, 0);
  ASSERT_OK(uvface_client_register(&s.w.client, &last.req, NULL, 0, NULL, close_client));
  order_register(&s.w, &second, "/third");
  finish_loop(&s.w.loop);
  ck_assert_int_eq(last.status, 0);
  ck_assert_int_eq(second.told, 1);
  ck_assert_int_eq(s.w.downs, 1);
  ck_assert_int_eq(s.w.status, UV_ECANCELED);
  ck_assert_int_eq(harness_wait(s.pid, DEADLINE_MS), 0);
  fake_unlisten(&s.fake);
}

/* Refuses shared memory, does all else that it is asked for, each once, and counts it. */
static int serve_once_each(void* arg) {
  fake_t* fake = &((scene_t*) arg)->fake;
  fake_packet_t packet;
  int registered[2] = {0, 0};

  REQUIRE(fake_accept(fake) >= 0);
  while (fake_read(fake, &packet)) {
    if (fake_is(&packet, "rib", "register"))
      registered[ndnpkt_name_equal(packet.command.parameters.name, wire_name("/second"))]++;
    fake_answer(fake, &packet, fake_is(&packet, "faces", "create") ? 400 : 200, "as you like", 0);
  }
  return registered[0] > 1 || registered[1] > 1;
}

static uvface_client_t* client_in_tap;
static int taps, close_at;

static void command_in_tap(uvface_t* face, int direction, const uv_buf_t pieces[], unsigned int npieces) {
  (void) face, (void) pieces, (void) npieces;
  if (direction != UVFACE_SENT) return;
  if (++taps == 1) order_register(client_in_tap->data, &second, "/second");
  if (taps == close_at) uvface_client_close(client_in_tap, NULL);
}

/* A command goes through the tap of the face that it is sent over. _i: after so many of them the tap closes the
 * client. */
TEST_LOOP(a_tap_that_gives_a_command_has_it_sent_once, 3) {
  order_t first;
  scene_t s;

  taps = 0;
  close_at = _i;
  begin(&s, serve_once_each);
  watcher_run_up(&s.w, 1);
  client_in_tap = &s.w.client;
  ASSERT_OK(uvface_set_tap(s.w.client.face, command_in_tap));
  order_register(&s.w, &first, "/first");
  RUN_UNTIL(&s.w.loop, first.told && second.told);
  ck_assert_int_eq(first.status, _i == 0 ? 0 : UV_ECANCELED);
  ck_assert_int_eq(second.status, first.status);
  if (_i == 0) uvface_client_close(&s.w.client, NULL);
  finish_loop(&s.w.loop);
  ck_assert_int_eq(first.told + second.told, 2);
  ck_assert_uint_eq(s.w.downs, 1);
  ck_assert_int_eq(harness_wait(s.pid, DEADLINE_MS), 0);
  fake_unlisten(&s.fake);
}

static int sign_and_close(void* ctx, const ndnpkt_bytes_t pieces[], unsigned int n, uint8_t* out, size_t* len) {
  (void) pieces, (void) n;
  memset(out, 1, 64);
  *len = 64;
  if (++taps == close_at) uvface_client_close(ctx, note_close);
  return 0;
}

/* _i: while shared memory is asked for, while what waited is sent, and later. */
TEST_LOOP(a_signer_may_close_the_client, 3) {
  uvface_client_options_t options = UVFACE_CLIENT_OPTIONS_INIT;
  ndnpkt_signer_t signer = NDNPKT_SIGNER_INIT;
  order_t first;
  scene_t s;

  taps = 0;
  close_at = _i + 1;
  memset(sequence, 0, sizeof(sequence));
  signer.type = NDNPKT_SIGNATURE_ED25519;
  signer.sign = sign_and_close;
  signer.ctx = &s.w.client;
  options.signer = &signer;
  begin_with(&s, serve_once_each, &options);
  order_register(&s.w, &first, "/first");
  if (_i == 2) {
    watcher_run_up(&s.w, 1);
    order_register(&s.w, &second, "/second");
  }
  finish_loop(&s.w.loop);
  ck_assert_int_eq(taps, close_at);
  ck_assert_str_eq(sequence, "c");
  ck_assert_uint_eq(s.w.ups, _i == 2);
  ck_assert_uint_eq(s.w.downs, 1);
  ck_assert_int_eq(s.w.status, UV_ECANCELED);
  ck_assert_int_eq(first.told, 1);
  ck_assert_int_eq(harness_wait(s.pid, DEADLINE_MS), 0);
  fake_unlisten(&s.fake);
}

static int read_one_and_go(void* arg) {
  fake_t* fake = &((scene_t*) arg)->fake;
  fake_packet_t packet;

  REQUIRE(fake_accept(fake) >= 0);
  REQUIRE(fake_read(fake, &packet));
  return 0;
}

static int connected;

static void connect_again(uvface_command_t* req, int status, unsigned int code, const char* text) {
  on_order(req, status, code, text);
  connected = uvface_client_connect(req->client, "unix:///nowhere", NULL, NULL);
}

/* A command's end is told before the connection's, which is not over for the client until that was told, too. */
TEST_LOOP(the_loss_is_told_whatever_a_command_does_that_ends_with_it, 2) {
  order_t order = {.req.data = &order};
  scene_t s;

  connected = 0;
  begin(&s, read_one_and_go);
  watcher_run_up(&s.w, 1);
  ASSERT_OK(uvface_client_register(&s.w.client, &order.req, NULL, 0, NULL, _i == 0 ? close_client : connect_again));
  watcher_run_down(&s.w, 1);
  ck_assert_int_eq(order.told, 1);
  ck_assert_int_eq(order.status, UV_EPIPE);
  ck_assert_int_eq(s.w.status, _i == 0 ? UV_ECANCELED : UV_EOF);
  ck_assert_int_eq(connected, _i == 0 ? 0 : UV_EALREADY);
  if (_i == 1) uvface_client_close(&s.w.client, NULL);
  finish_loop(&s.w.loop);
  ck_assert_uint_eq(s.w.downs, 1);
  ck_assert_int_eq(harness_wait(s.pid, DEADLINE_MS), 0);
  fake_unlisten(&s.fake);
}

/* A client keeps its loop alive while it is connecting or a command is under way, and no longer. */
TEST(a_client_that_waits_for_nothing_keeps_no_loop) {
  scene_t s;
  order_t order;

  fake_listen(&s.fake, "commands");
  s.pid = harness_fork(serve, &s);
  watcher_open(&s.w, s.fake.uri,
               &(uvface_client_options_t){sizeof(uvface_client_options_t), UVFACE_OPTIONS_INIT, UVFACE_STREAM, 0, 0, 0,
                                          NULL, NULL});
  s.w.receive = false;
  ck_assert_int_eq(uv_run(&s.w.loop, UV_RUN_DEFAULT), 0);
  ck_assert_uint_eq(s.w.ups, 1);
  order_register(&s.w, &order, "/d");
  ck_assert_int_eq(uv_run(&s.w.loop, UV_RUN_DEFAULT), 0);
  ck_assert_int_eq(order.told, 1);
  end(&s);
}
