/* SPDX-License-Identifier: MIT */
/* link.c: see link.h. */
#include "link.h"

#include <stdbool.h>
#include <string.h>

#define NONCE_BYTES 6 /* the element */

/* Elements of an Interest (Packet Format, Interest). */
enum { NAME = 7, NONCE = 10, MUST_BE_FRESH = 18, FORWARDING_HINT = 30, CAN_BE_PREFIX = 33 };

uvface__link_kind_t uvface__link_strip(ndnpkt_bytes_t* packet) {
  ndnpkt_link_t link;

  if (packet->len > 0 && packet->base[0] != NDNPKT_TYPE_LP_PACKET) return UVFACE__LINK_PACKET;
  if (ndnpkt_link_decode(packet->base, packet->len, &link) < 0) return UVFACE__LINK_DROP;
  if (link.fragment.len == 0 || link.frag_count > 1) return UVFACE__LINK_DROP;
  if (link.nack) return UVFACE__LINK_NACK;
  *packet = link.fragment;
  return UVFACE__LINK_PACKET;
}

/* Where in an Interest its Nonce belongs, as an offset from its value; 0: it has one, or is broken. */
static size_t nonce_offset(ndnpkt_bytes_t value) {
  ndnpkt_bytes_t rest = value;
  ndnpkt_tlv_t tlv;
  size_t offset = 0;
  int got;

  while ((got = ndnpkt_tlv_next(&rest, &tlv)) > 0) {
    bool is_before =
        tlv.type == NAME || tlv.type == CAN_BE_PREFIX || tlv.type == MUST_BE_FRESH || tlv.type == FORWARDING_HINT;

    if (tlv.type == NONCE) return 0;
    if (is_before) offset = value.len - rest.len;
  }
  return got < 0 ? 0 : offset;
}

/* Writes the head of an element of a type below 253, whose value has at most 65535 bytes. Returns its size. */
static size_t put_head(uint8_t* buf, uint8_t type, size_t len) {
  buf[0] = type;
  if (len < 253) {
    buf[1] = (uint8_t) len;
    return 2;
  }
  buf[1] = 253;
  buf[2] = (uint8_t) (len >> 8);
  buf[3] = (uint8_t) len;
  return 4;
}

size_t uvface__link_add_nonce(uint8_t* packet, size_t bytes, size_t room, uint32_t nonce) {
  ndnpkt_bytes_t rest = {packet, bytes};
  ndnpkt_tlv_t tlv;
  uint8_t head[4];
  size_t offset, old_head, new_head, after;

  if (bytes == 0 || packet[0] != NDNPKT_TYPE_INTEREST) return bytes;
  if (ndnpkt_tlv_next(&rest, &tlv) <= 0 || rest.len != 0) return bytes;
  offset = nonce_offset(tlv.value);
  if (offset == 0 || tlv.value.len + NONCE_BYTES > UINT16_MAX) return bytes;
  old_head = bytes - tlv.value.len;
  new_head = put_head(head, NDNPKT_TYPE_INTEREST, tlv.value.len + NONCE_BYTES);
  if (new_head + tlv.value.len + NONCE_BYTES > room) return bytes;
  after = tlv.value.len - offset;
  memmove(packet + new_head + offset + NONCE_BYTES, packet + old_head + offset, after);
  memmove(packet + new_head, packet + old_head, offset);
  memcpy(packet, head, new_head);
  packet += new_head + offset;
  packet[0] = NONCE;
  packet[1] = 4;
  for (int i = 0; i < 4; i++) packet[2 + i] = (uint8_t) (nonce >> (24 - 8 * i));
  return new_head + tlv.value.len + NONCE_BYTES;
}
