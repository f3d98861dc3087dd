/* SPDX-License-Identifier: MIT */
/* words.h: the only accesses to words that a peer may touch at the same time.
 *
 * Guarantees that each access is one atomic operation of the named order; why an order is needed stands where the
 * access is made, with the letter of its partner (ring.h, wake.h). A peer's value is loaded once, checked, then
 * used. Any thread.
 *
 * Right before each access a test may step in: the attacker of the fuzzer changes the memory there, and the kill
 * matrix ends the process there. Only a library that is built for such a test has the points (NDNSHM_TEST_POINTS);
 * in any other they are nothing. */
#ifndef NDNSHM_WORDS_H
#define NDNSHM_WORDS_H

#include <stdatomic.h>
#include <stdint.h>

#ifdef NDNSHM_TEST_POINTS
void ndnshm__point(const char* access); /* the test's own */
#define NDNSHM__POINT(access) ndnshm__point(access)
#else
#define NDNSHM__POINT(access) ((void) 0)
#endif

static inline uint32_t ndnshm__load_acquire(const uint32_t* word) {
  NDNSHM__POINT("load");
  return atomic_load_explicit((const _Atomic uint32_t*) word, memory_order_acquire);
}

static inline uint32_t ndnshm__load_relaxed(const uint32_t* word) {
  NDNSHM__POINT("load");
  return atomic_load_explicit((const _Atomic uint32_t*) word, memory_order_relaxed);
}

static inline void ndnshm__store_release(uint32_t* word, uint32_t value) {
  NDNSHM__POINT("store");
  atomic_store_explicit((_Atomic uint32_t*) word, value, memory_order_release);
}

static inline void ndnshm__store_relaxed(uint32_t* word, uint32_t value) {
  NDNSHM__POINT("store");
  atomic_store_explicit((_Atomic uint32_t*) word, value, memory_order_relaxed);
}

/* For the magic, the header's one word of eight bytes. */
static inline uint64_t ndnshm__load_acquire_u64(const uint64_t* word) {
  NDNSHM__POINT("load");
  return atomic_load_explicit((const _Atomic uint64_t*) word, memory_order_acquire);
}

static inline void ndnshm__store_release_u64(uint64_t* word, uint64_t value) {
  NDNSHM__POINT("store");
  atomic_store_explicit((_Atomic uint64_t*) word, value, memory_order_release);
}

static inline uint32_t ndnshm__exchange_relaxed(uint32_t* word, uint32_t value) {
  NDNSHM__POINT("exchange");
  return atomic_exchange_explicit((_Atomic uint32_t*) word, value, memory_order_relaxed);
}

#endif
