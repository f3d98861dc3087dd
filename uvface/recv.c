/* SPDX-License-Identifier: MIT */
/* recv.c: from the ring or the stream to recv_cb, past the filter.
 *
 * Guarantees that a face takes at most 64 packets and 256 KiB a turn, that the error which ends receiving
 * comes once, end of file after everything that arrived before, and that nothing of the face is used after a
 * callback without looking whether it still receives. Loop thread. */
#include <stdio.h>
#include <stdlib.h>

#include "transport.h"

int uvface_recv_start(uvface_t* face, uvface_recv_cb cb) {
  uvface__priv_t* f = face != NULL ? face->priv_ : NULL;
  int err = uvface__check_open(f);

  if (f == NULL) return err;
  if (err < 0) return uvface__refuse(f, "uvface_recv_start", err);
  if (f->receiving) return uvface__complain(f, UV_EALREADY, "uvface_recv_start: the face is receiving already");
  f->receiving = true;
  f->recv_cb = cb;
  uvface__stay_hot(f, uvface__window_open(&f->rx_window, uv_hrtime()));
  uvface__make_hot(f);
  uvface__update_active(f);
  if (f->stream != NULL) uvface__poll_stream(f, false);
  return 0;
}

int uvface_recv_stop(uvface_t* face) {
  uvface__priv_t* f = face != NULL ? face->priv_ : NULL;

  if (f == NULL) return UV_EINVAL;
  if (f->state == UVFACE__CLOSED || f->state == UVFACE__CLOSING)
    return uvface__refuse(f, "uvface_recv_stop", UV_ENOTCONN);
  if (!f->receiving) return 0;
  f->receiving = false;
  if (f->queued.first == NULL) ndnshm_unpark(f->ep); /* a waiting send keeps its announcement */
  uvface__update_active(f);
  return 0;
}

/* Room for one packet at least, as far as there is; a turn that has just begun has all of it anyway. */
static size_t arena_bytes(const uvface__priv_t* f, size_t left) {
  size_t mtu;

  if (left == UVFACE__BYTES_PER_TURN) return left;
  mtu = ndnshm_get_mtu(f->ep);
  if (mtu > sizeof(f->ctx->arena)) return sizeof(f->ctx->arena);
  return left > mtu ? left : mtu;
}

static bool grow_own_arena(uvface__priv_t* f, size_t bytes) {
  char why[sizeof(f->why)];

  if (f->own_arena_bytes >= bytes) return true;
  free(f->own_arena); /* what was handed out of it is over */
  f->own_arena = malloc(bytes);
  f->own_arena_bytes = f->own_arena != NULL ? bytes : 0;
  if (f->own_arena != NULL) return true;
  snprintf(why, sizeof(why), "malloc for a packet on %s: %zu bytes: out of memory", f->name, bytes);
  uvface__fail(f, UV_ENOMEM, "uvface_recv_cb", why);
  return false;
}

/* A packet that the loop's arena is too small for. The peer says how long it is, and may say something else at each
 * look, but nothing beyond the MTU. */
static int take_large(uvface__priv_t* f) {
  int n = UV_ENOBUFS;

  for (size_t bytes = f->ctx->pkts[0].iov_len; n == UV_ENOBUFS; bytes = ndnshm_get_mtu(f->ep)) {
    if (!grow_own_arena(f, bytes)) return 0;
    n = ndnshm_recv(f->ep, f->own_arena, f->own_arena_bytes, f->ctx->pkts, 1);
  }
  return n;
}

/* Up to `max` packets into the context's vector. Copies or, if borrowed, slots owed a release. */
static int take_packets(uvface__priv_t* f, unsigned int max) {
  size_t left = UVFACE__BYTES_PER_TURN - f->rx_budget.bytes;
  int n;

  if (f->stream != NULL) return uvface__stream_take(f->stream, f->filter == NULL, left, f->ctx->pkts, max);
  if ((f->flags & UVFACE_RECV_BORROW) != 0) return ndnshm_peek(f->ep, left, f->ctx->pkts, max);
  n = ndnshm_recv(f->ep, f->ctx->arena, arena_bytes(f, left), f->ctx->pkts, max);
  return n == UV_ENOBUFS ? take_large(f) : n;
}

/* --- The filter ------------------------------------------------------------------------------- */

/* Whether the packet is to be passed on. */
static bool show(uvface__priv_t* f, struct iovec* packet) {
  uvface_filter_t* filter = f->filter;

  return filter == NULL || filter->on_packet == NULL || filter->on_packet(filter, f->face, (uv_buf_t*) packet) != 0;
}

/* Of packets from a ring, those that the filter passes on: they move together. A filter that ends receiving, ends it
 * for the rest of them, too. */
static int filter_all(uvface__priv_t* f, struct iovec pkts[], int npkts) {
  int n = 0;

  if (f->filter_told) return 0; /* it is to see no packet after the end, and the user none that it has not seen */
  for (int p = 0; p < npkts && f->receiving; p++) {
    struct iovec packet = pkts[p];

    if (show(f, &packet)) pkts[n++] = packet;
  }
  return n;
}

/* Of packets that were taken, those that are delivered, after filter and tap have seen them. */
static int show_all(uvface__priv_t* f, int npkts) {
  struct iovec* pkts = f->ctx->pkts; /* a face that is closed meanwhile has no context any more */
  int n = npkts;

  if (f->stream == NULL) n = filter_all(f, pkts, npkts); /* of a stream the filter has seen them */
  uvface__tell_received(f, pkts, n);
  return f->receiving ? n : 0;
}

static bool can_read(const uvface__priv_t* f) {
  return f->state == UVFACE__OPEN || f->state == UVFACE__PEER_GONE;
}

static void show_stream(uvface__priv_t* f) {
  struct iovec packet;

  uvface__budget_begin(&f->filter_budget, f->ctx->turn);
  while (f->filter != NULL && can_read(f) &&
         !uvface__budget_spent(&f->filter_budget, f->ctx->turn, UVFACE__RX_PACKETS_PER_TURN) &&
         uvface__stream_look(f->stream, &packet)) {
    bool passes;

    f->filter_budget.packets++;
    f->filter_budget.bytes += packet.iov_len;
    passes = show(f, &packet);
    uvface__stream_pass(f->stream, passes ? &packet : NULL);
  }
  if (f->state == UVFACE__OPEN && uvface__stream_end(f->stream) != UV_EOF)
    uvface__lose_peer(f, uvface__stream_words(f->stream)); /* what is wrong comes after what is delivered */
}

/* Reads, and shows what has come to the filter, within the budget of the turn. */
static void read_stream(uvface__priv_t* f) {
  int n;

  if (!can_read(f) || (!f->receiving && f->filter == NULL)) return;
  n = uvface__stream_fill(f->stream, f->filter != NULL);
  if (n < 0) uvface__end_stream(f, n, "uvface_recv_cb");
  if (f->filter == NULL) return;
  show_stream(f);
  if (f->state == UVFACE__OPEN) uvface__poll_stream(f, false); /* there may be room again */
}

bool uvface__owes_filter(const uvface__priv_t* f) {
  if (f->filter == NULL) return false;
  if (uvface__is_over(f) && !f->filter_told && !f->receiving) return true;
  return f->stream != NULL && can_read(f) && uvface__stream_has_unseen(f->stream);
}

void uvface__recv_tell_end(uvface__priv_t* f) {
  uvface_filter_t* filter = f->filter;
  int status;

  if (filter == NULL || f->filter_told || !uvface__is_over(f) || f->receiving) return;
  if (f->stream != NULL && can_read(f) && uvface__stream_has_unseen(f->stream)) return;
  status = uvface__end_status(f);
  f->filter_told = true;
  if (f->stream != NULL) uvface__stream_stop(f->stream); /* it is to see no packet after the end */
  if (filter->on_end != NULL) filter->on_end(filter, f->face, status);
}

/* Only while a packet is sent, and then there is a filter that has on_send. */
static size_t edit(void* arg, uint8_t* packet, size_t bytes, size_t room) {
  uvface__priv_t* f = arg;

  return f->filter->on_send(f->filter, f->face, packet, bytes, room);
}

void uvface__recv_begin_stream(uvface__priv_t* f) {
  bool edits = f->filter != NULL && f->filter->on_send != NULL;

  uvface__stream_set_edit(f->stream, edits ? edit : NULL, f);
}

int uvface_set_filter(uvface_t* face, uvface_filter_t* filter) {
  uvface__priv_t* f = face != NULL ? face->priv_ : NULL;

  if (f == NULL) return UV_EINVAL;
  if (f->state == UVFACE__CLOSING) return uvface__refuse(f, "uvface_set_filter", UV_ENOTCONN);
  if (filter != NULL && filter->size < sizeof(*filter))
    return uvface__complain(
        f, UV_EINVAL, "uvface_set_filter: filter: impossible size %zu (use sizeof(uvface_filter_t))", filter->size);
  f->filter = filter;
  f->filter_told = false;
  uvface__watch_or_not(f);
  if (f->stream != NULL) {
    uvface__recv_begin_stream(f);
    uvface__poll_stream(f, false);
  }
  if (uvface__owes_filter(f)) uvface__make_hot(f);
  return 0;
}

int uvface_set_tap(uvface_t* face, uvface_tap_cb cb) {
  uvface__priv_t* f = face != NULL ? face->priv_ : NULL;

  if (f == NULL) return UV_EINVAL;
  if (f->state == UVFACE__CLOSING) return uvface__refuse(f, "uvface_set_tap", UV_ENOTCONN);
  f->tap_cb = cb;
  uvface__aim(f);
  uvface__watch_or_not(f);
  return 0;
}

/* --- Delivering ------------------------------------------------------------------------------- */

static void report_end(uvface__priv_t* f) {
  if (f->is_watched) uvface__tell_events(f); /* that the peer is gone, before that nothing more comes */
  if (!f->receiving) return;
  f->receiving = false;
  uvface__update_active(f);
  if (f->recv_cb != NULL) f->recv_cb(f->face, f->error, NULL);
}

static void deliver(uvface__priv_t* f, int npkts, uint64_t now_ns) {
  uint64_t until_ns;

  f->empty_wakes = 0;
  f->rx_budget.packets += (unsigned int) npkts;
  if (!uvface__rx_spent(f)) /* else their bytes do not matter any more */
    for (int p = 0; p < npkts; p++) f->rx_budget.bytes += f->ctx->pkts[p].iov_len;
  until_ns =
      uvface__window_hit(&f->rx_window, now_ns, uvface__rx_spent(f) || uvface__tx_spent(f), &f->ctx->preemptions);
  uvface__stay_hot(f, until_ns);
  if (f->is_watched) npkts = show_all(f, npkts);
  if (f->recv_cb != NULL && npkts > 0) f->recv_cb(f->face, npkts, (const uv_buf_t*) f->ctx->pkts);
  ndnshm_release(f->ep);
}

static bool has_packets(uvface__priv_t* f) {
  return f->stream != NULL ? uvface__stream_has_packets(f->stream) : ndnshm_ready(f->ep, NDNSHM_PACKETS) != 0;
}

/* True if there may be more, before the budget is spent. */
static inline bool deliver_some(uvface__priv_t* f, uint64_t now_ns) {
  int npkts = 0;

  if (f->stream != NULL) read_stream(f);
  if (!f->receiving) return false;
  uvface__budget_begin(&f->rx_budget, f->ctx->turn);
  if (uvface__rx_spent(f)) return false;
  if (f->ep != NULL) uvface__before_publish(f); /* releasing the slots */
  if (f->state != UVFACE__FAILED) npkts = take_packets(f, UVFACE__RX_PACKETS_PER_TURN - f->rx_budget.packets);
  if (npkts < 0) uvface__fail(f, npkts, "uvface_recv_cb", uvface__words(f));
  if (npkts == 0 && f->state == UVFACE__PEER_GONE && !has_packets(f)) {
    f->state = UVFACE__FAILED;
    f->error = UV_EOF;
  }
  if (f->state == UVFACE__FAILED) report_end(f);
  if (f->state == UVFACE__FAILED || npkts <= 0) return false;
  deliver(f, npkts, now_ns);
  return f->stream != NULL; /* a ring gives all at once, a socket a buffer full */
}

void uvface__recv_deliver(uvface__priv_t* f, uint64_t now_ns) {
  while (deliver_some(f, now_ns)) continue;
}
