/* SPDX-License-Identifier: MIT */
/* fuzz_client.c: a client (uvface_mgmt.h) and a forwarder that sends it what it likes, on its socket and at the
 * handoff. Input: flags, then instructions.
 *
 * Holds the client to this: it is told up and down in turn, client->face is there exactly while it is up; each command
 * is told once; closing ends everything, whatever came before; an app sees link headers only of Nacks, and a face that
 * was handed out is taken only from who knew the key. Does not look at what is sent: the tests do. */
#include <fcntl.h>
#include <ndnpkt.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <uvface_mgmt.h>

#include "../../uvface/mgmt/handoff.h"
#include "fuzz.h"
#include "sandbox.h"

enum { FLAG_SHM = 1, FLAG_STREAM = 2, FLAG_RECONNECT = 4, FLAG_REGISTER = 8, FLAG_MTU = 16 };

#define STEPS_MAX 64
#define COMMANDS_MAX 8

/* A command that came, by its name. */
typedef struct asked_s {
  uint8_t name[NDNPKT_PACKET_MAX];
  size_t name_bytes;
} asked_t;

typedef struct run_s {
  fuzz_input_t in;
  uv_loop_t loop;
  uvface_client_t client;
  uvface_command_t commands[COMMANDS_MAX];
  int told[COMMANDS_MAX];
  int given;
  enum { CONNECTING, UP, DOWN } state; /* as it was told */
  int closes;
  /* the forwarder */
  int conn, handoff, connector; /* -1 = none */
  asked_t asked[COMMANDS_MAX];  /* the last ones */
  unsigned int nasked;
  uint8_t in_buf[4 * NDNPKT_PACKET_MAX];
  size_t in_bytes;
  uint8_t key[UVFACE__KEY_BYTES];
  bool has_key;
  bool proved; /* it has shown that it knows the key */
  uvface_t face;
  bool has_face;
  int face_closes;
} run_t;

static int listener = -1;
static struct sockaddr_un address = {.sun_family = AF_UNIX};
static char handoff_dir[64];
static ndnpkt_crypto_t* crypto;

/* --- The client -------------------------------------------------------------------------------------- */

static void on_packets(uvface_t* face, ssize_t npkts, const uv_buf_t pkts[]) {
  (void) face;
  for (ssize_t p = 0; p < npkts; p++) {
    ndnpkt_link_t link;

    FUZZ_REQUIRE(pkts[p].len > 0);
    if (uvface_get_transport(face) != UVFACE_STREAM || pkts[p].base[0] != NDNPKT_TYPE_LP_PACKET) continue;
    FUZZ_REQUIRE(ndnpkt_link_decode((const uint8_t*) pkts[p].base, pkts[p].len, &link) == 0);
    FUZZ_REQUIRE(link.nack);
  }
}

static void on_client(uvface_client_t* client, int status) {
  run_t* run = client->data;

  FUZZ_REQUIRE((status == 0) == (client->face != NULL));
  FUZZ_REQUIRE(status == 0 ? run->state != UP : run->state != DOWN);
  run->state = status == 0 ? UP : DOWN;
  if (status < 0) return;
  FUZZ_REQUIRE(uvface_get_transport(client->face) == UVFACE_STREAM || run->proved);
  FUZZ_REQUIRE(uvface_recv_start(client->face, on_packets) == 0);
}

static void on_command(uvface_command_t* req, int status, unsigned int code, const char* text) {
  run_t* run = req->data;

  FUZZ_REQUIRE(run->told[req - run->commands]++ == 0);
  FUZZ_REQUIRE(text != NULL && strlen(text) < 256 && (status < 0 || code >= 200));
}

static void give_command(run_t* run, bool registers) {
  static const uint8_t name[] = {8, 1, 'a'};
  uvface_command_t* req = &run->commands[run->given];
  int err;

  if (run->given == COMMANDS_MAX) return;
  req->data = run;
  err = registers ? uvface_client_register(&run->client, req, name, sizeof(name), NULL, on_command)
                  : uvface_client_unregister(&run->client, req, name, sizeof(name), NULL, on_command);
  FUZZ_REQUIRE(err == 0 || err == UV_ENOTCONN);
  if (err == 0) run->given++;
}

static void on_client_closed(uvface_client_t* client) {
  ((run_t*) client->data)->closes++;
}

static void on_face_closed(uvface_t* face) {
  ((run_t*) face->data)->face_closes++;
}

/* --- The forwarder's socket ---------------------------------------------------------------------------- */

static void close_fd(int* fd) {
  if (*fd >= 0) close(*fd);
  *fd = -1;
}

static void take_interest(run_t* run, const uint8_t* bytes, size_t n) {
  ndnpkt_interest_t interest;
  ndnpkt_command_t command;
  asked_t* asked = &run->asked[run->nasked % COMMANDS_MAX];

  FUZZ_REQUIRE(ndnpkt_interest_decode(bytes, n, &interest) == 0);
  FUZZ_REQUIRE(ndnpkt_command_decode(&interest, &command) == 0 && !command.malformed);
  FUZZ_REQUIRE(ndnpkt_verify(crypto, &interest.signature, NULL) == 0);
  memcpy(asked->name, interest.name.base, interest.name.len);
  asked->name_bytes = interest.name.len;
  run->nasked++;
  if ((command.parameters.has & NDNPKT_HAS_SHM_TOKEN) == 0) return;
  memcpy(run->key, command.parameters.shm_token.base, sizeof(run->key));
  run->has_key = true;
  run->proved = false;
}

static void read_commands(run_t* run) {
  ndnpkt_bytes_t rest = {run->in_buf, 0};
  ndnpkt_tlv_t tlv;
  ssize_t n;

  if (run->conn < 0) return;
  n = recv(run->conn, run->in_buf + run->in_bytes, sizeof(run->in_buf) - run->in_bytes, MSG_DONTWAIT);
  if (n <= 0) return;
  run->in_bytes += (size_t) n;
  rest.len = run->in_bytes;
  while (ndnpkt_tlv_next(&rest, &tlv) > 0) take_interest(run, tlv.whole.base, tlv.whole.len);
  memmove(run->in_buf, rest.base, rest.len);
  run->in_bytes = rest.len;
}

static void accept_client(run_t* run) {
  int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

  if (fd < 0) return;
  close_fd(&run->conn);
  run->conn = fd;
  run->in_bytes = 0;
}

static void send_bytes(int fd, const void* bytes, size_t n) {
  if (fd >= 0) (void) !send(fd, bytes, n, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static void send_raw(run_t* run, int fd) {
  uint8_t bytes[256];
  size_t n = fuzz_front(&run->in);

  for (size_t i = 0; i < n; i++) bytes[i] = fuzz_front(&run->in);
  send_bytes(fd, bytes, n);
}

/* A packet about a command that came, of a content that is good or the input's. how: its bits choose. */
static void answer(run_t* run, unsigned int how) {
  static const unsigned int codes[] = {200, 400, 403, 404, 500, 501, 200, 299};
  const asked_t* asked = &run->asked[(run->nasked - 1 - how / 64 % 4) % COMMANDS_MAX];
  ndnpkt_response_t response = {.code = codes[how % 8], .text = {(const uint8_t*) "text", 4}};
  ndnpkt_data_t data = {.name = {asked->name, asked->name_bytes}};
  uint8_t content[300], packet[2 * NDNPKT_PACKET_MAX], wrapped[NDNPKT_LINK_HEADER_MAX];
  ndnpkt_link_t link = {.pit_token = {asked->name, 6}};
  ssize_t n, head;

  if (run->nasked == 0 || asked->name_bytes == 0) return;
  response.parameters.has = how % 8 == 6 ? 0 : NDNPKT_HAS_FACE_ID;
  response.parameters.face_id = 300;
  n = ndnpkt_response_encode(content, sizeof(content), &response);
  if ((how & 8) != 0) {
    n = fuzz_front(&run->in);
    for (ssize_t i = 0; i < n; i++) content[i] = fuzz_front(&run->in);
  }
  data.content = (ndnpkt_bytes_t){content, (size_t) n};
  n = ndnpkt_data_encode(crypto, packet, sizeof(packet), &data, NULL);
  if ((how & 16) != 0) { /* a Nack of the Interest */
    const ndnpkt_interest_t interest = {.name = {asked->name, asked->name_bytes - 34}, .lifetime_ms = 4000};

    n = ndnpkt_interest_encode(crypto, packet, sizeof(packet), &interest, NULL);
    link.nack = true;
  }
  link.fragment = (ndnpkt_bytes_t){packet, (size_t) n};
  head = ndnpkt_link_encode(wrapped, sizeof(wrapped), &link);
  if ((how & 48) != 0) send_bytes(run->conn, wrapped, (size_t) head);
  send_bytes(run->conn, packet, (size_t) n);
}

/* --- The handoff ------------------------------------------------------------------------------------------ */

static void open_handoff(run_t* run) {
  struct sockaddr_un at = {.sun_family = AF_UNIX};

  if (!run->has_key || run->handoff >= 0) return;
  FUZZ_REQUIRE(uvface__handoff_path(crypto, handoff_dir, run->key, at.sun_path, sizeof(at.sun_path)) == 0);
  run->handoff = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  unlink(at.sun_path);
  FUZZ_REQUIRE(bind(run->handoff, (struct sockaddr*) &at, sizeof(at)) == 0 && listen(run->handoff, 4) == 0);
}

static void close_handoff(run_t* run) {
  char path[108];

  if (run->handoff < 0) return;
  close_fd(&run->handoff);
  uvface__handoff_path(crypto, handoff_dir, run->key, path, sizeof(path));
  unlink(path);
}

static void make_face(run_t* run) {
  uvface_options_t options = UVFACE_OPTIONS_INIT;

  if (run->has_face) return;
  options.capacity = 4;
  options.slot_size = 60;
  run->face.data = run;
  FUZZ_REQUIRE(uvface_init(&run->loop, &run->face) == 0);
  run->has_face = uvface_create_private(&run->face, &options) == 0;
  FUZZ_REQUIRE(run->has_face);
}

static void send_proof(run_t* run) {
  uint8_t nonce[32], bytes[64] = {7};

  if (run->connector < 0 || recv(run->connector, nonce, sizeof(nonce), MSG_DONTWAIT) != (ssize_t) sizeof(nonce)) return;
  uvface__handoff_proof(crypto, run->key, 'S', nonce, bytes, bytes + 32);
  send_bytes(run->connector, bytes, sizeof(bytes));
  run->proved = true;
}

static void send_descriptors(run_t* run, unsigned int how) {
  union {
    struct cmsghdr align;
    char bytes[CMSG_SPACE(20 * sizeof(int))];
  } control = {.bytes = {0}};
  unsigned int n = how % 8 == 7 ? 20 : how % 8 == 0 ? 3 : how % 8;
  uint8_t byte = how / 8 % 4 == 3 ? 0 : 0xED;
  struct iovec piece = {&byte, 1};
  struct msghdr message = {.msg_iov = &piece, .msg_iovlen = 1, .msg_control = &control};
  int fds[20], face_fds[3] = {listener, listener, listener};
  struct cmsghdr* c;

  if (run->connector < 0) return;
  if (run->has_face && how / 8 % 4 != 2) uvface_app_fds(&run->face, face_fds);
  for (unsigned int i = 0; i < 20; i++) fds[i] = face_fds[i % 3];
  message.msg_controllen = CMSG_SPACE(n * sizeof(int));
  c = CMSG_FIRSTHDR(&message);
  c->cmsg_level = SOL_SOCKET;
  c->cmsg_type = SCM_RIGHTS;
  c->cmsg_len = CMSG_LEN(n * sizeof(int));
  memcpy(CMSG_DATA(c), fds, n * sizeof(int));
  (void) !sendmsg(run->connector, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
}

/* --- The run ------------------------------------------------------------------------------------------------- */

static void turn(run_t* run) {
  uv_run(&run->loop, UV_RUN_NOWAIT);
  read_commands(run);
}

static void accept_connector(run_t* run) {
  int fd = run->handoff >= 0 ? accept4(run->handoff, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC) : -1;

  if (fd < 0) return;
  close_fd(&run->connector);
  run->connector = fd;
}

static void take_step(run_t* run, uint8_t op) {
  switch (op % 16) {
    case 0: accept_client(run); break;
    case 1: send_raw(run, run->conn); break;
    case 2: answer(run, fuzz_front(&run->in)); break;
    case 3: close_fd(&run->conn); break;
    case 4: open_handoff(run); break;
    case 5: close_handoff(run); break;
    case 6: accept_connector(run); break;
    case 7: send_proof(run); break;
    case 8: send_raw(run, run->connector); break;
    case 9: send_descriptors(run, fuzz_front(&run->in)); break;
    case 10: close_fd(&run->connector); break;
    case 11: make_face(run); break;
    case 12: give_command(run, op / 16 % 2 == 0); break;
    case 13: sandbox_advance_ms(op / 16 * 150u); break;
    default: break;
  }
  turn(run);
  if (op % 16 >= 13) turn(run);
}

static void remove_directory(void) {
  unlink(address.sun_path);
  rmdir(handoff_dir);
}

/* Made once: the same input finds it in the same state. */
static void begin(void) {
  char directory[] = "/tmp/.ndn-fuzz-XXXXXX";

  if (listener >= 0) return;
  FUZZ_REQUIRE(mkdtemp(directory) != NULL);
  snprintf(handoff_dir, sizeof(handoff_dir), "%s", directory);
  snprintf(address.sun_path, sizeof(address.sun_path), "%s/s", directory);
  listener = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  FUZZ_REQUIRE(bind(listener, (struct sockaddr*) &address, sizeof(address)) == 0 && listen(listener, 64) == 0);
  FUZZ_REQUIRE(ndnpkt_crypto_new(&crypto) == 0);
  FUZZ_REQUIRE(atexit(remove_directory) == 0);
}

static void connect_client(run_t* run, uint8_t flags) {
  uvface_client_options_t options = UVFACE_CLIENT_OPTIONS_INIT;
  char uri[128];

  options.face.hot_ns = options.face.spin_ns = 0;
  options.handoff_dir = handoff_dir;
  if ((flags & FLAG_SHM) != 0) options.transport = UVFACE_SHM;
  if ((flags & FLAG_STREAM) != 0) options.transport = UVFACE_STREAM;
  if ((flags & FLAG_RECONNECT) != 0) options.reconnect_ms = 1;
  if ((flags & FLAG_MTU) != 0) options.mtu = 9000;
  snprintf(uri, sizeof(uri), "unix://%s", address.sun_path);
  FUZZ_REQUIRE(uvface_client_init(&run->loop, &run->client) == 0);
  FUZZ_REQUIRE(uvface_client_connect(&run->client, uri, &options, on_client) == 0);
  if ((flags & FLAG_REGISTER) != 0) give_command(run, true);
}

static void end(run_t* run) {
  uvface_client_close(&run->client, on_client_closed);
  FUZZ_REQUIRE(run->client.face == NULL);
  close_fd(&run->conn);
  close_fd(&run->connector);
  close_handoff(run);
  if (run->has_face) uvface_close(&run->face, on_face_closed);
  FUZZ_REQUIRE(uv_run(&run->loop, UV_RUN_DEFAULT) == 0);
  FUZZ_REQUIRE(uv_loop_close(&run->loop) == 0);
  FUZZ_REQUIRE(run->closes == 1 && run->state == DOWN && run->face_closes == (run->has_face ? 1 : 0));
  for (int i = 0; i < run->given; i++) FUZZ_REQUIRE(run->told[i] == 1);
  for (;;) { /* what nobody accepted */
    int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);

    if (fd < 0) break;
    close(fd);
  }
}

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static run_t run;
  uint8_t flags;

  memset(&run, 0, sizeof(run));
  run.in = (fuzz_input_t){data, data + size};
  run.conn = run.handoff = run.connector = -1;
  run.client.data = &run;
  flags = fuzz_front(&run.in);
  begin();
  sandbox_enter();
  FUZZ_REQUIRE(uv_loop_init(&run.loop) == 0);
  connect_client(&run, flags);
  turn(&run);
  for (int step = 0; step < STEPS_MAX && fuzz_left(&run.in) > 0; step++) take_step(&run, fuzz_front(&run.in));
  end(&run);
  sandbox_leave();
  return 0;
}
