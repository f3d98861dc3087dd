/* SPDX-License-Identifier: MIT */
/* fifo.c: see fifo.h. */
#include "fifo.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define FIFO_FLAGS (O_NONBLOCK | O_CLOEXEC | O_NOFOLLOW)

static int open_retrying(const char* path, int flags) {
  int fd;

  do {
    fd = open(path, flags | FIFO_FLAGS);
  } while (fd < 0 && errno == EINTR);
  return fd;
}

/* To open it for writing looks to an engine like an app that came and died: the last resort. */
static int check_no_reader(const char* path, ndnshm__error_t* error) {
  int fd = open_retrying(path, O_WRONLY);

  if (fd < 0 && (errno == ENXIO || errno == ENOENT)) return 0;
  if (fd < 0) return ndnshm__fail_errno(error, "open", path);
  close(fd);
  return ndnshm__fail(error, -EADDRINUSE, "open %s: a live engine reads it", path);
}

int ndnshm__fifo_check_unread(const char* path, ndnshm__error_t* error) {
  int fd = open_retrying(path, O_RDONLY);
  struct stat st;
  bool is_locked, vouched;

  if (fd < 0 && (errno == ENXIO || errno == ENOENT)) return 0;
  if (fd < 0) return ndnshm__fail_errno(error, "open", path);
  is_locked = flock(fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK;
  vouched = fstat(fd, &st) == 0 && (st.st_mode & S_ISVTX) != 0;
  close(fd);
  if (is_locked) return ndnshm__fail(error, -EADDRINUSE, "flock %s: a live engine has it", path);
  /* An ndn-rs engine takes no lock; but an ndn-rs app, too, reads on when its engine is dead. */
  return vouched ? 0 : check_no_reader(path, error);
}

void ndnshm__fifo_lock(int fd) {
  flock(fd, LOCK_EX | LOCK_NB); /* where it is refused, being read has to do */
}

void ndnshm__fifo_vouch(int fd) {
  struct stat st;

  if (flock(fd, LOCK_EX | LOCK_NB) == 0 && fstat(fd, &st) == 0) fchmod(fd, (st.st_mode & 07777) | S_ISVTX);
}

/* mkfifo, not cut by umask: what umask takes from the owner would keep us from opening it. */
static int make_private(const char* path, ndnshm__error_t* error) {
  int err;

  if (mkfifo(path, 0600) != 0) return ndnshm__fail_errno(error, "mkfifo", path);
  if (chmod(path, 0600) == 0) return 0;
  err = ndnshm__fail_errno(error, "chmod", path);
  unlink(path);
  return err;
}

static int make(const char* path, bool reader_lives, const ndnshm__access_t* access, ndnshm__error_t* error) {
  struct stat st;
  int err = make_private(path, error);

  if (err != -EEXIST) return err;
  if (lstat(path, &st) != 0) return ndnshm__fail_errno(error, "lstat", path);
  if (!(S_ISFIFO(st.st_mode) && ndnshm__owner_is_ours(st.st_uid, access)))
    return ndnshm__fail(error, -EADDRINUSE, "mkfifo %s: the name belongs to somebody else", path);
  if (reader_lives && (err = ndnshm__fifo_check_unread(path, error)) < 0) return err;
  if (unlink(path) != 0) return ndnshm__fail_errno(error, "unlink", path);
  err = make_private(path, error);
  if (err != -EEXIST) return err;
  return ndnshm__fail(error, -EADDRINUSE, "mkfifo %s: another engine is taking the name", path);
}

static int check_fifo(int fd, const char* path, uid_t trusted, ndnshm__error_t* error) {
  struct stat st;

  if (fstat(fd, &st) != 0) return ndnshm__fail_errno(error, "fstat", path);
  if (!S_ISFIFO(st.st_mode)) return ndnshm__fail(error, -EPERM, "fstat %s: not a FIFO", path);
  if (!ndnshm__owner_is_trusted(st.st_uid, trusted))
    return ndnshm__fail(error, -EPERM, "fstat %s: owned by uid %lu, who is neither root nor trusted", path,
                        (unsigned long) st.st_uid);
  return 0;
}

int ndnshm__fifo_create(const char* path, int flags, bool reader_lives, const ndnshm__access_t* access, int* ret_fd,
                        ndnshm__error_t* error) {
  int fd;
  int err = make(path, reader_lives, access, error);

  if (err < 0) return err;
  fd = open_retrying(path, flags);
  if (fd < 0) {
    err = ndnshm__fail_errno(error, "open", path);
    unlink(path);
    return err;
  }
  err = check_fifo(fd, path, (uid_t) -1, error);
  if (err == 0) err = ndnshm__access_apply(fd, access, path, error);
  if (err < 0) {
    ndnshm__fifo_unlink(fd, path);
    close(fd);
    return err;
  }
  *ret_fd = fd;
  return 0;
}

int ndnshm__fifo_open(const char* path, int flags, uid_t trusted, int* ret_fd, ndnshm__error_t* error) {
  int fd = open_retrying(path, flags);
  int err;

  if (fd < 0 && errno == ENXIO) return ndnshm__fail(error, -ECONNREFUSED, "open %s: no engine reads it (dead?)", path);
  if (fd < 0 && errno == ELOOP) return ndnshm__fail(error, -EPERM, "open %s: a symbolic link", path);
  if (fd < 0 && errno == EISDIR) return ndnshm__fail(error, -EPERM, "open %s: not a FIFO", path);
  if (fd < 0) return ndnshm__fail_errno(error, "open", path);
  err = check_fifo(fd, path, trusted, error);
  if (err < 0) {
    close(fd);
    return err;
  }
  *ret_fd = fd;
  return 0;
}

void ndnshm__fifo_unlink(int fd, const char* path) {
  struct stat mine, named;

  if (fd < 0 || fstat(fd, &mine) != 0 || lstat(path, &named) != 0) return;
  if (named.st_dev == mine.st_dev && named.st_ino == mine.st_ino) unlink(path);
}

int ndnshm__fifo_remove_stale(const char* path, const ndnshm__access_t* access, ndnshm__error_t* error) {
  struct stat st;

  if (lstat(path, &st) != 0) return errno == ENOENT ? 0 : ndnshm__fail_errno(error, "lstat", path);
  if (!(S_ISFIFO(st.st_mode) && ndnshm__owner_is_ours(st.st_uid, access)) || unlink(path) == 0 || errno == ENOENT)
    return 0;
  return ndnshm__fail_errno(error, "unlink", path);
}
