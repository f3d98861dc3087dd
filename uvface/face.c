/* SPDX-License-Identifier: MIT */
/* face.c: life and death of a face.
 *
 * Guarantees rules 1, 2 and 5 to 10 of docs/design.rst: after init a close is owed and always works;
 * the names vanish at once, the memory is given back two rounds of the loop later, when every inner
 * handle has surely finished, whoever closed it; a failed face answers every call with its error.
 * All functions belong to the loop's thread. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"
#include "version.h"

#define APP_SEND_TIMEOUT_MS 5000
#define ENGINE_QUEUE_MAX 1024

_Static_assert(NDNSHM_EOF == UV_EOF, "the core's end of file is libuv's");
_Static_assert(sizeof(struct iovec) == sizeof(uv_buf_t) &&
                   offsetof(struct iovec, iov_base) == offsetof(uv_buf_t, base) &&
                   offsetof(struct iovec, iov_len) == offsetof(uv_buf_t, len),
               "uv_buf_t is laid out like struct iovec");

static void on_readable(uv_poll_t* handle, int status, int events);
static void on_close_round_one(uv_handle_t* handle);

/* --- Asking ----------------------------------------------------------------------------------- */

static uvface__priv_t* priv_of(const uvface_t* face) {
  return face != NULL ? face->priv_ : NULL;
}

int uvface__complain(uvface__priv_t* f, int code, const char* format, ...) {
  va_list args;

  va_start(args, format);
  vsnprintf(f->errmsg, sizeof(f->errmsg), format, args);
  va_end(args);
  return code;
}

const char* uvface__reason(const uvface__priv_t* f, int err) {
  return f->error == err && ndnshm_errmsg(f->ep)[0] != '\0' ? ndnshm_errmsg(f->ep) : uv_strerror(err);
}

int uvface__check_open(const uvface__priv_t* f) {
  if (f == NULL) return UV_EINVAL;
  if (f->closing || f->ep == NULL) return UV_ENOTCONN;
  if (f->error != 0) return f->error;
  if (uvface__loop_is_dead(f->ctx) || uv_is_closing((const uv_handle_t*) &f->poll)) return UV_ECANCELED;
  return 0;
}

int uvface_is_active(const uvface_t* face) {
  const uvface__priv_t* f = priv_of(face);

  return f != NULL && !f->closing && (f->receiving || f->pending > 0);
}

int uvface_is_closing(const uvface_t* face) {
  const uvface__priv_t* f = priv_of(face);

  return f == NULL || f->closing;
}

void uvface__update_active(uvface__priv_t* f) {
  uvface__loop_t* ctx = f->ctx;
  bool counts = f->has_ref && uvface_is_active(f->face);

  if (counts == f->counted) return;
  f->counted = counts;
  if (counts && ctx->alive++ == 0) uv_ref((uv_handle_t*) &ctx->prepare);
  if (!counts && --ctx->alive == 0) uv_unref((uv_handle_t*) &ctx->prepare);
}

static void set_ref(uvface_t* face, bool has_ref) {
  uvface__priv_t* f = priv_of(face);

  if (f == NULL || f->closing) return;
  f->has_ref = has_ref;
  uvface__update_active(f);
}

void uvface_ref(uvface_t* face) {
  set_ref(face, true);
}

void uvface_unref(uvface_t* face) {
  set_ref(face, false);
}

int uvface_has_ref(const uvface_t* face) {
  const uvface__priv_t* f = priv_of(face);

  return f != NULL && f->has_ref;
}

size_t uvface_get_mtu(const uvface_t* face) {
  const uvface__priv_t* f = priv_of(face);

  return f != NULL ? ndnshm_get_mtu(f->ep) : 0;
}

int uvface_get_stats(const uvface_t* face, uvface_stats_t* stats) {
  const uvface__priv_t* f = priv_of(face);
  ndnshm_stats_t core;

  if (f == NULL || stats == NULL) return UV_EINVAL;
  if (f->closing || f->ep == NULL) return UV_ENOTCONN;
  ndnshm_get_stats(f->ep, &core);
  *stats = (uvface_stats_t){
      .rx_packets = core.rx_packets,
      .rx_bytes = core.rx_bytes,
      .tx_packets = core.tx_packets,
      .tx_bytes = core.tx_bytes,
      .wakeups_sent = core.wakeups_sent,
      .wakeups_received = core.wakeups_received,
      .parks = core.parks,
      .tx_full = core.tx_full,
      .spin_hits = f->spin_hits,
      .recheck_hits = f->recheck_hits,
      .capacity = ndnshm_get_capacity(f->ep),
      .slot_size = (uint32_t) ndnshm_get_mtu(f->ep),
      .peer_caps = ndnshm_peer_caps(f->ep),
      .hot_ns = f->packets.ns,
      .sealed = core.sealed,
      .throttled = f->look_due_ms != 0,
  };
  return 0;
}

const char* uvface_errmsg(const uvface_t* face) {
  const uvface__priv_t* f = priv_of(face);

  return f != NULL ? f->errmsg : "";
}

unsigned int uvface_version(void) {
  return VERSION_MAJOR << 16 | VERSION_MINOR << 8 | VERSION_PATCH;
}

const char* uvface_version_string(void) {
  return VERSION_STRING;
}

/* --- Birth ------------------------------------------------------------------------------------ */

int uvface_init(uv_loop_t* loop, uvface_t* face) {
  uvface__priv_t* f;
  int err;

  if (loop == NULL || face == NULL) return UV_EINVAL;
  face->priv_ = NULL;
  f = calloc(1, sizeof(*f));
  if (f == NULL) return UV_ENOMEM;
  err = uvface__loop_acquire(loop, &f->ctx);
  if (err < 0) {
    free(f);
    return err;
  }
  f->face = face;
  f->has_ref = true;
  uvface__list_init(&f->hot);
  uvface__list_init(&f->timed);
  uvface__list_init(&f->open);
  face->loop = loop;
  face->priv_ = f;
  return 0;
}

static int check_options(uvface__priv_t* f, const char* call, const uvface_options_t* options) {
  if (options->size != sizeof(*options))
    return uvface__complain(f, UV_EINVAL, "%s: options: size is %zu, not %zu (use UVFACE_OPTIONS_INIT)", call,
                            options->size, sizeof(*options));
  if ((options->flags & ~(unsigned int) (UVFACE_RECV_BORROW | UVFACE_SIGBUS_GUARD)) != 0)
    return uvface__complain(f, UV_EINVAL, "%s: options: unknown flags %#x", call, options->flags);
  if (options->send_timeout_ms < -1)
    return uvface__complain(f, UV_EINVAL, "%s: options: send_timeout_ms %lld is negative", call,
                            (long long) options->send_timeout_ms);
  return 0;
}

static void take_options(uvface__priv_t* f, const uvface_options_t* options) {
  uint32_t window_ns = options->hot_ns != 0 ? options->hot_ns : options->spin_ns;

  f->flags = options->flags;
  f->recheck_ms = options->recheck_ms;
  f->window_max_ns = f->ctx->many_cpus ? window_ns : 0;
  f->spin_ns = f->ctx->many_cpus ? options->spin_ns : 0;
  f->packets.ns = f->space.ns = f->window_max_ns;
  if (options->send_timeout_ms >= 0)
    f->send_timeout_ms = (uint64_t) options->send_timeout_ms;
  else
    f->send_timeout_ms = f->is_engine ? 0 : APP_SEND_TIMEOUT_MS;
  f->queue_max = options->queue_max != 0 ? options->queue_max : f->is_engine ? ENGINE_QUEUE_MAX : UINT32_MAX;
}

int uvface__poll(uvface__priv_t* f, bool on) {
  if (uv_is_closing((uv_handle_t*) &f->poll)) return UV_ECANCELED;
  return on ? uv_poll_start(&f->poll, UV_READABLE, on_readable) : uv_poll_stop(&f->poll);
}

static int start_polling(uvface__priv_t* f, ndnshm_t* ep) {
  int err = uv_poll_init(f->face->loop, &f->poll, ndnshm_fd(ep));

  if (err < 0) return err;
  f->has_poll = true;
  f->poll.data = NULL;
  uv_unref((uv_handle_t*) &f->poll);
  return uvface__poll(f, true);
}

static int open_endpoint(uvface__priv_t* f, const char* call, const char* name, const uvface_options_t* options,
                         ndnshm_t* ep) {
  ndnshm_options_t core = NDNSHM_OPTIONS_INIT;
  int err;

  core.capacity = options->capacity;
  core.slot_size = options->slot_size;
  core.mtu = options->mtu;
  core.mode = options->mode;
  core.uid = options->uid;
  core.gid = options->gid;
  core.flags = (options->flags & UVFACE_SIGBUS_GUARD) != 0 ? NDNSHM_SIGBUS_GUARD : 0;
  err = f->is_engine ? ndnshm_create(ep, name, &core) : ndnshm_connect(ep, name, &core);
  if (err < 0) return uvface__complain(f, err, "%s: %s", call, ndnshm_errmsg(ep));
  if (ndnshm_get_mtu(ep) > sizeof(f->ctx->arena)) { /* where not even one packet would fit */
    f->own_arena = malloc(ndnshm_get_mtu(ep));
    if (f->own_arena == NULL)
      return uvface__complain(f, UV_ENOMEM, "%s: malloc %zu bytes: out of memory", call, ndnshm_get_mtu(ep));
  }
  err = start_polling(f, ep);
  if (err < 0) return uvface__complain(f, err, "%s: polling the FIFO of '%s': %s", call, name, uv_strerror(err));
  return 0;
}

static int open_face(uvface_t* face, const char* call, const char* name, const uvface_options_t* options,
                     bool is_engine) {
  static const uvface_options_t defaults = UVFACE_OPTIONS_INIT;
  uvface__priv_t* f = priv_of(face);
  ndnshm_t* ep;
  int err;

  if (f == NULL) return UV_EINVAL;
  if (f->closing) return uvface__complain(f, UV_ENOTCONN, "%s: the face is closing", call);
  if (f->ep != NULL || f->has_poll) return uvface__complain(f, UV_EALREADY, "%s: the face is open already", call);
  if (uvface__loop_is_dead(f->ctx))
    return uvface__complain(f, UV_ECANCELED, "%s: the face's inner handles were closed by somebody else", call);
  if (options == NULL) options = &defaults;
  if ((err = check_options(f, call, options)) < 0) return err;
  if ((err = ndnshm_new(&ep)) < 0) return uvface__complain(f, err, "%s: out of memory", call);
  f->is_engine = is_engine;
  err = open_endpoint(f, call, name, options, ep);
  if (err < 0) {
    free(f->own_arena);
    f->own_arena = NULL;
    ndnshm_free(ep);
    return err;
  }
  f->ep = ep;
  f->can_send = true;
  take_options(f, options);
  uvface__watch(f);
  return 0;
}

int uvface_create(uvface_t* face, const char* name, const uvface_options_t* options) {
  return open_face(face, "uvface_create", name, options, true);
}

int uvface_connect(uvface_t* face, const char* name, const uvface_options_t* options) {
  return open_face(face, "uvface_connect", name, options, false);
}

/* --- Life ------------------------------------------------------------------------------------- */

void uvface__serve(uvface__priv_t* f) {
  uvface__send_flush(f);
  uvface__recv_deliver(f);
  uvface__send_complete(f); /* last, so that what recv_cb sent is finished in the same turn */
}

void uvface__fail(uvface__priv_t* f, int error) {
  f->error = error;
  f->can_send = false;
  uvface__complain(f, error, "face: %s", ndnshm_errmsg(f->ep));
  ndnshm_unpark(f->ep);
  uvface__poll(f, false);
  uvface__send_abort(f, error);
  uvface__make_hot(f);
}

/* The peer is gone: sending is over, what lies in the ring is still delivered. */
static void lose_peer(uvface__priv_t* f) {
  f->peer_gone = true;
  f->can_send = false;
  uvface__complain(f, UV_EOF, "face: %s", ndnshm_errmsg(f->ep));
  uvface__poll(f, false); /* a hung-up FIFO stays readable for ever */
  uvface__send_abort(f, UV_EPIPE);
  uvface__make_hot(f);
}

int uvface__drain(uvface__priv_t* f) {
  int n = ndnshm_wake(f->ep);

  if (n == UV_EOF)
    lose_peer(f);
  else if (n < 0)
    uvface__fail(f, n);
  return n;
}

static void on_readable(uv_poll_t* handle, int status, int events) {
  uvface__priv_t* f = UVFACE__CONTAINER(handle, uvface__priv_t, poll);

  (void) events; /* read() == 0 tells of a death; UV_DISCONNECT differs between libuv's versions */
  if (status < 0)
    uvface__fail(f, status);
  else if (uvface__drain(f) > 0 && ndnshm_ready(f->ep, uvface__wants(f)) == 0)
    uvface__note_empty_wake(f);
  else
    f->empty_wakes = 0;
  f->ctx->now_ns = uv_hrtime();
  uvface__make_hot(f);
  uvface__serve(f);
}

/* --- Death ------------------------------------------------------------------------------------ */

void uvface_close(uvface_t* face, uvface_close_cb cb) {
  uvface__priv_t* f = priv_of(face);

  if (f == NULL || f->closing) return;
  f->close_cb = cb;
  f->receiving = f->can_send = false;
  uvface__send_abort(f, UV_ECANCELED);
  f->closing = true;
  uvface__update_active(f);
  uvface__list_remove(&f->hot);
  uvface__list_remove(&f->timed);
  uvface__list_remove(&f->open);
  if (f->has_poll && !uv_is_closing((uv_handle_t*) &f->poll)) uv_close((uv_handle_t*) &f->poll, NULL);
  ndnshm_shutdown(f->ep);
  uv_idle_init(face->loop, &f->closer);
  f->closer.data = NULL;
  if (!uvface__loop_release(f->ctx)) f->ctx = NULL;
  uv_close((uv_handle_t*) &f->closer, on_close_round_one);
}

static void on_close_round_two(uv_handle_t* handle) {
  uvface__priv_t* f = UVFACE__CONTAINER(handle, uvface__priv_t, closer);
  uvface_t* face = f->face;
  uvface_close_cb cb = f->close_cb;

  ndnshm_free(f->ep);
  free(f->own_arena);
  if (f->ctx != NULL) uvface__loop_free(f->ctx);
  free(f);
  face->priv_ = NULL;
  if (cb != NULL) cb(face);
}

/* libuv finishes the handles of a round newest first, so others' closes that came before ours may still
 * be under way here. In the next round they are not. */
static void on_close_round_one(uv_handle_t* handle) {
  uvface__priv_t* f = UVFACE__CONTAINER(handle, uvface__priv_t, closer);

  uvface__send_complete(f);
  uv_idle_init(f->face->loop, &f->closer);
  uv_close(handle, on_close_round_two);
}
