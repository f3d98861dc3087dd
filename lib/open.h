/* SPDX-License-Identifier: MIT */
/* open.h: opening what lies under a name that somebody else may have taken, giving names, and holding them.
 *
 * Guarantees that a file is not opened before it is known what it is and whose: to open a stranger's file can wait as
 * long as he likes, because O_NONBLOCK covers neither the lock of a FIFO, nor every file system. Decides nothing: its
 * callers look, judge, and then open. Any thread. */
#ifndef NDNSHM_OPEN_H
#define NDNSHM_OPEN_H

#include <stdbool.h>
#include <sys/stat.h>

#include "error.h"

/* What lies under the path, a symbolic link too, as a descriptor that can be asked and not used (O_PATH); the caller's
 * to close. ret_st: receives its status. Errors: those of open and fstat. */
int ndnshm__look(const char* path, int* ret_fd, struct stat* ret_st, ndnshm__error_t* error);

/* Opens what was looked at, with O_NONBLOCK and O_CLOEXEC; path: its name. -1: errno tells; ENOENT if there is
 * something else under the name now. */
int ndnshm__open_looked_at(int looked_fd, const char* path, int flags);

/* Gives what fd is open on the name `path`. -1: errno tells; EEXIST if something has it. */
int ndnshm__link(int fd, const char* path);

/* The same descriptor, or a copy in its place that is none of the first three, where printf() and its like write even
 * if a daemon has closed them; also if it is -1. Errors: -1, and it is closed; errno is that of fcntl. */
int ndnshm__keep_off_stdio(int fd);

/* Takes the lock (flock) by which an engine holds its name. One who only looks (sweep.c) shares it for a moment: that
 * is waited for, but not longer than 100 ms, because whoever may open the file can do the same for ever. False: errno
 * tells; EWOULDBLOCK if another engine has the lock, EBUSY if somebody kept sharing it. */
bool ndnshm__lock(int fd);

/* True if `path` is a name of what fd is open on. */
bool ndnshm__is_named(int fd, const char* path);

#endif
