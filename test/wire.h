/* SPDX-License-Identifier: MIT */
/* wire.h: what the tests of libndnpkt share: bytes from hexadecimal text, names from URIs, and the captured exchanges
 * of test/vectors. Memory that is handed out is static and used in turn; what is promised is how long. One thread. */
#ifndef WIRE_H
#define WIRE_H

#include <ndnpkt.h>
#include <stdio.h>

#define WIRE_MAX 16384 /* bytes: longer than any packet here */

/* Bytes from hexadecimal text, in which blanks count for nothing. Valid until the eighth next call. */
ndnpkt_bytes_t wire_hex(const char* hex);

/* A view of a C string. */
ndnpkt_bytes_t wire_text(const char* text);

/* A name; must be one. Valid until the eighth next call. */
ndnpkt_name_t wire_name(const char* uri);

/* Asserts that two views hold the same bytes. */
void wire_assert_same(ndnpkt_bytes_t a, ndnpkt_bytes_t b);

/* Decodes a copy that lies in a heap block of exactly its size, so that ASan sees a read past the end, and looks
 * whether every view lies in it. Returns its kind, or -EBADMSG. */
int wire_decode(ndnpkt_bytes_t bytes);
int wire_decode_hex(const char* hex);

/* One packet of a file of test/vectors. */
typedef struct wire_vector_s {
  char session[256], exchange[256];
  char direction; /* '>' from the client, '<' from the forwarder */
  uint8_t bytes[WIRE_MAX];
  size_t len;
} wire_vector_t;

/* Opens such a file, which must be there. */
FILE* wire_open_vectors(const char* name);

/* Reads the next packet. Returns false at the end. Start with an empty vector. */
bool wire_next_vector(FILE* file, wire_vector_t* vector);

#endif
