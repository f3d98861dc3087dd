/* SPDX-License-Identifier: MIT */
/* test_client.c: a client's way to its face: each turn that it can take, against a forwarder that is moved by hand
 * (fake.h). What it asks for then is in test_client_commands.c, losses and deaths are in test_client_losses.c. */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "dial.h"
#include "fake.h"
#include "handoff_client.h"
#include "where.h"

#define INTEREST "050f 0707 0805 68656c6c6f 0a04 01020304"
#define WITHOUT_NONCE "0509 0707 0805 68656c6c6f"

static uvface_client_options_t options_of(int transport) {
  uvface_client_options_t options = UVFACE_CLIENT_OPTIONS_INIT;

  options.transport = transport;
  return options;
}

/* A client that is up, against a forwarder in a child; both ended, and the child asserted to be content. */
static void run_to_up(watcher_t* w, int (*forwarder)(void*), fake_t* fake, const uvface_client_options_t* options,
                      int transport) {
  pid_t pid = harness_fork(forwarder, fake);

  watcher_open(w, fake->uri, options);
  watcher_run_up(w, 1);
  ck_assert_msg(uvface_get_transport(w->client.face) == transport, "%s", uvface_client_errmsg(&w->client));
  watcher_echo(w, INTEREST);
  wire_assert_same((ndnpkt_bytes_t){w->last, w->last_bytes}, wire_hex(INTEREST));
  assert_registers(w, "/d", 0);
  watcher_close(w);
  ck_assert_int_eq(harness_wait(pid, DEADLINE_MS), 0);
  fake_unlisten(fake);
}

/* --- Shared memory ------------------------------------------------------------------------------------ */

static int give_by_token(void* arg) {
  fake_t* fake = arg;
  fake_packet_t create;

  REQUIRE(fake_accept(fake) >= 0);
  REQUIRE(fake_give_face(fake, &create, 300) == 0);
  REQUIRE(fake_serve(fake, NULL) == 0);
  ndnshm_free(fake->ep);
  return 0;
}

TEST(descriptors_are_taken_where_they_are_handed_out) {
  watcher_t w;
  fake_t fake;

  fake_listen(&fake, "token");
  run_to_up(&w, give_by_token, &fake, NULL, UVFACE_SHM);
}

static int give_and_answer_at_length(void* arg) {
  fake_t* fake = arg;
  fake_packet_t packet;
  char text[2001];

  memset(text, 't', sizeof(text) - 1);
  text[sizeof(text) - 1] = '\0';
  REQUIRE(fake_accept(fake) >= 0);
  REQUIRE(fake_give_face(fake, &packet, 300) == 0);
  REQUIRE(fake_expect(fake, &packet, "rib", "register"));
  fake_answer(fake, &packet, 200, text, 0);
  REQUIRE(fake_ends(fake));
  ndnshm_free(fake->ep);
  return 0;
}

/* What limits the app's packets limits no answer to the client, which does not come over the same face. */
TEST(short_packets_over_shared_memory_leave_answers_their_length) {
  uvface_client_options_t options = UVFACE_CLIENT_OPTIONS_INIT;
  watcher_t w;
  fake_t fake;
  pid_t pid;

  options.face.mtu = 300;
  fake_listen(&fake, "length");
  pid = harness_fork(give_and_answer_at_length, &fake);
  watcher_open(&w, fake.uri, &options);
  watcher_run_up(&w, 1);
  ck_assert_int_eq(uvface_get_transport(w.client.face), UVFACE_SHM);
  assert_registers(&w, "/d", 0);
  watcher_close(&w);
  ck_assert_int_eq(harness_wait(pid, DEADLINE_MS), 0);
  fake_unlisten(&fake);
}

static int give_by_name(void* arg) {
  fake_t* fake = arg;
  fake_packet_t create;

  REQUIRE(fake_accept(fake) >= 0);
  REQUIRE(fake_expect(fake, &create, "faces", "create"));
  REQUIRE(fake_make_named(fake, &create) == 0);
  fake_answer(fake, &create, 200, "OK", 300);
  REQUIRE(fake_serve(fake, NULL) == 0);
  ndnshm_free(fake->ep);
  return 0;
}

TEST(the_name_is_taken_where_no_descriptors_are_handed_out) {
  watcher_t w;
  fake_t fake;

  fake_listen(&fake, "name");
  run_to_up(&w, give_by_name, &fake, NULL, UVFACE_SHM);
}

/* --- The socket ------------------------------------------------------------------------------------------ */

static int serve_socket(void* arg) {
  fake_t* fake = arg;
  unsigned int commands = 0;

  REQUIRE(fake_accept(fake) >= 0);
  REQUIRE(fake_serve(fake, &commands) == 0);
  REQUIRE(commands == 1); /* no faces/create */
  return 0;
}

TEST(a_stream_that_was_asked_for_costs_no_command) {
  uvface_client_options_t options = options_of(UVFACE_STREAM);
  watcher_t w;
  fake_t fake;

  fake_listen(&fake, "stream");
  run_to_up(&w, serve_socket, &fake, &options, UVFACE_STREAM);
}

/* --- No shared memory there ----------------------------------------------------------------------------- */

/* What a forwarder answers to faces/create, and what becomes of a client that wants shared memory or nothing. */
static const struct refusal {
  unsigned int code; /* 0: a Nack; 1: something that cannot be read; 2: 200 without a FaceId; 3: with FaceId 0 */
  const char* text;
  int status;
  const char* words;
} refusals[] = {
    {400, "URI could not be canonized", UV_ENOTSUP, "faces/create %s: the forwarder answers 400 URI could not be"},
    {404, "unknown module", UV_ENOTSUP, "faces/create %s: the forwarder answers 404 unknown module"},
    {501, "", UV_ENOTSUP, "faces/create %s: the forwarder answers 501"},
    {0, "", UV_ENOTSUP, "faces/create %s: the Interest came back: nobody there makes faces"},
    {403, "signature\nwanted", UV_EACCES, "faces/create %s: the forwarder answers 403 signature?wanted"},
    {500, "no memory", UV_EPROTO, "faces/create %s: the forwarder answers 500 no memory"},
    {409, "conflict", UV_EPROTO, "faces/create %s: the forwarder answers 409 conflict"},
    {1, "", UV_EPROTO, "faces/create %s: an answer that cannot be read"},
    {2, "", UV_EPROTO, "faces/create %s: the forwarder answers 200 without a FaceId"},
    {3, "", UV_EPROTO, "faces/create %s: the forwarder answers 200 without a FaceId"},
};
#define REFUSALS (sizeof(refusals) / sizeof(*refusals))

typedef struct scene_s {
  fake_t fake;
  const struct refusal* refusal;
  fake_fault_t fault;
  bool destroys; /* the client gives the face back */
  int n;
} scene_t;

static void answer_garbage(fake_t* fake, const fake_packet_t* packet) {
  uint8_t bytes[NDNPKT_PACKET_MAX];
  const ndnpkt_data_t data = {.name = packet->packet.interest.name, .content = wire_text("hello")};
  ndnpkt_crypto_t* crypto;
  ssize_t n;

  ndnpkt_crypto_new(&crypto);
  n = ndnpkt_data_encode(crypto, bytes, sizeof(bytes), &data, NULL);
  ndnpkt_crypto_free(crypto);
  fake_send(fake, (ndnpkt_bytes_t){bytes, (size_t) n});
}

static int refuse(void* arg) {
  scene_t* scene = arg;
  const struct refusal* refusal = scene->refusal;
  fake_t* fake = &scene->fake;
  ndnpkt_parameters_t parameters = {.has = NDNPKT_HAS_FACE_ID};
  fake_packet_t create;

  REQUIRE(fake_accept(fake) >= 0);
  REQUIRE(fake_expect(fake, &create, "faces", "create"));
  if (refusal->code == 0)
    fake_nack(fake, &create);
  else if (refusal->code == 1)
    answer_garbage(fake, &create);
  else if (refusal->code == 3)
    fake_answer_with(fake, &create, 200, "OK", &parameters);
  else
    fake_answer(fake, &create, refusal->code == 2 ? 200 : refusal->code, refusal->text, 0);
  return fake_serve(fake, NULL);
}

static void assert_says_of(const watcher_t* w, const char* format, const char* what) {
  char words[300];

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
  snprintf(words, sizeof(words), format, what);
#pragma GCC diagnostic pop
  watcher_assert_says(w, words);
}

TEST_LOOP(a_forwarder_without_shared_memory_is_used_over_its_socket, REFUSALS) {
  scene_t scene = {.refusal = &refusals[_i]};
  watcher_t w;
  pid_t pid;

  fake_listen(&scene.fake, "refuse");
  pid = harness_fork(refuse, &scene);
  watcher_open(&w, scene.fake.uri, NULL);
  watcher_run_up(&w, 1);
  ck_assert_int_eq(uvface_get_transport(w.client.face), UVFACE_STREAM);
  assert_says_of(&w, scene.refusal->words, scene.fake.uri);
  watcher_echo(&w, INTEREST);
  assert_registers(&w, "/d", 0);
  watcher_close(&w);
  ck_assert_int_eq(harness_wait(pid, DEADLINE_MS), 0);
  fake_unlisten(&scene.fake);
}

TEST_LOOP(who_wants_shared_memory_or_nothing_is_told_why, REFUSALS) {
  scene_t scene = {.refusal = &refusals[_i]};
  const uvface_client_options_t options = options_of(UVFACE_SHM);
  watcher_t w;
  pid_t pid;

  fake_listen(&scene.fake, "refuse");
  pid = harness_fork(refuse, &scene);
  watcher_open(&w, scene.fake.uri, &options);
  watcher_run_down(&w, 1);
  ck_assert_uint_eq(w.ups, 0);
  ck_assert_int_eq(w.status, scene.refusal->status);
  assert_says_of(&w, scene.refusal->words, scene.fake.uri);
  ck_assert_int_eq(harness_wait(pid, DEADLINE_MS), 0); /* the connection is closed */
  watcher_close(&w);
  fake_unlisten(&scene.fake);
}

/* --- A handoff that goes wrong ------------------------------------------------------------------------------ */

static const struct {
  int status;
  const char* words;
} handoff_faults[FAKE_FAULTS] = {
    [FAKE_EOF_AT_ONCE] = {UV_EOF, "end of file"},
    [FAKE_SILENT_AT_ONCE] = {UV_ETIMEDOUT, "waited 1000 ms for the proof"},
    [FAKE_HALF_A_PROOF] = {UV_ETIMEDOUT, "waited 1000 ms for the proof"},
    [FAKE_WRONG_PROOF] = {UV_EPROTO, "wrong proof: whoever listens there does not know the key"},
    [FAKE_EOF_AFTER_PROOF] = {UV_EOF, "closed without handing anything out"},
    [FAKE_SILENT_AFTER_PROOF] = {UV_ETIMEDOUT, "waited 1000 ms for the descriptors"},
    [FAKE_NO_DESCRIPTORS] = {UV_EPROTO, "not three descriptors"},
    [FAKE_TWO_DESCRIPTORS] = {UV_EPROTO, "not three descriptors"},
    [FAKE_FOUR_DESCRIPTORS] = {UV_EPROTO, "not three descriptors"},
    [FAKE_MANY_DESCRIPTORS] = {UV_EPROTO, "more descriptors than three"},
    [FAKE_WRONG_BYTE] = {UV_EPROTO, "not the byte that comes with descriptors"},
    [FAKE_STRANGE_DESCRIPTORS] = {UV_EPROTO, "uvface_attach: "},
};

/* Makes the face under its name, too: one that is not to be used. */
static int hand_out_wrong(void* arg) {
  scene_t* scene = arg;
  fake_t* fake = &scene->fake;
  fake_packet_t create, packet;
  ndnshm_t* decoy;

  REQUIRE(fake_accept(fake) >= 0);
  REQUIRE(fake_expect(fake, &create, "faces", "create"));
  REQUIRE(fake_make_named(fake, &create) == 0);
  decoy = fake->ep;
  REQUIRE(fake_make_private(fake, &create) == 0);
  fake_answer(fake, &create, 200, "OK", 300);
  REQUIRE(fake_hand_out(fake, &create, scene->fault) == 0);
  fake_end_handoff(fake);
  REQUIRE(fake_expect(fake, &packet, "faces", "destroy"));
  REQUIRE(packet.command.parameters.face_id == 300);
  REQUIRE(ndnshm_peer_caps(decoy) == 0); /* nobody has come in by the name */
  ndnshm_free(decoy);
  ndnshm_free(fake->ep);
  fake->ep = NULL;
  fake_answer(fake, &packet, 200, "OK", 0);
  return fake_serve(fake, NULL);
}

/* qemu gives the kernel twice the room for descriptors, and keeps what the program has no room for, open and untold. */
static bool qemu_hides(fake_fault_t fault) {
  return fault == FAKE_MANY_DESCRIPTORS && harness_under_emulation();
}

TEST_LOOP(a_handoff_that_fails_leaves_the_socket_and_never_takes_the_name, FAKE_FAULTS - 1) {
  scene_t scene = {.fault = (fake_fault_t) (_i + 1)};
  watcher_t w;
  pid_t pid;

  if (qemu_hides(scene.fault)) SKIP("qemu does not tell of descriptors that there was no room for");
  if (handoff_faults[scene.fault].status == UV_ETIMEDOUT) fake_true_time();
  fake_listen(&scene.fake, "fault");
  pid = harness_fork(hand_out_wrong, &scene);
  watcher_open(&w, scene.fake.uri, NULL);
  watcher_run_up(&w, 1);
  ck_assert_int_eq(uvface_get_transport(w.client.face), UVFACE_STREAM);
  watcher_assert_says(&w, handoff_faults[scene.fault].words);
  watcher_assert_says(&w, "uvface_client_connect: ");
  watcher_echo(&w, INTEREST);
  assert_registers(&w, "/d", 0);
  ck_assert_uint_eq(w.packets, 1); /* the answer to faces/destroy was not for the app */
  watcher_close(&w);
  ck_assert_int_eq(harness_wait(pid, DEADLINE_MS), 0);
  fake_unlisten(&scene.fake);
}

TEST_LOOP(a_handoff_that_fails_is_told_to_who_wants_shared_memory_or_nothing, FAKE_FAULTS - 1) {
  scene_t scene = {.fault = (fake_fault_t) (_i + 1)};
  const uvface_client_options_t options = options_of(UVFACE_SHM);
  watcher_t w;
  pid_t pid;

  if (qemu_hides(scene.fault)) SKIP("qemu does not tell of descriptors that there was no room for");
  if (handoff_faults[scene.fault].status == UV_ETIMEDOUT) fake_true_time();
  fake_listen(&scene.fake, "fault");
  pid = harness_fork(hand_out_wrong, &scene);
  watcher_open(&w, scene.fake.uri, &options);
  watcher_run_down(&w, 1);
  ck_assert_uint_eq(w.ups, 0);
  ck_assert_int_eq(w.status, handoff_faults[scene.fault].status);
  watcher_assert_says(&w, handoff_faults[scene.fault].words);
  ck_assert_int_eq(harness_wait(pid, DEADLINE_MS), 0);
  watcher_close(&w);
  fake_unlisten(&scene.fake);
}

/* The descriptors, and the socket that they come over, are closed on exec from their first moment on. */
static int handed_out;

static void look_at_fds(void* arg, int status, const int fds[3], const char* why) {
  (void) arg, (void) why;
  if (status > 0) return;
  ck_assert_int_eq(status, 0);
  handed_out = 1;
  for (int i = 0; i < 3; i++) {
    ck_assert_int_eq(fcntl(fds[i], F_GETFD), FD_CLOEXEC);
    close(fds[i]);
  }
}

static int hand_out_once(void* arg) {
  fake_t* fake = arg;
  fake_packet_t create = {.n = 0};
  static const uint8_t key[UVFACE__KEY_BYTES] = {'k'};

  create.command.parameters = (ndnpkt_parameters_t){.has = NDNPKT_HAS_SHM_TOKEN, .shm_token = {key, sizeof(key)}};
  REQUIRE(fake_make_private(fake, &create) == 0);
  kill(getpid(), SIGSTOP);
  REQUIRE(fake_hand_out(fake, &create, FAKE_RIGHT) == 0);
  fake_end_handoff(fake);
  ndnshm_free(fake->ep);
  return 0;
}

TEST(what_is_handed_out_is_closed_on_exec) {
  static const unsigned char key[UVFACE__KEY_BYTES] = {'k'};
  uvface__handoff_t* handoff;
  ndnpkt_crypto_t* crypto;
  uv_loop_t loop;
  char path[108];
  fake_t fake;
  pid_t pid;
  int fd;

  fake_listen(&fake, "exec");
  fd = uvface__dial_path(fake.path);
  ck_assert_int_eq(fcntl(fd, F_GETFD), FD_CLOEXEC);
  close(fd);
  pid = harness_fork(hand_out_once, &fake);
  ck_assert(harness_wait_state(pid, 'T', DEADLINE_MS));
  kill(pid, SIGCONT);
  uv_loop_init(&loop);
  ndnpkt_crypto_new(&crypto);
  ASSERT_OK(uvface__handoff_path(crypto, NULL, key, path, sizeof(path)));
  ASSERT_OK(uvface__handoff_start(&loop, crypto, path, key, look_at_fds, NULL, &handoff));
  RUN_UNTIL(&loop, handed_out);
  finish_loop(&loop);
  ndnpkt_crypto_free(crypto);
  ck_assert_int_eq(harness_wait(pid, DEADLINE_MS), 0);
  fake_unlisten(&fake);
}

/* A socket in the way that nobody listens at any more: as if there were none. */
static int leave_dead_handoff(void* arg) {
  fake_t* fake = arg;
  fake_packet_t create;
  ndnshm_t* unused;

  REQUIRE(fake_accept(fake) >= 0);
  REQUIRE(fake_expect(fake, &create, "faces", "create"));
  REQUIRE(fake_make_private(fake, &create) == 0);
  unused = fake->ep;
  fake_close_handoff(fake);
  REQUIRE(fake_make_named(fake, &create) == 0);
  fake_answer(fake, &create, 200, "OK", 300);
  REQUIRE(fake_serve(fake, NULL) == 0);
  fake_end_handoff(fake);
  ndnshm_free(unused);
  ndnshm_free(fake->ep);
  return 0;
}

TEST(the_name_is_taken_where_the_handoff_is_over) {
  watcher_t w;
  fake_t fake;

  fake_listen(&fake, "dead");
  run_to_up(&w, leave_dead_handoff, &fake, NULL, UVFACE_SHM);
}

/* 200, and nothing behind it: neither a socket nor a name. */
static int promise_only(void* arg) {
  fake_t* fake = arg;
  fake_packet_t packet;

  REQUIRE(fake_accept(fake) >= 0);
  REQUIRE(fake_expect(fake, &packet, "faces", "create"));
  fake_answer(fake, &packet, 200, "OK", 300);
  REQUIRE(fake_expect(fake, &packet, "faces", "destroy"));
  fake_answer(fake, &packet, 404, "no such face", 0);
  return fake_serve(fake, NULL);
}

TEST(a_face_that_is_not_there_is_given_back) {
  watcher_t w;
  fake_t fake;

  fake_listen(&fake, "promise");
  run_to_up(&w, promise_only, &fake, NULL, UVFACE_STREAM);
}

/* --- No answer --------------------------------------------------------------------------------------------------- */

/* Connections on which nothing is ever answered, as ndn-fwd of early 2026 makes them once in a while. */
static int deaf_at_first(void* arg) {
  scene_t* scene = arg;
  fake_t* fake = &scene->fake;
  fake_packet_t first, create;

  REQUIRE(fake_accept(fake) >= 0);
  REQUIRE(fake_expect(fake, &first, "faces", "create"));
  REQUIRE(fake_ends(fake)); /* and nothing is sent again over it */
  REQUIRE(fake_accept(fake) >= 0);
  if (scene->n == 2) {
    REQUIRE(fake_expect(fake, &create, "faces", "create"));
    REQUIRE(fake_ends(fake));
    return 0;
  }
  REQUIRE(fake_give_face(fake, &create, 301) == 0);
  REQUIRE(first.command.parameters.uri.len == create.command.parameters.uri.len);
  REQUIRE(memcmp(first.command.parameters.uri.base, create.command.parameters.uri.base,
                 create.command.parameters.uri.len) != 0);
  REQUIRE(memcmp(first.command.parameters.shm_token.base, create.command.parameters.shm_token.base, 32) != 0);
  REQUIRE(fake_serve(fake, NULL) == 0);
  ndnshm_free(fake->ep);
  return 0;
}

TEST(a_deaf_connection_is_left_and_another_name_is_asked_for_over_the_next) {
  scene_t scene = {.n = 1};
  watcher_t w;
  pid_t pid;

  fake_true_time();
  fake_listen(&scene.fake, "deaf");
  pid = harness_fork(deaf_at_first, &scene);
  watcher_open(&w, scene.fake.uri, NULL);
  watcher_run_up(&w, 1);
  ck_assert_uint_eq(w.downs, 0);
  ck_assert_int_eq(uvface_get_transport(w.client.face), UVFACE_SHM);
  watcher_echo(&w, INTEREST);
  watcher_close(&w);
  ck_assert_int_eq(harness_wait(pid, DEADLINE_MS), 0);
  fake_unlisten(&scene.fake);
}

TEST(a_forwarder_that_never_answers_is_told_after_two_connections) {
  scene_t scene = {.n = 2};
  order_t order;
  watcher_t w;
  pid_t pid;

  fake_true_time();
  fake_listen(&scene.fake, "deaf");
  pid = harness_fork(deaf_at_first, &scene);
  watcher_open(&w, scene.fake.uri, NULL);
  order_register(&w, &order, "/d");
  watcher_run_down(&w, 1);
  ck_assert_int_eq(w.status, UV_ETIMEDOUT);
  assert_says_of(&w, "uvface_client_connect: faces/create %s: no answer within 2000 ms", scene.fake.uri);
  ck_assert_int_eq(order.told, 1);
  ck_assert_int_eq(order.status, UV_EPIPE);
  ck_assert_int_eq(harness_wait(pid, DEADLINE_MS), 0);
  watcher_close(&w);
  fake_unlisten(&scene.fake);
}

/* Stops when it was asked, and when it has answered. */
static int refuse_when_told(void* arg) {
  scene_t* scene = arg;
  fake_packet_t create;

  REQUIRE(fake_accept(&scene->fake) >= 0);
  REQUIRE(fake_expect(&scene->fake, &create, "faces", "create"));
  kill(getpid(), SIGSTOP);
  fake_answer(&scene->fake, &create, scene->refusal->code, scene->refusal->text, 0);
  kill(getpid(), SIGSTOP);
  return fake_serve(&scene->fake, NULL);
}

/* A loop that was held up longer than any deadline looks at its sockets before it judges the forwarder. */
TEST(a_loop_that_was_held_up_does_not_blame_the_forwarder) {
  scene_t scene = {.refusal = &refusals[0]};
  watcher_t w;
  pid_t pid;

  fake_true_time();
  fake_listen(&scene.fake, "held");
  pid = harness_fork(refuse_when_told, &scene);
  watcher_open(&w, scene.fake.uri, NULL);
  RUN_UNTIL(&w.loop, harness_wait_state(pid, 'T', 1));
  kill(pid, SIGCONT);
  usleep(2300 * 1000); /* what the loop's user does, not what the test waits for */
  ck_assert(harness_wait_state(pid, 'T', DEADLINE_MS));
  kill(pid, SIGCONT);
  watcher_run_up(&w, 1);
  assert_says_of(&w, refusals[0].words, scene.fake.uri);
  watcher_close(&w);
  ck_assert_int_eq(harness_wait(pid, DEADLINE_MS), 0);
  fake_unlisten(&scene.fake);
}

/* --- What a stream carries -------------------------------------------------------------------- */

static int speak_link(void* arg) {
  fake_t* fake = arg;
  fake_packet_t packet;
  uint8_t longest[NDNPKT_PACKET_MAX] = {6, 253, 0x22, 0x5c};

  fake->link = true;
  REQUIRE(fake_accept(fake) >= 0);
  REQUIRE(fake_expect(fake, &packet, "faces", "create"));
  fake_answer(fake, &packet, 400, "URI could not be canonized", 0);
  fake_write(fake, "\x64\x00", 2);   /* idle */
  REQUIRE(fake_read(fake, &packet)); /* an Interest that was sent without a Nonce */
  REQUIRE(packet.packet.kind == NDNPKT_INTEREST && packet.packet.interest.has_nonce);
  REQUIRE(packet.packet.interest.lifetime_ms == 4000 && packet.packet.interest.must_be_fresh);
  fake_send(fake, packet.packet.wire);
  REQUIRE(fake_read(fake, &packet));
  fake_nack(fake, &packet);
  fake_send(fake, (ndnpkt_bytes_t){longest, sizeof(longest)});
  REQUIRE(fake_ends(fake));
  return 0;
}

TEST(link_headers_are_kept_from_the_app_and_a_nack_is_not) {
  watcher_t w;
  fake_t fake;
  pid_t pid;

  fake_listen(&fake, "link");
  pid = harness_fork(speak_link, &fake);
  watcher_open(&w, fake.uri, NULL);
  watcher_run_up(&w, 1);
  watcher_echo(&w, "050e 0707 0805 68656c6c6f 1200 2201ff");
  ck_assert_uint_eq(w.packets, 1); /* the idle packet is none */
  ck_assert_uint_eq(w.last_bytes, 16 + 6);
  ck_assert_uint_eq(w.last[0], 5);
  ck_assert_uint_eq(w.last[13], 0x0a);
  watcher_echo(&w, INTEREST);
  RUN_UNTIL(&w.loop, w.packets == 3);
  ck_assert_uint_eq(w.last_bytes, NDNPKT_PACKET_MAX);
  ck_assert_uint_eq(w.last[0], 6);
  watcher_close(&w);
  ck_assert_int_eq(harness_wait(pid, DEADLINE_MS), 0);
  fake_unlisten(&fake);
}

/* The longest Interest to which a Nonce of 6 bytes may be added, and one that is a byte longer. */
static const size_t nonce_bounds[] = {NDNPKT_PACKET_MAX - 6, NDNPKT_PACKET_MAX - 5};

static int read_longest(void* arg) {
  fake_t* fake = arg;
  fake_packet_t packet;

  REQUIRE(fake_accept(fake) >= 0);
  for (int i = 0; i < 2; i++) {
    REQUIRE(fake_read(fake, &packet)); /* which takes no more than any node must */
    REQUIRE(packet.packet.kind == NDNPKT_INTEREST && packet.packet.interest.has_nonce == (i == 0));
    REQUIRE(packet.n == (i == 0 ? NDNPKT_PACKET_MAX : nonce_bounds[1]));
    fake_send(fake, packet.packet.wire);
  }
  REQUIRE(fake_ends(fake));
  return 0;
}

/* On a stream a packet that is too long for the other end is the end of the connection. */
TEST(a_nonce_makes_no_interest_longer_than_packets_may_be) {
  uvface_client_options_t options = UVFACE_CLIENT_OPTIONS_INIT;
  watcher_t w;
  fake_t fake;
  pid_t pid;

  fake_listen(&fake, "longest");
  pid = harness_fork(read_longest, &fake);
  options.transport = UVFACE_STREAM;
  watcher_open(&w, fake.uri, &options);
  watcher_run_up(&w, 1);
  for (unsigned int i = 0; i < 2; i++) {
    uint8_t packet[NDNPKT_PACKET_MAX] = {0};
    size_t bytes = nonce_bounds[i];
    uv_buf_t buf = uv_buf_init((char*) packet, (unsigned int) bytes);

    for (size_t at = 0; at <= 8; at += 4) { /* Interest, name, its one component */
      static const uint8_t types[] = {5, 7, 8};
      const size_t rest = bytes - at - 4;

      memcpy(packet + at, (const uint8_t[]){types[at / 4], 253, (uint8_t) (rest >> 8), (uint8_t) rest}, 4);
    }
    ck_assert_int_eq(uvface_try_send(w.client.face, &buf, 1), (int) bytes);
    RUN_UNTIL(&w.loop, w.packets == i + 1 || w.downs > 0);
    ck_assert_uint_eq(w.downs, 0);
  }
  watcher_close(&w);
  ck_assert_int_eq(harness_wait(pid, DEADLINE_MS), 0);
  fake_unlisten(&fake);
}

static int dribble(void* arg) {
  fake_t* fake = arg;
  fake_packet_t create;

  fake->dribble = 1;
  fake->link = true;
  REQUIRE(fake_accept(fake) >= 0);
  REQUIRE(fake_give_face(fake, &create, 300) == 0);
  REQUIRE(fake_serve(fake, NULL) == 0);
  ndnshm_free(fake->ep);
  return 0;
}

TEST(answers_that_come_byte_by_byte_are_understood) {
  watcher_t w;
  fake_t fake;

  fake_listen(&fake, "dribble");
  run_to_up(&w, dribble, &fake, NULL, UVFACE_SHM);
}

static int talk_nonsense(void* arg) {
  fake_t* fake = arg;
  const uint8_t zeros[100] = {0};
  fake_packet_t packet;

  REQUIRE(fake_accept(fake) >= 0);
  REQUIRE(fake_read(fake, &packet));
  fake_write(fake, "HTTP/1.1 400 Bad Request\r\n\r\n", 28); /* an element of an unknown type, as it happens */
  fake_write(fake, zeros, sizeof(zeros));
  REQUIRE(fake_ends(fake));
  return 0;
}

TEST(who_does_not_speak_ndn_is_told_from_who_does) {
  watcher_t w;
  fake_t fake;
  pid_t pid;

  fake_listen(&fake, "nonsense");
  pid = harness_fork(talk_nonsense, &fake);
  watcher_open(&w, fake.uri, NULL);
  watcher_run_down(&w, 1);
  ck_assert_int_eq(w.status, UV_EPROTO);
  watcher_assert_says(&w, "uvface_client_connect: ");
  watcher_close(&w);
  ck_assert_int_eq(harness_wait(pid, DEADLINE_MS), 0);
  fake_unlisten(&fake);
}

/* --- Who is there, and who is not ------------------------------------------------------------- */

static void assert_unreachable(const char* uri, int status, const char* words) {
  watcher_t w;

  watcher_open(&w, uri, NULL);
  watcher_run_down(&w, 1);
  ck_assert_msg(w.status == status, "%d %s", w.status, uvface_client_errmsg(&w.client));
  watcher_assert_says(&w, words);
  ck_assert_int_eq(uv_loop_alive(&w.loop), 0); /* nothing keeps it */
  watcher_close(&w);
}

TEST(nobody_there_is_told_with_the_reason) {
  fake_t fake;

  assert_unreachable("unix:///nowhere/x.sock", UV_ENOENT,
                     "uvface_client_connect: connect unix:///nowhere/x.sock: no such file or directory");
  fake_listen(&fake, "dead");
  close(fake.listener);
  assert_unreachable(fake.uri, UV_ECONNREFUSED, "connection refused");
  fake.listener = open("/dev/null", O_RDONLY | O_CLOEXEC);
  fake_unlisten(&fake);
}

TEST(both_usual_sockets_are_tried) {
  fake_t fake;
  watcher_t w;
  pid_t pid;

  setenv("HOME", "/nowhere", 1);
  unsetenv("NDN_CLIENT_TRANSPORT");
  unsetenv("NDN_SOCK");
  uvface__conf_files[0] = uvface__conf_files[1] = "/nowhere/client.conf";
  uvface__run_sockets[0] = "/nowhere/a.sock";
  uvface__run_sockets[1] = "/nowhere/b.sock";
  assert_unreachable(
      NULL, UV_ENOENT,
      "connect unix:///nowhere/a.sock: no such file or directory; connect unix:///nowhere/b.sock: no such");
  uvface__run_sockets[0] = "/dev/null"; /* there, and no socket: the reason that tells more */
  assert_unreachable(NULL, UV_ECONNREFUSED, "connect unix:///dev/null: connection refused; connect unix:///nowhere/b");
  fake_listen(&fake, "second");
  uvface__run_sockets[1] = fake.path;
  pid = harness_fork(give_by_token, &fake);
  watcher_open(&w, NULL, NULL);
  watcher_run_up(&w, 1);
  ck_assert_int_eq(uvface_get_transport(w.client.face), UVFACE_SHM);
  watcher_close(&w);
  ck_assert_int_eq(harness_wait(pid, DEADLINE_MS), 0);
  fake_unlisten(&fake);
}

static int connect_as_other(void* arg) {
  fake_t* fake = arg;

  if (become_other() != 0) return 1;
  assert_unreachable(fake->uri, UV_EACCES, "permission denied");
  return 0;
}

TEST(a_socket_that_is_not_for_this_user_is_told) {
  fake_t fake;

  if (!is_root()) SKIP("plays two users, needs root");
  fake_listen(&fake, "closed");
  ck_assert_int_eq(chmod(fake.path, 0600), 0);
  assert_child_passes(connect_as_other, &fake);
  fake_unlisten(&fake);
}

/* A forwarder of another user. SO_PEERCRED tells who called listen(), so it does that itself. */
static int give_name_as_other(void* arg) {
  fake_t* fake = arg;

  if (become_other() != 0) return 1;
  REQUIRE(listen(fake->listener, 1) == 0);
  kill(getpid(), SIGSTOP); /* from now on a client may come */
  return give_by_name(fake);
}

TEST(a_face_of_the_forwarders_user_is_trusted) {
  fake_t fake;
  watcher_t w;
  pid_t pid;

  if (!is_root()) SKIP("plays two users, needs root");
  fake_listen(&fake, "other");
  pid = harness_fork(give_name_as_other, &fake);
  ck_assert(harness_wait_state(pid, 'T', DEADLINE_MS));
  kill(pid, SIGCONT);
  watcher_open(&w, fake.uri, NULL);
  watcher_run_up(&w, 1);
  ck_assert_msg(uvface_get_transport(w.client.face) == UVFACE_SHM, "%s", uvface_client_errmsg(&w.client));
  watcher_echo(&w, INTEREST);
  watcher_close(&w);
  ck_assert_int_eq(harness_wait(pid, DEADLINE_MS), 0);
  fake_unlisten(&fake);
}

/* --- TCP -------------------------------------------------------------------------------------- */

TEST_LOOP(a_forwarder_is_reached_over_tcp_by_address_and_by_name, 2) {
  fake_t fake;
  watcher_t w;
  char uri[64];
  pid_t pid;

  fake_listen_tcp(&fake, uri, sizeof(uri), _i == 0 ? "127.0.0.1" : "localhost");
  pid = harness_fork(serve_socket, &fake);
  watcher_open(&w, uri, NULL); /* shared memory is not asked for: it may be another machine */
  watcher_run_up(&w, 1);
  ck_assert_int_eq(uvface_get_transport(w.client.face), UVFACE_STREAM);
  watcher_echo(&w, INTEREST);
  assert_registers(&w, "/d", 0);
  watcher_close(&w);
  ck_assert_int_eq(harness_wait(pid, DEADLINE_MS), 0);
  fake_unlisten(&fake);
}

TEST(over_tcp_there_is_no_shared_memory) {
  const uvface_client_options_t options = options_of(UVFACE_SHM);
  fake_t fake;
  watcher_t w;
  char uri[64];

  fake_listen_tcp(&fake, uri, sizeof(uri), "127.0.0.1");
  watcher_open(&w, uri, &options);
  watcher_run_down(&w, 1);
  ck_assert_int_eq(w.status, UV_ENOTSUP);
  assert_says_of(&w, "uvface_client_connect: %s: shared memory needs the forwarder's Unix socket", uri);
  watcher_close(&w);
  fake_unlisten(&fake);
}

TEST(a_host_that_is_not_there_is_told) {
  fake_t fake;
  char uri[64], words[128];
  watcher_t w;

  fake_bind_tcp(&fake, uri, sizeof(uri), "127.0.0.1"); /* nobody else gets the port meanwhile */
  snprintf(words, sizeof(words), "uvface_client_connect: connect %s: connection refused", uri);
  assert_unreachable(uri, UV_ECONNREFUSED, words);
  watcher_open(&w, "tcp://no-such-host.invalid", NULL);
  watcher_run_down(&w, 1);
  ck_assert_int_lt(w.status, 0); /* which error depends on the resolver */
  watcher_assert_says(&w, "uvface_client_connect: connect tcp://no-such-host.invalid:6363: ");
  watcher_close(&w);
  fake_unlisten(&fake);
}

/* Takes the only thread that libuv looks names up in. */
typedef struct busy_s {
  uv_loop_t loop;
  uv_work_t work;
  uv_sem_t begun, may_end;
} busy_t;

static void be_busy(uv_work_t* work) {
  busy_t* busy = work->data;

  uv_sem_post(&busy->begun);
  uv_sem_wait(&busy->may_end);
}

static void on_idle_again(uv_work_t* work, int status) {
  (void) work;
  ck_assert_int_eq(status, 0);
}

TEST(a_client_that_is_closed_does_not_wait_for_the_look_up) {
  busy_t busy;
  watcher_t w;

  ck_assert_int_eq(setenv("UV_THREADPOOL_SIZE", "1", 1), 0);
  ASSERT_OK(uv_loop_init(&busy.loop));
  ASSERT_OK(uv_sem_init(&busy.begun, 0));
  ASSERT_OK(uv_sem_init(&busy.may_end, 0));
  busy.work.data = &busy;
  ASSERT_OK(uv_queue_work(&busy.loop, &busy.work, be_busy, on_idle_again));
  uv_sem_wait(&busy.begun);
  watcher_open(&w, "tcp://localhost:1", NULL);
  run_for(&w.loop, 20);
  ck_assert_uint_eq(w.downs, 0);
  watcher_close(&w); /* its loop ends, and the thread is still busy */
  ck_assert_int_eq(w.status, UV_ECANCELED);
  uv_sem_post(&busy.may_end);
  finish_loop(&busy.loop);
  uv_sem_destroy(&busy.begun);
  uv_sem_destroy(&busy.may_end);
}

/* A host that takes no connection and refuses none, for its queue is full: those who fill it are in ret_fds. */
static void fill_queue(fake_t* fake, int ret_fds[4]) {
  struct sockaddr_in address;
  socklen_t len = sizeof(address);

  ck_assert_int_eq(listen(fake->listener, 0), 0);
  ck_assert_int_eq(getsockname(fake->listener, (struct sockaddr*) &address, &len), 0);
  for (int i = 0; i < 4; i++) {
    ret_fds[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    ck_assert_int_ge(ret_fds[i], 0);
    if (connect(ret_fds[i], (struct sockaddr*) &address, sizeof(address)) != 0) ck_assert_int_eq(errno, EINPROGRESS);
  }
}

/* Whether this many connections to that port have sent a SYN that nobody has answered. */
static bool are_connecting(const fake_t* fake, unsigned int n) {
  struct sockaddr_in address;
  socklen_t len = sizeof(address);
  FILE* table = fopen("/proc/self/net/tcp", "re");
  char line[256];
  unsigned int found = 0, port, state;

  ck_assert_ptr_nonnull(table);
  ck_assert_int_eq(getsockname(fake->listener, (struct sockaddr*) &address, &len), 0);
  while (fgets(line, sizeof(line), table) != NULL)
    if (sscanf(line, " %*d: %*x:%*x %*x:%x %x", &port, &state) == 2 && port == ntohs(address.sin_port) && state == 2)
      found++;
  fclose(table);
  return found == n;
}

/* It is closed meanwhile, or its time is over. */
TEST_LOOP(a_host_that_says_nothing_is_given_up, 2) {
  fake_t fake;
  watcher_t w;
  char uri[64];
  int others[4];
  unsigned int before = 0;

  fake_true_time();
  fake_listen_tcp(&fake, uri, sizeof(uri), "127.0.0.1");
  fill_queue(&fake, others);
  while (before < 4 && !are_connecting(&fake, before)) before++;
  ck_assert_uint_lt(before, 4);
  ck_assert_uint_gt(before, 0);
  watcher_open(&w, uri, NULL);
  RUN_UNTIL(&w.loop, are_connecting(&fake, before + 1));
  if (_i == 1) watcher_run_down(&w, 1);
  watcher_close(&w);
  ck_assert_int_eq(w.status, _i == 1 ? UV_ETIMEDOUT : UV_ECANCELED);
  ck_assert(are_connecting(&fake, before)); /* its socket is closed */
  for (int i = 0; i < 4; i++) close(others[i]);
  fake_unlisten(&fake);
}

/* A queue of connections that is full: the client waits for its turn. */
static int accept_late(void* arg) {
  fake_t* fake = arg;

  for (int i = 0; i < 3; i++) {
    REQUIRE(fake_accept(fake) >= 0);
    REQUIRE(fake_ends(fake)); /* those that came before */
  }
  return give_by_token(fake);
}

TEST(a_full_queue_of_connections_is_waited_for) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  int others[8], n = 0;
  fake_t fake;
  watcher_t w;
  pid_t pid;

  fake_listen(&fake, "full");
  ck_assert_int_eq(listen(fake.listener, 2), 0);
  snprintf(address.sun_path, sizeof(address.sun_path), "%s", fake.path);
  do {
    others[n] = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  } while (connect(others[n], (struct sockaddr*) &address, sizeof(address)) == 0 && ++n < 8);
  ck_assert_int_eq(errno, EAGAIN);
  ck_assert_int_eq(n, 3);
  watcher_open(&w, fake.uri, NULL);
  run_for(&w.loop, 30);
  ck_assert_uint_eq(w.ups + w.downs, 0);
  for (int i = 0; i <= n; i++) close(others[i]);
  pid = harness_fork(accept_late, &fake);
  watcher_run_up(&w, 1);
  watcher_echo(&w, INTEREST);
  watcher_close(&w);
  ck_assert_int_eq(harness_wait(pid, DEADLINE_MS), 0);
  fake_unlisten(&fake);
}
