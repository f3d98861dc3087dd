/* SPDX-License-Identifier: MIT */
/* fuzz_server.c: a server (uvface_mgmt.h) and an app that sends it what it likes, over its connection and at the
 * handoff. Input: flags, then instructions.
 *
 * Holds the server to this: what it answers is whole packets, each answer a ControlResponse with parameters; there are
 * no more answers than it counts, nor faces than it may make; descriptors go only to who proved that it knows the key,
 * and once; each app is told of once, opening and closing; and nothing is left in the end. */
#include <errno.h>
#include <ndnpkt.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include <uvface_mgmt.h>

#include "../../uvface/mgmt/handoff.h"
#include "fuzz.h"
#include "sandbox.h"

enum { FLAG_DEAF = 1, FLAG_NO_COMMANDS = 2, FLAG_REFUSES = 4, FLAG_NO_SHM = 8, FLAG_SILENT = 16 };

#define STEPS_MAX 64
#define FACES_MAX 2

typedef struct run_s {
  uv_loop_t loop;
  uvface_server_t server;
  unsigned int flags;
  unsigned int opened, closed, faces;
  uvface_app_t* last; /* the last that was opened, if it is there */
  int conn, handoff;  /* -1 = none */
  uint8_t in[1 << 16];
  size_t have;
  uint64_t answers;
  uint8_t sent[64]; /* at the handoff: nonce and proof, or what the app has for them */
  size_t sent_bytes;
  uint8_t nonces[64]; /* the app's and the server's */
  bool has_nonces;
  unsigned int taken;
} run_t;

static char directory[64], path[96], handoff_path[160];
static ndnpkt_crypto_t* crypto;
static uint8_t key[UVFACE__KEY_BYTES]; /* that of the seeds: 0 to 31 */

/* --- The embedder ------------------------------------------------------------------------------- */

/* Interests come back, Data would look like answers. */
static void on_packets(uvface_t* face, ssize_t npkts, const uv_buf_t pkts[]) {
  for (ssize_t p = 0; p < npkts; p++)
    if (pkts[p].base[0] == NDNPKT_TYPE_INTEREST) uvface_try_send(face, &pkts[p], 1);
}

static void on_open(uvface_app_t* app) {
  run_t* run = app->server->data;

  run->opened++;
  run->faces += uvface_get_transport(app->face) == UVFACE_SHM;
  FUZZ_REQUIRE(run->faces <= FACES_MAX);
  run->last = app;
  app->data = run;
  if ((run->flags & FLAG_DEAF) == 0) FUZZ_REQUIRE(uvface_recv_start(app->face, on_packets) == 0);
}

static void on_close(uvface_app_t* app, int status) {
  run_t* run = app->data;

  FUZZ_REQUIRE(status < 0);
  run->closed++;
  run->faces -= strncmp(app->uri, "shm://", 6) == 0;
  if (run->last == app) run->last = NULL;
}

static unsigned int on_command(uvface_app_t* app, const ndnpkt_command_t* command, ndnpkt_response_t* response) {
  FUZZ_REQUIRE(response->code == 200 && command->parameters.face_id == app->face_id);
  return command->module.len % 2 == 0 ? 200 : 404;
}

/* Faces with names are files that others see: only ours may be made. */
static int on_verify(uvface_app_t* app, const ndnpkt_command_t* command) {
  static const char ours[] = "shm://fuzz-";
  const run_t* run = app->data;

  if ((run->flags & FLAG_REFUSES) != 0) return 0;
  if (!ndnpkt_command_is(command, "faces", "create") || (command->parameters.has & NDNPKT_HAS_SHM_TOKEN) != 0) return 1;
  return (command->parameters.has & NDNPKT_HAS_URI) == 0 || command->parameters.uri.len < sizeof(ours) ||
         memcmp(command->parameters.uri.base, ours, sizeof(ours) - 1) == 0;
}

static void on_server_close(uvface_server_t* server) {
  run_t* run = server->data;

  FUZZ_REQUIRE(run->opened == run->closed);
}

/* --- The app ------------------------------------------------------------------------------------ */

static int connect_to(const char* to) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

  FUZZ_REQUIRE(fd >= 0);
  memcpy(address.sun_path, to, strlen(to) + 1);
  if (connect(fd, (const struct sockaddr*) &address, sizeof(address)) == 0) return fd;
  close(fd);
  return -1;
}

static void drop(int* fd) {
  if (*fd >= 0) close(*fd);
  *fd = -1;
}

static void check_answer(run_t* run, ndnpkt_bytes_t whole) {
  ndnpkt_packet_t packet;
  ndnpkt_response_t response;

  if (ndnpkt_packet_decode(whole.base, whole.len, &packet) < 0 || packet.kind != NDNPKT_DATA) return; /* an echo */
  if (ndnpkt_response_decode(packet.data.content, &response) < 0) return;
  if (ndnpkt_verify(crypto, &packet.data.signature, NULL) < 0) return;
  FUZZ_REQUIRE(response.has_parameters && response.text.len < NDNPKT_PACKET_MAX);
  run->answers++;
}

/* What has come: whole elements. */
static void read_answers(run_t* run) {
  ndnpkt_bytes_t rest;
  ndnpkt_tlv_t tlv;
  ssize_t n;

  if (run->conn < 0) return;
  while ((n = recv(run->conn, run->in + run->have, sizeof(run->in) - run->have, MSG_DONTWAIT)) > 0) {
    run->have += (size_t) n;
    rest = (ndnpkt_bytes_t){run->in, run->have};
    while (ndnpkt_tlv_next(&rest, &tlv) > 0) check_answer(run, tlv.whole);
    run->have = rest.len;
    memmove(run->in, rest.base, rest.len);
  }
  if (n == 0) drop(&run->conn);
}

static void send_to_handoff(run_t* run, const uint8_t* bytes, size_t n) {
  if (run->handoff < 0 || n == 0) return;
  if (send(run->handoff, bytes, n, MSG_NOSIGNAL | MSG_DONTWAIT) != (ssize_t) n) return;
  if (n > sizeof(run->sent) - run->sent_bytes) n = sizeof(run->sent) - run->sent_bytes;
  memcpy(run->sent + run->sent_bytes, bytes, n);
  run->sent_bytes += n;
}

static void right_proof(const run_t* run, uint8_t proof[UVFACE__PROOF_BYTES]) {
  FUZZ_REQUIRE(uvface__handoff_proof(crypto, key, 'C', run->nonces, run->nonces + 32, proof) == 0);
}

static bool has_proved(const run_t* run) {
  uint8_t proof[UVFACE__PROOF_BYTES];

  if (!run->has_nonces || run->sent_bytes < sizeof(run->sent)) return false;
  right_proof(run, proof);
  return memcmp(proof, run->sent + 32, sizeof(proof)) == 0;
}

static void take_descriptors(run_t* run, struct msghdr* message) {
  struct cmsghdr* header = CMSG_FIRSTHDR(message);
  int fds[8];
  size_t n;

  if (header == NULL) return;
  n = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
  memcpy(fds, CMSG_DATA(header), n * sizeof(int));
  for (size_t i = 0; i < n; i++) close(fds[i]);
  FUZZ_REQUIRE(n == 3 && has_proved(run));
  run->taken++;
}

/* What the server says at the handoff: nonce and proof, then one byte with the descriptors. */
static void read_handoff(run_t* run) {
  unsigned char bytes[64];
  struct iovec piece = {bytes, sizeof(bytes)};
  union {
    struct cmsghdr align;
    char bytes[CMSG_SPACE(8 * sizeof(int))];
  } control;
  struct msghdr message = {
      .msg_iov = &piece, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof(control.bytes)};
  ssize_t n = run->handoff >= 0 ? recvmsg(run->handoff, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC) : -1;

  if (n == 0 || (n < 0 && errno != EAGAIN)) drop(&run->handoff);
  if (n <= 0) return;
  take_descriptors(run, &message);
  if (n != 64) return;
  FUZZ_REQUIRE(run->sent_bytes >= 32 && !run->has_nonces);
  memcpy(run->nonces, run->sent, 32);
  memcpy(run->nonces + 32, bytes, 32);
  run->has_nonces = true;
}

static void prove(run_t* run) {
  uint8_t proof[UVFACE__PROOF_BYTES];

  if (!run->has_nonces) return;
  right_proof(run, proof);
  send_to_handoff(run, proof, sizeof(proof));
}

static void connect_handoff(run_t* run) {
  drop(&run->handoff);
  run->handoff = connect_to(handoff_path);
  run->sent_bytes = 0;
  run->has_nonces = false;
}

/* --- A run -------------------------------------------------------------------------------------- */

static void turn(run_t* run) {
  for (int i = 0; i < 3; i++) uv_run(&run->loop, UV_RUN_NOWAIT);
  if ((run->flags & FLAG_SILENT) == 0) read_answers(run);
  read_handoff(run);
}

/* The next n bytes of the input, or what is left of them. */
static const uint8_t* take(fuzz_input_t* in, size_t* n) {
  const uint8_t* bytes = in->front;

  if (*n > fuzz_left(in)) *n = fuzz_left(in);
  in->front += *n;
  return bytes;
}

static void step(run_t* run, fuzz_input_t* in) {
  uint8_t op = fuzz_front(in);
  size_t n = op < 0x80 ? (size_t) op * 2 + 1 : op & 15;
  const uint8_t* bytes;

  switch (op < 0x80 ? 0 : op >> 4) {
    case 0:
      bytes = take(in, &n);
      if (run->conn >= 0 && n > 0) (void) !send(run->conn, bytes, n, MSG_NOSIGNAL | MSG_DONTWAIT);
      break;
    case 8: sandbox_advance_ms(n * n * 5); break; /* up to 1125 ms */
    case 9: connect_handoff(run); break;
    case 10:
      n = n * 4 + 4;
      bytes = take(in, &n);
      send_to_handoff(run, bytes, n);
      break;
    case 11: send_to_handoff(run, (const uint8_t*) "0123456789abcdef0123456789abcdef", 32); break;
    case 12: prove(run); break;
    case 13: drop(&run->handoff); break;
    case 14:
      if (n == 0 && run->last != NULL) uvface_app_close(run->last);
      if (n == 1 && run->last != NULL) uvface_close(run->last->face, NULL);
      break;
    default:
      if (n == 0) drop(&run->conn);
      if (n == 1 && run->conn < 0) {
        run->conn = connect_to(path);
        run->have = 0;
      }
      break;
  }
  turn(run);
}

static void open_run(run_t* run) {
  uvface_server_options_t options = UVFACE_SERVER_OPTIONS_INIT;
  uvface_server_callbacks_t callbacks = UVFACE_SERVER_CALLBACKS_INIT;

  options.face.capacity = 4;
  options.face.slot_size = 500;
  options.max_faces = FACES_MAX;
  options.max_apps = 1;
  options.max_region_bytes = 600000; /* a small Mtu is allowed, too */
  options.handoff_dir = directory;
  if ((run->flags & FLAG_NO_SHM) != 0) options.flags = UVFACE_SERVER_NO_SHM;
  callbacks.on_open = on_open;
  callbacks.on_close = on_close;
  callbacks.on_verify = on_verify;
  if ((run->flags & FLAG_NO_COMMANDS) == 0) callbacks.on_command = on_command;
  FUZZ_REQUIRE(uv_loop_init(&run->loop) == 0);
  FUZZ_REQUIRE(uvface_server_init(&run->loop, &run->server) == 0);
  run->server.data = run;
  FUZZ_REQUIRE(uvface_server_listen(&run->server, path, &options, &callbacks) == 0);
  run->conn = connect_to(path);
  FUZZ_REQUIRE(run->conn >= 0);
  turn(run);
}

static void close_run(run_t* run) {
  uvface_server_stats_t stats;

  FUZZ_REQUIRE(uvface_server_get_stats(&run->server, &stats) == 0);
  FUZZ_REQUIRE(run->answers <= stats.commands + stats.commands_dropped);
  FUZZ_REQUIRE(run->taken <= stats.handoffs && stats.handoffs <= stats.faces);
  uvface_server_close(&run->server, on_server_close);
  FUZZ_REQUIRE(uv_run(&run->loop, UV_RUN_DEFAULT) == 0);
  FUZZ_REQUIRE(uv_loop_close(&run->loop) == 0);
  drop(&run->conn);
  drop(&run->handoff);
  FUZZ_REQUIRE(access(path, F_OK) < 0 && access(handoff_path, F_OK) < 0);
}

static void remove_directory(void) {
  rmdir(directory);
}

static void prepare(void) {
  if (crypto != NULL) return;
  snprintf(directory, sizeof(directory), "/tmp/fuzz-server-%ld", (long) getpid());
  snprintf(path, sizeof(path), "%s/s", directory);
  for (int i = 0; i < UVFACE__KEY_BYTES; i++) key[i] = (uint8_t) i;
  FUZZ_REQUIRE(mkdir(directory, 0700) == 0 && atexit(remove_directory) == 0);
  FUZZ_REQUIRE(ndnpkt_crypto_new(&crypto) == 0);
  FUZZ_REQUIRE(uvface__handoff_path(crypto, directory, key, handoff_path, sizeof(handoff_path)) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  fuzz_input_t in = {data, data + size};
  static run_t run;

  prepare();
  memset(&run, 0, sizeof(run));
  run.conn = run.handoff = -1;
  run.flags = fuzz_front(&in);
  sandbox_enter();
  open_run(&run);
  for (int i = 0; i < STEPS_MAX && fuzz_left(&in) > 0; i++) step(&run, &in);
  close_run(&run);
  sandbox_leave();
  return 0;
}
