/* SPDX-License-Identifier: MIT */
/* puppet.h: one end of a face, moved by hand: the peer that a test makes misbehave.
 *
 * Knows the protocol from its description alone and shares no code with the library, so it can write what
 * no endpoint of ours would. As app it attaches to a face that exists; as engine it makes one, of any
 * geometry and with indices that begin anywhere. It checks nothing that it reads and never waits. For the
 * adapter's tests; one thread. */
#ifndef PUPPET_H
#define PUPPET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Byte offsets in the region, as docs/protocol.rst has them. */
enum {
  AT_MAGIC = 0,
  AT_CAPACITY = 8,
  AT_SLOT_SIZE = 12,
  AT_ENGINE_CAPS = 16,
  AT_APP_CAPS = 20,
  AT_A2E_WAITING = 24,
  AT_E2A_WAITING = 28,
  AT_RESERVED = 32,
  AT_A2E_TAIL = 64,
  AT_A2E_HEAD = 128,
  AT_E2A_TAIL = 192,
  AT_E2A_HEAD = 256,
  AT_A2E_PARKED = 320,
  AT_E2A_PARKED = 384,
  AT_SLOTS = 448
};

typedef struct puppet_s {
  char name[80];
  bool engine;
  unsigned char* region; /* a mapping of its own */
  size_t region_bytes;
  uint32_t capacity, slot_size;
  uint32_t tail, head; /* of what it sends, and of what it takes: its own, private */
  int rx_fd, tx_fd;
} puppet_t;

/* App: attaches to the face `name`, or to what was offered under it (faces.h). */
void puppet_attach(puppet_t* p, const char* name);

/* Engine: makes the face, or offers it; the indices of both rings begin at `index`. */
void puppet_make(puppet_t* p, const char* name, uint32_t capacity, uint32_t slot_size, uint32_t index);

/* Closes its descriptors, which the other end sees as a death. */
void puppet_die(puppet_t* p);

/* Dies if need be and unmaps; what it made as engine is removed. */
void puppet_drop(puppet_t* p);

/* A word of the header, and where the shared indices are that this end, or the other, has to write. */
uint32_t* puppet_word(const puppet_t* p, size_t offset);
uint32_t* puppet_own_tail(const puppet_t* p);
uint32_t* puppet_own_head(const puppet_t* p);
uint32_t* puppet_peer_tail(const puppet_t* p);
uint32_t* puppet_peer_head(const puppet_t* p);
void puppet_store(uint32_t* word, uint32_t value);
uint32_t puppet_load(const uint32_t* word);

/* The length and then the payload of a slot of the ring that this end fills. */
unsigned char* puppet_slot(const puppet_t* p, uint32_t index);

/* Puts a packet with a length that may be a lie into the next slot: bytes of payload are copied. Not seen
 * before it is published. */
void puppet_fill(puppet_t* p, uint32_t length, const void* payload, size_t bytes);

/* Writes to the other end's FIFO, pipe or socket, without waiting. */
ssize_t puppet_write(const puppet_t* p, const void* bytes, size_t n);

/* Publishes what was filled, and wakes the other end by a byte whether it sleeps or not. */
void puppet_publish(puppet_t* p);

/* Both at once, honestly. False if the ring is full, or has to drain first where the index wrapped. */
bool puppet_send(puppet_t* p, const void* payload, size_t bytes);

/* Takes the next packet; its length, or -1 for none. */
int puppet_take(puppet_t* p, void* payload, size_t max);

#endif
