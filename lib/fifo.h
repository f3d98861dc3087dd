/* SPDX-License-Identifier: MIT */
/* fifo.h: the two FIFOs of a face as files: making, opening, locking and removing them.
 *
 * Guarantees that every descriptor is O_NONBLOCK and O_CLOEXEC and leads to a FIFO of a trusted owner, that nothing of
 * somebody else's is removed, and that a live engine keeps its name. What is read and written is wake.h's. Knows
 * neither rings nor the region. Any thread. */
#ifndef NDNSHM_FIFO_H
#define NDNSHM_FIFO_H

#include <stdbool.h>
#include <sys/types.h>

#include "error.h"
#include "names.h"

/* Engine: makes the FIFO `path` and opens it with `flags`. What a dead engine of ours left under the name is
 * replaced, unless reader_lives says that somebody who reads it must be taken for a live engine.
 * Errors: -EADDRINUSE, those of mkfifo, open, fchmod, fchown. On failure nothing is left. */
int ndnshm__fifo_create(const char* path, int flags, bool reader_lives, const ndnshm__access_t* access, int* ret_fd,
                        ndnshm__error_t* error);

/* App: opens an engine's FIFO with `flags` (O_RDONLY or O_WRONLY).
 * Errors: -ECONNREFUSED (no engine reads it), -EPERM (no FIFO, or of an owner we do not trust), -ENOENT,
 * -EACCES, others. */
int ndnshm__fifo_open(const char* path, int flags, uid_t trusted, int* ret_fd, ndnshm__error_t* error);

/* Fails unless the FIFO `path` is no live engine's, or there is none: unlocked and, unless its engine vouched for
 * the lock, open for reading by nobody. Errors: -EADDRINUSE (an engine has it), others (it cannot be told). */
int ndnshm__fifo_check_unread(const char* path, ndnshm__error_t* error);

/* Engine: locks the FIFO for life. */
void ndnshm__fifo_lock(int fd);

/* Engine: locks the FIFO for life and marks it (S_ISVTX), which says that the lock alone tells whether we live;
 * for where the region, whose lock tells it else, has no name any more. */
void ndnshm__fifo_vouch(int fd);

/* Removes the name if it still names what fd is open on; -1: nothing to remove. */
void ndnshm__fifo_unlink(int fd, const char* path);

/* Removes a FIFO of ours that a dead engine left under the name; what else is there stays.
 * Errors: those of lstat and unlink. */
int ndnshm__fifo_remove_stale(const char* path, const ndnshm__access_t* access, ndnshm__error_t* error);

#endif
