/* SPDX-License-Identifier: MIT */
/* send.c: from requests to the ring.
 *
 * Guarantees rules 1 to 4 of docs/design.rst: a refused request is never called back, an accepted one
 * exactly once, in order, never inside the call; nothing overtakes a queued request. A request goes
 * queued -> done -> callback, or straight to done when there is room. Loop thread. */
#include <stdlib.h>
#include <string.h>

#include "internal.h"

/* The peer broke the protocol, or the region: the face is done. */
static bool is_fatal(int err) {
  return err == UV_EPROTO || err == UV_EIO;
}

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

/* Of queued packets that find room: as receiving has, so that a peer that frees slots as fast as they are filled,
 * or says so, does not keep the loop. A whole default ring. */
#define PACKETS_PER_TURN 256

static const struct iovec* as_iovec(const uv_buf_t* bufs) {
  return (const struct iovec*) bufs; /* the same layout: asserted in face.c, and libuv's own practice */
}

/* --- What may be sent ------------------------------------------------------------------------- */

/* The error of a call on a face that cannot send. */
static int why_not(uvface__priv_t* f, const char* call) {
  int err = uvface__check_open(f);

  if (f == NULL) return err;
  if (err == 0 || err == UV_EOF) err = UV_EPIPE;
  return uvface__complain(f, err, "%s: %s", call, err == UV_EPIPE ? "the peer is gone" : uvface__reason(f, err));
}

static int too_large(uvface__priv_t* f, const char* call, size_t bytes) {
  return uvface__complain(f, UV_EMSGSIZE, "%s: packet of %zu bytes: larger than the MTU of %zu", call, bytes,
                          ndnshm_get_mtu(f->ep));
}

/* One gathered packet, or one packet an element: none empty, none too large. */
static int check_packets(uvface__priv_t* f, const char* call, const uv_buf_t bufs[], unsigned int nbufs, bool batch) {
  size_t mtu = ndnshm_get_mtu(f->ep);
  size_t bytes = 0;

  if (bufs == NULL || nbufs == 0) return uvface__complain(f, UV_EINVAL, "%s: no buffers", call);
  for (unsigned int b = 0; b < nbufs; b++) {
    bytes = batch ? bufs[b].len : bytes + bufs[b].len;
    if (bytes > mtu || bufs[b].len > mtu) return too_large(f, call, bytes);
    if (batch && bytes == 0) break;
  }
  if (bytes == 0) return uvface__complain(f, UV_EINVAL, "%s: packet of 0 bytes: cannot be sent", call);
  return 0;
}

/* --- Now or not at all ------------------------------------------------------------------------ */

/* Sorts out why the core refused; the ring being full needs no words. */
static int refused(uvface__priv_t* f, const char* call, int err, const uv_buf_t bufs[], unsigned int nbufs,
                   bool batch) {
  if (err == UV_EAGAIN) return err;
  if (is_fatal(err)) {
    uvface__fail(f, err);
    return err;
  }
  return check_packets(f, call, bufs, nbufs, batch);
}

int uvface_try_send(uvface_t* face, const uv_buf_t bufs[], unsigned int nbufs) {
  uvface__priv_t* f = face != NULL ? face->priv_ : NULL;
  int n;

  if (f == NULL || !f->can_send) return why_not(f, "uvface_try_send");
  if (f->queued.first != NULL) return UV_EAGAIN;
  n = ndnshm_send(f->ep, as_iovec(bufs), nbufs);
  return n >= 0 ? n : refused(f, "uvface_try_send", n, bufs, nbufs, false);
}

int uvface_try_send_batch(uvface_t* face, const uv_buf_t pkts[], unsigned int npkts) {
  uvface__priv_t* f = face != NULL ? face->priv_ : NULL;
  int n;

  if (f == NULL || !f->can_send) return why_not(f, "uvface_try_send_batch");
  if (f->queued.first != NULL) return UV_EAGAIN;
  n = ndnshm_send_batch(f->ep, as_iovec(pkts), npkts);
  return n >= 0 ? n : refused(f, "uvface_try_send_batch", n, pkts, npkts, true);
}

int uvface_reserve(uvface_t* face, size_t len, uv_buf_t* slot) {
  uvface__priv_t* f = face != NULL ? face->priv_ : NULL;
  struct iovec lent;
  int err;

  if (f == NULL || !f->can_send) return why_not(f, "uvface_reserve");
  if (slot == NULL || len == 0) return uvface__complain(f, UV_EINVAL, "uvface_reserve: slot is NULL or len is 0");
  if (f->queued.first != NULL) return UV_EAGAIN;
  err = ndnshm_reserve(f->ep, len, &lent);
  if (err == UV_EMSGSIZE) return too_large(f, "uvface_reserve", len);
  if (err == UV_EALREADY) return uvface__complain(f, err, "uvface_reserve: a reservation is open already");
  if (is_fatal(err)) uvface__fail(f, err);
  if (err < 0) return err;
  slot->base = lent.iov_base;
  slot->len = lent.iov_len;
  return 0;
}

int uvface_commit(uvface_t* face, size_t len) {
  uvface__priv_t* f = face != NULL ? face->priv_ : NULL;
  int err;

  if (f == NULL || !f->can_send) return why_not(f, "uvface_commit");
  err = ndnshm_commit(f->ep, len);
  if (err == UV_EINVAL) return uvface__complain(f, err, "uvface_commit: nothing is reserved");
  if (err == UV_EMSGSIZE) return uvface__complain(f, err, "uvface_commit: %zu bytes: more than were reserved", len);
  if (is_fatal(err)) uvface__fail(f, err);
  if (f->queued.first != NULL) uvface__make_hot(f); /* they waited for the reservation to end */
  return err;
}

/* --- Requests --------------------------------------------------------------------------------- */

static int copy_bufs(uvface_send_t* req, const uv_buf_t bufs[], unsigned int nbufs) {
  req->bufs_ = req->bufsml_;
  if (nbufs > sizeof(req->bufsml_) / sizeof(req->bufsml_[0])) req->bufs_ = malloc(nbufs * sizeof(bufs[0]));
  if (req->bufs_ == NULL) return UV_ENOMEM;
  memcpy(req->bufs_, bufs, nbufs * sizeof(bufs[0]));
  return 0;
}

/* A request that was counted in f->pending: its callback is owed. */
static void finish(uvface__priv_t* f, uvface_send_t* req, int status) {
  if (req->bufs_ != req->bufsml_) free(req->bufs_);
  req->bufs_ = req->bufsml_;
  req->status_ = status;
  queue_append(&f->done, req);
  uvface__make_hot(f);
}

static uvface_send_t* dequeue(uvface__priv_t* f) {
  f->nqueued--;
  return queue_pop(&f->queued);
}

/* Puts what it can of a request into the ring. Returns 0 if that is all, UV_EAGAIN, or an error. */
static int push(uvface__priv_t* f, uvface_send_t* req) {
  int n;

  if (!req->batch_) {
    n = ndnshm_send(f->ep, as_iovec(req->bufs_), req->nbufs_);
    return n > 0 ? 0 : n;
  }
  while (req->sent_ < req->nbufs_) {
    n = ndnshm_send_batch(f->ep, as_iovec(req->bufs_) + req->sent_, req->nbufs_ - req->sent_);
    if (n < 0) return n;
    req->sent_ += (unsigned int) n;
  }
  return 0;
}

/* The next step of a queued request: all of it, or of a batch what the turn's budget still allows. Returns as push(). */
static int push_some(uvface__priv_t* f, uvface_send_t* req) {
  const uv_buf_t* rest = req->bufs_ + req->sent_;
  unsigned int left = req->nbufs_ - req->sent_, n = 0;
  size_t bytes = 0;
  int taken;

  while (n < left && (!req->batch_ ||
                      (f->tx_turn_packets + n < PACKETS_PER_TURN && f->tx_turn_bytes + bytes < UVFACE__BYTES_PER_TURN)))
    bytes += rest[n++].len;
  taken = req->batch_ ? ndnshm_send_batch(f->ep, as_iovec(rest), n) : ndnshm_send(f->ep, as_iovec(rest), n);
  if (taken < 0) return taken;
  f->tx_turn_packets += req->batch_ ? (unsigned int) taken : 1;
  f->tx_turn_bytes += bytes;
  if (req->batch_) req->sent_ += (unsigned int) taken;
  return req->batch_ && req->sent_ < req->nbufs_ ? UV_EAGAIN : 0;
}

bool uvface__send_exhausted(const uvface__priv_t* f) {
  return f->tx_turn == f->ctx->turn &&
         (f->tx_turn_packets >= PACKETS_PER_TURN || f->tx_turn_bytes >= UVFACE__BYTES_PER_TURN);
}

static int enqueue(uvface__priv_t* f, const char* call, uvface_send_t* req, const uv_buf_t bufs[], unsigned int nbufs) {
  if (f->nqueued >= f->queue_max)
    return uvface__complain(f, UV_ENOBUFS, "%s: %u sends wait for room already", call, f->nqueued);
  if (copy_bufs(req, bufs, nbufs) < 0) {
    uvface__complain(f, UV_ENOMEM, "%s: %u buffers: out of memory", call, nbufs);
    if (req->sent_ == 0) return UV_ENOMEM;
    f->pending++; /* a part is in the ring already: it cannot be refused any more */
    req->bufs_ = req->bufsml_;
    finish(f, req, UV_ENOMEM);
    return 0;
  }
  if (f->queued.first == NULL) uvface__window_open(f, &f->space);
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

static int send_request(uvface_send_t* req, uvface_t* face, const char* call, const uv_buf_t bufs[], unsigned int nbufs,
                        uvface_send_cb cb, bool batch) {
  uvface__priv_t* f = face != NULL ? face->priv_ : NULL;
  int err;

  if (f == NULL || !f->can_send || uvface__check_open(f) < 0) return why_not(f, call);
  if (req == NULL) return uvface__complain(f, UV_EINVAL, "%s: the request is NULL", call);
  if ((err = check_packets(f, call, bufs, nbufs, batch)) < 0) return err;
  req->face = face;
  req->cb_ = cb;
  req->batch_ = batch;
  req->bufs_ = (uv_buf_t*) (uintptr_t) bufs; /* until it is queued: the caller's own array */
  req->nbufs_ = nbufs;
  req->sent_ = 0;
  req->due_ms_ = 0;
  err = f->queued.first == NULL ? push(f, req) : UV_EAGAIN;
  if (is_fatal(err)) uvface__fail(f, err);
  if (err == UV_EAGAIN) {
    err = enqueue(f, call, req, bufs, nbufs);
  } else if (err == 0 && cb != NULL) {
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

void uvface__send_flush(uvface__priv_t* f) {
  unsigned int packets_before;
  int err = 0;

  if (f->queued.first == NULL) return;
  if (f->tx_turn != f->ctx->turn) {
    f->tx_turn = f->ctx->turn;
    f->tx_turn_packets = 0;
    f->tx_turn_bytes = 0;
  }
  packets_before = f->tx_turn_packets;
  while (f->queued.first != NULL && !uvface__send_exhausted(f) && (err = push_some(f, f->queued.first)) == 0)
    finish(f, dequeue(f), 0);
  if (f->tx_turn_packets != packets_before) uvface__window_hit(f, &f->space, uv_hrtime());
  if (err < 0 && err != UV_EAGAIN) uvface__fail(f, err);
}

void uvface__send_complete(uvface__priv_t* f) {
  uvface__queue_t finished = f->done; /* not those that the callbacks make */

  f->done.first = f->done.last = NULL;
  while (finished.first != NULL) {
    uvface_send_t* req = queue_pop(&finished);

    f->pending--;
    if (req->cb_ != NULL) req->cb_(req, req->status_);
  }
  if (!f->closing) uvface__update_active(f);
}

void uvface__send_abort(uvface__priv_t* f, int status) {
  while (f->queued.first != NULL) finish(f, dequeue(f), status);
}

uint64_t uvface__send_expire(uvface__priv_t* f, uint64_t now_ms) {
  bool expired = false;

  while (f->queued.first != NULL && f->queued.first->due_ms_ != 0 && f->queued.first->due_ms_ <= now_ms) {
    finish(f, dequeue(f), UV_ETIMEDOUT);
    expired = true;
  }
  if (expired)
    uvface__complain(f, UV_ETIMEDOUT, "uvface_send: the ring stayed full for %llu ms",
                     (unsigned long long) f->send_timeout_ms);
  return f->queued.first != NULL ? f->queued.first->due_ms_ : 0;
}
