/* SPDX-License-Identifier: MIT */
/* stress_engine.c: the engine under stress: one loop, one face per place, every packet sent back. A face that
 * ends, however it ends, is closed and followed by the next generation of its place, at once. Guarantees
 * back-pressure (a face whose answers find no room is not read meanwhile), so that it owes no face more than
 * one batch. Checks the packets of honest apps in the one direction; the apps do so in the other. */
#include "stress.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <uvface.h>

enum { MAX_BATCH = 64, TICK_MS = 20 };

typedef struct engine_s engine_t;

typedef struct seat_s {
  engine_t* engine;
  stress_place_t* place;
  uint32_t index, generation;
  bool closing, first, honest;
  uint64_t next_seq;
  uvface_t face;
  uvface_send_t req;
  uv_buf_t rest[MAX_BATCH];                         /* answers that found no room ... */
  unsigned char kept[MAX_BATCH][STRESS_SLOT_BYTES]; /* ... and their bytes */
} seat_t;

struct engine_s {
  stress_board_t* board;
  uv_loop_t loop;
  uv_timer_t tick;
  bool stopping;
  seat_t seats[STRESS_PLACES];
};

static void open_seat(seat_t* s);

static void on_closed(uvface_t* face) {
  seat_t* s = face->data;
  if (!s->engine->stopping) open_seat(s);
}

static void close_seat(seat_t* s) {
  if (s->closing) return;
  s->closing = true;
  atomic_store(&s->place->generation, 0);
  uvface_close(&s->face, on_closed);
}

static void end_seat(seat_t* s, int status) {
  if (s->closing) return;
  if (status == UV_EOF || status == UV_EPIPE)
    stress_add(&s->place->eof, 1);
  else if (status == UV_EIO)
    stress_add(&s->place->eio, 1);
  else
    stress_add(&s->place->eproto, 1);
  if (s->honest && status != UV_EOF && status != UV_EPIPE) {
    stress_say(s->engine->board, "engine: face of an honest app: %s", uvface_errmsg(&s->face));
    stress_add(&s->place->faults, 1);
  }
  close_seat(s);
}

static void check(seat_t* s, ssize_t npkts, const uv_buf_t pkts[]) {
  uint64_t salt = stress_salt(s->index, s->generation);
  for (ssize_t i = 0; i < npkts; i++, s->next_seq++) {
    const char* wrong = stress_check_packet(pkts[i].base, pkts[i].len, s->next_seq, salt, NULL);
    if (wrong == NULL) continue;
    stress_say(s->engine->board, "engine: place %u, packet %llu: %s", s->index, (unsigned long long) s->next_seq,
               wrong);
    stress_add(&s->place->faults, 1);
    if (pkts[i].len >= sizeof(s->next_seq)) /* a gap is one fault, not one for each packet after it */
      memcpy(&s->next_seq, pkts[i].base, sizeof(s->next_seq));
  }
}

/* Whoever sends: what the library delivers is a packet. */
static void check_lengths(seat_t* s, ssize_t npkts, const uv_buf_t pkts[]) {
  for (ssize_t i = 0; i < npkts; i++) {
    if (pkts[i].len > 0 && pkts[i].len <= uvface_get_mtu(&s->face)) continue;
    stress_say(s->engine->board, "engine: place %u: was given a packet of %zu bytes", s->index, pkts[i].len);
    stress_add(&s->engine->board->errors, 1);
  }
}

static void on_packets(uvface_t* face, ssize_t npkts, const uv_buf_t pkts[]);

static void on_sent(uvface_send_t* req, int status) {
  seat_t* s = req->data;
  if (status == 0 && !s->closing) status = uvface_recv_start(&s->face, on_packets);
  if (status < 0) end_seat(s, status);
}

static void keep_rest(seat_t* s, unsigned int n, const uv_buf_t pkts[]) {
  for (unsigned int i = 0; i < n; i++) {
    memcpy(s->kept[i], pkts[i].base, pkts[i].len);
    s->rest[i] = uv_buf_init((char*) s->kept[i], (unsigned int) pkts[i].len);
  }
  int err = uvface_send_batch(&s->req, &s->face, s->rest, n, on_sent);
  if (err == 0) uvface_recv_stop(&s->face);
}

static void on_packets(uvface_t* face, ssize_t npkts, const uv_buf_t pkts[]) {
  seat_t* s = face->data;
  if (npkts < 0) {
    end_seat(s, (int) npkts);
    return;
  }
  if (s->first) s->honest = atomic_load(&s->place->honest) != 0;
  s->first = false;
  stress_add(&s->place->packets, (uint64_t) npkts);
  check_lengths(s, npkts, pkts);
  if (s->honest) check(s, npkts, pkts);
  int taken = uvface_try_send_batch(face, pkts, (unsigned int) npkts);
  if (taken == UV_EAGAIN) taken = 0;
  if (taken >= 0 && taken < npkts)
    keep_rest(s, (unsigned int) (npkts - taken), pkts + taken); /* a failure is told to recv_cb, too */
}

static int create_named(seat_t* s, uvface_options_t* options) {
  stress_board_t* board = s->engine->board;
  char name[128];
  options->flags = UVFACE_SIGBUS_GUARD;
  if (s->index == board->open_place) {
    options->mode = 0660;
    options->gid = board->open_gid;
  }
  stress_face_name(name, sizeof(name), board->prefix, s->index, s->generation);
  int err = uvface_create(&s->face, name, options);
  atomic_store(&board->guard, err != UV_ENOTSUP);
  if (err == UV_ENOTSUP) {
    options->flags = 0;
    err = uvface_create(&s->face, name, options);
  }
  return err;
}

/* To the stage, who will give them to an app. Afterwards the app's death is end of file. */
static int hand_over(const seat_t* s) {
  stress_offer_t offer = {s->index, s->generation};
  union {
    struct cmsghdr align;
    char bytes[CMSG_SPACE(3 * sizeof(int))];
  } control = {.bytes = {0}};
  struct iovec v = {&offer, sizeof(offer)};
  struct msghdr m = {
      .msg_iov = &v, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof(control.bytes)};
  struct cmsghdr* c = CMSG_FIRSTHDR(&m);
  int fds[3], err = uvface_app_fds(&s->face, fds);
  if (err < 0) return err;
  c->cmsg_level = SOL_SOCKET;
  c->cmsg_type = SCM_RIGHTS;
  c->cmsg_len = CMSG_LEN(sizeof(fds));
  memcpy(CMSG_DATA(c), fds, sizeof(fds));
  return sendmsg(STRESS_FACE_FD, &m, MSG_NOSIGNAL) < 0 ? uv_translate_sys_error(errno) : 0;
}

/* For apps of any user, and so without guard: the region cannot be lost. */
static int create_private(seat_t* s, uvface_options_t* options) {
  options->flags = UVFACE_WAKE_SOCKET;
  int err = uvface_create_private(&s->face, options);
  if (err == 0) err = hand_over(s);
  if (err == 0) uvface_app_fds_close(&s->face);
  return err;
}

static int create(seat_t* s) {
  uvface_options_t options = UVFACE_OPTIONS_INIT;
  options.capacity = STRESS_CAPACITY;
  options.slot_size = STRESS_SLOT_BYTES;
  int err = s->engine->board->is_private != 0 ? create_private(s, &options) : create_named(s, &options);
  return err == 0 ? uvface_recv_start(&s->face, on_packets) : err;
}

/* A name that is taken is left to who has it: the next generation has another. */
static void open_seat(seat_t* s) {
  int err = uvface_init(&s->engine->loop, &s->face);
  if (err < 0) {
    stress_say(s->engine->board, "engine: uvface_init: %s", uv_strerror(err));
    stress_add(&s->engine->board->errors, 1);
    return;
  }
  s->face.data = s->req.data = s;
  s->closing = s->honest = false;
  s->first = true;
  s->next_seq = 0;
  s->generation++;
  err = create(s);
  if (err == 0) {
    stress_add(&s->place->opened, 1);
    atomic_store(&s->place->generation, s->generation);
    return;
  }
  if (err == UV_EADDRINUSE) {
    stress_add(&s->place->refused, 1);
  } else {
    stress_say(s->engine->board, "engine: %s", uvface_errmsg(&s->face));
    stress_add(&s->engine->board->errors, 1);
  }
  close_seat(s);
}

static void on_tick(uv_timer_t* tick) {
  engine_t* e = tick->data;
  if (atomic_load(&e->board->stop) == 0) return;
  e->stopping = true;
  for (uint32_t i = 0; i < e->board->nplaces; i++) close_seat(&e->seats[i]);
  uv_close((uv_handle_t*) tick, NULL);
}

/* Touched once: what is kept for back-pressure must not look like a leak later. */
static engine_t* engine_new(stress_board_t* board) {
  engine_t* e = malloc(sizeof(*e));
  if (e == NULL || uv_loop_init(&e->loop) != 0) {
    free(e);
    return NULL;
  }
  e->board = board;
  e->stopping = false;
  for (uint32_t i = 0; i < STRESS_PLACES; i++) {
    memset(&e->seats[i], 0, sizeof(e->seats[i]));
    e->seats[i].engine = e;
    e->seats[i].index = i;
    e->seats[i].place = &board->places[i];
  }
  uv_timer_init(&e->loop, &e->tick);
  e->tick.data = e;
  uv_timer_start(&e->tick, on_tick, TICK_MS, TICK_MS);
  return e;
}

int stress_engine(stress_board_t* board) {
  engine_t* e = engine_new(board);
  if (e == NULL) return 1;
  for (uint32_t i = 0; i < board->nplaces; i++) open_seat(&e->seats[i]);
  atomic_store(&board->ready, 1);
  stress_stay_watch(board);
  uv_run(&e->loop, UV_RUN_DEFAULT);
  int err = uv_loop_close(&e->loop);
  if (err != 0) stress_say(board, "engine: uv_loop_close: %s", uv_strerror(err));
  free(e);
  return err != 0;
}
