/* SPDX-License-Identifier: MIT */
/* tap.c: sending while somebody looks, and over streams.
 *
 * Guarantees that the tap hears of each packet once, and that nothing of the face is used after a tap has closed it. A
 * ring without a tap does not come here: so taps cost such a face no instruction. Loop thread. */
#include "internal.h"

void uvface__aim(uvface__priv_t* f) {
  f->tx_ep = f->tap_cb == NULL ? f->ep : NULL;
  f->lent.iov_base = NULL; /* what is lent now was lent with nobody looking */
}

static void tell(uvface__priv_t* f, int direction, const struct iovec pieces[], unsigned int npieces) {
  if (f->tap_cb != NULL) f->tap_cb(f->face, direction, (const uv_buf_t*) pieces, npieces);
}

/* What the call returns after its tap. */
static int unless_over(const uvface__priv_t* f, int n) {
  return f->state == UVFACE__OPEN ? n : UV_ECANCELED;
}

int uvface__put_told(uvface__priv_t* f, const struct iovec bufs[], unsigned int nbufs) {
  int n = f->ep != NULL ? ndnshm_send(f->ep, bufs, nbufs) : uvface__stream_send(f->stream, bufs, nbufs);

  if (n <= 0 || f->tap_cb == NULL) return n;
  tell(f, UVFACE_SENT, bufs, nbufs);
  return unless_over(f, n);
}

int uvface__put_batch_told(uvface__priv_t* f, const struct iovec pkts[], unsigned int npkts) {
  int n = f->ep != NULL ? ndnshm_send_batch(f->ep, pkts, npkts) : uvface__stream_send_batch(f->stream, pkts, npkts);

  if (n <= 0 || f->tap_cb == NULL) return n;
  for (int p = 0; p < n && f->state == UVFACE__OPEN; p++) tell(f, UVFACE_SENT, &pkts[p], 1);
  return unless_over(f, n);
}

int uvface__lend_told(uvface__priv_t* f, size_t len, struct iovec* ret_slot) {
  int err = f->ep != NULL ? ndnshm_reserve(f->ep, len, &f->lent) : uvface__stream_reserve(f->stream, len, &f->lent);

  if (err == 0) *ret_slot = f->lent;
  return err;
}

/* Of a slot that was committed a filter may have changed the bytes, and the peer may have taken them: so the tap is
 * told right before, if nothing can be wrong with them. */
int uvface__publish_told(uvface__priv_t* f, size_t len) {
  const struct iovec packet = {f->lent.iov_base, len};
  bool is_good = packet.iov_base != NULL && len > 0 && len <= f->lent.iov_len;
  int err;

  if (is_good && f->stream != NULL) is_good = uvface__stream_check_packet(f->stream, &packet, 1) == 0;
  if (is_good) f->lent.iov_base = NULL;
  if (is_good) tell(f, UVFACE_SENT, &packet, 1);
  if (is_good && f->state != UVFACE__OPEN) return UV_ECANCELED;
  err = f->ep != NULL ? ndnshm_commit(f->ep, len) : uvface__stream_commit(f->stream, len);
  if (err == 0) f->lent.iov_base = NULL; /* given back, too */
  return err;
}

void uvface__tell_received(uvface__priv_t* f, const struct iovec pkts[], int npkts) {
  for (int p = 0; p < npkts && f->receiving; p++) tell(f, UVFACE_RECEIVED, &pkts[p], 1);
}
