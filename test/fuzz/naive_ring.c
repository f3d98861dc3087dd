/* SPDX-License-Identifier: MIT */
/* naive_ring.c: lib/ring.h as one would write it who trusts the peer. It works with honest peers, and is there
 * to be caught: a fuzzer that does not find its faults in seconds would not find ours. Built into
 * fuzz_ring_naive_* only, with one fault each:
 *
 *   NAIVE_LENGTH  looks at a slot's length to check it, and again to use it
 *   NAIVE_INDEX   takes the peer's tail without looking how far away it is */
#include <errno.h>
#include <string.h>

#include "../../lib/ring.h"

int ndnshm__tx_init(ndnshm__tx_t* tx, unsigned char* slots, uint32_t* shared_tail, uint32_t* shared_head,
                    const ndnshm__geometry_t* geometry) {
  *tx = (ndnshm__tx_t){slots,
                       shared_tail,
                       shared_head,
                       geometry->stride,
                       geometry->capacity,
                       geometry->slot_size,
                       ndnshm__load_relaxed(shared_tail),
                       ndnshm__load_acquire(shared_head)};
  return tx->tail - tx->head <= tx->capacity ? 0 : -EPROTO;
}

int ndnshm__tx_room(ndnshm__tx_t* tx, unsigned int wanted) {
  uint32_t used;

  tx->head = ndnshm__load_acquire(tx->shared_head);
  used = tx->tail - tx->head;
  if (used > tx->capacity) return -EPROTO;
  return (int) (tx->capacity - used < wanted ? tx->capacity - used : wanted);
}

static unsigned char* slot_at(unsigned char* slots, uint32_t index, uint32_t capacity, size_t stride) {
  return slots + (size_t) (index % capacity) * stride;
}

unsigned char* ndnshm__tx_slot(const ndnshm__tx_t* tx, unsigned int i) {
  return slot_at(tx->slots, tx->tail + i, tx->capacity, tx->stride) + NDNSHM__LENGTH_BYTES;
}

void ndnshm__tx_set_length(const ndnshm__tx_t* tx, unsigned int i, size_t bytes) {
  uint32_t length = (uint32_t) bytes;

  NDNSHM__POINT("store length");
  memcpy(ndnshm__tx_slot(tx, i) - NDNSHM__LENGTH_BYTES, &length, sizeof(length));
}

void ndnshm__tx_write(const ndnshm__tx_t* tx, unsigned int i, const struct iovec bufs[], unsigned int nbufs,
                      size_t bytes) {
  unsigned char* to = ndnshm__tx_slot(tx, i);

  ndnshm__tx_set_length(tx, i, bytes);
  for (unsigned int b = 0; b < nbufs; to += bufs[b++].iov_len)
    if (bufs[b].iov_len > 0) memcpy(to, bufs[b].iov_base, bufs[b].iov_len);
}

void ndnshm__tx_publish(ndnshm__tx_t* tx, unsigned int n) {
  tx->tail += n;
  ndnshm__store_release(tx->shared_tail, tx->tail);
}

bool ndnshm__tx_ready(ndnshm__tx_t* tx) {
  return ndnshm__tx_room(tx, 1) != 0;
}

int ndnshm__rx_init(ndnshm__rx_t* rx, const unsigned char* slots, const uint32_t* shared_tail,
                    uint32_t* shared_head, const ndnshm__geometry_t* geometry) {
  *rx = (ndnshm__rx_t){slots,
                       shared_tail,
                       shared_head,
                       geometry->stride,
                       geometry->capacity,
                       geometry->slot_size,
                       ndnshm__load_relaxed(shared_head),
                       ndnshm__load_acquire(shared_tail)};
  return rx->tail - rx->head <= rx->capacity ? 0 : -EPROTO;
}

int ndnshm__rx_available(ndnshm__rx_t* rx, unsigned int wanted) {
  uint32_t available;

  rx->tail = ndnshm__load_acquire(rx->shared_tail);
  available = rx->tail - rx->head;
#ifndef NAIVE_INDEX
  if (available > rx->capacity) return -EPROTO;
#endif
  return (int) (available < wanted ? available : wanted);
}

static uint32_t length_of(const unsigned char* slot) {
  uint32_t length;

  NDNSHM__POINT("load length");
  memcpy(&length, slot, sizeof(length));
  return length;
}

int ndnshm__rx_slot(const ndnshm__rx_t* rx, unsigned int i, struct iovec* ret_packet) {
  const unsigned char* slot = rx->slots + (size_t) ((rx->head + i) % rx->capacity) * rx->stride;
  uint32_t length = length_of(slot);

  if (length > rx->slot_size) return -EPROTO;
#ifdef NAIVE_LENGTH
  length = length_of(slot);
#endif
  *ret_packet = (struct iovec){(void*) (uintptr_t) (slot + NDNSHM__LENGTH_BYTES), length};
  return 0;
}

void ndnshm__rx_release(ndnshm__rx_t* rx, unsigned int n) {
  rx->head += n;
  ndnshm__store_release(rx->shared_head, rx->head);
}

bool ndnshm__rx_ready(ndnshm__rx_t* rx) {
  rx->tail = ndnshm__load_acquire(rx->shared_tail);
  return rx->tail != rx->head;
}
