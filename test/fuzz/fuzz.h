/* SPDX-License-Identifier: MIT */
/* fuzz.h: what every fuzz target shares: the entry point, the oracle's last word, and reading an input.
 *
 * A target guarantees that the same input does the same, alone or after any others, and that it leaves no
 * descriptor or mapping behind. Called by libFuzzer, or by replay.c. One thread. */
#ifndef FUZZ_H
#define FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

/* Ends the process where a promise is broken; libFuzzer then saves the input. */
#define FUZZ_REQUIRE(condition)                                                       \
  do {                                                                                \
    if (!(condition)) {                                                               \
      fprintf(stderr, "%s:%d: broken promise: %s\n", __FILE__, __LINE__, #condition); \
      abort();                                                                        \
    }                                                                                 \
  } while (0)

/* An input that two scripts share: one reads it from the front, the other from the back, so that changing
 * one does not shift the other. Used up, it reads as zeros. */
typedef struct fuzz_input_s {
  const uint8_t* front;
  const uint8_t* back;
} fuzz_input_t;

static inline size_t fuzz_left(const fuzz_input_t* in) {
  return (size_t) (in->back - in->front);
}

static inline uint8_t fuzz_front(fuzz_input_t* in) {
  return in->front < in->back ? *in->front++ : 0;
}

static inline uint8_t fuzz_back(fuzz_input_t* in) {
  return in->front < in->back ? *--in->back : 0;
}

static inline uint32_t fuzz_front_u32(fuzz_input_t* in) {
  uint32_t value = 0;

  for (int i = 0; i < 4; i++) value |= (uint32_t) fuzz_front(in) << (8 * i);
  return value;
}

#endif
