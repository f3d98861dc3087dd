/* SPDX-License-Identifier: MIT */
/* stress.c: numbered packets, round trips in buckets, and small things that every part of stress.h uses. A
 * packet is its number, the time it was sent, a checksum, and words that follow from its number; its length
 * follows from the number too. The checksum covers all of it and the face it belongs to, so that a packet
 * of another face, an old one or half of one never passes. No thread, no file, no process. */
#include "stress.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

typedef struct packet_s {
  uint64_t seq, sent_ns, sum;
  uint64_t words[(STRESS_SLOT_BYTES - STRESS_PACKET_BYTES) / 8];
} packet_t;

_Static_assert(sizeof(packet_t) <= STRESS_SLOT_BYTES, "the longest packet fits");

static uint64_t mix(uint64_t x) {
  x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
  return (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
}

static size_t words_of(uint64_t seq) {
  return (size_t) (mix(seq) % (sizeof(((packet_t*) NULL)->words) / 8 + 1));
}

static uint64_t sum_of(const packet_t* p, size_t words, uint64_t salt) {
  uint64_t sum = mix(salt ^ p->seq) ^ p->sent_ns;
  for (size_t i = 0; i < words; i++) sum = (sum ^ p->words[i]) * UINT64_C(0x100000001b3) + (sum >> 47);
  return sum;
}

size_t stress_write_packet(void* at, uint64_t seq, uint64_t salt, uint64_t now_ns) {
  packet_t p = {.seq = seq, .sent_ns = now_ns};
  size_t words = words_of(seq), bytes = STRESS_PACKET_BYTES + words * 8;
  for (size_t i = 0; i < words; i++) p.words[i] = (seq + i) * UINT64_C(0x9e3779b97f4a7c15);
  p.sum = sum_of(&p, words, salt);
  memcpy(at, &p, bytes);
  return bytes;
}

const char* stress_check_packet(const void* at, size_t len, uint64_t seq, uint64_t salt, uint64_t* ret_sent_ns) {
  packet_t p;
  if (len < STRESS_PACKET_BYTES || len > sizeof(p)) return "impossible length";
  memcpy(&p, at, len);
  if (p.seq != seq) return p.seq > seq ? "packets are missing" : "packets are repeated";
  if (len != STRESS_PACKET_BYTES + words_of(seq) * 8) return "wrong length";
  if (p.sum != sum_of(&p, words_of(seq), salt)) return "wrong checksum";
  if (ret_sent_ns != NULL) *ret_sent_ns = p.sent_ns;
  return NULL;
}

uint64_t stress_salt(uint32_t place, uint32_t generation) {
  return (uint64_t) (place + 1) << 32 | generation;
}

void stress_face_name(char* to, size_t size, const char* prefix, uint32_t place, uint32_t generation) {
  snprintf(to, size, "%s-%lu-%lu", prefix, (unsigned long) place, (unsigned long) generation);
}

void stress_add(stress_count_t* count, uint64_t n) {
  uint64_t now = atomic_load_explicit(count, memory_order_relaxed);
  atomic_store_explicit(count, now + n, memory_order_relaxed);
}

uint64_t stress_get(const stress_count_t* count) {
  return atomic_load_explicit((stress_count_t*) (uintptr_t) count, memory_order_relaxed);
}

void stress_note_round_trip(stress_board_t* board, uint64_t ns) {
  size_t bucket = (size_t) ns;
  if (ns >= UINT64_C(1) << 40) ns = (UINT64_C(1) << 40) - 1;
  if (ns >= 32) {
    unsigned int shift = 58u - (unsigned int) __builtin_clzll(ns);
    bucket = (size_t) (shift + 1) * 32 + (size_t) (ns >> shift & 31);
  }
  stress_add(&board->round_trips[bucket], 1);
}

static uint64_t end_of_bucket(size_t bucket) {
  if (bucket < 32) return bucket;
  return (UINT64_C(33) + bucket % 32) << (bucket / 32 - 1);
}

uint64_t stress_percentile(const uint64_t round_trips[STRESS_BUCKETS], double fraction) {
  uint64_t all = 0, below = 0;
  for (size_t i = 0; i < STRESS_BUCKETS; i++) all += round_trips[i];
  for (size_t i = 0; i < STRESS_BUCKETS; i++) {
    below += round_trips[i];
    if (all > 0 && (double) below >= (double) all * fraction) return end_of_bucket(i);
  }
  return 0;
}

void stress_say(stress_board_t* board, const char* format, ...) {
  va_list args;
  if (board->message[0] != '\0') return;
  va_start(args, format);
  vsnprintf(board->message, sizeof(board->message), format, args);
  va_end(args);
}

void stress_nap(unsigned int us) {
  nanosleep(&(struct timespec){(time_t) (us / 1000000), (long) (us % 1000000) * 1000}, NULL);
}

uint32_t stress_random(uint32_t* state) {
  *state = *state * 1664525u + 1013904223u;
  return *state >> 8;
}
