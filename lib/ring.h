/* SPDX-License-Identifier: MIT */
/* ring.h: one direction of a face, a single-producer/single-consumer ring of packets.
 *
 * Guarantees: each packet arrives once, whole and in order; no value of the peer's leads outside the
 * ring; every peer value is loaded once, checked, then used. Does not guarantee anything about the
 * payload's bytes while they lie in the ring (a peer can rewrite them), and wakes nobody: wake.h does.
 * One thread (and one process) per ring end.
 *
 *   slots   | 0 | 1 | 2 | 3 | 4 | 5 | 6 | 7 |     slot = index % capacity; indices run over all of u32
 *             .   .   #   #   #   .   .   .       # published, . free
 *                     ^           ^
 *                    head        tail             empty: head == tail; full: tail - head >= capacity
 *
 *   | field  | written by | read by  | order               | cache line of its own |
 *   |--------|------------|----------|---------------------|-----------------------|
 *   | slot   | producer   | consumer | plain, by tail      | no                    |
 *   | tail   | producer   | consumer | release / acquire   | yes                   |
 *   | head   | consumer   | producer | release / acquire   | yes                   |
 *
 *   producer                                consumer
 *   (A) head.load(acquire)                  (C) tail.load(acquire)
 *       write slots                             read slots
 *   (B) tail.store(release)                 (D) head.store(release)
 *
 *   B pairs with C: a consumer that sees the new tail sees the slots below it. Release because the slot
 *   writes must not pass it, acquire because the slot reads must not run ahead of it.
 *   D pairs with A: a producer that sees the new head may overwrite the slots below it, for the reads
 *   of them came before. Own indices are private variables and need no load at all.
 *
 * Invariants: 1. 0 <= tail - head <= capacity, for both ends' views, else the peer is broken: -EPROTO.
 * 2. Only the producer stores tail and slots, only the consumer stores head; neither reads back its own.
 * 3. A cached peer index is never newer than the truth, so it errs towards full and towards empty.
 * 4. With a capacity that is no power of two, index % capacity jumps where the index wraps to 0: a
 *    producer then first waits for the ring to drain, so no two live indices share a slot.
 * Progress: every operation is wait-free: a bounded number of steps, whatever the peer does. */
#ifndef NDNSHM_RING_H
#define NDNSHM_RING_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/uio.h>

#include "cache.h"
#include "layout.h"
#include "words.h"

/* At most so much of the next slot, 20 lines, is brought here before it is written. */
#define NDNSHM__TX_PREFETCH_BYTES ((size_t) 20 * NDNSHM__CACHE_LINE_BYTES)
/* While a slot is read, this many slots further on two lines are brought here to be read. */
#define NDNSHM__RX_PREFETCH_SLOTS 4

/* The producer's end. */
typedef struct ndnshm__tx_s {
  unsigned char* slots;
  uint32_t* shared_tail; /* written only */
  uint32_t* shared_head;
  size_t stride;
  uint32_t capacity;
  uint32_t mask; /* capacity - 1 where that is a power of two, else 0 */
  uint32_t slot_size;
  uint32_t tail; /* next index to publish: ours, the truth */
  uint32_t head; /* the consumer's, as last seen */
} ndnshm__tx_t;

/* The consumer's end. */
typedef struct ndnshm__rx_s {
  const unsigned char* slots;
  const uint32_t* shared_tail;
  uint32_t* shared_head; /* written only */
  size_t stride;
  uint32_t capacity;
  uint32_t mask; /* as above */
  uint32_t slot_size;
  uint32_t head; /* next index to take: ours, the truth */
  uint32_t tail; /* the producer's, as last seen */
} ndnshm__rx_t;

/* Bind an end to a region's ring; own indices continue where the region says.
 * Errors: -EPROTO (the two indices are impossible together). */
int ndnshm__tx_init(ndnshm__tx_t* tx, unsigned char* slots, uint32_t* shared_tail, uint32_t* shared_head,
                    const ndnshm__geometry_t* geometry);
int ndnshm__rx_init(ndnshm__rx_t* rx, const unsigned char* slots, const uint32_t* shared_tail, uint32_t* shared_head,
                    const ndnshm__geometry_t* geometry);

static inline size_t ndnshm__slot_offset(uint32_t index, uint32_t capacity, uint32_t mask, size_t stride) {
  /* NOLINTNEXTLINE(clang-analyzer-core.DivideZero): no geometry is valid that has no slot */
  return (size_t) (mask != 0 ? index & mask : index % capacity) * stride;
}

/* --- Producer --------------------------------------------------------------------------------- */

/* Free slots if the consumer stands at head, invariants 1 and 4. Errors: -EPROTO. */
int ndnshm__tx_room_at(const ndnshm__tx_t* tx, uint32_t head);

/* Free slots, at most `wanted`; the peer's head is loaded again only if its cached value shows fewer.
 * Errors: -EPROTO. */
static inline int ndnshm__tx_room(ndnshm__tx_t* tx, unsigned int wanted) {
  uint32_t used = tx->tail - tx->head;
  int room;

  if (tx->mask != 0 && used <= tx->capacity && tx->capacity - used >= wanted) return (int) wanted;
  room = ndnshm__tx_room_at(tx, tx->head);
  if (room < (int) wanted) {
    tx->head = ndnshm__load_acquire(tx->shared_head); /* (A) acquire: pairs with (D) */
    room = ndnshm__tx_room_at(tx, tx->head);
  }
  return room < (int) wanted ? room : (int) wanted;
}

static inline unsigned char* ndnshm__tx_slot_start(const ndnshm__tx_t* tx, unsigned int i) {
  return tx->slots + ndnshm__slot_offset(tx->tail + i, tx->capacity, tx->mask, tx->stride);
}

/* The payload of the i-th free slot, slot_size bytes; i < room. */
static inline unsigned char* ndnshm__tx_slot(const ndnshm__tx_t* tx, unsigned int i) {
  return ndnshm__tx_slot_start(tx, i) + NDNSHM__LENGTH_BYTES;
}

/* Sets the length of the i-th free slot, whose payload is there already. */
static inline void ndnshm__tx_set_length(const ndnshm__tx_t* tx, unsigned int i, size_t bytes) {
  uint32_t length = (uint32_t) bytes;

  NDNSHM__POINT("store length");
  memcpy(ndnshm__tx_slot_start(tx, i), &length, sizeof(length)); /* a slot need not be aligned */
}

/* Brings the first lines of the i-th slot here before they are written, as many as a packet of this size takes. Not
 * those of a slot that may still be taken: the consumer is reading there. */
static inline void ndnshm__tx_prefetch(const ndnshm__tx_t* tx, unsigned int i, size_t bytes) {
  const unsigned char* line = ndnshm__tx_slot_start(tx, i);
  size_t wanted = NDNSHM__LENGTH_BYTES + bytes;
  const unsigned char* end;

  if (tx->tail + i - tx->head >= tx->capacity) return;
  if (wanted > NDNSHM__TX_PREFETCH_BYTES) wanted = NDNSHM__TX_PREFETCH_BYTES;
  for (end = line + wanted; line < end; line += NDNSHM__CACHE_LINE_BYTES) ndnshm__prefetch_for_write(line);
}

/* Fills the i-th free slot with a packet gathered from nbufs pieces of `bytes` together. */
static inline void ndnshm__tx_write(const ndnshm__tx_t* tx, unsigned int i, const struct iovec bufs[],
                                    unsigned int nbufs, size_t bytes) {
  unsigned char* to = ndnshm__tx_slot(tx, i);

  ndnshm__tx_set_length(tx, i, bytes);
  for (unsigned int b = 0; b < nbufs; b++) {
    if (bufs[b].iov_len == 0) continue;
    NDNSHM__POINT("write packet");
    memcpy(to, bufs[b].iov_base, bufs[b].iov_len);
    to += bufs[b].iov_len;
  }
  ndnshm__tx_prefetch(tx, i + 1, bytes);
}

/* Hands the first n free slots to the consumer. */
static inline void ndnshm__tx_publish(ndnshm__tx_t* tx, unsigned int n) {
  tx->tail += n;
  ndnshm__store_release(tx->shared_tail, tx->tail); /* (B) release: pairs with (C) */
}

/* Sends the first two lines of the n slots just published on their way to the consumer, and the news of them. */
static inline void ndnshm__tx_demote(const ndnshm__tx_t* tx, unsigned int n) {
  const unsigned char* slot = tx->slots + ndnshm__slot_offset(tx->tail - n, tx->capacity, tx->mask, tx->stride);

  ndnshm__demote(slot);
  ndnshm__demote(slot + NDNSHM__CACHE_LINE_BYTES);
  ndnshm__demote(tx->shared_tail);
}

/* A fresh look: true if there is room, or if head is impossible. */
static inline bool ndnshm__tx_ready(ndnshm__tx_t* tx) {
  tx->head = ndnshm__load_acquire(tx->shared_head); /* (A) acquire: pairs with (D) */
  return ndnshm__tx_room_at(tx, tx->head) != 0;
}

/* --- Consumer --------------------------------------------------------------------------------- */

/* Published slots not yet taken, at most `wanted`. Errors: -EPROTO. */
static inline int ndnshm__rx_available(ndnshm__rx_t* rx, unsigned int wanted) {
  uint32_t available;

  if (rx->tail == rx->head) rx->tail = ndnshm__load_acquire(rx->shared_tail); /* (C) acquire: pairs with (B) */
  available = rx->tail - rx->head;
  if (available > rx->capacity) return -EPROTO;
  return (int) (available < wanted ? available : wanted);
}

/* The empty statement keeps the compiler from loading the length a second time after the check. */
static inline uint32_t ndnshm__load_length_once(const unsigned char* slot) {
  uint32_t length;

  NDNSHM__POINT("load length");
  memcpy(&length, slot, sizeof(length));
  __asm__("" : "+r"(length));
  return length;
}

/* Not beyond the tail that was loaded and checked: the producer is writing there. */
static inline void ndnshm__rx_prefetch(const ndnshm__rx_t* rx, unsigned int i) {
  const unsigned char* slot;

  if (rx->tail - rx->head <= i) return;
  slot = rx->slots + ndnshm__slot_offset(rx->head + i, rx->capacity, rx->mask, rx->stride);
  ndnshm__prefetch_for_read(slot);
  ndnshm__prefetch_for_read(slot + NDNSHM__CACHE_LINE_BYTES);
}

/* The i-th published slot; i < available. Its length is loaded once. Errors: -EPROTO; iov_len is the length then,
 * too. */
static inline int ndnshm__rx_slot(const ndnshm__rx_t* rx, unsigned int i, struct iovec* ret_packet) {
  const unsigned char* slot = rx->slots + ndnshm__slot_offset(rx->head + i, rx->capacity, rx->mask, rx->stride);
  uint32_t length;

  ndnshm__rx_prefetch(rx, i + NDNSHM__RX_PREFETCH_SLOTS);
  length = ndnshm__load_length_once(slot);
  ret_packet->iov_len = length;
  if (length > rx->slot_size) return -EPROTO;
  ret_packet->iov_base = (void*) (uintptr_t) (slot + NDNSHM__LENGTH_BYTES);
  return 0;
}

/* Gives the first n published slots back to the producer. */
static inline void ndnshm__rx_release(ndnshm__rx_t* rx, unsigned int n) {
  rx->head += n;
  ndnshm__store_release(rx->shared_head, rx->head); /* (D) release: pairs with (A) */
}

/* As seen last: true if the producer may be waiting for room. */
static inline bool ndnshm__rx_is_full(const ndnshm__rx_t* rx) {
  return rx->tail - rx->head >= rx->capacity;
}

/* A fresh look: true if there is a packet, or if tail is impossible. */
static inline bool ndnshm__rx_ready(ndnshm__rx_t* rx) {
  rx->tail = ndnshm__load_acquire(rx->shared_tail); /* (C) acquire: pairs with (B) */
  return rx->tail != rx->head;
}

#endif
