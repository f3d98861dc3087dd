/* SPDX-License-Identifier: MIT */
/* test_server_hostile.c: apps that misbehave at the door, beside one that does not. Whatever they do is bounded and
 * counted, and the other one is served meanwhile. Verdicts count packets and commands, not time. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <ndnshm.h>

#include "served.h"

#define PING "0517070b08026e6f0805726f7574650a045fab86130c0207d0"

/* The well-behaved one gets what it should: its packets, and answers to its commands. */
static void assert_is_served(raw_t* good) {
  raw_send(good, wire_hex(PING));
  ck_assert_int_eq(raw_receive(good).kind, NDNPKT_INTEREST);
  ck_assert_uint_eq(raw_register(good, "/good", 0), 200);
}

static void open_with_good(served_t* served, raw_t* good) {
  served_listen(served);
  served->echo = true;
  raw_connect(good, served);
}

/* --- Bytes -------------------------------------------------------------------------------------- */

TEST(half_an_element_for_ever_costs_its_sender_only) {
  static raw_t good, bad[30];
  served_t served;

  served_init(&served);
  open_with_good(&served, &good);
  for (int i = 0; i < 30; i++) {
    raw_connect(&bad[i], &served);
    raw_send(&bad[i], wire_hex(i % 2 == 0 ? "05fd2000 0712" : "64fd2000 50"));
  }
  for (int i = 0; i < 20; i++) assert_is_served(&good);
  run_asleep(&served.loop, 200);
  for (int i = 0; i < 30; i++) raw_close(&bad[i]);
  RUN_UNTIL(&served.loop, served.closed == 30);
  raw_close(&good);
  served_close(&served);
}

TEST(bytes_that_are_no_packet_end_that_connection) {
  static raw_t good, bad;
  served_t served;
  static const char* const garbage[] = {"ffffffffffffffffff", "05ff00000000ffffffff", "00", "05fe00ffffff", "05fd0001"};

  served_init(&served);
  open_with_good(&served, &good);
  for (unsigned int i = 0; i < sizeof(garbage) / sizeof(*garbage); i++) {
    raw_connect(&bad, &served);
    raw_send(&bad, wire_hex(garbage[i]));
    RUN_UNTIL(&served.loop, served.closed == i + 1);
    ck_assert_int_eq(served.guests[i + 1].status, UV_EPROTO);
    run_until_eof(&served, bad.fd);
    raw_close(&bad);
    assert_is_served(&good);
  }
  raw_close(&good);
  served_close(&served);
}

/* Nor before it is accepted. */
TEST(no_connection_brings_descriptors) {
  static raw_t good, bad;
  served_t served;
  bool can_refuse;

  served_init(&served);
  open_with_good(&served, &good);
  assert_is_served(&good);
  raw_connect(&bad, &served);
  can_refuse = harness_kernel_refuses_descriptors(bad.fd);
  if (can_refuse) {
    ck_assert_int_eq(harness_send_descriptor(bad.fd), EPERM);
    ck_assert_int_eq(harness_send_descriptor(good.fd), EPERM);
  }
  assert_is_served(&good);
  raw_close(&bad);
  raw_close(&good);
  served_close(&served);
  if (!can_refuse) SKIP("this kernel cannot refuse descriptors");
}

/* --- Connections -------------------------------------------------------------------------------- */

#define CONNECTIONS 10000
#define HELD 400

typedef struct crowd_s {
  const served_t* served;
  int connections, held;
  int go[2];
} crowd_t;

static int connect_once(const char* path) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

  memcpy(address.sun_path, path, strlen(path) + 1);
  if (fd >= 0 && connect(fd, (const struct sockaddr*) &address, sizeof(address)) == 0) return fd;
  fprintf(stderr, "# connect: %s\n", strerror(errno));
  return -1;
}

/* Connects as fast as it can, holding on to the last ones. */
static int crowd_body(void* arg) {
  const crowd_t* crowd = arg;
  int fds[HELD];

  for (int i = 0; i < crowd->connections; i++) {
    int* place = &fds[i % crowd->held];

    if (i >= crowd->held) close(*place);
    *place = connect_once(crowd->served->path);
    REQUIRE(*place >= 0);
  }
  return 0;
}

/* The same, and waits to be killed. */
static int lasting_crowd_body(void* arg) {
  REQUIRE(crowd_body(arg) == 0);
  for (;;) pause();
}

static uint64_t count_connections(const served_t* served) {
  uvface_server_stats_t stats = served_stats(served);

  return stats.connections + stats.connections_refused;
}

TEST(ten_thousand_connections_are_bounded_and_counted) {
  static raw_t good;
  served_t served;
  crowd_t crowd = {.served = &served, .connections = CONNECTIONS, .held = HELD};
  pid_t pid;

  served_init(&served);
  served.options.max_apps = 50;
  open_with_good(&served, &good);
  pid = harness_fork(lasting_crowd_body, &crowd);
  while (count_connections(&served) < CONNECTIONS + 1) {
    assert_is_served(&good);
    ck_assert_uint_le(served_stats(&served).apps, 50);
  }
  ck_assert_uint_eq(served_stats(&served).connections, served.opened);
  ck_assert_uint_ge(served_stats(&served).connections_refused, HELD - 50); /* those that are held now */
  harness_kill(pid);
  RUN_UNTIL(&served.loop, served_stats(&served).apps == 1);
  assert_is_served(&good);
  raw_close(&good);
  served_close(&served);
}

/* Connects when it is told to, then waits to be killed. */
static int late_crowd_body(void* arg) {
  const crowd_t* crowd = arg;
  char byte;

  REQUIRE(read(crowd->go[0], &byte, 1) == 1);
  REQUIRE(crowd_body(arg) == 0);
  for (;;) pause();
}

/* As soon as there are descriptors again, they come in. */
TEST(without_descriptors_connections_wait_and_the_loop_sleeps) {
  static raw_t good;
  served_t served;
  crowd_t crowd = {.served = &served, .connections = 20, .held = 20};
  pid_t pid;

  if (harness_under_valgrind()) SKIP("valgrind needs descriptors of its own");
  served_init(&served);
  open_with_good(&served, &good);
  ck_assert_int_eq(pipe(crowd.go), 0);
  pid = harness_fork(late_crowd_body, &crowd);
  ck_assert_int_eq(limit_descriptors(0), 0);
  ck_assert_int_eq(write(crowd.go[1], "g", 1), 1);
  RUN_UNTIL(&served.loop, served_stats(&served).connections_refused > 0);
  ck_assert_ptr_nonnull(strstr(uvface_server_errmsg(&served.server), "accept4"));
  run_asleep(&served.loop, 300);
  ck_assert_uint_eq(served.opened, 1);
  assert_is_served(&good);
  ck_assert_uint_eq(raw_create(&good, "none", handoff_key(1), -1, NULL), 500); /* nor for this, and that is told */
  ck_assert_int_eq(limit_descriptors(-1), 0);
  RUN_UNTIL(&served.loop, served.opened == 21);
  harness_kill(pid);
  RUN_UNTIL(&served.loop, served.closed == 20);
  close(crowd.go[0]);
  close(crowd.go[1]);
  raw_close(&good);
  served_close(&served);
}

/* --- Commands ----------------------------------------------------------------------------------- */

/* Sends commands for ever, and reads answers or does not. */
typedef struct flood_s {
  const served_t* served;
  bool reads;
} flood_t;

static int flood_body(void* arg) {
  const flood_t* flood = arg;
  ndnpkt_command_t command = {.module = wire_text("rib"), .verb = wire_text("register")};
  ndnpkt_crypto_t* crypto;
  uint8_t buf[2000], answers[65536];
  int fd = connect_once(flood->served->path);

  REQUIRE(fd >= 0 && ndnpkt_crypto_new(&crypto) == 0);
  command.parameters = (ndnpkt_parameters_t){.has = NDNPKT_HAS_NAME, .name = wire_name("/flood")};
  for (;;) {
    ssize_t n = ndnpkt_command_encode(crypto, buf, sizeof(buf), &command, NULL);

    if (n < 0 || send(fd, buf, (size_t) n, MSG_NOSIGNAL) < 0) break;
    while (flood->reads && recv(fd, answers, sizeof(answers), MSG_DONTWAIT) > 0) continue;
  }
  close(fd);
  ndnpkt_crypto_free(crypto);
  return 0;
}

/* How many commands of others are executed while one of the good app's is there: counted, so that no load changes
 * it. */
static struct {
  const uvface_app_t* good;
  uint64_t executed;         /* of the good one's */
  unsigned int others, most; /* since one of its has come; of all times */
} turns;
static unsigned int (*usual_on_command)(uvface_app_t*, const ndnpkt_command_t*, ndnpkt_response_t*);

static unsigned int count_turns(uvface_app_t* app, const ndnpkt_command_t* command, ndnpkt_response_t* response) {
  uvface_stats_t stats;

  ck_assert_int_eq(uvface_get_stats(turns.good->face, &stats), 0);
  if (app == turns.good) {
    if (turns.others > turns.most) turns.most = turns.others;
    turns.others = 0;
    turns.executed++;
  } else if (stats.rx_packets > turns.executed) {
    turns.others++;
  }
  return usual_on_command(app, command, response);
}

/* A command of the good one's waits for no more than one of the other's, its turn in the round. */
TEST_LOOP(commands_at_full_rate_leave_room_for_others, 2) {
  static raw_t good;
  served_t served;
  flood_t flood = {.served = &served, .reads = _i == 0};
  unsigned int flooded;
  pid_t pid;

  served_init(&served);
  usual_on_command = served.callbacks.on_command;
  served.callbacks.on_command = count_turns;
  open_with_good(&served, &good);
  RUN_UNTIL(&served.loop, served.opened == 1);
  turns.good = served.guests[0].app;
  pid = harness_fork(flood_body, &flood);
  RUN_UNTIL(&served.loop, served.commands > 2000 || (!flood.reads && served_stats(&served).commands_dropped > 100));
  for (int i = 0; i < 200; i++) {
    raw_command(&good, "rib", "register", &(ndnpkt_parameters_t){.has = NDNPKT_HAS_NAME, .name = wire_name("/g")});
    ck_assert_uint_eq(raw_response(&good).code, 200);
  }
  ck_assert_uint_eq(turns.executed, 200);
  ck_assert_uint_le(turns.most, 1);
  flooded = served.commands;
  if (!flood.reads) { /* its answers are not read: its commands wait, and what is beyond that is dropped */
    run_for(&served.loop, 50);
    ck_assert_uint_eq(served.commands, flooded);
    ck_assert_uint_gt(served_stats(&served).commands_dropped, 100);
  }
  harness_kill(pid);
  RUN_UNTIL(&served.loop, served.closed == 1);
  assert_is_served(&good);
  raw_close(&good);
  served_close(&served);
}

TEST(app_that_reads_late_gets_its_answers_late) {
  enum { N = 5000 };
  static raw_t app;
  served_t served;
  uint64_t answers = 0;

  served_init(&served);
  served_listen(&served);
  raw_connect(&app, &served);
  for (int i = 0; i < N; i++) {
    raw_command(&app, "rib", "register", &(ndnpkt_parameters_t){.has = NDNPKT_HAS_NAME, .name = wire_name("/slow")});
    if (i % 10 == 0) uv_run(&served.loop, UV_RUN_NOWAIT);
  }
  run_asleep(&served.loop, 100); /* nothing to do but to wait for it */
  ck_assert_uint_lt(served.commands, N);
  ck_assert_uint_gt(served_stats(&served).commands_dropped, 0);
  while (answers + served_stats(&served).commands_dropped < N) {
    ck_assert_int_eq(raw_receive(&app).kind, NDNPKT_DATA);
    answers++;
  }
  ck_assert_uint_eq(served.commands, answers);
  ck_assert_uint_eq(served_stats(&served).commands, answers);
  run_for(&served.loop, 20);
  ck_assert(raw_is_silent(&app));
  raw_close(&app);
  served_close(&served);
}

/* --- Faces -------------------------------------------------------------------------------------- */

TEST(create_of_every_size_is_bounded) {
  static raw_t good, bad;
  served_t served;
  unsigned int made = 0, refused = 0;
  uint64_t bytes = 0;

  served_init(&served);
  served.options.max_region_bytes = 16 << 20;
  served.options.max_app_bytes = 40 << 20;
  open_with_good(&served, &good);
  raw_connect(&bad, &served);
  for (unsigned int shift = 0; shift <= 40; shift++) {
    for (int more = -1; more <= 1; more++) {
      long mtu = (1l << shift) + more;
      unsigned int code = raw_create(&bad, "every", handoff_key(shift * 3 + (unsigned int) (more + 1)), mtu, NULL);

      ck_assert_msg(code == 200 || code == 400 || code == 503, "Mtu %ld: %u", mtu, code);
      made += code == 200;
      refused += code != 200;
      assert_is_served(&good);
    }
  }
  for (unsigned int g = 2; g < served.opened; g++) {
    uvface_stats_t stats = stats_of(served.guests[g].app->face);

    bytes += 2ull * stats.capacity * stats.slot_size;
  }
  ck_assert_uint_eq(made, 8);
  ck_assert_uint_eq(made + refused, 123);
  ck_assert_uint_le(bytes, 40 << 20);
  ck_assert_uint_eq(served_stats(&served).faces_refused, refused);
  raw_close(&bad);
  RUN_UNTIL(&served.loop, served.closed == 1 + made);
  raw_close(&good);
  served_close(&served);
}

#define LARGE_ONES 6

/* Each connection rests by itself; but of faces of 34 MB, that take some ms to make, all of them together make one at a
 * time, and the loop has four times as long for others. */
TEST(large_creates_of_many_connections_leave_the_loop_to_others) {
  static raw_t good, bad[LARGE_ONES];
  served_t served;
  uint64_t last_ns;

  served_init(&served);
  open_with_good(&served, &good);
  for (unsigned int i = 0; i < LARGE_ONES; i++) raw_connect(&bad[i], &served);
  RUN_UNTIL(&served.loop, served.opened == 1 + LARGE_ONES);
  for (unsigned int i = 0; i < LARGE_ONES; i++) {
    ndnpkt_parameters_t create = {.has = NDNPKT_HAS_URI | NDNPKT_HAS_SHM_TOKEN | NDNPKT_HAS_MTU, .mtu = 1 << 20};

    create.uri = wire_text("shm://large");
    create.shm_token = (ndnpkt_bytes_t){handoff_key(i), KEY_BYTES};
    raw_command(&bad[i], "faces", "create", &create);
  }
  while (served.opened < 2 + LARGE_ONES) assert_is_served(&good);
  for (unsigned int i = 1; i < LARGE_ONES; i++) {
    last_ns = served.opened_ns;
    while (served.opened < 2 + LARGE_ONES + i) assert_is_served(&good);
    ck_assert_uint_ge(served.opened_ns - last_ns, 10000000);
  }
  for (unsigned int i = 0; i < LARGE_ONES; i++) raw_close(&bad[i]);
  raw_close(&good);
  RUN_UNTIL(&served.loop, served.closed == served.opened);
  served_close(&served);
}

/* Zeroing memory keeps the loop busy: who asks for faces one after the other rests between them, and nobody else
 * does. */
TEST(creates_in_a_row_leave_the_loop_to_others) {
  static raw_t good, bad;
  served_t served;
  uint64_t last_ns = 0;

  served_init(&served);
  served.options.face.capacity = 16; /* quick to make */
  open_with_good(&served, &good);
  raw_connect(&bad, &served);
  for (unsigned int i = 0; i < 8; i++) {
    ndnpkt_parameters_t create = {.has = NDNPKT_HAS_URI | NDNPKT_HAS_SHM_TOKEN, .uri = wire_text("shm://row")};

    create.shm_token = (ndnpkt_bytes_t){handoff_key(i), KEY_BYTES};
    raw_command(&bad, "faces", "create", &create);
    while (served.opened < 3 + i) assert_is_served(&good);
    ck_assert_uint_eq(raw_response(&bad).code, 200);
    if (i > 0) ck_assert_uint_ge(served.opened_ns - last_ns, 4000000);
    last_ns = served.opened_ns;
  }
  raw_close(&bad);
  raw_close(&good);
  RUN_UNTIL(&served.loop, served.closed == served.opened);
  served_close(&served);
}

#define SMALL_ONES 40

/* What was sent behind the creates of forty connections is answered before most of them: counted, not timed. */
TEST(creates_of_many_connections_do_not_stand_in_front_of_others) {
  static raw_t good, bad[SMALL_ONES];
  served_t served;
  ndnpkt_parameters_t route = {.has = NDNPKT_HAS_NAME};
  uint8_t buf[32];

  served_init(&served);
  served.options.face.capacity = 16;
  open_with_good(&served, &good);
  for (unsigned int i = 0; i < SMALL_ONES; i++) raw_connect(&bad[i], &served);
  RUN_UNTIL(&served.loop, served.opened == 1 + SMALL_ONES);
  for (unsigned int i = 0; i < SMALL_ONES; i++) {
    ndnpkt_parameters_t create = {.has = NDNPKT_HAS_URI | NDNPKT_HAS_SHM_TOKEN, .uri = wire_text("shm://small")};

    create.shm_token = (ndnpkt_bytes_t){handoff_key(i), KEY_BYTES};
    raw_command(&bad[i], "faces", "create", &create);
  }
  ck_assert_int_eq(ndnpkt_name_from_uri("/good", buf, sizeof(buf), &route.name), 0);
  raw_command(&good, "rib", "register", &route);
  RUN_UNTIL(&served.loop, served.commands == 1);
  ck_assert_uint_lt(served.opened, 1 + SMALL_ONES + SMALL_ONES / 2);
  RUN_UNTIL(&served.loop, served.opened == 1 + 2 * SMALL_ONES);
  for (unsigned int i = 0; i < SMALL_ONES; i++) raw_close(&bad[i]);
  raw_close(&good);
  RUN_UNTIL(&served.loop, served.closed == served.opened);
  served_close(&served);
}

/* --- Users -------------------------------------------------------------------------------------- */

#define MANY 500

static int raise_descriptors(void) {
  struct rlimit limit;

  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  return limit.rlim_max >= 8 * MANY ? setrlimit(RLIMIT_NOFILE, &limit) : -1;
}

/* Another user's connections, each of which sends one command when it is told to. */
typedef struct tribe_s {
  const served_t* served;
  bool creates; /* a face, of that Mtu, if it is not 0; or registers a name */
  int64_t mtu;
  int go[2], sent[2];
} tribe_t;

#define TRIBE 60

static int tribe_body(void* arg) {
  const tribe_t* tribe = arg;
  ndnpkt_command_t command = {.module = wire_text("rib"), .verb = wire_text("register")};
  ndnpkt_crypto_t* crypto;
  uint8_t buf[2000];
  int fds[TRIBE];
  char byte = 0;

  REQUIRE(become_other() == 0 && ndnpkt_crypto_new(&crypto) == 0);
  for (int i = 0; i < TRIBE; i++) REQUIRE((fds[i] = connect_once(tribe->served->path)) >= 0);
  REQUIRE(read(tribe->go[0], &byte, 1) == 1);
  for (int i = 0; i < TRIBE; i++) {
    ssize_t n;

    command.parameters = (ndnpkt_parameters_t){.has = NDNPKT_HAS_NAME, .name = wire_name("/tribe")};
    if (tribe->creates) {
      command.module = wire_text("faces");
      command.verb = wire_text("create");
      command.parameters = (ndnpkt_parameters_t){.has = NDNPKT_HAS_URI | NDNPKT_HAS_SHM_TOKEN,
                                                 .uri = wire_text("shm://tribe"),
                                                 .shm_token = {handoff_key((unsigned int) i), KEY_BYTES}};
      if (tribe->mtu > 0) command.parameters.has |= NDNPKT_HAS_MTU;
      command.parameters.mtu = (uint64_t) tribe->mtu;
    }
    n = ndnpkt_command_encode(crypto, buf, sizeof(buf), &command, NULL);
    REQUIRE(n > 0 && send(fds[i], buf, (size_t) n, MSG_NOSIGNAL) == n);
  }
  REQUIRE(write(tribe->sent[1], &byte, 1) == 1);
  for (;;) pause();
}

/* What of the other user's had been done when the good app's was. */
static unsigned int theirs_before;
static uvface_app_open_cb usual_on_open;

static void note_face(uvface_app_t* app) {
  const served_t* served = app->server->data;

  if (app->uid == 0 && strncmp(app->uri, "shm:", 4) == 0) theirs_before = served->opened - 1 - TRIBE;
  usual_on_open(app);
}

static unsigned int note_command(uvface_app_t* app, const ndnpkt_command_t* command, ndnpkt_response_t* response) {
  const served_t* served = app->server->data;

  if (app->uid == 0) theirs_before = served->commands;
  return usual_on_command(app, command, response);
}

/* Users take turns, however many connections they have. Behind sixty commands of another one's, all of which are there
 * before the loop turns, an app's is the first or second, and so is its face; one for which all of its size have to
 * rest is among the first. Counted, not timed. */
TEST_LOOP(commands_of_a_user_do_not_wait_for_all_of_another_users, 3) {
  static raw_t good;
  served_t served;
  tribe_t tribe = {.served = &served, .creates = _i > 0, .mtu = _i == 2 ? 1 << 18 : -1};
  char byte = 0;
  pid_t pid;

  if (!is_root()) SKIP("needs a second user");
  if (raise_descriptors() < 0) SKIP("not enough descriptors");
  served_init(&served);
  served.options.mode = 0666;
  served.options.face.capacity = 16;
  usual_on_command = served.callbacks.on_command;
  usual_on_open = served.callbacks.on_open;
  served.callbacks.on_command = note_command;
  served.callbacks.on_open = note_face;
  open_with_good(&served, &good);
  ck_assert_int_eq(chmod(served.directory, 0755), 0);
  ck_assert(pipe2(tribe.go, O_CLOEXEC) == 0 && pipe2(tribe.sent, O_CLOEXEC) == 0);
  pid = harness_fork(tribe_body, &tribe);
  RUN_UNTIL(&served.loop, served.opened == 1 + TRIBE);
  ck_assert_int_eq(write(tribe.go[1], &byte, 1), 1);
  ck_assert_int_eq(read(tribe.sent[0], &byte, 1), 1); /* meanwhile the loop stands still */
  theirs_before = TRIBE;
  if (tribe.creates)
    ck_assert_uint_eq(raw_create(&good, "good", handoff_key(TRIBE), tribe.mtu, NULL), 200);
  else
    ck_assert_uint_eq(raw_register(&good, "/good", 0), 200);
  ck_assert_uint_le(theirs_before, _i == 2 ? 4 : 1);
  if (_i == 1)
    RUN_UNTIL(&served.loop, served.opened == 1 + TRIBE + 1 + TRIBE);
  else if (_i == 0)
    RUN_UNTIL(&served.loop, served.commands == 1 + TRIBE);
  harness_kill(pid);
  RUN_UNTIL(&served.loop, served_stats(&served).apps == 1);
  for (int i = 0; i < 2; i++) {
    close(tribe.go[i]);
    close(tribe.sent[i]);
  }
  raw_close(&good);
  served_close(&served);
}

/* An app of another user that takes all descriptors of the server's that it can: by connections, by faces that nobody
 * comes for, and by being silent at their handoffs. */
typedef struct hoarder_s {
  const served_t* served;
  int done[2];
} hoarder_t;

#define HOARDER_CONNECTIONS 200

/* Another connection, and what it gets on that. False if nobody answers any more. */
static bool hoard(const served_t* served, ndnpkt_crypto_t* crypto, unsigned int nth) {
  ndnpkt_command_t command = {.module = wire_text("faces"), .verb = wire_text("create")};
  const struct timeval patience = {.tv_sec = DEADLINE_MS / 1000};
  int fd = connect_once(served->path), code = 200;
  uint8_t buf[2000], key[KEY_BYTES] = {0};

  if (fd < 0) return false;
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
  for (uint8_t n = 0; n < 8 && code == 200; n++) {
    ssize_t bytes;

    key[0] = (uint8_t) nth;
    key[1] = n;
    command.parameters = (ndnpkt_parameters_t){
        .has = NDNPKT_HAS_URI | NDNPKT_HAS_SHM_TOKEN, .uri = wire_text("shm://hoard"), .shm_token = {key, KEY_BYTES}};
    bytes = ndnpkt_command_encode(crypto, buf, sizeof(buf), &command, NULL);
    if (send(fd, buf, (size_t) bytes, MSG_NOSIGNAL) != bytes) return true; /* turned away */
    code = plain_code(fd);
    for (int c = 0; c < 8 && code == 200; c++) handoff_connect(served, key);
  }
  return code != -1;
}

static int hoarder_body(void* arg) {
  const hoarder_t* hoarder = arg;
  ndnpkt_crypto_t* crypto;
  char byte = 0;

  REQUIRE(limit_descriptors(-1) == 0 && become_other() == 0 && ndnpkt_crypto_new(&crypto) == 0);
  for (unsigned int n = 0; n < HOARDER_CONNECTIONS && hoard(hoarder->served, crypto, n); n++) continue;
  REQUIRE(write(hoarder->done[1], &byte, 1) == 1);
  for (;;) pause();
}

TEST(user_leaves_some_of_the_servers_descriptors_to_others) {
  static raw_t good;
  served_t served;
  hoarder_t hoarder = {.served = &served};
  uvface_t face;
  char byte;
  pid_t pid;

  if (!is_root()) SKIP("needs a second user");
  if (harness_under_valgrind()) SKIP("valgrind needs descriptors of its own");
  ck_assert_int_eq(limit_descriptors(400), 0);
  served_init(&served);
  served.options.mode = 0666;
  served.options.face.capacity = 16;
  served_listen(&served);
  ck_assert_int_eq(chmod(served.directory, 0755), 0);
  ck_assert_int_eq(pipe2(hoarder.done, O_CLOEXEC | O_NONBLOCK), 0);
  pid = harness_fork(hoarder_body, &hoarder);
  while (read(hoarder.done[0], &byte, 1) != 1) run_for(&served.loop, 1);
  ck_assert_uint_gt(served_stats(&served).faces, 0);
  ck_assert_uint_gt(served_stats(&served).connections_refused, 0);
  raw_connect(&good, &served);
  ck_assert_uint_eq(raw_create(&good, "good", handoff_key(1), -1, NULL), 200);
  ASSERT_OK(uvface_init(&served.loop, &face));
  ASSERT_OK(handoff_attach(&served, handoff_key(1), &face));
  harness_kill(pid);
  RUN_UNTIL(&served.loop, served_stats(&served).apps == 1);
  uvface_close(&face, NULL);
  raw_close(&good);
  ck_assert_int_eq(limit_descriptors(-1), 0);
  close(hoarder.done[0]);
  close(hoarder.done[1]);
  served_close(&served);
}

/* --- Routes ------------------------------------------------------------------------------------- */

/* An app of another user on many connections, each of which registers as many names as are listed of one. */
typedef struct landlord_s {
  const served_t* served;
  unsigned int names; /* of each connection */
  size_t name_bytes;
  uint64_t expiration_ms; /* 0 = never; else another connection registers /late without end afterwards */
} landlord_t;

#define ESTATES 17

static int landlord_body(void* arg) {
  const landlord_t* landlord = arg;
  ndnpkt_command_t command = {.module = wire_text("rib"), .verb = wire_text("register")};
  static uint8_t name[8000], packet[9000];
  ndnpkt_crypto_t* crypto;
  int fds[ESTATES + 1];
  uint32_t nth = 0;

  REQUIRE(become_other() == 0 && ndnpkt_crypto_new(&crypto) == 0);
  for (int i = 0; i <= ESTATES; i++) REQUIRE((fds[i] = connect_once(landlord->served->path)) >= 0);
  for (unsigned int n = 0; n < landlord->names; n++) {
    for (int i = 0; i < ESTATES; i++) {
      static uint8_t value[8000];
      ssize_t len;

      memcpy(value, &nth, sizeof(nth));
      nth++;
      len =
          ndnpkt_append(name, 0, sizeof(name), NDNPKT_COMPONENT_GENERIC, (ndnpkt_bytes_t){value, landlord->name_bytes});
      command.parameters = (ndnpkt_parameters_t){.has = NDNPKT_HAS_NAME, .name = {name, (size_t) len}};
      if (landlord->expiration_ms > 0) command.parameters.has |= NDNPKT_HAS_EXPIRATION;
      command.parameters.expiration_ms = landlord->expiration_ms;
      len = ndnpkt_command_encode(crypto, packet, sizeof(packet), &command, NULL);
      REQUIRE(len > 0 && send(fds[i], packet, (size_t) len, MSG_NOSIGNAL) == len);
    }
    for (int i = 0; i < ESTATES; i++) REQUIRE(recv(fds[i], packet, sizeof(packet), 0) > 0);
  }
  command.parameters = (ndnpkt_parameters_t){.has = NDNPKT_HAS_NAME, .name = wire_name("/late")};
  while (landlord->expiration_ms > 0) {
    ssize_t len = ndnpkt_command_encode(crypto, packet, sizeof(packet), &command, NULL);

    REQUIRE(len > 0 && send(fds[ESTATES], packet, (size_t) len, MSG_NOSIGNAL) == len);
    REQUIRE(recv(fds[ESTATES], packet, sizeof(packet), 0) > 0);
    usleep(20000);
  }
  for (;;) pause();
}

static ndnpkt_data_t ask_for_routes(raw_t* raw) {
  static uint32_t nonce;
  const ndnpkt_interest_t interest = {.name = wire_name("/localhost/nfd/rib/list"),
                                      .can_be_prefix = true,
                                      .has_nonce = true,
                                      .nonce = ++nonce,
                                      .lifetime_ms = 4000};
  uint8_t packet[200];
  ssize_t len = ndnpkt_interest_encode(NULL, packet, sizeof(packet), &interest, NULL);
  ndnpkt_packet_t answer;

  raw_send(raw, (ndnpkt_bytes_t){packet, (size_t) len});
  answer = raw_receive(raw);
  ck_assert_int_eq(answer.kind, NDNPKT_DATA);
  return answer.data;
}

/* The last segment of rib/list, which is made anew each time, for it is kept for a moment. */
static uint64_t last_of_routes(raw_t* raw) {
  ndnpkt_data_t data = ask_for_routes(raw);
  uint64_t last;

  ck_assert_int_eq(ndnpkt_component_number(data.final_block, NDNPKT_COMPONENT_SEGMENT, &last), 0);
  return last;
}

/* A list of all that a thousand connections may have would keep the loop busy for seconds: what one user has of it
 * together is bounded, by number or by bytes, and comes back when it ends. */
TEST_LOOP(routes_of_a_user_take_a_bounded_place_however_many_connections_it_has, 2) {
  static raw_t good;
  served_t served;
  landlord_t landlord = {.served = &served, .names = _i == 0 ? 1024 : 9, .name_bytes = _i == 0 ? 4 : 7000};
  /* 16384 entries of 25 bytes; 149 of 7027, names of 7004 bytes to 1 MiB together; and the good app's, in front */
  uint64_t last = _i == 0 ? 16384 * 25 / 7000 : 149;

  if (!is_root()) SKIP("needs a second user");
  served_init(&served);
  served.options.mode = 0666;
  open_with_good(&served, &good);
  ck_assert_int_eq(chmod(served.directory, 0755), 0);
  for (int run = 0; run < 2; run++) {
    pid_t pid = harness_fork(landlord_body, &landlord);
    uint64_t deadline_ns = harness_now_ns() + (uint64_t) DEADLINE_MS * 1000000u, seen;

    served.commands = 0;
    RUN_UNTIL(&served.loop, served.commands == ESTATES * landlord.names);
    ck_assert_uint_eq(raw_register(&good, "/good", 0), 200); /* the others have room of their own */
    do seen = last_of_routes(&good);
    while (seen != last && harness_now_ns() < deadline_ns);
    ck_assert_uint_eq(seen, last);
    harness_kill(pid);
    RUN_UNTIL(&served.loop, served_stats(&served).apps == 1);
  }
  raw_close(&good);
  served_close(&served);
}

/* His other connections' routes are over, and take no place any more, though these say nothing. */
TEST(routes_that_have_expired_leave_their_place_to_others_of_the_user) {
  static raw_t good;
  served_t served;
  landlord_t landlord = {.served = &served, .names = 1024, .name_bytes = 4, .expiration_ms = 3000};
  uint64_t deadline_ns;
  bool is_listed = false;
  pid_t pid;

  if (!is_root()) SKIP("needs a second user");
  served_init(&served);
  served.options.mode = 0666;
  open_with_good(&served, &good);
  ck_assert_int_eq(chmod(served.directory, 0755), 0);
  pid = harness_fork(landlord_body, &landlord);
  RUN_UNTIL(&served.loop, served.commands > ESTATES * landlord.names);
  for (deadline_ns = harness_now_ns() + (uint64_t) DEADLINE_MS * 1000000u; !is_listed;) {
    ndnpkt_bytes_t content = ask_for_routes(&good).content;

    is_listed = content.len > 0 && memmem(content.base, content.len, "late", 4) != NULL;
    ck_assert(is_listed || harness_now_ns() < deadline_ns);
  }
  harness_kill(pid);
  RUN_UNTIL(&served.loop, served_stats(&served).apps == 1);
  raw_close(&good);
  served_close(&served);
}

static const uint8_t* key_of(unsigned int n) {
  static uint8_t key[KEY_BYTES];

  memcpy(key, &n, sizeof(n));
  return key;
}

/* --- Rest --------------------------------------------------------------------------------------- */

#define RESTING_ONES 300

/* Turns of the loop since the good app sent its command; those that the last took, and the most. */
static struct { unsigned int now, most; } waited;

static void count_turn(uv_check_t* check) {
  (void) check;
  waited.now++;
}

static unsigned int note_wait(uvface_app_t* app, const ndnpkt_command_t* command, ndnpkt_response_t* response) {
  if (waited.now > waited.most) waited.most = waited.now;
  return usual_on_command(app, command, response);
}

/* Of one user, too: when many whose large faces had to wait may all ask again, they do not come in front of others all
 * at once. Turns are counted, not time. */
TEST(who_has_rested_does_not_come_in_front_of_others_in_a_crowd) {
  static raw_t good, bad[RESTING_ONES];
  served_t served;
  uv_check_t check;
  unsigned int made;

  if (raise_descriptors() < 0) SKIP("not enough descriptors");
  served_init(&served);
  served.options.face.capacity = 16;
  usual_on_command = served.callbacks.on_command;
  served.callbacks.on_command = note_wait;
  open_with_good(&served, &good);
  uv_check_init(&served.loop, &check);
  uv_check_start(&check, count_turn);
  for (unsigned int i = 0; i < RESTING_ONES; i++) raw_connect(&bad[i], &served);
  made = served.opened;
  for (unsigned int i = 0; i < RESTING_ONES; i++) {
    ndnpkt_parameters_t create = {.has = NDNPKT_HAS_URI | NDNPKT_HAS_SHM_TOKEN | NDNPKT_HAS_MTU, .mtu = 1 << 18};

    create.uri = wire_text("shm://rests");
    create.shm_token = (ndnpkt_bytes_t){key_of(i), KEY_BYTES};
    raw_command(&bad[i], "faces", "create", &create);
  }
  waited.now = 0; /* after so many turns each has had its own, and rests */
  RUN_UNTIL(&served.loop, served.opened >= made + 4 && waited.now > 4 * RESTING_ONES / 16);
  made = served.opened;
  waited.most = 0;
  while (served.opened < made + 6) {
    waited.now = 0;
    ck_assert_uint_eq(raw_register(&good, "/good", 0), 200);
  }
  ck_assert_uint_le(waited.most, 8); /* behind all of them: more than thirty */
  for (unsigned int i = 0; i < RESTING_ONES; i++) raw_close(&bad[i]);
  raw_close(&good);
  uv_close((uv_handle_t*) &check, NULL);
  RUN_UNTIL(&served.loop, served.closed == served.opened);
  served_close(&served);
}

/* --- Many ---------------------------------------------------------------------------------------- */

/* All ask before the first is answered; each then fetches its descriptors, and sends a packet. */
static int many_body(void* arg) {
  const served_t* served = arg;
  static int control[MANY];

  for (unsigned int n = 0; n < MANY; n++) REQUIRE((control[n] = plain_ask(served, key_of(n))) >= 0);
  for (unsigned int n = 0; n < MANY; n++) REQUIRE(plain_fetch(served, control[n], key_of(n)) == 0);
  for (;;) pause();
}

TEST(five_hundred_apps_at_once_get_a_face_each) {
  served_t served;
  uint64_t begin_ns;
  pid_t pid;

  if (raise_descriptors() < 0) SKIP("not enough descriptors");
  served_init(&served);
  served.options.face.capacity = 16; /* or the regions together were 2.3 GB */
  served.options.max_apps = MANY;
  served_listen(&served);
  begin_ns = harness_now_ns();
  pid = harness_fork(many_body, &served);
  RUN_UNTIL(&served.loop, served.packets == MANY);
  printf("# %d apps with a face each: %llu ms\n", MANY, (unsigned long long) (harness_now_ns() - begin_ns) / 1000000);
  ck_assert_uint_eq(served_stats(&served).apps, MANY);
  ck_assert_uint_eq(served_stats(&served).app_faces, MANY);
  ck_assert_uint_eq(served_stats(&served).handoffs, MANY);
  harness_kill(pid);
  RUN_UNTIL(&served.loop, served.closed == 2 * MANY);
  served_close(&served);
}
