/* SPDX-License-Identifier: MIT */
/* raw_face.h: an app's end of a face without the library: the mapped region and both FIFOs, or what takes their
 * place in a private face, for programs that break the protocol on purpose. Knows the layout from docs/protocol.rst
 * alone, like an attacker who has read it; checks nothing that it writes. Every descriptor is non-blocking. */
#ifndef RAW_FACE_H
#define RAW_FACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
  RAW_CAPACITY = 8,
  RAW_SLOT_SIZE = 12,
  RAW_APP_CAPS = 20,
  RAW_A2E_WAITING = 24,
  RAW_A2E_TAIL = 64,
  RAW_A2E_HEAD = 128,
  RAW_E2A_TAIL = 192,
  RAW_E2A_HEAD = 256,
  RAW_A2E_PARKED = 320,
  RAW_E2A_PARKED = 384,
  RAW_HEADER_BYTES = 448
};

typedef struct raw_face_s {
  char shm[160], a2e_path[160], e2a_path[160];
  unsigned char* base;
  size_t bytes;
  uint32_t capacity, slot_size;
  int fd, a2e, e2a;
} raw_face_t;

void raw_paths(raw_face_t* f, const char* name);
/* Maps and opens. Returns 0 or a negative errno value; nothing is left open on failure. */
int raw_open(raw_face_t* f, const char* name);
/* Tries again while there is no such face. */
int raw_open_waiting(raw_face_t* f, const char* name, unsigned int timeout_ms);
/* The same for a private face: region, a2e and e2a. They are closed with it, and on failure. */
int raw_attach(raw_face_t* f, const int fds[3]);
void raw_close(raw_face_t* f);

uint32_t raw_load(const raw_face_t* f, size_t offset);
void raw_store(raw_face_t* f, size_t offset, uint32_t value);
/* The slot of an index in a2e: its length, then its bytes. */
unsigned char* raw_slot(raw_face_t* f, uint32_t index);
/* Puts a packet of that length into a2e, without looking for room. */
void raw_push(raw_face_t* f, uint32_t length);
bool raw_has_room(const raw_face_t* f);
/* Wakes the engine: one byte, whatever it says. */
void raw_ring(raw_face_t* f);
/* Writes as many bytes as the FIFO takes, at most 64 KiB. Returns how many. */
size_t raw_flood(raw_face_t* f);
/* True when the engine has closed the face, at once or within the time. */
bool raw_ended(raw_face_t* f, int timeout_ms);

#endif
