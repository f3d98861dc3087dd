/* SPDX-License-Identifier: MIT */
/* region.h: the shared-memory region of a face, from its file to its mapping.
 *
 * Guarantees: a region appears under its name when it is complete, or not at all; it is fully backed by memory (no
 * SIGBUS from a full /dev/shm), and never truncated or taken over while its engine lives; what is attached is a
 * regular file whose size is its geometry, of a trusted owner or sealed against truncation. A private region never has
 * a name. Does not know FIFOs or rings.
 * One thread per region at a time. */
#ifndef NDNSHM_REGION_H
#define NDNSHM_REGION_H

#include <stdbool.h>
#include <sys/types.h>

#include "error.h"
#include "guard.h"
#include "layout.h"
#include "names.h"

typedef struct ndnshm__region_s {
  int fd;                          /* -1 = closed; an engine's carries the lock that says it is alive */
  ndnshm__region_header_t* header; /* the mapping; NULL = none */
  ndnshm__geometry_t geometry;
  ndnshm__guard_t* guard; /* NULL = none */
  bool is_lost;           /* its file was found too short, and private zeros put in its place */
} ndnshm__region_t;

/* Makes a region without a name: locked, backed by memory, mapped, its geometry in the header. shm_name: for texts.
 * Errors: those of open, ftruncate, posix_fallocate and mmap. On failure nothing is left. */
int ndnshm__region_create(ndnshm__region_t* ret_region, const char* shm_name, const ndnshm__geometry_t* geometry,
                          ndnshm__error_t* error);

/* Gives a region that is ready, with its rights, its name, so that it appears whole or not at all.
 * Errors: -EEXIST (somebody has the name), those of linkat. */
int ndnshm__region_publish(const ndnshm__region_t* region, const char* shm_name, ndnshm__error_t* error);

/* Maps an engine's region. Its header is read once, through the descriptor, and checked.
 * Errors: -ENOENT, -EACCES, -EPERM, -EPROTO, others. */
int ndnshm__region_attach(ndnshm__region_t* ret_region, const char* shm_name, uid_t trusted, ndnshm__error_t* error);

/* Makes a region that never gets a name: backed by memory, mapped, its geometry in the header, and sealed, so that
 * nobody can change its size. Where the kernel refuses such memory it is a file without a name, and not sealed.
 * label: for texts. Errors: those of memfd_create, open, ftruncate, posix_fallocate, mmap and fcntl. On failure nothing
 * is left. */
int ndnshm__region_create_private(ndnshm__region_t* ret_region, const char* label, const ndnshm__geometry_t* geometry,
                                  bool* ret_is_sealed, ndnshm__error_t* error);

/* Maps a region that was handed over. fd stays the caller's, and is not in ret_region. Its file must be sealed against
 * truncation, or of a trusted owner, unless the mapping is going to be under guard.
 * Errors: -EBADF (not open for reading and writing), -EPERM (no regular file, or not to be trusted), -EPROTO, -EACCES,
 * -ENOMEM, others. */
int ndnshm__region_attach_private(ndnshm__region_t* ret_region, const char* label, int fd, uid_t trusted,
                                  bool will_be_guarded, bool* ret_is_sealed, ndnshm__error_t* error);

/* False once the name was removed: the region is a dead engine's. */
bool ndnshm__region_has_name(const ndnshm__region_t* region);

/* Reads the header of a region without mapping it, and its size in bytes. Same errors. */
int ndnshm__region_inspect(const char* shm_name, uid_t trusted, ndnshm__region_header_t* ret_header,
                           uint64_t* ret_file_bytes, ndnshm__error_t* error);

/* The region of an existing name that may be removed. */
typedef struct ndnshm__stale_s {
  int fd;       /* holds the lock; the caller's to close; -1 = the name is free, or another engine's now */
  bool is_dead; /* its engine held the lock while it lived: no further proof is needed */
} ndnshm__stale_t;

/* Opens the region of an existing name to find out whether it may be removed: ours, and not locked by
 * a live engine. Errors: -EADDRINUSE, -EMFILE, others. */
int ndnshm__region_lock_stale(const char* shm_name, const ndnshm__access_t* access, ndnshm__stale_t* ret_stale,
                              ndnshm__error_t* error);

/* Puts the mapping under guard (guard.h). Errors: -ENOMEM, those of sigaction. */
int ndnshm__region_guard(ndnshm__region_t* region, ndnshm__error_t* error);

/* True once memory was missing under the mapping, which then is private zeros. Costs two loads. */
static inline bool ndnshm__region_is_lost(const ndnshm__region_t* region) {
  return region->is_lost || (region->guard != NULL && ndnshm__guard_is_lost(region->guard));
}

/* The same, for who is about to touch the region and can afford a system call: an engine, which still has the
 * descriptor, finds a file that is too short before it faults, and needs no guard for it. */
bool ndnshm__region_check(ndnshm__region_t* region);

/* True if the file is longer than the region. Nobody needs more of it, but to take the surplus away again, all in one
 * piece with the region, makes the kernel hold up whoever touches the region meanwhile. Nothing is touched here. */
bool ndnshm__region_has_grown(const ndnshm__region_t* region);

/* True if a region that has no name yet will take a seal: tries it, and takes the seal off again. */
bool ndnshm__region_can_be_sealed(int fd);

/* Makes the file append-only, which no attached app undoes: nobody can truncate it or punch holes from then on, nor
 * open it for writing, and what is mapped goes on as before. The name goes first, for an append-only file cannot
 * be removed; for the same reason it is not done while there is another name, which somebody has given it. Waits for
 * who writes to the file. */
typedef enum ndnshm__seal_e {
  NDNSHM__NOT_SEALED, /* and not tried, or not yet done with it */
  NDNSHM__SEALED,
  NDNSHM__HAS_OTHER_NAME,
  NDNSHM__SEAL_FAILED, /* for now */
  NDNSHM__SEAL_REFUSED /* for good */
} ndnshm__seal_t;
ndnshm__seal_t ndnshm__region_seal(int fd, const char* shm_name);

/* Removes the name if it still names the region that is open as fd. Waits for who writes to the file. False: it is
 * still there; errno tells why. */
bool ndnshm__region_unlink(int fd, const char* shm_name);

/* Closes the descriptor; the mapping stays. */
void ndnshm__region_close(ndnshm__region_t* region);

/* Unmaps. */
void ndnshm__region_unmap(ndnshm__region_t* region);

#endif
