/* SPDX-License-Identifier: MIT */
/* wake.h: sleeping on a ring and waking who sleeps; the FIFO rules.
 *
 * Guarantees that a consumer that parked, or a producer that waits for space, is never left asleep
 * beside what it waits for, provided that both ends fence as below (test/models proves it, and proves
 * that without the fences it fails). Does not guarantee that every wake-up finds something to do. A byte that
 * finds no memory in the kernel is written by the next publish. One thread per end.
 *
 *   producer                                 consumer
 *   (B) tail.store(release)                  (G) parked.store(1)
 *   (E) fence(seq_cst)                       (F) fence(seq_cst)
 *   (H) parked.load; if set:                 (C) tail.load(acquire)
 *       parked.exchange(0); was it set:          empty: sleep on the FIFO
 *       write one byte                       awake: parked.store(0), drain the FIFO
 *
 *   E pairs with F. A store may pass a later load, even on x86; if B passed H and G passed C at once,
 *   the producer would see nobody asleep and the consumer nothing to do. Of two seq_cst fences one comes
 *   first, and what stands before it is seen by what stands after the other: either H sees G, or C sees
 *   B. Release and acquire alone do not order a store before a load; hence seq_cst, and hence fences.
 *   The exchange lets one of many publishes pay for the system call.
 *
 * Waiting for space is the same diagram with the roles exchanged: (D) head.store(release), (E), load and
 * exchange of waiting in the consumer; waiting.store(1), (F), (A) head.load(acquire) in the producer. */
#ifndef NDNSHM_WAKE_H
#define NDNSHM_WAKE_H

#include "region.h"
#include "ring.h"

/* The four flags of an end, all in shared memory, and the two descriptors. */
typedef struct ndnshm__wake_s {
  uint32_t* own_parked; /* set by us, cleared by either */
  uint32_t* own_waiting;
  uint32_t* peer_parked; /* set by the peer, cleared by either; set back by us if no byte could be written */
  uint32_t* peer_waiting;
  int rx_fd;          /* readable: somebody woke us, or is gone */
  int tx_fd;          /* a byte here wakes the peer */
  bool tx_may_signal; /* we are no reader of tx_fd ourselves: writing may raise SIGPIPE */
} ndnshm__wake_t;

/* (E), (F): what is written before is seen by whoever fenced after us, what is read after is fresh. */
void ndnshm__fence(void);

/* (G) announce sleep on an empty, or on a full ring. ndnshm__fence() and a fresh look must follow. */
void ndnshm__wake_announce_parked(ndnshm__wake_t* wake);
void ndnshm__wake_announce_waiting(ndnshm__wake_t* wake);

/* Takes both announcements back. */
void ndnshm__wake_withdraw(ndnshm__wake_t* wake);

/* (H) To be called after ndnshm__fence() by who just published, or released: wakes a peer that sleeps on
 * an empty, or on a full ring. True if a byte was written. */
bool ndnshm__wake_parked_peer(ndnshm__wake_t* wake);
bool ndnshm__wake_waiting_peer(ndnshm__wake_t* wake);

/* App, when it attaches where another was before: that one may have died between claiming the engine's announcement
 * and writing the byte, and the engine would sleep on, announcing nothing. Writes the byte unless the engine
 * announces that it sleeps, and in any case where it may wait for room. True if it was written. */
bool ndnshm__wake_heal(const ndnshm__wake_t* wake, bool may_wait);

/* Reads what lies in our FIFO, at most 4096 bytes: their number, 0 for none, or -EPIPE when no writer is
 * left. Errors: other errno values. */
int ndnshm__wake_drain(ndnshm__wake_t* wake);

/* Engine: makes the FIFO `path` and opens it with `flags`. What a dead engine of ours left under the name is
 * replaced, unless reader_lives says that somebody who reads it must be taken for a live engine.
 * Errors: -EADDRINUSE, those of mkfifo, open, fchmod, fchown. On failure nothing is left. */
int ndnshm__fifo_create(const char* path, int flags, bool reader_lives, const ndnshm__access_t* access, int* ret_fd,
                        ndnshm__error_t* error);

/* App: opens an engine's FIFO with `flags` (O_RDONLY or O_WRONLY).
 * Errors: -ECONNREFUSED (no engine reads it), -EPERM (no FIFO, or of an owner we do not trust), -ENOENT,
 * -EACCES, others. */
int ndnshm__fifo_open(const char* path, int flags, uid_t trusted, int* ret_fd, ndnshm__error_t* error);

/* Fails unless the FIFO `path` is no live engine's, or there is none: unlocked and, unless its engine vouched for
 * the lock, open for reading by nobody. Errors: -EADDRINUSE (an engine has it), others (it cannot be told). */
int ndnshm__fifo_check_unread(const char* path, ndnshm__error_t* error);

/* Engine: locks the FIFO for life. */
void ndnshm__fifo_lock(int fd);

/* Engine: locks the FIFO for life and marks it (S_ISVTX), which says that the lock alone tells whether we live;
 * for where the region, whose lock tells it else, has no name any more. */
void ndnshm__fifo_vouch(int fd);

/* Removes the name if it still names what fd is open on; -1: nothing to remove. */
void ndnshm__fifo_unlink(int fd, const char* path);

/* Removes a FIFO of ours that a dead engine left under the name; what else is there stays.
 * Errors: those of lstat and unlink. */
int ndnshm__fifo_remove_stale(const char* path, const ndnshm__access_t* access, ndnshm__error_t* error);

#endif
