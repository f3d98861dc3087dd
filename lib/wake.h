/* SPDX-License-Identifier: MIT */
/* wake.h: sleeping on a ring and waking who sleeps.
 *
 * Guarantees that a consumer that parked, or a producer that waits for space, is never left asleep
 * beside what it waits for, provided that both ends fence as below (test/models proves it, and proves
 * that without the fences it fails). Does not guarantee that every wake-up finds something to do. A byte that
 * finds no memory in the kernel is written by the next publish, or settle. A peer that makes our calls slow is woken
 * later, and in the end no more (patience.h). One thread per end.
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
 * Many publishes, one fence: who defers looks at once after each (B), without (E), so that a peer that slept before is
 * woken at once; and settles before it waits for anything: (E), (H). Whoever parked in between is found then, for (B)
 * came before (E). In between at most one byte is written. A flag that is found set when no byte is left stays set, and
 * is owed: the end must not wait until it has settled.
 *
 * Waiting for space is the same diagram with the roles exchanged: (D) head.store(release), (E), load and
 * exchange of waiting in the consumer; waiting.store(1), (F), (A) head.load(acquire) in the producer. */
#ifndef NDNSHM_WAKE_H
#define NDNSHM_WAKE_H

#include <stdbool.h>
#include <stdint.h>

#include "patience.h"
#include "words.h"

/* The four flags of an end, all in shared memory, and the two descriptors. */
typedef struct ndnshm__wake_s {
  uint32_t* own_parked; /* set by us, cleared by either */
  uint32_t* own_waiting;
  uint32_t* peer_parked; /* set by the peer, cleared by either; set back by us if no byte could be written */
  uint32_t* peer_waiting;
  int rx_fd;                   /* readable: somebody woke us, or is gone */
  int tx_fd;                   /* a byte here wakes the peer */
  bool tx_may_signal;          /* we are no reader of tx_fd ourselves: writing may raise SIGPIPE */
  bool defers;                 /* between ndnshm__wake_defer() and ndnshm__wake_settle(): looks come without a fence */
  bool published;              /* deferring: and has not looked at peer_parked since, after a fence */
  bool released;               /* deferring: nor at peer_waiting */
  bool may_write;              /* deferring: a byte is left */
  bool is_socket;              /* both are sockets, which know flags that spare SIGPIPE and waiting */
  ndnshm__patience_t patience; /* with the calls on both */
} ndnshm__wake_t;

/* (E), (F): what is written before is seen by whoever fenced after us, what is read after is fresh. */
static inline void ndnshm__wake_fence(void) {
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wtsan" /* TSan cannot see a fence; the models check it instead */
#endif
  NDNSHM__POINT("fence");
  atomic_thread_fence(memory_order_seq_cst); /* (E), (F) seq_cst: each pairs with the peer's other */
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic pop
#endif
}

/* (G) announce sleep on an empty, or on a full ring. ndnshm__wake_fence() and a fresh look must follow. */
void ndnshm__wake_announce_parked(ndnshm__wake_t* wake);
void ndnshm__wake_announce_waiting(ndnshm__wake_t* wake);

/* Takes both announcements back. */
void ndnshm__wake_withdraw(ndnshm__wake_t* wake);

/* (H) For a flag of the peer's that was seen set: claims it, and writes one byte if it was the first to do so. Not in
 * line: most packets find the peer awake, and pay for a load. True if a byte was written. */
bool ndnshm__wake_claim(ndnshm__wake_t* wake, uint32_t* flag);

/* To be called by who just published, or released: wakes a peer that sleeps on an empty, or on a full ring. True if a
 * byte was written. Who defers looks without the fence first, and again with it when it settles. */
static inline bool ndnshm__wake_parked_peer(ndnshm__wake_t* wake) {
  if (wake->defers)
    wake->published = true;
  else
    ndnshm__wake_fence(); /* (E) */
  /* (H) relaxed: ordered by (E), the one above or that of settling */
  return ndnshm__load_relaxed(wake->peer_parked) != 0 && ndnshm__wake_claim(wake, wake->peer_parked);
}

static inline bool ndnshm__wake_waiting_peer(ndnshm__wake_t* wake) {
  if (wake->defers)
    wake->released = true;
  else
    ndnshm__wake_fence(); /* (E) */
  /* (H) relaxed: likewise */
  return ndnshm__load_relaxed(wake->peer_waiting) != 0 && ndnshm__wake_claim(wake, wake->peer_waiting);
}

/* From now on looks come without a fence, and at most one byte is written, or none. */
static inline void ndnshm__wake_defer(ndnshm__wake_t* wake, bool may_write) {
  wake->defers = true;
  wake->may_write = may_write;
}

/* Fences and looks once for all that was published and released since then, and ends deferring: 1 = a byte was written,
 * 0 = none was needed. Or nothing has ended, and the peer sleeps: -EAGAIN, no byte is left; -ENOBUFS, none can be
 * written now, for want of memory, or because the last was slow: in a while. */
int ndnshm__wake_settle(ndnshm__wake_t* wake);

/* App, when it attaches where another was before: that one may have died between claiming the engine's announcement
 * and writing the byte, and the engine would sleep on, announcing nothing. Writes the byte unless the engine
 * announces that it sleeps, and in any case where it may wait for room. True if it was written. */
bool ndnshm__wake_heal(ndnshm__wake_t* wake, bool may_wait);

/* Reads what lies in our FIFO or socket, at most 4096 bytes: their number, 0 for none, or -EPIPE when no writer is
 * left. Errors: other errno values. 0 as well once the peer was too slow (patience.h). */
int ndnshm__wake_drain(ndnshm__wake_t* wake);

#endif
