/* SPDX-License-Identifier: MIT */
/* ring.c: the rarely used functions of ring.h. Letters in comments are those of the diagram there. */
#include "ring.h"

static uint32_t mask_of(uint32_t capacity) {
  return (capacity & (capacity - 1)) == 0 ? capacity - 1 : 0;
}

int ndnshm__tx_init(ndnshm__tx_t* tx, unsigned char* slots, uint32_t* shared_tail, uint32_t* shared_head,
                    const ndnshm__geometry_t* geometry) {
  *tx = (ndnshm__tx_t){
      .slots = slots,
      .shared_tail = shared_tail,
      .shared_head = shared_head,
      .stride = geometry->stride,
      .capacity = geometry->capacity,
      .mask = mask_of(geometry->capacity),
      .slot_size = geometry->slot_size,
      .tail = ndnshm__load_relaxed(shared_tail), /* left there by ourselves or by who had this end before */
      .head = ndnshm__load_acquire(shared_head), /* (A) acquire: pairs with (D) */
  };
  return tx->tail - tx->head <= tx->capacity ? 0 : -EPROTO;
}

int ndnshm__tx_room_at(const ndnshm__tx_t* tx, uint32_t head) {
  uint32_t used = tx->tail - head;
  uint32_t room, before_wrap;

  if (used > tx->capacity) return -EPROTO;
  room = tx->capacity - used;
  if (tx->mask != 0 || tx->capacity == 1) return (int) room;
  if (tx->tail == 0) return head == 0 ? (int) room : 0;
  before_wrap = 0u - tx->tail;
  return (int) (room < before_wrap ? room : before_wrap);
}

int ndnshm__rx_init(ndnshm__rx_t* rx, const unsigned char* slots, const uint32_t* shared_tail, uint32_t* shared_head,
                    const ndnshm__geometry_t* geometry) {
  *rx = (ndnshm__rx_t){
      .slots = slots,
      .shared_tail = shared_tail,
      .shared_head = shared_head,
      .stride = geometry->stride,
      .capacity = geometry->capacity,
      .mask = mask_of(geometry->capacity),
      .slot_size = geometry->slot_size,
      .head = ndnshm__load_relaxed(shared_head), /* left there by ourselves or by who had this end before */
      .tail = ndnshm__load_acquire(shared_tail), /* (C) acquire: pairs with (B) */
  };
  return rx->tail - rx->head <= rx->capacity ? 0 : -EPROTO;
}
