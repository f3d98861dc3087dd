/* SPDX-License-Identifier: MIT */
/* api_open.c: faces are made, opened in every way there is, and closed: see api_ends.h. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "api_ends.h"

/* --- Before ----------------------------------------------------------------------------------- */

end_t* end_new(uint8_t slot, uint8_t loop) {
  end_t* end;

  slot %= ENDS_MAX;
  loop = (uint8_t) (loop % run.nloops);
  if (run.ends[slot] != NULL || run.loops[loop].lonely) return NULL;
  end = calloc(1, sizeof(*end));
  FUZZ_REQUIRE(end != NULL);
  api_enter();
  FUZZ_REQUIRE(api_leave(uvface_init(&run.loops[loop].loop, &end->face)) == 0);
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
  FUZZ_REQUIRE(end->state == END_CLOSED && !end_is_dead(end));
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
  return err == UV_ECANCELED && end_is_dead(end);
}

/* --- By name, and by descriptors -------------------------------------------------------------- */

int end_create(end_t* end, link_kind_t kind, unsigned int name, uint8_t code) {
  uvface_options_t options = pick_options(code);
  link_t* link;
  int err;

  name %= NAMES;
  if (end == NULL) return -1;
  if (kind == BY_DESCRIPTORS) options.flags |= (code & 64) != 0 ? UVFACE_WAKE_SOCKET : UVFACE_WAKE_PIPE;
  api_enter();
  err = api_leave(kind == BY_NAME ? uvface_create(&end->face, link_name(name), &options)
                                  : uvface_create_private(&end->face, &options));
  if (err < 0) {
    FUZZ_REQUIRE(may_not_open(end, err) || (kind == BY_NAME && err == UV_EADDRINUSE && engine_of(name) != NULL));
    end_check_words(end, kind == BY_NAME ? "uvface_create" : "uvface_create_private");
    return err;
  }
  FUZZ_REQUIRE(kind != BY_NAME || engine_of(name) == NULL);
  link = link_new(kind);
  if (link == NULL) { /* too many for one run: the script goes on without it */
    api_enter();
    uvface_close(&end->face, on_closed);
    api_leave(0);
    end->state = END_CLOSING;
    return -1;
  }
  link->name = name;
  opened(end, link, 0, &options);
  link_hold_region(link, &end->face);
  FUZZ_REQUIRE(uvface_get_mtu(&end->face) == options.slot_size);
  return 0;
}

int end_connect(end_t* end, unsigned int name, uint8_t code) {
  uvface_options_t options = pick_options(code);
  end_t* engine;
  int err;

  name %= NAMES;
  if (end == NULL) return -1;
  api_enter();
  err = api_leave(uvface_connect(&end->face, link_name(name), &options));
  engine = engine_of(name);
  if (err < 0) {
    bool had_app = engine != NULL && (engine->link->open[1] > 0 || engine->link->closed[1] || end_is_poked(engine));

    /* A region that is sealed has given up its name: there is no second app for it. The hand that opens a FIFO is one.
     * While a thread seals it, whoever has found it before may not map it, or takes it for that of a dead engine. */
    FUZZ_REQUIRE(may_not_open(end, err) || err == UV_ENOENT || (err == UV_ECONNREFUSED && engine == NULL) ||
                 (err == UV_EPROTO && engine != NULL && end_is_poked(engine)) ||
                 (had_app && (err == UV_EBUSY || err == UV_ECONNREFUSED)));
    end_check_words(end, "uvface_connect");
    return err;
  }
  FUZZ_REQUIRE(engine != NULL);
  opened(end, engine->link, 1, &options);
  return 0;
}

/* An app's copies of the descriptors of an engine's face; or those that the hand still holds. */
static bool hand_over(const end_t* engine, link_t* link, int ret_fds[3]) {
  int fds[3], err;

  api_enter();
  err = api_leave(uvface_app_fds(&engine->face, fds));
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

int end_attach(end_t* end, const end_t* engine, uint8_t code) {
  uvface_options_t options = pick_options(code);
  int fds[3], err;

  options.slot_size = 0;
  if (end == NULL || engine == NULL || engine->link == NULL) return -1;
  if (!hand_over(engine, engine->link, fds)) return -1;
  api_enter();
  err = api_leave(uvface_attach(&end->face, fds, &options));
  if (err < 0) {
    FUZZ_REQUIRE(may_not_open(end, err) || end_is_poked(engine));
    end_check_words(end, "uvface_attach");
    close_fds(fds); /* they are still ours */
    return err;
  }
  opened(end, engine->link, 1, &options);
  return 0;
}

void end_close_app_fds(end_t* end) {
  if (end == NULL) return;
  api_enter();
  uvface_app_fds_close(&end->face);
  api_leave(0);
  if (end->state != END_OPEN || end->side != 0 || end->link->kind != BY_DESCRIPTORS) return;
  end->link->app_fds_closed = true;
  if (end->link->open[1] == 0) end->link->closed[1] = true; /* nobody has come, and nobody will */
}

/* --- Streams ---------------------------------------------------------------------------------- */

/* On a socket of a link; it is the face's then. */
static int open_stream(end_t* end, link_t* link, unsigned int side, int* sock, uint8_t code) {
  uvface_options_t options = pick_options(code);
  int err;

  options.mtu = link->mtu;
  options.capacity = options.slot_size = 0;
  api_enter();
  err = api_leave(uvface_open_stream(&end->face, *sock, &options));
  if (err < 0) {
    FUZZ_REQUIRE(may_not_open(end, err) || (err == UV_ENOTCONN && end_is_poked(end)));
    end_check_words(end, "uvface_open_stream");
    return err;
  }
  *sock = -1;
  opened(end, link, side, &options);
  return 0;
}

/* One end of a new pair; the other stays in the hand. */
link_t* end_open_pair(end_t* end, uint8_t code) {
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
void end_open_raw(end_t* end, link_t* link, uint8_t code) {
  if (end == NULL || link == NULL || link->kind != BY_STREAM || link->raw[0] < 0 || link->open[1] > 0) return;
  if (end->state == END_CLOSED) open_stream(end, link, 1, &link->raw[0], code);
}

/* --- Closing, and both at once ---------------------------------------------------------------- */

void end_close(end_t* end, bool silent) {
  api_enter();
  uvface_close(&end->face, silent ? NULL : on_closed);
  api_leave(0);
  if (end->state == END_CLOSING) return; /* a second one is ignored */
  if (end->state == END_OPEN) {
    end->link->open[end->side]--;
    end->link->closed[end->side] = true;
    if (!end->guarded) end->link->unguarded--;
  }
  end->state = END_CLOSING;
  end->silent_close = silent;
  end->receiving = false;
  if (end->slot != NULL) ledger_settle(end_out(end), end->slot_number, 1, LEDGER_REFUSED);
  end->slot = NULL;
  for (request_t* r = end->first; r != NULL; r = r->next) ledger_settle(r->ledger, r->first, r->n, LEDGER_MAYBE);
  if (!silent) return;
  if (end->filter != NULL) end->filter->may_close = true;
  end_forget(end); /* nothing says how long it can still be asked */
}

/* Both ends of a face, on any loops, receiving. */
void end_open_both(uint8_t code, uint8_t options) {
  end_t* ends[2] = {NULL, NULL};
  link_t* link = NULL;
  uint8_t slot = 0;

  for (int i = 0; i < 2; i++) {
    while (slot < ENDS_MAX && run.ends[slot] != NULL) slot++;
    if (slot == ENDS_MAX) break;
    ends[i] = end_new(slot, (uint8_t) (i == 0 ? code : code >> 1));
  }
  if (ends[1] == NULL) return;
  switch (code / 4 % 4) {
    case 0:
      if (end_create(ends[0], BY_NAME, code / 16, options) == 0) end_connect(ends[1], code / 16, options);
      break;
    case 1:
    case 2:
      if (end_create(ends[0], BY_DESCRIPTORS, 0, options) == 0) end_attach(ends[1], ends[0], options);
      if (code / 16 % 2 != 0) end_close_app_fds(ends[0]);
      break;
    default:
      link = end_open_pair(ends[0], options);
      end_open_raw(ends[1], link, options);
      break;
  }
  end_start(ends[0], false);
  end_start(ends[1], false);
}
