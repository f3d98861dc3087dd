/* SPDX-License-Identifier: MIT */
/* packets.c: an open endpoint at work: receiving and sending.
 *
 * The hot path: no system call but the byte that wakes a sleeping peer, no allocation; one index store
 * and, unless it is deferred, one fence a batch. One thread per endpoint at a time. */
#include <errno.h>
#include <string.h>

#include "endpoint.h"
#include "probes.h"

/* Copies in an arena start at multiples of this, so that a decoder may read words. */
#define PACKET_ALIGN_BYTES 8

/* A receive looks at no more slots than this: a ring full of empty packets does not hold it up. */
#define SLOTS_PER_RECEIVE 64

/* --- Receiving -------------------------------------------------------------------------------- */

static int fail_protocol(ndnshm_t* ep, const char* what) {
  if (ndnshm__region_is_lost(&ep->region)) return ndnshm__fail_lost(ep); /* the nonsense is our zeros */
  return ndnshm__fail(&ep->error, -EPROTO, "ring %s: the peer wrote an impossible %s", ep->names.shm, what);
}

/* Frees n slots, and wakes a producer that announced that it waits for them (wake.h). Looks at the announcement
 * whatever the app's caps say: another app may have attached to the full ring just now. */
static void release_slots(ndnshm_t* ep, unsigned int n) {
  ndnshm__rx_release(&ep->rx, n);
  if (ndnshm__wake_waiting_peer(&ep->wake)) ep->stats.wakeups_sent++;
}

/* Why not even one slot was taken: the packet of the given length does not fit into the arena, or is none. */
static int refuse_first(ndnshm_t* ep, size_t bytes) __attribute__((noinline, cold));

static int refuse_first(ndnshm_t* ep, size_t bytes) {
  return bytes > ep->rx.slot_size ? fail_protocol(ep, "packet length") : -ENOBUFS;
}

int ndnshm_recv(ndnshm_t* ep, void* arena, size_t arena_bytes, struct iovec pkts[], unsigned int max) {
  unsigned char* to = arena;
  unsigned char* end;
  unsigned int npkts = 0;
  int slots, status, i;

  if (ep == NULL || arena == NULL || pkts == NULL) return -EINVAL;
  if (!ep->open) return -ENOTCONN;
  if (ep->peeked_slots != 0) return -EALREADY;
  end = to + arena_bytes;
  slots = ndnshm__rx_available(&ep->rx, max < SLOTS_PER_RECEIVE ? max : SLOTS_PER_RECEIVE);
  if (slots < 0) return fail_protocol(ep, "tail index");
  for (i = 0; i < slots; i++) {
    struct iovec slot;

    status = ndnshm__rx_slot(&ep->rx, (unsigned int) i, &slot);
    if (status < 0 || slot.iov_len - 1 >= (size_t) (end - to)) { /* one comparison: 0 less 1 is more than any room */
      if (slot.iov_len == 0) continue;
      pkts[npkts].iov_len = slot.iov_len; /* what refuse_first() judges by: it is not read again */
      break;
    }
    NDNSHM__POINT("read packet");
    memcpy(to, slot.iov_base, slot.iov_len);
    pkts[npkts].iov_base = to;
    pkts[npkts++].iov_len = slot.iov_len;
    ep->stats.rx_bytes += slot.iov_len;
    slot.iov_len = (slot.iov_len + PACKET_ALIGN_BYTES - 1) & ~(size_t) (PACKET_ALIGN_BYTES - 1);
    to = slot.iov_len < (size_t) (end - to) ? to + slot.iov_len : end;
  }
  if (ndnshm__region_is_lost(&ep->region)) return ndnshm__fail_lost(ep); /* what was copied may be zeros */
  if (i == 0) return slots == 0 ? 0 : refuse_first(ep, pkts[0].iov_len);
  ep->stats.rx_packets += npkts;
  ep->is_awaited = true;
  release_slots(ep, (unsigned int) i);
  return (int) npkts;
}

int ndnshm_peek(ndnshm_t* ep, size_t max_bytes, struct iovec pkts[], unsigned int max) {
  unsigned int npkts = 0;
  size_t bytes = 0;
  int slots, i;

  if (ep == NULL || pkts == NULL) return -EINVAL;
  if (!ep->open) return -ENOTCONN;
  if (ep->peeked_slots != 0) return -EALREADY;
  slots = ndnshm__rx_available(&ep->rx, max < SLOTS_PER_RECEIVE ? max : SLOTS_PER_RECEIVE);
  if (slots < 0) return fail_protocol(ep, "tail index");
  for (i = 0; i < slots; i++) {
    struct iovec slot;

    if (ndnshm__rx_slot(&ep->rx, (unsigned int) i, &slot) < 0) break;
    if (slot.iov_len == 0) continue;
    if (npkts > 0 && slot.iov_len > max_bytes - bytes) break;
    pkts[npkts++] = slot;
    bytes += slot.iov_len;
    if (bytes >= max_bytes) {
      i++;
      break;
    }
  }
  if (ndnshm__region_is_lost(&ep->region)) return ndnshm__fail_lost(ep); /* what was copied may be zeros */
  if (i == 0) return slots == 0 ? 0 : fail_protocol(ep, "packet length");
  ep->stats.rx_packets += npkts;
  ep->is_awaited = true;
  ep->stats.rx_bytes += bytes;
  ep->peeked_slots = (unsigned int) i;
  if (npkts == 0) ndnshm_release(ep);
  return (int) npkts;
}

void ndnshm_release(ndnshm_t* ep) {
  unsigned int n;

  if (ep == NULL || ep->peeked_slots == 0) return;
  n = ep->peeked_slots;
  ep->peeked_slots = 0;
  if (ep->open) release_slots(ep, n);
}

/* --- Sending ---------------------------------------------------------------------------------- */

/* Publishes n filled slots, and wakes a consumer that sleeps (wake.h). Errors: -EIO. */
static inline int publish_slots(ndnshm_t* ep, unsigned int n, size_t bytes) __attribute__((always_inline));

static inline int publish_slots(ndnshm_t* ep, unsigned int n, size_t bytes) {
  ndnshm__tx_publish(&ep->tx, n);
  if (ep->is_awaited) {
    ep->is_awaited = false;
    ndnshm__tx_demote(&ep->tx, n);
  }
  ep->stats.tx_packets += n;
  ep->stats.tx_bytes += bytes;
  if (ndnshm__wake_parked_peer(&ep->wake)) ep->stats.wakeups_sent++;
  return ndnshm__region_is_lost(&ep->region) ? ndnshm__fail_lost(ep) : 0;
}

static int fail_large(ndnshm_t* ep, size_t bytes) {
  return ndnshm__fail(&ep->error, -EMSGSIZE, "packet of %zu bytes: larger than the MTU of %lu", bytes,
                      (unsigned long) ep->tx.slot_size);
}

static int fail_empty(ndnshm_t* ep) {
  return ndnshm__fail(&ep->error, -EINVAL, "packet of 0 bytes: cannot be sent");
}

/* 0 for pieces that are together larger than the limit, or nothing. */
static inline size_t sum_pieces(const struct iovec bufs[], unsigned int nbufs, size_t limit) {
  size_t bytes = 0;

  for (unsigned int b = 0; b < nbufs; b++) {
    if (bufs[b].iov_len > limit - bytes) return 0;
    bytes += bufs[b].iov_len;
  }
  return bytes;
}

/* Why sum_pieces() said 0. Out of line: hardly any packet comes here. */
static int fail_pieces(ndnshm_t* ep, const struct iovec bufs[], unsigned int nbufs) __attribute__((noinline, cold));

static int fail_pieces(ndnshm_t* ep, const struct iovec bufs[], unsigned int nbufs) {
  size_t bytes = 0;

  for (unsigned int b = 0; b < nbufs && bytes <= ep->tx.slot_size; b++) {
    if (bufs[b].iov_len > ep->tx.slot_size) return fail_large(ep, bufs[b].iov_len);
    bytes += bufs[b].iov_len;
  }
  return bytes == 0 ? fail_empty(ep) : fail_large(ep, bytes);
}

static int fail_no_buffers(ndnshm_t* ep) {
  return ep == NULL ? -EINVAL : ndnshm__fail(&ep->error, -EINVAL, "no buffers: cannot be sent");
}

/* Out of line: what it does must not cost a packet that finds room. */
static int fail_room(ndnshm_t* ep, int room) __attribute__((noinline, cold));

static int fail_room(ndnshm_t* ep, int room) {
  if (room < 0) return fail_protocol(ep, "head index");
  if (ndnshm__region_is_lost(&ep->region)) return ndnshm__fail_lost(ep);
  ep->stats.tx_full++;
  NDNSHM__PROBE3(full, ep, ep->names.shm, ep->tx.capacity);
  return -EAGAIN;
}

/* Free slots for at most `wanted` packets, or why there is none. */
static inline int room_for(ndnshm_t* ep, unsigned int wanted) {
  int room;

  if (ep->reserved_bytes != 0) return -EAGAIN;
  room = ndnshm__tx_room(&ep->tx, wanted <= ep->tx.capacity ? wanted : ep->tx.capacity);
  return room > 0 ? room : fail_room(ep, room);
}

int ndnshm_send(ndnshm_t* ep, const struct iovec bufs[], unsigned int nbufs) {
  size_t bytes;
  int err;

  if (ep == NULL || bufs == NULL) return fail_no_buffers(ep);
  if (!ep->open) return -ENOTCONN;
  bytes = sum_pieces(bufs, nbufs, ep->tx.slot_size);
  if (bytes == 0) return fail_pieces(ep, bufs, nbufs);
  if ((err = room_for(ep, 1)) < 0) return err;
  ndnshm__tx_write(&ep->tx, 0, bufs, nbufs, bytes);
  err = publish_slots(ep, 1, bytes);
  return err < 0 ? err : (int) bytes;
}

int ndnshm_send_batch(ndnshm_t* ep, const struct iovec pkts[], unsigned int npkts) {
  size_t bytes = 0;
  int room, err;

  if (ep == NULL || pkts == NULL || npkts == 0) return fail_no_buffers(ep);
  if (!ep->open) return -ENOTCONN;
  for (unsigned int p = 0; p < npkts; p++) {
    if (pkts[p].iov_len == 0) return fail_empty(ep);
    if (pkts[p].iov_len > ep->tx.slot_size) return fail_large(ep, pkts[p].iov_len);
  }
  if ((room = room_for(ep, npkts)) < 0) return room;
  for (unsigned int p = 0; p < (unsigned int) room; p++) {
    ndnshm__tx_write(&ep->tx, p, &pkts[p], 1, pkts[p].iov_len);
    bytes += pkts[p].iov_len;
  }
  err = publish_slots(ep, (unsigned int) room, bytes);
  return err < 0 ? err : room;
}

int ndnshm_reserve(ndnshm_t* ep, size_t len, struct iovec* ret_slot) {
  int err;

  if (ep == NULL || ret_slot == NULL) return -EINVAL;
  if (!ep->open) return -ENOTCONN;
  if (len == 0) return fail_empty(ep);
  if (ep->reserved_bytes != 0)
    return ndnshm__fail(&ep->error, -EALREADY, "reservation: one of %zu bytes is open already", ep->reserved_bytes);
  if (len > ep->tx.slot_size) return fail_large(ep, len);
  if ((err = room_for(ep, 1)) < 0) return err;
  ep->reserved_bytes = len;
  ret_slot->iov_base = ndnshm__tx_slot(&ep->tx, 0);
  ret_slot->iov_len = len;
  return 0;
}

int ndnshm_commit(ndnshm_t* ep, size_t len) {
  if (ep == NULL) return -EINVAL;
  if (!ep->open) return -ENOTCONN;
  if (ep->reserved_bytes == 0) return ndnshm__fail(&ep->error, -EINVAL, "reservation: none is open");
  if (len > ep->reserved_bytes)
    return ndnshm__fail(&ep->error, -EMSGSIZE, "reservation: %zu bytes are more than the %zu reserved", len,
                        ep->reserved_bytes);
  ep->reserved_bytes = 0;
  if (len == 0) return 0;
  ndnshm__tx_set_length(&ep->tx, 0, len);
  return publish_slots(ep, 1, len);
}
