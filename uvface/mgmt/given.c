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

int uvface__take_face_options(const uvface_options_t* given, uvface_options_t* taken, char* why, size_t cap) {
  int err;

  if (given->size > sizeof(*given)) {
    snprintf(why, cap, "impossible size %zu (use its _INIT)", given->size);
    return UV_EINVAL;
  }
  if ((err = uvface__take_given(given, taken, sizeof(*taken), why, cap)) < 0) return err;
  for (size_t i = 0; i < sizeof(taken->reserved) / sizeof(taken->reserved[0]); i++) {
    if (taken->reserved[i] != 0) {
      snprintf(why, cap, "reserved[%zu]: is a member that this library does not know", i);
      return UV_EINVAL;
    }
  }
  taken->size = sizeof(*taken);
  return 0;
}
