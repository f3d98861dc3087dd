/* SPDX-License-Identifier: MIT */
/* fake.c: see fake.h. */
#include "fake.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* --- Sockets ---------------------------------------------------------------------------------------- */

static int listen_at(const char* path) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

  snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
  unlink(path);
  if (fd < 0 || bind(fd, (struct sockaddr*) &address, sizeof(address)) < 0 || listen(fd, 64) < 0) return -1;
  return fd;
}

void fake_listen(fake_t* fake, const char* tag) {
  memset(fake, 0, sizeof(*fake));
  snprintf(fake->path, sizeof(fake->path), "/tmp/.ndn-%s.sock", harness_name(tag));
  snprintf(fake->uri, sizeof(fake->uri), "unix://%s", fake->path);
  fake->listener = listen_at(fake->path);
  fake->conn = fake->handoff_listener = -1;
  ck_assert_int_ge(fake->listener, 0);
}

void fake_bind_tcp(fake_t* fake, char* uri, size_t uri_bytes, const char* host) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t len = sizeof(address);

  fake_listen(fake, "tcp");
  close(fake->listener);
  fake->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  ck_assert_int_eq(bind(fake->listener, (struct sockaddr*) &address, sizeof(address)), 0);
  ck_assert_int_eq(getsockname(fake->listener, (struct sockaddr*) &address, &len), 0);
  snprintf(uri, uri_bytes, "tcp://%s:%u", host, ntohs(address.sin_port));
}

void fake_listen_tcp(fake_t* fake, char* uri, size_t uri_bytes, const char* host) {
  fake_bind_tcp(fake, uri, uri_bytes, host);
  ck_assert_int_eq(listen(fake->listener, 4), 0);
}

void fake_unlisten(fake_t* fake) {
  close(fake->listener);
  unlink(fake->path);
  if (fake->handoff_path[0] != '\0') unlink(fake->handoff_path);
}

int fake_accept(fake_t* fake) {
  if (fake->conn >= 0) close(fake->conn);
  fake->conn = accept4(fake->listener, NULL, NULL, SOCK_CLOEXEC);
  return fake->conn;
}

void fake_write(fake_t* fake, const void* bytes, size_t n) {
  const uint8_t* from = bytes;
  size_t piece = fake->dribble != 0 ? fake->dribble : n;

  for (size_t at = 0; at < n; at += piece) {
    size_t left = n - at < piece ? n - at : piece;

    if (send(fake->conn, from + at, left, MSG_NOSIGNAL) != (ssize_t) left) return;
  }
}

static bool read_all(int fd, uint8_t* bytes, size_t n) {
  size_t have = 0;

  while (have < n) {
    ssize_t got = read(fd, bytes + have, n - have);

    if (got <= 0) return false;
    have += (size_t) got;
  }
  return true;
}

/* --- Packets ----------------------------------------------------------------------------------------- */

bool fake_read(fake_t* fake, fake_packet_t* packet) {
  size_t len;

  if (!read_all(fake->conn, packet->bytes, 2)) return false;
  packet->n = 2;
  len = packet->bytes[1];
  if (len == 253) {
    if (!read_all(fake->conn, packet->bytes + 2, 2)) return false;
    packet->n = 4;
    len = (size_t) packet->bytes[2] << 8 | packet->bytes[3];
  }
  if (!read_all(fake->conn, packet->bytes + packet->n, len)) return false;
  packet->n += len;
  packet->command = (ndnpkt_command_t){.lifetime_ms = 0};
  if (ndnpkt_packet_decode(packet->bytes, packet->n, &packet->packet) < 0) return false;
  if (packet->packet.kind == NDNPKT_INTEREST) ndnpkt_command_decode(&packet->packet.interest, &packet->command);
  return true;
}

bool fake_is(const fake_packet_t* packet, const char* module, const char* verb) {
  return ndnpkt_command_is(&packet->command, module, verb);
}

bool fake_expect(fake_t* fake, fake_packet_t* packet, const char* module, const char* verb) {
  return fake_read(fake, packet) && fake_is(packet, module, verb);
}

bool fake_ends(fake_t* fake) {
  uint8_t byte;

  return read(fake->conn, &byte, 1) <= 0;
}

void fake_send(fake_t* fake, ndnpkt_bytes_t packet) {
  static const uint8_t token[] = {1, 2, 3, 4, 5, 6};
  const ndnpkt_link_t link = {.pit_token = {token, sizeof(token)}, .fragment = packet};
  uint8_t bytes[NDNPKT_PACKET_MAX + NDNPKT_LINK_HEADER_MAX];
  ssize_t n = 0;

  if (fake->link) n = ndnpkt_link_encode(bytes, sizeof(bytes), &link);
  memcpy(bytes + n, packet.base, packet.len);
  fake_write(fake, bytes, (size_t) n + packet.len);
}

void fake_answer_with(fake_t* fake, const fake_packet_t* packet, unsigned int code, const char* text,
                      const ndnpkt_parameters_t* parameters) {
  const ndnpkt_response_t response = {.code = code, .text = wire_text(text), .parameters = *parameters};
  uint8_t content[NDNPKT_PACKET_MAX], bytes[NDNPKT_PACKET_MAX];
  ndnpkt_data_t data = {.name = packet->packet.interest.name};
  ndnpkt_crypto_t* crypto;
  ssize_t n = ndnpkt_response_encode(content, sizeof(content), &response);

  data.content = (ndnpkt_bytes_t){content, (size_t) n};
  ndnpkt_crypto_new(&crypto);
  n = ndnpkt_data_encode(crypto, bytes, sizeof(bytes), &data, NULL);
  ndnpkt_crypto_free(crypto);
  fake_send(fake, (ndnpkt_bytes_t){bytes, (size_t) n});
}

void fake_answer(fake_t* fake, const fake_packet_t* packet, unsigned int code, const char* text, uint64_t face_id) {
  ndnpkt_parameters_t parameters = packet->command.parameters;

  parameters.has &= ~(uint32_t) (NDNPKT_HAS_SHM_TOKEN | NDNPKT_HAS_MTU);
  if (face_id != 0) parameters.has |= NDNPKT_HAS_FACE_ID;
  if (face_id != 0) parameters.face_id = face_id;
  if (code >= 300 || packet->n > 4000) parameters.has = 0; /* which would not fit twice */
  fake_answer_with(fake, packet, code, text, &parameters);
}

void fake_nack(fake_t* fake, const fake_packet_t* packet) {
  const ndnpkt_bytes_t interest = packet->packet.wire;
  const ndnpkt_link_t link = {.nack = true, .nack_reason = NDNPKT_NACK_NO_ROUTE, .fragment = interest};
  uint8_t bytes[NDNPKT_PACKET_MAX + NDNPKT_LINK_HEADER_MAX];
  ssize_t n = ndnpkt_link_encode(bytes, sizeof(bytes), &link);

  memcpy(bytes + n, interest.base, interest.len);
  fake_write(fake, bytes, (size_t) n + interest.len);
}

/* --- Serving ------------------------------------------------------------------------------------------- */

/* Only if there is something: a FIFO that nobody has opened for writing yet reads as end of file, too. */
static bool app_is_gone(fake_t* fake) {
  struct pollfd p = {.fd = ndnshm_fd(fake->ep), .events = POLLIN};

  return poll(&p, 1, 0) > 0 && ndnshm_wake(fake->ep) == NDNSHM_EOF;
}

/* Sends back what came over the face. False at its end. */
static bool echo_face(fake_t* fake) {
  static uint8_t arena[1 << 20];
  struct iovec pkts[64];
  int n;

  if (app_is_gone(fake)) return false;
  n = ndnshm_recv(fake->ep, arena, sizeof(arena), pkts, 64);
  if (n < 0) return false;
  for (int p = 0; p < n; p++) {
    while (ndnshm_send(fake->ep, &pkts[p], 1) == -EAGAIN)
      if (app_is_gone(fake)) return false;
    if (fake->echoes != 0 && --fake->echoes == 0) return false;
  }
  return true;
}

/* Waits until the connection has something to read; meanwhile the face is looked at, by the clock. */
static bool wait_readable(fake_t* fake) {
  struct pollfd p = {.fd = fake->conn, .events = POLLIN};

  while (poll(&p, 1, fake->ep != NULL ? 1 : -1) == 0)
    if (!echo_face(fake)) return false;
  return true;
}

int fake_serve(fake_t* fake, unsigned int* ret_commands) {
  fake_packet_t packet;

  while (wait_readable(fake) && fake_read(fake, &packet)) {
    if (packet.command.name.len == 0) {
      fake_send(fake, packet.packet.wire);
      continue;
    }
    if (ret_commands != NULL) ++*ret_commands;
    fake_answer(fake, &packet, 200, "OK", 0);
  }
  return 0;
}

/* --- Faces ------------------------------------------------------------------------------------------------ */

int fake_make_private(fake_t* fake, const fake_packet_t* create) {
  ndnshm_options_t options = NDNSHM_OPTIONS_INIT;
  ndnpkt_crypto_t* crypto;

  REQUIRE((create->command.parameters.has & NDNPKT_HAS_SHM_TOKEN) != 0);
  REQUIRE(create->command.parameters.shm_token.len == UVFACE__KEY_BYTES);
  REQUIRE(ndnshm_new(&fake->ep) == 0);
  if ((create->command.parameters.has & NDNPKT_HAS_MTU) != 0) options.mtu = (uint32_t) create->command.parameters.mtu;
  REQUIRE(ndnshm_create_private(fake->ep, &options) == 0);
  ndnpkt_crypto_new(&crypto);
  uvface__handoff_path(crypto, NULL, create->command.parameters.shm_token.base, fake->handoff_path,
                       sizeof(fake->handoff_path));
  ndnpkt_crypto_free(crypto);
  fake->handoff_listener = listen_at(fake->handoff_path);
  REQUIRE(fake->handoff_listener >= 0);
  return 0;
}

int fake_make_named(fake_t* fake, const fake_packet_t* create) {
  const ndnpkt_bytes_t uri = create->command.parameters.uri;
  char name[80];

  REQUIRE(uri.len > 6 && memcmp(uri.base, "shm://", 6) == 0);
  snprintf(name, sizeof(name), "%.*s", (int) uri.len - 6, (const char*) uri.base + 6);
  REQUIRE(ndnshm_new(&fake->ep) == 0);
  REQUIRE(ndnshm_create(fake->ep, name, NULL) == 0);
  return 0;
}

void fake_close_handoff(fake_t* fake) {
  if (fake->handoff_listener >= 0) close(fake->handoff_listener);
  fake->handoff_listener = -1;
}

void fake_end_handoff(fake_t* fake) {
  fake_close_handoff(fake);
  unlink(fake->handoff_path);
  fake->handoff_path[0] = '\0';
}

#define MANY 24 /* descriptors: more than a client looks at */

static void send_fds(int conn, uint8_t byte, const int fds[], unsigned int n) {
  union {
    struct cmsghdr align;
    char bytes[CMSG_SPACE(MANY * sizeof(int))];
  } control = {.bytes = {0}};
  struct iovec piece = {&byte, 1};
  struct msghdr message = {.msg_iov = &piece, .msg_iovlen = 1};
  struct cmsghdr* c;

  if (n > 0) {
    message.msg_control = &control;
    message.msg_controllen = CMSG_SPACE(n * sizeof(int));
    c = CMSG_FIRSTHDR(&message);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(n * sizeof(int));
    memcpy(CMSG_DATA(c), fds, n * sizeof(int));
  }
  sendmsg(conn, &message, MSG_NOSIGNAL);
}

static void hand_out(fake_t* fake, int conn, fake_fault_t fault) {
  int fds[MANY];
  unsigned int n = fault == FAKE_NO_DESCRIPTORS ? 0 : fault == FAKE_TWO_DESCRIPTORS ? 2 : 3;

  ndnshm_app_fds(fake->ep, fds);
  for (int i = 3; i < MANY; i++) fds[i] = fds[0];
  if (fault == FAKE_FOUR_DESCRIPTORS) n = 4;
  if (fault == FAKE_MANY_DESCRIPTORS) n = MANY;
  if (fault == FAKE_STRANGE_DESCRIPTORS) fds[0] = fds[1] = fds[2] = fake->listener;
  send_fds(conn, fault == FAKE_WRONG_BYTE ? 0xEE : UVFACE__HANDOFF_BYTE, fds, n);
  ndnshm_app_fds_close(fake->ep);
}

/* Both proofs, byte for byte. False if it ends here, as the fault says. */
static bool prove(int conn, const uint8_t* key, fake_fault_t fault, int* ret) {
  uint8_t client_nonce[32], answer[64], proof[32], expected[32];
  ndnpkt_crypto_t* crypto;
  size_t n = fault == FAKE_HALF_A_PROOF ? 40 : sizeof(answer);

  *ret = 0;
  if (fault == FAKE_EOF_AT_ONCE) return false;
  if (!read_all(conn, client_nonce, sizeof(client_nonce))) {
    *ret = 1;
    return false;
  }
  memset(answer, 'n', 32);
  ndnpkt_crypto_new(&crypto);
  uvface__handoff_proof(crypto, key, 'S', client_nonce, answer, answer + 32);
  uvface__handoff_proof(crypto, key, 'C', client_nonce, answer, expected);
  ndnpkt_crypto_free(crypto);
  if (fault == FAKE_WRONG_PROOF) answer[63] ^= 1;
  if (fault != FAKE_SILENT_AT_ONCE) send(conn, answer, n, MSG_NOSIGNAL);
  if (fault == FAKE_SILENT_AT_ONCE || fault == FAKE_HALF_A_PROOF || fault == FAKE_WRONG_PROOF) {
    *ret = read_all(conn, proof, 1) ? 1 : 0; /* to whom has not proved it, nothing is proved */
    return false;
  }
  *ret = read_all(conn, proof, sizeof(proof)) && memcmp(proof, expected, sizeof(proof)) == 0 ? 0 : 1;
  return *ret == 0 && fault != FAKE_EOF_AFTER_PROOF;
}

/* The client's connection, which may end before it says a word, and not that of a sweep (of another test, too), which
 * only asks whether somebody listens. */
static int accept_client(const fake_t* fake) {
  struct ucred peer;
  socklen_t len = sizeof(peer);
  char byte;
  int conn;

  while ((conn = accept4(fake->handoff_listener, NULL, NULL, SOCK_CLOEXEC)) >= 0) {
    if (getsockopt(conn, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0 && peer.pid == getppid()) return conn;
    if (recv(conn, &byte, 1, MSG_PEEK) != 0) return conn;
    close(conn);
  }
  return -1;
}

int fake_hand_out(fake_t* fake, const fake_packet_t* create, fake_fault_t fault) {
  int ret, conn = accept_client(fake);
  bool goes_on;

  REQUIRE(conn >= 0);
  goes_on = prove(conn, create->command.parameters.shm_token.base, fault, &ret);
  REQUIRE(ret == 0);
  if (goes_on && fault == FAKE_SILENT_AFTER_PROOF)
    REQUIRE(!read_all(conn, &(uint8_t){0}, 1));
  else if (goes_on)
    hand_out(fake, conn, fault);
  close(conn);
  return 0;
}

int fake_give_face(fake_t* fake, fake_packet_t* create, uint64_t face_id) {
  int err;

  REQUIRE(fake_expect(fake, create, "faces", "create"));
  REQUIRE(fake_make_private(fake, create) == 0);
  fake_answer(fake, create, 200, "OK", face_id);
  err = fake_hand_out(fake, create, FAKE_RIGHT);
  fake_end_handoff(fake);
  return err;
}

/* --- The client's time ---------------------------------------------------------------------------------------- */

static uint64_t begin_ns; /* UINT64_MAX = it is the clock's */
static unsigned int asked;

__attribute__((constructor)) static void begin_time(void) {
  begin_ns = harness_now_ns();
}

void fake_true_time(void) {
  begin_ns = UINT64_MAX;
}

/* In front of libuv's. */
uint64_t uv_hrtime(void) {
  uint64_t now_ns = harness_now_ns();

  asked++;
  return begin_ns == UINT64_MAX ? now_ns : begin_ns + (now_ns - begin_ns) / 20;
}

/* --- The client ---------------------------------------------------------------------------------------------- */

static void on_packets(uvface_t* face, ssize_t npkts, const uv_buf_t pkts[]) {
  watcher_t* w = face->data;

  if (npkts < 0) {
    w->face_error = (int) npkts;
    return;
  }
  w->packets += (unsigned int) npkts;
  w->last_bytes = pkts[npkts - 1].len;
  memcpy(w->last, pkts[npkts - 1].base, w->last_bytes);
}

static void on_client(uvface_client_t* client, int status) {
  watcher_t* w = client->data;

  w->status = status;
  if (status < 0) {
    ck_assert_ptr_null(client->face);
    w->downs++;
  } else {
    ck_assert_ptr_nonnull(client->face);
    w->ups++;
    client->face->data = w;
    if (w->receive) ASSERT_OK(uvface_recv_start(client->face, on_packets));
  }
  if (w->on_change != NULL) w->on_change(w, status);
}

static void on_client_closed(uvface_client_t* client) {
  ((watcher_t*) client->data)->closed++;
}

void watcher_open(watcher_t* w, const char* uri, const uvface_client_options_t* options) {
  memset(w, 0, sizeof(*w));
  ASSERT_OK(uv_loop_init(&w->loop));
  w->client.data = w;
  w->receive = true;
  ASSERT_OK(uvface_client_init(&w->loop, &w->client));
  ck_assert_msg(uvface_client_connect(&w->client, uri, options, on_client) == 0, "%s",
                uvface_client_errmsg(&w->client));
  ck_assert_uint_eq(w->ups + w->downs, 0);
}

void watcher_close(watcher_t* w) {
  ck_assert_uint_gt(asked, 0); /* or the client asks libuv's clock */
  uvface_client_close(&w->client, on_client_closed);
  ck_assert_uint_eq(w->closed, 0);
  finish_loop(&w->loop);
  ck_assert_uint_eq(w->closed, 1);
}

void watcher_run_up(watcher_t* w, unsigned int ups) {
  RUN_UNTIL(&w->loop, w->ups >= ups || (w->downs > 0 && w->status < 0 && w->ups + 1 < ups));
  ck_assert_msg(w->ups == ups, "up %u times, %d %s", w->ups, w->status, uvface_client_errmsg(&w->client));
}

void watcher_run_down(watcher_t* w, unsigned int downs) {
  RUN_UNTIL(&w->loop, w->downs >= downs);
}

void watcher_echo(watcher_t* w, const char* hex) {
  ndnpkt_bytes_t packet = wire_hex(hex);
  uv_buf_t buf = uv_buf_init((char*) (uintptr_t) packet.base, (unsigned int) packet.len);
  unsigned int before = w->packets, downs = w->downs;

  ck_assert_int_eq(uvface_try_send(w->client.face, &buf, 1), (int) packet.len);
  RUN_UNTIL(&w->loop, w->packets > before || w->downs > downs);
  ck_assert_uint_gt(w->packets, before);
}

void watcher_assert_says(const watcher_t* w, const char* words) {
  ck_assert_msg(strstr(uvface_client_errmsg(&w->client), words) != NULL, "%s", uvface_client_errmsg(&w->client));
}

void on_order(uvface_command_t* req, int status, unsigned int code, const char* text) {
  order_t* order = req->data;

  order->told++;
  order->status = status;
  order->code = code;
  snprintf(order->text, sizeof(order->text), "%s", text);
}

typedef int command_f(uvface_client_t*, uvface_command_t*, const uint8_t*, size_t, const uvface_route_t*,
                      uvface_command_cb);

static void give(watcher_t* w, order_t* order, const char* name, command_f* command) {
  ndnpkt_name_t n = wire_name(name);

  memset(order, 0, sizeof(*order));
  order->req.data = order;
  ck_assert_msg(command(&w->client, &order->req, n.base, n.len, NULL, on_order) == 0, "%s",
                uvface_client_errmsg(&w->client));
  ck_assert_int_eq(order->told, 0);
}

void order_register(watcher_t* w, order_t* order, const char* name) {
  give(w, order, name, uvface_client_register);
}

void order_unregister(watcher_t* w, order_t* order, const char* name) {
  give(w, order, name, uvface_client_unregister);
}

void assert_registers(watcher_t* w, const char* name, int status) {
  order_t order;

  order_register(w, &order, name);
  RUN_UNTIL(&w->loop, order.told);
  ck_assert_msg(order.status == status, "%d %u %s", order.status, order.code, order.text);
}
