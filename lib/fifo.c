/* SPDX-License-Identifier: MIT */
/* fifo.c: see fifo.h. */
#include "fifo.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "open.h"

#define FIFO_FLAGS (O_NONBLOCK | O_CLOEXEC | O_NOFOLLOW)

static int open_retrying(const char* path, int flags) {
  int fd;

  do {
    fd = open(path, flags | FIFO_FLAGS);
  } while (fd < 0 && errno == EINTR);
  return ndnshm__keep_off_stdio(fd);
}

/* The last resort: to an engine, somebody who opens its FIFO for writing and closes it is an app that died. */
static int check_no_reader(const char* path, ndnshm__error_t* error) {
  int fd = open_retrying(path, O_WRONLY);

  if (fd < 0 && (errno == ENXIO || errno == ENOENT)) return 0;
  if (fd < 0) return ndnshm__fail_errno(error, "open", path);
  close(fd);
  return ndnshm__fail(error, -EADDRINUSE, "open %s: a live engine reads it", path);
}

void ndnshm__fifo_unlink(int fd, const char* path) {
  if (fd >= 0 && ndnshm__is_named(fd, path)) unlink(path);
}

/* Beside the mark of fifo.h, and set with it when the region loses its name: of no other meaning on a FIFO. */
#define SEALED_MARK ((mode_t) S_ISUID)

static bool is_vouched(int fd) {
  struct stat st;

  return fstat(fd, &st) == 0 && (st.st_mode & S_ISVTX) != 0;
}

void ndnshm__fifo_vouch(int fd) {
  struct stat st;

  if (fstat(fd, &st) == 0) fchmod(fd, (st.st_mode & 07777) | S_ISVTX | SEALED_MARK);
}

/* Removes a FIFO that has the mark (fifo.h) and whose lock is free. Holds the lock meanwhile, because the FIFO's engine
 * may be just about to take it. 1 = removed; 0 = the FIFO has no mark. */
static int clear_vouched(const char* path, ndnshm__error_t* error) {
  int fd = open_retrying(path, O_RDONLY);
  int cleared = 0;
  bool locked;

  if (fd < 0) return errno == ENOENT ? 1 : ndnshm__fail_errno(error, "open", path);
  locked = flock(fd, LOCK_EX | LOCK_NB) == 0;
  if (!locked && errno == EWOULDBLOCK) {
    cleared = ndnshm__fail(error, -EADDRINUSE, "flock %s: a live engine has it", path);
  } else if (locked && is_vouched(fd)) {
    ndnshm__fifo_unlink(fd, path);
    cleared = 1;
  }
  close(fd);
  return cleared;
}

int ndnshm__fifo_clear(const char* path, bool is_dead, const ndnshm__access_t* access, ndnshm__error_t* error) {
  struct stat st;
  int err;

  if (lstat(path, &st) != 0) return errno == ENOENT ? 0 : ndnshm__fail_errno(error, "lstat", path);
  if (!S_ISFIFO(st.st_mode))
    return ndnshm__fail(error, -EADDRINUSE, "mkfifo %s: there is something that is not a FIFO, of uid %lu", path,
                        (unsigned long) st.st_uid);
  if (!ndnshm__owner_is_ours(st.st_uid, access))
    return ndnshm__fail(error, -EADDRINUSE, "mkfifo %s: it belongs to uid %lu", path, (unsigned long) st.st_uid);
  if (!is_dead) {
    err = clear_vouched(path, error);
    if (err != 0) return err < 0 ? err : 0;
    if ((err = check_no_reader(path, error)) < 0) return err;
  }
  if (unlink(path) != 0 && errno != ENOENT) return ndnshm__fail_errno(error, "unlink", path);
  return 0;
}

/* chmod, where umask has taken from the owner the right to open what mkfifo made; and there alone, because another
 * engine may have taken ours for a dead one's: then what has the name now is not ours. If nothing has it, open tells. */
static int let_owner_open(const char* path, mode_t mode, ndnshm__error_t* error) {
  struct stat st;

  if (lstat(path, &st) != 0) return errno == ENOENT ? 0 : ndnshm__fail_errno(error, "lstat", path);
  if ((st.st_mode & 0600) == 0600 || chmod(path, mode) == 0 || errno == ENOENT) return 0;
  return ndnshm__fail_errno(error, "chmod", path);
}

static int make_private(const char* path, mode_t mode, ndnshm__error_t* error) {
  int err;

  if (mkfifo(path, mode) != 0) return ndnshm__fail_errno(error, "mkfifo", path);
  err = let_owner_open(path, mode, error);
  if (err < 0) unlink(path);
  return err;
}

static int make(const char* path, bool holds_name, const ndnshm__access_t* access, ndnshm__error_t* error) {
  mode_t mode = holds_name ? S_ISVTX | 0600 : 0600;
  int err = make_private(path, mode, error);

  if (err != -EEXIST) return err;
  if ((err = ndnshm__fifo_clear(path, !holds_name, access, error)) < 0) return err;
  err = make_private(path, mode, error);
  if (err != -EEXIST) return err;
  return ndnshm__fail(error, -EADDRINUSE, "mkfifo %s: another engine is taking the name", path);
}

static int judge(const struct stat* st, const char* path, uid_t trusted, ndnshm__error_t* error) {
  if (!S_ISFIFO(st->st_mode)) return ndnshm__fail(error, -EPERM, "fstat %s: not a FIFO", path);
  if (!ndnshm__owner_is_trusted(st->st_uid, trusted))
    return ndnshm__fail(error, -EPERM, "fstat %s: owned by uid %lu, who is neither root nor trusted", path,
                        (unsigned long) st->st_uid);
  return 0;
}

static int check_fifo(int fd, const char* path, uid_t trusted, ndnshm__error_t* error) {
  struct stat st;

  if (fstat(fd, &st) != 0) return ndnshm__fail_errno(error, "fstat", path);
  return judge(&st, path, trusted, error);
}

/* Takes the lock for as long as the engine lives. In a file system without locks, others see that it lives from the
 * FIFO having a reader. */
static bool is_refused(int fd) {
  return flock(fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK;
}

/* Checks that what was opened is a FIFO and still has the name, and lets others in. Who removes a name holds its lock
 * meanwhile; so while we hold the lock the name stays ours. */
static int finish(int fd, const char* path, const ndnshm__access_t* access, ndnshm__error_t* error) {
  int err = check_fifo(fd, path, (uid_t) -1, error);

  if (err < 0) return err;
  if (!ndnshm__is_named(fd, path))
    return ndnshm__fail(error, -EADDRINUSE, "fstat, lstat %s: another engine is taking the name", path);
  return ndnshm__access_apply(fd, access, path, error);
}

int ndnshm__fifo_create(const char* path, int flags, bool holds_name, const ndnshm__access_t* access, int* ret_fd,
                        ndnshm__error_t* error) {
  int fd;
  int err = make(path, holds_name, access, error);

  if (err < 0) return err;
  fd = open_retrying(path, flags);
  if (fd < 0) {
    err = ndnshm__fail_errno(error, "open", path);
    if (err == -ENOENT) return ndnshm__fail(error, -EADDRINUSE, "open %s: another engine is taking the name", path);
    unlink(path);
    return err;
  }
  if (holds_name && is_refused(fd)) { /* another engine took it for a dead one's, and decides about the name */
    close(fd);
    return ndnshm__fail(error, -EADDRINUSE, "flock %s: another engine is taking the name", path);
  }
  err = finish(fd, path, access, error);
  if (err < 0) {
    ndnshm__fifo_unlink(fd, path);
    close(fd);
    return err;
  }
  *ret_fd = fd;
  return 0;
}

int ndnshm__fifo_open(const char* path, int flags, uid_t trusted, int* ret_fd, ndnshm__error_t* error) {
  struct stat st;
  int looked_fd = -1, fd = -1;
  int err = ndnshm__look(path, &looked_fd, &st, error);

  if (err < 0) return err;
  err = judge(&st, path, trusted, error);
  if (err == 0 && (fd = ndnshm__open_looked_at(looked_fd, path, flags)) < 0)
    err = errno == ENXIO ? ndnshm__fail(error, -ECONNREFUSED, "open %s: no engine reads it (dead?)", path)
                         : ndnshm__fail_errno(error, "open", path);
  close(looked_fd);
  if (err == 0) *ret_fd = fd;
  return err;
}

int ndnshm__fifo_check_taken(const char* path, uid_t trusted, ndnshm__error_t* error) {
  ndnshm__error_t why;
  struct stat st;
  int fd, err;

  if (lstat(path, &st) != 0 || judge(&st, path, trusted, &why) < 0 || (st.st_mode & SEALED_MARK) == 0) return 0;
  err = ndnshm__fifo_open(path, O_WRONLY, trusted, &fd, &why);
  if (err == -ECONNREFUSED) *error = why;
  if (err < 0) return err == -ECONNREFUSED ? err : 0;
  close(fd);
  return ndnshm__fail(error, -EBUSY, "open %s: taken by another app, for which the region was sealed", path);
}
