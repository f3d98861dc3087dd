/* SPDX-License-Identifier: MIT */
/* ring_core.c: the victim that uses ndnshm.h and no loop: see victim.h. */
#include <errno.h>
#include <stdlib.h>

#include "../../include/ndnshm.h"
#include "victim.h"

/* Errors that a broken or vanished peer may cause; anything else is ours. */
static bool is_peers_fault(int err) {
  return err == -EPROTO || err == -ECONNREFUSED || err == NDNSHM_EOF || err == -EIO;
}

static void receive(victim_t* v, ndnshm_t* ep) {
  struct iovec pkts[64];
  size_t arena_bytes = v->geometry.slot_size * (1u + fuzz_back(&v->in) % 3u);
  unsigned int max = 1 + fuzz_back(&v->in) % 64;
  void* arena = malloc(arena_bytes); /* exactly so long, for ASan to see the end */
  int n;

  FUZZ_REQUIRE(arena != NULL);
  n = ndnshm_recv(ep, arena, arena_bytes, pkts, max);
  FUZZ_REQUIRE(n <= (int) max && (n >= 0 || is_peers_fault(n)));
  if (n > 0) victim_hold_packets(v, pkts, n);
  free(arena);
}

static void borrow(victim_t* v, ndnshm_t* ep) {
  struct iovec pkts[64];
  unsigned int max = 1 + fuzz_back(&v->in) % 64;
  int n = ndnshm_peek(ep, victim_pick_length(v), pkts, max);

  FUZZ_REQUIRE(n <= (int) max && (n >= 0 || is_peers_fault(n)));
  if (n > 0) victim_hold_packets(v, pkts, n);
  ndnshm_release(ep);
}

static void send_some(victim_t* v, ndnshm_t* ep, unsigned int how) {
  struct iovec pkts[VICTIM_BATCH_MAX];
  unsigned int npkts = victim_pick_batch(v, pkts);
  int n;

  if (how == 0) {
    n = ndnshm_send_batch(ep, pkts, npkts);
    FUZZ_REQUIRE(n <= (int) npkts && n <= (int) v->geometry.capacity);
  } else {
    n = ndnshm_send(ep, pkts, npkts % 3);
    FUZZ_REQUIRE(n <= (int) v->geometry.slot_size);
  }
  FUZZ_REQUIRE(n > 0 || n == -EAGAIN || n == -EMSGSIZE || n == -EINVAL || is_peers_fault(n));
}

static void encode_in_place(victim_t* v, ndnshm_t* ep) {
  struct iovec slot;
  size_t len = victim_pick_length(v);
  int err = ndnshm_reserve(ep, len, &slot);

  FUZZ_REQUIRE(err == 0 || err == -EAGAIN || err == -EMSGSIZE || err == -EINVAL || err == -EALREADY ||
               is_peers_fault(err));
  if (err == 0) {
    FUZZ_REQUIRE(slot.iov_len == len);
    for (size_t i = 0; i < len; i++) ((unsigned char*) slot.iov_base)[i] = (unsigned char) i;
  }
  if (fuzz_back(&v->in) % 4 == 0) return; /* left open */
  err = ndnshm_commit(ep, err == 0 ? len - fuzz_back(&v->in) % 2u : 1);
  FUZZ_REQUIRE(err == 0 || err == -EINVAL || err == -EMSGSIZE || is_peers_fault(err));
}

static void sleep_or_wake(ndnshm_t* ep, unsigned int how) {
  int n;

  switch (how % 6) {
    case 0: FUZZ_REQUIRE((ndnshm_park(ep, NDNSHM_PACKETS | NDNSHM_SPACE) & ~3u) == 0); break;
    case 1: ndnshm_unpark(ep); break;
    case 2: ndnshm_ready(ep, NDNSHM_PACKETS | NDNSHM_SPACE); break;
    case 3: FUZZ_REQUIRE((ndnshm_peer_caps(ep) & 0xffff0000u) == 0); break;
    case 4: ndnshm_park(ep, NDNSHM_SPACE); break;
    default:
      n = ndnshm_wake(ep);
      FUZZ_REQUIRE(n <= 65536 && (n >= 0 || n == NDNSHM_EOF || n == -EIO)); /* -EIO: the region was truncated */
      break;
  }
}

static void script(victim_t* v, ndnshm_t* ep) {
  ndnshm_stats_t stats;

  for (int step = 0; step < VICTIM_STEPS_MAX && (step < 4 || fuzz_left(&v->in) > 0); step++) {
    uint8_t op = fuzz_back(&v->in);

    victim_begin_step();
    if (op % 8 < 3 && v->borrow)
      borrow(v, ep);
    else if (op % 8 < 3)
      receive(v, ep);
    else if (op % 8 < 5)
      send_some(v, ep, op % 8 - 3);
    else if (op % 8 == 5)
      encode_in_place(v, ep);
    else
      sleep_or_wake(ep, op / 8);
    attacker_check(&v->attacker);
    FUZZ_REQUIRE(ndnshm_get_stats(ep, &stats) == 0);
    victim_check_sent(v, stats.tx_packets);
  }
}

/* What is left of the region is zeros of our own, and must not pass for a silent peer. */
static void find_out(victim_t* v, ndnshm_t* ep) {
  struct iovec pkt;
  int n = ndnshm_peek(ep, v->geometry.slot_size, &pkt, 1);

  FUZZ_REQUIRE(n == -EIO || n == -EPROTO); /* -EPROTO: a tail that was nonsense before */
}

void ring_core_run(victim_t* v) {
  ndnshm_options_t options = NDNSHM_OPTIONS_INIT;
  ndnshm_t* ep;
  int err;

  options.capacity = v->geometry.capacity;
  options.slot_size = v->geometry.slot_size;
  options.flags = NDNSHM_SIGBUS_GUARD; /* the attacker pulls files */
  FUZZ_REQUIRE(ndnshm_new(&ep) == 0);
  victim_begin_step();
  v->attacker.active = true;
  err = v->is_engine ? ndnshm_create(ep, v->names.face, &options) : ndnshm_connect(ep, v->names.face, &options);
  FUZZ_REQUIRE(err == 0 || is_peers_fault(err));
  if (err == 0) {
    victim_attached(v);
    script(v, ep);
    if (victim_end_scripts(v)) find_out(v, ep);
    ndnshm_shutdown(ep);
    attacker_check(&v->attacker);
    FUZZ_REQUIRE(ndnshm_ready(ep, NDNSHM_PACKETS) == 0);
  }
  ndnshm_free(ep);
}
