/* SPDX-License-Identifier: MIT */
/* naive_ring.h: the consumer's end of lib/ring.h as one would write it who trusts the peer. It works with honest
 * peers, and is there to be caught: a fuzzer that does not find its faults in seconds would not find ours. Included
 * before each source file of what fuzz_ring_naive_* are linked with, and of nothing else; one fault each:
 *
 *   NAIVE_LENGTH  looks at a slot's length to check it, and again to use it
 *   NAIVE_INDEX   takes the peer's tail without looking how far away it is */
#ifndef NAIVE_RING_H
#define NAIVE_RING_H

#include "../../lib/ring.h"

static inline int naive_rx_available(ndnshm__rx_t* rx, unsigned int wanted) {
  uint32_t available;

  if (rx->tail == rx->head) rx->tail = ndnshm__load_acquire(rx->shared_tail);
  available = rx->tail - rx->head;
#ifndef NAIVE_INDEX
  if (available > rx->capacity) return -EPROTO;
#endif
  return (int) (available < wanted ? available : wanted);
}

static inline int naive_rx_slot(const ndnshm__rx_t* rx, unsigned int i, struct iovec* ret_packet) {
  const unsigned char* slot = rx->slots + (size_t) ((rx->head + i) % rx->capacity) * rx->stride;
  uint32_t length = ndnshm__load_length_once(slot);

  if (length > rx->slot_size) return -EPROTO;
#ifdef NAIVE_LENGTH
  length = ndnshm__load_length_once(slot);
#endif
  *ret_packet = (struct iovec){(void*) (uintptr_t) (slot + NDNSHM__LENGTH_BYTES), length};
  return 0;
}

#define ndnshm__rx_available naive_rx_available
#define ndnshm__rx_slot naive_rx_slot

#endif
