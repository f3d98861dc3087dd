/* SPDX-License-Identifier: MIT */
/* send.c: from requests to the ring.
 *
 * Guarantees rules 1 to 4 of docs/design.rst: a refused request is never called back, an accepted one
 * exactly once, in order, never inside the call; nothing overtakes a queued request. A request goes
 * queued -> done -> callback, or straight to done when there is room. Loop thread. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "transport.h"

static const struct iovec* as_iovec(const uv_buf_t* bufs) {
  return (const struct iovec*) bufs; /* the same layout: asserted in face.c, and libuv's own practice */
}

/* --- Why not ---------------------------------------------------------------------------------- */

/* Cheap enough for each packet: who closes inner handles (rule 8) closes all of them. */
static inline bool can_send(const uvface__priv_t* f) {
  return f != NULL && f->state == UVFACE__OPEN && !uv_is_closing((const uv_handle_t*) &f->poll);
}

/* The error of a call on a face that cannot send. */
static int why_not(uvface__priv_t* f, const char* function) {
  int err = uvface__check_open(f);

  if (f == NULL) return err;
  return uvface__refuse(f, function, err == 0 || err == UV_EOF ? UV_EPIPE : err);
}

/* What the core refused, in its words; that a ring is full needs none. */
static int refused(uvface__priv_t* f, const char* function, int err) {
  if (err == UV_EAGAIN) return uvface__await_room(f);
  if (err == UV_ECANCELED && f->state != UVFACE__OPEN)
    return uvface__complain(f, err, "%s: the tap has ended the face", function);
  if (err == UV_EPROTO || err == UV_EIO) /* the peer broke the protocol, or the region is lost */
    uvface__fail(f, err, function, uvface__words(f));
  else if (err == UV_EPIPE || err == UV_EBADF) /* the stream is over, or lost */
    uvface__end_stream(f, err, function);
  return uvface__complain(f, err, "%s: %s", function, uvface__words(f));
}

/* --- Now or not at all ------------------------------------------------------------------------ */

int uvface_try_send(uvface_t* face, const uv_buf_t bufs[], unsigned int nbufs) {
  uvface__priv_t* f = face != NULL ? face->priv_ : NULL;
  int n;

  if (!can_send(f)) return why_not(f, "uvface_try_send");
  if (f->queued.first != NULL) return uvface__await_room(f);
  uvface__before_publish(f);
  n = uvface__put(f, as_iovec(bufs), nbufs);
  uvface__after_publish(f);
  return n >= 0 ? n : refused(f, "uvface_try_send", n);
}

int uvface_try_send_batch(uvface_t* face, const uv_buf_t pkts[], unsigned int npkts) {
  uvface__priv_t* f = face != NULL ? face->priv_ : NULL;
  int n;

  if (!can_send(f)) return why_not(f, "uvface_try_send_batch");
  if (f->queued.first != NULL) return uvface__await_room(f);
  uvface__before_publish(f);
  n = uvface__put_batch(f, as_iovec(pkts), npkts);
  uvface__after_publish(f);
  return n >= 0 ? n : refused(f, "uvface_try_send_batch", n);
}

int uvface_reserve(uvface_t* face, size_t len, uv_buf_t* slot) {
  uvface__priv_t* f = face != NULL ? face->priv_ : NULL;
  struct iovec lent;
  int err;

  if (!can_send(f)) return why_not(f, "uvface_reserve");
  if (slot == NULL) return uvface__complain(f, UV_EINVAL, "uvface_reserve: slot is NULL");
  if (f->queued.first != NULL) return uvface__await_room(f);
  err = uvface__lend(f, len, &lent);
  if (err < 0) return refused(f, "uvface_reserve", err);
  slot->base = lent.iov_base;
  slot->len = lent.iov_len;
  return 0;
}

int uvface_commit(uvface_t* face, size_t len) {
  uvface__priv_t* f = face != NULL ? face->priv_ : NULL;
  int err;

  if (!can_send(f)) return why_not(f, "uvface_commit");
  uvface__before_publish(f);
  err = uvface__publish(f, len);
  uvface__after_publish(f);
  if (err < 0) return refused(f, "uvface_commit", err);
  if (f->queued.first != NULL || f->wants_room) uvface__make_hot(f); /* they waited for the reservation to end */
  return 0;
}

/* --- Queues ----------------------------------------------------------------------------------- */

static void queue_append(uvface__queue_t* queue, uvface_send_t* req) {
  req->next_ = NULL;
  if (queue->last != NULL)
    queue->last->next_ = req;
  else
    queue->first = req;
  queue->last = req;
}

static uvface_send_t* queue_pop(uvface__queue_t* queue) {
  uvface_send_t* req = queue->first;

  queue->first = req->next_;
  if (queue->first == NULL) queue->last = NULL;
  return req;
}

static uvface_send_t* dequeue(uvface__priv_t* f) {
  f->nqueued--;
  assert((f->nqueued == 0) == (f->queued.first == f->queued.last));
  return queue_pop(&f->queued);
}

/* A request that was counted in f->pending: its callback is owed. */
static void finish(uvface__priv_t* f, uvface_send_t* req, int status) {
  if (req->bufs_ != req->bufsml_) free(req->bufs_);
  req->bufs_ = req->bufsml_;
  req->status_ = status;
  queue_append(&f->done, req);
  uvface__make_hot(f);
}

/* --- Requests --------------------------------------------------------------------------------- */

/* What is checked of a packet that is put into the ring or the stream, for one that has to wait before. */
static int check_packets(uvface__priv_t* f, const char* function, const uv_buf_t bufs[], unsigned int nbufs,
                         bool batch) {
  size_t mtu = uvface__mtu(f);
  size_t bytes = 0;

  if (bufs == NULL || nbufs == 0) return uvface__complain(f, UV_EINVAL, "%s: no buffers", function);
  for (unsigned int b = 0; b < nbufs; b++) {
    bytes = batch ? bufs[b].len : bytes + bufs[b].len;
    if (bytes > mtu || bufs[b].len > mtu)
      return uvface__complain(f, UV_EMSGSIZE, "%s: packet of %zu bytes: larger than the MTU of %zu", function, bytes,
                              mtu);
    if (batch && bytes == 0) break;
  }
  if (bytes == 0) return uvface__complain(f, UV_EINVAL, "%s: packet of 0 bytes: cannot be sent", function);
  if (f->stream == NULL) return 0;
  for (unsigned int p = 0; p < (batch ? nbufs : 1); p++)
    if (uvface__stream_check_packet(f->stream, as_iovec(bufs) + p, batch ? 1 : nbufs) < 0)
      return refused(f, function, UV_EINVAL);
  return 0;
}

/* Puts what finds room into the ring: one packet gathered of all buffers, or of a batch as many as it can. Adds to
 * *sent. Returns 0 if that is all, UV_EAGAIN, or an error. */
static int push(uvface__priv_t* f, const uv_buf_t bufs[], unsigned int nbufs, bool batch, unsigned int* sent) {
  int n;

  if (!batch) {
    n = uvface__put(f, as_iovec(bufs), nbufs);
    return n > 0 ? 0 : n;
  }
  do {
    n = uvface__put_batch(f, as_iovec(bufs) + *sent, nbufs - *sent);
    if (n < 0) return n;
    *sent += (unsigned int) n;
  } while (*sent < nbufs);
  return 0;
}

/* The request's own copy of the buffers, until it is finished. */
static int copy_bufs(uvface_send_t* req, const uv_buf_t bufs[]) {
  req->bufs_ = req->bufsml_;
  if (req->nbufs_ > sizeof(req->bufsml_) / sizeof(req->bufsml_[0])) {
    req->bufs_ = malloc(req->nbufs_ * sizeof(bufs[0]));
    if (req->bufs_ == NULL) return UV_ENOMEM;
  }
  memcpy(req->bufs_, bufs, req->nbufs_ * sizeof(bufs[0]));
  return 0;
}

/* A request that cannot wait. If a part of it is in the ring already it cannot be refused any more. */
static int refuse_to_wait(uvface__priv_t* f, uvface_send_t* req, int err) {
  if (req->sent_ == 0) return err;
  req->bufs_ = req->bufsml_;
  f->pending++;
  finish(f, req, err);
  return 0;
}

static int enqueue(uvface__priv_t* f, const char* function, uvface_send_t* req, const uv_buf_t bufs[]) {
  if (f->nqueued >= f->queue_max) {
    uvface__complain(f, UV_ENOBUFS, "%s: %u sends wait for room already", function, f->nqueued);
    return refuse_to_wait(f, req, UV_ENOBUFS);
  }
  if (copy_bufs(req, bufs) < 0) {
    uvface__complain(f, UV_ENOMEM, "%s: %u buffers: out of memory", function, req->nbufs_);
    return refuse_to_wait(f, req, UV_ENOMEM);
  }
  if (f->queued.first == NULL) uvface__stay_hot(f, uvface__window_open(&f->tx_window, uv_hrtime()));
  if (f->send_timeout_ms != 0) {
    req->due_ms_ = uv_hrtime() / 1000000 + 1 + f->send_timeout_ms; /* not uv_now(): it may be a long turn old */
    uvface__at(f, req->due_ms_);
  }
  queue_append(&f->queued, req);
  f->nqueued++;
  f->pending++;
  uvface__make_hot(f);
  return 0;
}

static int send_request(uvface_send_t* req, uvface_t* face, const char* function, const uv_buf_t bufs[],
                        unsigned int nbufs, uvface_send_cb cb, bool batch) {
  uvface__priv_t* f = face != NULL ? face->priv_ : NULL;
  int err;

  if (f == NULL || f->state != UVFACE__OPEN || uvface__check_open(f) < 0) return why_not(f, function);
  if (req == NULL) return uvface__complain(f, UV_EINVAL, "%s: the request is NULL", function);
  req->face = face;
  req->cb_ = cb;
  req->batch_ = batch;
  req->nbufs_ = nbufs;
  req->sent_ = 0;
  req->due_ms_ = 0;
  if (f->queued.first == NULL) {
    uvface__before_publish(f);
    err = push(f, bufs, nbufs, batch, &req->sent_);
    uvface__after_publish(f);
  } else {
    if ((err = check_packets(f, function, bufs, nbufs, batch)) < 0) return err;
    err = UV_EAGAIN;
  }
  if (err == UV_EAGAIN) {
    err = enqueue(f, function, req, bufs);
  } else if (err < 0) {
    return refused(f, function, err);
  } else if (cb != NULL) {
    req->bufs_ = req->bufsml_;
    f->pending++;
    finish(f, req, 0);
  }
  uvface__update_active(f);
  return err;
}

int uvface_send(uvface_send_t* req, uvface_t* face, const uv_buf_t bufs[], unsigned int nbufs, uvface_send_cb cb) {
  return send_request(req, face, "uvface_send", bufs, nbufs, cb, false);
}

int uvface_send_batch(uvface_send_t* req, uvface_t* face, const uv_buf_t pkts[], unsigned int npkts,
                      uvface_send_cb cb) {
  return send_request(req, face, "uvface_send_batch", pkts, npkts, cb, true);
}

/* --- Served ----------------------------------------------------------------------------------- */

/* How many packets of a batch the turn's budget still allows. */
static unsigned int allowed(const uvface__priv_t* f, const uv_buf_t rest[], unsigned int left) {
  size_t bytes = f->tx_budget.bytes;
  unsigned int n = 0;

  while (n < left && f->tx_budget.packets + n < UVFACE__TX_PACKETS_PER_TURN && bytes < UVFACE__BYTES_PER_TURN)
    bytes += rest[n++].len;
  return n;
}

/* The next step of a queued request: all of it, or of a batch what the budget allows. Returns 0 if it is in the ring,
 * UV_EAGAIN, or an error. */
static int push_queued(uvface__priv_t* f, uvface_send_t* req) {
  const uv_buf_t* rest = req->bufs_ + req->sent_;
  unsigned int n = req->nbufs_ - req->sent_;
  int taken;

  if (req->batch_) n = allowed(f, rest, n);
  taken = req->batch_ ? uvface__put_batch(f, as_iovec(rest), n) : uvface__put(f, as_iovec(rest), n);
  if (taken < 0) return taken;
  if (!req->batch_) {
    f->tx_budget.packets++;
    f->tx_budget.bytes += (size_t) taken;
    return 0;
  }
  f->tx_budget.packets += (unsigned int) taken;
  for (int p = 0; p < taken; p++) f->tx_budget.bytes += rest[p].len;
  req->sent_ += (unsigned int) taken;
  return req->sent_ < req->nbufs_ ? UV_EAGAIN : 0;
}

void uvface__send_flush(uvface__priv_t* f, uint64_t now_ns) {
  unsigned int packets_before;
  int err = 0;

  if (f->queued.first == NULL || f->state != UVFACE__OPEN) return;
  uvface__budget_begin(&f->tx_budget, f->ctx->turn);
  packets_before = f->tx_budget.packets;
  uvface__before_publish(f);
  while (f->queued.first != NULL && !uvface__tx_spent(f) && (err = push_queued(f, f->queued.first)) == 0)
    finish(f, dequeue(f), 0);
  if (f->state != UVFACE__OPEN) return; /* the tap has ended it */
  uvface__after_publish(f);
  if (f->tx_budget.packets != packets_before) {
    bool more = uvface__rx_spent(f) || uvface__tx_spent(f);

    uvface__stay_hot(f, uvface__window_hit(&f->tx_window, now_ns, more, &f->ctx->preemptions));
  }
  if (err == UV_EPIPE)
    uvface__end_stream(f, err, "uvface_send_cb");
  else if (err < 0 && err != UV_EAGAIN)
    uvface__fail(f, err, "uvface_send_cb", uvface__words(f));
}

void uvface__send_abort(uvface__priv_t* f) {
  int status = UV_ECANCELED;

  if (uvface__is_over(f)) status = f->state == UVFACE__FAILED && f->error != UV_EOF ? f->error : UV_EPIPE;
  while (f->queued.first != NULL) finish(f, dequeue(f), status);
}

void uvface__send_complete(uvface__priv_t* f) {
  uvface__queue_t finished;

  if (uvface__is_over(f)) uvface__send_abort(f);
  finished = f->done; /* not those that the callbacks make */
  f->done.first = f->done.last = NULL;
  while (finished.first != NULL) {
    uvface_send_t* req = queue_pop(&finished);

    f->pending--;
    if (req->cb_ != NULL) req->cb_(req, req->status_);
  }
  if (f->state != UVFACE__CLOSING) uvface__update_active(f);
}

static bool is_overdue(const uvface__priv_t* f, uint64_t now_ms) {
  return f->queued.first != NULL && f->queued.first->due_ms_ != 0 && f->queued.first->due_ms_ <= now_ms;
}

uint64_t uvface__send_expire(uvface__priv_t* f, uint64_t now_ns) {
  uint64_t now_ms = now_ns / 1000000;
  bool expired = false;

  if (f->state == UVFACE__OPEN && is_overdue(f, now_ms)) uvface__send_flush(f, now_ns); /* room after all? */
  if (f->state != UVFACE__OPEN) return 0;
  for (; is_overdue(f, now_ms); expired = true) finish(f, dequeue(f), UV_ETIMEDOUT);
  if (expired)
    uvface__complain(f, UV_ETIMEDOUT, "uvface_send_cb: %s %s: stayed full for %llu ms",
                     f->stream != NULL ? "buffer of" : "ring", f->name, (unsigned long long) f->send_timeout_ms);
  return f->queued.first != NULL ? f->queued.first->due_ms_ : 0;
}
