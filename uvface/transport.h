/* SPDX-License-Identifier: MIT */
/* transport.h: what carries a face: a region of shared memory (ndnshm.h) or a stream socket (stream.h).
 *
 * The calls that both have in the same shape, for a face that is open. Those that send take the short way to a ring,
 * and all others that of tap.c. Loop thread. */
#ifndef UVFACE_TRANSPORT_H
#define UVFACE_TRANSPORT_H

#include "internal.h"

static inline int uvface__put(uvface__priv_t* f, const struct iovec bufs[], unsigned int nbufs) {
  return f->tx_ep != NULL ? ndnshm_send(f->tx_ep, bufs, nbufs) : uvface__put_told(f, bufs, nbufs);
}

static inline int uvface__put_batch(uvface__priv_t* f, const struct iovec pkts[], unsigned int npkts) {
  return f->tx_ep != NULL ? ndnshm_send_batch(f->tx_ep, pkts, npkts) : uvface__put_batch_told(f, pkts, npkts);
}

static inline int uvface__lend(uvface__priv_t* f, size_t len, struct iovec* ret_slot) {
  return f->tx_ep != NULL ? ndnshm_reserve(f->tx_ep, len, ret_slot) : uvface__lend_told(f, len, ret_slot);
}

static inline int uvface__publish(uvface__priv_t* f, size_t len) {
  return f->tx_ep != NULL ? ndnshm_commit(f->tx_ep, len) : uvface__publish_told(f, len);
}

/* Of what the face waits for, what is there after all; if nothing is, it sleeps. */
static inline unsigned int uvface__confirm(uvface__priv_t* f, unsigned int what) {
  unsigned int ready = 0;

  if (f->ep != NULL) return ndnshm_confirm(f->ep, what);
  if ((what & NDNSHM_PACKETS) != 0 && uvface__stream_has_packets(f->stream)) ready |= NDNSHM_PACKETS;
  if ((what & NDNSHM_SPACE) != 0 && uvface__stream_has_space(f->stream)) ready |= NDNSHM_SPACE;
  return ready;
}

/* The largest packet; 0 while closed. */
static inline size_t uvface__mtu(const uvface__priv_t* f) {
  return f->stream != NULL ? uvface__stream_mtu(f->stream) : ndnshm_get_mtu(f->ep);
}

/* What failed last. */
static inline const char* uvface__words(const uvface__priv_t* f) {
  return f->stream != NULL ? uvface__stream_words(f->stream) : ndnshm_errmsg(f->ep);
}

#endif
