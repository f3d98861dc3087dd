/* SPDX-License-Identifier: MIT */
/* tlv.h: the grammar that all packets share: type numbers, elements in a known order, and a writer.
 *
 * Decoding: every view is cut by ndnpkt_tlv_next(), the only function that turns a length from a packet into a
 * pointer. Encoding: the writer counts what does not fit instead of writing it, so that one function both measures and
 * writes. Any thread. */
#ifndef NDNPKT_TLV_H
#define NDNPKT_TLV_H

#include "ndnpkt.h"

/* What stands inside packets. Packet Format, TLV-TYPE number assignments; NDNLPv2; NFD Management. */
enum {
  NDNPKT__NAME = 7,
  NDNPKT__NONCE = 10,
  NDNPKT__LIFETIME = 12,
  NDNPKT__MUST_BE_FRESH = 18,
  NDNPKT__META_INFO = 20,
  NDNPKT__CONTENT = 21,
  NDNPKT__SIGNATURE_INFO = 22,
  NDNPKT__SIGNATURE_VALUE = 23,
  NDNPKT__CONTENT_TYPE = 24,
  NDNPKT__FRESHNESS = 25,
  NDNPKT__FINAL_BLOCK = 26,
  NDNPKT__SIGNATURE_TYPE = 27,
  NDNPKT__KEY_LOCATOR = 28,
  NDNPKT__KEY_DIGEST = 29,
  NDNPKT__FORWARDING_HINT = 30,
  NDNPKT__DELEGATION = 31,
  NDNPKT__CAN_BE_PREFIX = 33,
  NDNPKT__HOP_LIMIT = 34,
  NDNPKT__APPLICATION_PARAMETERS = 36,
  NDNPKT__SIGNATURE_NONCE = 38,
  NDNPKT__SIGNATURE_TIME = 40,
  NDNPKT__SIGNATURE_SEQ_NUM = 42,
  NDNPKT__INTEREST_SIGNATURE_INFO = 44,
  NDNPKT__INTEREST_SIGNATURE_VALUE = 46,
  NDNPKT__VALIDITY_PERIOD = 253,

  NDNPKT__LP_FRAGMENT = 80,
  NDNPKT__LP_SEQUENCE = 81,
  NDNPKT__LP_FRAG_INDEX = 82,
  NDNPKT__LP_FRAG_COUNT = 83,
  NDNPKT__LP_PIT_TOKEN = 98,
  NDNPKT__LP_NACK = 800,
  NDNPKT__LP_NACK_REASON = 801,
  NDNPKT__LP_INCOMING_FACE_ID = 817, /* of NFD before 2019; 812 since then */
  NDNPKT__LP_CONGESTION_MARK = 832,

  NDNPKT__CONTROL_RESPONSE = 101,
  NDNPKT__STATUS_CODE = 102,
  NDNPKT__STATUS_TEXT = 103,
  NDNPKT__CONTROL_PARAMETERS = 104
};

/* --- Numbers ---------------------------------------------------------------------------------- */

static inline uint64_t ndnpkt__load_be(const uint8_t* buf, size_t len) {
  uint64_t value = 0;

  for (size_t i = 0; i < len; i++) value = value << 8 | buf[i];
  return value;
}

static inline void ndnpkt__store_be(uint8_t* buf, size_t len, uint64_t value) {
  for (; len > 0; len--, value >>= 8) buf[len - 1] = (uint8_t) value;
}

/* The bytes of a number as an integer of the format (1, 2, 4 or 8), and as a type or length (1, 3, 5 or 9). */
static inline size_t ndnpkt__uint_size(uint64_t value) {
  return value <= UINT8_MAX ? 1 : value <= UINT16_MAX ? 2 : value <= UINT32_MAX ? 4 : 8;
}

static inline size_t ndnpkt__varnum_size(uint64_t value) {
  return value < 253 ? 1 : 1 + (value < 256 ? 2 : ndnpkt__uint_size(value));
}

/* --- Elements in a known order ---------------------------------------------------------------- */

typedef struct ndnpkt__fields_s {
  ndnpkt_bytes_t rest;
  const uint16_t* order; /* what may still come, ended by 0 */
} ndnpkt__fields_t;

/* Returns 1 and the next known element, 0 at the end, -EBADMSG. One that is unknown, repeated or out of order is
 * treated alike: critical types (up to 31, or odd) break the packet, the others are skipped. */
int ndnpkt__field_next(ndnpkt__fields_t* fields, ndnpkt_tlv_t* ret_tlv);

/* Takes the one element that fills the buffer and is of that type. Returns 0 or -EBADMSG. */
int ndnpkt__open(const uint8_t* buf, size_t len, uint32_t type, ndnpkt_bytes_t* ret_value);

/* --- Writing ---------------------------------------------------------------------------------- */

typedef struct ndnpkt__writer_s {
  uint8_t* buf; /* NULL: only count */
  size_t cap, len;
} ndnpkt__writer_t;

void ndnpkt__put(ndnpkt__writer_t* writer, const void* bytes, size_t len);
void ndnpkt__put_head(ndnpkt__writer_t* writer, uint32_t type, size_t len);
void ndnpkt__put_tlv(ndnpkt__writer_t* writer, uint32_t type, ndnpkt_bytes_t value);
void ndnpkt__put_uint(ndnpkt__writer_t* writer, uint32_t type, uint64_t value);

/* Puts an element whose value is what put() puts; put() is called twice, first to count. */
typedef void (*ndnpkt__put_fn)(ndnpkt__writer_t* writer, const void* arg);
void ndnpkt__put_nested(ndnpkt__writer_t* writer, uint32_t type, ndnpkt__put_fn put, const void* arg);

/* A put() for a Name element; arg is a ndnpkt_name_t. */
void ndnpkt__put_name(ndnpkt__writer_t* writer, const void* arg);

/* What ndnpkt__put_head() writes. */
static inline size_t ndnpkt__head_size(uint32_t type, size_t len) {
  return ndnpkt__varnum_size(type) + ndnpkt__varnum_size(len);
}

#endif
