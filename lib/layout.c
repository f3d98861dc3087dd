/* SPDX-License-Identifier: MIT */
/* layout.c: checked arithmetic from options, from an MTU and from a peer's header to a geometry.
 * Pure functions; any thread. */
#include "layout.h"

#include <errno.h>
#include <stdbool.h>

/* ndn-rs: room in a slot beside the MTU for what a forwarder adds, and the bytes both rings share. */
#define MTU_HEADROOM_BYTES 16384u
#define DERIVED_RING_BYTES 4589568u
#define CACHE_LINE_BYTES 64u

static bool multiply(size_t a, size_t b, size_t* ret_product) {
  return !__builtin_mul_overflow(a, b, ret_product);
}

static bool add(size_t a, size_t b, size_t* ret_sum) {
  return !__builtin_add_overflow(a, b, ret_sum) && *ret_sum <= PTRDIFF_MAX;
}

static bool geometry_fill(uint32_t capacity, uint32_t slot_size, ndnshm__geometry_t* ret_g) {
  ndnshm__geometry_t g = {.capacity = capacity, .slot_size = slot_size};
  size_t ring_bytes;

  if (capacity == 0 || capacity > NDNSHM__MAX_CAPACITY) return false;
  if (slot_size == 0 || slot_size > NDNSHM__MAX_SLOT_BYTES) return false;
  g.stride = (size_t) slot_size + NDNSHM__LENGTH_BYTES;
  g.a2e_offset = NDNSHM__HEADER_BYTES;
  if (!multiply(capacity, g.stride, &ring_bytes)) return false;
  if (!add(g.a2e_offset, ring_bytes, &g.e2a_offset)) return false;
  if (!add(g.e2a_offset, ring_bytes, &g.region_bytes)) return false;
  *ret_g = g;
  return true;
}

static uint32_t power_of_two_up(uint32_t n) {
  uint32_t p = 1;

  while (p < n) p <<= 1;
  return p;
}

static uint32_t power_of_two_down(uint32_t n) {
  uint32_t p = 1;

  while (p <= n / 2) p <<= 1;
  return p;
}

/* The smallest slot of at least `bytes` that fills whole cache lines together with its length. */
static uint32_t slot_on_cache_lines(uint32_t bytes) {
  uint32_t stride = bytes + NDNSHM__LENGTH_BYTES;

  return (stride + CACHE_LINE_BYTES - 1) / CACHE_LINE_BYTES * CACHE_LINE_BYTES - NDNSHM__LENGTH_BYTES;
}

static int geometry_from_mtu(uint32_t mtu, ndnshm__geometry_t* ret_g) {
  uint32_t slot_size, capacity;

  if (mtu > NDNSHM__MAX_SLOT_BYTES / 2) return -EINVAL;
  slot_size = (mtu + MTU_HEADROOM_BYTES + 63) / 64 * 64; /* as ndn-rs derives it ... */
  slot_size = slot_on_cache_lines(slot_size);            /* ... and a little more */
  capacity = DERIVED_RING_BYTES / (2 * (slot_size + NDNSHM__LENGTH_BYTES));
  capacity = power_of_two_down(capacity > 0 ? capacity : 1);
  if (capacity < NDNSHM__MIN_DERIVED_CAPACITY) capacity = NDNSHM__MIN_DERIVED_CAPACITY;
  return geometry_fill(capacity, slot_size, ret_g) ? 0 : -EINVAL;
}

int ndnshm__geometry_from_options(uint32_t capacity, uint32_t slot_size, uint32_t mtu, ndnshm__geometry_t* ret_g) {
  if (mtu != 0) {
    if (capacity != 0 || slot_size != 0) return -EINVAL;
    return geometry_from_mtu(mtu, ret_g);
  }
  if (capacity == 0) capacity = NDNSHM__DEFAULT_CAPACITY;
  if (slot_size == 0) slot_size = NDNSHM__DEFAULT_SLOT_BYTES;
  if (capacity > NDNSHM__MAX_CAPACITY) return -EINVAL;
  return geometry_fill(power_of_two_up(capacity), slot_size, ret_g) ? 0 : -EINVAL;
}

int ndnshm__geometry_from_header(uint32_t capacity, uint32_t slot_size, ndnshm__geometry_t* ret_g) {
  return geometry_fill(capacity, slot_size, ret_g) ? 0 : -EPROTO;
}
