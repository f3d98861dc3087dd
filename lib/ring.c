/* SPDX-License-Identifier: MIT */
/* ring.c: the ring of ring.h. Letters in comments are those of the pairing diagram there. */
#include "ring.h"

#include <errno.h>
#include <string.h>

/* Lines of the next slot to own before they are written: its length and a short packet. Measured:
 * three are worth a third of the throughput at 64 B, all 141 cost at 8800 B (docs/design.rst). */
#define PREFETCH_LINES 3
#define CACHE_LINE_BYTES 64

static bool is_power_of_two(uint32_t n) {
  return (n & (n - 1)) == 0;
}

static size_t slot_offset(uint32_t index, uint32_t capacity, size_t stride) {
  return (size_t) (index % capacity) * stride;
}

/* --- Producer --------------------------------------------------------------------------------- */

int ndnshm__tx_init(ndnshm__tx_t* tx, unsigned char* slots, uint32_t* shared_tail, uint32_t* shared_head,
                    const ndnshm__geometry_t* geometry) {
  *tx = (ndnshm__tx_t){
      .slots = slots,
      .shared_tail = shared_tail,
      .shared_head = shared_head,
      .stride = geometry->stride,
      .capacity = geometry->capacity,
      .slot_size = geometry->slot_size,
      .tail = ndnshm__load_relaxed(shared_tail), /* left there by ourselves or by who had this end before */
      .head = ndnshm__load_acquire(shared_head), /* (A) acquire: pairs with (D) */
  };
  return tx->tail - tx->head <= tx->capacity ? 0 : -EPROTO;
}

/* Free slots if the consumer stands at head: invariants 1 and 4. */
static int room_at(const ndnshm__tx_t* tx, uint32_t head) {
  uint32_t used = tx->tail - head;
  uint32_t room, before_wrap;

  if (used > tx->capacity) return -EPROTO;
  room = tx->capacity - used;
  if (is_power_of_two(tx->capacity)) return (int) room;
  if (tx->tail == 0) return head == 0 ? (int) room : 0;
  before_wrap = 0u - tx->tail;
  return (int) (room < before_wrap ? room : before_wrap);
}

int ndnshm__tx_room(ndnshm__tx_t* tx, unsigned int wanted) {
  int room = room_at(tx, tx->head);

  if (room < (int) wanted) {
    tx->head = ndnshm__load_acquire(tx->shared_head); /* (A) acquire: pairs with (D) */
    room = room_at(tx, tx->head);
  }
  return room < (int) wanted ? room : (int) wanted;
}

static unsigned char* tx_slot_start(const ndnshm__tx_t* tx, unsigned int i) {
  return tx->slots + slot_offset(tx->tail + i, tx->capacity, tx->stride);
}

unsigned char* ndnshm__tx_slot(const ndnshm__tx_t* tx, unsigned int i) {
  return tx_slot_start(tx, i) + NDNSHM__LENGTH_BYTES;
}

void ndnshm__tx_set_length(const ndnshm__tx_t* tx, unsigned int i, size_t bytes) {
  uint32_t length = (uint32_t) bytes;

  NDNSHM__POINT("store length");
  memcpy(tx_slot_start(tx, i), &length, sizeof(length)); /* a slot need not be aligned */
}

void ndnshm__tx_write(const ndnshm__tx_t* tx, unsigned int i, const struct iovec bufs[], unsigned int nbufs,
                      size_t bytes) {
  unsigned char* to = ndnshm__tx_slot(tx, i);
  const unsigned char* next = tx_slot_start(tx, i + 1);

  ndnshm__tx_set_length(tx, i, bytes);
  for (unsigned int b = 0; b < nbufs; b++) {
    if (bufs[b].iov_len == 0) continue;
    NDNSHM__POINT("write packet");
    memcpy(to, bufs[b].iov_base, bufs[b].iov_len);
    to += bufs[b].iov_len;
  }
  for (int line = 0; line < PREFETCH_LINES; line++) __builtin_prefetch(next + line * CACHE_LINE_BYTES, 1, 3);
}

void ndnshm__tx_publish(ndnshm__tx_t* tx, unsigned int n) {
  tx->tail += n;
  ndnshm__store_release(tx->shared_tail, tx->tail); /* (B) release: pairs with (C) */
}

bool ndnshm__tx_ready(ndnshm__tx_t* tx) {
  tx->head = ndnshm__load_acquire(tx->shared_head); /* (A) acquire: pairs with (D) */
  return room_at(tx, tx->head) != 0;
}

/* --- Consumer --------------------------------------------------------------------------------- */

int ndnshm__rx_init(ndnshm__rx_t* rx, const unsigned char* slots, const uint32_t* shared_tail,
                    uint32_t* shared_head, const ndnshm__geometry_t* geometry) {
  *rx = (ndnshm__rx_t){
      .slots = slots,
      .shared_tail = shared_tail,
      .shared_head = shared_head,
      .stride = geometry->stride,
      .capacity = geometry->capacity,
      .slot_size = geometry->slot_size,
      .head = ndnshm__load_relaxed(shared_head), /* left there by ourselves or by who had this end before */
      .tail = ndnshm__load_acquire(shared_tail), /* (C) acquire: pairs with (B) */
  };
  return rx->tail - rx->head <= rx->capacity ? 0 : -EPROTO;
}

int ndnshm__rx_available(ndnshm__rx_t* rx, unsigned int wanted) {
  uint32_t available;

  if (rx->tail == rx->head) rx->tail = ndnshm__load_acquire(rx->shared_tail); /* (C) acquire: pairs with (B) */
  available = rx->tail - rx->head;
  if (available > rx->capacity) return -EPROTO;
  return (int) (available < wanted ? available : wanted);
}

/* The empty statement keeps the compiler from loading the length a second time after the check. */
static uint32_t load_length_once(const unsigned char* slot) {
  uint32_t length;

  NDNSHM__POINT("load length");
  memcpy(&length, slot, sizeof(length));
  __asm__("" : "+r"(length));
  return length;
}

int ndnshm__rx_slot(const ndnshm__rx_t* rx, unsigned int i, struct iovec* ret_packet) {
  const unsigned char* slot = rx->slots + slot_offset(rx->head + i, rx->capacity, rx->stride);
  uint32_t length = load_length_once(slot);

  if (length > rx->slot_size) return -EPROTO;
  ret_packet->iov_base = (void*) (uintptr_t) (slot + NDNSHM__LENGTH_BYTES);
  ret_packet->iov_len = length;
  return 0;
}

void ndnshm__rx_release(ndnshm__rx_t* rx, unsigned int n) {
  rx->head += n;
  ndnshm__store_release(rx->shared_head, rx->head); /* (D) release: pairs with (A) */
}

bool ndnshm__rx_ready(ndnshm__rx_t* rx) {
  rx->tail = ndnshm__load_acquire(rx->shared_tail); /* (C) acquire: pairs with (B) */
  return rx->tail != rx->head;
}
