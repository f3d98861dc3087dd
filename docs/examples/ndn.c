/* SPDX-License-Identifier: MIT */
/* ndn.c: the codec of ndn.h. Guarantees that no byte outside the given buffer is read, whatever it holds:
 * every view is cut by ndn_tlv_next(), the only function that turns a length from a packet into a
 * pointer. Does not guarantee that a packet makes sense to an application. */
#include "ndn.h"

#include <errno.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
  TYPE_INTEREST = 5,
  TYPE_NAME = 7,
  TYPE_NONCE = 10,
  TYPE_LIFETIME = 12,
  TYPE_MUST_BE_FRESH = 18,
  TYPE_META_INFO = 20,
  TYPE_CONTENT = 21,
  TYPE_SIGNATURE_INFO = 22,
  TYPE_SIGNATURE_VALUE = 23,
  TYPE_CONTENT_TYPE = 24,
  TYPE_FRESHNESS = 25,
  TYPE_FINAL_BLOCK = 26,
  TYPE_SIGNATURE_TYPE = 27,
  TYPE_KEY_LOCATOR = 28,
  TYPE_FORWARDING_HINT = 30,
  TYPE_CAN_BE_PREFIX = 33,
  TYPE_HOP_LIMIT = 34,
  TYPE_PARAMETERS = 36,
  TYPE_SIGNATURE_NONCE = 38,
  TYPE_SIGNATURE_TIME = 40,
  TYPE_SIGNATURE_SEQNUM = 42,
  TYPE_INTEREST_SIGNATURE_INFO = 44,
  TYPE_INTEREST_SIGNATURE_VALUE = 46,
  TYPE_VALIDITY_PERIOD = 253,
  LP_FRAGMENT = 80,
  LP_SEQUENCE = 81,
  LP_FRAG_INDEX = 82,
  LP_FRAG_COUNT = 83,
  LP_PIT_TOKEN = 98,
  LP_PACKET = 100,
  LP_NACK = 800,
  LP_NACK_REASON = 801,
  LP_INCOMING_FACE = 817
};

/* --- TLV -------------------------------------------------------------------------------------- */

static uint64_t load_be(const uint8_t* buf, size_t len) {
  uint64_t value = 0;
  for (size_t i = 0; i < len; i++) value = value << 8 | buf[i];
  return value;
}

static void store_be(uint8_t* buf, size_t len, uint64_t value) {
  for (; len > 0; len--, value >>= 8) buf[len - 1] = (uint8_t) value;
}

/* The bytes that a number takes as an integer of the format: 1, 2, 4 or 8. */
static size_t uint_size(uint64_t value) {
  return value <= UINT8_MAX ? 1 : value <= UINT16_MAX ? 2 : value <= UINT32_MAX ? 4 : 8;
}

static size_t varnum_size(uint64_t value) {
  return value < 253 ? 1 : 1 + (value < 256 ? 2 : uint_size(value));
}

size_t ndn_varnum_decode(const uint8_t* buf, size_t len, uint64_t* ret_value) {
  if (len == 0) return 0;
  size_t extra = buf[0] < 253 ? 0 : (size_t) 2 << (buf[0] - 253);
  if (len < 1 + extra) return 0;
  uint64_t value = extra == 0 ? buf[0] : load_be(buf + 1, extra);
  if (varnum_size(value) != 1 + extra) return 0;
  *ret_value = value;
  return 1 + extra;
}

size_t ndn_varnum_encode(uint8_t* buf, uint64_t value) {
  size_t size = varnum_size(value);
  buf[0] = (uint8_t) (size == 1 ? value : size == 3 ? 253 : size == 5 ? 254 : 255);
  if (size > 1) store_be(buf + 1, size - 1, value);
  return size;
}

int ndn_tlv_next(ndn_bytes_t* rest, ndn_tlv_t* ret_tlv) {
  if (rest->len == 0) return 0;
  uint64_t type, len;
  size_t head = ndn_varnum_decode(rest->base, rest->len, &type);
  if (head == 0 || type == 0 || type > UINT32_MAX) return -EBADMSG;
  size_t more = ndn_varnum_decode(rest->base + head, rest->len - head, &len);
  head += more;
  if (more == 0 || len > rest->len - head) return -EBADMSG;
  size_t size = head + (size_t) len;
  *ret_tlv = (ndn_tlv_t){(uint32_t) type, {rest->base + head, (size_t) len}, {rest->base, size}};
  *rest = (ndn_bytes_t){rest->base + size, rest->len - size};
  return 1;
}

int ndn_uint_decode(ndn_bytes_t value, uint64_t* ret_value) {
  if (value.len != 1 && value.len != 2 && value.len != 4 && value.len != 8) return -EBADMSG;
  *ret_value = load_be(value.base, value.len);
  return 0;
}

size_t ndn_uint_encode(uint8_t* buf, uint64_t value) {
  size_t size = uint_size(value);
  store_be(buf, size, value);
  return size;
}

/* A sequence of elements of which some are known, in the order the format gives them. */
typedef struct fields_s {
  ndn_bytes_t rest;
  const uint16_t* order; /* what may still come, ended by 0 */
} fields_t;

/* Returns 1 and the next known element, 0 at the end, -EBADMSG. One that is unknown, repeated or out of
 * order is treated alike: critical types (up to 31, or odd) break the packet, the others are skipped. */
static int field_next(fields_t* fields, ndn_tlv_t* ret_tlv) {
  int got;
  while ((got = ndn_tlv_next(&fields->rest, ret_tlv)) > 0) {
    const uint16_t* known = fields->order;
    while (*known != 0 && *known != ret_tlv->type) known++;
    if (*known != 0) {
      fields->order = known + 1;
      return 1;
    }
    if (ret_tlv->type <= 31 || (ret_tlv->type & 1) != 0) return -EBADMSG;
  }
  return got;
}

/* --- Names ------------------------------------------------------------------------------------ */

static int order_bytes(ndn_bytes_t a, ndn_bytes_t b) {
  size_t common = a.len < b.len ? a.len : b.len;
  int order = common == 0 ? 0 : memcmp(a.base, b.base, common);
  return order != 0 ? order : (a.len > b.len) - (a.len < b.len);
}

/* Types and lengths are in their shortest form, whose bytes sort as the numbers do. So the canonical
 * order (type, then length, then value, component by component) is that of the encoded bytes. */
int ndn_name_compare(ndn_name_t a, ndn_name_t b) {
  return order_bytes(a, b);
}

bool ndn_name_equal(ndn_name_t a, ndn_name_t b) {
  return a.len == b.len && (a.len == 0 || memcmp(a.base, b.base, a.len) == 0);
}

/* Equal bytes have equal component boundaries, so no component can be cut in half here. */
bool ndn_name_has_prefix(ndn_name_t name, ndn_name_t prefix) {
  return name.len >= prefix.len && ndn_name_equal((ndn_name_t){name.base, prefix.len}, prefix);
}

static uint64_t hash_word(uint64_t hash, uint64_t word) {
  hash = (hash ^ word) * 0x9e3779b97f4a7c15u;
  return hash ^ hash >> 32;
}

uint64_t ndn_component_hash(uint64_t hash, ndn_bytes_t component) {
  uint64_t word = 0;
  size_t at = 0;
  for (; component.len - at >= sizeof(word); at += sizeof(word)) {
    memcpy(&word, component.base + at, sizeof(word));
    hash = hash_word(hash, word);
  }
  word = 0;
  memcpy(&word, component.base + at, component.len - at);
  return hash_word(hash, word);
}

uint64_t ndn_name_hash(uint64_t seed, ndn_name_t name) {
  ndn_tlv_t component;
  while (ndn_tlv_next(&name, &component) > 0) seed = ndn_component_hash(seed, component.whole);
  return seed;
}

int ndn_name_check(ndn_name_t name) {
  ndn_tlv_t component;
  int got;
  while ((got = ndn_tlv_next(&name, &component)) > 0) {
    bool digest = component.type == NDN_IMPLICIT_DIGEST || component.type == NDN_PARAMETERS_DIGEST;
    if (component.type > UINT16_MAX || (digest && component.value.len != NDN_DIGEST_BYTES)) return -EBADMSG;
  }
  return got;
}

ssize_t ndn_name_append_number(uint8_t* buf, size_t len, size_t cap, uint32_t type, uint64_t value) {
  size_t size = uint_size(value);
  if (varnum_size(type) + 1 + size > cap - len) return -ENOBUFS;
  len += ndn_varnum_encode(buf + len, type);
  buf[len++] = (uint8_t) size;
  return (ssize_t) (len + ndn_uint_encode(buf + len, value));
}

bool ndn_component_number(ndn_bytes_t rest, uint32_t type, uint64_t* ret_value) {
  ndn_tlv_t component;
  return ndn_tlv_next(&rest, &component) > 0 && rest.len == 0 && component.type == type &&
         ndn_uint_decode(component.value, ret_value) == 0;
}

/* --- Decoding --------------------------------------------------------------------------------- */

/* Takes the outermost element, which has to be of that type and fill the buffer. */
static int open_packet(const uint8_t* buf, size_t len, uint32_t type, ndn_bytes_t* ret_value) {
  ndn_bytes_t rest = {buf, len};
  ndn_tlv_t packet;
  if (ndn_tlv_next(&rest, &packet) <= 0 || packet.type != type || rest.len != 0) return -EBADMSG;
  *ret_value = packet.value;
  return 0;
}

/* The name comes first in every packet; nothing, known or not, may stand before it. */
static int take_name(ndn_bytes_t* rest, ndn_name_t* ret_name) {
  ndn_tlv_t tlv;
  if (ndn_tlv_next(rest, &tlv) <= 0 || tlv.type != TYPE_NAME || ndn_name_check(tlv.value) < 0) return -EBADMSG;
  *ret_name = tlv.value;
  return 0;
}

static int interest_field(ndn_interest_t* interest, const ndn_tlv_t* tlv) {
  switch (tlv->type) {
    case TYPE_CAN_BE_PREFIX: interest->can_be_prefix = true; return tlv->value.len == 0 ? 0 : -EBADMSG;
    case TYPE_MUST_BE_FRESH: interest->must_be_fresh = true; return tlv->value.len == 0 ? 0 : -EBADMSG;
    case TYPE_NONCE:
      interest->has_nonce = true;
      interest->nonce = (uint32_t) (tlv->value.len == 4 ? load_be(tlv->value.base, 4) : 0);
      return tlv->value.len == 4 ? 0 : -EBADMSG;
    case TYPE_LIFETIME: return ndn_uint_decode(tlv->value, &interest->lifetime_ms);
    case TYPE_HOP_LIMIT: interest->hop_limit = tlv->value.base; return tlv->value.len == 1 ? 0 : -EBADMSG;
    default: return 0; /* known, and nothing to these examples */
  }
}

int ndn_interest_decode(const uint8_t* buf, size_t len, ndn_interest_t* ret_interest) {
  static const uint16_t order[] = {TYPE_CAN_BE_PREFIX,
                                   TYPE_MUST_BE_FRESH,
                                   TYPE_FORWARDING_HINT,
                                   TYPE_NONCE,
                                   TYPE_LIFETIME,
                                   TYPE_HOP_LIMIT,
                                   TYPE_PARAMETERS,
                                   TYPE_INTEREST_SIGNATURE_INFO,
                                   TYPE_INTEREST_SIGNATURE_VALUE,
                                   0};
  ndn_interest_t interest = {.lifetime_ms = NDN_LIFETIME_DEFAULT_MS};
  fields_t fields = {.order = order};
  ndn_tlv_t tlv;
  int got;
  if (open_packet(buf, len, TYPE_INTEREST, &fields.rest) < 0 || take_name(&fields.rest, &interest.name) < 0 ||
      interest.name.len == 0)
    return -EBADMSG;
  while ((got = field_next(&fields, &tlv)) > 0)
    if (interest_field(&interest, &tlv) < 0) return -EBADMSG;
  if (got == 0) *ret_interest = interest;
  return got;
}

static int meta_decode(ndn_data_t* data, ndn_bytes_t value) {
  static const uint16_t order[] = {TYPE_CONTENT_TYPE, TYPE_FRESHNESS, TYPE_FINAL_BLOCK, 0};
  fields_t fields = {value, order};
  ndn_tlv_t tlv;
  int got;
  while ((got = field_next(&fields, &tlv)) > 0) {
    int err = 0;
    if (tlv.type == TYPE_CONTENT_TYPE) {
      err = ndn_uint_decode(tlv.value, &data->content_type);
    } else if (tlv.type == TYPE_FRESHNESS) {
      err = ndn_uint_decode(tlv.value, &data->freshness_ms);
    } else {
      data->final_block = tlv.value;
      err = ndn_name_check(tlv.value);
    }
    if (err < 0) return err;
  }
  return got;
}

static int signature_info_decode(ndn_data_t* data, ndn_bytes_t value) {
  static const uint16_t order[] = {TYPE_SIGNATURE_TYPE,
                                   TYPE_KEY_LOCATOR,
                                   TYPE_SIGNATURE_NONCE,
                                   TYPE_SIGNATURE_TIME,
                                   TYPE_SIGNATURE_SEQNUM,
                                   TYPE_VALIDITY_PERIOD,
                                   0};
  fields_t fields = {value, order};
  ndn_tlv_t tlv;
  if (field_next(&fields, &tlv) <= 0 || tlv.type != TYPE_SIGNATURE_TYPE ||
      ndn_uint_decode(tlv.value, &data->signature_type) < 0)
    return -EBADMSG;
  int got;
  while ((got = field_next(&fields, &tlv)) > 0) continue;
  return got;
}

static int data_field(ndn_data_t* data, const ndn_tlv_t* tlv) {
  switch (tlv->type) {
    case TYPE_META_INFO: return meta_decode(data, tlv->value);
    case TYPE_CONTENT: data->content = tlv->value; return 0;
    case TYPE_SIGNATURE_INFO:
      data->signed_part.len = (size_t) (tlv->whole.base + tlv->whole.len - data->signed_part.base);
      return signature_info_decode(data, tlv->value);
    default: data->signature = tlv->value; return data->signed_part.len > 0 ? 0 : -EBADMSG;
  }
}

int ndn_data_decode(const uint8_t* buf, size_t len, ndn_data_t* ret_data) {
  static const uint16_t order[] = {TYPE_META_INFO, TYPE_CONTENT, TYPE_SIGNATURE_INFO, TYPE_SIGNATURE_VALUE, 0};
  ndn_data_t data = {.content_type = 0};
  fields_t fields = {.order = order};
  ndn_tlv_t tlv;
  int got;
  if (open_packet(buf, len, NDN_TYPE_DATA, &fields.rest) < 0) return -EBADMSG;
  data.signed_part.base = fields.rest.base;
  if (take_name(&fields.rest, &data.name) < 0) return -EBADMSG;
  while ((got = field_next(&fields, &tlv)) > 0)
    if (data_field(&data, &tlv) < 0) return -EBADMSG;
  if (got < 0 || data.signature.base == NULL) return -EBADMSG;
  *ret_data = data;
  return 0;
}

/* What a link packet says about its fragment. */
typedef struct link_s {
  ndn_bytes_t fragment;
  uint64_t frag_count, nack_reason;
  bool nack;
} link_t;

static int nack_decode(link_t* link, ndn_bytes_t value) {
  static const uint16_t order[] = {LP_NACK_REASON, 0};
  fields_t fields = {value, order};
  ndn_tlv_t tlv;
  link->nack = true;
  int got = field_next(&fields, &tlv);
  return got > 0 ? ndn_uint_decode(tlv.value, &link->nack_reason) : got;
}

/* Link headers have a rule of their own: unknown ones may be skipped if they are of 800 to 959 and a
 * multiple of four. */
static int link_field(link_t* link, const ndn_tlv_t* tlv) {
  switch (tlv->type) {
    case LP_FRAGMENT: link->fragment = tlv->value; return 0;
    case LP_FRAG_COUNT: return ndn_uint_decode(tlv->value, &link->frag_count);
    case LP_NACK: return nack_decode(link, tlv->value);
    case LP_SEQUENCE:
    case LP_FRAG_INDEX:
    case LP_PIT_TOKEN:
    case LP_INCOMING_FACE: return 0;
    default: return tlv->type >= 800 && tlv->type <= 959 && tlv->type % 4 == 0 ? 0 : -EBADMSG;
  }
}

static int link_decode(ndn_bytes_t rest, link_t* link) {
  ndn_tlv_t tlv;
  int got;
  while ((got = ndn_tlv_next(&rest, &tlv)) > 0)
    if (link_field(link, &tlv) < 0 || (tlv.type == LP_FRAGMENT && rest.len != 0))
      return -EBADMSG; /* the fragment is the last element */
  return got;
}

static int payload_decode(ndn_packet_t* packet) {
  const uint8_t* buf = packet->wire.base;
  size_t len = packet->wire.len;
  bool data = len > 0 && buf[0] == NDN_TYPE_DATA;
  packet->kind = data ? NDN_DATA : NDN_INTEREST;
  return data ? ndn_data_decode(buf, len, &packet->data) : ndn_interest_decode(buf, len, &packet->interest);
}

int ndn_packet_decode(const uint8_t* buf, size_t len, ndn_packet_t* ret_packet) {
  ndn_packet_t packet = {.kind = NDN_NOTHING, .wire = {buf, len}};
  link_t link = {.frag_count = 1};
  ndn_bytes_t value;
  bool wrapped = open_packet(buf, len, LP_PACKET, &value) == 0;
  if (wrapped) {
    if (link_decode(value, &link) < 0) return -EBADMSG;
    packet.wire = link.fragment;
    packet.nack_reason = link.nack_reason;
  }
  if (link.frag_count > 1)
    packet.kind = NDN_FRAGMENT;
  else if ((!wrapped || link.fragment.len > 0) && payload_decode(&packet) < 0)
    return -EBADMSG;
  if (link.nack && packet.kind != NDN_INTEREST) return -EBADMSG;
  if (link.nack) packet.kind = NDN_NACK;
  *ret_packet = packet;
  return 0;
}

/* --- Encoding --------------------------------------------------------------------------------- */

/* Counts what does not fit instead of writing it: with cap 0 it measures. */
typedef struct writer_s {
  uint8_t* buf;
  size_t cap, len;
} writer_t;

static void put(writer_t* writer, const void* bytes, size_t len) {
  if (len > 0 && writer->len + len <= writer->cap)
    /* NOLINTNEXTLINE(clang-analyzer-core.NonNullParamChecker): without a buffer cap is 0, and nothing fits */
    memcpy(writer->buf + writer->len, bytes, len);
  writer->len += len;
}

static void put_head(writer_t* writer, uint32_t type, size_t len) {
  uint8_t head[18];
  size_t size = ndn_varnum_encode(head, type);
  size += ndn_varnum_encode(head + size, len);
  put(writer, head, size);
}

static void put_tlv(writer_t* writer, uint32_t type, ndn_bytes_t value) {
  put_head(writer, type, value.len);
  put(writer, value.base, value.len);
}

static void put_uint(writer_t* writer, uint32_t type, uint64_t value) {
  uint8_t bytes[8];
  put_tlv(writer, type, (ndn_bytes_t){bytes, ndn_uint_encode(bytes, value)});
}

static void put_interest(writer_t* writer, const ndn_interest_t* interest) {
  put_tlv(writer, TYPE_NAME, interest->name);
  if (interest->can_be_prefix) put_head(writer, TYPE_CAN_BE_PREFIX, 0);
  if (interest->must_be_fresh) put_head(writer, TYPE_MUST_BE_FRESH, 0);
  if (interest->has_nonce) {
    uint8_t nonce[4];
    store_be(nonce, sizeof(nonce), interest->nonce);
    put_tlv(writer, TYPE_NONCE, (ndn_bytes_t){nonce, sizeof(nonce)});
  }
  if (interest->lifetime_ms != NDN_LIFETIME_DEFAULT_MS) put_uint(writer, TYPE_LIFETIME, interest->lifetime_ms);
  if (interest->hop_limit != NULL) put_tlv(writer, TYPE_HOP_LIMIT, (ndn_bytes_t){interest->hop_limit, 1});
}

ssize_t ndn_interest_encode(uint8_t* buf, size_t cap, const ndn_interest_t* interest) {
  writer_t inner = {NULL, 0, 0};
  put_interest(&inner, interest);
  writer_t writer = {buf, cap, 0};
  put_head(&writer, TYPE_INTEREST, inner.len);
  put_interest(&writer, interest);
  return writer.len <= cap ? (ssize_t) writer.len : -ENOBUFS;
}

static void put_meta(writer_t* writer, const ndn_data_t* data) {
  if (data->content_type != 0) put_uint(writer, TYPE_CONTENT_TYPE, data->content_type);
  if (data->freshness_ms != 0) put_uint(writer, TYPE_FRESHNESS, data->freshness_ms);
  if (data->final_block.len != 0) put_tlv(writer, TYPE_FINAL_BLOCK, data->final_block);
}

static void put_signed_part(writer_t* writer, const ndn_data_t* data) {
  static const uint8_t digest_sha256[] = {TYPE_SIGNATURE_INFO, 3, TYPE_SIGNATURE_TYPE, 1, 0};
  writer_t meta = {NULL, 0, 0};
  put_meta(&meta, data);
  put_tlv(writer, TYPE_NAME, data->name);
  if (meta.len > 0) {
    put_head(writer, TYPE_META_INFO, meta.len);
    put_meta(writer, data);
  }
  put_tlv(writer, TYPE_CONTENT, data->content);
  put(writer, digest_sha256, sizeof(digest_sha256));
}

ssize_t ndn_data_encode(uint8_t* buf, size_t cap, const ndn_data_t* data) {
  writer_t inner = {NULL, 0, 0};
  put_signed_part(&inner, data);
  writer_t writer = {buf, cap, 0};
  put_head(&writer, NDN_TYPE_DATA, inner.len + 2 + NDN_DIGEST_BYTES);
  if (writer.len + inner.len + 2 + NDN_DIGEST_BYTES > cap) return -ENOBUFS;
  ndn_bytes_t signed_part = {buf + writer.len, inner.len};
  put_signed_part(&writer, data);
  uint8_t digest[NDN_DIGEST_BYTES];
  ndn_sha256(signed_part, digest);
  put_tlv(&writer, TYPE_SIGNATURE_VALUE, (ndn_bytes_t){digest, sizeof(digest)});
  return (ssize_t) writer.len;
}

size_t ndn_nack_header(uint8_t* buf, uint64_t reason, size_t interest_len) {
  uint8_t number[8];
  ndn_bytes_t value = {number, ndn_uint_encode(number, reason)};
  writer_t nack = {NULL, 0, 0};
  put_tlv(&nack, LP_NACK_REASON, value);
  writer_t inner = {NULL, 0, 0};
  put_head(&inner, LP_NACK, nack.len);
  put_tlv(&inner, LP_NACK_REASON, value);
  put_head(&inner, LP_FRAGMENT, interest_len);
  writer_t writer = {buf, 32, 0};
  put_head(&writer, LP_PACKET, inner.len + interest_len);
  put_head(&writer, LP_NACK, nack.len);
  put_tlv(&writer, LP_NACK_REASON, value);
  put_head(&writer, LP_FRAGMENT, interest_len);
  return writer.len;
}

size_t ndn_data_overhead(size_t name_len) {
  /* Heads of Data, Name, MetaInfo, Content: 5 each at most; three numbers of 10; the signature's 39. */
  return name_len + 20 + 30 + 39;
}

/* --- SHA-256 ---------------------------------------------------------------------------------- */

/* Fetching the algorithm costs more than hashing a small packet, so it is done once. */
void ndn_sha256(ndn_bytes_t bytes, uint8_t ret_digest[NDN_DIGEST_BYTES]) {
  static EVP_MD* algorithm;
  static EVP_MD_CTX* context;
  if (context == NULL) {
    algorithm = EVP_MD_fetch(NULL, "SHA256", NULL);
    context = EVP_MD_CTX_new();
  }
  if (EVP_DigestInit_ex2(context, algorithm, NULL) != 1 || EVP_DigestUpdate(context, bytes.base, bytes.len) != 1 ||
      EVP_DigestFinal_ex(context, ret_digest, NULL) != 1) {
    fputs("libcrypto cannot compute SHA-256\n", stderr);
    abort();
  }
}

bool ndn_data_verify(const ndn_data_t* data) {
  uint8_t digest[NDN_DIGEST_BYTES];
  if (data->signature_type != 0 || data->signature.len != sizeof(digest)) return false;
  ndn_sha256(data->signed_part, digest);
  return memcmp(digest, data->signature.base, sizeof(digest)) == 0;
}
