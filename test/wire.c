/* SPDX-License-Identifier: MIT */
/* wire.c: see wire.h. */
#include "wire.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "harness.h"

#define TURNS 8

static size_t from_hex(const char* hex, uint8_t* buf) {
  size_t len = 0;
  unsigned int byte;

  while (true) {
    hex += strspn(hex, " \n");
    if (*hex == '\0') return len;
    ck_assert_msg(len < WIRE_MAX && sscanf(hex, "%2x", &byte) == 1, "hex: %s", hex);
    buf[len++] = (uint8_t) byte;
    hex += 2;
  }
}

ndnpkt_bytes_t wire_hex(const char* hex) {
  static uint8_t bufs[TURNS][WIRE_MAX];
  static unsigned int turn;
  uint8_t* buf = bufs[turn++ % TURNS];

  return (ndnpkt_bytes_t){buf, from_hex(hex, buf)};
}

ndnpkt_bytes_t wire_text(const char* text) {
  return (ndnpkt_bytes_t){(const uint8_t*) text, strlen(text)};
}

ndnpkt_name_t wire_name(const char* uri) {
  static uint8_t bufs[TURNS][512];
  static unsigned int turn;
  ndnpkt_name_t name = {NULL, 0};

  ck_assert_msg(ndnpkt_name_from_uri(uri, bufs[turn % TURNS], sizeof(bufs[0]), &name) == 0, "%s", uri);
  turn++;
  return name;
}

void wire_assert_same(ndnpkt_bytes_t a, ndnpkt_bytes_t b) {
  ck_assert_uint_eq(a.len, b.len);
  ck_assert(a.len == 0 || memcmp(a.base, b.base, a.len) == 0);
}

/* --- Decoding --------------------------------------------------------------------------------- */

static void check_view(ndnpkt_bytes_t whole, ndnpkt_bytes_t view) {
  HOLDS(view.len == 0 ||
        (view.base >= whole.base && view.len <= whole.len && view.base <= whole.base + whole.len - view.len));
}

static void check_signature(ndnpkt_bytes_t wire, const ndnpkt_signature_t* signature) {
  check_view(wire, signature->key_name);
  check_view(wire, signature->key_digest);
  check_view(wire, signature->nonce);
  check_view(wire, signature->value);
  check_view(wire, signature->pieces[0]);
  check_view(wire, signature->pieces[1]);
}

static void check_packet(ndnpkt_bytes_t whole, const ndnpkt_packet_t* packet) {
  check_view(whole, packet->wire);
  check_view(whole, packet->link.pit_token);
  if (packet->kind == NDNPKT_DATA) {
    check_view(packet->wire, packet->data.name);
    check_view(packet->wire, packet->data.final_block);
    check_view(packet->wire, packet->data.content);
    check_signature(packet->wire, &packet->data.signature);
  } else if (packet->kind == NDNPKT_INTEREST || packet->kind == NDNPKT_NACK) {
    check_view(packet->wire, packet->interest.name);
    check_view(packet->wire, packet->interest.forwarding_hint);
    check_view(packet->wire, packet->interest.parameters);
    check_view(packet->wire, packet->interest.digested);
    check_signature(packet->wire, &packet->interest.signature);
    HOLDS(packet->interest.hop_limit == NULL || *packet->interest.hop_limit <= UINT8_MAX);
  }
}

int wire_decode(ndnpkt_bytes_t bytes) {
  uint8_t* copy = malloc(bytes.len > 0 ? bytes.len : 1);
  ndnpkt_packet_t packet;
  ndnpkt_interest_t interest;
  ndnpkt_data_t data;
  int err;

  ck_assert_ptr_nonnull(copy);
  if (bytes.len > 0) memcpy(copy, bytes.base, bytes.len);
  err = ndnpkt_packet_decode(copy, bytes.len, &packet);
  HOLDS(err == 0 || err == -EBADMSG);
  if (err == 0) check_packet((ndnpkt_bytes_t){copy, bytes.len}, &packet);
  ndnpkt_interest_decode(copy, bytes.len, &interest);
  ndnpkt_data_decode(copy, bytes.len, &data);
  free(copy);
  return err < 0 ? err : (int) packet.kind;
}

int wire_decode_hex(const char* hex) {
  return wire_decode(wire_hex(hex));
}

/* --- Vectors ---------------------------------------------------------------------------------- */

FILE* wire_open_vectors(const char* name) {
  char path[1024];
  FILE* file;

  snprintf(path, sizeof(path), "%s/%s", VECTORS_DIRECTORY, name);
  file = fopen(path, "re");
  ck_assert_msg(file != NULL, "%s", path);
  return file;
}

static void take_title(char* title, size_t size, const char* text) {
  snprintf(title, size, "%.*s", (int) strcspn(text, "\n"), text);
}

bool wire_next_vector(FILE* file, wire_vector_t* vector) {
  static char line[2 * WIRE_MAX + 8];

  while (fgets(line, sizeof(line), file) != NULL) {
    if (strncmp(line, "## ", 3) == 0) take_title(vector->session, sizeof(vector->session), line + 3);
    if (strncmp(line, "# ", 2) == 0) take_title(vector->exchange, sizeof(vector->exchange), line + 2);
    if (line[0] != '>' && line[0] != '<') continue;
    vector->direction = line[0];
    vector->len = from_hex(line + 1, vector->bytes);
    return true;
  }
  return false;
}
