/* SPDX-License-Identifier: MIT */
/* link.c: link headers (NDNLPv2) around packets, and packets without them. Headers that this library has no member for
 * are skipped. Fragments are recognised and handed on; nothing is put together here. Any thread. */
#include <errno.h>

#include "tlv.h"

/* --- Decoding --------------------------------------------------------------------------------- */

/* The headers that have a member, each at most once. A bit for each tells which were there. */
static const uint16_t once[] = {NDNPKT__LP_FRAGMENT,       NDNPKT__LP_SEQUENCE,  NDNPKT__LP_FRAG_INDEX,
                                NDNPKT__LP_FRAG_COUNT,     NDNPKT__LP_PIT_TOKEN, NDNPKT__LP_NACK,
                                NDNPKT__LP_CONGESTION_MARK};

static bool seen_before(unsigned int* seen, uint32_t type) {
  for (unsigned int i = 0; i < sizeof(once) / sizeof(*once); i++) {
    bool before = (*seen >> i & 1) != 0;

    if (once[i] != type) continue;
    *seen |= 1u << i;
    return before;
  }
  return false;
}

static int nack_decode(ndnpkt_link_t* link, ndnpkt_bytes_t value) {
  static const uint16_t order[] = {NDNPKT__LP_NACK_REASON, 0};
  ndnpkt__fields_t fields = {value, order};
  ndnpkt_tlv_t tlv;
  int got;

  link->nack = true;
  while ((got = ndnpkt__field_next(&fields, &tlv)) > 0)
    if (ndnpkt_uint_decode(tlv.value, &link->nack_reason) < 0) return -EBADMSG;
  return got;
}

static int sequence_decode(ndnpkt_link_t* link, ndnpkt_bytes_t value) {
  if (value.len != 8) return -EBADMSG; /* of a fixed size, unlike other numbers */
  link->has_sequence = true;
  link->sequence = ndnpkt__load_be(value.base, 8);
  return 0;
}

static int token_decode(ndnpkt_link_t* link, ndnpkt_bytes_t value) {
  link->pit_token = value;
  return value.len >= 1 && value.len <= NDNPKT_PIT_TOKEN_MAX ? 0 : -EBADMSG;
}

/* Link headers have a rule of their own: unknown ones may be skipped if they are of 800 to 959 and a multiple of
 * four. */
static int link_field(ndnpkt_link_t* link, const ndnpkt_tlv_t* tlv) {
  switch (tlv->type) {
    case NDNPKT__LP_FRAGMENT: link->fragment = tlv->value; return 0;
    case NDNPKT__LP_SEQUENCE: return sequence_decode(link, tlv->value);
    case NDNPKT__LP_FRAG_INDEX: return ndnpkt_uint_decode(tlv->value, &link->frag_index);
    case NDNPKT__LP_FRAG_COUNT: return ndnpkt_uint_decode(tlv->value, &link->frag_count);
    case NDNPKT__LP_PIT_TOKEN: return token_decode(link, tlv->value);
    case NDNPKT__LP_NACK: return nack_decode(link, tlv->value);
    case NDNPKT__LP_CONGESTION_MARK: return ndnpkt_uint_decode(tlv->value, &link->congestion_mark);
    case NDNPKT__LP_INCOMING_FACE_ID: return 0;
    default: return tlv->type >= 800 && tlv->type <= 959 && tlv->type % 4 == 0 ? 0 : -EBADMSG;
  }
}

/* The fragment is the last element. */
static int headers_decode(ndnpkt_link_t* link, ndnpkt_bytes_t rest) {
  ndnpkt_tlv_t tlv;
  unsigned int seen = 0;
  int got;

  while ((got = ndnpkt_tlv_next(&rest, &tlv)) > 0)
    if (seen_before(&seen, tlv.type) || link_field(link, &tlv) < 0 || (tlv.type == NDNPKT__LP_FRAGMENT && rest.len > 0))
      return -EBADMSG;
  return got < 0 || link->frag_index >= link->frag_count ? -EBADMSG : 0;
}

int ndnpkt_link_decode(const uint8_t* buf, size_t len, ndnpkt_link_t* ret_link) {
  ndnpkt_link_t link = {.frag_count = 1, .fragment = {buf, len}};
  ndnpkt_bytes_t rest = {buf, len};
  ndnpkt_tlv_t tlv;

  if (ndnpkt_tlv_next(&rest, &tlv) <= 0 || rest.len != 0) return -EBADMSG;
  if (tlv.type == NDNPKT_TYPE_LP_PACKET) {
    link.wrapped = true;
    link.fragment = (ndnpkt_bytes_t){NULL, 0};
    if (headers_decode(&link, tlv.value) < 0) return -EBADMSG;
  } else if (tlv.type != NDNPKT_TYPE_INTEREST && tlv.type != NDNPKT_TYPE_DATA) {
    return -EBADMSG;
  }
  *ret_link = link;
  return 0;
}

/* --- Any packet ------------------------------------------------------------------------------- */

static int payload_decode(ndnpkt_packet_t* packet) {
  const uint8_t* buf = packet->wire.base;
  size_t len = packet->wire.len;

  if (buf[0] == NDNPKT_TYPE_DATA) {
    packet->kind = NDNPKT_DATA;
    return packet->link.nack ? -EBADMSG : ndnpkt_data_decode(buf, len, &packet->data);
  }
  packet->kind = packet->link.nack ? NDNPKT_NACK : NDNPKT_INTEREST;
  return ndnpkt_interest_decode(buf, len, &packet->interest);
}

int ndnpkt_packet_decode(const uint8_t* buf, size_t len, ndnpkt_packet_t* ret_packet) {
  ndnpkt_packet_t packet = {.kind = NDNPKT_IDLE};

  if (ndnpkt_link_decode(buf, len, &packet.link) < 0) return -EBADMSG;
  packet.wire = packet.link.fragment;
  if (packet.link.frag_count > 1)
    packet.kind = NDNPKT_FRAGMENT;
  else if (packet.wire.len > 0 ? payload_decode(&packet) < 0 : packet.link.nack)
    return -EBADMSG; /* a Nack without its Interest says nothing */
  *ret_packet = packet;
  return 0;
}

/* --- Encoding --------------------------------------------------------------------------------- */

static void put_nack_reason(ndnpkt__writer_t* writer, const void* arg) {
  const ndnpkt_link_t* link = arg;

  if (link->nack_reason != 0) ndnpkt__put_uint(writer, NDNPKT__LP_NACK_REASON, link->nack_reason);
}

/* In the order of their numbers, the fragment's head at the end. */
static void put_headers(ndnpkt__writer_t* writer, const ndnpkt_link_t* link) {
  if (link->has_sequence) {
    uint8_t sequence[8];

    ndnpkt__store_be(sequence, sizeof(sequence), link->sequence);
    ndnpkt__put_tlv(writer, NDNPKT__LP_SEQUENCE, (ndnpkt_bytes_t){sequence, sizeof(sequence)});
  }
  if (link->frag_count > 1) {
    ndnpkt__put_uint(writer, NDNPKT__LP_FRAG_INDEX, link->frag_index);
    ndnpkt__put_uint(writer, NDNPKT__LP_FRAG_COUNT, link->frag_count);
  }
  if (link->pit_token.len > 0) ndnpkt__put_tlv(writer, NDNPKT__LP_PIT_TOKEN, link->pit_token);
  if (link->nack) ndnpkt__put_nested(writer, NDNPKT__LP_NACK, put_nack_reason, link);
  if (link->congestion_mark != 0) ndnpkt__put_uint(writer, NDNPKT__LP_CONGESTION_MARK, link->congestion_mark);
  if (link->fragment.len > 0) ndnpkt__put_head(writer, NDNPKT__LP_FRAGMENT, link->fragment.len);
}

ssize_t ndnpkt_link_encode(uint8_t* buf, size_t cap, const ndnpkt_link_t* link) {
  uint64_t frag_count = link->frag_count == 0 ? 1 : link->frag_count;
  ndnpkt__writer_t inner = {NULL, 0, 0}, writer = {buf, cap, 0};

  if (link->pit_token.len > NDNPKT_PIT_TOKEN_MAX || link->frag_index >= frag_count) return -EINVAL;
  put_headers(&inner, link);
  if (ndnpkt__head_size(NDNPKT_TYPE_LP_PACKET, inner.len + link->fragment.len) + inner.len > cap) return -ENOBUFS;
  ndnpkt__put_head(&writer, NDNPKT_TYPE_LP_PACKET, inner.len + link->fragment.len);
  put_headers(&writer, link);
  return (ssize_t) writer.len;
}
