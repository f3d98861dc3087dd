/* SPDX-License-Identifier: MIT */
/* recv.c: from the ring to recv_cb.
 *
 * Guarantees that a face takes at most 64 packets and 256 KiB a turn, that the error which ends receiving
 * comes once, end of file after everything that arrived before, and that nothing of the face is used after a
 * callback without looking whether it still receives. Loop thread. */
#include <stdlib.h>

#include "internal.h"

int uvface_recv_start(uvface_t* face, uvface_recv_cb cb) {
  uvface__priv_t* f = face != NULL ? face->priv_ : NULL;
  int err = uvface__check_open(f);

  if (f == NULL) return err;
  if (err < 0) return uvface__complain(f, err, "uvface_recv_start: %s", uvface__reason(f, err));
  if (f->receiving) return uvface__complain(f, UV_EALREADY, "uvface_recv_start: the face is receiving already");
  f->receiving = true;
  f->recv_cb = cb;
  uvface__window_open(f, &f->packets);
  uvface__make_hot(f);
  uvface__update_active(f);
  return 0;
}

int uvface_recv_stop(uvface_t* face) {
  uvface__priv_t* f = face != NULL ? face->priv_ : NULL;

  if (f == NULL) return UV_EINVAL;
  if (f->closing || f->ep == NULL) return uvface__complain(f, UV_ENOTCONN, "uvface_recv_stop: not connected");
  if (!f->receiving) return 0;
  f->receiving = false;
  if (f->queued.first == NULL) ndnshm_unpark(f->ep); /* a waiting send keeps its announcement */
  uvface__update_active(f);
  return 0;
}

bool uvface__recv_exhausted(const uvface__priv_t* f) {
  return f->turn == f->ctx->turn &&
         (f->turn_packets >= UVFACE__PACKETS_PER_TURN || f->turn_bytes >= UVFACE__BYTES_PER_TURN);
}

/* Up to `max` packets into the context's vector. Copies or, if borrowed, slots owed a release. */
static int take_packets(uvface__priv_t* f, unsigned int max) {
  size_t mtu = ndnshm_get_mtu(f->ep);
  size_t bytes = UVFACE__BYTES_PER_TURN - f->turn_bytes;

  if ((f->flags & UVFACE_RECV_BORROW) != 0) return ndnshm_peek(f->ep, bytes, f->ctx->pkts, max);
  if (f->own_arena != NULL) return ndnshm_recv(f->ep, f->own_arena, mtu, f->ctx->pkts, max);
  return ndnshm_recv(f->ep, f->ctx->arena, bytes > mtu ? bytes : mtu, f->ctx->pkts, max);
}

static void charge(uvface__priv_t* f, int npkts) {
  f->turn_packets += (unsigned int) npkts;
  for (int p = 0; p < npkts; p++) f->turn_bytes += f->ctx->pkts[p].iov_len;
}

static void report_end(uvface__priv_t* f) {
  f->receiving = false;
  uvface__update_active(f);
  if (f->recv_cb != NULL) f->recv_cb(f->face, f->error, NULL);
}

void uvface__recv_deliver(uvface__priv_t* f) {
  int npkts;

  if (!f->receiving) return;
  if (f->turn != f->ctx->turn) {
    f->turn = f->ctx->turn;
    f->turn_packets = 0;
    f->turn_bytes = 0;
  }
  if (uvface__recv_exhausted(f)) return;
  npkts = f->error != 0 ? f->error : take_packets(f, UVFACE__PACKETS_PER_TURN - f->turn_packets);
  if (npkts < 0 && f->error == 0) uvface__fail(f, npkts);
  if (npkts == 0 && f->peer_gone && ndnshm_ready(f->ep, NDNSHM_PACKETS) == 0) f->error = npkts = UV_EOF;
  if (npkts < 0) {
    report_end(f);
  } else if (npkts > 0) {
    f->empty_wakes = 0;
    charge(f, npkts);
    uvface__window_hit(f, &f->packets, f->ctx->now_ns);
    if (f->recv_cb != NULL) f->recv_cb(f->face, npkts, (const uv_buf_t*) f->ctx->pkts);
    ndnshm_release(f->ep);
  }
}
