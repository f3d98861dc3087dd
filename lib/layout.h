/* SPDX-License-Identifier: MIT */
/* layout.h: the bytes of a region and the arithmetic of its geometry.
 *
 * Guarantees that every offset is the one ndn-rs uses (asserted below) and that a geometry which
 * passed a ndnshm__geometry_* function cannot overflow anything computed from it. Knows nothing of
 * files, rings or processes. Any thread. */
#ifndef NDNSHM_LAYOUT_H
#define NDNSHM_LAYOUT_H

#include <stddef.h>
#include <stdint.h>

#define NDNSHM__MAGIC UINT64_C(0x4E444E5F53484D00)
#define NDNSHM__HEADER_BYTES 448
#define NDNSHM__LENGTH_BYTES 4 /* of the packet length at the start of each slot */

#define NDNSHM__CAPS_TAG UINT32_C(0x55460000)
#define NDNSHM__CAPS_TAG_MASK UINT32_C(0xffff0000)

#define NDNSHM__DEFAULT_CAPACITY 256
#define NDNSHM__DEFAULT_SLOT_BYTES 9020 /* with its length 141 cache lines; ndn-rs: 8960 */
#define NDNSHM__MIN_DERIVED_CAPACITY 16
#define NDNSHM__MAX_CAPACITY (UINT32_C(1) << 30)
#define NDNSHM__MAX_SLOT_BYTES (UINT32_C(1) << 30)

/* The header as both processes see it. Cache lines are divided by who writes them. */
typedef struct ndnshm__region_header_s {
  uint64_t magic;       /* engine, last of all */
  uint32_t capacity;    /* engine */
  uint32_t slot_size;   /* engine */
  uint32_t engine_caps; /* engine */
  uint32_t app_caps;    /* app, when it attaches */
  uint32_t a2e_waiting; /* app sets, engine clears */
  uint32_t e2a_waiting; /* engine sets, app clears */
  uint8_t reserved[32];
  struct {
    uint32_t value;
    uint8_t pad[60];
  } a2e_tail,     /* app */
      a2e_head,   /* engine */
      e2a_tail,   /* engine */
      e2a_head,   /* app */
      a2e_parked, /* engine sets, app clears */
      e2a_parked; /* app sets, engine clears */
} ndnshm__region_header_t;

#define NDNSHM__AT(field, offset) \
  _Static_assert(offsetof(ndnshm__region_header_t, field) == (offset), "offset of " #field)
NDNSHM__AT(magic, 0);
NDNSHM__AT(capacity, 8);
NDNSHM__AT(slot_size, 12);
NDNSHM__AT(engine_caps, 16);
NDNSHM__AT(app_caps, 20);
NDNSHM__AT(a2e_waiting, 24);
NDNSHM__AT(e2a_waiting, 28);
NDNSHM__AT(reserved, 32);
NDNSHM__AT(a2e_tail, 64);
NDNSHM__AT(a2e_head, 128);
NDNSHM__AT(e2a_tail, 192);
NDNSHM__AT(e2a_head, 256);
NDNSHM__AT(a2e_parked, 320);
NDNSHM__AT(e2a_parked, 384);
#undef NDNSHM__AT
_Static_assert(sizeof(ndnshm__region_header_t) == NDNSHM__HEADER_BYTES, "size of the header");

/* What an end computes with: private, checked, never read again from the region. */
typedef struct ndnshm__geometry_s {
  uint32_t capacity;  /* slots per ring, 1 to NDNSHM__MAX_CAPACITY */
  uint32_t slot_size; /* payload bytes per slot, 1 to NDNSHM__MAX_SLOT_BYTES */
  size_t stride;      /* bytes from slot to slot */
  size_t a2e_offset;  /* bytes from the region's start to the first slot */
  size_t e2a_offset;
  size_t region_bytes; /* the whole */
} ndnshm__geometry_t;

/* From what a user asked for; 0 means the default. The capacity rounds up to a power of two.
 * Errors: -EINVAL (too large, or mtu together with one of the others). ret_g untouched on failure. */
int ndnshm__geometry_from_options(uint32_t capacity, uint32_t slot_size, uint32_t mtu, ndnshm__geometry_t* ret_g);

/* From two values loaded once out of a peer's header; any capacity from 1 up will do.
 * Errors: -EPROTO. ret_g untouched on failure. */
int ndnshm__geometry_from_header(uint32_t capacity, uint32_t slot_size, ndnshm__geometry_t* ret_g);

#endif
