/* SPDX-License-Identifier: MIT */
/* cache.h: hints to the CPU about lines that the other end of a ring reads or has written.
 *
 * Hints change no value and cannot fail: a CPU that does not know one does nothing, and an address that is not mapped
 * is ignored. What each is worth was measured (docs/design.rst). Any thread. */
#ifndef NDNSHM_CACHE_H
#define NDNSHM_CACHE_H

#define NDNSHM__CACHE_LINE_BYTES 64

/* Brings the line here to be written, away from the peer that read it. On plain x86-64 the compiler's builtin asks for
 * the line to be read only, for the instruction was an extension once; then the store has to ask again. */
static inline void ndnshm__prefetch_for_write(const void* line) {
#if defined(__x86_64__)
  __asm__ volatile("prefetchw %0" : : "m"(*(const char*) line));
#else
  __builtin_prefetch(line, 1, 3);
#endif
}

/* Moves a line that was written here to where the peer's CPU finds it sooner. It costs, and the next write to the line
 * has to bring it back: for what the peer is waiting for, not for every packet. */
static inline void ndnshm__demote(const void* line) {
#if defined(__x86_64__)
  __asm__ volatile("cldemote %0" : : "m"(*(const char*) line));
#else
  (void) line;
#endif
}

/* Brings the line here to be read. */
static inline void ndnshm__prefetch_for_read(const void* line) {
  __builtin_prefetch(line, 0, 3);
}

#endif
