/* SPDX-License-Identifier: MIT */
/* sandbox.h: the world that a fuzz target runs the product in: a clock of its own, guard pages around the
 * region, SIGPIPE as a failure, and files under names of this process.
 *
 * Guarantees that time passes only by being asked for or by sandbox_advance_ms(), so that a run can be
 * repeated; that a step beyond the region faults, or is an ASan report within its last page. Does not
 * change what a system call does. One thread. The product finds it through redirect.h. */
#ifndef SANDBOX_H
#define SANDBOX_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct rusage;

/* The region that the product has mapped last; base NULL = none, or unmapped again. */
typedef struct sandbox_region_s {
  unsigned char* base;
  size_t bytes;
} sandbox_region_t;
extern sandbox_region_t sandbox_region;

/* How many it has mapped now: at most SANDBOX_REGIONS_MAX. */
#define SANDBOX_REGIONS_MAX 32
unsigned int sandbox_count_regions(void);

/* From sandbox_enter() to sandbox_leave() the monotonic clock is the sandbox's. */
void sandbox_enter(void);
void sandbox_leave(void);
void sandbox_advance_ms(uint64_t ms);

/* While true, SIGPIPE is the attacker's own fault; else the process ends by it. */
extern bool sandbox_may_sigpipe;

/* "fuzz-PID-tag", the region's file and the two FIFOs of a face so named; valid for ever. */
typedef struct sandbox_names_s {
  char face[64], shm[96], a2e[96], e2a[96];
} sandbox_names_t;
void sandbox_names(const char* tag, sandbox_names_t* ret_names);

/* Makes the files of an engine, to be removed at exit: returns the region's descriptor. */
int sandbox_make_engine_files(const sandbox_names_t* names);

/* What the product calls instead of the functions of these names. */
void* sandbox_mmap(void* addr, size_t bytes, int prot, int flags, int fd, off_t offset);
int sandbox_munmap(void* addr, size_t bytes);
int sandbox_getrusage(int who, struct rusage* usage);
long sandbox_sysconf(int name);
/* Returns when the thread is no more: how soon it ends is no chance here. */
int sandbox_thread(pthread_t* thread, const pthread_attr_t* attr, void* (*run)(void*), void* arg);

#endif
