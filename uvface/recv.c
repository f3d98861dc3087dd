/* SPDX-License-Identifier: MIT */
/* recv.c: from the ring to recv_cb.
 *
 * Guarantees that a face takes at most 64 packets and 256 KiB a turn, that the error which ends receiving
 * comes once, end of file after everything that arrived before, and that nothing of the face is used after a
 * callback without looking whether it still receives. Loop thread. */
#include "internal.h"

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

/* The core wants room for one packet at least; a turn that has just begun has that anyway. */
static size_t arena_bytes(const uvface__priv_t* f, size_t left) {
  size_t mtu;

  if (left == UVFACE__BYTES_PER_TURN) return left;
  mtu = ndnshm_get_mtu(f->ep);
  return left > mtu ? left : mtu;
}

/* Up to `max` packets into the context's vector. Copies or, if borrowed, slots owed a release. */
static int take_packets(uvface__priv_t* f, unsigned int max) {
  size_t left = UVFACE__BYTES_PER_TURN - f->rx_budget.bytes;

  if ((f->flags & UVFACE_RECV_BORROW) != 0) return ndnshm_peek(f->ep, left, f->ctx->pkts, max);
  if (f->own_arena != NULL) return ndnshm_recv(f->ep, f->own_arena, ndnshm_get_mtu(f->ep), f->ctx->pkts, max);
  return ndnshm_recv(f->ep, f->ctx->arena, arena_bytes(f, left), f->ctx->pkts, max);
}

static void report_end(uvface__priv_t* f) {
  f->receiving = false;
  uvface__update_active(f);
  if (f->recv_cb != NULL) f->recv_cb(f->face, f->error, NULL);
}

static void deliver(uvface__priv_t* f, int npkts, uint64_t now_ns) {
  uint64_t until_ns;

  f->empty_wakes = 0;
  f->rx_budget.packets += (unsigned int) npkts;
  for (int p = 0; p < npkts; p++) f->rx_budget.bytes += f->ctx->pkts[p].iov_len;
  until_ns =
      uvface__window_hit(&f->rx_window, now_ns, uvface__rx_spent(f) || uvface__tx_spent(f), &f->ctx->preemptions);
  uvface__stay_hot(f, until_ns);
  if (f->recv_cb != NULL) f->recv_cb(f->face, npkts, (const uv_buf_t*) f->ctx->pkts);
  ndnshm_release(f->ep);
}

void uvface__recv_deliver(uvface__priv_t* f, uint64_t now_ns) {
  int npkts = 0;

  if (!f->receiving) return;
  uvface__budget_begin(&f->rx_budget, f->ctx->turn);
  if (uvface__rx_spent(f)) return;
  uvface__before_publish(f); /* releasing the slots */
  if (f->state != UVFACE__FAILED) npkts = take_packets(f, UVFACE__RX_PACKETS_PER_TURN - f->rx_budget.packets);
  if (npkts < 0) uvface__fail(f, npkts, "uvface_recv_cb", ndnshm_errmsg(f->ep));
  if (npkts == 0 && f->state == UVFACE__PEER_GONE && ndnshm_ready(f->ep, NDNSHM_PACKETS) == 0) {
    f->state = UVFACE__FAILED;
    f->error = UV_EOF;
  }
  if (f->state == UVFACE__FAILED)
    report_end(f);
  else if (npkts > 0)
    deliver(f, npkts, now_ns);
}
