/* SPDX-License-Identifier: MIT */
/* link.h: link headers (NDNLPv2) between a forwarder's stream and an app that does not want to know of them.
 *
 * Guarantees that no byte outside the packet is read or written, and that what is not understood is left as it is or
 * dropped, never an error. Any thread. */
#ifndef UVFACE_MGMT_LINK_H
#define UVFACE_MGMT_LINK_H

#include <stddef.h>
#include <stdint.h>

#include "ndnpkt.h"

/* What is to be done with a packet that came. */
typedef enum uvface__link_e {
  UVFACE__LINK_DROP,   /* idle, broken, or a part of a packet, which no stream has any use for */
  UVFACE__LINK_PACKET, /* *packet is now the packet without link headers */
  UVFACE__LINK_NACK    /* an Interest came back: the packet is left as it is, only its headers tell */
} uvface__link_kind_t;

/* Takes the link headers off. */
uvface__link_kind_t uvface__link_strip(ndnpkt_bytes_t* packet);

/* Gives an Interest without a Nonce this one, for there are forwarders that drop it silently.
 * packet: `bytes` long, with room to grow to `room`.
 * Returns the new length; the old one if it has a Nonce, is no bare Interest, is broken, or has no room. */
size_t uvface__link_add_nonce(uint8_t* packet, size_t bytes, size_t room, uint32_t nonce);

#endif
