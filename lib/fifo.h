/* SPDX-License-Identifier: MIT */
/* fifo.h: the two FIFOs of a face as files: making, opening, locking and removing them.
 *
 * Guarantees that every descriptor is O_NONBLOCK and O_CLOEXEC and leads to a FIFO of a trusted owner, that nothing of
 * somebody else's is removed, and that a live engine keeps its name. What is read and written is wake.h's. Knows
 * neither rings nor the region. Any thread. */
#ifndef NDNSHM_FIFO_H
#define NDNSHM_FIFO_H

#include <stdbool.h>
#include <sys/stat.h>
#include <sys/types.h>

#include "error.h"
#include "names.h"

/* Engine: opens the directory where its FIFOs are made, into which nobody else can look, and locks it, for as long as
 * it has the face's name. It keeps a link to a2e there. So whether the engine of an a2e is dead can be told without
 * opening that, which can make one wait as long as a peer likes: it is, if the lock is free and the link is to the same
 * FIFO. Such an a2e is removed here, with what else a killed engine left.
 * Errors: -EADDRINUSE (another engine has it, or somebody else has the name), those of mkdir, chmod and open. On
 * failure nothing is left. */
int ndnshm__stage_open(const ndnshm__names_t* names, int* ret_fd, ndnshm__error_t* error);

/* True if the FIFO under the name `path` was made there, and is still linked to. */
bool ndnshm__stage_made(int stage_fd, const char* path);

/* True if there is still a link to a2e, one that counts among its names; -1: no. */
bool ndnshm__stage_has_a2e(int stage_fd);

/* True if the a2e that is linked to has another name, too. */
bool ndnshm__stage_is_linked(int stage_fd);

/* Removes what is in the directory; or only e2a, which needs no link there. */
void ndnshm__stage_empty(int stage_fd);
void ndnshm__stage_drop_e2a(int stage_fd);

/* Removes the directory with what is in it, gives the lock back, and closes it. */
void ndnshm__stage_close(int stage_fd, const ndnshm__names_t* names);

/* Engine: makes a FIFO on the stage, opens it with `flags` and gives it its rights. path: the name that it is to get.
 * holds_name: for the one FIFO (a2e) that decides who has the face's name: while somebody holds its lock, nobody else
 * may touch the face's names. The other FIFO belongs to whoever holds the first.
 * Errors: -EADDRINUSE, those of mkfifo, open, fchmod, fchown. What is left goes with the stage. */
int ndnshm__fifo_make(int stage_fd, const char* path, int flags, bool holds_name, const ndnshm__access_t* access,
                      int* ret_fd, ndnshm__error_t* error);

/* Engine: gives the FIFO its name. What a dead engine of ours left under the name is replaced.
 * Errors: -EADDRINUSE, those of linkat and of ndnshm__fifo_clear(). */
int ndnshm__fifo_publish(int fd, const char* path, bool holds_name, const ndnshm__access_t* access,
                         ndnshm__error_t* error);

/* Engine: removes the FIFO `path`, if there is one, unless a live engine holds it or it belongs to somebody else.
 * is_dead: it is known that its engine is dead; else only a FIFO of our own effective user is opened to find out.
 * Errors: -EADDRINUSE, those of lstat, open and unlink. */
int ndnshm__fifo_clear(const char* path, bool is_dead, const ndnshm__access_t* access, ndnshm__error_t* error);

/* App: looks at an engine's FIFO, and opens with `flags` (O_RDONLY or O_WRONLY) what was looked at, whatever has the
 * name by then. Between the two the app finds out whether it is the FIFO of the engine that it means: to an engine, who
 * opens a2e and closes it is an app that died. The looked-at descriptor is the caller's to close.
 * Errors: -EPERM (no FIFO, or of an owner we do not trust), -ENOENT, others; -ECONNREFUSED (no engine reads it),
 * -EACCES, others. */
int ndnshm__fifo_look(const char* path, uid_t trusted, int* ret_fd, struct stat* ret_st, ndnshm__error_t* error);
int ndnshm__fifo_open(int looked_fd, const char* path, int flags, int* ret_fd, ndnshm__error_t* error);

/* App: why the region of the face that the FIFO a2e is of may have no name. Errors: -EBUSY (another app has come, and
 * the region was sealed), -ECONNREFUSED (and then the engine died). 0: neither is known; a FIFO that is there, whoever
 * has it, is then added to the text, which tells that there is no region. To be called only if the region has no name:
 * who opens a2e and closes it is to any other engine an app that died. */
int ndnshm__fifo_check_taken(const char* path, uid_t trusted, ndnshm__error_t* error);

/* Engine: marks a locked FIFO (S_ISVTX), or takes the mark away. It says: if nobody holds the lock, the engine is dead,
 * even if somebody reads the FIFO. One that holds the name has the mark until the region has its name, too. Then the
 * lock of the region tells whether the engine lives; a sealed region has no name to find it by, so its engine marks the
 * FIFO again. Errors of unvouch: those of fchmod. */
void ndnshm__fifo_vouch(int fd);
int ndnshm__fifo_unvouch(int fd, const char* path, const ndnshm__access_t* access, ndnshm__error_t* error);

/* Removes the name if it still names what fd is open on; -1: nothing to remove. */
void ndnshm__fifo_unlink(int fd, const char* path);

#endif
