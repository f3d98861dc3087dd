/* SPDX-License-Identifier: MIT */
/* test_server.c: the server of libuvface_mgmt, as apps and an embedder see it: what it listens at, what it answers byte
 * for byte, whose faces and commands they are, and how they end. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "served.h"

/* --- Listening ---------------------------------------------------------------------------------- */

static void bind_at(int fd, const char* path) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};

  memcpy(address.sun_path, path, strlen(path) + 1);
  ck_assert_int_eq(bind(fd, (const struct sockaddr*) &address, sizeof(address)), 0);
}

static int listen_again(served_t* served) {
  return uvface_server_listen(&served->server, served->path, &served->options, &served->callbacks);
}

TEST(socket_has_the_mode_that_was_asked_for_and_goes_with_the_server) {
  served_t served;
  struct stat st;
  mode_t before = umask(0077);

  served_init(&served);
  served.options.mode = 0666;
  served_listen(&served);
  umask(before);
  ck_assert_int_eq(lstat(served.path, &st), 0);
  ck_assert(S_ISSOCK(st.st_mode));
  ck_assert_uint_eq(st.st_mode & 0777, 0666);
  ck_assert_int_eq(listen_again(&served), UV_EALREADY);
  served_close(&served);
}

TEST(socket_is_for_its_own_user_by_default) {
  served_t served;
  struct stat st;
  mode_t before = umask(0);

  served_open(&served);
  umask(before);
  ck_assert_int_eq(lstat(served.path, &st), 0);
  ck_assert_uint_eq(st.st_mode & 0777, 0600);
  served_close(&served);
}

TEST(stale_socket_is_taken_over) {
  served_t served;
  int fd = socket(AF_UNIX, SOCK_STREAM, 0);
  raw_t app;

  served_init(&served);
  bind_at(fd, served.path);
  close(fd); /* as a server that was killed leaves it */
  served_listen(&served);
  raw_connect(&app, &served);
  raw_close(&app);
  served_close(&served);
}

static void assert_left_alone(served_t* served, ino_t ino) {
  struct stat st;

  ck_assert_int_eq(listen_again(served), UV_EADDRINUSE);
  ck_assert_ptr_nonnull(strstr(uvface_server_errmsg(&served->server), served->path));
  ck_assert_int_eq(lstat(served->path, &st), 0);
  ck_assert_uint_eq(st.st_ino, ino);
}

TEST(live_socket_is_left_alone) {
  served_t served;
  struct stat st;
  int fd = socket(AF_UNIX, SOCK_STREAM, 0);

  served_init(&served);
  bind_at(fd, served.path);
  ck_assert_int_eq(listen(fd, 1), 0);
  ck_assert_int_eq(lstat(served.path, &st), 0);
  assert_left_alone(&served, st.st_ino);
  for (int i = 0; i < 3; i++) assert_left_alone(&served, st.st_ino); /* also when its queue is full */
  close(fd);
  served_listen(&served); /* nobody is there any more */
  served_close(&served);
}

TEST(what_is_no_socket_is_left_alone) {
  served_t served;
  struct stat st;
  int fd;

  served_init(&served);
  fd = open(served.path, O_CREAT | O_WRONLY, 0600);
  close(fd);
  ck_assert_int_eq(lstat(served.path, &st), 0);
  assert_left_alone(&served, st.st_ino);
  ck_assert_int_eq(unlink(served.path), 0);
  ck_assert_int_eq(symlink("/tmp", served.path), 0);
  ck_assert_int_eq(lstat(served.path, &st), 0);
  assert_left_alone(&served, st.st_ino);
  ck_assert_int_eq(unlink(served.path), 0);
  fd = socket(AF_UNIX, SOCK_DGRAM, 0);
  bind_at(fd, served.path);
  ck_assert_int_eq(lstat(served.path, &st), 0);
  assert_left_alone(&served, st.st_ino);
  close(fd);
  ck_assert_int_eq(unlink(served.path), 0);
  served_close(&served);
}

TEST(name_that_is_another_ones_now_is_not_removed) {
  served_t served;
  int fd = socket(AF_UNIX, SOCK_STREAM, 0);

  served_open(&served);
  ck_assert_int_eq(unlink(served.path), 0);
  bind_at(fd, served.path);
  uvface_server_close(&served.server, NULL);
  finish_loop(&served.loop);
  ck_assert(exists(served.path));
  close(fd);
  unlink(served.path);
  rmdir(served.directory);
}

TEST(relative_name_is_removed_from_where_it_was_made) {
  served_t served;
  char cwd[400];

  served_init(&served);
  ck_assert_ptr_nonnull(getcwd(cwd, sizeof(cwd)));
  ck_assert_int_eq(chdir(served.directory), 0);
  strcpy(served.path, "nfd.sock");
  served_listen(&served);
  ck_assert(exists("nfd.sock"));
  ck_assert_int_eq(chdir(cwd), 0);
  served_close(&served);
}

TEST(bad_arguments_get_errors_that_say_why) {
  served_t served;
  uvface_server_stats_t stats;
  uvface_server_callbacks_t none = UVFACE_SERVER_CALLBACKS_INIT;
  uvface_server_options_t both = UVFACE_SERVER_OPTIONS_INIT;
  char path[200];

  served_init(&served);
  memset(path, 'x', sizeof(path));
  path[0] = '/';
  path[108] = '\0';
  ck_assert_int_eq(uvface_server_init(NULL, &served.server), UV_EINVAL);
  ck_assert_int_eq(uvface_server_init(&served.loop, NULL), UV_EINVAL);
  ck_assert_int_eq(uvface_server_listen(NULL, "x", NULL, &served.callbacks), UV_EINVAL);
  ck_assert_int_eq(uvface_server_get_stats(&served.server, &stats), UV_ENOTCONN);
  ck_assert_int_eq(uvface_server_get_stats(&served.server, NULL), UV_EINVAL);
  ck_assert_str_eq(uvface_server_errmsg(NULL), "");
  uvface_server_close(NULL, NULL);
  uvface_app_close(NULL);
#define FAILS(code, text, path, options, callbacks)                                         \
  do {                                                                                      \
    ck_assert_int_eq(uvface_server_listen(&served.server, path, options, callbacks), code); \
    ck_assert_msg(strstr(uvface_server_errmsg(&served.server), text) != NULL, "%s",         \
                  uvface_server_errmsg(&served.server));                                    \
  } while (0)
  FAILS(UV_EINVAL, "path: is NULL", NULL, NULL, &served.callbacks);
  FAILS(UV_EINVAL, "path: is empty", "", NULL, &served.callbacks);
  FAILS(UV_ENAMETOOLONG, "name too long", path, NULL, &served.callbacks);
  FAILS(UV_EINVAL, "callbacks", served.path, NULL, NULL);
  FAILS(UV_EINVAL, "on_open and on_close", served.path, NULL, &none);
  FAILS(UV_ENOENT, "no such file", "/tmp/there/is/none", NULL, &served.callbacks);
  FAILS(UV_ENOTDIR, "not a directory", "/dev/null/x", NULL, &served.callbacks);
#define BAD_OPTION(member, value, text)                               \
  do {                                                                \
    uvface_server_options_t options = UVFACE_SERVER_OPTIONS_INIT;     \
                                                                      \
    options.member = value;                                           \
    FAILS(UV_EINVAL, text, served.path, &options, &served.callbacks); \
  } while (0)
  BAD_OPTION(size, 3, "impossible size");
  BAD_OPTION(flags, 64, "unknown flags");
  BAD_OPTION(mode, 01777, "permission bits");
  BAD_OPTION(backlog, -1, "negative");
  BAD_OPTION(face.size, 0, "options.face");
  BAD_OPTION(face.size, sizeof(uvface_options_t) + 8, "options.face: impossible size"); /* would reach into `mode` */
  BAD_OPTION(face.reserved[0], 1, "options.face: reserved[0]: is a member that this library does not know");
  BAD_OPTION(face.mtu, 16 << 20, "max_region_bytes");
  BAD_OPTION(face.capacity, UINT32_MAX, "face.capacity");
  BAD_OPTION(face.slot_size, 16 << 20, "max_region_bytes");
  BAD_OPTION(max_region_bytes, 4096, "max_region_bytes");
  both.face.mtu = 8800;
  both.face.capacity = 64;
  FAILS(UV_EINVAL, "face.mtu excludes capacity and slot_size", served.path, &both, &served.callbacks);
  ck_assert(!exists(served.path));
  served_listen(&served); /* and it may be tried again */
  uvface_server_close(&served.server, NULL);
  FAILS(UV_ENOTCONN, "closing", served.path, NULL, &served.callbacks);
  finish_loop(&served.loop);
  ck_assert_int_eq(uvface_server_listen(&served.server, served.path, NULL, &served.callbacks), UV_EINVAL);
  rmdir(served.directory);
}

TEST(version_is_the_projects) {
  char text[40];

  ck_assert_str_eq(uvface_mgmt_version_string(), uvface_version_string());
  snprintf(text, sizeof(text), "%u.%u.%u", uvface_mgmt_version() >> 16, uvface_mgmt_version() >> 8 & 255,
           uvface_mgmt_version() & 255);
  ck_assert_str_eq(text, uvface_mgmt_version_string());
}

TEST(socket_may_be_given_to_another_user) {
  served_t served;
  struct stat st;

  if (!is_root()) SKIP("only root may give files away");
  served_init(&served);
  served.options.uid = OTHER_UID;
  served.options.gid = OTHER_UID;
  served_listen(&served);
  ck_assert_int_eq(lstat(served.path, &st), 0);
  ck_assert_uint_eq(st.st_uid, OTHER_UID);
  ck_assert_uint_eq(st.st_gid, OTHER_UID);
  served_close(&served);
}

/* --- Connections -------------------------------------------------------------------------------- */

TEST(connection_is_a_face_and_tells_whose) {
  served_t served;
  raw_t app;
  guest_t* guest = &served.guests[0];
  ndnpkt_bytes_t interest = wire_hex("0517070b08026e6f0805726f7574650a045fab86130c0207d0");

  served_open(&served);
  served.echo = true;
  raw_connect(&app, &served);
  ck_assert_uint_eq(guest->face_id, 256);
  ck_assert_str_eq(guest->uri + strlen("unix://"), served.path);
  ck_assert_int_eq(guest->app->pid, getpid());
  ck_assert_uint_eq(guest->app->uid, getuid());
  ck_assert_uint_eq(guest->app->gid, getgid());
  ck_assert_int_eq(uvface_get_transport(guest->app->face), UVFACE_STREAM);
  raw_send(&app, interest);
  ck_assert_int_eq(raw_receive(&app).kind, NDNPKT_INTEREST);
  wire_assert_same((ndnpkt_bytes_t){app.packet, app.packet_bytes}, interest);
  raw_close(&app);
  RUN_UNTIL(&served.loop, served.closed == 1);
  ck_assert_int_eq(guest->status, UV_EOF);
  ck_assert_int_eq(guest->end, UV_EOF);
  served_close(&served);
}

TEST(connections_beyond_the_limit_are_closed_and_counted) {
  served_t served;
  raw_t apps[2];
  raw_t more = {.served = &served};
  struct sockaddr_un address = {.sun_family = AF_UNIX};

  served_init(&served);
  served.options.max_apps = 2;
  served_listen(&served);
  raw_connect(&apps[0], &served);
  raw_connect(&apps[1], &served);
  memcpy(address.sun_path, served.path, strlen(served.path) + 1);
  more.fd = socket(AF_UNIX, SOCK_STREAM, 0);
  ck_assert_int_eq(connect(more.fd, (const struct sockaddr*) &address, sizeof(address)), 0);
  RUN_UNTIL(&served.loop, raw_is_over(&more));
  ck_assert_uint_eq(served.opened, 2);
  ck_assert_uint_eq(served_stats(&served).connections, 2);
  ck_assert_uint_eq(served_stats(&served).connections_refused, 1);
  ck_assert_uint_eq(served_stats(&served).apps, 2);
  close(more.fd);
  raw_close(&apps[0]);
  RUN_UNTIL(&served.loop, served.closed == 1);
  raw_connect(&apps[0], &served); /* there is room again */
  ck_assert_uint_eq(served.guests[2].face_id, 258);
  raw_close(&apps[0]);
  raw_close(&apps[1]);
  served_close(&served);
}

TEST(app_closes_are_told_once) {
  served_t served;
  raw_t app;

  served_open(&served);
  raw_connect(&app, &served);
  uvface_app_close(served.guests[0].app);
  uvface_app_close(served.guests[0].app);
  ck_assert_uint_eq(served.closed, 0);
  RUN_UNTIL(&served.loop, served.closed == 1);
  ck_assert_int_eq(served.guests[0].status, UV_ECANCELED);
  RUN_UNTIL(&served.loop, raw_is_over(&app));
  raw_close(&app);
  raw_connect(&app, &served);
  uvface_close(served.guests[1].app->face, NULL); /* the same */
  RUN_UNTIL(&served.loop, served.closed == 2);
  ck_assert_int_eq(served.guests[1].status, UV_ECANCELED);
  raw_close(&app);
  served.close_in_open = true;
  raw_connect(&app, &served);
  RUN_UNTIL(&served.loop, served.closed == 3);
  raw_close(&app);
  served_close(&served);
}

TEST(close_of_the_server_closes_every_face) {
  served_t served;
  raw_t app;
  char name[80];

  served_open(&served);
  snprintf(name, sizeof(name), "%s", harness_name("all"));
  raw_connect(&app, &served);
  ck_assert_uint_eq(raw_create(&app, name, NULL, -1, NULL), 200);
  served_close(&served);
  ck_assert(!exists(harness_shm_path(name)));
  ck_assert_int_eq(served.guests[0].status, UV_ECANCELED);
  ck_assert_int_eq(served.guests[1].status, UV_ECANCELED);
  raw_close(&app);
}

/* --- Commands ----------------------------------------------------------------------------------- */

/* The next answer must be these bytes; xx is any byte. */
static void assert_answer(raw_t* app, const char* pattern) {
  char hex[2 * WIRE_MAX];
  size_t n = 0;
  bool same;

  raw_receive(app);
  for (size_t i = 0; i < app->packet_bytes; i++) n += (size_t) sprintf(hex + n, "%02x", app->packet[i]);
  same = n == strlen(pattern);
  for (size_t i = 0; same && i < n; i++) same = pattern[i] == 'x' || pattern[i] == hex[i];
  ck_assert_msg(same, "%s\ninstead of %s", hex, pattern);
}

static bool is_captured_command(const wire_vector_t* vector, ndnpkt_packet_t* packet, ndnpkt_command_t* command) {
  if (vector->direction != '>' || ndnpkt_packet_decode(vector->bytes, vector->len, packet) < 0) return false;
  if (packet->kind != NDNPKT_INTEREST || ndnpkt_command_decode(&packet->interest, command) < 0) return false;
  return !ndnpkt_command_is(command, "faces", "create"); /* names of others' faces */
}

/* FaceIds are the forwarder's own. */
static void assert_same_parameters(const ndnpkt_parameters_t* a, const ndnpkt_parameters_t* b) {
  ck_assert_uint_eq(a->has, b->has);
  if (a->has & NDNPKT_HAS_NAME) wire_assert_same(a->name, b->name);
  if (a->has & NDNPKT_HAS_ORIGIN) ck_assert_uint_eq(a->origin, b->origin);
  if (a->has & NDNPKT_HAS_COST) ck_assert_uint_eq(a->cost, b->cost);
  if (a->has & NDNPKT_HAS_FLAGS) ck_assert_uint_eq(a->flags, b->flags);
  if (a->has & NDNPKT_HAS_EXPIRATION) ck_assert_uint_eq(a->expiration_ms, b->expiration_ms);
}

TEST(captured_commands_get_what_other_forwarders_answer) {
  static wire_vector_t vector, theirs;
  served_t served;
  raw_t app;
  FILE* file = wire_open_vectors("management.txt");
  unsigned int asked = 0, compared = 0;

  served_open(&served);
  raw_connect(&app, &served);
  while (wire_next_vector(file, &vector)) {
    ndnpkt_packet_t sent, answer, other;
    ndnpkt_command_t command;
    ndnpkt_response_t response, expected;

    if (!is_captured_command(&vector, &sent, &command)) continue;
    asked++;
    raw_send(&app, (ndnpkt_bytes_t){vector.bytes, vector.len});
    answer = raw_receive(&app);
    ck_assert_int_eq(answer.kind, NDNPKT_DATA);
    wire_assert_same(answer.data.name, sent.interest.name);
    wire_assert_same(answer.link.pit_token, sent.link.pit_token);
    ck_assert_int_eq(ndnpkt_response_decode(answer.data.content, &response), 0);
    ck_assert(response.has_parameters);
    if ((command.parameters.has & NDNPKT_HAS_FACE_ID) != 0) {
      ck_assert_uint_eq(response.code, 410); /* theirs are not there */
      continue;
    }
    ck_assert_uint_eq(response.code, 200);
    ck_assert_uint_eq(response.parameters.face_id, 256);
    theirs = vector;
    ck_assert(wire_next_vector(file, &theirs));
    if (ndnpkt_packet_decode(theirs.bytes, theirs.len, &other) < 0 || other.kind != NDNPKT_DATA) continue;
    ck_assert_int_eq(ndnpkt_response_decode(other.data.content, &expected), 0);
    if (expected.code != 200) continue; /* a prefix that ndn-fwd keeps for itself */
    assert_same_parameters(&response.parameters, &expected.parameters);
    compared++;
  }
  fclose(file);
  ck_assert_uint_ge(asked, 15);
  ck_assert_uint_ge(compared, 9);
  raw_close(&app);
  served_close(&served);
}

/* What python-ndn 0.5.2 sends for /pn, and its name. */
#define REGISTER_PN                                                                                                    \
  "0594074b08096c6f63616c686f737408036e66640803726962080872656769737465720808680607040802706e02205d1a0f3481ceebcf3a8b" \
  "0405f14c1427e3ed2b3cc0f391f0ea763c29f683fec30a04bf4c080f0c0203e824002c171b0100260865cca44b012292ed2808000001a2241b" \
  "8cbb2e203625b9d619cb61ba47982971d9a8cdd02372c5764cae6c1f15fb227817ef1ddc"
#define REGISTER_PN_NAME                                                                                               \
  "074b08096c6f63616c686f737408036e66640803726962080872656769737465720808680607040802706e02205d1a0f3481ceebcf3a8b0405" \
  "f14c1427e3ed2b3cc0f391f0ea763c29f683fec3"
/* Content: 200 OK, Name, FaceId 256, Origin 0, Cost 0, Flags 1. */
#define REGISTERED                   \
  "151e651c6601c867024f4b6813070408" \
  "02706e69020100"                   \
  "6f01006a01006c0101"
#define SIGNED_DIGEST "16031b01001720xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"

TEST(answers_are_known_to_the_byte) {
  served_t served;
  raw_t app;

  served_open(&served);
  raw_connect(&app, &served);
  raw_send(&app, wire_hex(REGISTER_PN));
  assert_answer(&app, "0694" REGISTER_PN_NAME REGISTERED SIGNED_DIGEST);
  raw_send(&app, wire_hex("649c"
                          "6202abcd"
                          "5096" REGISTER_PN)); /* in a LpPacket, with a PIT token */
  assert_answer(&app,
                "649c"
                "6202abcd"
                "5096"
                "0694" REGISTER_PN_NAME REGISTERED SIGNED_DIGEST);
  raw_send(&app, wire_hex(REGISTER_PN)); /* who has sent one gets them for good; the token is not of this one */
  assert_answer(&app,
                "6498"
                "5096"
                "0694" REGISTER_PN_NAME REGISTERED SIGNED_DIGEST);
  raw_close(&app);
  served_close(&served);
}

TEST(same_interest_again_is_executed_once) {
  served_t served;
  raw_t app;
  uint8_t again[WIRE_MAX];
  size_t bytes;
  uint64_t id = 0;
  ndnpkt_response_t response;

  served_open(&served);
  raw_connect(&app, &served);
  for (int i = 0; i < 3; i++) {
    raw_send(&app, wire_hex(REGISTER_PN));
    raw_receive(&app);
  }
  ck_assert_uint_eq(served.commands, 1);
  ck_assert_uint_eq(served_stats(&served).commands, 3);
  ck_assert_uint_eq(served_stats(&served).commands_repeated, 2);
  ck_assert_uint_eq(raw_create(&app, harness_name("once"), NULL, -1, &id), 200);
  bytes = app.sent_bytes;
  memcpy(again, app.sent, bytes);
  raw_send(&app, (ndnpkt_bytes_t){again, bytes});
  response = raw_response(&app);
  ck_assert_uint_eq(response.code, 200);
  ck_assert_uint_eq(response.parameters.face_id, id);
  ck_assert_uint_eq(served_stats(&served).faces, 1);
  for (int i = 0; i < 40; i++) ck_assert_uint_eq(raw_register(&app, "/x", 0), 200); /* the memory is bounded */
  ck_assert_uint_eq(served.commands, 41);
  raw_send(&app, wire_hex(REGISTER_PN));
  raw_receive(&app);
  ck_assert_uint_eq(served.commands, 42);
  raw_close(&app);
  served_close(&served);
}

/* A command with ApplicationParameters and no signature; with a digest in its name that is theirs, or zeros. */
static void ask_with_parameters(raw_t* app, const char* uri, const char* parameters, uint32_t nonce, bool right) {
  const ndnpkt_interest_t interest = {.name = wire_name(uri),
                                      .lifetime_ms = 4000,
                                      .has_nonce = true,
                                      .nonce = nonce,
                                      .parameters = wire_hex(parameters)};
  ndnpkt_interest_t decoded;
  uint8_t buf[200];
  ssize_t len = ndnpkt_interest_encode(app->crypto, buf, sizeof(buf), &interest, NULL);

  ck_assert_int_gt(len, 0);
  ck_assert_int_eq(ndnpkt_interest_decode(buf, (size_t) len, &decoded), 0);
  if (!right)
    memset((uint8_t*) (uintptr_t) decoded.name.base + decoded.name.len - NDNPKT_DIGEST_BYTES, 0, NDNPKT_DIGEST_BYTES);
  raw_send(app, (ndnpkt_bytes_t){buf, (size_t) len});
  ck_assert_int_eq(raw_receive(app).kind, NDNPKT_DATA);
}

#define NAME_A "6805 0703080161"
#define NAME_B "6805 0703080162"

/* What is asked for counts, and not what the digest says of it. */
TEST(another_command_with_the_same_digest_is_executed) {
  served_t served;
  raw_t app;

  served_open(&served);
  raw_connect(&app, &served);
  ask_with_parameters(&app, "/localhost/nfd/rib/register", NAME_A, 1, false);
  ask_with_parameters(&app, "/localhost/nfd/rib/register", NAME_B, 1, false);
  ck_assert_uint_eq(served.commands, 2);
  ask_with_parameters(&app, "/localhost/nfd/rib/register", NAME_A, 1, false); /* that one is known */
  ck_assert_uint_eq(served.commands, 2);
  raw_close(&app);
  served_close(&served);
}

/* The digest is the same each time, for nothing in it is new: but who registers again means it. */
TEST(unsigned_command_with_parameters_is_repeated_only_with_the_same_nonce) {
  served_t served;
  raw_t app;

  served_open(&served);
  raw_connect(&app, &served);
  ask_with_parameters(&app, "/localhost/nfd/rib/register", NAME_A, 1, true);
  ask_with_parameters(&app, "/localhost/nfd/rib/unregister", NAME_A, 2, true);
  ask_with_parameters(&app, "/localhost/nfd/rib/register", NAME_A, 3, true);
  ck_assert_uint_eq(served.commands, 3);
  ask_with_parameters(&app, "/localhost/nfd/rib/register", NAME_A, 3, true);
  ck_assert_uint_eq(served.commands, 3);
  raw_close(&app);
  served_close(&served);
}

/* Without a signature two commands may be meant though their names are the same. */
TEST(unsigned_command_is_repeated_only_with_the_same_nonce) {
  served_t served;
  raw_t app;
  const char* const interests[] = {
      "0531"
      "0729"
      "08096c6f63616c686f7374"
      "08036e6664"
      "0803726962"
      "08087265676973746572"
      "0808680607040802706e"
      "0a0400000001",
      "0531"
      "0729"
      "08096c6f63616c686f7374"
      "08036e6664"
      "0803726962"
      "08087265676973746572"
      "0808680607040802706e"
      "0a0400000002",
      "052b"
      "0729"
      "08096c6f63616c686f7374"
      "08036e6664"
      "0803726962"
      "08087265676973746572"
      "0808680607040802706e"};

  served_open(&served);
  raw_connect(&app, &served);
  for (unsigned int i = 0; i < 6; i++) {
    raw_send(&app, wire_hex(interests[i / 2]));
    ck_assert_int_eq(raw_receive(&app).kind, NDNPKT_DATA);
  }
  ck_assert_uint_eq(served.commands, 4); /* one of each nonce, both without */
  raw_close(&app);
  served_close(&served);
}

TEST(what_is_no_command_is_the_embedders) {
  static const char* const packets[] = {
      "0517070b08026e6f0805726f7574650a045fab86130c0207d0", /* an Interest */
      "6421"
      "6204aabbccdd"
      "5019"
      "0517070b08026e6f0805726f7574650a045fab86130c0207d0",                           /* with a PIT token */
      "6424fd032005fd0321019650190517070b08026e6f0805726f7574650a045fab86130c0207d0", /* a Nack */
      "060607040802706e",                                                             /* a Data that is broken */
      "051a0718"
      "08096c6f63616c686f7374"
      "08036e6678"
      "0803726962"
      "080178", /* /localhost/nfx */
      "05190717"
      "08086c6f63616c686f70"
      "08036e6664"
      "0803726962"
      "080178", /* /localhop/nfd */
      "800100", /* not NDN at all */
      "640d"
      "fd03240101"
      "50060604"
      "07020800", /* broken in some way */
  };
  served_t served;
  raw_t app;
  guest_t* guest = &served.guests[0];

  served_open(&served);
  raw_connect(&app, &served);
  for (unsigned int i = 0; i < sizeof(packets) / sizeof(*packets); i++) {
    ndnpkt_bytes_t packet = wire_hex(packets[i]);

    raw_send(&app, packet);
    RUN_UNTIL(&served.loop, guest->got == i + 1);
    wire_assert_same((ndnpkt_bytes_t){guest->last, guest->last_bytes}, packet);
  }
  raw_send(&app, wire_hex("6400")); /* but an idle packet is nobody's */
  ck_assert_uint_eq(raw_register(&app, "/x", 0), 200);
  ck_assert_uint_eq(guest->got, sizeof(packets) / sizeof(*packets));
  raw_close(&app);
  served_close(&served);
}

TEST(unknown_and_broken_commands_are_answered) {
  const ndnpkt_parameters_t nothing = {.has = 0};
  served_t served;
  raw_t app;

  served_init(&served);
  served.callbacks.on_command = NULL;
  served_listen(&served);
  raw_connect(&app, &served);
  raw_ask(&app, "faces", "update", &nothing, 404);
  raw_ask(&app, "faces", "create", &nothing, 400);
  raw_ask(&app, "faces", "destroy", &nothing, 400);
  raw_ask(&app, "rib", "register", &nothing, 400); /* no Name */
  raw_ask(&app, "rib", "unregister", &nothing, 400);
  raw_ask(&app, "rib", "list", &nothing, 404); /* a dataset has no parameters */
  raw_ask(&app, "cs", "config", &nothing, 501);
  raw_ask(&app, "service", "announce", &nothing, 404);
  ck_assert_uint_eq(raw_register(&app, "/x", 0), 501);
  raw_send(&app, wire_hex("052a0722"
                          "08096c6f63616c686f7374"
                          "08036e6664"
                          "08056661636573"
                          "08057175657279"
                          "08029600" /* a filter, no ControlParameters */
                          "0a04aabbccdd"));
  assert_answer(&app,
                "06xx"
                "0722"
                "08096c6f63616c686f7374"
                "08036e6664"
                "08056661636573"
                "08057175657279"
                "08029600"
                "151c651a66020194"
                "6712756e6b6e6f776e2066616365732076657262"
                "6800" SIGNED_DIGEST);
  raw_send(&app, wire_hex("051507130809"
                          "6c6f63616c686f7374"
                          "08036e6664"
                          "080178")); /* no verb */
  assert_answer(&app,
                "06xx"
                "07130809"
                "6c6f63616c686f7374"
                "08036e6664"
                "080178"
                "15186516660201946"
                "70e756e6b6e6f776e206d6f64756c65"
                "6800" SIGNED_DIGEST);
  raw_send(&app, wire_hex("0524"
                          "0722"
                          "08096c6f63616c686f7374"
                          "08036e6664"
                          "0803726962"
                          "08087265676973746572"
                          "0801ff")); /* the parameters are no element */
  ck_assert_int_eq(raw_receive(&app).kind, NDNPKT_DATA);
  ck_assert_uint_eq(served_stats(&served).commands_refused, served_stats(&served).commands);
  raw_close(&app);
  served_close(&served);
}

TEST_LOOP(embedder_may_refuse, 2) {
  served_t served;
  raw_t app;

  served_open(&served);
  raw_connect(&app, &served);
  served.code = 403;
  ck_assert_uint_eq(raw_register(&app, "/x", 0), 403);
  served.code = 0;
  served.refuse_all = true;
  ck_assert_uint_eq(raw_register(&app, "/x", 0), 403);
  ck_assert_uint_eq(raw_create(&app, harness_name("no"), NULL, -1, NULL), 403);
  ck_assert_uint_eq(served.commands, 1);
  served.refuse_all = false;
  served.close_in_command = true;
  served.close_by_face = _i == 1;
  for (int i = 0; i < 3; i++)
    raw_command(&app, "rib", "register", &(ndnpkt_parameters_t){.has = NDNPKT_HAS_NAME, .name = wire_name("/y")});
  RUN_UNTIL(&served.loop, served.closed == 1);
  ck_assert_uint_eq(served.commands, 2); /* of a face that is closed no more is asked */
  raw_close(&app);
  served_close(&served);
}

/* The app's connection goes while the embedder is asked: there is nobody to answer, and nothing is done. */
TEST_LOOP(app_that_is_closed_while_it_is_judged_gets_nothing, 2) {
  served_t served;
  raw_t app;

  served_open(&served);
  raw_connect(&app, &served);
  served.close_in_verify = true;
  served.close_by_face = _i == 1;
  raw_command(&app, "rib", "register", &(ndnpkt_parameters_t){.has = NDNPKT_HAS_NAME, .name = wire_name("/y")});
  RUN_UNTIL(&served.loop, served.closed == 1);
  ck_assert_uint_eq(served.verified, 1);
  ck_assert_uint_eq(served.commands, 0);
  ck_assert_uint_eq(served_stats(&served).commands, 0);
  ck_assert(raw_is_over(&app));
  raw_close(&app);
  served_close(&served);
}

TEST(code_without_words_of_the_embedders_has_the_usual_ones) {
  static const struct {
    unsigned int code;
    const char* text;
  } cases[] = {{400, "bad command"}, {403, "not allowed"}, {404, "not found"},     {409, "conflict"},
               {410, "gone"},        {500, "failed"},      {501, "not supported"}, {503, "too much"}};
  served_t served;
  raw_t app;

  served_open(&served);
  raw_connect(&app, &served);
  for (unsigned int i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
    const ndnpkt_parameters_t parameters = {.has = NDNPKT_HAS_NAME, .name = wire_name("/y")};
    ndnpkt_response_t response;

    served.code = cases[i].code;
    response = raw_ask(&app, "rib", "register", &parameters, cases[i].code);
    ck_assert_uint_eq(response.text.len, strlen(cases[i].text));
    ck_assert_int_eq(memcmp(response.text.base, cases[i].text, response.text.len), 0);
  }
  raw_close(&app);
  served_close(&served);
}

TEST(pipelined_commands_are_answered_in_order) {
  enum { N = 200 }; /* what a socket takes while nobody reads it */
  static raw_t app;
  served_t served;
  static uint8_t sent[N][400];
  size_t bytes[N];

  served_open(&served);
  raw_connect(&app, &served);
  for (int i = 0; i < N; i++) {
    char uri[20];

    snprintf(uri, sizeof(uri), "/p/%d", i);
    raw_command(&app, "rib", "register", &(ndnpkt_parameters_t){.has = NDNPKT_HAS_NAME, .name = wire_name(uri)});
    bytes[i] = app.sent_bytes;
    memcpy(sent[i], app.sent, app.sent_bytes);
  }
  for (int i = 0; i < N; i++) {
    app.sent_bytes = bytes[i];
    memcpy(app.sent, sent[i], bytes[i]);
    ck_assert_uint_eq(raw_response(&app).code, 200);
  }
  ck_assert_uint_eq(served.commands, N);
  raw_close(&app);
  served_close(&served);
}

/* --- Faces -------------------------------------------------------------------------------------- */

static void on_app_packets(uvface_t* face, ssize_t npkts, const uv_buf_t pkts[]) {
  int* got = face->data;

  (void) pkts;
  *got = npkts < 0 ? (int) npkts : *got + (int) npkts;
}

static void open_app(served_t* served, uvface_t* face, int* got) {
  ASSERT_OK(uvface_init(&served->loop, face));
  *got = 0;
  face->data = got;
}

TEST(named_face_is_made_used_and_destroyed) {
  served_t served;
  raw_t app;
  uvface_t face;
  int got;
  uint64_t id = 0;
  char name[80];
  uv_buf_t buf = uv_buf_init("hello", 5);
  guest_t* guest = &served.guests[1];

  served_open(&served);
  served.echo = true;
  raw_connect(&app, &served);
  snprintf(name, sizeof(name), "%s", harness_name("named"));
  ck_assert_uint_eq(raw_create(&app, name, NULL, -1, &id), 200);
  ck_assert_uint_eq(id, 257);
  ck_assert_uint_eq(served.opened, 2); /* before the answer */
  ck_assert_str_eq(guest->uri + strlen("shm://"), name);
  ck_assert_int_eq(uvface_get_transport(guest->app->face), UVFACE_SHM);
  ck_assert_int_eq(guest->app->pid, getpid());
  open_app(&served, &face, &got);
  ASSERT_OK(uvface_connect(&face, name, NULL));
  ASSERT_OK(uvface_recv_start(&face, on_app_packets));
  ck_assert_int_eq(uvface_try_send(&face, &buf, 1), 5);
  RUN_UNTIL(&served.loop, got == 1);
  ck_assert_uint_eq(guest->last_bytes, 5);
  raw_ask(&app, "faces", "destroy", &(ndnpkt_parameters_t){.has = NDNPKT_HAS_FACE_ID, .face_id = id}, 200);
  RUN_UNTIL(&served.loop, got == UV_EOF && served.closed == 1);
  ck_assert_int_eq(guest->status, UV_ECANCELED);
  ck_assert(!exists(harness_shm_path(name)));
  raw_ask(&app, "faces", "destroy", &(ndnpkt_parameters_t){.has = NDNPKT_HAS_FACE_ID, .face_id = id}, 410);
  ck_assert_uint_eq(raw_create(&app, name, NULL, -1, &id), 200);
  ck_assert_uint_eq(id, 258); /* never the same again */
  ck_assert_uint_eq(served_stats(&served).app_faces, 1);
  uvface_close(&face, NULL);
  raw_close(&app);
  served_close(&served);
}

TEST(end_of_the_connection_ends_its_faces) {
  served_t served;
  raw_t app;
  uvface_t face;
  int got;
  char name[80];

  served_open(&served);
  raw_connect(&app, &served);
  snprintf(name, sizeof(name), "%s", harness_name("ends"));
  ck_assert_uint_eq(raw_create(&app, name, NULL, -1, NULL), 200);
  ck_assert_uint_eq(raw_create(&app, harness_name("never"), NULL, -1, NULL), 200);
  open_app(&served, &face, &got);
  ASSERT_OK(uvface_connect(&face, name, NULL));
  ASSERT_OK(uvface_recv_start(&face, on_app_packets));
  raw_close(&app);
  RUN_UNTIL(&served.loop, served.closed == 3 && got == UV_EOF);
  for (int g = 0; g < 3; g++) ck_assert_int_eq(served.guests[g].status, UV_EOF);
  ck_assert_uint_eq(served.guests[0].order, 3); /* the faces first */
  ck_assert(!exists(harness_shm_path(name)));
  uvface_close(&face, NULL);
  served_close(&served);
}

/* Whoever runs the loop turn by turn may take a while in between, and timers are looked at before and after. */
static bool is_gone(const served_t* served, const guest_t* guest) {
  if (served->hold_ms != 0) poll(NULL, 0, 3);
  return guest->app == NULL && guest->face_id != 0;
}

/* An app sends its last packets, and goes: the ring and the connection end at the same time. */
static void send_last_words(served_t* served, guest_t* guest, unsigned int n) {
  uv_buf_t buf = uv_buf_init("last words", 10);
  char name[80];
  uvface_t face;
  raw_t app;
  int got;

  raw_connect(&app, served);
  snprintf(name, sizeof(name), "%s", harness_name("last"));
  ck_assert_uint_eq(raw_create(&app, name, NULL, -1, NULL), 200);
  open_app(served, &face, &got);
  ASSERT_OK(uvface_connect(&face, name, NULL));
  for (unsigned int sent = 0; sent < n; sent++) ck_assert_int_eq(uvface_try_send(&face, &buf, 1), 10);
  raw_close(&app);
  uvface_close(&face, NULL);
  RUN_UNTIL(&served->loop, is_gone(served, guest));
  ck_assert_uint_eq(guest->got, n);
  ck_assert_int_eq(guest->end, UV_EOF);
  ck_assert_int_eq(guest->status, UV_EOF);
}

TEST(last_packets_of_an_app_that_goes_arrive) {
  served_t served;

  served_open(&served);
  for (int i = 0; i < 20; i++) send_last_words(&served, &served.guests[2 * i + 1], 100);
  served_close(&served);
}

/* By its own callbacks, or since it does not get the CPU: each turn takes longer than the face may stay. */
TEST(last_packets_arrive_at_a_server_that_is_held_up) {
  served_t served;

  served_open(&served);
  served.hold_ms = 120;
  send_last_words(&served, &served.guests[1], 256); /* all that the ring holds: four turns */
  served_close(&served);
}

TEST(face_that_goes_on_sending_outlives_its_connection_by_a_ring_at_most) {
  uv_buf_t buf = uv_buf_init("and", 3);
  served_t served;
  guest_t* guest = &served.guests[1];
  uint64_t ended_ns;
  uvface_t face;
  char name[80];
  raw_t app;
  int got;

  served_open(&served);
  raw_connect(&app, &served);
  snprintf(name, sizeof(name), "%s", harness_name("and"));
  ck_assert_uint_eq(raw_create(&app, name, NULL, -1, NULL), 200);
  open_app(&served, &face, &got);
  ASSERT_OK(uvface_connect(&face, name, NULL));
  raw_close(&app);
  ended_ns = harness_now_ns() + (uint64_t) DEADLINE_MS * 1000000;
  while (guest->app != NULL && harness_now_ns() < ended_ns) { /* a packet in each turn */
    uvface_try_send(&face, &buf, 1);
    uv_run(&served.loop, UV_RUN_NOWAIT);
  }
  ck_assert_ptr_null(guest->app);
  ck_assert_int_eq(guest->status, UV_EOF);
  uvface_close(&face, NULL);
  served_close(&served);
}

TEST(end_of_a_face_leaves_its_connection) {
  served_t served;
  raw_t app;
  uvface_t face;
  int got;
  char name[80];

  served_open(&served);
  raw_connect(&app, &served);
  snprintf(name, sizeof(name), "%s", harness_name("leaves"));
  ck_assert_uint_eq(raw_create(&app, name, NULL, -1, NULL), 200);
  open_app(&served, &face, &got);
  ASSERT_OK(uvface_connect(&face, name, NULL));
  uvface_close(&face, NULL);
  RUN_UNTIL(&served.loop, served.closed == 1);
  ck_assert_int_eq(served.guests[1].status, UV_EOF);
  ck_assert_int_eq(served.guests[1].end, UV_EOF);
  ck_assert_uint_eq(raw_register(&app, "/still", 0), 200);
  raw_close(&app);
  served_close(&served);
}

TEST(command_through_the_ring_is_of_that_face) {
  served_t served;
  raw_t app;
  uvface_t face;
  int got;
  uint64_t id = 0;
  char name[80];
  ndnpkt_bytes_t bytes = wire_hex(REGISTER_PN);
  uv_buf_t buf = uv_buf_init((char*) (uintptr_t) bytes.base, (unsigned int) bytes.len);

  served_open(&served);
  raw_connect(&app, &served);
  snprintf(name, sizeof(name), "%s", harness_name("through"));
  ck_assert_uint_eq(raw_create(&app, name, NULL, -1, &id), 200);
  open_app(&served, &face, &got);
  ASSERT_OK(uvface_connect(&face, name, NULL));
  ASSERT_OK(uvface_recv_start(&face, on_app_packets));
  ck_assert_int_gt(uvface_try_send(&face, &buf, 1), 0);
  RUN_UNTIL(&served.loop, got == 1);
  ck_assert_uint_eq(served.target_id, id);
  ck_assert_uint_eq(served.asked_id, id);
  ck_assert_uint_eq(served.guests[1].got, 0); /* the embedder has not seen it */
  ck_assert(raw_is_silent(&app));
  uvface_close(&face, NULL);
  raw_close(&app);
  served_close(&served);
}

/* Of faces/list: the question fits into a slot of 64 bytes, no answer does. */
TEST(answer_that_is_larger_than_the_face_takes_is_dropped_and_counted) {
  served_t served;
  raw_t app;
  uvface_t face;
  int got;
  char name[80];
  ndnpkt_bytes_t bytes = wire_hex(
      "0529"
      "071d"
      "08096c6f63616c686f7374"
      "08036e6664"
      "08056661636573"
      "08046c697374"
      "2100"
      "1200"
      "0a0401020304");
  uv_buf_t buf = uv_buf_init((char*) (uintptr_t) bytes.base, (unsigned int) bytes.len);

  served_init(&served);
  served.options.face.slot_size = 64;
  served_listen(&served);
  raw_connect(&app, &served);
  snprintf(name, sizeof(name), "%s", harness_name("narrow"));
  ck_assert_uint_eq(raw_create(&app, name, NULL, -1, NULL), 200);
  open_app(&served, &face, &got);
  ASSERT_OK(uvface_connect(&face, name, NULL));
  ASSERT_OK(uvface_recv_start(&face, on_app_packets));
  ck_assert_int_eq(uvface_try_send(&face, &buf, 1), (int) buf.len);
  RUN_UNTIL(&served.loop, served_stats(&served).commands_dropped == 1);
  ck_assert_uint_eq(served_stats(&served).commands, 1); /* faces/create alone */
  ck_assert_int_eq(got, 0);
  uvface_close(&face, NULL);
  raw_close(&app);
  served_close(&served);
}

/* A face over a socket takes packets of 16 MiB at most, one over shared memory larger ones. */
TEST(slots_may_be_larger_than_what_a_connection_can_carry) {
  served_t served;
  raw_t app;

  served_init(&served);
  served.options.face.capacity = 1;
  served.options.face.slot_size = 20u << 20;
  served_listen(&served);
  raw_connect(&app, &served);
  ck_assert_uint_eq(uvface_get_mtu(served.guests[0].app->face), 16u << 20);
  ck_assert_uint_eq(raw_create(&app, "large", handoff_key(1), -1, NULL), 200);
  ck_assert_uint_eq(uvface_get_mtu(served.guests[1].app->face), 20u << 20);
  raw_close(&app);
  served_close(&served);
}

/* A slot has room for the Mtu and for what a forwarder adds, and no slot has 4 GiB. */
TEST(mtu_that_no_slot_can_have_is_refused_whatever_the_limits) {
  static const int64_t mtus[] = {UINT32_MAX - INT64_C(16384), UINT32_MAX - INT64_C(64), UINT32_MAX, INT64_MAX};
  uvface_server_options_t large = UVFACE_SERVER_OPTIONS_INIT;
  served_t served;
  raw_t app;

  served_init(&served);
  large.max_region_bytes = SIZE_MAX;
  large.face.mtu = UINT32_MAX;
  ck_assert_int_eq(uvface_server_listen(&served.server, served.path, &large, &served.callbacks), UV_EINVAL);
  served.options.max_region_bytes = served.options.max_app_bytes = SIZE_MAX;
  served_listen(&served);
  raw_connect(&app, &served);
  for (size_t i = 0; i < sizeof(mtus) / sizeof(*mtus); i++)
    ck_assert_uint_eq(raw_create(&app, "endless", handoff_key(1), mtus[i], NULL), 400);
  raw_close(&app);
  served_close(&served);
}

TEST(commands_reach_own_faces_only) {
  served_t served;
  raw_t a, b;
  uint64_t id = 0;
  ndnpkt_parameters_t destroy = {.has = NDNPKT_HAS_FACE_ID};

  served_open(&served);
  raw_connect(&a, &served);
  raw_connect(&b, &served);
  ck_assert_uint_eq(raw_create(&a, harness_name("own"), NULL, -1, &id), 200);
  ck_assert_uint_eq(raw_register(&a, "/x", 0), 200);
  ck_assert_uint_eq(served.target_id, 256);
  ck_assert_uint_eq(raw_register(&a, "/x", id), 200);
  ck_assert_uint_eq(served.target_id, id);
  ck_assert_uint_eq(raw_register(&a, "/x", 99999), 410);
  ck_assert_uint_eq(raw_register(&b, "/x", id), 403);
  ck_assert_uint_eq(raw_register(&b, "/x", 256), 403);
  ck_assert_uint_eq(served.commands, 2);
  destroy.face_id = id;
  raw_ask(&b, "faces", "destroy", &destroy, 403);
  destroy.face_id = 257;
  raw_ask(&b, "faces", "destroy", &destroy, 403); /* the connection itself */
  ck_assert_uint_eq(served_stats(&served).app_faces, 1);
  raw_close(&a);
  raw_close(&b);
  served_close(&served);
}

TEST(mtu_makes_the_geometry_that_ndn_rs_makes) {
  static const struct {
    long mtu;
    uint32_t slots, slot_size; /* of ndn-rs: ours are the next power of two down, and whole cache lines */
  } cases[] = {{0, 140, 16384}, {1024, 131, 17408}, {8800, 90, 25216}, {65536, 28, 81920}, {262144, 16, 278528}};
  served_t served;
  raw_t app;

  served_open(&served);
  for (unsigned int i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
    guest_t* guest = &served.guests[2 * i + 1];
    uvface_stats_t stats;

    raw_connect(&app, &served);
    ck_assert_uint_eq(raw_create(&app, harness_name("geometry"), NULL, cases[i].mtu, NULL), 200);
    ASSERT_OK(uvface_get_stats(guest->app->face, &stats));
    ck_assert_uint_ge(stats.slot_size, cases[i].slot_size);
    ck_assert_uint_le(stats.slot_size, cases[i].slot_size + 64);
    ck_assert_uint_le(stats.capacity, cases[i].slots);
    ck_assert_uint_gt(stats.capacity * 2, cases[i].slots);
    raw_close(&app);
    RUN_UNTIL(&served.loop, served.closed == 2 * i + 2);
  }
  served_close(&served);
}

TEST(mtu_of_the_options_makes_the_same_geometry) {
  served_t served;
  raw_t app;
  uvface_stats_t asked, given;

  served_init(&served);
  served.options.face.mtu = 8800;
  served_listen(&served);
  raw_connect(&app, &served);
  ck_assert_uint_eq(raw_create(&app, harness_name("asked"), NULL, 8800, NULL), 200);
  ck_assert_uint_eq(raw_create(&app, harness_name("given"), NULL, -1, NULL), 200);
  ASSERT_OK(uvface_get_stats(served.guests[1].app->face, &asked));
  ASSERT_OK(uvface_get_stats(served.guests[2].app->face, &given));
  ck_assert_uint_eq(given.slot_size, asked.slot_size);
  ck_assert_uint_eq(given.capacity, asked.capacity);
  raw_close(&app);
  served_close(&served);
}

TEST(faces_are_refused_with_a_reason) {
  served_t served;
  raw_t app;
  char name[300];
  uvface_t other;
  const uint8_t* key = handoff_key(1);

  served_init(&served);
  served.options.max_faces = 2;
  served.options.max_region_bytes = 16 << 20;
  served.options.max_app_bytes = 15 << 20; /* three default faces */
  served_listen(&served);
  raw_connect(&app, &served);
  memset(name, 'n', sizeof(name));
  name[201] = '\0';
  ck_assert_uint_eq(raw_create(&app, name, NULL, -1, NULL), 400);
  ck_assert_uint_eq(raw_create(&app, name, key, -1, NULL), 400);
  ck_assert_uint_eq(raw_create(&app, "\33]0;title\7", key, -1, NULL), 400); /* it would get into logs */
  ck_assert_uint_eq(raw_create(&app, "\302\233", key, -1, NULL), 400);
  ck_assert_uint_eq(raw_create(&app, "", NULL, -1, NULL), 400);
  ck_assert_uint_eq(raw_create(&app, "a/b", NULL, -1, NULL), 400);
  ck_assert_uint_eq(raw_create(&app, ".dot", NULL, -1, NULL), 400);
  ck_assert_uint_eq(raw_create(&app, "x", NULL, 1 << 20, NULL), 400); /* 16 slots of 1 MiB */
  ck_assert_uint_eq(raw_create(&app, "x", NULL, 1ll << 33, NULL), 400);
  raw_ask(&app, "faces", "create",
          &(ndnpkt_parameters_t){.has = NDNPKT_HAS_URI, .uri = wire_text("udp4://192.0.2.1:6363")}, 400);
  raw_ask(&app, "faces", "create",
          &(ndnpkt_parameters_t){
              .has = NDNPKT_HAS_URI | NDNPKT_HAS_SHM_TOKEN, .uri = wire_text("shm://x"), .shm_token = {key, 16}},
          400);
  ASSERT_OK(uvface_init(&served.loop, &other));
  ASSERT_OK(uvface_create(&other, harness_name("taken"), NULL));
  ck_assert_uint_eq(raw_create(&app, harness_name("taken"), NULL, -1, NULL), 409);
  ck_assert(exists(harness_shm_path(harness_name("taken"))));
  uvface_close(&other, NULL);
  ck_assert_uint_eq(raw_create(&app, "one", key, -1, NULL), 200);
  ck_assert_uint_eq(raw_create(&app, "two", key, -1, NULL), 409); /* the same key */
  ck_assert_uint_eq(raw_create(&app, "two", handoff_key(2), -1, NULL), 200);
  ck_assert_uint_eq(raw_create(&app, "three", handoff_key(3), -1, NULL), 503);
  raw_ask(&app, "faces", "destroy",
          &(ndnpkt_parameters_t){.has = NDNPKT_HAS_FACE_ID, .face_id = served.guests[2].face_id}, 200);
  ck_assert_uint_eq(raw_create(&app, "three", handoff_key(3), 400000, NULL), 503); /* together too many bytes */
  ck_assert_uint_eq(raw_create(&app, "three", handoff_key(3), 8800, NULL), 200);
  ck_assert_uint_eq(served_stats(&served).faces, 3);
  ck_assert_uint_eq(served_stats(&served).faces_refused, 15);
  raw_close(&app);
  served_close(&served);
}

TEST(server_without_shared_memory_says_so) {
  served_t served;
  raw_t app;

  served_init(&served);
  served.options.flags = UVFACE_SERVER_NO_SHM;
  served_listen(&served);
  raw_connect(&app, &served);
  ck_assert_uint_eq(raw_create(&app, harness_name("no"), NULL, -1, NULL), 400);
  ck_assert_uint_eq(raw_register(&app, "/x", 0), 200);
  raw_close(&app);
  served_close(&served);
}

TEST_LOOP(face_that_the_embedder_does_not_want_is_refused, 2) {
  served_t served;
  raw_t app;

  served_open(&served);
  raw_connect(&app, &served);
  served.close_in_open = true;
  served.close_by_face = _i == 1;
  ck_assert_uint_eq(raw_create(&app, harness_name("unwanted"), NULL, -1, NULL), 503);
  RUN_UNTIL(&served.loop, served.closed == 1);
  raw_close(&app);
  served_close(&served);
}

/* By when who comes for a face has come in time, as far as this process was not kept from running. */
static bool came_in_time(uint64_t created_ns) {
  return harness_now_ns() - created_ns < UINT64_C(1000000000);
}

/* Two that nobody comes for, and one that somebody does, who is silent. */
TEST(face_that_nobody_comes_for_is_taken_back) {
  uint64_t deadline_ns = harness_now_ns() + (uint64_t) DEADLINE_MS * 1000000u;
  bool in_time;

  do {
    served_t served;
    uint64_t begin_ns;
    raw_t app;
    uvface_t face;
    int got;
    char name[80];

    served_init(&served);
    served.options.attach_timeout_ms = 50; /* and a second more for a face with a name */
    served_listen(&served);
    raw_connect(&app, &served);
    snprintf(name, sizeof(name), "%s", harness_name("silent"));
    ck_assert_uint_eq(raw_create(&app, "private", handoff_key(1), -1, NULL), 200);
    begin_ns = harness_now_ns();
    ck_assert_uint_eq(raw_create(&app, name, NULL, -1, NULL), 200);
    open_app(&served, &face, &got);
    in_time = uvface_connect(&face, name, NULL) == 0 && came_in_time(begin_ns);
    RUN_UNTIL(&served.loop, served.closed >= 1);
    ck_assert_int_eq(served.guests[1].status, UV_ETIMEDOUT);
    ck_assert(!handoff_exists(&served, handoff_key(1)));
    ck_assert_uint_eq(raw_create(&app, harness_name("never"), NULL, -1, NULL), 200);
    RUN_UNTIL(&served.loop, served.guests[3].status != 0);
    ck_assert_int_eq(served.guests[3].status, UV_ETIMEDOUT);
    run_for(&served.loop, 20); /* the one that came before stays, though it says nothing */
    if (in_time) {
      ck_assert_uint_eq(served.closed, 2);
      ck_assert_uint_eq(served_stats(&served).faces_unclaimed, 2);
      ck_assert_uint_eq(served_stats(&served).app_faces, 1);
    }
    uvface_close(&face, NULL);
    raw_close(&app);
    served_close(&served);
  } while (!in_time && harness_now_ns() < deadline_ns);
  ck_assert(in_time);
}

/* An app of ndn-rs opens the FIFOs, and announces nothing. _i: 1 = the loop is held up before it can have seen it. */
TEST_LOOP(silent_app_of_ndn_rs_has_come_for_its_face, 2) {
  uint64_t deadline_ns = harness_now_ns() + (uint64_t) DEADLINE_MS * 1000000u;
  bool in_time;

  do {
    served_t served;
    uint64_t begin_ns;
    raw_t app;
    char name[80];
    int region, a2e, e2a;

    served_init(&served);
    served.options.attach_timeout_ms = 50; /* and a second more */
    served_listen(&served);
    raw_connect(&app, &served);
    snprintf(name, sizeof(name), "%s", harness_name("rs"));
    begin_ns = harness_now_ns();
    ck_assert_uint_eq(raw_create(&app, name, NULL, -1, NULL), 200);
    region = open(harness_shm_path(name), O_RDWR | O_CLOEXEC);
    e2a = open(harness_e2a_path(name), O_RDWR | O_NONBLOCK | O_CLOEXEC);
    a2e = open(harness_a2e_path(name), O_WRONLY | O_NONBLOCK | O_CLOEXEC);
    in_time = came_in_time(begin_ns);
    if (in_time) {
      ck_assert(region >= 0 && a2e >= 0 && e2a >= 0);
      if (_i == 1) usleep(1300 * 1000);
      run_for(&served.loop, 2500); /* longer than its timeout, and the second in which somebody is seen */
      ck_assert_uint_eq(served.closed, 0);
    }
    close(region);
    close(e2a);
    close(a2e);
    RUN_UNTIL(&served.loop, served.closed == 1);
    raw_close(&app);
    served_close(&served);
  } while (!in_time && harness_now_ns() < deadline_ns);
  ck_assert(in_time);
}

/* --- The handoff -------------------------------------------------------------------------------- */

TEST(private_face_is_handed_over_and_lives_and_dies) {
  served_t served;
  raw_t app;
  uvface_t face;
  int got;
  const uint8_t* key = handoff_key(1);
  uv_buf_t buf = uv_buf_init("hello", 5);
  guest_t* guest = &served.guests[1];

  served_open(&served);
  served.echo = true;
  raw_connect(&app, &served);
  ck_assert_uint_eq(raw_create(&app, "any label / at all", key, -1, NULL), 200);
  ck_assert(handoff_exists(&served, key));
  open_app(&served, &face, &got);
  ASSERT_OK(handoff_attach(&served, key, &face));
  ck_assert(!handoff_exists(&served, key));
  ASSERT_OK(uvface_recv_start(&face, on_app_packets));
  ck_assert_int_eq(uvface_try_send(&face, &buf, 1), 5);
  RUN_UNTIL(&served.loop, got == 1);
  ck_assert_uint_eq(served_stats(&served).handoffs, 1);
  uvface_close(&face, NULL);
  RUN_UNTIL(&served.loop, served.closed == 1);
  ck_assert_int_eq(guest->status, UV_EOF);
  ck_assert_int_eq(guest->end, UV_EOF);
  raw_close(&app);
  served_close(&served);
}

TEST(socket_of_a_handoff_is_the_apps_users_alone) {
  served_t served;
  raw_t app;
  struct dirent* entry = NULL;
  struct stat st;
  DIR* directory;
  char path[400];

  served_open(&served);
  raw_connect(&app, &served);
  ck_assert_uint_eq(raw_create(&app, "x", handoff_key(1), -1, NULL), 200);
  directory = opendir(served.directory);
  while ((entry = readdir(directory)) != NULL && strncmp(entry->d_name, ".ndn-shm-ctl-", 13) != 0) continue;
  ck_assert_ptr_nonnull(entry);
  ck_assert_uint_eq(strlen(entry->d_name), strlen(".ndn-shm-ctl-0123456789abcdef.sock"));
  snprintf(path, sizeof(path), "%s/%s", served.directory, entry->d_name);
  closedir(directory);
  ck_assert_int_eq(lstat(path, &st), 0);
  ck_assert_uint_eq(st.st_mode & 0777, 0600);
  ck_assert_uint_eq(st.st_uid, geteuid());
  raw_close(&app);
  served_close(&served);
}

TEST(wrong_proof_gets_nothing_and_the_right_one_still_works) {
  served_t served;
  raw_t app;
  const uint8_t* key = handoff_key(1);
  uint8_t nonces[64];
  uvface_t face;
  int got, fds[3], fd;

  served_open(&served);
  raw_connect(&app, &served);
  ck_assert_uint_eq(raw_create(&app, "x", key, -1, NULL), 200);
  for (int i = 0; i < 15; i++) {
    fd = handoff_connect(&served, key);
    ck_assert(handoff_meet(&served, fd, key, nonces));
    handoff_prove(fd, key, nonces, false);
    ck_assert_int_eq(handoff_take(&served, fd, fds), 0);
    close(fd);
  }
  ck_assert_uint_eq(served_stats(&served).proofs_refused, 15);
  open_app(&served, &face, &got);
  ASSERT_OK(handoff_attach(&served, key, &face));
  uvface_close(&face, NULL);
  raw_close(&app);
  served_close(&served);
}

TEST(sixteen_wrong_proofs_end_it) {
  served_t served;
  raw_t app;
  const uint8_t* key = handoff_key(1);
  uint8_t nonces[64];
  int fds[3];

  served_open(&served);
  raw_connect(&app, &served);
  ck_assert_uint_eq(raw_create(&app, "x", key, -1, NULL), 200);
  for (int i = 0; i < 16; i++) {
    int fd = handoff_connect(&served, key);

    ck_assert_msg(fd >= 0, "%d", i);
    ck_assert(handoff_meet(&served, fd, key, nonces));
    handoff_prove(fd, key, nonces, false);
    ck_assert_int_eq(handoff_take(&served, fd, fds), 0);
    close(fd);
  }
  RUN_UNTIL(&served.loop, served.closed == 1);
  ck_assert_int_eq(served.guests[1].status, UV_ETIMEDOUT);
  ck_assert(!handoff_exists(&served, key));
  ck_assert_uint_eq(served_stats(&served).faces_unclaimed, 1);
  ck_assert_uint_eq(raw_register(&app, "/x", 0), 200); /* the connection goes on */
  raw_close(&app);
  served_close(&served);
}

/* Unless this process was kept from running for so long no connector has been given up. */
static bool is_within_a_step(uint64_t begin_ns) {
  return harness_now_ns() - begin_ns < UINT64_C(900000000);
}

/* Who says nothing, at either step, or little by little. */
TEST(silent_connectors_keep_nobody_from_the_handoff) {
  served_t served;
  raw_t app;
  const uint8_t* key = handoff_key(1);
  uint8_t nonces[64] = {0};
  uvface_t face;
  int got, silent, half, later;
  uint64_t begin_ns;

  served_open(&served);
  raw_connect(&app, &served);
  ck_assert_uint_eq(raw_create(&app, "x", key, -1, NULL), 200);
  begin_ns = harness_now_ns();
  silent = handoff_connect(&served, key);
  half = handoff_connect(&served, key);
  ck_assert_int_eq(send(half, nonces, 31, MSG_NOSIGNAL), 31);
  later = handoff_connect(&served, key);
  ck_assert(handoff_meet(&served, later, key, nonces));
  run_until_eof(&served, silent);
  run_until_eof(&served, half);
  run_until_eof(&served, later);
  ck_assert_uint_ge(harness_now_ns() - begin_ns, 900000000);
  ck_assert_uint_eq(served_stats(&served).handoff_timeouts, 3);
  close(silent);
  close(half);
  close(later);
  begin_ns = harness_now_ns();
  silent = handoff_connect(&served, key);
  half = handoff_connect(&served, key);
  ck_assert_int_eq(send(half, nonces, 31, MSG_NOSIGNAL), 31);
  open_app(&served, &face, &got);
  ASSERT_OK(handoff_attach(&served, key, &face)); /* beside them, without waiting */
  if (is_within_a_step(begin_ns)) ck_assert_uint_eq(served_stats(&served).handoff_timeouts, 3);
  run_until_eof(&served, silent);
  run_until_eof(&served, half);
  close(silent);
  close(half);
  uvface_close(&face, NULL);
  raw_close(&app);
  served_close(&served);
}

/* False if the connector had no time to meet the server before it was held up. */
static bool hold_up(void) {
  served_t served;
  raw_t app;
  const uint8_t* key = handoff_key(1);
  uint64_t begin_ns;
  uint8_t nonces[64];
  int held, other;
  bool in_time;

  served_open(&served);
  raw_connect(&app, &served);
  ck_assert_uint_eq(raw_create(&app, "x", key, -1, NULL), 200);
  begin_ns = harness_now_ns();
  held = handoff_connect(&served, key);
  other = handoff_connect(&served, key);
  ck_assert(handoff_meet(&served, other, key, nonces)); /* and before it the one that came first is accepted */
  memset(nonces, 0xaa, 32);
  in_time = send(held, nonces, 1, MSG_NOSIGNAL) == 1 && is_within_a_step(begin_ns);
  usleep(1100 * 1000); /* what the loop's user does, not what the test waits for */
  if (in_time) {
    ck_assert_int_eq(send(held, nonces, 31, MSG_NOSIGNAL), 31);
    RUN_UNTIL(&served.loop, recv(held, nonces, 64, MSG_PEEK | MSG_DONTWAIT) == 64);
    run_until_eof(&served, other); /* who has sent nothing is given up */
  }
  close(held);
  close(other);
  raw_close(&app);
  served_close(&served);
  return in_time;
}

/* What the connector has sent is in the socket when its time is over. */
TEST(server_that_was_held_up_does_not_blame_the_connector) {
  uint64_t deadline_ns = harness_now_ns() + (uint64_t) DEADLINE_MS * 1000000u;
  bool in_time;

  do in_time = hold_up();
  while (!in_time && harness_now_ns() < deadline_ns);
  ck_assert(in_time);
}

TEST(too_many_connectors_are_turned_away) {
  served_t served;
  raw_t app;
  const uint8_t* key = handoff_key(1);
  uint64_t begin_ns;
  int fds[9];

  served_open(&served);
  raw_connect(&app, &served);
  ck_assert_uint_eq(raw_create(&app, "x", key, -1, NULL), 200);
  begin_ns = harness_now_ns();
  for (int i = 0; i < 9; i++) fds[i] = handoff_connect(&served, key);
  run_until_eof(&served, fds[8]);
  if (is_within_a_step(begin_ns)) ck_assert_uint_eq(served_stats(&served).handoff_timeouts, 0);
  raw_close(&app);
  RUN_UNTIL(&served.loop, served.closed == 2); /* who waits there is turned away, too */
  for (int i = 0; i < 8; i++) run_until_eof(&served, fds[i]);
  for (int i = 0; i < 9; i++) close(fds[i]);
  served_close(&served);
}

/* Runs the loop until the child has ended. Returns its wait status. */
static int run_child(served_t* served, int (*body)(void*), void* arg) {
  pid_t pid = harness_fork(body, arg);
  int status = -1;
  bool reaped = false;

  RUN_UNTIL(&served->loop, reaped || (reaped = waitpid(pid, &status, WNOHANG) == pid));
  return status;
}

#define NOT_EVEN_CONNECTED 3

/* Another user, who knows the key. */
static int stranger_body(void* arg) {
  const served_t* served = arg;
  uint8_t bytes[64] = {0};
  int fd;

  REQUIRE(become_other() == 0);
  fd = handoff_connect(served, handoff_key(1));
  if (fd < 0) return NOT_EVEN_CONNECTED;
  send(fd, bytes, 32, MSG_NOSIGNAL);
  return recv(fd, bytes, 64, 0) <= 0 ? 0 : 1;
}

TEST(stranger_gets_nothing_even_if_it_may_connect) {
  served_t served;
  raw_t app;
  char path[200];

  if (!is_root()) SKIP("needs a second user");
  served_open(&served);
  ck_assert_int_eq(chmod(served.directory, 0755), 0);
  raw_connect(&app, &served);
  ck_assert_uint_eq(raw_create(&app, "x", handoff_key(1), -1, NULL), 200);
  ck_assert_int_eq(WEXITSTATUS(run_child(&served, stranger_body, &served)), NOT_EVEN_CONNECTED);
  handoff_path(&served, handoff_key(1), path);
  ck_assert_int_eq(chmod(path, 0666), 0);
  for (int i = 0; i < 17; i++) ck_assert_int_eq(run_child(&served, stranger_body, &served), 0);
  ck_assert_uint_eq(served_stats(&served).proofs_refused, 17);
  ck_assert(handoff_exists(&served, handoff_key(1))); /* strangers do not end it */
  raw_close(&app);
  served_close(&served);
}

/* An app of another user, from connect to a packet. */
static int users_app_body(void* arg) {
  served_t* served = arg;

  REQUIRE(become_other() == 0);
  return plain_app(served, handoff_key(5));
}

TEST(roots_server_serves_an_app_of_a_user) {
  served_t served;

  if (!is_root()) SKIP("needs a second user");
  served_init(&served);
  served.options.mode = 0666;
  served_listen(&served);
  ck_assert_int_eq(chmod(served.directory, 0755), 0);
  ck_assert_int_eq(run_child(&served, users_app_body, &served), 0);
  RUN_UNTIL(&served.loop, served.closed == 2);
  ck_assert_uint_eq(served.guests[1].got, 1);
  ck_assert_uint_eq(served_stats(&served).handoffs, 1);
  served_close(&served);
}

static int users_named_app_body(void* arg) {
  served_t* served = arg;

  REQUIRE(become_other() == 0);
  return plain_named(served, harness_name("users"));
}

/* An app of another user could hold the loop by a FIFO's lock, and end the process by truncating the region. */
TEST(face_by_name_is_for_the_servers_own_user_unless_it_is_for_all) {
  for (int for_all = 0; for_all < 2; for_all++) {
    served_t served;

    if (!is_root()) SKIP("needs a second user");
    served_init(&served);
    served.options.mode = 0666;
    if (for_all) served.options.flags = UVFACE_SERVER_NAMES_FOR_ALL;
    served_listen(&served);
    ck_assert_int_eq(chmod(served.directory, 0755), 0);
    ck_assert_int_eq(run_child(&served, users_named_app_body, &served) == 0, for_all);
    RUN_UNTIL(&served.loop, served.closed == (for_all ? 2u : 1u));
    ck_assert_uint_eq(served_stats(&served).faces, for_all ? 1 : 0);
    ck_assert_uint_eq(served_stats(&served).faces_refused, for_all ? 0 : 1);
    served_close(&served);
  }
}

/* An app of another user, on so many connections, of which so many get a face, and the one more nothing. */
typedef struct greedy_s {
  const served_t* served;
  int apps, faces;
  uint32_t others; /* apps and faces that are not its own */
} greedy_t;

static int ask_again(const greedy_t* greedy, int* ret_fd) {
  int code;

  *ret_fd = plain_ask(greedy->served, handoff_key(20));
  if (*ret_fd < 0) return errno == EPIPE ? 0 : -1; /* closed before it could ask */
  code = plain_code(*ret_fd);
  if (code != 200) close(*ret_fd);
  return code;
}

static int greedy_body(void* arg) {
  const greedy_t* greedy = arg;
  uint64_t end_ns = harness_now_ns() + UINT64_C(20000000000) * harness_slow();
  int fds[8], code;

  REQUIRE(become_other() == 0);
  for (int i = 0; i < greedy->apps; i++)
    REQUIRE((fds[i] = plain_ask(greedy->served, handoff_key((uint8_t) (i + 1)))) >= 0);
  REQUIRE(ask_again(greedy, &fds[greedy->apps]) == 0);
  for (int i = 0; i < greedy->apps; i++) REQUIRE(plain_code(fds[i]) == (i < greedy->faces ? 200 : 503));
  close(fds[0]); /* another may have what this one had, as soon as the server has seen it */
  while ((code = ask_again(greedy, &fds[0])) != 200) REQUIRE(code != -1 && harness_now_ns() < end_ns);
  return 0;
}

static void serve_greedy(served_t* served, greedy_t* greedy) {
  greedy->served = served;
  ck_assert_int_eq(run_child(served, greedy_body, greedy), 0);
  ck_assert_ptr_nonnull(strstr(uvface_server_errmsg(&served->server), "max_user_apps"));
  RUN_UNTIL(&served->loop, served_stats(served).apps + served_stats(served).app_faces == greedy->others);
}

/* One user's apps can neither keep the others out nor take all memory; what they had is free again after them. */
TEST(user_has_a_bounded_share_of_connections_and_memory) {
  greedy_t greedy = {.apps = 2, .faces = 1, .others = 6};
  served_t served;
  raw_t own[3];

  if (!is_root()) SKIP("needs a second user");
  served_init(&served);
  served.options.mode = 0666;
  served.options.max_user_apps = 2;
  served.options.max_user_bytes = 5 << 20; /* one default face */
  served_listen(&served);
  ck_assert_int_eq(chmod(served.directory, 0755), 0);
  for (int i = 0; i < 3; i++) { /* these are the server's own user's */
    raw_connect(&own[i], &served);
    ck_assert_uint_eq(raw_create(&own[i], "own", handoff_key((uint8_t) (10 + i)), -1, NULL), 200);
  }
  for (unsigned int run = 1; run <= 2; run++) {
    serve_greedy(&served, &greedy);
    ck_assert_uint_ge(served_stats(&served).connections_refused, run);
    ck_assert_uint_ge(served_stats(&served).faces_refused, run);
  }
  for (int i = 0; i < 3; i++) raw_close(&own[i]);
  served_close(&served);
}

TEST(user_gets_three_quarters_of_the_connections_if_the_options_do_not_say) {
  greedy_t greedy = {.apps = 3, .faces = 3};
  served_t served;

  if (!is_root()) SKIP("needs a second user");
  served_init(&served);
  served.options.mode = 0666;
  served.options.max_apps = 4;
  served_listen(&served);
  ck_assert_int_eq(chmod(served.directory, 0755), 0);
  serve_greedy(&served, &greedy);
  served_close(&served);
}

/* --- Datasets ------------------------------------------------------------------------------------- */

/* An Interest for a dataset as the tools of ndnd and NFD send it: not signed, and the name may be longer. */
static void ask_dataset(raw_t* raw, ndnpkt_name_t name) {
  static uint32_t nonce;
  const ndnpkt_interest_t interest = {.name = name,
                                      .can_be_prefix = true,
                                      .must_be_fresh = true,
                                      .has_nonce = true,
                                      .nonce = ++nonce,
                                      .lifetime_ms = 4000};
  uint8_t packet[WIRE_MAX];
  ssize_t len = ndnpkt_interest_encode(NULL, packet, sizeof(packet), &interest, NULL);

  ck_assert_int_gt(len, 0);
  raw_send(raw, (ndnpkt_bytes_t){packet, (size_t) len});
}

/* Asks by URI; the Data, whose name begins with what was asked for, and ends with version and segment. */
static ndnpkt_data_t ask_list(raw_t* raw, const char* uri) {
  uint8_t buf[200];
  ndnpkt_name_t name;
  ndnpkt_packet_t packet;

  ck_assert_int_eq(ndnpkt_name_from_uri(uri, buf, sizeof(buf), &name), 0);
  ask_dataset(raw, name);
  packet = raw_receive(raw);
  ck_assert_int_eq(packet.kind, NDNPKT_DATA);
  ck_assert(ndnpkt_name_has_prefix(packet.data.name, name));
  return packet.data;
}

static bool entry_has(ndnpkt_bytes_t entry, uint32_t type, uint64_t number) {
  ndnpkt_tlv_t element;
  uint64_t value;

  while (ndnpkt_tlv_next(&entry, &element) > 0)
    if (element.type == type && ndnpkt_uint_decode(element.value, &value) == 0 && value == number) return true;
  return false;
}

static unsigned int count_entries(ndnpkt_bytes_t content, uint32_t type, uint64_t number, ndnpkt_bytes_t* ret_last) {
  unsigned int n = 0;
  ndnpkt_tlv_t entry;

  while (ndnpkt_tlv_next(&content, &entry) > 0) {
    ck_assert_uint_eq(entry.type, 0x80);
    if (type == 0 || entry_has(entry.value, type, number)) {
      n++;
      if (ret_last != NULL) *ret_last = entry.value;
    }
  }
  return n;
}

TEST(faces_list_tells_of_each_face) {
  served_t served;
  raw_t raw;
  uint64_t face_id;
  ndnpkt_data_t data;
  ndnpkt_bytes_t entry;

  served_open(&served);
  raw_connect(&raw, &served);
  ck_assert_uint_eq(raw_create(&raw, harness_name("listed"), NULL, -1, &face_id), 200);
  data = ask_list(&raw, "/localhost/nfd/faces/list");
  ck_assert_uint_eq(count_entries(data.content, 0, 0, NULL), 2);
  ck_assert_uint_eq(count_entries(data.content, 0x69, face_id, &entry), 1);
  ck_assert(entry_has(entry, 0x84, 1) && entry_has(entry, 0x85, 1) && entry_has(entry, 0x86, 0));
  ck_assert(entry_has(entry, 0x89, 9020));
  ck_assert_uint_gt(data.final_block.len, 0);
  ck_assert_uint_gt(data.freshness_ms, 0);
  raw_close(&raw);
  served_close(&served);
}

/* Routes in all entries. */
static unsigned int count_routes(ndnpkt_bytes_t content) {
  unsigned int n = 0;
  ndnpkt_tlv_t entry, element;

  while (ndnpkt_tlv_next(&content, &entry) > 0)
    while (ndnpkt_tlv_next(&entry.value, &element) > 0) n += element.type == 0x81;
  return n;
}

/* A snapshot is kept for a moment, so that asking without end costs little. */
static void assert_list_becomes(raw_t* raw, unsigned int names, unsigned int routes) {
  uint64_t deadline_ns = harness_now_ns() + (uint64_t) DEADLINE_MS * 1000000u;
  ndnpkt_bytes_t content;

  do {
    content = ask_list(raw, "/localhost/nfd/rib/list").content;
  } while (count_routes(content) != routes && harness_now_ns() < deadline_ns);
  ck_assert_uint_eq(count_routes(content), routes);
  ck_assert_uint_eq(count_entries(content, 0, 0, NULL), names);
}

TEST(rib_list_tells_of_what_was_accepted) {
  served_t served;
  raw_t raw;
  uint64_t face_id;
  ndnpkt_data_t data;
  ndnpkt_parameters_t gone = {.has = NDNPKT_HAS_NAME};
  uint8_t buf[100];

  served_open(&served);
  raw_connect(&raw, &served);
  ck_assert_uint_eq(raw_create(&raw, harness_name("routed"), NULL, -1, &face_id), 200);
  ck_assert_uint_eq(raw_register(&raw, "/both", 0), 200);
  ck_assert_uint_eq(raw_register(&raw, "/both", face_id), 200);
  ck_assert_uint_eq(raw_register(&raw, "/one", 0), 200);
  ck_assert_uint_eq(raw_register(&raw, "/one", 0), 200); /* the same once more is no other */
  data = ask_list(&raw, "/localhost/nfd/rib/list");
  ck_assert_uint_eq(count_entries(data.content, 0, 0, NULL), 2); /* a name once, with its two routes */
  served.code = 403;
  ck_assert_uint_eq(raw_register(&raw, "/refused", 0), 403);
  served.code = 0;
  ck_assert_int_eq(ndnpkt_name_from_uri("/one", buf, sizeof(buf), &gone.name), 0);
  raw_ask(&raw, "rib", "unregister", &gone, 200);
  assert_list_becomes(&raw, 1, 2); /* /both, by both faces */
  raw_ask(&raw, "faces", "destroy", &(ndnpkt_parameters_t){.has = NDNPKT_HAS_FACE_ID, .face_id = face_id}, 200);
  assert_list_becomes(&raw, 1, 1);
  raw_close(&raw);
  served_close(&served);
}

TEST(route_that_expires_when_time_ends_is_listed) {
  ndnpkt_parameters_t late = {.has = NDNPKT_HAS_NAME | NDNPKT_HAS_EXPIRATION, .expiration_ms = UINT64_MAX};
  uint8_t buf[100];
  served_t served;
  raw_t raw;

  served_open(&served);
  raw_connect(&raw, &served);
  ck_assert_int_eq(ndnpkt_name_from_uri("/late", buf, sizeof(buf), &late.name), 0);
  raw_ask(&raw, "rib", "register", &late, 200);
  assert_list_becomes(&raw, 1, 1);
  raw_close(&raw);
  served_close(&served);
}

/* Of one component of so many bytes, the first of which is different. */
static ndnpkt_name_t long_name(uint8_t buf[9000], size_t bytes, unsigned int n) {
  static uint8_t letters[9000];
  ssize_t len;

  memcpy(letters, &n, sizeof(n));
  len = ndnpkt_append(buf, 0, 9000, 0x08, (ndnpkt_bytes_t){letters, bytes});
  ck_assert_int_gt(len, 0);
  return (ndnpkt_name_t){buf, (size_t) len};
}

/* The name is in the command's name already: with it in the parameters once more the answer would be too long. */
TEST(long_name_is_answered_without_being_repeated) {
  ndnpkt_parameters_t p = {.has = NDNPKT_HAS_NAME};
  uint8_t buf[9000];
  served_t served;
  raw_t raw;

  served_open(&served);
  raw_connect(&raw, &served);
  p.name = long_name(buf, 4000, 0);
  ck_assert_uint_ne(raw_ask(&raw, "rib", "register", &p, 200).parameters.has & NDNPKT_HAS_NAME, 0);
  p.name = long_name(buf, 7000, 0);
  ck_assert_uint_eq(raw_ask(&raw, "rib", "register", &p, 200).parameters.has, 0);
  raw_close(&raw);
  served_close(&served);
}

/* The last of the list's segments of 7000 bytes. */
static void assert_last_segment_becomes(raw_t* raw, uint64_t wanted) {
  uint64_t deadline_ns = harness_now_ns() + (uint64_t) DEADLINE_MS * 1000000u, last;

  do {
    ndnpkt_bytes_t block = ask_list(raw, "/localhost/nfd/rib/list").final_block;

    ck_assert_int_eq(ndnpkt_component_number(block, NDNPKT_COMPONENT_SEGMENT, &last), 0);
  } while (last != wanted && harness_now_ns() < deadline_ns);
  ck_assert_uint_eq(last, wanted);
}

TEST(routes_of_an_app_take_a_bounded_place_and_give_it_back) {
  ndnpkt_parameters_t p = {.has = NDNPKT_HAS_NAME | NDNPKT_HAS_EXPIRATION, .expiration_ms = 1};
  uint8_t buf[9000];
  served_t served;
  raw_t raw;

  served_open(&served);
  raw_connect(&raw, &served);
  for (unsigned int n = 0; n < 1024; n++) {
    p.name = long_name(buf, 4, n);
    raw_ask(&raw, "rib", "register", &p, 200);
  }
  run_for(&served.loop, 2);
  p.has = NDNPKT_HAS_NAME;
  for (unsigned int n = 0; n < 12; n++) {
    p.name = long_name(buf, 7000, n);
    raw_ask(&raw, "rib", "register", &p, 200);
  }
  assert_last_segment_becomes(&raw, 9); /* nine names of 7004 bytes */
  for (unsigned int n = 0; n < 8; n++) {
    p.name = long_name(buf, 7000, n);
    raw_ask(&raw, "rib", "unregister", &p, 200);
  }
  assert_last_segment_becomes(&raw, 1);
  for (unsigned int n = 9; n < 12; n++) {
    p.name = long_name(buf, 7000, n);
    raw_ask(&raw, "rib", "register", &p, 200);
  }
  assert_last_segment_becomes(&raw, 4);
  raw_close(&raw);
  served_close(&served);
}

TEST(nothing_registered_is_an_empty_list) {
  served_t served;
  raw_t raw;

  served_open(&served);
  raw_connect(&raw, &served);
  ck_assert_uint_eq(ask_list(&raw, "/localhost/nfd/rib/list").content.len, 0);
  raw_close(&raw);
  served_close(&served);
}

/* A command that asks for a name of one component of so many bytes to be registered; not signed. */
static uv_buf_t registration_of(size_t bytes) {
  static uint8_t zeros[30000], from[30000], to[30000];
  static const char* const verbs[] = {"localhost", "nfd", "rib", "register"};
  ndnpkt_interest_t interest = {.has_nonce = true, .nonce = (uint32_t) bytes, .lifetime_ms = 4000};
  ssize_t n = ndnpkt_append(from, 0, sizeof(from), 0x08, (ndnpkt_bytes_t){zeros, bytes});

  n = ndnpkt_append(to, 0, sizeof(to), 0x07, (ndnpkt_bytes_t){from, (size_t) n});
  n = ndnpkt_append(from, 0, sizeof(from), 0x68, (ndnpkt_bytes_t){to, (size_t) n}); /* ControlParameters */
  memcpy(zeros, from, (size_t) n);
  bytes = (size_t) n;
  n = 0;
  for (int i = 0; i < 4; i++) n = ndnpkt_append(from, n, sizeof(from), 0x08, wire_text(verbs[i]));
  n = ndnpkt_append(from, n, sizeof(from), 0x08, (ndnpkt_bytes_t){zeros, bytes});
  interest.name = (ndnpkt_name_t){from, (size_t) n};
  n = ndnpkt_interest_encode(NULL, to, sizeof(to), &interest, NULL);
  ck_assert_int_gt(n, 0);
  return uv_buf_init((char*) to, (unsigned int) n);
}

/* No packet of a connection is so long, but an app may ask for a face that takes longer ones. The answer to the second
 * has no room. */
TEST_LOOP(name_that_is_longer_than_a_packet_is_no_route, 2) {
  served_t served;
  raw_t raw;
  uvface_t face;
  int got;
  char name[80];
  uv_buf_t packet;

  served_open(&served);
  raw_connect(&raw, &served);
  snprintf(name, sizeof(name), "%s", harness_name("long"));
  ck_assert_uint_eq(raw_create(&raw, name, NULL, 60000, NULL), 200);
  open_app(&served, &face, &got);
  ASSERT_OK(uvface_connect(&face, name, NULL));
  ASSERT_OK(uvface_recv_start(&face, on_app_packets));
  packet = registration_of(_i == 0 ? 9000 : 20000);
  ck_assert_int_eq(uvface_try_send(&face, &packet, 1), (int) packet.len);
  if (_i == 0)
    RUN_UNTIL(&served.loop, got == 1);
  else
    RUN_UNTIL(&served.loop, served_stats(&served).commands_dropped == 1);
  ck_assert_uint_eq(served.commands, 0); /* the embedder was not asked */
  ck_assert_uint_eq(raw_register(&raw, "/short", 0), 200);
  assert_list_becomes(&raw, 1, 1);
  uvface_close(&face, NULL);
  raw_close(&raw);
  served_close(&served);
}

TEST(long_dataset_comes_in_segments_of_one_version) {
  served_t served;
  raw_t raw;
  ndnpkt_data_t data;
  uint8_t names[300], next[300];
  char uri[200];
  size_t base_len, whole = 0;
  ssize_t len;
  uint64_t last;
  unsigned int entries = 0;
  static uint8_t all[100000];

  served_open(&served);
  raw_connect(&raw, &served);
  for (int i = 0; i < 300; i++) {
    snprintf(uri, sizeof(uri), "/a/name/that/is/not/short/because/many/bytes/make/many/segments/%d", i);
    ck_assert_uint_eq(raw_register(&raw, uri, 0), 200);
  }
  data = ask_list(&raw, "/localhost/nfd/rib/list");
  ck_assert_int_eq(ndnpkt_component_number(data.final_block, NDNPKT_COMPONENT_SEGMENT, &last), 0);
  ck_assert_uint_gt(last, 1);
  base_len = data.name.len - data.final_block.len; /* seg=0 and seg=last are of one size */
  memcpy(names, data.name.base, base_len);
  for (uint64_t segment = 0; segment <= last; segment++) {
    memcpy(next, names, base_len);
    len = ndnpkt_append_uint(next, (ssize_t) base_len, sizeof(next), NDNPKT_COMPONENT_SEGMENT, segment);
    ask_dataset(&raw, (ndnpkt_name_t){next, (size_t) len});
    data = raw_receive(&raw).data;
    ck_assert(ndnpkt_name_equal(data.name, (ndnpkt_name_t){next, (size_t) len}));
    memcpy(all + whole, data.content.base, data.content.len);
    whole += data.content.len;
  }
  entries = count_entries((ndnpkt_bytes_t){all, whole}, 0, 0, NULL);
  ck_assert_uint_eq(entries, 300);
  len = ndnpkt_append_uint(names, (ssize_t) base_len, sizeof(names), NDNPKT_COMPONENT_SEGMENT, last + 1);
  ask_dataset(&raw, (ndnpkt_name_t){names, (size_t) len});
  ck_assert_uint_lt(raw_receive(&raw).data.content.len, 100); /* 404 */
  raw_close(&raw);
  served_close(&served);
}

/* Asks for a segment of the version that `names` ends with; its content. */
static ndnpkt_bytes_t ask_segment(raw_t* raw, ndnpkt_name_t version, uint64_t segment) {
  uint8_t name[300];
  ssize_t len;
  ndnpkt_packet_t packet;

  memcpy(name, version.base, version.len);
  len = ndnpkt_append_uint(name, (ssize_t) version.len, sizeof(name), NDNPKT_COMPONENT_SEGMENT, segment);
  ask_dataset(raw, (ndnpkt_name_t){name, (size_t) len});
  packet = raw_receive(raw);
  ck_assert_int_eq(packet.kind, NDNPKT_DATA);
  return packet.data.content;
}

/* One version of a list of three segments, while another app changes the list and asks for it without end. False if a
 * segment was gone. */
static bool fetch_beside_others(raw_t* raw, raw_t* other) {
  ndnpkt_data_t data = ask_list(raw, "/localhost/nfd/rib/list");
  ndnpkt_parameters_t p = {.has = NDNPKT_HAS_NAME};
  uint8_t name[300], buf[9000];
  ndnpkt_name_t version = {name, data.name.len - data.final_block.len};
  bool is_whole = true;
  uint64_t last;

  ck_assert_int_eq(ndnpkt_component_number(data.final_block, NDNPKT_COMPONENT_SEGMENT, &last), 0);
  ck_assert_uint_eq(last, 2);
  memcpy(name, data.name.base, version.len);
  for (uint64_t segment = 1; segment <= last; segment++) {
    for (unsigned int n = 0; n < 5; n++) {
      p.name = long_name(buf, 10, n);
      raw_ask(other, "rib", n % 2 == 0 ? "register" : "unregister", &p, 200);
      for (uint64_t end_ns = harness_now_ns() + 5000000; harness_now_ns() < end_ns;)
        uv_run(&other->served->loop, UV_RUN_NOWAIT); /* longer than a list of that size is kept for what it costs */
      ask_list(other, "/localhost/nfd/rib/list");
    }
    is_whole = ask_segment(raw, version, segment).len > 4000 && is_whole; /* 404 is short */
  }
  return is_whole;
}

/* Asks until there is another version than that. Returns the time before which it was not there. */
static uint64_t make_next_version(raw_t* raw, ndnpkt_name_t version) {
  uint64_t deadline_ns = harness_now_ns() + (uint64_t) DEADLINE_MS * 1000000u, begin_ns;
  bool is_next;

  do {
    begin_ns = harness_now_ns();
    is_next = !ndnpkt_name_has_prefix(ask_list(raw, "/localhost/nfd/rib/list").name, version);
  } while (!is_next && begin_ns < deadline_ns);
  ck_assert(is_next);
  return begin_ns;
}

/* One version beside the next, also if that is short. */
TEST_LOOP(long_dataset_stays_until_there_is_the_next_but_one, 2) {
  served_t served;
  raw_t raw;
  ndnpkt_data_t data;
  uint8_t first[300], second[300], buf[9000];
  ndnpkt_name_t versions[] = {{first, 0}, {second, 0}};
  uint64_t begin_ns;
  bool is_there;
  ndnpkt_parameters_t p = {.has = NDNPKT_HAS_NAME};

  served_open(&served);
  raw_connect(&raw, &served);
  for (unsigned int n = 0; n < 6; n++) {
    p.name = long_name(buf, 3000, n);
    raw_ask(&raw, "rib", "register", &p, 200);
  }
  data = ask_list(&raw, "/localhost/nfd/rib/list");
  versions[0].len = data.name.len - data.final_block.len;
  memcpy(first, data.name.base, versions[0].len);
  for (unsigned int n = 0; n < 6 && _i == 1; n++) {
    p.name = long_name(buf, 3000, n);
    raw_ask(&raw, "rib", "unregister", &p, 200);
  }
  begin_ns = make_next_version(&raw, versions[0]);
  ck_assert_uint_gt(ask_segment(&raw, versions[0], 1).len, 4000);
  data = ask_list(&raw, "/localhost/nfd/rib/list"); /* the same, but where a second has passed */
  versions[1].len = data.name.len - data.final_block.len;
  memcpy(second, data.name.base, versions[1].len);
  is_there = ask_segment(&raw, versions[0], 1).len > 4000;
  ck_assert(is_there || harness_now_ns() - begin_ns >= UINT64_C(1000000000));
  make_next_version(&raw, versions[1]);
  ck_assert_uint_lt(ask_segment(&raw, versions[0], 1).len, 100); /* 404 */
  raw_close(&raw);
  served_close(&served);
}

/* Who asks for a long list gets the rest of it. It is there for a second, and for one more beside the next version: an
 * attempt that took more than a second tells nothing. */
TEST(long_dataset_stays_while_others_ask_for_it) {
  uint64_t deadline_ns = harness_now_ns() + (uint64_t) DEADLINE_MS * 1000000u, begin_ns;
  ndnpkt_parameters_t p = {.has = NDNPKT_HAS_NAME};
  bool is_whole;
  served_t served;
  raw_t raw, other;
  uint8_t buf[9000];

  served_open(&served);
  raw_connect(&raw, &served);
  raw_connect(&other, &served);
  for (unsigned int n = 0; n < 6; n++) {
    p.name = long_name(buf, 3000, n);
    raw_ask(&other, "rib", "register", &p, 200);
  }
  do {
    begin_ns = harness_now_ns();
    is_whole = fetch_beside_others(&raw, &other);
  } while (!is_whole && harness_now_ns() - begin_ns > UINT64_C(1000000000) && harness_now_ns() < deadline_ns);
  ck_assert(is_whole);
  raw_close(&raw);
  raw_close(&other);
  served_close(&served);
}

/* --- Others' closes -------------------------------------------------------------------------------- */

static void close_any(uv_handle_t* handle, void* arg) {
  (void) arg;
  if (!uv_is_closing(handle)) uv_close(handle, NULL);
}

#define WALK_TURNS 6

/* As programs do that clean up a loop by walking over it: while a face is handed over, before and after the
 * handles have finished. */
TEST_LOOP(somebody_else_may_close_the_inner_handles, 2 * WALK_TURNS) {
  served_t served;
  raw_t raw;
  int connector;

  served_open(&served);
  raw_connect(&raw, &served);
  raw_create(&raw, "walked", handoff_key(7), -1, NULL);
  connector = handoff_connect(&served, handoff_key(7));
  for (int turn = 0; turn < _i / 2; turn++) uv_run(&served.loop, UV_RUN_NOWAIT);
  uv_walk(&served.loop, close_any, NULL);
  if (_i % 2 == 0) uv_run(&served.loop, UV_RUN_NOWAIT);
  served_close(&served);
  close(connector);
  raw_close(&raw);
}
