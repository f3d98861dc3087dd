/* SPDX-License-Identifier: MIT */
/* faces.c: see faces.h. */
#include "faces.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

kind_t faces_kind;

/* --- Handing over ------------------------------------------------------------------------------- */

/* Both ends of a socket that keeps what is sent apart, made before the first test counts its descriptors. A message is
 * a name and the three. */
static int box[2];

__attribute__((constructor)) static void make_box(void) {
  faces_kind = harness_kind();
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, box) != 0) abort();
}

void face_offer(const char* name, const int fds[3]) {
  char control[CMSG_SPACE(3 * sizeof(int))] = {0};
  struct iovec text = {(void*) (uintptr_t) name, strlen(name) + 1};
  struct msghdr m = {.msg_iov = &text, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)};
  struct cmsghdr* c = CMSG_FIRSTHDR(&m);

  c->cmsg_level = SOL_SOCKET;
  c->cmsg_type = SCM_RIGHTS;
  c->cmsg_len = CMSG_LEN(3 * sizeof(int));
  memcpy(CMSG_DATA(c), fds, 3 * sizeof(int));
  if (sendmsg(box[0], &m, 0) < 0) abort();
}

bool face_is_offered(const char* name) {
  char text[80];

  return recv(box[1], text, sizeof(text), MSG_PEEK) > 0 && strcmp(text, name) == 0;
}

/* What lies before it was offered to a test that did not want it. */
bool face_take(const char* name, int ret_fds[3]) {
  char control[CMSG_SPACE(3 * sizeof(int))], text[80];

  for (;;) {
    struct iovec v = {text, sizeof(text)};
    struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)};

    struct cmsghdr* c;

    if (recvmsg(box[1], &m, MSG_CMSG_CLOEXEC) < 0 || (c = CMSG_FIRSTHDR(&m)) == NULL) return false;
    memcpy(ret_fds, CMSG_DATA(c), 3 * sizeof(int));
    if (strcmp(text, name) == 0) return true;
    close_fds(ret_fds);
  }
}

void face_hand_over(const uvface_t* engine, int ret_fds[3]) {
  int fds[3];

  ASSERT_OK(uvface_app_fds(engine, fds));
  for (int i = 0; i < 3; i++) {
    ret_fds[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, 0);
    ck_assert_int_ge(ret_fds[i], 0);
  }
}

void close_fds(const int fds[3]) {
  for (int i = 0; i < 3; i++) close(fds[i]);
}

int face_create(uvface_t* engine, const char* name, const uvface_options_t* options) {
  uvface_options_t taken = UVFACE_OPTIONS_INIT;
  int fds[3], err;

  if (faces_kind != BY_SOCKET && faces_kind != BY_PIPES) return uvface_create(engine, name, options);
  if (options != NULL) taken = *options;
  taken.flags |= faces_kind == BY_SOCKET ? UVFACE_WAKE_SOCKET : UVFACE_WAKE_PIPE;
  err = uvface_create_private(engine, &taken);
  if (err < 0) return err;
  err = uvface_app_fds(engine, fds);
  if (err == 0) face_offer(name, fds);
  uvface_app_fds_close(engine);
  return err;
}

int face_connect(uvface_t* app, const char* name, const uvface_options_t* options) {
  uvface_options_t taken = UVFACE_OPTIONS_INIT;
  int fds[3], err;

  if (faces_kind != BY_SOCKET && faces_kind != BY_PIPES) return uvface_connect(app, name, options);
  if (!face_take(name, fds)) return UV_ENOENT;
  if (options != NULL) taken = *options;
  taken.slot_size = 0; /* whatever the engine was asked for */
  err = uvface_attach(app, fds, &taken);
  if (err < 0) {
    face_offer(name, fds); /* it may be tried again */
    close_fds(fds);
  }
  return err;
}

/* --- A pair -------------------------------------------------------------------------------------- */

static void open_streams(pair_t* pair, const uvface_options_t* options) {
  int fds[2];

  ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
  ASSERT_OK(uvface_open_stream(&pair->engine, fds[0], options));
  ASSERT_OK(uvface_open_stream(&pair->app, fds[1], options));
}

void pair_open(pair_t* pair, const uvface_options_t* options) {
  static const uvface_options_t defaults = UVFACE_OPTIONS_INIT;

  memset(pair, 0, sizeof(*pair));
  pair->kind = faces_kind;
  snprintf(pair->name, sizeof(pair->name), "%s", harness_name("pair"));
  if (options == NULL) options = &defaults;
  ASSERT_OK(uv_loop_init(&pair->loop));
  ASSERT_OK(uvface_init(&pair->loop, &pair->engine));
  ASSERT_OK(uvface_init(&pair->loop, &pair->app));
  if (faces_kind == STREAM) {
    open_streams(pair, options);
    return;
  }
  ck_assert_msg(face_create(&pair->engine, pair->name, options) == 0, "%s", uvface_errmsg(&pair->engine));
  ck_assert_msg(face_connect(&pair->app, pair->name, options) == 0, "%s", uvface_errmsg(&pair->app));
}

void pair_close(pair_t* pair) {
  uvface_close(&pair->app, NULL);
  uvface_close(&pair->engine, NULL);
  finish_loop(&pair->loop);
}

void finish_loop(uv_loop_t* loop) {
  ck_assert_int_eq(uv_run(loop, UV_RUN_DEFAULT), 0);
  ck_assert_int_eq(uv_loop_close(loop), 0);
}

/* --- With a deadline -------------------------------------------------------------------------- */

#define TICK_MS 10

static void on_tick(uv_timer_t* timer) {
  (void) timer; /* that it wakes the loop is all */
}

static void start(patience_t* patience, uv_loop_t* loop, int timeout_ms, uint64_t first_ms, uint64_t then_ms) {
  patience->end_ns = harness_now_ns() + (uint64_t) timeout_ms * 1000000u * harness_slow();
  uv_timer_init(loop, &patience->tick);
  patience->tick.data = NULL;
  uv_update_time(loop);
  uv_timer_start(&patience->tick, on_tick, first_ms, then_ms);
}

void patience_start(patience_t* patience, uv_loop_t* loop, int timeout_ms) {
  start(patience, loop, timeout_ms, TICK_MS, TICK_MS);
}

bool patience_is_over(const patience_t* patience) {
  return harness_now_ns() >= patience->end_ns;
}

void patience_stop(patience_t* patience) {
  uv_loop_t* loop = patience->tick.loop;

  uv_close((uv_handle_t*) &patience->tick, NULL);
  uv_run(loop, UV_RUN_NOWAIT);
}

bool run_until(uv_loop_t* loop, const int* flag, int timeout_ms) {
  patience_t patience;

  patience_start(&patience, loop, timeout_ms);
  while (!*flag && !patience_is_over(&patience)) uv_run(loop, UV_RUN_ONCE);
  patience_stop(&patience);
  return *flag != 0;
}

void run_until_parked(uv_loop_t* loop, const uvface_t* face) {
  patience_t patience;
  uvface_stats_t stats = {0};

  patience_start(&patience, loop, PATIENCE_MS);
  while (stats.parks == 0 && !patience_is_over(&patience)) {
    uv_run(loop, UV_RUN_NOWAIT);
    ASSERT_OK(uvface_get_stats(face, &stats));
  }
  patience_stop(&patience);
  ck_assert_uint_gt(stats.parks, 0);
}

uint64_t run_for(uv_loop_t* loop, int ms) {
  uint64_t turns = 0;
  patience_t patience;

  start(&patience, loop, ms, (uint64_t) ms * harness_slow() + 1, 1); /* no tick before: the loop may sleep */
  for (; !patience_is_over(&patience); turns++) uv_run(loop, UV_RUN_ONCE);
  patience_stop(&patience);
  return turns;
}

void turns_since(uint64_t began_ns, uint64_t turns, unsigned int per_s) {
  uint64_t ms = (harness_now_ns() - began_ns) / 1000000;

  ck_assert_msg(turns <= ms * per_s / 1000 + 20, "%llu turns in %llu ms", (unsigned long long) turns,
                (unsigned long long) ms);
}

void run_asleep(uv_loop_t* loop, int ms) {
  uint64_t began_ns = harness_now_ns();
  turns_since(began_ns, run_for(loop, ms), 100);
}

static bool is_closed;

static void on_closed(uvface_t* face) {
  (void) face;
  is_closed = true;
}

void close_face(uvface_t* face) {
  is_closed = false;
  uvface_close(face, on_closed);
  RUN_UNTIL(face->loop, is_closed);
}

static int fill_with(uvface_t* face, char* packet, unsigned int bytes) {
  uv_buf_t buf = uv_buf_init(packet, bytes);
  int n = 0;

  while (uvface_try_send(face, &buf, 1) > 0) n++;
  return n;
}

/* Of small packets alone a stream would take a hundred thousand. */
int fill_ring(uvface_t* face) {
  static char large[1004] = {5, (char) 253, 1000 >> 8, (char) (1000 & 255)}, small[2] = {5, 0};
  int n;

  if (uvface_get_transport(face) != UVFACE_STREAM) return fill_with(face, small, 1);
  n = fill_with(face, large, sizeof(large));
  return n + fill_with(face, small, sizeof(small));
}

static void stop_if_probe(uv_handle_t* handle, void* arg) {
  uv_timer_t* timer = (uv_timer_t*) handle;

  if (handle->type != UV_TIMER || uv_timer_get_repeat(timer) != 1000) return;
  uv_timer_stop(timer);
  ++*(int*) arg;
}

void stop_probe(uv_loop_t* loop) {
  int stopped = 0;

  uv_walk(loop, stop_if_probe, &stopped);
  ck_assert_int_eq(stopped, 1);
}

uvface_stats_t stats_of(const uvface_t* face) {
  uvface_stats_t stats;

  ASSERT_OK(uvface_get_stats(face, &stats));
  return stats;
}

/* --- A face of one role ------------------------------------------------------------------------- */

static void fill_message(unsigned char* message, size_t bytes, uint64_t sequence) {
  memset(message, (int) (sequence & 0xff), bytes);
  for (int b = 0; b < 8; b++) message[b] = (unsigned char) (sequence >> (8 * b));
}

static bool check_message(const uv_buf_t* packet, size_t bytes, uint64_t sequence) {
  unsigned char expected[9000];

  fill_message(expected, bytes, sequence);
  return packet->len == bytes && memcmp(packet->base, expected, bytes) == 0;
}

bool end_send_message(end_t* end) {
  unsigned char message[9000];
  uv_buf_t buf = uv_buf_init((char*) message, (unsigned int) end->size_bytes);

  fill_message(message, end->size_bytes, end->sent);
  if (uvface_try_send(&end->face, &buf, 1) < 0) return false;
  end->sent++;
  return true;
}

void end_on_packets(uvface_t* face, ssize_t npkts, const uv_buf_t pkts[]) {
  end_t* end = face->data;

  if (npkts < 0) {
    end->eof_ns = harness_now_ns();
    end->error = (int) npkts;
    end->done = 1;
    return;
  }
  for (ssize_t p = 0; p < npkts; p++) {
    if (end->verify && !check_message(&pkts[p], end->size_bytes, end->received)) end->bad++;
    end->received++;
    if (end->echo && uvface_try_send(face, &pkts[p], 1) < 0) end->bad++;
    if (end->stream) end_send_message(end);
  }
  if (end->count != 0 && end->received >= end->count) end->done = 1;
}

int end_open(end_t* end, const char* name, bool engine, const uvface_options_t* options) {
  uint64_t deadline_ns = harness_now_ns() + (uint64_t) DEADLINE_MS * 1000000u;
  int err;

  uv_loop_init(&end->loop);
  uvface_init(&end->loop, &end->face);
  end->face.data = end;
  if (engine) return face_create(&end->face, name, options);
  do {
    err = face_connect(&end->face, name, options);
    if (err == 0) break;
    run_for(&end->loop, 5);
  } while (harness_now_ns() < deadline_ns);
  return err;
}

void end_close(end_t* end) {
  uvface_close(&end->face, NULL);
  finish_loop(&end->loop);
}
