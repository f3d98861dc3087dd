/* SPDX-License-Identifier: MIT */
/* test_mgmt_threads.c: six threads, each with a loop of its own, on which a server and a client of libuvface_mgmt run.
 * The client of each thread goes to the server of the next: it connects over shared memory or over the socket,
 * registers a prefix, has packets sent back, and closes, many times. As test_uvface_threads.c, for the door. */
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <ndnpkt.h>
#include <uvface_mgmt.h>

#include "harness.h"

#define THREADS 6
#define LIVES 12u
#define LIVES_UNDER_VALGRIND 2u
#define PACKETS 20u
#define PACKET_BYTES 100

typedef struct thread_s {
  unsigned int number;
  uv_thread_t id;
  uv_loop_t loop;
  uv_timer_t watch;
  uint64_t end_ns;
  char failure[400]; /* the first; "" = none */
  char directory[80], path[100];
  uvface_server_t server;
  unsigned int opened, closed, registrations; /* of the server's apps */
  uvface_client_t client;
  uvface_command_t command;
  unsigned int life, received;
  bool is_up, is_registered;
} thread_t;

static thread_t threads[THREADS];
static unsigned int lives;
static atomic_bool all_shall_end; /* one has failed */

/* --- What must hold, in threads, where Check cannot end the test -------------------------------- */

static void note_failure(thread_t* thread, const char* what, int err) {
  if (thread->failure[0] == '\0')
    snprintf(thread->failure, sizeof(thread->failure), "life %u: %s (%s; client: %s; server: %s)", thread->life, what,
             err < 0 ? uv_err_name(err) : "no error", uvface_client_errmsg(&thread->client),
             uvface_server_errmsg(&thread->server));
  atomic_store_explicit(&all_shall_end, true, memory_order_relaxed);
  uv_stop(&thread->loop);
}

#define EXPECT(thread, condition, err)                           \
  do {                                                           \
    if (!(condition)) note_failure((thread), #condition, (err)); \
  } while (0)

static void on_watch(uv_timer_t* timer) {
  thread_t* thread = timer->data;

  if (harness_now_ns() >= thread->end_ns) note_failure(thread, "not over in time", 0);
  if (atomic_load_explicit(&all_shall_end, memory_order_relaxed)) uv_stop(&thread->loop);
}

/* --- The server: sends back what comes ---------------------------------------------------------- */

static void echo(uvface_t* face, ssize_t npkts, const uv_buf_t pkts[]) {
  thread_t* thread = face->data;
  int taken;

  if (npkts < 0) return; /* on_close tells */
  taken = uvface_try_send_batch(face, pkts, (unsigned int) npkts);
  EXPECT(thread, taken == npkts, taken);
}

static void on_open(uvface_app_t* app) {
  thread_t* thread = app->server->data;
  int err;

  thread->opened++;
  app->face->data = thread;
  err = uvface_recv_start(app->face, echo);
  EXPECT(thread, err == 0, err);
}

/* A connection for each life, and every second one has a face of shared memory besides. */
static void on_app_closed(uvface_app_t* app, int status) {
  thread_t* thread = app->server->data;

  EXPECT(thread, status == UV_EOF, status);
  if (++thread->closed < lives + (lives + 1) / 2) return;
  uvface_server_close(&thread->server, NULL);
  uv_close((uv_handle_t*) &thread->watch, NULL);
}

static unsigned int on_command(uvface_app_t* app, const ndnpkt_command_t* command, ndnpkt_response_t* response) {
  thread_t* thread = app->server->data;

  (void) response;
  EXPECT(thread, command->verb.len == 8 && memcmp(command->verb.base, "register", 8) == 0, 0);
  thread->registrations++;
  return 200;
}

static void open_server(thread_t* thread) {
  uvface_server_options_t options = UVFACE_SERVER_OPTIONS_INIT;
  uvface_server_callbacks_t callbacks = UVFACE_SERVER_CALLBACKS_INIT;
  int err;

  thread->server.data = thread;
  options.handoff_dir = thread->directory;
  callbacks.on_open = on_open;
  callbacks.on_close = on_app_closed;
  callbacks.on_command = on_command;
  err = uvface_server_listen(&thread->server, thread->path, &options, &callbacks);
  EXPECT(thread, err == 0, err);
}

/* --- The client --------------------------------------------------------------------------------- */

static void begin_life(thread_t* thread);

static size_t write_packet(const thread_t* thread, unsigned int n, unsigned char at[PACKET_BYTES]) {
  memset(at, (int) n, PACKET_BYTES);
  at[0] = 6;
  at[1] = PACKET_BYTES - 2;
  at[2] = (unsigned char) thread->number;
  at[3] = (unsigned char) thread->life;
  return PACKET_BYTES;
}

static void on_closed(uvface_client_t* client) {
  thread_t* thread = client->data;

  EXPECT(thread, thread->received == PACKETS && thread->is_registered && !thread->is_up, 0);
  if (++thread->life < lives) begin_life(thread);
}

static void close_when_done(thread_t* thread) {
  if (thread->received == PACKETS && thread->is_registered) uvface_client_close(&thread->client, on_closed);
}

static void on_packets(uvface_t* face, ssize_t npkts, const uv_buf_t pkts[]) {
  thread_t* thread = face->data;
  unsigned char expected[PACKET_BYTES];

  EXPECT(thread, npkts > 0, (int) npkts);
  for (ssize_t p = 0; p < npkts; p++) {
    size_t bytes = write_packet(thread, thread->received++, expected);

    EXPECT(thread, pkts[p].len == bytes && memcmp(pkts[p].base, expected, bytes) == 0, 0);
  }
  close_when_done(thread);
}

static void on_registered(uvface_command_t* req, int status, unsigned int code, const char* text) {
  thread_t* thread = req->data;

  (void) text;
  EXPECT(thread, status == 0 && code == 200, status);
  thread->is_registered = true;
  close_when_done(thread);
}

static void on_up(uvface_client_t* client, int status) {
  thread_t* thread = client->data;
  unsigned char packet[PACKET_BYTES];
  int err;

  if (status < 0) {
    EXPECT(thread, status == UV_ECANCELED && thread->is_up, status);
    thread->is_up = false;
    return;
  }
  thread->is_up = true;
  client->face->data = thread;
  EXPECT(thread, uvface_get_transport(client->face) == (thread->life % 2 == 0 ? UVFACE_SHM : UVFACE_STREAM), 0);
  err = uvface_recv_start(client->face, on_packets);
  EXPECT(thread, err == 0, err);
  for (unsigned int n = 0; n < PACKETS; n++) {
    uv_buf_t buf = uv_buf_init((char*) packet, (unsigned int) write_packet(thread, n, packet));

    err = uvface_try_send(client->face, &buf, 1);
    EXPECT(thread, err > 0, err);
  }
}

/* What a call says of its failure is said of this client, whatever others do at the time. */
static void fail_on_purpose(thread_t* thread) {
  char uri[40];
  int err;

  snprintf(uri, sizeof(uri), "no%u-%u://", thread->number, thread->life);
  err = uvface_client_connect(&thread->client, uri, NULL, NULL);
  EXPECT(thread, err == UV_EINVAL && strstr(uvface_client_errmsg(&thread->client), uri) != NULL, err);
}

static void begin_life(thread_t* thread) {
  const thread_t* next = &threads[(thread->number + 1) % THREADS];
  uvface_client_options_t options = UVFACE_CLIENT_OPTIONS_INIT;
  const uint8_t name[] = {8, 2, 't', (uint8_t) ('0' + thread->number)};
  char uri[120];
  int err = uvface_client_init(&thread->loop, &thread->client);

  EXPECT(thread, err == 0, err);
  thread->received = 0;
  thread->is_registered = false;
  thread->client.data = thread->command.data = thread;
  fail_on_purpose(thread);
  snprintf(uri, sizeof(uri), "unix://%s", next->path);
  options.transport = thread->life % 2 == 0 ? UVFACE_SHM : UVFACE_STREAM;
  options.handoff_dir = next->directory;
  err = uvface_client_connect(&thread->client, uri, &options, on_up);
  EXPECT(thread, err == 0, err);
  err = uvface_client_register(&thread->client, &thread->command, name, sizeof(name), NULL, on_registered);
  EXPECT(thread, err == 0, err);
}

/* --- Threads ------------------------------------------------------------------------------------ */

static void run_thread(void* arg) {
  thread_t* thread = arg;

  begin_life(thread);
  if (uv_run(&thread->loop, UV_RUN_DEFAULT) != 0) note_failure(thread, "ended by another's failure", 0);
}

/* All servers listen before the first client comes. */
static void prepare(thread_t* thread) {
  snprintf(thread->directory, sizeof(thread->directory), "/tmp/%s-XXXXXX", harness_name("door"));
  ck_assert_ptr_nonnull(mkdtemp(thread->directory));
  snprintf(thread->path, sizeof(thread->path), "%s/nfd.sock", thread->directory);
  ck_assert_int_eq(uv_loop_init(&thread->loop), 0);
  thread->end_ns = harness_now_ns() + (uint64_t) DEADLINE_MS * 1000000u;
  thread->watch.data = thread;
  uv_timer_init(&thread->loop, &thread->watch);
  uv_timer_start(&thread->watch, on_watch, 100, 100);
  ck_assert_int_eq(uvface_server_init(&thread->loop, &thread->server), 0);
  open_server(thread);
  ck_assert_msg(thread->failure[0] == '\0', "%s", thread->failure);
}

TEST(six_servers_and_their_clients_in_six_threads_do_not_disturb_each_other) {
  lives = harness_under_valgrind() ? LIVES_UNDER_VALGRIND : LIVES;
  for (unsigned int t = 0; t < THREADS; t++) {
    threads[t] = (thread_t){.number = t};
    prepare(&threads[t]);
  }
  for (int t = 0; t < THREADS; t++) ck_assert_int_eq(uv_thread_create(&threads[t].id, run_thread, &threads[t]), 0);
  for (int t = 0; t < THREADS; t++) ck_assert_int_eq(uv_thread_join(&threads[t].id), 0);
  for (int t = 0; t < THREADS; t++) {
    ck_assert_msg(threads[t].failure[0] == '\0', "thread %d: %s", t, threads[t].failure);
    ck_assert_uint_eq(threads[t].registrations, lives);
    /* Only now: libuv closes by a system call that ThreadSanitizer does not see, and another thread would get the
     * number. */
    ck_assert_int_eq(uv_loop_close(&threads[t].loop), 0);
    ck_assert_int_eq(rmdir(threads[t].directory), 0);
  }
}
