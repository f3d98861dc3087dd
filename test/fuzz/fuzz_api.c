/* SPDX-License-Identifier: MIT */
/* fuzz_api.c: a program that calls any function of uvface.h at any time, from every callback, on several faces of two
 * loops that talk to each other, while a hostile peer's hand is in some of them. Input: flags, what is done between turns
 * from the front, what is done in callbacks from the back.
 *
 * Holds the product to the ten rules of docs/design.rst: no callback inside a call, each one exactly once, in order, and
 * none after it was stopped or closed; what a call returns is what the header lists for the state that the face is in;
 * packets arrive as they were sent, in order, all of them; the program's memory is not touched once it was given back (each
 * face, request, packet and filter is a block of its own, freed at the first moment allowed); nobody is left asleep beside
 * a packet; and nothing is left. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../lib/words.h"
#include "api.h"

enum { FLAG_TWO_LOOPS = 1, FLAG_WALK = 2, FLAG_LONELY = 4, FLAG_FORKS = 0xf8 };

#define ENDS_MAX 6
#define LOOPS_MAX 2
#define OPS_MAX 160
#define OPS_PER_CALLBACK 4
#define BATCH_MAX 8
#define POINTS_PER_STEP 200000
#define FDS_MAX 64
#define ROUNDS_MAX 4000
#define NAMES_BAD 4

typedef struct end_s end_t;

/* A request, its packets, and what the ledger knows of them. */
typedef struct request_s {
  uvface_send_t req;
  end_t* end;
  ledger_t* ledger;
  struct request_s* next;
  unsigned int first, n;
  uint8_t* bytes;
} request_t;

typedef struct filter_s {
  uvface_filter_t f; /* first */
  ledger_t* in;      /* what it sees; NULL = not open yet, or a closed face */
  uint8_t mode;
  bool ended;
  bool may_close; /* the close callback has run, or there is none */
  end_t* end;     /* NULL once that is gone */
} filter_t;

typedef enum { END_CLOSED, END_OPEN, END_CLOSING } end_state_t;

/* A face, and what is known of it. */
struct end_s {
  uvface_t face;
  end_t* next; /* of all */
  unsigned int loop;
  end_state_t state;
  int error; /* that it was told, 0 = none */
  bool receiving, drops, ref, orphan;
  bool silent_close;
  bool hears, heard_gone; /* by an event callback */
  bool expires, bounded, guarded, borrows;
  link_t* link; /* of an open one, and then its side */
  unsigned int side;
  request_t *first, *last; /* with a callback, in order */
  request_t* mute;         /* without: kept until the face is closed */
  uint8_t* slot;           /* reserved, and a packet is in it already */
  size_t slot_bytes;
  unsigned int slot_number;
  filter_t* filter;
  uint64_t received, sent; /* packets */
};

/* A loop, and the program's own handles on it. */
typedef struct loop_s {
  uv_loop_t loop;
  uv_timer_t timer;
  uv_async_t async;
  uv_prepare_t prepare;
  uv_check_t check;
  uv_idle_t idle;
  bool dead;   /* somebody has closed all handles that were there */
  bool lonely; /* the program's own are closed */
} loop_t;

static struct {
  fuzz_input_t in;
  unsigned int flags;
  loop_t loops[LOOPS_MAX];
  unsigned int nloops;
  end_t* ends[ENDS_MAX]; /* those that the program still uses */
  end_t* all;            /* those whose memory is the product's */
  unsigned int ops;
  unsigned int in_call;     /* of the product's */
  unsigned int in_callback; /* of ours */
  bool quiet;               /* callbacks do nothing more */
  unsigned int news;        /* callbacks so far */
  unsigned int points, poke_at;
  uint8_t poke[3];
  unsigned int poke_link;
  bool forked;
} run;

static void do_some(void);

/* --- Steps in the midst of a call --------------------------------------------------------------- */

void ndnshm__point(const char* access) {
  (void) access;
  run.points++;
  FUZZ_REQUIRE(run.points < POINTS_PER_STEP); /* a step does not end */
  if (run.poke_at == 0 || --run.poke_at > 0) return;
  link_poke(link_get(run.poke_link), run.poke[0] % 5, run.poke[1], run.poke[2]);
}

static void enter(void) {
  if (run.in_call++ == 0) run.points = 0;
}

static int leave(int result) {
  run.in_call--;
  return result;
}

/* One of the product's, in which the script is asked what to do. */
static void begin_callback(void) {
  FUZZ_REQUIRE(run.in_call == 0); /* rule 2 */
  run.in_callback++;
  run.news++;
}

static void end_callback(void) {
  run.in_callback--;
}

static uint8_t next_byte(void) {
  return run.in_callback > 0 ? fuzz_back(&run.in) : fuzz_front(&run.in);
}

/* --- What is known of an end -------------------------------------------------------------------- */

static ledger_t* out_of(const end_t* end) {
  return &end->link->ledgers[end->side];
}

static ledger_t* into(const end_t* end) {
  return &end->link->ledgers[1 - end->side];
}

static bool is_dead(const end_t* end) {
  return end->orphan;
}

static bool is_poked(const end_t* end) {
  return end->link != NULL && (end->link->ledgers[0].poked || end->link->ledgers[1].poked);
}

/* Its peer has gone, or its socket may have. */
static bool may_be_alone(const end_t* end) {
  return is_poked(end) || end->link->closed[1 - end->side];
}

/* Whether an error of a call that needs an open face is one that the header lists for the state that it is in. */
static bool is_due(const end_t* end, int err, int after_eof) {
  if (end->state != END_OPEN) return err == UV_ENOTCONN;
  if (end->error == UV_EOF) return err == after_eof;
  if (end->error != 0) return err == end->error;
  if (err == UV_ECANCELED) return is_dead(end);
  if (err == UV_EPROTO || err == UV_EIO) return is_poked(end);
  return err == after_eof && may_be_alone(end);
}

/* A call that must fail where the state says so. */
static void check_state(const end_t* end, int result, int after_eof) {
  if (result == 0 || result > 0) FUZZ_REQUIRE(end->state == END_OPEN && end->error == 0);
  if (end->state != END_OPEN) FUZZ_REQUIRE(result == UV_ENOTCONN);
  if (end->error != 0) FUZZ_REQUIRE(result == (end->error == UV_EOF ? after_eof : end->error));
}

/* The words of a failure begin with the function's name. */
static void check_words(const end_t* end, const char* function) {
  const char* words = uvface_errmsg(&end->face);

  FUZZ_REQUIRE(strncmp(words, function, strlen(function)) == 0 && words[strlen(function)] == ':');
}

static void check_refusal(end_t* end, int err, const char* function) {
  if (!is_due(end, err, UV_EPIPE))
    fprintf(stderr, "%s: %s: %s\n", function, uv_err_name(err), uvface_errmsg(&end->face));
  FUZZ_REQUIRE(is_due(end, err, UV_EPIPE));
  check_words(end, function);
}

static end_t* pick(uint8_t arg) {
  return run.ends[arg % ENDS_MAX];
}

/* --- Callbacks ---------------------------------------------------------------------------------- */

static void forget(end_t* end) {
  for (int i = 0; i < ENDS_MAX; i++)
    if (run.ends[i] == end) run.ends[i] = NULL;
}

/* The memory of an end that the product has given back. */
static void free_end(end_t* end) {
  end_t** at = &run.all;

  while (*at != end) at = &(*at)->next;
  *at = end->next;
  forget(end);
  while (end->mute != NULL) {
    request_t* request = end->mute;

    end->mute = request->next;
    free(request->bytes);
    free(request);
  }
  FUZZ_REQUIRE(end->first == NULL); /* rule 5: close comes last */
  if (end->filter != NULL) end->filter->end = NULL;
  free(end);
}

static void on_closed(uvface_t* face) {
  end_t* end = face->data;

  begin_callback();
  FUZZ_REQUIRE(end->state == END_CLOSING && !end->silent_close);
  if (end->filter != NULL) end->filter->may_close = true;
  free_end(end);
  do_some();
  end_callback();
}

static void close_end(end_t* end, bool silent) {
  enter();
  uvface_close(&end->face, silent ? NULL : on_closed);
  leave(0);
  if (end->state == END_CLOSING) return; /* a second one is ignored */
  if (end->state == END_OPEN) {
    end->link->open[end->side]--;
    end->link->closed[end->side] = true;
    if (!end->guarded) end->link->unguarded--;
  }
  end->state = END_CLOSING;
  end->silent_close = silent;
  end->receiving = false;
  if (end->slot != NULL) ledger_settle(out_of(end), end->slot_number, 1, LEDGER_REFUSED);
  end->slot = NULL;
  for (request_t* r = end->first; r != NULL; r = r->next) ledger_settle(r->ledger, r->first, r->n, LEDGER_MAYBE);
  if (!silent) return;
  if (end->filter != NULL) end->filter->may_close = true;
  forget(end); /* nothing says how long it can still be asked */
}

static bool is_end_of_face(int status) {
  return status == UV_EOF || status == UV_EPROTO || status == UV_EIO;
}

static void check_end(end_t* end, int status) {
  FUZZ_REQUIRE(is_end_of_face(status));
  if (status == UV_EOF)
    FUZZ_REQUIRE(may_be_alone(end));
  else
    FUZZ_REQUIRE(is_poked(end));
}

/* All bytes of the packets, one after the other; their number. */
static size_t copy_bytes(const uv_buf_t pkts[], ssize_t npkts, uint8_t* to) {
  size_t bytes = 0;

  for (ssize_t p = 0; p < npkts; p++) {
    memcpy(to + bytes, pkts[p].base, pkts[p].len);
    bytes += pkts[p].len;
  }
  return bytes;
}

static void on_packets(uvface_t* face, ssize_t npkts, const uv_buf_t pkts[]) {
  static uint8_t held[64 * (LEDGER_BYTES_MAX + 128)], after[sizeof(held)];
  end_t* end = face->data;
  bool may_change = end->borrows;
  size_t bytes;

  begin_callback();
  FUZZ_REQUIRE(end->state == END_OPEN && end->receiving && !end->drops && end->error == 0);
  if (npkts < 0) {
    check_end(end, (int) npkts);
    if (npkts == UV_EOF && end->link->kind != BY_STREAM && end->link->open[1 - end->side] == 0)
      ledger_require_all(into(end));
    end->receiving = false;
    end->error = (int) npkts;
    do_some();
  } else {
    FUZZ_REQUIRE(npkts > 0 && npkts <= 64);
    for (ssize_t p = 0; p < npkts; p++) ledger_receive(into(end), &pkts[p], false);
    end->received += (uint64_t) npkts;
    bytes = copy_bytes(pkts, npkts, held);
    do_some(); /* it may close the face; the packets stay */
    FUZZ_REQUIRE(copy_bytes(pkts, npkts, after) == bytes);
    if (!may_change) FUZZ_REQUIRE(memcmp(held, after, bytes) == 0);
  }
  end_callback();
}

static void on_sent(uvface_send_t* req, int status) {
  request_t* request = (request_t*) (void*) req;
  end_t* end = request->end;

  begin_callback();
  FUZZ_REQUIRE(req->face == &end->face && end->first == request); /* rule 3 */
  end->first = request->next;
  if (end->first == NULL) end->last = NULL;
  if (status == UV_ECANCELED)
    FUZZ_REQUIRE(end->state == END_CLOSING);
  else if (status == UV_ETIMEDOUT)
    FUZZ_REQUIRE(end->expires);
  else if (status == UV_EPIPE)
    FUZZ_REQUIRE(may_be_alone(end));
  else if (status != 0)
    check_end(end, status);
  if (status == 0) end->sent += request->n;
  ledger_settle(request->ledger, request->first, request->n,
                status == 0      ? LEDGER_SENT
                : request->n > 1 ? LEDGER_MAYBE
                                 : LEDGER_REFUSED);
  free(request->bytes);
  free(request);
  do_some();
  end_callback();
}

static int on_packet(uvface_filter_t* filter, uvface_t* face, uv_buf_t* packet) {
  filter_t* f = (filter_t*) (void*) filter;
  end_t* end = face->data;
  uint8_t mode = f->mode;

  begin_callback();
  FUZZ_REQUIRE(end->filter == f && end->state == END_OPEN && !f->ended);
  if (end->link->kind != BY_STREAM) FUZZ_REQUIRE(end->receiving);
  ledger_receive(into(end), packet, true);
  if (mode % 4 == 1) into(end)->lossy = true;
  do_some();
  end_callback();
  return mode % 4 != 1;
}

static size_t on_send(uvface_filter_t* filter, uvface_t* face, uint8_t* packet, size_t bytes, size_t room) {
  filter_t* f = (filter_t*) (void*) filter;
  end_t* end = face->data;

  FUZZ_REQUIRE(end->filter == f && end->state == END_OPEN && end->link->kind == BY_STREAM);
  FUZZ_REQUIRE(room >= bytes + 64);
  return ledger_edit(out_of(end), packet, bytes, end->link->mtu, (uint8_t) (f->mode >> 2));
}

static void on_end(uvface_filter_t* filter, uvface_t* face, int status) {
  filter_t* f = (filter_t*) (void*) filter;
  end_t* end = face->data;

  begin_callback();
  FUZZ_REQUIRE(end->filter == f && end->state == END_OPEN && (!end->receiving || end->drops) && !f->ended);
  check_end(end, status);
  f->ended = true;
  into(end)->lossy = true; /* what it has not seen by now */
  do_some();
  end_callback();
}

/* After the close callback: the face's memory may be another's already. */
static void on_filter_closed(uvface_filter_t* filter, uvface_t* face) {
  filter_t* f = (filter_t*) (void*) filter;

  begin_callback();
  FUZZ_REQUIRE(f->may_close);
  if (f->end != NULL) { /* closed without a callback: this is how the program learns */
    FUZZ_REQUIRE(face == &f->end->face && f->end->silent_close);
    free_end(f->end);
  }
  free(f);
  do_some();
  end_callback();
}

static void on_event(uvface_t* face, unsigned int events, int status) {
  end_t* end = face->data;

  begin_callback();
  FUZZ_REQUIRE(end->state == END_OPEN && end->hears);
  FUZZ_REQUIRE(events != 0 && events < 2 * UVFACE_ROOM);
  FUZZ_REQUIRE(((events & UVFACE_GONE) != 0) == (status != 0));
  FUZZ_REQUIRE((events & (UVFACE_ATTACHED | UVFACE_SEALED)) == 0 || end->side == 0);
  if (status != 0) {
    check_end(end, status);
    FUZZ_REQUIRE(!end->heard_gone);
    end->heard_gone = true;
  }
  if ((events & UVFACE_ATTACHED) != 0) FUZZ_REQUIRE(is_poked(end) || end->link->open[1] > 0 || end->link->closed[1]);
  do_some();
  end_callback();
}

static void on_timer(uv_timer_t* handle) {
  (void) handle;
  begin_callback();
  do_some();
  end_callback();
}

static void on_async(uv_async_t* handle) {
  (void) handle;
  begin_callback();
  do_some();
  end_callback();
}

static void on_prepare(uv_prepare_t* handle) {
  (void) handle;
  begin_callback();
  do_some();
  end_callback();
}

static void on_check(uv_check_t* handle) {
  (void) handle;
  begin_callback();
  do_some();
  end_callback();
}

static void on_idle(uv_idle_t* handle) {
  (void) handle;
  begin_callback();
  do_some();
  end_callback();
}

/* --- Opening ------------------------------------------------------------------------------------ */

static end_t* new_end(uint8_t slot, uint8_t loop) {
  end_t* end;

  slot %= ENDS_MAX;
  loop = (uint8_t) (loop % run.nloops);
  if (run.ends[slot] != NULL || run.loops[loop].lonely) return NULL;
  end = calloc(1, sizeof(*end));
  FUZZ_REQUIRE(end != NULL);
  enter();
  FUZZ_REQUIRE(leave(uvface_init(&run.loops[loop].loop, &end->face)) == 0);
  FUZZ_REQUIRE(end->face.data == NULL && end->face.loop == &run.loops[loop].loop);
  end->face.data = end;
  end->loop = loop;
  end->ref = true;
  end->next = run.all;
  run.all = end;
  run.ends[slot] = end;
  return end;
}

static uvface_options_t pick_options(uint8_t code) {
  static const uint32_t capacities[4] = {1, 2, 4, 16}, sizes[4] = {16, 60, 300, 1000};
  uvface_options_t options = UVFACE_OPTIONS_INIT;

  options.capacity = capacities[code % 4];
  options.slot_size = sizes[code / 4 % 4];
  if ((code & 16) != 0) options.flags |= UVFACE_RECV_BORROW;
  if ((code & 32) != 0) options.flags |= UVFACE_SIGBUS_GUARD;
  options.hot_ns = (code & 64) != 0 ? 0 : 5000;
  options.spin_ns = (code & 64) != 0 ? 0 : 200;
  if ((code & 128) != 0) {
    options.send_timeout_ms = 5;
    options.queue_max = 2;
  }
  return options;
}

/* The call has succeeded. */
static void opened(end_t* end, link_t* link, unsigned int side, const uvface_options_t* options) {
  FUZZ_REQUIRE(end->state == END_CLOSED && !is_dead(end));
  FUZZ_REQUIRE(uvface_errmsg(&end->face)[0] == '\0');
  end->state = END_OPEN;
  end->link = link;
  end->side = side;
  end->borrows = (options->flags & UVFACE_RECV_BORROW) != 0 && link->kind != BY_STREAM;
  end->guarded = (options->flags & UVFACE_SIGBUS_GUARD) != 0;
  end->expires =
      options->send_timeout_ms > 0 || (options->send_timeout_ms < 0 && (side != 0 || link->kind == BY_STREAM));
  end->bounded = options->queue_max != 0 || (side == 0 && link->kind != BY_STREAM);
  if (!end->guarded) link->unguarded++;
  if (link->open[side]++ > 0) link_mark_poked(link); /* two apps at a time: neither can know */
}

/* The engine that has the name now. */
static end_t* engine_of(unsigned int name) {
  for (end_t* end = run.all; end != NULL; end = end->next)
    if (end->state == END_OPEN && end->side == 0 && end->link->kind == BY_NAME && end->link->name == name) return end;
  return NULL;
}

/* Why an open may fail that has nothing to do with whom it meets. */
static bool may_not_open(const end_t* end, int err) {
  if (end->state == END_OPEN) return err == UV_EALREADY;
  if (end->state == END_CLOSING) return err == UV_ENOTCONN;
  return err == UV_ECANCELED && is_dead(end);
}

static int create(end_t* end, link_kind_t kind, unsigned int name, uint8_t code) {
  uvface_options_t options = pick_options(code);
  link_t* link;
  int err;

  name %= NAMES;
  if (end == NULL) return -1;
  if (kind == BY_DESCRIPTORS) options.flags |= (code & 64) != 0 ? UVFACE_WAKE_SOCKET : UVFACE_WAKE_PIPE;
  enter();
  err = leave(kind == BY_NAME ? uvface_create(&end->face, link_name(name), &options)
                              : uvface_create_private(&end->face, &options));
  if (err < 0) {
    FUZZ_REQUIRE(may_not_open(end, err) || (kind == BY_NAME && err == UV_EADDRINUSE && engine_of(name) != NULL));
    check_words(end, kind == BY_NAME ? "uvface_create" : "uvface_create_private");
    return err;
  }
  FUZZ_REQUIRE(kind != BY_NAME || engine_of(name) == NULL);
  link = link_new(kind);
  if (link == NULL) { /* too many for one run: the script goes on without it */
    enter();
    uvface_close(&end->face, on_closed);
    leave(0);
    end->state = END_CLOSING;
    return -1;
  }
  link->name = name;
  opened(end, link, 0, &options);
  link_hold_region(link, &end->face);
  FUZZ_REQUIRE(uvface_get_mtu(&end->face) == options.slot_size);
  return 0;
}

static int connect_to(end_t* end, unsigned int name, uint8_t code) {
  uvface_options_t options = pick_options(code);
  end_t* engine;
  int err;

  name %= NAMES;
  if (end == NULL) return -1;
  enter();
  err = leave(uvface_connect(&end->face, link_name(name), &options));
  engine = engine_of(name);
  if (err < 0) {
    /* A region that is sealed has given up its name: there is no second app for it. The hand that opens a FIFO is one. */
    FUZZ_REQUIRE(may_not_open(end, err) || err == UV_ENOENT || (err == UV_ECONNREFUSED && engine == NULL) ||
                 (err == UV_EPROTO && engine != NULL && is_poked(engine)) ||
                 (err == UV_EBUSY && engine != NULL &&
                  (engine->link->open[1] > 0 || engine->link->closed[1] || is_poked(engine))));
    check_words(end, "uvface_connect");
    return err;
  }
  FUZZ_REQUIRE(engine != NULL);
  opened(end, engine->link, 1, &options);
  return 0;
}

/* An app's copies of the descriptors of an engine's face; or those that the hand still holds. */
static bool hand_over(const end_t* engine, link_t* link, int ret_fds[3]) {
  int fds[3], err;

  enter();
  err = leave(uvface_app_fds(&engine->face, fds));
  if (engine->state != END_OPEN) {
    FUZZ_REQUIRE(err == UV_ENOTCONN);
    return false;
  }
  FUZZ_REQUIRE(err == (link->kind != BY_DESCRIPTORS || engine->side != 0 || link->app_fds_closed ? UV_EBADF : 0));
  if (err < 0 && link->raw[1] < 0) return false;
  for (int i = 0; i < 3; i++) {
    int fd = err == 0 ? fds[i] : link->raw[i];

    ret_fds[i] = fd >= 0 ? fcntl(fd, F_DUPFD_CLOEXEC, 3) : -1;
  }
  return true;
}

static void close_fds(int fds[3]) {
  for (int i = 0; i < 3; i++)
    if (fds[i] >= 0 && (i < 2 || fds[2] != fds[1])) close(fds[i]);
}

static int attach(end_t* end, const end_t* engine, uint8_t code) {
  uvface_options_t options = pick_options(code);
  int fds[3], err;

  options.slot_size = 0;
  if (end == NULL || engine == NULL || engine->link == NULL) return -1;
  if (!hand_over(engine, engine->link, fds)) return -1;
  enter();
  err = leave(uvface_attach(&end->face, fds, &options));
  if (err < 0) {
    FUZZ_REQUIRE(may_not_open(end, err) || is_poked(engine));
    check_words(end, "uvface_attach");
    close_fds(fds); /* they are still ours */
    return err;
  }
  opened(end, engine->link, 1, &options);
  return 0;
}

static void app_fds_close(end_t* end) {
  if (end == NULL) return;
  enter();
  uvface_app_fds_close(&end->face);
  leave(0);
  if (end->state != END_OPEN || end->side != 0 || end->link->kind != BY_DESCRIPTORS) return;
  end->link->app_fds_closed = true;
  if (end->link->open[1] == 0) end->link->closed[1] = true; /* nobody has come, and nobody will */
}

/* On a socket of a link; it is the face's then. */
static int open_stream(end_t* end, link_t* link, unsigned int side, int* sock, uint8_t code) {
  uvface_options_t options = pick_options(code);
  int err;

  options.mtu = link->mtu;
  options.capacity = options.slot_size = 0;
  enter();
  err = leave(uvface_open_stream(&end->face, *sock, &options));
  if (err < 0) {
    FUZZ_REQUIRE(may_not_open(end, err) || (err == UV_ENOTCONN && is_poked(end)));
    check_words(end, "uvface_open_stream");
    return err;
  }
  *sock = -1;
  opened(end, link, side, &options);
  return 0;
}

/* One end of a new pair; the other stays in the hand. */
static link_t* open_pair(end_t* end, uint8_t code) {
  static const uint32_t mtus[4] = {64, 300, 1000, 4000};
  link_t* link;
  int sv[2];

  if (end == NULL || end->state != END_CLOSED || (link = link_new(BY_STREAM)) == NULL) return NULL;
  link->mtu = mtus[code / 4 % 4];
  FUZZ_REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, sv) == 0);
  link->raw[0] = sv[1];
  if (open_stream(end, link, 0, &sv[0], code) == 0) return link;
  close(sv[0]);
  link->closed[0] = true; /* whoever opens the other end is alone */
  return NULL;
}

/* The other end of one, as long as the hand has it. */
static void open_raw(end_t* end, link_t* link, uint8_t code) {
  if (end == NULL || link == NULL || link->kind != BY_STREAM || link->raw[0] < 0 || link->open[1] > 0) return;
  if (end->state == END_CLOSED) open_stream(end, link, 1, &link->raw[0], code);
}

/* --- Receiving ---------------------------------------------------------------------------------- */

static void start(end_t* end, bool drops) {
  int err;

  if (end == NULL) return;
  enter();
  err = leave(uvface_recv_start(&end->face, drops ? NULL : on_packets));
  if (err == UV_EALREADY) FUZZ_REQUIRE(end->receiving);
  if (err < 0 && err != UV_EALREADY) FUZZ_REQUIRE(is_due(end, err, UV_EOF));
  if (err < 0) check_words(end, "uvface_recv_start");
  if (err < 0) return;
  check_state(end, err, UV_EOF);
  FUZZ_REQUIRE(!end->receiving);
  end->receiving = true;
  end->drops = drops;
  if (drops) into(end)->lossy = true;
}

static void stop(end_t* end) {
  int err;

  if (end == NULL) return;
  enter();
  err = leave(uvface_recv_stop(&end->face));
  FUZZ_REQUIRE(err == (end->state == END_OPEN ? 0 : UV_ENOTCONN));
  end->receiving = false;
  if (end->filter != NULL && end->link != NULL) into(end)->lossy = true; /* what a filter has not passed on by then */
}

/* --- Sending ------------------------------------------------------------------------------------ */

/* n packets in one block, as buffers; how many there are. */
static unsigned int make_packets(end_t* end, uint8_t code, unsigned int n, uv_buf_t bufs[], uint8_t** ret_bytes,
                                 unsigned int* ret_first) {
  static const size_t sizes[8] = {6, 16, 60, 61, 200, 300, 1000, 4000};
  size_t mtu = uvface_get_mtu(&end->face), bytes = ledger_fit(sizes[code % 8], mtu);
  ledger_t* ledger = out_of(end);
  uint8_t* all;

  if (ledger->next + n > LEDGER_PACKETS_MAX) return 0;
  all = malloc(bytes * n);
  FUZZ_REQUIRE(all != NULL);
  *ret_first = ledger->next;
  *ret_bytes = all;
  for (unsigned int p = 0; p < n; p++) {
    ledger_write(ledger, all + p * bytes, bytes);
    bufs[p] = uv_buf_init((char*) all + p * bytes, (unsigned int) bytes);
  }
  return n;
}

/* A packet in pieces, some of them empty. */
static unsigned int cut(uv_buf_t packet, uint8_t code, uv_buf_t pieces[BATCH_MAX]) {
  unsigned int n = 1 + code % BATCH_MAX;
  size_t at = 0;

  for (unsigned int i = 0; i < n; i++) {
    size_t len = i + 1 == n ? packet.len - at : (packet.len - at) / (1 + code / BATCH_MAX % 4);

    pieces[i] = uv_buf_init(packet.base + at, (unsigned int) len);
    at += len;
  }
  return n;
}

static void try_send(end_t* end, uint8_t code, bool batch) {
  uv_buf_t bufs[BATCH_MAX], pieces[BATCH_MAX];
  unsigned int first, n = batch ? 1 + code / 8 % BATCH_MAX : 1, npieces;
  uint8_t* bytes;
  int result;

  if (end == NULL) return;
  if (end->link == NULL || make_packets(end, code, n, bufs, &bytes, &first) == 0) {
    static char letter[6];
    uv_buf_t buf = uv_buf_init(letter, sizeof(letter));

    if (end->link != NULL) return;
    enter();
    FUZZ_REQUIRE(leave(uvface_try_send(&end->face, &buf, 1)) == UV_ENOTCONN);
    return;
  }
  npieces = cut(bufs[0], code, pieces);
  enter();
  result = leave(batch ? uvface_try_send_batch(&end->face, bufs, n) : uvface_try_send(&end->face, pieces, npieces));
  free(bytes); /* they are copied */
  if (result < 0) {
    ledger_settle(out_of(end), first, n, LEDGER_REFUSED);
    if (result != UV_EAGAIN) check_refusal(end, result, batch ? "uvface_try_send_batch" : "uvface_try_send");
    return;
  }
  check_state(end, result, UV_EPIPE);
  FUZZ_REQUIRE(end->first == NULL || end->sent + 1 > 0);
  if (batch)
    FUZZ_REQUIRE(result >= 1 && (unsigned int) result <= n);
  else
    FUZZ_REQUIRE((unsigned int) result == bufs[0].len);
  ledger_settle(out_of(end), first, batch ? (unsigned int) result : 1, LEDGER_SENT);
  ledger_settle(out_of(end), first, n, LEDGER_REFUSED); /* the others */
  end->sent += batch ? (uint64_t) result : 1;
}

static void keep(end_t* end, request_t* request, bool mute) {
  if (mute) {
    request->next = end->mute;
    end->mute = request;
  } else {
    if (end->last != NULL)
      end->last->next = request;
    else
      end->first = request;
    end->last = request;
  }
}

static void send_request(end_t* end, uint8_t code, bool batch, bool mute) {
  uv_buf_t bufs[BATCH_MAX], pieces[BATCH_MAX];
  unsigned int n = batch ? 1 + code / 8 % BATCH_MAX : 1, npieces;
  uvface_send_cb cb = mute ? NULL : on_sent;
  request_t* request;
  int err;

  if (end == NULL || end->link == NULL) return;
  request = calloc(1, sizeof(*request));
  FUZZ_REQUIRE(request != NULL);
  if (make_packets(end, code, n, bufs, &request->bytes, &request->first) == 0) {
    free(request);
    return;
  }
  request->end = end;
  request->ledger = out_of(end);
  request->n = n;
  npieces = cut(bufs[0], code, pieces);
  enter();
  err = leave(batch ? uvface_send_batch(&request->req, &end->face, bufs, n, cb)
                    : uvface_send(&request->req, &end->face, pieces, npieces, cb));
  memset(bufs, 0, sizeof(bufs)); /* the arrays are copied */
  memset(pieces, 0, sizeof(pieces));
  if (err < 0) {
    FUZZ_REQUIRE(err != UV_EAGAIN);
    if (err == UV_ENOBUFS)
      FUZZ_REQUIRE(end->bounded);
    else
      check_refusal(end, err, batch ? "uvface_send_batch" : "uvface_send");
    ledger_settle(request->ledger, request->first, n, n > 1 && err == UV_EPIPE ? LEDGER_MAYBE : LEDGER_REFUSED);
    free(request->bytes);
    free(request);
    return;
  }
  check_state(end, err, UV_EPIPE);
  if (mute) ledger_settle(request->ledger, request->first, n, LEDGER_MAYBE); /* nobody will say */
  keep(end, request, mute);
}

static void reserve(end_t* end, uint8_t code) {
  uv_buf_t slot = {0};
  size_t len;
  int err, number;

  if (end == NULL || (end->link != NULL && out_of(end)->next == LEDGER_PACKETS_MAX)) return;
  len = ledger_fit(6u + code, uvface_get_mtu(&end->face));
  enter();
  err = leave(uvface_reserve(&end->face, len, &slot));
  if (err == UV_EALREADY) FUZZ_REQUIRE(end->slot != NULL);
  if (err < 0 && err != UV_EALREADY && err != UV_EAGAIN) check_refusal(end, err, "uvface_reserve");
  if (err < 0) return;
  check_state(end, err, UV_EPIPE);
  FUZZ_REQUIRE(end->slot == NULL && slot.len == len);
  number = ledger_write(out_of(end), (uint8_t*) slot.base, len);
  end->slot = (uint8_t*) slot.base;
  end->slot_bytes = len;
  end->slot_number = (unsigned int) number;
}

/* All of it; or nothing, which gives the slot back; or too much. */
static void commit(end_t* end, uint8_t code) {
  size_t len;
  int err;

  if (end == NULL) return;
  len = end->slot == NULL ? 6 : code % 4 == 0 ? 0 : code % 4 == 1 ? end->slot_bytes + 1 : end->slot_bytes;
  enter();
  err = leave(uvface_commit(&end->face, len));
  if (err == UV_EINVAL) {
    FUZZ_REQUIRE(end->slot == NULL);
  } else if (err == UV_EMSGSIZE) {
    FUZZ_REQUIRE(end->slot != NULL && len > end->slot_bytes);
  } else if (err < 0) {
    check_refusal(end, err, "uvface_commit");
  } else {
    check_state(end, err, UV_EPIPE);
    FUZZ_REQUIRE(end->slot != NULL && len <= end->slot_bytes);
    ledger_settle(out_of(end), end->slot_number, 1, len > 0 ? LEDGER_SENT : LEDGER_REFUSED);
    end->slot = NULL;
    if (len > 0) end->sent++;
  }
}

/* --- Asking, and asking wrongly ----------------------------------------------------------------- */

static void ask(end_t* end) {
  uvface_stats_t stats;
  int err, kind;

  if (end == NULL) return;
  enter();
  FUZZ_REQUIRE((uvface_is_closing(&end->face) != 0) == (end->state == END_CLOSING));
  if (end->state != END_CLOSING) FUZZ_REQUIRE((uvface_has_ref(&end->face) != 0) == end->ref);
  /* Who drops what comes is not told of the end either. */
  if ((end->receiving && (!end->drops || !may_be_alone(end))) || (end->first != NULL && end->state != END_CLOSING))
    FUZZ_REQUIRE(uvface_is_active(&end->face));
  if (!end->receiving && end->first == NULL && end->mute == NULL) FUZZ_REQUIRE(!uvface_is_active(&end->face));
  if (end->state == END_CLOSED) FUZZ_REQUIRE(uvface_get_mtu(&end->face) == 0);
  if (end->state == END_OPEN) FUZZ_REQUIRE(uvface_get_mtu(&end->face) > 0);
  kind = uvface_get_transport(&end->face);
  err = uvface_get_stats(&end->face, &stats);
  leave(0);
  FUZZ_REQUIRE(strlen(uvface_errmsg(&end->face)) < 1000);
  FUZZ_REQUIRE(strlen(uvface_get_name(&end->face)) < 200);
  if (end->state != END_OPEN) {
    FUZZ_REQUIRE(kind == UV_ENOTCONN &&
                 err == (end->link != NULL ? 0 : UV_ENOTCONN)); /* what was open still has them */
    return;
  }
  if (end->link->kind == BY_NAME) FUZZ_REQUIRE(strcmp(uvface_get_name(&end->face), link_name(end->link->name)) == 0);
  FUZZ_REQUIRE(err == 0 && kind == (end->link->kind == BY_STREAM ? UVFACE_STREAM : UVFACE_SHM));
  FUZZ_REQUIRE(stats.rx_packets >= end->received || stats.rx_packets + 64 >= end->received);
  FUZZ_REQUIRE(stats.tx_packets >= end->sent || end->link->kind == BY_STREAM);
}

static void ask_wrongly(end_t* end, uint8_t code) {
  static const char* const bad[NAMES_BAD] = {"", ".x", "a/b", NULL};
  uvface_options_t options = UVFACE_OPTIONS_INIT;
  uv_buf_t nothing = {0}, buf = uv_buf_init("\6\0", 2);
  uvface_send_t req;
  uvface_stats_t stats;
  int fds[3] = {-1, -1, -1}, err;

  if (end == NULL) return;
  enter();
  switch (code % 12) {
    case 0: err = uvface_create(&end->face, bad[code / 12 % NAMES_BAD], NULL); break;
    case 1: err = uvface_connect(&end->face, bad[code / 12 % NAMES_BAD], NULL); break;
    case 2:
      options.size = code;
      err = uvface_create_private(&end->face, &options);
      if (err == 0) err = -1; /* an older caller's, fits: not expected below the first member */
      break;
    case 3: err = uvface_attach(&end->face, fds, NULL); break;
    case 4: err = uvface_open_stream(&end->face, -1, NULL); break;
    case 5: err = uvface_try_send(&end->face, &nothing, code / 12 % 2); break;
    case 6: err = uvface_try_send_batch(&end->face, code / 12 % 2 != 0 ? NULL : &nothing, 1); break;
    case 7: err = uvface_send(code / 12 % 2 != 0 ? NULL : &req, &end->face, &nothing, 1, on_sent); break;
    case 8: err = uvface_reserve(&end->face, 1, NULL); break;
    case 9:
      buf.len = uvface_get_mtu(&end->face) + 1;
      err = uvface_try_send(&end->face, &buf, end->state == END_OPEN ? 1 : 0);
      break;
    case 10: err = uvface_get_stats(code / 12 % 2 != 0 ? &end->face : NULL, code / 12 % 2 != 0 ? NULL : &stats); break;
    default: err = uvface_commit(&end->face, SIZE_MAX); break;
  }
  leave(0);
  FUZZ_REQUIRE(err < 0);
}

/* --- Filters, handles, time --------------------------------------------------------------------- */

static void set_filter(end_t* end, uint8_t code) {
  filter_t *filter = NULL, *before;
  int err;

  if (end == NULL) return;
  if (code % 8 != 7) {
    filter = calloc(1, sizeof(*filter));
    FUZZ_REQUIRE(filter != NULL);
    filter->f = (uvface_filter_t){.size = sizeof(uvface_filter_t), .on_close = on_filter_closed};
    if ((code & 8) == 0) filter->f.on_packet = on_packet;
    if ((code & 16) == 0) filter->f.on_send = on_send;
    if ((code & 32) == 0) filter->f.on_end = on_end;
    filter->mode = code;
    filter->end = end;
  }
  enter();
  err = leave(uvface_set_filter(&end->face, filter != NULL ? &filter->f : NULL));
  FUZZ_REQUIRE(err == (end->state == END_CLOSING ? UV_ENOTCONN : 0));
  if (err < 0) {
    free(filter);
    return;
  }
  before = end->filter;
  end->filter = filter;
  if (end->link != NULL) into(end)->lossy = true; /* what the one had seen, and the other has not */
  free(before);                                   /* nobody knows it any more */
}

static void set_event_cb(end_t* end, bool hears) {
  int err;

  if (end == NULL) return;
  enter();
  err = leave(uvface_set_event_cb(&end->face, hears ? on_event : NULL));
  FUZZ_REQUIRE(err == (end->state == END_CLOSING ? UV_ENOTCONN : 0));
  if (err == 0) end->hears = hears;
  if (err == 0) end->heard_gone = false; /* what is so already is told anew */
}

static void use_handles(uint8_t which, uint8_t code) {
  loop_t* l = &run.loops[which % run.nloops];

  if (l->lonely || l->dead) return;
  switch (code % 10) {
    case 0: uv_timer_start(&l->timer, on_timer, code / 10 % 4, code / 40); break;
    case 1: uv_timer_stop(&l->timer); break;
    case 2: uv_async_send(&l->async); break;
    case 3: uv_prepare_start(&l->prepare, on_prepare); break;
    case 4: uv_prepare_stop(&l->prepare); break;
    case 5: uv_check_start(&l->check, on_check); break;
    case 6: uv_check_stop(&l->check); break;
    case 7: uv_idle_start(&l->idle, on_idle); break;
    case 8: uv_idle_stop(&l->idle); break;
    default: uv_update_time(&l->loop); break;
  }
}

static void close_handle(uv_handle_t* handle, void* arg) {
  (void) arg;
  if (!uv_is_closing(handle)) uv_close(handle, NULL);
}

/* Rule 8. */
static void walk(unsigned int which) {
  loop_t* l = &run.loops[which % run.nloops];

  uv_walk(&l->loop, close_handle, NULL);
  l->dead = true;
  for (end_t* end = run.all; end != NULL; end = end->next)
    if (end->loop == which % run.nloops) end->orphan = true;
}

/* --- A child ------------------------------------------------------------------------------------ */

/* Closes its copies, and opens a face of its own. The parent's go on. */
static void fork_once(void) {
  pid_t pid, reaped;
  int status;

  if (run.forked) return;
  run.forked = true;
  pid = fork();
  FUZZ_REQUIRE(pid >= 0);
  if (pid == 0) {
    run.quiet = true;
    run.poke_at = 0;
    for (unsigned int i = 0; i < run.nloops; i++)
      if (uv_loop_fork(&run.loops[i].loop) != 0) _exit(1);
    for (int i = 0; i < ENDS_MAX; i++)
      if (run.ends[i] != NULL) uvface_close(&run.ends[i]->face, NULL);
    _exit(0);
  }
  while ((reaped = waitpid(pid, &status, 0)) < 0 && errno == EINTR) continue; /* the fuzzer has a timer */
  FUZZ_REQUIRE(reaped == pid);
  FUZZ_REQUIRE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

/* --- The script --------------------------------------------------------------------------------- */

/* Both ends of a face, on any loops, receiving. */
static void open_both(uint8_t code, uint8_t options) {
  end_t* ends[2] = {NULL, NULL};
  link_t* link = NULL;
  uint8_t slot = 0;

  for (int i = 0; i < 2; i++) {
    while (slot < ENDS_MAX && run.ends[slot] != NULL) slot++;
    if (slot == ENDS_MAX) break;
    ends[i] = new_end(slot, (uint8_t) (i == 0 ? code : code >> 1));
  }
  if (ends[1] == NULL) return;
  switch (code / 4 % 4) {
    case 0:
      if (create(ends[0], BY_NAME, code / 16, options) == 0) connect_to(ends[1], code / 16, options);
      break;
    case 1:
    case 2:
      if (create(ends[0], BY_DESCRIPTORS, 0, options) == 0) attach(ends[1], ends[0], options);
      if (code / 16 % 2 != 0) app_fds_close(ends[0]);
      break;
    default:
      link = open_pair(ends[0], options);
      open_raw(ends[1], link, options);
      break;
  }
  start(ends[0], false);
  start(ends[1], false);
}

static void turn(unsigned int which) {
  run.points = 0;
  uv_run(&run.loops[which % run.nloops].loop, UV_RUN_NOWAIT);
}

static void set_ref(end_t* end, bool ref) {
  if (end == NULL) return;
  if (ref)
    uvface_ref(&end->face);
  else
    uvface_unref(&end->face);
  if (end->state != END_CLOSING) end->ref = ref;
}

static void do_one(void) {
  uint8_t op = next_byte(), arg = next_byte();
  end_t* end = pick(arg);

  if (++run.ops > OPS_MAX) return;
  switch (op % 41) {
    case 0:
    case 1:
      if (run.in_callback == 0) turn(arg);
      break;
    case 2: new_end(arg, arg / ENDS_MAX); break;
    case 3: create(end, BY_NAME, arg / ENDS_MAX, next_byte()); break;
    case 4: connect_to(end, arg / ENDS_MAX, next_byte()); break;
    case 5: create(end, BY_DESCRIPTORS, 0, next_byte()); break;
    case 6: attach(end, pick(arg / ENDS_MAX), next_byte()); break;
    case 7: open_pair(end, next_byte()); break;
    case 8: open_raw(end, link_get(arg / ENDS_MAX), next_byte()); break;
    case 9: app_fds_close(end); break;
    case 10:
    case 11: start(end, false); break;
    case 12: start(end, true); break;
    case 13: stop(end); break;
    case 14: try_send(end, next_byte(), false); break;
    case 15: try_send(end, next_byte(), true); break;
    case 16: send_request(end, next_byte(), false, false); break;
    case 17: send_request(end, next_byte(), true, false); break;
    case 18: send_request(end, next_byte(), arg >= 128, true); break;
    case 19: reserve(end, next_byte()); break;
    case 20: commit(end, (uint8_t) (2 + arg / 128)); break;
    case 21: commit(end, next_byte()); break;
    case 22:
    case 23:
      if (end != NULL) close_end(end, false);
      break;
    case 24:
      if (end != NULL) close_end(end, true);
      break;
    case 25: set_ref(end, arg >= 128); break;
    case 26: ask(end); break;
    case 27: ask_wrongly(end, next_byte()); break;
    case 28: set_filter(end, next_byte()); break;
    case 29: use_handles(arg, next_byte()); break;
    case 30: sandbox_advance_ms(arg < 200 ? 1 + arg % 8 : 1100); break;
    case 31:
    case 32: {
      uint8_t where = next_byte();

      link_poke(link_get(arg / 8), arg, where, next_byte());
      break;
    }
    case 33:
      run.poke_at = 1u + arg % 64;
      run.poke_link = arg / 64;
      for (int i = 0; i < 3; i++) run.poke[i] = next_byte();
      break;
    case 34:
      if (end != NULL && end->state == END_OPEN) link_hold_descriptors(end->link, &end->face);
      break;
    case 35:
      if (arg % 8 == 0) walk(arg / 8);
      break;
    case 36:
    case 37: open_both(arg, next_byte()); break;
    case 38: /* fill it */
      for (int i = 0; i < 24; i++) try_send(end, arg, false);
      break;
    case 39: set_event_cb(end, arg < 192); break;
    default:
      if ((run.flags & FLAG_FORKS) == FLAG_FORKS) fork_once();
      break;
  }
}

/* What a callback does. */
static void do_some(void) {
  unsigned int n;

  if (run.quiet || fuzz_left(&run.in) == 0) return;
  n = fuzz_back(&run.in) % OPS_PER_CALLBACK;
  while (n-- > 0) do_one();
}

/* --- The end of a run --------------------------------------------------------------------------- */

static void stop_handles(loop_t* l) {
  if (l->dead) return;
  uv_timer_stop(&l->timer);
  uv_prepare_stop(&l->prepare);
  uv_check_stop(&l->check);
  uv_idle_stop(&l->idle);
}

static bool is_at_rest(void) {
  for (unsigned int i = 0; i < run.nloops; i++)
    if (uv_loop_alive(&run.loops[i].loop) && uv_backend_timeout(&run.loops[i].loop) == 0) return false;
  return true;
}

/* Turns the loops until nothing more happens; the hand may see to it that they never rest. */
static bool come_to_rest(void) {
  unsigned int quiet_rounds = 0;

  run.quiet = true;
  run.poke_at = 0;
  for (unsigned int i = 0; i < run.nloops; i++) stop_handles(&run.loops[i]);
  for (int round = 0; round < ROUNDS_MAX && quiet_rounds < 3; round++) {
    unsigned int news = run.news;

    for (unsigned int i = 0; i < run.nloops; i++) turn(i);
    if (round % 4 == 3) sandbox_advance_ms(1);
    quiet_rounds = run.news == news && is_at_rest() ? quiet_rounds + 1 : 0;
  }
  for (unsigned int i = 0; i < LINKS_MAX && link_get(i) != NULL; i++)
    if (link_get(i)->ledgers[0].poked) return quiet_rounds > 0;
  FUZZ_REQUIRE(quiet_rounds > 0);
  return true;
}

static end_t* peer_of(const end_t* end) {
  for (end_t* peer = run.all; peer != NULL; peer = peer->next)
    if (peer->state == END_OPEN && peer->link == end->link && peer->side != end->side) return peer;
  return NULL;
}

/* Nobody sleeps beside a packet, a free slot, or an end that should be told. */
static void check_rest(void) {
  for (end_t* end = run.all; end != NULL; end = end->next) {
    const end_t* peer;

    if (end->state != END_CLOSING) ask(end);
    if (end->state != END_OPEN || is_dead(end) || is_poked(end) || !end->receiving || end->drops) continue;
    if (!uv_loop_alive(&run.loops[end->loop].loop)) continue; /* nothing runs it any more */
    peer = peer_of(end);
    if (peer != NULL && !is_dead(peer) && uv_loop_alive(&run.loops[peer->loop].loop)) {
      ledger_require_all(into(end));
      if (peer->slot == NULL) FUZZ_REQUIRE(peer->first == NULL);
    }
    if (peer == NULL && end->link->closed[1 - end->side] && end->link->raw[1] < 0 &&
        (end->side != 0 || end->link->kind != BY_DESCRIPTORS || end->link->app_fds_closed))
      FUZZ_REQUIRE(end->error != 0);
  }
}

/* Rule 9: once the program's own handles are gone, faces alone decide. */
static void check_alive(void) {
  for (unsigned int i = 0; i < run.nloops; i++) {
    loop_t* l = &run.loops[i];
    bool wanted = false;

    if (!l->dead) {
      uv_close((uv_handle_t*) &l->timer, NULL);
      uv_close((uv_handle_t*) &l->async, NULL);
      uv_close((uv_handle_t*) &l->prepare, NULL);
      uv_close((uv_handle_t*) &l->check, NULL);
      uv_close((uv_handle_t*) &l->idle, NULL);
    }
    l->lonely = true;
    for (int t = 0; t < 6; t++) turn(i);
    for (end_t* end = run.all; end != NULL; end = end->next)
      if (end->loop == i && end->state == END_OPEN && !end->orphan && end->ref && uvface_is_active(&end->face))
        wanted = true;
    if (!l->dead) FUZZ_REQUIRE(!wanted || uv_loop_alive(&l->loop));
  }
}

static void close_all(void) {
  for (end_t *end = run.all, *next; end != NULL; end = next) {
    next = end->next;
    if (end->state != END_CLOSING) close_end(end, false);
  }
  for (unsigned int i = 0; i < run.nloops; i++) {
    loop_t* l = &run.loops[i];

    if ((run.flags & FLAG_WALK) != 0 || !l->lonely) uv_walk(&l->loop, close_handle, NULL);
    for (int t = 0; t < 12 && uv_loop_alive(&l->loop); t++) turn(i);
    FUZZ_REQUIRE(!uv_loop_alive(&l->loop));
    FUZZ_REQUIRE(uv_loop_close(&l->loop) == 0);
  }
  while (run.all != NULL) { /* closed without a callback, and without a filter */
    FUZZ_REQUIRE(run.all->silent_close && run.all->filter == NULL);
    free_end(run.all);
  }
}

/* --- The run ------------------------------------------------------------------------------------ */

static uint64_t open_descriptors(void) {
  struct pollfd fds[FDS_MAX];
  uint64_t open = 0;

  for (int i = 0; i < FDS_MAX; i++) fds[i] = (struct pollfd){.fd = i};
  FUZZ_REQUIRE(poll(fds, FDS_MAX, 0) >= 0);
  for (int i = 0; i < FDS_MAX; i++)
    if ((fds[i].revents & POLLNVAL) == 0) open |= UINT64_C(1) << i;
  return open;
}

static void open_loop(loop_t* l) {
  FUZZ_REQUIRE(uv_loop_init(&l->loop) == 0);
  uv_timer_init(&l->loop, &l->timer);
  uv_async_init(&l->loop, &l->async, on_async);
  uv_prepare_init(&l->loop, &l->prepare);
  uv_check_init(&l->loop, &l->check);
  uv_idle_init(&l->loop, &l->idle);
}

/* What libuv opens once for the process. */
static void prepare(void) {
  static bool prepared;
  uv_loop_t loop;

  if (prepared) return;
  prepared = true;
  FUZZ_REQUIRE(uv_loop_init(&loop) == 0);
  FUZZ_REQUIRE(uv_loop_close(&loop) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  uint64_t before;

  prepare();
  memset(&run, 0, sizeof(run));
  run.in = (fuzz_input_t){data, data + size};
  run.flags = fuzz_front(&run.in);
  run.nloops = (run.flags & FLAG_TWO_LOOPS) != 0 ? 2 : 1;
  sandbox_enter();
  links_begin();
  before = open_descriptors();
  for (unsigned int i = 0; i < run.nloops; i++) open_loop(&run.loops[i]);
  while (fuzz_left(&run.in) > 0 && run.ops < OPS_MAX) do_one();
  if (come_to_rest()) check_rest();
  if ((run.flags & FLAG_LONELY) != 0) check_alive();
  close_all();
  links_end();
  FUZZ_REQUIRE(open_descriptors() == before);
  FUZZ_REQUIRE(sandbox_count_regions() == 0);
  sandbox_leave();
  return 0;
}
