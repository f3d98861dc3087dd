/* SPDX-License-Identifier: MIT */
/* test_ring.c: one direction of a face against a model queue, over the wrap of its indices, between two
 * threads, and against a peer that lies. A packet's bytes follow from its number, so that a packet lost,
 * doubled, torn or misplaced shows. Slots lie in a heap block of exactly their size for the sanitizers.
 * Random tests print their seed; UVFACE_SEED repeats one. Fences are no matter here: test/models has them. */
#include "ring.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

#include "harness.h"

#define POOL_BYTES 65536
#define MAX_PIECES 4

/* --- Packets that follow from a number ----------------------------------------------------------- */

static unsigned char pool[POOL_BYTES];

static uint64_t mix(uint64_t n) {
  n ^= n >> 33;
  n *= UINT64_C(0xff51afd7ed558ccd);
  n ^= n >> 33;
  n *= UINT64_C(0xc4ceb9fe1a85ec53);
  return n ^ (n >> 33);
}

static void pool_fill(void) {
  for (size_t i = 0; i < POOL_BYTES; i++) pool[i] = (unsigned char) mix(i + 1);
}

static size_t packet_bytes(uint64_t number, uint32_t slot_size) {
  return 1 + (size_t) (mix(number) % slot_size);
}

static const unsigned char* packet_content(uint64_t number, uint32_t slot_size) {
  return pool + mix(~number) % (POOL_BYTES - slot_size);
}

static bool packet_matches(const struct iovec* packet, uint64_t number, uint32_t slot_size) {
  return packet->iov_len == packet_bytes(number, slot_size) &&
         memcmp(packet->iov_base, packet_content(number, slot_size), packet->iov_len) == 0;
}

/* --- Two ends of a ring --------------------------------------------------------------------------- */

typedef struct pair_s {
  _Alignas(64) uint32_t shared_tail;
  _Alignas(64) uint32_t shared_head;
  unsigned char* slots;
  ndnshm__geometry_t geometry;
  ndnshm__tx_t tx;
  ndnshm__rx_t rx;
  uint64_t sent, taken; /* packet numbers: the model */
} pair_t;

static void pair_make(pair_t* p, uint32_t capacity, uint32_t slot_size, uint32_t start) {
  memset(p, 0, sizeof(*p));
  HOLDS(ndnshm__geometry_from_header(capacity, slot_size, &p->geometry) == 0);
  p->slots = malloc(capacity * p->geometry.stride);
  HOLDS(p->slots != NULL);
  memset(p->slots, 0xee, capacity * p->geometry.stride);
  p->shared_tail = p->shared_head = start;
  HOLDS(ndnshm__tx_init(&p->tx, p->slots, &p->shared_tail, &p->shared_head, &p->geometry) == 0);
  HOLDS(ndnshm__rx_init(&p->rx, p->slots, &p->shared_tail, &p->shared_head, &p->geometry) == 0);
}

static void pair_drop(pair_t* p) {
  free(p->slots);
}

static void write_packet(pair_t* p, unsigned int i, uint64_t number) {
  struct iovec whole = {(void*) (uintptr_t) packet_content(number, p->geometry.slot_size),
                        packet_bytes(number, p->geometry.slot_size)};

  ndnshm__tx_write(&p->tx, i, &whole, 1, whole.iov_len);
}

/* Sends as many of n packets as find room; their number. */
static unsigned int send_some(pair_t* p, unsigned int n) {
  int room = ndnshm__tx_room(&p->tx, n);

  HOLDS(room >= 0 && room <= (int) n);
  for (unsigned int i = 0; i < (unsigned int) room; i++) write_packet(p, i, p->sent + i);
  if (room > 0) ndnshm__tx_publish(&p->tx, (unsigned int) room);
  p->sent += (unsigned int) room;
  return (unsigned int) room;
}

/* Takes at most n packets and checks each; their number. */
static unsigned int take_some(pair_t* p, unsigned int n) {
  int available = ndnshm__rx_available(&p->rx, n);

  HOLDS(available >= 0 && available <= (int) n);
  for (unsigned int i = 0; i < (unsigned int) available; i++) {
    struct iovec packet;

    HOLDS(ndnshm__rx_slot(&p->rx, i, &packet) == 0);
    HOLDS(packet_matches(&packet, p->taken + i, p->geometry.slot_size));
  }
  if (available > 0) ndnshm__rx_release(&p->rx, (unsigned int) available);
  p->taken += (unsigned int) available;
  return (unsigned int) available;
}

/* --- Plain behaviour ------------------------------------------------------------------------------ */

TEST(empty_ring_has_all_its_room_and_nothing_to_take) {
  pair_t p;

  pair_make(&p, 16, 40, 5);
  ck_assert_int_eq(ndnshm__tx_room(&p.tx, 1), 1);
  ck_assert_int_eq(ndnshm__tx_room(&p.tx, 100), 16);
  ck_assert_int_eq(ndnshm__rx_available(&p.rx, 100), 0);
  ck_assert(ndnshm__tx_ready(&p.tx));
  ck_assert(!ndnshm__rx_ready(&p.rx));
  pair_drop(&p);
}

TEST(full_ring_has_no_room_until_a_slot_is_released) {
  pair_t p;

  pair_make(&p, 16, 40, 5);
  ck_assert_uint_eq(send_some(&p, 100), 16);
  ck_assert_int_eq(ndnshm__tx_room(&p.tx, 1), 0);
  ck_assert(!ndnshm__tx_ready(&p.tx));
  ck_assert(ndnshm__rx_ready(&p.rx));
  ck_assert_uint_eq(take_some(&p, 3), 3);
  ck_assert(ndnshm__tx_ready(&p.tx));
  ck_assert_uint_eq(send_some(&p, 100), 3);
  pair_drop(&p);
}

TEST(nothing_is_seen_before_it_is_published) {
  pair_t p;

  pair_make(&p, 4, 40, 0);
  write_packet(&p, 0, 0);
  write_packet(&p, 1, 1);
  ck_assert_int_eq(ndnshm__rx_available(&p.rx, 4), 0);
  ck_assert_uint_eq(p.shared_tail, 0);
  ndnshm__tx_publish(&p.tx, 2);
  ck_assert_uint_eq(p.shared_tail, 2);
  ck_assert_uint_eq(take_some(&p, 4), 2);
  ck_assert_uint_eq(p.shared_head, 2);
  pair_drop(&p);
}

TEST(slot_format_is_that_of_the_protocol) {
  uint32_t length = 3;
  pair_t p;
  struct iovec pieces[] = {{(void*) (uintptr_t) "a", 1}, {NULL, 0}, {(void*) (uintptr_t) "bc", 2}};

  pair_make(&p, 131, 40, 130);
  ndnshm__tx_write(&p.tx, 0, pieces, 3, 3);
  ck_assert_mem_eq(p.slots + 130 * 44, &length, 4);
  ck_assert_mem_eq(p.slots + 130 * 44 + 4, "abc\xee", 4);
  ck_assert_ptr_eq(ndnshm__tx_slot(&p.tx, 1), p.slots + 4);
  pair_drop(&p);
}

TEST(write_stays_in_its_slot) {
  pair_t p;
  unsigned char longest[40];
  struct iovec whole = {longest, sizeof(longest)};

  pair_make(&p, 4, 40, 0);
  memset(longest, 0x11, sizeof(longest));
  ndnshm__tx_write(&p.tx, 1, &whole, 1, sizeof(longest));
  for (size_t i = 0; i < 4 * 44; i++)
    if (i < 44 || i >= 88) ck_assert_uint_eq(p.slots[i], 0xee);
  ck_assert_mem_eq(p.slots + 48, longest, 40);
  ndnshm__tx_write(&p.tx, 3, &whole, 1, sizeof(longest)); /* the last byte of the block */
  pair_drop(&p);
}

TEST(ends_continue_where_the_region_says) {
  pair_t p;

  pair_make(&p, 4, 40, UINT32_MAX);
  send_some(&p, 3);
  take_some(&p, 1);
  ck_assert_int_eq(ndnshm__tx_init(&p.tx, p.slots, &p.shared_tail, &p.shared_head, &p.geometry), 0);
  ck_assert_int_eq(ndnshm__rx_init(&p.rx, p.slots, &p.shared_tail, &p.shared_head, &p.geometry), 0);
  ck_assert_uint_eq(send_some(&p, 9), 2);
  ck_assert_uint_eq(take_some(&p, 9), 2); /* those it had seen */
  ck_assert_uint_eq(take_some(&p, 9), 2);
  pair_drop(&p);
}

TEST(peers_index_is_loaded_again_only_when_it_must_be) {
  pair_t p;

  pair_make(&p, 4, 40, 0);
  p.shared_head = 2000; /* impossible, and never looked at while there is room */
  for (int i = 0; i < 4; i++) ck_assert_uint_eq(send_some(&p, 1), 1);
  ck_assert_int_eq(ndnshm__tx_room(&p.tx, 1), -EPROTO);
  p.shared_head = 0;
  ck_assert_int_eq(ndnshm__rx_available(&p.rx, 1), 1);
  p.shared_tail = 2000; /* impossible, and never looked at while packets are known */
  for (int i = 0; i < 4; i++) ck_assert_uint_eq(take_some(&p, 1), 1);
  ck_assert_int_eq(ndnshm__rx_available(&p.rx, 1), -EPROTO);
  pair_drop(&p);
}

/* --- Random operations against a model ------------------------------------------------------------ */

static uint64_t seed;
static uint64_t random_state;

static uint32_t random_below(uint32_t n) {
  random_state ^= random_state << 13;
  random_state ^= random_state >> 7;
  random_state ^= random_state << 17;
  return (uint32_t) ((random_state >> 32) % n);
}

static void seed_choose(void) {
  const char* given = getenv("UVFACE_SEED");

  seed = given != NULL ? strtoull(given, NULL, 0) : harness_now_ns();
  fprintf(stderr, "# UVFACE_SEED=%llu\n", (unsigned long long) seed);
}

void harness_setup(void) {
  pool_fill();
  seed_choose();
}

/* What the model says of the room: exact, except near the wrap of a capacity that is no power of two. */
static void check_room(const pair_t* p, unsigned int wanted, int room) {
  uint32_t capacity = p->geometry.capacity;
  uint32_t unused = capacity - (uint32_t) (p->sent - p->taken);
  int exact = (int) (unused < wanted ? unused : wanted);
  uint32_t to_wrap = 0u - p->tx.tail;
  bool jumps = (capacity & (capacity - 1)) != 0 && (to_wrap < capacity || to_wrap > UINT32_MAX - capacity);

  HOLDS(room >= 0 && room <= exact);
  HOLDS(jumps || room == exact);
  HOLDS(room > 0 || unused < capacity);
}

static void gather_one(pair_t* p) {
  uint32_t slot_size = p->geometry.slot_size;
  const unsigned char* from = packet_content(p->sent, slot_size);
  size_t rest = packet_bytes(p->sent, slot_size);
  struct iovec pieces[MAX_PIECES];
  unsigned int n = 1 + random_below(MAX_PIECES);
  int room = ndnshm__tx_room(&p->tx, 1);

  check_room(p, 1, room);
  if (room == 0) return;
  for (unsigned int i = 0; i < n; i++) {
    size_t bytes = i + 1 == n ? rest : random_below((uint32_t) rest + 1);

    pieces[i] = (struct iovec){(void*) (uintptr_t) from, bytes};
    from += bytes;
    rest -= bytes;
  }
  ndnshm__tx_write(&p->tx, 0, pieces, n, packet_bytes(p->sent, slot_size));
  ndnshm__tx_publish(&p->tx, 1);
  p->sent++;
}

static void send_batch(pair_t* p) {
  unsigned int wanted = 1 + random_below(p->geometry.capacity + 3);

  check_room(p, wanted, ndnshm__tx_room(&p->tx, wanted));
  send_some(p, wanted);
}

/* A reservation written in place, and published or dropped. */
static void reserve_one(pair_t* p) {
  uint32_t slot_size = p->geometry.slot_size;
  size_t bytes = packet_bytes(p->sent, slot_size);
  int room = ndnshm__tx_room(&p->tx, 1);

  check_room(p, 1, room);
  if (room == 0) return;
  memset(ndnshm__tx_slot(&p->tx, 0), 0xdd, slot_size);
  if (random_below(4) == 0) return;
  memcpy(ndnshm__tx_slot(&p->tx, 0), packet_content(p->sent, slot_size), bytes);
  ndnshm__tx_set_length(&p->tx, 0, bytes);
  ndnshm__tx_publish(&p->tx, 1);
  p->sent++;
}

static void take_batch(pair_t* p) {
  unsigned int wanted = 1 + random_below(p->geometry.capacity + 3);
  unsigned int got = take_some(p, wanted);

  HOLDS(got > 0 || p->sent == p->taken);
}

/* Looks at packets, lets the producer go on, finds them unchanged, releases some of them. */
static void peek_batch(pair_t* p) {
  struct iovec packet;
  int available = ndnshm__rx_available(&p->rx, 1 + random_below(p->geometry.capacity));

  HOLDS(available > 0 || p->sent == p->taken);
  if (available == 0) return;
  for (int i = 0; i < available; i++) HOLDS(ndnshm__rx_slot(&p->rx, (unsigned int) i, &packet) == 0);
  send_batch(p);
  for (int i = 0; i < available; i++) {
    HOLDS(ndnshm__rx_slot(&p->rx, (unsigned int) i, &packet) == 0);
    HOLDS(packet_matches(&packet, p->taken + (unsigned int) i, p->geometry.slot_size));
  }
  available = 1 + (int) random_below((uint32_t) available);
  ndnshm__rx_release(&p->rx, (unsigned int) available);
  p->taken += (unsigned int) available;
}

static void (*const operations[])(pair_t* p) = {gather_one, gather_one, send_batch, reserve_one,
                                                take_batch, take_batch, peek_batch};

static const uint32_t geometries[][2] = {{1, 1}, {1, 300}, {2, 7}, {16, 61}, {131, 100}, {256, 300}};

TEST_LOOP(random_operations_match_a_queue, 2 * sizeof(geometries) / sizeof(geometries[0])) {
  uint32_t capacity = geometries[_i / 2][0];
  uint32_t slot_size = geometries[_i / 2][1];
  uint32_t start = _i % 2 == 0 ? 0 : 0u - 40 * capacity; /* 0, or soon to wrap */
  unsigned int rounds = 100000 / harness_slow();
  pair_t p;

  random_state = mix(seed + (unsigned int) _i) | 1;
  pair_make(&p, capacity, slot_size, start);
  for (unsigned int i = 0; i < rounds; i++) {
    operations[random_below(sizeof(operations) / sizeof(operations[0]))](&p);
    HOLDS(p.sent - p.taken <= capacity);
    HOLDS(p.shared_tail == start + (uint32_t) p.sent);
    HOLDS(p.shared_head == start + (uint32_t) p.taken);
    HOLDS(ndnshm__rx_ready(&p.rx) == (p.sent != p.taken));
  }
  while (p.taken < p.sent) take_some(&p, capacity);
  ck_assert_int_eq(ndnshm__rx_available(&p.rx, 1), 0);
  pair_drop(&p);
}

/* --- The wrap of an index ------------------------------------------------------------------------- */

static const uint32_t wrap_capacities[] = {256, 131, 3, 1};

/* From every distance below the wrap over it and on, in the pattern of `step`. */
static void over_the_wrap(uint32_t capacity, unsigned int laps, void (*step)(pair_t* p)) {
  for (uint32_t below = 0; below <= capacity + 1; below++) {
    pair_t p;

    pair_make(&p, capacity, 24, 0u - below - capacity);
    while (p.taken < (uint64_t) laps * capacity) {
      uint64_t before = p.taken;

      step(&p);
      HOLDS(p.taken > before);
    }
    HOLDS(p.rx.head < 0u - capacity); /* over it */
    pair_drop(&p);
  }
}

static void step_full(pair_t* p) {
  while (send_some(p, p->geometry.capacity) > 0) continue;
  while (take_some(p, p->geometry.capacity) > 0) continue;
}

static void step_sparse(pair_t* p) {
  HOLDS(send_some(p, 1) == 1);
  HOLDS(take_some(p, 1) == 1);
}

/* The ring stays as full as it may be: each packet taken makes room for one. */
static void step_brimming(pair_t* p) {
  while (send_some(p, 1) > 0) continue;
  HOLDS(take_some(p, 1) == 1);
}

TEST_LOOP(full_ring_passes_the_index_wrap, sizeof(wrap_capacities) / sizeof(wrap_capacities[0])) {
  over_the_wrap(wrap_capacities[_i], 5, step_full);
}

TEST_LOOP(sparse_ring_passes_the_index_wrap, sizeof(wrap_capacities) / sizeof(wrap_capacities[0])) {
  over_the_wrap(wrap_capacities[_i], 5, step_sparse);
}

TEST_LOOP(brimming_ring_passes_the_index_wrap, sizeof(wrap_capacities) / sizeof(wrap_capacities[0])) {
  over_the_wrap(wrap_capacities[_i], 5, step_brimming);
}

TEST(power_of_two_never_waits_at_the_wrap) {
  pair_t p;

  pair_make(&p, 256, 24, 0u - 100);
  ck_assert_uint_eq(send_some(&p, 256), 256);
  ck_assert_uint_eq(take_some(&p, 50), 50);
  ck_assert_uint_eq(send_some(&p, 256), 50);
  pair_drop(&p);
}

TEST(another_capacity_drains_first_at_the_wrap) {
  pair_t p;

  pair_make(&p, 131, 24, 0u - 100);
  ck_assert_uint_eq(send_some(&p, 131), 100);
  ck_assert_uint_eq(take_some(&p, 99), 99);
  ck_assert_uint_eq(send_some(&p, 1), 0);
  ck_assert(!ndnshm__tx_ready(&p.tx));
  ck_assert_uint_eq(take_some(&p, 9), 1);
  ck_assert(ndnshm__tx_ready(&p.tx));
  ck_assert_uint_eq(send_some(&p, 200), 131);
  ck_assert_uint_eq(take_some(&p, 200), 131);
  pair_drop(&p);
}

/* --- Two threads ---------------------------------------------------------------------------------- */

typedef struct side_s {
  pair_t* pair;
  uint32_t packets; /* to send; fewer if the time is up, as beside a busy process that gets each yield */
  uint64_t end_ns;
  uint32_t* sent;      /* 0 = not all yet: the producer's last word */
  const char* failure; /* NULL = none; Check's assertions are not for threads */
} side_t;

static void* produce(void* arg) {
  side_t* side = arg;
  pair_t* p = side->pair;
  uint32_t sent = 0;

  while (sent < side->packets && side->failure == NULL && (sent == 0 || harness_now_ns() < side->end_ns)) {
    unsigned int burst = 1 + (unsigned int) (mix(sent) % (p->geometry.capacity + 2));
    uint32_t left = side->packets - sent;
    int room = ndnshm__tx_room(&p->tx, left < burst ? left : burst);

    if (room < 0) side->failure = "impossible head";
    if (room == 0) sched_yield();
    if (room <= 0) continue;
    for (int i = 0; i < room; i++) write_packet(p, (unsigned int) i, sent + (unsigned int) i);
    ndnshm__tx_publish(&p->tx, (unsigned int) room);
    sent += (unsigned int) room;
  }
  ndnshm__store_release(side->sent, sent);
  return NULL;
}

static void* consume(void* arg) {
  side_t* side = arg;
  pair_t* p = side->pair;
  uint32_t taken = 0, sent = 0;

  while ((sent == 0 || taken < sent) && side->failure == NULL) {
    int available = ndnshm__rx_available(&p->rx, 1 + (unsigned int) (mix(taken) % 64));

    if (available < 0) side->failure = "impossible tail";
    if (available == 0) sched_yield();
    for (int i = 0; i < available; i++) {
      struct iovec packet;

      if (ndnshm__rx_slot(&p->rx, (unsigned int) i, &packet) < 0)
        side->failure = "impossible length";
      else if (!packet_matches(&packet, taken + (unsigned int) i, p->geometry.slot_size))
        side->failure = "another packet";
      if (side->failure != NULL) return NULL;
    }
    if (available > 0) ndnshm__rx_release(&p->rx, (unsigned int) available);
    if (available > 0) taken += (unsigned int) available;
    sent = ndnshm__load_acquire(side->sent);
  }
  return NULL;
}

/* All but the first start where their indices soon wrap. */
TEST_LOOP(two_threads_exchange_every_packet_once_in_order, 4) {
  static const uint32_t rows[][4] = {
      /* capacity, slot_size, start, packets */
      {16, 120, 0, 500000},
      {131, 50, 0u - 1000, 300000},
      {1, 9, 0u - 5, 50000},
      {256, 60, 0u - 1000, 400000},
  };
  const uint32_t* row = rows[_i];
  uint32_t sent = 0;
  side_t producer = {.packets = row[3] / harness_slow(), .sent = &sent};
  side_t consumer;
  pthread_t thread;
  pair_t p;

  pair_make(&p, row[0], row[1], row[2]);
  producer.pair = &p;
  producer.end_ns = harness_now_ns() + UINT64_C(10000000000);
  consumer = producer;
  ck_assert_int_eq(pthread_create(&thread, NULL, produce, &producer), 0);
  consume(&consumer);
  ck_assert_msg(consumer.failure == NULL, "%s", consumer.failure);
  ck_assert_int_eq(pthread_join(thread, NULL), 0);
  ck_assert_msg(producer.failure == NULL, "%s", producer.failure);
  ck_assert_int_eq(ndnshm__rx_available(&p.rx, 1), 0);
  if (sent < producer.packets) fprintf(stderr, "# time was up after %lu packets\n", (unsigned long) sent);
  pair_drop(&p);
}

/* --- A peer that lies ----------------------------------------------------------------------------- */

/* Distances that no two indices of a ring of 16 slots can have. */
static const uint32_t lies[] = {17, 18, 1000, UINT32_C(1) << 31, UINT32_MAX - 16, UINT32_MAX};

TEST(impossible_head_is_a_protocol_error) {
  pair_t p;

  for (size_t i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
    pair_make(&p, 16, 40, 0u - 7);
    send_some(&p, 16);
    p.shared_head = p.tx.tail - lies[i];
    ck_assert_int_eq(ndnshm__tx_room(&p.tx, 1), -EPROTO);
    ck_assert_int_eq(ndnshm__tx_room(&p.tx, 1), -EPROTO);
    ck_assert_msg(ndnshm__tx_ready(&p.tx), "the error must be found");
    ck_assert_uint_eq(p.shared_tail, 9);
    pair_drop(&p);
  }
}

TEST(impossible_tail_is_a_protocol_error) {
  pair_t p;

  for (size_t i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
    pair_make(&p, 16, 40, 0u - 7);
    p.shared_tail = p.rx.head + lies[i];
    ck_assert_int_eq(ndnshm__rx_available(&p.rx, 1), -EPROTO);
    ck_assert_int_eq(ndnshm__rx_available(&p.rx, 64), -EPROTO);
    ck_assert_msg(ndnshm__rx_ready(&p.rx), "the error must be found");
    ck_assert_uint_eq(p.shared_head, 0u - 7);
    pair_drop(&p);
  }
}

TEST(impossible_indices_are_found_when_an_end_is_bound) {
  pair_t p;

  pair_make(&p, 16, 40, 0u - 7);
  for (size_t i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
    p.shared_tail = p.shared_head + lies[i];
    ck_assert_int_eq(ndnshm__tx_init(&p.tx, p.slots, &p.shared_tail, &p.shared_head, &p.geometry), -EPROTO);
    ck_assert_int_eq(ndnshm__rx_init(&p.rx, p.slots, &p.shared_tail, &p.shared_head, &p.geometry), -EPROTO);
  }
  p.shared_tail = p.shared_head + 16;
  ck_assert_int_eq(ndnshm__tx_init(&p.tx, p.slots, &p.shared_tail, &p.shared_head, &p.geometry), 0);
  ck_assert_int_eq(ndnshm__rx_init(&p.rx, p.slots, &p.shared_tail, &p.shared_head, &p.geometry), 0);
  pair_drop(&p);
}

TEST(length_beyond_the_slot_is_a_protocol_error) {
  static const uint32_t lengths[] = {41, 44, 1000, UINT32_C(1) << 31, UINT32_MAX - 3, UINT32_MAX};
  struct iovec packet = {&packet, 12345};
  pair_t p;

  pair_make(&p, 16, 40, 15);
  send_some(&p, 2);
  ck_assert_int_eq(ndnshm__rx_available(&p.rx, 2), 2);
  for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
    memcpy(p.slots, &lengths[i], 4);
    ck_assert_int_eq(ndnshm__rx_slot(&p.rx, 1, &packet), -EPROTO);
    ck_assert_ptr_eq(packet.iov_base, &packet);
    ck_assert_uint_eq(packet.iov_len, lengths[i]);
  }
  pair_drop(&p);
}

/* Rewrites a length, possible and impossible in turn, until it is killed. Now and then each stays for a while:
 * of two stores that follow each other at once the first may never be seen by another processor. */
static int flip_length(void* arg) {
  volatile uint32_t* length = arg;

  for (unsigned int flips = 0;; flips++) {
    *length = flips % 2 == 0 ? 10 : UINT32_MAX;
    for (volatile unsigned int pause = flips / 2 % 64 == 0 ? 20 : 0; pause > 0; pause--) continue;
  }
  return 0;
}

TEST(length_that_changes_between_two_looks_is_looked_at_once) {
  uint64_t end_ns = harness_now_ns() + UINT64_C(20000000000) * harness_slow();
  unsigned char* slots = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  uint64_t looks = 0, good = 0, bad = 0, torn = 0;
  pid_t child;
  pair_t p;

  ck_assert_ptr_ne(slots, MAP_FAILED);
  pair_make(&p, 1, 40, 0);
  p.rx.slots = slots;
  child = harness_fork(flip_length, slots);
  while ((looks < 2000000 || good == 0 || bad == 0) && harness_now_ns() < end_ns)
    for (int i = 0; i < 1000; i++, looks++) {
      struct iovec packet = {NULL, 0};
      int err = ndnshm__rx_slot(&p.rx, 0, &packet);

      good += err == 0 && packet.iov_len == 10;
      bad += err == -EPROTO;
      torn += err == 0 && packet.iov_len > 10; /* 0 before the child has begun */
    }
  harness_kill(child);
  munmap(slots, 4096);
  pair_drop(&p);
  ck_assert_uint_eq(torn, 0);
  ck_assert_msg(good > 0 && bad > 0, "%llu looks never met the flipping peer", (unsigned long long) looks);
}

#if defined(__x86_64__) && defined(__OPTIMIZE__)
#define PAGE_BYTES 4096
#define TRAP_FLAG 0x100

static unsigned char* watched; /* a page that no instruction can touch unseen */
static volatile sig_atomic_t touches;

static void on_touch(int number, siginfo_t* info, void* context) {
  ucontext_t* u = context;

  if ((unsigned char*) info->si_addr - watched >= PAGE_BYTES) signal(number, SIG_DFL);
  touches++;
  mprotect(watched, PAGE_BYTES, PROT_READ);
  u->uc_mcontext.gregs[REG_EFL] |= TRAP_FLAG; /* back after one instruction */
}

static void after_touch(int number, siginfo_t* info, void* context) {
  ucontext_t* u = context;

  (void) number;
  (void) info;
  mprotect(watched, PAGE_BYTES, PROT_NONE);
  u->uc_mcontext.gregs[REG_EFL] &= ~TRAP_FLAG;
}

/* What the flipping peer finds too seldom: two loads side by side, be they the compiler's. */
TEST(length_is_loaded_by_one_instruction) {
  struct sigaction segv = {.sa_sigaction = on_touch, .sa_flags = SA_SIGINFO};
  struct sigaction trap = {.sa_sigaction = after_touch, .sa_flags = SA_SIGINFO};
  struct sigaction segv_before, trap_before;
  struct iovec packet = {NULL, 0};
  pair_t p;
  int err;

  pair_make(&p, 1, 40, 0);
  watched = mmap(NULL, PAGE_BYTES, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  ck_assert_ptr_ne(watched, MAP_FAILED);
  p.rx.slots = watched;
  sigaction(SIGSEGV, &segv, &segv_before);
  sigaction(SIGTRAP, &trap, &trap_before);
  mprotect(watched, PAGE_BYTES, PROT_NONE);
  err = ndnshm__rx_slot(&p.rx, 0, &packet);
  sigaction(SIGSEGV, &segv_before, NULL);
  sigaction(SIGTRAP, &trap_before, NULL);
  munmap(watched, PAGE_BYTES);
  pair_drop(&p);
  ck_assert_int_eq(err, 0);
  ck_assert_int_eq(touches, 1);
}
#endif
