/* SPDX-License-Identifier: MIT */
/* api_ledger.c: what was sent in one direction of a link, and whether what arrives is that: see api.h.
 *
 * A packet is one TLV element: type, length, the ledger's tag, its number in two bytes, and a pattern. */
#include <string.h>

#include "api.h"

#define TYPE 6
#define SHORT_BYTES_MAX 254 /* bytes of an element whose length takes one byte */
#define LONG_BYTES_MIN 257

static size_t header_bytes(size_t bytes) {
  return bytes <= SHORT_BYTES_MAX ? 2 : 4;
}

size_t ledger_fit(size_t bytes, size_t max) {
  if (max > LEDGER_BYTES_MAX) max = LEDGER_BYTES_MAX;
  if (bytes > max) bytes = max;
  if (bytes > SHORT_BYTES_MAX && bytes < LONG_BYTES_MIN) bytes = SHORT_BYTES_MAX;
  return bytes < LEDGER_BYTES_MIN ? LEDGER_BYTES_MIN : bytes;
}

/* Copied, and not counted out, because a fuzzer watches each comparison of a loop. */
static const uint8_t* pattern(unsigned int number) {
  static uint8_t bytes[LEDGER_BYTES_MAX + 64 + 256];

  if (bytes[1] == 0)
    for (size_t i = 0; i < sizeof(bytes); i++) bytes[i] = (uint8_t) i;
  return bytes + (uint8_t) (number * 31);
}

static void write_element(uint8_t* packet, size_t bytes, uint8_t tag, unsigned int number) {
  size_t header = header_bytes(bytes), value = bytes - header;

  packet[0] = TYPE;
  packet[1] = (uint8_t) (header == 2 ? value : 253);
  if (header == 4) {
    packet[2] = (uint8_t) (value >> 8);
    packet[3] = (uint8_t) value;
  }
  packet[header] = tag;
  packet[header + 1] = (uint8_t) (number >> 8);
  packet[header + 2] = (uint8_t) number;
  memcpy(packet + header + 3, pattern(number), bytes - header - 3);
}

int ledger_write(ledger_t* ledger, uint8_t* packet, size_t bytes) {
  unsigned int number = ledger->next;

  if (number == LEDGER_PACKETS_MAX) return -1;
  write_element(packet, bytes, ledger->tag, number);
  ledger->sizes[number] = (uint16_t) bytes;
  ledger->states[number] = LEDGER_PENDING;
  ledger->next++;
  return (int) number;
}

void ledger_settle(ledger_t* ledger, unsigned int first, unsigned int n, ledger_state_t state) {
  for (unsigned int i = first; i < first + n; i++)
    if (ledger->states[i] == LEDGER_PENDING) ledger->states[i] = (uint8_t) state;
}

/* The number that stands in a packet of this ledger. */
static unsigned int number_of(const ledger_t* ledger, const uint8_t* packet, size_t bytes) {
  size_t header = header_bytes(bytes);
  unsigned int number;

  FUZZ_REQUIRE(bytes >= LEDGER_BYTES_MIN && packet[0] == TYPE);
  FUZZ_REQUIRE(packet[header] == ledger->tag);
  number = (unsigned int) packet[header + 1] << 8 | packet[header + 2];
  FUZZ_REQUIRE(number < ledger->next);
  return number;
}

void ledger_receive(ledger_t* ledger, const uv_buf_t* packet, bool by_filter) {
  static uint8_t expected[LEDGER_BYTES_MAX + 64];
  unsigned int* next = by_filter ? &ledger->shown : &ledger->received;
  unsigned int number;

  if (ledger->poked) return;
  number = number_of(ledger, (const uint8_t*) packet->base, packet->len);
  FUZZ_REQUIRE(number >= *next); /* never twice, never out of order */
  FUZZ_REQUIRE(packet->len == ledger->sizes[number]);
  write_element(expected, packet->len, ledger->tag, number);
  FUZZ_REQUIRE(memcmp(expected, packet->base, packet->len) == 0);
  FUZZ_REQUIRE(ledger->states[number] != LEDGER_REFUSED);
  for (unsigned int i = *next; i < number && !ledger->lossy; i++)
    FUZZ_REQUIRE(ledger->states[i] == LEDGER_REFUSED || ledger->states[i] == LEDGER_MAYBE);
  *next = number + 1;
}

size_t ledger_edit(ledger_t* ledger, uint8_t* packet, size_t bytes, size_t max, uint8_t how) {
  unsigned int number = number_of(ledger, packet, bytes);
  size_t grown;

  FUZZ_REQUIRE(!ledger->edited[number]); /* once each */
  ledger->edited[number] = true;
  if (how % 4 == 1) {
    ledger->states[number] = LEDGER_MAYBE;
    return 0;
  }
  if (how % 4 != 2) return bytes;
  grown = ledger_fit(bytes + 1 + how / 4, max);
  write_element(packet, grown, ledger->tag, number);
  ledger->sizes[number] = (uint16_t) grown;
  return grown;
}

void ledger_require_all(const ledger_t* ledger) {
  if (ledger->poked || ledger->lossy) return;
  for (unsigned int i = ledger->received; i < ledger->next; i++) FUZZ_REQUIRE(ledger->states[i] != LEDGER_SENT);
}
