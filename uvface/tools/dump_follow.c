/* SPDX-License-Identifier: MIT */
/* dump_follow.c: the packets of a region, as they come, by somebody of whom neither end knows. A third reader of a ring
 * holds nothing back: a slot may be written again while it is copied. So the indices are read anew behind each copy,
 * and tell whether that can have been.
 *
 * A slot that the consumer has not given back is not written: its copy is whole. One that was given back is written
 * again only after all that lie between it and the tail, one round later; but a producer may have begun with a batch
 * that it has not published yet, of which no index tells. Here a copy counts as whole as long as half a ring lies in
 * between: that is, no producer publishes more than half a ring at once. What is older was missed.
 *
 * Of two packets of different directions nothing tells which was first. But an answer is not shown before its question
 * where one end asks and the other answers: find_first(). */
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "dump.h"

/* As in the library: more is no face's. */
#define MAX_CAPACITY (UINT32_C(1) << 30)
#define MAX_SLOT_BYTES (UINT32_C(1) << 30)
/* A region that claims to be huge costs who made it nothing. So a look has an end, and a signal can end it early. */
#define LOOK_SLOTS UINT32_C(65536)
#define SLOT_BYTES 256                /* as much work as a slot is, beside its bytes */
#define ASK_BYTES (UINT64_C(1) << 20) /* of work between two questions whether a signal has come */

static bool has_slots(const header_t* header) {
  return header->capacity >= 1 && header->capacity <= MAX_CAPACITY && header->slot_size >= 1 &&
         header->slot_size <= MAX_SLOT_BYTES;
}

static bool is_possible(const follow_t* f, uint32_t tail, uint32_t head) {
  return tail - head <= f->header.capacity;
}

static int start_way(follow_t* f, way_t* way, bool is_a2e) {
  uint32_t tail, head;
  int err = source_read_indices(&f->source, is_a2e, &tail, &head);

  if (err < 0) return err;
  *way = (way_t){.is_a2e = is_a2e, .next = is_possible(f, tail, head) ? head : tail};
  return 0;
}

int follow_start(follow_t* f, const source_t* source) {
  uint8_t last;
  int err;

  f->source = *source;
  f->slot = NULL;
  f->asks = &f->a2e;
  err = source_read_header(source, &f->header);
  if (err < 0) return err;
  if (f->header.magic != MAGIC || !has_slots(&f->header)) return -EPROTO;
  /* Its end is there: only then is the size of a slot worth an allocation. */
  err = source_read(source, &last, 1, region_bytes(&f->header) - 1);
  if (err < 0) return err;
  f->slot = malloc(f->header.slot_size);
  if (f->slot == NULL) return -ENOMEM;
  err = start_way(f, &f->a2e, true);
  return err < 0 ? err : start_way(f, &f->e2a, false);
}

void follow_end(follow_t* f) {
  source_close(&f->source);
  free(f->slot);
  f->slot = NULL;
}

/* How many packets before the tail are whole in their slots, seen from the next one. */
static uint32_t reach(const follow_t* f, const way_t* way, uint32_t tail, uint32_t head) {
  uint32_t capacity = f->header.capacity;
  uint32_t used =
      is_possible(f, tail, head) ? tail - head : 0; /* the head was read later, and may have passed the tail */
  uint32_t behind = capacity / 2;

  /* Where indices wrap and slots do not, a slot may be written again before its round is over. */
  if ((capacity & (capacity - 1)) != 0 && tail < way->next) behind = 0;
  return used > behind ? used : behind;
}

/* How many of those that came a look can show. */
static uint32_t reach_of_look(const follow_t* f, const way_t* way) {
  uint32_t whole = reach(f, way, way->seen_tail, way->seen_head);

  return whole < LOOK_SLOTS ? whole : LOOK_SLOTS;
}

static void miss(follow_t* f, way_t* way, const packet_t* where, uint32_t n) {
  way->missed += n;
  way->next += n;
  f->on_missed(f, where, n);
}

static inline void fence(void) {
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wtsan" /* TSan sees no fence, nor what the kernel reads */
#endif
  atomic_thread_fence(memory_order_seq_cst);
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic pop
#endif
}

/* Enough, too, if a signal has come. */
static void count_work(follow_t* f, uint64_t bytes) {
  f->work_bytes += bytes;
  if (f->work_bytes < ASK_BYTES) return;
  f->work_bytes = 0;
  if (is_interrupted()) f->is_done = true;
}

/* In a process's memory another region may have come to the address, and begins anew. */
static int read_indices(const follow_t* f, const way_t* way, uint32_t* tail, uint32_t* head) {
  int err = source_read_indices(&f->source, way->is_a2e, tail, head);

  if (err < 0) return err;
  return f->source.fd < 0 && *tail - way->next > UINT32_MAX / 2 ? -EPROTO : 0;
}

static int take(follow_t* f, way_t* way, packet_t* packet, uint32_t* tail, uint32_t* head) {
  uint32_t length = 0;
  int err = source_read_slot(&f->source, &f->header, way->is_a2e, way->next, f->slot, &length);

  if (err < 0) return err;
  count_work(f, SLOT_BYTES + (length <= f->header.slot_size ? length : 0));
  /* The kernel has read the slot on this thread, and reads the indices on it: not earlier. */
  fence();
  err = read_indices(f, way, tail, head);
  if (err < 0) return err;
  if (*tail - way->next > reach(f, way, *tail, *head)) {
    miss(f, way, packet, 1);
    return 0;
  }
  way->next++;
  packet->bytes = f->slot;
  packet->is_impossible = length > f->header.slot_size;
  packet->claimed_len = length;
  packet->len = packet->is_impossible ? 0 : length;
  if (length > 0) f->on_packet(f, packet); /* a slot of length 0 is no packet */
  return 0;
}

/* The two indices are not of one instant, so they may look impossible now and then; but not twice the same. */
static bool is_broken(const follow_t* f, way_t* way, uint32_t tail, uint32_t head) {
  bool is_impossible = !is_possible(f, tail, head);
  bool stays = way->was_impossible && way->seen_tail == tail && way->seen_head == head;

  way->was_impossible = is_impossible;
  way->seen_tail = tail;
  way->seen_head = head;
  return is_impossible && stays;
}

/* Up to where the direction is looked at now: what is published later is another look's. */
static int mark(const follow_t* f, way_t* way) {
  uint32_t tail, head;
  int err;

  /* Not earlier than the other direction's, see find_first(). */
  fence();
  err = read_indices(f, way, &tail, &head);
  if (err < 0) return err;
  return is_broken(f, way, tail, head) ? -EPROTO : 0;
}

static way_t* other(follow_t* f, const way_t* way) {
  return way == &f->a2e ? &f->e2a : &f->a2e;
}

/* Whether the first packet that came, and that may be whole, is an Interest. One that is torn may be taken for
 * anything; then it is missed, and the order tells nothing. */
static bool begins_with_interest(const follow_t* f, const way_t* way) {
  uint32_t n = way->seen_tail - way->next, whole = reach_of_look(f, way), length = 0;
  ndnpkt_packet_t packet;

  if (n > whole) n = whole;
  if (n == 0) return false;
  return source_read_slot(&f->source, &f->header, way->is_a2e, way->seen_tail - n, f->slot, &length) == 0 &&
         length <= f->header.slot_size && ndnpkt_packet_decode(f->slot, length, &packet) == 0 &&
         packet.kind == NDNPKT_INTEREST;
}

/* Marks both directions, and finds which is shown first: that which asks; or app > engine, if neither seems to.
 *
 * The one that is shown first is marked last. An answer is published by who has seen the tail behind its question. So
 * after a tail with the answer was read, the other tail has the question: it was published with release and taken with
 * acquire before the answer was, and mark() has a fence between its own two. Which direction asks is taken from the
 * looks before; if that turns out to be wrong, the other one is marked once more. */
static int find_first(follow_t* f, way_t** ret_first) {
  way_t* first = f->asks;
  int err = mark(f, other(f, first));

  if (err == 0) err = mark(f, first);
  if (err == 0 && first->seen_tail != first->next && !begins_with_interest(f, first)) {
    first = other(f, first);
    err = mark(f, first);
    if (err == 0 && begins_with_interest(f, first)) {
      f->asks = first;
    } else if (err == 0) {
      first = &f->a2e;
      err = mark(f, first);
    }
  }
  if (err == 0) *ret_first = first;
  return err;
}

/* Shows what came up to the mark. Where something was missed the order tells nothing any more: then up to where the
 * producer is now, so that a look at a fast one shows much. At most one ring full, or what a look can show: then it
 * is the other direction's turn. */
static int look(follow_t* f, way_t* way, const struct timespec* time) {
  packet_t packet = {.time = *time, .is_a2e = way->is_a2e};
  uint32_t tail = way->seen_tail, head = way->seen_head, end = tail, n;
  uint32_t most = f->header.capacity < LOOK_SLOTS ? f->header.capacity : LOOK_SLOTS;

  for (n = 0; n < most && way->next != end && !f->is_done; n++) {
    uint32_t whole = n == 0 ? reach_of_look(f, way) : reach(f, way, tail, head);
    int err;

    if (tail - way->next > whole) {
      miss(f, way, &packet, tail - way->next - whole);
      end = tail;
    }
    if (way->next == end) break;
    err = take(f, way, &packet, &tail, &head);
    if (err < 0) return err;
  }
  return n > 0;
}

int follow_look(follow_t* f) {
  way_t* way = NULL;
  struct timespec now;
  int first, last, err = find_first(f, &way);

  if (err < 0) return err;
  clock_gettime(CLOCK_REALTIME, &now);
  first = look(f, way, &now);
  if (first < 0) return first;
  last = look(f, other(f, way), &now);
  return last < 0 ? last : first | last;
}
