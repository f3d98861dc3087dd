/* SPDX-License-Identifier: MIT */
/* perf_kinds.c: who sends what when: source, ping, paced, fetch and stuff drive a run; sink, echo,
 * fetchserver and sip answer. Each kind is five functions, called by the frame (perf_side.c) from the link's callbacks.
 * Guarantees that every packet is answered or counted once and that no kind spins in a callback for
 * longer than a burst or, waiting for the time of a paced packet, a millisecond. */
#include "perf_side.h"

#include <endian.h>
#include <string.h>
#include <time.h>

enum {
  BURST = 1024,           /* packets a source sends before it lets the loop turn */
  MAX_BLOCK_NS = 1000000, /* longest wait inside an idle callback */
  SIP_EVERY_NS = 10000000 /* how often a sipping end takes packets */
};

/* --- source and sink --------------------------------------------------------------------------- */

static void source_go_on(side_t* s) {
  for (unsigned int burst = 0; burst < BURST; burst += s->pool) {
    uint64_t left = s->o->count != 0 ? s->o->count - s->sent : s->pool;
    if (left == 0 || side_time_is_up(s)) {
      side_finish(s, PERF_OK);
      return;
    }
    if (!side_push_new(s, left < s->pool ? (unsigned int) left : s->pool)) {
      if (!s->done) link_idle(s->link, false);
      return;
    }
  }
  link_idle(s->link, true);
}

static void source_start(side_t* s) {
  side_open_window(s);
  link_idle(s->link, true);
}

static void ignore_packets(side_t* s, const struct iovec pkts[], unsigned int npkts) {
  (void) s, (void) pkts, (void) npkts;
}

static bool always(const side_t* s) {
  (void) s;
  return true;
}

static void nothing(side_t* s) {
  (void) s;
}

/* The packets that open the window are not counted in it: when they were sent is not known. */
static void sink_packets(side_t* s, const struct iovec pkts[], unsigned int npkts) {
  side_take_packets(s, pkts, npkts, s->o->size_bytes);
  if (!s->open) side_open_window(s);
  if (s->o->count != 0 && s->received >= s->o->count) side_finish(s, PERF_OK);
}

static bool after_first(const side_t* s) {
  return s->open;
}

/* --- ping and paced ---------------------------------------------------------------------------- */

static void ping_send(side_t* s) {
  s->sent_ns = perf_now_ns();
  side_push_new(s, 1);
}

/* Takes a reply; true if another round is to follow. */
static bool ping_took(side_t* s, const struct iovec pkts[], unsigned int npkts) {
  uint64_t now_ns = perf_now_ns();
  side_take_packets(s, pkts, npkts, s->o->size_bytes);
  if (s->received < s->sent) return false;
  if (s->open)
    side_add_sample(s, now_ns - s->sent_ns);
  else if (s->received >= s->warmup)
    side_open_window(s);
  if ((s->o->count != 0 && s->r->packets >= s->o->count) || side_time_is_up(s)) {
    side_finish(s, PERF_OK);
    return false;
  }
  return true;
}

static void ping_packets(side_t* s, const struct iovec pkts[], unsigned int npkts) {
  if (ping_took(s, pkts, npkts)) ping_send(s);
}

/* The next packet is due one interval after the last was; one that is late moves the schedule. */
static void paced_plan(side_t* s) {
  uint64_t now_ns = perf_now_ns();
  s->due_ns += s->o->interval_us * 1000;
  if (s->due_ns < now_ns) s->due_ns = now_ns;
  link_idle(s->link, true);
}

static void paced_packets(side_t* s, const struct iovec pkts[], unsigned int npkts) {
  if (ping_took(s, pkts, npkts)) paced_plan(s);
}

static uint64_t cpu_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return (uint64_t) t.tv_sec * UINT64_C(1000000000) + (uint64_t) t.tv_nsec;
}

static void paced_idle(side_t* s) {
  uint64_t now_ns = perf_now_ns();
  uint64_t until_ns = s->due_ns < now_ns + MAX_BLOCK_NS ? s->due_ns : now_ns + MAX_BLOCK_NS;
  uint64_t began_ns = cpu_ns();
  while (now_ns < until_ns) now_ns = perf_now_ns();
  if (s->open) s->r->pacing_ns += cpu_ns() - began_ns;
  if (now_ns < s->due_ns) return;
  link_idle(s->link, false);
  ping_send(s);
}

static bool outstanding(const side_t* s) {
  return s->sent > s->received;
}

/* --- fetch ------------------------------------------------------------------------------------- */

static void fetch_go_on(side_t* s) {
  while (!s->waiting && !side_time_is_up(s)) {
    uint64_t n = s->o->window - (s->sent - s->received);
    if (s->o->count != 0 && n > s->o->count - s->sent) n = s->o->count - s->sent;
    if (n == 0 || !side_push_new(s, n < s->pool ? (unsigned int) n : s->pool)) return;
  }
}

static void fetch_packets(side_t* s, const struct iovec pkts[], unsigned int npkts) {
  side_take_packets(s, pkts, npkts, s->o->reply_bytes);
  if (!s->open) side_open_window(s);
  if ((s->received >= s->o->count && s->o->count != 0) || (s->received >= s->sent && side_time_is_up(s)))
    side_finish(s, PERF_OK);
  else
    fetch_go_on(s);
}

/* --- echo and fetchserver ---------------------------------------------------------------------- */

/* Answers come before more questions: what finds no room holds back delivery. */
static void answer(side_t* s, unsigned int n, bool transient) {
  s->out_at = 0;
  s->out_n = n;
  s->sent += n;
  if (!side_push(s, transient) && !s->done) link_pause(s->link, true);
}

static void server_room(side_t* s) {
  link_pause(s->link, false);
}

static void echo_packets(side_t* s, const struct iovec pkts[], unsigned int npkts) {
  if (!s->open) side_open_window(s);
  s->received += npkts;
  s->r->packets += npkts;
  for (unsigned int i = 0; i < npkts; i++) {
    s->out[i] = pkts[i];
    s->r->bytes += pkts[i].iov_len;
  }
  answer(s, npkts, true);
}

static void fetchserver_packets(side_t* s, const struct iovec pkts[], unsigned int npkts) {
  if (!s->open) side_open_window(s);
  side_read_packets(s, pkts, npkts);
  s->received += npkts;
  s->r->packets += npkts;
  for (unsigned int i = 0; i < npkts; i++) {
    uint64_t seq = 0;
    memcpy(&seq, pkts[i].iov_base, pkts[i].iov_len < sizeof(seq) ? pkts[i].iov_len : sizeof(seq));
    if (s->o->verify) side_write_packet(s->out[i].iov_base, s->o->reply_bytes, le64toh(seq));
    s->r->bytes += pkts[i].iov_len;
  }
  answer(s, npkts, false);
}

static bool never(const side_t* s) {
  (void) s;
  return false;
}

/* --- stuff and sip ----------------------------------------------------------------------------- */

/* Each packet carries the time at which it was first offered. One that had to wait has waited since before the
 * other took any, so the first that is younger than that tells when the sender knew of the room. */
static void stuff_go_on(side_t* s) {
  for (unsigned int burst = 0; burst < BURST; burst++) {
    if (s->o->count != 0 ? s->sent >= s->o->count : side_time_is_up(s)) {
      side_finish(s, PERF_OK);
      return;
    }
    uint64_t le = htole64(perf_now_ns());
    memcpy(s->out[0].iov_base, &le, sizeof(le));
    if (!side_push_new(s, 1)) {
      if (!s->done) link_idle(s->link, false);
      return;
    }
  }
  link_idle(s->link, true);
}

static void sip_pause(side_t* s) {
  s->due_ns = perf_now_ns() + SIP_EVERY_NS;
  link_pause(s->link, true);
  link_idle(s->link, true);
}

static void sip_packets(side_t* s, const struct iovec pkts[], unsigned int npkts) {
  uint64_t sent_ns;
  side_take_packets(s, pkts, npkts, s->o->size_bytes);
  if (!s->open) side_open_window(s);
  for (unsigned int i = 0; i < npkts && s->resumed_ns != 0; i++) {
    memcpy(&sent_ns, pkts[i].iov_base, sizeof(sent_ns));
    sent_ns = le64toh(sent_ns);
    if (sent_ns <= s->resumed_ns) continue;
    side_add_sample(s, sent_ns - s->resumed_ns);
    s->resumed_ns = 0;
  }
  if (s->resumed_ns == 0) sip_pause(s);
}

/* It sleeps here, deaf to its loop: that is what a slow receiver is. */
static void sip_idle(side_t* s) {
  uint64_t now_ns = perf_now_ns();
  if (now_ns < s->due_ns) {
    uint64_t left_ns = s->due_ns - now_ns;
    nanosleep(&(struct timespec){0, (long) (left_ns < MAX_BLOCK_NS ? left_ns : MAX_BLOCK_NS)}, NULL);
    return;
  }
  link_idle(s->link, false);
  s->resumed_ns = perf_now_ns();
  link_pause(s->link, false);
}

static const side_ops_t all_ops[SIDE_COUNT] = {
    [SIDE_SOURCE] = {source_start, ignore_packets, source_go_on, source_go_on, always},
    [SIDE_PING] = {ping_send, ping_packets, nothing, nothing, outstanding},
    [SIDE_PACED] = {paced_plan, paced_packets, nothing, paced_idle, outstanding},
    [SIDE_FETCH] = {fetch_go_on, fetch_packets, fetch_go_on, nothing, outstanding},
    [SIDE_STUFF] = {source_start, ignore_packets, stuff_go_on, stuff_go_on, always},
    [SIDE_SINK] = {nothing, sink_packets, nothing, nothing, after_first},
    [SIDE_ECHO] = {nothing, echo_packets, server_room, nothing, never},
    [SIDE_FETCHSERVER] = {nothing, fetchserver_packets, server_room, nothing, never},
    [SIDE_SIP] = {nothing, sip_packets, nothing, sip_idle, never},
};

const side_ops_t* side_ops_of(perf_kind_t side) {
  return &all_ops[side];
}
