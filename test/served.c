/* SPDX-License-Identifier: MIT */
/* served.c: see served.h. */
#include "served.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

#include <ndnshm.h>

#define WAITING (-2)

/* --- The server --------------------------------------------------------------------------------- */

static guest_t* guest_of(const uvface_app_t* app) {
  served_t* served = app->server->data;

  for (unsigned int g = 0; g < SERVED_APPS; g++)
    if (served->guests[g].app == app) return &served->guests[g];
  return NULL;
}

static void on_packets(uvface_t* face, ssize_t npkts, const uv_buf_t pkts[]) {
  served_t* served = ((uvface_app_t*) face->data)->server->data;
  guest_t* guest = guest_of(face->data);

  if (npkts < 0) {
    if (guest != NULL) guest->end = (int) npkts;
    return;
  }
  served->packets += (unsigned int) npkts;
  if (guest != NULL) {
    guest->got += (unsigned int) npkts;
    guest->last_bytes = pkts[npkts - 1].len;
    memcpy(guest->last, pkts[npkts - 1].base, pkts[npkts - 1].len);
  }
  if (served->hold_ms != 0) poll(NULL, 0, served->hold_ms);
  if (served->echo) uvface_try_send_batch(face, pkts, (unsigned int) npkts);
}

static void close_app(const served_t* served, uvface_app_t* app) {
  if (served->close_by_face)
    uvface_close(app->face, NULL);
  else
    uvface_app_close(app);
}

static void on_open(uvface_app_t* app) {
  served_t* served = app->server->data;
  unsigned int g = served->opened++;

  served->opened_ns = harness_now_ns();
  app->face->data = app;
  if (g < SERVED_APPS) {
    guest_t* guest = &served->guests[g];

    *guest = (guest_t){.app = app, .face_id = app->face_id};
    snprintf(guest->uri, sizeof(guest->uri), "%s", app->uri);
  }
  if (served->close_in_open) close_app(served, app);
  if (!served->deaf) uvface_recv_start(app->face, on_packets);
}

static void on_close(uvface_app_t* app, int status) {
  served_t* served = app->server->data;
  guest_t* guest = guest_of(app);

  HOLDS(uvface_is_closing(app->face));
  served->closed++;
  if (guest == NULL) return;
  guest->status = status;
  guest->order = served->closed;
  guest->app = NULL;
}

static unsigned int on_command(uvface_app_t* app, const ndnpkt_command_t* command, ndnpkt_response_t* response) {
  served_t* served = app->server->data;

  (void) response;
  served->commands++;
  served->target = app;
  served->target_id = app->face_id;
  served->asked_id = command->parameters.face_id;
  if (served->close_in_command) close_app(served, app);
  return served->code != 0 ? served->code : 200;
}

static int on_verify(uvface_app_t* app, const ndnpkt_command_t* command) {
  served_t* served = app->server->data;

  (void) command;
  served->verified++;
  if (served->close_in_verify) close_app(served, app);
  return !served->refuse_all;
}

void served_init(served_t* served) {
  memset(served, 0, sizeof(*served));
  snprintf(served->directory, sizeof(served->directory), "/tmp/%s-XXXXXX", harness_name("served"));
  ck_assert_ptr_nonnull(mkdtemp(served->directory));
  snprintf(served->path, sizeof(served->path), "%s/nfd.sock", served->directory);
  ASSERT_OK(uv_loop_init(&served->loop));
  ASSERT_OK(uvface_server_init(&served->loop, &served->server));
  served->server.data = served;
  served->options = (uvface_server_options_t) UVFACE_SERVER_OPTIONS_INIT;
  served->options.handoff_dir = served->directory;
  served->callbacks = (uvface_server_callbacks_t) UVFACE_SERVER_CALLBACKS_INIT;
  served->callbacks.on_open = on_open;
  served->callbacks.on_close = on_close;
  served->callbacks.on_command = on_command;
  served->callbacks.on_verify = on_verify;
}

void served_listen(served_t* served) {
  int err = uvface_server_listen(&served->server, served->path, &served->options, &served->callbacks);

  ck_assert_msg(err == 0, "%s", uvface_server_errmsg(&served->server));
}

void served_open(served_t* served) {
  served_init(served);
  served_listen(served);
}

static void on_server_closed(uvface_server_t* server) {
  served_t* served = server->data;

  ck_assert_uint_eq(served->opened, served->closed);
  served->done = 1;
}

void served_close(served_t* served) {
  uvface_server_close(&served->server, on_server_closed);
  ck_assert(!served->done);
  finish_loop(&served->loop);
  ck_assert(served->done);
  ck_assert_msg(rmdir(served->directory) == 0, "%s: %s", served->directory, strerror(errno));
}

uvface_server_stats_t served_stats(const served_t* served) {
  uvface_server_stats_t stats;

  ASSERT_OK(uvface_server_get_stats(&served->server, &stats));
  return stats;
}

/* --- A plain socket ----------------------------------------------------------------------------- */

static int connect_to(const char* path) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

  ck_assert_int_ge(fd, 0);
  ck_assert_uint_lt(strlen(path), sizeof(address.sun_path));
  memcpy(address.sun_path, path, strlen(path) + 1);
  if (connect(fd, (const struct sockaddr*) &address, sizeof(address)) == 0) return fd;
  close(fd);
  return -1;
}

void raw_connect(raw_t* raw, served_t* served) {
  unsigned int before = served->opened;

  memset(raw, 0, sizeof(*raw));
  raw->served = served;
  ck_assert_int_eq(ndnpkt_crypto_new(&raw->crypto), 0);
  raw->fd = connect_to(served->path);
  ck_assert_int_ge(raw->fd, 0);
  RUN_UNTIL(&served->loop, served->opened > before);
}

void raw_close(raw_t* raw) {
  ndnpkt_crypto_free(raw->crypto);
  close(raw->fd);
}

void raw_send(raw_t* raw, ndnpkt_bytes_t bytes) {
  ck_assert_int_eq(send(raw->fd, bytes.base, bytes.len, MSG_NOSIGNAL), (ssize_t) bytes.len);
}

/* What is there now; false at the end. */
static bool pull(raw_t* raw) {
  ssize_t n = recv(raw->fd, raw->in + raw->have, sizeof(raw->in) - raw->have, MSG_DONTWAIT);

  if (n > 0) raw->have += (size_t) n;
  return n > 0 || (n < 0 && errno == EAGAIN);
}

static bool has_packet(raw_t* raw) {
  ndnpkt_bytes_t rest = {raw->in, raw->have};
  ndnpkt_tlv_t tlv;

  if (raw->have == 0 || ndnpkt_tlv_next(&rest, &tlv) <= 0) pull(raw);
  rest = (ndnpkt_bytes_t){raw->in, raw->have};
  return raw->have > 0 && ndnpkt_tlv_next(&rest, &tlv) > 0;
}

ndnpkt_packet_t raw_receive(raw_t* raw) {
  ndnpkt_bytes_t rest;
  ndnpkt_packet_t packet;
  ndnpkt_tlv_t tlv;

  RUN_UNTIL(&raw->served->loop, has_packet(raw));
  rest = (ndnpkt_bytes_t){raw->in, raw->have};
  ck_assert_int_eq(ndnpkt_tlv_next(&rest, &tlv), 1);
  raw->packet_bytes = tlv.whole.len;
  ck_assert_uint_le(raw->packet_bytes, sizeof(raw->packet));
  memcpy(raw->packet, tlv.whole.base, tlv.whole.len);
  raw->have -= raw->packet_bytes;
  memmove(raw->in, raw->in + raw->packet_bytes, raw->have);
  ck_assert_int_eq(ndnpkt_packet_decode(raw->packet, raw->packet_bytes, &packet), 0);
  return packet;
}

bool raw_is_over(raw_t* raw) {
  raw->have = 0;
  return !pull(raw);
}

bool raw_is_silent(raw_t* raw) {
  return pull(raw) && raw->have == 0;
}

void raw_command(raw_t* raw, const char* module, const char* verb, const ndnpkt_parameters_t* parameters) {
  ndnpkt_command_t command = {.module = wire_text(module), .verb = wire_text(verb)};
  ssize_t n;

  if (parameters != NULL) command.parameters = *parameters;
  n = ndnpkt_command_encode(raw->crypto, raw->sent, sizeof(raw->sent), &command, NULL);
  ck_assert_int_gt(n, 0);
  raw->sent_bytes = (size_t) n;
  raw_send(raw, (ndnpkt_bytes_t){raw->sent, raw->sent_bytes});
}

ndnpkt_response_t raw_response(raw_t* raw) {
  ndnpkt_packet_t packet = raw_receive(raw);
  ndnpkt_interest_t asked;
  ndnpkt_response_t response;

  ck_assert_int_eq(packet.kind, NDNPKT_DATA);
  ck_assert_int_eq(ndnpkt_interest_decode(raw->sent, raw->sent_bytes, &asked), 0);
  wire_assert_same(packet.data.name, asked.name);
  ck_assert_int_eq(ndnpkt_verify(raw->crypto, &packet.data.signature, NULL), 0);
  ck_assert_uint_eq(packet.data.freshness_ms, 0);
  ck_assert_int_eq(ndnpkt_response_decode(packet.data.content, &response), 0);
  ck_assert(response.has_parameters); /* whatever the code is */
  ck_assert_uint_gt(response.text.len, 0);
  return response;
}

ndnpkt_response_t raw_ask(raw_t* raw, const char* module, const char* verb, const ndnpkt_parameters_t* parameters,
                          unsigned int code) {
  ndnpkt_response_t response;

  raw_command(raw, module, verb, parameters);
  response = raw_response(raw);
  ck_assert_msg(response.code == code, "%s/%s: %u %.*s instead of %u", module, verb, (unsigned int) response.code,
                (int) response.text.len, (const char*) response.text.base, code);
  return response;
}

unsigned int raw_create(raw_t* raw, const char* name, const uint8_t* key, int64_t mtu, uint64_t* ret_face_id) {
  char uri[300];
  ndnpkt_parameters_t parameters = {.has = NDNPKT_HAS_URI};
  ndnpkt_response_t response;

  snprintf(uri, sizeof(uri), "shm://%s", name);
  parameters.uri = wire_text(uri);
  if (key != NULL) {
    parameters.has |= NDNPKT_HAS_SHM_TOKEN;
    parameters.shm_token = (ndnpkt_bytes_t){key, KEY_BYTES};
  }
  if (mtu >= 0) {
    parameters.has |= NDNPKT_HAS_MTU;
    parameters.mtu = (uint64_t) mtu;
  }
  raw_command(raw, "faces", "create", &parameters);
  response = raw_response(raw);
  if (response.code == 200) {
    ck_assert_uint_eq(response.parameters.has,
                      parameters.has & ~(uint32_t) NDNPKT_HAS_SHM_TOKEN
                          ? (NDNPKT_HAS_FACE_ID | (parameters.has & ~(uint32_t) NDNPKT_HAS_SHM_TOKEN))
                          : 0);
    wire_assert_same(response.parameters.uri, parameters.uri);
    if (mtu >= 0) ck_assert_uint_eq(response.parameters.mtu, parameters.mtu);
    if (ret_face_id != NULL) *ret_face_id = response.parameters.face_id;
  } else {
    ck_assert_uint_eq(response.parameters.has, 0);
  }
  return (unsigned int) response.code;
}

unsigned int raw_register(raw_t* raw, const char* uri, uint64_t face_id) {
  ndnpkt_parameters_t parameters = {.has = NDNPKT_HAS_NAME, .name = wire_name(uri)};

  if (face_id != 0) {
    parameters.has |= NDNPKT_HAS_FACE_ID;
    parameters.face_id = face_id;
  }
  raw_command(raw, "rib", "register", &parameters);
  return (unsigned int) raw_response(raw).code;
}

/* --- The app's side of a handoff ---------------------------------------------------------------- */

const uint8_t* handoff_key(unsigned int n) {
  static uint8_t key[KEY_BYTES];

  for (unsigned int i = 0; i < KEY_BYTES; i++) key[i] = (uint8_t) (n * 37 + i);
  return key;
}

static void sha256(const ndnpkt_bytes_t pieces[], unsigned int n, uint8_t digest[32]) {
  ndnpkt_crypto_t* crypto;

  ck_assert_int_eq(ndnpkt_crypto_new(&crypto), 0);
  ck_assert_int_eq(ndnpkt_sha256(crypto, pieces, n, digest), 0);
  ndnpkt_crypto_free(crypto);
}

void handoff_path(const served_t* served, const uint8_t* key, char path[200]) {
  const ndnpkt_bytes_t piece = {key, KEY_BYTES};
  uint8_t d[32];

  sha256(&piece, 1, d);
  snprintf(path, 200, "%s/.ndn-shm-ctl-%02x%02x%02x%02x%02x%02x%02x%02x.sock", served->directory, d[0], d[1], d[2],
           d[3], d[4], d[5], d[6], d[7]);
}

bool handoff_exists(const served_t* served, const uint8_t* key) {
  char path[200];

  handoff_path(served, key, path);
  return exists(path);
}

int handoff_connect(const served_t* served, const uint8_t* key) {
  char path[200];

  handoff_path(served, key, path);
  return connect_to(path);
}

static void proof_of(const uint8_t* key, char who, const uint8_t nonces[64], uint8_t proof[32]) {
  const ndnpkt_bytes_t pieces[] = {{key, KEY_BYTES}, {(const uint8_t*) &who, 1}, {nonces, 64}};

  sha256(pieces, 3, proof);
}

static ssize_t take_bytes(int fd, uint8_t* into, size_t have, size_t want) {
  ssize_t n = recv(fd, into + have, want - have, MSG_DONTWAIT);

  return n < 0 && errno == EAGAIN ? 0 : n == 0 ? -1 : n;
}

bool handoff_meet(served_t* served, int fd, const uint8_t* key, uint8_t nonces[64]) {
  uint8_t in[64], expected[32];
  ssize_t n = 0, more = 0;

  memset(nonces, 0xaa, 32);
  ck_assert_int_eq(send(fd, nonces, 32, MSG_NOSIGNAL), 32);
  RUN_UNTIL(&served->loop, (more = take_bytes(fd, in, (size_t) n, 64)) < 0 || (n += more) == 64);
  if (n < 64) return false;
  memcpy(nonces + 32, in, 32);
  proof_of(key, 'S', nonces, expected);
  return memcmp(expected, in + 32, 32) == 0;
}

void handoff_prove(int fd, const uint8_t* key, const uint8_t nonces[64], bool right) {
  uint8_t proof[32];

  proof_of(key, 'C', nonces, proof);
  if (!right) proof[31] ^= 1;
  ck_assert_int_eq(send(fd, proof, 32, MSG_NOSIGNAL), 32);
}

/* True once something has come, or nothing will; it is taken once. */
static bool poll_message(int fd, struct msghdr* message, ssize_t* n) {
  if (*n == WAITING) *n = recvmsg(fd, message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  if (*n < 0 && errno == EAGAIN) *n = WAITING;
  return *n != WAITING;
}

int handoff_take(served_t* served, int fd, int fds[3]) {
  unsigned char byte = 0;
  struct iovec piece = {&byte, 1};
  union {
    struct cmsghdr align;
    char bytes[CMSG_SPACE(8 * sizeof(int))];
  } control;
  struct msghdr message = {
      .msg_iov = &piece, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof(control.bytes)};
  struct cmsghdr* header;
  ssize_t n = WAITING;

  RUN_UNTIL(&served->loop, poll_message(fd, &message, &n));
  if (n != 1) return 0;
  ck_assert_uint_eq(byte, 0xED);
  header = CMSG_FIRSTHDR(&message);
  ck_assert_ptr_nonnull(header);
  ck_assert_int_eq(header->cmsg_type, SCM_RIGHTS);
  ck_assert_uint_eq(header->cmsg_len, CMSG_LEN(3 * sizeof(int)));
  memcpy(fds, CMSG_DATA(header), 3 * sizeof(int));
  return 3;
}

int handoff_attach(served_t* served, const uint8_t* key, uvface_t* face) {
  uint8_t nonces[64];
  int fds[3];
  int fd = handoff_connect(served, key);
  int err = UV_EACCES;

  if (fd < 0) return UV_ENOENT;
  if (handoff_meet(served, fd, key, nonces)) {
    handoff_prove(fd, key, nonces, true);
    if (handoff_take(served, fd, fds) == 3) {
      err = uvface_attach(face, fds, NULL);
      run_until_eof(served, fd);
    }
  }
  close(fd);
  return err;
}

/* --- An app that needs no loop ------------------------------------------------------------------ */

static ssize_t encode_create(const char* name, const uint8_t* key, uint8_t* buf, size_t cap) {
  ndnpkt_command_t command = {.module = wire_text("faces"), .verb = wire_text("create")};
  ndnpkt_crypto_t* crypto;
  char uri[100];
  ssize_t n;

  snprintf(uri, sizeof(uri), "shm://%s", name);
  command.parameters.has = NDNPKT_HAS_URI;
  command.parameters.uri = wire_text(uri);
  if (key != NULL) {
    command.parameters.has |= NDNPKT_HAS_SHM_TOKEN;
    command.parameters.shm_token = (ndnpkt_bytes_t){key, KEY_BYTES};
  }
  if (ndnpkt_crypto_new(&crypto) < 0) return -1;
  n = ndnpkt_command_encode(crypto, buf, cap, &command, NULL);
  ndnpkt_crypto_free(crypto);
  return n;
}

/* fds: NULL = by name. */
static int attach_and_send(const char* name, const int fds[3]) {
  static const char packet[] = "hello";
  const struct iovec piece = {(void*) (uintptr_t) packet, 5};
  static ndnshm_t* ep; /* it ends with its process */

  REQUIRE(ndnshm_new(&ep) == 0);
  REQUIRE((fds != NULL ? ndnshm_attach(ep, fds, NULL) : ndnshm_connect(ep, name, NULL)) == 0);
  REQUIRE(ndnshm_send(ep, &piece, 1) == 5);
  return 0;
}

/* A child that waits for an answer that was lost must end. */
static void limit_patience(const served_t* served, int fd) {
  const struct timeval limit = {.tv_sec = served->loses_answers ? (time_t) harness_slow() : DEADLINE_MS / 1000};

  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
}

static int ask(const served_t* served, const char* name, const uint8_t* key) {
  uint8_t bytes[1000];
  ssize_t n = encode_create(name, key, bytes, sizeof(bytes));
  int control = connect_to(served->path);

  if (control < 0) return -1;
  if (n < 0 || send(control, bytes, (size_t) n, MSG_NOSIGNAL) != n) {
    int err = errno;

    close(control);
    errno = err;
    return -1;
  }
  limit_patience(served, control);
  return control;
}

int plain_code(int control) {
  uint8_t bytes[1000];
  ndnpkt_data_t data;
  ndnpkt_response_t response;
  ssize_t n = recv(control, bytes, sizeof(bytes), 0); /* a short packet: it comes as one */

  if (n == 0 || (n < 0 && errno == ECONNRESET)) return 0;
  if (n < 0 || ndnpkt_data_decode(bytes, (size_t) n, &data) < 0 || ndnpkt_response_decode(data.content, &response) < 0)
    return -1;
  return (int) response.code;
}

static int read_answer(int control) {
  REQUIRE(plain_code(control) == 200);
  return 0;
}

int plain_ask(const served_t* served, const uint8_t* key) {
  return ask(served, "plain", key);
}

int plain_named(const served_t* served, const char* name) {
  int control = ask(served, name, NULL);

  REQUIRE(control >= 0);
  REQUIRE(read_answer(control) == 0);
  return attach_and_send(name, NULL);
}

static int take_descriptors(int fd, int fds[3]) {
  unsigned char byte;
  struct iovec piece = {&byte, 1};
  union {
    struct cmsghdr align;
    char bytes[CMSG_SPACE(3 * sizeof(int))];
  } control;
  struct msghdr message = {
      .msg_iov = &piece, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof(control.bytes)};

  REQUIRE(recvmsg(fd, &message, MSG_CMSG_CLOEXEC) == 1 && CMSG_FIRSTHDR(&message) != NULL);
  memcpy(fds, CMSG_DATA(CMSG_FIRSTHDR(&message)), 3 * sizeof(int));
  return 0;
}

int plain_fetch(const served_t* served, int control, const uint8_t* key) {
  uint8_t bytes[32], nonces[64];
  int fd, fds[3];

  REQUIRE(read_answer(control) == 0);
  fd = handoff_connect(served, key);
  REQUIRE(fd >= 0);
  limit_patience(served, fd);
  memset(nonces, 0xbb, 32);
  REQUIRE(send(fd, nonces, 32, MSG_NOSIGNAL) == 32);
  REQUIRE(recv(fd, nonces + 32, 32, MSG_WAITALL) == 32);
  REQUIRE(recv(fd, bytes, 32, MSG_WAITALL) == 32);
  handoff_prove(fd, key, nonces, true);
  REQUIRE(take_descriptors(fd, fds) == 0);
  close(fd);
  return attach_and_send(NULL, fds);
}

int plain_app(const served_t* served, const uint8_t* key) {
  int control = plain_ask(served, key);

  REQUIRE(control >= 0);
  return plain_fetch(served, control, key);
}

void run_until_eof(served_t* served, int fd) {
  uint8_t bytes[4096];

  RUN_UNTIL(&served->loop, take_bytes(fd, bytes, 0, sizeof(bytes)) < 0);
}
