/* SPDX-License-Identifier: MIT */
/* state.c: in what state a face is (internal.h has the picture), and its words.
 *
 * Guarantees that a change of state calls nobody: it marks the face and makes it hot. Loop thread. */
#include <stdarg.h>
#include <stdio.h>

#include "internal.h"

int uvface__complain(uvface__priv_t* f, int code, const char* format, ...) {
  va_list args;

  va_start(args, format);
  vsnprintf(f->errmsg, sizeof(f->errmsg), format, args);
  va_end(args);
  return code;
}

/* --- Asking ----------------------------------------------------------------------------------- */

int uvface__check_open(const uvface__priv_t* f) {
  if (f == NULL) return UV_EINVAL;
  if (f->state == UVFACE__CLOSED || f->state == UVFACE__CLOSING) return UV_ENOTCONN;
  if (f->state == UVFACE__FAILED) return f->error;
  if (uvface__loop_is_dead(f->ctx) || uv_is_closing((const uv_handle_t*) &f->poll)) return UV_ECANCELED;
  return 0;
}

int uvface__refuse(uvface__priv_t* f, const char* function, int err) {
  if (f->state == UVFACE__CLOSED) return uvface__complain(f, err, "%s: the face is not open", function);
  if (f->state == UVFACE__CLOSING) return uvface__complain(f, err, "%s: the face is closing", function);
  if (f->state == UVFACE__OPEN)
    return uvface__complain(f, err, "%s: face %s: somebody else closed its inner handles", function, f->name);
  return uvface__complain(f, err, "%s: %s", function, f->why);
}

bool uvface__has_work(const uvface__priv_t* f) {
  return f->state != UVFACE__CLOSING && (f->receiving || f->pending > 0);
}

void uvface__update_active(uvface__priv_t* f) {
  uvface__loop_t* ctx = f->ctx;
  bool counts = f->has_ref && uvface__has_work(f);

  if (counts == f->counted) return;
  f->counted = counts;
  if (counts && ctx->alive++ == 0) uv_ref((uv_handle_t*) &ctx->prepare);
  if (!counts && --ctx->alive == 0) uv_unref((uv_handle_t*) &ctx->prepare);
}

/* --- Changing --------------------------------------------------------------------------------- */

int uvface__stop_polling(uvface__priv_t* f) {
  f->polled = 0;
  return uv_is_closing((uv_handle_t*) &f->poll) ? UV_ECANCELED : uv_poll_stop(&f->poll);
}

/* Disconnection always, so that a face that does not receive learns of its peer's death. */
int uvface__stream_events(const uvface__priv_t* f) {
  int events = UV_DISCONNECT;

  if (uvface__is_over(f) || f->state == UVFACE__CLOSING) return 0;
  if (f->receiving || (f->filter != NULL && uvface__stream_has_room(f->stream))) events |= UV_READABLE;
  if (uvface__stream_is_blocked(f->stream)) events |= UV_WRITABLE;
  return events;
}

/* To change what a poll waits for costs two system calls: so more is asked for at once, and less when an event has come
 * that nobody wants any more. */
void uvface__poll_stream(uvface__priv_t* f, bool also_for_less) {
  int events = uvface__stream_events(f), err;
  char why[sizeof(f->why)];

  if (!also_for_less) events |= f->polled;
  if (events == f->polled || uv_is_closing((uv_handle_t*) &f->poll)) return;
  f->polled = events;
  err = uv_poll_start(&f->poll, events, f->on_stream);
  if (err == 0) return;
  snprintf(why, sizeof(why), "uv_poll_start %s: %s", f->name, uv_strerror(err));
  uvface__fail(f, err, "uvface_recv_cb", why);
}

/* The words of what ended the face, now and for the calls to come. */
static void explain(uvface__priv_t* f, const char* function, const char* why) {
  snprintf(f->why, sizeof(f->why), "%s", why);
  snprintf(f->errmsg, sizeof(f->errmsg), "%s: %s", function, f->why);
}

void uvface__fail(uvface__priv_t* f, int error, const char* function, const char* why) {
  f->state = UVFACE__FAILED;
  f->error = error;
  explain(f, function, why);
  ndnshm_unpark(f->ep);
  uvface__stop_polling(f);
  uvface__make_hot(f);
}

void uvface__lose_peer(uvface__priv_t* f, const char* why) {
  f->state = UVFACE__PEER_GONE;
  explain(f, "uvface_recv_cb", why);
  uvface__stop_polling(f); /* a hung-up FIFO stays readable for ever */
  uvface__make_hot(f);
}

void uvface__end_stream(uvface__priv_t* f, int error, const char* function) {
  if (f->state == UVFACE__FAILED || f->state == UVFACE__CLOSING) return;
  if (error != UV_EOF && error != UV_EPIPE) {
    uvface__fail(f, error, function, uvface__stream_words(f->stream));
    return;
  }
  uvface__stream_read_out(f->stream);
  if (f->state == UVFACE__OPEN) uvface__lose_peer(f, uvface__stream_words(f->stream));
}

int uvface__end_status(const uvface__priv_t* f) {
  if (f->state == UVFACE__FAILED) return f->error;
  return f->stream != NULL ? uvface__stream_end(f->stream) : UV_EOF;
}

void uvface__watch_or_not(uvface__priv_t* f) {
  f->is_watched = f->filter != NULL || f->event_cb != NULL || f->tap_cb != NULL;
}

int uvface__drain(uvface__priv_t* f) {
  int n = ndnshm_wake(f->ep);

  if (n == UV_EOF)
    uvface__lose_peer(f, ndnshm_errmsg(f->ep));
  else if (n < 0)
    uvface__fail(f, n, "uvface_recv_cb", ndnshm_errmsg(f->ep));
  if (n >= 0 && f->minds_chores) f->minds_chores = uvface__do_chores(f);
  return n;
}
