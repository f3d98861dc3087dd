/* SPDX-License-Identifier: MIT */
/* copy.h: memcpy() for packets, which are short more often than not.
 *
 * Copies up to 128 bytes in line, by two moves that overlap in the middle; more by memcpy(). Source and destination must
 * not overlap. Some bytes are read twice, none outside the source. If a peer changes the source meanwhile, the copy is a
 * mixture of old and new bytes, as with any copy. */
#ifndef NDNSHM_COPY_H
#define NDNSHM_COPY_H

#include <stddef.h>
#include <string.h>

/* The first and the last `size` bytes of n, which is from size to twice as much. */
#define NDNSHM__COPY_ENDS(size)                                     \
  do {                                                              \
    memcpy(to_bytes, from_bytes, (size));                           \
    memcpy(to_bytes + n - (size), from_bytes + n - (size), (size)); \
  } while (0)

static inline void ndnshm__copy(void* to, const void* from, size_t n) {
  unsigned char* to_bytes = to;
  const unsigned char* from_bytes = from;

  if (n > 128)
    memcpy(to, from, n); /* NOLINT(bugprone-branch-clone): the same as the last branch; the likely one comes first */
  else if (n > 64)
    NDNSHM__COPY_ENDS(64);
  else if (n > 32)
    NDNSHM__COPY_ENDS(32);
  else if (n >= 16)
    NDNSHM__COPY_ENDS(16);
  else if (n >= 8)
    NDNSHM__COPY_ENDS(8);
  else if (n >= 4)
    NDNSHM__COPY_ENDS(4);
  else
    memcpy(to, from, n);
}

#endif
