/* SPDX-License-Identifier: MIT */
/* given.c: see given.h. */
#include "given.h"

#include <stdio.h>
#include <string.h>
#include <uv.h>

/* More than any version of a struct will have: what is larger was never initialized. */
#define MAX_BYTES 4096

int uvface__take_given(const void* given, void* taken, size_t bytes, char* why, size_t cap) {
  const unsigned char* from = given;
  size_t size;

  if (given == NULL) return 0;
  memcpy(&size, given, sizeof(size));
  if (size < sizeof(size) || size > MAX_BYTES || size % sizeof(size) != 0) {
    snprintf(why, cap, "impossible size %zu (use its _INIT)", size);
    return UV_EINVAL;
  }
  for (size_t i = bytes; i < size; i++) {
    if (from[i] != 0) {
      snprintf(why, cap, "size %zu: has members that this library does not know", size);
      return UV_EINVAL;
    }
  }
  memcpy(taken, given, size < bytes ? size : bytes);
  return 0;
}
