/* SPDX-License-Identifier: MIT */
/* test_layout.c: the header's bytes and the arithmetic of a geometry, against numbers written down here and
 * not taken from layout.h. Says nothing about files: test_region.c does. */
#include "layout.h"

#include <errno.h>
#include <string.h>

#include "harness.h"

#define MAX_SLOTS (UINT32_C(1) << 30)
#define MAX_SLOT_BYTES (UINT32_C(1) << 30)

static ndnshm__geometry_t pattern(void) {
  ndnshm__geometry_t g;

  memset(&g, 0xa5, sizeof(g));
  return g;
}

static void assert_untouched(const ndnshm__geometry_t* g) {
  ndnshm__geometry_t untouched = pattern();

  ck_assert_mem_eq(g, &untouched, sizeof(untouched));
}

/* The bytes that follow from slots and slot size, by the protocol's own words. */
static void assert_geometry(const ndnshm__geometry_t* g, uint32_t capacity, uint32_t slot_size) {
  size_t ring_bytes = (size_t) capacity * ((size_t) slot_size + 4);

  ck_assert_uint_eq(g->capacity, capacity);
  ck_assert_uint_eq(g->slot_size, slot_size);
  ck_assert_uint_eq(g->stride, (size_t) slot_size + 4);
  ck_assert_uint_eq(g->a2e_offset, 448);
  ck_assert_uint_eq(g->e2a_offset, 448 + ring_bytes);
  ck_assert_uint_eq(g->region_bytes, 448 + 2 * ring_bytes);
}

static void assert_options(uint32_t capacity, uint32_t slot_size, uint32_t mtu, uint32_t expect_capacity,
                           uint32_t expect_slot_size) {
  ndnshm__geometry_t g = pattern();

  ck_assert_int_eq(ndnshm__geometry_from_options(capacity, slot_size, mtu, &g), 0);
  assert_geometry(&g, expect_capacity, expect_slot_size);
}

static void assert_options_fail(uint32_t capacity, uint32_t slot_size, uint32_t mtu) {
  ndnshm__geometry_t g = pattern();

  ck_assert_int_eq(ndnshm__geometry_from_options(capacity, slot_size, mtu, &g), -EINVAL);
  assert_untouched(&g);
}

static void assert_header(uint32_t capacity, uint32_t slot_size) {
  ndnshm__geometry_t g = pattern();

  ck_assert_int_eq(ndnshm__geometry_from_header(capacity, slot_size, &g), 0);
  assert_geometry(&g, capacity, slot_size);
}

static void assert_header_fails(uint32_t capacity, uint32_t slot_size) {
  ndnshm__geometry_t g = pattern();

  ck_assert_int_eq(ndnshm__geometry_from_header(capacity, slot_size, &g), -EPROTO);
  assert_untouched(&g);
}

TEST(every_field_lies_where_the_protocol_puts_it) {
  ndnshm__region_header_t h;
  const unsigned char* base = (const unsigned char*) &h;
  const struct {
    const void* field;
    ptrdiff_t offset;
  } fields[] = {
      {&h.magic, 0},        {&h.capacity, 8},     {&h.slot_size, 12},   {&h.engine_caps, 16}, {&h.app_caps, 20},
      {&h.a2e_waiting, 24}, {&h.e2a_waiting, 28}, {&h.reserved, 32},    {&h.a2e_tail, 64},    {&h.a2e_head, 128},
      {&h.e2a_tail, 192},   {&h.e2a_head, 256},   {&h.a2e_parked, 320}, {&h.e2a_parked, 384},
  };

  for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++)
    ck_assert_int_eq((const unsigned char*) fields[i].field - base, fields[i].offset);
  ck_assert_uint_eq(sizeof(h), 448);
  ck_assert_uint_eq(sizeof(h.magic), 8);
  ck_assert_uint_eq(sizeof(h.a2e_tail.value), 4);
  ck_assert_ptr_eq(&h.a2e_tail, &h.a2e_tail.value);
}

TEST(constants_are_those_of_the_protocol) {
  ck_assert(NDNSHM__MAGIC == UINT64_C(0x4E444E5F53484D00));
  ck_assert_uint_eq(NDNSHM__CAPS_TAG, 0x55460000);
  ck_assert_uint_eq(NDNSHM__CAPS_TAG_MASK, 0xffff0000);
  ck_assert_uint_eq(NDNSHM__MAX_CAPACITY, MAX_SLOTS);
  ck_assert_uint_eq(NDNSHM__MAX_SLOT_BYTES, MAX_SLOT_BYTES);
}

TEST(defaults_are_256_slots_of_9020_on_cache_lines) {
  ndnshm__geometry_t g;

  assert_options(0, 0, 0, 256, 9020);
  ck_assert_int_eq(ndnshm__geometry_from_options(0, 0, 0, &g), 0);
  ck_assert_uint_eq(g.stride, 9024);
  ck_assert_uint_eq(g.stride % 64, 0);
  ck_assert_uint_eq(g.region_bytes, 4620736);
}

TEST(explicit_slot_size_is_exact) {
  static const uint32_t sizes[] = {1, 2, 3, 59, 60, 61, 63, 64, 65, 8959, 8960, 9000, 9019, 9021, 65535};

  for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) assert_options(0, sizes[i], 0, 256, sizes[i]);
}

TEST(capacity_rounds_up_to_a_power_of_two) {
  static const uint32_t pairs[][2] = {{1, 1},
                                      {2, 2},
                                      {3, 4},
                                      {4, 4},
                                      {5, 8},
                                      {15, 16},
                                      {16, 16},
                                      {17, 32},
                                      {131, 256},
                                      {255, 256},
                                      {256, 256},
                                      {257, 512},
                                      {65536, 65536},
                                      {65537, 131072},
                                      {MAX_SLOTS - 1, MAX_SLOTS},
                                      {MAX_SLOTS / 2 + 1, MAX_SLOTS},
                                      {MAX_SLOTS, MAX_SLOTS}};

  for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
    if (SIZE_MAX == UINT32_MAX && pairs[i][1] > MAX_SLOTS / 16) continue; /* not addressable there */
    assert_options(pairs[i][0], 1, 0, pairs[i][1], 1);
  }
  for (uint32_t n = 1, p = 1; n <= 5000; n++) {
    if (n > p) p *= 2;
    assert_options(n, 8, 0, p, 8);
  }
}

TEST(limits_of_options_are_kept) {
  assert_options_fail(MAX_SLOTS + 1, 1, 0);
  assert_options_fail(UINT32_MAX, 1, 0);
  assert_options_fail(UINT32_C(1) << 31, 1, 0);
  assert_options_fail(1, MAX_SLOT_BYTES + 1, 0);
  assert_options_fail(1, UINT32_MAX, 0);
  assert_options_fail(1, UINT32_MAX - 3, 0); /* with its length 2^32: a stride of 0 in 32 bits */
  assert_options_fail(UINT32_MAX, UINT32_MAX, 0);
  if (SIZE_MAX > UINT32_MAX)
    assert_options(MAX_SLOTS, MAX_SLOT_BYTES, 0, MAX_SLOTS, MAX_SLOT_BYTES);
  else
    assert_options_fail(MAX_SLOTS, MAX_SLOT_BYTES, 0); /* the product overflows size_t */
}

/* Literal results of ndn-rs's formula, the slot widened until its stride fills cache lines, the capacity
 * rounded down. */
TEST(mtu_derives_both_as_written_down) {
  static const uint32_t rows[][3] = {
      /* mtu, capacity, slot_size */
      {1, 128, 16508},   {64, 128, 16508},   {65, 128, 16572},     {1500, 64, 17980},      {8800, 64, 25276},
      {9000, 64, 25468}, {65535, 16, 81980}, {200000, 16, 216444}, {1000000, 16, 1016444},
  };

  for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) assert_options(0, 0, rows[i][0], rows[i][1], rows[i][2]);
}

TEST(mtu_derived_geometry_never_falls_below_ndn_rs_nor_16_slots) {
  for (uint32_t mtu = 1; mtu < 300000; mtu += 37) {
    uint32_t ndnrs_slot = (mtu + 16384 + 63) / 64 * 64;
    ndnshm__geometry_t g;

    ck_assert_int_eq(ndnshm__geometry_from_options(0, 0, mtu, &g), 0);
    ck_assert_uint_ge(g.slot_size, ndnrs_slot);
    ck_assert_uint_lt(g.slot_size, ndnrs_slot + 64);
    ck_assert_uint_eq(g.stride % 64, 0);
    ck_assert_uint_ge(g.capacity, 16);
    ck_assert_uint_eq(g.capacity & (g.capacity - 1), 0);
    if (g.capacity > 16) ck_assert_uint_le(g.capacity * 2 * g.stride, 4589568);
  }
}

TEST(mtu_has_a_limit_and_excludes_the_others) {
  assert_options_fail(1, 0, 8800);
  assert_options_fail(0, 1, 8800);
  assert_options_fail(256, 9020, 8800);
  assert_options_fail(0, 0, MAX_SLOT_BYTES / 2 + 1);
  assert_options_fail(0, 0, UINT32_MAX);
  assert_options_fail(0, 0, UINT32_MAX - 16384);
  if (SIZE_MAX > UINT32_MAX) assert_options(0, 0, MAX_SLOT_BYTES / 2, 16, MAX_SLOT_BYTES / 2 + 16384 + 60);
}

TEST(any_capacity_from_one_up_is_taken_from_a_header) {
  static const uint32_t capacities[] = {1, 2, 3, 131, 256, 257, 1000, 65537};

  for (size_t i = 0; i < sizeof(capacities) / sizeof(capacities[0]); i++) {
    assert_header(capacities[i], 1);
    assert_header(capacities[i], 8960);
  }
  assert_header(131, 17);
}

TEST(impossible_headers_are_a_protocol_error) {
  assert_header_fails(0, 9020);
  assert_header_fails(256, 0);
  assert_header_fails(0, 0);
  assert_header_fails(MAX_SLOTS + 1, 1);
  assert_header_fails(UINT32_MAX, 1);
  assert_header_fails(1, MAX_SLOT_BYTES + 1);
  assert_header_fails(1, UINT32_MAX);
  assert_header_fails(256, UINT32_MAX - 3);
  assert_header_fails(UINT32_MAX, UINT32_MAX);
}

/* Within the limits 64 bits hold every product; where size_t has 32 the largest must be refused. */
TEST(largest_product_is_exact_or_refused) {
  if (SIZE_MAX > UINT32_MAX)
    assert_header(MAX_SLOTS, MAX_SLOT_BYTES);
  else
    assert_header_fails(MAX_SLOTS, MAX_SLOT_BYTES);
}
